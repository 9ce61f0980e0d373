#include "base/map.h"

#include <xxhash.h>

#define CAP_MIN 16u

enum { FREE, USED, DELETED };

void pst_map_init(pst_map_t *m, uint64_t seed)
{
    *m = (pst_map_t){.seed = seed};
}

void pst_map_release(pst_map_t *m)
{
    free(m->v);
    pst_map_init(m, m->seed);
}

static uint32_t hash_of(const pst_map_t *m, const void *key, size_t n)
{
    return (uint32_t)XXH3_64bits_withSeed(key, n, m->seed);
}

static bool matches(const pst_map_slot_t *s, uint32_t hash, const void *key, size_t n)
{
    return s->state == USED && s->hash == hash && s->n == n &&
           (n == 0 || memcmp(s->key, key, n) == 0);
}

/* A free slot always exists (used <= 70 % of cap), so that every probe ends. */
static pst_map_slot_t *find(const pst_map_t *m, uint32_t hash, const void *key, size_t n)
{
    if (m->n == 0)
        return NULL;
    uint32_t mask = m->cap - 1;
    for (uint32_t i = hash & mask; m->v[i].state != FREE; i = (i + 1) & mask) {
        if (matches(&m->v[i], hash, key, n))
            return &m->v[i];
    }
    return NULL;
}

void *pst_map_get(const pst_map_t *m, const void *key, size_t n)
{
    if (n > PST_MAP_KEY_MAX)
        return NULL;
    pst_map_slot_t *s = find(m, hash_of(m, key, n), key, n);
    return s ? s->value : NULL;
}

/* The first slot on the hash's way that holds nothing. */
static pst_map_slot_t *vacancy(const pst_map_t *m, uint32_t hash)
{
    uint32_t mask = m->cap - 1;
    uint32_t i = hash & mask;
    while (m->v[i].state == USED)
        i = (i + 1) & mask;
    return &m->v[i];
}

static void rehash(pst_map_t *m, uint32_t cap)
{
    pst_map_slot_t *old = m->v;
    uint32_t old_cap = m->cap;
    m->v = pst_calloc(cap, sizeof *m->v);
    m->cap = cap;
    m->used = m->n;
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i].state == USED)
            *vacancy(m, old[i].hash) = old[i];
    }
    free(old);
}

/* At 70 % the table doubles, unless most of what fills it is deleted: then that is swept out. */
static void make_room(pst_map_t *m)
{
    if (((uint64_t)m->used + 1) * 10 <= (uint64_t)m->cap * 7)
        return;
    bool sweep = m->cap && m->n < m->used / 2;
    PST_ASSERT(sweep || m->cap <= UINT32_MAX / 2);
    rehash(m, sweep ? m->cap : PST_MAX(m->cap * 2, CAP_MIN));
}

void pst_map_set(pst_map_t *m, const void *key, size_t n, void *value)
{
    PST_ASSERT(value && n <= PST_MAP_KEY_MAX);
    uint32_t hash = hash_of(m, key, n);
    pst_map_slot_t *s = find(m, hash, key, n);
    if (s) {
        s->value = value;
        return;
    }
    make_room(m);
    s = vacancy(m, hash);
    m->used += s->state == FREE;
    m->n++;
    *s = (pst_map_slot_t){.value = value, .hash = hash, .state = USED, .n = (uint8_t)n};
    if (n)
        memcpy(s->key, key, n);
}

/* A deleted slot is there for probes to pass over: needless when the next slot is free. */
static void vacate(pst_map_t *m, pst_map_slot_t *s)
{
    uint32_t mask = m->cap - 1;
    uint32_t i = (uint32_t)(s - m->v);
    s->value = NULL;
    s->state = DELETED;
    if (m->v[(i + 1) & mask].state != FREE)
        return;
    for (; m->v[i].state == DELETED; i = (i - 1) & mask) {
        m->v[i].state = FREE;
        m->used--;
    }
}

void *pst_map_remove(pst_map_t *m, const void *key, size_t n)
{
    if (n > PST_MAP_KEY_MAX)
        return NULL;
    pst_map_slot_t *s = find(m, hash_of(m, key, n), key, n);
    if (!s)
        return NULL;
    void *value = s->value;
    m->n--;
    vacate(m, s);
    return value;
}

void *pst_map_next(const pst_map_t *m, uint32_t *i)
{
    while (*i < m->cap) {
        const pst_map_slot_t *s = &m->v[(*i)++];
        if (s->state == USED)
            return s->value;
    }
    return NULL;
}
