/* reply_fuzz.c - an answer over HTTP/1.1 from whoever listens there.  The first byte says where it is cut into
 * pieces, the rest is what the connection brings, and then it ends.
 *
 * Cut or whole, it must come to the same; and what lies behind the bytes that came, which is different each time, must
 * not matter: nothing is read that was not there. */
#include "base/rng.h"
#include "fuzz.h"
#include "http/unpack.h"
#include "penstock/limits.h"

#define PIECE_BYTES_MAX 64
#define FILL_BYTES 256

/* Puts all of it in, in pieces of at most `most` bytes, and of what there is room for. */
static pst_reply_state_t feed(pst_reply_t *r, const uint8_t *p, size_t n, size_t most, char fill, pst_rng_t *rng,
                              unsigned *ret_pieces)
{
    pst_reply_state_t s = PST_REPLY_MORE;
    *ret_pieces = 0;
    for (; n && s == PST_REPLY_MORE; ++*ret_pieces) {
        size_t room, part = most == SIZE_MAX ? n : 1 + (size_t)pst_rng_below(rng, most);
        char *to = pst_reply_room(r, &room);
        if (!to)
            return PST_REPLY_TOO_LARGE;
        PST_ASSERT(room > 0);
        part = PST_MIN(PST_MIN(part, room), n);
        memset(to, fill, PST_MIN(room, part + FILL_BYTES));
        memcpy(to, p, part);
        s = pst_reply_came(r, part);
        p += part;
        n -= part;
    }
    return s == PST_REPLY_MORE ? pst_reply_eof(r) : s;
}

static void check_one(const pst_reply_t *r)
{
    PST_ASSERT(r->status >= 200 && r->status <= 999);
    PST_ASSERT(r->body_at <= r->body_end && r->body_end <= r->in.n);
    PST_ASSERT(r->body_end - r->body_at <= PST_RESULT_BODY_BYTES_MAX);
    bool bodyless = r->status == 204 || r->status == 304;
    if (bodyless)
        PST_ASSERT(r->body_at == r->body_end);
    else if (r->has_length && !r->chunked)
        PST_ASSERT(r->body_end - r->body_at == r->length);
    PST_ASSERT(!r->keeps || bodyless || r->has_length || r->chunked);
    PST_ASSERT(r->spans <= PST_HTTP_ANSWER_HEADERS_MAX && r->head.n <= PST_HTTP_ANSWER_HEADER_BYTES_MAX);
}

static void check_same(const pst_reply_t *a, const pst_reply_t *b)
{
    pst_http_header_t of_a[PST_HTTP_ANSWER_HEADERS_MAX], of_b[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t x = {0}, y = {0};
    pst_reply_fill(a, of_a, &x);
    pst_reply_fill(b, of_b, &y);
    PST_ASSERT(a->status == b->status && a->coding == b->coding);
    PST_ASSERT(pst_view_eq(x.body, y.body));
    PST_ASSERT(x.headers == y.headers);
    for (unsigned i = 0; i < x.headers; i++)
        PST_ASSERT(pst_view_eq(of_a[i].name, of_b[i].name) && pst_view_eq(of_a[i].value, of_b[i].value));
}

static void check_unpacked(pst_reply_t *r)
{
    if (r->coding == PST_CODING_NONE || r->coding == PST_CODING_OTHER)
        return;
    pst_reply_state_t s = pst_reply_unpack(r);
    PST_ASSERT(s == PST_REPLY_DONE || s == PST_REPLY_BROKEN || s == PST_REPLY_TOO_LARGE);
    if (s == PST_REPLY_DONE)
        PST_ASSERT(r->body_at <= r->body_end && r->body_end - r->body_at <= PST_RESULT_BODY_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pst_reply_t whole, cut;
    pst_rng_t rng;
    if (size == 0)
        return 0;
    pst_rng_seed(&rng, data[0]);
    pst_reply_init(&whole);
    pst_reply_init(&cut);
    unsigned pieces, cuts;
    pst_reply_state_t s = feed(&whole, data + 1, size - 1, SIZE_MAX, '\n', &rng, &pieces);
    PST_ASSERT(s != PST_REPLY_MORE);
    PST_ASSERT(feed(&cut, data + 1, size - 1, 1 + data[0] % PIECE_BYTES_MAX, '0', &rng, &cuts) == s);
    if (s == PST_REPLY_DONE) {
        check_one(&whole);
        check_one(&cut);
        check_same(&whole, &cut);
        check_unpacked(&whole);
        /* What stands behind the answer comes later when it is cut. */
        PST_ASSERT(pieces > 1 || cut.keeps || !whole.keeps);
    }
    pst_reply_release(&whole);
    pst_reply_release(&cut);
    return 0;
}
