#include "lib/conn.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "base/list.h"
#include "lib/frame.h"
#include "proc/clock.h"

#define PUT_OFF_MIN (20 * PST_MS)  /* first pause before what was put off is sent again; doubles */
#define PUT_OFF_MAX (1000 * PST_MS)
#define LINGER_MS 100              /* for a BYE or the like to leave */
#define REPLY_BYTES_MAX ((size_t)64 << 20)
#define HIGH_WATER 256             /* messages; credit keeps far below it */
#define SOFTWARE "penstock/" PST_VERSION

/* The number of a request is the first field of every request and reply, so that one name serves for all. */
_Static_assert(offsetof(pst_msg_open_t, req) == 0 && offsetof(pst_msg_pack_t, req) == 0 &&
                  offsetof(pst_msg_commit_t, req) == 0 && offsetof(pst_msg_route_t, req) == 0 &&
                  offsetof(pst_msg_list_t, req) == 0 && offsetof(pst_msg_fetch_t, req) == 0 &&
                  offsetof(pst_msg_get_t, req) == 0 && offsetof(pst_msg_batch_req_t, req) == 0 &&
                  offsetof(pst_msg_done_t, req) == 0 && offsetof(pst_msg_batch_t, req) == 0 &&
                  offsetof(pst_msg_batches_t, req) == 0 && offsetof(pst_msg_results_t, req) == 0 &&
                  offsetof(pst_msg_job_t, req) == 0 && offsetof(pst_msg_top_t, req) == 0 &&
                  offsetof(pst_msg_cluster_t, req) == 0 && offsetof(pst_msg_call_t, req) == 0,
               "req comes first");

struct pst_reply {
    zmq_msg_t frame;
    pst_arena_t arena;
    pst_msg_t msg;
};

/* One request. */
typedef struct call {
    pst_link_t link;       /* in conn.uploads, in order of sending; alone for a question */
    uint32_t req;          /* new at each sending of a request that was put off: late answers to it are nobody's */
    uint8_t type;
    pst_frame_t *frame;    /* NULL once it is known to be safe */
    size_t credit;         /* bytes of it that a PACK holds */
    bool answered;
    pst_err_t err;         /* of the DONE, and its words if it is an error */
    char *words;
    pst_reply_t *reply;    /* questions: whatever it was */
} call_t;

struct pst_conn {
    char *address;
    pst_ns_t timeout;
    pst_errbuf_t *words;
    void *ctx, *socket;
    /* session */
    uint64_t session, epoch, seq, seq_in;
    bool welcome;          /* WELCOME came */
    unsigned breaks;       /* sessions lost since the last WELCOME */
    pst_ns_t begin_at;     /* no session: when to begin one; PST_NEVER: there is one */
    pst_ns_t heartbeat, lost;
    uint32_t credit_packs, credit_bytes;
    pst_ns_t sent, heard;  /* heard: also the start of a wait, for nobody listens between calls */
    pst_ns_t began;
    pst_err_t fatal;       /* the broker will not have us */
    pst_err_t refused;     /* why it would not have us last; its words are in *words */
    /* requests */
    uint32_t req;
    call_t *question;
    struct {
        pst_msg_fetch_t of;  /* req 0: nothing was asked ahead */
        pst_reply_t *reply;  /* NULL until it came */
    } ahead;
    pst_link_t uploads;
    uint32_t packs_out;    /* PACKs unanswered, and their bytes */
    uint64_t bytes_out;
    pst_ns_t again_at;     /* when to send again what was put off; PST_NEVER: nothing was */
    pst_ns_t put_off;      /* how long the pause is */
    pst_ns_t put_off_since; /* first of a row of refusals that waiting may not cure; PST_NEVER: none */
    pst_err_t upload_err;
    pst_id_t accepted;     /* what the last COMMIT said */
    pst_reply_t *in;       /* spare, for the next frame */
};

const pst_msg_t *pst_reply_msg(const pst_reply_t *r)
{
    return &r->msg;
}

static pst_reply_t *reply_new(void)
{
    pst_reply_t *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    zmq_msg_init(&r->frame);
    pst_arena_init(&r->arena, REPLY_BYTES_MAX);
    return r;
}

void pst_reply_destroy(pst_reply_t **r)
{
    if (!*r)
        return;
    zmq_msg_close(&(*r)->frame);
    pst_arena_release(&(*r)->arena);
    free(*r);
    *r = NULL;
}

static pst_err_t unreachable(pst_conn_t *c)
{
    if (c->refused)
        return c->refused;
    return pst_errf(c->words, PST_E_UNREACHABLE,
                    "no broker answers at %s: start one with `penstock up`, or name another with --broker", c->address);
}

static pst_err_t no_memory(pst_conn_t *c)
{
    return pst_errf(c->words, PST_E_NOMEM, "out of memory");
}

/* Socket. */

static void set_int(void *socket, int option, int value)
{
    PST_ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

/* The id is an address, new for each socket, so that what an old one still has on its way reaches nobody. */
static pst_err_t open_socket(pst_conn_t *c)
{
    c->socket = zmq_socket(c->ctx, ZMQ_DEALER);
    if (!c->socket)
        return pst_errf(c->words, PST_E_IO, "no more sockets: %s", zmq_strerror(errno));
    uint8_t id[16];
    pst_random(id, sizeof id);
    id[0] |= 1; /* ZeroMQ keeps ids that begin with 0 for itself */
    PST_ASSERT(zmq_setsockopt(c->socket, ZMQ_ROUTING_ID, id, sizeof id) == 0);
    int64_t bytes_max = PST_FRAME_BYTES_MAX;
    PST_ASSERT(zmq_setsockopt(c->socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0);
    set_int(c->socket, ZMQ_SNDHWM, HIGH_WATER);
    set_int(c->socket, ZMQ_RCVHWM, HIGH_WATER);
    set_int(c->socket, ZMQ_LINGER, 0);
    set_int(c->socket, ZMQ_RECONNECT_IVL, 50);
    set_int(c->socket, ZMQ_RECONNECT_IVL_MAX, 500);
    set_int(c->socket, ZMQ_IPV6, 1);
    if (zmq_connect(c->socket, c->address) == 0)
        return PST_OK;
    zmq_close(c->socket);
    c->socket = NULL;
    return pst_errf(c->words, PST_E_INVALID, "\"%s\" is no address of a broker: write tcp://HOST:PORT or ipc:///PATH",
                    c->address);
}

pst_err_t pst_conn_new(const char *address, uint32_t timeout_ms, pst_errbuf_t *words, pst_conn_t **ret)
{
    pst_conn_t *c = calloc(1, sizeof *c);
    if (!c)
        return pst_errf(words, PST_E_NOMEM, "out of memory");
    pst_link_init(&c->uploads);
    c->words = words;
    c->timeout = timeout_ms * PST_MS;
    c->again_at = c->put_off_since = PST_NEVER;
    c->heartbeat = PST_HEARTBEAT_MS * PST_MS;
    c->lost = PST_PEER_LOST_MS * PST_MS;
    c->address = strdup(address);
    c->ctx = zmq_ctx_new();
    c->in = reply_new();
    pst_err_t e = c->address && c->ctx && c->in ? open_socket(c) : no_memory(c);
    if (e) {
        pst_conn_destroy(&c);
        return e;
    }
    *ret = c;
    return PST_OK;
}

/* Sending. */

static void stamp(pst_conn_t *c, pst_msg_t *m)
{
    m->version = PST_PROTOCOL_VERSION;
    m->session = c->session;
    m->epoch = c->epoch;
    m->seq = c->seq;
}

static pst_frame_t *encode(pst_conn_t *c, pst_msg_t *m, size_t size_hint)
{
    pst_buf_t b;
    pst_buf_init(&b, PST_FRAME_BYTES_MAX);
    stamp(c, m);
    pst_buf_reserve(&b, PST_MIN(size_hint + 256, (size_t)PST_FRAME_BYTES_MAX));
    pst_msg_encode(m, &b);
    pst_frame_t *f = pst_frame_take(&b);
    pst_buf_release(&b);
    return f;
}

static void end_session(pst_conn_t *c, pst_ns_t begin_at);

/* A socket that takes nothing has a broker that reads nothing: as good as lost. */
static void send_frame(pst_conn_t *c, pst_frame_t *f)
{
    pst_ns_t now = pst_clock_mono();
    if (pst_frame_send(f, c->socket) != PST_OK) {
        end_session(c, pst_ns_add(now, PUT_OFF_MIN));
        return;
    }
    c->seq++;
    c->sent = now;
}

static void send_msg(pst_conn_t *c, pst_msg_t *m)
{
    pst_frame_t *f = encode(c, m, 0);
    if (!f)
        return; /* a HELLO or PING less: the session is lost, and begun anew */
    send_frame(c, f);
    pst_frame_unref(&f);
}

/* The frame again with the present session and numbers; the old one may still be in ZeroMQ's hands. */
static pst_err_t renew(pst_conn_t *c, call_t *call)
{
    pst_arena_t arena;
    pst_arena_init(&arena, REPLY_BYTES_MAX);
    pst_msg_t m;
    pst_view_t old = pst_frame_view(call->frame);
    pst_err_t e = pst_msg_decode(old, &arena, &m);
    PST_ASSERT(e == PST_OK || e == PST_E_NOMEM);
    pst_frame_t *f = NULL;
    if (!e) {
        m.u.batch_req.req = call->req;
        f = encode(c, &m, old.n);
    }
    pst_arena_release(&arena);
    if (!f)
        return no_memory(c);
    pst_frame_unref(&call->frame);
    call->frame = f;
    return PST_OK;
}

static pst_err_t send_again(pst_conn_t *c, call_t *call)
{
    pst_err_t e = renew(c, call);
    if (!e)
        send_frame(c, call->frame);
    return e;
}

/* Session. */

static bool has_session(const pst_conn_t *c)
{
    return c->begin_at == PST_NEVER;
}

/* What was sent on the old socket and not yet taken by the network goes with it: it would only be refused. */
static void forget_ahead(pst_conn_t *c)
{
    c->ahead.of.req = 0;
    pst_reply_destroy(&c->ahead.reply);
}

static void end_session(pst_conn_t *c, pst_ns_t begin_at)
{
    forget_ahead(c);
    c->begin_at = begin_at;
    c->welcome = false;
    c->breaks++;
}

static void say_hello(pst_conn_t *c)
{
    char host[64] = "client";
    char name[96];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s.%d", host, (int)getpid());
    pst_msg_t m = {.type = PST_MSG_HELLO};
    m.u.hello.role = PST_ROLE_CLIENT;
    m.u.hello.software = PST_VIEW_LIT(SOFTWARE);
    m.u.hello.name = pst_view_str(name);
    send_msg(c, &m);
}

/* Everything from the first part on that is not known to be safe. */
static pst_err_t send_uploads_again(pst_conn_t *c)
{
    pst_err_t e = PST_OK;
    for (pst_link_t *l = c->uploads.next; !e && l != &c->uploads; l = l->next) {
        call_t *call = PST_CONTAINER(l, call_t, link);
        if (!call->frame)
            continue;
        call->answered = false;
        call->req = ++c->req;
        e = send_again(c, call);
    }
    return e;
}

static pst_err_t begin_session(pst_conn_t *c)
{
    if (c->breaks > 0) {
        zmq_close(c->socket);
        pst_err_t e = open_socket(c);
        if (e)
            return e;
    }
    c->session = pst_random_u64();
    c->epoch = c->seq = c->seq_in = 0;
    c->began = pst_clock_mono();
    c->begin_at = PST_NEVER;
    c->again_at = PST_NEVER;
    say_hello(c);
    pst_err_t e = send_uploads_again(c);
    if (!e && c->question && !c->question->answered)
        e = send_again(c, c->question);
    return e;
}

/* Receiving. */

static pst_err_t put_words(pst_conn_t *c, pst_err_t e, pst_view_t text)
{
    if (text.n > 0)
        return pst_errf(c->words, e, "%.*s", (int)PST_MIN(text.n, sizeof c->words->text - 1), text.p);
    return pst_errf(c->words, e, "%s", pst_err_text(e));
}

static void take_welcome(pst_conn_t *c, const pst_msg_t *m)
{
    c->welcome = true;
    c->breaks = 0;
    c->refused = PST_OK;
    c->epoch = m->epoch;
    c->heartbeat = PST_MAX(m->u.welcome.heartbeat_ms, 10u) * PST_MS;
    c->lost = PST_MAX(m->u.welcome.lost_ms, 100u) * PST_MS;
    c->credit_packs = m->u.welcome.upload_packs;
    c->credit_bytes = m->u.welcome.upload_bytes;
}

/* REFUSED.  Another version or an identity that is not wanted will be so again; anything else may be over. */
static void take_refusal(pst_conn_t *c, const pst_msg_refused_t *r)
{
    pst_err_t e = (pst_err_t)r->err;
    if (e == PST_E_VERSION || pst_err_class(e) == PST_CLASS_FATAL) {
        c->fatal = put_words(c, e, r->text);
        end_session(c, pst_clock_mono());
        return;
    }
    c->refused = put_words(c, e, r->text);
    pst_ns_t pause = c->breaks == 0 ? 0 : PST_MIN(PUT_OFF_MIN << PST_MIN(c->breaks, 6u), PUT_OFF_MAX);
    end_session(c, pst_ns_add(pst_clock_mono(), pause));
}

static call_t *find_upload(pst_conn_t *c, uint32_t req)
{
    for (pst_link_t *l = c->uploads.next; l != &c->uploads; l = l->next) {
        call_t *call = PST_CONTAINER(l, call_t, link);
        if (call->req == req && !call->answered)
            return call;
    }
    return NULL;
}

static void free_call(call_t *call)
{
    pst_link_remove(&call->link);
    pst_frame_unref(&call->frame);
    free(call->words);
    free(call);
}

/* A full broker is waited for without end; one whose store is down, as long as a silent one. */
static void put_off(pst_conn_t *c, const call_t *call)
{
    if (c->again_at != PST_NEVER || !has_session(c))
        return;
    pst_ns_t now = pst_clock_mono();
    bool full = call->err == PST_E_FULL || call->err == PST_E_STORE_FULL;
    if (full)
        c->put_off_since = PST_NEVER;
    else if (c->put_off_since == PST_NEVER)
        c->put_off_since = now;
    if (!full && pst_ns_since(now, c->put_off_since) > c->timeout) {
        c->upload_err = put_words(c, call->err, pst_view_str(call->words));
        return;
    }
    c->put_off = c->put_off ? PST_MIN(c->put_off * 2, PUT_OFF_MAX) : PUT_OFF_MIN;
    if (pst_err_class(call->err) == PST_CLASS_CLOSE)
        end_session(c, pst_ns_add(now, c->put_off));
    else
        c->again_at = pst_ns_add(now, c->put_off);
}

/* Takes off the front what is safe, and looks at what then stands there. */
static void advance_uploads(pst_conn_t *c)
{
    while (!pst_link_empty(&c->uploads)) {
        call_t *call = PST_CONTAINER(c->uploads.next, call_t, link);
        if (!call->answered)
            return;
        if (call->err != PST_OK) {
            if (pst_err_class(call->err) == PST_CLASS_FATAL)
                c->upload_err = put_words(c, call->err, pst_view_str(call->words));
            else
                put_off(c, call);
            return;
        }
        free_call(call);
        c->put_off = 0;
        c->put_off_since = PST_NEVER;
    }
}

static void mark_safe(pst_conn_t *c, call_t *call)
{
    if (call->type == PST_MSG_PACK && call->frame) {
        c->packs_out--;
        c->bytes_out -= call->credit;
    }
    pst_frame_unref(&call->frame);
}

/* An OPEN that is sent again after its COMMIT had been taken finds the batch accepted: the rest is done too. */
static void mark_all_safe(pst_conn_t *c)
{
    for (pst_link_t *l = c->uploads.next; l != &c->uploads; l = l->next) {
        call_t *call = PST_CONTAINER(l, call_t, link);
        call->answered = true;
        call->err = PST_OK;
        mark_safe(c, call);
    }
}

static void take_upload_done(pst_conn_t *c, call_t *call, const pst_msg_done_t *done)
{
    call->answered = true;
    call->err = (pst_err_t)done->err;
    free(call->words);
    call->words = call->err ? strndup(done->text.n ? done->text.p : "", done->text.n) : NULL;
    if (call->err == PST_OK)
        mark_safe(c, call);
    if (call->err == PST_OK && done->accepted)
        c->accepted = done->batch;
    if (call->err == PST_OK && call->type == PST_MSG_OPEN && done->accepted)
        mark_all_safe(c);
    advance_uploads(c);
}

static void take_reply(pst_conn_t *c, pst_reply_t *in)
{
    uint32_t req = in->msg.u.done.req;
    call_t *q = c->question;
    if (q && !q->answered && q->req == req) {
        q->answered = true;
        q->reply = in;
        c->in = NULL;
        return;
    }
    if (c->ahead.of.req == req && !c->ahead.reply) {
        c->ahead.reply = in;
        c->in = NULL;
        return;
    }
    call_t *call = in->msg.type == PST_MSG_DONE ? find_upload(c, req) : NULL;
    if (call)
        take_upload_done(c, call, &in->msg.u.done);
}

static void take_message(pst_conn_t *c, pst_reply_t *in)
{
    switch ((pst_msg_type_t)in->msg.type) {
    case PST_MSG_WELCOME: take_welcome(c, &in->msg); break;
    case PST_MSG_REFUSED: take_refusal(c, &in->msg.u.refused); break;
    case PST_MSG_BYE: end_session(c, pst_ns_add(pst_clock_mono(), PUT_OFF_MIN)); break;
    case PST_MSG_DONE: case PST_MSG_BATCH: case PST_MSG_BATCHES: case PST_MSG_RESULTS: case PST_MSG_JOB:
    case PST_MSG_CLUSTER:
        take_reply(c, in);
        break;
    case PST_MSG_PING: case PST_MSG_PIECE: break;
    case PST_MSG_HELLO: case PST_MSG_ROUTE: case PST_MSG_OPEN: case PST_MSG_PACK: case PST_MSG_COMMIT:
    case PST_MSG_ABORT: case PST_MSG_STATUS: case PST_MSG_LIST: case PST_MSG_FETCH: case PST_MSG_GET:
    case PST_MSG_CANCEL: case PST_MSG_DELETE: case PST_MSG_TOP: case PST_MSG_CAPACITY: case PST_MSG_OUTCOMES:
    case PST_MSG_TASKS: case PST_MSG_REVOKE: case PST_MSG_ACK: case PST_MSG_CALL: case PST_MSG_PIECES:
        break; /* no broker sends these to a client */
    }
}

/* A gap means that an answer may be lost: ask again in a new session. */
static bool in_order(pst_conn_t *c, const pst_msg_t *m)
{
    if (m->type == PST_MSG_REFUSED)
        return true; /* from a broker that knows no session */
    if (m->seq != c->seq_in)
        return false;
    c->seq_in++;
    return true;
}

static void take_frame(pst_conn_t *c, pst_reply_t *in)
{
    pst_view_t bytes = pst_view(zmq_msg_data(&in->frame), zmq_msg_size(&in->frame));
    pst_arena_clear(&in->arena);
    pst_err_t e = pst_msg_decode(bytes, &in->arena, &in->msg);
    if (e == PST_E_VERSION) {
        c->fatal = pst_errf(c->words, PST_E_VERSION, "the broker at %s speaks another version of the protocol: "
                            "use the penstock of its release", c->address);
        return;
    }
    pst_ns_t now = pst_clock_mono();
    if (e) {
        end_session(c, pst_ns_add(now, PUT_OFF_MAX));
        return;
    }
    bool ours = in->msg.session == c->session || in->msg.type == PST_MSG_REFUSED;
    if (!ours || !has_session(c))
        return;
    if (in->msg.type != PST_MSG_REFUSED) /* to be turned away for long is no better than silence */
        c->heard = now;
    if (in_order(c, &in->msg))
        take_message(c, in);
    else
        end_session(c, now);
}

/* One frame, if there is one. */
static bool receive(pst_conn_t *c)
{
    if (!c->in && !(c->in = reply_new()))
        return false;
    if (zmq_msg_recv(&c->in->frame, c->socket, ZMQ_DONTWAIT) < 0)
        return false;
    if (zmq_msg_more(&c->in->frame))
        return true; /* ours are one frame: nobody we know */
    take_frame(c, c->in);
    return true;
}

/* Waiting. */

static pst_ns_t next_deadline(const pst_conn_t *c, pst_ns_t until)
{
    pst_ns_t next = pst_ns_min(until, c->begin_at);
    next = pst_ns_min(next, pst_ns_add(c->heard, c->timeout));
    if (!has_session(c))
        return next;
    next = pst_ns_min(next, c->again_at);
    next = pst_ns_min(next, pst_ns_add(c->sent, c->heartbeat));
    return pst_ns_min(next, pst_ns_add(PST_MAX(c->heard, c->began), c->lost));
}

/* Whatever is due now. */
static pst_err_t do_due(pst_conn_t *c, pst_ns_t now)
{
    if (pst_ns_since(now, c->heard) >= c->timeout)
        return unreachable(c);
    if (has_session(c) && pst_ns_since(now, PST_MAX(c->heard, c->began)) >= c->lost)
        end_session(c, now);
    if (!has_session(c))
        return c->begin_at <= now ? begin_session(c) : PST_OK;
    if (c->again_at <= now) {
        c->again_at = PST_NEVER;
        return send_uploads_again(c);
    }
    if (pst_ns_since(now, c->sent) >= c->heartbeat) {
        pst_msg_t ping = {.type = PST_MSG_PING};
        send_msg(c, &ping);
    }
    return PST_OK;
}

static void sleep_until(pst_conn_t *c, pst_ns_t until)
{
    pst_ns_t wait = pst_ns_since(until, pst_clock_mono());
    zmq_pollitem_t item = {.socket = c->socket, .events = ZMQ_POLLIN};
    /* rounded up, so that the deadline has passed when it returns; a signal only makes it short */
    (void)zmq_poll(&item, 1, (long)PST_MIN((wait + PST_MS - 1) / PST_MS, (pst_ns_t)60000));
}

typedef bool goal_fn(const pst_conn_t *c, const void *arg);

/* Runs the session until the goal is reached, or `until`; *ret_reached tells which. */
static pst_err_t run_until(pst_conn_t *c, goal_fn *goal, const void *arg, pst_ns_t until, bool *ret_reached)
{
    *ret_reached = false;
    c->heard = pst_clock_mono();
    c->fatal = c->refused = PST_OK;
    for (;;) {
        while (receive(c) && c->fatal == PST_OK)
            ;
        if (c->fatal || c->upload_err)
            return c->fatal ? c->fatal : c->upload_err;
        pst_ns_t now = pst_clock_mono();
        pst_err_t e = do_due(c, now);
        if (e)
            return e;
        *ret_reached = goal(c, arg);
        if (*ret_reached || now >= until)
            return PST_OK;
        sleep_until(c, next_deadline(c, until));
    }
}

static pst_err_t run(pst_conn_t *c, goal_fn *goal, const void *arg)
{
    bool reached;
    return run_until(c, goal, arg, PST_NEVER, &reached);
}

static bool is_welcome(const pst_conn_t *c, const void *arg)
{
    (void)arg;
    return c->welcome;
}

pst_err_t pst_conn_hello(pst_conn_t *c)
{
    return run(c, is_welcome, NULL);
}

/* Requests. */

static pst_err_t first_send(pst_conn_t *c, call_t *call, pst_msg_t *m, size_t size_hint)
{
    call->type = m->type;
    call->req = m->u.batch_req.req = ++c->req;
    call->frame = encode(c, m, size_hint);
    if (!call->frame)
        return no_memory(c);
    if (has_session(c))
        send_frame(c, call->frame);
    return PST_OK;
}

static bool question_answered(const pst_conn_t *c, const void *arg)
{
    (void)arg;
    return c->question->answered;
}

static bool never(const pst_conn_t *c, const void *arg)
{
    (void)c;
    (void)arg;
    return false;
}

/* One sending of a question, and its answer. */
static pst_err_t ask_once(pst_conn_t *c, pst_msg_t *m, pst_reply_t **ret)
{
    call_t call = {0};
    pst_link_init(&call.link);
    pst_err_t e = first_send(c, &call, m, 0);
    if (e)
        return e;
    c->question = &call;
    e = run(c, question_answered, NULL);
    c->question = NULL;
    pst_frame_unref(&call.frame);
    if (e)
        pst_reply_destroy(&call.reply);
    *ret = call.reply;
    return e;
}

static pst_err_t done_err(const pst_reply_t *r)
{
    return r->msg.type == PST_MSG_DONE ? (pst_err_t)r->msg.u.done.err : PST_OK;
}

void pst_conn_fetch_ahead(pst_conn_t *c, const pst_msg_fetch_t *fetch)
{
    forget_ahead(c);
    if (!has_session(c))
        return;
    pst_msg_t m = {.type = PST_MSG_FETCH, .u.fetch = *fetch};
    m.u.fetch.req = ++c->req;
    send_msg(c, &m);
    if (has_session(c))
        c->ahead.of = m.u.fetch;
}

static bool asked_ahead(const pst_conn_t *c, const pst_msg_t *m)
{
    const pst_msg_fetch_t *a = &c->ahead.of, *f = &m->u.fetch;
    return a->req && m->type == PST_MSG_FETCH && pst_id_eq(&a->batch, &f->batch) && a->bytes == f->bytes &&
           a->cursor.segment == f->cursor.segment && a->cursor.pack == f->cursor.pack;
}

static bool ahead_settled(const pst_conn_t *c, const void *arg)
{
    (void)arg;
    return c->ahead.reply || !c->ahead.of.req;
}

/* *ret NULL: the session went, or the broker put it off; it is to be asked again. */
static pst_err_t take_ahead(pst_conn_t *c, pst_reply_t **ret)
{
    *ret = NULL;
    pst_err_t e = run(c, ahead_settled, NULL);
    if (!e && c->ahead.reply && !done_err(c->ahead.reply)) {
        *ret = c->ahead.reply;
        c->ahead.reply = NULL;
    }
    forget_ahead(c);
    return e;
}

pst_err_t pst_conn_ask(pst_conn_t *c, pst_msg_t *m, pst_reply_t **ret)
{
    if (asked_ahead(c, m)) {
        pst_err_t e = take_ahead(c, ret);
        if (e || *ret)
            return e;
    }
    pst_ns_t give_up = pst_ns_add(pst_clock_mono(), c->timeout);
    for (pst_ns_t pause = PUT_OFF_MIN;; pause = PST_MIN(pause * 2, PUT_OFF_MAX)) {
        pst_reply_t *r = NULL;
        pst_err_t e = ask_once(c, m, &r);
        if (e)
            return e;
        e = done_err(r);
        if (!e) {
            *ret = r;
            return PST_OK;
        }
        put_words(c, e, r->msg.u.done.text);
        pst_reply_destroy(&r);
        pst_ns_t again = pst_ns_add(pst_clock_mono(), pause);
        if (pst_err_class(e) == PST_CLASS_FATAL || again > give_up)
            return e;
        if (pst_err_class(e) == PST_CLASS_CLOSE)
            end_session(c, again);
        bool reached;
        pst_err_t waited = run_until(c, never, NULL, again, &reached);
        if (waited)
            return waited;
    }
}

/* Before the broker has named a credit one pack may go: a small batch needs no second round trip. */
static bool has_credit(const pst_conn_t *c, const void *arg)
{
    size_t bytes = *(const size_t *)arg;
    if (c->packs_out == 0)
        return true;
    return c->welcome && c->packs_out < c->credit_packs && c->bytes_out + bytes <= c->credit_bytes;
}

static size_t pack_bytes(const pst_msg_t *m)
{
    return m->type == PST_MSG_PACK ? m->u.pack.headers.n + m->u.pack.bodies.n : 0;
}

pst_err_t pst_conn_upload(pst_conn_t *c, pst_msg_t *m)
{
    size_t bytes = pack_bytes(m);
    pst_err_t e = c->upload_err;
    bool reached;
    if (!e && m->type == PST_MSG_PACK && !has_credit(c, &bytes))
        e = run(c, has_credit, &bytes);
    else if (!e)
        e = run_until(c, never, NULL, 0, &reached); /* answers, PINGs and a new session, without waiting */
    if (e)
        return e;
    call_t *call = calloc(1, sizeof *call);
    if (!call)
        return no_memory(c);
    pst_link_init(&call->link);
    e = first_send(c, call, m, bytes);
    if (e) {
        free_call(call);
        return e;
    }
    pst_link_before(&c->uploads, &call->link);
    if (m->type == PST_MSG_PACK) {
        call->credit = bytes;
        c->packs_out++;
        c->bytes_out += bytes;
    }
    return PST_OK;
}

static bool nothing_out(const pst_conn_t *c, const void *arg)
{
    (void)arg;
    return pst_link_empty(&c->uploads);
}

pst_err_t pst_conn_settle(pst_conn_t *c, pst_id_t *ret_batch)
{
    pst_err_t e = run(c, nothing_out, NULL);
    if (!e)
        *ret_batch = c->accepted;
    return e;
}

void pst_conn_forget(pst_conn_t *c)
{
    while (!pst_link_empty(&c->uploads))
        free_call(PST_CONTAINER(c->uploads.next, call_t, link));
    c->packs_out = 0;
    c->bytes_out = 0;
    c->upload_err = PST_OK;
    c->again_at = c->put_off_since = PST_NEVER;
    c->put_off = 0;
}

static void say_bye(pst_conn_t *c)
{
    if (!c->welcome)
        return;
    pst_msg_t m = {.type = PST_MSG_BYE};
    send_msg(c, &m);
    set_int(c->socket, ZMQ_LINGER, LINGER_MS);
}

void pst_conn_destroy(pst_conn_t **pc)
{
    pst_conn_t *c = *pc;
    *pc = NULL;
    if (!c)
        return;
    pst_conn_forget(c);
    forget_ahead(c);
    if (c->socket) {
        say_bye(c);
        zmq_close(c->socket);
    }
    if (c->ctx)
        zmq_ctx_term(c->ctx);
    pst_reply_destroy(&c->in);
    free(c->address);
    free(c);
}
