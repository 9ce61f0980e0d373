#include "lib/dedupe.h"

#include <xxhash.h>

#define CAP_MIN ((uint64_t)256)

void pst_dedupe_release(pst_dedupe_t *d)
{
    free(d->slot);
    pst_dedupe_init(d, d->seed);
}

/* The slot that holds `hash`, or the free one where it belongs. */
static uint64_t *slot_of(uint64_t *slot, uint64_t cap, uint64_t hash)
{
    uint64_t i = hash & (cap - 1);
    while (slot[i] && slot[i] != hash)
        i = (i + 1) & (cap - 1);
    return &slot[i];
}

static pst_err_t grow(pst_dedupe_t *d)
{
    uint64_t cap = d->cap ? d->cap * 2 : CAP_MIN;
    uint64_t *slot = calloc(cap, sizeof *slot);
    if (!slot)
        return PST_E_NOMEM;
    for (uint64_t i = 0; i < d->cap; i++) {
        if (d->slot[i])
            *slot_of(slot, cap, d->slot[i]) = d->slot[i];
    }
    free(d->slot);
    d->slot = slot;
    d->cap = cap;
    return PST_OK;
}

pst_err_t pst_dedupe_add(pst_dedupe_t *d, pst_view_t id, bool *ret_new)
{
    if ((d->n + 1) * 3 > d->cap * 2 && grow(d) != PST_OK)
        return PST_E_NOMEM;
    uint64_t hash = XXH3_64bits_withSeed(id.p, id.n, d->seed);
    hash += hash == 0;
    uint64_t *slot = slot_of(d->slot, d->cap, hash);
    *ret_new = *slot == 0;
    d->n += *slot == 0;
    *slot = hash;
    return PST_OK;
}
