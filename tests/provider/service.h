/* service.h - from a complete request to what is to be done with it.
 *
 * One service a thread: it owns the scratch memory, the world is shared.  The bytes of a reply are
 * appended to `out`; the server decides when they go out and then says sim_service_sent, or
 * sim_service_lost if they cannot. */
#ifndef SIM_SERVICE_H
#define SIM_SERVICE_H

#include "http.h"
#include "shape.h"
#include "world.h"

typedef struct sim_service {
    sim_world_t *world;
    pst_buf_t out;        /* replies, head and body; the server takes from it */
    pst_buf_t head, body; /* of the reply being made: header lines, content */
    pst_buf_t text, name; /* decoded from the request */
    pst_ns_t date_at;     /* wall second that date holds */
    char date[40];
} sim_service_t;

/* What the server has to do, and what is to be counted when it has.  A value: it outlives the
 * request. */
typedef struct sim_reply {
    sim_act_t act; /* SIM_ANSWER: send it; SIM_CUT, SIM_CUT_MID, SIM_HANG as they say */
    pst_ns_t delay;
    bool close; /* after it was sent */
    int status;
    sim_model_t *model; /* NULL if it is not known which */
    bool in_flight;     /* it has a place in the model's flight and the total's */
    bool api;           /* a call of an API, counted; not the admin's or a malformed one */
    bool answered;      /* a real answer */
    bool tracked;
    uint64_t hash;
    uint64_t input_tokens, output_tokens;
    bool stream;   /* the body is events, each with its empty line: to be sent in chunks, one an event */
    pst_ns_t step; /* between two of them */
} sim_reply_t;

typedef enum sim_loss { SIM_LOST_CUT, SIM_LOST_CUT_MID, SIM_LOST_CLIENT } sim_loss_t;

void sim_service_init(sim_service_t *s, sim_world_t *w);
void sim_service_release(sim_service_t *s);
/* now: monotonic. */
void sim_service_request(sim_service_t *s, const sim_http_req_t *req, pst_ns_t now,
                         sim_reply_t *ret);
/* A request that is not HTTP: an answer with that status, then close. */
void sim_service_malformed(sim_service_t *s, int status, sim_reply_t *ret);
/* An outage began meanwhile: the reply is not to be sent but cut. */
bool sim_service_is_out(sim_service_t *s, const sim_reply_t *r, pst_ns_t now);
void sim_service_sent(sim_service_t *s, const sim_reply_t *r);
void sim_service_lost(sim_service_t *s, const sim_reply_t *r, sim_loss_t how);

/* Head and body, framed, to s->out; extra: header lines.  Of a stream the body is events as they stand: whoever sends it
 * frames them. */
void sim_service_put(sim_service_t *s, const sim_http_req_t *req, int status, const char *type,
                     pst_view_t extra, pst_view_t body);

#endif
