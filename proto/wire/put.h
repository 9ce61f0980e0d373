/* put.h - writing msgpack into a pst_buf_t through msgpack-c's packer, for the encoders of this
 * folder.
 *
 * The buffer's `failed` is the only error: a text or a list past its limit sets it as well as a
 * full buffer, so that a mistake shows at the one who sends and not as a session that the receiver
 * closes. */
#ifndef PST_WIRE_PUT_H
#define PST_WIRE_PUT_H

#include <msgpack.h>

#include "wire/msg.h"

/* Called once or twice a value, nearly always for a few bytes that fit. */
static inline int pst_put_bytes(void *buf, const char *p, size_t n)
{
    pst_buf_t *b = buf;
    size_t end = b->max ? PST_MIN(b->cap, b->max) : b->cap;
    if (b->n < end && n < end - b->n && !b->failed) {
        if (n == 1)
            b->p[b->n] = *p;
        else if (n)
            memcpy(b->p + b->n, p, n);
        b->n += n;
        return 0;
    }
    pst_buf_put(b, p, n);
    return b->failed ? -1 : 0;
}

static inline msgpack_packer pst_put_into(pst_buf_t *b)
{
    msgpack_packer k;
    msgpack_packer_init(&k, b, pst_put_bytes);
    return k;
}

static inline bool pst_put_limit(msgpack_packer *k, size_t n, size_t max)
{
    if (n > max)
        ((pst_buf_t *)k->data)->failed = true;
    return n <= max;
}

/* Most numbers take the one byte that they are. */
static inline void pst_put_uint(msgpack_packer *k, uint64_t v)
{
    char byte = (char)v;
    if (v < 0x80)
        (void)pst_put_bytes(k->data, &byte, 1);
    else
        msgpack_pack_uint64(k, v);
}

/* nil for UINT64_MAX, which says that it is not known. */
static inline void pst_put_uint_or_nil(msgpack_packer *k, uint64_t v)
{
    if (v == UINT64_MAX)
        msgpack_pack_nil(k);
    else
        pst_put_uint(k, v);
}

static inline void pst_put_bool(msgpack_packer *k, bool v)
{
    if (v)
        msgpack_pack_true(k);
    else
        msgpack_pack_false(k);
}

static inline void pst_put_str(msgpack_packer *k, pst_view_t v, size_t max)
{
    if (pst_put_limit(k, v.n, max))
        msgpack_pack_str_with_body(k, v.p, v.n);
}

/* nil for a view that points nowhere. */
static inline void pst_put_str_or_nil(msgpack_packer *k, pst_view_t v, size_t max)
{
    if (v.p)
        pst_put_str(k, v, max);
    else
        msgpack_pack_nil(k);
}

static inline void pst_put_bin(msgpack_packer *k, pst_view_t v, size_t max)
{
    if (pst_put_limit(k, v.n, max))
        msgpack_pack_bin_with_body(k, v.p, v.n);
}

static inline void pst_put_id(msgpack_packer *k, const pst_id_t *id)
{
    msgpack_pack_bin_with_body(k, id->b, sizeof id->b);
}

/* Header of an array of n values. */
static inline void pst_put_array(msgpack_packer *k, size_t n)
{
    msgpack_pack_array(k, n);
}

/* Header of a list; false if it is longer than it may be, and nothing of it should be written. */
static inline bool pst_put_list(msgpack_packer *k, size_t n, size_t max)
{
    if (!pst_put_limit(k, n, max))
        return false;
    msgpack_pack_array(k, n);
    return true;
}

static inline void pst_put_endpoint(msgpack_packer *k, const pst_endpoint_name_t *e)
{
    pst_put_array(k, 2);
    pst_put_str(k, e->provider, PST_NAME_BYTES_MAX);
    pst_put_str(k, e->model, PST_NAME_BYTES_MAX);
}

static inline void pst_put_blob(msgpack_packer *k, const pst_result_blob_t *b)
{
    pst_put_array(k, 3);
    pst_put_uint(k, b->codec);
    if (pst_put_limit(k, b->text_bytes, PST_BLOB_TEXT_BYTES_MAX))
        pst_put_uint(k, b->text_bytes);
    pst_put_bin(k, b->bytes, PST_FRAME_BYTES_MAX);
}

/* A batch's summary, as one value. */
void pst_put_batch_info(msgpack_packer *k, const pst_batch_info_t *i);
void pst_put_cluster(msgpack_packer *k, const pst_cluster_t *c);

#endif
