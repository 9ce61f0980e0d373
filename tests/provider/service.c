#include "service.h"

#include "admin.h"

#include <math.h>
#include <strings.h>
#include <time.h>

#define JSON_TYPE "application/json"

void sim_service_init(sim_service_t *s, sim_world_t *w)
{
    *s = (sim_service_t){.world = w};
    pst_buf_init(&s->out, 0);
    pst_buf_init(&s->head, 0);
    pst_buf_init(&s->body, 0);
    pst_buf_init(&s->text, 0);
    pst_buf_init(&s->name, 0);
}

void sim_service_release(sim_service_t *s)
{
    pst_buf_release(&s->out);
    pst_buf_release(&s->head);
    pst_buf_release(&s->body);
    pst_buf_release(&s->text);
    pst_buf_release(&s->name);
}

static pst_ns_t wall_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (pst_ns_t)ts.tv_sec * PST_SEC + (pst_ns_t)ts.tv_nsec;
}

static void refresh_date(sim_service_t *s)
{
    pst_ns_t second = wall_clock() / PST_SEC;
    if (second == s->date_at)
        return;
    s->date_at = second;
    time_t t = (time_t)second;
    struct tm tm;
    strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
}

void sim_service_put(sim_service_t *s, const sim_http_req_t *req, int status, const char *type,
                     pst_view_t extra, pst_view_t body)
{
    refresh_date(s);
    const char *connection = "";
    if (!req || !req->keep_alive)
        connection = "connection: close\r\n";
    else if (req->minor == 0)
        connection = "connection: keep-alive\r\n";
    pst_buf_printf(&s->out,
                   "HTTP/1.1 %d %s\r\ndate: %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n%s",
                   status, sim_http_reason(status), s->date, type, body.n, connection);
    pst_buf_putv(&s->out, extra);
    pst_buf_puts(&s->out, "\r\n");
    if (!req || !pst_view_eqs(req->method, "HEAD"))
        pst_buf_putv(&s->out, body);
}

void sim_service_malformed(sim_service_t *s, int status, sim_reply_t *ret)
{
    *ret = (sim_reply_t){.act = SIM_ANSWER, .status = status, .close = true};
    pst_buf_clear(&s->body);
    pst_buf_printf(&s->body, "<html><body><h1>%d %s</h1></body></html>\n", status,
                   sim_http_reason(status));
    sim_service_put(s, NULL, status, "text/html", (pst_view_t){0}, pst_buf_view(&s->body));
}

/* One call on its way through the steps below. */
typedef struct work {
    sim_service_t *s;
    const sim_http_req_t *req;
    const sim_shape_t *shape;
    pst_ns_t now; /* since the start */
    uint64_t serial;
    sim_model_t *model; /* NULL until known */
    sim_body_t body;
    sim_call_t call;
    sim_reply_t *reply;
} work_t;

/* The last of the head: what a refusal says of its limit it has said in its own words before. */
static void put_headers(work_t *w)
{
    if (w->model && sim_get(&w->model->settings, SIM_HEADERS) <= 0)
        w->call.grant = (sim_grant_t){0};
    w->shape->headers(&w->call, &w->s->head);
}

static void send_error(work_t *w, const sim_error_t *e)
{
    sim_service_t *s = w->s;
    pst_buf_clear(&s->head);
    pst_buf_clear(&s->body);
    int status = w->shape->error(&w->call, e, &s->head, &s->body);
    put_headers(w);
    w->reply->act = SIM_ANSWER;
    w->reply->status = status;
    sim_service_put(s, w->req, status, JSON_TYPE, pst_buf_view(&s->head), pst_buf_view(&s->body));
}

static void refuse(work_t *w, sim_trouble_t trouble)
{
    sim_error_t e = {.trouble = trouble};
    send_error(w, &e);
}

typedef struct route {
    const char *path;
    sim_api_t api;
    const sim_shape_t *shape;
} route_t;

static const route_t routes[] = {
    {"/v1/chat/completions", SIM_CHAT, &sim_openai},
    {"/v1/responses", SIM_RESPONSES, &sim_openai},
    {"/v1/embeddings", SIM_EMBEDDINGS, &sim_openai},
    {"/v1/completions", SIM_COMPLETIONS, &sim_openai},
    {"/v1/messages", SIM_MESSAGES, &sim_anthropic},
    {"/v2/chat", SIM_COHERE_CHAT, &sim_cohere},
};

/* Paths with the model's name in them, between these two. */
static const struct {
    const char *before, *after;
    sim_api_t api;
    const sim_shape_t *shape;
} model_routes[] = {
    {"/v1beta/models/", ":generateContent", SIM_GENERATE, &sim_gemini},
    {"/model/", "/converse", SIM_CONVERSE, &sim_bedrock},
};

static bool strip(pst_view_t *v, const char *prefix)
{
    size_t n = strlen(prefix);
    if (v->n < n || memcmp(v->p, prefix, n) != 0)
        return false;
    v->p += n;
    v->n -= n;
    return true;
}

/* *model becomes what stands between the two, still escaped. */
static bool is_between(pst_view_t path, const char *before, const char *after, pst_view_t *model)
{
    size_t n = strlen(after);
    if (!strip(&path, before) || path.n <= n || memcmp(path.p + path.n - n, after, n) != 0)
        return false;
    *model = pst_view(path.p, path.n - n);
    return true;
}

static bool find_model_route(pst_view_t path, work_t *w, pst_view_t *model)
{
    for (size_t i = 0; i < PST_COUNT(model_routes); i++) {
        if (is_between(path, model_routes[i].before, model_routes[i].after, model)) {
            w->shape = model_routes[i].shape;
            w->call.api = model_routes[i].api;
            return true;
        }
    }
    return false;
}

/* *model stays empty where the body names it. */
static bool find_route(pst_view_t path, work_t *w, pst_view_t *model)
{
    if (find_model_route(path, w, model))
        return true;
    pst_view_t rest = path;
    if (strip(&rest, "/openai") && rest.n && rest.p[0] == '/')
        path = rest;
    for (size_t i = 0; i < PST_COUNT(routes); i++) {
        if (pst_view_eqs(path, routes[i].path)) {
            w->shape = routes[i].shape;
            w->call.api = routes[i].api;
            return true;
        }
    }
    return false;
}

static pst_view_t bearer(const sim_http_req_t *req)
{
    pst_view_t v = sim_http_header(req, "authorization");
    if (v.n < 7 || strncasecmp(v.p, "Bearer ", 7) != 0)
        return (pst_view_t){0};
    return pst_view(v.p + 7, v.n - 7);
}

static pst_view_t query_value(pst_view_t query, const char *name)
{
    size_t n = strlen(name);
    while (query.n) {
        const char *amp = memchr(query.p, '&', query.n);
        pst_view_t pair = pst_view(query.p, amp ? (size_t)(amp - query.p) : query.n);
        if (pair.n > n && memcmp(pair.p, name, n) == 0 && pair.p[n] == '=')
            return pst_view(pair.p + n + 1, pair.n - n - 1);
        query = amp ? pst_view(amp + 1, query.n - pair.n - 1) : (pst_view_t){0};
    }
    return (pst_view_t){0};
}

static pst_view_t credential(sim_api_t api, const sim_http_req_t *req)
{
    pst_view_t key = {0};
    if (api == SIM_MESSAGES) {
        key = sim_http_header(req, "x-api-key");
    } else if (api == SIM_GENERATE) {
        key = sim_http_header(req, "x-goog-api-key");
        return key.p ? key : query_value(req->query, "key");
    }
    return key.p ? key : bearer(req);
}

static sim_trouble_t check_key(work_t *w)
{
    pst_view_t azures = sim_http_header(w->req, "api-key");
    w->call.key = credential(w->call.api, w->req);
    w->call.azure = w->shape == &sim_openai && !w->call.key.p && azures.p;
    if (w->call.azure)
        w->call.key = azures;
    if (w->call.key.n == 0)
        return SIM_NO_KEY;
    return sim_world_key_good(w->s->world, w->call.key) ? SIM_OK : SIM_BAD_KEY;
}

/* What each provider insists on.  The model is known afterwards, if one was named. */
static sim_trouble_t check_body(work_t *w, pst_view_t path_model)
{
    sim_api_t api = w->call.api;
    if (!sim_body_read(api, w->req->body, &w->s->text, &w->body))
        return SIM_NOT_JSON;
    w->call.body = &w->body;
    if (path_model.p) {
        pst_buf_clear(&w->s->name);
        char *name = pst_buf_reserve(&w->s->name, path_model.n);
        PST_ASSERT(name);
        w->body.model = pst_view(name, sim_http_unescape(path_model, false, name));
    }
    if (!w->body.model.p)
        return SIM_NO_MODEL;
    w->call.model = w->body.model;
    pst_view_t missing = w->body.model;
    if (strip(&missing, "missing-"))
        return SIM_UNKNOWN_MODEL;
    w->model = sim_world_model(w->s->world, w->body.model);
    if (api == SIM_MESSAGES && !w->body.has_max_tokens)
        return SIM_NO_MAX_TOKENS;
    if (!w->body.has_content)
        return SIM_NO_CONTENT;
    return w->body.stream && !(w->shape->streams & 1u << api) ? SIM_STREAM : SIM_OK;
}

static sim_trouble_t validate(work_t *w, pst_view_t path_model)
{
    if (!pst_view_eqs(w->req->method, "POST"))
        return SIM_WRONG_METHOD;
    sim_trouble_t t = check_key(w);
    if (t == SIM_OK && w->call.api == SIM_MESSAGES &&
        !sim_http_header(w->req, "anthropic-version").p)
        t = SIM_NO_VERSION;
    return t == SIM_OK ? check_body(w, path_model) : t;
}

static bool has_outage(const sim_settings_t *s, pst_ns_t since_start)
{
    double ms = (double)since_start / (double)PST_MS;
    return ms >= sim_get(s, SIM_OUTAGE_FROM_MS) && ms < sim_get(s, SIM_OUTAGE_TO_MS);
}

/* Tokens of the input: of all of an embedding's texts, else of the one that is echoed. */
static uint64_t count_input(const sim_body_t *b)
{
    sim_js_t j;
    sim_js_init(&j, b->input);
    if (!b->input.p || sim_js_peek(&j) != '[')
        return b->text.n / 4 + 1;
    uint64_t tokens = 0;
    pst_view_t item;
    pst_buf_t decoded;
    pst_buf_init(&decoded, 0);
    sim_js_enter(&j, '[');
    while (sim_js_item(&j) && sim_js_skip(&j, &item)) {
        pst_buf_clear(&decoded);
        if (item.p[0] == '"')
            item = sim_js_decode(pst_view(item.p + 1, item.n - 2), &decoded);
        tokens += item.n / 4 + 1;
    }
    pst_buf_release(&decoded);
    return PST_MAX(tokens, (uint64_t)1);
}

/* Sizes of the answer this call would get. */
static void measure(work_t *w, const sim_marks_t *marks)
{
    const sim_settings_t *set = &w->model->settings;
    sim_call_t *c = &w->call;
    bool can_call = c->api != SIM_EMBEDDINGS && c->api != SIM_COMPLETIONS;
    c->tool = marks->tool && w->body.tools && can_call;
    c->finish = marks->finish;
    c->spoil = marks->spoil;
    size_t bytes = sizeof SIM_ECHO - 1 + w->body.text.n;
    size_t wanted = (size_t)sim_get(set, SIM_ANSWER_BYTES);
    c->pad = wanted > bytes ? wanted - bytes : 0;
    c->input_tokens = count_input(&w->body);
    c->output_tokens = (c->tool ? sizeof SIM_TOOL_ARGS - 1 : bytes + c->pad) / 4 + 1;
    if (c->api == SIM_EMBEDDINGS)
        c->output_tokens = 0;
}

static pst_ns_t ns_of_ms(double ms)
{
    return (pst_ns_t)(ms * (double)PST_MS);
}

/* Takes a place in flight and from the limits; false if it was refused. */
static bool admit(work_t *w)
{
    sim_counters_t *total = &w->s->world->total, *own = &w->model->counters;
    const sim_settings_t *set = &w->model->settings;
    sim_error_t e = {.trouble = SIM_CROWD, .wait = ns_of_ms(sim_get(set, SIM_RETRY_AFTER_MS))};
    bool ok = sim_flight_begin(own, (int64_t)sim_get(set, SIM_CONCURRENCY));
    if (ok) {
        double tokens = (double)(w->call.input_tokens + w->call.output_tokens);
        if (sim_get(set, SIM_TOKENS) > 0)
            tokens = fmax((double)w->call.input_tokens, (double)w->body.max_tokens);
        ok = sim_limit_take(&w->model->limit, set, w->now, tokens, &w->call.grant);
        if (!ok) {
            sim_flight_end(own);
            e = (sim_error_t){SIM_RATE, 0, w->call.grant.wait, w->call.grant.for_tokens};
        }
    }
    if (ok) {
        sim_flight_begin(total, 0);
        w->reply->in_flight = true;
        return true;
    }
    sim_add(&total->refused_429, 1);
    sim_add(&own->refused_429, 1);
    send_error(w, &e);
    return false;
}

/* Refusals are not work done: the prompt was not processed and nobody would be billed. */
static bool is_refusal(const sim_fate_t *f)
{
    return f->act == SIM_FAIL && f->trouble != SIM_SERVER;
}

static void note_accepted(work_t *w)
{
    sim_world_t *world = w->s->world;
    sim_add(&world->total.accepted, 1);
    sim_add(&w->model->counters.accepted, 1);
    sim_rate_add(&world->total.starts, w->now);
    sim_rate_add(&w->model->counters.starts, w->now);
    if (w->reply->tracked)
        sim_track_accept(world->track, w->reply->hash, w->body.text);
}

static void send_garbage(work_t *w)
{
    pst_view_t page = PST_VIEW_LIT("<!DOCTYPE html><html><head><title>Welcome</title></head>"
                                   "<body><h1>It works!</h1></body></html>\n");
    sim_service_put(w->s, w->req, 200, "text/html; charset=utf-8", (pst_view_t){0}, page);
    w->reply->status = 200;
}

static void put_stream(work_t *w)
{
    sim_service_t *s = w->s;
    w->call.stream_bytes = (size_t)sim_get(&w->model->settings, SIM_STREAM_BYTES);
    w->shape->stream(&w->call, &s->body);
    refresh_date(s);
    pst_buf_printf(&s->out,
                   "HTTP/1.1 200 OK\r\ndate: %s\r\ncontent-type: text/event-stream\r\n"
                   "transfer-encoding: chunked\r\n%s",
                   s->date, w->req->keep_alive ? "" : "connection: close\r\n");
    pst_buf_putv(&s->out, pst_buf_view(&s->head));
    pst_buf_puts(&s->out, "\r\n");
    pst_buf_putv(&s->out, pst_buf_view(&s->body));
    w->reply->stream = true;
    w->reply->step = ns_of_ms(sim_get(&w->model->settings, SIM_STREAM_MS));
}

static void send_answer(work_t *w)
{
    sim_service_t *s = w->s;
    pst_buf_clear(&s->head);
    pst_buf_clear(&s->body);
    put_headers(w);
    if (w->body.stream) {
        put_stream(w);
    } else {
        w->shape->answer(&w->call, &s->body);
        sim_service_put(s, w->req, 200, JSON_TYPE, pst_buf_view(&s->head), pst_buf_view(&s->body));
    }
    w->reply->status = 200;
    w->reply->input_tokens = w->call.input_tokens;
    w->reply->output_tokens = w->call.output_tokens;
}

static void count_hung(work_t *w)
{
    sim_add(&w->s->world->total.hung, 1);
    sim_add(&w->model->counters.hung, 1);
}

static void send_failure(work_t *w, const sim_fate_t *f)
{
    sim_error_t e = {.trouble = f->trouble, .status = f->status};
    if (f->trouble == SIM_RATE || f->trouble == SIM_OVERLOAD)
        e.wait = ns_of_ms(sim_get(&w->model->settings, SIM_RETRY_AFTER_MS));
    send_error(w, &e);
}

static void carry_out(work_t *w, const sim_fate_t *f)
{
    sim_reply_t *r = w->reply;
    r->act = f->act;
    r->delay = is_refusal(f) ? 0 : ns_of_ms(f->delay_ms);
    switch (f->act) {
    case SIM_FAIL:
        send_failure(w, f);
        return;
    case SIM_GARBAGE:
        send_garbage(w);
        r->act = SIM_ANSWER;
        return;
    case SIM_EMPTY:
        w->call.empty = true;
        w->call.output_tokens = 0;
        send_answer(w);
        r->act = SIM_ANSWER;
        return;
    case SIM_ANSWER:
        send_answer(w);
        r->answered = true;
        return;
    case SIM_CUT_MID:
        send_answer(w);
        return;
    case SIM_HANG:
        count_hung(w);
        return;
    case SIM_CUT:
        return;
    }
}

/* From a valid call on. */
static void process(work_t *w)
{
    sim_world_t *world = w->s->world;
    sim_marks_t marks;
    sim_marks_find(w->body.text, &marks);
    measure(w, &marks);
    if (!admit(w))
        return;
    uint32_t nth = 1;
    uint64_t dice = sim_mix(world->seed, w->serial);
    w->reply->tracked = world->track_all || marks.counted;
    if (w->reply->tracked) {
        w->reply->hash = sim_hash(w->body.text);
        nth = sim_track_try(world->track, w->reply->hash);
        /* By text and try, not by order of arrival: the same however the calls interleave. */
        dice = sim_mix(world->seed, sim_mix(w->reply->hash, nth));
    }
    sim_fate_t fate;
    sim_fate_decide(&w->model->settings, &marks, nth, dice, &fate);
    if (!is_refusal(&fate))
        note_accepted(w);
    carry_out(w, &fate);
}

static void suffer_outage(work_t *w, const sim_settings_t *set)
{
    int status = (int)sim_get(set, SIM_OUTAGE_STATUS);
    if (status == 0) {
        w->reply->act = SIM_CUT;
        return;
    }
    sim_error_t e = {.trouble = SIM_SERVER, .status = status};
    send_error(w, &e);
}

static void note_arrival(work_t *w)
{
    sim_counters_t *total = &w->s->world->total;
    sim_add(&total->requests, 1);
    sim_rate_add(&total->arrivals, w->now);
    if (w->model) {
        sim_add(&w->model->counters.requests, 1);
        sim_rate_add(&w->model->counters.arrivals, w->now);
    }
}

static void handle_call(work_t *w, pst_view_t path_model)
{
    w->reply->api = true;
    w->call.wall = wall_clock();
    w->serial = atomic_fetch_add(&w->s->world->serial, 1);
    w->call.id = sim_scramble(sim_mix(w->s->world->seed, 0) + w->serial);
    sim_trouble_t t = validate(w, path_model);
    w->reply->model = w->model;
    note_arrival(w);
    const sim_settings_t *set = w->model ? &w->model->settings : &w->s->world->defaults;
    w->call.bad_key_status = (int)sim_get(set, SIM_GEMINI_KEY_STATUS);
    if (has_outage(set, w->now))
        suffer_outage(w, set);
    else if (t != SIM_OK)
        refuse(w, t);
    else
        process(w);
}

static void list_models(work_t *w)
{
    sim_world_t *world = w->s->world;
    pst_buf_t *b = &w->s->body;
    pst_buf_clear(b);
    pst_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    unsigned n = world->models;
    for (unsigned i = 0; i < n; i++) {
        pst_buf_puts(b, i ? ",{\"id\":" : "{\"id\":");
        sim_js_put(b, pst_view(world->model[i]->name, world->model[i]->name_n));
        pst_buf_puts(b, ",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"sim\"}");
    }
    pst_buf_puts(b, "]}");
    w->reply->status = 200;
    sim_service_put(w->s, w->req, 200, JSON_TYPE, (pst_view_t){0}, pst_buf_view(b));
}

static void handle_models(work_t *w)
{
    sim_trouble_t t = check_key(w);
    if (!pst_view_eqs(w->req->method, "GET"))
        t = SIM_WRONG_METHOD;
    if (t == SIM_OK)
        list_models(w);
    else
        refuse(w, t);
}

void sim_service_request(sim_service_t *s, const sim_http_req_t *req, pst_ns_t now,
                         sim_reply_t *ret)
{
    *ret = (sim_reply_t){.act = SIM_ANSWER, .close = !req->keep_alive};
    pst_view_t path = req->path, path_model = {0};
    if (strip(&path, "/_sim/")) {
        ret->status = sim_admin(s, req, path);
        return;
    }
    work_t w = {.s = s, .req = req, .shape = &sim_openai, .reply = ret};
    w.now = pst_ns_since(now, s->world->start);
    w.call.body = &w.body;
    if (find_route(req->path, &w, &path_model))
        handle_call(&w, path_model);
    else if (pst_view_eqs(path, "/v1/models") || pst_view_eqs(path, "/openai/v1/models"))
        handle_models(&w);
    else
        refuse(&w, SIM_UNKNOWN_URL);
}

bool sim_service_is_out(sim_service_t *s, const sim_reply_t *r, pst_ns_t now)
{
    if (!r->in_flight)
        return false;
    const sim_settings_t *set = &r->model->settings;
    return sim_get(set, SIM_OUTAGE_STATUS) <= 0 &&
           has_outage(set, pst_ns_since(now, s->world->start));
}

static void leave_flight(sim_service_t *s, const sim_reply_t *r)
{
    if (!r->in_flight)
        return;
    sim_flight_end(&s->world->total);
    sim_flight_end(&r->model->counters);
}

static void count_answer(sim_counters_t *c, const sim_reply_t *r)
{
    sim_add(&c->answered, 1);
    sim_add(&c->input_tokens, r->input_tokens);
    sim_add(&c->output_tokens, r->output_tokens);
}

void sim_service_sent(sim_service_t *s, const sim_reply_t *r)
{
    leave_flight(s, r);
    if (!r->api)
        return;
    sim_count_status(&s->world->total, r->status);
    if (r->model)
        sim_count_status(&r->model->counters, r->status);
    if (!r->answered)
        return;
    count_answer(&s->world->total, r);
    count_answer(&r->model->counters, r);
    if (r->tracked)
        sim_track_answer(s->world->track, r->hash);
}

static void count_loss(sim_counters_t *c, sim_loss_t how)
{
    switch (how) {
    case SIM_LOST_CUT:
        sim_add(&c->cut, 1);
        return;
    case SIM_LOST_CUT_MID:
        sim_add(&c->cut_mid, 1);
        return;
    case SIM_LOST_CLIENT:
        sim_add(&c->abandoned, 1);
        return;
    }
}

void sim_service_lost(sim_service_t *s, const sim_reply_t *r, sim_loss_t how)
{
    leave_flight(s, r);
    bool hung = r->act == SIM_HANG; /* counted when it began */
    if (!r->api || hung)
        return;
    count_loss(&s->world->total, how);
    if (r->model)
        count_loss(&r->model->counters, how);
}
