/* market_store.c - the store as the core can tell.  It answers each broker's operations in their order; all of them share
 * its rate budgets, which are those of penstock.lua with the same arithmetic.  Of packs it keeps nothing: their
 * clients make them again.  See market.h. */
#include <math.h>
#include <stdio.h>

#include "market.h"

#define ANSWER_MIN (200 * PST_US)
#define ANSWER_MAX (1000 * PST_US)

/* ---- rate budgets: penstock.lua, in C ----------------------------------------------------------------------------------- */

#define MINUTES PST_RATE_DAILY /* rates before it are buckets of a minute; it is a day's count */
#define SCALE 60000
#define IDLE_MS 3600000
#define HOUR_MS 3600000
#define HOURS 26
#define ROUNDING 1e-3 /* of sums of doubles */

typedef struct hour {
    uint64_t hour, count;
} hour_t;

typedef struct rate_arg {
    uint64_t limit, cap, amount, least;
} rate_arg_t;

struct budget {
    char name[64];
    /* The hash's fields; those without a value are unset. */
    bool there;
    uint64_t expires_ms;
    bool has_level[MINUTES];
    int64_t level[MINUTES];
    uint64_t used_ms, block_ms;
    hour_t hours[HOURS];
    uint32_t hours_n;
    /* What brokers have learned of its limits: a hash of its own. */
    bool learned;
    uint64_t learned_limit[PST_RATE_COUNT];
    uint8_t learned_from[PST_RATE_COUNT];
    /* What the checks know of it, apart from all that. */
    uint64_t began_ms;
    uint64_t cap_max[PST_RATE_COUNT], limit_max[PST_RATE_COUNT];
    int64_t granted[PST_RATE_COUNT]; /* less what came back */
    double most;                     /* of what may have been */
    int64_t held[MARKET_BROKERS_MAX][PST_RATE_COUNT]; /* of it each broker has, less the calls it has sent */
};

/* Its state at a moment, as the Lua functions work on it. */
typedef struct state {
    uint64_t now_ms, hour, block_ms;
    int64_t level[MINUTES];
    uint64_t day_sum;
} state_t;

static budget_t *budget_named(market_t *m, const char *name, size_t n)
{
    budget_t *b = pst_map_get(&m->budgets, name, n);
    if (b)
        return b;
    b = pst_calloc(1, sizeof *b);
    snprintf(b->name, sizeof b->name, "%.*s", (int)n, name);
    pst_map_set(&m->budgets, name, n, b);
    m->budget_list = pst_realloc(m->budget_list, (m->budgets_n + 1) * sizeof(budget_t *));
    m->budget_list[m->budgets_n++] = b;
    return b;
}

static int64_t level_now(const budget_t *b, int rate, const rate_arg_t *a, uint64_t since)
{
    int64_t full = (int64_t)a->cap * SCALE, stored = b->there && b->has_level[rate] ? b->level[rate] : full;
    if (stored >= full || a->limit == 0)
        return full;
    uint64_t to_full = ((uint64_t)(full - stored) + a->limit - 1) / a->limit;
    return since >= to_full ? full : stored + (int64_t)(since * a->limit);
}

/* Drops what is older than a day. */
static void hours_read(budget_t *b, state_t *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; b->there && i < b->hours_n; i++) {
        if (b->hours[i].hour + 24 < s->hour)
            continue;
        b->hours[n++] = b->hours[i];
        s->day_sum += b->hours[i].count;
    }
    b->hours_n = n;
}

static state_t budget_read(market_t *m, budget_t *b, const rate_arg_t a[PST_RATE_COUNT])
{
    state_t s = {.now_ms = market_wall_ms(m)};
    if (b->there && s.now_ms >= b->expires_ms)
        b->there = false;
    uint64_t since = b->there ? s.now_ms - b->used_ms : 0;
    for (int i = 0; i < MINUTES; i++)
        s.level[i] = level_now(b, i, &a[i], since);
    s.hour = s.now_ms / HOUR_MS;
    hours_read(b, &s);
    s.block_ms = b->there ? b->block_ms : 0;
    return s;
}

static void budget_keep(budget_t *b, const rate_arg_t a[PST_RATE_COUNT], const state_t *s)
{
    double idle = fmax(IDLE_MS, s->block_ms > s->now_ms ? (double)(s->block_ms - s->now_ms) : 0);
    if (!b->there)
        memset(b->has_level, 0, sizeof b->has_level);
    b->there = true;
    b->used_ms = s->now_ms;
    b->block_ms = s->block_ms;
    for (int i = 0; i < MINUTES; i++) {
        if (!a[i].limit)
            continue;
        idle = fmax(idle, (double)((int64_t)a[i].cap * SCALE - s->level[i]) / (double)a[i].limit);
        b->has_level[i] = true;
        b->level[i] = s->level[i];
    }
    if (a[PST_RATE_DAILY].limit)
        idle = fmax(idle, 25.0 * HOUR_MS);
    b->expires_ms = s->now_ms + (uint64_t)llrint(idle);
}

/* false: not now, and how long to wait. */
static bool afford(int64_t have, const rate_arg_t *a, uint64_t *ret_got, uint64_t *wait)
{
    int64_t need = (int64_t)(PST_MIN(a->least, a->cap) * SCALE);
    if (have < need) {
        *wait = PST_MAX(*wait, ((uint64_t)(need - have) + a->limit - 1) / a->limit);
        return false;
    }
    *ret_got = PST_MAX(a->least, PST_MIN(a->amount, (uint64_t)(have / SCALE)));
    return true;
}

static bool afford_today(const budget_t *b, const state_t *s, const rate_arg_t *a, uint64_t *ret_got, uint64_t *wait)
{
    int64_t left = (int64_t)a->limit - (int64_t)s->day_sum;
    if (left >= (int64_t)PST_MAX(a->least, 1)) {
        *ret_got = PST_MIN(a->amount, (uint64_t)left);
        return true;
    }
    uint64_t oldest = b->hours_n ? b->hours[0].hour : s->hour;
    *wait = PST_MAX(*wait, (oldest + 25) * HOUR_MS - s->now_ms);
    return false;
}

static void hours_add(budget_t *b, uint64_t hour, uint64_t count)
{
    if (b->hours_n && b->hours[b->hours_n - 1].hour == hour) {
        b->hours[b->hours_n - 1].count += count;
        return;
    }
    PST_ASSERT(b->hours_n < HOURS);
    b->hours[b->hours_n++] = (hour_t){hour, count};
}

static void hours_take_back(budget_t *b, uint64_t count)
{
    for (uint32_t i = b->hours_n; i-- > 0;) {
        uint64_t n = PST_MIN(count, b->hours[i].count);
        b->hours[i].count -= n;
        count -= n;
    }
}

/* 0 if it was granted, else the milliseconds to wait. */
static uint64_t limit_take(market_t *m, budget_t *b, const rate_arg_t a[PST_RATE_COUNT], uint64_t granted[PST_RATE_COUNT],
                           bool *ret_blocked)
{
    state_t s = budget_read(m, b, a);
    *ret_blocked = s.block_ms > s.now_ms;
    if (*ret_blocked)
        return s.block_ms - s.now_ms;
    uint64_t got[PST_RATE_COUNT] = {0}, wait = 0;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        if (a[i].limit && i == PST_RATE_DAILY)
            afford_today(b, &s, &a[i], &got[i], &wait);
        else if (a[i].limit)
            afford(s.level[i], &a[i], &got[i], &wait);
    }
    if (wait)
        return wait;
    for (int i = 0; i < MINUTES; i++)
        s.level[i] -= a[i].limit ? (int64_t)got[i] * SCALE : 0;
    if (got[PST_RATE_DAILY])
        hours_add(b, s.hour, got[PST_RATE_DAILY]);
    budget_keep(b, a, &s);
    memcpy(granted, got, sizeof got);
    return 0;
}

static void limit_give(market_t *m, budget_t *b, const rate_arg_t a[PST_RATE_COUNT])
{
    state_t s = budget_read(m, b, a);
    for (int i = 0; i < MINUTES; i++)
        if (a[i].limit)
            s.level[i] = PST_MIN(s.level[i] + (int64_t)a[i].amount * SCALE, (int64_t)a[i].cap * SCALE);
    hours_take_back(b, a[PST_RATE_DAILY].amount);
    budget_keep(b, a, &s);
}

static void limit_block(market_t *m, budget_t *b, const rate_arg_t a[PST_RATE_COUNT], uint64_t ms)
{
    state_t s = budget_read(m, b, a);
    s.block_ms = PST_MAX(s.block_ms, s.now_ms + ms);
    budget_keep(b, a, &s);
}

/* ---- what may never be ------------------------------------------------------------------------------------------------- */

/* What may have been granted by now: the largest cap seen, and what has flowed in at the largest limit.  Where limits are
 * configured there is but one of each; of learned ones every broker may have its own, and time is credited at that of
 * the one who asks. */
static double allowed(const market_t *m, const budget_t *b, int rate)
{
    double day = 24.0 * HOUR_MS, ms = (double)(market_wall_ms(m) - b->began_ms);
    return (double)b->cap_max[rate] + ms * (double)b->limit_max[rate] / (rate == PST_RATE_DAILY ? day : SCALE);
}

static void note_limits(market_t *m, budget_t *b, const rate_arg_t a[PST_RATE_COUNT])
{
    b->began_ms = b->began_ms ? b->began_ms : market_wall_ms(m);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->cap_max[i] = PST_MAX(b->cap_max[i], i == PST_RATE_DAILY ? a[i].limit : a[i].cap);
        b->limit_max[i] = PST_MAX(b->limit_max[i], a[i].limit);
    }
}

static void check_granted(market_t *m, budget_t *b)
{
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        double may = allowed(m, b, i) + ROUNDING;
        if (b->granted[i] > 0)
            b->most = fmax(b->most, (double)b->granted[i] / may);
        if ((double)b->granted[i] > may)
            market_fail(m, "%lld of rate %d of %s were granted, %.0f may be", (long long)b->granted[i], i, b->name, may);
    }
}

double market_granted(const market_t *m)
{
    double most = 0;
    for (uint32_t i = 0; i < m->budgets_n; i++)
        most = fmax(most, m->budget_list[i]->most);
    return most;
}

static void hold(budget_t *b, uint32_t broker, int rate, int64_t n)
{
    b->held[broker][rate] += n;
}

static bool counts_calls(int rate)
{
    return rate == PST_RATE_REQUESTS || rate == PST_RATE_DAILY;
}

static void check_budget_sent(broker_t *b, const provider_t *p, const char *name, uint32_t n)
{
    budget_t *u = budget_named(b->market, name, strlen(name));
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        if (!p->plan.limit[i] || !counts_calls(i))
            continue;
        hold(u, b->number, i, -(int64_t)n);
        if (u->held[b->number][i] < 0)
            market_fail(b->market, "broker %u sends calls to %s that it was not granted", b->number, name);
    }
}

void market_store_check_sent(broker_t *b, uint32_t endpoint, uint32_t n)
{
    const endpoint_t *e = &b->market->endpoints[endpoint];
    const provider_t *p = &b->market->providers[e->provider];
    char name[64];
    switch (p->plan.known) {
    case KNOWN_NOWHERE:
        return;
    case KNOWN_AT_PROVIDER:
        snprintf(name, sizeof name, "%s", p->name);
        break;
    case KNOWN_AT_ENDPOINT:
        snprintf(name, sizeof name, "%s/%s", p->name, e->name);
        break;
    }
    check_budget_sent(b, p, name, n);
}

/* ---- operations -------------------------------------------------------------------------------------------------------- */

struct op {
    event_t event; /* first */
    broker_t *broker;
    uint32_t life;
    pst_store_op_type_t type;
    uint64_t token;
    batch_t *batch;
    uint32_t pack;
    bool bodies;
    budget_t *budget;
    rate_arg_t rate[PST_RATE_COUNT];
    uint64_t block_ms;
};

/* What is given back is the broker's no longer from the moment it says so. */
static void let_go(op_t *op)
{
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        hold(op->budget, op->broker->number, i, -(int64_t)op->rate[i].amount);
        if (counts_calls(i) && op->budget->held[op->broker->number][i] < 0)
            market_fail(op->broker->market, "broker %u gives back more of %s than it has", op->broker->number,
                        op->budget->name);
    }
}

static void submit_limit(op_t *op, const pst_store_op_t *from)
{
    op->budget = budget_named(op->broker->market, from->u.limit.name.p, from->u.limit.name.n);
    for (int i = 0; i < PST_RATE_COUNT; i++)
        op->rate[i] = (rate_arg_t){from->u.limit.rate[i].limit, from->u.limit.rate[i].cap, from->u.limit.rate[i].amount,
                                   from->u.limit.rate[i].least};
    op->block_ms = from->u.limit.block_ms;
    if (from->type == PST_STORE_LIMIT_GIVE)
        let_go(op);
}

/* For brokers that start later. */
static void keep_learned(market_t *m, const pst_store_op_t *from)
{
    budget_t *b = budget_named(m, from->u.limit.name.p, from->u.limit.name.n);
    b->learned = true;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->learned_limit[i] = from->u.limit.rate[i].limit;
        b->learned_from[i] = (uint8_t)from->u.limit.rate[i].amount;
    }
}

void market_store_restore(broker_t *b)
{
    const market_t *m = b->market;
    for (uint32_t i = 0; i < m->budgets_n; i++) {
        const budget_t *u = m->budget_list[i];
        pst_restored_t r = {.type = PST_RESTORED_LIMITS, .u.limits.name = pst_view_str(u->name)};
        memcpy(r.u.limits.limit, u->learned_limit, sizeof u->learned_limit);
        memcpy(r.u.limits.source, u->learned_from, sizeof u->learned_from);
        pst_event_t ev = {.type = PST_EV_RESTORED};
        ev.u.restored = &r;
        if (u->learned)
            market_step(b, &ev);
    }
}

void market_store_submit(broker_t *b, const pst_store_op_t *from)
{
    market_t *m = b->market;
    op_t *op = market_take(&m->spare_ops, sizeof *op);
    op->broker = b;
    op->life = b->life;
    op->type = from->type;
    op->token = from->token;
    switch (from->type) {
    case PST_STORE_LIMIT_TAKE:
    case PST_STORE_LIMIT_GIVE:
    case PST_STORE_LIMIT_BLOCK:
        submit_limit(op, from);
        break;
    case PST_STORE_LIMIT_KEEP:
        keep_learned(m, from);
        break;
    case PST_STORE_LOAD:
        op->batch = market_batch_of(m, &from->batch);
        op->pack = from->u.load.pack;
        op->bodies = from->u.load.bodies;
        break;
    case PST_STORE_OPEN:
    case PST_STORE_PUT_PACK:
    case PST_STORE_CLAIM:
    case PST_STORE_COMMIT:
    case PST_STORE_APPEND:
    case PST_STORE_RETRY:
    case PST_STORE_CANCELLING:
    case PST_STORE_END:
    case PST_STORE_DELETE:
    case PST_STORE_OP_COUNT:
        break;
    }
    b->store_at = PST_MAX(b->store_at, m->now + ANSWER_MIN + pst_rng_below(&m->rng, ANSWER_MAX - ANSWER_MIN));
    market_schedule(m, &op->event, EVENT_STORE, b->store_at);
}

static void apply_take(market_t *m, op_t *op, pst_store_answer_t *a)
{
    budget_t *b = op->budget;
    note_limits(m, b, op->rate);
    a->wait_ms = limit_take(m, b, op->rate, a->granted, &a->blocked);
    a->refused = a->wait_ms > 0;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->granted[i] += (int64_t)a->granted[i];
        hold(b, op->broker->number, i, op->life == op->broker->life ? (int64_t)a->granted[i] : 0);
    }
    check_granted(m, b);
}

static void apply_give(market_t *m, op_t *op)
{
    budget_t *b = op->budget;
    note_limits(m, b, op->rate);
    limit_give(m, b, op->rate);
    for (int i = 0; i < PST_RATE_COUNT; i++)
        b->granted[i] -= (int64_t)op->rate[i].amount;
}

static void answer_load(market_t *m, const op_t *op, pst_event_t *ev, pst_store_answer_t *a)
{
    pst_pack_headers_t *h = market_scratch(m, sizeof *h);
    market_batch_pack(m, op->batch, op->pack, h);
    a->headers = market_batch_headers(h);
    a->bodies = op->bodies ? pst_blob_ref(m->bodies[h->jobs_n]) : NULL;
    ev->u.stored.headers = h;
}

/* Operations of a broker that died meanwhile had reached the store: budgets feel them, nobody hears the answer. */
void market_store_answer(market_t *m, op_t *op)
{
    pst_store_answer_t a = {.type = op->type, .token = op->token};
    pst_event_t ev = {.type = PST_EV_STORED};
    ev.u.stored.answer = &a;
    if (op->type == PST_STORE_LIMIT_TAKE)
        apply_take(m, op, &a);
    else if (op->type == PST_STORE_LIMIT_GIVE)
        apply_give(m, op);
    else if (op->type == PST_STORE_LIMIT_BLOCK)
        limit_block(m, op->budget, op->rate, op->block_ms);
    if (op->token && op->life == op->broker->life) {
        if (op->type == PST_STORE_LOAD)
            answer_load(m, op, &ev, &a);
        market_step(op->broker, &ev);
    }
    pst_blob_unref(&a.headers);
    pst_blob_unref(&a.bodies);
    market_put(&m->spare_ops, &op->event);
}

void market_store_broker_died(broker_t *b)
{
    for (uint32_t i = 0; i < b->market->budgets_n; i++)
        memset(b->market->budget_list[i]->held[b->number], 0, sizeof b->market->budget_list[i]->held[0]);
}

void market_store_free(market_t *m)
{
    for (uint32_t i = 0; i < m->budgets_n; i++)
        free(m->budget_list[i]);
    free(m->budget_list);
    market_free_spares(&m->spare_ops);
}
