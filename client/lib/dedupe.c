#include "lib/dedupe.h"

#include <xxhash.h>

#define CAP_BITS_MIN 8

void pst_dedupe_release(pst_dedupe_t *d)
{
    free(d->slot);
    pst_dedupe_init(d, d->seed);
}

/* The slot that holds `hash`, or the free one where it belongs. */
static uint64_t *slot_of(const pst_dedupe_t *d, uint64_t hash)
{
    uint64_t i = hash >> d->shift;
    while (d->slot[i] && d->slot[i] != hash)
        i = (i + 1) & (d->cap - 1);
    return &d->slot[i];
}

/* From one end to the other of both tables. */
static pst_err_t grow(pst_dedupe_t *d)
{
    pst_dedupe_t larger = *d;
    larger.cap = d->cap ? d->cap * 2 : (uint64_t)1 << CAP_BITS_MIN;
    larger.shift = d->cap ? d->shift - 1 : 64 - CAP_BITS_MIN;
    larger.slot = calloc(larger.cap, sizeof *larger.slot);
    if (!larger.slot)
        return PST_E_NOMEM;
    for (uint64_t i = 0; i < d->cap; i++) {
        if (d->slot[i])
            *slot_of(&larger, d->slot[i]) = d->slot[i];
    }
    free(d->slot);
    *d = larger;
    return PST_OK;
}

uint64_t pst_dedupe_hash(const pst_dedupe_t *d, pst_view_t id)
{
    uint64_t hash = XXH3_64bits_withSeed(id.p, id.n, d->seed);
    if (d->cap)
        __builtin_prefetch(&d->slot[hash >> d->shift], 1);
    return hash + (hash == 0);
}

pst_err_t pst_dedupe_add(pst_dedupe_t *d, uint64_t hash, bool *ret_new)
{
    if ((d->n + 1) * 3 > d->cap * 2 && grow(d) != PST_OK)
        return PST_E_NOMEM;
    uint64_t *slot = slot_of(d, hash);
    *ret_new = *slot == 0;
    d->n += *slot == 0;
    *slot = hash;
    return PST_OK;
}
