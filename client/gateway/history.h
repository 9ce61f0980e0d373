/* history.h - an hour of the cluster, in steps of ten seconds: what each endpoint and provider did in each of them.
 *
 * Fed with what the broker's TOP says at the end of each step; keeps differences of its counts.  A step that nobody knows of
 * (the broker was away) is a hole, and so is the difference behind it.  Counts that begin anew are a broker that did.
 *
 * Memory: 10 KiB for each endpoint and provider that was there in the hour, of which there are at most as many as a CLUSTER
 * shows: 13 MiB.  Pure: no clock, no I/O. */
#ifndef PST_GATEWAY_HISTORY_H
#define PST_GATEWAY_HISTORY_H

#include "base/buf.h"
#include "penstock/penstock.h"

#define PST_HISTORY_STEPS 360u
#define PST_HISTORY_STEP_S 10u

typedef struct pst_history pst_history_t;

pst_history_t *pst_history_new(void); /* NULL: no memory */
void pst_history_destroy(pst_history_t **h);
/* A step ended.  t: how it stands now, NULL: nobody knows. */
void pst_history_step(pst_history_t *h, uint64_t end_s, const pst_top_t *t);
/* {"step_s","end","endpoints":[{"provider","model","calls":[…],…}],"providers":[{"name","in_flight":[…],"calls":[…]}]},
 * oldest first. */
void pst_history_put_json(const pst_history_t *h, pst_buf_t *b);

#endif
