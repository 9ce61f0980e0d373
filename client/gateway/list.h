/* list.h - a page of batches, newest first, for every dialect's list and for the page. */
#ifndef PST_GATEWAY_LIST_H
#define PST_GATEWAY_LIST_H

#include "gateway/parts.h"
#include "gateway/record.h"

typedef struct pst_batch_page pst_batch_page_t;
/* ok false: Redis or the broker is away.  p is valid until pst_batch_page_forget, which its owner calls. */
typedef void pst_batch_page_fn(void *arg, const pst_batch_page_t *p, bool ok);
typedef void pst_batch_put_fn(pst_buf_t *b, const pst_batch_t *x, const pst_batch_made_t *made);

/* after: an id that is well formed, or NULL, or "".  limit: 1 … PST_LIST_MAX.  NULL: out of memory, or away; fn is never called
 * before it returns. */
pst_batch_page_t *pst_batch_page_new(pst_gateway_t *g, const char *tenant, const char *after, uint32_t limit,
                                     pst_batch_page_fn *fn, void *arg);
void pst_batch_page_forget(pst_batch_page_t **p);
/* OpenAI's list envelope with each batch as `put` writes it. */
void pst_batch_page_put(const pst_batch_page_t *p, pst_batch_put_fn *put, pst_buf_t *b);
/* For other envelopes: the same batches, borrowed from the page, and their records, NULL for one that did not come over HTTP.
 * Room for as many as were asked for. */
void pst_batch_page_show(const pst_batch_page_t *p, pst_batch_list_t *ret, const pst_record_t **records);
/* The page that a request's `limit` and `after` ask for; fn, whose arg is the request, answers it. */
void pst_batch_page_ask(pst_req_t *r, pst_batch_page_fn *fn);

/* The request's `limit`: 1 … most; false: answered with an error. */
bool pst_list_query(pst_req_t *r, uint32_t most, uint32_t usual, uint32_t *ret);

#endif
