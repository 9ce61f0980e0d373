/* id.h - the id of a batch: a ULID (48 bits of milliseconds, 80 random bits), 16 bytes in memory
 * and on the wire, "batch_" + 26 characters of Crockford base32 where a person sees it.
 * A job's id is "<batch id>.<index>", index counted from 0 in input order. */
#ifndef PENSTOCK_ID_H
#define PENSTOCK_ID_H

#include "penstock/err.h"
#include "penstock/view.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PST_BATCH_TEXT_LEN 32 /* "batch_" + 26, without the NUL */

typedef struct pst_id {
    uint8_t b[16];
} pst_id_t;

/* Makes an id from wall-clock milliseconds and 10 random bytes: pure, so that tests repeat. */
pst_id_t pst_id_make(uint64_t wall_ms, const uint8_t random[10]);
/* Milliseconds since 1970 at which the id was made. */
uint64_t pst_id_wall_ms(const pst_id_t *id);
/* Writes PST_BATCH_TEXT_LEN characters and a NUL. */
void pst_id_text(const pst_id_t *id, char out[PST_BATCH_TEXT_LEN + 1]);
/* Reads "batch_…"; PST_E_INVALID for anything else. */
pst_err_t pst_id_parse(pst_view_t text, pst_id_t *ret);
/* Reads "batch_….<index>"; PST_E_INVALID for anything else. */
pst_err_t pst_job_id_parse(pst_view_t text, pst_id_t *ret_batch, uint32_t *ret_index);

static inline bool pst_id_eq(const pst_id_t *a, const pst_id_t *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}

#ifdef __cplusplus
}
#endif
#endif
