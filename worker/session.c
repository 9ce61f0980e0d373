#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "proc/clock.h"
#include "proc/log.h"

#define HWM 10000
#define RECONNECT_MS 50
#define RECONNECT_MS_MAX 1000
#define LINGER_MS 200
#define FRAMES_PER_TURN 64
#define ARENA_BYTES_MAX ((size_t)64 << 20)
/* A frame buffer above this is not kept. */
#define FRAME_KEEP_BYTES ((size_t)4 << 20)

/* How long a HELLO waits for its WELCOME: doubling, or a broker that always answers a little late would
 * always answer a nonce already given up. */
#define HELLO_WAIT (500 * PST_MS)
#define HELLO_WAIT_MAX (4 * PST_SEC)
#define REFUSED_REST (500 * PST_MS)       /* "not now" */
#define REFUSED_REST_FATAL (5 * PST_SEC)  /* "never": somebody has to change something */
/* After sessions that end without an ACK and sooner than this the next is begun ever later. */
#define SHORT_LIFE PST_SEC
#define REST_MIN (50 * PST_MS)
#define REST_MAX (2 * PST_SEC)
/* The broker's own numbers, within reason. */
#define HEARTBEAT_MS_MIN 10
#define HEARTBEAT_MS_MAX 60000
/* How long without a session until that is worth a line. */
#define SILENT_LOG (2 * PST_SEC)

typedef enum state { REST, HELLO, UP, OVER } state_t;

struct pst_session {
    pst_loop_t *loop;
    void *zmq, *socket;
    int fd;
    bool look;             /* the socket was used since it last said that there is nothing, or fd is ready: else there is
                            * nothing, and asking is a system call */
    char *address;
    const pst_session_ops_t *ops;
    void *arg;
    state_t state;
    uint64_t nonce, epoch;
    uint64_t seq;          /* of our next message */
    uint64_t expect;       /* the broker's next */
    pst_ns_t due;          /* REST: HELLO then; HELLO: given up then (PST_NEVER until it is sent) */
    pst_ns_t hello_wait, rest;
    pst_ns_t since;        /* in UP, or out of it */
    pst_ns_t heard, spoke;
    pst_ns_t heartbeat, lost;
    bool useful;           /* the session has brought an ACK */
    bool bye;              /* wanted */
    bool bye_made;         /* it is the frame that waits, or has gone */
    bool in_parts;         /* the frame read last had more behind it */
    bool told;             /* the log knows that there is no session */
    pst_buf_t frame;       /* encoded and not yet taken by the socket; n == 0: none */
    pst_arena_t arena;     /* of the message being handled or encoded */
};

static const char *state_name(state_t s)
{
    switch (s) {
    case REST: return "rest";
    case HELLO: return "hello";
    case UP: return "up";
    case OVER: return "over";
    }
    return "?";
}

static void set_state(pst_session_t *s, state_t to)
{
    static const unsigned edges[] = {
        [REST] = 1u << HELLO | 1u << OVER,
        [HELLO] = 1u << REST | 1u << UP | 1u << OVER,
        [UP] = 1u << REST | 1u << OVER,
        [OVER] = 0,
    };
    PST_ASSERT(edges[s->state] & 1u << to);
    pst_log(PST_LOG_DEBUG, "session.state", "from=%s to=%s", state_name(s->state), state_name(to));
    s->state = to;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void encode(pst_session_t *s, pst_msg_t *m)
{
    m->version = PST_PROTOCOL_VERSION;
    m->session = s->nonce;
    m->epoch = s->epoch;
    m->seq = s->seq++;
    pst_msg_encode(m, &s->frame);
    PST_ASSERT(!s->frame.failed);
}

static void drop_frame(pst_session_t *s)
{
    if (s->frame.cap > FRAME_KEEP_BYTES)
        pst_buf_release(&s->frame);
    pst_buf_clear(&s->frame);
}

static void begin(pst_session_t *s)
{
    char host[64] = "", name[96];
    (void)gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s.%d", host, (int)getpid());
    drop_frame(s);
    pst_arena_clear(&s->arena);
    s->nonce = pst_random_u64();
    s->epoch = 0;
    s->seq = 0;
    pst_msg_t m = {.type = PST_MSG_HELLO};
    m.u.hello.role = PST_ROLE_WORKER;
    m.u.hello.software = PST_VIEW_LIT("penstock/" PST_VERSION);
    m.u.hello.name = pst_view_str(name);
    s->ops->hello(s->arg, &s->arena, &m.u.hello);
    encode(s, &m);
    s->due = PST_NEVER;
}

static void rest(pst_session_t *s, pst_ns_t now, pst_ns_t wait)
{
    drop_frame(s);
    s->due = pst_ns_add(now, wait);
    set_state(s, REST);
}

static void lose(pst_session_t *s, pst_ns_t now, const char *why)
{
    pst_log(PST_LOG_WARN, "broker.lost", "address=%s why=\"%s\"", s->address, why);
    s->told = true;
    if (s->useful || pst_ns_since(now, s->since) >= SHORT_LIFE)
        s->rest = 0;
    else
        s->rest = PST_MIN(PST_MAX(s->rest * 2, REST_MIN), REST_MAX);
    s->since = now;
    s->hello_wait = HELLO_WAIT;
    rest(s, now, s->rest);
    s->ops->lost(s->arg);
}

/* ---- reading --------------------------------------------------------------------------------- */

static pst_ns_t clamp_ms(uint32_t ms)
{
    return PST_MIN(PST_MAX(ms, (uint32_t)HEARTBEAT_MS_MIN), (uint32_t)HEARTBEAT_MS_MAX) * PST_MS;
}

static void on_welcome(pst_session_t *s, pst_ns_t now, const pst_msg_t *m)
{
    if (m->seq != 0)
        return;
    s->epoch = m->epoch;
    s->expect = 1;
    s->useful = false;
    s->heartbeat = clamp_ms(m->u.welcome.heartbeat_ms);
    s->lost = PST_MAX(clamp_ms(m->u.welcome.lost_ms), 2 * s->heartbeat);
    s->heard = now;
    s->since = now;
    s->hello_wait = HELLO_WAIT;
    s->told = false;
    set_state(s, UP);
    pst_log(PST_LOG_INFO, "broker.up", "address=%s epoch=%llu", s->address, (unsigned long long)m->epoch);
    s->ops->up(s->arg);
}

static void on_refused(pst_session_t *s, pst_ns_t now, const pst_msg_refused_t *r)
{
    pst_err_t e = (pst_err_t)r->err;
    if (s->state == UP) {
        lose(s, now, pst_err_text(e));
        return;
    }
    if (!s->told)
        pst_log(PST_LOG_WARN, "broker.refused", "address=%s error=%s text=\"%.*s\"", s->address,
                pst_err_name(e), (int)r->text.n, r->text.p ? r->text.p : "");
    s->told = true;
    bool never = pst_err_class(e) == PST_CLASS_FATAL || e == PST_E_VERSION;
    rest(s, now, never ? REFUSED_REST_FATAL : REFUSED_REST);
}

static void on_ack(pst_session_t *s, uint64_t number)
{
    s->useful = true;
    s->ops->ack(s->arg, number);
}

/* One of the present session, in its turn. */
static void on_message(pst_session_t *s, pst_ns_t now, const pst_msg_t *m)
{
    pst_err_t e = PST_OK;
    if (m->type == PST_MSG_TASKS)
        e = s->ops->tasks(s->arg, &m->u.tasks);
    else if (m->type == PST_MSG_REVOKE)
        s->ops->revoke(s->arg, &m->u.revoke);
    else if (m->type == PST_MSG_ACK)
        on_ack(s, m->u.ack.number);
    else if (m->type == PST_MSG_BYE)
        lose(s, now, "the broker says good-bye");
    else if (m->type != PST_MSG_PING)
        e = PST_E_MALFORMED;
    if (e)
        lose(s, now, pst_err_text(e));
}

static void on_frame(pst_session_t *s, pst_ns_t now, pst_view_t bytes)
{
    pst_msg_t m;
    pst_arena_clear(&s->arena);
    memset(&m, 0, sizeof m);
    pst_err_t e = pst_msg_decode(bytes, &s->arena, &m);
    if (e) {
        if (s->state == UP)
            lose(s, now, pst_err_text(e));
        return;
    }
    if (m.session != s->nonce || s->state == REST || s->state == OVER)
        return;
    if (m.type == PST_MSG_REFUSED) {
        on_refused(s, now, &m.u.refused);
    } else if (s->state == HELLO) {
        if (m.type == PST_MSG_WELCOME)
            on_welcome(s, now, &m);
    } else if (m.epoch != s->epoch || m.seq != s->expect) {
        lose(s, now, "a message is missing");
    } else {
        s->heard = now;
        s->expect++;
        on_message(s, now, &m);
    }
}

/* ZMQ_FD tells of changes only; what there is to do stands in ZMQ_EVENTS, and asking also does the socket's
 * own work. */
static int socket_events(pst_session_t *s)
{
    int events = 0;
    s->look = true;
    size_t n = sizeof events;
    PST_ASSERT(zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &n) == 0);
    return events;
}

void pst_session_read(pst_session_t *s, pst_ns_t now)
{
    zmq_msg_t z;
    zmq_msg_init(&z);
    for (unsigned i = 0; s->look && i < FRAMES_PER_TURN; i++) {
        if (zmq_msg_recv(&z, s->socket, ZMQ_DONTWAIT) < 0 &&
            (!(socket_events(s) & ZMQ_POLLIN) || zmq_msg_recv(&z, s->socket, ZMQ_DONTWAIT) < 0))
            break;
        /* The protocol has one frame a message: of a longer one no part is believed. */
        bool more = zmq_msg_more(&z);
        if (!more && !s->in_parts)
            on_frame(s, now, pst_view(zmq_msg_data(&z), zmq_msg_size(&z)));
        s->in_parts = more;
    }
    zmq_msg_close(&z);
    if (s->state == UP && pst_ns_since(now, s->heard) >= s->lost && !(socket_events(s) & ZMQ_POLLIN))
        lose(s, now, "no sign of life");
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool send_frame(pst_session_t *s, pst_ns_t now)
{
    s->look = true;
    if (zmq_send(s->socket, s->frame.p, s->frame.n, ZMQ_DONTWAIT) < 0) {
        PST_ASSERT(errno == EAGAIN || errno == EINTR);
        return false;
    }
    drop_frame(s);
    s->spoke = now;
    if (s->state == HELLO)
        s->due = pst_ns_add(now, s->hello_wait);
    if (s->bye_made)
        set_state(s, OVER);
    return true;
}

/* Puts the next frame together; false: there is none. */
static bool make_frame(pst_session_t *s, pst_ns_t now)
{
    pst_msg_t m = {.type = PST_MSG_PING};
    pst_arena_clear(&s->arena);
    if (s->ops->next(s->arg, &s->arena, &m)) {
        encode(s, &m);
        return true;
    }
    if (s->bye) {
        m.type = PST_MSG_BYE;
        s->bye_made = true;
    } else if (pst_ns_since(now, s->spoke) < s->heartbeat) {
        return false;
    }
    encode(s, &m);
    return true;
}

static void say_silent(pst_session_t *s, pst_ns_t now)
{
    if (s->told || pst_ns_since(now, s->since) < SILENT_LOG)
        return;
    s->told = true;
    pst_log(PST_LOG_WARN, "broker.silent", "address=%s", s->address);
}

/* What the passing of time brings. */
static void turn(pst_session_t *s, pst_ns_t now)
{
    if (s->state != UP)
        say_silent(s, now);
    if (s->bye && (s->state == REST || s->state == HELLO))
        set_state(s, OVER);
    if (now < s->due)
        return;
    if (s->state == REST) {
        set_state(s, HELLO);
        begin(s);
    } else if (s->state == HELLO) {
        s->hello_wait = PST_MIN(s->hello_wait * 2, HELLO_WAIT_MAX);
        begin(s);
    }
}

static pst_ns_t deadline(const pst_session_t *s)
{
    pst_ns_t t = PST_NEVER;
    switch (s->state) {
    case REST:
    case HELLO:
        t = s->due;
        return s->told ? t : pst_ns_min(t, pst_ns_add(s->since, SILENT_LOG));
    case UP:
        t = pst_ns_add(s->heard, s->lost);
        return s->frame.n ? t : pst_ns_min(t, pst_ns_add(s->spoke, s->heartbeat));
    case OVER:
        break;
    }
    return t;
}

pst_ns_t pst_session_write(pst_session_t *s, pst_ns_t now)
{
    turn(s, now);
    for (unsigned i = 0; i < FRAMES_PER_TURN; i++) {
        if (s->frame.n == 0 && (s->state != UP || !make_frame(s, now)))
            break;
        if (!send_frame(s, now) && (!(socket_events(s) & ZMQ_POLLOUT) || !send_frame(s, now)))
            break;
    }
    int events = s->look ? socket_events(s) : 0;
    s->look = events & ZMQ_POLLIN;
    bool can_send = s->frame.n > 0 && (events & ZMQ_POLLOUT);
    return (events & ZMQ_POLLIN) || can_send ? 0 : deadline(s);
}

void pst_session_bye(pst_session_t *s)
{
    s->bye = true;
}

bool pst_session_over(const pst_session_t *s)
{
    return s->state == OVER;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The hooks do the work. */
static void on_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    pst_session_t *s = arg;
    s->look = true;
}

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

/* ZMQ_IMMEDIATE: without a connection a send fails, so that HELLOs do not pile up for a broker that is away.
 * No ZMTP heartbeats: with a socket at its high-water mark they cost messages; the session has its own. */
static bool set_options(void *socket)
{
    uint8_t id[16];
    pst_random(id, sizeof id);
    id[0] |= 1; /* ids that begin with a zero byte are libzmq's */
    int64_t bytes_max = PST_FRAME_BYTES_MAX;
    return zmq_setsockopt(socket, ZMQ_ROUTING_ID, id, sizeof id) == 0 &&
           zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0 &&
           set_int(socket, ZMQ_SNDHWM, HWM) && set_int(socket, ZMQ_RCVHWM, HWM) &&
           set_int(socket, ZMQ_IMMEDIATE, 1) && set_int(socket, ZMQ_LINGER, LINGER_MS) &&
           set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
           set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MS_MAX);
}

pst_err_t pst_session_new(pst_loop_t *loop, const char *address, const pst_session_ops_t *ops, void *arg,
                          pst_session_t **ret, pst_errbuf_t *eb)
{
    void *zmq = zmq_ctx_new();
    void *socket = zmq ? zmq_socket(zmq, ZMQ_DEALER) : NULL;
    if (!socket || !set_options(socket) || zmq_connect(socket, address) != 0) {
        int e = zmq_errno();
        if (socket)
            zmq_close(socket);
        if (zmq)
            zmq_ctx_term(zmq);
        return pst_errf(eb, PST_E_INVALID, "cannot connect to \"%s\": %s", address, zmq_strerror(e));
    }
    pst_session_t *s = pst_calloc(1, sizeof *s);
    size_t n = sizeof s->fd;
    PST_ASSERT(zmq_getsockopt(socket, ZMQ_FD, &s->fd, &n) == 0);
    s->loop = loop;
    s->zmq = zmq;
    s->socket = socket;
    s->address = pst_strdup_view(pst_view_str(address));
    s->ops = ops;
    s->arg = arg;
    s->state = REST;
    s->look = true;
    s->hello_wait = HELLO_WAIT;
    s->since = pst_loop_now(loop);
    pst_buf_init(&s->frame, PST_FRAME_BYTES_MAX);
    pst_arena_init(&s->arena, ARENA_BYTES_MAX);
    pst_loop_fd(loop, s->fd, EPOLLIN, on_fd, s);
    *ret = s;
    return PST_OK;
}

void pst_session_destroy(pst_session_t **s)
{
    if (!s || !*s)
        return;
    pst_session_t *x = pst_take(s);
    pst_loop_fd_remove(x->loop, x->fd);
    zmq_close(x->socket);
    zmq_ctx_term(x->zmq);
    pst_buf_release(&x->frame);
    pst_arena_release(&x->arena);
    free(x->address);
    free(x);
}
