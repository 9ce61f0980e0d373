/* batch.h - a batch as the library shows it, for those who ask the broker in their own way. */
#ifndef PST_BATCH_H
#define PST_BATCH_H

#include "base/buf.h"
#include "penstock/penstock.h"
#include "wire/msg.h"

/* A copy with memory of its own, for pst_batch_release. */
PST_MUSTCHECK pst_err_t pst_batch_copy(const pst_batch_info_t *i, pst_batch_t *ret);

/* What a batch was made of, where that was a file: NULL for what is not known. */
typedef struct pst_batch_made {
    const char *input_file_id, *endpoint, *completion_window;
    const char *errors; /* JSON: OpenAI's list of what is wrong with the file */
} pst_batch_made_t;

/* OpenAI's batch object, appended.  In x only the texts that pst_batch_release frees must be there: name, priority, metadata,
 * tenant may be NULL. */
void pst_batch_put_json(pst_buf_t *b, const pst_batch_t *x, const pst_batch_made_t *made);

/* Its member request_counts alone, with a comma before it where one is due.  failed: what counts as that. */
void pst_batch_put_counts(pst_buf_t *b, const pst_batch_t *x, uint64_t failed);

#endif
