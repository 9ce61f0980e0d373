/* http.h - POSTs to providers, thousands at once on the caller's loop.  Behind it: h1.h, which speaks
 * HTTP/1.1, and curl.h, for everything else.
 *
 * A target is where calls of one provider go: base URL, trust, key, timeout.  The key is put on requests to that base
 * URL, or signs them, and nowhere else: a path can only extend it, and no redirect is followed.
 *
 * Owns everything it makes; borrows the loop, which must outlive it. */
#ifndef PST_HTTP_H
#define PST_HTTP_H

#include "proc/config.h"
#include "proc/loop.h"
#include "provider.h"

typedef struct pst_http pst_http_t;
typedef struct pst_http_target pst_http_target_t;
typedef struct pst_http_call pst_http_call_t;

/* The answer and all it points to are valid during the callback, which may start and cancel other calls. */
typedef void pst_http_done_fn(void *arg, const pst_http_answer_t *answer, uint64_t latency_us);

/* What becomes of a part of an answer. */
typedef enum pst_http_part {
    PST_HTTP_TAKEN,
    PST_HTTP_KEEP, /* for `done`, with all that follows: not asked again */
    PST_HTTP_CUT,  /* the call is over: done is not called */
} pst_http_part_t;

/* Some of an answer's body, as it comes; head: its status and headers.  Valid during the callback, which must not start,
 * pause or cancel calls. */
typedef pst_http_part_t pst_http_part_fn(void *arg, const pst_http_answer_t *head, pst_view_t bytes);

pst_http_t *pst_http_new(pst_loop_t *loop);
/* Cuts the calls in flight without calling back.  Targets must be gone. */
void pst_http_destroy(pst_http_t **h);
/* Wanted once a turn: sends what was started, does what timers ask for, and calls back. */
void pst_http_step(pst_http_t *h, pst_ns_t now);
/* When pst_http_step is wanted next; a call just started wants it at once. */
pst_ns_t pst_http_due(const pst_http_t *h);

typedef struct pst_http_stats {
    uint64_t connections; /* made */
    uint64_t reused;      /* answers over one that had served another call */
} pst_http_stats_t;

pst_http_stats_t pst_http_stats(const pst_http_t *h);

typedef struct pst_http_target_opts {
    const char *base_url;
    const char *ca_file;      /* NULL: the certificates that $SSL_CERT_FILE names, or the system's */
    const char *proxy;        /* a URL; "": none; NULL: the one the environment names */
    pst_auth_t auth;
    const pst_secret_t *key;  /* may be NULL with PST_AUTH_NONE */
    const pst_http_header_t *header; /* of every request, beside those of the protocol; no control characters */
    unsigned headers;
    bool asks_for_packed;     /* answers, by gzip */
    pst_ns_t timeout;         /* of a whole call */
    pst_ns_t idle_timeout;    /* with nothing of an answer that has begun; before it does a model may think.  0: none */
} pst_http_target_opts_t;

#define PST_HTTP_TARGET_HEADERS_MAX 16

/* Copies all of it. */
pst_http_target_t *pst_http_target_new(pst_http_t *h, const pst_http_target_opts_t *o);
/* NULL-safe; calls there still are go on, and the last of them wipes the key. */
void pst_http_target_destroy(pst_http_target_t **t);

/* false: a call is under way that will tell how the server wants to be spoken to.  Others may be started all the same,
 * and will cost more than if they had waited for that: for one connection to be made. */
bool pst_http_target_ready(const pst_http_target_t *t);

/* The request's body, or its pieces and what lists them, must live until the call ends; the rest is copied.  Never
 * calls back at once.  NULL if the request cannot be sent at all: a path that does not begin with '/', a control
 * character in a header. */
pst_http_call_t *pst_http_start(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                pst_http_done_fn *done, void *arg);
/* The same with a body that is wanted as it comes, but where its length was told before: then all at once.  The answer
 * given to done has no more than what was kept of it. */
pst_http_call_t *pst_http_stream(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                 pst_http_part_fn *part, pst_http_done_fn *done, void *arg);
/* Reads no more of a streamed answer, or does again: then `part` may be called at once.  What has been read already may
 * still come. */
void pst_http_pause(pst_http_t *h, pst_http_call_t *call, bool paused);
/* Cuts the call: its callback is not called. */
void pst_http_cancel(pst_http_t *h, pst_http_call_t **call);

#endif
