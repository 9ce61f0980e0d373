#include "server.h"

#include "base/heap.h"
#include "base/list.h"
#include "h2.h"
#include "service.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define ACCEPTS_A_TURN 64
#define READ_BYTES ((size_t)256 << 10)
/* A client that sends on while its answer is due is read this far ahead, then left waiting. */
#define AHEAD_BYTES_MAX ((size_t)256 << 10)
#define LINGER_NS (2 * PST_SEC)
/* Frames of HTTP/2 gathered for one write. */
#define GATHER_BYTES ((size_t)256 << 10)

/* What a connection is doing. */
typedef enum conn_state {
    CONN_SHAKING,  /* TLS: hands */
    CONN_READING,  /* waiting for (the rest of) a request */
    CONN_PENDING,  /* a reply is made and due at the timer's time, or never (hang) */
    CONN_STREAMING, /* between two events of an answer; the next is due at the timer's time */
    CONN_SENDING,  /* the socket is full; `out` holds what is left */
    CONN_LINGERING /* all said; until the client closes, or it would be reset before it has read */
} conn_state_t;

typedef struct conn {
    pst_link_t link;       /* in sim_server.conns */
    pst_heap_node_t timer; /* CONN_PENDING: reply due; CONN_STREAMING: event due; CONN_LINGERING: end of patience */
    int fd;
    uint32_t interest; /* what epoll was asked for */
    conn_state_t state;
    bool close; /* after sending */
    bool eof;   /* found while reading ahead */
    bool fresh; /* it may still turn out to speak HTTP/2 */
    sim_tls_t *tls; /* NULL: none */
    sim_h2_t *h2;   /* NULL: HTTP/1.x; else the requests are its business, and out holds its frames */
    pst_link_t more; /* in sim_server.more: TLS has read ahead; alone otherwise */
    sim_http_t http;
    pst_buf_t in;  /* begins with the request being read; empty between requests */
    pst_buf_t out; /* pending or unsent bytes */
    size_t out_at;
    pst_buf_t stream; /* an answer in events, head and all; empty: none under way */
    size_t stream_at; /* of it sent */
    bool cut;         /* it ends there, and the connection with it */
    sim_reply_t reply; /* CONN_PENDING, and with a stream */
} conn_t;

struct sim_server {
    sim_service_t service;
    sim_server_opts_t opts;
    sim_h2_hub_t *h2;
    int epoll_fd, listen_fd, stop_fd;
    bool accepting;
    bool stopping;
    pst_ns_t now;
    pst_link_t conns;
    pst_link_t more; /* conn.more */
    pst_heap_t timers;
    pst_buf_t frames;   /* of HTTP/2, on their way out */
    char *read_buf;     /* READ_BYTES; most requests are read and answered without leaving it */
    sim_http_req_t req; /* too large for the stack of every call */
};

static pst_ns_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (pst_ns_t)ts.tv_sec * PST_SEC + (pst_ns_t)ts.tv_nsec;
}

static void watch(sim_server_t *s, int fd, uint32_t events, void *tag, int op)
{
    struct epoll_event ev = {.events = events, .data.ptr = tag};
    int r = epoll_ctl(s->epoll_fd, op, fd, &ev);
    PST_ASSERT(r == 0);
}

sim_server_t *sim_server_new(sim_world_t *w, const sim_server_opts_t *o, int listen_fd,
                             int stop_fd)
{
    sim_server_t *s = pst_calloc(1, sizeof *s);
    sim_service_init(&s->service, w);
    s->opts = *o;
    s->h2 = sim_h2_hub_new(&s->service, o->h2_streams);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    PST_ASSERT(s->epoll_fd >= 0);
    s->listen_fd = listen_fd;
    s->stop_fd = stop_fd;
    s->accepting = true;
    s->read_buf = pst_alloc(READ_BYTES);
    pst_link_init(&s->conns);
    pst_link_init(&s->more);
    pst_heap_init(&s->timers);
    pst_buf_init(&s->frames, 0);
    watch(s, listen_fd, EPOLLIN, &s->listen_fd, EPOLL_CTL_ADD);
    watch(s, stop_fd, EPOLLIN, &s->stop_fd, EPOLL_CTL_ADD);
    return s;
}

static void set_accepting(sim_server_t *s, bool on)
{
    if (s->accepting == on)
        return;
    s->accepting = on;
    watch(s, s->listen_fd, on ? EPOLLIN : 0, &s->listen_fd, EPOLL_CTL_MOD);
}

static void conn_close(sim_server_t *s, conn_t *c)
{
    if (c->state == CONN_PENDING || c->stream.n)
        sim_service_lost(&s->service, &c->reply, SIM_LOST_CLIENT);
    pst_heap_remove(&s->timers, &c->timer);
    pst_link_remove(&c->link);
    pst_link_remove(&c->more);
    if (c->state == CONN_SHAKING)
        sim_add(&s->service.world->wire.tls_failed, 1);
    sim_h2_destroy(&c->h2);
    sim_tls_destroy(&c->tls);
    close(c->fd);
    pst_buf_release(&c->in);
    pst_buf_release(&c->out);
    pst_buf_release(&c->stream);
    free(c);
    set_accepting(s, true); /* there is a descriptor again */
}

void sim_server_destroy(sim_server_t **ps)
{
    sim_server_t *s = *ps;
    if (!s)
        return;
    while (!pst_link_empty(&s->conns))
        conn_close(s, PST_CONTAINER(s->conns.next, conn_t, link));
    pst_heap_release(&s->timers);
    sim_h2_hub_destroy(&s->h2);
    pst_buf_release(&s->frames);
    sim_service_release(&s->service);
    close(s->listen_fd);
    close(s->epoll_fd);
    free(s->read_buf);
    free(s);
    *ps = NULL;
}

static ssize_t conn_read(conn_t *c, char *p, size_t n)
{
    return c->tls ? sim_tls_read(c->tls, p, n) : recv(c->fd, p, n, 0);
}

static ssize_t conn_write(conn_t *c, const char *p, size_t n)
{
    return c->tls ? sim_tls_write(c->tls, p, n) : send(c->fd, p, n, MSG_NOSIGNAL);
}

/* What to listen for follows from the state. */
static void update_interest(sim_server_t *s, conn_t *c)
{
    uint32_t want = c->eof ? 0 : EPOLLRDHUP;
    if (c->state == CONN_SENDING)
        want |= EPOLLOUT;
    else if ((c->state != CONN_PENDING && c->state != CONN_STREAMING) || c->in.n < AHEAD_BYTES_MAX)
        want |= EPOLLIN;
    if (c->h2 && !c->eof)
        want |= EPOLLIN; /* what lets it send on comes from the client: windows */
    /* No event tells of bytes that are here already. */
    if (c->tls && (want & EPOLLIN) && sim_tls_more(c->tls) && pst_link_empty(&c->more))
        pst_link_before(&s->more, &c->more);
    if (want == c->interest)
        return;
    c->interest = want;
    watch(s, c->fd, want, c, EPOLL_CTL_MOD);
}

/* What was due of a stream has been sent.  False if the connection was closed. */
static bool stream_sent(sim_server_t *s, conn_t *c)
{
    if (c->stream_at < c->stream.n) {
        c->state = CONN_STREAMING;
        pst_heap_set(&s->timers, &c->timer, pst_ns_add(s->now, c->reply.step));
        return true;
    }
    pst_buf_release(&c->stream);
    c->state = CONN_READING;
    if (c->cut) {
        sim_service_lost(&s->service, &c->reply, SIM_LOST_CUT_MID);
        conn_close(s, c);
        return false;
    }
    sim_service_sent(&s->service, &c->reply);
    return true;
}

/* False if the connection was closed. */
static bool sent_all(sim_server_t *s, conn_t *c)
{
    if (c->stream.n) {
        if (!stream_sent(s, c))
            return false;
        if (c->state == CONN_STREAMING)
            return true;
    }
    if (!c->close) {
        c->state = CONN_READING;
        return true;
    }
    if (c->tls)
        sim_tls_bye(c->tls);
    if (shutdown(c->fd, SHUT_WR) < 0) {
        conn_close(s, c);
        return false;
    }
    c->state = CONN_LINGERING;
    pst_heap_set(&s->timers, &c->timer, pst_ns_add(s->now, LINGER_NS));
    return true;
}

/* Sends what it can of p; the rest waits in c->out.  False if the connection was closed. */
static bool conn_send(sim_server_t *s, conn_t *c, const char *p, size_t n)
{
    while (n) {
        ssize_t w = conn_write(c, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->state = CONN_SENDING;
            pst_buf_put(&c->out, p, n);
            return true;
        }
        if (w < 0) {
            conn_close(s, c);
            return false;
        }
        p += w;
        n -= (size_t)w;
    }
    return sent_all(s, c);
}

static bool conn_flush(sim_server_t *s, conn_t *c)
{
    while (c->out_at < c->out.n) {
        ssize_t w = conn_write(c, c->out.p + c->out_at, c->out.n - c->out_at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (w < 0) {
            conn_close(s, c);
            return false;
        }
        c->out_at += (size_t)w;
    }
    pst_buf_release(&c->out);
    c->out_at = 0;
    return sent_all(s, c);
}

/* Of the head and half of the body. */
static size_t half_of(pst_view_t bytes, size_t *ret_head)
{
    const char *end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4);
    *ret_head = (size_t)(end - bytes.p) + 4;
    return *ret_head + (bytes.n - *ret_head) / 2;
}

/* The head, or an event of the body as a chunk. */
static void put_step(conn_t *c, pst_buf_t *out)
{
    const char *p = c->stream.p + c->stream_at;
    size_t left = c->stream.n - c->stream_at, n;
    if (c->stream_at == 0) {
        half_of(pst_buf_view(&c->stream), &n);
        pst_buf_put(out, p, n);
    } else {
        const char *end = memmem(p, left, "\n\n", 2);
        n = end ? (size_t)(end + 2 - p) : left;
        pst_buf_printf(out, "%zx\r\n", n);
        pst_buf_put(out, p, n);
        pst_buf_puts(out, "\r\n");
    }
    c->stream_at += n;
}

/* What is due of a stream: an event, with the head before the first; or all, where no time lies between them.  False if the
 * connection was closed. */
static bool conn_step(sim_server_t *s, conn_t *c)
{
    pst_buf_t out;
    pst_buf_init(&out, 0);
    if (c->stream_at == 0)
        put_step(c, &out);
    while (c->stream_at < c->stream.n) {
        put_step(c, &out);
        if (c->reply.step)
            break;
    }
    if (c->stream_at == c->stream.n && !c->cut)
        pst_buf_puts(&out, "0\r\n\r\n");
    PST_ASSERT(!out.failed);
    bool alive = conn_send(s, c, out.p, out.n);
    pst_buf_release(&out);
    return alive;
}

static bool begin_stream(sim_server_t *s, conn_t *c, pst_view_t bytes, bool cut)
{
    size_t head, half = half_of(bytes, &head);
    c->close |= c->reply.close;
    c->cut = cut;
    c->stream_at = 0;
    pst_buf_put(&c->stream, bytes.p, cut ? half : bytes.n);
    return conn_step(s, c);
}

/* The head and half of the body, then nothing. */
static void cut_mid(sim_server_t *s, conn_t *c, pst_view_t bytes)
{
    size_t head;
    ssize_t sent = conn_write(c, bytes.p, half_of(bytes, &head));
    (void)sent; /* a full socket cuts earlier */
    sim_service_lost(&s->service, &c->reply, SIM_LOST_CUT_MID);
}

/* The reply's time has come; bytes: what it says.  False if the connection was closed. */
static bool conn_deliver(sim_server_t *s, conn_t *c, pst_view_t bytes)
{
    c->state = CONN_READING; /* whatever happens now, the reply is accounted for here */
    sim_act_t act = sim_service_is_out(&s->service, &c->reply, s->now) ? SIM_CUT : c->reply.act;
    if (c->reply.stream && act != SIM_CUT)
        return begin_stream(s, c, bytes, act == SIM_CUT_MID);
    if (act == SIM_CUT || act == SIM_CUT_MID) {
        if (act == SIM_CUT_MID)
            cut_mid(s, c, bytes);
        else
            sim_service_lost(&s->service, &c->reply, SIM_LOST_CUT);
        conn_close(s, c);
        return false;
    }
    c->close |= c->reply.close;
    sim_service_sent(&s->service, &c->reply);
    return conn_send(s, c, bytes.p, bytes.n);
}

/* A reply was made in service.out: deliver it, or keep it until it is due. */
static bool conn_reply(sim_server_t *s, conn_t *c)
{
    pst_view_t bytes = pst_buf_view(&s->service.out);
    if (c->reply.act != SIM_HANG && c->reply.delay == 0)
        return conn_deliver(s, c, bytes);
    c->state = CONN_PENDING;
    pst_buf_putv(&c->out, bytes);
    PST_ASSERT(!c->out.failed);
    if (c->reply.act != SIM_HANG)
        pst_heap_set(&s->timers, &c->timer, pst_ns_add(s->now, c->reply.delay));
    return true;
}

static bool send_continue(sim_server_t *s, conn_t *c)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    c->http.continue_due = false;
    if (conn_write(c, line, sizeof line - 1) == (ssize_t)(sizeof line - 1))
        return true;
    conn_close(s, c);
    return false;
}

/* Answers requests of p as long as they are complete and nothing is pending.  *ret_used: bytes done
 * with.  False if the connection was closed. */
static bool conn_requests(sim_server_t *s, conn_t *c, char *p, size_t n, size_t *ret_used)
{
    *ret_used = 0;
    while (c->state == CONN_READING && *ret_used < n) {
        int status;
        sim_http_result_t r =
            sim_http_read(&c->http, p + *ret_used, n - *ret_used, &s->req, &status);
        if (r == SIM_HTTP_MORE)
            return c->http.continue_due ? send_continue(s, c) : true;
        pst_buf_clear(&s->service.out);
        if (r == SIM_HTTP_BAD) {
            sim_service_malformed(&s->service, status, &c->reply);
            *ret_used = n;
        } else {
            sim_service_request(&s->service, &s->req, s->now, &c->reply);
            *ret_used += c->http.at;
        }
        c->http = (sim_http_t){0};
        if (!conn_reply(s, c))
            return false;
    }
    return true;
}

/* What is left in c->in may hold whole requests: after a delayed or a slowly sent reply. */
static void conn_resume(sim_server_t *s, conn_t *c)
{
    size_t used = 0;
    if (c->state == CONN_READING && c->in.n && !conn_requests(s, c, c->in.p, c->in.n, &used))
        return;
    if (c->eof && c->state != CONN_SENDING && c->state != CONN_PENDING && c->state != CONN_STREAMING) {
        conn_close(s, c);
        return;
    }
    if (used == c->in.n || c->state == CONN_LINGERING) {
        pst_buf_release(&c->in);
    } else if (used) {
        memmove(c->in.p, c->in.p + used, c->in.n - used);
        c->in.n -= used;
    }
    update_interest(s, c);
}

/* n new bytes in the server's buffer, none kept from before. */
static void conn_fresh(sim_server_t *s, conn_t *c, size_t n)
{
    size_t used;
    if (!conn_requests(s, c, s->read_buf, n, &used))
        return;
    if (used < n && c->state != CONN_LINGERING)
        pst_buf_put(&c->in, s->read_buf + used, n - used);
    PST_ASSERT(!c->in.failed);
    update_interest(s, c);
}

/* Sends what HTTP/2 has to say: all of it, or until the socket is full. */
static void conn_h2_flush(sim_server_t *s, conn_t *c)
{
    while (c->state == CONN_READING) {
        pst_buf_clear(&s->frames);
        if (!sim_h2_write(c->h2, &s->frames, GATHER_BYTES)) {
            conn_close(s, c);
            return;
        }
        if (s->frames.n == 0) {
            c->close = sim_h2_is_done(c->h2);
            if (!sent_all(s, c))
                return;
            break;
        }
        if (!conn_send(s, c, s->frames.p, s->frames.n))
            return;
    }
    update_interest(s, c);
}

static void conn_h2_read(sim_server_t *s, conn_t *c, const char *p, size_t n)
{
    if (sim_h2_read(c->h2, p, n, s->now))
        update_interest(s, c);
    else
        conn_close(s, c);
}

/* From a connection's first bytes: whether it is HTTP/1.  If not, it has become HTTP/2, or more must
 * come before one can tell. */
static bool conn_is_http1(sim_server_t *s, conn_t *c, pst_view_t bytes)
{
    static const char preface[] = SIM_H2_PREFACE;
    size_t n = PST_MIN(bytes.n, sizeof preface - 1);
    c->fresh = memcmp(bytes.p, preface, n) == 0;
    if (!c->fresh)
        return true;
    if (n < sizeof preface - 1) {
        if (c->in.n == 0)
            pst_buf_putv(&c->in, bytes);
        return false;
    }
    c->fresh = false;
    c->h2 = sim_h2_new(s->h2, c);
    pst_buf_t in = c->in; /* may hold the bytes, and the connection may not outlive them */
    pst_buf_init(&c->in, 0);
    conn_h2_read(s, c, bytes.p, bytes.n);
    pst_buf_release(&in);
    return false;
}

static void conn_eof(sim_server_t *s, conn_t *c)
{
    /* A client that goes away gives up its answer; one being sent to may only have said all. */
    c->eof = true;
    if (c->state == CONN_SENDING && !c->h2) {
        update_interest(s, c);
        return;
    }
    if (c->tls)
        sim_tls_bye(c->tls);
    conn_close(s, c);
}

static void conn_readable(sim_server_t *s, conn_t *c)
{
    bool fresh = c->in.n == 0;
    size_t room = READ_BYTES;
    char *to = s->read_buf;
    if (!fresh) {
        room = PST_MIN(PST_MAX((size_t)c->http.left, (size_t)16 << 10), (size_t)1 << 20);
        to = pst_buf_reserve(&c->in, room);
        PST_ASSERT(to);
    }
    ssize_t n = conn_read(c, to, room);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        conn_eof(s, c);
        return;
    }
    if (c->state == CONN_LINGERING)
        return; /* what comes after our last word is of no interest */
    if (c->h2) {
        conn_h2_read(s, c, to, (size_t)n);
        return;
    }
    c->in.n += fresh ? 0 : (size_t)n;
    if (c->fresh && !conn_is_http1(s, c, fresh ? pst_view(to, (size_t)n) : pst_buf_view(&c->in)))
        return;
    if (fresh)
        conn_fresh(s, c, (size_t)n);
    else
        conn_resume(s, c);
}

static void conn_shake(sim_server_t *s, conn_t *c)
{
    sim_wire_t *wire = &s->service.world->wire;
    bool write = false;
    int r = sim_tls_handshake(c->tls, &write);
    if (r < 0) {
        conn_close(s, c);
        return;
    }
    if (r == 0) {
        c->interest = EPOLLRDHUP | (write ? EPOLLOUT : EPOLLIN);
        watch(s, c->fd, c->interest, c, EPOLL_CTL_MOD);
        return;
    }
    sim_add(&wire->tls, 1);
    sim_add(&wire->tls_resumed, sim_tls_resumed(c->tls));
    c->state = CONN_READING;
    if (sim_tls_http2(c->tls))
        c->h2 = sim_h2_new(s->h2, c);
    update_interest(s, c);
    conn_readable(s, c); /* its first words may have come with its last of the handshake */
}

static void conn_event(sim_server_t *s, conn_t *c, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        conn_close(s, c);
    } else if (c->state == CONN_SHAKING) {
        conn_shake(s, c);
    } else if (events & EPOLLOUT) {
        if (!conn_flush(s, c))
            return;
        if (c->h2)
            conn_h2_flush(s, c);
        else
            conn_resume(s, c);
    } else if (events & EPOLLIN) {
        conn_readable(s, c);
    } else if (events & EPOLLRDHUP) {
        conn_eof(s, c);
    }
}

static void accept_some(sim_server_t *s)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                set_accepting(s, false);
            return;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn_t *c = pst_calloc(1, sizeof *c);
        c->fd = fd;
        c->interest = EPOLLIN | EPOLLRDHUP;
        c->state = s->opts.tls ? CONN_SHAKING : CONN_READING;
        c->tls = s->opts.tls ? sim_tls_new(s->opts.tls, fd) : NULL;
        c->fresh = !s->opts.tls && s->opts.http2;
        sim_add(&s->service.world->wire.connections, 1);
        pst_link_init(&c->more);
        pst_heap_node_init(&c->timer);
        pst_link_before(&s->conns, &c->link);
        watch(s, fd, c->interest, c, EPOLL_CTL_ADD);
    }
}

static void conn_timer(sim_server_t *s, conn_t *c)
{
    pst_heap_remove(&s->timers, &c->timer);
    if (c->state == CONN_LINGERING) {
        conn_close(s, c);
        return;
    }
    pst_buf_t bytes = c->out;
    pst_buf_init(&c->out, 0);
    bool alive = c->state == CONN_STREAMING ? conn_step(s, c) : conn_deliver(s, c, pst_buf_view(&bytes));
    pst_buf_release(&bytes);
    if (alive)
        conn_resume(s, c);
}

static void run_timers(sim_server_t *s)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&s->timers)) && top->key <= s->now)
        conn_timer(s, PST_CONTAINER(top, conn_t, timer));
}

/* Bytes that TLS holds already.  Once each a turn: a client that sends on and on has neighbours. */
static void read_more(sim_server_t *s)
{
    pst_link_t turn;
    pst_link_init(&turn);
    while (!pst_link_empty(&s->more)) {
        pst_link_t *x = s->more.next;
        pst_link_remove(x);
        pst_link_before(&turn, x);
    }
    while (!pst_link_empty(&turn)) {
        conn_t *c = PST_CONTAINER(turn.next, conn_t, more);
        pst_link_remove(&c->more);
        if (c->interest & EPOLLIN) /* else update_interest calls again when it may be read */
            conn_readable(s, c);
    }
}

static void run_h2(sim_server_t *s)
{
    sim_h2_hub_step(s->h2, s->now);
    conn_t *c;
    while ((c = sim_h2_hub_ready(s->h2)))
        conn_h2_flush(s, c);
}

static int wait_ms(sim_server_t *s)
{
    if (!pst_link_empty(&s->more))
        return 0;
    const pst_heap_node_t *top = pst_heap_top(&s->timers);
    pst_ns_t due = pst_ns_min(top ? top->key : PST_NEVER, sim_h2_hub_due(s->h2));
    if (due == PST_NEVER)
        return -1;
    return (int)PST_MIN((pst_ns_since(due, s->now) + PST_MS - 1) / PST_MS, (pst_ns_t)60000);
}

static void handle_event(sim_server_t *s, const struct epoll_event *ev)
{
    if (ev->data.ptr == &s->stop_fd)
        s->stopping = true;
    else if (ev->data.ptr == &s->listen_fd)
        accept_some(s);
    else
        conn_event(s, ev->data.ptr, ev->events);
}

void sim_server_run(sim_server_t *s)
{
    struct epoll_event events[EVENTS_MAX];
    while (!s->stopping) {
        s->now = clock_now();
        int n = epoll_wait(s->epoll_fd, events, EVENTS_MAX, wait_ms(s));
        s->now = clock_now();
        for (int i = 0; i < n; i++)
            handle_event(s, &events[i]);
        run_timers(s);
        read_more(s);
        run_h2(s);
    }
}
