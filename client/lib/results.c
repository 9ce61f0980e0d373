/* results.c - a batch's results and single jobs, asked for and waited for. */
#include "lib/client.h"
#include "lib/reader.h"
#include "lib/render.h"

#define FETCH_BYTES (2u << 20)

struct pst_results {
    pst_client_t *client;
    pst_reader_t *reader;
    pst_reply_t *reply;      /* the last RESULTS: the reader reads in it */
    bool ahead;              /* the next was asked for already */
    pst_buf_t line;
};

pst_err_t pst_results_open(pst_client_t *c, const pst_id_t *batch, pst_results_t **ret)
{
    pst_results_t *r = calloc(1, sizeof *r);
    if (!r || pst_reader_new(batch, FETCH_BYTES, &r->reader)) {
        free(r);
        return pst_errf(&c->words, PST_E_NOMEM, "out of memory");
    }
    r->client = c;
    *ret = r;
    return PST_OK;
}

void pst_results_close(pst_results_t **pr)
{
    pst_results_t *r = *pr;
    *pr = NULL;
    if (!r)
        return;
    pst_reader_destroy(&r->reader);
    pst_reply_destroy(&r->reply);
    pst_buf_release(&r->line);
    free(r);
}

static pst_err_t damaged(pst_client_t *c, pst_err_t e)
{
    if (e == PST_E_NOMEM)
        return pst_errf(&c->words, e, "out of memory");
    return pst_errf(&c->words, PST_E_MALFORMED, "a result cannot be read: use the penstock of the broker's release");
}

static bool says_nothing(const pst_reply_t *reply)
{
    const pst_msg_t *in = pst_reply_msg(reply);
    return in->type == PST_MSG_RESULTS && in->u.results.packs_n == 0 && !in->u.results.ended;
}

/* What was fetched ahead was not asked to wait. */
static pst_err_t ask(pst_results_t *r, const pst_msg_fetch_t *fetch)
{
    pst_msg_t m = {.type = PST_MSG_FETCH, .u.fetch = *fetch};
    bool ahead = r->ahead;
    r->ahead = false;
    pst_err_t e = pst_conn_ask(r->client->conn, &m, &r->reply);
    if (e || !ahead || fetch->wait_ms == 0 || !says_nothing(r->reply))
        return e;
    pst_reply_destroy(&r->reply);
    return pst_conn_ask(r->client->conn, &m, &r->reply);
}

/* An answer that is as long as it may be is one of many: the next is read by the broker while this one is here. */
static void fetch_ahead(pst_results_t *r, const pst_msg_results_t *in)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < in->packs_n; i++)
        bytes += in->packs[i].n;
    r->ahead = bytes >= FETCH_BYTES / 2 && !in->ended;
    if (!r->ahead)
        return;
    pst_msg_fetch_t next = pst_reader_fetch(r->reader, 0);
    pst_conn_fetch_ahead(r->client->conn, &next);
}

static pst_err_t fetch(pst_results_t *r, const pst_msg_fetch_t *f)
{
    pst_reply_destroy(&r->reply);
    pst_err_t e = ask(r, f);
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r->reply);
    e = in->type == PST_MSG_RESULTS ? pst_reader_take(r->reader, &in->u.results, false) : PST_E_MALFORMED;
    if (e)
        return damaged(r->client, e);
    fetch_ahead(r, &in->u.results);
    return PST_OK;
}

/* *ret NULL: there is none now, in any segment. */
static pst_err_t next_result(pst_results_t *r, uint32_t wait_ms, const pst_result_t **ret, bool *ret_ended)
{
    *ret_ended = false;
    pst_msg_fetch_t f;
    for (bool first = true;; first = false) {
        pst_err_t e = pst_reader_next(r->reader, ret);
        if (e)
            return damaged(r->client, e);
        if (first)
            pst_reader_look_again(r->reader);
        if (*ret || !pst_reader_wants(r->reader, wait_ms, &f, ret_ended))
            return PST_OK;
        if ((e = fetch(r, &f)))
            return e;
    }
}

pst_err_t pst_results_next(pst_results_t *r, uint32_t wait_ms, pst_result_line_t *ret, bool *ret_more, bool *ret_ended)
{
    const pst_result_t *result;
    pst_err_t e = next_result(r, wait_ms, &result, ret_ended);
    *ret_more = !e && result;
    if (!*ret_more)
        return e;
    pst_buf_clear(&r->line);
    if ((e = pst_reader_line(r->reader, result, &r->line)))
        return damaged(r->client, e);
    *ret = (pst_result_line_t){.index = result->index,
                               .status = (pst_job_status_t)result->status,
                               .line = pst_buf_view(&r->line)};
    return PST_OK;
}

/* One job. */

typedef struct line_of {
    char batch[PST_BATCH_TEXT_LEN + 1];
    pst_buf_t *out;
} line_of_t;

static pst_err_t put_line(void *arg, const pst_result_pack_t *pack, const pst_result_t *r, pst_view_t body)
{
    const line_of_t *l = arg;
    pst_render_line(l->batch, pack, r, body, l->out);
    return l->out->failed ? PST_E_NOMEM : PST_OK;
}

static pst_err_t render_job(pst_client_t *c, const pst_id_t *batch, const pst_msg_job_t *job, char **ret)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    line_of_t l = {.out = &b};
    pst_id_text(batch, l.batch);
    pst_err_t e = PST_OK;
    if (job->state == PST_STATE_ENDED)
        e = pst_reader_one(job->pack, job->index, put_line, &l);
    else
        pst_render_state(l.batch, job, &b);
    char *text = e ? NULL : pst_buf_detach(&b, NULL);
    pst_buf_release(&b);
    if (!text)
        return damaged(c, e ? e : PST_E_NOMEM);
    *ret = text;
    return PST_OK;
}

pst_err_t pst_job_get(pst_client_t *c, const pst_id_t *batch, uint32_t index, const char *custom_id, char **ret,
                      bool *ret_ended)
{
    pst_msg_t m = {.type = PST_MSG_GET};
    m.u.get = (pst_msg_get_t){.batch = *batch,
                              .by_index = !custom_id,
                              .index = index,
                              .custom_id = pst_view_str(custom_id)};
    if (m.u.get.custom_id.n > PST_CUSTOM_ID_BYTES_MAX)
        return pst_errf(&c->words, PST_E_NOT_FOUND, "no such job: a custom_id has at most 512 bytes");
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(c->conn, &m, &r);
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r);
    if (in->type == PST_MSG_JOB) {
        e = render_job(c, batch, &in->u.job, ret);
        *ret_ended = in->u.job.state == PST_STATE_ENDED;
    } else {
        e = damaged(c, PST_E_MALFORMED);
    }
    pst_reply_destroy(&r);
    return e;
}
