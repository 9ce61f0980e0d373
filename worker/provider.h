/* provider.h - what a provider's wire protocol must say of itself.
 *
 * An adapter is pure: it turns a job's OpenAI-shaped body into a provider's request, and a provider's answer
 * into a verdict and an OpenAI-shaped body.  No clock, no I/O, no curl, no malloc of its own (memory comes
 * from the arena; `nm` on the library is checked against an allow-list by tests/lint).  A new provider is one
 * file in providers/, one line in providers/registry.c and one folder of fixtures in tests/unit/fixtures/.
 *
 * The facts behind the mappings (fields, finish reasons, errors) are in each adapter beside the code. */
#ifndef PST_PROVIDER_H
#define PST_PROVIDER_H

#include "base/arena.h"
#include "base/json.h"
#include "penstock/job.h"

/* How requests to one endpoint are shaped beyond the wire protocol; from the catalog's `options`. */
typedef struct pst_endpoint_opts {
    pst_view_t model;        /* upstream model name, as the provider knows it */
    uint32_t max_output;     /* tokens; default where the provider demands one (Anthropic), 0 unknown */
    uint32_t flags;          /* PST_EP_… */
} pst_endpoint_opts_t;

#define PST_EP_MAX_COMPLETION_TOKENS (1u << 0) /* openai: host wants max_completion_tokens, not max_tokens */
#define PST_EP_MAX_TOKENS (1u << 1)            /* openai: host knows only max_tokens */
#define PST_EP_NO_DEVELOPER (1u << 2)          /* openai: role developer must be sent as system */
#define PST_EP_NO_STORE (1u << 3)              /* openai: drop store, metadata, service_tier, … (unknown host) */
#define PST_EP_NO_SAMPLING (1u << 4)           /* anthropic: temperature, top_p, top_k are refused */
#define PST_EP_NO_RESPONSES (1u << 5)          /* openai: host has no /responses: said as a chat */

/* One call to make.  All views live as long as the call. */
typedef struct pst_task {
    pst_url_t url;                   /* which OpenAI API the job speaks */
    const pst_json_t *body;          /* the job's body, parsed: body->tok[0] is an object.  For build, and for
                                        read of an internal adapter: when an answer comes it is gone */
    pst_json_t *tape;                /* for read: room to parse an answer in */
    pst_endpoint_opts_t endpoint;
    uint64_t random;                 /* for ids that must be made up: one value an attempt */
    uint64_t wall_s;                 /* seconds since 1970, for `created` */
    pst_view_t api_version;          /* azure: of a base URL that names one; empty: of one that needs none */
    uint32_t answer_bytes;           /* echo: a text is padded to so many bytes; 0: as it was asked */
    bool packed;                     /* vectors are wanted in base64: pst_provider_packs */
    bool live;                       /* somebody takes the answer while it is made: the body may ask for a stream */
    bool stream;                     /* build asks for one; only where pst_provider_streams */
    bool usage_wanted;               /* as the body's stream_options.include_usage */
} pst_task_t;

typedef struct pst_http_header {
    pst_view_t name, value;
} pst_http_header_t;

#define PST_HTTP_HEADERS_MAX 8

/* A POST.  Credentials and Content-Type are added by http/, never here.  A long body may be given as pieces, most of
 * them of the job's own body, which lives as long as the call: then there is no copy of it. */
typedef struct pst_http_req {
    pst_view_t path;                 /* appended to the provider's base URL: "/chat/completions" */
    pst_http_header_t header[PST_HTTP_HEADERS_MAX];
    unsigned headers;
    pst_view_t body;                 /* JSON; empty with pieces */
    const pst_view_t *piece;         /* none of them empty */
    unsigned pieces;
} pst_http_req_t;

static inline size_t pst_http_req_bytes(const pst_http_req_t *r)
{
    size_t n = r->body.n;
    for (unsigned i = 0; i < r->pieces; i++)
        n += r->piece[i].n;
    return n;
}

/* What came back.  status 0: no answer (then `transport` says why and the body is empty). */
typedef struct pst_http_answer {
    int status;
    pst_cause_t transport;           /* CONNECTION, DNS, TLS, CERTIFICATE, TIMEOUT, BAD_ANSWER (it cannot be unpacked),
                                        PAYLOAD_TOO_LARGE (it is over its cap), or NONE */
    pst_view_t why;                  /* of status 0: what happened, in words; may be empty */
    const pst_http_header_t *header; /* names in lower case */
    unsigned headers;
    pst_view_t body;
    uint64_t wall_ms;                /* when it came, for dates in headers */
} pst_http_answer_t;

/* What a provider says of one of its limits, in the headers of an answer. */
typedef struct pst_rate_report {
    pst_rate_t rate;
    uint64_t limit;                  /* > 0 */
    uint64_t remaining;              /* UINT64_MAX: not said */
    uint64_t reset_ms;               /* until all of it is there again; 0: not said */
} pst_rate_report_t;

/* What an answer means.  All views: the answer, the arena, or static. */
typedef struct pst_reading {
    pst_verdict_t verdict;
    pst_cause_t cause;               /* NONE only with DONE */
    int status;                      /* HTTP status to show; 0 if no provider answered */
    pst_view_t body;                 /* OpenAI-shaped JSON: the answer, or {"error":{…}}; empty if status is 0 */
    pst_view_t message;              /* for status 0: what happened */
    pst_view_t request_id;           /* the provider's, may be empty */
    uint64_t input_tokens;           /* all prompt tokens, cached ones included */
    uint64_t cached_tokens;          /* of them read from a cache */
    uint64_t output_tokens;
    bool usage_known;
    uint64_t wait_ms;                /* THROTTLE, PARK: not before now + this; 0: not said.  Clamped to [50 ms, 25 h] */
    bool whole_provider;             /* PARK or THROTTLE concerns every model of the account (key, credit) */
    const pst_rate_report_t *limits; /* of the account, for the model that was called; at most one a rate */
    unsigned limits_n;
} pst_reading_t;

typedef struct pst_stream pst_stream_t; /* providers/stream.h */

typedef enum pst_stream_state {
    PST_STREAM_MORE,
    PST_STREAM_OVER,   /* the answer is whole */
    PST_STREAM_FAILED, /* the reading says why */
} pst_stream_state_t;

/* One event of an answer that is told while it is made. */
typedef struct pst_stream_event {
    pst_view_t name;               /* empty: none was said */
    bool failure;                  /* of AWS's frames: an exception */
    const pst_json_t *json;        /* its data: any value */
    const pst_http_answer_t *head; /* status and headers; no body */
    pst_arena_t *arena;
    pst_buf_t *out;                /* for the lines that are made of it */
} pst_stream_event_t;

/* How a provider's answers come while they are made. */
typedef struct pst_streaming {
    uint32_t urls; /* bit (1 << pst_url_t) for each API it can do so */
    bool frames;   /* AWS's encoding; else server-sent events */
    bool done;     /* the data [DONE] ends it */
    pst_stream_state_t (*event)(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret);
} pst_streaming_t;

typedef enum pst_auth {
    PST_AUTH_NONE,
    PST_AUTH_BEARER,   /* Authorization: Bearer KEY */
    PST_AUTH_X_API_KEY,/* x-api-key: KEY */
    PST_AUTH_GOOG_KEY, /* x-goog-api-key: KEY */
    PST_AUTH_AWS,      /* ID:SECRET[:TOKEN] signs the request (http/sigv4.h); without a colon: as BEARER */
    PST_AUTH_API_KEY,  /* api-key: KEY */
} pst_auth_t;

/* What stands before the key in its header line; NULL: there is none. */
static inline const char *pst_auth_line(pst_auth_t auth)
{
    switch (auth) {
    case PST_AUTH_NONE:
        return NULL;
    case PST_AUTH_BEARER:
    case PST_AUTH_AWS:
        return "Authorization: Bearer ";
    case PST_AUTH_X_API_KEY:
        return "x-api-key: ";
    case PST_AUTH_GOOG_KEY:
        return "x-goog-api-key: ";
    case PST_AUTH_API_KEY:
        return "api-key: ";
    }
    return NULL;
}

typedef struct pst_provider {
    const char *name;                /* the config's `api:` */
    pst_auth_t auth;
    uint32_t urls;                   /* bit (1 << pst_url_t) for each API it can serve */
    uint32_t params;                 /* PST_PARAM_… it can say; what it cannot, build leaves out */
    bool internal;                   /* echo: answered by the worker itself, no HTTP; build is not called */
    /* PST_OK and a request; PST_E_INVALID with *ret_why (arena or static text) if the body cannot be said
     * in this protocol (the job fails with INVALID_REQUEST); PST_E_NOMEM if the arena is full. */
    pst_err_t (*build)(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret, pst_view_t *ret_why);
    /* Never fails: what cannot be read is a reading too (BAD_ANSWER or the status's own cause).
     * `task` is the one that was built. */
    void (*read)(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a, pst_reading_t *ret);
    const pst_streaming_t *streaming; /* NULL: its answers come whole */
} pst_provider_t;

/* What a provider can serve: its adapter's urls, and responses where that can chat only (providers/responses.h). */
uint32_t pst_provider_urls(const pst_provider_t *p);
/* Whether a body of /v1/embeddings wants its vectors in base64, which not every host knows. */
bool pst_provider_packs(pst_url_t url, const pst_json_t *body);
/* The adapter's build and read, by way of a chat where it has no responses; vectors are packed where the host did not. */
PST_MUSTCHECK pst_err_t pst_provider_build(const pst_provider_t *p, const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                                           pst_view_t *ret_why);
void pst_provider_read(const pst_provider_t *p, const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                       pst_reading_t *ret);

/* Whether the answer to this task can come while it is made. */
bool pst_provider_streams(const pst_provider_t *p, const pst_task_t *task);

/* NULL if no adapter has that name. */
const pst_provider_t *pst_provider_find(pst_view_t name);
/* i-th adapter in a stable order, NULL past the end. */
const pst_provider_t *pst_provider_at(unsigned i);

#endif
