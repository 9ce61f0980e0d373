/* restore.h - the start: state is read back, then dispatching waits a moment for the workers that were there before,
 * because what they still run must not be run again. */
#ifndef PST_RESTORE_H
#define PST_RESTORE_H

#include "broker.h"

/* Reads everything back into the core, blocking. */
PST_MUSTCHECK pst_err_t pst_restore_new(pst_broker_t *b, pst_restore_t **ret, pst_errbuf_t *eb);
void pst_restore_destroy(pst_restore_t **r);
/* A worker of this name has a session. */
void pst_restore_worker(pst_restore_t *r, pst_view_t name);
/* Lets the core go when all are back, or it is time; when to call again. */
pst_ns_t pst_restore_turn(pst_restore_t *r, pst_ns_t now);
bool pst_restore_over(const pst_restore_t *r);

#endif
