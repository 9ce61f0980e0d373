/* parcel.h - frames on their way to one peer, counted until they have left the process.
 *
 * What the socket does not take at once waits here; what it took may still lie in libzmq's queue, whose high-water
 * mark counts messages, not bytes.  So each frame tells its peer's account when libzmq frees it: the account is the
 * truth about how much memory one slow reader costs.  libzmq frees in its own thread, hence the atomics. */
#ifndef PST_PARCEL_H
#define PST_PARCEL_H

#include "base/buf.h"
#include "base/list.h"

typedef struct pst_account pst_account_t;
typedef struct pst_parcel pst_parcel_t;

pst_account_t *pst_account_new(void);
/* It stays until the last of its frames has left. */
void pst_account_close(pst_account_t **a);
size_t pst_account_bytes(const pst_account_t *a);

/* Steals the buffer's bytes. */
pst_parcel_t *pst_parcel_new(pst_account_t *a, pst_buf_t *frame);
/* 0: taken by the socket (and p is freed); EAGAIN: the peer's queue is full; EHOSTUNREACH: there is no such peer. */
int pst_parcel_send(pst_parcel_t **p, void *router, const void *id, size_t id_n);
void pst_parcel_destroy(pst_parcel_t **p);

void pst_parcel_queue(pst_link_t *queue, pst_parcel_t *p); /* at its end */
pst_parcel_t *pst_parcel_first(const pst_link_t *queue);   /* NULL: empty; not taken out */

#endif
