/* base.h - the few things every module uses: assertions, time, cleanup, allocation.
 *
 * Three kinds of failure: a bug asserts (in every build), an operating error is a pst_err_t, and
 * running out of memory aborts the daemons through pst_alloc (proto and client use malloc and
 * return PST_E_NOMEM, because they live in other people's processes). */
#ifndef PST_BASE_H
#define PST_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/err.h"
#include "penstock/view.h"

/* Nanoseconds.  Monotonic unless the name says wall.  Read once per loop turn and passed down. */
typedef uint64_t pst_ns_t;
#define PST_NEVER UINT64_MAX
#define PST_US ((pst_ns_t)1000)
#define PST_MS ((pst_ns_t)1000000)
#define PST_SEC ((pst_ns_t)1000000000)

/* now + d, never wrapping past PST_NEVER. */
static inline pst_ns_t pst_ns_add(pst_ns_t now, pst_ns_t d)
{
    return d > PST_NEVER - now ? PST_NEVER : now + d;
}
static inline pst_ns_t pst_ns_min(pst_ns_t a, pst_ns_t b)
{
    return a < b ? a : b;
}
/* Time passed since `then`, 0 if `then` lies ahead. */
static inline pst_ns_t pst_ns_since(pst_ns_t now, pst_ns_t then)
{
    return now > then ? now - then : 0;
}

_Noreturn void pst_assert_fail(const char *expr, const char *file, int line);
#define PST_ASSERT(e) ((e) ? (void)0 : pst_assert_fail(#e, __FILE__, __LINE__))

#define PST_MUSTCHECK __attribute__((warn_unused_result))
#define PST_PRINTF(a, b) __attribute__((format(printf, a, b)))

/* pst_auto(pst_foo) x = …; is destroyed on every path out of the scope; pst_take(&x) hands it on. */
#define pst_auto(T) __attribute__((cleanup(T##_destroy))) T##_t *
#define pst_take(pp)                                                                               \
    ({                                                                                             \
        __typeof__(*(pp)) v_ = *(pp);                                                              \
        *(pp) = NULL;                                                                              \
        v_;                                                                                        \
    })

/* Human detail of an error, filled by the one who refuses: "what is wrong: what to do". */
typedef struct pst_errbuf {
    char text[512];
} pst_errbuf_t;
/* Formats into eb (NULL allowed) and returns e, so that a caller can `return pst_errf(…)`. */
pst_err_t pst_errf(pst_errbuf_t *eb, pst_err_t e, const char *fmt, ...) PST_PRINTF(3, 4);

/* Daemons' allocation: abort with a message instead of returning NULL. */
void *pst_alloc(size_t n);            /* not cleared */
void *pst_calloc(size_t n, size_t size);
#define PST_LINE 64 /* bytes of a line of the cache */
void *pst_calloc_line(size_t n);      /* begins a line, so that what a struct has first is in as few lines as may be; free() */
void *pst_realloc(void *p, size_t n);
/* Makes room for one more in a growing array. */
#define pst_grow(v, n, cap)                                                                       \
    do {                                                                                           \
        if ((n) == (cap)) {                                                                        \
            (cap) = (cap) ? (cap) * 2 : 8;                                                         \
            (v) = pst_realloc((v), (size_t)(cap) * sizeof *(v));                                   \
        }                                                                                          \
    } while (0)
char *pst_strdup_view(pst_view_t v);  /* NUL-terminated copy */

#define PST_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PST_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PST_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
