#include "gateway/remote.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "lib/session.h"
#include "proc/clock.h"
#include "proc/log.h"

#define HIGH_WATER 1024
#define MESSAGES_PER_TURN 256
#define SENDS_PER_TURN 256
#define FRAME_KEEP_BYTES ((size_t)1 << 20)
/* What answers on their way may have by what was asked for.  The broker ends a session whose peer leaves 128 MiB
 * unread, and a FETCH of 8 MiB may bring 40, if its last pack is one large job. */
#define WINDOW_BYTES (24u << 20)
#define TURNED_AWAY_REST PST_SEC   /* until a broker that will not have us is asked again: perhaps it was replaced */
#define CANCEL_PATIENCE (5 * PST_SEC)

typedef enum state {
    WAITS, /* in light or heavy, to be sent */
    OUT,   /* in out: sent in this session, req in by_req */
    RESTS, /* in resting: put off, until its timer */
    OVER   /* in over: its call is due */
} state_t;

struct pst_ask {
    pst_link_t place;
    pst_heap_node_t timer; /* RESTS: sent again then; else given up then.  A CALL that is OUT has none */
    uint32_t req;          /* OUT; new at each sending, so that late answers are nobody's */
    uint8_t type, state;
    bool begun;            /* a PIECE came */
    bool sent_anew;        /* the session it was sent in first is lost */
    uint32_t weight;       /* of WINDOW_BYTES */
    pst_id_t batch;        /* CALL: for its CANCEL */
    pst_ns_t patience, until, pause;
    pst_err_t err;         /* what it was put off with last, and its words; PST_OK, NULL: it was not */
    char *words;
    pst_remote_piece_fn *piece;
    pst_remote_fn *fn;
    void *arg;
    size_t n;
    char frame[];          /* encoded, but for number and stamp */
};

struct pst_remote {
    pst_loop_t *loop;
    pst_session_t *session;
    char *address;
    pst_errbuf_t words;    /* the session's */
    int fd;                /* watched; -1: none */
    bool look;             /* the socket was used since it last said that there is nothing, or fd is ready: else there is
                            * nothing, and asking is a system call */
    bool told;             /* the log knows that it is up */
    pst_link_t light, heavy, out, resting, over;
    pst_map_t by_req;
    pst_heap_t timers;
    uint32_t req;
    uint32_t asks;
    size_t bytes;          /* of their frames */
    uint32_t window;       /* weight of those that are OUT */
    pst_buf_t frame;       /* of the next message */
};

/* Places. */

static void place(pst_ask_t *a, state_t state, pst_link_t *list)
{
    pst_link_remove(&a->place);
    a->state = (uint8_t)state;
    pst_link_before(list, &a->place);
}

static pst_link_t *queue_of(pst_remote_t *r, const pst_ask_t *a)
{
    return a->weight ? &r->heavy : &r->light;
}

/* No answer is its any more. */
static void take_back(pst_remote_t *r, pst_ask_t *a)
{
    if (a->state != OUT)
        return;
    pst_map_remove(&r->by_req, &a->req, sizeof a->req);
    r->window -= a->weight;
}

static void free_ask(pst_remote_t *r, pst_ask_t *a)
{
    take_back(r, a);
    pst_link_remove(&a->place);
    pst_heap_remove(&r->timers, &a->timer);
    r->asks--;
    r->bytes -= a->n;
    free(a->words);
    free(a);
}

/* The question is gone when its callback is called: that may ask, and forget others. */
static void finish(pst_remote_t *r, pst_ask_t *a, pst_err_t e, const pst_msg_t *m, pst_view_t words)
{
    pst_remote_fn *fn = a->fn;
    void *arg = a->arg;
    char *own = pst_take(&a->words); /* perhaps what `words` shows */
    free_ask(r, a);
    fn(arg, e, e ? NULL : m, words);
    free(own);
}

static void give_up(pst_remote_t *r, pst_ask_t *a)
{
    if (a->err) {
        finish(r, a, a->err, NULL, pst_view_str(a->words ? a->words : pst_err_text(a->err)));
        return;
    }
    pst_err_t e = pst_remote_is_up(r)
                      ? pst_errf(&r->words, PST_E_UNREACHABLE, "the broker has not answered in time: try again later")
                      : pst_session_unreachable(r->session);
    pst_errbuf_t words = r->words; /* the session may find others meanwhile */
    finish(r, a, e, NULL, pst_view_str(words.text));
}

static void put_off(pst_remote_t *r, pst_ask_t *a, pst_err_t e, pst_view_t text)
{
    pst_ns_t now = pst_loop_now(r->loop);
    take_back(r, a);
    a->err = e;
    free(a->words);
    a->words = text.n ? strndup(text.p, text.n) : NULL;
    a->pause = a->pause ? PST_MIN(a->pause * 2, PST_PUT_OFF_MAX) : PST_PUT_OFF_MIN;
    place(a, RESTS, &r->resting);
    pst_ns_t again = pst_ns_add(now, a->pause);
    if (again > a->until)
        give_up(r, a);
    else
        pst_heap_set(&r->timers, &a->timer, again);
}

/* Sessions. */

/* The hook does the work. */
static void on_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    pst_remote_t *r = arg;
    r->look = true;
}

static pst_err_t on_began(void *arg, pst_ns_t now)
{
    (void)now;
    pst_remote_t *r = arg;
    size_t n = sizeof r->fd;
    r->look = true;
    if (!pst_session_is_open(r->session)) /* not even HELLO could be sent */
        return PST_OK;
    PST_ASSERT(zmq_getsockopt(pst_session_socket(r->session), ZMQ_FD, &r->fd, &n) == 0);
    pst_loop_fd(r->loop, r->fd, EPOLLIN, on_fd, r);
    return PST_OK;
}

static void send_anew(pst_remote_t *r, pst_ask_t *a)
{
    take_back(r, a);
    pst_link_remove(&a->place);
    a->state = WAITS;
    a->sent_anew = true;
    pst_link_after(queue_of(r, a), &a->place);
    if (a->type != PST_MSG_CALL)
        return;
    a->until = pst_ns_add(pst_loop_now(r->loop), a->patience);
    pst_heap_set(&r->timers, &a->timer, a->until);
}

/* What was on its way is sent again before what waits, in order.  No callback is called here: this may be amid one. */
static void on_ended(void *arg)
{
    pst_remote_t *r = arg;
    pst_loop_fd_remove(r->loop, r->fd);
    r->fd = -1;
    while (!pst_link_empty(&r->out)) {
        pst_ask_t *a = PST_CONTAINER(r->out.prev, pst_ask_t, place);
        if (!a->begun) {
            send_anew(r, a);
            continue;
        }
        take_back(r, a);
        place(a, OVER, &r->over);
    }
}

static void end_over(pst_remote_t *r)
{
    while (!pst_link_empty(&r->over)) {
        pst_ask_t *a = PST_CONTAINER(r->over.next, pst_ask_t, place);
        finish(r, a, PST_E_UNREACHABLE, NULL,
               PST_VIEW_LIT("the broker was lost while it sent the answer: make the call again"));
    }
}

static void move_all(pst_link_t *from, pst_link_t *to)
{
    while (!pst_link_empty(from)) {
        pst_link_t *l = from->next;
        pst_link_remove(l);
        pst_link_before(to, l);
    }
}

/* The broker will not have us: so say all that were asked until now.  What their callbacks ask waits for the next try. */
static void turn_away(pst_remote_t *r, pst_ns_t now)
{
    pst_err_t e = pst_session_fatal(r->session);
    pst_errbuf_t words = r->words;
    pst_log(PST_LOG_WARN, "broker.refused", "address=%s error=%s text=\"%s\"", r->address, pst_err_name(e), words.text);
    pst_session_end(r->session, pst_ns_add(now, TURNED_AWAY_REST));
    pst_session_listen(r->session, now);
    pst_link_t all;
    pst_link_init(&all);
    move_all(&r->light, &all);
    move_all(&r->heavy, &all);
    move_all(&r->resting, &all);
    while (!pst_link_empty(&all))
        finish(r, PST_CONTAINER(all.next, pst_ask_t, place), e, NULL, pst_view_str(words.text));
}

/* Receiving. */

/* The broker still has the CALL from the session that was lost: it has not seen that yet, and will cancel it. */
static bool is_in_its_own_way(const pst_ask_t *a, pst_err_t e)
{
    return a->type == PST_MSG_CALL && a->sent_anew && e == PST_E_EXISTS;
}

static void take_error(pst_remote_t *r, pst_ask_t *a, const pst_msg_done_t *d)
{
    pst_err_t e = (pst_err_t)d->err;
    pst_err_class_t class = pst_err_class(e);
    /* MALFORMED is said of what was asked, not of the session */
    bool is_final = class == PST_CLASS_FATAL || e == PST_E_MALFORMED;
    if (a->begun || (is_final && !is_in_its_own_way(a, e))) {
        finish(r, a, e, NULL, d->text.n ? d->text : pst_view_str(pst_err_text(e)));
        return;
    }
    put_off(r, a, e, d->text);
    if (class == PST_CLASS_CLOSE)
        pst_session_end(r->session, pst_ns_add(pst_loop_now(r->loop), PST_PUT_OFF_MIN));
}

static void take_piece(pst_ask_t *a, const pst_msg_piece_t *p)
{
    if (a->type != PST_MSG_CALL)
        return;
    a->begun = true;
    if (a->piece)
        a->piece(a->arg, p->number, p->bytes);
}

static void take_message(pst_remote_t *r, const pst_msg_t *m)
{
    pst_ask_t *a = pst_map_get(&r->by_req, &m->u.done.req, sizeof m->u.done.req);
    if (!a)
        return;
    if (m->type == PST_MSG_PIECE)
        take_piece(a, &m->u.piece);
    else if (m->type == PST_MSG_DONE && m->u.done.err)
        take_error(r, a, &m->u.done);
    else
        finish(r, a, PST_OK, m, pst_view(NULL, 0));
}

static void receive(pst_remote_t *r, pst_ns_t now)
{
    const pst_msg_t *m;
    unsigned max = r->look ? MESSAGES_PER_TURN : 0;
    for (unsigned i = 0; i < max && (m = pst_session_receive(r->session, now)); i++)
        take_message(r, m);
    if (pst_session_fatal(r->session))
        turn_away(r, now);
}

/* Sending. */

/* ZMQ_FD tells of changes only; what there is to do stands in ZMQ_EVENTS, and asking also does the socket's own
 * work. */
static int events(pst_remote_t *r)
{
    int found = 0;
    r->look = true;
    size_t n = sizeof found;
    if (r->fd >= 0)
        PST_ASSERT(zmq_getsockopt(pst_session_socket(r->session), ZMQ_EVENTS, &found, &n) == 0);
    return found;
}

/* The next to be sent; NULL: none may be. */
static pst_ask_t *next_to_send(const pst_remote_t *r)
{
    if (!pst_session_welcome(r->session))
        return NULL;
    if (!pst_link_empty(&r->light))
        return PST_CONTAINER(r->light.next, pst_ask_t, place);
    if (pst_link_empty(&r->heavy))
        return NULL;
    pst_ask_t *a = PST_CONTAINER(r->heavy.next, pst_ask_t, place);
    return r->window == 0 || r->window + a->weight <= WINDOW_BYTES ? a : NULL;
}

static uint32_t new_req(pst_remote_t *r)
{
    do {
        r->req++;
    } while (pst_map_get(&r->by_req, &r->req, sizeof r->req));
    return r->req;
}

static void clear_frame(pst_remote_t *r)
{
    if (r->frame.cap > FRAME_KEEP_BYTES)
        pst_buf_release(&r->frame);
    pst_buf_clear(&r->frame);
}

static void send_ask(pst_remote_t *r, pst_ask_t *a, pst_ns_t now)
{
    a->req = new_req(r);
    pst_err_t e = pst_session_encode_again(r->session, pst_view(a->frame, a->n), a->req, &r->frame);
    if (e) {
        put_off(r, a, e, pst_view(NULL, 0));
    } else {
        place(a, OUT, &r->out);
        pst_map_set(&r->by_req, &a->req, sizeof a->req, a);
        r->window += a->weight;
        if (a->type == PST_MSG_CALL)
            pst_heap_remove(&r->timers, &a->timer);
        pst_session_send_copy(r->session, now, pst_buf_view(&r->frame));
    }
    clear_frame(r);
}

static void send_waiting(pst_remote_t *r, pst_ns_t now)
{
    pst_ask_t *a;
    for (unsigned i = 0; i < SENDS_PER_TURN && (a = next_to_send(r)) && events(r) & ZMQ_POLLOUT; i++)
        send_ask(r, a, now);
}

/* Turns. */

static void do_timers(pst_remote_t *r, pst_ns_t now)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&r->timers)) && top->key <= now) {
        pst_ask_t *a = PST_CONTAINER(top, pst_ask_t, timer);
        if (a->state != RESTS) {
            give_up(r, a);
            continue;
        }
        place(a, WAITS, queue_of(r, a));
        pst_heap_set(&r->timers, &a->timer, a->until);
    }
}

static void say_how_it_is(pst_remote_t *r)
{
    bool up = pst_remote_is_up(r);
    if (up != r->told)
        pst_log(up ? PST_LOG_INFO : PST_LOG_WARN, up ? "broker.up" : "broker.lost", "address=%s", r->address);
    r->told = up;
}

static pst_ns_t next_turn(pst_remote_t *r)
{
    int found = r->look ? events(r) : 0;
    r->look = found & ZMQ_POLLIN;
    if (found & ZMQ_POLLIN || !pst_link_empty(&r->over) || (found & ZMQ_POLLOUT && next_to_send(r)))
        return 0;
    const pst_heap_node_t *top = pst_heap_top(&r->timers);
    return pst_ns_min(pst_session_deadline(r->session), top ? top->key : PST_NEVER);
}

static pst_ns_t turn(void *arg, pst_ns_t now)
{
    pst_remote_t *r = arg;
    receive(r, now);
    r->look |= now >= pst_session_deadline(r->session); /* it will be used */
    if (pst_session_step(r->session, now))
        pst_session_end(r->session, pst_ns_add(now, PST_PUT_OFF_MAX)); /* no socket, no memory: perhaps later */
    end_over(r);
    do_timers(r, now);
    send_waiting(r, now);
    say_how_it_is(r);
    return next_turn(r);
}

/* Questions. */

static uint32_t weight_of(const pst_msg_t *m)
{
    if (m->type == PST_MSG_FETCH)
        return PST_MIN(PST_MAX(m->u.fetch.bytes, PST_PACK_TEXT_BYTES), PST_FETCH_BYTES_MAX);
    return m->type == PST_MSG_GET ? PST_PACK_TEXT_BYTES : 0;
}

static pst_ask_t *new_ask(pst_remote_t *r, pst_msg_t *m)
{
    if (r->asks == REMOTE_ASKS_MAX)
        return NULL;
    m->u.batch_req.req = 0;
    pst_session_encode(r->session, m, &r->frame);
    pst_view_t frame = pst_buf_view(&r->frame);
    pst_ask_t *a = NULL;
    if (!r->frame.failed && r->bytes + frame.n <= REMOTE_BYTES_MAX)
        a = calloc(1, sizeof *a + frame.n);
    if (a) {
        memcpy(a->frame, frame.p, frame.n);
        a->n = frame.n;
    }
    clear_frame(r);
    return a;
}

static pst_ask_t *ask(pst_remote_t *r, pst_msg_t *m, pst_ns_t patience, pst_remote_fn *fn, void *arg)
{
    pst_ask_t *a = new_ask(r, m);
    if (!a)
        return NULL;
    r->asks++;
    r->bytes += a->n;
    pst_link_init(&a->place);
    pst_heap_node_init(&a->timer);
    a->type = m->type;
    a->weight = weight_of(m);
    a->patience = patience;
    a->until = pst_ns_add(pst_loop_now(r->loop), patience);
    a->fn = fn;
    a->arg = arg;
    place(a, WAITS, queue_of(r, a));
    pst_heap_set(&r->timers, &a->timer, a->until);
    return a;
}

pst_ask_t *pst_remote_ask(pst_remote_t *r, pst_msg_t *m, pst_ns_t patience, pst_remote_fn *fn, void *arg)
{
    PST_ASSERT(m->type != PST_MSG_CALL && m->type != PST_MSG_OPEN && m->type != PST_MSG_PACK &&
               m->type != PST_MSG_COMMIT);
    return ask(r, m, patience, fn, arg);
}

pst_ask_t *pst_remote_call(pst_remote_t *r, pst_msg_t *m, pst_ns_t patience, pst_remote_piece_fn *piece,
                           pst_remote_fn *fn, void *arg)
{
    PST_ASSERT(m->type == PST_MSG_CALL);
    pst_ask_t *a = ask(r, m, patience, fn, arg);
    if (!a)
        return NULL;
    a->batch = m->u.call.batch;
    a->piece = piece;
    return a;
}

static void to_nobody(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)arg;
    (void)err;
    (void)m;
    (void)words;
}

void pst_remote_forget(pst_remote_t *r, pst_ask_t **pa)
{
    pst_ask_t *a = pst_take(pa);
    if (!a)
        return;
    bool runs = a->type == PST_MSG_CALL && a->state == OUT;
    pst_msg_t cancel = {.type = PST_MSG_CANCEL, .u.batch_req.batch = a->batch};
    free_ask(r, a);
    if (runs) /* without memory for it the call runs to its end, and its answer is nobody's */
        (void)ask(r, &cancel, CANCEL_PATIENCE, to_nobody, NULL);
}

bool pst_remote_is_up(const pst_remote_t *r)
{
    return pst_session_welcome(r->session) != NULL; /* silence ends a session */
}

/* Life. */

pst_remote_t *pst_remote_new(pst_loop_t *loop, const char *address, pst_errbuf_t *eb)
{
    static const pst_session_ops_t ops = {on_began, on_ended};
    pst_remote_t *r = pst_calloc(1, sizeof *r);
    if (pst_session_new(address, HIGH_WATER, &ops, r, &r->words, &r->session) != PST_OK) {
        if (eb)
            *eb = r->words;
        free(r);
        return NULL;
    }
    r->loop = loop;
    r->address = pst_strdup_view(pst_view_str(address));
    r->fd = -1;
    pst_link_init(&r->light);
    pst_link_init(&r->heavy);
    pst_link_init(&r->out);
    pst_link_init(&r->resting);
    pst_link_init(&r->over);
    pst_map_init(&r->by_req, pst_random_u64());
    pst_heap_init(&r->timers);
    pst_buf_init(&r->frame, PST_FRAME_BYTES_MAX);
    pst_loop_prepare(loop, turn, r);
    return r;
}

static void free_all(pst_remote_t *r, pst_link_t *list)
{
    while (!pst_link_empty(list))
        free_ask(r, PST_CONTAINER(list->next, pst_ask_t, place));
}

void pst_remote_destroy(pst_remote_t **pr)
{
    pst_remote_t *r = pr ? pst_take(pr) : NULL;
    if (!r)
        return;
    free_all(r, &r->light);
    free_all(r, &r->heavy);
    free_all(r, &r->out);
    free_all(r, &r->resting);
    free_all(r, &r->over);
    pst_loop_fd_remove(r->loop, r->fd);
    r->fd = -1;
    pst_session_destroy(&r->session);
    pst_map_release(&r->by_req);
    pst_heap_release(&r->timers);
    pst_buf_release(&r->frame);
    free(r->address);
    free(r);
}
