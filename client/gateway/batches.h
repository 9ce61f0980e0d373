/* batches.h - making a batch of an uploaded file, for all dialects that do. */
#ifndef PST_GATEWAY_BATCHES_H
#define PST_GATEWAY_BATCHES_H

#include "gateway/parts.h"
#include "gateway/record.h"

/* What is asked for; texts, never NULL but errors. */
typedef struct pst_batch_wish {
    const char *file, *endpoint, *window, *tenant, *metadata, *name, *model, *priority;
    const char *callback;    /* URL, checked; empty: nobody is told of its end */
    const char *dialect;     /* openai, openrouter, anthropic */
    const pst_key_t *key;    /* of who asks, or NULL */
    double max_cost_usd;     /* 0: no budget; a key's budget that is smaller counts */
    bool skip_invalid;
    const char *errors;      /* JSON: it fails at once, with these */
} pst_batch_wish_t;

/* A callback's URL, if it may be one; else it is answered (400) and NULL comes back. */
bool pst_batch_callback_ok(pst_req_t *r, const char *url);
/* Writes its record and has its file read.  fn: as a command's, when the record is safe. */
void pst_batch_record(pst_gateway_t *g, const char *batch, const pst_batch_wish_t *w, pst_cmd_fn *fn, void *arg);

#endif
