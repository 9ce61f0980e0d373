#include "lib/client.h"

#include <xxhash.h>

#include "proc/clock.h"

#define ADDRESS_DEFAULT "tcp://127.0.0.1:7701"
#define TIMEOUT_MS_DEFAULT 10000
#define SERVED_FOR (60 * PST_SEC)
#define UNSERVED_FOR (5 * PST_SEC)

static const char *address_of(const pst_client_opts_t *o)
{
    if (o->broker && *o->broker)
        return o->broker;
    const char *env = getenv("PENSTOCK_BROKER");
    return env && *env ? env : ADDRESS_DEFAULT;
}

static uint32_t or_default(uint32_t given, uint32_t def)
{
    return given ? given : def;
}

pst_err_t pst_client_new(const pst_client_opts_t *o, pst_client_t **ret)
{
    static const pst_client_opts_t defaults = {0};
    o = o ? o : &defaults;
    pst_client_t *c = calloc(1, sizeof *c);
    if (!c)
        return PST_E_NOMEM;
    c->line_bytes_max = PST_MIN(or_default(o->line_bytes_max, PST_LINE_BYTES_MAX), PST_LINE_BYTES_MAX);
    c->prefix_bytes_max = or_default(o->prefix_bytes_max, PST_PREFIX_BYTES_MAX);
    c->prefix_bytes_min = PST_MIN(or_default(o->prefix_bytes_min, PST_PREFIX_BYTES_MIN), c->prefix_bytes_max);
    pst_err_t e = pst_conn_new(address_of(o), or_default(o->timeout_ms, TIMEOUT_MS_DEFAULT), &c->words, &c->conn);
    if (e) {
        pst_client_destroy(&c);
        return e;
    }
    *ret = c;
    return PST_OK;
}

void pst_client_destroy(pst_client_t **pc)
{
    pst_client_t *c = *pc;
    *pc = NULL;
    if (!c)
        return;
    pst_conn_destroy(&c->conn);
    free(c->verdict);
    free(c);
}

const char *pst_client_error(const pst_client_t *c)
{
    return c->words.text;
}

pst_err_t pst_client_hello(pst_client_t *c)
{
    return pst_conn_hello(c->conn);
}

pst_err_t pst_client_no_answer(pst_client_t *c)
{
    return pst_errf(&c->words, PST_E_MALFORMED,
                    "the broker gave an answer that is none: use the penstock of its release");
}

static pst_err_t ask_route(pst_client_t *c, pst_url_t url, pst_view_t route, bool *ret_served)
{
    pst_msg_t m = {.type = PST_MSG_ROUTE};
    m.u.route.url = (uint8_t)url;
    m.u.route.route = route;
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(c->conn, &m, &r);
    pst_reply_destroy(&r);
    if (e && e != PST_E_MODEL_NOT_FOUND)
        return e;
    *ret_served = e == PST_OK;
    return PST_OK;
}

pst_err_t pst_client_route(pst_client_t *c, pst_url_t url, pst_view_t route, bool *ret_served)
{
    if (!c->verdict && !(c->verdict = calloc(PST_VERDICTS, sizeof *c->verdict)))
        return pst_errf(&c->words, PST_E_NOMEM, "out of memory");
    XXH128_hash_t h = XXH3_128bits_withSeed(route.p, route.n, (uint64_t)url);
    pst_route_verdict_t *v = &c->verdict[h.low64 % PST_VERDICTS];
    pst_ns_t now = pst_clock_mono();
    if (v->hash[0] == h.low64 && v->hash[1] == h.high64 && now < v->until) {
        *ret_served = v->served;
        return PST_OK;
    }
    pst_err_t e = ask_route(c, url, route, ret_served);
    if (!e)
        *v = (pst_route_verdict_t){.hash = {h.low64, h.high64},
                                   .until = pst_ns_add(now, *ret_served ? SERVED_FOR : UNSERVED_FOR),
                                   .served = *ret_served};
    return e;
}
