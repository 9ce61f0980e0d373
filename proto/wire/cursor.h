/* cursor.h - a typed reader that goes once over msgpack bytes, for the long lists: jobs of a pack,
 * results, outcomes, tasks.
 *
 * Why not msgpack-c there: its tree takes 24 bytes and some 13 ns a value, after a check of its own,
 * which is 400 ns an outcome before the first field is looked at.  The cursor fills the structs in
 * one pass, in a quarter of that and with no memory but theirs.  It believes nothing either: every
 * read is bounded, and no list is allocated that the bytes left could not fill.
 *
 * The first error sticks and moves the cursor to its end: the reads after it give zeros, the caller
 * asks once. */
#ifndef PST_WIRE_CURSOR_H
#define PST_WIRE_CURSOR_H

#include "wire/msg.h"

typedef struct pst_in {
    const uint8_t *p, *end;
    pst_err_t err;
    unsigned depth; /* arrays open */
} pst_in_t;

static inline void pst_in_init(pst_in_t *c, pst_view_t bytes)
{
    *c = (pst_in_t){.p = (const uint8_t *)bytes.p, .end = (const uint8_t *)bytes.p};
    if (bytes.n)
        c->end += bytes.n;
}

static inline size_t pst_in_left(const pst_in_t *c)
{
    return (size_t)(c->end - c->p);
}

void pst_in_fail(pst_in_t *c, pst_err_t e);
uint64_t pst_in_uint_long(pst_in_t *c);
pst_view_t pst_in_str_long(pst_in_t *c, size_t max);

/* An integer from 0 to max, in whatever width it came. */
static inline uint64_t pst_in_uint(pst_in_t *c, uint64_t max)
{
    uint64_t v = c->p < c->end && *c->p < 0x80 ? *c->p++ : pst_in_uint_long(c);
    if (v <= max)
        return v;
    pst_in_fail(c, PST_E_MALFORMED);
    return 0;
}

/* The same, any; UINT64_MAX for nil. */
static inline uint64_t pst_in_uint_or_nil(pst_in_t *c)
{
    if (c->p < c->end && *c->p == 0xc0) {
        c->p++;
        return UINT64_MAX;
    }
    return pst_in_uint(c, UINT64_MAX);
}

static inline uint32_t pst_in_u32(pst_in_t *c)
{
    return (uint32_t)pst_in_uint(c, UINT32_MAX);
}

static inline uint16_t pst_in_u16(pst_in_t *c)
{
    return (uint16_t)pst_in_uint(c, UINT16_MAX);
}

static inline uint8_t pst_in_u8(pst_in_t *c, uint8_t max)
{
    return (uint8_t)pst_in_uint(c, max);
}

/* A text of at most max bytes, PST_E_TOO_LARGE past it. */
static inline pst_view_t pst_in_str(pst_in_t *c, size_t max)
{
    size_t n = c->p < c->end && (*c->p & 0xe0) == 0xa0 ? *c->p & 0x1f : SIZE_MAX;
    if (n > max || n >= pst_in_left(c))
        return pst_in_str_long(c, max);
    const uint8_t *at = c->p + 1;
    c->p = at + n;
    return pst_view(at, n);
}

/* The same; {NULL, 0} for nil. */
static inline pst_view_t pst_in_str_or_nil(pst_in_t *c, size_t max)
{
    if (c->p < c->end && *c->p == 0xc0) {
        c->p++;
        return pst_view(NULL, 0);
    }
    return pst_in_str(c, max);
}

bool pst_in_bool(pst_in_t *c);
pst_view_t pst_in_bin(pst_in_t *c, size_t max);
pst_id_t pst_in_id(pst_in_t *c);

/* Opens an array of at least `fields` values; the answer, what it has beyond them, goes to
 * pst_in_close. */
uint32_t pst_in_open(pst_in_t *c, uint32_t fields);
/* Steps over the fields that a newer peer added. */
void pst_in_close(pst_in_t *c, uint32_t extra);

/* Opens a list of at most `max` items (PST_E_TOO_LARGE past it) and allocates *ret_n structs of
 * `size` bytes for it, not cleared.  An item takes `item_bytes_min` bytes on the wire or more. NULL
 * when empty; close with extra 0. */
void *pst_in_list(pst_in_t *c, pst_arena_t *a, uint32_t max, size_t item_bytes_min, size_t size,
                  uint32_t *ret_n);

/* PST_OK if nothing failed and every byte was read. */
PST_MUSTCHECK pst_err_t pst_in_end(pst_in_t *c);

/* Values that several messages have. */
pst_endpoint_name_t pst_in_endpoint(pst_in_t *c);
pst_endpoint_name_t *pst_in_endpoints(pst_in_t *c, pst_arena_t *a, uint32_t max, uint32_t *ret_n);
pst_result_blob_t pst_in_blob(pst_in_t *c);

/* All of CLUSTER behind its req. */
void pst_in_cluster(pst_in_t *c, pst_arena_t *a, pst_cluster_t *ret);

/* HELLO, CAPACITY, OUTCOMES, TASKS, REVOKE: c stands behind the envelope, m has its type.  Errors
 * in c->err; false, and nothing read, for the other messages. */
bool pst_link_decode(pst_in_t *c, pst_arena_t *a, pst_msg_t *m);

#endif
