#include "lib/session.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "proc/clock.h"

#define LINGER_MS 100              /* for a BYE or the like to leave */
#define FRAME_KEEP_BYTES ((size_t)1 << 20)
#define SOFTWARE "penstock/" PST_VERSION

/* The number of a request is the first field of every request and reply, so that one name serves for all. */
_Static_assert(offsetof(pst_msg_open_t, req) == 0 && offsetof(pst_msg_pack_t, req) == 0 &&
                  offsetof(pst_msg_commit_t, req) == 0 && offsetof(pst_msg_route_t, req) == 0 &&
                  offsetof(pst_msg_list_t, req) == 0 && offsetof(pst_msg_fetch_t, req) == 0 &&
                  offsetof(pst_msg_get_t, req) == 0 && offsetof(pst_msg_batch_req_t, req) == 0 &&
                  offsetof(pst_msg_call_t, req) == 0 && offsetof(pst_msg_piece_t, req) == 0 &&
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

struct pst_session {
    char *address;
    const pst_session_ops_t *ops;
    void *arg;
    pst_errbuf_t *words;
    int high_water;
    void *ctx, *socket;
    uint64_t nonce, epoch, seq, seq_in;
    bool welcome;            /* WELCOME came, and said: */
    pst_msg_welcome_t said;
    unsigned breaks;         /* sessions lost since the last WELCOME */
    pst_ns_t begin_at;       /* no session: when to begin one; PST_NEVER: there is one */
    pst_ns_t heartbeat, lost;
    pst_ns_t sent, heard;    /* heard: also when somebody began to listen */
    pst_ns_t began;
    pst_err_t fatal;         /* the broker will not have us */
    pst_err_t refused;       /* why it would not have us last; its words are in *words */
    pst_buf_t out;           /* of pst_session_post */
    pst_reply_t *in;         /* for the next frame; NULL: given to the user */
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
    pst_arena_init(&r->arena, PST_REPLY_BYTES_MAX);
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

pst_err_t pst_words_put(pst_errbuf_t *words, pst_err_t e, pst_view_t text)
{
    if (text.n > 0)
        return pst_errf(words, e, "%.*s", (int)PST_MIN(text.n, sizeof words->text - 1), text.p);
    return pst_errf(words, e, "%s", pst_err_text(e));
}

/* Socket. */

static void set_int(void *socket, int option, int value)
{
    PST_ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

/* The id is an address, new for each socket, so that what an old one still has on its way reaches nobody. */
static pst_err_t open_socket(pst_session_t *s)
{
    s->socket = zmq_socket(s->ctx, ZMQ_DEALER);
    if (!s->socket)
        return pst_errf(s->words, PST_E_IO, "no more sockets: %s", zmq_strerror(errno));
    uint8_t id[16];
    pst_random(id, sizeof id);
    id[0] |= 1; /* ZeroMQ keeps ids that begin with 0 for itself */
    PST_ASSERT(zmq_setsockopt(s->socket, ZMQ_ROUTING_ID, id, sizeof id) == 0);
    int64_t bytes_max = PST_FRAME_BYTES_MAX;
    PST_ASSERT(zmq_setsockopt(s->socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0);
    set_int(s->socket, ZMQ_SNDHWM, s->high_water);
    set_int(s->socket, ZMQ_RCVHWM, s->high_water);
    set_int(s->socket, ZMQ_LINGER, 0);
    set_int(s->socket, ZMQ_RECONNECT_IVL, 50);
    set_int(s->socket, ZMQ_RECONNECT_IVL_MAX, 500);
    set_int(s->socket, ZMQ_IPV6, 1);
    if (zmq_connect(s->socket, s->address) == 0)
        return PST_OK;
    zmq_close(s->socket);
    s->socket = NULL;
    return pst_errf(s->words, PST_E_INVALID, "\"%s\" is no address of a broker: write tcp://HOST:PORT or ipc:///PATH",
                    s->address);
}

pst_err_t pst_session_new(const char *address, int high_water, const pst_session_ops_t *ops, void *arg,
                          pst_errbuf_t *words, pst_session_t **ret)
{
    pst_session_t *s = calloc(1, sizeof *s);
    if (!s)
        return pst_errf(words, PST_E_NOMEM, "out of memory");
    s->ops = ops;
    s->arg = arg;
    s->words = words;
    s->high_water = high_water;
    s->heartbeat = PST_HEARTBEAT_MS * PST_MS;
    s->lost = PST_PEER_LOST_MS * PST_MS;
    pst_buf_init(&s->out, PST_FRAME_BYTES_MAX);
    s->address = strdup(address);
    s->ctx = zmq_ctx_new();
    s->in = reply_new();
    pst_err_t e = s->address && s->ctx && s->in ? open_socket(s) : pst_errf(words, PST_E_NOMEM, "out of memory");
    if (e) {
        pst_session_destroy(&s);
        return e;
    }
    *ret = s;
    return PST_OK;
}

/* Sending. */

void pst_session_encode(pst_session_t *s, pst_msg_t *m, pst_buf_t *out)
{
    m->version = PST_PROTOCOL_VERSION;
    m->session = s->nonce;
    m->epoch = s->epoch;
    m->seq = s->seq;
    pst_msg_encode(m, out);
}

pst_err_t pst_session_encode_again(pst_session_t *s, pst_view_t old, uint32_t req, pst_buf_t *out)
{
    pst_arena_t arena;
    pst_arena_init(&arena, PST_REPLY_BYTES_MAX);
    pst_msg_t m;
    pst_err_t e = pst_msg_decode(old, &arena, &m);
    PST_ASSERT(e == PST_OK || e == PST_E_NOMEM);
    if (!e) {
        m.u.batch_req.req = req;
        pst_session_encode(s, &m, out);
        e = out->failed ? PST_E_NOMEM : PST_OK;
    }
    pst_arena_release(&arena);
    return e ? pst_errf(s->words, e, "out of memory") : PST_OK;
}

static void count_sent(pst_session_t *s, pst_ns_t now, bool taken)
{
    if (!taken) {
        pst_session_end(s, pst_ns_add(now, PST_PUT_OFF_MIN));
        return;
    }
    s->seq++;
    s->sent = now;
}

void pst_session_send(pst_session_t *s, pst_ns_t now, pst_frame_t *f)
{
    count_sent(s, now, pst_frame_send(f, s->socket) == PST_OK);
}

void pst_session_send_copy(pst_session_t *s, pst_ns_t now, pst_view_t frame)
{
    count_sent(s, now, zmq_send(s->socket, frame.p, frame.n, ZMQ_DONTWAIT) >= 0);
}

void pst_session_post(pst_session_t *s, pst_ns_t now, pst_msg_t *m)
{
    pst_buf_clear(&s->out);
    pst_session_encode(s, m, &s->out);
    if (!s->out.failed) /* else a HELLO or PING less: the session is lost, and begun anew */
        pst_session_send_copy(s, now, pst_buf_view(&s->out));
    if (s->out.cap > FRAME_KEEP_BYTES)
        pst_buf_release(&s->out);
}

/* Sessions. */

bool pst_session_is_open(const pst_session_t *s)
{
    return s->begin_at == PST_NEVER;
}

/* What was sent on the old socket and not yet taken by the network goes with it: it would only be refused. */
void pst_session_end(pst_session_t *s, pst_ns_t begin_at)
{
    s->begin_at = begin_at;
    s->welcome = false;
    s->breaks++;
    s->ops->ended(s->arg);
}

static void say_hello(pst_session_t *s, pst_ns_t now)
{
    char host[64] = "client";
    char name[96];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s.%d", host, (int)getpid());
    pst_msg_t m = {.type = PST_MSG_HELLO};
    m.u.hello.role = PST_ROLE_CLIENT;
    m.u.hello.software = PST_VIEW_LIT(SOFTWARE);
    m.u.hello.name = pst_view_str(name);
    pst_session_post(s, now, &m);
}

static pst_err_t begin(pst_session_t *s, pst_ns_t now)
{
    if (s->breaks > 0) {
        zmq_close(s->socket);
        pst_err_t e = open_socket(s);
        if (e)
            return e;
    }
    s->nonce = pst_random_u64();
    s->epoch = s->seq = s->seq_in = 0;
    s->began = now;
    s->begin_at = PST_NEVER;
    say_hello(s, now);
    return s->ops->began(s->arg, now);
}

static pst_ns_t lost_at(const pst_session_t *s)
{
    return pst_ns_add(PST_MAX(s->heard, s->began), s->lost);
}

pst_err_t pst_session_step(pst_session_t *s, pst_ns_t now)
{
    if (pst_session_is_open(s) && now >= lost_at(s))
        pst_session_end(s, now);
    if (!pst_session_is_open(s))
        return s->begin_at <= now ? begin(s, now) : PST_OK;
    if (pst_ns_since(now, s->sent) >= s->heartbeat) {
        pst_msg_t ping = {.type = PST_MSG_PING};
        pst_session_post(s, now, &ping);
    }
    return PST_OK;
}

pst_ns_t pst_session_deadline(const pst_session_t *s)
{
    return pst_session_is_open(s) ? pst_ns_min(pst_ns_add(s->sent, s->heartbeat), lost_at(s)) : s->begin_at;
}

void pst_session_listen(pst_session_t *s, pst_ns_t now)
{
    s->heard = now;
    s->fatal = s->refused = PST_OK;
}

/* Receiving. */

static void take_welcome(pst_session_t *s, const pst_msg_t *m)
{
    s->welcome = true;
    s->said = m->u.welcome;
    s->breaks = 0;
    s->refused = PST_OK;
    s->epoch = m->epoch;
    s->heartbeat = PST_MAX(s->said.heartbeat_ms, 10u) * PST_MS;
    s->lost = PST_MAX(s->said.lost_ms, 100u) * PST_MS;
}

/* REFUSED.  Another version or an identity that is not wanted will be so again; anything else may be over. */
static void take_refusal(pst_session_t *s, const pst_msg_refused_t *r, pst_ns_t now)
{
    pst_err_t e = pst_words_put(s->words, (pst_err_t)r->err, r->text);
    if (e == PST_E_VERSION || pst_err_class(e) == PST_CLASS_FATAL) {
        s->fatal = e;
        pst_session_end(s, now);
        return;
    }
    s->refused = e;
    pst_ns_t pause = s->breaks == 0 ? 0 : PST_MIN(PST_PUT_OFF_MIN << PST_MIN(s->breaks, 6u), PST_PUT_OFF_MAX);
    pst_session_end(s, pst_ns_add(now, pause));
}

/* Tells whether it is the user's. */
static bool take_message(pst_session_t *s, const pst_msg_t *m, pst_ns_t now)
{
    switch ((pst_msg_type_t)m->type) {
    case PST_MSG_WELCOME: take_welcome(s, m); break;
    case PST_MSG_REFUSED: take_refusal(s, &m->u.refused, now); break;
    case PST_MSG_BYE: pst_session_end(s, pst_ns_add(now, PST_PUT_OFF_MIN)); break;
    case PST_MSG_DONE: case PST_MSG_BATCH: case PST_MSG_BATCHES: case PST_MSG_RESULTS: case PST_MSG_JOB:
    case PST_MSG_CLUSTER: case PST_MSG_PIECE:
        return true;
    case PST_MSG_PING: break;
    case PST_MSG_HELLO: case PST_MSG_ROUTE: case PST_MSG_OPEN: case PST_MSG_PACK: case PST_MSG_COMMIT:
    case PST_MSG_ABORT: case PST_MSG_STATUS: case PST_MSG_LIST: case PST_MSG_FETCH: case PST_MSG_GET:
    case PST_MSG_CANCEL: case PST_MSG_DELETE: case PST_MSG_TOP: case PST_MSG_CALL: case PST_MSG_CAPACITY:
    case PST_MSG_OUTCOMES: case PST_MSG_PIECES: case PST_MSG_TASKS: case PST_MSG_REVOKE: case PST_MSG_ACK:
        break; /* no broker sends these to a client */
    }
    return false;
}

/* A gap means that an answer may be lost: ask again in a new session. */
static bool in_order(pst_session_t *s, const pst_msg_t *m)
{
    if (m->type == PST_MSG_REFUSED)
        return true; /* from a broker that knows no session */
    if (m->seq != s->seq_in)
        return false;
    s->seq_in++;
    return true;
}

static bool take_frame(pst_session_t *s, pst_reply_t *in, pst_ns_t now)
{
    pst_view_t bytes = pst_view(zmq_msg_data(&in->frame), zmq_msg_size(&in->frame));
    pst_arena_clear(&in->arena);
    pst_err_t e = pst_msg_decode(bytes, &in->arena, &in->msg);
    if (e == PST_E_VERSION) {
        s->fatal = pst_errf(s->words, PST_E_VERSION, "the broker at %s speaks another version of the protocol: "
                            "use the penstock of its release", s->address);
        return false;
    }
    if (e) {
        pst_session_end(s, pst_ns_add(now, PST_PUT_OFF_MAX));
        return false;
    }
    bool ours = in->msg.session == s->nonce || in->msg.type == PST_MSG_REFUSED;
    if (!ours || !pst_session_is_open(s))
        return false;
    if (in->msg.type != PST_MSG_REFUSED) /* to be turned away for long is no better than silence */
        s->heard = now;
    if (in_order(s, &in->msg))
        return take_message(s, &in->msg, now);
    pst_session_end(s, now);
    return false;
}

const pst_msg_t *pst_session_receive(pst_session_t *s, pst_ns_t now)
{
    while (s->fatal == PST_OK && (s->in || (s->in = reply_new()))) {
        if (zmq_msg_recv(&s->in->frame, s->socket, ZMQ_DONTWAIT) < 0)
            return NULL;
        /* ours are one frame: of nobody we know */
        if (!zmq_msg_more(&s->in->frame) && take_frame(s, s->in, now))
            return &s->in->msg;
    }
    return NULL;
}

pst_reply_t *pst_session_keep(pst_session_t *s)
{
    return pst_take(&s->in);
}

/* How it stands. */

const pst_msg_welcome_t *pst_session_welcome(const pst_session_t *s)
{
    return s->welcome ? &s->said : NULL;
}

pst_ns_t pst_session_heard(const pst_session_t *s)
{
    return s->heard;
}

pst_err_t pst_session_fatal(const pst_session_t *s)
{
    return s->fatal;
}

pst_err_t pst_session_unreachable(pst_session_t *s)
{
    if (s->refused)
        return s->refused;
    return pst_errf(s->words, PST_E_UNREACHABLE,
                    "no broker answers at %s: start one with `penstock up`, or name another with --broker", s->address);
}

void *pst_session_socket(const pst_session_t *s)
{
    return s->socket;
}

static void say_bye(pst_session_t *s)
{
    if (!s->welcome)
        return;
    pst_msg_t m = {.type = PST_MSG_BYE};
    pst_session_post(s, pst_clock_mono(), &m);
    set_int(s->socket, ZMQ_LINGER, LINGER_MS);
}

void pst_session_destroy(pst_session_t **ps)
{
    pst_session_t *s = pst_take(ps);
    if (!s)
        return;
    if (s->socket) {
        say_bye(s);
        zmq_close(s->socket);
    }
    if (s->ctx)
        zmq_ctx_term(s->ctx);
    pst_reply_destroy(&s->in);
    pst_buf_release(&s->out);
    free(s->address);
    free(s);
}
