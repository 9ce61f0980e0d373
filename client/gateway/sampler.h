/* sampler.h - the cluster as the broker last told it: the one who asks TOP, for everybody in this gateway.
 *
 * Every ten seconds for the history, once a second while somebody listens, and when it is wished for; never two questions
 * at a time. */
#ifndef PST_GATEWAY_SAMPLER_H
#define PST_GATEWAY_SAMPLER_H

#include "gateway/history.h"
#include "gateway/remote.h"
#include "penstock/penstock.h"

typedef struct pst_sampler pst_sampler_t;
/* A question was answered: t is valid during the call, and as pst_sampler_top's; NULL: the broker does not answer. */
typedef void pst_sampler_fn(void *arg, const pst_top_t *t);

pst_sampler_t *pst_sampler_new(pst_loop_t *loop, pst_sampler_fn *fn, void *arg); /* NULL: no memory */
void pst_sampler_destroy(pst_sampler_t **s, pst_remote_t *remote);
/* Asks what is due, once a turn; when the next is. */
pst_ns_t pst_sampler_turn(pst_sampler_t *s, pst_remote_t *remote, pst_ns_t now, bool listened);
/* An answer is wanted: the next one, or the one on its way. */
void pst_sampler_wish(pst_sampler_t *s);
/* The last one, if it is not older: else NULL. */
const pst_top_t *pst_sampler_top(const pst_sampler_t *s, pst_ns_t age_max);
const pst_history_t *pst_sampler_history(const pst_sampler_t *s);

#endif
