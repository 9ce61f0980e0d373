#include "http/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "penstock/limits.h"
#include "proc/clock.h"

#define CONNECT_TIMEOUT_MS 10000L
#define KEEPALIVE_IDLE_S 60L
#define KEEPALIVE_INTERVAL_S 30L
/* A free call keeps at most so much of the memory its last answer took. */
#define BODY_KEEP_BYTES ((size_t)256 << 10)

typedef struct shard {
    pst_http_t *http;
    CURLM *multi;
    unsigned calls;       /* in flight */
    pst_heap_node_t due;  /* in pst_http.timers: when curl wants to run */
} shard_t;

/* Curl says of a connection kept alive "watch it" and "forget it" once a call; two system calls, were they
 * made.  So a connection stays as it is in epoll when curl forgets it, until curl closes it (which it tells us,
 * see on_open) or it becomes ready while nobody wants to know. */
typedef struct conn {
    shard_t *shard;   /* NULL: not in the loop */
    uint32_t events;  /* it is there with */
    bool ours;        /* opened by on_open, so that on_close will tell of its end */
    bool wanted;
} conn_t;

struct pst_http {
    pst_loop_t *loop;
    conn_t *conn;         /* by descriptor */
    size_t conns;
    CURLSH *share;
    shard_t **shard;
    unsigned shards;
    pst_heap_t timers;    /* of shard_t.due */
    pst_link_t live, idle; /* pst_http_call_t.link */
};

struct pst_http_target {
    uint32_t refs;
    char *base_url;
    bool tls;
    long timeout_ms;
    struct curl_slist *headers; /* Content-Type, the empty Expect, and the key */
};

/* Where a header's text lies in pst_http_call.head. */
typedef struct span {
    uint32_t name_at, name_n, value_at, value_n;
} span_t;

struct pst_http_call {
    pst_link_t link;
    CURL *easy;
    shard_t *shard;              /* NULL: idle */
    pst_http_target_t *target;   /* NULL: idle */
    pst_buf_t url;               /* what the easy handle holds, NUL included */
    pst_buf_t extra;             /* text of the request's own headers */
    struct curl_slist list[PST_HTTP_HEADERS_MAX]; /* them, chained before the target's */
    pst_buf_t head;              /* the answer's headers */
    span_t span[PST_HTTP_ANSWER_HEADERS_MAX];
    unsigned spans;
    pst_buf_t body;
    bool too_large;
    pst_http_done_fn *done;
    void *arg;
};

/* ---- targets --------------------------------------------------------------------------------- */

static void add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    PST_ASSERT(more);
    *list = more;
}

static void wipe(char *p)
{
    explicit_bzero(p, strlen(p));
}

static void add_key(struct curl_slist **list, const char *before, const char *key)
{
    pst_buf_t line;
    pst_buf_init(&line, 0);
    pst_buf_puts(&line, before);
    pst_buf_put(&line, key, strlen(key) + 1);
    PST_ASSERT(!line.failed);
    add_header(list, line.p);
    wipe(line.p);
    pst_buf_release(&line);
}

static const char *auth_header(pst_auth_t auth)
{
    switch (auth) {
    case PST_AUTH_NONE:
        return NULL;
    case PST_AUTH_BEARER:
        return "Authorization: Bearer ";
    case PST_AUTH_X_API_KEY:
        return "x-api-key: ";
    case PST_AUTH_GOOG_KEY:
        return "x-goog-api-key: ";
    }
    return NULL;
}

pst_http_target_t *pst_http_target_new(const char *base_url, pst_auth_t auth, const pst_secret_t *key,
                                       pst_ns_t timeout)
{
    pst_http_target_t *t = pst_calloc(1, sizeof *t);
    t->refs = 1;
    t->base_url = pst_strdup_view(pst_view_str(base_url));
    t->tls = strncasecmp(base_url, "https:", 6) == 0;
    t->timeout_ms = (long)PST_MIN(PST_MAX(timeout / PST_MS, (pst_ns_t)1), (pst_ns_t)INT32_MAX);
    add_header(&t->headers, "Content-Type: application/json");
    /* Without this curl asks for "100 Continue" before a longer body, and waits a second for it. */
    add_header(&t->headers, "Expect:");
    const char *before = auth_header(auth);
    if (before && key && key->text)
        add_key(&t->headers, before, key->text);
    return t;
}

pst_http_target_t *pst_http_target_ref(pst_http_target_t *t)
{
    t->refs++;
    return t;
}

void pst_http_target_unref(pst_http_target_t **t)
{
    pst_http_target_t *x = *t;
    *t = NULL;
    if (!x || --x->refs > 0)
        return;
    for (struct curl_slist *l = x->headers; l; l = l->next)
        wipe(l->data);
    curl_slist_free_all(x->headers);
    free(x->base_url);
    free(x);
}

/* ---- answers --------------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    pst_http_call_t *c = arg;
    pst_buf_put(&c->body, p, size * n);
    if (c->body.failed) {
        c->too_large = true;
        return 0;
    }
    return size * n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void add_span(pst_http_call_t *c, pst_view_t line, size_t colon)
{
    size_t from = colon + 1, to = line.n;
    while (from < to && is_blank(line.p[from]))
        from++;
    while (to > from && is_blank(line.p[to - 1]))
        to--;
    char *p = pst_buf_reserve(&c->head, colon + (to - from));
    if (!p) {
        c->head.failed = false; /* past the cap: this header is left out, a shorter one may still fit */
        return;
    }
    for (size_t i = 0; i < colon; i++)
        p[i] = (char)tolower((unsigned char)line.p[i]);
    memcpy(p + colon, line.p + from, to - from);
    uint32_t at = (uint32_t)c->head.n;
    c->span[c->spans++] = (span_t){at, (uint32_t)colon, at + (uint32_t)colon, (uint32_t)(to - from)};
    c->head.n += colon + (to - from);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    pst_http_call_t *c = arg;
    pst_view_t line = pst_view(p, size * n);
    if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        /* A status line: what came before belonged to an interim answer. */
        pst_buf_clear(&c->head);
        c->spans = 0;
        return line.n;
    }
    const char *colon = memchr(line.p, ':', line.n);
    if (colon && colon > line.p && c->spans < PST_HTTP_ANSWER_HEADERS_MAX)
        add_span(c, line, (size_t)(colon - line.p));
    return line.n;
}

static pst_cause_t cause_of(const pst_http_call_t *c, CURLcode code)
{
    if (c->too_large)
        return PST_CAUSE_PAYLOAD_TOO_LARGE;
    return code == CURLE_OPERATION_TIMEDOUT ? PST_CAUSE_TIMEOUT : PST_CAUSE_CONNECTION;
}

/* An answer that broke off is none: half a body cannot be told from a whole one by whoever reads it. */
static void fill_answer(const pst_http_call_t *c, CURLcode code, pst_http_header_t *header,
                        pst_http_answer_t *ret)
{
    *ret = (pst_http_answer_t){.transport = PST_CAUSE_NONE, .wall_ms = pst_clock_wall_ms()};
    if (code != CURLE_OK) {
        ret->transport = cause_of(c, code);
        return;
    }
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    ret->status = (int)status;
    if (status == 0)
        ret->transport = PST_CAUSE_CONNECTION;
    for (unsigned i = 0; i < c->spans; i++) {
        const span_t *s = &c->span[i];
        header[i].name = pst_view(c->head.p + s->name_at, s->name_n);
        header[i].value = pst_view(c->head.p + s->value_at, s->value_n);
    }
    ret->header = header;
    ret->headers = c->spans;
    ret->body = pst_buf_view(&c->body);
}

/* ---- connections ----------------------------------------------------------------------------- */

static conn_t *conn_at(pst_http_t *h, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need > h->conns) {
        size_t n = PST_MAX(need, 2 * h->conns);
        h->conn = pst_realloc(h->conn, n * sizeof *h->conn);
        memset(h->conn + h->conns, 0, (n - h->conns) * sizeof *h->conn);
        h->conns = n;
    }
    return &h->conn[fd];
}

static void unwatch(pst_http_t *h, int fd)
{
    conn_t *n = conn_at(h, fd);
    pst_loop_fd_remove(h->loop, fd);
    n->shard = NULL;
    n->wanted = false;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0)
        conn_at(arg, fd)->ours = true;
    return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
    unwatch(arg, fd);
    conn_at(arg, fd)->ours = false;
    return close(fd);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static pst_http_call_t *new_call(pst_http_t *h)
{
    pst_http_call_t *c = pst_calloc(1, sizeof *c);
    c->easy = curl_easy_init();
    PST_ASSERT(c->easy);
    pst_link_init(&c->link);
    pst_buf_init(&c->url, 0);
    pst_buf_init(&c->extra, 0);
    pst_buf_init(&c->head, PST_HTTP_ANSWER_HEADER_BYTES_MAX);
    pst_buf_init(&c->body, PST_RESULT_BODY_BYTES_MAX);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_SHARE, h->share);
    curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    curl_easy_setopt(c->easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(c->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "penstock/" PST_VERSION);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, h);
    return c;
}

static void free_call(pst_http_call_t *c)
{
    curl_easy_cleanup(c->easy);
    pst_http_target_unref(&c->target);
    pst_buf_release(&c->url);
    pst_buf_release(&c->extra);
    pst_buf_release(&c->head);
    pst_buf_release(&c->body);
    free(c);
}

static pst_http_call_t *idle_call(pst_http_t *h)
{
    if (pst_link_empty(&h->idle))
        return new_call(h);
    /* The latest one: its memory is warm, and so is the connection it used. */
    pst_http_call_t *c = PST_CONTAINER(h->idle.next, pst_http_call_t, link);
    pst_link_remove(&c->link);
    return c;
}

static void leave_shard(pst_http_call_t *c)
{
    curl_multi_remove_handle(c->shard->multi, c->easy);
    c->shard->calls--;
    c->shard = NULL;
}

static void rest_call(pst_http_t *h, pst_http_call_t *c)
{
    pst_http_target_unref(&c->target);
    if (c->body.cap > BODY_KEEP_BYTES)
        pst_buf_release(&c->body);
    pst_buf_clear(&c->body);
    pst_buf_clear(&c->head);
    c->spans = 0;
    c->too_large = false;
    pst_link_remove(&c->link);
    pst_link_after(&h->idle, &c->link);
}

static void finish(pst_http_t *h, pst_http_call_t *c, CURLcode code)
{
    curl_off_t us = 0;
    curl_easy_getinfo(c->easy, CURLINFO_TOTAL_TIME_T, &us);
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t answer;
    fill_answer(c, code, header, &answer);
    leave_shard(c);
    c->done(c->arg, &answer, (uint64_t)us);
    rest_call(h, c);
}

static void collect(shard_t *s)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(s->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        pst_http_call_t *c = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        finish(s->http, c, code);
    }
}

/* ---- shards and the loop --------------------------------------------------------------------- */

static void on_fd(void *arg, int fd, uint32_t events)
{
    shard_t *s = arg;
    if (!conn_at(s->http, fd)->wanted) {
        unwatch(s->http, fd);
        return;
    }
    int mask = 0;
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    int running;
    curl_multi_socket_action(s->multi, fd, mask, &running);
    collect(s);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    (void)socket_arg;
    shard_t *s = arg;
    conn_t *n = conn_at(s->http, fd);
    if (what == CURL_POLL_REMOVE) {
        n->wanted = false;
        if (!n->ours)
            unwatch(s->http, fd);
        return 0;
    }
    uint32_t events = 0;
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    n->wanted = true;
    if (n->shard == s && n->events == events)
        return 0;
    n->shard = s;
    n->events = events;
    pst_loop_fd(s->http->loop, fd, events, on_fd, s);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    shard_t *s = arg;
    pst_heap_t *timers = &s->http->timers;
    if (timeout_ms < 0)
        pst_heap_remove(timers, &s->due);
    else
        pst_heap_set(timers, &s->due,
                     pst_ns_add(pst_loop_now(s->http->loop), (pst_ns_t)timeout_ms * PST_MS));
    return 0;
}

static shard_t *add_shard(pst_http_t *h)
{
    shard_t *s = pst_calloc(1, sizeof *s);
    s->http = h;
    s->multi = curl_multi_init();
    PST_ASSERT(s->multi);
    pst_heap_node_init(&s->due);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    /* Or HTTP/2 opens connections by the hundred while the first are still shaking hands. */
    curl_multi_setopt(s->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)PST_HTTP_SHARD_CALLS);
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)PST_HTTP_SHARD_CALLS);
    h->shard = pst_realloc(h->shard, (h->shards + 1) * sizeof *h->shard);
    h->shard[h->shards++] = s;
    return s;
}

/* The first with room: under less load the later shards fall idle as a whole. */
static shard_t *roomy_shard(pst_http_t *h)
{
    for (unsigned i = 0; i < h->shards; i++) {
        if (h->shard[i]->calls < PST_HTTP_SHARD_CALLS)
            return h->shard[i];
    }
    return add_shard(h);
}

void pst_http_step(pst_http_t *h, pst_ns_t now)
{
    pst_heap_node_t *top;
    /* Each shard about once: one that always wants to run again must not keep the loop from the others. */
    for (unsigned i = 0; i <= h->shards && (top = pst_heap_top(&h->timers)) && top->key <= now; i++) {
        shard_t *s = PST_CONTAINER(top, shard_t, due);
        pst_heap_remove(&h->timers, top);
        int running;
        curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        collect(s);
    }
}

pst_ns_t pst_http_due(const pst_http_t *h)
{
    const pst_heap_node_t *top = pst_heap_top(&h->timers);
    return top ? top->key : PST_NEVER;
}

/* ---- start and stop -------------------------------------------------------------------------- */

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

/* The easy handle keeps its parsed URL as long as it is the same: most of a provider's calls are. */
static void set_url(pst_http_call_t *c, const pst_http_target_t *t, pst_view_t path)
{
    size_t base = strlen(t->base_url);
    if (c->url.n == base + path.n + 1 && memcmp(c->url.p, t->base_url, base) == 0 &&
        memcmp(c->url.p + base, path.p, path.n) == 0)
        return;
    pst_buf_clear(&c->url);
    pst_buf_put(&c->url, t->base_url, base);
    pst_buf_putv(&c->url, path);
    pst_buf_putc(&c->url, '\0');
    PST_ASSERT(!c->url.failed);
    curl_easy_setopt(c->easy, CURLOPT_URL, c->url.p);
}

static void set_headers(pst_http_call_t *c, const pst_http_target_t *t, const pst_http_req_t *req)
{
    size_t at[PST_HTTP_HEADERS_MAX];
    pst_buf_clear(&c->extra);
    for (unsigned i = 0; i < req->headers; i++) {
        at[i] = c->extra.n;
        pst_buf_putv(&c->extra, req->header[i].name);
        pst_buf_puts(&c->extra, ": ");
        pst_buf_putv(&c->extra, req->header[i].value);
        pst_buf_putc(&c->extra, '\0');
    }
    PST_ASSERT(!c->extra.failed);
    struct curl_slist *first = t->headers;
    for (unsigned i = req->headers; i-- > 0;) {
        c->list[i] = (struct curl_slist){c->extra.p + at[i], first};
        first = &c->list[i];
    }
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, first);
}

static void set_request(pst_http_call_t *c, const pst_http_target_t *t, const pst_http_req_t *req)
{
    set_url(c, t, req->path);
    set_headers(c, t, req);
    /* Not NULL, or curl would read the body from stdin. */
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, req->body.n ? req->body.p : "");
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.n);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, t->timeout_ms);
    /* Waiting for the first connection to tell whether it can be shared pays with HTTP/2 alone. */
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION,
                     t->tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_PIPEWAIT, t->tls ? 1L : 0L);
}

pst_http_call_t *pst_http_start(pst_http_t *h, pst_http_target_t *t, const pst_http_req_t *req,
                                pst_http_done_fn *done, void *arg)
{
    if (!sendable(req))
        return NULL;
    pst_http_call_t *c = idle_call(h);
    c->target = pst_http_target_ref(t);
    c->done = done;
    c->arg = arg;
    set_request(c, t, req);
    c->shard = roomy_shard(h);
    c->shard->calls++;
    pst_link_before(&h->live, &c->link);
    CURLMcode rc = curl_multi_add_handle(c->shard->multi, c->easy);
    PST_ASSERT(rc == CURLM_OK);
    return c;
}

void pst_http_cancel(pst_http_t *h, pst_http_call_t **call)
{
    pst_http_call_t *c = pst_take(call);
    leave_shard(c);
    rest_call(h, c);
}

pst_http_t *pst_http_new(pst_loop_t *loop)
{
    PST_ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
    pst_http_t *h = pst_calloc(1, sizeof *h);
    h->loop = loop;
    h->share = curl_share_init();
    PST_ASSERT(h->share);
    curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    pst_heap_init(&h->timers);
    pst_link_init(&h->live);
    pst_link_init(&h->idle);
    return h;
}

void pst_http_destroy(pst_http_t **h)
{
    if (!h || !*h)
        return;
    pst_http_t *x = pst_take(h);
    while (!pst_link_empty(&x->live)) {
        pst_http_call_t *c = PST_CONTAINER(x->live.next, pst_http_call_t, link);
        pst_http_cancel(x, &c);
    }
    while (!pst_link_empty(&x->idle)) {
        pst_http_call_t *c = PST_CONTAINER(x->idle.next, pst_http_call_t, link);
        pst_link_remove(&c->link);
        free_call(c);
    }
    for (unsigned i = 0; i < x->shards; i++) {
        curl_multi_cleanup(x->shard[i]->multi);
        free(x->shard[i]);
    }
    free(x->shard);
    free(x->conn);
    pst_heap_release(&x->timers);
    curl_share_cleanup(x->share);
    curl_global_cleanup();
    free(x);
}
