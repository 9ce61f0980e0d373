/* import_elements.h - requests of OpenRouter's form, one a line of a stored file, into lines of ours: what its batch says of all
 * of them, which may have come after them, is put into each.  Pure but for memory. */
#ifndef PST_GATEWAY_IMPORT_ELEMENTS_H
#define PST_GATEWAY_IMPORT_ELEMENTS_H

#include "gateway/openrouter.h"

typedef struct pst_elements pst_elements_t;

/* Of what the batch says its endpoint, model and provider are used; borrowed.  NULL: out of memory. */
pst_elements_t *pst_elements_new(const pst_openrouter_submit_t *batch);
void pst_elements_destroy(pst_elements_t **e);
/* Text, cut anywhere, borrowed until there is no more of it. */
void pst_elements_feed(pst_elements_t *e, pst_view_t text);
/* The next line, with its line feed, until the next call; empty: there is none before more is fed.  PST_E_INPUT: a request
 * cannot be said in our words, *why tells which and why; PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_elements_next(pst_elements_t *e, pst_view_t *ret, pst_errbuf_t *why);

#endif
