/* web.h - HTTP for the gateway: requests in, answers out, on the one loop.  The only place that sees libmicrohttpd.
 *
 * One request:
 *   headers are there ──► allow() ──► begin()   ──► data() …, if its handler takes the body as it comes
 *                                              └──► the body is gathered, if it takes it whole
 *                         ──► end() ──► pst_req_reply or pst_req_stream, now or at any later time ──► gone()
 * A reply may come at any of these moments; what is left of the body is then thrown away.  gone() is the last call, when the
 * answer has left or the client has, or data() has refused the body: whatever hangs on the request is let go there.
 *
 * A client that dribbles is cut: who has a connection and no request under way for `idle` (headers that do not end are no
 * request), sends a body slower than a dial-up line, does not take its answer for `silent`, or goes away while its answer is
 * made (noticed within a second or two).  Who has only shut down its own side looks the same as who has gone: its
 * answer may still come or not, and the connection is closed. */
#ifndef PST_WEB_H
#define PST_WEB_H

#include <netinet/in.h>

#include "base/buf.h"
#include "penstock/id.h"
#include "proc/loop.h"

typedef struct pst_web pst_web_t;
typedef struct pst_req pst_req_t;

/* Whose objects and errors a path speaks. */
typedef enum pst_dialect { PST_DIALECT_OPENAI, PST_DIALECT_OPENROUTER, PST_DIALECT_ANTHROPIC } pst_dialect_t;

#define PST_BODY_STREAMED SIZE_MAX

typedef struct pst_handler {
    const char *method;          /* "GET" also answers HEAD */
    const char *path;            /* "/v1/files/{id}/content": {…} is any one segment that is not empty.  A request for
                                  * "/api/v1/…" that no handler has goes to that of "/v1/…" and is answered in
                                  * OpenRouter's words, but for Anthropic's paths */
    pst_dialect_t dialect;
    bool open;                   /* needs no key */
    size_t body_max;             /* the most of a body that is gathered, more is 413; PST_BODY_STREAMED: data() gets it */
    void (*begin)(pst_req_t *r); /* NULL: nothing to do */
    void (*data)(pst_req_t *r, pst_view_t bytes);
    void (*end)(pst_req_t *r);
} pst_handler_t;

struct pst_req {
    void *app;                   /* as given to pst_web_new */
    const pst_handler_t *handler;
    pst_dialect_t dialect;
    void *state;                 /* the handler's, by pst_req_state */
    void (*gone)(pst_req_t *r);
    void *caller;                /* who asks: set by allow(), let go by done() */
    pst_view_t segment[3];       /* what stood for {…}; NUL-terminated */
    pst_buf_t body;              /* whole, in end() */
    pst_id_t uid;                /* a ULID, new */
    char id[40];                 /* x-request-id: "req_" and it */
    pst_ns_t began;
};

typedef struct pst_web_opts {
    const char *listen;          /* "127.0.0.1:7700", "[::1]:7700", "0.0.0.0:0" */
    uint32_t connections_max;    /* or fewer, if the system allows fewer descriptors; when most are taken, the longest idle
                                  * makes room for each that comes */
    pst_ns_t idle, silent, pace_over; /* how long: a connection without a request, an answer that is not taken, a stretch
                                  * over which the pace of a body is measured.  0: what is usual */
    const pst_handler_t *handlers;
    size_t handlers_n;
    /* May it pass?  Replies itself if not. */
    bool (*allow)(pst_req_t *r);
    /* An error of web's own: no such path, wrong method, body too large, … */
    void (*fail)(pst_req_t *r, unsigned status, const char *message);
    /* The end of every request that got as far as a handler, before its state is let go.  status 0: it was not answered, or
     * the client had gone. */
    void (*done)(pst_req_t *r, unsigned status, pst_ns_t took);
    void *app;
} pst_web_opts_t;

/* Listens.  PST_E_INVALID, PST_E_IO with words in eb. */
PST_MUSTCHECK pst_err_t pst_web_new(pst_loop_t *loop, const pst_web_opts_t *o, pst_web_t **ret, pst_errbuf_t *eb);
void pst_web_destroy(pst_web_t **w);
/* Takes no new connections, and no new requests on those there are. */
void pst_web_quiesce(pst_web_t *w);
/* Something was answered since web's turn: the loop is not to sleep before its next. */
bool pst_web_is_due(const pst_web_t *w);
uint32_t pst_web_connections(const pst_web_t *w);
uint32_t pst_web_requests(const pst_web_t *w);  /* under way */
uint64_t pst_web_body_bytes(const pst_web_t *w); /* that came in bodies, since it began */
unsigned pst_web_port(const pst_web_t *w);

/* ---- reading a request --------------------------------------------------------------------------------------- */

const char *pst_req_method(const pst_req_t *r);
const char *pst_req_path(const pst_req_t *r);
/* Values are NULL if they are not there; a header's name in any case. */
const char *pst_req_header(const pst_req_t *r, const char *name);
const char *pst_req_cookie(const pst_req_t *r, const char *name);
const char *pst_req_query(const pst_req_t *r, const char *name);
/* Whether it comes from this machine, and not through a proxy on it. */
bool pst_req_is_local(const pst_req_t *r);
/* What the handler keeps of the request, and who lets it go. */
static inline void pst_req_state(pst_req_t *r, void *state, void (*gone)(pst_req_t *r))
{
    r->state = state;
    r->gone = gone;
}
/* The body's length, as announced; UINT64_MAX: it is not. */
uint64_t pst_req_length(const pst_req_t *r);
/* For data(): so much memory is taken by what it keeps of the body, which counts with the bodies that are gathered.  false: that
 * is too much in all, and was answered. */
bool pst_req_keeps(pst_req_t *r, size_t bytes);
/* For data(): no more of it until pst_req_go_on. */
void pst_req_pause(pst_req_t *r);
void pst_req_go_on(pst_req_t *r);

/* A body as multipart/form-data, which data() feeds: field by field, in pieces.  file: the file name, or NULL.
 * first: nothing of this field came yet (an empty piece may come before). */
typedef struct pst_form pst_form_t;
typedef void pst_form_fn(void *arg, const char *field, const char *file, pst_view_t bytes, bool first);
/* NULL: its Content-Type is not that, or has no boundary. */
pst_form_t *pst_form_new(pst_req_t *r, pst_form_fn *fn, void *arg);
bool pst_form_feed(pst_form_t *f, pst_view_t bytes); /* false: it is not well formed */
bool pst_form_end(pst_form_t **f); /* lets go of it; false: its last boundary did not come */

/* ---- answering ------------------------------------------------------------------------------------------------- */

/* Adds a header to the answer that is to come; at most 8. */
void pst_req_answer_header(pst_req_t *r, const char *name, const char *value);
/* The whole answer; takes body's memory, leaves it empty.  A second answer is ignored. */
void pst_req_reply(pst_req_t *r, unsigned status, const char *type, pst_buf_t *body);
bool pst_req_is_answered(const pst_req_t *r);

/* An answer in parts. */
#define PST_PULL_WAIT 0   /* nothing now: pst_req_wake says when there is */
#define PST_PULL_END (-1)
#define PST_PULL_CUT (-2) /* it cannot be ended well: the connection is cut, so that the client knows */
typedef ptrdiff_t pst_pull_fn(pst_req_t *r, char *to, size_t room); /* bytes put there, or one of these */
/* length: of all of it; UINT64_MAX: not known. */
void pst_req_stream(pst_req_t *r, unsigned status, const char *type, uint64_t length, pst_pull_fn *pull);
void pst_req_wake(pst_req_t *r);
/* An answer in parts that is not wanted to its end: the connection is cut, however little its client reads. */
void pst_req_cut(pst_req_t *r);

#endif
