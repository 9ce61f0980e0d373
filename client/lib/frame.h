/* frame.h - an encoded message, shared between a request that may have to be sent again and ZeroMQ, which frees its
 * share in the I/O thread: hence the atomic count. */
#ifndef PST_FRAME_H
#define PST_FRAME_H

#include "base/buf.h"

typedef struct pst_frame pst_frame_t;

/* Takes b's memory. NULL: out of memory, or b has failed. */
pst_frame_t *pst_frame_take(pst_buf_t *b);
pst_view_t pst_frame_view(const pst_frame_t *f);
void pst_frame_unref(pst_frame_t **f);
/* Hands one share to the socket, without waiting.  PST_E_FULL: it takes nothing now. */
PST_MUSTCHECK pst_err_t pst_frame_send(pst_frame_t *f, void *socket);

#endif
