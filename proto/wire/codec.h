/* codec.h - the texts of packs and of results, compressed and back.  For those who make and read them: submitters,
 * workers, readers of results; the broker passes them on as they are. */
#ifndef PST_CODEC_H
#define PST_CODEC_H

#include "base/buf.h"
#include "wire/msg.h"

typedef struct pst_compressor pst_compressor_t;
typedef struct pst_decompressor pst_decompressor_t;

/* One thread at a time may use one.  NULL: out of memory. */
pst_compressor_t *pst_compressor_new(void);
void pst_compressor_destroy(pst_compressor_t **c);
/* `text`, which is of `parts` bodies, compressed over `out` (what was in it is lost); or `text` itself where that is
 * shorter or there is no memory.  *ret_codec says which. */
pst_view_t pst_compress(pst_compressor_t *c, pst_view_t text, uint32_t parts, pst_buf_t *out, pst_codec_t *ret_codec);
/* The same for who knows how much time there is: to two thirds of that in twice the time, or to four thirds of it in
 * less than half. */
pst_view_t pst_compress_small(pst_compressor_t *c, pst_view_t text, pst_buf_t *out, pst_codec_t *ret_codec);
pst_view_t pst_compress_fast(pst_compressor_t *c, pst_view_t text, pst_buf_t *out, pst_codec_t *ret_codec);

pst_decompressor_t *pst_decompressor_new(void);
void pst_decompressor_destroy(pst_decompressor_t **d);
/* Writes text_bytes to `to`.  d: used for PST_CODEC_ZSTD alone, for others it may be NULL.  PST_E_MALFORMED: not a text of that length; the content of `to` is then undefined. */
PST_MUSTCHECK pst_err_t pst_decompress(pst_decompressor_t *d, uint8_t codec, pst_view_t bytes, char *to,
                                       size_t text_bytes);

#endif
