/* outputs.c - a batch's results as OpenAI's two files: what was answered, and what was not.  Neither is stored (lines.h). */
#include <stdio.h>

#include "gateway/lines.h"
#include "lib/text.h"

typedef struct output {
    pst_req_t *r;
    pst_gateway_t *g;
    pst_ask_t *ask;
    pst_id_t batch;
    bool errors;             /* the lines that have no answer */
    bool counts;             /* only the length is wanted */
    uint64_t made_s;         /* wall clock */
    uint64_t bytes;
    pst_lines_t *lines;
} output_t;

static void output_gone(pst_req_t *r)
{
    output_t *o = r->state;
    if (o->ask)
        pst_remote_forget(o->g->remote, &o->ask);
    pst_lines_destroy(&o->lines);
    free(o);
}

/* Lines. */

static pst_err_t put_line(void *arg, pst_reader_t *reader, const pst_result_t *result, pst_buf_t *out)
{
    const output_t *o = arg;
    if ((result->status != PST_JOB_COMPLETED) != o->errors)
        return PST_OK;
    pst_err_t e = pst_reader_line(reader, result, out);
    pst_buf_putc(out, '\n');
    return e;
}

static ptrdiff_t pull_lines(pst_req_t *r, char *to, size_t room)
{
    output_t *o = r->state;
    return pst_lines_pull(o->lines, to, room);
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
    ptrdiff_t n;
    while ((n = pst_lines_skip(o->lines)) > 0)
        o->bytes += (uint64_t)n;
    if (n == PST_PULL_CUT) {
        pst_reply_away(o->r);
    } else if (n == PST_PULL_END) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        put_object(o, &b);
        pst_reply_json(o->r, &b);
    }
}

static void on_more(void *arg)
{
    output_t *o = arg;
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
    pst_lines_opts_t lines = {.g = o->g, .batch = o->batch, .put = put_line, .more = on_more, .arg = o};
    o->lines = pst_lines_new(&lines);
    if (!o->lines) {
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
