/* batches.h - making a batch of an uploaded file, for all dialects that do. */
#ifndef PST_GATEWAY_BATCHES_H
#define PST_GATEWAY_BATCHES_H

#include "gateway/parts.h"
#include "gateway/record.h"

/* What is asked for; texts, never NULL but errors. */
typedef struct pst_batch_wish {
    const char *file, *endpoint, *window, *tenant, *metadata, *name, *model, *priority;
    double max_cost_usd;
    bool skip_invalid;
    const char *errors;      /* JSON: it fails at once, with these */
} pst_batch_wish_t;

/* Writes its record and has its file read.  fn: as a command's, when the record is safe. */
void pst_batch_record(pst_gateway_t *g, const char *batch, const pst_batch_wish_t *w, pst_cmd_fn *fn, void *arg);

#endif
