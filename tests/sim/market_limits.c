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

/* Accounts as they are: some count requests, some tokens, some both; one by the second, one with hardly a burst; one
 * fails now and then.  429s of every other one say when to come back. */
static void add_endpoints(market_t *m, told_t told)
{
    const provider_plan_t plans[] = {
        {.limit = {[PST_RATE_REQUESTS] = 3000}},
        {.limit = {[PST_RATE_REQUESTS] = 1800}, .counting = COUNT_SECOND},
        {.limit = {[PST_RATE_TOKENS] = 600000}},
        {.limit = {[PST_RATE_REQUESTS] = 2400, [PST_RATE_TOKENS] = 2000000}, .failures = 0.002},
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

static void figures(const run_t *r, const market_t *m, double bound, wants_t w)
{
    pst_ns_t began = PST_NEVER, ended = 0, latency = 0;
    for (uint32_t i = 0; i < m->batches_n; i++) {
        const batch_t *b = m->batches[i];
        if (b->origin != b)
            continue;
        began = PST_MIN(began, b->accepted_at);
        latency = b->last_result_at >= ended ? b->last_latency : latency;
        ended = PST_MAX(ended, b->last_result_at);
    }
    tally_t t = tally_sum(m);
    run_figure(r, "makespan ÷ bound", (double)(ended - began) / (bound * 1e9 + (double)latency), w.want, w.makespan);
    run_figure(r, "last call ÷ bound", (last_admitted(m) - (double)began / 1e9) / bound, w.want, w.makespan);
    run_figure(r, "429s ÷ calls", (double)t.throttled / (double)t.calls, w.want, w.refused);
    run_figure(r, "bound s", bound, REPORT, 0);
}

/* Beside the accounts a server of one's own, which takes so many calls at a time: that is always configured. */
static void run_one(run_t *r, told_t told, sizes_t sizes, wants_t w)
{
    market_t *m = market_new(r->options, 1);
    add_endpoints(m, told);
    provider_plan_t own = {.concurrency = 64, .known = KNOWN_AT_PROVIDER, .room = ROOM};
    market_endpoint(m, market_provider(m, &own), 0, 1, 1);
    market_open(m);
    market_submit(m, &(batch_plan_t){.jobs = (uint32_t)r->options->jobs, .sizes = sizes});
    double bound = market_least_seconds(m, m->endpoints_n);
    market_run(m, SLACK * bound + 600);
    figures(r, m, bound, w);
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

static void crash(market_t *m, void *arg)
{
    market_crash(m, (uint32_t)(uintptr_t)arg);
}

/* Four brokers, a batch each, on the same accounts; every one of them dies once, the first twice.  One account also has a
 * limit a day, which ends long before the batches do. */
static void run_brokers(run_t *r, const char *variant, told_t told)
{
    static const double crashes[] = {0.15, 0.3, 0.45, 0.6, 0.75};
    snprintf(r->variant, sizeof r->variant, "%s", variant);
    market_t *m = market_new(r->options, MARKET_BROKERS_MAX);
    add_endpoints(m, told);
    provider_plan_t daily = {.limit = {[PST_RATE_REQUESTS] = 3000, [PST_RATE_DAILY] = r->options->jobs / 20},
                             .known = KNOWN_AT_PROVIDER, .room = ROOM};
    market_endpoint(m, market_provider(m, &daily), 0, 1, 1);
    market_open(m);
    for (uint32_t i = 0; i < m->brokers_n; i++)
        market_submit(m, &(batch_plan_t){.broker = i, .jobs = (uint32_t)r->options->jobs / m->brokers_n, .sizes = alike});
    double bound = market_least_seconds(m, m->endpoints_n);
    for (uint32_t i = 0; i < PST_COUNT(crashes); i++)
        market_at(m, m->now + (pst_ns_t)(crashes[i] * bound * 1e9), crash, (void *)(uintptr_t)(i % m->brokers_n));
    market_run(m, SLACK * bound + 600);
    figures(r, m, bound, (wants_t){.want = REPORT});
    run_figure(r, "brokers' crashes", (double)m->crashes, REPORT, 0);
    run_figure(r, "granted ÷ what may be, at most", market_granted(m), AT_MOST, 1);
    run_end(r, &m);
}

static void brokers(run_t *r)
{
    run_brokers(r, "", TOLD_CONFIGURED);
    run_brokers(r, "headers", TOLD_HEADERS);
    run_brokers(r, "429", TOLD_REFUSALS);
}

/* ---- a provider that was dead ------------------------------------------------------------------------------------------------ */

#define OUTAGE_S 10
#define BEFORE_S 30 /* over which the full rate is taken */
#define AFTER_S 60  /* in which it must be back */
#define LOOK (50 * PST_MS)

/* How far an endpoint has fallen behind since its provider is well again. */
typedef struct recovery {
    const endpoint_t *endpoint;
    pst_ns_t from, until;             /* the outage */
    uint64_t before, at_outage, well; /* calls admitted until BEFORE_S before it, until it began, until it was over */
    double lost_s;                    /* the most that was missing at any moment, in seconds of its full rate */
} recovery_t;

static void look(market_t *m, void *arg)
{
    recovery_t *r = arg;
    uint64_t admitted = r->endpoint->tally.admitted;
    if (m->now <= r->from - BEFORE_S * PST_SEC)
        r->before = admitted;
    if (m->now <= r->from)
        r->at_outage = admitted;
    if (m->now <= r->until)
        r->well = admitted;
    double rate = (double)(r->at_outage - r->before) / BEFORE_S;
    double lost = (double)pst_ns_since(m->now, r->until) / 1e9 - (double)(admitted - r->well) / rate;
    if (m->now > r->until && lost > r->lost_s)
        r->lost_s = lost;
    if (m->now < r->until + AFTER_S * PST_SEC)
        market_at(m, m->now + LOOK, look, r);
}

static void run_outage(run_t *r, const char *variant, outage_t outage, bool alone)
{
    snprintf(r->variant, sizeof r->variant, "%s", variant);
    market_t *m = market_new(r->options, 1);
    provider_plan_t p = {.limit = {[PST_RATE_REQUESTS] = 3000}, .known = KNOWN_AT_PROVIDER, .room = ROOM};
    market_endpoint(m, market_provider(m, &p), 0, 1, 1);
    if (!alone)
        market_endpoint(m, market_provider(m, &p), 0, 1, 1);
    market_open(m);
    const batch_t *b = market_submit(m, &(batch_plan_t){.jobs = (uint32_t)r->options->jobs, .sizes = alike});
    double bound = market_least_seconds(m, m->endpoints_n);
    recovery_t rec = {.endpoint = &m->endpoints[0], .from = m->now + (pst_ns_t)(bound / 2 * 1e9)};
    rec.until = rec.from + OUTAGE_S * PST_SEC;
    m->providers[0].plan.outage = outage;
    m->providers[0].plan.outage_from = rec.from;
    m->providers[0].plan.outage_until = rec.until;
    market_at(m, m->now, look, &rec);
    market_run(m, SLACK * bound + 600);
    run_figure(r, "share-seconds lost after it", rec.lost_s, AT_MOST, 1.5);
    run_figure(r, "calls that failed", (double)tally_sum(m).failed, REPORT, 0);
    run_figure(r, "jobs that failed", (double)b->failed, AT_MOST, 0);
    run_end(r, &m);
}

static void outages(run_t *r)
{
    run_outage(r, "503", OUTAGE_REFUSED, false);
    run_outage(r, "connection", OUTAGE_CONNECTION, false);
    run_outage(r, "503 alone", OUTAGE_REFUSED, true);
}

const scenario_t market_limits[] = {
    {"limits.configured", configured},
    {"limits.headers", headers},
    {"limits.429", refusals},
    {"limits.brokers", brokers},
    {"outage", outages},
    {NULL, NULL},
};
