/* web.c - the server: where it listens, its connections, its turn of the loop. */
#include "gateway/web.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/web_inside.h"
#include "proc/log.h"

#define IDLE (75 * PST_SEC)          /* SDKs' pools let go after 60 s or less */
#define SILENT (120 * PST_SEC)
#define PACE_OVER (20 * PST_SEC)
#define BODY_BYTES_PER_S 1024u       /* a dial-up line */
#define CONNECTION_BYTES (16u << 10) /* headers, and pieces of bodies: more headers are 431 */
#define SWEEP_EVERY PST_SEC
#define DESCRIPTORS_KEPT 256u        /* for Redis, the broker, callbacks, files */

/* Connections. */

/* libmicrohttpd finds a socket that was shut down at its next look. */
static void cut(conn_t *c)
{
    pst_link_remove(&c->link);
    shutdown(c->fd, SHUT_RDWR);
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
    pst_web_t *w = arg;
    conn_t *c = *context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (c) {
            pst_link_remove(&c->link);
            w->connections--;
        }
        free(c);
        *context = NULL;
        return;
    }
    c = calloc(1, sizeof *c);
    if (!c)
        return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    c->fd = info ? info->connect_fd : -1;
    c->idle_since = pst_loop_now(w->loop);
    pst_link_init(&c->link);
    pst_link_before(&w->idle, &c->link);
    w->connections++;
    *context = c;
    if (w->connections > w->crowded && w->idle.next != &c->link)
        cut(PST_CONTAINER(w->idle.next, conn_t, link));
}

static bool has_hung_up(const conn_t *c)
{
    char byte;
    return c && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* libmicrohttpd is told of the end of a connection by an edge, and misses one that came together with the last bytes: the
 * connections that became idle a moment ago are looked at once or twice. */
static void look_at_newly_idle(pst_web_t *w, pst_ns_t now)
{
    for (pst_link_t *l = w->idle.prev, *before; l != &w->idle; l = before) {
        before = l->prev;
        conn_t *c = PST_CONTAINER(l, conn_t, link);
        if (pst_ns_since(now, c->idle_since) > 2 * SWEEP_EVERY)
            return;
        if (has_hung_up(c))
            cut(c);
    }
}

static void cut_idle(pst_web_t *w, pst_ns_t now)
{
    while (!pst_link_empty(&w->idle)) {
        conn_t *c = PST_CONTAINER(w->idle.next, conn_t, link);
        if (pst_ns_since(now, c->idle_since) < w->opts.idle)
            return;
        cut(c);
    }
}

/* Measured over one stretch after another: who began fast may not dribble later.  A body that we do not read is not slow. */
static bool is_too_slow(web_req_t *q, pst_ns_t now)
{
    const pst_web_opts_t *o = &q->web->opts;
    pst_ns_t took = pst_ns_since(now, q->pace_at);
    bool waits = !q->ended && !q->queued && !q->paused;
    if (waits && took < o->pace_over)
        return false;
    bool slow = waits && q->body_bytes - q->pace_bytes < took * BODY_BYTES_PER_S / PST_SEC;
    q->pace_at = now;
    q->pace_bytes = q->body_bytes;
    return slow;
}

/* The same for those with a request; and nobody else looks at a suspended connection. */
static void look_at_requests(pst_web_t *w, pst_ns_t now)
{
    for (pst_link_t *l = w->requests.next, *next; l != &w->requests; l = next) {
        next = l->next;
        web_req_t *q = PST_CONTAINER(l, web_req_t, link);
        bool waits = (q->suspended || (!q->ended && !q->queued)) && pst_ns_since(now, q->r.began) > SWEEP_EVERY;
        bool gone = waits && has_hung_up(q->conn);
        if (gone && q->suspended) {
            q->cut = true;
            pst_web_resume(q);
        } else if ((gone || is_too_slow(q, now)) && q->conn) {
            shutdown(q->conn->fd, SHUT_RDWR);
        }
    }
}

/* The loop. */

static pst_ns_t prepare(void *arg, pst_ns_t now)
{
    pst_web_t *w = arg;
    if (now >= w->sweep_at) {
        w->sweep_at = pst_ns_add(now, SWEEP_EVERY);
        cut_idle(w, now);
        look_at_newly_idle(w, now);
        look_at_requests(w, now);
    }
    MHD_UNSIGNED_LONG_LONG wait = 0;
    bool timed = MHD_get_timeout(w->mhd, &wait) == MHD_YES;
    if (w->run || (timed && wait == 0)) {
        w->run = false;
        MHD_run(w->mhd);
        timed = MHD_get_timeout(w->mhd, &wait) == MHD_YES;
    }
    if (w->run || (timed && wait == 0))
        return 0;
    return timed ? pst_ns_min(w->sweep_at, pst_ns_add(now, wait * PST_MS)) : w->sweep_at;
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    pst_web_t *w = arg;
    w->run = true;
}

/* Listening. */

static pst_err_t resolve(const char *listen, struct sockaddr_storage *ret, socklen_t *ret_n, pst_errbuf_t *eb)
{
    const char *colon = strrchr(listen, ':');
    if (!colon || colon == listen)
        return pst_errf(eb, PST_E_INVALID, "\"%s\" is no address to listen at: write HOST:PORT", listen);
    char host[256];
    bool bracketed = listen[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen - 2 * bracketed), listen + bracketed);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int bad = getaddrinfo(host, colon + 1, &hints, &found);
    if (bad)
        return pst_errf(eb, PST_E_INVALID, "\"%s\" is no address to listen at: %s", listen, gai_strerror(bad));
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_n = found->ai_addrlen;
    freeaddrinfo(found);
    return PST_OK;
}

/* As many descriptors as the system allows: each connection has one.  How many connections there may be. */
static uint32_t raise_descriptors(uint32_t wanted)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return wanted;
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
    rlim_t room = r.rlim_cur > 2 * DESCRIPTORS_KEPT ? r.rlim_cur - DESCRIPTORS_KEPT : r.rlim_cur / 2;
    return (uint32_t)PST_MIN(room, wanted);
}

static int listen_at(const char *text, pst_errbuf_t *eb, unsigned *ret_port)
{
    struct sockaddr_storage at;
    socklen_t n;
    if (resolve(text, &at, &n, eb))
        return -1;
    int on = 1;
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) || listen(fd, 1024)) {
        (void)pst_errf(eb, PST_E_IO, "cannot listen at %s: %s", text, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    n = sizeof at;
    getsockname(fd, (struct sockaddr *)&at, &n);
    *ret_port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                               : ((struct sockaddr_in *)&at)->sin_port);
    return fd;
}

static void on_mhd_log(void *arg, const char *format, va_list args)
{
    (void)arg;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    pst_log(PST_LOG_DEBUG, "HTTP", "text=\"%s\"", text);
}

/* "%00" stays as it is: decoded, it would end the text before its end. */
static size_t unescape(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg;
    (void)mhd;
    char *to = text;
    for (const char *p = text; *p;) {
        unsigned byte = 0;
        char digits[3] = "";
        if (p[0] == '%' && isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2])) {
            memcpy(digits, p + 1, 2);
            byte = (unsigned)strtoul(digits, NULL, 16);
        }
        *to++ = byte ? (char)byte : *p;
        p += byte ? 3 : 1;
    }
    *to = '\0';
    return (size_t)(to - text);
}

static void choose_patience(pst_web_opts_t *o)
{
    o->idle = o->idle ? o->idle : IDLE;
    o->silent = o->silent ? o->silent : SILENT;
    o->pace_over = o->pace_over ? o->pace_over : PACE_OVER;
}

pst_err_t pst_web_new(pst_loop_t *loop, const pst_web_opts_t *o, pst_web_t **ret, pst_errbuf_t *eb)
{
    uint32_t connections_max = raise_descriptors(o->connections_max);
    pst_web_t *w = calloc(1, sizeof *w);
    if (!w)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    w->loop = loop;
    w->opts = *o;
    w->crowded = connections_max - connections_max / 8;
    choose_patience(&w->opts);
    pst_link_init(&w->idle);
    pst_link_init(&w->requests);
    int fd = listen_at(o->listen, eb, &w->port);
    if (fd < 0) {
        free(w);
        return PST_E_IO;
    }
    w->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, pst_web_on_request, w,
                              MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
                              MHD_OPTION_LISTEN_SOCKET, fd,
                              MHD_OPTION_CONNECTION_LIMIT, connections_max,
                              MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(w->opts.silent / PST_SEC),
                              MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
                              MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                              MHD_OPTION_NOTIFY_COMPLETED, pst_web_on_completed, w,
                              MHD_OPTION_NOTIFY_CONNECTION, on_connection, w, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = w->mhd ? MHD_get_daemon_info(w->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        if (!w->mhd)
            close(fd);
        pst_web_destroy(&w);
        return pst_errf(eb, PST_E_IO, "libmicrohttpd does not start at %s", o->listen);
    }
    w->epoll_fd = info->listen_fd;
    pst_loop_fd(loop, w->epoll_fd, EPOLLIN, on_ready, w);
    pst_loop_prepare(loop, prepare, w);
    *ret = w;
    return PST_OK;
}

void pst_web_quiesce(pst_web_t *w)
{
    if (w->quiet)
        return;
    w->quiet = true;
    int fd = MHD_quiesce_daemon(w->mhd);
    if (fd >= 0)
        close(fd);
}

void pst_web_destroy(pst_web_t **pw)
{
    pst_web_t *w = *pw;
    *pw = NULL;
    if (!w)
        return;
    for (pst_link_t *l = w->requests.next; l != &w->requests; l = l->next) {
        web_req_t *q = PST_CONTAINER(l, web_req_t, link);
        q->cut = true;
        pst_web_resume(q);
    }
    if (w->mhd) {
        if (w->epoll_fd > 0)
            pst_loop_fd_remove(w->loop, w->epoll_fd);
        MHD_run(w->mhd);
        MHD_stop_daemon(w->mhd);
    }
    free(w);
}

bool pst_web_is_due(const pst_web_t *w) { return w->run; }
uint32_t pst_web_connections(const pst_web_t *w) { return w->connections; }
uint32_t pst_web_requests(const pst_web_t *w) { return w->requests_n; }
uint64_t pst_web_body_bytes(const pst_web_t *w) { return w->body_bytes; }
unsigned pst_web_port(const pst_web_t *w) { return w->port; }
