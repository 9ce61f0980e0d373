/* webhook_post.h - POSTs to whoever asked for webhooks, through curl, in the caller's loop.
 *
 * Where they may go is decided on the address that a socket is opened for, whatever name led to it.  Nobody is followed
 * to another address, a call takes ten seconds at most, and of an answer only its status (and Retry-After) is of
 * interest: what there is of a body is thrown away, and a call whose body goes on past 64 KiB is cut.  Without private
 * addresses the environment's proxies are not used: behind one, nobody would look at the address.
 *
 * Connections are not kept: these calls are few and go to many hosts.  Owns its calls; the caller bounds their number. */
#ifndef PST_WEBHOOK_POST_H
#define PST_WEBHOOK_POST_H

#include "proc/loop.h"

typedef struct pst_poster pst_poster_t;

typedef struct pst_post {
    const char *url;
    const char *const *header; /* lines "name: value" */
    unsigned headers;
    pst_view_t body;
} pst_post_t;

typedef struct pst_post_answer {
    int status;       /* 0: none came */
    const char *why;  /* then; static */
    uint64_t after_s; /* Retry-After; 0: none */
} pst_post_answer_t;

typedef void pst_post_done_fn(void *arg, const pst_post_answer_t *a);

/* Before any other thread there is: it sets up curl. */
pst_poster_t *pst_poster_new(pst_loop_t *loop, bool private_too);
void pst_poster_destroy(pst_poster_t **p); /* cuts its calls without calling back */
/* Everything of the post is copied.  Never calls back at once. */
void pst_poster_start(pst_poster_t *p, const pst_post_t *post, pst_post_done_fn *done, void *arg);
void pst_poster_step(pst_poster_t *p, pst_ns_t now); /* calls back */
pst_ns_t pst_poster_due(const pst_poster_t *p);

#endif
