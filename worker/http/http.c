#include "http/http.h"

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
/* What is kept for answers to come: so many of them, each with so much memory for its body. */
#define SPARE_REPLIES_MAX 64
#define BODY_KEEP_BYTES ((size_t)256 << 10)
/* Calls whose answers are read by curl before any of them is read by its owner: each of the two is more code
 * than the nearest cache holds, and more calls have more data than the next one holds. */
#define COLLECT_CALLS 32

typedef struct shard {
    pst_http_t *http;
    CURLM *multi;
    unsigned calls;       /* in flight */
    pst_link_t roomy;     /* in pst_http.roomy while it has room */
    pst_link_t ready;     /* in pst_http.ready while calls may have ended in it */
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
    bool proxied;         /* the environment names a proxy */
    const char *ca_file;  /* trusted where a target names none; NULL: what curl was built with */
    shard_t **shard;
    unsigned shards;
    pst_link_t roomy;     /* shard_t.roomy: the latest to be left by a call first */
    pst_link_t ready;     /* shard_t.ready */
    unsigned reads;       /* events handled since the last of `ready` was collected */
    pst_heap_t timers;    /* of shard_t.due */
    pst_link_t live, idle; /* pst_http_call_t.link */
    pst_link_t spare;     /* reply_t.link */
    unsigned spares;
};

struct pst_http_target {
    uint32_t refs;
    char *base_url;
    char *ca_file;              /* NULL: those of the environment, or the system's */
    bool tls;
    long timeout_ms;
    struct curl_slist *headers; /* those of every call, and the key */
};

/* Where a header's text lies in reply_t.head. */
typedef struct span {
    uint32_t name_at, name_n, value_at, value_n;
} span_t;

/* What has come of an answer.  A call has one from the first byte on: most answers come at once, so that few
 * of these, still in the cache, serve any number of calls. */
typedef struct reply {
    pst_link_t link;
    pst_buf_t body;
    bool too_large;
    unsigned spans;
    pst_buf_t head;
    span_t span[PST_HTTP_ANSWER_HEADERS_MAX];
} reply_t;

struct pst_http_call {
    pst_link_t link;
    CURL *easy;
    shard_t *shard;              /* NULL: idle */
    pst_http_target_t *target;   /* NULL: idle */
    CURLU *parsed;               /* of `url`, for the easy handle */
    pst_buf_t url;               /* NUL included; empty: none yet */
    pst_buf_t extra;             /* text of the request's own headers */
    struct curl_slist list[PST_HTTP_HEADERS_MAX]; /* them, chained before the target's */
    const pst_view_t *piece;     /* of a body that has no one place */
    unsigned pieces, piece_at;   /* the next to be sent, from piece_from on */
    size_t piece_from;
    reply_t *reply;              /* NULL: nothing has come */
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

pst_http_target_t *pst_http_target_new(const char *base_url, const char *ca_file, pst_auth_t auth,
                                       const pst_secret_t *key, pst_ns_t timeout)
{
    pst_http_target_t *t = pst_calloc(1, sizeof *t);
    t->refs = 1;
    t->base_url = pst_strdup_view(pst_view_str(base_url));
    t->ca_file = ca_file ? pst_strdup_view(pst_view_str(ca_file)) : NULL;
    t->tls = strncasecmp(base_url, "https:", 6) == 0;
    t->timeout_ms = (long)PST_MIN(PST_MAX(timeout / PST_MS, (pst_ns_t)1), (pst_ns_t)INT32_MAX);
    add_header(&t->headers, "Content-Type: application/json");
    /* Not as an option: curl would print it into a buffer of its own first, for every call. */
    add_header(&t->headers, "User-Agent: penstock/" PST_VERSION);
    /* A name without a value is not sent, and keeps curl from sending its own: Expect would ask for "100
     * Continue" before a longer body and wait a second for it; unpacking an answer costs more than it saves. */
    add_header(&t->headers, "Expect:");
    add_header(&t->headers, "Accept-Encoding:");
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
    free(x->ca_file);
    free(x);
}

/* ---- bodies in pieces ------------------------------------------------------------------------ */

static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
    pst_http_call_t *c = arg;
    size_t got = 0, room = size * n;
    while (got < room && c->piece_at < c->pieces) {
        pst_view_t v = c->piece[c->piece_at];
        size_t part = PST_MIN(room - got, v.n - c->piece_from);
        memcpy(to + got, v.p + c->piece_from, part);
        got += part;
        c->piece_from += part;
        if (c->piece_from == v.n) {
            c->piece_at++;
            c->piece_from = 0;
        }
    }
    return got;
}

/* Curl goes back to the start when a connection that was kept turns out to be closed. */
static int on_seek(void *arg, curl_off_t to, int origin)
{
    pst_http_call_t *c = arg;
    if (origin != SEEK_SET || to != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    c->piece_at = 0;
    c->piece_from = 0;
    return CURL_SEEKFUNC_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

static reply_t *reply_of(pst_http_call_t *c)
{
    pst_http_t *h = c->shard->http;
    if (c->reply)
        return c->reply;
    if (pst_link_empty(&h->spare)) {
        c->reply = pst_calloc(1, sizeof *c->reply);
        pst_link_init(&c->reply->link);
        pst_buf_init(&c->reply->head, PST_HTTP_ANSWER_HEADER_BYTES_MAX);
        pst_buf_init(&c->reply->body, PST_RESULT_BODY_BYTES_MAX);
    } else {
        c->reply = PST_CONTAINER(h->spare.next, reply_t, link);
        pst_link_remove(&c->reply->link);
        h->spares--;
    }
    return c->reply;
}

static void free_reply(reply_t *r)
{
    pst_link_remove(&r->link);
    pst_buf_release(&r->head);
    pst_buf_release(&r->body);
    free(r);
}

static void give_reply(pst_http_t *h, reply_t *r)
{
    if (h->spares == SPARE_REPLIES_MAX) {
        free_reply(r);
        return;
    }
    if (r->body.cap > BODY_KEEP_BYTES)
        pst_buf_release(&r->body);
    pst_buf_clear(&r->body);
    pst_buf_clear(&r->head);
    r->spans = 0;
    r->too_large = false;
    pst_link_after(&h->spare, &r->link);
    h->spares++;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    reply_t *r = reply_of(arg);
    pst_buf_put(&r->body, p, size * n);
    if (r->body.failed) {
        r->too_large = true;
        return 0;
    }
    return size * n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static void add_span(reply_t *r, pst_view_t line, size_t colon)
{
    size_t from = colon + 1, to = line.n;
    while (from < to && is_blank(line.p[from]))
        from++;
    while (to > from && is_blank(line.p[to - 1]))
        to--;
    char *p = pst_buf_reserve(&r->head, colon + (to - from));
    if (!p) {
        r->head.failed = false; /* past the cap: this header is left out, a shorter one may still fit */
        return;
    }
    for (size_t i = 0; i < colon; i++)
        p[i] = lower(line.p[i]);
    memcpy(p + colon, line.p + from, to - from);
    uint32_t at = (uint32_t)r->head.n;
    r->span[r->spans++] = (span_t){at, (uint32_t)colon, at + (uint32_t)colon, (uint32_t)(to - from)};
    r->head.n += colon + (to - from);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    reply_t *r = reply_of(arg);
    pst_view_t line = pst_view(p, size * n);
    if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        /* A status line: what came before belonged to an interim answer. */
        pst_buf_clear(&r->head);
        r->spans = 0;
        return line.n;
    }
    const char *colon = memchr(line.p, ':', line.n);
    if (colon && colon > line.p && r->spans < PST_HTTP_ANSWER_HEADERS_MAX)
        add_span(r, line, (size_t)(colon - line.p));
    return line.n;
}

static pst_cause_t cause_of(const pst_http_call_t *c, CURLcode code)
{
    if (c->reply && c->reply->too_large)
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
    const reply_t *r = c->reply;
    if (!r)
        return;
    for (unsigned i = 0; i < r->spans; i++) {
        const span_t *s = &r->span[i];
        header[i].name = pst_view(r->head.p + s->name_at, s->name_n);
        header[i].value = pst_view(r->head.p + s->value_at, s->value_n);
    }
    ret->header = header;
    ret->headers = r->spans;
    ret->body = pst_buf_view(&r->body);
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
    c->parsed = curl_url();
    PST_ASSERT(c->parsed);
    pst_link_init(&c->link);
    pst_buf_init(&c->url, 0);
    pst_buf_init(&c->extra, 0);
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
    curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, ""); /* what comes packed all the same is unpacked */
    curl_easy_setopt(c->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (!h->proxied)
        curl_easy_setopt(c->easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(c->easy, CURLOPT_SEEKDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, h);
    return c;
}

static void free_call(pst_http_call_t *c)
{
    curl_easy_cleanup(c->easy);
    curl_url_cleanup(c->parsed);
    pst_http_target_unref(&c->target);
    pst_buf_release(&c->url);
    pst_buf_release(&c->extra);
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
    shard_t *s = pst_take(&c->shard);
    curl_multi_remove_handle(s->multi, c->easy);
    if (s->calls-- == PST_HTTP_SHARD_CALLS)
        pst_link_after(&s->http->roomy, &s->roomy);
}

static void rest_call(pst_http_t *h, pst_http_call_t *c)
{
    pst_http_target_unref(&c->target);
    if (c->reply)
        give_reply(h, pst_take(&c->reply));
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

static void collect_all(pst_http_t *h)
{
    h->reads = 0;
    while (!pst_link_empty(&h->ready)) {
        shard_t *s = PST_CONTAINER(h->ready.next, shard_t, ready);
        pst_link_remove(&s->ready);
        collect(s);
    }
}

/* ---- shards and the loop --------------------------------------------------------------------- */

static void act(shard_t *s, curl_socket_t fd, int mask)
{
    pst_http_t *h = s->http;
    int running;
    curl_multi_socket_action(s->multi, fd, mask, &running);
    if (pst_link_empty(&s->ready))
        pst_link_before(&h->ready, &s->ready);
}

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
    act(s, fd, mask);
    if (++s->http->reads == COLLECT_CALLS)
        collect_all(s->http);
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
    pst_link_init(&s->ready);
    pst_link_after(&h->roomy, &s->roomy);
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

/* The first with room is filled before the next: under less load the others fall idle as a whole. */
static shard_t *enter_shard(pst_http_t *h)
{
    shard_t *s = pst_link_empty(&h->roomy) ? add_shard(h) : PST_CONTAINER(h->roomy.next, shard_t, roomy);
    if (++s->calls == PST_HTTP_SHARD_CALLS)
        pst_link_remove(&s->roomy);
    return s;
}

void pst_http_step(pst_http_t *h, pst_ns_t now)
{
    pst_heap_node_t *top;
    /* Each shard about once: one that always wants to run again must not keep the loop from the others. */
    for (unsigned i = 0; i <= h->shards && (top = pst_heap_top(&h->timers)) && top->key <= now; i++) {
        shard_t *s = PST_CONTAINER(top, shard_t, due);
        pst_heap_remove(&h->timers, top);
        act(s, CURL_SOCKET_TIMEOUT, 0);
    }
    collect_all(h);
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

/* Most calls of a provider go to one URL, and curl parses, prints and copies a URL given as text for each of
 * them anew: a parsed one is only copied. */
static bool set_url(pst_http_call_t *c, const pst_http_target_t *t, pst_view_t path)
{
    size_t base = strlen(t->base_url);
    if (c->url.n == base + path.n + 1 && memcmp(c->url.p, t->base_url, base) == 0 &&
        memcmp(c->url.p + base, path.p, path.n) == 0)
        return true;
    pst_buf_clear(&c->url);
    pst_buf_put(&c->url, t->base_url, base);
    pst_buf_putv(&c->url, path);
    pst_buf_putc(&c->url, '\0');
    PST_ASSERT(!c->url.failed);
    if (curl_url_set(c->parsed, CURLUPART_URL, c->url.p, 0)) {
        pst_buf_clear(&c->url);
        return false;
    }
    curl_easy_setopt(c->easy, CURLOPT_URL, NULL); /* the text it made of the last one */
    curl_easy_setopt(c->easy, CURLOPT_CURLU, c->parsed);
    return true;
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

static void set_tls(pst_http_t *h, pst_http_call_t *c, const pst_http_target_t *t)
{
    const char *ca_file = t->ca_file ? t->ca_file : h->ca_file;
    /* A file is read once a shard.  With a directory beside it curl reads both for every connection, and the
     * system's file has all that the directory has. */
    if (ca_file) {
        curl_easy_setopt(c->easy, CURLOPT_CAINFO, ca_file);
        curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
    }
}

static void set_body(pst_http_call_t *c, const pst_http_req_t *req)
{
    c->piece = req->piece;
    c->pieces = req->pieces;
    c->piece_at = 0;
    c->piece_from = 0;
    const char *whole = req->body.n ? req->body.p : "";
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, req->pieces ? NULL : whole); /* NULL: on_read is asked */
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)pst_http_req_bytes(req));
}

/* false: that is no URL. */
static bool set_request(pst_http_t *h, pst_http_call_t *c, const pst_http_target_t *t, const pst_http_req_t *req)
{
    if (!set_url(c, t, req->path))
        return false;
    set_headers(c, t, req);
    if (t->tls)
        set_tls(h, c, t);
    set_body(c, req);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, t->timeout_ms);
    /* Waiting for the first connection to tell whether it can be shared pays with HTTP/2 alone. */
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION,
                     t->tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_PIPEWAIT, t->tls ? 1L : 0L);
    return true;
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
    if (!set_request(h, c, t, req)) {
        rest_call(h, c);
        return NULL;
    }
    c->shard = enter_shard(h);
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

/* Asked once: curl would ask the environment five times a call. */
static bool environment_names_proxy(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < PST_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return true;
    }
    return false;
}

/* OpenSSL's and everybody's name for it, but curl's. */
static const char *trusted_file(void)
{
    const char *named = getenv("SSL_CERT_FILE");
    return named && *named ? named : curl_version_info(CURLVERSION_NOW)->cainfo;
}

pst_http_t *pst_http_new(pst_loop_t *loop)
{
    PST_ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
    pst_http_t *h = pst_calloc(1, sizeof *h);
    h->loop = loop;
    h->proxied = environment_names_proxy();
    h->ca_file = trusted_file();
    h->share = curl_share_init();
    PST_ASSERT(h->share);
    curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    pst_heap_init(&h->timers);
    pst_link_init(&h->roomy);
    pst_link_init(&h->ready);
    pst_link_init(&h->spare);
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
    while (!pst_link_empty(&x->spare))
        free_reply(PST_CONTAINER(x->spare.next, reply_t, link));
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
