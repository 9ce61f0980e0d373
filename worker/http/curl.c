#include "http/curl.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/heap.h"
#include "http/memory.h"
#include "http/reply.h"
#include "proc/clock.h"

#define SHARD_CALLS 64
#define CONNECT_TIMEOUT_MS 10000L
/* While a model thinks nothing is said for minutes, and what lies on the way (NAT, load balancers) forgets connections that
 * are silent, some after four of them.  TCP's own probes are all there is: HTTP/2's pings are curl_easy_upkeep's, which in
 * libcurl 7.88 knows no connections of a multi handle. */
#define KEEPALIVE_IDLE_S 60L
#define KEEPALIVE_INTERVAL_S 30L
#define CONNECTION_BUFFER_BYTES 8192L
/* With HTTP/2 libcurl 7.88 can have taken the end of a large answer from the socket and then wait for the socket to
 * become readable, which it never does.  So connections of a shard that was quiet so long are said to be. */
#define NUDGE_EVERY (250 * PST_MS)

typedef struct shard {
    pst_curl_t *curl;
    CURLM *multi;
    unsigned calls;       /* in flight */
    pst_ns_t acted;       /* when curl last did something there */
    pst_link_t roomy;     /* in pst_curl.roomy while it has room */
    pst_link_t ready;     /* in pst_curl.ready while calls may have ended in it */
    pst_heap_node_t due;  /* in pst_curl.timers: when curl wants to run */
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

struct pst_curl {
    pst_loop_t *loop;
    conn_t *conn;         /* by descriptor */
    size_t conns;
    CURLSH *share;
    bool proxied;         /* the environment names a proxy */
    const char *ca_file;  /* trusted where a site names none; NULL: what curl was built with */
    shard_t **shard;
    unsigned shards;
    pst_link_t roomy;     /* shard_t.roomy: the latest to be left by a call first */
    pst_link_t ready;     /* shard_t.ready */
    unsigned reads;       /* events handled since the last of `ready` was collected */
    pst_heap_t timers;    /* of shard_t.due */
    pst_ns_t nudge_at;    /* while there are calls */
    pst_link_t live, idle; /* call_t.link */
    pst_heap_t answers;    /* of call_t.answer */
    uint64_t connections, reused;
    pst_replies_t replies;
};

struct pst_curl_site {
    uint32_t refs;
    char *base_url;
    char *ca_file;              /* NULL: those of the environment, or the system's */
    char *proxy;                /* "": none; NULL: what the environment says */
    bool tls;
    bool asked, http1;          /* known whether it takes HTTP/1.1, and so */
    unsigned calls;             /* in flight */
    long timeout_ms;
    pst_ns_t idle_timeout;
    struct curl_slist *headers; /* of every call */
};

typedef struct call {
    pst_http_call_t base;
    pst_link_t link;
    CURL *easy;
    shard_t *shard;              /* NULL: idle */
    pst_curl_site_t *site;       /* NULL: idle */
    pst_curl_connected_fn *connected; /* NULL: a call, or a connection that was handed out */
    CURLU *parsed;               /* of `url`, for the easy handle */
    pst_buf_t url;               /* NUL included; empty: none yet */
    pst_buf_t extra;             /* text of the request's own headers */
    struct curl_slist list[PST_HTTP_HEADERS_MAX]; /* them, chained before the site's */
    const pst_view_t *piece;     /* of a body that has no one place */
    unsigned pieces, piece_at;   /* the next to be sent, from piece_from on */
    size_t piece_from;
    pst_reply_t *reply;          /* NULL: nothing has come */
    pst_heap_node_t answer;      /* in pst_curl.answers once it has begun: when it may have stalled */
    pst_ns_t heard;              /* the last of it */
    bool too_large, stalled;
    char said[CURL_ERROR_SIZE];  /* by curl, of what went wrong */
    bool own_proxy;              /* the easy handle is set to a site's */
    bool streams, cut;           /* on_part has its body; it wanted no more */
    bool paused;
    pst_http_back_t back;
} call_t;

/* ---- sites ----------------------------------------------------------------------------------- */

static void add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    PST_ASSERT(more);
    *list = more;
}

static char *copied(const char *text)
{
    return text ? pst_strdup_view(pst_view_str(text)) : NULL;
}

pst_curl_site_t *pst_curl_site_new(const pst_http_target_opts_t *o, char *const *line, unsigned lines)
{
    pst_curl_site_t *s = pst_calloc(1, sizeof *s);
    s->refs = 1;
    s->base_url = copied(o->base_url);
    s->ca_file = copied(o->ca_file);
    s->proxy = copied(o->proxy);
    s->tls = strncasecmp(o->base_url, "https:", 6) == 0;
    s->asked = s->http1 = !s->tls;
    s->timeout_ms = (long)PST_MIN(PST_MAX(o->timeout / PST_MS, (pst_ns_t)1), (pst_ns_t)INT32_MAX);
    s->idle_timeout = o->idle_timeout;
    for (unsigned i = 0; i < lines; i++)
        add_header(&s->headers, line[i]);
    /* A name without a value is not sent, and keeps curl from sending its own: Expect would ask for "100
     * Continue" before a longer body and wait a second for it; unpacking an answer costs more than it saves, unless the
     * line is slow. */
    add_header(&s->headers, "Expect:");
    if (!o->asks_for_packed)
        add_header(&s->headers, "Accept-Encoding:");
    return s;
}

pst_curl_site_t *pst_curl_site_ref(pst_curl_site_t *s)
{
    s->refs++;
    return s;
}

void pst_curl_site_unref(pst_curl_site_t **s)
{
    pst_curl_site_t *x = s ? pst_take(s) : NULL;
    if (!x || --x->refs > 0)
        return;
    for (struct curl_slist *l = x->headers; l; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(x->headers);
    free(x->base_url);
    free(x->ca_file);
    if (x->proxy)
        explicit_bzero(x->proxy, strlen(x->proxy)); /* it may have a password */
    free(x->proxy);
    free(x);
}

bool pst_curl_site_http1(const pst_curl_site_t *s)
{
    return s->http1;
}

bool pst_curl_site_asking(const pst_curl_site_t *s)
{
    return !s->asked && s->calls > 0;
}

/* ---- bodies in pieces ------------------------------------------------------------------------ */

static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
    call_t *c = arg;
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
    call_t *c = arg;
    if (origin != SEEK_SET || to != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    c->piece_at = 0;
    c->piece_from = 0;
    return CURL_SEEKFUNC_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

static pst_reply_t *reply_of(call_t *c)
{
    if (!c->reply)
        c->reply = pst_replies_take(&c->shard->curl->replies);
    return c->reply;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    call_t *c = arg;
    c->heard = pst_loop_now(c->shard->curl->loop);
    c->too_large = !pst_reply_body(reply_of(c), p, size * n);
    return c->too_large ? 0 : size * n;
}

/* Of a call that wants its body as it comes. */
static size_t on_part(char *p, size_t size, size_t n, void *arg)
{
    call_t *c = arg;
    if (!c->back.part)
        return on_body(p, size, n, arg);
    c->heard = pst_loop_now(c->shard->curl->loop);
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t head = {.transport = PST_CAUSE_NONE, .wall_ms = pst_clock_wall_ms()};
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    head.status = (int)status;
    pst_reply_fill(reply_of(c), header, &head);
    head.body = pst_view(NULL, 0);
    switch (c->back.part(c->back.arg, &head, pst_view(p, size * n))) {
    case PST_HTTP_TAKEN:
        return size * n;
    case PST_HTTP_KEEP:
        c->back.part = NULL;
        return on_body(p, size, n, arg);
    case PST_HTTP_CUT:
        break;
    }
    c->cut = true;
    return 0;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    call_t *c = arg;
    pst_curl_t *owner = c->shard->curl;
    pst_reply_header(reply_of(c), pst_view(p, size * n));
    c->heard = pst_loop_now(owner->loop);
    if (c->site->idle_timeout && pst_reply_begun(c->reply) && !pst_heap_has(&c->answer))
        pst_heap_set(&owner->answers, &c->answer, pst_ns_add(c->heard, c->site->idle_timeout));
    return size * n;
}

/* The request as it was written, "POST /v1/chat/completions HTTP/2" first: nothing else of curl tells what TLS has
 * agreed on before there is an answer, which a model may take minutes for. */
static int on_debug(CURL *easy, curl_infotype type, char *p, size_t n, void *arg)
{
    static const char http1[] = " HTTP/1.1\r\n";
    pst_curl_site_t *s = ((call_t *)arg)->site;
    (void)easy;
    if (type == CURLINFO_HEADER_OUT && !s->asked) {
        s->asked = true;
        s->http1 = memmem(p, n, http1, sizeof http1 - 1) != NULL;
    }
    return 0;
}

static void trouble_of(const call_t *c, CURLcode code, pst_trouble_t *ret)
{
    if (c->too_large)
        pst_trouble_too_large(ret);
    else if (c->stalled)
        pst_trouble_stalled(ret, pst_trouble_bytes(c->easy), c->site->idle_timeout);
    else
        pst_trouble_of_curl(ret, c->easy, code, c->said);
}

/* An answer that broke off is none: half a body cannot be told from a whole one by whoever reads it. */
static void fill_answer(const call_t *c, CURLcode code, pst_http_header_t *header, pst_trouble_t *trouble,
                        pst_http_answer_t *ret)
{
    *ret = (pst_http_answer_t){.transport = PST_CAUSE_NONE, .wall_ms = pst_clock_wall_ms()};
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status == 0) {
        trouble_of(c, code, trouble);
        ret->transport = trouble->cause;
        ret->why = pst_view_str(trouble->text);
        return;
    }
    ret->status = (int)status;
    if (c->reply)
        pst_reply_fill(c->reply, header, ret);
}

/* ---- connections ----------------------------------------------------------------------------- */

static conn_t *conn_at(pst_curl_t *p, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need > p->conns) {
        size_t n = PST_MAX(need, 2 * p->conns);
        p->conn = pst_realloc(p->conn, n * sizeof *p->conn);
        memset(p->conn + p->conns, 0, (n - p->conns) * sizeof *p->conn);
        p->conns = n;
    }
    return &p->conn[fd];
}

static void unwatch(pst_curl_t *p, int fd)
{
    conn_t *n = conn_at(p, fd);
    pst_loop_fd_remove(p->loop, fd);
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

/* Without one of the site's own curl asks the environment, five times a call: not where that has been found to name none. */
static void set_proxy(const pst_curl_t *p, call_t *c, const char *proxy)
{
    curl_easy_setopt(c->easy, CURLOPT_PROXY, proxy);
    curl_easy_setopt(c->easy, CURLOPT_NOPROXY, proxy ? "" : p->proxied ? NULL : "*");
    c->own_proxy = proxy != NULL;
}

static void set_options(pst_curl_t *p, call_t *c)
{
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->said);
    curl_easy_setopt(c->easy, CURLOPT_SHARE, p->share);
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
    set_proxy(p, c, NULL);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(c->easy, CURLOPT_SEEKDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_DEBUGDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, p);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, p);
}

static call_t *new_call(pst_curl_t *p)
{
    call_t *c = pst_calloc(1, sizeof *c);
    c->easy = curl_easy_init();
    PST_ASSERT(c->easy);
    c->parsed = curl_url();
    PST_ASSERT(c->parsed);
    pst_link_init(&c->link);
    pst_heap_node_init(&c->answer);
    pst_buf_init(&c->url, 0);
    pst_buf_init(&c->extra, 0);
    set_options(p, c);
    return c;
}

static void free_call(call_t *c)
{
    curl_easy_cleanup(c->easy);
    curl_url_cleanup(c->parsed);
    pst_buf_release(&c->url);
    pst_buf_release(&c->extra);
    free(c);
}

static call_t *idle_call(pst_curl_t *p)
{
    if (pst_link_empty(&p->idle))
        return new_call(p);
    /* The latest one: its memory is warm, and so is the connection it used. */
    call_t *c = PST_CONTAINER(p->idle.next, call_t, link);
    pst_link_remove(&c->link);
    return c;
}

static void leave_shard(call_t *c)
{
    shard_t *s = pst_take(&c->shard);
    curl_multi_remove_handle(s->multi, c->easy);
    if (s->calls-- == SHARD_CALLS)
        pst_link_after(&s->curl->roomy, &s->roomy);
}

static void rest_call(pst_curl_t *p, call_t *c)
{
    if (c->site)
        c->site->calls--;
    pst_curl_site_unref(&c->site);
    pst_replies_give(&p->replies, &c->reply);
    pst_heap_remove(&p->answers, &c->answer);
    if (c->paused) { /* its handle may remember that */
        pst_link_remove(&c->link);
        free_call(c);
        return;
    }
    c->connected = NULL;
    c->too_large = c->stalled = false;
    c->said[0] = '\0';
    if (c->streams)
        curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    c->streams = c->cut = false;
    pst_link_remove(&c->link);
    pst_link_after(&p->idle, &c->link);
}

static void close_wire(void *arg)
{
    call_t *c = arg;
    pst_curl_t *p = c->shard->curl;
    leave_shard(c);
    rest_call(p, c);
}

/* With TLS the connection lives with its handle. */
static void hand_out(pst_curl_t *p, call_t *c, int fd)
{
    pst_wire_t wire;
    pst_curl_connected_fn *connected = pst_take(&c->connected);
    unwatch(p, fd);
    pst_wire_tls(&wire, fd, c->easy, close_wire, c);
    connected(c->back.arg, &wire, NULL);
}

/* Without TLS a descriptor is all it needs: curl closes its own, another one keeps the connection open. */
static void finish_connect(pst_curl_t *p, call_t *c, CURLcode code)
{
    pst_wire_t wire;
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK)
        curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd);
    p->connections += fd != CURL_SOCKET_BAD;
    if (fd != CURL_SOCKET_BAD && c->site->tls) {
        hand_out(p, c, fd);
        return;
    }
    int own = fd == CURL_SOCKET_BAD ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    pst_trouble_t trouble;
    if (own < 0)
        trouble_of(c, code, &trouble);
    pst_wire_plain(&wire, own);
    leave_shard(c);
    c->connected(c->back.arg, own < 0 ? NULL : &wire, &trouble);
    rest_call(p, c);
}

static void count(pst_curl_t *p, const call_t *c, CURLcode code)
{
    long made = 0;
    curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &made);
    p->connections += (uint64_t)made;
    p->reused += code == CURLE_OK && made == 0;
}

static void finish(pst_curl_t *p, call_t *c, CURLcode code)
{
    if (c->connected) {
        finish_connect(p, c, code);
        return;
    }
    curl_off_t us = 0;
    curl_easy_getinfo(c->easy, CURLINFO_TOTAL_TIME_T, &us);
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t answer;
    pst_trouble_t trouble;
    count(p, c, code);
    fill_answer(c, code, header, &trouble, &answer);
    leave_shard(c);
    if (!c->cut)
        c->back.done(c->back.arg, &answer, (uint64_t)us);
    rest_call(p, c);
}

static void collect(shard_t *s)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(s->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        call_t *c = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        finish(s->curl, c, code);
    }
}

static void collect_all(pst_curl_t *p)
{
    p->reads = 0;
    while (!pst_link_empty(&p->ready)) {
        shard_t *s = PST_CONTAINER(p->ready.next, shard_t, ready);
        pst_link_remove(&s->ready);
        collect(s);
    }
}

/* ---- shards and the loop --------------------------------------------------------------------- */

static void tell(shard_t *s, curl_socket_t fd, int mask)
{
    int running;
    curl_multi_socket_action(s->multi, fd, mask, &running);
    if (pst_link_empty(&s->ready))
        pst_link_before(&s->curl->ready, &s->ready);
}

static void act(shard_t *s, curl_socket_t fd, int mask)
{
    s->acted = pst_loop_now(s->curl->loop);
    tell(s, fd, mask);
}

static void nudge(pst_curl_t *p, pst_ns_t now)
{
    for (size_t fd = 0; fd < p->conns; fd++) { /* the table may grow meanwhile */
        const conn_t *n = &p->conn[fd];
        if (n->shard && n->wanted && n->shard->calls > 0 && pst_ns_since(now, n->shard->acted) >= NUDGE_EVERY)
            tell(n->shard, (curl_socket_t)fd, CURL_CSELECT_IN);
    }
    p->nudge_at = pst_link_empty(&p->live) ? PST_NEVER : pst_ns_add(now, NUDGE_EVERY);
}

static void on_fd(void *arg, int fd, uint32_t events)
{
    shard_t *s = arg;
    if (!conn_at(s->curl, fd)->wanted) {
        unwatch(s->curl, fd);
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
    if (++s->curl->reads == PST_HTTP_REPORT_CALLS)
        collect_all(s->curl);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    (void)socket_arg;
    shard_t *s = arg;
    conn_t *n = conn_at(s->curl, fd);
    if (what == CURL_POLL_REMOVE) {
        n->wanted = false;
        if (!n->ours)
            unwatch(s->curl, fd);
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
    pst_loop_fd(s->curl->loop, fd, events, on_fd, s);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    shard_t *s = arg;
    pst_heap_t *timers = &s->curl->timers;
    if (timeout_ms < 0)
        pst_heap_remove(timers, &s->due);
    else
        pst_heap_set(timers, &s->due, pst_ns_add(pst_loop_now(s->curl->loop), (pst_ns_t)timeout_ms * PST_MS));
    return 0;
}

static shard_t *add_shard(pst_curl_t *p)
{
    shard_t *s = pst_calloc(1, sizeof *s);
    s->curl = p;
    s->multi = curl_multi_init();
    PST_ASSERT(s->multi);
    pst_heap_node_init(&s->due);
    pst_link_init(&s->ready);
    pst_link_after(&p->roomy, &s->roomy);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    /* Past either curl closes the connection that has rested longest, and takes one that was handed out for such.  Those
     * of all calls there can be, and as many again that rest, do not come to that. */
    curl_multi_setopt(s->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 2L * SHARD_CALLS);
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, 2L * SHARD_CALLS);
    p->shard = pst_realloc(p->shard, (p->shards + 1) * sizeof *p->shard);
    p->shard[p->shards++] = s;
    return s;
}

/* The first with room is filled before the next: under less load the others fall idle as a whole. */
static void enter_shard(pst_curl_t *p, call_t *c)
{
    shard_t *s = pst_link_empty(&p->roomy) ? add_shard(p) : PST_CONTAINER(p->roomy.next, shard_t, roomy);
    if (++s->calls == SHARD_CALLS)
        pst_link_remove(&s->roomy);
    c->shard = s;
    s->acted = pst_loop_now(p->loop);
    p->nudge_at = pst_ns_min(p->nudge_at, pst_ns_add(s->acted, NUDGE_EVERY));
    pst_link_before(&p->live, &c->link);
    PST_ASSERT(curl_multi_add_handle(s->multi, c->easy) == CURLM_OK);
}

/* An answer that has begun and stalls: looked at when it would be over had nothing come since. */
static void end_stalled(pst_curl_t *p, pst_ns_t now)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&p->answers)) && top->key <= now) {
        call_t *c = PST_CONTAINER(top, call_t, answer);
        pst_ns_t over = pst_ns_add(c->heard, c->site->idle_timeout);
        if (over > now) {
            pst_heap_set(&p->answers, top, over);
            continue;
        }
        c->stalled = true;
        finish(p, c, CURLE_OPERATION_TIMEDOUT);
    }
}

void pst_curl_step(pst_curl_t *p, pst_ns_t now)
{
    pst_heap_node_t *top;
    /* Each shard about once: one that always wants to run again must not keep the loop from the others. */
    for (unsigned i = 0; i <= p->shards && (top = pst_heap_top(&p->timers)) && top->key <= now; i++) {
        shard_t *s = PST_CONTAINER(top, shard_t, due);
        pst_heap_remove(&p->timers, top);
        act(s, CURL_SOCKET_TIMEOUT, 0);
    }
    if (now >= p->nudge_at)
        nudge(p, now);
    collect_all(p);
    end_stalled(p, now);
}

static pst_ns_t due_in(const pst_heap_t *h)
{
    const pst_heap_node_t *top = pst_heap_top(h);
    return top ? top->key : PST_NEVER;
}

pst_ns_t pst_curl_due(const pst_curl_t *p)
{
    return pst_ns_min(p->nudge_at, pst_ns_min(due_in(&p->timers), due_in(&p->answers)));
}

/* ---- start and stop -------------------------------------------------------------------------- */

/* Most calls of a provider go to one URL, and curl parses, prints and copies a URL given as text for each of
 * them anew: a parsed one is only copied.  false: that is no URL. */
static bool set_url(call_t *c, const char *base_url, pst_view_t path)
{
    size_t base = strlen(base_url);
    if (c->url.n == base + path.n + 1 && memcmp(c->url.p, base_url, base) == 0 &&
        (path.n == 0 || memcmp(c->url.p + base, path.p, path.n) == 0))
        return true;
    pst_buf_clear(&c->url);
    pst_buf_put(&c->url, base_url, base);
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

static void set_headers(call_t *c, const pst_curl_site_t *s, const pst_http_req_t *req)
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
    struct curl_slist *first = s->headers;
    for (unsigned i = req->headers; i-- > 0;) {
        c->list[i] = (struct curl_slist){c->extra.p + at[i], first};
        first = &c->list[i];
    }
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, first);
}

/* A file of certificates is read once a shard.  With a directory beside it curl reads both for every connection, and
 * the system's file has all that the directory has. */
static void set_trust(const pst_curl_t *p, call_t *c, const pst_curl_site_t *s)
{
    const char *ca_file = s->ca_file ? s->ca_file : p->ca_file;
    if (!ca_file)
        return;
    curl_easy_setopt(c->easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
}

static void set_body(call_t *c, const pst_http_req_t *req)
{
    c->piece = req->piece;
    c->pieces = req->pieces;
    c->piece_at = 0;
    c->piece_from = 0;
    const char *whole = req->body.n ? req->body.p : "";
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, req->pieces ? NULL : whole); /* NULL: on_read is asked */
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)pst_http_req_bytes(req));
}

/* Waiting for the first connection to tell whether it can be shared pays with HTTP/2 alone. */
static void set_manner(call_t *c, bool http2, long timeout_ms, bool connect_only)
{
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(c->easy, CURLOPT_CONNECT_ONLY, connect_only ? 1L : 0L);
    /* A connection handed out keeps its buffer while it lives; thousands of them are kept. */
    curl_easy_setopt(c->easy, CURLOPT_BUFFERSIZE, connect_only ? CONNECTION_BUFFER_BYTES : CURL_MAX_WRITE_SIZE + 0L);
}

static void set_site(const pst_curl_t *p, call_t *c, pst_curl_site_t *s)
{
    c->site = pst_curl_site_ref(s);
    s->calls++;
    if (s->proxy || c->own_proxy) /* curl copies what it is given */
        set_proxy(p, c, s->proxy);
    curl_easy_setopt(c->easy, CURLOPT_VERBOSE, s->asked ? 0L : 1L);
    curl_easy_setopt(c->easy, CURLOPT_DEBUGFUNCTION, s->asked ? NULL : on_debug);
    if (s->tls)
        set_trust(p, c, s);
}

pst_http_call_t *pst_curl_start(pst_curl_t *p, pst_curl_site_t *s, const pst_http_req_t *req,
                                const pst_http_back_t *back)
{
    call_t *c = idle_call(p);
    c->back = *back;
    if (!set_url(c, s->base_url, req->path)) {
        rest_call(p, c);
        return NULL;
    }
    set_site(p, c, s);
    set_headers(c, s, req);
    set_body(c, req);
    set_manner(c, s->tls, s->timeout_ms, false);
    c->streams = back->part != NULL;
    if (c->streams)
        curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_part);
    enter_shard(p, c);
    return &c->base;
}

/* Going on, curl gives what it has from within this call; that nobody wants more of it then goes unseen. */
void pst_curl_pause(pst_http_call_t *call, bool paused)
{
    call_t *c = PST_CONTAINER(call, call_t, base);
    pst_curl_t *p = c->shard->curl;
    c->paused = paused;
    curl_easy_pause(c->easy, paused ? CURLPAUSE_RECV : CURLPAUSE_CONT);
    if (c->cut)
        pst_curl_cancel(p, call);
}

void pst_curl_cancel(pst_curl_t *p, pst_http_call_t *call)
{
    call_t *c = PST_CONTAINER(call, call_t, base);
    leave_shard(c);
    rest_call(p, c);
}

void pst_curl_connect(pst_curl_t *p, pst_curl_site_t *s, pst_curl_connected_fn *connected, void *arg)
{
    call_t *c = idle_call(p);
    c->connected = connected;
    c->back.arg = arg;
    PST_ASSERT(set_url(c, s->base_url, pst_view(NULL, 0)));
    set_site(p, c, s);
    set_manner(c, false, CONNECT_TIMEOUT_MS, true);
    enter_shard(p, c);
}

/* ---- life ------------------------------------------------------------------------------------ */

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

bool pst_curl_proxied(const pst_curl_t *p)
{
    return p->proxied;
}

uint64_t pst_curl_connections(const pst_curl_t *p)
{
    return p->connections;
}

uint64_t pst_curl_reused(const pst_curl_t *p)
{
    return p->reused;
}

pst_curl_t *pst_curl_new(pst_loop_t *loop)
{
    pst_http_memory_begin();
    PST_ASSERT(curl_global_init_mem(CURL_GLOBAL_ALL, pst_http_malloc, pst_http_free, pst_http_realloc, pst_http_strdup,
                                    pst_http_calloc) == CURLE_OK);
    pst_curl_t *p = pst_calloc(1, sizeof *p);
    p->loop = loop;
    p->proxied = environment_names_proxy();
    p->ca_file = trusted_file();
    p->share = curl_share_init();
    PST_ASSERT(p->share);
    curl_share_setopt(p->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(p->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    pst_heap_init(&p->timers);
    pst_heap_init(&p->answers);
    p->nudge_at = PST_NEVER;
    pst_link_init(&p->roomy);
    pst_link_init(&p->ready);
    pst_link_init(&p->live);
    pst_link_init(&p->idle);
    pst_replies_init(&p->replies);
    return p;
}

void pst_curl_destroy(pst_curl_t **p)
{
    if (!p || !*p)
        return;
    pst_curl_t *x = pst_take(p);
    while (!pst_link_empty(&x->live))
        pst_curl_cancel(x, &PST_CONTAINER(x->live.next, call_t, link)->base);
    while (!pst_link_empty(&x->idle)) {
        call_t *c = PST_CONTAINER(x->idle.next, call_t, link);
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
    pst_heap_release(&x->answers);
    pst_replies_release(&x->replies);
    curl_share_cleanup(x->share);
    curl_global_cleanup();
    pst_http_memory_end();
    free(x);
}
