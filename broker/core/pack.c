/* pack.c - which packs' bytes are in memory.  A pack is opened when its flow's turn nears, closed when none of its jobs
 * is left to be sent; the least recently used go first when the bytes pass their bound.  Closing loses nothing: the
 * pack can be loaded again, and where its jobs stand is kept beside it. */
#include "core/internal.h"

bool pack_is_open(const pack_t *p)
{
    return p->live && p->live->slots;
}

job_t *pack_record(const pack_t *p, uint16_t slot)
{
    return p->live ? p->live->record[slot] : NULL;
}

live_t *pack_live(pst_core_t *c, batch_t *b, uint32_t pack)
{
    (void)c;
    pack_t *p = &b->packs[pack];
    if (!p->live) {
        p->live = pst_calloc(1, sizeof *p->live + p->jobs * sizeof p->live->record[0]);
        pst_link_init(&p->live->lru);
    }
    return p->live;
}

static uint64_t held_bytes(const live_t *l)
{
    return pst_blob_view(l->headers).n + pst_blob_view(l->bodies).n;
}

static void drop_bytes(pst_core_t *c, live_t *l)
{
    if (!l->slots)
        return;
    c->open_bytes -= held_bytes(l);
    c->gauge.packs_open--;
    pst_blob_unref(&l->headers);
    pst_blob_unref(&l->bodies);
    free(l->slots);
    l->slots = NULL;
    pst_link_remove(&l->lru);
}

void pack_touch(pst_core_t *c, live_t *l)
{
    pst_link_remove(&l->lru);
    pst_link_before(&c->open, &l->lru);
}

void pack_open(pst_core_t *c, batch_t *b, uint32_t pack, const pst_pack_headers_t *h, pst_blob_t *headers,
               pst_blob_t *bodies)
{
    pack_t *p = &b->packs[pack];
    PST_ASSERT(h->jobs_n == p->jobs);
    live_t *l = pack_live(c, b, pack);
    l->loading = false;
    drop_bytes(c, l);
    l->headers = pst_blob_ref(headers);
    l->bodies = pst_blob_ref(bodies);
    l->slots = pst_alloc(p->jobs * sizeof *l->slots);
    for (uint32_t i = 0; i < p->jobs; i++) {
        l->slots[i].input = h->jobs[i].input_tokens;
        l->slots[i].output_limit = h->jobs[i].output_tokens;
        l->slots[i].prefix = b->live_call ? 0 : h->jobs[i].prefix; /* a call waits for no other's answer */
    }
    c->open_bytes += held_bytes(l);
    c->gauge.packs_open++;
    pack_touch(c, l);
    pack_make_room(c, p);
}

void pack_make_room(pst_core_t *c, const pack_t *keep)
{
    pst_link_t *x = c->open.next;
    while (c->open_bytes > c->opts.open_bytes_max && x != &c->open) {
        live_t *l = PST_CONTAINER(x, live_t, lru);
        x = x->next;
        if (keep && l == keep->live)
            continue;
        drop_bytes(c, l); /* an empty live_t left behind is freed by pack_settle at the pack's next event */
    }
}

void pack_load(pst_core_t *c, batch_t *b, uint32_t pack, bool bodies)
{
    live_t *l = pack_live(c, b, pack);
    if (l->loading)
        return;
    l->loading = true;
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_LOAD, b, &op);
    op->pack = pack;
    s->segment = b->packs[pack].segment;
    s->u.load.pack = pack;
    s->u.load.bodies = bodies;
}

void pack_close(pst_core_t *c, batch_t *b, uint32_t pack)
{
    live_t *l = b->packs[pack].live;
    if (!l)
        return;
    drop_bytes(c, l);
    memset(l->holders, 0, sizeof l->holders);
    pack_settle(c, b, pack);
}

void pack_settle(pst_core_t *c, batch_t *b, uint32_t pack)
{
    (void)c;
    pack_t *p = &b->packs[pack];
    live_t *l = p->live;
    if (!l || l->slots || l->records || l->loading)
        return;
    for (int i = 0; i < HOLDERS_MAX; i++)
        if (l->holders[i])
            return;
    free(l);
    p->live = NULL;
}

void pack_forget_worker(pst_core_t *c, pst_peer_t peer)
{
    for (pst_link_t *x = c->open.next; x != &c->open; x = x->next) {
        live_t *l = PST_CONTAINER(x, live_t, lru);
        for (int i = 0; i < HOLDERS_MAX; i++)
            if (l->holders[i] == peer)
                l->holders[i] = 0;
    }
}
