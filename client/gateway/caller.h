/* caller.h - who makes a request, by its key: what it sees, what it may, what it spends. */
#ifndef PST_GATEWAY_CALLER_H
#define PST_GATEWAY_CALLER_H

#include "gateway/keys.h"
#include "gateway/web.h"
#include "lib/line.h"

#define PST_KEY_COOKIE "penstock_key"

/* For the web: finds the key of a request, or answers it (401).  Where no key was ever made everybody passes. */
bool pst_caller_allow(pst_req_t *r);
/* At its end: what was admitted is released, the key let go. */
void pst_caller_done(pst_req_t *r);

/* Whether nobody passes without a key. */
bool pst_caller_needs_key(const pst_req_t *r);
/* The key of that text, or (NULL) of the request: as pst_keys_find, to be dropped.  PST_E_NOT_FOUND too if it brings none. */
PST_MUSTCHECK pst_err_t pst_caller_find(const pst_req_t *r, const char *secret, const pst_key_t **ret);
/* Whether a request that was allowed once would be now: for those that last. */
bool pst_caller_stands(const pst_req_t *r);

/* NULL: nobody in particular, who may everything. */
const pst_key_t *pst_caller_key(const pst_req_t *r);
/* Whose objects it sees: "" for keys without a tenant, and where no key is asked for. */
const char *pst_gw_tenant(const pst_req_t *r);
/* Whether what belongs to `tenant` is shown to it: everything to who has none. */
bool pst_gw_sees(const pst_req_t *r, const char *tenant);

/* What a key may ask for, as a rule for lines; it lives as long as the key.  false: everything. */
bool pst_key_rule(const pst_key_t *key, pst_line_rule_t *ret);

/* Counts a request that costs something against the limits of its key; once a request.  false: refused, and answered (429, 402).
 * tokens: what it is expected to take. */
bool pst_caller_admit(pst_req_t *r, uint64_t tokens);
/* What it did take, told before its end. */
void pst_caller_took(pst_req_t *r, uint64_t tokens, uint64_t nano);

#endif
