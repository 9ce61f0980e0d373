/* job.h - the words of a job that every process shares: which API it calls, how it ended, why it failed. */
#ifndef PENSTOCK_JOB_H
#define PENSTOCK_JOB_H

#include "penstock/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The API a job asks for: the `url` of its input line. */
#define PST_URL_LIST(X)                                                                            \
    X(CHAT, 0, "/v1/chat/completions")                                                             \
    X(RESPONSES, 1, "/v1/responses")                                                               \
    X(EMBEDDINGS, 2, "/v1/embeddings")                                                             \
    X(COMPLETIONS, 3, "/v1/completions")

typedef enum pst_url {
#define X(name, number, text) PST_URL_##name = number,
    PST_URL_LIST(X)
#undef X
    PST_URL_COUNT
} pst_url_t;

/* What a body may ask of an endpoint that not every one can do, by bit. */
#define PST_PARAM_LIST(X)                                                                          \
    X(TOOLS, 0, "tools")                                                                           \
    X(RESPONSE_FORMAT, 1, "response_format")                                                       \
    X(IMAGES, 2, "images")                                                                         \
    X(LOGPROBS, 3, "logprobs")                                                                     \
    X(SEED, 4, "seed")                                                                             \
    X(PENALTIES, 5, "penalties")                                                                   \
    X(LOGIT_BIAS, 6, "logit_bias")                                                                 \
    X(N, 7, "n")                                                                                   \
    X(REASONING, 8, "reasoning")

typedef enum pst_param {
#define X(name, bit, text) PST_PARAM_##name = 1u << (bit),
    PST_PARAM_LIST(X)
#undef X
#define X(name, bit, text) | PST_PARAM_##name
    PST_PARAMS_ALL = 0 PST_PARAM_LIST(X)
#undef X
} pst_param_t;

/* How a job ended.  The names appear in results as penstock.status. */
#define PST_JOB_STATUS_LIST(X)                                                                     \
    X(COMPLETED, 1, "completed")                                                                   \
    X(FAILED, 2, "failed")                                                                         \
    X(EXPIRED, 3, "expired")                                                                       \
    X(CANCELLED, 4, "cancelled")

typedef enum pst_job_status {
    PST_JOB_NONE = 0, /* not ended */
#define X(name, number, text) PST_JOB_##name = number,
    PST_JOB_STATUS_LIST(X)
#undef X
} pst_job_status_t;

/* Why an attempt or a job failed: OpenRouter's words (FIELD.md section 2), then ours.  Numbers are part of
 * the protocol.  Also the `code`s of results that no provider answered. */
#define PST_CAUSE_LIST(X)                                                                          \
    X(NONE, 0, "")                                                                                 \
    X(RATE_LIMIT, 1, "rate_limit_exceeded")                                                        \
    X(CONTEXT_LENGTH, 2, "context_length_exceeded")                                                \
    X(CONTENT_POLICY, 3, "content_policy_violation")                                               \
    X(AUTHENTICATION, 4, "authentication")                                                         \
    X(PAYMENT_REQUIRED, 5, "payment_required")                                                     \
    X(PERMISSION_DENIED, 6, "permission_denied")                                                   \
    X(INVALID_REQUEST, 7, "invalid_request")                                                       \
    X(NOT_FOUND, 8, "not_found")                                                                   \
    X(PAYLOAD_TOO_LARGE, 9, "payload_too_large")                                                   \
    X(UNAVAILABLE, 10, "provider_unavailable")                                                     \
    X(OVERLOADED, 11, "provider_overloaded")                                                       \
    X(TIMEOUT, 12, "timeout")                                                                      \
    X(SERVER, 13, "server")                                                                        \
    X(CONNECTION, 14, "connection")                                                                \
    X(BAD_ANSWER, 15, "bad_answer")                                                                \
    X(QUOTA, 16, "quota_exceeded")                                                                 \
    X(CERTIFICATE, 17, "certificate_not_trusted")                                                  \
    X(DNS, 18, "dns_failed")                                                                       \
    X(TLS, 19, "tls_failed")                                                                       \
    X(BATCH_EXPIRED, 32, "batch_expired")                                                          \
    X(BATCH_CANCELLED, 33, "batch_cancelled")                                                      \
    X(BUDGET_EXCEEDED, 34, "budget_exceeded")                                                      \
    X(NO_ENDPOINT, 35, "no_endpoint")                                                              \
    X(WORKER_LOST, 36, "worker_lost")                                                              \
    X(LINE_JSON, 48, "invalid_json_line")                                                          \
    X(LINE_MISSING, 49, "missing_required_parameter")                                              \
    X(LINE_DUPLICATE, 50, "duplicate_custom_id")                                                   \
    X(LINE_URL, 51, "invalid_url")                                                                 \
    X(LINE_METHOD, 52, "invalid_method")                                                           \
    X(LINE_MODEL, 53, "model_not_found")                                                           \
    X(LINE_BODY, 54, "invalid_body")                                                               \
    X(LINE_TOO_LONG, 55, "line_too_long")                                                          \
    X(LINE_STREAM, 56, "streaming_unsupported")                                                    \
    X(LINE_ROUTING, 57, "invalid_routing")

typedef enum pst_cause {
#define X(name, number, text) PST_CAUSE_##name = number,
    PST_CAUSE_LIST(X)
#undef X
} pst_cause_t;

/* What a worker says of one attempt; what the broker then does:
 *   DONE      an answer: the job is completed
 *   FINAL     the request itself is wrong: the job fails with this answer (or falls back to its next model)
 *   RETRY     may work next time: costs one of the job's attempts
 *   THROTTLE  a limit: wait until not_before; costs no attempt
 *   PARK      key, credit or quota: no call of this endpoint's account can work; costs no attempt
 *   RETURNED  never sent (draining, revoked before the call): costs nothing and leaves no trace */
typedef enum pst_verdict {
    PST_VERDICT_DONE = 1,
    PST_VERDICT_FINAL = 2,
    PST_VERDICT_RETRY = 3,
    PST_VERDICT_THROTTLE = 4,
    PST_VERDICT_PARK = 5,
    PST_VERDICT_RETURNED = 6,
} pst_verdict_t;

/* What the budget of an account, or of a model there, limits.  Numbers are part of the protocol.  Minutes are buckets
 * that fill steadily, a day is the 24 hours before now: no clock of a provider's is known, and so none of its days sees
 * more. */
typedef enum pst_rate {
    PST_RATE_REQUESTS = 0, /* a minute */
    PST_RATE_INPUT = 1,    /* tokens a minute */
    PST_RATE_OUTPUT = 2,
    PST_RATE_TOKENS = 3,   /* input and output together */
    PST_RATE_DAILY = 4,    /* requests a day */
    PST_RATE_COUNT
} pst_rate_t;

/* NULL for a number that is not in the list. */
const char *pst_url_text(unsigned url);
/* -1 if it is none of PST_URL_LIST. */
int pst_url_parse(pst_view_t text);
const char *pst_job_status_text(unsigned status);
const char *pst_cause_text(unsigned cause);

#ifdef __cplusplus
}
#endif
#endif
