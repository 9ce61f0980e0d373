/* about.h - one request about one batch: its record is looked at, then, if the broker has it, the broker is asked.  For every
 * dialect: what differs is how a batch is shown. */
#ifndef PST_GATEWAY_ABOUT_H
#define PST_GATEWAY_ABOUT_H

#include "gateway/parts.h"
#include "gateway/record.h"

typedef struct pst_about pst_about_t;

/* Answers r with the batch.  record NULL: it did not come over HTTP.  Both are used during the call alone; it may hang a state
 * of its own on r. */
typedef void pst_batch_show_fn(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record);
/* The batch is there, and the caller may see it.  at_broker false: its record is all there is of it. */
typedef void pst_about_fn(pst_about_t *a, const pst_batch_t *b, bool at_broker);

struct pst_about {
    pst_req_t *r;            /* NULL: it has gone */
    pst_gateway_t *g;
    pst_id_t id;
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_arena_t arena;
    pst_record_t record;
    bool recorded;
    bool is_new;             /* it was recorded just now: the broker is not asked */
    pst_ask_t *ask;
    unsigned waits;          /* commands that will still call */
    pst_about_fn *found;
    pst_batch_show_fn *show;
    void *more;              /* of who makes one; let go when neither the request nor a command refers to it */
    void (*more_gone)(void *more);
};

/* Hangs on r.  NULL: answered. */
pst_about_t *pst_about_new(pst_req_t *r, pst_batch_show_fn *show);
/* Its id, "batch_…" or "msgbatch_…"; false: that is none. */
bool pst_about_name(pst_about_t *a, pst_view_t id);
/* A request about the batch of its first {…}. */
void pst_about_begin(pst_req_t *r, pst_batch_show_fn *show, pst_about_fn *found);
/* (Again) from its record on. */
void pst_about_look(pst_about_t *a, pst_about_fn *found);

/* For what is found: shows it. */
void pst_about_show(pst_about_t *a, const pst_batch_t *b, bool at_broker);
void pst_about_not_found(pst_about_t *a);

/* A command for it, whose fn begins with pst_about_answered.  NULL: the request has gone meanwhile. */
void pst_about_send(pst_about_t *a, pst_cmd_t *c);
pst_about_t *pst_about_answered(pst_cmd_t *c);
/* The same for other answers, after `waits` was raised for one. */
pst_about_t *pst_about_back(pst_about_t *a);
/* A question about it to the broker; fn sets a->ask to NULL first. */
void pst_about_ask(pst_about_t *a, pst_msg_type_t type, pst_remote_fn *fn);

#endif
