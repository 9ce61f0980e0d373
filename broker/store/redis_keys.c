#include "store/redis_keys.h"

#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static void put(pst_redis_key_t *k, const char *p, size_t n)
{
    n = PST_MIN(n, sizeof k->p - k->n);
    memcpy(k->p + k->n, p, n);
    k->n += n;
}

static void put_u32(pst_redis_key_t *k, uint32_t v)
{
    char digits[10];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    put(k, digits + n, sizeof digits - n);
}

static void put_batch(pst_redis_key_t *k, const pst_id_t *batch)
{
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(batch, text);
    k->n = 0;
    put(k, "pst:{", 5);
    put(k, text, PST_BATCH_TEXT_LEN);
}

void pst_key_batch(pst_redis_key_t *k, const pst_id_t *batch)
{
    put_batch(k, batch);
    put(k, "}", 1);
}

static void put_segment(pst_redis_key_t *k, const pst_id_t *batch, uint32_t segment)
{
    put_batch(k, batch);
    put(k, ".", 1);
    put_u32(k, segment);
}

void pst_key_segment(pst_redis_key_t *k, const pst_id_t *batch, uint32_t segment, pst_seg_key_t what)
{
    static const char *const suffix[] = {
        [PST_SEG_META] = "}:meta", [PST_SEG_DIR] = "}:dir",     [PST_SEG_ROUTES] = "}:routes",
        [PST_SEG_ENDS] = "}:ends", [PST_SEG_RETRY] = "}:retry", [PST_SEG_IDX] = "}:idx",
        [PST_SEG_NEW_HEADERS] = "}:x:h", [PST_SEG_NEW_BODIES] = "}:x:b", [PST_SEG_NEW_RESULTS] = "}:x:r",
    };
    put_segment(k, batch, segment);
    put(k, suffix[what], strlen(suffix[what]));
}

void pst_key_pack(pst_redis_key_t *k, const pst_id_t *batch, uint32_t segment, pst_pack_key_t what, uint32_t number)
{
    static const char suffix[][5] = {
        [PST_PACK_HEADERS] = "}:h:", [PST_PACK_BODIES] = "}:b:", [PST_PACK_RESULTS] = "}:r:"};
    put_segment(k, batch, segment);
    put(k, suffix[what], 4);
    put_u32(k, number);
}

void pst_key_idem(pst_redis_key_t *k, pst_view_t key)
{
    XXH128_hash_t h = XXH3_128bits(key.p, key.n);
    int n = snprintf(k->p, sizeof k->p, "pst:{idem:%016llx%016llx}", (unsigned long long)h.high64,
                     (unsigned long long)h.low64);
    k->n = (size_t)n;
}

void pst_key_limit(pst_redis_key_t *k, pst_view_t name)
{
    k->n = 0;
    put(k, "pst:{lim:", 9);
    put(k, name.p, PST_MIN(name.n, sizeof k->p - 10));
    put(k, "}", 1);
}
