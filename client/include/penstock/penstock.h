/* penstock.h - libpenstock: submit batches to a penstock broker, follow them, read their results.
 *
 * One handle, one connection, one thread: calls of one pst_client_t must not overlap; use a handle a thread.  Every
 * call that talks to the broker blocks until its answer, or until the handle's time-out (PST_E_UNREACHABLE).  A
 * broker that restarts meanwhile is waited for, the session begun anew and unanswered requests sent again: all of
 * them can be repeated safely.  Errors come back as pst_err_t; pst_client_error() has the words.  Nothing here
 * prints, exits, or changes signals.  ZeroMQ has a thread of its own, and of an upload of more than a few hundred jobs up
 * to three compress; no code of the caller's runs in them.  Memory: bounded whatever the size of the input (packs being
 * built: 8 MiB; being compressed: 16 MiB; unanswered: 16 MiB; 8 bytes a line to find repeated custom_ids). */
#ifndef PENSTOCK_PENSTOCK_H
#define PENSTOCK_PENSTOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"
#include "penstock/id.h"
#include "penstock/job.h"
#include "penstock/view.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PST_API __attribute__((visibility("default")))

typedef struct pst_client pst_client_t;

typedef struct pst_client_opts {
    const char *broker;     /* "tcp://127.0.0.1:7701"; NULL: $PENSTOCK_BROKER, else that */
    uint32_t timeout_ms;    /* how long a call waits for a broker that does not answer; 0: 10,000 */
    uint32_t line_bytes_max; /* longest input line; 0: 32 MiB */
    uint32_t prefix_bytes_max; /* prompts with so many bytes in common begin alike: one cache serves both; 0: 32 KiB */
    uint32_t prefix_bytes_min; /* with fewer in common they have nothing to share; 0: 4 KiB.  At most prefix_bytes_max */
} pst_client_opts_t;

/* Connects lazily: no broker is needed yet.  PST_E_INVALID for an address that is none. */
PST_API pst_err_t pst_client_new(const pst_client_opts_t *opts, pst_client_t **ret);
PST_API void pst_client_destroy(pst_client_t **c);
/* Words for the last error of this handle: "what is wrong: what to do".  Valid until the next call. */
PST_API const char *pst_client_error(const pst_client_t *c);
/* Waits until the broker answers a HELLO. */
PST_API pst_err_t pst_client_hello(pst_client_t *c);

/* ---- submit --------------------------------------------------------------------------------------- */

typedef struct pst_submit_opts {
    const char *name;             /* NULL: none */
    int priority;                 /* -1 low, 0 normal, 1 high */
    uint64_t window_s;            /* finish within; 0: as soon as limits allow */
    double max_cost_usd;          /* 0: no budget */
    const char *idempotency_key;  /* NULL: none.  The same key never makes a second batch */
    const char *model;            /* for lines that name none */
    bool skip_invalid;            /* bad lines become failed results instead of refusing the file */
    const char *metadata;         /* a JSON object, or NULL */
    const char *tenant;           /* whose batch it is: what there is is shared fairly between tenants; NULL: nobody's */
    const pst_id_t *batch;        /* its id, chosen by the caller, who so can repeat a submission of the same input: what an
                                   * earlier one that broke off has left is dropped, one that was accepted is known.
                                   * NULL: a new one */
} pst_submit_opts_t;

/* One bad line of the input. */
typedef struct pst_bad_line {
    uint64_t line;                /* from 1 */
    pst_cause_t code;             /* LINE_… */
    char message[256];
} pst_bad_line_t;

#define PST_BAD_LINES_MAX 100

typedef struct pst_submit pst_submit_t;

/* Begins a batch.  If the idempotency key, or the batch, is known, *ret_known is true and the batch is that one: write nothing,
 * go straight to pst_submit_finish. */
PST_API pst_err_t pst_submit_begin(pst_client_t *c, const pst_submit_opts_t *o, pst_submit_t **ret, bool *ret_known);
/* Feeds input bytes, cut anywhere.  Blocks while the broker has no room.  Bad lines are gathered, not returned:
 * after more than PST_BAD_LINES_MAX of them (without skip_invalid) PST_E_INPUT comes at once. */
PST_API pst_err_t pst_submit_write(pst_submit_t *s, const void *p, size_t n);
/* Adds one job as its parts; body is a JSON object.  custom_id NULL: none given (an error unless the batch has
 * only this job, which then gets "0"). */
PST_API pst_err_t pst_submit_job(pst_submit_t *s, const char *custom_id, pst_url_t url, const void *body, size_t n);
/* Ends the input and waits until the batch is safe.  PST_OK: *ret_batch runs.  PST_E_INPUT: refused, nothing was
 * accepted; see pst_submit_bad.  Anything else: not known to be accepted; try again with the same idempotency key. */
PST_API pst_err_t pst_submit_finish(pst_submit_t *s, pst_id_t *ret_batch);
/* Lines read so far, jobs among them, and the first bad lines (count in *ret_n, at most PST_BAD_LINES_MAX;
 * *ret_total counts them all). */
PST_API void pst_submit_counts(const pst_submit_t *s, uint64_t *ret_lines, uint64_t *ret_jobs);
PST_API const pst_bad_line_t *pst_submit_bad(const pst_submit_t *s, size_t *ret_n, uint64_t *ret_total);
/* Drops the upload if it was not finished. */
PST_API void pst_submit_destroy(pst_submit_t **s);

/* ---- batches ---------------------------------------------------------------------------------------- */

typedef struct pst_cause_line {
    const char *error_type;
    uint64_t n;
} pst_cause_line_t;

typedef struct pst_endpoint_line {
    const char *provider, *model;
    uint64_t calls, completed, rate_limited, retried, input_tokens, output_tokens;
    uint64_t cached_tokens;       /* of the input */
    double cost_usd;
    uint32_t latency_p50_ms, latency_p95_ms;
} pst_endpoint_line_t;

typedef struct pst_parked_line {
    const char *provider, *model; /* model "" : the whole account */
    const char *error_type;
    uint64_t until_ms;            /* wall clock; 0: until the configuration is reloaded */
} pst_parked_line_t;

typedef struct pst_batch {
    char id[PST_BATCH_TEXT_LEN + 1];
    const char *status;           /* OpenAI's words: validating in_progress finalizing completed failed expired
                                   * cancelling cancelled */
    bool ended;
    const char *name, *priority, *metadata, *tenant;
    uint64_t created_ms, accepted_ms, cancelling_ms, ended_ms, expires_ms; /* wall clock, 0: not yet */
    uint64_t window_s;
    double max_cost_usd;
    uint64_t jobs, completed, failed, expired, cancelled, queued, running, retrying;
    uint64_t input_tokens, cached_tokens, output_tokens;
    double cost_usd;
    const pst_cause_line_t *causes;
    size_t causes_n;
    const pst_endpoint_line_t *endpoints; /* pst_batch_get only */
    size_t endpoints_n;
    const pst_parked_line_t *parked;
    size_t parked_n;
    void *memory;                 /* what the pointers above lie in */
} pst_batch_t;

PST_API pst_err_t pst_batch_get(pst_client_t *c, const pst_id_t *batch, pst_batch_t *ret);
PST_API void pst_batch_release(pst_batch_t *b);
/* Newest first, those after *after (NULL: from the newest).  Up to limit (1 … 100). */
typedef struct pst_batch_list {
    pst_batch_t *v;
    size_t n;
    bool more;
} pst_batch_list_t;
PST_API pst_err_t pst_batch_list(pst_client_t *c, const pst_id_t *after, uint32_t limit, pst_batch_list_t *ret);
PST_API void pst_batch_list_release(pst_batch_list_t *l);
/* PST_E_STATE if it has ended. */
PST_API pst_err_t pst_batch_cancel(pst_client_t *c, const pst_id_t *batch);
/* PST_E_STATE unless it has ended. */
PST_API pst_err_t pst_batch_delete(pst_client_t *c, const pst_id_t *batch);
/* The batch as OpenAI's batch object (PRODUCT.md section 6), and as a receipt (section 4): JSON text, NUL-terminated,
 * freed with free(). */
PST_API pst_err_t pst_batch_json(const pst_batch_t *b, char **ret);
PST_API pst_err_t pst_batch_receipt_json(const pst_batch_t *b, char **ret);

/* ---- results -------------------------------------------------------------------------------------------- */

typedef struct pst_results pst_results_t;

typedef struct pst_result_line {
    uint32_t index;
    pst_job_status_t status;
    pst_view_t line;              /* the JSONL line without its newline; valid until the next call on the iterator */
} pst_result_line_t;

/* Iterates over a batch's results in the order they were stored, from the first. */
PST_API pst_err_t pst_results_open(pst_client_t *c, const pst_id_t *batch, pst_results_t **ret);
/* The next line.  *ret_more false (with PST_OK): no more for now (after waiting wait_ms), see *ret_ended. */
PST_API pst_err_t pst_results_next(pst_results_t *r, uint32_t wait_ms, pst_result_line_t *ret, bool *ret_more,
                                   bool *ret_ended);
PST_API void pst_results_close(pst_results_t **r);

/* One job, by index or (custom_id not NULL) by custom_id: its result line, or
 * {"status":"queued"|"running"|"retrying",…}. JSON text freed with free().  PST_E_NOT_FOUND. */
PST_API pst_err_t pst_job_get(pst_client_t *c, const pst_id_t *batch, uint32_t index, const char *custom_id, char **ret,
                              bool *ret_ended);

/* ---- the whole cluster ------------------------------------------------------------------------------------ */

typedef struct pst_top_limit {
    const char *rate;             /* requests_per_minute input_tokens_per_minute output_tokens_per_minute
                                   * tokens_per_minute requests_per_day */
    const char *source;           /* configured; headers: the provider says so; 429s: learned from what it refused */
    uint64_t limit, used;         /* used: in the last minute; requests_per_day: so far */
} pst_top_limit_t;

typedef struct pst_top_provider {
    const char *name;
    uint32_t workers;             /* that serve it */
    uint32_t in_flight, room;     /* calls; how many more its workers could take now */
    uint32_t concurrency;         /* 0: no limit */
    const pst_top_limit_t *limits; /* of the account, at most one a rate */
    size_t limits_n;
    const char *cause;            /* why it is parked, as an error_type; NULL: it is not */
    uint64_t until_wall_ms;       /* the next try */
} pst_top_provider_t;

typedef struct pst_top_endpoint {
    const char *provider, *model; /* model: its name there */
    uint32_t in_flight, concurrency;
    uint64_t calls, completed, rate_limited, failed; /* since the broker began, as all counts here */
    uint64_t input_tokens, cached_tokens, output_tokens;
    double cost_usd;
    uint32_t p50_ms, tokens_per_s; /* of the last minutes; 0 after too few calls */
    uint32_t uptime_per_mille;    /* likewise; 1000 after too few */
    const pst_top_limit_t *limits; /* of this model there */
    size_t limits_n;
    const char *cause;            /* as a provider's */
    uint64_t until_wall_ms;
} pst_top_endpoint_t;

/* How everything stands at one moment.  Rates are the difference of two. */
typedef struct pst_top {
    uint64_t wall_ms, uptime_ms;  /* the broker's; counts begin anew when it does */
    uint32_t workers, batches;    /* there, and not ended */
    uint64_t jobs_queued, jobs_running, jobs_waiting;
    uint64_t accepted, completed, failed; /* jobs */
    double cost_usd;
    const pst_top_provider_t *providers;
    size_t providers_n;
    const pst_top_endpoint_t *endpoints;
    size_t endpoints_n;
    void *memory;                 /* what the pointers above lie in */
} pst_top_t;

/* Blocks for one answer of the broker, which has all of it in memory: asking once a second does no harm.  *ret is the
 * caller's, to be released; untouched after an error. */
PST_API pst_err_t pst_top_get(pst_client_t *c, pst_top_t *ret);
PST_API void pst_top_release(pst_top_t *t);
/* The same as one JSON object with the names above: NUL-terminated, freed with free(). */
PST_API pst_err_t pst_top_json(const pst_top_t *t, char **ret);

#ifdef __cplusplus
}
#endif
#endif
