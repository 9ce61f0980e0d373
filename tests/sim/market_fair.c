/* market_fair.c - tenants beside each other, and a small batch beside a large one. */
#include <stdio.h>

#include "market.h"

#define TENANTS 10
#define SLACK 20
#define ROOM 1024
#define LOOK (100 * PST_MS)
#define NEARLY_ALL 0.98 /* of its jobs sent: the tenant is backlogged no longer */

static const sizes_t small = {.input_median = 100, .input_sigma = 0.4, .output_median = 60, .output_sigma = 0.5,
                              .output_limit = 200};
static const sizes_t medium = {.input_median = 300, .input_sigma = 0.4, .output_median = 150, .output_sigma = 0.5,
                               .output_limit = 500};
static const sizes_t large = {.input_median = 1200, .input_sigma = 0.4, .output_median = 400, .output_sigma = 0.5,
                              .output_limit = 1000};

/* ---- shares ------------------------------------------------------------------------------------------------------------------ */

typedef struct shares {
    uint64_t jobs[TENANTS];  /* all of a tenant's */
    uint64_t first[TENANTS]; /* tokens sent when the window began */
    uint64_t share[TENANTS]; /* and since */
    bool began, ended;
    pst_ns_t from, until;
} shares_t;

/* The window is from the moment all are accepted to the first that has hardly anything left. */
static void look(market_t *m, void *arg)
{
    shares_t *s = arg;
    for (uint32_t i = 0; i < TENANTS && m->accepted == m->batches_n && !s->began; i++) {
        s->first[i] = m->tenants[i].tokens;
        s->from = m->now;
    }
    s->began = s->began || m->accepted == m->batches_n;
    for (uint32_t i = 0; i < TENANTS; i++)
        s->ended = s->ended || (double)m->tenants[i].sent >= NEARLY_ALL * (double)s->jobs[i];
    if (s->ended)
        return;
    s->until = m->now;
    for (uint32_t i = 0; i < TENANTS; i++)
        s->share[i] = m->tenants[i].tokens - s->first[i];
    market_at(m, m->now + LOOK, look, s);
}

/* (sum x)^2 ÷ (n sum x^2): 1 if all are equal, 1/n if one has all. */
static double jain(const shares_t *s)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < TENANTS; i++) {
        double x = (double)s->share[i];
        sum += x;
        squares += x * x;
    }
    return squares > 0 ? sum * sum / (TENANTS * squares) : 0;
}

/* Tenant i has i + 1 parts of all jobs; sizes go round by threes, the number of its batches by twos and threes, and some
 * have both models in one batch. */
static void submit_tenant(market_t *m, shares_t *s, uint32_t i, uint64_t jobs)
{
    static const char *const names[TENANTS] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"};
    static const sizes_t *const sizes[] = {&medium, &small, &large};
    uint32_t batches = i % 2 ? 3 : 1;
    s->jobs[i] = jobs;
    for (uint32_t k = 0; k < batches; k++) {
        batch_plan_t plan = {.jobs = (uint32_t)(jobs * (k + 1) / batches - jobs * k / batches), .sizes = *sizes[i % 3],
                             .tenant = names[i]};
        plan.models[0] = (i / 2 + k) % 2;
        plan.models[1] = 1 - plan.models[0];
        plan.models_n = i % 4 == 3 ? 2 : 1;
        market_submit(m, &plan);
    }
}

/* Two accounts, each with two models on one limit. */
static void add_accounts(market_t *m)
{
    provider_plan_t p = {.limit = {[PST_RATE_TOKENS] = 3000000, [PST_RATE_REQUESTS] = 6000}, .known = KNOWN_AT_PROVIDER,
                         .room = ROOM};
    uint32_t first = market_provider(m, &p), second = market_provider(m, &p);
    for (uint32_t model = 0; model < 2; model++) {
        market_endpoint(m, first, model, 1, 1);
        market_endpoint(m, second, model, 1, 1);
    }
}

static void tenants(run_t *r)
{
    market_t *m = market_new(r->options, 1);
    add_accounts(m);
    market_open(m);
    shares_t s = {0};
    for (uint32_t i = 0; i < TENANTS; i++)
        submit_tenant(m, &s, i, r->options->jobs * (i + 1) / 55);
    market_at(m, m->now, look, &s);
    market_run(m, (double)r->options->jobs + 600);
    run_figure(r, "Jain's index of tokens", jain(&s), AT_LEAST, 0.98);
    run_figure(r, "s in which all have jobs", (double)(s.until - s.from) / 1e9, REPORT, 0);
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < TENANTS; i++) {
        least = PST_MIN(least, s.share[i]);
        most = PST_MAX(most, s.share[i]);
    }
    run_figure(r, "least share ÷ greatest", (double)least / (double)PST_MAX(most, 1), REPORT, 0);
    run_end(r, &m);
}

/* ---- beside ------------------------------------------------------------------------------------------------------------------ */

#define BESIDE 50      /* small batches, one after the other */
#define BESIDE_JOBS 10
#define BESIDE_EVERY_S 2

/* One endpoint that sends 100 calls a second, and a batch of all jobs that keeps it busy; every two seconds somebody else
 * submits ten jobs.  With half of the calls theirs, the last of them would be sent after 200 ms. */
static void run_beside(run_t *r, const char *variant, const char *tenant)
{
    snprintf(r->variant, sizeof r->variant, "%s", variant);
    market_t *m = market_new(r->options, 1);
    provider_plan_t p = {.limit = {[PST_RATE_REQUESTS] = 6000}, .known = KNOWN_AT_PROVIDER, .room = ROOM};
    market_endpoint(m, market_provider(m, &p), 0, 1, 1);
    market_open(m);
    market_submit(m, &(batch_plan_t){.jobs = (uint32_t)PST_MAX(r->options->jobs, 20000u), .sizes = medium,
                                     .tenant = "large"});
    const batch_t *b[BESIDE];
    for (uint32_t i = 0; i < BESIDE; i++)
        b[i] = market_submit(m, &(batch_plan_t){.jobs = BESIDE_JOBS, .sizes = medium, .tenant = tenant,
                                                .at = m->now + (20 + i * BESIDE_EVERY_S) * PST_SEC});
    market_run_for(m, 20 + BESIDE * BESIDE_EVERY_S + 20);
    double sum = 0, most = 0, turns = 0, unsent = 0;
    for (uint32_t i = 0; i < BESIDE; i++) {
        bool all = b[i]->sent >= BESIDE_JOBS;
        double ms = (double)pst_ns_since(all ? b[i]->last_sent_at : m->now, b[i]->accepted_at) / 1e6;
        sum += ms;
        most = PST_MAX(most, ms);
        unsent += !all;
        if (all)
            turns = PST_MAX(turns, (double)(b[i]->turns_last_sent - b[i]->turns_accepted));
    }
    run_figure(r, "accepted to last of 10 sent, mean ms", sum / BESIDE, REPORT, 0);
    run_figure(r, "accepted to last of 10 sent, at most ms", most, REPORT, 0);
    run_figure(r, "turns meanwhile, at most", turns, REPORT, 0);
    run_figure(r, "batches of 10 not sent after 20 s and more", unsent, AT_MOST, 0);
    m->cut = true;
    run_end(r, &m);
}

static void beside(run_t *r)
{
    run_beside(r, "another tenant", "small");
    run_beside(r, "same tenant", "large");
}

const scenario_t market_fair[] = {
    {"fair.tenants", tenants},
    {"fair.beside", beside},
    {NULL, NULL},
};
