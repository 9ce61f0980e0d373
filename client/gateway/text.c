#include "gateway/text.h"

#define HEAD_BYTES 5u

void pst_piece_put(pst_compressor_t *c, pst_view_t text, pst_buf_t *room, pst_buf_t *out)
{
    pst_codec_t codec;
    pst_view_t bytes = pst_compress_fast(c, text, room, &codec);
    unsigned char head[HEAD_BYTES] = {(unsigned char)codec, (unsigned char)text.n, (unsigned char)(text.n >> 8),
                                      (unsigned char)(text.n >> 16), (unsigned char)(text.n >> 24)};
    pst_buf_put(out, head, sizeof head);
    pst_buf_putv(out, bytes);
}

pst_err_t pst_piece_get(pst_decompressor_t *d, pst_view_t piece, pst_buf_t *out)
{
    if (piece.n < HEAD_BYTES)
        return PST_E_MALFORMED;
    const unsigned char *p = (const unsigned char *)piece.p;
    size_t n = p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24;
    if (n > PST_PIECE_BYTES)
        return PST_E_MALFORMED;
    pst_view_t bytes = pst_view(piece.p + HEAD_BYTES, piece.n - HEAD_BYTES);
    if (p[0] == PST_CODEC_RAW) {
        if (bytes.n != n)
            return PST_E_MALFORMED;
        pst_buf_putv(out, bytes);
        return out->failed ? PST_E_NOMEM : PST_OK;
    }
    char *to = pst_buf_reserve(out, n);
    if (!to)
        return PST_E_NOMEM;
    pst_err_t e = pst_decompress(d, p[0], bytes, to, n);
    out->n += e ? 0 : n;
    return e;
}
