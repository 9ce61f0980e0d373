#include "wire/cursor.h"

#include "wire/walk.h"

void pst_in_fail(pst_in_t *c, pst_err_t e)
{
    if (c->err == PST_OK)
        c->err = e;
    c->p = c->end;
}

/* n bytes, big end first; false (and failed) if they are not there. */
static bool take_number(pst_in_t *c, unsigned n, uint64_t *ret)
{
    if (pst_in_left(c) < n) {
        pst_in_fail(c, PST_E_MALFORMED);
        return false;
    }
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | c->p[i];
    c->p += n;
    *ret = v;
    return true;
}

/* 0xc1, which msgpack does not use, when there is no type byte. */
static uint8_t take_type(pst_in_t *c)
{
    if (c->p < c->end)
        return *c->p++;
    pst_in_fail(c, PST_E_MALFORMED);
    return 0xc1;
}

uint64_t pst_in_uint_long(pst_in_t *c)
{
    uint64_t v = 0;
    uint8_t t = take_type(c);
    if (t < 0x80)
        return t;
    bool is_signed = t >= 0xd0 && t <= 0xd3;
    if (!is_signed && (t < 0xcc || t > 0xcf)) {
        pst_in_fail(c, PST_E_MALFORMED);
        return 0;
    }
    unsigned bytes = 1u << (t & 3);
    if (!take_number(c, bytes, &v))
        return 0;
    if (is_signed && v >> (8 * bytes - 1)) {
        pst_in_fail(c, PST_E_MALFORMED);
        return 0;
    }
    return v;
}

static pst_view_t take_bytes(pst_in_t *c, uint64_t n, size_t max)
{
    if (n > max || n > pst_in_left(c)) {
        pst_in_fail(c, n > pst_in_left(c) ? PST_E_MALFORMED : PST_E_TOO_LARGE);
        return pst_view(NULL, 0);
    }
    pst_view_t v = pst_view(c->p, (size_t)n);
    c->p += n;
    return v;
}

pst_view_t pst_in_str_long(pst_in_t *c, size_t max)
{
    uint8_t t = take_type(c);
    uint64_t n = t & 0x1f;
    bool fixed = (t & 0xe0) == 0xa0;
    if (!fixed && (t < 0xd9 || t > 0xdb))
        pst_in_fail(c, PST_E_MALFORMED);
    else if (fixed || take_number(c, 1u << (t - 0xd9), &n))
        return take_bytes(c, n, max);
    return pst_view(NULL, 0);
}

pst_view_t pst_in_bin(pst_in_t *c, size_t max)
{
    uint8_t t = take_type(c);
    uint64_t n;
    if (t < 0xc4 || t > 0xc6)
        pst_in_fail(c, PST_E_MALFORMED);
    else if (take_number(c, 1u << (t - 0xc4), &n))
        return take_bytes(c, n, max);
    return pst_view(NULL, 0);
}

bool pst_in_bool(pst_in_t *c)
{
    uint8_t t = take_type(c);
    if (t != 0xc2 && t != 0xc3)
        pst_in_fail(c, PST_E_MALFORMED);
    return t == 0xc3;
}

pst_id_t pst_in_id(pst_in_t *c)
{
    pst_id_t id = {{0}};
    pst_view_t v = pst_in_bin(c, SIZE_MAX);
    if (v.n == sizeof id.b)
        memcpy(id.b, v.p, sizeof id.b);
    else
        pst_in_fail(c, PST_E_MALFORMED);
    return id;
}

/* Header of an array whose values can still come; 0 after a failure. */
static uint32_t open_array(pst_in_t *c)
{
    uint8_t t = take_type(c);
    uint64_t n = t & 0x0f;
    bool fixed = (t & 0xf0) == 0x90;
    if (!fixed && t != 0xdc && t != 0xdd)
        pst_in_fail(c, PST_E_MALFORMED);
    else if (!fixed && !take_number(c, t == 0xdc ? 2 : 4, &n))
        return 0;
    else if (n > pst_in_left(c) || ++c->depth > PST_FRAME_DEPTH_MAX)
        pst_in_fail(c, PST_E_MALFORMED);
    return c->err == PST_OK ? (uint32_t)n : 0;
}

uint32_t pst_in_open(pst_in_t *c, uint32_t fields)
{
    uint32_t n = open_array(c);
    if (n >= fields)
        return n - fields;
    pst_in_fail(c, PST_E_MALFORMED);
    return 0;
}

void pst_in_close(pst_in_t *c, uint32_t extra)
{
    if (extra && c->err == PST_OK) {
        pst_walk_t w = {.p = c->p, .end = c->end, .depth = c->depth};
        if (pst_walk_skip(&w, extra) == PST_OK)
            c->p = w.p;
        else
            pst_in_fail(c, PST_E_MALFORMED);
    }
    c->depth--;
}

void *pst_in_list(pst_in_t *c, pst_arena_t *a, uint32_t max, size_t item_bytes_min, size_t size,
                  uint32_t *ret_n)
{
    uint32_t n = open_array(c);
    *ret_n = 0;
    if (n == 0)
        return NULL;
    if (n > pst_in_left(c) / item_bytes_min)
        pst_in_fail(c, PST_E_MALFORMED);
    else if (n > max)
        pst_in_fail(c, PST_E_TOO_LARGE);
    void *v = c->err == PST_OK ? pst_arena_get(a, n * size) : NULL;
    if (v)
        *ret_n = n;
    else
        pst_in_fail(c, PST_E_NOMEM);
    return v;
}

pst_err_t pst_in_end(pst_in_t *c)
{
    if (c->err == PST_OK && c->p != c->end)
        c->err = PST_E_MALFORMED;
    return c->err;
}

pst_endpoint_name_t pst_in_endpoint(pst_in_t *c)
{
    pst_endpoint_name_t e;
    uint32_t extra = pst_in_open(c, 2);
    e.provider = pst_in_str(c, PST_NAME_BYTES_MAX);
    e.model = pst_in_str(c, PST_NAME_BYTES_MAX);
    pst_in_close(c, extra);
    return e;
}

pst_endpoint_name_t *pst_in_endpoints(pst_in_t *c, pst_arena_t *a, uint32_t max, uint32_t *ret_n)
{
    pst_endpoint_name_t *v = pst_in_list(c, a, max, 3, sizeof *v, ret_n);
    for (uint32_t i = 0; i < *ret_n; i++)
        v[i] = pst_in_endpoint(c);
    pst_in_close(c, 0);
    return v;
}

/* What is decompressed is bounded here too: a reader may believe text_bytes. */
pst_result_blob_t pst_in_blob(pst_in_t *c)
{
    pst_result_blob_t b;
    uint32_t extra = pst_in_open(c, 3);
    b.codec = pst_in_u8(c, PST_CODEC_LZ4);
    b.text_bytes = pst_in_u32(c);
    b.bytes = pst_in_bin(c, PST_FRAME_BYTES_MAX);
    pst_in_close(c, extra);
    if (b.text_bytes > PST_BLOB_TEXT_BYTES_MAX)
        pst_in_fail(c, PST_E_TOO_LARGE);
    if (b.codec == PST_CODEC_RAW && b.text_bytes != b.bytes.n)
        pst_in_fail(c, PST_E_MALFORMED);
    return b;
}
