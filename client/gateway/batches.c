/* batches.c - /v1/batches: shown and cancelled; and how one is deleted, for dialects that have it. */
#include <stdio.h>

#include "gateway/batches.h"
#include "gateway/watch.h"
#include "lib/text.h"
#include "proc/clock.h"

void pst_batches_show(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    pst_batch_made_t made = record ? pst_record_made(record) : (pst_batch_made_t){0};
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_batch_put_json(&out, b, &made);
    pst_reply_json(r, &out);
}

void pst_batches_get(pst_req_t *r)
{
    pst_about_begin(r, pst_batches_show, pst_about_show);
}

/* Cancelling. */

static void refuse(pst_about_t *a, const char *what, const char *status)
{
    pst_req_answer_header(a->r, "x-should-retry", "false");
    pst_reply_error(a->r, 409, NULL, NULL, "Cannot %s a batch with status '%s'.", what, status);
}

static void on_cancelled(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)m;
    pst_about_t *a = arg;
    a->ask = NULL;
    if (err && err != PST_E_STATE)
        pst_reply_err(a->r, err, words);
    else
        pst_about_look(a, pst_about_show);
}

static void on_marked(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = pst_about_answered(c);
    if (!a)
        return;
    if (!r || r->type == REDIS_REPLY_ERROR)
        pst_reply_away(a->r);
    else
        pst_about_look(a, pst_about_cancel); /* it may have been made meanwhile */
}

/* Whoever reads its file looks for this mark. */
static void mark(pst_about_t *a)
{
    pst_redis_key_t k;
    pst_db_key(&k, "batch", a->text);
    pst_cmd_t *c = pst_db_cmd("HSET", on_marked, a);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "cancel_ms");
    pst_cmd_num(c, pst_clock_wall_ms());
    pst_about_send(a, c);
}

void pst_about_cancel(pst_about_t *a, const pst_batch_t *b, bool at_broker)
{
    if (strcmp(b->status, "cancelled") == 0 || strcmp(b->status, "cancelling") == 0)
        pst_about_show(a, b, at_broker);
    else if (b->ended)
        refuse(a, "cancel", b->status);
    else if (at_broker)
        pst_about_ask(a, PST_MSG_CANCEL, on_cancelled);
    else
        mark(a);
}

void pst_batches_cancel(pst_req_t *r)
{
    pst_about_begin(r, pst_batches_show, pst_about_cancel);
}

/* Deleting: at the broker, then what stands here. */

static void on_input(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = c->arg;
    pst_file_t file;
    if (r && pst_file_read(r, &file) && strcmp(file.purpose, PST_PURPOSE_INLINE) == 0)
        pst_pieces_unlink(a->g, a->record.file, file.pieces);
    (void)pst_about_answered(c);
}

/* A file that only this batch has. */
static void delete_input(pst_about_t *a)
{
    pst_about_send(a, pst_file_cmd(a->record.file, on_input, a));
}

static void drop_from(pst_about_t *a, const char *set, const char *of)
{
    pst_db_send(a->g->db, pst_db_drop(set, of, a->text, NULL, NULL));
}

static void on_forgotten(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = pst_about_answered(c);
    if (!a)
        return;
    pst_batch_t b = {.status = "", .ended = true};
    snprintf(b.id, sizeof b.id, "%s", a->text);
    if (!r || r->type == REDIS_REPLY_ERROR)
        pst_reply_away(a->r);
    else
        pst_about_show(a, &b, false);
}

static void forget(pst_about_t *a)
{
    if (a->recorded) {
        delete_input(a);
        drop_from(a, "batches", a->record.tenant);
        drop_from(a, "lone", a->record.tenant);
        drop_from(a, "lone", "");
    }
    pst_redis_key_t k;
    pst_db_key(&k, "batch", a->text);
    pst_cmd_t *c = pst_db_cmd("UNLINK", on_forgotten, a);
    pst_cmd_key(c, &k);
    pst_about_send(a, c);
}

static void on_deleted(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)m;
    pst_about_t *a = arg;
    a->ask = NULL;
    if (err && err != PST_E_NOT_FOUND)
        pst_reply_err(a->r, err, words);
    else
        forget(a);
}

static void delete_it(pst_about_t *a, bool at_broker)
{
    if (at_broker)
        pst_about_ask(a, PST_MSG_DELETE, on_deleted);
    else
        forget(a);
}

static bool was_made(const pst_about_t *a)
{
    return strcmp(a->record.state, "made") == 0;
}

static void on_settled(void *arg, bool over)
{
    pst_about_t *a = pst_about_back(arg);
    if (a && over)
        delete_it(a, was_made(a));
    else if (a)
        pst_reply_away(a->r);
}

static void on_watched(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = pst_about_answered(c);
    if (!a)
        return;
    if (!r || r->type == REDIS_REPLY_ERROR) {
        pst_reply_away(a->r);
    } else if (r->type == REDIS_REPLY_NIL) {
        delete_it(a, was_made(a));
    } else {
        a->waits++;
        pst_watch_settle(a->g->watch, a->text, on_settled, a);
    }
}

/* What is still to be done about its end (watch.h) needs the batch. */
static void look_whether_watched(pst_about_t *a)
{
    pst_redis_key_t k;
    pst_db_key(&k, "watched", "");
    pst_cmd_t *c = pst_db_cmd("ZSCORE", on_watched, a);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, a->text);
    pst_about_send(a, c);
}

void pst_about_delete(pst_about_t *a, const pst_batch_t *b, bool at_broker)
{
    if (!b->ended)
        refuse(a, "delete", b->status);
    else if (a->recorded)
        look_whether_watched(a);
    else
        delete_it(a, at_broker);
}
