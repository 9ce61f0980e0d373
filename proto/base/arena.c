#include "base/arena.h"

#include <stdio.h>

#define ALIGN 16
#define CHUNK_MIN ((size_t)4096)
#define CHUNK_MAX ((size_t)64 << 10)
/* pst_arena_clear keeps no chunk above this: one huge message must not hold memory for ever. */
#define KEEP_MAX ((size_t)1 << 20)

struct pst_arena_chunk {
    pst_arena_chunk_t *next;
    size_t used;
    size_t cap;
    _Alignas(ALIGN) char p[];
};

void pst_arena_init(pst_arena_t *a, size_t bytes_max)
{
    *a = (pst_arena_t){.bytes_max = bytes_max};
}

static void free_chunks(pst_arena_chunk_t *c)
{
    while (c) {
        pst_arena_chunk_t *next = c->next;
        free(c);
        c = next;
    }
}

void pst_arena_clear(pst_arena_t *a)
{
    pst_arena_chunk_t *keep = a->head;
    if (!keep)
        return;
    free_chunks(keep->next);
    keep->next = NULL;
    keep->used = 0;
    a->bytes = keep->cap;
    if (keep->cap > KEEP_MAX)
        pst_arena_release(a);
}

void pst_arena_release(pst_arena_t *a)
{
    free_chunks(a->head);
    a->head = NULL;
    a->bytes = 0;
}

/* Chunks double with what is reserved already, so that a large message takes few of them. */
static size_t chunk_size(const pst_arena_t *a, size_t n, size_t room)
{
    size_t want = PST_MIN(PST_MAX(a->bytes, CHUNK_MIN), CHUNK_MAX);
    return PST_MIN(PST_MAX(want, n), room);
}

static pst_arena_chunk_t *add_chunk(pst_arena_t *a, size_t n)
{
    size_t room = a->bytes_max ? a->bytes_max - a->bytes : SIZE_MAX;
    if (n > room)
        return NULL;
    size_t cap = chunk_size(a, n, room);
    pst_arena_chunk_t *c = malloc(sizeof *c + cap);
    if (!c)
        return NULL;
    c->used = 0;
    c->cap = cap;
    a->bytes += cap;
    /* One that its first user fills goes behind the head, whose free tail stays in use. */
    if (a->head && n == cap) {
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c;
}

void *pst_arena_get(pst_arena_t *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    pst_arena_chunk_t *c = a->head;
    size_t at = c ? (c->used + ALIGN - 1) & ~(size_t)(ALIGN - 1) : 0;
    if (!c || at > c->cap || n > c->cap - at) {
        c = add_chunk(a, n);
        at = 0;
    }
    if (!c)
        return NULL;
    c->used = at + n;
    return c->p + at;
}

pst_view_t pst_arena_copy(pst_arena_t *a, pst_view_t v)
{
    char *p = v.n < SIZE_MAX ? pst_arena_get(a, v.n + 1) : NULL;
    if (!p)
        return pst_view(NULL, 0);
    if (v.n)
        memcpy(p, v.p, v.n);
    p[v.n] = '\0';
    return pst_view(p, v.n);
}

pst_view_t pst_arena_printf(pst_arena_t *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n >= 0 ? pst_arena_get(a, (size_t)n + 1) : NULL;
    if (!p)
        return pst_view(NULL, 0);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return pst_view(p, (size_t)n);
}
