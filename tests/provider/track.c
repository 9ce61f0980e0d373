#include "track.h"

#include "jscan.h"

#include <pthread.h>

#define SHARDS 64
#define SLOTS_MIN 64
#define REPEATS_MAX 1000
#define PREFIX_BYTES_MAX 64

typedef struct slot {
    uint64_t hash; /* 0: free */
    sim_calls_t calls;
} slot_t;

typedef struct shard {
    pthread_mutex_t lock;
    slot_t *v;
    size_t n, cap; /* cap: a power of two */
    sim_track_sums_t sums;
} shard_t;

typedef struct repeat {
    uint64_t hash;
    uint8_t n;
    char prefix[PREFIX_BYTES_MAX];
} repeat_t;

struct sim_track {
    shard_t shard[SHARDS];
    pthread_mutex_t repeats_lock;
    unsigned repeats;
    repeat_t repeat[REPEATS_MAX];
};

/* Every step can be undone, so it is one to one. */
uint64_t sim_scramble(uint64_t x)
{
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 32;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd1b54a32d192ed03u);
    return sim_scramble((uint64_t)m ^ (uint64_t)(m >> 64) ^ a);
}

uint64_t sim_hash(pst_view_t text)
{
    uint64_t h = text.n, w;
    const char *p = text.p;
    size_t n = text.n;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        h = sim_mix(h, w);
    }
    w = 0;
    if (n)
        memcpy(&w, p, n);
    h = sim_mix(h, w);
    return h ? h : 1;
}

sim_track_t *sim_track_new(void)
{
    sim_track_t *t = pst_calloc(1, sizeof *t);
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&t->shard[i].lock, NULL);
        t->shard[i].cap = SLOTS_MIN;
        t->shard[i].v = pst_calloc(SLOTS_MIN, sizeof *t->shard[i].v);
    }
    pthread_mutex_init(&t->repeats_lock, NULL);
    return t;
}

void sim_track_destroy(sim_track_t **t)
{
    if (!*t)
        return;
    for (unsigned i = 0; i < SHARDS; i++)
        free((*t)->shard[i].v);
    free(*t);
    *t = NULL;
}

static slot_t *find(const shard_t *s, uint64_t hash)
{
    size_t mask = s->cap - 1, at = hash & mask;
    while (s->v[at].hash && s->v[at].hash != hash)
        at = (at + 1) & mask;
    return &s->v[at];
}

static void grow(shard_t *s)
{
    shard_t bigger = {.cap = s->cap * 2, .v = pst_calloc(s->cap * 2, sizeof *s->v)};
    for (size_t i = 0; i < s->cap; i++) {
        if (s->v[i].hash)
            *find(&bigger, s->v[i].hash) = s->v[i];
    }
    free(s->v);
    s->v = bigger.v;
    s->cap = bigger.cap;
}

/* The shard of a hash, locked.  Its number comes from the top bits, the place in it from the low
 * ones. */
static shard_t *enter(sim_track_t *t, uint64_t hash)
{
    shard_t *s = &t->shard[hash >> 58];
    pthread_mutex_lock(&s->lock);
    return s;
}

static slot_t *find_or_add(shard_t *s, uint64_t hash)
{
    slot_t *x = find(s, hash);
    if (x->hash)
        return x;
    if (s->n >= s->cap / 4 * 3) {
        grow(s);
        x = find(s, hash);
    }
    s->n++;
    x->hash = hash;
    return x;
}

uint32_t sim_track_try(sim_track_t *t, uint64_t hash)
{
    shard_t *s = enter(t, hash);
    uint32_t n = ++find_or_add(s, hash)->calls.tries;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Cuts at a character's start, so that what is kept is still UTF-8. */
static size_t prefix_len(pst_view_t text)
{
    if (text.n <= PREFIX_BYTES_MAX)
        return text.n;
    size_t n = PREFIX_BYTES_MAX;
    while (n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static void note_repeat(sim_track_t *t, uint64_t hash, pst_view_t text)
{
    pthread_mutex_lock(&t->repeats_lock);
    if (t->repeats < REPEATS_MAX) {
        repeat_t *r = &t->repeat[t->repeats++];
        r->hash = hash;
        r->n = (uint8_t)prefix_len(text);
        memcpy(r->prefix, text.p ? text.p : "", r->n);
    }
    pthread_mutex_unlock(&t->repeats_lock);
}

void sim_track_accept(sim_track_t *t, uint64_t hash, pst_view_t text)
{
    shard_t *s = enter(t, hash);
    uint32_t n = ++find_or_add(s, hash)->calls.accepted;
    if (n == 1)
        s->sums.unique_texts++;
    if (n == 2)
        s->sums.repeated_texts++;
    if (n >= 2)
        s->sums.calls_of_repeated += n == 2 ? 2 : 1;
    pthread_mutex_unlock(&s->lock);
    if (n == 2)
        note_repeat(t, hash, text);
}

void sim_track_answer(sim_track_t *t, uint64_t hash)
{
    shard_t *s = enter(t, hash);
    uint32_t n = ++find_or_add(s, hash)->calls.answered;
    if (n == 1)
        s->sums.answered_texts++;
    else
        s->sums.answered_again++;
    pthread_mutex_unlock(&s->lock);
}

sim_calls_t sim_track_get(sim_track_t *t, uint64_t hash)
{
    shard_t *s = enter(t, hash);
    sim_calls_t c = find(s, hash)->calls;
    pthread_mutex_unlock(&s->lock);
    return c;
}

sim_track_sums_t sim_track_sums(sim_track_t *t)
{
    sim_track_sums_t sums = {0};
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_t *s = &t->shard[i];
        pthread_mutex_lock(&s->lock);
        sums.unique_texts += s->sums.unique_texts;
        sums.repeated_texts += s->sums.repeated_texts;
        sums.calls_of_repeated += s->sums.calls_of_repeated;
        sums.answered_texts += s->sums.answered_texts;
        sums.answered_again += s->sums.answered_again;
        pthread_mutex_unlock(&s->lock);
    }
    return sums;
}

void sim_track_put_repeats(sim_track_t *t, pst_buf_t *b)
{
    pthread_mutex_lock(&t->repeats_lock);
    pst_buf_putc(b, '[');
    for (unsigned i = 0; i < t->repeats; i++) {
        const repeat_t *r = &t->repeat[i];
        sim_calls_t c = sim_track_get(t, r->hash);
        pst_buf_puts(b, i ? ",{\"text\":" : "{\"text\":");
        sim_js_put(b, pst_view(r->prefix, r->n));
        pst_buf_printf(b, ",\"calls\":%u,\"answered\":%u}", c.accepted, c.answered);
    }
    pst_buf_putc(b, ']');
    pthread_mutex_unlock(&t->repeats_lock);
}

void sim_track_reset(sim_track_t *t)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_t *s = &t->shard[i];
        pthread_mutex_lock(&s->lock);
        memset(s->v, 0, s->cap * sizeof *s->v);
        s->n = 0;
        s->sums = (sim_track_sums_t){0};
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_lock(&t->repeats_lock);
    t->repeats = 0;
    pthread_mutex_unlock(&t->repeats_lock);
}
