/* health.c - how an endpoint has done in the last five minutes: what OpenRouter calls its uptime, its throughput and
 * its latency.
 *
 * Uptime is answers over answers and errors.  Errors are what an outage, a key or a quota makes of a call; a refusal
 * for its rate says that the endpoint is busy, a refusal of the request that the request is wrong: neither counts.
 * Throughput is output tokens over the whole call, because what comes here is not streamed; latency is the whole call.
 *
 * Calls are counted in slots of half a minute, of which the last ten are looked at.  Reading them costs some thousand
 * additions, so what they say is kept for a second. */
#include "core/internal.h"

#define SLOT (30 * PST_SEC)
#define SLOTS 10
#define STANDING_KEEPS PST_SEC
#define UPTIME_CALLS_MIN 100   /* of fewer nothing is concluded (OpenRouter's number) */
#define SPEED_CALLS_MIN 20
#define TOKENS_A_SECOND_UNIT 10 /* tenths */

typedef struct slot_of_time {
    uint64_t number; /* since the clock began; slots[number % SLOTS] is its own */
    uint32_t worked, failed;
    uint32_t latency[PST_HIST_BUCKETS];    /* ms */
    uint32_t throughput[PST_HIST_BUCKETS]; /* tenths of tokens a second */
} slot_of_time_t;

struct health {
    slot_of_time_t slots[SLOTS];
    pst_ns_t read_at;
    bool read;
    standing_t standing;
};

static slot_of_time_t *current_slot(pst_core_t *c, endpoint_t *e)
{
    if (!e->health)
        e->health = pst_calloc(1, sizeof *e->health);
    uint64_t number = c->now / SLOT;
    slot_of_time_t *s = &e->health->slots[number % SLOTS];
    if (s->number != number) {
        memset(s, 0, sizeof *s);
        s->number = number;
    }
    return s;
}

static void note_answer(slot_of_time_t *s, const pst_outcome_t *o)
{
    s->worked++;
    s->latency[hist_bucket(o->latency_us / 1000)]++;
    if (o->output_tokens && o->latency_us)
        s->throughput[hist_bucket(o->output_tokens * 1000000ull * TOKENS_A_SECOND_UNIT / o->latency_us)]++;
}

void health_note(pst_core_t *c, endpoint_t *e, const pst_outcome_t *o)
{
    switch ((pst_verdict_t)o->verdict) {
    case PST_VERDICT_DONE:
        note_answer(current_slot(c, e), o);
        break;
    case PST_VERDICT_RETRY:
    case PST_VERDICT_PARK:
        current_slot(c, e)->failed++;
        break;
    case PST_VERDICT_FINAL:
    case PST_VERDICT_THROTTLE:
    case PST_VERDICT_RETURNED:
        break;
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

typedef struct total {
    uint32_t worked, failed, speeds;
    uint32_t latency[PST_HIST_BUCKETS], throughput[PST_HIST_BUCKETS];
} total_t;

static void sum(const pst_core_t *c, const health_t *h, total_t *ret)
{
    uint64_t now = c->now / SLOT;
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < SLOTS; i++) {
        const slot_of_time_t *s = &h->slots[i];
        if (now - s->number >= SLOTS)
            continue;
        ret->worked += s->worked;
        ret->failed += s->failed;
        for (unsigned k = 0; k < PST_HIST_BUCKETS; k++) {
            ret->latency[k] += s->latency[k];
            ret->throughput[k] += s->throughput[k];
            ret->speeds += s->throughput[k];
        }
    }
}

/* OpenRouter's: 95 % and more is normal, from 80 % it comes later, below that last. */
static uint8_t tier_of(const total_t *t)
{
    uint64_t calls = (uint64_t)t->worked + t->failed;
    if (calls < UPTIME_CALLS_MIN || t->worked * 100ull >= calls * 95)
        return TIER_NORMAL;
    return t->worked * 100ull >= calls * 80 ? TIER_LATER : TIER_LAST;
}

static uint16_t uptime_of(const total_t *t)
{
    uint64_t calls = (uint64_t)t->worked + t->failed;
    return calls < UPTIME_CALLS_MIN ? 1000 : (uint16_t)(t->worked * 1000ull / calls);
}

/* "p90" is what 90 % of calls do not fall short of: latency from the fast end, throughput from the same. */
static void read_speeds(const total_t *t, standing_t *ret)
{
    static const unsigned per_cent[PST_QUANTILES] = {50, 75, 90, 99};
    ret->measured = t->worked >= SPEED_CALLS_MIN && t->speeds >= SPEED_CALLS_MIN;
    for (int i = 0; ret->measured && i < PST_QUANTILES; i++) {
        ret->latency[i] = hist_within(t->latency, t->worked, per_cent[i]) / 1000;
        ret->throughput[i] = hist_within(t->throughput, t->speeds, 100 - per_cent[i]) / TOKENS_A_SECOND_UNIT;
    }
}

standing_t health_standing(pst_core_t *c, const endpoint_t *e)
{
    health_t *h = e->health;
    if (!h)
        return (standing_t){.tier = TIER_NORMAL, .uptime_per_mille = 1000};
    if (h->read && c->now - h->read_at < STANDING_KEEPS)
        return h->standing;
    total_t t;
    sum(c, h, &t);
    h->standing = (standing_t){.tier = tier_of(&t), .uptime_per_mille = uptime_of(&t)};
    read_speeds(&t, &h->standing);
    h->read_at = c->now;
    h->read = true;
    return h->standing;
}
