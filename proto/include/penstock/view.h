/* view.h - bytes that somebody else owns.  A view is valid as long as its owner says. */
#ifndef PENSTOCK_VIEW_H
#define PENSTOCK_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct pst_view {
    const char *p; /* may be NULL when n is 0 */
    size_t n;
} pst_view_t;

#define PST_VIEW_LIT(s) ((pst_view_t){"" s, sizeof(s) - 1})

static inline pst_view_t pst_view(const void *p, size_t n)
{
    pst_view_t v = {(const char *)p, n};
    return v;
}

static inline pst_view_t pst_view_str(const char *s)
{
    return pst_view(s, s ? strlen(s) : 0);
}

static inline bool pst_view_eq(pst_view_t a, pst_view_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool pst_view_eqs(pst_view_t a, const char *s)
{
    return pst_view_eq(a, pst_view_str(s));
}

#endif
