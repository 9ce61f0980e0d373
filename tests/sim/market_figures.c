/* market_figures.c - figures, and the table of --verbose.  See market.h. */
#include <math.h>
#include <stdio.h>

#include "market.h"

/* ---- figures --------------------------------------------------------------------------------------------------------------- */

void run_figure(const run_t *r, const char *figure, double value, want_t want, double bound)
{
    printf("{\"scenario\":\"%s%s%s\",\"figure\":\"%s\",\"value\":%.6g,", r->scenario, *r->variant ? " " : "", r->variant,
           figure, value);
    if (want == REPORT)
        printf("\"wanted\":null,\"holds\":null}\n");
    else
        printf("\"wanted\":\"%s %g\",\"holds\":%s}\n", want == AT_MOST ? "<=" : ">=", bound,
               (want == AT_MOST ? value <= bound : value >= bound) ? "true" : "false");
    fflush(stdout);
}

tally_t tally_sum(const market_t *m)
{
    tally_t sum = {0};
    for (uint32_t i = 0; i < m->endpoints_n; i++) {
        const tally_t *t = &m->endpoints[i].tally;
        sum.sent += t->sent;
        sum.calls += t->calls;
        sum.admitted += t->admitted;
        sum.throttled += t->throttled;
        sum.failed += t->failed;
        sum.answered += t->answered;
        sum.input += t->input;
        sum.output += t->output;
    }
    return sum;
}

/* ---- the table: on stderr, so that figures stay a stream of their own -------------------------------------------------------- */

#define HEAD_EVERY 30 /* rows */
#define TABLE_ENDPOINTS 12 /* of more it shows the sum */

static void table_head(const market_t *m)
{
    fprintf(stderr, "%9s", "s");
    for (uint32_t i = 0; i < m->endpoints_n && m->endpoints_n <= TABLE_ENDPOINTS; i++)
        fprintf(stderr, " | %4s sent   429  err   fly", m->endpoints[i].name);
    fprintf(stderr, " |  all sent   429  err   fly");
    if (m->tenants_n)
        fprintf(stderr, " | tokens of");
    for (uint32_t i = 0; i < m->tenants_n; i++)
        fprintf(stderr, " %8s", m->tenants[i].name);
    fprintf(stderr, "\n");
}

static void table_cells(const tally_t *now, const tally_t *before, uint32_t in_flight)
{
    fprintf(stderr, " | %9llu %5llu %4llu %5u", (unsigned long long)(now->sent - before->sent),
            (unsigned long long)(now->throttled - before->throttled), (unsigned long long)(now->failed - before->failed),
            in_flight);
}

static void table_row(market_t *m)
{
    tally_t sum = tally_sum(m);
    uint32_t in_flight = 0;
    fprintf(stderr, "%9.1f", market_seconds(m, m->now));
    for (uint32_t i = 0; i < m->endpoints_n; i++) {
        const endpoint_t *e = &m->endpoints[i];
        if (m->endpoints_n <= TABLE_ENDPOINTS)
            table_cells(&e->tally, &m->shown[i], e->in_flight);
        m->shown[i] = e->tally;
        in_flight += e->in_flight;
    }
    table_cells(&sum, &m->shown[m->endpoints_n], in_flight);
    m->shown[m->endpoints_n] = sum;
    if (m->tenants_n)
        fprintf(stderr, " |          ");
    for (uint32_t i = 0; i < m->tenants_n; i++) {
        fprintf(stderr, " %8llu", (unsigned long long)(m->tenants[i].tokens - m->shown_tokens[i]));
        m->shown_tokens[i] = m->tenants[i].tokens;
    }
    fprintf(stderr, "\n");
}

static void table_tick(market_t *m, void *arg)
{
    uintptr_t row = (uintptr_t)arg;
    const options_t *o = m->options;
    double s = market_seconds(m, m->now);
    if (s >= o->from_s && s <= o->until_s) {
        if (row++ % HEAD_EVERY == 0)
            table_head(m);
        table_row(m);
    }
    market_at(m, m->now + (pst_ns_t)(o->every_s * 1e9), table_tick, (void *)row);
}

/* What of each endpoint's limits was used by now: of the one that was used most. */
static void table_end(const market_t *m)
{
    double s = market_seconds(m, m->now);
    fprintf(stderr, "%9s %10s %10s %8s %8s  used of what its limits let through in %.1f s\n", "", "calls", "admitted", "429s",
            "errors", s);
    for (uint32_t i = 0; i < m->endpoints_n && m->endpoints_n <= TABLE_ENDPOINTS; i++) {
        const tally_t *t = &m->endpoints[i].tally;
        const provider_t *p = &m->providers[m->endpoints[i].provider];
        const double used[PST_RATE_COUNT] = {
            [PST_RATE_REQUESTS] = (double)t->admitted,
            [PST_RATE_INPUT] = (double)t->input,
            [PST_RATE_OUTPUT] = (double)t->output,
            [PST_RATE_TOKENS] = (double)(t->input + t->output),
        };
        double most = 0;
        for (int k = 0; k < PST_RATE_DAILY; k++)
            if (p->plan.limit[k])
                most = fmax(most, used[k] / (market_provider_burst(p, k) + (double)p->plan.limit[k] / 60 * s));
        fprintf(stderr, "%4s/%-4s %10llu %10llu %8llu %8llu  %.4f\n", p->name, m->endpoints[i].name,
                (unsigned long long)t->calls, (unsigned long long)t->admitted, (unsigned long long)t->throttled,
                (unsigned long long)t->failed, most);
    }
}

void table_begin(market_t *m)
{
    m->shown = pst_calloc(m->endpoints_n + 1, sizeof *m->shown);
    market_at(m, m->now, table_tick, NULL);
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------- */

void run_end(run_t *r, market_t **m)
{
    if (r->options->verbose)
        table_end(*m);
    if (!(*m)->failed && !(*m)->cut)
        market_check_end(*m);
    if ((*m)->failed) {
        printf("{\"scenario\":\"%s%s%s\",\"failure\":\"at %.3f s: %s\",\"seed\":%llu}\n", r->scenario,
               *r->variant ? " " : "", r->variant, market_seconds(*m, (*m)->now), (*m)->failure,
               (unsigned long long)r->options->seed);
        fflush(stdout);
        r->failures++;
    }
    market_destroy(m);
}
