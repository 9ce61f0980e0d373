#include "http/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <strings.h>
#include <time.h>

#include "providers/common.h"

#define HASH_N 32
#define DAY_N 8 /* the date's beginning */
#define QUERY_MAX 16
#define HEADERS_MAX (PST_HTTP_HEADERS_MAX + 2)

/* ---- hashes ---------------------------------------------------------------------------------- */

typedef struct hash {
    unsigned char byte[HASH_N];
} hash_t;

static hash_t hash_of(const pst_view_t *piece, unsigned pieces)
{
    hash_t h;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    PST_ASSERT(c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
    for (unsigned i = 0; i < pieces; i++)
        PST_ASSERT(EVP_DigestUpdate(c, piece[i].p, piece[i].n) == 1);
    PST_ASSERT(EVP_DigestFinal_ex(c, h.byte, NULL) == 1);
    EVP_MD_CTX_free(c);
    return h;
}

static hash_t hmac_of(const void *key, size_t key_n, pst_view_t text)
{
    hash_t h;
    PST_ASSERT(HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)text.p, text.n, h.byte, NULL));
    return h;
}

static void put_hex(pst_buf_t *b, const hash_t *h)
{
    for (size_t i = 0; i < HASH_N; i++) {
        pst_buf_putc(b, "0123456789abcdef"[h->byte[i] >> 4]);
        pst_buf_putc(b, "0123456789abcdef"[h->byte[i] & 15]);
    }
}

/* ---- the request as it is signed ------------------------------------------------------------- */


/* Takes what stands before the first c, or all of it, off *v. */
static pst_view_t cut(pst_view_t *v, char c)
{
    const char *at = v->n ? memchr(v->p, c, v->n) : NULL;
    pst_view_t head = pst_view(v->p, at ? (size_t)(at - v->p) : v->n);
    *v = at ? pst_view(at + 1, v->n - head.n - 1) : pst_view(NULL, 0);
    return head;
}

static int order(pst_view_t a, pst_view_t b)
{
    size_t n = PST_MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

typedef struct pair {
    pst_view_t name, value;
} pair_t;

static bool is_after(const pair_t *a, const pair_t *b)
{
    int c = order(a->name, b->name);
    return c > 0 || (c == 0 && order(a->value, b->value) > 0);
}

/* Sorted; encoded it is already. */
static void put_query(pst_buf_t *b, pst_view_t query)
{
    pair_t pair[QUERY_MAX];
    unsigned n = 0;
    for (; query.n; n++) {
        PST_ASSERT(n < QUERY_MAX);
        pst_view_t value = cut(&query, '&');
        pair_t p = {.name = cut(&value, '=')};
        p.value = value;
        unsigned i = n;
        for (; i > 0 && is_after(&pair[i - 1], &p); i--)
            pair[i] = pair[i - 1];
        pair[i] = p;
    }
    for (unsigned i = 0; i < n; i++) {
        pst_buf_puts(b, i ? "&" : "");
        pst_buf_putv(b, pair[i].name);
        pst_buf_putc(b, '=');
        pst_buf_putv(b, pair[i].value);
    }
}

typedef struct headers {
    pst_http_header_t at[HEADERS_MAX];
    unsigned n;
} headers_t;

/* Names as they are signed: in lower case. */
static int name_order(pst_view_t a, pst_view_t b)
{
    int c = strncasecmp(a.p, b.p, PST_MIN(a.n, b.n));
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static void add_header(headers_t *h, pst_view_t name, pst_view_t value)
{
    PST_ASSERT(h->n < HEADERS_MAX);
    unsigned i = h->n++;
    for (; i > 0 && name_order(h->at[i - 1].name, name) > 0; i--)
        h->at[i] = h->at[i - 1];
    h->at[i] = (pst_http_header_t){name, value};
}

static void put_lower(pst_buf_t *b, pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++)
        pst_buf_putc(b, v.p[i] >= 'A' && v.p[i] <= 'Z' ? (char)(v.p[i] - 'A' + 'a') : v.p[i]);
}

static void put_names(pst_buf_t *b, const headers_t *h)
{
    for (unsigned i = 0; i < h->n; i++) {
        pst_buf_puts(b, i ? ";" : "");
        put_lower(b, h->at[i].name);
    }
}

static void put_request(pst_buf_t *b, const pst_sigv4_req_t *req, const headers_t *h)
{
    hash_t body = hash_of(req->piece, req->pieces);
    pst_view_t query = req->target, path = cut(&query, '?');
    pst_buf_puts(b, req->method);
    pst_buf_putc(b, '\n');
    pst_buf_put_percent(b, path, '/'); /* what is encoded already is encoded once more */
    pst_buf_putc(b, '\n');
    put_query(b, query);
    pst_buf_putc(b, '\n');
    for (unsigned i = 0; i < h->n; i++) {
        put_lower(b, h->at[i].name);
        pst_buf_putc(b, ':');
        pst_buf_putv(b, pst_text_trim(h->at[i].value));
        pst_buf_putc(b, '\n');
    }
    pst_buf_putc(b, '\n');
    put_names(b, h);
    pst_buf_putc(b, '\n');
    put_hex(b, &body);
}

/* ---- the signature --------------------------------------------------------------------------- */

static void put_scope(pst_buf_t *b, const pst_sigv4_key_t *key, const char *date)
{
    pst_buf_put(b, date, DAY_N);
    pst_buf_putc(b, '/');
    pst_buf_putv(b, key->region);
    pst_buf_putc(b, '/');
    pst_buf_putv(b, key->service);
    pst_buf_puts(b, "/aws4_request");
}

/* Good for a day, a region and a service. */
static hash_t signing_key(const pst_sigv4_key_t *key, const char *date)
{
    pst_buf_t secret;
    pst_buf_init(&secret, 0);
    pst_buf_reserve(&secret, key->secret.n + 4); /* once, so that all of it is wiped */
    pst_buf_puts(&secret, "AWS4");
    pst_buf_putv(&secret, key->secret);
    PST_ASSERT(!secret.failed);
    hash_t h = hmac_of(secret.p, secret.n, pst_view(date, DAY_N));
    explicit_bzero(secret.p, secret.n);
    pst_buf_release(&secret);
    h = hmac_of(h.byte, HASH_N, key->region);
    h = hmac_of(h.byte, HASH_N, key->service);
    return hmac_of(h.byte, HASH_N, PST_VIEW_LIT("aws4_request"));
}

static hash_t signature_of(const pst_sigv4_key_t *key, const pst_sigv4_req_t *req, const headers_t *h,
                           const char *date)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    put_request(&b, req, h);
    PST_ASSERT(!b.failed);
    pst_view_t whole = pst_buf_view(&b);
    hash_t request = hash_of(&whole, 1);
    pst_buf_clear(&b);
    pst_buf_puts(&b, "AWS4-HMAC-SHA256\n");
    pst_buf_puts(&b, date);
    pst_buf_putc(&b, '\n');
    put_scope(&b, key, date);
    pst_buf_putc(&b, '\n');
    put_hex(&b, &request);
    PST_ASSERT(!b.failed);
    hash_t k = signing_key(key, date);
    hash_t signature = hmac_of(k.byte, HASH_N, pst_buf_view(&b));
    explicit_bzero(&k, sizeof k);
    return signature;
}

void pst_sigv4_sign(const pst_sigv4_key_t *key, const pst_sigv4_req_t *req, uint64_t wall_s,
                    char ret_date[PST_SIGV4_DATE_N + 1], pst_buf_t *ret_authorization)
{
    headers_t h = {.n = 0};
    time_t t = (time_t)wall_s;
    struct tm tm;
    pst_buf_t *b = ret_authorization;
    PST_ASSERT(gmtime_r(&t, &tm) && strftime(ret_date, PST_SIGV4_DATE_N + 1, "%Y%m%dT%H%M%SZ", &tm));
    add_header(&h, PST_VIEW_LIT("host"), req->host);
    add_header(&h, PST_VIEW_LIT("x-amz-date"), pst_view(ret_date, PST_SIGV4_DATE_N));
    for (unsigned i = 0; i < req->headers; i++)
        add_header(&h, req->header[i].name, req->header[i].value);
    hash_t signature = signature_of(key, req, &h, ret_date);
    pst_buf_puts(b, "AWS4-HMAC-SHA256 Credential=");
    pst_buf_putv(b, key->id);
    pst_buf_putc(b, '/');
    put_scope(b, key, ret_date);
    pst_buf_puts(b, ", SignedHeaders=");
    put_names(b, &h);
    pst_buf_puts(b, ", Signature=");
    put_hex(b, &signature);
}

/* ---- keys and regions ------------------------------------------------------------------------ */

bool pst_sigv4_key_parse(pst_view_t text, pst_sigv4_key_t *ret)
{
    if (text.n == 0 || !memchr(text.p, ':', text.n))
        return false;
    ret->id = cut(&text, ':');
    ret->secret = cut(&text, ':');
    ret->token = text;
    return true;
}

pst_view_t pst_sigv4_region(pst_view_t host)
{
    while (host.n) {
        pst_view_t label = cut(&host, '.');
        if (pst_text_starts(label, "bedrock-runtime") && host.n)
            return cut(&host, '.');
    }
    return PST_VIEW_LIT("us-east-1");
}
