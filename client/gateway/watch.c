#include "gateway/watch.h"

#include <stdio.h>

#include "gateway/record.h"
#include "proc/clock.h"
#include "proc/log.h"

#define LOOK_EVERY PST_SEC
#define LEASE_MS 5000u
#define LOOKED_AT_MAX 1000 /* a time; those that were made first */

struct pst_watch {
    pst_gateway_t *g;
    pst_webhooks_t *hooks;
    char name[17];
    pst_ns_t look_at;
    bool mine;             /* the lease, as far as is known */
    unsigned waits;        /* commands and questions on their way */
};

/* One that is looked at. */
typedef struct watched {
    pst_watch_t *w;
    pst_arena_t arena;
    pst_record_t record;
    pst_id_t id;
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_webhook_t event;
    uint64_t cost_nano;
    bool over;             /* its end is told and paid */
    pst_watch_fn *fn;      /* who wants to know, or NULL */
    void *arg;
} watched_t;

static void done_with(watched_t *x)
{
    x->w->waits--;
    if (x->fn)
        x->fn(x->arg, x->over);
    pst_arena_release(&x->arena);
    free(x);
}

static void forget(watched_t *x)
{
    x->over = true;
    pst_db_send(x->w->g->db, pst_db_drop("watched", "", x->text, NULL, NULL));
    done_with(x);
}

static void on_told(void *arg, bool stored)
{
    if (stored)
        forget(arg);
    else
        done_with(arg);
}

static void tell(watched_t *x)
{
    pst_errbuf_t eb;
    if (!*x->record.callback) {
        forget(x);
        return;
    }
    if (!pst_webhooks_add(x->w->hooks, pst_view_str(x->record.callback), &x->event, on_told, x, &eb))
        return;
    pst_log(PST_LOG_WARN, "webhook.refused", "batch=%s why=\"%s\"", x->text, eb.text);
    forget(x);
}

static void on_settled(pst_cmd_t *c, const redisReply *r)
{
    watched_t *x = c->arg;
    pst_gateway_t *g = x->w->g;
    if (!r || r->type != REDIS_REPLY_INTEGER) {
        done_with(x);
        return;
    }
    if (r->integer == 1) {
        pst_keys_time_t now = {.mono = pst_loop_now(g->loop), .wall_ms = pst_clock_wall_ms()};
        int64_t nano = (int64_t)x->cost_nano - (int64_t)pst_record_number(x->record.reserved);
        pst_keys_spend(g->keys, pst_view_str(x->record.key_id), pst_record_number(x->record.created_ms), now, nano);
    }
    tell(x);
}

static void settle(watched_t *x)
{
    if (!*x->record.key_id) {
        tell(x);
        return;
    }
    pst_redis_key_t k;
    pst_db_key(&k, "batch", x->text);
    pst_cmd_t *c = pst_db_cmd("HSETNX", on_settled, x);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "settled");
    pst_cmd_str(c, "1");
    pst_db_send(x->w->g->db, c);
}

static void ended(watched_t *x, const char *status, uint64_t ended_ms)
{
    bool openrouter = strcmp(x->record.dialect, "openrouter") == 0;
    x->event = (pst_webhook_t){.batch = x->id,
                               .dialect = openrouter ? PST_WEBHOOK_OPENROUTER : PST_WEBHOOK_OPENAI,
                               .created_s = (ended_ms ? ended_ms : pst_clock_wall_ms()) / 1000};
    if (pst_webhook_of_status(pst_view_str(status), &x->event.type))
        settle(x);
    else
        done_with(x);
}

static void on_status(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)words;
    watched_t *x = arg;
    if (err == PST_E_NOT_FOUND) { /* deleted before it was seen to end: what it cost is not known any more */
        x->cost_nano = pst_record_number(x->record.reserved);
        ended(x, "completed", 0);
        return;
    }
    const pst_batch_info_t *i = !err && m->type == PST_MSG_BATCH ? &m->u.batch.info : NULL;
    if (!i || !pst_batch_ended(i->status)) {
        done_with(x);
        return;
    }
    x->cost_nano = i->cost_nano;
    ended(x, pst_batch_status_text(i->status), i->ended_ms);
}

static void ask_broker(watched_t *x)
{
    pst_msg_t m = {.type = PST_MSG_STATUS};
    m.u.batch_req.batch = x->id;
    if (!pst_remote_ask(x->w->g->remote, &m, PST_PATIENCE, on_status, x))
        done_with(x);
}

static void on_record(pst_cmd_t *c, const redisReply *r)
{
    watched_t *x = c->arg;
    if (!r)
        done_with(x);
    else if (!pst_record_read(r, &x->arena, &x->record))
        forget(x);
    else if (strcmp(x->record.state, "made") == 0)
        ask_broker(x);
    else if (strcmp(x->record.state, "validating") == 0)
        done_with(x);
    else
        ended(x, x->record.state, pst_record_number(x->record.ended_ms));
}

static void look_at_one(pst_watch_t *w, const char *id, pst_watch_fn *fn, void *arg)
{
    watched_t *x = calloc(1, sizeof *x);
    if (!x) {
        if (fn)
            fn(arg, false);
        return;
    }
    x->w = w;
    x->fn = fn;
    x->arg = arg;
    w->waits++;
    pst_arena_init(&x->arena, 1 << 20);
    snprintf(x->text, sizeof x->text, "%s", id);
    if (pst_id_parse(pst_view_str(id), &x->id)) {
        forget(x);
        return;
    }
    pst_db_send(w->g->db, pst_record_cmd(id, on_record, x));
}

void pst_watch_settle(pst_watch_t *w, const char *batch, pst_watch_fn *fn, void *arg)
{
    look_at_one(w, batch, fn, arg);
}

static void on_ids(pst_cmd_t *c, const redisReply *r)
{
    pst_watch_t *w = c->arg;
    w->waits--;
    for (size_t i = 0; r && r->type == REDIS_REPLY_ARRAY && i < r->elements; i++) {
        if (r->element[i]->type == REDIS_REPLY_STRING)
            look_at_one(w, r->element[i]->str, NULL, NULL);
    }
}

static void on_lease(pst_cmd_t *c, const redisReply *r)
{
    pst_watch_t *w = c->arg;
    w->waits--;
    w->mine = r && r->type == REDIS_REPLY_STATUS;
    if (!w->mine)
        return;
    pst_redis_key_t k;
    pst_db_key(&k, "watched", "");
    c = pst_db_cmd("ZRANGE", on_ids, w);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "0");
    pst_cmd_num(c, LOOKED_AT_MAX - 1);
    w->waits++;
    pst_db_send(w->g->db, c);
}

/* Taken if it is free, renewed if it is ours. */
static void take_lease(pst_watch_t *w)
{
    w->waits++;
    pst_db_send(w->g->db, pst_db_lease("watch", w->name, LEASE_MS, !w->mine, on_lease, w));
}

static pst_ns_t prepare(void *arg, pst_ns_t now)
{
    pst_watch_t *w = arg;
    if (now >= w->look_at) {
        w->look_at = pst_ns_add(now, LOOK_EVERY);
        if (w->waits == 0 && pst_db_is_up(w->g->db))
            take_lease(w);
    }
    return w->look_at;
}

pst_watch_t *pst_watch_new(pst_gateway_t *g, pst_webhooks_t *hooks)
{
    pst_watch_t *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->g = g;
    w->hooks = hooks;
    snprintf(w->name, sizeof w->name, "%016llx", (unsigned long long)pst_random_u64());
    pst_loop_prepare(g->loop, prepare, w);
    return w;
}

void pst_watch_destroy(pst_watch_t **w)
{
    free(*w);
    *w = NULL;
}
