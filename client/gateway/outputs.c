/* outputs.c - a batch's results as OpenAI's two files: what was answered, and what was not.  Neither is stored: their lines are
 * made of the result packs when they are read, also while the batch runs. */
#include <stdio.h>

#include "gateway/parts.h"
#include "lib/reader.h"
#include "lib/text.h"

#define FETCH_BYTES (64u << 10)   /* of packs, compressed: lines of a millisecond or two */
#define TEXT_BYTES (128u << 10)   /* of lines, made ahead of the socket */

typedef struct output {
    pst_req_t *r;
    pst_gateway_t *g;
    pst_ask_t *ask;
    pst_id_t batch;
    bool errors;             /* the lines that have no answer */
    bool counts;             /* only the length is wanted */
    uint64_t made_s;         /* wall clock */
    uint64_t bytes;
    pst_reader_t *reader;
    pst_buf_t text;
    size_t at;
    bool ended, broken;
} output_t;

static void output_gone(pst_req_t *r)
{
    output_t *o = r->state;
    if (o->ask)
        pst_remote_forget(o->g->remote, &o->ask);
    pst_reader_destroy(&o->reader);
    pst_buf_release(&o->text);
    free(o);
}

/* Lines. */

static bool belongs(const output_t *o, const pst_result_t *result)
{
    return (result->status != PST_JOB_COMPLETED) == o->errors;
}

/* As many as there are at hand, and fit. */
static pst_err_t make_lines(output_t *o)
{
    const pst_result_t *result;
    pst_err_t e = PST_OK;
    while (!e && o->text.n < TEXT_BYTES) {
        e = pst_reader_next(o->reader, &result);
        if (e || !result)
            return e;
        if (!belongs(o, result))
            continue;
        e = pst_reader_line(o->reader, result, &o->text);
        pst_buf_putc(&o->text, '\n');
    }
    return e;
}

static void go_on(output_t *o);

static void on_results(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)words;
    output_t *o = arg;
    o->ask = NULL;
    if (!err && m->type == PST_MSG_RESULTS)
        err = pst_reader_take(o->reader, &m->u.results, true);
    else if (!err)
        err = PST_E_MALFORMED;
    o->broken = err != PST_OK;
    go_on(o);
}

/* Lines into `text`, or a question on its way, or the end. */
static void fill(output_t *o)
{
    pst_msg_t m = {.type = PST_MSG_FETCH};
    if (!o->broken && make_lines(o) != PST_OK)
        o->broken = true;
    if (o->broken || o->text.n > 0 || o->ask)
        return;
    bool ever;
    o->ended = !pst_reader_wants(o->reader, 0, &m.u.fetch, &ever);
    if (o->ended)
        return;
    o->ask = pst_remote_ask(o->g->remote, &m, PST_PATIENCE, on_results, o);
    o->broken = !o->ask;
}

static ptrdiff_t pull_lines(pst_req_t *r, char *to, size_t room)
{
    output_t *o = r->state;
    if (o->at == o->text.n) {
        pst_buf_clear(&o->text);
        o->at = 0;
        fill(o);
    }
    if (o->broken)
        return PST_PULL_CUT;
    size_t n = PST_MIN(room, o->text.n - o->at);
    if (n == 0)
        return o->ended ? PST_PULL_END : PST_PULL_WAIT;
    memcpy(to, o->text.p + o->at, n);
    o->at += n;
    return (ptrdiff_t)n;
}

static void put_object(const output_t *o, pst_buf_t *b)
{
    char batch[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(&o->batch, batch);
    const char *kind = o->errors ? "errors" : "output";
    pst_buf_printf(b, "{\"id\":\"file-%s-%s\",\"object\":\"file\",\"bytes\":%llu,\"created_at\":%llu,\"filename\":\"%s_%s.jsonl\","
                      "\"purpose\":\"batch_output\",\"status\":\"processed\",\"status_details\":null}",
                   kind, batch + sizeof "batch_" - 1, (unsigned long long)o->bytes, (unsigned long long)o->made_s, batch, kind);
}

/* Counting: its lines are made and thrown away. */
static void count(output_t *o)
{
    do {
        pst_buf_clear(&o->text);
        fill(o);
        o->bytes += o->text.n;
    } while (o->text.n > 0 && !o->broken);
    if (o->broken) {
        pst_reply_away(o->r);
    } else if (o->ended) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        put_object(o, &b);
        pst_reply_json(o->r, &b);
    }
}

static void go_on(output_t *o)
{
    if (o->counts)
        count(o);
    else
        pst_req_wake(o->r);
}

static void on_status(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    output_t *o = arg;
    o->ask = NULL;
    if (err && err != PST_E_NOT_FOUND) {
        pst_reply_err(o->r, err, words);
        return;
    }
    const pst_batch_info_t *i = err || m->type != PST_MSG_BATCH ? NULL : &m->u.batch.info;
    char tenant[257] = "";
    if (i)
        snprintf(tenant, sizeof tenant, "%.*s", (int)i->tenant.n, i->tenant.p ? i->tenant.p : "");
    if (!i || !i->accepted_ms || !pst_gw_sees(o->r, tenant)) {
        pst_reply_not_found(o->r, "File object", o->r->segment[0]);
        return;
    }
    o->made_s = (i->ended_ms ? i->ended_ms : i->accepted_ms) / 1000;
    if (pst_reader_new(&o->batch, FETCH_BYTES, &o->reader)) {
        pst_reply_error(o->r, 503, NULL, NULL, "out of memory");
        return;
    }
    if (o->counts)
        count(o);
    else
        pst_req_stream(o->r, 200, "application/jsonl", UINT64_MAX, pull_lines);
}

static void begin(pst_req_t *r, const pst_id_t *batch, bool errors, bool counts)
{
    pst_gateway_t *g = pst_gw(r);
    output_t *o = calloc(1, sizeof *o);
    if (!o) {
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    *o = (output_t){.r = r, .g = g, .batch = *batch, .errors = errors, .counts = counts};
    pst_buf_init(&o->text, 0);
    pst_req_state(r, o, output_gone);
    pst_msg_t m = {.type = PST_MSG_STATUS};
    m.u.batch_req.batch = *batch;
    o->ask = pst_remote_ask(g->remote, &m, PST_PATIENCE, on_status, o);
    if (!o->ask)
        pst_reply_away(r);
}

void pst_outputs_get(pst_req_t *r, const pst_id_t *batch, bool errors)
{
    begin(r, batch, errors, true);
}

void pst_outputs_content(pst_req_t *r, const pst_id_t *batch, bool errors)
{
    begin(r, batch, errors, false);
}
