/* web_inside.h - what the files of web.h share: the server, its connections and its requests. */
#ifndef PST_WEB_INSIDE_H
#define PST_WEB_INSIDE_H

#include <microhttpd.h>

#include "base/list.h"
#include "gateway/web.h"

#define PST_ANSWER_HEADERS_MAX 8

/* One connection. */
typedef struct conn {
    pst_link_t link;     /* in web.idle while it has no request: the longest first */
    pst_ns_t idle_since;
    int fd;
} conn_t;

typedef struct web_req {
    pst_req_t r;         /* first: what handlers see */
    pst_web_t *web;
    struct MHD_Connection *mhd;
    conn_t *conn;
    pst_link_t link;     /* in web.requests */
    const char *method, *path;
    char *path_copy;     /* segments point into it */
    bool head;
    bool ended;          /* end() was called */
    bool suspended, paused;
    bool answered;       /* there is an answer */
    bool queued;         /* and libmicrohttpd has it */
    bool cut;            /* the client has gone while it was suspended, or sends too much */
    bool unclear;        /* where it ends */
    bool told;           /* the answer went out past libmicrohttpd */
    uint64_t body_bytes, dropped_bytes;
    pst_ns_t pace_at;    /* the body's pace is measured from here, and from so many bytes */
    uint64_t pace_bytes;
    size_t gathered;     /* counted in web.bodies_bytes */
    struct MHD_Response *response;
    pst_view_t text;     /* of a whole answer: in response */
    const char *type;
    unsigned status;
    struct {
        const char *name;
        char *value;
    } header[PST_ANSWER_HEADERS_MAX];
    unsigned headers;
    pst_pull_fn *pull;
} web_req_t;

struct pst_web {
    pst_loop_t *loop;
    pst_web_opts_t opts;
    struct MHD_Daemon *mhd;
    int epoll_fd;
    bool run;            /* libmicrohttpd has work that its descriptor does not tell of */
    bool quiet;
    pst_link_t idle, requests;
    uint32_t connections, requests_n;
    uint32_t crowded;    /* with more connections the longest idle makes room for each that comes */
    size_t bodies_bytes;
    uint64_t body_bytes; /* of all requests, since it began */
    pst_ns_t sweep_at;
    unsigned port;
};

static inline web_req_t *pst_web_req(const pst_req_t *r)
{
    return PST_CONTAINER(r, web_req_t, r);
}

/* web_request.c: the life of a request, as libmicrohttpd calls it. */
enum MHD_Result pst_web_on_request(void *web, struct MHD_Connection *mhd, const char *path, const char *method,
                                   const char *version, const char *data, size_t *data_n, void **state);
void pst_web_on_completed(void *web, struct MHD_Connection *mhd, void **state, enum MHD_RequestTerminationCode why);
/* Its connection is looked at again. */
void pst_web_resume(web_req_t *q);

#endif
