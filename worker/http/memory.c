#include "http/memory.h"

/* Sizes in steps of a quarter of a power of two: 64, 80, 96, 112, 128, 160, …; above the last one, malloc. */
#define SIZE_MIN_LOG2 6
#define CLASSES (4u * 11u + 1u)
#define NO_CLASS CLASSES

/* In front of each piece. */
typedef struct block {
    struct block *next; /* on a list */
    size_t size;        /* of all, this included */
} block_t;

_Static_assert(sizeof(block_t) % 16 == 0, "what follows is aligned as malloc's");

static __thread bool has_lists;
static block_t *list[CLASSES];
static size_t kept;

static unsigned class_of(size_t size)
{
    if (size <= (size_t)1 << SIZE_MIN_LOG2)
        return 0;
    unsigned log2 = 63u - (unsigned)__builtin_clzll(size - 1);
    unsigned c = 4 * (log2 - SIZE_MIN_LOG2) + (unsigned)((size - 1) >> (log2 - 2) & 3) + 1;
    return PST_MIN(c, NO_CLASS);
}

static size_t size_of(unsigned c)
{
    return c ? (size_t)(4 + (c - 1) % 4 + 1) << ((c - 1) / 4 + SIZE_MIN_LOG2 - 2) : (size_t)1 << SIZE_MIN_LOG2;
}

static block_t *new_block(size_t size)
{
    block_t *b = malloc(size);
    if (b)
        b->size = size;
    return b;
}

void *pst_http_malloc(size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t size = n + sizeof(block_t);
    unsigned c = class_of(size);
    block_t *b = has_lists && c < NO_CLASS ? list[c] : NULL;
    if (b) {
        list[c] = b->next;
        kept -= b->size;
    } else {
        b = new_block(c < NO_CLASS ? size_of(c) : size);
    }
    return b ? b + 1 : NULL;
}

void pst_http_free(void *p)
{
    if (!p)
        return;
    block_t *b = (block_t *)p - 1;
    unsigned c = class_of(b->size);
    if (!has_lists || c == NO_CLASS || kept + b->size > PST_HTTP_MEMORY_KEEP) {
        free(b);
        return;
    }
    b->next = list[c];
    list[c] = b;
    kept += b->size;
}

void *pst_http_calloc(size_t n, size_t size)
{
    size_t bytes;
    void *p = __builtin_mul_overflow(n, size, &bytes) ? NULL : pst_http_malloc(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

void *pst_http_realloc(void *p, size_t n)
{
    size_t room = p ? ((block_t *)p - 1)->size - sizeof(block_t) : 0;
    if (p && n <= room)
        return p;
    void *to = pst_http_malloc(n);
    if (to && p) {
        memcpy(to, p, room);
        pst_http_free(p);
    }
    return to;
}

char *pst_http_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = pst_http_malloc(n);
    return p ? memcpy(p, s, n) : NULL;
}

void pst_http_memory_begin(void)
{
    has_lists = true;
}

void pst_http_memory_end(void)
{
    for (unsigned c = 0; c < CLASSES; c++) {
        while (list[c]) {
            block_t *b = list[c];
            list[c] = b->next;
            kept -= b->size;
            free(b);
        }
    }
    has_lists = false;
}
