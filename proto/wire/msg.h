/* msg.h - the messages of PROTOCOL.md as C structs, and bytes <-> structs.
 *
 * One ZeroMQ frame is one msgpack array: [version, type, session, epoch, seq, …fields of the type].
 * Encoding appends to a pst_buf_t.  Decoding believes no length or count that does not fit in what remains, and bounds
 * depth: msgpack-c's decoder, which would otherwise ask for gigabytes on the word of five bytes, sees nothing that has
 * not been checked so, and long lists are read by a cursor that checks as it goes (cursor.h).  The views of a pst_msg_t
 * point into the frame, its arrays lie in the caller's arena: valid as long as both are.  Pure; no message is ever
 * half-decoded. */
#ifndef PST_MSG_H
#define PST_MSG_H

#include "base/arena.h"
#include "base/buf.h"
#include "penstock/id.h"
#include "penstock/job.h"
#include "penstock/limits.h"

/* C client -> broker, B broker -> client, W worker -> broker, V broker -> worker. */
#define PST_MSG_LIST(X)                                                                            \
    X(HELLO, 1)     /* C W  begin a session */                                                     \
    X(WELCOME, 2)   /* B V  answer to HELLO */                                                     \
    X(PING, 3)      /* all  I am here */                                                           \
    X(BYE, 4)       /* all  orderly end of the session */                                          \
    X(REFUSED, 5)   /* B V  the session is over: begin a new one, or give up */                    \
    X(ROUTE, 16)    /* C    can this route be served?            -> DONE */                        \
    X(OPEN, 17)     /* C    begin (or resume) an upload          -> DONE */                        \
    X(PACK, 18)     /* C    one pack of jobs                     -> DONE */                        \
    X(COMMIT, 19)   /* C    the upload is whole: run it          -> DONE (accepted) */             \
    X(ABORT, 20)    /* C    forget the upload                    -> DONE */                        \
    X(STATUS, 21)   /* C    how does a batch stand?              -> BATCH | DONE(err) */           \
    X(LIST, 22)     /* C    batches, newest first                -> BATCHES */                     \
    X(FETCH, 23)    /* C    result packs from a cursor on        -> RESULTS | DONE(err) */         \
    X(GET, 24)      /* C    one job                              -> JOB | DONE(err) */             \
    X(CANCEL, 25)   /* C    stop what has not been sent          -> DONE */                        \
    X(DELETE, 26)   /* C    forget an ended batch                -> DONE */                        \
    X(TOP, 27)      /* C    how does the whole cluster stand?    -> CLUSTER */                     \
    X(CALL, 28)     /* C    one job, at once, and nothing stored -> JOB | DONE(err) */             \
    X(DONE, 48)     /* B */                                                                        \
    X(BATCH, 49)    /* B */                                                                        \
    X(BATCHES, 50)  /* B */                                                                        \
    X(RESULTS, 51)  /* B */                                                                        \
    X(JOB, 52)      /* B */                                                                        \
    X(CLUSTER, 53)  /* B */                                                                        \
    X(PIECE, 54)    /* B    part of a CALL's answer, before its JOB */                             \
    X(CAPACITY, 80) /* W    what I can take now */                                                 \
    X(OUTCOMES, 81) /* W    what became of tasks                 -> ACK */                         \
    X(PIECES, 82)   /* W    parts of answers that are being made */                                \
    X(TASKS, 96)    /* V    jobs to run */                                                         \
    X(REVOKE, 97)   /* V    stop these, their outcome is not wanted */                             \
    X(ACK, 98)      /* V    outcomes up to this number are safe */

typedef enum pst_msg_type {
#define X(name, number) PST_MSG_##name = number,
    PST_MSG_LIST(X)
#undef X
} pst_msg_type_t;

typedef enum pst_role { PST_ROLE_CLIENT = 1, PST_ROLE_WORKER = 2 } pst_role_t;

/* ---- routes and pack headers: made by the submitter, read by the broker --------------------------------- */

typedef enum pst_sort { PST_SORT_DEFAULT, PST_SORT_PRICE, PST_SORT_THROUGHPUT, PST_SORT_LATENCY } pst_sort_t;

typedef struct pst_names {
    pst_view_t *v;
    uint32_t n;
} pst_names_t;

/* Preferences of speed are stated for 50, 75, 90 and 99 per cent of calls. */
#define PST_QUANTILES 4

/* What a job wishes of its endpoint: OpenRouter's routing fields.  All jobs of a pack share one.  Its encoding is
 * canonical: equal routes have equal bytes. */
typedef struct pst_route {
    pst_names_t models;          /* first the one asked for (without suffix), then `models` fallbacks; at least one,
                                  * but for packs of rejected lines, which have none */
    pst_names_t order, only, ignore, quantizations;
    bool allow_fallbacks;        /* default true */
    bool require_parameters;     /* default true */
    bool deny_data_collection;
    bool zdr;
    uint8_t sort;                /* pst_sort_t; `:floor` is PRICE, `:nitro` THROUGHPUT */
    double max_price_prompt, max_price_completion, max_price_request; /* < 0: none */
    uint32_t params;             /* PST_PARAM_… the bodies use */
    bool across_models;          /* `sort` over the endpoints of all models; false: model after model */
    double min_throughput[PST_QUANTILES]; /* output tokens a second, 0: no wish */
    double max_latency[PST_QUANTILES];    /* seconds, 0: no wish */
} pst_route_t;

void pst_route_encode(const pst_route_t *r, pst_buf_t *out);
/* PST_E_MALFORMED, PST_E_NOMEM.  Bounds checked; views into `bytes`. */
PST_MUSTCHECK pst_err_t pst_route_decode(pst_view_t bytes, pst_arena_t *a, pst_route_t *ret);

/* One job of a pack, without its body. */
typedef struct pst_job_header {
    uint32_t index;              /* in input order */
    pst_view_t custom_id;        /* p NULL: could not be read (rejected lines only) */
    uint32_t input_tokens;       /* estimate */
    uint32_t output_tokens;      /* max_tokens of the body, 0: not given */
    uint32_t body_bytes;         /* bodies lie one after the other in the pack's text */
    uint64_t prefix;             /* hash of the shared beginning of the prompt, 0: none */
    uint8_t reject;              /* pst_cause_t LINE_…: never sent, ends as failed with this; else 0 */
    uint32_t line;               /* in the input file, from 1; only with reject */
    pst_view_t message;          /* only with reject */
} pst_job_header_t;

typedef enum pst_codec { PST_CODEC_RAW = 0, PST_CODEC_ZSTD = 1, PST_CODEC_LZ4 = 2 } pst_codec_t;

/* Headers of a pack: stored as they came.  The bodies' blob is beside them. */
typedef struct pst_pack_headers {
    uint8_t url;                 /* pst_url_t */
    pst_view_t route;            /* encoded pst_route_t */
    uint8_t codec;               /* of the bodies' blob */
    uint32_t text_bytes;         /* of the bodies, decompressed = sum of body_bytes */
    pst_job_header_t *jobs;
    uint32_t jobs_n;             /* 1 … PST_PACK_JOBS_MAX */
} pst_pack_headers_t;

void pst_pack_headers_encode(const pst_pack_headers_t *h, pst_buf_t *out);
/* Checks every bound, that body_bytes add up to text_bytes, and that indexes rise.  Views into `bytes`.
 * PST_E_MALFORMED, PST_E_TOO_LARGE, PST_E_NOMEM; so do the decoders below. */
PST_MUSTCHECK pst_err_t pst_pack_headers_decode(pst_view_t bytes, pst_arena_t *a, pst_pack_headers_t *ret);

/* ---- result packs: made by the broker (heads) and the workers (bodies), read by clients ------------------ */

typedef struct pst_endpoint_name {
    pst_view_t provider, model;  /* model: the upstream name */
} pst_endpoint_name_t;

#define PST_NO_ENDPOINT UINT16_MAX

typedef struct pst_attempt {
    uint16_t endpoint;           /* in the pack's table */
    uint16_t http_status;        /* 0: no answer */
    uint8_t cause;               /* pst_cause_t */
    uint32_t latency_ms;
} pst_attempt_t;

/* One ended job. */
typedef struct pst_result {
    uint32_t index;
    pst_view_t custom_id;        /* p NULL: none could be read */
    uint8_t status;              /* pst_job_status_t */
    uint8_t cause;               /* NONE if completed */
    uint16_t http_status;        /* of the answer shown; 0: no provider answered (body empty, message set) */
    uint16_t endpoint;           /* that gave the answer; PST_NO_ENDPOINT */
    uint64_t cost_nano;          /* USD * 1e-9, all attempts together */
    uint32_t input_tokens, cached_tokens, output_tokens;
    uint64_t queued_ms;          /* from acceptance to the start of the attempt that ended it */
    uint32_t latency_ms;         /* of that attempt */
    pst_view_t request_id;
    pst_view_t message;          /* with http_status 0 */
    uint32_t line;               /* rejected lines; else 0 */
    uint16_t blob;               /* which blob holds the body */
    uint32_t body_offset, body_bytes; /* in the decompressed blob */
    pst_attempt_t *attempts;
    uint32_t attempts_n;         /* the latest PST_HISTORY_MAX */
    uint32_t dropped;            /* PST_PARAM_… that the body uses and the endpoint does not take */
} pst_result_t;

typedef struct pst_result_blob {
    uint8_t codec;
    uint32_t text_bytes;         /* decompressed */
    pst_view_t bytes;
} pst_result_blob_t;

typedef struct pst_result_pack {
    pst_endpoint_name_t *endpoints;
    uint32_t endpoints_n;
    pst_result_t *results;
    uint32_t results_n;
    pst_result_blob_t *blobs;
    uint32_t blobs_n;
} pst_result_pack_t;

void pst_result_pack_encode(const pst_result_pack_t *p, pst_buf_t *out);
PST_MUSTCHECK pst_err_t pst_result_pack_decode(pst_view_t bytes, pst_arena_t *a, pst_result_pack_t *ret);

/* ---- messages --------------------------------------------------------------------------------------------- */

typedef struct pst_task_ref {    /* one dispatch of one job */
    pst_id_t batch;
    uint32_t segment, pack;
    uint16_t slot;               /* place in the pack */
    uint16_t dispatch;           /* counts the job's dispatches, from 1 */
} pst_task_ref_t;

typedef struct pst_pool_capacity { /* a worker's room for one provider's calls */
    pst_view_t provider;
    uint32_t jobs;               /* calls it will have in flight at most; 0: none (draining, no key) */
} pst_pool_capacity_t;

typedef struct pst_msg_hello {
    uint8_t role;
    pst_view_t software;         /* "penstock/0.1.0" */
    pst_view_t name;             /* "host.pid", for people */
    /* workers only */
    pst_pool_capacity_t *pools;
    uint32_t pools_n;
    pst_task_ref_t *running;     /* what it still runs, and outcomes not acknowledged: not to be dispatched again */
    uint32_t running_n;
} pst_msg_hello_t;

typedef struct pst_msg_welcome {
    uint32_t heartbeat_ms, lost_ms;
    uint32_t upload_packs, upload_bytes; /* a client's credit */
} pst_msg_welcome_t;

typedef struct pst_msg_refused { /* also BYE: reason */
    uint16_t err;
    pst_view_t text;
} pst_msg_refused_t;

typedef struct pst_msg_route {
    uint32_t req;
    uint8_t url;
    pst_view_t route;
} pst_msg_route_t;

typedef enum pst_priority { PST_PRIORITY_LOW, PST_PRIORITY_NORMAL, PST_PRIORITY_HIGH, PST_PRIORITY_COUNT } pst_priority_t;

typedef struct pst_msg_open {
    uint32_t req;
    pst_id_t batch;              /* chosen by the client: repeating an OPEN is harmless */
    pst_view_t name;
    uint8_t priority;
    uint64_t window_s;           /* 0: none given */
    uint64_t max_cost_nano;      /* 0: no budget */
    pst_view_t idempotency_key;  /* empty: none */
    pst_view_t metadata;         /* a JSON object, or empty */
    pst_view_t tenant;           /* whose it is: shares are fair between tenants first; empty: nobody's.  A later field */
} pst_msg_open_t;

typedef struct pst_msg_pack {
    uint32_t req;
    pst_id_t batch;
    uint32_t segment;            /* chosen by the client by the rule of PROTOCOL.md: never falls, rises by one */
    uint32_t pack;               /* counts from 0 over the whole batch */
    pst_view_t headers;
    pst_view_t bodies;
} pst_msg_pack_t;

typedef struct pst_msg_commit {
    uint32_t req;
    pst_id_t batch;
    uint32_t packs, jobs;        /* what the client believes it sent: checked */
} pst_msg_commit_t;

typedef struct pst_msg_batch_req { /* STATUS, ABORT, CANCEL, DELETE */
    uint32_t req;
    pst_id_t batch;
} pst_msg_batch_req_t;

typedef struct pst_msg_list {
    uint32_t req;
    pst_id_t after;              /* all zero: from the newest */
    uint32_t limit;
} pst_msg_list_t;

typedef struct pst_cursor {
    uint32_t segment, pack;      /* the next result pack to read */
} pst_cursor_t;

typedef struct pst_msg_fetch {
    uint32_t req;
    pst_id_t batch;
    pst_cursor_t cursor;
    uint32_t bytes;              /* stop after the pack that passes this */
    uint32_t wait_ms;            /* wait so long if there is nothing yet */
} pst_msg_fetch_t;

typedef struct pst_msg_get {
    uint32_t req;
    pst_id_t batch;
    bool by_index;
    uint32_t index;
    pst_view_t custom_id;
} pst_msg_get_t;

/* One pack of exactly one job, that runs at once and is kept in the broker's memory alone. */
typedef struct pst_msg_call {
    uint32_t req;
    pst_id_t batch;              /* chosen by the client, for CANCEL */
    pst_view_t tenant;           /* empty: nobody's */
    uint8_t priority;            /* pst_priority_t */
    uint64_t max_cost_nano;      /* 0: no budget */
    uint64_t window_ms;          /* 0: none; ends as expired then */
    bool stream;                 /* PIECEs are wanted */
    pst_view_t headers;
    pst_view_t bodies;
} pst_msg_call_t;

typedef struct pst_msg_done {
    uint32_t req;
    uint16_t err;                /* pst_err_t */
    pst_id_t batch;              /* OPEN, COMMIT: the batch this is (another one's with a known idempotency key) */
    bool accepted;               /* OPEN: that batch is accepted already, nothing to upload.  COMMIT: it runs */
    pst_view_t text;             /* what is wrong: what to do */
} pst_msg_done_t;

#define PST_BATCH_STATUS_LIST(X)                                                                   \
    X(VALIDATING, 0, "validating")   /* being uploaded */                                          \
    X(IN_PROGRESS, 1, "in_progress")                                                               \
    X(FINALIZING, 2, "finalizing")                                                                 \
    X(COMPLETED, 3, "completed")                                                                   \
    X(FAILED, 4, "failed")                                                                         \
    X(EXPIRED, 5, "expired")                                                                       \
    X(CANCELLING, 6, "cancelling")                                                                 \
    X(CANCELLED, 7, "cancelled")

typedef enum pst_batch_status {
#define X(name, number, text) PST_BATCH_##name = number,
    PST_BATCH_STATUS_LIST(X)
#undef X
} pst_batch_status_t;
const char *pst_batch_status_text(unsigned status);
static inline bool pst_batch_ended(unsigned s)
{
    return s == PST_BATCH_COMPLETED || s == PST_BATCH_FAILED || s == PST_BATCH_EXPIRED || s == PST_BATCH_CANCELLED;
}

typedef struct pst_cause_count {
    uint8_t cause;
    uint32_t n;
} pst_cause_count_t;

typedef struct pst_endpoint_stats {
    pst_endpoint_name_t name;
    uint64_t calls, completed, rate_limited, retried;
    uint64_t input_tokens, output_tokens, cost_nano;
    uint32_t p50_ms, p95_ms;
    uint64_t cached_tokens;      /* of the input; a later field, else 0 */
} pst_endpoint_stats_t;

typedef struct pst_parked { /* why jobs of the batch wait */
    pst_endpoint_name_t name;
    uint8_t cause;
    uint64_t until_wall_ms;      /* next try; 0: when the configuration is reloaded */
} pst_parked_t;

typedef struct pst_batch_info {
    pst_id_t batch;
    uint8_t status;              /* pst_batch_status_t */
    uint8_t priority;
    pst_view_t name, metadata, idempotency_key;
    uint64_t created_ms, accepted_ms, cancelling_ms, ended_ms, expires_ms; /* wall clock; 0: not yet */
    uint64_t window_s;           /* 0: none given */
    uint64_t max_cost_nano;
    uint32_t jobs, completed, failed, expired, cancelled, queued, running, retrying;
    uint64_t input_tokens, cached_tokens, output_tokens, cost_nano;
    /* STATUS only, empty in LIST */
    pst_cause_count_t *causes;
    uint32_t causes_n;
    pst_endpoint_stats_t *endpoints;
    uint32_t endpoints_n;
    pst_parked_t *parked;
    uint32_t parked_n;
    pst_view_t tenant;           /* empty: none, as in what was stored before there were any */
} pst_batch_info_t;

typedef struct pst_msg_batch {
    uint32_t req;
    pst_batch_info_t info;
} pst_msg_batch_t;

typedef struct pst_msg_batches {
    uint32_t req;
    pst_batch_info_t *infos;
    uint32_t infos_n;
    bool more;
} pst_msg_batches_t;

typedef struct pst_msg_results { /* of the asked segment only; a reader walks all of them */
    uint32_t req;
    pst_cursor_t next;           /* in the same segment */
    bool ended;                  /* the batch has ended and next is past its segment's last pack */
    pst_view_t *packs;           /* encoded pst_result_pack_t, as stored */
    uint32_t packs_n;
    uint32_t segments;           /* that the batch has by now */
} pst_msg_results_t;

typedef enum pst_job_state { PST_STATE_QUEUED, PST_STATE_RUNNING, PST_STATE_RETRYING, PST_STATE_ENDED } pst_job_state_t;

typedef struct pst_msg_job {
    uint32_t req;
    uint8_t state;               /* pst_job_state_t */
    uint32_t index;
    uint32_t attempts;           /* spent so far */
    uint64_t due_wall_ms;        /* RETRYING: when it runs next */
    pst_view_t pack;             /* ENDED: the result pack that holds it */
} pst_msg_job_t;

typedef struct pst_msg_piece {   /* of the answer to the CALL `req` */
    uint32_t req;
    uint32_t number;             /* from 0, without gaps */
    pst_view_t bytes;            /* whole lines, each one chunk object of OpenAI's streams as JSON */
} pst_msg_piece_t;

/* Where a limit is known from. */
typedef enum pst_limit_source {
    PST_LIMIT_CONFIGURED = 0,
    PST_LIMIT_SAID = 1,          /* by the provider, in its headers */
    PST_LIMIT_LEARNED = 2,       /* from what it refused */
    PST_LIMIT_SOURCE_COUNT
} pst_limit_source_t;

typedef struct pst_cluster_limit {
    uint8_t rate;                /* pst_rate_t */
    uint8_t source;              /* pst_limit_source_t */
    uint64_t limit;
    uint64_t used;               /* in the last minute; PST_RATE_DAILY: the day so far */
} pst_cluster_limit_t;

typedef struct pst_cluster_provider {
    pst_view_t name;
    uint32_t workers;            /* that serve it */
    uint32_t in_flight, room;    /* calls; how many more its workers could take now */
    uint32_t concurrency;        /* 0: no limit */
    pst_cluster_limit_t *limits; /* at most one a rate */
    uint32_t limits_n;
    uint8_t cause;               /* why it rests; 0: it does not */
    uint64_t until_wall_ms;      /* next try */
} pst_cluster_provider_t;

typedef struct pst_cluster_endpoint {
    pst_endpoint_name_t name;
    uint32_t in_flight, concurrency;
    uint64_t calls, completed, rate_limited, failed; /* calls: the sum of the other three */
    uint64_t input_tokens, cached_tokens, output_tokens, cost_nano;
    /* Of the last minutes; 0, 0 and 1000 if there were too few calls to tell. */
    uint32_t p50_ms, tokens_per_s;
    uint16_t uptime_per_mille;
    uint8_t cause;
    uint64_t until_wall_ms;
    pst_cluster_limit_t *limits;
    uint32_t limits_n;
} pst_cluster_endpoint_t;

/* Everything at one moment, for a live view.  Counts of calls and of what came of them are since the broker began. */
typedef struct pst_cluster {
    uint64_t wall_ms, uptime_ms;
    uint32_t workers;            /* with a session */
    uint32_t batches;            /* not ended */
    uint64_t jobs_queued;        /* of accepted batches, at no worker and waiting for no moment */
    uint32_t jobs_running, jobs_waiting;
    uint64_t accepted, completed, failed; /* jobs */
    uint64_t cost_nano;
    pst_cluster_provider_t *providers;
    uint32_t providers_n;
    pst_cluster_endpoint_t *endpoints;
    uint32_t endpoints_n;
} pst_cluster_t;

typedef struct pst_msg_top {
    uint32_t req;
} pst_msg_top_t;

typedef struct pst_msg_cluster {
    uint32_t req;
    pst_cluster_t cluster;
} pst_msg_cluster_t;

typedef struct pst_msg_capacity {
    pst_pool_capacity_t *pools;  /* replaces what HELLO or an earlier CAPACITY said */
    uint32_t pools_n;
} pst_msg_capacity_t;

typedef struct pst_task_slot {
    uint16_t slot;
    uint16_t dispatch;
} pst_task_slot_t;

/* What is different about a task whose client waits for it (pst_task_group_t.live). */
#define PST_LIVE_STREAM 1u           /* ask the provider for a stream, send PIECES */
#define PST_LIVE_UNSTORED 2u         /* nothing of it is stored anywhere */

typedef struct pst_task_group { /* jobs of one pack for one endpoint */
    pst_id_t batch;
    uint32_t segment, pack;
    pst_view_t headers, bodies;  /* empty if this session holds the pack already */
    bool last;                   /* no later group will name this pack: free it when its tasks are done */
    pst_endpoint_name_t endpoint;
    pst_view_t model;            /* the name the user asked for */
    uint32_t max_output;
    uint32_t flags;              /* PST_EP_… */
    pst_task_slot_t *slots;
    uint32_t slots_n;
    uint8_t priority;            /* pst_priority_t of the batch: whose calls are made first; a later field, else NORMAL */
    uint8_t live;                /* PST_LIVE_…; a later field, else 0 */
} pst_task_group_t;

typedef struct pst_msg_tasks {
    pst_task_group_t *groups;
    uint32_t groups_n;
} pst_msg_tasks_t;

typedef struct pst_msg_revoke {
    pst_task_ref_t *refs;
    uint32_t refs_n;
} pst_msg_revoke_t;

typedef struct pst_outcome {
    uint32_t pack;
    uint16_t slot, dispatch;
    uint32_t index;
    pst_view_t custom_id;        /* p NULL: none */
    uint8_t verdict, cause;
    uint16_t http_status;
    uint16_t endpoint;           /* in the group's table */
    uint8_t url;
    bool whole_provider;
    uint64_t wait_ms;
    uint64_t latency_us;
    uint32_t input_tokens, cached_tokens, output_tokens;
    pst_view_t request_id, message;
    uint32_t body_offset, body_bytes;
} pst_outcome_t;

/* What a provider last said of one of its limits, in the headers of an answer. */
typedef struct pst_limit_report {
    uint16_t endpoint;           /* in the group's table: whose call was answered */
    uint8_t rate;                /* pst_rate_t */
    uint64_t limit;              /* > 0 */
    uint64_t remaining;          /* UINT64_MAX: not said */
    uint64_t reset_ms;           /* until all of it is there again; 0: not said */
} pst_limit_report_t;

typedef struct pst_outcome_group { /* outcomes of one segment; bodies in one blob */
    pst_id_t batch;
    uint32_t segment;
    pst_endpoint_name_t *endpoints;
    uint32_t endpoints_n;
    pst_outcome_t *outcomes;
    uint32_t outcomes_n;
    pst_result_blob_t blob;
    pst_limit_report_t *limits;  /* a later field, else none */
    uint32_t limits_n;
} pst_outcome_group_t;

typedef struct pst_msg_outcomes {
    uint64_t number;             /* counts the worker's OUTCOMES over all its sessions, from 1; same number, same bytes */
    pst_outcome_group_t *groups;
    uint32_t groups_n;
} pst_msg_outcomes_t;

typedef struct pst_piece {
    pst_task_ref_t task;
    uint32_t number;             /* from 0, without gaps, of each task */
    pst_view_t bytes;            /* as pst_msg_piece_t's */
} pst_piece_t;

typedef struct pst_msg_pieces {
    pst_piece_t *pieces;
    uint32_t pieces_n;
} pst_msg_pieces_t;

typedef struct pst_msg_ack {
    uint64_t number;             /* this OUTCOMES is safe: forget it (not cumulative) */
} pst_msg_ack_t;

typedef struct pst_msg {
    uint8_t version;
    uint8_t type;                /* pst_msg_type_t */
    uint64_t session;            /* random nonce of the session, chosen by its opener */
    uint64_t epoch;              /* the broker's; 0 from peers that do not know it yet */
    uint64_t seq;                /* counts the sender's messages in this session, HELLO or WELCOME is 0 */
    union {
        pst_msg_hello_t hello;
        pst_msg_welcome_t welcome;
        pst_msg_refused_t refused; /* REFUSED, BYE */
        pst_msg_route_t route;
        pst_msg_open_t open;
        pst_msg_pack_t pack;
        pst_msg_commit_t commit;
        pst_msg_batch_req_t batch_req; /* STATUS ABORT CANCEL DELETE */
        pst_msg_list_t list;
        pst_msg_fetch_t fetch;
        pst_msg_get_t get;
        pst_msg_call_t call;
        pst_msg_done_t done;
        pst_msg_batch_t batch;
        pst_msg_batches_t batches;
        pst_msg_results_t results;
        pst_msg_job_t job;
        pst_msg_piece_t piece;
        pst_msg_top_t top;
        pst_msg_cluster_t cluster;
        pst_msg_capacity_t capacity;
        pst_msg_outcomes_t outcomes;
        pst_msg_pieces_t pieces;
        pst_msg_tasks_t tasks;
        pst_msg_revoke_t revoke;
        pst_msg_ack_t ack;
    } u;
} pst_msg_t;

/* Depth, and that every array, map, string and bin fits in the bytes that remain; exactly one value, no maps, no ext,
 * no floats but in routes.  PST_E_MALFORMED, PST_E_TOO_LARGE. */
PST_MUSTCHECK pst_err_t pst_wire_check(pst_view_t bytes);

/* Appends the whole frame. out->failed tells of no memory or a frame past its limit. */
void pst_msg_encode(const pst_msg_t *m, pst_buf_t *out);
/* PST_E_MALFORMED, PST_E_TOO_LARGE, PST_E_NOMEM; PST_E_VERSION if the version differs (type, session, epoch and
 * seq are still set, so that a REFUSED can be sent). */
PST_MUSTCHECK pst_err_t pst_msg_decode(pst_view_t frame, pst_arena_t *a, pst_msg_t *ret);
/* A batch's summary by itself, as the store keeps it. */
void pst_batch_info_encode(const pst_batch_info_t *i, pst_buf_t *out);
PST_MUSTCHECK pst_err_t pst_batch_info_decode(pst_view_t bytes, pst_arena_t *a, pst_batch_info_t *ret);
const char *pst_msg_name(unsigned type); /* "HELLO", or "?" */

#endif
