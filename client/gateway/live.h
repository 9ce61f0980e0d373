/* live.h - one request at once: its body is read as a batch's line is, goes to the broker as a CALL of high priority, and its
 * answer comes back, whole or in pieces.  Nothing of it is stored.  For every dialect that has such requests: what differs is
 * how bodies and answers are turned. */
#ifndef PST_GATEWAY_LIVE_H
#define PST_GATEWAY_LIVE_H

#include "gateway/parts.h"

typedef struct pst_live pst_live_t;

/* A dialect's ways with answers; NULL: OpenAI's, as they are. */
typedef struct pst_live_turn {
    /* The answer to show, made of OpenAI's body (or error body, by status); appended.  Returns its status. */
    unsigned (*whole)(pst_req_t *r, unsigned status, pst_view_t body, pst_buf_t *out);
    /* Events made of one chunk of OpenAI's; appended. */
    void (*chunk)(pst_req_t *r, void *state, pst_view_t chunk, pst_buf_t *out);
    /* Events of the end: it was all, or (error not empty, an OpenAI error body) it broke off. */
    void (*end)(pst_req_t *r, void *state, pst_view_t error, pst_buf_t *out);
    void *(*state_new)(pst_req_t *r, uint64_t input_tokens); /* an estimate */
    void (*state_free)(void *state);
} pst_live_turn_t;

/* Answers r when the answer is there.  body: an OpenAI body of that url, used during the call alone. */
void pst_live_begin(pst_req_t *r, pst_url_t url, pst_view_t body, const pst_live_turn_t *turn);

void pst_live_chat(pst_req_t *r);
void pst_live_completions(pst_req_t *r);
void pst_live_embeddings(pst_req_t *r);
void pst_live_responses(pst_req_t *r);

#endif
