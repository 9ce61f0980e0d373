/* buf.h - a growable byte buffer with a ceiling.  A write past the ceiling, or out of memory, sets
 * `failed` and changes nothing more; the caller checks once at the end. */
#ifndef PST_BUF_H
#define PST_BUF_H

#include "base/base.h"

typedef struct pst_buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max; /* ceiling in bytes, 0 means none */
    bool failed;
} pst_buf_t;

void pst_buf_init(pst_buf_t *b, size_t max);
void pst_buf_clear(pst_buf_t *b);   /* n = 0, failed = false, memory kept */
void pst_buf_release(pst_buf_t *b); /* memory freed, ready for reuse */
/* Room for n more bytes, returned writable; NULL (and failed) if there is none. n is not advanced. */
char *pst_buf_reserve(pst_buf_t *b, size_t n);
/* About n more bytes are to come: grows once, now.  Too high or too low a guess does no harm. */
void pst_buf_expect(pst_buf_t *b, size_t n);
/* pst_buf_put where it has to grow, or cannot. */
void pst_buf_put_growing(pst_buf_t *b, const void *p, size_t n);
void pst_buf_printf(pst_buf_t *b, const char *fmt, ...) PST_PRINTF(2, 3);
/* Steals the memory (malloc'd, *ret_n bytes, NUL-terminated); the buffer is empty after. NULL if failed. */
char *pst_buf_detach(pst_buf_t *b, size_t *ret_n);

/* Texts are made of thousands of these: what fits is copied here. */
static inline void pst_buf_put(pst_buf_t *b, const void *p, size_t n)
{
    if (n == 0 || n > b->cap - b->n || b->failed) {
        pst_buf_put_growing(b, p, n);
        return;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void pst_buf_putv(pst_buf_t *b, pst_view_t v) { pst_buf_put(b, v.p, v.n); }
static inline void pst_buf_puts(pst_buf_t *b, const char *s) { pst_buf_put(b, s, strlen(s)); }
static inline void pst_buf_putc(pst_buf_t *b, char c) { pst_buf_put(b, &c, 1); }
/* For a URL: %XX but for letters, digits, - _ . ~ and `also`. */
void pst_buf_put_percent(pst_buf_t *b, pst_view_t v, char also);
static inline pst_view_t pst_buf_view(const pst_buf_t *b) { return pst_view(b->p, b->n); }

#endif
