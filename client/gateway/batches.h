/* batches.h - making a batch of a file, and what can be done to one, for all dialects. */
#ifndef PST_GATEWAY_BATCHES_H
#define PST_GATEWAY_BATCHES_H

#include "base/json.h"
#include "gateway/about.h"
#include "gateway/pieces.h"

/* What is asked for; texts, never NULL but errors. */
typedef struct pst_batch_wish {
    const char *file, *endpoint, *window, *tenant, *metadata, *name, *model, *priority;
    const char *callback;    /* URL, checked; empty: nobody is told of its end */
    const char *dialect;     /* openai, openrouter, anthropic */
    const char *provider;    /* as the record's */
    bool elements;           /* likewise */
    uint64_t requests;       /* 0: not known yet */
    const pst_key_t *key;    /* of who asks, or NULL */
    double max_cost_usd;     /* 0: no budget; a key's budget that is smaller counts */
    bool skip_invalid;
    const char *errors;      /* JSON: it fails at once, with these */
} pst_batch_wish_t;

/* Writes its record and has its file read.  fn: as a command's, when the record is safe. */
void pst_batch_record(pst_gateway_t *g, const char *batch, const pst_batch_wish_t *w, pst_cmd_fn *fn, void *arg);

/* A batch on its way to be made; `a->more` of the request that asks for it. */
typedef struct pst_making {
    pst_about_t *a;
    pst_batch_wish_t wish;
    void (*next)(struct pst_making *m); /* once its Idempotency-Key is found to be new */
    pst_redis_key_t claim;   /* which stands for that */
    pst_pieces_t *input;     /* its file, as long as nothing else has it; or NULL */
} pst_making_t;

/* With an id, and the wishes that the caller's key and nothing else settle.  false: answered. */
bool pst_making_begin(pst_making_t *m, pst_req_t *r, pst_batch_show_fn *show);
void pst_making_release(pst_making_t *m);
/* metadata, priority, max_cost_usd, name, model, skip_invalid, callback_url.  false: answered, they are wrong. */
bool pst_making_read(pst_making_t *m, const pst_json_t *j);
/* Goes on with `next`, or, if its Idempotency-Key made a batch already, shows that. */
void pst_making_claim(pst_making_t *m, void (*next)(pst_making_t *m));
/* The record is written, then the batch is shown. */
void pst_making_record(pst_making_t *m);
/* All of it, by the body of OpenAI's creation: a batch of an uploaded file. */
void pst_making_of_file(pst_making_t *m, pst_view_t body);

/* OpenAI's object. */
void pst_batches_show(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record);
/* For pst_about_begin: has it cancelled, and shows it; takes it away, with what is kept of it, then it is shown for the last
 * time. */
void pst_about_cancel(pst_about_t *a, const pst_batch_t *b, bool at_broker);
void pst_about_delete(pst_about_t *a, const pst_batch_t *b, bool at_broker);

#endif
