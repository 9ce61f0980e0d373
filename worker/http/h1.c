#include "http/h1.h"

#include <errno.h>
#include <sys/epoll.h>

#include "http/reply.h"
#include "http/unpack.h"
#include "http/wire.h"
#include "proc/clock.h"
#include "providers/common.h"

#define IDLE_MAX (3 * PST_SEC)
#define IOVECS_MAX 32
/* Connections of a site being made at once: while TLS shakes hands a connection takes twice the memory, and making one
 * is mostly computing, which is not done sooner by beginning all at once. */
#define CONNECTING_MAX 128
/* Of a streamed answer read through TLS, before the others have their turn. */
#define PARTS_PER_TURN 16

typedef struct call call_t;

typedef struct conn {
    pst_link_t link;      /* site's idle, h1's unsent while it has something to send, or h1's resumed */
    pst_h1_site_t *site;
    pst_wire_t wire;
    uint32_t events;      /* watched for */
    call_t *call;         /* NULL: idle */
    pst_reply_t *reply;   /* NULL: nothing has come */
    pst_ns_t since;       /* idle; or the last that was heard of an answer that has begun */
    pst_link_t answer;    /* site's answers */
    size_t came;          /* of the answer */
    bool used;            /* it has served a call */
} conn_t;

struct call {
    pst_http_call_t base;
    pst_link_t link;      /* h1's ended; spare */
    pst_link_t wait;      /* site's waiting */
    pst_link_t age;       /* site's calls */
    pst_h1_site_t *site;
    conn_t *conn;
    pst_ns_t began;
    pst_buf_t head;       /* the request line and the lines of this request alone */
    const pst_view_t *piece;
    unsigned pieces;
    pst_view_t body;      /* where there are no pieces: the one there is */
    size_t bytes, sent;   /* of the whole request */
    pst_trouble_t *trouble; /* ended without an answer */
    pst_reply_t *reply;   /* ended: with what follows it waits to be reported */
    uint64_t latency_us;
    bool paused;          /* its answer is not read */
    pst_http_back_t back;
};

struct pst_h1_site {
    pst_h1_t *h1;
    pst_link_t link;      /* pst_h1.sites */
    pst_curl_site_t *opens; /* its connections */
    char *base_path;
    char *lines;          /* headers of every request, the key's among them, and the empty line */
    size_t lines_n;
    pst_ns_t timeout, idle_timeout;
    bool unfit;
    bool gone;            /* destroyed but for the calls there still are, and connections on their way */
    unsigned calls_n, waiting_n, connecting;
    pst_link_t idle;      /* conn_t.link, the latest first */
    pst_link_t waiting;   /* call_t.wait, the oldest first */
    pst_link_t calls;     /* call_t.age, the oldest first: the first to time out */
    pst_link_t answers;   /* conn_t.answer: begun and not whole, the longest silent first */
};

struct pst_h1 {
    pst_loop_t *loop;
    pst_curl_t *curl;
    pst_link_t sites;
    pst_link_t unsent;    /* conn_t.link: to be sent in the next step */
    pst_link_t resumed;   /* conn_t.link: to be read in the next step, for TLS may hold some of it */
    pst_link_t ended;     /* call_t.link */
    unsigned ended_n;
    uint64_t reused;
    pst_link_t spare_calls;
    pst_replies_t replies;
};

/* ---- connections ----------------------------------------------------------------------------- */

static void on_fd(void *arg, int fd, uint32_t events);

static void watch(conn_t *n, uint32_t events)
{
    if (n->events == events)
        return;
    n->events = events;
    pst_loop_fd(n->site->h1->loop, n->wire.fd, events, on_fd, n);
}

static void close_conn(conn_t *n)
{
    pst_h1_t *p = n->site->h1;
    PST_ASSERT(!n->call);
    pst_replies_give(&p->replies, &n->reply);
    pst_link_remove(&n->link);
    pst_loop_fd_remove(p->loop, n->wire.fd);
    pst_wire_close(&n->wire);
    free(n);
}

static void wait_for_conn(call_t *c)
{
    pst_link_before(&c->site->waiting, &c->wait);
    c->site->waiting_n++;
}

static void wait_no_longer(call_t *c)
{
    if (pst_link_empty(&c->wait))
        return;
    pst_link_remove(&c->wait);
    c->site->waiting_n--;
}

static void attach(conn_t *n, call_t *c)
{
    n->call = c;
    n->came = 0;
    c->conn = n;
    wait_no_longer(c);
    pst_link_remove(&n->link);
    pst_link_before(&n->site->h1->unsent, &n->link);
}

static void on_connected(void *arg, const pst_wire_t *wire, const pst_trouble_t *why);

/* One for each call that waits. */
static void open_conns(pst_h1_site_t *s)
{
    for (; s->connecting < PST_MIN(s->waiting_n, CONNECTING_MAX); s->connecting++)
        pst_curl_connect(s->h1->curl, s->opens, on_connected, s);
}

/* A connection that is there, or the next that will be.  Some servers close behind each answer without a word of it, so
 * it is worth the look. */
static void find_conn(call_t *c)
{
    pst_h1_site_t *s = c->site;
    while (!pst_link_empty(&s->idle)) {
        conn_t *n = PST_CONTAINER(s->idle.next, conn_t, link);
        if (pst_wire_quiet(&n->wire)) {
            attach(n, c);
            return;
        }
        close_conn(n);
    }
    wait_for_conn(c);
    open_conns(s);
}

/* For the call that waits longest, or for one to come. */
static void rest_conn(conn_t *n)
{
    pst_h1_site_t *s = n->site;
    watch(n, EPOLLIN);
    if (!pst_link_empty(&s->waiting)) {
        attach(n, PST_CONTAINER(s->waiting.next, call_t, wait));
        return;
    }
    n->since = pst_loop_now(s->h1->loop);
    pst_link_remove(&n->link);
    pst_link_after(&s->idle, &n->link);
}

static void add_conn(pst_h1_site_t *s, const pst_wire_t *wire)
{
    conn_t *n = pst_calloc(1, sizeof *n);
    pst_link_init(&n->link);
    pst_link_init(&n->answer);
    n->site = s;
    n->wire = *wire;
    rest_conn(n);
}

/* ---- the end of calls ------------------------------------------------------------------------ */

static void free_site(pst_h1_site_t *s)
{
    while (!pst_link_empty(&s->idle))
        close_conn(PST_CONTAINER(s->idle.next, conn_t, link));
    pst_link_remove(&s->link);
    explicit_bzero(s->lines, s->lines_n);
    free(s->lines);
    free(s->base_path);
    pst_curl_site_unref(&s->opens);
    free(s);
}

static void free_if_gone(pst_h1_site_t *s)
{
    if (s->gone && s->calls_n == 0 && s->connecting == 0)
        free_site(s);
}

static void recycle(call_t *c)
{
    pst_h1_site_t *s = pst_take(&c->site);
    pst_h1_t *p = s->h1;
    pst_link_remove(&c->age);
    pst_link_remove(&c->link);
    pst_replies_give(&p->replies, &c->reply);
    free(pst_take(&c->trouble));
    pst_link_after(&p->spare_calls, &c->link);
    s->calls_n--;
    free_if_gone(s);
}

/* Takes the connection from the call: a whole answer leaves it for another one. */
static void leave_conn(call_t *c, bool whole)
{
    conn_t *n = pst_take(&c->conn);
    n->site->h1->reused += whole && n->used;
    pst_link_remove(&n->answer);
    n->call = NULL;
    n->used = true;
    if (whole)
        c->reply = pst_take(&n->reply);
    bool keeps = whole && c->reply->keeps && c->sent == c->bytes;
    /* One that rests is looked at when a call comes for it. */
    if (keeps && (pst_link_empty(&n->site->waiting) || pst_wire_quiet(&n->wire)))
        rest_conn(n);
    else
        close_conn(n);
}

static void report(call_t *c)
{
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t answer = {.transport = PST_CAUSE_NONE, .wall_ms = pst_clock_wall_ms()};
    if (c->trouble) {
        answer.transport = c->trouble->cause;
        answer.why = pst_view_str(c->trouble->text);
    } else {
        answer.status = c->reply->status;
        pst_reply_fill(c->reply, header, &answer);
    }
    pst_link_remove(&c->link);
    c->back.done(c->back.arg, &answer, c->latency_us);
    recycle(c);
}

static void report_all(pst_h1_t *p)
{
    p->ended_n = 0;
    while (!pst_link_empty(&p->ended))
        report(PST_CONTAINER(p->ended.next, call_t, link));
}

/* What is packed in a way that is not known here goes through curl from then on, which knows more of them. */
static void unpack(call_t *c)
{
    bool known = c->reply->coding != PST_CODING_OTHER;
    pst_reply_state_t s = known ? pst_reply_unpack(c->reply) : PST_REPLY_BROKEN;
    c->site->unfit = c->site->unfit || !known;
    if (s == PST_REPLY_DONE)
        return;
    c->trouble = pst_alloc(sizeof *c->trouble);
    if (s == PST_REPLY_TOO_LARGE)
        pst_trouble_too_large(c->trouble);
    else
        pst_trouble_packed(c->trouble);
}

/* why: copied; NULL: with an answer. */
static void end(call_t *c, const pst_trouble_t *why)
{
    pst_h1_t *p = c->site->h1;
    if (why) {
        c->trouble = pst_alloc(sizeof *why);
        *c->trouble = *why;
    }
    c->latency_us = pst_ns_since(pst_clock_mono(), c->began) / PST_US;
    wait_no_longer(c);
    pst_link_remove(&c->age);
    if (c->conn)
        leave_conn(c, !why);
    if (c->reply && c->reply->coding)
        unpack(c);
    pst_link_before(&p->ended, &c->link);
    p->ended_n++;
}

/* No connection for those who waited for this one: their share, where not all had begun to be made. */
static void refuse(pst_h1_site_t *s, const pst_trouble_t *why)
{
    unsigned making = s->connecting + 1;
    for (unsigned n = (s->waiting_n + making - 1) / making; n > 0; n--)
        end(PST_CONTAINER(s->waiting.next, call_t, wait), why);
}

static void on_connected(void *arg, const pst_wire_t *wire, const pst_trouble_t *why)
{
    pst_h1_site_t *s = arg;
    s->connecting--;
    if (wire)
        add_conn(s, wire);
    else
        refuse(s, why);
    open_conns(s);
    free_if_gone(s);
}

void pst_h1_cancel(pst_http_call_t *call)
{
    call_t *c = PST_CONTAINER(call, call_t, base);
    wait_no_longer(c);
    if (c->conn)
        leave_conn(c, false);
    recycle(c);
}

/* ---- the wire -------------------------------------------------------------------------------- */

/* What is left to send of v, after the *ret_skip bytes sent before it. */
static void add_rest(struct iovec *to, int *ret_n, const char *p, size_t n, size_t *skip)
{
    size_t sent = PST_MIN(*skip, n);
    *skip -= sent;
    if (sent < n && *ret_n < IOVECS_MAX)
        to[(*ret_n)++] = (struct iovec){(void *)(uintptr_t)(p + sent), n - sent};
}

static ssize_t send_rest(const call_t *c, pst_wire_t *to)
{
    struct iovec v[IOVECS_MAX];
    size_t skip = c->sent;
    int n = 0;
    add_rest(v, &n, c->head.p, c->head.n, &skip);
    add_rest(v, &n, c->site->lines, c->site->lines_n, &skip);
    for (unsigned i = 0; i < c->pieces; i++)
        add_rest(v, &n, c->piece[i].p, c->piece[i].n, &skip);
    return pst_wire_send(to, v, n);
}

/* The connection was closed while it rested, and nothing of the call has gone over it. */
static void send_elsewhere(conn_t *n)
{
    call_t *c = n->call;
    leave_conn(c, false);
    find_conn(c);
}

static uint32_t wanted(const call_t *c, bool failed)
{
    return (c->paused ? 0 : EPOLLIN) | (c->sent < c->bytes && !failed ? EPOLLOUT : 0);
}

/* false: the connection is gone. */
static bool send_some(conn_t *n)
{
    call_t *c = n->call;
    ssize_t sent = send_rest(c, &n->wire);
    bool failed = sent < 0 && errno != EAGAIN && errno != EINTR;
    if (failed && n->used && c->sent == 0) {
        send_elsewhere(n);
        return false;
    }
    c->sent += sent > 0 ? (size_t)sent : 0;
    /* Even when it failed an answer may be there: "too large" does not wait for the end of a body. */
    watch(n, wanted(c, failed));
    return true;
}

/* MORE: EAGAIN, or what came is not all yet.  *ret_cut: of BROKEN, that the connection has ended. */
static pst_reply_state_t read_once(conn_t *n, bool *ret_again, bool *ret_cut)
{
    size_t room;
    char *p = pst_reply_room(n->reply, &room);
    if (!p)
        return PST_REPLY_TOO_LARGE;
    ssize_t got = pst_wire_recv(&n->wire, p, room);
    *ret_again = got < 0 && (errno == EAGAIN || errno == EINTR);
    if (*ret_again)
        return PST_REPLY_MORE;
    *ret_cut = got <= 0;
    if (got < 0)
        return PST_REPLY_BROKEN;
    n->came += (size_t)got;
    return got ? pst_reply_came(n->reply, (size_t)got) : pst_reply_eof(n->reply);
}

static void end_read(conn_t *n, pst_reply_state_t s, bool was_cut)
{
    pst_trouble_t trouble;
    if (s == PST_REPLY_DONE) {
        end(n->call, NULL);
        return;
    }
    if (s == PST_REPLY_TOO_LARGE)
        pst_trouble_too_large(&trouble);
    else if (was_cut)
        pst_trouble_cut(&trouble, n->came);
    else
        pst_trouble_not_http(&trouble);
    end(n->call, &trouble);
}

/* Some of an answer, and there is more to come. */
static void heard(conn_t *n)
{
    n->since = pst_loop_now(n->site->h1->loop);
    pst_link_remove(&n->answer);
    pst_link_before(&n->site->answers, &n->answer);
}

/* What came on a connection to which nothing of the call has gone. */
static bool is_stray(const conn_t *n)
{
    return n->used && n->call->sent == 0;
}

/* What has come of an answer that is wanted as it comes.  An encoded one is not understood here (end).  false: no more of
 * it is wanted, and call and connection are gone. */
static bool give_part(conn_t *n)
{
    call_t *c = n->call;
    pst_reply_t *r = n->reply;
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_view_t bytes = pst_reply_so_far(r);
    if (bytes.n == 0 || r->coding || is_stray(n))
        return true;
    pst_http_answer_t head = {.status = r->status, .transport = PST_CAUSE_NONE, .wall_ms = pst_clock_wall_ms()};
    pst_reply_fill(r, header, &head);
    head.body = pst_view(NULL, 0);
    switch (c->back.part(c->back.arg, &head, bytes)) {
    case PST_HTTP_TAKEN:
        pst_reply_taken(r);
        return true;
    case PST_HTTP_KEEP:
        c->back.part = NULL;
        return true;
    case PST_HTTP_CUT:
        break;
    }
    pst_h1_cancel(&c->base);
    return false;
}

static void read_later(conn_t *n)
{
    if (pst_link_empty(&n->link))
        pst_link_before(&n->site->h1->resumed, &n->link);
}

static void read_some(conn_t *n)
{
    bool again = false, was_cut = false;
    unsigned parts = 0;
    pst_reply_state_t s;
    size_t came = n->came;
    if (!n->reply)
        n->reply = pst_replies_take(&n->site->h1->replies);
    do {
        s = read_once(n, &again, &was_cut);
        bool gives = n->call->back.part && !again;
        if (gives && !give_part(n))
            return;
        parts += gives;
    } while (s == PST_REPLY_MORE && !again && pst_wire_is_tls(&n->wire) && parts < PARTS_PER_TURN);
    if (parts == PARTS_PER_TURN)
        read_later(n);
    if (n->reply->in.n == 0) /* TLS spoke for itself alone: nobody holds room for an answer while he waits for one */
        pst_replies_give(&n->site->h1->replies, &n->reply);
    if (s == PST_REPLY_MORE) {
        if (n->came > came && pst_reply_begun(n->reply))
            heard(n);
        return;
    }
    if (is_stray(n))
        send_elsewhere(n); /* whatever it says is no answer to this call */
    else
        end_read(n, s, was_cut);
}

void pst_h1_pause(pst_http_call_t *call, bool paused)
{
    call_t *c = PST_CONTAINER(call, call_t, base);
    conn_t *n = c->conn;
    bool resumes = c->paused && !paused;
    c->paused = paused;
    if (!n)
        return;
    watch(n, wanted(c, false));
    if (resumes)
        read_later(n);
}

static void on_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    conn_t *n = arg;
    pst_h1_t *p = n->site->h1;
    if (!n->call) {
        if (!pst_wire_quiet(&n->wire))
            close_conn(n); /* the server closes it, or says what nobody asked for */
        return;
    }
    bool there = !(events & EPOLLOUT) || send_some(n);
    if (there && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(n);
    if (p->ended_n >= PST_HTTP_REPORT_CALLS)
        report_all(p);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void end_overdue(pst_h1_site_t *s, pst_ns_t now)
{
    while (!pst_link_empty(&s->calls)) {
        call_t *c = PST_CONTAINER(s->calls.next, call_t, age);
        if (pst_ns_since(now, c->began) < s->timeout)
            return;
        pst_trouble_t late;
        pst_trouble_late(&late, c->conn, c->conn ? c->conn->came : 0);
        end(c, &late);
    }
}

static bool may_stall(const pst_h1_site_t *s)
{
    return s->idle_timeout && !pst_link_empty(&s->answers);
}

static void end_stalled(pst_h1_site_t *s, pst_ns_t now)
{
    while (may_stall(s)) {
        const conn_t *n = PST_CONTAINER(s->answers.next, conn_t, answer);
        pst_trouble_t stalled;
        if (pst_ns_since(now, n->since) < s->idle_timeout)
            return;
        pst_trouble_stalled(&stalled, n->came, s->idle_timeout);
        end(n->call, &stalled);
    }
}

static void close_rested(pst_h1_site_t *s, pst_ns_t now)
{
    while (!pst_link_empty(&s->idle)) {
        conn_t *n = PST_CONTAINER(s->idle.prev, conn_t, link);
        if (pst_ns_since(now, n->since) < IDLE_MAX)
            return;
        close_conn(n);
    }
}

/* Those that are there now: what has more to read is put behind them again. */
static void read_resumed(pst_h1_t *p)
{
    pst_link_t mark;
    pst_link_init(&mark);
    pst_link_before(&p->resumed, &mark);
    while (p->resumed.next != &mark) {
        conn_t *n = PST_CONTAINER(p->resumed.next, conn_t, link);
        pst_link_remove(&n->link);
        if (!n->call->paused)
            read_some(n);
    }
    pst_link_remove(&mark);
}

void pst_h1_step(pst_h1_t *p, pst_ns_t now)
{
    while (!pst_link_empty(&p->unsent)) {
        conn_t *n = PST_CONTAINER(p->unsent.next, conn_t, link);
        pst_link_remove(&n->link);
        (void)send_some(n);
    }
    read_resumed(p);
    for (pst_link_t *l = p->sites.next; l != &p->sites; l = l->next) {
        pst_h1_site_t *s = PST_CONTAINER(l, pst_h1_site_t, link);
        end_overdue(s, now);
        end_stalled(s, now);
        close_rested(s, now);
    }
    report_all(p);
}

pst_ns_t pst_h1_due(const pst_h1_t *p)
{
    pst_ns_t due = PST_NEVER;
    if (!pst_link_empty(&p->unsent) || !pst_link_empty(&p->resumed) || !pst_link_empty(&p->ended))
        return 0;
    for (const pst_link_t *l = p->sites.next; l != &p->sites; l = l->next) {
        const pst_h1_site_t *s = PST_CONTAINER(l, const pst_h1_site_t, link);
        if (!pst_link_empty(&s->calls))
            due = pst_ns_min(due, pst_ns_add(PST_CONTAINER(s->calls.next, const call_t, age)->began, s->timeout));
        if (may_stall(s))
            due = pst_ns_min(due, pst_ns_add(PST_CONTAINER(s->answers.next, const conn_t, answer)->since, s->idle_timeout));
        if (!pst_link_empty(&s->idle))
            due = pst_ns_min(due, pst_ns_add(PST_CONTAINER(s->idle.prev, const conn_t, link)->since, IDLE_MAX));
    }
    return due;
}

/* ---- start ----------------------------------------------------------------------------------- */

static call_t *take_call(pst_h1_t *p)
{
    if (!pst_link_empty(&p->spare_calls)) {
        call_t *c = PST_CONTAINER(p->spare_calls.next, call_t, link);
        pst_link_remove(&c->link);
        return c;
    }
    call_t *c = pst_calloc(1, sizeof *c);
    c->base.h1 = true;
    pst_link_init(&c->link);
    pst_link_init(&c->wait);
    pst_link_init(&c->age);
    pst_buf_init(&c->head, 0);
    return c;
}

static void put_head(call_t *c, const pst_http_req_t *req)
{
    pst_buf_t *b = &c->head;
    pst_buf_clear(b);
    pst_buf_puts(b, "POST ");
    pst_buf_puts(b, c->site->base_path);
    pst_buf_putv(b, req->path);
    pst_buf_puts(b, " HTTP/1.1\r\nContent-Length: ");
    pst_put_digits(b, pst_http_req_bytes(req));
    pst_buf_puts(b, "\r\n");
    for (unsigned i = 0; i < req->headers; i++) {
        pst_buf_putv(b, req->header[i].name);
        pst_buf_puts(b, ": ");
        pst_buf_putv(b, req->header[i].value);
        pst_buf_puts(b, "\r\n");
    }
    PST_ASSERT(!b->failed);
}

pst_http_call_t *pst_h1_start(pst_h1_site_t *s, const pst_http_req_t *req, const pst_http_back_t *back)
{
    pst_h1_t *p = s->h1;
    call_t *c = take_call(p);
    c->site = s;
    c->began = pst_clock_mono();
    c->back = *back;
    c->paused = false;
    put_head(c, req);
    c->body = req->body;
    c->piece = req->pieces ? req->piece : &c->body;
    c->pieces = req->pieces ? req->pieces : 1;
    c->sent = 0;
    c->bytes = c->head.n + s->lines_n + pst_http_req_bytes(req);
    pst_link_before(&s->calls, &c->age);
    s->calls_n++;
    find_conn(c);
    return &c->base;
}

/* ---- life ------------------------------------------------------------------------------------ */

pst_h1_site_t *pst_h1_site_new(pst_h1_t *p, pst_curl_site_t *opens, pst_view_t base_path, pst_view_t lines,
                               const pst_http_target_opts_t *o)
{
    pst_h1_site_t *s = pst_calloc(1, sizeof *s);
    s->h1 = p;
    s->opens = pst_curl_site_ref(opens);
    s->base_path = pst_strdup_view(base_path);
    s->lines_n = lines.n + 2;
    s->lines = pst_alloc(s->lines_n);
    memcpy(s->lines, lines.p, lines.n);
    memcpy(s->lines + lines.n, "\r\n", 2);
    s->timeout = o->timeout;
    s->idle_timeout = o->idle_timeout;
    pst_link_init(&s->idle);
    pst_link_init(&s->waiting);
    pst_link_init(&s->calls);
    pst_link_init(&s->answers);
    pst_link_before(&p->sites, &s->link);
    return s;
}

uint64_t pst_h1_reused(const pst_h1_t *p)
{
    return p->reused;
}

bool pst_h1_site_unfit(const pst_h1_site_t *s)
{
    return s->unfit;
}

void pst_h1_site_destroy(pst_h1_site_t **s)
{
    if (!s || !*s)
        return;
    pst_h1_site_t *x = pst_take(s);
    x->gone = true;
    free_if_gone(x);
}

pst_h1_t *pst_h1_new(pst_loop_t *loop, pst_curl_t *curl)
{
    pst_h1_t *p = pst_calloc(1, sizeof *p);
    p->loop = loop;
    p->curl = curl;
    pst_link_init(&p->sites);
    pst_link_init(&p->unsent);
    pst_link_init(&p->resumed);
    pst_link_init(&p->ended);
    pst_link_init(&p->spare_calls);
    pst_replies_init(&p->replies);
    return p;
}

/* All that is left of a site whose target is gone: calls, and connections that will not be heard of. */
static void cut_site(pst_h1_site_t *s)
{
    PST_ASSERT(s->gone);
    s->connecting++; /* so that its last call does not free it */
    while (!pst_link_empty(&s->calls))
        pst_h1_cancel(&PST_CONTAINER(s->calls.next, call_t, age)->base);
    free_site(s);
}

void pst_h1_destroy(pst_h1_t **p)
{
    if (!p || !*p)
        return;
    pst_h1_t *x = pst_take(p);
    while (!pst_link_empty(&x->ended))
        recycle(PST_CONTAINER(x->ended.next, call_t, link));
    while (!pst_link_empty(&x->sites))
        cut_site(PST_CONTAINER(x->sites.next, pst_h1_site_t, link));
    while (!pst_link_empty(&x->spare_calls)) {
        call_t *c = PST_CONTAINER(x->spare_calls.next, call_t, link);
        pst_link_remove(&c->link);
        pst_buf_release(&c->head);
        free(c);
    }
    pst_replies_release(&x->replies);
    free(x);
}
