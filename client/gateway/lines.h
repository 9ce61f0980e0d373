/* lines.h - a batch's results as text, made of its result packs when it is read, also while the batch runs.  Nothing of it is
 * stored, and only a little of it is ever there: no more is asked for than is taken. */
#ifndef PST_GATEWAY_LINES_H
#define PST_GATEWAY_LINES_H

#include "gateway/parts.h"
#include "lib/reader.h"

typedef struct pst_lines pst_lines_t;

/* Appends what stands for one result, or nothing. */
typedef pst_err_t pst_lines_put_fn(void *arg, pst_reader_t *reader, const pst_result_t *result, pst_buf_t *out);

typedef struct pst_lines_opts {
    pst_gateway_t *g;
    pst_id_t batch;
    const char *tail;             /* after the last; NULL: nothing.  Borrowed */
    pst_lines_put_fn *put;
    void (*more)(void *arg);      /* after PST_PULL_WAIT: there is more now */
    void *arg;
} pst_lines_opts_t;

/* NULL: out of memory. */
pst_lines_t *pst_lines_new(const pst_lines_opts_t *o);
void pst_lines_destroy(pst_lines_t **l);
/* Where what stands before the first is put. */
pst_buf_t *pst_lines_head(pst_lines_t *l);
/* As pst_pull_fn. */
ptrdiff_t pst_lines_pull(pst_lines_t *l, char *to, size_t room);
/* Throws away what there is: how many bytes, or as pst_lines_pull. */
ptrdiff_t pst_lines_skip(pst_lines_t *l);

#endif
