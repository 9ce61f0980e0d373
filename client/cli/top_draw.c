#include "cli/top_draw.h"

#include "cli/table.h"

#define HEAD_LINES 3
#define SECTION_LINES 2 /* a blank one and titles */

void pst_top_look_release(pst_top_look_t *l)
{
    pst_top_release(&l->top);
    pst_batch_list_release(&l->running);
}

/* What changed. */

#define UNKNOWN (-1.0)

/* Seconds between two looks at one life of the broker; 0: rates are not known. */
static double seconds_between(const pst_top_look_t *now, const pst_top_look_t *before)
{
    if (!before || now->top.uptime_ms <= before->top.uptime_ms)
        return 0;
    return (double)(now->top.uptime_ms - before->top.uptime_ms) / 1000;
}

static double rate_of(uint64_t now, uint64_t before, double s)
{
    if (s <= 0)
        return UNKNOWN;
    return now > before ? (double)(now - before) / s : 0;
}

static double hourly(double now, double before, double s)
{
    if (s <= 0)
        return UNKNOWN;
    return now > before ? (now - before) / s * 3600 : 0;
}

static const char *rate_text(pst_cli_text_t *t, double rate)
{
    if (rate < 0)
        return "-";
    if (rate == 0 || rate >= 9.95)
        return pst_cli_count(t, (uint64_t)(rate + 0.5));
    snprintf(t->s, sizeof t->s, "%.1f", rate);
    return t->s;
}

static const char *hourly_text(pst_cli_text_t *t, double usd)
{
    return usd < 0 ? "-" : pst_cli_usd(t, usd);
}

static const char *percent_text(pst_cli_text_t *t, double part, double whole)
{
    if (part < 0 || whole <= 0)
        return "-";
    snprintf(t->s, sizeof t->s, "%.0f%%", part / whole * 100);
    return t->s;
}

/* Limits, and what is parked. */

static const char *short_rate(const char *rate)
{
    static const char *const names[][2] = {
        {"requests_per_minute", "rpm"}, {"input_tokens_per_minute", "itpm"}, {"output_tokens_per_minute", "otpm"},
        {"tokens_per_minute", "tpm"},   {"requests_per_day", "rpd"},
    };
    for (size_t i = 0; i < PST_COUNT(names); i++) {
        if (strcmp(rate, names[i][0]) == 0)
            return names[i][1];
    }
    return rate;
}

/* How sure a limit is: configured ones need no mark. */
static const char *mark_of(const char *source)
{
    return strcmp(source, "headers") == 0 ? "~" : strcmp(source, "429s") == 0 ? "?" : "";
}

/* What keeps an account, or one of its models, from more. */
typedef struct bounds {
    uint32_t in_flight, concurrency;
    const pst_top_limit_t *limits;
    size_t limits_n;
    const char *cause;
    uint64_t until_wall_ms;
} bounds_t;

static void put_part(pst_buf_t *b, const char *name, uint64_t used, const char *mark, uint64_t limit)
{
    pst_cli_text_t u, l;
    pst_buf_printf(b, "%s%s %s/%s%s", b->n ? ", " : "", name, pst_cli_count(&u, used), mark, pst_cli_count(&l, limit));
}

static void put_bounds(pst_table_t *t, const bounds_t *x, uint64_t wall_ms)
{
    pst_buf_t b;
    pst_cli_text_t span;
    pst_buf_init(&b, 0);
    if (x->cause)
        pst_buf_printf(&b, "parked: %s, next try in %s", x->cause,
                       pst_cli_span(&span, x->until_wall_ms > wall_ms ? (x->until_wall_ms - wall_ms + 999) / 1000 : 0));
    if (x->concurrency)
        put_part(&b, "concurrency", x->in_flight, "", x->concurrency);
    for (size_t i = 0; i < x->limits_n; i++)
        put_part(&b, short_rate(x->limits[i].rate), x->limits[i].used, mark_of(x->limits[i].source),
                 x->limits[i].limit);
    pst_table_cell(t, "%.*s", (int)b.n, b.n ? b.p : "");
    pst_buf_release(&b);
}

/* Providers. */

static const pst_column_t provider_columns[] = {
    {.title = "PROVIDER", .left = true, .least = 12},
    {.title = "WORKERS", .drop = 1},
    {.title = "IN FLIGHT"},
    {.title = "LIMITS", .left = true, .least = 28, .drop = 2},
};

static void fill_providers(pst_table_t *t, const pst_top_t *top)
{
    for (size_t i = 0; i < top->providers_n; i++) {
        const pst_top_provider_t *p = &top->providers[i];
        pst_cli_text_t calls, room;
        pst_table_cell(t, "%s", p->name);
        pst_table_cell(t, "%u", p->workers);
        pst_table_cell(t, "%s/%s", pst_cli_count(&calls, p->in_flight),
                       pst_cli_count(&room, (uint64_t)p->in_flight + p->room));
        put_bounds(t, &(bounds_t){p->in_flight, p->concurrency, p->limits, p->limits_n, p->cause, p->until_wall_ms},
                   top->wall_ms);
    }
}

/* Endpoints. */

static const pst_column_t endpoint_columns[] = {
    {.title = "ENDPOINT", .left = true, .least = 20},
    {.title = "FLIGHT", .drop = 3},
    {.title = "CALLS/S"},
    {.title = "OK/S", .drop = 9},
    {.title = "429/S"},
    {.title = "429", .drop = 5},
    {.title = "ERR/S", .drop = 4},
    {.title = "TOKENS IN/S", .drop = 8},
    {.title = "OUT/S", .drop = 7},
    {.title = "P50 MS", .drop = 6},
    {.title = "UP", .drop = 10},
    {.title = "$/H", .drop = 2},
    {.title = "LIMITS", .left = true, .least = 28, .drop = 1},
};

typedef struct shown {
    const pst_top_endpoint_t *now, *before; /* before: all zero if it was not there */
    uint64_t calls;                         /* since */
} shown_t;

static const pst_top_endpoint_t *find_endpoint(const pst_top_t *in, const pst_top_endpoint_t *e, size_t guess)
{
    static const pst_top_endpoint_t none = {0};
    for (size_t i = 0; i < in->endpoints_n; i++) {
        const pst_top_endpoint_t *x = &in->endpoints[(guess + i) % in->endpoints_n]; /* their order seldom changes */
        if (strcmp(x->model, e->model) == 0 && strcmp(x->provider, e->provider) == 0)
            return x;
    }
    return &none;
}

static int by_activity(const void *a, const void *b)
{
    const shown_t *x = a, *y = b;
    if (x->calls != y->calls)
        return x->calls > y->calls ? -1 : 1;
    if (x->now->in_flight != y->now->in_flight)
        return x->now->in_flight > y->now->in_flight ? -1 : 1;
    if (x->now->calls != y->now->calls)
        return x->now->calls > y->now->calls ? -1 : 1;
    return x->now < y->now ? -1 : 1;
}

/* Those that were ever called, or would be but for their being parked: a catalog has many that nobody asks for. */
static size_t choose_endpoints(const pst_top_look_t *now, const pst_top_look_t *before, shown_t *ret)
{
    static const pst_top_t nothing = {0};
    const pst_top_t *earlier = before ? &before->top : &nothing;
    size_t n = 0;
    for (size_t i = 0; i < now->top.endpoints_n; i++) {
        const pst_top_endpoint_t *e = &now->top.endpoints[i];
        if (e->calls == 0 && e->in_flight == 0 && !e->cause)
            continue;
        const pst_top_endpoint_t *b = find_endpoint(earlier, e, i);
        ret[n++] = (shown_t){e, b, e->calls > b->calls ? e->calls - b->calls : 0};
    }
    if (n > 0)
        qsort(ret, n, sizeof *ret, by_activity);
    return n;
}

static void fill_endpoint(pst_table_t *t, const shown_t *s, uint64_t wall_ms, double seconds)
{
    const pst_top_endpoint_t *e = s->now, *b = s->before;
    double calls = rate_of(e->calls, b->calls, seconds);
    double limited = rate_of(e->rate_limited, b->rate_limited, seconds);
    pst_cli_text_t x;
    pst_table_cell(t, "%s %s", e->provider, e->model);
    pst_table_cell(t, "%s", pst_cli_count(&x, e->in_flight));
    pst_table_cell(t, "%s", rate_text(&x, calls));
    pst_table_cell(t, "%s", rate_text(&x, rate_of(e->completed, b->completed, seconds)));
    pst_table_cell(t, "%s", rate_text(&x, limited));
    pst_table_cell(t, "%s", percent_text(&x, limited, calls));
    pst_table_cell(t, "%s", rate_text(&x, rate_of(e->failed, b->failed, seconds)));
    pst_table_cell(t, "%s", rate_text(&x, rate_of(e->input_tokens, b->input_tokens, seconds)));
    pst_table_cell(t, "%s", rate_text(&x, rate_of(e->output_tokens, b->output_tokens, seconds)));
    pst_table_cell(t, "%s", e->p50_ms ? pst_cli_count(&x, e->p50_ms) : "-");
    pst_table_cell(t, "%.1f%%", e->uptime_per_mille / 10.0);
    pst_table_cell(t, "%s", hourly_text(&x, hourly(e->cost_usd, b->cost_usd, seconds)));
    put_bounds(t, &(bounds_t){e->in_flight, e->concurrency, e->limits, e->limits_n, e->cause, e->until_wall_ms},
               wall_ms);
}

/* Returns how many are not shown. */
static size_t fill_endpoints(pst_table_t *t, const pst_top_look_t *now, const pst_top_look_t *before)
{
    shown_t *shown = pst_alloc((now->top.endpoints_n + 1) * sizeof *shown);
    double seconds = seconds_between(now, before);
    size_t n = choose_endpoints(now, seconds > 0 ? before : NULL, shown);
    for (size_t i = 0; i < n; i++)
        fill_endpoint(t, &shown[i], now->top.wall_ms, seconds);
    free(shown);
    return now->top.endpoints_n - n;
}

/* Batches. */

static const pst_column_t batch_columns[] = {
    {.title = "BATCH", .left = true},
    {.title = "NAME", .left = true, .least = 8, .drop = 5},
    {.title = "TENANT", .left = true, .least = 8, .drop = 6},
    {.title = "DONE", .drop = 3},
    {.title = "", .drop = 0},
    {.title = "JOBS/S", .drop = 4},
    {.title = "ETA", .drop = 1},
    {.title = "COST", .drop = 2},
};

static const pst_batch_t *find_batch(const pst_top_look_t *in, const char *id)
{
    for (size_t i = 0; in && i < in->running.n; i++) {
        if (strcmp(in->running.v[i].id, id) == 0)
            return &in->running.v[i];
    }
    return NULL;
}

static void fill_batch(pst_table_t *t, const pst_batch_t *b, const pst_batch_t *earlier, double seconds)
{
    uint64_t done = pst_cli_done(b);
    double rate = earlier ? rate_of(done, pst_cli_done(earlier), seconds) : UNKNOWN;
    bool plain = strcmp(b->status, "in_progress") == 0;
    pst_cli_text_t x, y;
    pst_table_cell(t, "%s", b->id);
    pst_table_cell(t, "%s", b->name);
    pst_table_cell(t, "%s", b->tenant);
    pst_table_cell(t, "%s/%s", pst_cli_count(&x, done), pst_cli_count(&y, b->jobs));
    pst_table_cell(t, "%s", percent_text(&x, (double)done, (double)b->jobs));
    pst_table_cell(t, "%s", rate_text(&x, rate));
    pst_table_cell(t, "%s", plain ? pst_cli_left(&x, b->jobs - PST_MIN(done, b->jobs), rate) : b->status);
    pst_table_cell(t, "%s", pst_cli_usd(&x, b->cost_usd));
}

/* Returns how many are not shown. */
static size_t fill_batches(pst_table_t *t, const pst_top_look_t *now, const pst_top_look_t *before)
{
    double seconds = seconds_between(now, before);
    for (size_t i = 0; i < now->running.n; i++)
        fill_batch(t, &now->running.v[i], find_batch(before, now->running.v[i].id), seconds);
    return now->top.batches > now->running.n ? now->top.batches - now->running.n : 0;
}

/* The whole. */

typedef struct section {
    pst_table_t table;
    size_t hidden;       /* beside its rows */
    const char *why;     /* they are */
    unsigned wants, got; /* lines below its titles */
} section_t;

enum { PROVIDERS, ENDPOINTS, BATCHES, SECTIONS };

static void put_head(const pst_top_look_t *now, const pst_top_look_t *before, const pst_top_screen_t *screen,
                     pst_buf_t *out)
{
    const pst_top_t *t = &now->top;
    const pst_top_t *b = before ? &before->top : t;
    double s = seconds_between(now, before);
    pst_cli_text_t x[5];
    pst_table_line(out, screen->columns, screen->bold, "penstock  up %s  %s worker%s  %s batch%s%s%s",
                   pst_cli_span(&x[0], t->uptime_ms / 1000), pst_cli_count(&x[1], t->workers),
                   t->workers == 1 ? "" : "s", pst_cli_count(&x[2], t->batches), t->batches == 1 ? "" : "es",
                   screen->note ? "  " : "", screen->note ? screen->note : "");
    pst_table_line(out, screen->columns, false, "now     %s queued  %s running  %s waiting  %s jobs/s  %s/h",
                   pst_cli_count(&x[0], t->jobs_queued), pst_cli_count(&x[1], t->jobs_running),
                   pst_cli_count(&x[2], t->jobs_waiting),
                   rate_text(&x[3], rate_of(t->completed + t->failed, b->completed + b->failed, s)),
                   hourly_text(&x[4], hourly(t->cost_usd, b->cost_usd, s)));
    pst_table_line(out, screen->columns, false, "so far  %s accepted  %s completed  %s failed  %s",
                   pst_cli_count(&x[0], t->accepted), pst_cli_count(&x[1], t->completed),
                   pst_cli_count(&x[2], t->failed), pst_cli_usd(&x[3], t->cost_usd));
}

/* Deals out the lines of the screen one by one: a short section gets all it wants, long ones share the rest. */
static void share_lines(section_t s[SECTIONS], unsigned rows)
{
    unsigned left = UINT32_MAX, used = HEAD_LINES;
    for (unsigned i = 0; i < SECTIONS; i++) {
        s[i].wants = pst_table_rows(&s[i].table) + (s[i].hidden > 0);
        used += s[i].wants ? SECTION_LINES : 0;
    }
    if (rows)
        left = rows > used ? rows - used : 0;
    for (bool more = true; more && left > 0;) {
        more = false;
        for (unsigned i = 0; i < SECTIONS && left > 0; i++) {
            if (s[i].got == s[i].wants)
                continue;
            s[i].got++;
            left--;
            more = true;
        }
    }
}

static void put_section(const section_t *s, const pst_top_screen_t *screen, pst_buf_t *out)
{
    if (s->wants == 0)
        return;
    unsigned all = pst_table_rows(&s->table), rows = all;
    if (s->got < s->wants)
        rows = s->got > 0 ? s->got - 1 : 0;
    pst_buf_putc(out, '\n');
    pst_table_put(&s->table, screen->columns, rows, screen->bold, out);
    size_t rest = all - rows + s->hidden;
    if (rest > 0)
        pst_table_line(out, screen->columns, false, "(%zu more%s)", rest, rows == all ? s->why : "");
}

/* A screen that is too low for even the titles shows what comes first. */
static void cut_lines(pst_buf_t *out, size_t from, unsigned rows)
{
    if (rows == 0 || out->failed)
        return;
    for (size_t i = from; i < out->n; i++) {
        if (out->p[i] == '\n' && --rows == 0)
            out->n = i + 1;
    }
}

void pst_top_draw(const pst_top_look_t *now, const pst_top_look_t *before, const pst_top_screen_t *screen,
                  pst_buf_t *out)
{
    section_t s[SECTIONS] = {[ENDPOINTS].why = ", not called yet", [BATCHES].why = ""};
    size_t from = out->n;
    pst_table_init(&s[PROVIDERS].table, provider_columns, PST_COUNT(provider_columns));
    pst_table_init(&s[ENDPOINTS].table, endpoint_columns, PST_COUNT(endpoint_columns));
    pst_table_init(&s[BATCHES].table, batch_columns, PST_COUNT(batch_columns));
    fill_providers(&s[PROVIDERS].table, &now->top);
    s[ENDPOINTS].hidden = fill_endpoints(&s[ENDPOINTS].table, now, before);
    s[BATCHES].hidden = fill_batches(&s[BATCHES].table, now, before);
    share_lines(s, screen->rows);
    put_head(now, before, screen, out);
    for (unsigned i = 0; i < SECTIONS; i++) {
        put_section(&s[i], screen, out);
        pst_table_release(&s[i].table);
    }
    cut_lines(out, from, screen->rows);
}
