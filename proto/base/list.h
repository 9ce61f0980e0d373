/* list.h - intrusive doubly linked ring.  A node alone points to itself. */
#ifndef PST_LIST_H
#define PST_LIST_H

#include "base/base.h"

typedef struct pst_link {
    struct pst_link *prev, *next;
} pst_link_t;

#define PST_CONTAINER(p, T, member) ((T *)(void *)((char *)(p)-offsetof(T, member)))

static inline void pst_link_init(pst_link_t *l) { l->prev = l->next = l; }
static inline bool pst_link_empty(const pst_link_t *l) { return l->next == l; }
/* Before `at`: with `at` the list's head, at the end. */
static inline void pst_link_before(pst_link_t *at, pst_link_t *x)
{
    x->prev = at->prev;
    x->next = at;
    at->prev->next = x;
    at->prev = x;
}
static inline void pst_link_after(pst_link_t *at, pst_link_t *x) { pst_link_before(at->next, x); }
/* Harmless on a node that is alone. */
static inline void pst_link_remove(pst_link_t *x)
{
    x->prev->next = x->next;
    x->next->prev = x->prev;
    pst_link_init(x);
}

#endif
