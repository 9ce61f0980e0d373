/* query_list.c - LIST: ids from the store, then each batch's account: from the core, or if it has ended from the store. */
#include "query_internal.h"

#define INFOS_BYTES_MAX ((size_t)16 << 20)

typedef struct list list_t;

typedef struct item {
    list_t *of;
    pst_id_t id;
    pst_blob_t *summary; /* of an ended batch */
    bool asked;
} item_t;

struct list {
    query_t q;
    uint32_t limit;
    item_t *items;
    uint32_t items_n;
    uint32_t reading;    /* reads not answered */
    bool more;
};

static void release(query_t *q)
{
    list_t *x = PST_CONTAINER(q, list_t, q);
    for (uint32_t i = 0; i < x->items_n; i++)
        pst_blob_unref(&x->items[i].summary);
    free(x->items);
}

/* False: neither runs nor ended any more (deleted meanwhile, or never accepted). */
static bool info_of(const list_t *x, const item_t *it, pst_arena_t *a, pst_batch_info_t *ret)
{
    if (it->summary)
        return pst_batch_info_decode(pst_blob_view(it->summary), a, ret) == PST_OK;
    return pst_core_batch_info(x->q.b->core, &it->id, false, a, ret) == PST_OK;
}

static void answer(list_t *x)
{
    pst_arena_t a;
    pst_arena_init(&a, INFOS_BYTES_MAX);
    pst_msg_t m = {.type = PST_MSG_BATCHES};
    m.u.batches.infos = pst_arena_get(&a, (x->items_n + 1) * sizeof *m.u.batches.infos);
    PST_ASSERT(m.u.batches.infos);
    m.u.batches.more = x->more;
    for (uint32_t i = 0; i < x->items_n; i++) {
        pst_batch_info_t *info = &m.u.batches.infos[m.u.batches.infos_n];
        if (!info_of(x, &x->items[i], &a, info))
            continue;
        info->causes_n = info->endpoints_n = info->parked_n = 0;
        m.u.batches.infos_n++;
    }
    query_reply(&x->q, &m);
    pst_arena_release(&a);
}

static void go_on(list_t *x);

static void on_summary(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    item_t *it = arg;
    list_t *x = it->of;
    x->reading--;
    if (e == PST_OK && n > 0 && values[0].p)
        it->summary = pst_blob_new(values[0].p, values[0].n);
    if (x->reading == 0)
        go_on(x);
}

/* Asks for what the core does not hold; a batch may leave the core while others are read, so this comes again. */
static void go_on(list_t *x)
{
    x->reading++; /* an answer must not end the list inside this loop */
    for (uint32_t i = 0; i < x->items_n; i++) {
        item_t *it = &x->items[i];
        if (it->asked || pst_queries_holds(x->q.all, &it->id))
            continue;
        it->asked = true;
        x->reading++;
        pst_store_read_batch(x->q.b->store, &it->id, on_summary, it);
    }
    if (--x->reading == 0)
        answer(x);
}

static void on_ids(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    list_t *x = arg;
    if (query_failed(&x->q, e, values, n, 0))
        return;
    x->more = n > x->limit;
    x->items_n = PST_MIN(n, x->limit);
    x->items = pst_calloc(x->items_n, sizeof *x->items);
    for (uint32_t i = 0; i < x->items_n; i++) {
        x->items[i].of = x;
        if (values[i].n == sizeof x->items[i].id.b)
            memcpy(x->items[i].id.b, values[i].p, values[i].n);
    }
    go_on(x);
}

void pst_queries_list(pst_queries_t *all, pst_peer_t peer, const pst_msg_list_t *m)
{
    static const pst_id_t none;
    list_t *x = (list_t *)(void *)query_new(all, peer, m->req, &none, sizeof *x);
    if (!x)
        return;
    x->q.release = release;
    x->limit = PST_MIN(PST_MAX(m->limit, 1u), (uint32_t)PST_LIST_MAX);
    pst_store_read_list(all->b->store, pst_id_eq(&m->after, &none) ? NULL : &m->after, x->limit, on_ids, x);
}
