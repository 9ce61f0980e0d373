/* catalog_source.h - what the readers of the two sources share.  Private to catalog_*.c. */
#ifndef PST_CATALOG_SOURCE_H
#define PST_CATALOG_SOURCE_H

#include "cli/catalog.h"

typedef enum pst_catalog_usd { PST_USD_ABSENT, PST_USD_GOOD, PST_USD_NEGATIVE, PST_USD_WRONG } pst_catalog_usd_t;

/* The price that token `at` is, a number or a decimal in a string, times `scale`.  *ret is set if it is GOOD. */
pst_catalog_usd_t pst_catalog_usd(const pst_catalog_t *c, uint32_t at, double scale, double *ret);
/* The count of tokens there; 0 if there is none that an entry can say. */
uint32_t pst_catalog_tokens(const pst_catalog_t *c, uint32_t obj, const char *key);
/* The string there, decoded; empty if there is none. */
pst_view_t pst_catalog_text(pst_catalog_t *c, uint32_t obj, const char *key);
bool pst_catalog_begins(pst_view_t v, const char *prefix);

/* Counts one that is left out; `what` may be empty. */
void pst_catalog_skip(pst_catalog_t *c, pst_catalog_skip_t reason, pst_view_t what);
/* Adds an entry that has no name yet, unless its model's cannot be used. */
void pst_catalog_add(pst_catalog_t *c, const pst_catalog_entry_t *e);

/* The readers, of a root that pst_catalog_read has recognized. */
void pst_catalog_litellm(pst_catalog_t *c);
void pst_catalog_openrouter_models(pst_catalog_t *c, uint32_t list);
void pst_catalog_openrouter_endpoints(pst_catalog_t *c, uint32_t model);

#endif
