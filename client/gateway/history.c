#include "gateway/history.h"

#include "base/json.h"
#include "lib/text.h"
#include "penstock/limits.h"

#define NOTHING UINT32_MAX

enum { CALLS, COMPLETED, RATE_LIMITED, FAILED, TOKENS, TOTALS, P50_MS = TOTALS, IN_FLIGHT, FIGURES };

static const char *const names[FIGURES] = {"calls", "completed", "rate_limited", "failed", "tokens", "p50_ms", "in_flight"};

/* An endpoint, or (model NULL) a provider, of which only calls and in_flight are kept. */
typedef struct series {
    char *provider, *model;
    uint64_t total[TOTALS];      /* at the end of the step before, if `known` */
    bool known;
    uint32_t silent;             /* steps since it was there */
    uint32_t v[FIGURES][PST_HISTORY_STEPS];
} series_t;

/* Each list finds its series where it was the last time, mostly. */
typedef struct list {
    series_t **v;
    uint32_t n, max;
} list_t;

struct pst_history {
    list_t endpoints, providers;
    uint32_t at, n;              /* next step's place, steps there are */
    uint64_t end_s;
    uint64_t uptime_ms;          /* the broker's, at the last step that is known */
    bool known;                  /* the step before is */
};

static void series_free(series_t *s)
{
    if (!s)
        return;
    free(s->provider);
    free(s->model);
    free(s);
}

static void list_release(list_t *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        series_free(l->v[i]);
    free(l->v);
}

pst_history_t *pst_history_new(void)
{
    pst_history_t *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->endpoints = (list_t){.v = calloc(PST_CLUSTER_ENDPOINTS_MAX, sizeof(series_t *)), .max = PST_CLUSTER_ENDPOINTS_MAX};
    h->providers = (list_t){.v = calloc(PST_CLUSTER_PROVIDERS_MAX, sizeof(series_t *)), .max = PST_CLUSTER_PROVIDERS_MAX};
    if (!h->endpoints.v || !h->providers.v)
        pst_history_destroy(&h);
    return h;
}

void pst_history_destroy(pst_history_t **ph)
{
    pst_history_t *h = pst_take(ph);
    if (!h)
        return;
    list_release(&h->endpoints);
    list_release(&h->providers);
    free(h);
}

static bool is_named(const series_t *s, const char *provider, const char *model)
{
    return strcmp(s->provider, provider) == 0 && (!model || strcmp(s->model, model) == 0);
}

/* known: it was not there at a step that is known, so that it had done nothing by then. */
static series_t *series_new(const char *provider, const char *model, bool known)
{
    series_t *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->provider = strdup(provider);
    s->model = model ? strdup(model) : NULL;
    s->known = known;
    memset(s->v, 0xff, sizeof s->v);
    if (s->provider && (s->model || !model))
        return s;
    series_free(s);
    return NULL;
}

/* The one that was not there for longest makes room; none, if all were there a moment ago. */
static uint32_t place_for_new(list_t *l)
{
    if (l->n < l->max)
        return l->n++;
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < l->n; i++) {
        if (l->v[i]->silent > l->v[oldest]->silent)
            oldest = i;
    }
    if (l->v[oldest]->silent <= 1)
        return l->max;
    series_free(l->v[oldest]);
    return oldest;
}

static series_t *find(list_t *l, uint32_t guess, const char *provider, const char *model, bool known)
{
    for (uint32_t i = 0; i < l->n; i++) {
        series_t *s = l->v[(guess + i) % l->n];
        if (is_named(s, provider, model))
            return s;
    }
    series_t *s = series_new(provider, model, known);
    uint32_t at = s ? place_for_new(l) : l->max;
    if (at < l->max) {
        l->v[at] = s;
        return s;
    }
    series_free(s);
    return NULL;
}

/* A step: everything is a hole until it is told of; what was not there for all of the time is forgotten. */
static void open_step(list_t *l, uint32_t at)
{
    for (uint32_t i = 0; i < l->n;) {
        series_t *s = l->v[i];
        for (unsigned f = 0; f < FIGURES; f++)
            s->v[f][at] = NOTHING;
        if (++s->silent <= PST_HISTORY_STEPS) {
            i++;
            continue;
        }
        series_free(s);
        l->v[i] = l->v[--l->n];
    }
}

static void close_step(list_t *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        l->v[i]->known &= l->v[i]->silent == 0;
}

static uint32_t small(uint64_t v)
{
    return (uint32_t)PST_MIN(v, (uint64_t)NOTHING - 1);
}

static void put_totals(series_t *s, uint32_t at, const uint64_t total[TOTALS])
{
    for (unsigned f = 0; f < TOTALS; f++) {
        uint64_t before = total[f] >= s->total[f] ? s->total[f] : 0;
        if (s->known)
            s->v[f][at] = small(total[f] - before);
        s->total[f] = total[f];
    }
    s->known = true;
    s->silent = 0;
}

static void put_endpoint(pst_history_t *h, uint32_t i, const pst_top_endpoint_t *e)
{
    series_t *s = find(&h->endpoints, i, e->provider, e->model, h->known);
    if (!s)
        return;
    uint64_t total[TOTALS] = {[CALLS] = e->calls, [COMPLETED] = e->completed, [RATE_LIMITED] = e->rate_limited,
                              [FAILED] = e->failed, [TOKENS] = e->input_tokens + e->output_tokens};
    put_totals(s, h->at, total);
    s->v[P50_MS][h->at] = e->p50_ms ? e->p50_ms : NOTHING;
    s->v[IN_FLIGHT][h->at] = e->in_flight;
}

static uint64_t calls_of(const pst_top_t *t, const char *provider)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < t->endpoints_n; i++)
        calls += strcmp(t->endpoints[i].provider, provider) == 0 ? t->endpoints[i].calls : 0;
    return calls;
}

static void put_provider(pst_history_t *h, uint32_t i, const pst_top_t *t)
{
    const pst_top_provider_t *p = &t->providers[i];
    series_t *s = find(&h->providers, i, p->name, NULL, h->known);
    if (!s)
        return;
    uint64_t total[TOTALS] = {[CALLS] = calls_of(t, p->name)};
    put_totals(s, h->at, total);
    s->v[IN_FLIGHT][h->at] = p->in_flight;
}

static void begin_anew(list_t *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        memset(l->v[i]->total, 0, sizeof l->v[i]->total);
}

void pst_history_step(pst_history_t *h, uint64_t end_s, const pst_top_t *t)
{
    open_step(&h->endpoints, h->at);
    open_step(&h->providers, h->at);
    if (t && t->uptime_ms < h->uptime_ms) {
        begin_anew(&h->endpoints);
        begin_anew(&h->providers);
    }
    for (uint32_t i = 0; t && i < t->endpoints_n; i++)
        put_endpoint(h, i, &t->endpoints[i]);
    for (uint32_t i = 0; t && i < t->providers_n; i++)
        put_provider(h, i, t);
    close_step(&h->endpoints);
    close_step(&h->providers);
    if (t)
        h->uptime_ms = t->uptime_ms;
    h->known = t != NULL;
    h->end_s = end_s;
    h->at = (h->at + 1) % PST_HISTORY_STEPS;
    h->n = PST_MIN(h->n + 1, PST_HISTORY_STEPS);
}

static void put_figure(const pst_history_t *h, pst_buf_t *b, const series_t *s, unsigned f)
{
    pst_json_put_key(b, names[f]);
    pst_buf_putc(b, '[');
    for (uint32_t i = 0; i < h->n; i++) {
        uint32_t v = s->v[f][(h->at + PST_HISTORY_STEPS - h->n + i) % PST_HISTORY_STEPS];
        if (i)
            pst_buf_putc(b, ',');
        if (v == NOTHING)
            pst_buf_puts(b, "null");
        else
            pst_text_uint(b, v);
    }
    pst_buf_putc(b, ']');
}

static void put_endpoint_json(const pst_history_t *h, pst_buf_t *b, const series_t *s)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "provider", s->provider);
    pst_member_str(b, "model", s->model);
    for (unsigned f = 0; f < FIGURES; f++)
        put_figure(h, b, s, f);
    pst_buf_putc(b, '}');
}

static void put_provider_json(const pst_history_t *h, pst_buf_t *b, const series_t *s)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "name", s->provider);
    put_figure(h, b, s, IN_FLIGHT);
    put_figure(h, b, s, CALLS);
    pst_buf_putc(b, '}');
}

void pst_history_put_json(const pst_history_t *h, pst_buf_t *b)
{
    pst_buf_putc(b, '{');
    pst_member_uint(b, "step_s", PST_HISTORY_STEP_S);
    pst_member_uint(b, "end", h->end_s);
    pst_buf_puts(b, ",\"endpoints\":[");
    for (uint32_t i = 0; i < h->endpoints.n; i++)
        put_endpoint_json(h, b, h->endpoints.v[i]);
    pst_buf_puts(b, "],\"providers\":[");
    for (uint32_t i = 0; i < h->providers.n; i++)
        put_provider_json(h, b, h->providers.v[i]);
    pst_buf_puts(b, "]}");
}
