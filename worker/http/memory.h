/* memory.h - curl's memory.
 *
 * Curl asks for some thirty pieces of memory a call and gives them back at its end, many of sizes for which malloc
 * has no short way: over HTTP/2, 6 % of the instructions that a worker spends on a call.  Here a piece that comes back
 * goes on a list of its size and is given out again from there, the latest first.  At most PST_HTTP_MEMORY_KEEP bytes
 * rest on the lists.
 *
 * Only the thread that began has lists; in curl's resolver threads this is malloc, and what one thread took the other
 * may give back. */
#ifndef PST_HTTP_MEMORY_H
#define PST_HTTP_MEMORY_H

#include "base/base.h"

#define PST_HTTP_MEMORY_KEEP ((size_t)64 << 20)

void pst_http_memory_begin(void);
/* Frees what rests on the lists. */
void pst_http_memory_end(void);

/* As malloc, calloc, realloc, free and strdup. */
void *pst_http_malloc(size_t n);
void *pst_http_calloc(size_t n, size_t size);
void *pst_http_realloc(void *p, size_t n);
void pst_http_free(void *p);
char *pst_http_strdup(const char *s);

#endif
