#include "http/http.h"

#include <curl/curl.h>

#include "base/buf.h"
#include "http/h1.h"
#include "http/sigv4.h"
#include "proc/clock.h"

#define LINES_MAX (4 + PST_HTTP_TARGET_HEADERS_MAX)
#define SIGNATURE_HEADERS_MAX 3

/* Of a target whose requests are signed, each as it is started. */
typedef struct signer {
    char *text;          /* the key's: what `key` points to */
    char *host, *path;   /* of the base URL */
    pst_sigv4_key_t key;
} signer_t;

struct pst_http {
    pst_curl_t *curl;
    pst_h1_t *h1;
};

struct pst_http_target {
    pst_curl_site_t *curl;
    pst_h1_site_t *h1; /* NULL: all calls through curl */
    signer_t *signer;  /* NULL: the key stands in a line of every request */
};

/* ---- targets --------------------------------------------------------------------------------- */

static bool is_signed(pst_auth_t auth, const pst_secret_t *key)
{
    return auth == PST_AUTH_AWS && key && key->text && strchr(key->text, ':');
}

static char *join(pst_view_t a, const char *between, pst_view_t b)
{
    size_t n = strlen(between);
    char *p = pst_alloc(a.n + n + b.n + 1);
    memcpy(p, a.p ? a.p : "", a.n);
    memcpy(p + a.n, between, n);
    memcpy(p + a.n + n, b.p ? b.p : "", b.n);
    p[a.n + n + b.n] = '\0';
    return p;
}

/* Lines of every request. */
static unsigned make_lines(const pst_http_target_opts_t *o, char *ret[LINES_MAX])
{
    const char *before = pst_auth_line(o->auth);
    unsigned n = 0;
    PST_ASSERT(o->headers <= PST_HTTP_TARGET_HEADERS_MAX);
    ret[n++] = join(PST_VIEW_LIT("Content-Type: application/json"), "", pst_view(NULL, 0));
    ret[n++] = join(PST_VIEW_LIT("User-Agent: penstock/"), "", pst_view_str(PST_VERSION));
    if (before && o->key && o->key->text && !is_signed(o->auth, o->key))
        ret[n++] = join(pst_view_str(before), "", pst_view_str(o->key->text));
    if (o->asks_for_packed)
        ret[n++] = join(PST_VIEW_LIT("Accept-Encoding: gzip"), "", pst_view(NULL, 0));
    for (unsigned i = 0; i < o->headers; i++)
        ret[n++] = join(o->header[i].name, ": ", o->header[i].value);
    return n;
}

/* A port only where it is not the scheme's own: Host is written without that, by curl too. */
static char *url_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(u, part, &text, CURLU_NO_DEFAULT_PORT) ? NULL : text;
}

static bool is_graphic(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] <= 0x20 || (unsigned char)p[i] >= 0x7f)
            return false;
    }
    return true;
}

/* As it goes into a request line, and nothing that curl would understand as more than a path. */
static bool is_fit(pst_view_t path)
{
    return is_graphic(path.p, path.n) && !memchr(path.p, '#', path.n);
}

static pst_h1_site_t *h1_site(pst_h1_t *p, CURLU *u, pst_curl_site_t *opens, char *const *line, unsigned lines,
                              const pst_http_target_opts_t *o)
{
    char *host = url_part(u, CURLUPART_HOST), *port = url_part(u, CURLUPART_PORT), *path = url_part(u, CURLUPART_PATH);
    pst_h1_site_t *s = NULL;
    pst_buf_t text;
    pst_buf_init(&text, 0);
    pst_buf_puts(&text, "Host: ");
    pst_buf_puts(&text, host ? host : "");
    pst_buf_puts(&text, port ? ":" : "");
    pst_buf_puts(&text, port ? port : "");
    pst_buf_puts(&text, "\r\n");
    for (unsigned i = 0; i < lines; i++) {
        pst_buf_puts(&text, line[i]);
        pst_buf_puts(&text, "\r\n");
    }
    PST_ASSERT(!text.failed);
    if (host && path && is_graphic(host, strlen(host)) && is_fit(pst_view_str(path))) {
        size_t n = strlen(path);
        n -= n && path[n - 1] == '/';
        s = pst_h1_site_new(p, opens, pst_view(path, n), pst_buf_view(&text), o);
    }
    explicit_bzero(text.p, text.n);
    pst_buf_release(&text);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return s;
}

/* A URL of no more than http or https, host, port and path. */
static bool is_simple(CURLU *u)
{
    static const CURLUPart others[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_QUERY,
                                       CURLUPART_FRAGMENT, CURLUPART_ZONEID};
    char *scheme = url_part(u, CURLUPART_SCHEME);
    bool simple = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    for (size_t i = 0; i < PST_COUNT(others); i++) {
        char *other = url_part(u, others[i]);
        simple = simple && !other;
        curl_free(other);
    }
    return simple;
}

static void signer_destroy(signer_t **s)
{
    if (!*s)
        return;
    signer_t *x = pst_take(s);
    explicit_bzero(x->text, strlen(x->text));
    free(x->text);
    free(x->host);
    free(x->path);
    free(x);
}

static signer_t *signer_new(CURLU *u, const char *key)
{
    char *host = url_part(u, CURLUPART_HOST), *port = url_part(u, CURLUPART_PORT), *path = url_part(u, CURLUPART_PATH);
    signer_t *s = pst_calloc(1, sizeof *s);
    size_t n = path ? strlen(path) : 0;
    n -= n && path[n - 1] == '/';
    s->text = pst_strdup_view(pst_view_str(key));
    s->path = pst_strdup_view(pst_view(path, n));
    s->host = join(pst_view_str(host), port ? ":" : "", pst_view_str(port));
    PST_ASSERT(pst_sigv4_key_parse(pst_view_str(s->text), &s->key));
    s->key.region = pst_sigv4_region(pst_view_str(s->host));
    s->key.service = PST_VIEW_LIT("bedrock");
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return s;
}

static bool goes_through_proxy(const pst_http_t *h, const pst_http_target_opts_t *o)
{
    return o->proxy ? *o->proxy != '\0' : pst_curl_proxied(h->curl);
}

pst_http_target_t *pst_http_target_new(pst_http_t *h, const pst_http_target_opts_t *o)
{
    char *line[LINES_MAX];
    unsigned lines = make_lines(o, line);
    pst_http_target_t *t = pst_calloc(1, sizeof *t);
    t->curl = pst_curl_site_new(o, line, lines);
    CURLU *u = curl_url();
    PST_ASSERT(u);
    bool is_url = !curl_url_set(u, CURLUPART_URL, o->base_url, 0);
    if (!goes_through_proxy(h, o) && is_url && is_simple(u))
        t->h1 = h1_site(h->h1, u, t->curl, line, lines, o);
    if (is_signed(o->auth, o->key))
        t->signer = signer_new(u, o->key->text);
    curl_url_cleanup(u);
    for (unsigned i = 0; i < lines; i++) {
        explicit_bzero(line[i], strlen(line[i]));
        free(line[i]);
    }
    return t;
}

void pst_http_target_destroy(pst_http_target_t **t)
{
    if (!t || !*t)
        return;
    pst_http_target_t *x = pst_take(t);
    pst_curl_site_unref(&x->curl);
    pst_h1_site_destroy(&x->h1);
    signer_destroy(&x->signer);
    free(x);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static bool has_control(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
            return true;
    }
    return false;
}

static bool sendable(const pst_http_req_t *req)
{
    if (req->path.n == 0 || req->path.p[0] != '/' || has_control(req->path))
        return false;
    for (unsigned i = 0; i < req->headers; i++) {
        if (has_control(req->header[i].name) || has_control(req->header[i].value))
            return false;
    }
    return req->headers <= PST_HTTP_HEADERS_MAX;
}

bool pst_http_target_ready(const pst_http_target_t *t)
{
    return !t->h1 || !pst_curl_site_asking(t->curl);
}

static pst_http_call_t *start(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                              const pst_http_back_t *back)
{
    if (t->h1 && pst_curl_site_http1(t->curl) && !pst_h1_site_unfit(t->h1) && is_fit(req->path))
        return pst_h1_start(t->h1, req, back);
    return pst_curl_start(h->curl, t->curl, req, back);
}

static void add_header(pst_http_req_t *r, pst_view_t name, pst_view_t value)
{
    r->header[r->headers++] = (pst_http_header_t){name, value};
}

static pst_http_call_t *start_signed(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                     const pst_http_back_t *back)
{
    const signer_t *s = t->signer;
    pst_http_req_t r = *req;
    pst_buf_t target, authorization;
    char date[PST_SIGV4_DATE_N + 1];
    pst_buf_init(&target, 0);
    pst_buf_init(&authorization, 0);
    pst_buf_puts(&target, s->path);
    pst_buf_putv(&target, req->path);
    if (s->key.token.n)
        add_header(&r, PST_VIEW_LIT("X-Amz-Security-Token"), s->key.token);
    pst_sigv4_req_t q = {.method = "POST", .host = pst_view_str(s->host), .target = pst_buf_view(&target),
                         .header = r.header, .headers = r.headers,
                         .piece = r.pieces ? r.piece : &r.body, .pieces = r.pieces ? r.pieces : 1};
    pst_sigv4_sign(&s->key, &q, pst_clock_wall_ms() / 1000, date, &authorization);
    PST_ASSERT(!target.failed && !authorization.failed);
    add_header(&r, PST_VIEW_LIT("X-Amz-Date"), pst_view_str(date));
    add_header(&r, PST_VIEW_LIT("Authorization"), pst_buf_view(&authorization));
    pst_http_call_t *call = start(h, t, &r, back);
    pst_buf_release(&target);
    pst_buf_release(&authorization);
    return call;
}

static pst_http_call_t *start_any(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                  const pst_http_back_t *back)
{
    if (!sendable(req))
        return NULL;
    if (!t->signer)
        return start(h, t, req, back);
    if (req->headers > PST_HTTP_HEADERS_MAX - SIGNATURE_HEADERS_MAX)
        return NULL;
    return start_signed(h, t, req, back);
}

pst_http_call_t *pst_http_start(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                pst_http_done_fn *done, void *arg)
{
    return start_any(h, t, req, &(pst_http_back_t){.done = done, .arg = arg});
}

pst_http_call_t *pst_http_stream(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                 pst_http_part_fn *part, pst_http_done_fn *done, void *arg)
{
    return start_any(h, t, req, &(pst_http_back_t){.part = part, .done = done, .arg = arg});
}

void pst_http_pause(pst_http_t *h, pst_http_call_t *call, bool paused)
{
    (void)h;
    if (call->h1)
        pst_h1_pause(call, paused);
    else
        pst_curl_pause(call, paused);
}

void pst_http_cancel(pst_http_t *h, pst_http_call_t **call)
{
    pst_http_call_t *c = pst_take(call);
    if (c->h1)
        pst_h1_cancel(c);
    else
        pst_curl_cancel(h->curl, c);
}

/* ---- the loop, life -------------------------------------------------------------------------- */

void pst_http_step(pst_http_t *h, pst_ns_t now)
{
    pst_curl_step(h->curl, now);
    pst_h1_step(h->h1, now);
}

pst_ns_t pst_http_due(const pst_http_t *h)
{
    return pst_ns_min(pst_curl_due(h->curl), pst_h1_due(h->h1));
}

pst_http_stats_t pst_http_stats(const pst_http_t *h)
{
    return (pst_http_stats_t){pst_curl_connections(h->curl), pst_curl_reused(h->curl) + pst_h1_reused(h->h1)};
}

pst_http_t *pst_http_new(pst_loop_t *loop)
{
    pst_http_t *h = pst_calloc(1, sizeof *h);
    h->curl = pst_curl_new(loop);
    h->h1 = pst_h1_new(loop, h->curl);
    return h;
}

void pst_http_destroy(pst_http_t **h)
{
    if (!h || !*h)
        return;
    pst_http_t *x = pst_take(h);
    pst_h1_destroy(&x->h1);
    pst_curl_destroy(&x->curl);
    free(x);
}
