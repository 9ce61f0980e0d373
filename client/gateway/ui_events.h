/* ui_events.h - who listens to GET /ui/api/events, and what they are told.
 *
 *   events: cluster ──┐                       ┌─► listener: now (being written), next cluster, next batches
 *           audience ─┴─ one text, shared ────┴─► listener: …
 *
 * A text is made once and held by those who have still to write it.  Who reads slower than there is news gets the latest
 * of each kind, and none of those between: a listener holds three texts at most. */
#ifndef PST_GATEWAY_UI_EVENTS_H
#define PST_GATEWAY_UI_EVENTS_H

#include "gateway/parts.h"

typedef struct pst_events pst_events_t;

pst_events_t *pst_events_new(pst_gateway_t *g); /* NULL: no memory */
void pst_events_destroy(pst_events_t **e);      /* nobody listens any more */
bool pst_events_listened(const pst_events_t *e);
/* The cluster for all; t NULL: the broker does not answer. */
void pst_events_tell(pst_events_t *e, const pst_top_t *t);
/* Asks for batches, looks whether keys still stand; when to call again. */
pst_ns_t pst_events_turn(pst_events_t *e, pst_ns_t now);
void pst_events_end(pst_events_t *e);
/* Answers r with events, from now on. */
void pst_events_listen(pst_events_t *e, pst_req_t *r, const pst_top_t *t);

/* The cluster as those see it who see everything, or (restricted) as a tenant does. */
void pst_ui_put_cluster(pst_buf_t *b, const pst_top_t *t, bool restricted);

#endif
