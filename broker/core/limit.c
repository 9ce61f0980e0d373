/* limit.c - rate budgets.
 *
 * The counters are the store's (one atomic call takes from all rates or from none, and says how long to wait); the core
 * leases slices of about SLICE_TIME ahead of need, so that no job costs a round trip, and gives back a slice that lies
 * unused.  A job spends what it is expected to take when it is sent and is settled by the usage of its answer; what
 * was spent too much is paid back out of the next slice.
 *
 * A slice is not spent at once but at the pace of its rate: many providers count by the second, whatever they call the
 * limit, and a burst of a tenth of a minute's requests would meet refusals there.  The pace begins half a hundredth below
 * the limit, which keeps an even flow within windows of a second, and comes nearer while nothing is refused.  Where several
 * brokers take from one budget each keeps to the pace at which it is given slices.
 *
 * What limits there are: configured ones; those that a provider's headers name; else, for requests, what its refusals have
 * taught (learn.c).  What was learned is kept in the store, so that a restart need not find it out again. */
#include "core/internal.h"

#define DAY_MS 86400000u
#define DAY_SLICES 1000     /* into which a day's requests are cut */
#define LANES_MAX 64        /* brokers that share a budget */
#define SLICE_REQUESTS_MIN 16 /* a round trip costs Redis some 15 us: a sixteenth of it a job */
#define PACE_FIRST 0.995    /* share of a limit that the pace keeps to: it comes nearer while nothing is refused … */
#define PACE_MOST 0.9995
#define PACE_LEAST 0.8
#define PACE_UP 5e-7        /* … by so much a call, and goes away by so much a refusal: these balance at one in 4,000 */
#define PACE_DOWN 0.002
#define PACE_STEP PST_MS    /* budgets are looked at together, a thousand times a second, not one by one for each job */
#define LANE_UP 2.0         /* a whole slice came: there may be more to be had */
#define LANE_MORE 1.3       /* of what was given, so that who was given little comes to ask for more */
#define BURST_SHARE 0.02    /* of a second's requests: what may be caught up with at once, when the broker was busy elsewhere */
#define LEARNED_MAX 1000000000000 /* what a header may make us believe */
#define KEEP_EVERY (10 * PST_SEC) /* at most so often a bucket's learned limits are stored */

static bool is_tokens(int rate)
{
    return rate == PST_RATE_INPUT || rate == PST_RATE_OUTPUT || rate == PST_RATE_TOKENS;
}

/* So much of a rate is leased ahead, beyond what is needed. */
static uint64_t slice_of(const bucket_t *b, int rate)
{
    if (rate == PST_RATE_DAILY)
        return b->rate[rate].limit / DAY_SLICES;
    uint64_t slice = b->rate[rate].limit * (SLICE_TIME / PST_MS) / 60000;
    return rate == PST_RATE_REQUESTS ? PST_MAX(slice, SLICE_REQUESTS_MIN) : slice;
}

static uint64_t cap_of(uint64_t limit, int rate)
{
    if (!limit)
        return 0;
    switch ((pst_rate_t)rate) {
    case PST_RATE_REQUESTS:
        return PST_MAX(limit / 60, SLICE_REQUESTS_MIN); /* a second's worth, or a slice */
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

/* What the pace may have saved up. */
static double burst_of(double second, int rate)
{
    return rate == PST_RATE_REQUESTS ? 1 + second * BURST_SHARE : PST_MAX(second, 1.0);
}

static void put_limit(bucket_t *b, int rate, uint64_t limit, pst_limit_source_t source)
{
    rate_t *r = &b->rate[rate];
    bool fresh = r->limit == 0;
    r->limit = limit;
    r->cap = cap_of(limit, rate);
    r->second = (double)limit / 60;
    r->burst = burst_of(r->second, rate);
    r->pace = fresh ? r->burst : PST_MIN(r->pace, r->burst);
    b->place->closed_until = 0;
    b->source[rate] = (uint8_t)source;
    b->limited_n = 0;
    for (uint8_t i = 0; i < PST_RATE_COUNT; i++)
        if (b->rate[i].limit)
            b->limited[b->limited_n++] = i;
}

void bucket_set(bucket_t *b, const uint64_t limit[PST_RATE_COUNT])
{
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        bool was_configured = b->configured[i] > 0;
        b->configured[i] = limit[i];
        if (limit[i] || was_configured)
            put_limit(b, i, limit[i], PST_LIMIT_CONFIGURED);
    }
    if (limit[PST_RATE_REQUESTS])
        learn_end(b);
}

bucket_t *bucket_new(const char *name, place_t *place)
{
    bucket_t *b = pst_calloc_line(sizeof *b);
    pst_heap_node_init(&b->timer.node);
    b->timer.kind = TIMER_BUCKET;
    b->name = pst_strdup_view(pst_view_str(name));
    b->place = place;
    b->share = PACE_FIRST;
    return b;
}

void bucket_free(bucket_t *b)
{
    if (!b)
        return;
    learn_end(b);
    free(b->name);
    free(b);
}

/* The store's budget fills at the pace too: it is that of all brokers together. */
static uint64_t paced(const bucket_t *b, int rate)
{
    if (rate == PST_RATE_DAILY || !b->rate[rate].limit)
        return b->rate[rate].limit;
    return PST_MAX((uint64_t)((double)b->rate[rate].limit * b->share + 0.5), 1);
}

static pst_store_op_t *limit_op(pst_core_t *c, pst_store_op_type_t type, const bucket_t *b, op_t **op)
{
    pst_store_op_t *s = core_store(c, type, NULL, op);
    s->u.limit.name = pst_view_str(b->name);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        s->u.limit.rate[i].limit = paced(b, i);
        s->u.limit.rate[i].cap = b->rate[i].cap;
    }
    return s;
}

void bucket_block(pst_core_t *c, bucket_t *b, pst_ns_t wait)
{
    limit_op(c, PST_STORE_LIMIT_BLOCK, b, NULL)->u.limit.block_ms = wait / PST_MS;
}

uint64_t bucket_part(int rate, tokens_t t)
{
    if (rate == PST_RATE_INPUT)
        return t.input;
    if (rate == PST_RATE_OUTPUT)
        return t.output;
    if (rate == PST_RATE_TOKENS)
        return (uint64_t)t.input + t.output;
    return 1; /* a request */
}

/* Of a rate without a limit nothing.  Tokens past what the bucket holds are capped, so that one giant job neither
 * starves nor is starved. */
static int64_t part_of(const bucket_t *b, int rate, tokens_t t)
{
    return (int64_t)PST_MIN(bucket_part(rate, t), b->rate[rate].cap);
}

/* ---- the lease ------------------------------------------------------------------------------------------------------ */

/* What is missing, at most a bucket. */
static uint64_t up_to(int64_t want, int64_t have, uint64_t cap)
{
    return want > have ? PST_MIN((uint64_t)(want - have), cap) : 0;
}

/* For a job at once, or, with parts of 0, ahead of need. */
static void take(pst_core_t *c, bucket_t *b, const int64_t part[PST_RATE_COUNT])
{
    if (b->taking || c->now < b->ask_at)
        return;
    op_t *op;
    pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_TAKE, b, &op);
    op->bucket = b;
    b->taking = true;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        int64_t ahead = part[i] + (int64_t)slice_of(b, i);
        s->u.limit.rate[i].least = up_to(part[i], b->rate[i].have, b->rate[i].cap);
        s->u.limit.rate[i].amount = up_to(ahead, b->rate[i].have, b->rate[i].cap);
    }
    b->asked = s->u.limit.rate[PST_RATE_REQUESTS].amount;
}

static void wake_at(pst_core_t *c, bucket_t *b, pst_ns_t at)
{
    if (!pst_heap_has(&b->timer.node) || b->timer.node.key > at)
        core_timer(c, &b->timer, at);
}

/* Half of a slice is left: the next is asked for while that is spent, but not again and again where little is to be had. */
static void take_ahead(pst_core_t *c, bucket_t *b)
{
    static const int64_t none[PST_RATE_COUNT];
    bool low = false;
    if (pst_ns_since(c->now, b->taken_at) < SLICE_TIME / 2)
        return;
    for (int n = 0; n < b->limited_n; n++)
        low = low || b->rate[b->limited[n]].have < (int64_t)slice_of(b, b->limited[n]) / 2;
    if (low)
        take(c, b, none);
}

static bool leased(pst_core_t *c, bucket_t *b, tokens_t t)
{
    bool enough = true;
    for (int n = 0; n < b->limited_n; n++)
        enough = enough && b->rate[b->limited[n]].have >= part_of(b, b->limited[n], t);
    if (enough)
        return true;
    int64_t part[PST_RATE_COUNT];
    for (int i = 0; i < PST_RATE_COUNT; i++)
        part[i] = part_of(b, i, t);
    take(c, b, part);
    if (!b->taking)
        wake_at(c, b, b->ask_at);
    return false;
}

/* ---- the pace ------------------------------------------------------------------------------------------------------- */

static double a_second(const bucket_t *b, int rate)
{
    double rate_s = b->rate[rate].second * b->share;
    return rate == PST_RATE_REQUESTS && b->lane > 0 ? PST_MIN(rate_s, b->lane) : rate_s;
}

/* A slice came: is there more than this broker is given, and how much is that? */
static void find_lane(const pst_core_t *c, bucket_t *b, uint64_t granted)
{
    double passed = (double)pst_ns_since(c->now, b->taken_at) / (double)PST_SEC;
    double full = b->rate[PST_RATE_REQUESTS].second;
    if ((b->scarce || granted < b->asked) && passed > 0)
        b->lane = PST_MAX((double)granted / passed * LANE_MORE, full / LANES_MAX);
    else if (b->lane > 0)
        b->lane *= LANE_UP;
    if (b->lane >= full)
        b->lane = 0;
    b->scarce = false;
    b->taken_at = c->now;
}

void bucket_refused(bucket_t *b)
{
    if (b)
        b->share = PST_MAX(b->share - PACE_DOWN, PACE_LEAST);
}

static void keep_pace(const pst_core_t *c, bucket_t *b)
{
    double passed = (double)pst_ns_since(c->now, b->paced_at) / (double)PST_SEC;
    if (passed <= 0)
        return;
    b->paced_at = c->now;
    for (int n = 0; n < b->limited_n; n++) {
        int i = b->limited[n];
        rate_t *r = &b->rate[i];
        if (i != PST_RATE_DAILY && r->pace < r->burst)
            r->pace = PST_MIN(r->pace + passed * a_second(b, i), r->burst);
    }
}

/* How long until so much may be sent. */
static pst_ns_t pace_wait(const bucket_t *b, tokens_t t)
{
    double wait = 0;
    for (int n = 0; n < b->limited_n; n++) {
        int i = b->limited[n];
        double need = PST_MIN((double)part_of(b, i, t), b->rate[i].burst) - b->rate[i].pace;
        if (i != PST_RATE_DAILY && need > 1e-9)
            wait = PST_MAX(wait, need / a_second(b, i));
    }
    return (pst_ns_t)(wait * (double)PST_SEC + 0.999);
}

void bucket_rate(bucket_t *b, double a_second)
{
    uint64_t limit = (uint64_t)(a_second * 60 / b->share + 0.5);
    limit = PST_MAX(limit, 1);
    if (limit != b->rate[PST_RATE_REQUESTS].limit)
        put_limit(b, PST_RATE_REQUESTS, limit, PST_LIMIT_LEARNED);
}

static bool in_pace(pst_core_t *c, bucket_t *b, tokens_t t)
{
    keep_pace(c, b);
    pst_ns_t wait = pace_wait(b, t);
    if (!wait)
        return true;
    if (!b->lane)
        learn_held_back(c, b);
    b->place->closed_until = (pst_ns_add(c->now, wait) / PACE_STEP + 1) * PACE_STEP;
    wake_at(c, b, b->place->closed_until);
    return false;
}

bool bucket_has(pst_core_t *c, bucket_t *b, tokens_t t)
{
    return !b || (in_pace(c, b, t) && leased(c, b, t));
}

bool bucket_may(pst_core_t *c, bucket_t *b)
{
    return bucket_has(c, b, (tokens_t){1, 1});
}

/* ---- spending and getting back ----------------------------------------------------------------------------------------- */

/* Slots that have begun since the last look are empty. */
static void roll(const pst_core_t *c, bucket_t *b)
{
    uint64_t slot = c->now / USED_SLOT;
    if (slot == b->used_slot)
        return;
    uint64_t fresh = PST_MIN(slot - b->used_slot, USED_SLOTS);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->used[i][b->used_slot % USED_SLOTS] = b->rate[i].used;
        b->rate[i].used = 0;
        for (uint64_t k = 0; k < fresh; k++)
            b->used[i][(slot - k) % USED_SLOTS] = 0;
    }
    b->used_slot = slot;
}

static void count_of_day(const pst_core_t *c, bucket_t *b, int64_t amount)
{
    uint64_t day = c->wall_ms / DAY_MS;
    if (day != b->day)
        b->used_day = 0;
    b->day = day;
    b->used_day += (uint64_t)PST_MAX(amount, -(int64_t)b->used_day);
}

/* What comes back was mostly spent in a slot before: then that of now is empty at least. */
static void count_used(const pst_core_t *c, bucket_t *b, int rate, int64_t amount)
{
    if (rate == PST_RATE_DAILY) {
        count_of_day(c, b, amount);
        return;
    }
    roll(c, b);
    uint64_t *u = &b->rate[rate].used;
    if (amount >= 0)
        *u += (uint64_t)amount;
    else
        *u -= PST_MIN(*u, (uint64_t)-amount);
}

void bucket_spend(pst_core_t *c, bucket_t *b, tokens_t t)
{
    if (!b)
        return;
    b->used_at = c->now;
    for (int n = 0; n < b->limited_n; n++) {
        int i = b->limited[n];
        int64_t part = part_of(b, i, t);
        rate_t *r = &b->rate[i];
        r->have -= part;
        r->pace -= (double)part;
        count_used(c, b, i, part);
    }
    b->share = PST_MIN(b->share + PACE_UP, PACE_MOST);
    take_ahead(c, b);
    wake_at(c, b, pst_ns_add(c->now, SLICE_IDLE));
}

/* Not cut to what a bucket holds: it was taken from it before, and the provider gives it back too. */
static void put_back(pst_core_t *c, bucket_t *b, int rate, int64_t amount)
{
    if (!amount)
        return;
    b->rate[rate].have += amount;
    b->rate[rate].pace += (double)amount;
    count_used(c, b, rate, -amount);
    b->place->closed_until = 0;
    place_wake(c, b->place);
}

void bucket_settle(pst_core_t *c, bucket_t *b, tokens_t reserved, tokens_t real)
{
    for (int n = 0; b && n < b->limited_n; n++) {
        int i = b->limited[n];
        if (is_tokens(i))
            put_back(c, b, i, part_of(b, i, reserved) - part_of(b, i, real));
    }
}

void bucket_unspend(pst_core_t *c, bucket_t *b, tokens_t reserved)
{
    for (int n = 0; b && n < b->limited_n; n++)
        put_back(c, b, b->limited[n], part_of(b, b->limited[n], reserved));
}

void bucket_taken(pst_core_t *c, bucket_t *b, const pst_store_answer_t *a)
{
    b->taking = false;
    if (a->err != PST_OK || a->refused) {
        b->ask_at = pst_ns_add(c->now, PST_MAX(a->wait_ms, 1) * PST_MS);
        if (!a->blocked)
            b->scarce = true;
        else if (b->taken_at < b->ask_at)
            b->taken_at = b->ask_at; /* nobody is given anything meanwhile */
        wake_at(c, b, b->ask_at);
        return;
    }
    for (int i = 0; i < PST_RATE_COUNT; i++)
        b->rate[i].have += (int64_t)a->granted[i];
    b->used_at = c->now;
    if (a->granted[PST_RATE_REQUESTS]) /* asked ahead, there may be none; of tokens alone, it says nothing */
        find_lane(c, b, a->granted[PST_RATE_REQUESTS]);
    wake_at(c, b, pst_ns_add(c->now, SLICE_IDLE));
    place_wake(c, b->place);
}

static void give_back(pst_core_t *c, bucket_t *b)
{
    bool any = false;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        any = any || b->rate[i].have > 0;
    if (!any)
        return;
    pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_GIVE, b, NULL);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        s->u.limit.rate[i].amount = (uint64_t)PST_MAX(b->rate[i].have, 0);
        b->rate[i].have = PST_MIN(b->rate[i].have, 0);
    }
}

void bucket_timer(pst_core_t *c, bucket_t *b)
{
    place_wake(c, b->place);
    if (b->place->closed_until > c->now)
        wake_at(c, b, b->place->closed_until);
    if (b->taking)
        return;
    if (pst_ns_since(c->now, b->used_at) < SLICE_IDLE)
        wake_at(c, b, pst_ns_add(b->used_at, SLICE_IDLE));
    else
        give_back(c, b);
}

/* ---- what is learned --------------------------------------------------------------------------------------------------- */

void bucket_keep(pst_core_t *c, bucket_t *b)
{
    bool changed = false;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        uint64_t learned = b->source[i] == PST_LIMIT_CONFIGURED ? 0 : b->rate[i].limit, was = b->kept[i];
        uint64_t apart = learned > was ? learned - was : was - learned;
        changed = changed || apart > was / 10;
    }
    if (!changed || (b->kept_at && pst_ns_since(c->now, b->kept_at) < KEEP_EVERY))
        return;
    b->kept_at = c->now;
    pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_KEEP, b, NULL);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        b->kept[i] = b->source[i] == PST_LIMIT_CONFIGURED ? 0 : b->rate[i].limit;
        s->u.limit.rate[i].limit = b->kept[i];
        s->u.limit.rate[i].amount = b->source[i];
    }
}

void bucket_learn(pst_core_t *c, bucket_t *b, pst_rate_t rate, uint64_t limit, pst_limit_source_t source)
{
    limit = PST_MIN(limit, LEARNED_MAX);
    if (b->configured[rate] || limit == 0)
        return;
    if (rate == PST_RATE_REQUESTS && source == PST_LIMIT_SAID)
        learn_end(b);
    if (limit != b->rate[rate].limit || b->source[rate] != source)
        put_limit(b, (int)rate, limit, source);
    bucket_keep(c, b);
}

/* A provider's own count of what is left: others may use the account too. */
void bucket_left(pst_core_t *c, bucket_t *b, pst_rate_t rate, uint64_t left)
{
    if (!b->rate[rate].limit || rate == PST_RATE_DAILY)
        return;
    keep_pace(c, b);
    b->rate[rate].pace = PST_MIN(b->rate[rate].pace, (double)left);
}

uint64_t bucket_used(const pst_core_t *c, bucket_t *b, pst_rate_t rate)
{
    if (rate == PST_RATE_DAILY)
        return c->wall_ms / DAY_MS == b->day ? b->used_day : 0;
    roll(c, b);
    uint64_t sum = b->rate[rate].used;
    for (int i = 0; i < USED_SLOTS; i++)
        sum += b->used[rate][i];
    return sum;
}

void bucket_restore(pst_core_t *c, pst_view_t name, const uint64_t limit[PST_RATE_COUNT],
                    const uint8_t source[PST_RATE_COUNT])
{
    const char *slash = name.n ? memchr(name.p, '/', name.n) : NULL;
    if (!slash)
        return;
    size_t n = (size_t)(slash - name.p);
    pst_endpoint_name_t e = {pst_view(name.p, n), pst_view(slash + 1, name.n - n - 1)};
    uint32_t id = endpoint_find(c, &e);
    if (id == NONE)
        return;
    bucket_t *b = endpoint_bucket(c, c->endpoints[id]);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        if (b->configured[i] || !limit[i] || source[i] == PST_LIMIT_CONFIGURED)
            continue;
        put_limit(b, i, limit[i], (pst_limit_source_t)source[i]);
        b->kept[i] = limit[i];
        c->endpoints[id]->window = 0;
    }
    if (b->source[PST_RATE_REQUESTS] == PST_LIMIT_LEARNED && b->rate[PST_RATE_REQUESTS].limit)
        learn_restore(c, b);
}
