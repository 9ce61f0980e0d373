/* market_limits.c - as fast as the limits allow: whether they are configured, told in headers, or only felt.
 *
 * One batch over all endpoints of one model.  T is the least time in which they let its jobs through (market_fluid.c).  The
 * last call's latency comes on top, of which routing knows nothing: so
 *     makespan ÷ bound  = (acceptance to last result) ÷ (T + latency of the call that gave it)
 *     last call ÷ bound = (acceptance to the last call that is admitted) ÷ T
 * where the second does not let one slow answer hide that calls were sent late. */
#include <stdio.h>

#include "market.h"

#define SLACK 20 /* a run may take as many bounds */
#define ROOM 1024 /* calls in flight at each provider: several times what its limits ask for */

/* With prompts of one length no routing gains by choosing who gets the short ones: what is lost is lost to limits. */
static const sizes_t alike = {.input_median = 280, .output_median = 150, .output_sigma = 0.6, .output_limit = 600};
static const sizes_t mixed = {.input_median = 250, .input_sigma = 0.5, .output_median = 150, .output_sigma = 0.6,
                              .output_limit = 600};

/* How the core gets to know the limits. */
typedef enum told { TOLD_CONFIGURED, TOLD_HEADERS, TOLD_REFUSALS } told_t;

/* Accounts as they are: some count requests, some tokens, some both; one by the second, one with hardly a burst.  Of 429s
 * every other one says when to come back. */
static void add_endpoints(market_t *m, told_t told)
{
    const provider_plan_t plans[] = {
        {.limit = {[PST_RATE_REQUESTS] = 3000}},
        {.limit = {[PST_RATE_REQUESTS] = 1800}, .counting = COUNT_SECOND},
        {.limit = {[PST_RATE_TOKENS] = 600000}},
        {.limit = {[PST_RATE_REQUESTS] = 2400, [PST_RATE_TOKENS] = 2000000}},
        {.limit = {[PST_RATE_INPUT] = 400000, [PST_RATE_OUTPUT] = 300000}, .charging = CHARGE_USED},
        {.limit = {[PST_RATE_REQUESTS] = 1200}, .burst_s = 1},
    };
    for (size_t i = 0; i < PST_COUNT(plans); i++) {
        provider_plan_t p = plans[i];
        if (told == TOLD_CONFIGURED)
            p.known = i % 2 ? KNOWN_AT_PROVIDER : KNOWN_AT_ENDPOINT;
        p.headers = told == TOLD_HEADERS;
        p.retry_after = i % 2;
        p.room = ROOM;
        market_endpoint(m, market_provider(m, &p), 0, 1, 1);
    }
}

static double last_admitted(const market_t *m)
{
    pst_ns_t last = 0;
    for (uint32_t i = 0; i < m->endpoints_n; i++)
        last = PST_MAX(last, m->endpoints[i].last_admitted);
    return (double)last / 1e9;
}

typedef struct wants {
    want_t want;
    double makespan, refused;
} wants_t;

static void figures(const run_t *r, const market_t *m, const batch_t *b, double bound, wants_t w)
{
    double began = (double)b->accepted_at / 1e9, latency = (double)b->last_latency / 1e9;
    tally_t t = tally_sum(m);
    run_figure(r, "makespan ÷ bound", ((double)b->last_result_at / 1e9 - began) / (bound + latency), w.want, w.makespan);
    run_figure(r, "last call ÷ bound", (last_admitted(m) - began) / bound, w.want, w.makespan);
    run_figure(r, "429s ÷ calls", (double)t.throttled / (double)t.calls, w.want, w.refused);
    run_figure(r, "bound s", bound, REPORT, 0);
}

static void run_one(run_t *r, told_t told, sizes_t sizes, wants_t w)
{
    market_t *m = market_new(r->options, 1);
    add_endpoints(m, told);
    market_open(m);
    batch_t *b = market_submit(m, &(batch_plan_t){.jobs = (uint32_t)r->options->jobs, .sizes = sizes});
    double bound = market_least_seconds(m);
    market_run(m, SLACK * bound + 600);
    figures(r, m, b, bound, w);
    run_end(r, &m);
}

static void configured(run_t *r)
{
    run_one(r, TOLD_CONFIGURED, alike, (wants_t){AT_MOST, 1.02, 0.001});
    snprintf(r->variant, sizeof r->variant, "mixed");
    run_one(r, TOLD_CONFIGURED, mixed, (wants_t){.want = REPORT});
}

static void headers(run_t *r)
{
    run_one(r, TOLD_HEADERS, alike, (wants_t){AT_MOST, 1.15, 0.005});
}

static void refusals(run_t *r)
{
    run_one(r, TOLD_REFUSALS, alike, (wants_t){AT_MOST, 1.30, 0.03});
}

const scenario_t market_limits[] = {
    {"limits.configured", configured},
    {"limits.headers", headers},
    {"limits.429", refusals},
    {NULL, NULL},
};
