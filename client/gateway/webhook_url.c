#include "gateway/webhook_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

/* ---- addresses --------------------------------------------------------------------------------- */

typedef struct net {
    uint8_t b[16];
    uint8_t bits;
} net_t;

static bool in_net(const uint8_t *a, const net_t *n)
{
    size_t whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(a, n->b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ n->b[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

static bool in_any(const uint8_t *a, const net_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (in_net(a, &v[i]))
            return true;
    }
    return false;
}

/* IANA's special-purpose registry, but for what is reachable from everywhere. */
static bool public4(const uint8_t *a)
{
    static const net_t closed[] = {
        {{0}, 8},               /* this network */
        {{10}, 8},              /* private */
        {{100, 64}, 10},        /* behind a provider's translation; Alibaba's metadata */
        {{127}, 8},             /* loopback */
        {{168, 63, 129, 16}, 32}, /* Azure's metadata */
        {{169, 254}, 16},       /* link-local; everybody else's metadata */
        {{172, 16}, 12},        /* private */
        {{192, 0, 0}, 24},      /* protocols; Oracle's metadata */
        {{192, 0, 2}, 24},      /* documents */
        {{192, 88, 99}, 24},    /* relays of 6to4 */
        {{192, 168}, 16},       /* private */
        {{198, 18}, 15},        /* benchmarks */
        {{198, 51, 100}, 24},   /* documents */
        {{203, 0, 113}, 24},    /* documents */
        {{224}, 3},             /* groups, reserved, broadcast */
    };
    return !in_any(a, closed, PST_COUNT(closed));
}

static bool public6(const uint8_t *a)
{
    static const net_t mapped = {{[10] = 0xff, [11] = 0xff}, 96}, translated = {{0, 0x64, 0xff, 0x9b}, 96},
                       six_to_four = {{0x20, 0x02}, 16}, global = {{0x20}, 3};
    static const net_t closed[] = {
        {{0x20, 0x01}, 23},                   /* protocols, Teredo */
        {{0x20, 0x01, 0x0d, 0xb8}, 32},       /* documents */
        {{0x3f, 0xff}, 20},                   /* documents */
    };
    if (in_net(a, &mapped) || in_net(a, &translated))
        return public4(a + 12);
    if (in_net(a, &six_to_four))
        return public4(a + 2);
    return in_net(a, &global) && !in_any(a, closed, PST_COUNT(closed));
}

bool pst_webhook_address_public(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return public4((const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr);
    if (a->sa_family == AF_INET6)
        return public6(((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr);
    return false;
}

/* ---- URLs -------------------------------------------------------------------------------------- */

typedef struct parts {
    CURLU *url;
    char *scheme, *host, *port, *user, *password;
} parts_t;

static void parts_release(parts_t *p)
{
    curl_free(p->scheme);
    curl_free(p->host);
    curl_free(p->port);
    curl_free(p->user);
    curl_free(p->password);
    curl_url_cleanup(p->url);
}

/* curl writes the ways to write an address of IPv4 (2130706433, 0177.1) as the usual one. */
static bool parse(parts_t *p, const char *text)
{
    p->url = curl_url();
    PST_ASSERT(p->url);
    if (curl_url_set(p->url, CURLUPART_URL, text, 0))
        return false;
    (void)curl_url_get(p->url, CURLUPART_SCHEME, &p->scheme, 0);
    (void)curl_url_get(p->url, CURLUPART_HOST, &p->host, 0);
    (void)curl_url_get(p->url, CURLUPART_PORT, &p->port, CURLU_DEFAULT_PORT);
    (void)curl_url_get(p->url, CURLUPART_USER, &p->user, 0);
    (void)curl_url_get(p->url, CURLUPART_PASSWORD, &p->password, 0);
    return p->scheme && p->host && *p->host && p->port;
}

static bool ends_with(const char *host, const char *end)
{
    size_t n = strlen(host), m = strlen(end);
    return n >= m && strcasecmp(host + n - m, end) == 0;
}

/* What can be said of a host before its name is looked up.  *host has brackets around an address of IPv6. */
static bool may_be_public(const char *host)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char inside[64];
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        return pst_webhook_address_public((const struct sockaddr *)(const void *)&v4);
    if (host[0] == '[') {
        int n = (int)strcspn(host + 1, "]%");
        snprintf(inside, sizeof inside, "%.*s", n, host + 1);
        return inet_pton(AF_INET6, inside, &v6.sin6_addr) == 1 &&
               pst_webhook_address_public((const struct sockaddr *)(const void *)&v6);
    }
    return !ends_with(host, "localhost") && !ends_with(host, "localhost.");
}

static pst_err_t check(const parts_t *p, bool private_too, pst_errbuf_t *eb)
{
    if (strcmp(p->scheme, "https") != 0 && strcmp(p->scheme, "http") != 0)
        return pst_errf(eb, PST_E_INPUT, "a webhook's URL begins with https:// or http://");
    if (p->user || p->password)
        return pst_errf(eb, PST_E_INPUT, "a webhook's URL has no user and no password: check its signature instead");
    if (!private_too && !may_be_public(p->host))
        return pst_errf(eb, PST_E_INPUT, "a webhook goes to a public address: this one is private to some machine or "
                                         "network (gateway.webhook_private allows them)");
    return PST_OK;
}

pst_err_t pst_webhook_url_check(pst_view_t url, bool private_too, char ret_host[PST_WEBHOOK_HOST_BYTES_MAX + 1],
                                pst_errbuf_t *eb)
{
    char text[PST_WEBHOOK_URL_BYTES_MAX + 1];
    parts_t p = {0};
    if (url.n > PST_WEBHOOK_URL_BYTES_MAX)
        return pst_errf(eb, PST_E_INPUT, "a webhook's URL has at most %d bytes", PST_WEBHOOK_URL_BYTES_MAX);
    for (size_t i = 0; i < url.n; i++) {
        if ((unsigned char)url.p[i] <= ' ' || (unsigned char)url.p[i] >= 0x7f)
            return pst_errf(eb, PST_E_INPUT, "a webhook's URL is printable ASCII without blanks");
    }
    memcpy(text, url.n ? url.p : "", url.n);
    text[url.n] = '\0';
    pst_err_t e = parse(&p, text) ? check(&p, private_too, eb)
                                  : pst_errf(eb, PST_E_INPUT, "this is no URL: write https://HOST/PATH");
    if (!e && strlen(p.host) + 1 + strlen(p.port) > PST_WEBHOOK_HOST_BYTES_MAX)
        e = pst_errf(eb, PST_E_INPUT, "a host's name has at most 255 bytes");
    if (!e && ret_host)
        snprintf(ret_host, PST_WEBHOOK_HOST_BYTES_MAX + 1, "%s:%s", p.host, p.port);
    parts_release(&p);
    return e;
}
