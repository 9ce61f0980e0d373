#include "store/redis_codec.h"

#include <assert.h>

#define STATS_VERSION 1
#define RETRY_VERSION 2 /* 1: without the cost */

/* ---- fixed width ----------------------------------------------------------------------------------------------- */

void pst_dir_encode(const pst_dir_value_t *d, char to[PST_DIR_BYTES - 2])
{
    const pst_pack_entry_t *e = &d->entry;
    const uint32_t v[] = {e->pack,          e->jobs,     e->text_bytes, e->headers_bytes,
                          e->bodies_bytes,  e->index_lo, e->index_hi,   e->input_tokens};
    static_assert(sizeof v == PST_ENTRY_BYTES, "an entry is 32 bytes");
    for (unsigned i = 0; i < PST_COUNT(v); i++)
        pst_le32_put(to + 4 * i, v[i]);
    to[PST_ENTRY_BYTES] = (char)d->url;
    to[PST_ENTRY_BYTES + 1] = (char)d->rejected;
}

bool pst_dir_decode(pst_view_t bytes, pst_dir_value_t *ret)
{
    if (bytes.n != PST_DIR_BYTES)
        return false;
    const unsigned char *tail = (const unsigned char *)bytes.p + PST_ENTRY_BYTES;
    *ret = (pst_dir_value_t){
        .entry = {.pack = pst_le32_get(bytes.p),
                  .jobs = pst_le32_get(bytes.p + 4),
                  .text_bytes = pst_le32_get(bytes.p + 8),
                  .headers_bytes = pst_le32_get(bytes.p + 12),
                  .bodies_bytes = pst_le32_get(bytes.p + 16),
                  .index_lo = pst_le32_get(bytes.p + 20),
                  .index_hi = pst_le32_get(bytes.p + 24),
                  .input_tokens = pst_le32_get(bytes.p + 28)},
        .url = tail[0],
        .rejected = tail[1] != 0,
        .route = (uint16_t)(tail[2] | tail[3] << 8),
    };
    return true;
}

#define ENDED_BYTES 6

void pst_ends_encode(uint32_t n, const pst_slot_ref_t *ended, uint32_t count, pst_buf_t *out)
{
    char *to = pst_buf_reserve(out, 8 + ENDED_BYTES * (size_t)count);
    if (!to)
        return;
    pst_le32_put(to, n);
    pst_le32_put(to + 4, count);
    to += 8;
    for (uint32_t i = 0; i < count; i++, to += ENDED_BYTES) {
        pst_le32_put(to, ended[i].pack);
        to[4] = (char)(ended[i].slot & 0xff);
        to[5] = (char)(ended[i].slot >> 8);
    }
    out->n += 8 + ENDED_BYTES * (size_t)count;
}

bool pst_ends_next(pst_view_t *bytes, pst_arena_t *a, uint32_t *ret_n, const pst_slot_ref_t **ret_ended,
                   uint32_t *ret_count)
{
    if (bytes->n < 8)
        return false;
    uint32_t count = pst_le32_get(bytes->p + 4);
    if (count > (bytes->n - 8) / ENDED_BYTES)
        return false;
    pst_slot_ref_t *ended = pst_arena_get(a, sizeof *ended * PST_MAX(count, 1u));
    if (!ended)
        return false;
    const char *from = bytes->p + 8;
    for (uint32_t i = 0; i < count; i++, from += ENDED_BYTES) {
        ended[i].pack = pst_le32_get(from);
        ended[i].slot = (uint16_t)((uint8_t)from[4] | (uint16_t)(uint8_t)from[5] << 8);
    }
    *ret_n = pst_le32_get(bytes->p);
    *ret_ended = ended;
    *ret_count = count;
    *bytes = pst_view(from, bytes->n - 8 - ENDED_BYTES * (size_t)count);
    return true;
}

/* ---- variable width -------------------------------------------------------------------------------------------- */

static void put_num(pst_buf_t *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        pst_buf_putc(b, (char)(v | 0x80));
    pst_buf_putc(b, (char)v);
}

static void put_name(pst_buf_t *b, pst_view_t v)
{
    put_num(b, v.n);
    pst_buf_putv(b, v);
}

static void put_endpoint(pst_buf_t *b, const pst_endpoint_name_t *e)
{
    put_name(b, e->provider);
    put_name(b, e->model);
}

/* Reads with one check at the end: past the end, or past a bound, `bad` is set and zeros come. */
typedef struct reader {
    const char *p, *end;
    bool bad;
} reader_t;

static uint64_t get_num(reader_t *r, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        unsigned char c = (unsigned char)*r->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            if (v <= max)
                return v;
            break;
        }
    }
    r->bad = true;
    r->p = r->end;
    return 0;
}

static uint32_t get_u32(reader_t *r) { return (uint32_t)get_num(r, UINT32_MAX); }
static uint64_t get_u64(reader_t *r) { return get_num(r, UINT64_MAX); }

static void get_version(reader_t *r, uint64_t version)
{
    if (get_num(r, version) != version)
        r->bad = true;
}

/* A count of things that take at least `bytes` each. */
static uint32_t get_count(reader_t *r, size_t bytes)
{
    return (uint32_t)get_num(r, PST_MIN((uint64_t)(r->end - r->p) / bytes, (uint64_t)UINT32_MAX));
}

static pst_view_t get_name(reader_t *r, pst_arena_t *a)
{
    size_t n = (size_t)get_num(r, PST_NAME_BYTES_MAX);
    if (r->bad || n > (size_t)(r->end - r->p)) {
        r->bad = true;
        return pst_view(NULL, 0);
    }
    pst_view_t v = pst_arena_copy(a, pst_view(r->p, n));
    r->bad |= !v.p;
    r->p += n;
    return v;
}

static pst_endpoint_name_t get_endpoint(reader_t *r, pst_arena_t *a)
{
    pst_endpoint_name_t e;
    e.provider = get_name(r, a);
    e.model = get_name(r, a);
    return e;
}

/* n cleared things; n = 0 gives a pointer that is not looked at. */
static void *get_room(reader_t *r, pst_arena_t *a, uint32_t n, size_t size)
{
    void *p = r->bad ? NULL : pst_arena_get(a, PST_MAX(n * size, (size_t)1));
    if (p)
        memset(p, 0, n * size);
    r->bad |= !p;
    return p;
}

/* Most of the 88 buckets are empty: only the others are written, each as its distance from the one before. */
static void put_hist(pst_buf_t *b, const uint32_t hist[PST_HIST_BUCKETS])
{
    unsigned used = 0, last = 0;
    for (unsigned i = 0; i < PST_HIST_BUCKETS; i++)
        used += hist[i] != 0;
    put_num(b, used);
    for (unsigned i = 0; i < PST_HIST_BUCKETS; i++) {
        if (!hist[i])
            continue;
        put_num(b, i - last);
        put_num(b, hist[i]);
        last = i;
    }
}

static void get_hist(reader_t *r, uint32_t hist[PST_HIST_BUCKETS])
{
    unsigned used = (unsigned)get_num(r, PST_HIST_BUCKETS), at = 0;
    for (unsigned i = 0; i < used && !r->bad; i++) {
        at += (unsigned)get_num(r, PST_HIST_BUCKETS - 1 - at);
        hist[at] = get_u32(r);
    }
}

void pst_stats_encode(const pst_seg_stats_t *s, pst_buf_t *out)
{
    pst_buf_putc(out, STATS_VERSION);
    const uint64_t totals[] = {s->completed,    s->failed,        s->expired,       s->cancelled,
                               s->input_tokens, s->cached_tokens, s->output_tokens, s->cost_nano};
    for (unsigned i = 0; i < PST_COUNT(totals); i++)
        put_num(out, totals[i]);
    put_num(out, s->causes_n);
    for (uint32_t i = 0; i < s->causes_n; i++) {
        put_num(out, s->causes[i].cause);
        put_num(out, s->causes[i].n);
    }
    put_num(out, s->endpoints_n);
    for (uint32_t i = 0; i < s->endpoints_n; i++) {
        const pst_seg_endpoint_t *e = &s->endpoints[i];
        put_endpoint(out, &e->name);
        const uint64_t v[] = {e->calls,        e->completed,     e->rate_limited,  e->retried,
                              e->input_tokens, e->cached_tokens, e->output_tokens, e->cost_nano};
        for (unsigned k = 0; k < PST_COUNT(v); k++)
            put_num(out, v[k]);
        put_hist(out, e->hist);
    }
}

static void get_seg_endpoint(reader_t *r, pst_arena_t *a, pst_seg_endpoint_t *e)
{
    e->name = get_endpoint(r, a);
    uint64_t *const v[] = {&e->calls,        &e->completed,     &e->rate_limited,  &e->retried,
                           &e->input_tokens, &e->cached_tokens, &e->output_tokens, &e->cost_nano};
    for (unsigned k = 0; k < PST_COUNT(v); k++)
        *v[k] = get_u64(r);
    get_hist(r, e->hist);
}

pst_err_t pst_stats_decode(pst_view_t bytes, pst_arena_t *a, pst_seg_stats_t *ret)
{
    reader_t r = {.p = bytes.p, .end = bytes.p + bytes.n};
    pst_seg_stats_t s = {0};
    get_version(&r, STATS_VERSION);
    s.completed = get_u32(&r);
    s.failed = get_u32(&r);
    s.expired = get_u32(&r);
    s.cancelled = get_u32(&r);
    s.input_tokens = get_u64(&r);
    s.cached_tokens = get_u64(&r);
    s.output_tokens = get_u64(&r);
    s.cost_nano = get_u64(&r);
    s.causes_n = get_count(&r, 2);
    s.causes = get_room(&r, a, s.causes_n, sizeof *s.causes);
    for (uint32_t i = 0; i < s.causes_n && !r.bad; i++) {
        s.causes[i].cause = (uint8_t)get_num(&r, UINT8_MAX);
        s.causes[i].n = get_u32(&r);
    }
    s.endpoints_n = get_count(&r, 11);
    s.endpoints = get_room(&r, a, s.endpoints_n, sizeof *s.endpoints);
    for (uint32_t i = 0; i < s.endpoints_n && !r.bad; i++)
        get_seg_endpoint(&r, a, &s.endpoints[i]);
    if (r.bad || r.p != r.end)
        return PST_E_MALFORMED;
    *ret = s;
    return PST_OK;
}

void pst_retry_encode(const pst_retry_t *r, pst_buf_t *out)
{
    pst_buf_putc(out, RETRY_VERSION);
    const uint64_t v[] = {r->pack, r->slot, r->dispatch, r->attempts, r->given_up, r->due_wall_ms, r->endpoints_n};
    for (unsigned i = 0; i < PST_COUNT(v); i++)
        put_num(out, v[i]);
    for (uint32_t i = 0; i < r->endpoints_n; i++)
        put_endpoint(out, &r->endpoints[i]);
    put_num(out, r->history_n);
    for (uint32_t i = 0; i < r->history_n; i++) {
        const pst_attempt_t *h = &r->history[i];
        put_num(out, h->endpoint);
        put_num(out, h->http_status);
        put_num(out, h->cause);
        put_num(out, h->latency_ms);
    }
    put_num(out, r->cost_nano);
}

static void get_attempt(reader_t *r, uint32_t endpoints_n, pst_attempt_t *h)
{
    h->endpoint = (uint16_t)get_num(r, UINT16_MAX);
    h->http_status = (uint16_t)get_num(r, UINT16_MAX);
    h->cause = (uint8_t)get_num(r, UINT8_MAX);
    h->latency_ms = get_u32(r);
    r->bad |= h->endpoint != PST_NO_ENDPOINT && h->endpoint >= endpoints_n;
}

pst_err_t pst_retry_decode(pst_view_t bytes, pst_arena_t *a, pst_retry_t *ret)
{
    reader_t r = {.p = bytes.p, .end = bytes.p + bytes.n};
    pst_retry_t y = {0};
    uint64_t version = get_num(&r, RETRY_VERSION);
    y.pack = get_u32(&r);
    y.slot = (uint16_t)get_num(&r, UINT16_MAX);
    y.dispatch = (uint16_t)get_num(&r, UINT16_MAX);
    y.attempts = (uint8_t)get_num(&r, UINT8_MAX);
    y.given_up = (uint8_t)get_num(&r, UINT8_MAX);
    y.due_wall_ms = get_u64(&r);
    y.endpoints_n = get_count(&r, 2);
    y.endpoints = get_room(&r, a, y.endpoints_n, sizeof *y.endpoints);
    for (uint32_t i = 0; i < y.endpoints_n && !r.bad; i++)
        y.endpoints[i] = get_endpoint(&r, a);
    y.history_n = get_count(&r, 4);
    y.history = get_room(&r, a, y.history_n, sizeof *y.history);
    for (uint32_t i = 0; i < y.history_n && !r.bad; i++)
        get_attempt(&r, y.endpoints_n, &y.history[i]);
    if (version == RETRY_VERSION)
        y.cost_nano = get_u64(&r);
    if (r.bad || r.p != r.end || version == 0)
        return PST_E_MALFORMED;
    *ret = y;
    return PST_OK;
}
