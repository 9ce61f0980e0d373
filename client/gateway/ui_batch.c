/* ui_batch.c - what the page shows of one batch beyond its object: its receipt, and the first lines that failed. */
#include <stdio.h>

#include "base/json.h"
#include "gateway/list.h"
#include "gateway/parts.h"
#include "gateway/ui.h"
#include "lib/reader.h"

#define FETCH_BYTES (256u << 10)      /* of packs, compressed */
#define LOOK_BYTES ((size_t)16 << 20) /* as much is looked through for lines that failed: the errors' file has them all */
#define LINES_BYTES ((size_t)4 << 20) /* as much of them is shown */
#define LINES_MAX 1000u
#define LINES_DEFAULT 100u

typedef struct view {
    pst_req_t *r;
    pst_gateway_t *g;
    pst_ask_t *ask;
    pst_id_t batch;
    void (*show)(struct view *v, const pst_batch_t *b);
    uint32_t limit;              /* lines wanted */
    uint64_t there;              /* lines that failed */
    uint32_t lines;              /* written to `out` */
    size_t looked;               /* bytes of packs */
    pst_reader_t *reader;
    pst_buf_t out;
} view_t;

static void view_gone(pst_req_t *r)
{
    view_t *v = r->state;
    if (v->ask)
        pst_remote_forget(v->g->remote, &v->ask);
    pst_reader_destroy(&v->reader);
    pst_buf_release(&v->out);
    free(v);
}

static void no_memory(view_t *v)
{
    pst_reply_error(v->r, 503, NULL, NULL, "out of memory");
}

/* One batch, if who asks sees it. */

static void show_if_seen(view_t *v, const pst_batch_t *b)
{
    if (pst_gw_sees(v->r, b->tenant))
        v->show(v, b);
    else
        pst_reply_not_found(v->r, "batch", v->r->segment[0]);
}

static void on_status(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    view_t *v = arg;
    v->ask = NULL;
    pst_batch_t b;
    if (err == PST_E_NOT_FOUND) {
        pst_reply_not_found(v->r, "batch", v->r->segment[0]);
    } else if (err) {
        pst_reply_err(v->r, err, words);
    } else if (m->type != PST_MSG_BATCH) {
        pst_reply_away(v->r);
    } else if (pst_batch_copy(&m->u.batch.info, &b)) {
        no_memory(v);
    } else {
        show_if_seen(v, &b);
        pst_batch_release(&b);
    }
}

static view_t *view_new(pst_req_t *r, void (*show)(view_t *v, const pst_batch_t *b))
{
    pst_gateway_t *g = pst_gw(r);
    view_t *v = calloc(1, sizeof *v);
    if (!v) {
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return NULL;
    }
    *v = (view_t){.r = r, .g = g, .show = show};
    pst_buf_init(&v->out, 0);
    pst_req_state(r, v, view_gone);
    pst_msg_t m = {.type = PST_MSG_STATUS};
    if (pst_id_parse(r->segment[0], &v->batch)) {
        pst_reply_not_found(r, "batch", r->segment[0]);
        return v;
    }
    m.u.batch_req.batch = v->batch;
    v->ask = pst_remote_ask(g->remote, &m, PST_PATIENCE, on_status, v);
    if (!v->ask)
        pst_reply_away(r);
    return v;
}

/* The receipt. */

static void show_receipt(view_t *v, const pst_batch_t *b)
{
    char *text;
    if (pst_batch_receipt_json(b, &text)) {
        no_memory(v);
        return;
    }
    pst_buf_puts(&v->out, text);
    free(text);
    pst_reply_json(v->r, &v->out);
}

void pst_ui_receipt(pst_req_t *r)
{
    (void)view_new(r, show_receipt);
}

/* Lines that failed. */

static void reply_lines(view_t *v, bool more)
{
    pst_buf_printf(&v->out, "],\"has_more\":%s}", more ? "true" : "false");
    pst_reply_json(v->r, &v->out);
}

/* Of the packs at hand. */
static pst_err_t make_lines(view_t *v)
{
    for (;;) {
        const pst_result_t *result;
        pst_err_t e = pst_reader_next(v->reader, &result);
        if (e || !result)
            return e;
        if (result->status == PST_JOB_COMPLETED)
            continue;
        if (v->lines == v->limit || v->out.n >= LINES_BYTES)
            return PST_OK;
        pst_json_put_comma(&v->out);
        e = pst_reader_line(v->reader, result, &v->out);
        if (e)
            return e;
        v->lines++;
    }
}

static void look_further(view_t *v);

static void on_results(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    view_t *v = arg;
    v->ask = NULL;
    if (err) {
        pst_reply_err(v->r, err, words);
        return;
    }
    if (m->type != PST_MSG_RESULTS || pst_reader_take(v->reader, &m->u.results, false) || make_lines(v)) {
        pst_reply_away(v->r);
        return;
    }
    for (uint32_t i = 0; i < m->u.results.packs_n; i++)
        v->looked += m->u.results.packs[i].n;
    look_further(v);
}

static void look_further(view_t *v)
{
    pst_msg_t m = {.type = PST_MSG_FETCH};
    bool ended;
    bool enough = v->lines >= v->limit || v->lines >= v->there || v->out.n >= LINES_BYTES || v->looked >= LOOK_BYTES;
    if (enough || !pst_reader_wants(v->reader, 0, &m.u.fetch, &ended)) {
        reply_lines(v, v->lines < v->there);
        return;
    }
    v->ask = pst_remote_ask(v->g->remote, &m, PST_PATIENCE, on_results, v);
    if (!v->ask)
        pst_reply_away(v->r);
}

static void show_failed(view_t *v, const pst_batch_t *b)
{
    v->there = b->failed + b->expired + b->cancelled;
    if (pst_reader_new(&v->batch, FETCH_BYTES, &v->reader)) {
        no_memory(v);
        return;
    }
    pst_buf_puts(&v->out, "{\"data\":[");
    look_further(v);
}

void pst_ui_failed(pst_req_t *r)
{
    uint32_t limit;
    if (!pst_list_query(r, LINES_MAX, LINES_DEFAULT, &limit))
        return;
    view_t *v = view_new(r, show_failed);
    if (v)
        v->limit = limit;
}
