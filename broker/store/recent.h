/* recent.h - the result packs written last, kept in memory for a while: who follows a running batch reads each right
 * after it was stored, and need not ask Redis for what was just sent there. */
#ifndef PST_RECENT_H
#define PST_RECENT_H

#include "base/blob.h"
#include "penstock/id.h"

typedef struct pst_recent pst_recent_t;

/* Keeps at most bytes_max, the oldest goes first; a pack longer than that is not kept. */
pst_recent_t *pst_recent_new(size_t bytes_max, uint64_t seed);
void pst_recent_destroy(pst_recent_t **r);
/* Takes a reference. */
void pst_recent_put(pst_recent_t *r, const pst_id_t *batch, uint32_t segment, uint32_t n, pst_blob_t *pack);
/* Borrowed until the next put; NULL: not kept (any more). */
pst_blob_t *pst_recent_get(const pst_recent_t *r, const pst_id_t *batch, uint32_t segment, uint32_t n);

#endif
