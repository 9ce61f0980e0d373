/* ui.h - the API of the page, beside OpenAI's: the cluster, its last hour, events, a batch's account, and sessions.
 *
 *   sampler.c ──► ui.c ──────► GET /ui/api/cluster, /ui/api/history
 *                └► ui_events.c ──► GET /ui/api/events: the same text for all who listen
 *
 * A key of a tenant's sees its own batches; of the cluster, which is everybody's, it sees nothing: `"restricted": true`. */
#ifndef PST_GATEWAY_UI_H
#define PST_GATEWAY_UI_H

#include "gateway/parts.h"

/* Needs the gateway's web; its hook belongs between those of web and remote. */
pst_ui_t *pst_ui_new(pst_gateway_t *g); /* NULL: no memory */
/* After web, before remote. */
void pst_ui_destroy(pst_ui_t **ui);
/* Who listens is told that it is over. */
void pst_ui_quiesce(pst_ui_t *ui);
/* How the cluster stood a moment ago; NULL: nobody knows. */
const pst_top_t *pst_ui_top(const pst_ui_t *ui);

void pst_ui_cluster(pst_req_t *r);
void pst_ui_history(pst_req_t *r);
/* ui_events.c */
void pst_ui_events(pst_req_t *r);
/* ui_batch.c */
void pst_ui_receipt(pst_req_t *r);
void pst_ui_failed(pst_req_t *r);
/* ui_session.c */
void pst_ui_session_show(pst_req_t *r);
void pst_ui_session_begin(pst_req_t *r);
void pst_ui_session_end(pst_req_t *r);
/* ui_page.c: the page's files. */
void pst_ui_file(pst_req_t *r);

#endif
