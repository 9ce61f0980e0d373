/* check.c - the pass over bytes that nobody has vouched for.
 *
 * `owed` is the number of values that the headers seen so far promise and that have not come yet.
 * Each takes at least one byte, so a promise larger than the bytes that remain is a lie, told
 * before anything was allocated. */
#include "wire/walk.h"

typedef enum kind { KIND_BAD, KIND_PLAIN, KIND_FLOAT, KIND_BYTES, KIND_ARRAY } kind_t;

/* What a first byte announces: `size` bytes of number follow it.  They are the value itself (PLAIN,
 * FLOAT), or the count of the bytes (BYTES) or values (ARRAY) that come then. */
typedef struct head {
    uint8_t kind, size;
} head_t;

/* First bytes 0xc0 to 0xdf; the rest hold their value or count in themselves. */
static const head_t heads[32] = {
    /* nil, false, true */
    [0x00] = {KIND_PLAIN, 0}, [0x02] = {KIND_PLAIN, 0}, [0x03] = {KIND_PLAIN, 0},
    /* bin */
    [0x04] = {KIND_BYTES, 1}, [0x05] = {KIND_BYTES, 2}, [0x06] = {KIND_BYTES, 4},
    /* float32, float64 */
    [0x0a] = {KIND_FLOAT, 4}, [0x0b] = {KIND_FLOAT, 8},
    /* unsigned, signed */
    [0x0c] = {KIND_PLAIN, 1}, [0x0d] = {KIND_PLAIN, 2},
    [0x0e] = {KIND_PLAIN, 4}, [0x0f] = {KIND_PLAIN, 8},
    [0x10] = {KIND_PLAIN, 1}, [0x11] = {KIND_PLAIN, 2},
    [0x12] = {KIND_PLAIN, 4}, [0x13] = {KIND_PLAIN, 8},
    /* str */
    [0x19] = {KIND_BYTES, 1}, [0x1a] = {KIND_BYTES, 2}, [0x1b] = {KIND_BYTES, 4},
    /* array */
    [0x1c] = {KIND_ARRAY, 2}, [0x1d] = {KIND_ARRAY, 4},
};

static head_t head_of(uint8_t b)
{
    if (b < 0x80 || b >= 0xe0)
        return (head_t){KIND_PLAIN, 0};
    if (b >= 0xc0)
        return heads[b - 0xc0];
    if (b >= 0xa0)
        return (head_t){KIND_BYTES, 0};
    return (head_t){b >= 0x90 ? KIND_ARRAY : KIND_BAD, 0};
}

/* The count in a header of KIND_BYTES or KIND_ARRAY: in `size` bytes at p, or in the first byte. */
static uint64_t count_of(uint8_t first, const uint8_t *p, unsigned size)
{
    if (size == 0)
        return first & (first >= 0xa0 ? 0x1f : 0x0f);
    uint64_t n = 0;
    for (unsigned i = 0; i < size; i++)
        n = n << 8 | p[i];
    return n;
}

pst_err_t pst_walk_skip(pst_walk_t *w, uint64_t n)
{
    uint64_t left[PST_FRAME_DEPTH_MAX + 1]; /* values still to come at each open level */
    unsigned level = 0;
    uint64_t owed = left[0] = n;
    while (owed > 0) {
        if (owed > (uint64_t)(w->end - w->p))
            return PST_E_MALFORMED;
        while (left[level] == 0)
            level--;
        left[level]--;
        owed--;
        w->values++;
        uint8_t first = *w->p++;
        head_t h = head_of(first);
        if (h.kind == KIND_BAD || (h.kind == KIND_FLOAT && !w->floats) || h.size > w->end - w->p)
            return PST_E_MALFORMED;
        uint64_t count = h.kind >= KIND_BYTES ? count_of(first, w->p, h.size) : 0;
        w->p += h.size;
        if (h.kind == KIND_BYTES) {
            if (count > (uint64_t)(w->end - w->p))
                return PST_E_MALFORMED;
            w->p += count;
        } else if (h.kind == KIND_ARRAY) {
            if (w->depth + level >= PST_FRAME_DEPTH_MAX)
                return PST_E_MALFORMED;
            left[++level] = count;
            owed += count;
        }
    }
    return PST_OK;
}

pst_err_t pst_wire_check(pst_view_t bytes)
{
    if (bytes.n > PST_FRAME_BYTES_MAX)
        return PST_E_TOO_LARGE;
    pst_walk_t w = {.p = (const uint8_t *)bytes.p};
    w.end = bytes.n ? w.p + bytes.n : w.p;
    pst_err_t e = pst_walk_skip(&w, 1);
    return e == PST_OK && w.p != w.end ? PST_E_MALFORMED : e;
}
