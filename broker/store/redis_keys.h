/* redis_keys.h - the only place that builds a key; the layout is in store.h.  All keys of one batch, and of one segment,
 * share a hash tag, so that one call can name several of them in a cluster too. */
#ifndef PST_REDIS_KEYS_H
#define PST_REDIS_KEYS_H

#include "redis/cmd.h"
#include "penstock/id.h"

#define PST_KEY_EPOCH "pst:{o}:epoch"
#define PST_KEY_ACTIVE "pst:{o}:active"
#define PST_KEY_ALL "pst:{o}:all"
#define PST_KEY_WORKERS "pst:{o}:workers"
#define PST_KEY_LEARNED "pst:{o}:learned"

typedef enum pst_seg_key { /* keys a segment has once */
    PST_SEG_META,
    PST_SEG_DIR,
    PST_SEG_ROUTES,
    PST_SEG_ENDS,
    PST_SEG_RETRY,
    PST_SEG_IDX,
    PST_SEG_NEW_HEADERS, /* passing names, see penstock.lua */
    PST_SEG_NEW_BODIES,
    PST_SEG_NEW_RESULTS,
} pst_seg_key_t;

typedef enum pst_pack_key { /* and those it has once a pack, or a result pack */
    PST_PACK_HEADERS,
    PST_PACK_BODIES,
    PST_PACK_RESULTS,
} pst_pack_key_t;

void pst_key_batch(pst_redis_key_t *k, const pst_id_t *batch);
void pst_key_segment(pst_redis_key_t *k, const pst_id_t *batch, uint32_t segment, pst_seg_key_t what);
void pst_key_pack(pst_redis_key_t *k, const pst_id_t *batch, uint32_t segment, pst_pack_key_t what, uint32_t number);
/* Of an idempotency key, which may hold any byte: its XXH3-128. */
void pst_key_idem(pst_redis_key_t *k, pst_view_t key);
/* A name with '}' in it only moves its budget to another hash slot.  Longer names than any configuration has are cut. */
void pst_key_limit(pst_redis_key_t *k, pst_view_t name);

#endif
