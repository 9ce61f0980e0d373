/* market_provider.c - what a provider does with a call.  It counts requests and tokens against its limits when the call
 * comes, and admits it or answers 429 at once; what it admits it answers after its latency.  See market.h. */
#include <math.h>

#include "market.h"

#define BURST_S 60.0
#define LATENCY_S 2.0
#define LATENCY_SIGMA 0.6
#define TOKEN_S 0.005
#define TOKENIZER 1.15
#define REFUSAL_S 0.030        /* until a 429 or 503 is answered */
#define REFUSAL_SIGMA 0.4
#define OUTPUT_UNKNOWN 256     /* counted for a request that names no limit */
#define DAY (86400 * PST_SEC)

static double default_of(double v, double usual)
{
    return v > 0 ? v : v < 0 ? 0 : usual;
}

double market_provider_burst(const provider_t *p, int rate)
{
    return (double)p->plan.limit[rate] / 60 * p->plan.burst_s;
}

void market_provider_open(market_t *m, provider_t *p)
{
    provider_plan_t *plan = &p->plan;
    plan->burst_s = default_of(plan->burst_s, BURST_S);
    plan->latency_s = default_of(plan->latency_s, LATENCY_S);
    plan->latency_sigma = default_of(plan->latency_sigma, LATENCY_SIGMA);
    plan->token_s = default_of(plan->token_s, TOKEN_S);
    plan->tokenizer = default_of(plan->tokenizer, TOKENIZER);
    for (int i = 0; i < PST_RATE_COUNT; i++)
        p->level[i] = market_provider_burst(p, i);
    p->level_at = m->now;
    p->clock_skew = pst_rng_below(&m->rng, PST_SEC);
}

/* ---- limits ---------------------------------------------------------------------------------------------------------- */

static bool is_bucket(const provider_t *p, int rate)
{
    return p->plan.limit[rate] && rate != PST_RATE_DAILY &&
           (rate != PST_RATE_REQUESTS || p->plan.counting == COUNT_BUCKET);
}

static void fill(market_t *m, provider_t *p)
{
    double s = (double)(m->now - p->level_at) / 1e9;
    p->level_at = m->now;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        if (is_bucket(p, i))
            p->level[i] = fmin(p->level[i] + s * (double)p->plan.limit[i] / 60, market_provider_burst(p, i));
    uint64_t window = (m->now + p->clock_skew) / PST_SEC, day = (m->now - m->began) / DAY;
    p->window_used = window == p->window ? p->window_used : 0;
    p->window = window;
    p->day_used = day == p->day ? p->day_used : 0;
    p->day = day;
}

/* What the call is counted as when it comes. */
static double counted(const provider_t *p, const call_t *c, int rate)
{
    uint32_t output = 0;
    if (p->plan.charging == CHARGE_RESERVED)
        output = c->job.output_limit ? c->job.output_limit : OUTPUT_UNKNOWN;
    switch ((pst_rate_t)rate) {
    case PST_RATE_REQUESTS:
    case PST_RATE_DAILY:
        return 1;
    case PST_RATE_INPUT:
        return c->real_input;
    case PST_RATE_OUTPUT:
        return output;
    case PST_RATE_TOKENS:
        return (double)c->real_input + output;
    case PST_RATE_COUNT:
        break;
    }
    return 0;
}

/* And what it turns out to have been. */
static double real(const call_t *c, int rate)
{
    if (rate == PST_RATE_INPUT)
        return c->real_input;
    return rate == PST_RATE_OUTPUT ? c->job.output : (double)c->real_input + c->job.output;
}

static bool is_tokens(int rate)
{
    return rate == PST_RATE_INPUT || rate == PST_RATE_OUTPUT || rate == PST_RATE_TOKENS;
}

/* Seconds until this rate admits the call; 0: now.  A bucket that is owed (CHARGE_USED) admits nothing. */
static double rate_wait(market_t *m, const provider_t *p, const call_t *c, int rate)
{
    uint64_t limit = p->plan.limit[rate];
    if (!limit)
        return 0;
    if (rate == PST_RATE_DAILY)
        return p->day_used < limit ? 0 : (double)(DAY - (m->now - m->began) % DAY) / 1e9;
    if (!is_bucket(p, rate))
        return p->window_used < limit / 60 ? 0 : (double)(PST_SEC - (m->now + p->clock_skew) % PST_SEC) / 1e9;
    double need = fmin(counted(p, c, rate), market_provider_burst(p, rate));
    return p->level[rate] >= need ? 0 : (need - p->level[rate]) / ((double)limit / 60);
}

static void count_in(provider_t *p, const call_t *c)
{
    for (int i = 0; i < PST_RATE_COUNT; i++)
        if (is_bucket(p, i))
            p->level[i] -= counted(p, c, i);
    p->window_used++;
    p->day_used++;
    p->in_flight++;
}

void market_provider_answered(market_t *m, call_t *c)
{
    endpoint_t *e = &m->endpoints[c->endpoint];
    provider_t *p = &m->providers[e->provider];
    if (!c->admitted)
        return;
    fill(m, p);
    p->in_flight--;
    bool done = c->verdict == PST_VERDICT_DONE;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        if (is_bucket(p, i) && is_tokens(i) && done)
            p->level[i] = fmin(p->level[i] + counted(p, c, i) - real(c, i), market_provider_burst(p, i));
    if (!done)
        return;
    e->tally.answered++;
    e->tally.input += c->real_input;
    e->tally.output += c->job.output;
    c->batch->origin->cost_nano += (uint64_t)(1e3 * (c->real_input * e->price_input + c->job.output * e->price_output) + 0.5);
}

/* ---- what becomes of a call ------------------------------------------------------------------------------------------ */

static void refuse(call_t *c, pst_verdict_t verdict, pst_cause_t cause, uint16_t status)
{
    c->verdict = (uint8_t)verdict;
    c->cause = (uint8_t)cause;
    c->status = status;
}

/* Seconds until the call would be admitted, as far as the provider can tell; 0: it is. */
static double limits_wait(market_t *m, const provider_t *p, const call_t *c)
{
    double wait = 0;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        wait = fmax(wait, rate_wait(m, p, c, i));
    if (p->plan.concurrency && p->in_flight >= p->plan.concurrency)
        wait = fmax(wait, p->plan.latency_s);
    return wait;
}

/* What the headers say of each limit once this call is counted.  They come with the answer, seconds later. */
static void tell_limits(market_t *m, const provider_t *p, call_t *c)
{
    for (int i = 0; p->plan.headers && i < PST_RATE_COUNT; i++) {
        double limit = (double)p->plan.limit[i], left, reset_s;
        if (limit <= 0)
            continue;
        if (i == PST_RATE_DAILY) {
            left = limit - (double)p->day_used;
            reset_s = (double)(DAY - (m->now - m->began) % DAY) / 1e9;
        } else if (is_bucket(p, i)) {
            left = p->level[i];
            reset_s = (market_provider_burst(p, i) - left) / (limit / 60);
        } else {
            left = limit / 60 - (double)p->window_used;
            reset_s = (double)(PST_SEC - (m->now + p->clock_skew) % PST_SEC) / 1e9;
        }
        c->limits[i] = (pst_limit_report_t){.rate = (uint8_t)i, .limit = p->plan.limit[i],
                                            .remaining = (uint64_t)fmax(left, 0),
                                            .reset_ms = (uint64_t)ceil(1000 * reset_s)};
    }
}

static bool out(const market_t *m, const provider_plan_t *p)
{
    return m->now >= p->outage_from && m->now < p->outage_until;
}

pst_ns_t market_provider_call(market_t *m, call_t *c)
{
    endpoint_t *e = &m->endpoints[c->endpoint];
    provider_t *p = &m->providers[e->provider];
    const provider_plan_t *plan = &p->plan;
    fill(m, p);
    pst_ns_t soon = m->now + market_lognormal(m, REFUSAL_S, REFUSAL_SIGMA);
    if (out(m, plan)) {
        bool cut = plan->outage == OUTAGE_CONNECTION;
        refuse(c, PST_VERDICT_RETRY, cut ? PST_CAUSE_CONNECTION : PST_CAUSE_UNAVAILABLE, cut ? 0 : 503);
        e->tally.failed++;
        return soon;
    }
    double wait = limits_wait(m, p, c);
    if (wait > 0) {
        refuse(c, PST_VERDICT_THROTTLE, PST_CAUSE_RATE_LIMIT, 429);
        c->wait_ms = plan->retry_after ? 1000 * (uint64_t)ceil(wait) : 0;
        e->tally.throttled++;
        tell_limits(m, p, c);
        return soon;
    }
    c->admitted = true;
    e->tally.admitted++;
    e->last_admitted = m->now;
    count_in(p, c);
    tell_limits(m, p, c);
    pst_ns_t done = m->now + market_lognormal(m, plan->latency_s, plan->latency_sigma);
    if (pst_rng_unit(&m->rng) < plan->failures) {
        refuse(c, PST_VERDICT_RETRY, PST_CAUSE_SERVER, 500);
        e->tally.failed++;
        return done;
    }
    refuse(c, PST_VERDICT_DONE, PST_CAUSE_NONE, 200);
    return done + (pst_ns_t)(plan->token_s * c->job.output * 1e9);
}
