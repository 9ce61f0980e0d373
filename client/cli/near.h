/* near.h - which of some names a person may have meant who wrote another.  Borrows the names.  Pure. */
#ifndef PST_NEAR_H
#define PST_NEAR_H

#include "base/base.h"

#define PST_NEAR_MAX 3

typedef struct pst_near {
    const char *word;
    const char *name[PST_NEAR_MAX]; /* the nearest first; of equally near ones, in the order they came */
    unsigned distance[PST_NEAR_MAX];
    unsigned n;
} pst_near_t;

void pst_near_init(pst_near_t *n, const char *word);
/* Keeps the name if it is like the word, and among the nearest: the same but for the case, the word is a part of it, or up
 * to a third of the word's letters (at least two) are wrong, missing or too many. */
void pst_near_add(pst_near_t *n, const char *name);

#endif
