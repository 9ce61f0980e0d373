#include "store/recent.h"

#include "base/list.h"
#include "base/map.h"

typedef struct recent_key {
    pst_id_t batch;
    uint32_t segment, n;
} recent_key_t;

_Static_assert(sizeof(recent_key_t) == 24, "a key without holes");

typedef struct kept {
    pst_link_t link;
    recent_key_t key;
    pst_blob_t *pack;
} kept_t;

struct pst_recent {
    pst_map_t map;   /* recent_key_t -> kept_t */
    pst_link_t kept; /* the oldest first */
    size_t bytes, bytes_max;
};

pst_recent_t *pst_recent_new(size_t bytes_max, uint64_t seed)
{
    pst_recent_t *r = pst_calloc(1, sizeof *r);
    pst_map_init(&r->map, seed);
    pst_link_init(&r->kept);
    r->bytes_max = bytes_max;
    return r;
}

static void drop(pst_recent_t *r, kept_t *k)
{
    pst_map_remove(&r->map, &k->key, sizeof k->key);
    pst_link_remove(&k->link);
    r->bytes -= k->pack->n;
    pst_blob_unref(&k->pack);
    free(k);
}

void pst_recent_destroy(pst_recent_t **pr)
{
    pst_recent_t *r = *pr;
    *pr = NULL;
    if (!r)
        return;
    while (!pst_link_empty(&r->kept))
        drop(r, PST_CONTAINER(r->kept.next, kept_t, link));
    pst_map_release(&r->map);
    free(r);
}

void pst_recent_put(pst_recent_t *r, const pst_id_t *batch, uint32_t segment, uint32_t n, pst_blob_t *pack)
{
    recent_key_t key = {*batch, segment, n};
    kept_t *before = pst_map_get(&r->map, &key, sizeof key);
    if (before)
        drop(r, before);
    if (pack->n > r->bytes_max)
        return;
    while (r->bytes + pack->n > r->bytes_max)
        drop(r, PST_CONTAINER(r->kept.next, kept_t, link));
    kept_t *k = pst_calloc(1, sizeof *k);
    k->key = key;
    k->pack = pst_blob_ref(pack);
    pst_link_init(&k->link);
    pst_link_before(&r->kept, &k->link);
    pst_map_set(&r->map, &key, sizeof key, k);
    r->bytes += pack->n;
}

pst_blob_t *pst_recent_get(const pst_recent_t *r, const pst_id_t *batch, uint32_t segment, uint32_t n)
{
    recent_key_t key = {*batch, segment, n};
    kept_t *k = pst_map_get(&r->map, &key, sizeof key);
    return k ? k->pack : NULL;
}
