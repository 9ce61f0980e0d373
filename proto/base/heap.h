/* heap.h - a heap of intrusive nodes, four children each, smallest key first, ties by insertion order (so that a
 * trace repeats).  Removal of any node is O(log n).  Owns only its array, which repeats the keys: nodes lie all over the
 * memory, and comparing them there is what a heap of thousands would cost. */
#ifndef PST_HEAP_H
#define PST_HEAP_H

#include "base/base.h"

#define PST_HEAP_OUT UINT32_MAX

typedef struct pst_heap_node {
    uint64_t key;
    uint64_t seq;  /* set by the heap */
    uint32_t at;   /* place in the heap; PST_HEAP_OUT when not in it: initialise with pst_heap_node_init */
} pst_heap_node_t;

typedef struct pst_heap_slot {
    uint64_t key, seq;
    pst_heap_node_t *node;
} pst_heap_slot_t;

typedef struct pst_heap {
    pst_heap_slot_t *v;
    uint32_t n, cap;
    uint64_t seq;
} pst_heap_t;

static inline void pst_heap_node_init(pst_heap_node_t *x) { x->key = 0; x->seq = 0; x->at = PST_HEAP_OUT; }
static inline bool pst_heap_has(const pst_heap_node_t *x) { return x->at != PST_HEAP_OUT; }
void pst_heap_init(pst_heap_t *h);
void pst_heap_release(pst_heap_t *h);
/* Inserts, or moves to the new key if it is in: behind its equals, unless the key stays the same. */
void pst_heap_set(pst_heap_t *h, pst_heap_node_t *x, uint64_t key);
void pst_heap_remove(pst_heap_t *h, pst_heap_node_t *x); /* nothing if it is not in */
pst_heap_node_t *pst_heap_top(const pst_heap_t *h);      /* NULL when empty */

#endif
