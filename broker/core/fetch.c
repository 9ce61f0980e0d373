/* fetch.c - what the next turns will touch, asked for before it is needed.
 *
 * With a thousand places and ten thousand batches nothing of this is in the cache, and a choice is mostly waiting for memory,
 * one line after another: from the place to the candidate, its route, whose turn is next in it, the batch, its pack, the job.
 * Places are often woken together (budgets are looked at a thousand times a second), so each of these steps is made for all
 * of them at once, and the waiting is done together: a sixth of a decision's cost where rates are what is short.
 * Nothing here decides anything. */
#include "core/internal.h"

/* What will be sent of these flows next: the batch, its pack, the job. */
static void fetch_jobs(const flow_t *const *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        __builtin_prefetch(&f[i]->batch->packs);
        __builtin_prefetch(&f[i]->batch->work);
    }
    const pack_t *pack[FETCH_AHEAD];
    for (uint32_t i = 0; i < n; i++) {
        pack[i] = f[i]->head == NONE ? NULL : &f[i]->batch->packs[f[i]->head];
        __builtin_prefetch(pack[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        if (pack[i])
            __builtin_prefetch(pack[i]->live);
    for (uint32_t i = 0; i < n; i++)
        if (pack[i] && pack[i]->live && pack[i]->live->slots)
            __builtin_prefetch(&pack[i]->live->slots[pack[i]->next_slot]);
}

/* Whose turn is next in these candidates' routes. */
static void fetch_turns(candidate_t *const *k, uint32_t n)
{
    const pst_heap_node_t *node[FETCH_AHEAD];
    for (uint32_t i = 0; i < n; i++) {
        __builtin_prefetch(&k[i]->endpoint);
        __builtin_prefetch(&k[i]->route->shares);
    }
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(k[i]->route->shares.v);
    for (uint32_t i = 0; i < n; i++) {
        node[i] = pst_heap_top(&k[i]->route->shares);
        __builtin_prefetch(node[i]);
    }
    uint32_t left = 0;
    const flow_t *flow[FETCH_AHEAD];
    for (uint32_t i = 0; i < n; i++) {
        if (!node[i])
            continue;
        const pst_heap_node_t *f = pst_heap_top(&PST_CONTAINER(node[i], share_t, node)->flows);
        flow[left] = PST_CONTAINER(f, flow_t, node);
        __builtin_prefetch(flow[left++]);
    }
    fetch_jobs(flow, left);
}

void fetch_awake(const pst_core_t *c)
{
    candidate_t *k[FETCH_AHEAD];
    uint32_t n = 0;
    for (pst_link_t *x = c->awake.next; x != &c->awake && n < FETCH_AHEAD; x = x->next) {
        const place_t *p = PST_CONTAINER(x, place_t, awake);
        const pst_heap_node_t *top = pst_heap_top(&p->waiting);
        if (!top)
            continue;
        k[n] = PST_CONTAINER(top, candidate_t, node);
        __builtin_prefetch(k[n]);
        if (p->endpoint)
            __builtin_prefetch(p->endpoint->usage);
        n++;
    }
    fetch_turns(k, n);
}
