#include "gateway/about.h"

#include <stdio.h>

#include "gateway/anthropic.h"

static void about_free(pst_about_t *a)
{
    if (a->r || a->waits)
        return;
    if (a->more)
        a->more_gone(a->more);
    pst_arena_release(&a->arena);
    free(a);
}

static void let_go(pst_about_t *a)
{
    a->r = NULL;
    if (a->ask)
        pst_remote_forget(a->g->remote, &a->ask);
    about_free(a);
}

static void about_gone(pst_req_t *r)
{
    let_go(r->state);
}

pst_about_t *pst_about_new(pst_req_t *r, pst_batch_show_fn *show)
{
    pst_gateway_t *g = pst_gw(r);
    pst_about_t *a = pst_db_is_up(g->db) ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        pst_reply_away(r);
        return NULL;
    }
    a->r = r;
    a->g = g;
    a->show = show;
    pst_arena_init(&a->arena, 1 << 20);
    pst_req_state(r, a, about_gone);
    return a;
}

bool pst_about_name(pst_about_t *a, pst_view_t id)
{
    bool is_one = pst_id_parse(id, &a->id) == PST_OK || pst_anthropic_batch_id(id, &a->id) == PST_OK;
    if (is_one)
        pst_id_text(&a->id, a->text);
    return is_one;
}

void pst_about_send(pst_about_t *a, pst_cmd_t *c)
{
    a->waits++;
    pst_db_send(a->g->db, c);
}

pst_about_t *pst_about_back(pst_about_t *a)
{
    a->waits--;
    if (a->r)
        return a;
    about_free(a);
    return NULL;
}

pst_about_t *pst_about_answered(pst_cmd_t *c)
{
    return pst_about_back(c->arg);
}

void pst_about_ask(pst_about_t *a, pst_msg_type_t type, pst_remote_fn *fn)
{
    pst_msg_t m = {.type = type};
    m.u.batch_req.batch = a->id;
    a->ask = pst_remote_ask(a->g->remote, &m, PST_PATIENCE, fn, a);
    if (!a->ask)
        pst_reply_away(a->r);
}

void pst_about_not_found(pst_about_t *a)
{
    if (a->claimed) {
        pst_req_answer_header(a->r, "retry-after", "1");
        pst_reply_error(a->r, 409, NULL, NULL, "A request with this Idempotency-Key is under way: ask again in a moment.");
        return;
    }
    const pst_view_t asked = a->r->segment[0];
    pst_reply_error(a->r, 404, NULL, NULL, "No batch found with id '%.*s'.", asked.n ? (int)PST_MIN(asked.n, 100u) : 100,
                    asked.n ? asked.p : a->text);
}

/* What shows it may have taken the request over. */
void pst_about_show(pst_about_t *a, const pst_batch_t *b, bool at_broker)
{
    (void)at_broker;
    a->show(a->r, b, a->recorded ? &a->record : NULL);
    if (a->r->state != a)
        let_go(a);
}

static void on_status(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    pst_about_t *a = arg;
    a->ask = NULL;
    pst_batch_t b;
    if (err == PST_E_NOT_FOUND || (!err && m->type != PST_MSG_BATCH)) {
        pst_about_not_found(a);
    } else if (err) {
        pst_reply_err(a->r, err, words);
    } else if (pst_batch_copy(&m->u.batch.info, &b)) {
        pst_reply_error(a->r, 503, NULL, NULL, "out of memory");
    } else {
        if (pst_gw_sees(a->r, b.tenant))
            a->found(a, &b, true);
        else
            pst_about_not_found(a);
        pst_batch_release(&b);
    }
}

static void on_record(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = pst_about_answered(c);
    if (!a)
        return;
    if (!r) {
        pst_reply_away(a->r);
        return;
    }
    a->recorded = pst_record_read(r, &a->arena, &a->record);
    bool made = strcmp(a->recorded ? a->record.state : "made", "made") == 0;
    if (a->recorded && !pst_gw_sees(a->r, a->record.tenant)) {
        pst_about_not_found(a);
    } else if (made && !a->is_new) {
        pst_about_ask(a, PST_MSG_STATUS, on_status);
    } else {
        pst_batch_t b;
        pst_record_batch(&a->record, a->text, &b);
        a->found(a, &b, false);
    }
}

void pst_about_look(pst_about_t *a, pst_about_fn *found)
{
    a->found = found;
    pst_about_send(a, pst_record_cmd(a->text, on_record, a));
}

void pst_about_begin(pst_req_t *r, pst_batch_show_fn *show, pst_about_fn *found)
{
    pst_about_t *a = pst_about_new(r, show);
    if (!a)
        return;
    if (pst_about_name(a, r->segment[0]))
        pst_about_look(a, found);
    else
        pst_about_not_found(a);
}
