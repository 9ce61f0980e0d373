/* unpack.h - answers that came packed, as whole ones.
 *
 * gzip and deflate, which is what servers pack with that were not asked to, or were asked for gzip.  As much comes out as
 * an answer may have: a bomb is TOO_LARGE, not memory.
 *
 * Pure: no clock, no I/O. */
#ifndef PST_HTTP_UNPACK_H
#define PST_HTTP_UNPACK_H

#include "http/reply.h"

/* r: DONE, with a coding other than OTHER.  DONE: its body is what had been packed.  BROKEN, TOO_LARGE: it is nothing. */
PST_MUSTCHECK pst_reply_state_t pst_reply_unpack(pst_reply_t *r);

#endif
