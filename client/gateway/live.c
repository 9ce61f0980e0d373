#include "gateway/live.h"

#include <stdio.h>

#include "base/json.h"
#include "gateway/meter.h"
#include "lib/line.h"
#include "lib/reader.h"
#include "lib/text.h"

#define EVENTS_BYTES_MAX ((size_t)4 << 20) /* that a client does not read */
#define WINDOW_MS (600u * 1000u)           /* OpenAI's SDKs give up after so long */

struct pst_live {
    pst_req_t *r;
    pst_gateway_t *g;
    pst_ask_t *ask;
    pst_url_t url;
    bool streaming;          /* the first piece came: the answer has begun */
    bool ended;
    bool cut;                /* the client did not read */
    const pst_live_turn_t *turn;
    void *turn_state;
    pst_buf_t events;        /* not read yet */
    size_t at;
};

static void live_gone(pst_req_t *r)
{
    pst_live_t *l = r->state;
    if (l->ask) {
        pst_remote_forget(l->g->remote, &l->ask);
        pst_meter_call_left(l->g->meter);
    }
    if (l->streaming)
        pst_meter_stream(l->g->meter, -1);
    if (l->turn_state)
        l->turn->state_free(l->turn_state);
    pst_buf_release(&l->events);
    free(l);
}

/* Answers in pieces: server-sent events. */

static ptrdiff_t pull_events(pst_req_t *r, char *to, size_t room)
{
    pst_live_t *l = r->state;
    size_t n = PST_MIN(room, l->events.n - l->at);
    if (l->cut)
        return PST_PULL_CUT;
    if (n == 0)
        return l->ended ? PST_PULL_END : PST_PULL_WAIT;
    memcpy(to, l->events.p + l->at, n);
    l->at += n;
    if (l->at == l->events.n) {
        pst_buf_clear(&l->events);
        l->at = 0;
    }
    return (ptrdiff_t)n;
}

static void put_event(pst_live_t *l, pst_view_t chunk)
{
    if (l->turn) {
        l->turn->chunk(l->r, l->turn_state, chunk, &l->events);
        return;
    }
    /* events of /v1/responses have names, which stand in them too */
    if (l->url == PST_URL_RESPONSES) {
        static const char begin[] = "{\"type\":\"";
        bool named = chunk.n > sizeof begin && memcmp(chunk.p, begin, sizeof begin - 1) == 0;
        const char *name = chunk.p + sizeof begin - 1;
        const char *end = named ? memchr(name, '"', chunk.n - sizeof begin + 1) : NULL;
        if (end) {
            pst_buf_puts(&l->events, "event: ");
            pst_buf_put(&l->events, name, (size_t)(end - name));
            pst_buf_putc(&l->events, '\n');
        }
    }
    pst_buf_puts(&l->events, "data: ");
    pst_buf_putv(&l->events, chunk);
    pst_buf_puts(&l->events, "\n\n");
}

static void begin_stream(pst_live_t *l)
{
    if (l->streaming)
        return;
    l->streaming = true;
    pst_meter_stream(l->g->meter, 1);
    pst_req_answer_header(l->r, "cache-control", "no-cache");
    pst_req_answer_header(l->r, "x-accel-buffering", "no");
    pst_req_stream(l->r, 200, "text/event-stream; charset=utf-8", UINT64_MAX, pull_events);
}

static void on_piece(void *arg, uint32_t number, pst_view_t bytes)
{
    (void)number;
    pst_live_t *l = arg;
    begin_stream(l);
    for (const char *p = bytes.p, *end = bytes.p + bytes.n; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        newline = newline ? newline : end;
        if (newline > p)
            put_event(l, pst_view(p, (size_t)(newline - p)));
        p = newline + 1;
    }
    if (l->events.n - l->at > EVENTS_BYTES_MAX || l->events.failed) {
        pst_remote_forget(l->g->remote, &l->ask); /* who does not read has gone */
        pst_meter_call_left(l->g->meter);
        l->cut = true;
    }
    pst_req_wake(l->r);
}

static void put_end(pst_live_t *l, pst_view_t error)
{
    if (l->turn) {
        l->turn->end(l->r, l->turn_state, error, &l->events);
    } else if (error.n > 0) {
        pst_buf_puts(&l->events, "data: ");
        pst_buf_putv(&l->events, error);
        pst_buf_puts(&l->events, "\n\n");
    } else if (l->url != PST_URL_RESPONSES) {
        pst_buf_puts(&l->events, "data: [DONE]\n\n");
    }
}

static void end_stream(pst_live_t *l, pst_view_t error)
{
    put_end(l, error);
    l->ended = true;
    pst_req_wake(l->r);
}

/* Whole answers. */

static void reply_body(pst_live_t *l, unsigned status, pst_view_t body)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    if (l->turn && l->turn->whole)
        status = l->turn->whole(l->r, status, body, &b);
    else
        pst_buf_putv(&b, body);
    pst_reply_json_status(l->r, status, &b);
}

/* Where no provider answered, by what happened. */
static unsigned status_of(const pst_result_t *r)
{
    static const struct {
        uint8_t cause;
        uint16_t status;
    } known[] = {
        {PST_CAUSE_RATE_LIMIT, 429},      {PST_CAUSE_QUOTA, 429},            {PST_CAUSE_INVALID_REQUEST, 400},
        {PST_CAUSE_CONTEXT_LENGTH, 400},  {PST_CAUSE_CONTENT_POLICY, 400},   {PST_CAUSE_PAYLOAD_TOO_LARGE, 413},
        {PST_CAUSE_BUDGET_EXCEEDED, 402}, {PST_CAUSE_PAYMENT_REQUIRED, 402}, {PST_CAUSE_TIMEOUT, 504},
        {PST_CAUSE_BATCH_EXPIRED, 504},   {PST_CAUSE_NO_ENDPOINT, 404},      {PST_CAUSE_UNAVAILABLE, 503},
        {PST_CAUSE_OVERLOADED, 503},
    };
    for (size_t i = 0; i < PST_COUNT(known); i++) {
        if (known[i].cause == r->cause)
            return known[i].status;
    }
    return 502;
}

/* A provider's refusal of our key says nothing of the client's. */
static unsigned shown_status(unsigned status)
{
    return status == 401 || status == 403 ? 502 : status >= 200 && status < 600 ? status : 502;
}

static void put_account(pst_req_t *r, const pst_result_pack_t *p, const pst_result_t *result)
{
    char text[64];
    pst_buf_t usd;
    if (result->endpoint < p->endpoints_n) {
        const pst_endpoint_name_t *e = &p->endpoints[result->endpoint];
        char name[257];
        snprintf(name, sizeof name, "%.*s", (int)e->provider.n, e->provider.p);
        pst_req_answer_header(r, "x-penstock-provider", name);
        snprintf(name, sizeof name, "%.*s", (int)e->model.n, e->model.p);
        pst_req_answer_header(r, "x-penstock-model", name);
    }
    snprintf(text, sizeof text, "%u", result->attempts_n);
    pst_req_answer_header(r, "x-penstock-attempts", text);
    pst_buf_init(&usd, 0);
    pst_text_usd(&usd, result->cost_nano);
    snprintf(text, sizeof text, "%.*s", (int)usd.n, usd.p);
    pst_buf_release(&usd);
    pst_req_answer_header(r, "x-penstock-cost-usd", text);
}

static void reply_failed(pst_live_t *l, const pst_result_t *result, pst_view_t body)
{
    pst_view_t message = result->message.n ? result->message : pst_view_str(pst_cause_text(result->cause));
    const char *code = pst_cause_text(result->cause);
    unsigned status = result->http_status ? shown_status(result->http_status) : status_of(result);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    if (body.n > 0)
        pst_buf_putv(&b, body);
    else
        pst_error_body(&b, PST_DIALECT_OPENAI, status, code, NULL, message, l->r->id);
    if (l->streaming)
        end_stream(l, pst_buf_view(&b));
    else if (body.n > 0 || l->turn)
        reply_body(l, status, pst_buf_view(&b));
    else
        pst_reply_error(l->r, status, code, NULL, "%.*s", (int)PST_MIN(message.n, 800u), message.p);
    pst_buf_release(&b);
}

/* A provider that cannot stream gave its answer whole: nothing was sent yet. */
static pst_err_t on_result(void *arg, const pst_result_pack_t *pack, const pst_result_t *result, pst_view_t body)
{
    pst_live_t *l = arg;
    pst_meter_call(l->g->meter, result);
    pst_caller_took(l->r, (uint64_t)result->input_tokens + result->output_tokens, result->cost_nano);
    if (!l->streaming)
        put_account(l->r, pack, result);
    if (result->status != PST_JOB_COMPLETED)
        reply_failed(l, result, body);
    else if (l->streaming)
        end_stream(l, pst_view(NULL, 0));
    else
        reply_body(l, result->http_status ? result->http_status : 200, body);
    return PST_OK;
}

static void on_answer(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    pst_live_t *l = arg;
    l->ask = NULL;
    if (!err && m->type == PST_MSG_JOB)
        err = pst_reader_one(m->u.job.pack, m->u.job.index, on_result, l);
    else if (!err)
        err = PST_E_MALFORMED;
    if (!err)
        return;
    pst_meter_call(l->g->meter, NULL);
    if (l->streaming) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        pst_error_body(&b, PST_DIALECT_OPENAI, 503, "service_unavailable", NULL, words, l->r->id);
        end_stream(l, pst_buf_view(&b));
        pst_buf_release(&b);
    } else {
        pst_reply_err(l->r, err, words);
    }
}

/* Asking. */

static void refuse(pst_req_t *r, const pst_line_fault_t *f)
{
    const char *param = f->code == PST_CAUSE_LINE_MISSING || f->code == PST_CAUSE_LINE_MODEL ? "model" : NULL;
    unsigned status = f->code == PST_CAUSE_LINE_MODEL ? 404 : f->code == PST_CAUSE_LINE_TOO_LONG ? 413 : 400;
    pst_reply_error(r, status, pst_cause_text(f->code), param, "%s", f->message);
}

static pst_err_t encode_headers(const pst_line_job_t *job, pst_buf_t *out)
{
    pst_job_header_t h = {.custom_id = job->custom_id,
                          .input_tokens = job->input_tokens,
                          .output_tokens = job->output_tokens,
                          .body_bytes = (uint32_t)job->body.n,
                          .prefix = job->prefix};
    pst_pack_headers_t p = {.url = (uint8_t)job->url, .route = job->route, .codec = PST_CODEC_RAW,
                            .text_bytes = (uint32_t)job->body.n, .jobs = &h, .jobs_n = 1};
    pst_pack_headers_encode(&p, out);
    return out->failed ? PST_E_NOMEM : PST_OK;
}

static void call(pst_live_t *l, const pst_line_job_t *job)
{
    pst_buf_t headers;
    pst_buf_init(&headers, PST_HEADERS_BYTES_MAX);
    pst_msg_t m = {.type = PST_MSG_CALL};
    if (encode_headers(job, &headers) == PST_OK) {
        m.u.call = (pst_msg_call_t){.batch = l->r->uid, /* of one call, and as new */
                                    .tenant = pst_view_str(pst_gw_tenant(l->r)),
                                    .priority = PST_PRIORITY_HIGH,
                                    .window_ms = WINDOW_MS,
                                    .stream = job->stream,
                                    .headers = pst_buf_view(&headers),
                                    .bodies = job->body};
        l->ask = pst_remote_call(l->g->remote, &m, PST_PATIENCE, on_piece, on_answer, l);
    }
    pst_buf_release(&headers);
    if (!l->ask)
        pst_reply_error(l->r, 503, "overloaded", NULL, "Too many requests are on their way: ask again in a moment.");
}

void pst_live_begin(pst_req_t *r, pst_url_t url, pst_view_t body, const pst_live_turn_t *turn)
{
    pst_gateway_t *g = pst_gw(r);
    pst_live_t *l = calloc(1, sizeof *l);
    if (!l) {
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    *l = (pst_live_t){.r = r, .g = g, .url = url, .turn = turn};
    pst_buf_init(&l->events, 0);
    pst_req_state(r, l, live_gone);
    pst_line_job_t job;
    pst_line_fault_t fault;
    pst_line_rule_t rule;
    bool ruled = pst_key_rule(pst_caller_key(r), &rule);
    if (ruled || g->reader.rule)
        pst_line_reader_rule(&g->reader, ruled ? &rule : NULL);
    pst_err_t e = pst_line_read_body(&g->reader, PST_VIEW_LIT("0"), url, body, &job, &fault);
    if (e == PST_E_INPUT) {
        refuse(r, &fault);
        return;
    }
    if (turn && turn->state_new && !(l->turn_state = turn->state_new(r, job.input_tokens)))
        e = PST_E_NOMEM;
    if (e) {
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    if (pst_caller_admit(r, (uint64_t)job.input_tokens + job.output_tokens))
        call(l, &job);
}

void pst_live_chat(pst_req_t *r) { pst_live_begin(r, PST_URL_CHAT, pst_buf_view(&r->body), NULL); }
void pst_live_completions(pst_req_t *r) { pst_live_begin(r, PST_URL_COMPLETIONS, pst_buf_view(&r->body), NULL); }
void pst_live_embeddings(pst_req_t *r) { pst_live_begin(r, PST_URL_EMBEDDINGS, pst_buf_view(&r->body), NULL); }
void pst_live_responses(pst_req_t *r) { pst_live_begin(r, PST_URL_RESPONSES, pst_buf_view(&r->body), NULL); }
