/* dedupe.h - which custom_ids were seen: a set of 64-bit seeded hashes, 8 bytes an id (at most two thirds full).
 * The ids themselves are not kept: a file has no ceiling.  Two ids of a million share a hash with a chance of 3e-8;
 * the seed is random, so that nobody can make a file whose ids do. */
#ifndef PST_DEDUPE_H
#define PST_DEDUPE_H

#include "base/base.h"

typedef struct pst_dedupe {
    uint64_t *slot; /* 0: free */
    uint64_t n, cap;
    unsigned shift; /* of a hash: its first bits are its place, so that a larger table has the same order */
    uint64_t seed;
} pst_dedupe_t;

static inline void pst_dedupe_init(pst_dedupe_t *d, uint64_t seed) { *d = (pst_dedupe_t){.seed = seed}; }
void pst_dedupe_release(pst_dedupe_t *d);
/* Of an id that is to be added; its place is on its way from memory then, so better ask early. */
uint64_t pst_dedupe_hash(const pst_dedupe_t *d, pst_view_t id);
/* *ret_new false: it was there already.  PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_dedupe_add(pst_dedupe_t *d, uint64_t hash, bool *ret_new);

#endif
