/* store.h - what the broker asks of durable storage, as operations that can be repeated.
 *
 * The core emits a pst_store_op_t; a store carries it out and answers with a pst_store_answer_t of the same token.
 * Operations on one store take effect in the order they were given.  Every one may be carried out twice (a lost reply is
 * a question, not a failure): numbers are explicit and the store compares them.  A store never answers with a
 * passing fault: it repeats the operation until it knows; only FENCED, STORE_FULL, NOT_FOUND, STORE_BAD and
 * EXISTS (OPEN of a batch that has ended) reach the core.  Whether the store is reachable is told apart, by
 * pst_store_events_t.state.
 *
 * Layout of keys (Redis; every key is built by pst_key_*, redis_keys.c):
 *   pst:{o}:epoch                    the owner's epoch, raised at each start
 *   pst:{o}:active                   set: ids of batches that have not ended
 *   pst:{o}:all                      sorted set: every batch by creation time
 *   pst:{o}:workers                  set: names of workers with a session
 *   pst:{o}:learned                  hash: name of a rate budget -> limits that were learned, and from what
 *   pst:{<batch>}                    hash: the batch (open parameters, state, summary when ended)
 *   pst:{<batch>.<seg>}:meta         hash: e epoch, n result packs, s stats
 *   pst:{<batch>.<seg>}:dir          hash: pack -> directory entry
 *   pst:{<batch>.<seg>}:h:<pack>     headers of a pack        :b:<pack> bodies of a pack
 *   pst:{<batch>.<seg>}:r:<n>        a result pack
 *   pst:{<batch>.<seg>}:routes       hash: encoded route -> its number in the directory
 *   pst:{<batch>.<seg>}:ends         string: pack and slot of ended jobs, a record a result pack
 *   pst:{<batch>.<seg>}:retry        hash: pack.slot -> attempts, due time, history
 *   pst:{<batch>.<seg>}:idx          string: for each ordinal of an ended segment, its result pack (u32 LE)
 *   pst:{<batch>.<seg>}:x:…          what is on its way into h, b, r: names that live within one transaction
 *   pst:{idem:<hash>}                idempotency key -> batch
 *   pst:{lim:<name>}                 hash: a rate budget
 */
#ifndef PST_STORE_H
#define PST_STORE_H

#include "base/blob.h"
#include "wire/msg.h"

/* What one pack of a segment is, without its bytes: 32 bytes in the directory. */
typedef struct pst_pack_entry {
    uint32_t pack;
    uint32_t jobs;
    uint32_t text_bytes;
    uint32_t headers_bytes, bodies_bytes; /* as stored */
    uint32_t index_lo, index_hi;          /* least and greatest index in it */
    uint32_t input_tokens;                /* estimate, whole pack */
} pst_pack_entry_t;

/* Latency of calls by quarter octaves: bucket 4k + q counts [2^k (1 + q/4), 2^k (1 + (q+1)/4)) ms; below 1 ms: bucket 0. */
#define PST_HIST_BUCKETS 88

typedef struct pst_seg_endpoint { /* counters of one endpoint within one segment */
    pst_endpoint_name_t name;
    uint64_t calls, completed, rate_limited, retried, input_tokens, cached_tokens, output_tokens, cost_nano;
    uint32_t hist[PST_HIST_BUCKETS];
} pst_seg_endpoint_t;

/* Account of one segment, written with every append, so that it is exactly as true as the results. */
typedef struct pst_seg_stats {
    uint32_t completed, failed, expired, cancelled;
    uint64_t input_tokens, cached_tokens, output_tokens, cost_nano;
    pst_cause_count_t *causes;
    uint32_t causes_n;
    pst_seg_endpoint_t *endpoints;
    uint32_t endpoints_n;
} pst_seg_stats_t;

/* A job that waits for its next attempt. */
typedef struct pst_retry {
    uint32_t pack;
    uint16_t slot;
    uint16_t dispatch;       /* dispatches so far */
    uint8_t attempts;        /* attempts spent */
    uint8_t given_up;        /* bits of the route's models that failed it */
    uint64_t due_wall_ms;
    uint64_t cost_nano;      /* of its attempts so far */
    pst_endpoint_name_t *endpoints;
    uint32_t endpoints_n;
    pst_attempt_t *history;  /* endpoint: index in endpoints */
    uint32_t history_n;
} pst_retry_t;

typedef struct pst_slot_ref {
    uint32_t pack;
    uint16_t slot;
} pst_slot_ref_t;

#define PST_STORE_OP_LIST(X)                                                                       \
    X(OPEN)         /* create the batch (staging); answer: holder of its idempotency key, if any */ \
    X(PUT_PACK)     /* store a pack of a staging batch */                                          \
    X(CLAIM)        /* take the idempotency key; answer: who holds it now */                       \
    X(COMMIT)       /* staging -> accepted, if packs and jobs are all there */                     \
    X(APPEND)       /* a result pack with its account; frees retries and bodies it names */        \
    X(RETRY)        /* remember a job that waits */                                                \
    X(LOAD)         /* headers, and bodies if asked, of one pack */                                \
    X(CANCELLING)   /* remember that a batch is being cancelled (or expires, or ran out of budget) */ \
    X(END)          /* the batch has ended: summary, index of its segments, leaves `active` */     \
    X(DELETE)       /* every key of the batch; in the background, in bounded steps */              \
    X(LIMIT_TAKE)   /* from a rate budget */                                                       \
    X(LIMIT_GIVE)   /* back to it, unused */                                                       \
    X(LIMIT_BLOCK)  /* nothing from it before a moment (Retry-After, shared) */                    \
    X(LIMIT_KEEP)   /* remember what was learned of limits that nobody configured */

typedef enum pst_store_op_type {
#define X(name) PST_STORE_##name,
    PST_STORE_OP_LIST(X)
#undef X
    PST_STORE_OP_COUNT
} pst_store_op_type_t;

/* Why a batch takes no more work.  LOST, of a call only and never stored: what was told of its answer cannot be gone on
 * with. */
typedef enum pst_drain {
    PST_DRAIN_NONE, PST_DRAIN_CANCELLED, PST_DRAIN_EXPIRED, PST_DRAIN_BUDGET, PST_DRAIN_LOST,
} pst_drain_t;

typedef struct pst_store_op {
    pst_store_op_type_t type;
    uint64_t token;              /* comes back in the answer; 0: no answer wanted */
    bool live;                   /* of a call: no store sees it */
    pst_id_t batch;
    uint32_t segment;
    union {
        struct {                 /* OPEN */
            const pst_batch_info_t *info; /* name, priority, window_s, max_cost_nano, metadata, idempotency_key,
                                           * tenant, created_ms; the rest is zero */
        } open;
        struct {                 /* PUT_PACK */
            pst_pack_entry_t entry;
            uint8_t url;         /* this and the next two: as the headers say, kept where restoring finds them */
            pst_view_t route;    /* encoded */
            bool rejected;       /* a pack of rejected lines */
            pst_blob_t *headers, *bodies; /* borrowed: the store takes its own reference */
        } put;
        struct {                 /* CLAIM */
            pst_view_t key;
            bool replace;        /* take it from `holder`, a batch that was never accepted */
            pst_id_t holder;
        } claim;
        struct {                 /* COMMIT */
            uint32_t packs, jobs, segments;
            uint64_t accepted_ms, expires_ms;
        } commit;
        struct {                 /* APPEND */
            uint32_t n;          /* number of this result pack in its segment, from 0 without gaps */
            const pst_result_pack_t *pack;
            pst_blob_t *const *blob_refs; /* owners of pack->blobs[i].bytes; the store takes references */
            const pst_seg_stats_t *stats;
            const pst_slot_ref_t *ended;   /* the job of each of pack->results, in their order: kept in `ends` */
            const pst_slot_ref_t *unretry; /* retries that ended with it */
            uint32_t unretry_n;
            const uint32_t *spent; /* packs all of whose jobs have ended: their bodies are freed */
            uint32_t spent_n;
        } append;
        struct {                 /* RETRY */
            const pst_retry_t *retry;
        } retry;
        struct {                 /* LOAD */
            uint32_t pack;
            bool bodies;
        } load;
        struct {                 /* CANCELLING */
            pst_drain_t drain;
            uint64_t wall_ms;
        } cancelling;
        struct {                 /* END */
            const pst_batch_info_t *summary;
            const uint32_t *where;        /* per ordinal of the batch: result pack + 1; borrowed during the call */
            const uint32_t *segment_base; /* ordinal of each segment's first job; segments + 1 entries */
            uint32_t segments;
        } end;
        struct {                 /* DELETE */
            uint32_t segments;   /* UINT32_MAX: as the store knows */
        } del;
        struct {                 /* LIMIT_TAKE, LIMIT_GIVE, LIMIT_BLOCK, LIMIT_KEEP */
            pst_view_t name;     /* "<provider>" or "<provider>/<upstream model>" */
            struct {
                uint64_t limit;  /* a minute, PST_RATE_DAILY: a day; 0: none */
                uint64_t cap;    /* size of the bucket; a day has none */
                uint64_t amount; /* TAKE: wanted at most; GIVE: returned; KEEP: where the limit comes from */
                uint64_t least;  /* TAKE: all of this, of every rate, or nothing */
            } rate[PST_RATE_COUNT];
            uint64_t block_ms;   /* BLOCK: for so long from now, by the store's clock */
        } limit;
    } u;
} pst_store_op_t;

typedef struct pst_store_answer {
    pst_store_op_type_t type;
    uint64_t token;
    pst_err_t err;
    pst_id_t holder;             /* OPEN, CLAIM: the key's holder; all zero if none */
    pst_blob_t *headers, *bodies; /* LOAD: borrowed during the callback; take references to keep */
    uint64_t granted[PST_RATE_COUNT]; /* LIMIT_TAKE: 0 where there is no limit, and everywhere if it was refused */
    bool refused;                /* LIMIT_TAKE */
    bool blocked;                /* LIMIT_TAKE refused because of a LIMIT_BLOCK, whatever there is */
    uint64_t wait_ms;            /* LIMIT_TAKE refused: try again then */
} pst_store_answer_t;

/* ---- reading back at start ----------------------------------------------------------------------------------- */

typedef enum pst_restored_type {
    PST_RESTORED_BATCH,   /* its parameters and state; its segments follow, each with all that is below before the next */
    PST_RESTORED_PACK,    /* in pack order */
    PST_RESTORED_RESULTS, /* one result pack's ended jobs */
    PST_RESTORED_RETRY,
    PST_RESTORED_STATS,   /* a segment's account */
    PST_RESTORED_BATCH_END, /* that was all of this batch */
    PST_RESTORED_LIMITS,  /* learned ones of a budget; before all batches */
} pst_restored_type_t;

typedef struct pst_restored {
    pst_restored_type_t type;
    pst_id_t batch;
    uint32_t segment;
    union {
        struct {
            pst_batch_info_t info;   /* as opened; accepted_ms 0: still staging */
            pst_drain_t drain;
            uint32_t packs, jobs, segments; /* committed; 0 while staging */
        } batch;
        struct {
            pst_pack_entry_t entry;
            uint8_t url;
            pst_view_t route;        /* encoded */
            bool rejected;           /* a pack of rejected lines */
        } pack;
        struct {
            uint32_t n;
            const pst_slot_ref_t *ended; /* its jobs */
            uint32_t ended_n;
        } results;
        pst_retry_t retry;
        pst_seg_stats_t stats;
        struct {
            pst_view_t name;         /* as of the operation that kept them */
            uint64_t limit[PST_RATE_COUNT];
            uint8_t source[PST_RATE_COUNT];
        } limits;
    } u;
} pst_restored_t;

/* ---- the Redis store ------------------------------------------------------------------------------------------ */

typedef struct pst_store pst_store_t;
struct pst_loop;

typedef struct pst_store_events {
    void (*answer)(void *arg, const pst_store_answer_t *a);
    /* up true: operations flow.  false: they are held, and repeated when it is back. */
    void (*state)(void *arg, bool up, const char *why);
    /* Memory in use and its ceiling (0: none), about once a second. */
    void (*room)(void *arg, uint64_t used_bytes, uint64_t max_bytes);
    /* Another broker took over, or Redis lost what it had acknowledged: this process must end. */
    void (*fatal)(void *arg, const char *why);
    void *arg;
} pst_store_events_t;

typedef struct pst_store_opts {
    const char *url;         /* unix:///path, redis://[user:pass@]host[:port][/db] */
    unsigned durability;     /* pst_durability_t asked for */
    uint64_t room_bytes_max; /* operations held in memory at most (a bound that is asserted: the core's credits keep it) */
} pst_store_opts_t;

/* Connects and takes the next epoch, loads the function library, checks version, eviction policy, durability; blocks up
 * to 10 s (LOADING counts as waiting).  PST_E_STORE_DOWN, PST_E_STORE_BAD with words in eb.  After success eb->text is
 * empty, or says what could not be checked (CONFIG may be forbidden). */
PST_MUSTCHECK pst_err_t pst_store_open(struct pst_loop *loop, const pst_store_opts_t *o, const pst_store_events_t *ev,
                                       pst_store_t **ret, pst_errbuf_t *eb);
void pst_store_destroy(pst_store_t **s);
uint64_t pst_store_epoch(const pst_store_t *s);
/* Begins an operation; everything in op is copied or referenced before it returns.  Answers come from the loop. */
void pst_store_submit(pst_store_t *s, const pst_store_op_t *op);
/* Sends what was submitted since the last call: the shell calls it once a turn, so that a turn's operations share a
 * system call and an fsync. */
void pst_store_flush(pst_store_t *s);
/* Reads every active batch back, blocking, pipelined; takes over their segments under this epoch. */
PST_MUSTCHECK pst_err_t pst_store_restore(pst_store_t *s, void (*fn)(void *arg, const pst_restored_t *r), void *arg,
                                          pst_errbuf_t *eb);
/* Registry of workers with a session, so that a new broker knows whom to wait for. */
void pst_store_worker(pst_store_t *s, pst_view_t name, bool here);
/* Names at start (arena). */
PST_MUSTCHECK pst_err_t pst_store_workers(pst_store_t *s, pst_arena_t *a, pst_names_t *ret, pst_errbuf_t *eb);
/* Operations submitted and not yet answered; their bytes. */
void pst_store_pending(const pst_store_t *s, uint32_t *ret_ops, uint64_t *ret_bytes);

/* ---- reads for queries: answered through fn, from the loop; err STORE_DOWN if the connection is lost meanwhile -------- */

typedef void pst_store_read_fn(void *arg, pst_err_t err, const pst_view_t *values, uint32_t n);
/* Result packs [first, first + count) of a segment: values in order; absent ones have p NULL. */
void pst_store_read_results(pst_store_t *s, const pst_id_t *batch, uint32_t segment, uint32_t first, uint32_t count,
                            pst_store_read_fn *fn, void *arg);
/* Result pack n of a segment if it was written a moment ago and is still in memory, else NULL; borrowed until the next
 * operation.  It may not be stored yet: only for those who know that it is. */
pst_blob_t *pst_store_recent_results(const pst_store_t *s, const pst_id_t *batch, uint32_t segment, uint32_t n);
/* Headers of the packs given, of one segment. */
void pst_store_read_headers(pst_store_t *s, const pst_id_t *batch, uint32_t segment, const uint32_t *packs, uint32_t n,
                            pst_store_read_fn *fn, void *arg);
/* values[0]: encoded pst_batch_info_t summary of an ended batch (NULL: no such batch, or it has not ended);
 * values[1]: u32 LE number of segments. */
void pst_store_read_batch(pst_store_t *s, const pst_id_t *batch, pst_store_read_fn *fn, void *arg);
/* values[0]: u32 LE number of result packs; values[1]: the segment's directory, 32-byte pst_pack_entry_t in pack order;
 * values[2]: `idx` (NULL until the batch ended). */
void pst_store_read_segment(pst_store_t *s, const pst_id_t *batch, uint32_t segment, pst_store_read_fn *fn, void *arg);
/* Ids of batches, newest first, older than *after (NULL: from the newest): 16-byte values, at most limit + 1. */
void pst_store_read_list(pst_store_t *s, const pst_id_t *after, uint32_t limit, pst_store_read_fn *fn, void *arg);

#endif
