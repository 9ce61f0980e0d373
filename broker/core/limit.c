/* limit.c - rate budgets.  The counters are the store's (one atomic call takes from all rates or from none, and says
 * how long to wait); the core leases slices of about SLICE_TIME, so that no job costs a round trip.  A slice that lies
 * unused is given back.  A job spends what it is expected to take when it is sent and is settled by the usage of its
 * answer; what was spent too much is paid back out of the next slice. */
#include "core/internal.h"

#define DAY_SLICES 1000 /* into which a day's requests are cut */

/* So much of a rate is leased ahead, beyond what is needed. */
static uint64_t slice_of(const bucket_t *b, int rate)
{
    if (rate == PST_RATE_DAILY)
        return b->limit[rate] / DAY_SLICES;
    return b->limit[rate] * (SLICE_TIME / PST_MS) / 60000;
}

static uint64_t cap_of(uint64_t limit, int rate)
{
    if (!limit)
        return 0;
    switch ((pst_rate_t)rate) {
    case PST_RATE_REQUESTS:
        return PST_MAX(limit / 60, 1); /* a second's worth: many providers count by the second */
    case PST_RATE_INPUT:
    case PST_RATE_OUTPUT:
    case PST_RATE_TOKENS:
        return PST_MAX(limit / 6, 1); /* ten seconds' worth: one prompt may be large */
    case PST_RATE_DAILY:
    case PST_RATE_COUNT:
        break;
    }
    return limit;
}

void bucket_set(bucket_t *b, const uint64_t limit[PST_RATE_COUNT])
{
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->limit[i] = limit[i];
        b->cap[i] = cap_of(limit[i], i);
    }
}

bucket_t *bucket_new(const char *name, const uint64_t limit[PST_RATE_COUNT])
{
    bucket_t *b = pst_calloc(1, sizeof *b);
    pst_heap_node_init(&b->timer.node);
    b->timer.kind = TIMER_BUCKET;
    b->name = pst_strdup_view(pst_view_str(name));
    bucket_set(b, limit);
    return b;
}

static pst_store_op_t *limit_op(pst_core_t *c, pst_store_op_type_t type, const bucket_t *b, op_t **op)
{
    pst_store_op_t *s = core_store(c, type, NULL, op);
    s->u.limit.name = pst_view_str(b->name);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        s->u.limit.rate[i].limit = b->limit[i];
        s->u.limit.rate[i].cap = b->cap[i];
    }
    return s;
}

/* A call's part of a rate; of one without a limit nothing.  Tokens past what the bucket holds are capped, so that one
 * giant job neither starves nor is starved. */
static int64_t part_of(const bucket_t *b, int rate, tokens_t t)
{
    const uint64_t parts[PST_RATE_COUNT] = {
        [PST_RATE_REQUESTS] = 1,
        [PST_RATE_INPUT] = t.input,
        [PST_RATE_OUTPUT] = t.output,
        [PST_RATE_TOKENS] = (uint64_t)t.input + t.output,
        [PST_RATE_DAILY] = 1,
    };
    return (int64_t)PST_MIN(parts[rate], b->cap[rate]);
}

static bool is_tokens(int rate)
{
    return rate == PST_RATE_INPUT || rate == PST_RATE_OUTPUT || rate == PST_RATE_TOKENS;
}

/* What is missing, at most a bucket. */
static uint64_t up_to(int64_t want, int64_t have, uint64_t cap)
{
    return want > have ? PST_MIN((uint64_t)(want - have), cap) : 0;
}

static void take(pst_core_t *c, bucket_t *b, tokens_t t)
{
    if (b->taking || c->now < b->wait_until)
        return;
    op_t *op;
    pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_TAKE, b, &op);
    op->bucket = b;
    b->taking = true;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        int64_t need = part_of(b, i, t), ahead = need + (int64_t)slice_of(b, i);
        s->u.limit.rate[i].least = up_to(need, b->have[i], b->cap[i]);
        s->u.limit.rate[i].amount = up_to(ahead, b->have[i], b->cap[i]);
    }
}

bool bucket_has(pst_core_t *c, bucket_t *b, tokens_t t)
{
    if (!b)
        return true;
    if (c->now < b->wait_until)
        return false;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        if (b->limit[i] && b->have[i] < part_of(b, i, t)) {
            take(c, b, t);
            return false;
        }
    }
    return true;
}

void bucket_spend(pst_core_t *c, bucket_t *b, tokens_t t)
{
    if (!b)
        return;
    b->used_at = c->now;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        b->have[i] -= part_of(b, i, t);
    if (!pst_heap_has(&b->timer.node))
        core_timer(c, &b->timer, pst_ns_add(c->now, SLICE_IDLE));
}

/* No bucket holds more than its cap, here as little as in the store. */
static void put_back(bucket_t *b, int rate, int64_t amount)
{
    b->have[rate] = PST_MIN(b->have[rate] + amount, (int64_t)b->cap[rate]);
}

void bucket_settle(bucket_t *b, tokens_t reserved, tokens_t real)
{
    for (int i = 0; b && i < PST_RATE_COUNT; i++)
        if (is_tokens(i))
            put_back(b, i, part_of(b, i, reserved) - part_of(b, i, real));
}

void bucket_unspend(bucket_t *b, tokens_t reserved)
{
    for (int i = 0; b && i < PST_RATE_COUNT; i++)
        put_back(b, i, part_of(b, i, reserved));
}

static void wake_users(pst_core_t *c, const bucket_t *b)
{
    for (uint32_t i = 0; i < c->providers_n; i++)
        if (c->providers[i]->bucket == b)
            provider_wake(c, c->providers[i]);
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        if (c->endpoints[i]->bucket == b)
            endpoint_wake(c, c->endpoints[i]);
}

void bucket_taken(pst_core_t *c, bucket_t *b, const pst_store_answer_t *a)
{
    b->taking = false;
    if (a->err != PST_OK || a->refused) {
        b->wait_until = pst_ns_add(c->now, PST_MAX(a->wait_ms, 1) * PST_MS);
        core_timer(c, &b->timer, b->wait_until);
        return;
    }
    for (int i = 0; i < PST_RATE_COUNT; i++)
        b->have[i] += (int64_t)a->granted[i];
    b->used_at = c->now;
    core_timer(c, &b->timer, pst_ns_add(c->now, SLICE_IDLE));
    wake_users(c, b);
}

static void give_back(pst_core_t *c, bucket_t *b)
{
    bool any = false;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        any = any || b->have[i] > 0;
    if (!any)
        return;
    pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_GIVE, b, NULL);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        s->u.limit.rate[i].amount = (uint64_t)PST_MAX(b->have[i], 0);
        b->have[i] = PST_MIN(b->have[i], 0);
    }
}

void bucket_timer(pst_core_t *c, bucket_t *b)
{
    if (b->wait_until && c->now >= b->wait_until) {
        b->wait_until = 0;
        wake_users(c, b);
    }
    if (b->taking)
        return;
    if (pst_ns_since(c->now, b->used_at) < SLICE_IDLE)
        core_timer(c, &b->timer, pst_ns_add(b->used_at, SLICE_IDLE));
    else
        give_back(c, b);
}
