#include "lib/conn.h"

#include <zmq.h>

#include "base/list.h"
#include "lib/frame.h"
#include "proc/clock.h"

#define HIGH_WATER 256 /* messages; credit keeps far below it */

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
    pst_session_t *session;
    pst_ns_t timeout;
    pst_errbuf_t *words;
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
};

static pst_err_t no_memory(pst_conn_t *c)
{
    return pst_errf(c->words, PST_E_NOMEM, "out of memory");
}

/* Sending. */

/* Takes what was encoded. */
static pst_err_t take_frame(pst_conn_t *c, pst_buf_t *b, pst_frame_t **ret)
{
    *ret = pst_frame_take(b);
    pst_buf_release(b);
    return *ret ? PST_OK : no_memory(c);
}

static pst_err_t encode(pst_conn_t *c, pst_msg_t *m, size_t size_hint, pst_frame_t **ret)
{
    pst_buf_t b;
    pst_buf_init(&b, PST_FRAME_BYTES_MAX);
    pst_buf_reserve(&b, PST_MIN(size_hint + 256, (size_t)PST_FRAME_BYTES_MAX));
    pst_session_encode(c->session, m, &b);
    return take_frame(c, &b, ret);
}

static void send_frame(pst_conn_t *c, pst_frame_t *f)
{
    pst_session_send(c->session, pst_clock_mono(), f);
}

/* The frame again with the present session and numbers; the old one may still be in ZeroMQ's hands. */
static pst_err_t renew(pst_conn_t *c, call_t *call)
{
    pst_buf_t b;
    pst_buf_init(&b, PST_FRAME_BYTES_MAX);
    pst_view_t old = pst_frame_view(call->frame);
    pst_buf_reserve(&b, PST_MIN(old.n + 256, (size_t)PST_FRAME_BYTES_MAX));
    pst_err_t e = pst_session_encode_again(c->session, old, call->req, &b);
    pst_frame_t *f = NULL;
    if (!e)
        e = take_frame(c, &b, &f);
    pst_buf_release(&b);
    if (e)
        return e;
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

/* Sessions. */

static void forget_ahead(pst_conn_t *c)
{
    c->ahead.of.req = 0;
    pst_reply_destroy(&c->ahead.reply);
}

static void on_ended(void *arg)
{
    forget_ahead(arg);
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

static pst_err_t on_began(void *arg, pst_ns_t now)
{
    (void)now;
    pst_conn_t *c = arg;
    c->again_at = PST_NEVER;
    pst_err_t e = send_uploads_again(c);
    if (!e && c->question && !c->question->answered)
        e = send_again(c, c->question);
    return e;
}

pst_err_t pst_conn_new(const char *address, uint32_t timeout_ms, pst_errbuf_t *words, pst_conn_t **ret)
{
    static const pst_session_ops_t ops = {on_began, on_ended};
    pst_conn_t *c = calloc(1, sizeof *c);
    if (!c)
        return pst_errf(words, PST_E_NOMEM, "out of memory");
    pst_link_init(&c->uploads);
    c->words = words;
    c->timeout = timeout_ms * PST_MS;
    c->again_at = c->put_off_since = PST_NEVER;
    pst_err_t e = pst_session_new(address, HIGH_WATER, &ops, c, words, &c->session);
    if (e) {
        free(c);
        return e;
    }
    *ret = c;
    return PST_OK;
}

/* Receiving. */

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
    if (c->again_at != PST_NEVER || !pst_session_is_open(c->session))
        return;
    pst_ns_t now = pst_clock_mono();
    bool full = call->err == PST_E_FULL || call->err == PST_E_STORE_FULL;
    if (full)
        c->put_off_since = PST_NEVER;
    else if (c->put_off_since == PST_NEVER)
        c->put_off_since = now;
    if (!full && pst_ns_since(now, c->put_off_since) > c->timeout) {
        c->upload_err = pst_words_put(c->words, call->err, pst_view_str(call->words));
        return;
    }
    c->put_off = c->put_off ? PST_MIN(c->put_off * 2, PST_PUT_OFF_MAX) : PST_PUT_OFF_MIN;
    if (pst_err_class(call->err) == PST_CLASS_CLOSE)
        pst_session_end(c->session, pst_ns_add(now, c->put_off));
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
                c->upload_err = pst_words_put(c->words, call->err, pst_view_str(call->words));
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

static void take_reply(pst_conn_t *c, const pst_msg_t *m)
{
    uint32_t req = m->u.done.req;
    call_t *q = c->question;
    if (q && !q->answered && q->req == req) {
        q->answered = true;
        q->reply = pst_session_keep(c->session);
        return;
    }
    if (c->ahead.of.req == req && !c->ahead.reply) {
        c->ahead.reply = pst_session_keep(c->session);
        return;
    }
    call_t *call = m->type == PST_MSG_DONE ? find_upload(c, req) : NULL;
    if (call)
        take_upload_done(c, call, &m->u.done);
}

static void receive(pst_conn_t *c)
{
    const pst_msg_t *m;
    while ((m = pst_session_receive(c->session, pst_clock_mono()))) {
        if (m->type != PST_MSG_PIECE) /* nobody here has made a CALL */
            take_reply(c, m);
    }
}

/* Waiting. */

static pst_ns_t next_deadline(const pst_conn_t *c, pst_ns_t until)
{
    pst_ns_t next = pst_ns_min(until, pst_session_deadline(c->session));
    next = pst_ns_min(next, pst_ns_add(pst_session_heard(c->session), c->timeout));
    return pst_session_is_open(c->session) ? pst_ns_min(next, c->again_at) : next;
}

/* Whatever is due now. */
static pst_err_t do_due(pst_conn_t *c, pst_ns_t now)
{
    if (pst_ns_since(now, pst_session_heard(c->session)) >= c->timeout)
        return pst_session_unreachable(c->session);
    pst_err_t e = pst_session_step(c->session, now);
    if (e || !pst_session_is_open(c->session) || c->again_at > now)
        return e;
    c->again_at = PST_NEVER;
    return send_uploads_again(c);
}

static void sleep_until(pst_conn_t *c, pst_ns_t until)
{
    pst_ns_t wait = pst_ns_since(until, pst_clock_mono());
    zmq_pollitem_t item = {.socket = pst_session_socket(c->session), .events = ZMQ_POLLIN};
    /* rounded up, so that the deadline has passed when it returns; a signal only makes it short */
    (void)zmq_poll(&item, 1, (long)PST_MIN((wait + PST_MS - 1) / PST_MS, (pst_ns_t)60000));
}

typedef bool goal_fn(const pst_conn_t *c, const void *arg);

/* Runs the session until the goal is reached, or `until`; *ret_reached tells which. */
static pst_err_t run_until(pst_conn_t *c, goal_fn *goal, const void *arg, pst_ns_t until, bool *ret_reached)
{
    *ret_reached = false;
    pst_session_listen(c->session, pst_clock_mono());
    for (;;) {
        receive(c);
        pst_err_t fatal = pst_session_fatal(c->session);
        if (fatal || c->upload_err)
            return fatal ? fatal : c->upload_err;
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
    return pst_session_welcome(c->session) != NULL;
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
    pst_err_t e = encode(c, m, size_hint, &call->frame);
    if (!e && pst_session_is_open(c->session))
        send_frame(c, call->frame);
    return e;
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
    const pst_msg_t *m = pst_reply_msg(r);
    return m->type == PST_MSG_DONE ? (pst_err_t)m->u.done.err : PST_OK;
}

void pst_conn_fetch_ahead(pst_conn_t *c, const pst_msg_fetch_t *fetch)
{
    forget_ahead(c);
    if (!pst_session_is_open(c->session))
        return;
    pst_msg_t m = {.type = PST_MSG_FETCH, .u.fetch = *fetch};
    m.u.fetch.req = ++c->req;
    pst_session_post(c->session, pst_clock_mono(), &m);
    if (pst_session_is_open(c->session))
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
    for (pst_ns_t pause = PST_PUT_OFF_MIN;; pause = PST_MIN(pause * 2, PST_PUT_OFF_MAX)) {
        pst_reply_t *r = NULL;
        pst_err_t e = ask_once(c, m, &r);
        if (e)
            return e;
        e = done_err(r);
        if (!e) {
            *ret = r;
            return PST_OK;
        }
        pst_words_put(c->words, e, pst_reply_msg(r)->u.done.text);
        pst_reply_destroy(&r);
        pst_ns_t again = pst_ns_add(pst_clock_mono(), pause);
        if (pst_err_class(e) == PST_CLASS_FATAL || again > give_up)
            return e;
        if (pst_err_class(e) == PST_CLASS_CLOSE)
            pst_session_end(c->session, again);
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
    const pst_msg_welcome_t *w = pst_session_welcome(c->session);
    return w && c->packs_out < w->upload_packs && c->bytes_out + bytes <= w->upload_bytes;
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

void pst_conn_destroy(pst_conn_t **pc)
{
    pst_conn_t *c = pst_take(pc);
    if (!c)
        return;
    pst_conn_forget(c);
    pst_session_destroy(&c->session);
    forget_ahead(c);
    free(c);
}
