#include "cli/near.h"

#include <ctype.h>
#include <strings.h>

#define NAME_BYTES_MAX 256 /* longer ones are like nothing */

void pst_near_init(pst_near_t *n, const char *word)
{
    *n = (pst_near_t){.word = word};
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    return PST_MIN(PST_MIN(a, b), c);
}

/* Levenshtein's, without case: letters changed, missing or too many.  One row of his table, written over and over. */
static unsigned edits(const char *a, const char *b)
{
    unsigned row[NAME_BYTES_MAX + 1];
    size_t n = strlen(b);
    for (size_t k = 0; k <= n; k++)
        row[k] = (unsigned)k;
    for (size_t i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t k = 0; k < n; k++) {
            unsigned changed = diagonal + (tolower((unsigned char)a[i]) != tolower((unsigned char)b[k]));
            diagonal = row[k + 1];
            row[k + 1] = least(changed, row[k] + 1, diagonal + 1);
        }
    }
    return row[n];
}

static bool contains(const char *name, const char *word, size_t n)
{
    for (; *name; name++) {
        if (strncasecmp(name, word, n) == 0)
            return true;
    }
    return false;
}

/* A name that only has more than the word comes before one that has a letter of it wrong. */
static bool like(const char *word, const char *name, unsigned *ret)
{
    size_t n = strlen(word);
    if (n == 0 || n > NAME_BYTES_MAX || strlen(name) > NAME_BYTES_MAX)
        return false;
    if (contains(name, word, n)) {
        *ret = 0;
        return true;
    }
    *ret = edits(word, name);
    return *ret <= PST_MAX(n / 3, (size_t)2);
}

void pst_near_add(pst_near_t *n, const char *name)
{
    unsigned distance;
    if (!like(n->word, name, &distance))
        return;
    unsigned at = n->n;
    while (at > 0 && n->distance[at - 1] > distance)
        at--;
    if (at == PST_NEAR_MAX)
        return;
    n->n = PST_MIN(n->n + 1, (unsigned)PST_NEAR_MAX);
    for (unsigned i = n->n - 1; i > at; i--) {
        n->name[i] = n->name[i - 1];
        n->distance[i] = n->distance[i - 1];
    }
    n->name[at] = name;
    n->distance[at] = distance;
}
