/* arena.h - memory of one message or one request, freed at once.
 * Grows by chunks from malloc up to bytes_max; past that, or out of memory, pst_arena_get gives NULL. */
#ifndef PST_ARENA_H
#define PST_ARENA_H

#include "base/base.h"

typedef struct pst_arena_chunk pst_arena_chunk_t;
typedef struct pst_arena {
    pst_arena_chunk_t *head;
    size_t bytes;     /* handed out and reserved so far */
    size_t bytes_max; /* 0 means no limit */
} pst_arena_t;

void pst_arena_init(pst_arena_t *a, size_t bytes_max);
/* Forgets everything, keeps one chunk for reuse. */
void pst_arena_clear(pst_arena_t *a);
void pst_arena_release(pst_arena_t *a);
/* n bytes aligned to 16, not cleared; NULL when over the limit. */
void *pst_arena_get(pst_arena_t *a, size_t n);
/* A NUL-terminated copy; the view excludes the NUL.  {NULL,0} when over the limit. */
pst_view_t pst_arena_copy(pst_arena_t *a, pst_view_t v);
pst_view_t pst_arena_printf(pst_arena_t *a, const char *fmt, ...) PST_PRINTF(2, 3);

#endif
