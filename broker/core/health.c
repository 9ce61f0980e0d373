/* health.c - how an endpoint has done in the last five minutes: what OpenRouter calls its uptime, its throughput and
 * its latency.
 *
 * Uptime is answers over answers and errors.  Errors are what an outage, a key or a quota makes of a call; a refusal
 * for its rate says that the endpoint is busy, a refusal of the request that the request is wrong: neither counts.
 * Throughput is output tokens over the whole call, because what comes here is not streamed; latency is the whole call.
 *
 * Calls are counted in slots of half a minute, of which the last ten are looked at: their sum is kept.  To find the
 * quantiles of speeds costs some hundred additions, so these are kept for a second. */
#include "core/internal.h"

#define SLOT (30 * PST_SEC)
#define SLOTS 10
#define STANDING_KEEPS PST_SEC
#define UPTIME_CALLS_MIN 100   /* of fewer nothing is concluded (OpenRouter's number) */
#define SPEED_CALLS_MIN 20
#define TOKENS_A_SECOND_UNIT 10 /* tenths */

typedef struct slot_of_time {
    uint32_t worked, failed;
    uint32_t latency[PST_HIST_BUCKETS];    /* ms */
    uint32_t throughput[PST_HIST_BUCKETS]; /* tenths of tokens a second */
} slot_of_time_t;

struct health {
    uint64_t number;     /* of the latest slot that the sum has */
    pst_ns_t read_at;
    bool read;
    slot_of_time_t sum;  /* of them */
    standing_t standing;
    slot_of_time_t slots[SLOTS];
};

static void subtract(slot_of_time_t *sum, const slot_of_time_t *s)
{
    sum->worked -= s->worked;
    sum->failed -= s->failed;
    for (unsigned k = 0; k < PST_HIST_BUCKETS; k++) {
        sum->latency[k] -= s->latency[k];
        sum->throughput[k] -= s->throughput[k];
    }
}

/* Slots that are too old leave the sum, and are empty for what comes. */
static void roll(const pst_core_t *c, health_t *h)
{
    uint64_t number = c->now / SLOT;
    for (uint64_t n = PST_MAX(h->number + 1, number - PST_MIN(number, SLOTS - 1)); n <= number; n++) {
        slot_of_time_t *s = &h->slots[n % SLOTS];
        subtract(&h->sum, s);
        memset(s, 0, sizeof *s);
    }
    h->number = number;
}

static health_t *health_of(const pst_core_t *c, endpoint_t *e)
{
    if (!e->health) {
        e->health = pst_calloc_line(sizeof *e->health);
        e->health->number = c->now / SLOT;
    }
    roll(c, e->health);
    return e->health;
}

static void note_failure(health_t *h)
{
    h->slots[h->number % SLOTS].failed++;
    h->sum.failed++;
}

static void note_answer(health_t *h, const pst_outcome_t *o)
{
    slot_of_time_t *const both[] = {&h->slots[h->number % SLOTS], &h->sum};
    for (unsigned i = 0; i < PST_COUNT(both); i++) {
        both[i]->worked++;
        both[i]->latency[hist_bucket(o->latency_us / 1000)]++;
        if (o->output_tokens && o->latency_us)
            both[i]->throughput[hist_bucket(o->output_tokens * 1000000ull * TOKENS_A_SECOND_UNIT / o->latency_us)]++;
    }
}

void health_note(pst_core_t *c, endpoint_t *e, const pst_outcome_t *o)
{
    switch ((pst_verdict_t)o->verdict) {
    case PST_VERDICT_DONE:
        note_answer(health_of(c, e), o);
        break;
    case PST_VERDICT_RETRY:
    case PST_VERDICT_PARK:
        note_failure(health_of(c, e));
        break;
    case PST_VERDICT_FINAL:
    case PST_VERDICT_THROTTLE:
    case PST_VERDICT_RETURNED:
        break;
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

/* OpenRouter's: 95 % and more is normal, from 80 % it comes later, below that last. */
static uint8_t tier_of(const slot_of_time_t *t)
{
    uint64_t calls = (uint64_t)t->worked + t->failed;
    if (calls < UPTIME_CALLS_MIN || t->worked * 100ull >= calls * 95)
        return TIER_NORMAL;
    return t->worked * 100ull >= calls * 80 ? TIER_LATER : TIER_LAST;
}

static uint16_t uptime_of(const slot_of_time_t *t)
{
    uint64_t calls = (uint64_t)t->worked + t->failed;
    return calls < UPTIME_CALLS_MIN ? 1000 : (uint16_t)(t->worked * 1000ull / calls);
}

/* "p90" is what 90 % of calls do not fall short of: latency from the fast end, throughput from the same. */
static void read_speeds(const slot_of_time_t *t, standing_t *ret)
{
    static const unsigned per_cent[PST_QUANTILES] = {50, 75, 90, 99};
    uint32_t speeds = 0; /* answers without output have none */
    for (unsigned k = 0; k < PST_HIST_BUCKETS; k++)
        speeds += t->throughput[k];
    ret->measured = t->worked >= SPEED_CALLS_MIN && speeds >= SPEED_CALLS_MIN;
    for (int i = 0; ret->measured && i < PST_QUANTILES; i++) {
        ret->latency[i] = hist_within(t->latency, t->worked, per_cent[i]) / 1000;
        ret->throughput[i] = hist_within(t->throughput, speeds, 100 - per_cent[i]) / TOKENS_A_SECOND_UNIT;
    }
}

uint8_t health_tier(const pst_core_t *c, const endpoint_t *e)
{
    if (!e->health)
        return TIER_NORMAL;
    roll(c, e->health);
    return tier_of(&e->health->sum);
}

standing_t health_standing(const pst_core_t *c, const endpoint_t *e)
{
    health_t *h = e->health;
    if (!h)
        return (standing_t){.tier = TIER_NORMAL, .uptime_per_mille = 1000};
    if (h->read && c->now - h->read_at < STANDING_KEEPS)
        return h->standing;
    roll(c, h);
    h->standing = (standing_t){.tier = tier_of(&h->sum), .uptime_per_mille = uptime_of(&h->sum)};
    read_speeds(&h->sum, &h->standing);
    h->read_at = c->now;
    h->read = true;
    return h->standing;
}
