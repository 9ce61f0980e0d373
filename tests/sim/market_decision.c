/* market_decision.c - what a decision costs: real time in pst_core_step, divided by the jobs it sent.
 *
 * All jobs are accepted before the first worker comes, so that as many as are named wait all the time.  Then calls are made
 * in one of two ways:
 *     room    the workers' room is what is short: each answer makes place for one job
 *     limits  the endpoints' limits are: each is asked for a slice of its budget several times a second
 * OUTCOMES are handed in while the store is said to be down, when the core sends nothing; what it then sends is measured in
 * the step that says the store is up.  So handling an outcome and sending a job are told apart.  The store's answers to
 * results count with outcomes, all other steps (loading packs, slices, timers) as sending; what looking at the clock takes
 * is taken off.  Queues, and batches, shrink with --jobs below 1,000,000. */
#include <stdio.h>

#include "market.h"

#define JOBS_FULL 1e6         /* --jobs at which queues have the length that is named */
#define IN_FLIGHT 4096        /* of all workers, where their room is short */
#define LATENCY_S 0.2
#define CALLS_PER_S 16000.0   /* of all endpoints, where their limits are short */
#define WARM_UP_MAX 40000
#define MEASURED_MAX 200000   /* jobs sent */
#define REAL_S 6.0            /* or so long */
#define REAL_S_MIN 0.15
#define TENANTS 10
#define WANTED_NS 1000
#define REFUSED_MOST 0.001    /* or it is not decisions that are measured, but endpoints that rest */

typedef struct grid {
    uint32_t endpoints, models, batches;
    double queued;
    bool limits;
    bool judged;
} grid_t;

static void add_endpoints(market_t *m, const grid_t *g)
{
    uint32_t providers = g->endpoints <= 10 ? g->endpoints : g->endpoints / 10;
    double calls = g->limits ? CALLS_PER_S : 10 * CALLS_PER_S;
    provider_plan_t p = {.limit = {[PST_RATE_REQUESTS] = (uint64_t)(calls * 60 / providers)}, .known = KNOWN_AT_ENDPOINT,
                         .latency_s = LATENCY_S, .latency_sigma = 0.3, .token_s = -1};
    p.room = g->limits ? 0 : PST_MAX(IN_FLIGHT / providers, 4);
    for (uint32_t i = 0; i < providers; i++)
        market_provider(m, &p);
    for (uint32_t i = 0; i < g->endpoints; i++)
        market_endpoint(m, i % providers, i * g->models / g->endpoints, 1, 1);
}

static void submit(market_t *m, const grid_t *g, uint32_t batches, uint64_t queued)
{
    static const sizes_t sizes = {.input_median = 280, .input_sigma = 0.5, .output_median = 150, .output_sigma = 0.6,
                                  .output_limit = 600};
    static const char *const tenants[TENANTS] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"};
    for (uint32_t i = 0; i < batches; i++) {
        batch_plan_t plan = {.jobs = (uint32_t)(queued * (i + 1) / batches - queued * i / batches), .sizes = sizes,
                             .tenant = tenants[i % TENANTS]};
        plan.models[0] = i % g->models;
        market_submit(m, &plan);
    }
}

/* Until so many are sent, or real time is over. */
static void send(market_t *m, uint64_t jobs, double real_s)
{
    uint64_t from = m->watch.sent, begin = market_real_ns();
    while (m->watch.sent - from < jobs && (double)(market_real_ns() - begin) < real_s * 1e9)
        if (!market_next(m, PST_NEVER))
            return;
}

static void measure(run_t *r, const grid_t *g)
{
    double scale = PST_MIN((double)r->options->jobs / JOBS_FULL, 1.0);
    double real_s = PST_MAX(REAL_S * scale, REAL_S_MIN);
    uint64_t queued = (uint64_t)PST_MAX(g->queued * scale, 10000.0);
    uint32_t batches = PST_MIN(g->batches, (uint32_t)PST_MAX(g->batches * scale, 100.0));
    snprintf(r->variant, sizeof r->variant, "%u in %u, %u batches, %.0e, %s", g->endpoints, g->models, batches,
             (double)queued, g->limits ? "limits" : "room");
    market_t *m = market_new(r->options, 1);
    m->workers_wait = true;
    add_endpoints(m, g);
    market_open(m);
    submit(m, g, batches, queued);
    while (m->accepted < batches && market_next(m, PST_NEVER))
        continue;
    market_workers_join(m);
    send(m, PST_MIN(queued / 10, WARM_UP_MAX), real_s);
    uint64_t loaded = pst_core_counters(m->broker[0].core)->packs_loaded;
    m->watch = market_stopwatch();
    send(m, PST_MIN(queued / 2, MEASURED_MAX), real_s);
    run_figure(r, "ns a job sent", (double)m->watch.other_ns / (double)PST_MAX(m->watch.sent, 1), g->judged ? AT_MOST : REPORT,
               WANTED_NS);
    loaded = pst_core_counters(m->broker[0].core)->packs_loaded - loaded;
    run_figure(r, "packs read back a job sent", (double)loaded / (double)PST_MAX(m->watch.sent, 1), REPORT, 0);
    if (m->watch.outcomes)
        run_figure(r, "ns an outcome", (double)m->watch.outcomes_ns / (double)m->watch.outcomes, REPORT, 0);
    tally_t t = tally_sum(m);
    run_figure(r, "429s ÷ calls", (double)t.throttled / (double)t.calls, AT_MOST, REFUSED_MOST);
    m->cut = true;
    run_end(r, &m);
}

static void decision(run_t *r)
{
    static const grid_t grid[] = {
        {1, 1, 100, 1e6, false, false},     {10, 1, 100, 1e6, false, false},    {100, 10, 100, 1e6, false, false},
        {1000, 100, 100, 1e6, false, false},
        {10, 1, 1, 1e6, false, false},      {10, 1, 10000, 1e6, false, false},
        {10, 1, 100, 1e4, false, false},    {10, 1, 100, 1e7, false, false},
        {10, 1, 100, 1e6, true, false},
        {1000, 100, 10000, 1e7, false, true}, {1000, 100, 10000, 1e7, true, true},
        {1000, 1, 10000, 1e7, false, true},   {1000, 1, 10000, 1e7, true, true},
    };
    for (size_t i = 0; i < PST_COUNT(grid); i++)
        measure(r, &grid[i]);
}

const scenario_t market_decision[] = {
    {"decision.cost", decision},
    {NULL, NULL},
};
