#include "redis/conn.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "proc/clock.h"

#define SILENCE_MAX (5 * PST_SEC) /* with commands unanswered; also for a connect */
#define TICK PST_SEC
#define RETRY_MIN (50 * PST_MS)
#define RETRY_MAX PST_SEC
#define REPLICA_WAIT_MS 1000
#define READ_BYTES 65536
#define READS_PER_TURN 64          /* then other descriptors get their turn */
#define IOV_MAX_PARTS 128

typedef enum conn_state { CONN_DOWN, CONN_CONNECTING, CONN_GREETING, CONN_UP } conn_state_t;

/* Commands of one kind in order; the cursors point into the ring, or at its head for "none". */
typedef struct pipe {
    pst_link_t ring;
    pst_link_t *expect; /* the next reply is for this one */
    pst_link_t *unsent; /* the next to be written, */
    size_t unsent_off;  /* so much of it is written already */
} pipe_t;

struct pst_redis {
    pst_loop_t *loop;
    pst_redis_url_t url;
    pst_redis_events_t ev;
    bool replicated;
    int fd, timer;
    conn_state_t state;
    redisReader *reader;
    pipe_t work, greeting;
    bool want_out;         /* the socket was full: EPOLLOUT is on */
    bool wait_due;         /* writes were queued since the last WAIT */
    bool replica_late;     /* told as `state` down */
    bool full;             /* see pst_redis_full */
    bool stopped;
    bool broken;           /* to be closed as soon as nobody is inside */
    char why[256];
    pst_ns_t heard_at;     /* of the latest byte, or when the oldest unanswered command was sent */
    pst_ns_t retry_delay;
    uint64_t queued_bytes; /* of `work` */
};

static void on_fd(void *arg, int fd, uint32_t events);
static void on_timer(void *arg, int fd, uint32_t events);

/* ---- pipes ----------------------------------------------------------------------------------------------------- */

static pst_cmd_t *cmd_at(pst_link_t *l)
{
    return PST_CONTAINER(l, pst_cmd_t, link);
}

static void pipe_init(pipe_t *p)
{
    pst_link_init(&p->ring);
    p->expect = p->unsent = &p->ring;
    p->unsent_off = 0;
}

static void pipe_add(pipe_t *p, pst_cmd_t *cmd)
{
    pst_link_before(&p->ring, &cmd->link);
    if (p->unsent == &p->ring)
        p->unsent = &cmd->link;
    if (p->expect == &p->ring)
        p->expect = &cmd->link;
}

/* Takes a command out; the cursors step over it. */
static void pipe_remove(pipe_t *p, pst_cmd_t *cmd)
{
    if (p->expect == &cmd->link)
        p->expect = cmd->link.next;
    if (p->unsent == &cmd->link)
        p->unsent = cmd->link.next;
    pst_link_remove(&cmd->link);
}

static bool pipe_asked(const pipe_t *p)
{
    return p->expect != p->unsent || p->unsent_off > 0;
}

/* A new connection begins with the oldest. */
static void pipe_rewind(pipe_t *p)
{
    for (pst_link_t *l = p->ring.next; l != &p->ring; l = l->next)
        pst_cmd_forget(cmd_at(l));
    p->expect = p->unsent = p->ring.next;
    p->unsent_off = 0;
}

static void pipe_clear(pipe_t *p)
{
    while (!pst_link_empty(&p->ring)) {
        pst_cmd_t *cmd = cmd_at(p->ring.next);
        pst_cmd_destroy(&cmd);
    }
    pipe_init(p);
}

static pipe_t *active(pst_redis_t *c)
{
    return c->state == CONN_UP ? &c->work : &c->greeting;
}

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static void arm(pst_redis_t *c, pst_ns_t first, pst_ns_t every)
{
    first = PST_MAX(first, (pst_ns_t)1);
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(first / PST_SEC), .tv_nsec = (long)(first % PST_SEC)},
        .it_interval = {.tv_sec = (time_t)(every / PST_SEC), .tv_nsec = (long)(every % PST_SEC)},
    };
    PST_ASSERT(timerfd_settime(c->timer, 0, &t, NULL) == 0);
}

static void take_off(pst_redis_t *c, pst_cmd_t *cmd)
{
    pipe_remove(&c->work, cmd);
    c->queued_bytes -= cmd->bytes;
}

static void fail_once(pst_redis_t *c)
{
    pst_link_t failed;
    pst_link_init(&failed);
    for (pst_link_t *l = c->work.ring.next, *next; l != &c->work.ring; l = next) {
        next = l->next;
        if (!cmd_at(l)->once)
            continue;
        take_off(c, cmd_at(l));
        pst_link_before(&failed, l);
    }
    while (!pst_link_empty(&failed)) {
        pst_cmd_t *cmd = cmd_at(failed.next);
        pst_link_remove(&cmd->link);
        cmd->fn(cmd, NULL);
        pst_cmd_destroy(&cmd);
    }
}

/* Closing happens where no reply is being handled: see settle. */
static void break_off(pst_redis_t *c, const char *why)
{
    if (c->broken)
        return;
    c->broken = true;
    snprintf(c->why, sizeof c->why, "%.*s", (int)sizeof c->why - 1, why);
    arm(c, 0, 0);
}

static void break_errno(pst_redis_t *c, const char *what, int e)
{
    char why[128];
    snprintf(why, sizeof why, "%s: %s", what, strerror(e));
    break_off(c, why);
}

static void close_socket(pst_redis_t *c)
{
    if (c->fd >= 0) {
        pst_loop_fd_remove(c->loop, c->fd);
        close(c->fd);
    }
    c->fd = -1;
    if (c->reader)
        redisReaderFree(c->reader);
    c->reader = NULL;
    c->want_out = false;
}

/* Results that a full Redis refused go as calls alone. */
static void ungroup_all(pst_redis_t *c)
{
    for (pst_link_t *l = c->work.ring.next; l != &c->work.ring; l = l->next) {
        pst_cmd_t *cmd = cmd_at(l);
        if (!cmd->group || !cmd->hole_at)
            continue;
        c->queued_bytes -= cmd->bytes;
        pst_cmd_ungroup(cmd);
        c->queued_bytes += cmd->bytes;
    }
}

static void settle(pst_redis_t *c)
{
    if (!c->broken)
        return;
    bool was_up = c->state == CONN_UP && !c->replica_late;
    c->broken = false;
    c->replica_late = false;
    c->state = CONN_DOWN;
    close_socket(c);
    pipe_clear(&c->greeting);
    pipe_rewind(&c->work);
    if (c->full)
        ungroup_all(c);
    if (!c->stopped)
        arm(c, c->retry_delay, 0);
    c->retry_delay = PST_MIN(c->retry_delay * 2, RETRY_MAX);
    if (was_up)
        c->ev.state(c->ev.arg, false, c->why);
    fail_once(c);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void watch(pst_redis_t *c, bool out)
{
    c->want_out = out;
    pst_loop_fd(c->loop, c->fd, EPOLLIN | (out ? (uint32_t)EPOLLOUT : 0), on_fd, c);
}

static unsigned gather(const pipe_t *p, struct iovec *v)
{
    unsigned n = 0;
    size_t off = p->unsent_off;
    for (pst_link_t *l = p->unsent; l != &p->ring && n < IOV_MAX_PARTS; l = l->next) {
        n += pst_cmd_iov(cmd_at(l), off, v + n, IOV_MAX_PARTS - n);
        off = 0;
    }
    return n;
}

static void advance(pipe_t *p, size_t written)
{
    while (written > 0) {
        size_t rest = cmd_at(p->unsent)->bytes - p->unsent_off;
        if (written < rest) {
            p->unsent_off += written;
            return;
        }
        written -= rest;
        p->unsent = p->unsent->next;
        p->unsent_off = 0;
    }
}

static void write_out(pst_redis_t *c)
{
    pipe_t *p = active(c);
    while (p->unsent != &p->ring && !c->broken) {
        struct iovec v[IOV_MAX_PARTS];
        if (!pipe_asked(p))
            c->heard_at = pst_clock_mono();
        struct msghdr m = {.msg_iov = v, .msg_iovlen = gather(p, v)};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            advance(p, (size_t)n);
        } else if (errno == EAGAIN) {
            if (!c->want_out)
                watch(c, true);
            return;
        } else if (errno != EINTR) {
            break_errno(c, "writing to Redis failed", errno);
        }
    }
    if (c->want_out && !c->broken)
        watch(c, false);
}

static void on_waited(pst_cmd_t *cmd, const redisReply *r);

static void queue_wait(pst_redis_t *c)
{
    pst_cmd_t *w = pst_cmd_new("WAIT", on_waited, c);
    pst_cmd_num(w, 1);
    pst_cmd_num(w, REPLICA_WAIT_MS);
    pst_cmd_finish(w);
    c->queued_bytes += w->bytes;
    pipe_add(&c->work, w);
    c->wait_due = false;
}

void pst_redis_flush(pst_redis_t *c)
{
    if (c->wait_due)
        queue_wait(c);
    if (c->state == CONN_UP && !c->want_out)
        write_out(c);
}

void pst_redis_send(pst_redis_t *c, pst_cmd_t *cmd)
{
    PST_ASSERT(cmd->bytes > 0);
    c->queued_bytes += cmd->bytes;
    if (c->replicated && cmd->write)
        c->wait_due = true;
    pipe_add(&c->work, cmd);
    /* It fails, but not before the caller has returned. */
    if (cmd->once && c->stopped)
        arm(c, 0, 0);
}

void pst_redis_greet(pst_redis_t *c, pst_cmd_t *cmd)
{
    PST_ASSERT(c->state == CONN_GREETING);
    pipe_add(&c->greeting, cmd);
    write_out(c);
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

/* Refusals that have nothing to do with the command: Redis did not carry it out, and will later. */
static bool passing(const redisReply *r)
{
    static const char *const codes[] = {"LOADING ",     "READONLY ",   "MASTERDOWN ",
                                        "MISCONF ",     "BUSY ",       "CLUSTERDOWN ",
                                        "TRYAGAIN ",    "NOREPLICAS ", "UNBLOCKED ",
                                        "ERR Function not found", "ERR max number of clients"};
    if (r->type != REDIS_REPLY_ERROR)
        return false;
    for (unsigned i = 0; i < PST_COUNT(codes); i++)
        if (strncmp(r->str, codes[i], strlen(codes[i])) == 0)
            return true;
    return false;
}

static void deliver(pst_redis_t *c, pst_cmd_t *cmd, redisReply *r)
{
    take_off(c, cmd);
    cmd->fn(cmd, pst_cmd_result(cmd, r));
    freeReplyObject(r);
    pst_cmd_destroy(&cmd);
}

/* True if more replies of the command follow. */
static bool take_part(pst_cmd_t *cmd, redisReply *r)
{
    if (!cmd->group || ++cmd->got == PST_CMD_GROUP_REPLIES)
        return false;
    if (r->type == REDIS_REPLY_ERROR && !cmd->refusal)
        cmd->refusal = r;
    else
        freeReplyObject(r);
    return true;
}

/* Refused for want of memory, and there is another way to ask. */
static bool refused_full(const pst_cmd_t *cmd, const redisReply *result)
{
    return cmd->group && cmd->hole_at && result->type == REDIS_REPLY_ERROR && strncmp(result->str, "OOM ", 4) == 0;
}

/* Everything answered before this WAIT is safe. */
static void on_waited(pst_cmd_t *w, const redisReply *r)
{
    pst_redis_t *c = w->arg;
    bool safe = r->type == REDIS_REPLY_INTEGER && r->integer >= 1;
    if (!safe) {
        if (!c->replica_late)
            c->ev.state(c->ev.arg, false, "no replica confirms what was written: start one, or ask for less durability");
        c->replica_late = true;
        queue_wait(c);
        return;
    }
    if (c->replica_late)
        c->ev.state(c->ev.arg, true, "");
    c->replica_late = false;
    while (c->work.ring.next != c->work.expect) {
        pst_cmd_t *cmd = cmd_at(c->work.ring.next);
        redisReply *reply = pst_take(&cmd->reply);
        deliver(c, cmd, reply);
    }
}

static void take_reply(pst_redis_t *c, redisReply *r)
{
    pipe_t *p = active(c);
    /* A transaction is answered from its first command on, while the rest of it is still being written. */
    bool asked = p->expect != p->unsent || (p->unsent_off > 0 && cmd_at(p->expect)->group);
    if (!asked) {
        break_off(c, "Redis answered what nobody asked");
        freeReplyObject(r);
        return;
    }
    pst_cmd_t *cmd = cmd_at(p->expect);
    if (take_part(cmd, r))
        return;
    const redisReply *result = pst_cmd_result(cmd, r);
    if (passing(result)) {
        break_off(c, result->str);
        freeReplyObject(r);
    } else if (refused_full(cmd, result)) {
        c->full = true;
        break_off(c, "Redis is full: results are sent again, in a way it still takes");
        freeReplyObject(r);
    } else if (p == &c->greeting) {
        pipe_remove(p, cmd);
        c->ev.greet(c->ev.arg, r);
        freeReplyObject(r);
        pst_cmd_destroy(&cmd);
    } else if (c->replicated && cmd->write) {
        cmd->reply = r;
        p->expect = p->expect->next;
    } else {
        deliver(c, cmd, r);
    }
}

static void take_replies(pst_redis_t *c)
{
    while (!c->broken) {
        void *r = NULL;
        if (redisReaderGetReply(c->reader, &r) != REDIS_OK) {
            break_off(c, "Redis answers in another protocol: is that address a Redis?");
            return;
        }
        if (!r)
            return;
        take_reply(c, r);
    }
}

static void read_in(pst_redis_t *c)
{
    char bytes[READ_BYTES];
    for (unsigned i = 0; i < READS_PER_TURN && !c->broken; i++) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            break_errno(c, "reading from Redis failed", errno);
        } else if (n == 0) {
            break_off(c, "Redis closed the connection");
        } else {
            c->heard_at = pst_clock_mono();
            if (redisReaderFeed(c->reader, bytes, (size_t)n) != REDIS_OK)
                break_off(c, "a reply is too large");
            else
                take_replies(c);
        }
        if (n < (ssize_t)sizeof bytes)
            return;
    }
}

/* ---- connecting ------------------------------------------------------------------------------------------------- */

static int open_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    int e = errno;
    close(fd);
    return -e;
}

static int open_address(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
    int e = errno;
    close(fd);
    return -e;
}

/* The name is looked up again at each try, because a failover may have moved it.  That blocks; but without Redis the
 * broker has nothing to do but wait. */
static int open_tcp(pst_redis_t *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(c->url.host, c->url.port, &hints, &list);
    if (rc != 0) {
        char why[320];
        snprintf(why, sizeof why, "host %.200s is not found: %s", c->url.host, gai_strerror(rc));
        break_off(c, why);
        return -1;
    }
    int fd = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = open_address(a);
    freeaddrinfo(list);
    return fd;
}

static void begin(pst_redis_t *c)
{
    int fd = c->url.local ? open_unix(c->url.path) : open_tcp(c);
    if (fd < 0) {
        break_errno(c, "cannot connect", -fd);
        return;
    }
    c->fd = fd;
    c->reader = redisReaderCreate();
    PST_ASSERT(c->reader);
    c->state = CONN_CONNECTING;
    c->heard_at = pst_clock_mono();
    watch(c, true);
    arm(c, TICK, TICK);
}

static void connected(pst_redis_t *c)
{
    int e = 0;
    socklen_t n = sizeof e;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0)
        e = errno;
    if (e) {
        break_errno(c, "cannot connect", e);
        return;
    }
    watch(c, false);
    c->state = CONN_GREETING;
    c->ev.greet(c->ev.arg, NULL);
}

void pst_redis_up(pst_redis_t *c)
{
    PST_ASSERT(c->state == CONN_GREETING);
    c->state = CONN_UP;
    c->retry_delay = RETRY_MIN;
    /* Writes whose WAIT was never queued, because the connection went first. */
    c->wait_due |= c->replicated && !pst_link_empty(&c->work.ring);
    c->ev.state(c->ev.arg, true, "");
    pst_redis_flush(c);
}

void pst_redis_retry(pst_redis_t *c, const char *why)
{
    break_off(c, why);
}

void pst_redis_stop(pst_redis_t *c, const char *why)
{
    c->stopped = true;
    break_off(c, why);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void on_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    pst_redis_t *c = arg;
    if (c->state == CONN_CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        connected(c);
    else if (events & EPOLLOUT)
        write_out(c);
    if (!c->broken && c->state >= CONN_GREETING && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        read_in(c);
    /* What answers led to: further steps of deletions and the like. */
    if (!c->broken)
        pst_redis_flush(c);
    settle(c);
}

static void check_silence(pst_redis_t *c)
{
    bool waits = c->state == CONN_CONNECTING || (c->state >= CONN_GREETING && pipe_asked(active(c)));
    if (waits && pst_ns_since(pst_clock_mono(), c->heard_at) >= SILENCE_MAX)
        break_off(c, "Redis has not answered for 5 s");
}

static void on_timer(void *arg, int fd, uint32_t events)
{
    (void)events;
    pst_redis_t *c = arg;
    uint64_t times;
    (void)!read(fd, &times, sizeof times);
    if (c->broken || c->stopped) {
        settle(c);
        if (c->stopped)
            fail_once(c);
    } else if (c->state == CONN_DOWN) {
        fail_once(c);
        begin(c);
        settle(c);
    } else {
        check_silence(c);
        if (!c->broken && c->state == CONN_UP) {
            c->ev.tick(c->ev.arg);
            pst_redis_flush(c);
        }
        settle(c);
    }
}

bool pst_redis_pump(pst_redis_t *c, const bool *done, pst_ns_t until)
{
    pst_redis_flush(c);
    while (!*done && !(c->stopped && !c->broken)) {
        pst_ns_t now = pst_clock_mono();
        if (now >= until)
            return false;
        struct pollfd p[2] = {{.fd = c->timer, .events = POLLIN},
                              {.fd = c->fd, .events = (short)(POLLIN | (c->want_out ? POLLOUT : 0))}};
        int n = poll(p, 2, (int)PST_MIN((until - now) / PST_MS + 1, (pst_ns_t)INT32_MAX));
        PST_ASSERT(n >= 0 || errno == EINTR);
        if (n > 0 && p[0].revents)
            on_timer(c, c->timer, EPOLLIN);
        /* The timer may have closed the socket: its events were the old one's. */
        if (n > 0 && p[1].revents && c->fd == p[1].fd)
            on_fd(c, c->fd, (uint32_t)p[1].revents);
    }
    return *done;
}

pst_redis_t *pst_redis_new(pst_loop_t *loop, const pst_redis_url_t *url, bool replicated, const pst_redis_events_t *ev)
{
    pst_redis_t *c = pst_calloc(1, sizeof *c);
    *c = (pst_redis_t){.loop = loop, .url = *url, .ev = *ev, .replicated = replicated, .fd = -1,
                      .retry_delay = RETRY_MIN};
    pipe_init(&c->work);
    pipe_init(&c->greeting);
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    PST_ASSERT(c->timer >= 0);
    pst_loop_fd(loop, c->timer, EPOLLIN, on_timer, c);
    arm(c, 0, 0);
    return c;
}

void pst_redis_destroy(pst_redis_t **c)
{
    pst_redis_t *x = *c;
    *c = NULL;
    if (!x)
        return;
    close_socket(x);
    pst_loop_fd_remove(x->loop, x->timer);
    close(x->timer);
    pipe_clear(&x->greeting);
    pipe_clear(&x->work);
    free(x);
}

bool pst_redis_full(const pst_redis_t *c) { return c->full; }
void pst_redis_set_full(pst_redis_t *c, bool full) { c->full = full; }
bool pst_redis_is_up(const pst_redis_t *c) { return c->state == CONN_UP; }
const char *pst_redis_why(const pst_redis_t *c) { return c->why; }
uint64_t pst_redis_queued_bytes(const pst_redis_t *c) { return c->queued_bytes; }
