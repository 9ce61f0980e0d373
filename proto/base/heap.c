#include "base/heap.h"

#define CHILDREN 4u

void pst_heap_init(pst_heap_t *h)
{
    *h = (pst_heap_t){0};
}

void pst_heap_release(pst_heap_t *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->v[i].node->at = PST_HEAP_OUT;
    free(h->v);
    pst_heap_init(h);
}

static bool before(const pst_heap_slot_t *a, const pst_heap_slot_t *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void place(pst_heap_t *h, uint32_t at, const pst_heap_slot_t *x)
{
    h->v[at] = *x;
    x->node->at = at;
}

/* Moves the hole at `at` up until x may stand in it. */
static void sift_up(pst_heap_t *h, uint32_t at, const pst_heap_slot_t *x)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / CHILDREN;
        if (!before(x, &h->v[parent]))
            break;
        place(h, at, &h->v[parent]);
        at = parent;
    }
    place(h, at, x);
}

static uint32_t least_child(const pst_heap_t *h, uint32_t first)
{
    uint32_t least = first, end = h->n - first < CHILDREN ? h->n : first + CHILDREN;
    for (uint32_t i = first + 1; i < end; i++)
        if (before(&h->v[i], &h->v[least]))
            least = i;
    return least;
}

/* Moves the hole at `at` down until x may stand in it. */
static void sift_down(pst_heap_t *h, uint32_t at, const pst_heap_slot_t *x)
{
    for (;;) {
        uint64_t first = CHILDREN * (uint64_t)at + 1;
        if (first >= h->n)
            break;
        uint32_t child = least_child(h, (uint32_t)first);
        if (!before(&h->v[child], x))
            break;
        place(h, at, &h->v[child]);
        at = child;
    }
    place(h, at, x);
}

/* Puts x into the hole at `at`, whichever way it has to travel. */
static void settle(pst_heap_t *h, uint32_t at, const pst_heap_slot_t *x)
{
    if (at > 0 && before(x, &h->v[(at - 1) / CHILDREN]))
        sift_up(h, at, x);
    else
        sift_down(h, at, x);
}

static void grow(pst_heap_t *h)
{
    PST_ASSERT(h->cap < PST_HEAP_OUT / 2);
    h->cap = h->cap ? h->cap * 2 : 4;
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
        PST_ASSERT(at < h->n && h->v[at].node == x);
        if (x->key == key)
            return;
    }
    x->key = key;
    x->seq = h->seq++;
    settle(h, at, &(pst_heap_slot_t){key, x->seq, x});
}

void pst_heap_remove(pst_heap_t *h, pst_heap_node_t *x)
{
    uint32_t at = x->at;
    if (at == PST_HEAP_OUT)
        return;
    PST_ASSERT(at < h->n && h->v[at].node == x);
    x->at = PST_HEAP_OUT;
    pst_heap_slot_t last = h->v[--h->n];
    if (last.node != x)
        settle(h, at, &last);
}

pst_heap_node_t *pst_heap_top(const pst_heap_t *h)
{
    return h->n ? h->v[0].node : NULL;
}
