#include "packs.h"

#include "wire/codec.h"

/* Decoded headers of a pack: 256 headers, the rejected lines' messages, and room to spare. */
#define HEADERS_ARENA_BYTES_MAX ((size_t)4 << 20)
#define TEXT_BYTES_MAX ((size_t)PST_LINE_BYTES_MAX + PST_PACK_TEXT_BYTES)

struct pst_packs {
    pst_map_t map; /* pack_key_t -> pst_pack_t */
    pst_link_t idle; /* the longest unused first */
    size_t bytes, bytes_max;
    pst_decompressor_t *decompressor;
};

typedef struct pack_key {
    pst_id_t batch;
    uint32_t segment, pack;
} pack_key_t;

_Static_assert(sizeof(pack_key_t) == 24, "a key without holes, no longer than PST_MAP_KEY_MAX");

pst_packs_t *pst_packs_new(size_t bytes_max, uint64_t seed)
{
    pst_packs_t *p = pst_calloc(1, sizeof *p);
    pst_map_init(&p->map, seed);
    pst_link_init(&p->idle);
    p->bytes_max = bytes_max;
    p->decompressor = pst_decompressor_new();
    PST_ASSERT(p->decompressor);
    return p;
}

static void free_pack(pst_pack_t *k)
{
    pst_link_remove(&k->idle);
    pst_arena_release(&k->arena);
    free(k->text);
    free(k->run);
    free(k->body_at);
    free(k);
}

void pst_packs_destroy(pst_packs_t **p)
{
    if (!p || !*p)
        return;
    pst_packs_t *x = pst_take(p);
    uint32_t i = 0;
    pst_pack_t *k;
    while ((k = pst_map_next(&x->map, &i)))
        free_pack(k);
    pst_map_release(&x->map);
    pst_decompressor_destroy(&x->decompressor);
    free(x);
}

static void drop(pst_pack_t *k)
{
    pst_packs_t *p = k->owner;
    pack_key_t key = {k->batch, k->segment, k->pack};
    pst_map_remove(&p->map, &key, sizeof key);
    p->bytes -= k->bytes;
    free_pack(k);
}

/* Headers are copied first: the group's views die with the message. */
static pst_err_t read_headers(pst_pack_t *k, pst_view_t bytes)
{
    pst_view_t own = pst_arena_copy(&k->arena, bytes);
    if (!own.p)
        return PST_E_NOMEM;
    return pst_pack_headers_decode(own, &k->arena, &k->headers);
}

static bool decompress(pst_packs_t *p, pst_pack_t *k, pst_view_t bodies)
{
    size_t n = k->headers.text_bytes;
    k->text = pst_alloc(PST_MAX(n, (size_t)1));
    return pst_decompress(p->decompressor, k->headers.codec, bodies, k->text, n) == PST_OK;
}

static void read_bodies(pst_packs_t *p, pst_pack_t *k, pst_view_t bodies)
{
    uint32_t jobs = k->headers.jobs_n;
    k->run = pst_calloc(jobs, sizeof *k->run);
    k->body_at = pst_alloc(jobs * sizeof *k->body_at);
    uint32_t at = 0;
    for (uint32_t i = 0; i < jobs; i++) {
        k->body_at[i] = at;
        at += k->headers.jobs[i].body_bytes;
    }
    k->readable = decompress(p, k, bodies);
    k->bytes = sizeof *k + k->arena.bytes + jobs * (sizeof *k->run + sizeof *k->body_at) +
               k->headers.text_bytes;
    if (k->readable)
        return;
    k->bytes -= k->headers.text_bytes;
    free(k->text);
    k->text = NULL;
}

static pst_err_t new_pack(pst_packs_t *p, const pst_task_group_t *g, pst_pack_t **ret)
{
    pst_pack_t *k = pst_calloc(1, sizeof *k);
    k->owner = p;
    k->batch = g->batch;
    k->segment = g->segment;
    k->pack = g->pack;
    k->priority = g->priority;
    pst_link_init(&k->idle);
    pst_arena_init(&k->arena, HEADERS_ARENA_BYTES_MAX);
    pst_err_t e = read_headers(k, g->headers);
    if (!e && k->headers.text_bytes > TEXT_BYTES_MAX)
        e = PST_E_TOO_LARGE;
    if (e) {
        free_pack(k);
        return e;
    }
    read_bodies(p, k, g->bodies);
    p->bytes += k->bytes;
    pack_key_t key = {k->batch, k->segment, k->pack};
    pst_map_set(&p->map, &key, sizeof key, k);
    *ret = k;
    return PST_OK;
}

/* Makes room from what no run uses. */
static void evict(pst_packs_t *p)
{
    while (p->bytes > p->bytes_max && !pst_link_empty(&p->idle))
        drop(PST_CONTAINER(p->idle.next, pst_pack_t, idle));
}

pst_err_t pst_packs_take(pst_packs_t *p, const pst_task_group_t *g, pst_pack_t **ret)
{
    pack_key_t key = {g->batch, g->segment, g->pack};
    pst_pack_t *k = pst_map_get(&p->map, &key, sizeof key);
    if (g->headers.n == 0 && (!k || !k->held))
        return PST_E_NOT_FOUND;
    /* A pack never changes: one that comes again is the one we have. */
    if (!k) {
        pst_err_t e = new_pack(p, g, &k);
        if (e)
            return e;
    }
    k->held = true;
    pst_link_remove(&k->idle);
    evict(p);
    *ret = k;
    return PST_OK;
}

/* Where a pack without runs belongs: nowhere, or among the idle. */
static void put_away(pst_packs_t *p, pst_pack_t *k)
{
    if (k->runs > 0)
        return;
    if (!k->held) {
        drop(k);
        return;
    }
    pst_link_remove(&k->idle);
    pst_link_before(&p->idle, &k->idle);
    evict(p);
}

void pst_packs_settle(pst_packs_t *p, pst_pack_t *k, bool last)
{
    if (last)
        k->held = false;
    put_away(p, k);
}

pst_run_t *pst_packs_run(const pst_packs_t *p, const pst_task_ref_t *ref)
{
    pack_key_t key = {ref->batch, ref->segment, ref->pack};
    const pst_pack_t *k = pst_map_get(&p->map, &key, sizeof key);
    return k && ref->slot < k->headers.jobs_n ? k->run[ref->slot] : NULL;
}

pst_view_t pst_pack_body(const pst_pack_t *k, uint16_t slot)
{
    PST_ASSERT(k->readable && slot < k->headers.jobs_n);
    return pst_view(k->text + k->body_at[slot], k->headers.jobs[slot].body_bytes);
}

void pst_pack_attach(pst_pack_t *k, uint16_t slot, pst_run_t *run)
{
    PST_ASSERT(slot < k->headers.jobs_n && !k->run[slot]);
    k->run[slot] = run;
    k->runs++;
}

void pst_pack_detach(pst_pack_t *k, uint16_t slot)
{
    PST_ASSERT(slot < k->headers.jobs_n && k->run[slot]);
    k->run[slot] = NULL;
    k->runs--;
    put_away(k->owner, k);
}

void pst_packs_forget(pst_packs_t *p)
{
    uint32_t i = 0;
    pst_pack_t *k;
    while ((k = pst_map_next(&p->map, &i))) {
        k->held = false;
        if (k->runs == 0)
            drop(k);
    }
}

bool pst_packs_over(const pst_packs_t *p)
{
    return p->bytes > p->bytes_max;
}

size_t pst_packs_bytes(const pst_packs_t *p)
{
    return p->bytes;
}
