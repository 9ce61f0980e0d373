/* map.h - hash map from a short key (<= 40 bytes, copied) to a pointer.  Open addressing, seeded hash, so
 * that strangers cannot choose collisions.  Iteration order is by slot: never let it decide anything
 * that a trace shows. */
#ifndef PST_MAP_H
#define PST_MAP_H

#include "base/base.h"

#define PST_MAP_KEY_MAX 40

typedef struct pst_map_slot {
    void *value; /* NULL: free or deleted */
    uint32_t hash;
    uint8_t state; /* 0 free, 1 used, 2 deleted */
    uint8_t n;
    char key[PST_MAP_KEY_MAX];
} pst_map_slot_t;

typedef struct pst_map {
    pst_map_slot_t *v;
    uint32_t n, used, cap; /* n: live, used: live and deleted */
    uint64_t seed;
} pst_map_t;

void pst_map_init(pst_map_t *m, uint64_t seed);
void pst_map_release(pst_map_t *m);
void *pst_map_get(const pst_map_t *m, const void *key, size_t n);
void pst_map_set(pst_map_t *m, const void *key, size_t n, void *value); /* value not NULL */
void *pst_map_remove(pst_map_t *m, const void *key, size_t n);          /* what was there, or NULL */
/* i = 0; while ((p = pst_map_next(m, &i))) … ; do not insert meanwhile, removing the current is fine. */
static inline uint32_t pst_map_live(const pst_map_t *m) { return m->n; }
void *pst_map_next(const pst_map_t *m, uint32_t *i);

#endif
