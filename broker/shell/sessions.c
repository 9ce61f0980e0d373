#include "sessions.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "base/heap.h"
#include "base/map.h"
#include "parcel.h"
#include "proc/log.h"

#define MESSAGES_PER_TURN 256
#define BYTES_PER_TURN ((size_t)256 << 10) /* some hundred results: then the other socket has its turn */
#define ARENA_BYTES_MAX ((size_t)64 << 20)
#define ID_BYTES_MAX 32              /* routing ids; ours have 16 */
#define HANDSHAKE_MS 5000
#define BACKLOG 1024
#define FULL_RETRY (2 * PST_MS)      /* a peer's queue was full: libzmq does not say when it no longer is */
#define PAUSE (PST_PEER_LOST_MS / 4 * PST_MS) /* late by so much: we stood still, the others were not silent */

#define HEARTBEAT (PST_HEARTBEAT_MS * PST_MS)
#define LOST (PST_PEER_LOST_MS * PST_MS)

typedef struct session {
    pst_peer_t peer;
    uint64_t nonce;
    uint64_t seq_in, seq_out;  /* the next of each */
    pst_ns_t heard, spoke;
    pst_heap_node_t timer;     /* when to look at heard and spoke again */
    pst_link_t place;          /* in stuck, in gone, or alone */
    pst_link_t out;            /* parcels the socket did not take yet */
    pst_account_t *account;
    size_t id_n;
    uint8_t id[ID_BYTES_MAX];
} session_t;

struct pst_sessions {
    pst_loop_t *loop;
    void *socket;
    int fd;
    bool look;                 /* the socket was used since it last said that there is nothing, or its descriptor is ready:
                                * else there is nothing, and asking is a system call */
    pst_sessions_opts_t o;
    pst_sessions_ops_t ops;
    pst_map_t by_id, by_peer;
    pst_heap_t timers;
    pst_link_t stuck;          /* sessions with parcels that wait */
    pst_link_t gone;           /* no longer in the maps; `gone` is to be called */
    pst_ns_t now;
    pst_ns_t due;              /* when the next turn was to be at the latest */
    pst_ns_t deaf_until;       /* silence before this moment does not count */
    pst_arena_t arena;         /* of the message being handled */
    pst_sessions_stats_t stats;
    char address[256];
};

/* ---- the end of a session ---------------------------------------------------------------------------------------- */

static void drop_parcels(session_t *x)
{
    for (pst_parcel_t *p; (p = pst_parcel_first(&x->out)) != NULL;)
        pst_parcel_destroy(&p);
}

static void end(pst_sessions_t *s, session_t *x, const char *why)
{
    pst_log(PST_LOG_DEBUG, "session.end", "peer=%u why=\"%s\"", x->peer, why);
    pst_map_remove(&s->by_id, x->id, x->id_n);
    pst_map_remove(&s->by_peer, &x->peer, sizeof x->peer);
    pst_heap_remove(&s->timers, &x->timer);
    drop_parcels(x);
    pst_link_remove(&x->place);
    pst_link_before(&s->gone, &x->place);
    s->stats.sessions--;
}

static void session_free(session_t *x)
{
    drop_parcels(x);
    pst_link_remove(&x->place);
    pst_account_close(&x->account);
    free(x);
}

/* After a new session of the same peer has begun, so that what it goes on with is not given to others in between. */
static void tell_gone(pst_sessions_t *s)
{
    while (!pst_link_empty(&s->gone)) {
        session_t *x = PST_CONTAINER(s->gone.next, session_t, place);
        pst_peer_t peer = x->peer;
        session_free(x);
        s->ops.gone(s->ops.arg, peer);
    }
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* Nothing is kept for somebody without a session: what the socket does not take is dropped. */
static void refuse(pst_sessions_t *s, pst_view_t id, const pst_msg_t *in, pst_err_t e, const char *text)
{
    pst_msg_t m = {.version = in->version, .type = PST_MSG_REFUSED, .session = in->session, .epoch = s->o.epoch};
    m.u.refused.err = (uint16_t)e;
    m.u.refused.text = pst_view_str(text ? text : pst_err_text(e));
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_msg_encode(&m, &b);
    s->stats.refused++;
    s->look = true;
    if (!b.failed && zmq_send(s->socket, id.p, id.n, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        (void)zmq_send(s->socket, b.p, b.n, ZMQ_DONTWAIT);
    pst_buf_release(&b);
}

/* False: the session has ended. */
static bool push_out(pst_sessions_t *s, session_t *x)
{
    s->look = true;
    for (pst_parcel_t *p; (p = pst_parcel_first(&x->out)) != NULL;) {
        int e = pst_parcel_send(&p, s->socket, x->id, x->id_n);
        if (e == EAGAIN) {
            pst_link_remove(&x->place);
            pst_link_before(&s->stuck, &x->place);
            return true;
        }
        if (e) {
            end(s, x, "no way to it");
            return false;
        }
        x->spoke = s->now;
    }
    pst_link_remove(&x->place);
    return true;
}

static void post(pst_sessions_t *s, session_t *x, pst_msg_t *m)
{
    m->version = PST_PROTOCOL_VERSION;
    m->session = x->nonce;
    m->epoch = s->o.epoch;
    m->seq = x->seq_out++;
    pst_buf_t b;
    pst_buf_init(&b, PST_FRAME_BYTES_MAX);
    pst_msg_encode(m, &b);
    if (b.failed) {
        pst_log(PST_LOG_ERROR, "session.frame_too_large", "peer=%u message=%s", x->peer, pst_msg_name(m->type));
        pst_buf_release(&b);
        end(s, x, "a frame past its limit");
        return;
    }
    s->stats.messages_out++;
    s->stats.bytes_out += b.n;
    pst_parcel_queue(&x->out, pst_parcel_new(x->account, &b));
    if (push_out(s, x) && pst_account_bytes(x->account) > s->o.out_bytes_max) {
        pst_log(PST_LOG_WARN, "session.slow", "peer=%u bytes=%zu", x->peer, pst_account_bytes(x->account));
        s->stats.lost++;
        end(s, x, "it does not read");
    }
}

static session_t *find(const pst_sessions_t *s, pst_peer_t peer)
{
    return pst_map_get(&s->by_peer, &peer, sizeof peer);
}

void pst_sessions_send(pst_sessions_t *s, pst_peer_t peer, pst_msg_t *m)
{
    session_t *x = find(s, peer);
    if (x)
        post(s, x, m);
}

size_t pst_sessions_waiting(const pst_sessions_t *s, pst_peer_t peer)
{
    const session_t *x = find(s, peer);
    return x ? pst_account_bytes(x->account) : 0;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static session_t *session_new(pst_sessions_t *s, pst_view_t id, uint64_t nonce)
{
    session_t *x = pst_calloc(1, sizeof *x);
    x->peer = ++*s->o.last_peer;
    x->nonce = nonce;
    x->seq_in = 1;
    x->heard = x->spoke = s->now;
    x->account = pst_account_new();
    x->id_n = id.n;
    memcpy(x->id, id.p, id.n);
    pst_heap_node_init(&x->timer);
    pst_link_init(&x->place);
    pst_link_init(&x->out);
    pst_map_set(&s->by_id, x->id, x->id_n, x);
    pst_map_set(&s->by_peer, &x->peer, sizeof x->peer, x);
    pst_heap_set(&s->timers, &x->timer, s->now + HEARTBEAT);
    s->stats.sessions++;
    s->stats.begun++;
    return x;
}

static void welcome(pst_sessions_t *s, session_t *x)
{
    pst_msg_t m = {.type = PST_MSG_WELCOME};
    m.u.welcome.heartbeat_ms = PST_HEARTBEAT_MS;
    m.u.welcome.lost_ms = PST_PEER_LOST_MS;
    if (s->o.role == PST_ROLE_CLIENT) {
        m.u.welcome.upload_packs = PST_UPLOAD_PACKS_MAX;
        m.u.welcome.upload_bytes = PST_UPLOAD_BYTES_MAX;
    }
    post(s, x, &m);
}

static void on_hello(pst_sessions_t *s, pst_view_t id, const pst_msg_t *m)
{
    session_t *old = pst_map_get(&s->by_id, id.p, id.n);
    if (old && old->nonce == m->session) {
        end(s, old, "a second HELLO");
        refuse(s, id, m, PST_E_SEQUENCE, "a session begins with one HELLO");
        return;
    }
    if (old)
        end(s, old, "begun anew");
    if (m->u.hello.role != s->o.role) {
        refuse(s, id, m, PST_E_INVALID, s->o.role == PST_ROLE_CLIENT
                                            ? "clients connect here: give a worker the address of broker.workers"
                                            : "workers connect here: give a client the address of broker.clients");
    } else if (m->seq != 0) {
        refuse(s, id, m, PST_E_SEQUENCE, NULL);
    } else if (s->stats.sessions >= s->o.sessions_max) {
        refuse(s, id, m, PST_E_FULL, "too many sessions at once: try again later");
    } else {
        session_t *x = session_new(s, id, m->session);
        pst_peer_t peer = x->peer;
        welcome(s, x);
        pst_err_t e = find(s, peer) ? s->ops.hello(s->ops.arg, peer, &m->u.hello) : PST_OK;
        if (e && (x = find(s, peer)) != NULL) {
            end(s, x, "refused");
            refuse(s, id, m, e, NULL);
        }
    }
    tell_gone(s);
}

/* PST_OK, or why its sender has to begin anew. */
static pst_err_t take(pst_sessions_t *s, session_t *x, const pst_msg_t *m)
{
    if (m->epoch != 0 && m->epoch != s->o.epoch)
        return PST_E_NO_SESSION;
    if (m->seq != x->seq_in)
        return PST_E_SEQUENCE;
    x->seq_in++;
    x->heard = s->now;
    if (m->type == PST_MSG_PING)
        return PST_OK;
    if (m->type == PST_MSG_BYE) {
        end(s, x, "good-bye");
        return PST_OK;
    }
    return s->ops.message(s->ops.arg, x->peer, m);
}

static void on_frame(pst_sessions_t *s, pst_view_t id, pst_view_t frame, bool one_frame)
{
    pst_msg_t m;
    memset(&m, 0, sizeof m);
    m.version = PST_PROTOCOL_VERSION;
    pst_arena_clear(&s->arena);
    pst_err_t e = one_frame ? pst_msg_decode(frame, &s->arena, &m) : PST_E_MALFORMED;
    session_t *x = pst_map_get(&s->by_id, id.p, id.n);
    if (e == PST_OK && m.type == PST_MSG_HELLO) {
        on_hello(s, id, &m);
        return;
    }
    if (e == PST_OK && (!x || x->nonce != m.session)) {
        refuse(s, id, &m, PST_E_NO_SESSION, NULL);
        return;
    }
    if (e && e != PST_E_VERSION) { /* nothing in it can be believed */
        m.version = PST_PROTOCOL_VERSION;
        m.session = x ? x->nonce : 0;
    }
    pst_peer_t peer = x ? x->peer : 0;
    if (e == PST_OK)
        e = take(s, x, &m);
    if (e == PST_OK)
        return;
    x = find(s, peer);
    if (x)
        end(s, x, pst_err_text(e));
    refuse(s, id, &m, e, NULL);
}

/* Ids that libzmq gave (5 bytes, the first of them 0) can be guessed. */
static bool id_is_good(pst_view_t id)
{
    return id.n > 0 && id.n <= ID_BYTES_MAX && id.p[0] != 0;
}

static int socket_events(pst_sessions_t *s)
{
    int events = 0;
    s->look = true;
    size_t n = sizeof events;
    PST_ASSERT(zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &n) == 0);
    return events;
}

/* The id frame and the first frame behind it; *ret_one: there was no other.  A longer message is read to its end. */
static bool receive(pst_sessions_t *s, zmq_msg_t *id, zmq_msg_t *frame, bool *ret_one)
{
    if (zmq_msg_recv(id, s->socket, ZMQ_DONTWAIT) < 0)
        return false;
    *ret_one = zmq_msg_more(id) && zmq_msg_recv(frame, s->socket, ZMQ_DONTWAIT) >= 0;
    bool more = *ret_one && zmq_msg_more(frame);
    if (!more)
        return true;
    *ret_one = false;
    zmq_msg_t rest;
    zmq_msg_init(&rest);
    while (zmq_msg_recv(&rest, s->socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&rest))
        ;
    zmq_msg_close(&rest);
    return true;
}

void pst_sessions_read(pst_sessions_t *s, pst_ns_t now)
{
    if (pst_ns_since(now, s->due) > PAUSE)
        s->deaf_until = now;
    s->now = now;
    s->due = PST_NEVER;
    zmq_msg_t id, frame;
    zmq_msg_init(&id);
    zmq_msg_init(&frame);
    size_t bytes = 0;
    bool one;
    unsigned max = s->look ? MESSAGES_PER_TURN : 0;
    for (unsigned i = 0; i < max && bytes < BYTES_PER_TURN && receive(s, &id, &frame, &one); i++) {
        pst_view_t from = pst_view(zmq_msg_data(&id), zmq_msg_size(&id));
        pst_view_t v = one ? pst_view(zmq_msg_data(&frame), zmq_msg_size(&frame)) : pst_view(NULL, 0);
        bytes += v.n;
        s->stats.messages_in++;
        s->stats.bytes_in += v.n;
        if (id_is_good(from))
            on_frame(s, from, v, one);
    }
    zmq_msg_close(&id);
    zmq_msg_close(&frame);
    tell_gone(s);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static pst_ns_t next_look(const pst_sessions_t *s, const session_t *x)
{
    return pst_ns_min(PST_MAX(x->heard, s->deaf_until) + LOST, x->spoke + HEARTBEAT);
}

/* `drained`: everything that came has been handled, so that silence is silence. */
static void look_at(pst_sessions_t *s, session_t *x, bool drained)
{
    if (drained && pst_ns_since(s->now, PST_MAX(x->heard, s->deaf_until)) >= LOST) {
        s->stats.lost++;
        end(s, x, "silence");
        return;
    }
    pst_peer_t peer = x->peer;
    if (pst_ns_since(s->now, x->spoke) >= HEARTBEAT) {
        pst_msg_t m = {.type = PST_MSG_PING};
        x->spoke = s->now; /* also where the socket does not take it: one PING waiting is enough */
        if (pst_link_empty(&x->out))
            post(s, x, &m);
        if (find(s, peer) != x)
            return;
    }
    pst_heap_set(&s->timers, &x->timer, PST_MAX(next_look(s, x), s->now + PST_MS));
}

static session_t *next_due(const pst_sessions_t *s)
{
    pst_heap_node_t *top = pst_heap_top(&s->timers);
    return top && top->key <= s->now ? PST_CONTAINER(top, session_t, timer) : NULL;
}

static void look_around(pst_sessions_t *s)
{
    session_t *x = next_due(s);
    if (!x)
        return;
    for (bool drained = !(socket_events(s) & ZMQ_POLLIN); x; x = next_due(s))
        look_at(s, x, drained);
}

static void push_stuck(pst_sessions_t *s)
{
    pst_link_t todo; /* those that are still stuck go back to s->stuck */
    pst_link_init(&todo);
    while (!pst_link_empty(&s->stuck)) {
        pst_link_t *l = s->stuck.next;
        pst_link_remove(l);
        pst_link_before(&todo, l);
    }
    while (!pst_link_empty(&todo))
        (void)push_out(s, PST_CONTAINER(todo.next, session_t, place));
}

pst_ns_t pst_sessions_write(pst_sessions_t *s, pst_ns_t now)
{
    s->now = now;
    push_stuck(s);
    look_around(s);
    tell_gone(s);
    pst_heap_node_t *top = pst_heap_top(&s->timers);
    s->due = top ? top->key : PST_NEVER;
    if (s->look && socket_events(s) & ZMQ_POLLIN)
        return 0;
    s->look = false;
    return pst_link_empty(&s->stuck) ? s->due : pst_ns_min(s->due, now + FULL_RETRY);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* The loop's hooks do the work. */
static void on_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    pst_sessions_t *s = arg;
    s->look = true;
}

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

/* No ZMTP heartbeats: with a socket at its high-water mark they cost messages; sessions have their own. */
static bool set_options(void *socket, int high_water)
{
    int64_t bytes_max = PST_FRAME_BYTES_MAX + 1;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0 &&
           set_int(socket, ZMQ_ROUTER_HANDOVER, 1) && set_int(socket, ZMQ_ROUTER_MANDATORY, 1) &&
           set_int(socket, ZMQ_SNDHWM, high_water) && set_int(socket, ZMQ_RCVHWM, high_water) &&
           set_int(socket, ZMQ_LINGER, 0) && set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE, 1) && set_int(socket, ZMQ_BACKLOG, BACKLOG) &&
           set_int(socket, ZMQ_IPV6, 1);
}

static pst_err_t bind_error(const char *address, pst_role_t role, pst_errbuf_t *eb)
{
    int e = zmq_errno();
    const char *key = role == PST_ROLE_CLIENT ? "clients" : "workers";
    if (e == EADDRINUSE)
        return pst_errf(eb, PST_E_IO, "%s is in use: stop the other broker, or change broker.%s", address, key);
    return pst_errf(eb, PST_E_IO, "cannot listen on \"%s\": %s: correct broker.%s", address, zmq_strerror(e), key);
}

pst_err_t pst_sessions_new(pst_loop_t *loop, void *zmq, const char *address, const pst_sessions_opts_t *o,
                           const pst_sessions_ops_t *ops, pst_sessions_t **ret, pst_errbuf_t *eb)
{
    void *socket = zmq_socket(zmq, ZMQ_ROUTER);
    if (!socket)
        return pst_errf(eb, PST_E_IO, "no more sockets: %s: raise the limit of open files", zmq_strerror(zmq_errno()));
    PST_ASSERT(set_options(socket, o->high_water));
    if (zmq_bind(socket, address) != 0) {
        pst_err_t e = bind_error(address, o->role, eb);
        zmq_close(socket);
        return e;
    }
    pst_sessions_t *s = pst_calloc(1, sizeof *s);
    *s = (pst_sessions_t){.loop = loop, .socket = socket, .o = *o, .ops = *ops};
    s->now = pst_loop_now(loop);
    s->due = PST_NEVER;
    s->look = true;
    pst_map_init(&s->by_id, o->seed);
    pst_map_init(&s->by_peer, o->seed);
    pst_heap_init(&s->timers);
    pst_link_init(&s->stuck);
    pst_link_init(&s->gone);
    pst_arena_init(&s->arena, ARENA_BYTES_MAX);
    size_t n = sizeof s->fd;
    PST_ASSERT(zmq_getsockopt(socket, ZMQ_FD, &s->fd, &n) == 0);
    n = sizeof s->address;
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, s->address, &n) != 0)
        snprintf(s->address, sizeof s->address, "%s", address);
    pst_loop_fd(loop, s->fd, EPOLLIN, on_fd, s);
    *ret = s;
    return PST_OK;
}

void pst_sessions_destroy(pst_sessions_t **ps)
{
    pst_sessions_t *s = pst_take(ps);
    if (!s)
        return;
    pst_heap_release(&s->timers);
    uint32_t i = 0;
    for (session_t *x; (x = pst_map_next(&s->by_peer, &i)) != NULL;)
        session_free(x);
    while (!pst_link_empty(&s->gone))
        session_free(PST_CONTAINER(s->gone.next, session_t, place));
    pst_loop_fd_remove(s->loop, s->fd);
    zmq_close(s->socket);
    pst_map_release(&s->by_id);
    pst_map_release(&s->by_peer);
    pst_arena_release(&s->arena);
    free(s);
}

const char *pst_sessions_address(const pst_sessions_t *s)
{
    return s->address;
}

const pst_sessions_stats_t *pst_sessions_stats(const pst_sessions_t *s)
{
    return &s->stats;
}
