#include "gateway/meter.h"

#include <stdio.h>

#include "proc/prom.h"

#define CODES_MAX 24u     /* of one route; what passes them is counted as the last */
#define CODE_LEFT 499u    /* the client went before it had its answer: nginx's number for that */

/* Seconds: from a look into memory to the longest call. */
static const double bounds[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};

typedef struct code {
    unsigned status;
    uint64_t n;
} code_t;

typedef struct route {
    const char *method, *path;
    code_t code[CODES_MAX];
    unsigned codes;
    uint64_t took[PST_COUNT(bounds) + 1]; /* by the first bound that is not passed; the last: passed all */
    double took_s;                        /* the sum */
} route_t;

enum { OUTCOME_LOST = PST_JOB_CANCELLED + 1, OUTCOME_LEFT, OUTCOMES };

struct pst_meter {
    const pst_handler_t *handlers;
    uint64_t calls[OUTCOMES];             /* by pst_job_status_t, or one of these */
    uint64_t input_tokens, output_tokens, cost_nano;
    int64_t streams;
    size_t routes_n;                      /* the last one: no handler's */
    route_t routes[];
};

pst_meter_t *pst_meter_new(const pst_handler_t *handlers, size_t n)
{
    pst_meter_t *m = calloc(1, sizeof *m + (n + 1) * sizeof(route_t));
    if (!m)
        return NULL;
    m->handlers = handlers;
    m->routes_n = n + 1;
    for (size_t i = 0; i < n; i++) {
        m->routes[i].method = handlers[i].method;
        m->routes[i].path = handlers[i].path;
    }
    m->routes[n].method = m->routes[n].path = "other";
    return m;
}

void pst_meter_destroy(pst_meter_t **m)
{
    free(pst_take(m));
}

/* Counting. */

static void count_code(route_t *t, unsigned status)
{
    unsigned i = 0;
    while (i < t->codes && t->code[i].status != status && i < CODES_MAX - 1)
        i++;
    if (i == t->codes)
        t->code[t->codes++].status = status;
    t->code[i].n++;
}

void pst_meter_request(pst_meter_t *m, const pst_handler_t *route, unsigned status, pst_ns_t took)
{
    route_t *t = &m->routes[route - m->handlers];
    double s = (double)took / (double)PST_SEC;
    size_t i = 0;
    while (i < PST_COUNT(bounds) && s > bounds[i])
        i++;
    t->took[i]++;
    t->took_s += s;
    count_code(t, status ? status : CODE_LEFT);
}

void pst_meter_stray(pst_meter_t *m, unsigned status)
{
    count_code(&m->routes[m->routes_n - 1], status);
}

void pst_meter_call(pst_meter_t *m, const pst_result_t *result)
{
    m->calls[result && result->status < OUTCOME_LOST ? result->status : OUTCOME_LOST]++;
    if (!result)
        return;
    m->input_tokens += result->input_tokens;
    m->output_tokens += result->output_tokens;
    m->cost_nano += result->cost_nano;
}

void pst_meter_call_left(pst_meter_t *m)
{
    m->calls[OUTCOME_LEFT]++;
}

void pst_meter_stream(pst_meter_t *m, int change)
{
    m->streams += change;
}

/* Telling. */

static void write_codes(const pst_meter_t *m, pst_buf_t *out)
{
    static const char name[] = "penstock_gateway_requests_total";
    pst_prom_head(out, name, "counter", "requests that ended; 499: the client went before it had its answer");
    for (size_t i = 0; i < m->routes_n; i++) {
        const route_t *t = &m->routes[i];
        for (unsigned k = 0; k < t->codes; k++) {
            char code[12];
            snprintf(code, sizeof code, "%u", t->code[k].status);
            pst_prom_name(out, name);
            pst_prom_label(out, "route", pst_view_str(t->path));
            pst_prom_label(out, "method", pst_view_str(t->method));
            pst_prom_label(out, "code", pst_view_str(code));
            pst_prom_uint(out, t->code[k].n);
        }
    }
}

#define DURATION "penstock_gateway_request_duration_seconds"

static void write_route(const route_t *t, pst_buf_t *out, const char *end)
{
    pst_prom_name(out, DURATION);
    pst_prom_name(out, end);
    pst_prom_label(out, "route", pst_view_str(t->path));
    pst_prom_label(out, "method", pst_view_str(t->method));
}

static void write_duration(const route_t *t, pst_buf_t *out)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= PST_COUNT(bounds); i++) {
        char le[16] = "+Inf";
        sum += t->took[i];
        if (i < PST_COUNT(bounds))
            snprintf(le, sizeof le, "%g", bounds[i]);
        write_route(t, out, "_bucket");
        pst_prom_label(out, "le", pst_view_str(le));
        pst_prom_uint(out, sum);
    }
    write_route(t, out, "_sum");
    pst_prom_num(out, t->took_s);
    write_route(t, out, "_count");
    pst_prom_uint(out, sum);
}

static void write_durations(const pst_meter_t *m, pst_buf_t *out)
{
    pst_prom_head(out, DURATION, "histogram", "from a request's headers to the end of its answer");
    for (size_t i = 0; i + 1 < m->routes_n; i++) {
        if (m->routes[i].codes)
            write_duration(&m->routes[i], out);
    }
}

static void write_labelled(pst_buf_t *out, const char *name, const char *label, const char *value, uint64_t n)
{
    pst_prom_name(out, name);
    pst_prom_label(out, label, pst_view_str(value));
    pst_prom_uint(out, n);
}

static const char *outcome_text(unsigned outcome)
{
    if (outcome == OUTCOME_LOST)
        return "unreachable";
    return outcome == OUTCOME_LEFT ? "abandoned" : pst_job_status_text(outcome);
}

static void write_calls(const pst_meter_t *m, pst_buf_t *out)
{
    static const char calls[] = "penstock_gateway_calls_total", tokens[] = "penstock_gateway_tokens_total";
    pst_prom_head(out, calls, "counter", "calls at once that ended; unreachable: the broker did not answer, abandoned: the "
                                         "client went");
    for (unsigned i = PST_JOB_COMPLETED; i < OUTCOMES; i++)
        write_labelled(out, calls, "outcome", outcome_text(i), m->calls[i]);
    pst_prom_head(out, tokens, "counter", "tokens of calls at once");
    write_labelled(out, tokens, "direction", "input", m->input_tokens);
    write_labelled(out, tokens, "direction", "output", m->output_tokens);
    pst_prom_one(out, "penstock_gateway_cost_usd_total", "counter", "what calls at once have cost",
                 (double)m->cost_nano / 1e9);
    pst_prom_one(out, "penstock_gateway_streams_in_flight", "gauge", "answers that are being streamed", (double)m->streams);
}

void pst_meter_write(const pst_meter_t *m, pst_buf_t *out)
{
    write_codes(m, out);
    write_durations(m, out);
    write_calls(m, out);
}
