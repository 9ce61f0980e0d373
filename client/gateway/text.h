/* text.h - a text in pieces, as files lie in Redis: each compressed by itself, with its length.
 *   piece = [codec: 1 byte][length of the text: 4 bytes, little end first][bytes]
 * For the loop, which makes them, and the threads, which read them. */
#ifndef PST_GATEWAY_TEXT_H
#define PST_GATEWAY_TEXT_H

#include "base/buf.h"
#include "wire/codec.h"

#define PST_PIECE_BYTES (1u << 20) /* of text */

/* Appends a piece of `text`; `room` is used on the way. */
void pst_piece_put(pst_compressor_t *c, pst_view_t text, pst_buf_t *room, pst_buf_t *out);
/* The text of a piece, appended.  PST_E_MALFORMED, PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_piece_get(pst_decompressor_t *d, pst_view_t piece, pst_buf_t *out);

#endif
