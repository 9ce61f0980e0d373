/* http.h - HTTP/1.x requests out of a byte stream.
 *
 * Sans-IO: the caller keeps the unread bytes in one buffer that starts with the request being read,
 * and offers it again whenever it has grown; the reader remembers how far it came, so that the work
 * is linear.  Chunked bodies are unpacked in place, which is why the buffer is writable.
 *
 * Strict on purpose: what a careful proxy would refuse is refused here, so that a client that sends
 * it fails in our tests and not at a provider. */
#ifndef SIM_HTTP_H
#define SIM_HTTP_H

#include "base/base.h"

#define SIM_HTTP_HEADERS_MAX 64
#define SIM_HTTP_HEAD_BYTES_MAX ((size_t)64 << 10)
#define SIM_HTTP_BODY_BYTES_MAX ((size_t)64 << 20)

typedef struct sim_http_header {
    pst_view_t name; /* as sent */
    pst_view_t value;
} sim_http_header_t;

/* All views point into the caller's buffer. */
typedef struct sim_http_req {
    pst_view_t method;
    pst_view_t path;  /* of the target, not decoded */
    pst_view_t query; /* without the '?' */
    sim_http_header_t header[SIM_HTTP_HEADERS_MAX];
    unsigned headers;
    unsigned minor; /* HTTP/1.minor */
    bool keep_alive;
    pst_view_t body;
} sim_http_req_t;

typedef enum sim_http_phase {
    SIM_HTTP_HEAD,
    SIM_HTTP_LENGTH, /* body of known length */
    SIM_HTTP_CHUNK_SIZE,
    SIM_HTTP_CHUNK_DATA,
    SIM_HTTP_CHUNK_END, /* the CRLF after a chunk */
    SIM_HTTP_TRAILER,
    SIM_HTTP_DONE,
} sim_http_phase_t;

/* Progress within one request; all zero is a valid start. */
typedef struct sim_http {
    sim_http_phase_t phase;
    size_t head_n;     /* bytes of the head; 0 until it is complete */
    size_t at;         /* next byte of the buffer to look at */
    size_t body_n;     /* bytes of body in place after the head */
    uint64_t left;     /* bytes still missing of the body, or of the chunk */
    bool continue_due; /* the client waits for 100 Continue; cleared by who sends it */
} sim_http_t;

typedef enum sim_http_result {
    SIM_HTTP_MORE,  /* offer the buffer again when it has grown */
    SIM_HTTP_READY, /* *req is filled; h->at bytes are used up; zero *h for the next request */
    SIM_HTTP_BAD,   /* answer *ret_status and close */
} sim_http_result_t;

sim_http_result_t sim_http_read(sim_http_t *h, char *buf, size_t n, sim_http_req_t *req,
                                int *ret_status);

/* The first header of that name, in any case; {NULL, 0} if there is none. */
pst_view_t sim_http_header(const sim_http_req_t *req, const char *name);
const char *sim_http_reason(int status);
/* Percent-decodes v in place of out (room for v.n bytes); '+' becomes a blank only in a query. */
size_t sim_http_unescape(pst_view_t v, bool query, char *out);

#endif
