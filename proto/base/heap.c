#include "base/heap.h"

void pst_heap_init(pst_heap_t *h)
{
    *h = (pst_heap_t){0};
}

void pst_heap_release(pst_heap_t *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->v[i]->at = PST_HEAP_OUT;
    free(h->v);
    pst_heap_init(h);
}

static bool before(const pst_heap_node_t *a, const pst_heap_node_t *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void place(pst_heap_t *h, uint32_t at, pst_heap_node_t *x)
{
    h->v[at] = x;
    x->at = at;
}

/* Moves the hole at `at` up until x may stand in it. */
static void sift_up(pst_heap_t *h, uint32_t at, pst_heap_node_t *x)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (!before(x, h->v[parent]))
            break;
        place(h, at, h->v[parent]);
        at = parent;
    }
    place(h, at, x);
}

/* Moves the hole at `at` down until x may stand in it. */
static void sift_down(pst_heap_t *h, uint32_t at, pst_heap_node_t *x)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(h->v[child + 1], h->v[child]))
            child++;
        if (!before(h->v[child], x))
            break;
        place(h, at, h->v[child]);
        at = (uint32_t)child;
    }
    place(h, at, x);
}

/* Puts x into the hole at `at`, whichever way it has to travel. */
static void settle(pst_heap_t *h, uint32_t at, pst_heap_node_t *x)
{
    if (at > 0 && before(x, h->v[(at - 1) / 2]))
        sift_up(h, at, x);
    else
        sift_down(h, at, x);
}

static void grow(pst_heap_t *h)
{
    PST_ASSERT(h->cap < PST_HEAP_OUT / 2);
    h->cap = h->cap ? h->cap * 2 : 64;
    h->v = pst_realloc(h->v, (size_t)h->cap * sizeof *h->v);
}

void pst_heap_set(pst_heap_t *h, pst_heap_node_t *x, uint64_t key)
{
    uint32_t at = x->at;
    if (at == PST_HEAP_OUT) {
        if (h->n == h->cap)
            grow(h);
        at = h->n++;
    } else {
        PST_ASSERT(at < h->n && h->v[at] == x);
        if (x->key == key)
            return;
    }
    x->key = key;
    x->seq = h->seq++;
    settle(h, at, x);
}

void pst_heap_remove(pst_heap_t *h, pst_heap_node_t *x)
{
    uint32_t at = x->at;
    if (at == PST_HEAP_OUT)
        return;
    PST_ASSERT(at < h->n && h->v[at] == x);
    x->at = PST_HEAP_OUT;
    pst_heap_node_t *last = h->v[--h->n];
    if (last != x)
        settle(h, at, last);
}

pst_heap_node_t *pst_heap_top(const pst_heap_t *h)
{
    return h->n ? h->v[0] : NULL;
}
