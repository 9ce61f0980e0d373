#include "admin.h"

static void put_wire(sim_wire_t *w, pst_buf_t *b)
{
    const char *comma = "";
    pst_buf_puts(b, ",\"wire\":{");
#define X(member)                                                                                  \
    pst_buf_printf(b, "%s\"" #member "\":%llu", comma, (unsigned long long)w->member);             \
    comma = ",";
    SIM_WIRE(X)
#undef X
    pst_buf_putc(b, '}');
}

static void put_stats(sim_service_t *s, pst_buf_t *b)
{
    sim_world_t *w = s->world;
    sim_track_sums_t t = sim_track_sums(w->track);
    pst_buf_putc(b, '{');
    sim_counters_put(&w->total, b);
    put_wire(&w->wire, b);
    pst_buf_printf(b,
                   ",\"unique_texts\":%llu,\"repeated_texts\":%llu,\"calls_of_repeated\":%llu,"
                   "\"answered_texts\":%llu,\"answered_again\":%llu,\"per_model\":{",
                   (unsigned long long)t.unique_texts, (unsigned long long)t.repeated_texts,
                   (unsigned long long)t.calls_of_repeated, (unsigned long long)t.answered_texts,
                   (unsigned long long)t.answered_again);
    unsigned n = w->models;
    for (unsigned i = 0; i < n; i++) {
        sim_model_t *m = w->model[i];
        pst_buf_puts(b, i ? "," : "");
        sim_js_put(b, pst_view(m->name, m->name_n));
        pst_buf_puts(b, ":{");
        sim_counters_put(&m->counters, b);
        pst_buf_putc(b, '}');
    }
    pst_buf_puts(b, "}}");
}

/* The next name=value of a query, both decoded into `text`; false at the end. */
static bool next_pair(pst_view_t *query, pst_buf_t *text, pst_view_t *name, pst_view_t *value)
{
    while (query->n) {
        const char *amp = memchr(query->p, '&', query->n);
        pst_view_t pair = pst_view(query->p, amp ? (size_t)(amp - query->p) : query->n);
        size_t used = amp ? pair.n + 1 : pair.n;
        *query = pst_view(query->p + used, query->n - used);
        const char *equals = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
        if (!equals)
            continue;
        pst_buf_clear(text);
        char *out = pst_buf_reserve(text, pair.n);
        PST_ASSERT(out);
        size_t n = (size_t)(equals - pair.p);
        *name = pst_view(out, sim_http_unescape(pst_view(pair.p, n), true, out));
        char *after = out + name->n;
        *value =
            pst_view(after, sim_http_unescape(pst_view(equals + 1, pair.n - n - 1), true, after));
        return true;
    }
    return false;
}

static int get_calls(sim_service_t *s, pst_view_t query, pst_buf_t *b)
{
    pst_view_t name, value;
    while (next_pair(&query, &s->text, &name, &value)) {
        if (!pst_view_eqs(name, "text"))
            continue;
        sim_calls_t c = sim_track_get(s->world->track, sim_hash(value));
        pst_buf_printf(b, "{\"calls\":%u,\"answered\":%u,\"tries\":%u}", c.accepted, c.answered,
                       c.tries);
        return 200;
    }
    pst_buf_puts(b, "{\"error\":\"text=… is missing\"}");
    return 400;
}

static pst_err_t set_one(sim_service_t *s, sim_model_t *model, pst_view_t name, pst_view_t value)
{
    if (pst_view_eqs(name, "good_key"))
        return sim_world_set_key(s->world, value, true);
    if (pst_view_eqs(name, "bad_key"))
        return sim_world_set_key(s->world, value, false);
    sim_change_t change;
    pst_err_t e = sim_change_read(name, value, &change);
    if (e == PST_OK)
        sim_world_change(s->world, model, &change);
    return e;
}

/* In the order they stand; `model` holds for those after it.  Stops at the first that is wrong. */
static int post_set(sim_service_t *s, pst_view_t query, pst_buf_t *b)
{
    pst_view_t name, value;
    sim_model_t *model = NULL;
    while (next_pair(&query, &s->text, &name, &value)) {
        if (pst_view_eqs(name, "model")) {
            model = value.n ? sim_world_model(s->world, value) : NULL;
            continue;
        }
        if (set_one(s, model, name, value) != PST_OK) {
            pst_buf_puts(b, "{\"error\":\"not a setting, or not a value it may have\",\"name\":");
            sim_js_put(b, name);
            pst_buf_putc(b, '}');
            return 400;
        }
    }
    pst_buf_puts(b, "{\"ok\":true}");
    return 200;
}

static int dispatch(sim_service_t *s, const sim_http_req_t *req, pst_view_t what, pst_buf_t *b)
{
    bool get = pst_view_eqs(req->method, "GET"), post = pst_view_eqs(req->method, "POST");
    if (get && pst_view_eqs(what, "stats")) {
        put_stats(s, b);
        return 200;
    }
    if (get && pst_view_eqs(what, "repeats")) {
        sim_track_put_repeats(s->world->track, b);
        return 200;
    }
    if (get && pst_view_eqs(what, "calls"))
        return get_calls(s, req->query, b);
    if (post && pst_view_eqs(what, "set"))
        return post_set(s, req->query, b);
    if (post && pst_view_eqs(what, "reset")) {
        sim_world_reset(s->world);
        pst_buf_puts(b, "{\"ok\":true}");
        return 200;
    }
    pst_buf_puts(b, "{\"error\":\"no such page\"}");
    return 404;
}

int sim_admin(sim_service_t *s, const sim_http_req_t *req, pst_view_t what)
{
    pst_buf_clear(&s->body);
    int status = dispatch(s, req, what, &s->body);
    pst_buf_putc(&s->body, '\n');
    sim_service_put(s, req, status, "application/json", (pst_view_t){0}, pst_buf_view(&s->body));
    return status;
}
