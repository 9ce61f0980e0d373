/* codec.c - two compressors, because neither is best everywhere.  LZ4 costs half of zstd's fastest level on what most
 * batches hold, and a twentieth on single answers, for half as many bytes again.  But it looks back 64 KiB only: what
 * bodies share is found while several of them lie in that reach, and of bigger ones only zstd sees it. */
#include "wire/codec.h"

#include <lz4.h>
#include <zstd.h>

#define TEXT_MIN 128 /* less is not worth the trouble */
#define LZ4_BODY_MAX (24u << 10) /* mean bytes of a body up to which the one before is in LZ4's reach */

/* One of the two compressors, and how hard it tries: zstd's level, LZ4's acceleration. */
typedef struct way {
    pst_codec_t codec;
    int how;
} way_t;

static const way_t short_bodies = {PST_CODEC_LZ4, 1};
static const way_t long_bodies = {PST_CODEC_ZSTD, -1}; /* finds what bodies share as level 1 does, and leaves the
                                                          letters of what they do not share */
static const way_t small = {PST_CODEC_ZSTD, 1};
static const way_t fast = {PST_CODEC_LZ4, 8};

struct pst_compressor {
    void *lz4;               /* its table */
    ZSTD_CCtx *zstd;
};

struct pst_decompressor {
    ZSTD_DCtx *zstd;
};

pst_compressor_t *pst_compressor_new(void)
{
    pst_compressor_t *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->lz4 = malloc((size_t)LZ4_sizeofState());
    c->zstd = ZSTD_createCCtx();
    if (!c->lz4 || !c->zstd)
        pst_compressor_destroy(&c);
    return c;
}

void pst_compressor_destroy(pst_compressor_t **pc)
{
    pst_compressor_t *c = *pc;
    *pc = NULL;
    if (!c)
        return;
    free(c->lz4);
    ZSTD_freeCCtx(c->zstd);
    free(c);
}

/* 0: not compressed.  Never as long as the text: room is for less. */
static size_t by_lz4(const pst_compressor_t *c, int acceleration, pst_view_t text, char *to, size_t room)
{
    if (text.n > LZ4_MAX_INPUT_SIZE)
        return 0;
    return (size_t)LZ4_compress_fast_extState(c->lz4, text.p, to, (int)text.n, (int)room, acceleration);
}

static size_t by_zstd(const pst_compressor_t *c, int level, pst_view_t text, char *to, size_t room)
{
    size_t n = ZSTD_compressCCtx(c->zstd, to, room, text.p, text.n, level);
    return ZSTD_isError(n) ? 0 : n;
}

static pst_view_t compress(const pst_compressor_t *c, way_t way, pst_view_t text, pst_buf_t *out,
                           pst_codec_t *ret_codec)
{
    *ret_codec = PST_CODEC_RAW;
    if (text.n < TEXT_MIN)
        return text;
    bool lz4 = way.codec == PST_CODEC_LZ4;
    /* With room for the worst case both leave out the checks of every step. */
    size_t room = lz4 ? (size_t)LZ4_COMPRESSBOUND(text.n) : ZSTD_compressBound(text.n);
    pst_buf_clear(out);
    char *to = pst_buf_reserve(out, PST_MAX(room, text.n));
    if (!to)
        return text;
    size_t n = lz4 ? by_lz4(c, way.how, text, to, room) : by_zstd(c, way.how, text, to, room);
    if (n == 0 || n >= text.n)
        return text;
    *ret_codec = way.codec;
    return pst_view(to, n);
}

pst_view_t pst_compress(pst_compressor_t *c, pst_view_t text, uint32_t parts, pst_buf_t *out, pst_codec_t *ret_codec)
{
    bool is_short = text.n / PST_MAX(parts, 1u) <= LZ4_BODY_MAX;
    return compress(c, is_short ? short_bodies : long_bodies, text, out, ret_codec);
}

pst_view_t pst_compress_small(pst_compressor_t *c, pst_view_t text, pst_buf_t *out, pst_codec_t *ret_codec)
{
    return compress(c, small, text, out, ret_codec);
}

pst_view_t pst_compress_fast(pst_compressor_t *c, pst_view_t text, pst_buf_t *out, pst_codec_t *ret_codec)
{
    return compress(c, fast, text, out, ret_codec);
}

pst_decompressor_t *pst_decompressor_new(void)
{
    pst_decompressor_t *d = calloc(1, sizeof *d);
    if (d && !(d->zstd = ZSTD_createDCtx()))
        pst_decompressor_destroy(&d);
    return d;
}

void pst_decompressor_destroy(pst_decompressor_t **pd)
{
    pst_decompressor_t *d = *pd;
    *pd = NULL;
    if (!d)
        return;
    ZSTD_freeDCtx(d->zstd);
    free(d);
}

static bool from_lz4(pst_view_t bytes, char *to, size_t text_bytes)
{
    return bytes.n <= INT_MAX && text_bytes <= INT_MAX &&
           LZ4_decompress_safe(bytes.p, to, (int)bytes.n, (int)text_bytes) == (int)text_bytes;
}

static bool from_zstd(const pst_decompressor_t *d, pst_view_t bytes, char *to, size_t text_bytes)
{
    return ZSTD_decompressDCtx(d->zstd, to, text_bytes, bytes.p, bytes.n) == text_bytes;
}

pst_err_t pst_decompress(pst_decompressor_t *d, uint8_t codec, pst_view_t bytes, char *to, size_t text_bytes)
{
    bool ok = false;
    if (codec == PST_CODEC_LZ4)
        ok = from_lz4(bytes, to, text_bytes);
    else if (codec == PST_CODEC_ZSTD)
        ok = from_zstd(d, bytes, to, text_bytes);
    else if (codec == PST_CODEC_RAW && (ok = bytes.n == text_bytes) && text_bytes > 0)
        memcpy(to, bytes.p, text_bytes);
    return ok ? PST_OK : PST_E_MALFORMED;
}
