#include "base/blob.h"

pst_blob_t *pst_blob_new(const void *p, size_t n)
{
    pst_blob_t *b = pst_alloc(sizeof *b + n);
    b->refs = 1;
    b->n = n;
    if (p && n)
        memcpy(b->p, p, n);
    return b;
}

void pst_blob_unref(pst_blob_t **b)
{
    pst_blob_t *x = *b;
    *b = NULL;
    if (!x)
        return;
    PST_ASSERT(x->refs > 0);
    if (--x->refs == 0)
        free(x);
}
