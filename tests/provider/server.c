#include "server.h"

#include "base/heap.h"
#include "base/list.h"
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

/* What a connection is doing. */
typedef enum conn_state {
    CONN_READING,  /* waiting for (the rest of) a request */
    CONN_PENDING,  /* a reply is made and due at the timer's time, or never (hang) */
    CONN_SENDING,  /* the socket is full; `out` holds what is left */
    CONN_LINGERING /* all said; until the client closes, or it would be reset before it has read */
} conn_state_t;

typedef struct conn {
    pst_link_t link;       /* in sim_server.conns */
    pst_heap_node_t timer; /* CONN_PENDING: reply due; CONN_LINGERING: end of patience */
    int fd;
    uint32_t interest; /* what epoll was asked for */
    conn_state_t state;
    bool close; /* after sending */
    bool eof;   /* found while reading ahead */
    sim_http_t http;
    pst_buf_t in;  /* begins with the request being read; empty between requests */
    pst_buf_t out; /* pending or unsent bytes */
    size_t out_at;
    sim_reply_t reply; /* CONN_PENDING */
} conn_t;

struct sim_server {
    sim_service_t service;
    int epoll_fd, listen_fd, stop_fd;
    bool accepting;
    bool stopping;
    pst_ns_t now;
    pst_link_t conns;
    pst_heap_t timers;
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

sim_server_t *sim_server_new(sim_world_t *w, int listen_fd, int stop_fd)
{
    sim_server_t *s = pst_calloc(1, sizeof *s);
    sim_service_init(&s->service, w);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    PST_ASSERT(s->epoll_fd >= 0);
    s->listen_fd = listen_fd;
    s->stop_fd = stop_fd;
    s->accepting = true;
    s->read_buf = pst_alloc(READ_BYTES);
    pst_link_init(&s->conns);
    pst_heap_init(&s->timers);
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
    if (c->state == CONN_PENDING)
        sim_service_lost(&s->service, &c->reply, SIM_LOST_CLIENT);
    pst_heap_remove(&s->timers, &c->timer);
    pst_link_remove(&c->link);
    close(c->fd);
    pst_buf_release(&c->in);
    pst_buf_release(&c->out);
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
    sim_service_release(&s->service);
    close(s->listen_fd);
    close(s->epoll_fd);
    free(s->read_buf);
    free(s);
    *ps = NULL;
}

/* What to listen for follows from the state. */
static void update_interest(sim_server_t *s, conn_t *c)
{
    uint32_t want = c->eof ? 0 : EPOLLRDHUP;
    if (c->state == CONN_SENDING)
        want |= EPOLLOUT;
    else if (c->state != CONN_PENDING || c->in.n < AHEAD_BYTES_MAX)
        want |= EPOLLIN;
    if (want == c->interest)
        return;
    c->interest = want;
    watch(s, c->fd, want, c, EPOLL_CTL_MOD);
}

/* False if the connection was closed. */
static bool sent_all(sim_server_t *s, conn_t *c)
{
    if (!c->close) {
        c->state = CONN_READING;
        return true;
    }
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
        ssize_t w = send(c->fd, p, n, MSG_NOSIGNAL);
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
        ssize_t w = send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL);
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

/* The head and half of the body, then nothing. */
static void cut_mid(sim_server_t *s, conn_t *c, pst_view_t bytes)
{
    const char *end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4);
    size_t head = (size_t)(end - bytes.p) + 4, half = (bytes.n - head) / 2;
    ssize_t sent = send(c->fd, bytes.p, head + half, MSG_NOSIGNAL);
    (void)sent; /* a full socket cuts earlier */
    sim_service_lost(&s->service, &c->reply, SIM_LOST_CUT_MID);
}

/* The reply's time has come; bytes: what it says.  False if the connection was closed. */
static bool conn_deliver(sim_server_t *s, conn_t *c, pst_view_t bytes)
{
    c->state = CONN_READING; /* whatever happens now, the reply is accounted for here */
    sim_act_t act = sim_service_is_out(&s->service, &c->reply, s->now) ? SIM_CUT : c->reply.act;
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
    if (send(c->fd, line, sizeof line - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof line - 1))
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
    if (c->eof && c->state != CONN_SENDING && c->state != CONN_PENDING) {
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

static void conn_eof(sim_server_t *s, conn_t *c)
{
    /* A client that goes away gives up its answer; one being sent to may only have said all. */
    c->eof = true;
    if (c->state == CONN_SENDING)
        update_interest(s, c);
    else
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
    ssize_t n = recv(c->fd, to, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        conn_eof(s, c);
        return;
    }
    if (c->state == CONN_LINGERING)
        return; /* what comes after our last word is of no interest */
    if (fresh) {
        conn_fresh(s, c, (size_t)n);
        return;
    }
    c->in.n += (size_t)n;
    conn_resume(s, c);
}

static void conn_event(sim_server_t *s, conn_t *c, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        conn_close(s, c);
    } else if (events & EPOLLOUT) {
        if (conn_flush(s, c))
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
    bool alive = conn_deliver(s, c, pst_buf_view(&bytes));
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

static int wait_ms(sim_server_t *s)
{
    const pst_heap_node_t *top = pst_heap_top(&s->timers);
    if (!top)
        return -1;
    return (int)PST_MIN((pst_ns_since(top->key, s->now) + PST_MS - 1) / PST_MS, (pst_ns_t)60000);
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
    }
}
