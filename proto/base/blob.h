/* blob.h - an immutable, reference-counted run of bytes: a pack's headers or bodies on its way through a
 * process without being copied.  Not thread-safe: one thread owns all references. */
#ifndef PST_BLOB_H
#define PST_BLOB_H

#include "base/base.h"

typedef struct pst_blob {
    uint32_t refs;
    size_t n;
    char p[];
} pst_blob_t;

pst_blob_t *pst_blob_new(const void *p, size_t n); /* copies; p may be NULL: contents undefined */
static inline pst_blob_t *pst_blob_ref(pst_blob_t *b)
{
    if (b)
        b->refs++;
    return b;
}
void pst_blob_unref(pst_blob_t **b); /* NULL-safe; sets *b to NULL */
static inline pst_view_t pst_blob_view(const pst_blob_t *b) { return b ? pst_view(b->p, b->n) : pst_view(NULL, 0); }

#endif
