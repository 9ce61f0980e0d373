/* market_cost.c - as cheap as the deadline allows, and no dearer than the budget. */
#include <stdio.h>

#include "market.h"

#define ROOM 1024
#define SLACK 20

static const sizes_t alike = {.input_median = 280, .output_median = 150, .output_sigma = 0.6, .output_limit = 600};

/* ---- windows ----------------------------------------------------------------------------------------------------------------- */

typedef struct window {
    const char *name;
    double of_cheapest;  /* of the time the cheapest endpoint would take alone */
    double of_all;       /* or of the time that all of them take */
    double outage_s;     /* of the cheapest, in the middle */
    want_t want;
} window_t;

#define LAST_ANSWERS_S 30 /* on top of a window: those of the last calls */

/* Three endpoints, each twice as dear as the one before.  Their limits count requests, so that it does not matter which
 * jobs go where, and have hardly a burst: in a window each can do what flows in. */
static void add_endpoints(market_t *m)
{
    static const uint64_t rpm[] = {2400, 2400, 4800};
    for (uint32_t i = 0; i < PST_COUNT(rpm); i++) {
        provider_plan_t p = {.limit = {[PST_RATE_REQUESTS] = rpm[i]}, .burst_s = 1, .known = KNOWN_AT_PROVIDER,
                             .room = ROOM, .retry_after = true};
        market_endpoint(m, market_provider(m, &p), 0, 0.5 * (1u << i), 1.5 * (1u << i));
    }
}

/* Cheapest possible: market_least_cost over the whole window, as if the last call could be answered at once. */
static void run_window(run_t *r, const window_t *w)
{
    snprintf(r->variant, sizeof r->variant, "%s", w->name);
    market_t *m = market_new(r->options, 1);
    add_endpoints(m);
    market_open(m);
    batch_t *b = market_submit(m, &(batch_plan_t){.jobs = (uint32_t)r->options->jobs, .sizes = alike});
    double seconds = w->of_all > 0 ? w->of_all * market_least_seconds(m, m->endpoints_n)
                                   : w->of_cheapest * market_least_seconds(m, 1);
    b->plan.window_s = (uint64_t)seconds + LAST_ANSWERS_S;
    m->providers[0].plan.outage_from = m->now + (pst_ns_t)(seconds / 2 * 1e9);
    m->providers[0].plan.outage_until = m->providers[0].plan.outage_from + (pst_ns_t)(w->outage_s * 1e9);
    double least = market_least_cost(m, (double)b->plan.window_s);
    market_run(m, (double)b->plan.window_s + 600);
    bool met = b->completed == b->plan.jobs;
    run_figure(r, "cost ÷ cheapest possible", (double)b->cost_nano / 1e9 / least, w->want, 1.03);
    run_figure(r, "deadline met", met, w->want == REPORT ? REPORT : AT_LEAST, 1);
    run_figure(r, "jobs that expired", b->expired, REPORT, 0);
    run_figure(r, "jobs that failed", b->failed, REPORT, 0);
    run_figure(r, "used of the window", (double)(b->last_result_at - b->accepted_at) / 1e9 / (double)b->plan.window_s,
               REPORT, 0);
    if (!met && w->want != REPORT)
        market_fail(m, "the window was missed: %u jobs expired, %u failed", b->expired, b->failed);
    run_end(r, &m);
}

static void deadline(run_t *r)
{
    static const window_t windows[] = {
        {.name = "two of three", .of_cheapest = 0.6, .want = AT_MOST},
        {.name = "generous", .of_cheapest = 1.3, .want = AT_MOST},
        {.name = "tight", .of_all = 1.1, .want = AT_MOST},
        {.name = "outage", .of_cheapest = 0.6, .outage_s = 60, .want = REPORT},
    };
    for (size_t i = 0; i < PST_COUNT(windows); i++)
        run_window(r, &windows[i]);
}

/* ---- budgets ------------------------------------------------------------------------------------------------------------------ */

#define SPEND_JOBS 20000u /* of so many a few hundred calls in flight still matter */

static void run_spend(run_t *r, const char *variant, uint32_t output_limit)
{
    snprintf(r->variant, sizeof r->variant, "%s", variant);
    market_t *m = market_new(r->options, 1);
    provider_plan_t p = {.limit = {[PST_RATE_REQUESTS] = 6000}, .burst_s = 1, .known = KNOWN_AT_PROVIDER,
                         .room = ROOM};
    market_endpoint(m, market_provider(m, &p), 0, 1, 4);
    market_open(m);
    sizes_t sizes = alike;
    sizes.output_limit = output_limit;
    batch_t *b = market_submit(m, &(batch_plan_t){.jobs = (uint32_t)PST_MIN(r->options->jobs, SPEND_JOBS),
                                                  .sizes = sizes});
    double bound = market_least_seconds(m, 1), all = market_least_cost(m, 10 * bound);
    b->plan.max_cost_nano = (uint64_t)(all / 2 * 1e9);
    market_run(m, SLACK * bound + 600);
    double left = 1 - (double)b->cost_nano / (double)b->plan.max_cost_nano;
    run_figure(r, "overshoot ÷ budget", left < 0 ? -left : 0, AT_MOST, 0.001);
    run_figure(r, "unspent ÷ budget", left > 0 ? left : 0, AT_MOST, 0.01);
    run_figure(r, "makespan ÷ half the bound", (double)(b->last_result_at - b->accepted_at) / 1e9 / (bound / 2), REPORT, 0);
    run_end(r, &m);
}

static void spend(run_t *r)
{
    run_spend(r, "max_tokens 600", 600);
    run_spend(r, "max_tokens 4000", 4000);
    run_spend(r, "no max_tokens", 0);
}

const scenario_t market_cost[] = {
    {"deadline.cost", deadline},
    {"spend.cap", spend},
    {NULL, NULL},
};
