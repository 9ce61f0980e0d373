/* record.h - what a batch that came over HTTP was made of, as it lies in Redis beside what the broker knows of it.
 *
 *   validating ──► made        the broker has it, and knows the rest
 *       ├────────► failed      its file was refused: `errors`; the broker never saw it
 *       └────────► cancelled   before it was made
 * While it is validating its id stands in `imports`, and whoever holds its lease reads the file (import.c). */
#ifndef PST_GATEWAY_RECORD_H
#define PST_GATEWAY_RECORD_H

#include "base/arena.h"
#include "gateway/db.h"
#include "lib/batch.h"

#define PST_RECORD_LIST(X)                                                                         \
    X(state)                 /* validating, made, failed, cancelled */                             \
    X(file)                  /* the input's id */                                                  \
    X(endpoint) X(window)    /* as they were asked for */                                          \
    X(tenant) X(metadata) X(name) X(model)                                                         \
    X(priority)              /* low, normal, high */                                               \
    X(max_cost)              /* USD, 0: none */                                                    \
    X(skip_invalid)          /* 1: bad lines become failed results */                              \
    X(created_ms) X(cancel_ms) X(ended_ms)                                                         \
    X(errors)                /* JSON, of a failed one */                                           \
    X(callback)              /* URL that is told of its end */                                     \
    X(dialect)               /* in whose words: openai, openrouter, anthropic */                   \
    X(key)                   /* of who made it: its record without the secret (key.h) */           \
    X(key_id)                /* and its id */                                                      \
    X(reserved)              /* nano-USD of its budget that the batch holds until it ends */       \
    X(elements)              /* 1: its file has OpenRouter's requests as they came, one a line */  \
    X(provider)              /* JSON, OpenRouter's routing wishes for requests that have none */   \
    X(requests)              /* how many there are, if it is known before the file is read */

typedef struct pst_record { /* texts, never NULL; those that are not there are empty */
#define X(name) const char *name;
    PST_RECORD_LIST(X)
#undef X
} pst_record_t;

enum {
#define X(name) PST_RECORD_##name,
    PST_RECORD_LIST(X)
#undef X
    PST_RECORD_FIELDS
};
extern const char *const pst_record_fields[PST_RECORD_FIELDS];
/* Asks for them; not sent yet. */
pst_cmd_t *pst_record_cmd(const char *batch, pst_cmd_fn *fn, void *arg);

/* The answer to HMGET of pst_record_fields; texts lie in the arena.  false: there is none. */
bool pst_record_read(const redisReply *r, pst_arena_t *a, pst_record_t *ret);
uint64_t pst_record_number(const char *text);
/* A batch that the broker does not have: its state as the object says it. */
void pst_record_batch(const pst_record_t *r, const char *id, pst_batch_t *ret);
pst_batch_made_t pst_record_made(const pst_record_t *r);
/* "24h", "90m", "7d", "3600": seconds, 1 … 365 days; 0: it is none of these. */
uint64_t pst_window_seconds(const char *text);

#endif
