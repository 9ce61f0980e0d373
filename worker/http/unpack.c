#include "http/unpack.h"

#include <zlib.h>

#include "penstock/limits.h"

#define ROOM_MIN ((size_t)16 << 10)
#define RATIO 4 /* what text mostly packs to: a guess at the first allocation */
/* For inflateInit2: whichever of gzip's and zlib's headers is there; or none. */
#define ANY_HEADER (MAX_WBITS + 32)
#define NO_HEADER (-MAX_WBITS)

/* Members of gzip may follow one another. */
static pst_reply_state_t inflate_all(z_stream *z, pst_buf_t *to)
{
    for (;;) {
        char *p = pst_buf_reserve(to, ROOM_MIN);
        if (!p)
            return PST_REPLY_TOO_LARGE;
        size_t room = to->cap - to->n;
        z->next_out = (Bytef *)p;
        z->avail_out = (uInt)room;
        int code = inflate(z, Z_NO_FLUSH);
        to->n += room - z->avail_out;
        if (to->n > PST_RESULT_BODY_BYTES_MAX)
            return PST_REPLY_TOO_LARGE;
        if (code == Z_STREAM_END && z->avail_in == 0)
            return PST_REPLY_DONE;
        if (code == Z_STREAM_END)
            code = inflateReset(z);
        bool cut = z->avail_in == 0 && z->avail_out > 0;
        if (code != Z_OK || cut)
            return PST_REPLY_BROKEN;
    }
}

static pst_reply_state_t unpack(pst_view_t from, int header, pst_buf_t *to)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)from.p, .avail_in = (uInt)from.n};
    if (inflateInit2(&z, header) != Z_OK)
        return PST_REPLY_TOO_LARGE;
    pst_reply_state_t s = inflate_all(&z, to);
    inflateEnd(&z);
    return s;
}

pst_reply_state_t pst_reply_unpack(pst_reply_t *r)
{
    pst_view_t from = pst_view(r->in.p + r->body_at, r->body_end - r->body_at);
    if (from.n == 0)
        return PST_REPLY_DONE;
    pst_buf_t to;
    pst_buf_init(&to, PST_RESULT_BODY_BYTES_MAX + ROOM_MIN);
    pst_buf_expect(&to, PST_MIN(RATIO * from.n, (size_t)PST_RESULT_BODY_BYTES_MAX));
    pst_reply_state_t s = unpack(from, ANY_HEADER, &to);
    if (s == PST_REPLY_BROKEN && r->coding == PST_CODING_DEFLATE) { /* some servers leave zlib's header out */
        pst_buf_clear(&to);
        s = unpack(from, NO_HEADER, &to);
    }
    if (s == PST_REPLY_DONE) {
        pst_buf_t packed = r->in;
        r->in = to;
        r->in.max = packed.max;
        to = packed;
        r->body_at = 0;
        r->body_end = r->at = r->in.n;
    }
    pst_buf_release(&to);
    return s;
}
