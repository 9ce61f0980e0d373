#include "gateway/caller.h"

#include <stdio.h>

#include "gateway/parts.h"
#include "proc/clock.h"

typedef struct caller {
    const pst_key_t *key;
    bool admitted;
    pst_admission_t admission;
    uint64_t tokens, nano;    /* taken */
} caller_t;

static pst_keys_time_t now_of(const pst_gateway_t *g)
{
    return (pst_keys_time_t){.mono = pst_loop_now(g->loop), .wall_ms = pst_clock_wall_ms()};
}

/* The key of a request, in any of the ways that SDKs and the page send it. */
static const char *secret_of(const pst_req_t *r)
{
    const char *text = pst_req_header(r, "Authorization");
    if (text && strncasecmp(text, "Bearer ", 7) == 0)
        return text + 7;
    text = pst_req_header(r, "x-api-key");
    return text ? text : pst_req_cookie(r, PST_KEY_COOKIE);
}

bool pst_caller_needs_key(const pst_req_t *r)
{
    const pst_gateway_t *g = pst_gw(r);
    return pst_keys_needed(g->keys) || !g->loopback;
}

pst_err_t pst_caller_find(const pst_req_t *r, const char *secret, const pst_key_t **ret)
{
    pst_gateway_t *g = pst_gw(r);
    secret = secret ? secret : secret_of(r);
    return secret ? pst_keys_find(g->keys, pst_view_str(secret), now_of(g), ret) : PST_E_NOT_FOUND;
}

bool pst_caller_stands(const pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    const pst_key_t *key = NULL;
    pst_err_t e = pst_caller_needs_key(r) ? pst_caller_find(r, NULL, &key) : PST_OK;
    pst_keys_drop(g->keys, &key);
    return !e || e == PST_E_LOADING;
}

static void refuse(pst_req_t *r, pst_err_t e)
{
    if (e == PST_E_LOADING) {
        pst_reply_away(r);
        return;
    }
    pst_req_answer_header(r, "www-authenticate", "Bearer");
    pst_reply_error(r, 401, "invalid_api_key", NULL, e == PST_E_STATE ? "This API key has expired." :
                    "Incorrect API key provided. Keys are made with `penstock keys create`.");
}

/* A name of this machine, with any port. */
static bool is_loopback_name(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < PST_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) == 0 && (host[n] == '\0' || host[n] == ':'))
            return true;
    }
    return false;
}

/* Where no key is asked for, whoever reaches this machine's loopback spends its money: so does a browser, for any page it
 * shows, from another site (its origin is not ours) or from one whose name was turned to point here (we are called by
 * that name). */
static bool is_from_elsewhere(const pst_req_t *r)
{
    const char *host = pst_req_header(r, "Host"), *origin = pst_req_header(r, "Origin");
    const char *site = pst_req_header(r, "sec-fetch-site");
    if (host && !is_loopback_name(host))
        return true;
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return true;
    const char *named = origin ? strstr(origin, "://") : NULL;
    return origin && !(named && host && strcasecmp(named + 3, host) == 0);
}

bool pst_caller_allow(pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    if (!pst_caller_needs_key(r)) {
        bool elsewhere = is_from_elsewhere(r);
        if (elsewhere)
            pst_reply_error(r, 403, NULL, NULL, "This gateway has no keys and answers to this machine alone, not to pages of "
                            "other sites: make a key with `penstock keys create`.");
        return !elsewhere;
    }
    const char *secret = secret_of(r);
    if (!secret && !pst_keys_loaded(g->keys)) { /* perhaps none is needed */
        refuse(r, PST_E_LOADING);
        return false;
    }
    if (!secret) {
        pst_req_answer_header(r, "www-authenticate", "Bearer");
        pst_reply_error(r, 401, NULL, NULL, "You didn't provide an API key. You need to provide your API key in an Authorization "
                        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).");
        return false;
    }
    const pst_key_t *key;
    pst_err_t e = pst_caller_find(r, secret, &key);
    if (e) {
        refuse(r, e);
        return false;
    }
    caller_t *c = calloc(1, sizeof *c);
    if (!c) {
        pst_keys_drop(g->keys, &key);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return false;
    }
    c->key = key;
    r->caller = c;
    return true;
}

void pst_caller_done(pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    caller_t *c = r->caller;
    r->caller = NULL;
    if (!c)
        return;
    if (c->admitted)
        pst_keys_release(g->keys, c->key, now_of(g), &c->admission, c->tokens, c->nano);
    pst_keys_drop(g->keys, &c->key);
    free(c);
}

const pst_key_t *pst_caller_key(const pst_req_t *r)
{
    const caller_t *c = r->caller;
    return c ? c->key : NULL;
}

const char *pst_gw_tenant(const pst_req_t *r)
{
    const pst_key_t *key = pst_caller_key(r);
    return key ? key->tenant : "";
}

bool pst_gw_sees(const pst_req_t *r, const char *tenant)
{
    const char *own = pst_gw_tenant(r);
    return !*own || strcmp(own, tenant) == 0;
}

static bool allows_model(const void *key, pst_view_t model)
{
    return pst_key_allows_model(key, model);
}

static bool allows_provider(const void *key, pst_view_t provider)
{
    return pst_key_allows_provider(key, provider);
}

bool pst_key_rule(const pst_key_t *key, pst_line_rule_t *ret)
{
    if (!key || (key->models.n == 0 && key->providers.n == 0))
        return false;
    *ret = (pst_line_rule_t){.allows_model = allows_model, .allows_provider = allows_provider, .arg = key,
                             .providers = key->providers.v, .providers_n = key->providers.n};
    return true;
}

static void refuse_admission(pst_req_t *r, const pst_admission_t *a)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)(a->retry_ms / 1000 + 1));
    switch (a->verdict) {
    case PST_ADMIT_OK:
        break;
    case PST_ADMIT_ENDED:
        pst_reply_error(r, 401, "invalid_api_key", NULL, "This API key has expired or was revoked.");
        break;
    case PST_ADMIT_SPEND:
        pst_req_answer_header(r, "x-should-retry", "false");
        pst_reply_error(r, 429, "insufficient_quota", NULL, "The spend limit of this API key is reached.");
        break;
    case PST_ADMIT_CONCURRENCY:
        pst_req_answer_header(r, "retry-after", "1");
        pst_reply_error(r, 429, "rate_limit_exceeded", NULL, "This API key has as many requests under way as it may have.");
        break;
    case PST_ADMIT_REQUESTS:
    case PST_ADMIT_TOKENS:
        pst_req_answer_header(r, "retry-after", seconds);
        pst_reply_error(r, 429, "rate_limit_exceeded", NULL, "This API key's limit of %s a minute is reached: try again in %s s.",
                        a->verdict == PST_ADMIT_TOKENS ? "tokens" : "requests", seconds);
        break;
    }
}

bool pst_caller_admit(pst_req_t *r, uint64_t tokens)
{
    pst_gateway_t *g = pst_gw(r);
    caller_t *c = r->caller;
    if (!c || c->admitted)
        return true;
    pst_keys_admit(g->keys, c->key, now_of(g), tokens, 0, &c->admission);
    c->admitted = c->admission.verdict == PST_ADMIT_OK;
    if (!c->admitted)
        refuse_admission(r, &c->admission);
    return c->admitted;
}

void pst_caller_took(pst_req_t *r, uint64_t tokens, uint64_t nano)
{
    caller_t *c = r->caller;
    if (!c)
        return;
    c->tokens += tokens;
    c->nano += nano;
}
