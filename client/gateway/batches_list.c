/* batches_list.c - GET /v1/batches: newest first, of the broker's batches and of those that it does not have (yet).
 *
 * Who sees everything gets the broker's list, and what stands in `lone` among it; a tenant gets its own, which stand in a set, and
 * asks the broker about each.  Ids are ULIDs: their order is that of time. */
#include <stdio.h>

#include "base/json.h"
#include "gateway/batches.h"
#include "gateway/list.h"
#include "lib/text.h"

#define LIST_DEFAULT 20u
#define LONE_MAX 1000u

typedef struct entry {
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_record_t record;
    bool recorded;
    pst_batch_t batch;       /* status NULL: the broker does not have it */
    struct pst_batch_page *page;
} entry_t;

struct pst_batch_page {
    pst_gateway_t *g;
    pst_batch_page_fn *fn;
    void *arg;               /* fn NULL: nobody wants it any more */
    char tenant[257];
    uint32_t limit;
    char after[PST_BATCH_TEXT_LEN + 1]; /* empty: from the newest */
    pst_arena_t arena;
    entry_t *v;              /* room for twice limit + 1 */
    uint32_t n;
    bool more, failed;
    unsigned waits;          /* commands and questions that will still call */
};

static void page_free(pst_batch_page_t *p)
{
    if (p->fn || p->waits)
        return;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->v[i].batch.memory)
            pst_batch_release(&p->v[i].batch);
    }
    pst_arena_release(&p->arena);
    free(p->v);
    free(p);
}

void pst_batch_page_forget(pst_batch_page_t **pp)
{
    pst_batch_page_t *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    p->fn = NULL;
    page_free(p);
}

/* Giving it out. */

static bool is_known(const entry_t *e)
{
    return e->batch.status || e->recorded;
}

static void put_entry(const entry_t *e, pst_batch_put_fn *put, pst_buf_t *b)
{
    pst_batch_made_t made = e->recorded ? pst_record_made(&e->record) : (pst_batch_made_t){0};
    pst_batch_t alone;
    if (!e->batch.status)
        pst_record_batch(&e->record, e->id, &alone);
    pst_json_put_comma(b);
    put(b, e->batch.status ? &e->batch : &alone, &made);
}

void pst_batch_page_put(const pst_batch_page_t *p, pst_batch_put_fn *put, pst_buf_t *b)
{
    const char *first = NULL, *last = NULL;
    pst_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    uint32_t shown = 0;
    for (uint32_t i = 0; i < p->n && shown < p->limit; i++) {
        if (!is_known(&p->v[i]))
            continue;
        put_entry(&p->v[i], put, b);
        first = first ? first : p->v[i].id;
        last = p->v[i].id;
        shown++;
    }
    pst_buf_putc(b, ']');
    pst_member_str(b, "first_id", first);
    pst_member_str(b, "last_id", last);
    pst_buf_printf(b, ",\"has_more\":%s}", p->more ? "true" : "false");
}

void pst_batch_page_show(const pst_batch_page_t *p, pst_batch_list_t *ret, const pst_record_t **records)
{
    ret->n = 0;
    ret->more = p->more;
    for (uint32_t i = 0; i < p->n && ret->n < p->limit; i++) {
        const entry_t *e = &p->v[i];
        if (!is_known(e))
            continue;
        records[ret->n] = e->recorded ? &e->record : NULL;
        pst_batch_t *b = &ret->v[ret->n++];
        if (e->batch.status)
            *b = e->batch;
        else
            pst_record_batch(&e->record, e->id, b);
    }
}

static void settle(pst_batch_page_t *p)
{
    if (p->waits)
        return;
    if (p->fn)
        p->fn(p->arg, p, !p->failed);
    else
        page_free(p);
}

/* Records. */

static void on_record(pst_cmd_t *c, const redisReply *r)
{
    entry_t *e = c->arg;
    e->page->waits--;
    e->recorded = pst_record_read(r, &e->page->arena, &e->record);
    settle(e->page);
}

static void ask_record(pst_batch_page_t *p, entry_t *e)
{
    p->waits++;
    pst_db_send(p->g->db, pst_record_cmd(e->id, on_record, e));
}

static void on_status(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)words;
    entry_t *e = arg;
    e->page->waits--;
    if (!err && m->type == PST_MSG_BATCH)
        e->page->failed |= pst_batch_copy(&m->u.batch.info, &e->batch) != PST_OK;
    else
        e->page->failed |= err != PST_E_NOT_FOUND;
    settle(e->page);
}

static void ask_status(pst_batch_page_t *p, entry_t *e)
{
    pst_msg_t m = {.type = PST_MSG_STATUS};
    if (pst_id_parse(pst_view_str(e->id), &m.u.batch_req.batch))
        return;
    p->waits++;
    if (!pst_remote_ask(p->g->remote, &m, PST_PATIENCE, on_status, e)) {
        p->waits--;
        p->failed = true;
    }
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(((const entry_t *)b)->id, ((const entry_t *)a)->id);
}

/* All ids are there: the newest are looked at, one more than are shown. */
static void fill_entries(pst_batch_page_t *p)
{
    qsort(p->v, p->n, sizeof *p->v, newest_first);
    p->more |= p->n > p->limit;
    for (uint32_t i = p->limit; i < p->n; i++) {
        if (p->v[i].batch.memory)
            pst_batch_release(&p->v[i].batch);
    }
    p->n = PST_MIN(p->n, p->limit);
    for (uint32_t i = 0; i < p->n; i++) {
        p->v[i].page = p;
        ask_record(p, &p->v[i]);
        if (!p->v[i].batch.status && *p->tenant)
            ask_status(p, &p->v[i]);
    }
    settle(p);
}

/* Ids. */

static bool is_listed(const pst_batch_page_t *p, const char *id)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].id, id) == 0)
            return true;
    }
    return false;
}

static void take_ids(pst_batch_page_t *p, const redisReply *r, uint32_t max)
{
    uint32_t taken = 0;
    for (size_t i = 0; i < r->elements && taken <= max; i++) {
        const redisReply *e = r->element[i];
        bool wanted = e->type == REDIS_REPLY_STRING && e->len == PST_BATCH_TEXT_LEN &&
                      (!*p->after || strcmp(e->str, p->after) < 0) && !is_listed(p, e->str);
        if (!wanted)
            continue;
        snprintf(p->v[p->n++].id, sizeof p->v->id, "%s", e->str);
        taken++;
    }
}

static void on_ids(pst_cmd_t *c, const redisReply *r)
{
    pst_batch_page_t *p = c->arg;
    p->waits--;
    if (r && r->type == REDIS_REPLY_ARRAY)
        take_ids(p, r, p->limit);
    else
        p->failed = true;
    if (p->fn && p->waits == 0 && !p->failed)
        fill_entries(p);
    else
        settle(p);
}

/* A set's ids from the newest on; behind `after` by the millisecond that stands in it. */
static void ask_ids(pst_batch_page_t *p, const char *set)
{
    pst_redis_key_t k;
    pst_id_t after;
    pst_db_key(&k, set, p->tenant);
    pst_cmd_t *c = pst_db_cmd("ZREVRANGEBYSCORE", on_ids, p);
    pst_cmd_key(c, &k);
    if (*p->after && pst_id_parse(pst_view_str(p->after), &after) == PST_OK)
        pst_cmd_num(c, pst_id_wall_ms(&after) + 1000);
    else
        pst_cmd_str(c, "+inf");
    pst_cmd_str(c, "-inf");
    pst_cmd_str(c, "LIMIT");
    pst_cmd_str(c, "0");
    pst_cmd_num(c, p->limit + LONE_MAX);
    p->waits++;
    pst_db_send(p->g->db, c);
}

static void on_list(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)words;
    pst_batch_page_t *p = arg;
    p->waits--;
    if (err || m->type != PST_MSG_BATCHES) {
        p->failed = true;
        settle(p);
        return;
    }
    for (uint32_t i = 0; i < m->u.batches.infos_n && i < p->limit; i++) {
        entry_t *e = &p->v[p->n++];
        pst_id_text(&m->u.batches.infos[i].batch, e->id);
        p->failed |= pst_batch_copy(&m->u.batches.infos[i], &e->batch) != PST_OK;
    }
    p->more = m->u.batches.more;
    ask_ids(p, "lone");
}

static void ask_list(pst_batch_page_t *p)
{
    pst_msg_t m = {.type = PST_MSG_LIST};
    if (*p->after)
        (void)!pst_id_parse(pst_view_str(p->after), &m.u.list.after);
    m.u.list.limit = p->limit;
    p->waits++;
    if (pst_remote_ask(p->g->remote, &m, PST_PATIENCE, on_list, p))
        return;
    p->waits--;
    p->failed = true;
}

pst_batch_page_t *pst_batch_page_new(pst_gateway_t *g, const char *tenant, const char *after, uint32_t limit,
                                     pst_batch_page_fn *fn, void *arg)
{
    pst_batch_page_t *p = calloc(1, sizeof *p);
    if (!p || !(p->v = calloc(2 * limit + 2, sizeof *p->v))) {
        free(p);
        return NULL;
    }
    p->g = g;
    p->limit = limit;
    pst_arena_init(&p->arena, 64u << 20);
    snprintf(p->tenant, sizeof p->tenant, "%s", tenant);
    snprintf(p->after, sizeof p->after, "%s", after ? after : "");
    if (*tenant)
        ask_ids(p, "batches");
    else
        ask_list(p);
    if (p->failed) {
        page_free(p);
        return NULL;
    }
    p->fn = fn;
    p->arg = arg;
    return p;
}

/* The request. */

static void list_gone(pst_req_t *r)
{
    pst_batch_page_t *p = r->state;
    pst_batch_page_forget(&p);
}

static void on_page(void *arg, const pst_batch_page_t *p, bool ok)
{
    pst_req_t *r = arg;
    if (!ok) {
        pst_reply_away(r);
        return;
    }
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_batch_page_put(p, pst_batch_put_json, &b);
    pst_reply_json(r, &b);
}

bool pst_list_query(pst_req_t *r, uint32_t most, uint32_t usual, uint32_t *ret)
{
    const char *text = pst_req_query(r, "limit");
    char *end = NULL;
    unsigned long n = text ? strtoul(text, &end, 10) : usual;
    if (text && (*text < '0' || *text > '9' || *end || n < 1 || n > most)) {
        pst_reply_error(r, 400, "invalid_value", "limit", "limit must be between 1 and %u.", most);
        return false;
    }
    *ret = (uint32_t)n;
    return true;
}

void pst_batch_page_ask(pst_req_t *r, pst_batch_page_fn *fn)
{
    pst_gateway_t *g = pst_gw(r);
    uint32_t limit;
    const char *after = pst_req_query(r, "after");
    pst_id_t ignored;
    if (!pst_list_query(r, PST_LIST_MAX, LIST_DEFAULT, &limit))
        return;
    if (after && *after && pst_id_parse(pst_view_str(after), &ignored)) {
        pst_reply_error(r, 400, "invalid_value", "after", "after must be the id of a batch.");
        return;
    }
    pst_batch_page_t *p = pst_db_is_up(g->db) ? pst_batch_page_new(g, pst_gw_tenant(r), after, limit, fn, r) : NULL;
    if (p)
        pst_req_state(r, p, list_gone);
    else
        pst_reply_away(r);
}

void pst_batches_list(pst_req_t *r)
{
    pst_batch_page_ask(r, on_page);
}
