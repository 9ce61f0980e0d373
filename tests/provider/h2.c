#include "h2.h"

#include "base/heap.h"
#include "base/list.h"

#include <nghttp2/nghttp2.h>

#define STREAM_WINDOW (1 << 20)
#define CONNECTION_WINDOW (16 << 20)
/* Memory of ended streams that waits for new ones: so many streams, buffers of at most so much. */
#define IDLE_STREAMS_MAX 4096
#define KEEP_BYTES ((size_t)64 << 10)
#define ANSWER_HEADERS_MAX 32

typedef enum stream_state {
    STREAM_READING, /* (the rest of) the request is to come */
    STREAM_PENDING, /* the reply is made and due at the timer's time, or never (hang); or its next event is */
    STREAM_ANSWERED /* accounted for; nghttp2 sends it */
} stream_state_t;

typedef struct stream {
    pst_link_t link; /* in sim_h2.streams or hub.idle */
    pst_heap_node_t timer;
    sim_h2_t *h2;
    int32_t id;
    stream_state_t state;
    int refuse; /* not 0: too much was sent; this is the answer once all has come */
    unsigned headers;
    pst_buf_t head; /* of the request: spans and their texts, one after the other */
    pst_buf_t body;
    pst_buf_t out; /* of the reply, as HTTP/1.1 has it; nghttp2 points into it */
    size_t out_at, out_end; /* sent, and to be sent so far */
    size_t out_all;         /* in all */
    bool cut_mid;           /* out_all is not the end */
    sim_reply_t reply;
} stream_t;

typedef struct span {
    uint32_t name_n, value_n;
} span_t;

struct sim_h2_hub {
    sim_service_t *service;
    unsigned streams_max;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    pst_ns_t now;
    pst_heap_t timers; /* of stream.timer */
    pst_link_t ready;  /* sim_h2.ready */
    pst_link_t idle;
    unsigned idles;
    sim_http_req_t req; /* too large for the stack of every call */
};

struct sim_h2 {
    sim_h2_hub_t *hub;
    void *owner;
    nghttp2_session *session;
    pst_link_t streams;
    pst_link_t ready;  /* alone: not in hub.ready */
    stream_t *heading; /* whose headers are coming; NULL: trailers */
    bool cut;          /* by an outage */
};

/* ---- streams ---- */

static stream_t *stream_new(sim_h2_t *h, int32_t id)
{
    sim_h2_hub_t *hub = h->hub;
    stream_t *st;
    if (pst_link_empty(&hub->idle)) {
        st = pst_calloc(1, sizeof *st);
        pst_link_init(&st->link);
        pst_heap_node_init(&st->timer);
        pst_buf_init(&st->head, 0);
        pst_buf_init(&st->body, 0);
        pst_buf_init(&st->out, 0);
    } else {
        st = PST_CONTAINER(hub->idle.next, stream_t, link);
        pst_link_remove(&st->link);
        hub->idles--;
    }
    st->h2 = h;
    st->id = id;
    st->state = STREAM_READING;
    st->refuse = 0;
    st->headers = 0;
    st->out_at = st->out_end = st->out_all = 0;
    st->cut_mid = false;
    pst_link_before(&h->streams, &st->link);
    return st;
}

static void buf_rest(pst_buf_t *b)
{
    if (b->cap > KEEP_BYTES)
        pst_buf_release(b);
    pst_buf_clear(b);
}

static void stream_free(stream_t *st)
{
    pst_buf_release(&st->head);
    pst_buf_release(&st->body);
    pst_buf_release(&st->out);
    free(st);
}

/* A reply not yet accounted for is lost. */
static void stream_end(stream_t *st, sim_loss_t how)
{
    sim_h2_hub_t *hub = st->h2->hub;
    if (st->state == STREAM_PENDING)
        sim_service_lost(hub->service, &st->reply, how);
    pst_heap_remove(&hub->timers, &st->timer);
    pst_link_remove(&st->link);
    if (st->h2->heading == st)
        st->h2->heading = NULL;
    if (hub->idles == IDLE_STREAMS_MAX) {
        stream_free(st);
        return;
    }
    buf_rest(&st->head);
    buf_rest(&st->body);
    buf_rest(&st->out);
    pst_link_after(&hub->idle, &st->link);
    hub->idles++;
}

static void set_ready(sim_h2_t *h)
{
    if (pst_link_empty(&h->ready))
        pst_link_before(&h->hub->ready, &h->ready);
}

/* ---- replies ---- */

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                                 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)id;
    (void)arg;
    stream_t *st = source->ptr;
    size_t n = PST_MIN(room, st->out_end - st->out_at);
    if (n == 0 && st->out_end < st->out_all)
        return NGHTTP2_ERR_DEFERRED; /* until say_more */
    if (n == 0 && st->cut_mid)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* becomes RST_STREAM, INTERNAL_ERROR */
    memcpy(to, st->out.p + st->out_at, n);
    st->out_at += n;
    if (st->out_at == st->out_all && !st->cut_mid)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv make_nv(const char *name, size_t name_n, const char *value, size_t value_n)
{
    /* out lives until the stream is closed: no need of copies. */
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, name_n, value_n,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* The head of the reply as header fields; out_at is then the start of its body. */
static size_t read_head(stream_t *st, nghttp2_nv *nv)
{
    static const char status[] = ":status";
    const char *p = st->out.p, *end = p + st->out.n;
    size_t n = 0;
    nv[n++] = make_nv(status, sizeof status - 1, p + sizeof "HTTP/1.1", 3);
    while ((p = memchr(p, '\n', (size_t)(end - p))) && *++p != '\r') {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        const char *cr = memchr(colon, '\r', (size_t)(end - colon));
        size_t name_n = (size_t)(colon - p);
        if ((name_n == 10 && memcmp(p, "connection", 10) == 0) ||
            (name_n == 17 && memcmp(p, "transfer-encoding", 17) == 0))
            continue; /* HTTP/2 has none */
        PST_ASSERT(n < ANSWER_HEADERS_MAX);
        nv[n] = make_nv(p, name_n, colon + 2, (size_t)(cr - colon - 2));
        /* Request ids and what is left of a limit would drive what repeats out of the table. */
        if (n > 3)
            nv[n].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
        n++;
    }
    st->out_at = (size_t)(p - st->out.p) + 2;
    return n;
}

/* The next event of a streamed answer, or all there is. */
static void let_out(stream_t *st)
{
    const char *from = st->out.p + st->out_end;
    size_t left = st->out_all - st->out_end;
    const char *end = st->reply.stream && st->reply.step ? memmem(from, left, "\n\n", 2) : NULL;
    st->out_end += end ? (size_t)(end + 2 - from) : left;
    if (st->out_end < st->out_all) {
        pst_heap_set(&st->h2->hub->timers, &st->timer, pst_ns_add(st->h2->hub->now, st->reply.step));
    } else if (st->state == STREAM_PENDING) {
        st->state = STREAM_ANSWERED;
        sim_service_sent(st->h2->hub->service, &st->reply);
    }
}

static void submit_answer(stream_t *st)
{
    nghttp2_nv nv[ANSWER_HEADERS_MAX];
    size_t n = read_head(st, nv);
    st->out_end = st->out_at;
    st->out_all = st->cut_mid ? st->out_at + (st->out.n - st->out_at) / 2 : st->out.n;
    let_out(st);
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_body};
    bool none = st->out_at == st->out.n;
    int r = nghttp2_submit_response(st->h2->session, st->id, nv, n, none ? NULL : &body);
    PST_ASSERT(r == 0);
}

/* The reply's time has come. */
static void deliver(stream_t *st)
{
    sim_h2_t *h = st->h2;
    sim_service_t *service = h->hub->service;
    const sim_reply_t *r = &st->reply;
    st->state = STREAM_ANSWERED; /* whatever happens now, the reply is accounted for here */
    /* A call that came during an outage is cut without having taken a place in flight. */
    h->cut = (r->act == SIM_CUT && !r->in_flight) || sim_service_is_out(service, r, h->hub->now);
    if (h->cut || r->act == SIM_CUT) {
        sim_service_lost(service, r, SIM_LOST_CUT);
        if (!h->cut)
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, st->id,
                                      NGHTTP2_INTERNAL_ERROR);
    } else if (r->act == SIM_CUT_MID) {
        sim_service_lost(service, r, SIM_LOST_CUT_MID);
        st->cut_mid = true;
        submit_answer(st);
    } else if (r->stream) {
        st->state = STREAM_PENDING; /* until all of it is let out */
        submit_answer(st);
    } else {
        sim_service_sent(service, r);
        submit_answer(st);
    }
    set_ready(h);
}

/* A streamed answer's next event is due. */
static void say_more(stream_t *st)
{
    let_out(st);
    nghttp2_session_resume_data(st->h2->session, st->id);
    set_ready(st->h2);
}

/* ---- requests ---- */

static void put_header(stream_t *st, pst_view_t name, pst_view_t value)
{
    if (st->headers == SIM_HTTP_HEADERS_MAX ||
        st->head.n + name.n + value.n > SIM_HTTP_HEAD_BYTES_MAX) {
        st->refuse = 431;
        return;
    }
    span_t s = {(uint32_t)name.n, (uint32_t)value.n};
    pst_buf_put(&st->head, &s, sizeof s);
    pst_buf_putv(&st->head, name);
    pst_buf_putv(&st->head, value);
    st->headers++;
}

static void set_pseudo(sim_http_req_t *req, pst_view_t name, pst_view_t value)
{
    if (pst_view_eqs(name, ":method")) {
        req->method = value;
    } else if (pst_view_eqs(name, ":path")) {
        const char *question = memchr(value.p, '?', value.n);
        req->path = pst_view(value.p, question ? (size_t)(question - value.p) : value.n);
        if (question)
            req->query = pst_view(question + 1, value.n - req->path.n - 1);
    }
}

/* What the service reads, with views into the stream's buffers. */
static void fill_request(const stream_t *st, sim_http_req_t *req)
{
    memset(req, 0, offsetof(sim_http_req_t, header));
    req->headers = 0;
    req->minor = 1;
    req->keep_alive = true;
    req->body = pst_buf_view(&st->body);
    const char *p = st->head.p;
    for (unsigned i = 0; i < st->headers; i++) {
        span_t s;
        memcpy(&s, p, sizeof s);
        pst_view_t name = pst_view(p + sizeof s, s.name_n);
        pst_view_t value = pst_view(name.p + name.n, s.value_n);
        p = value.p + value.n;
        if (name.n && name.p[0] == ':')
            set_pseudo(req, name, value);
        else
            req->header[req->headers++] = (sim_http_header_t){name, value};
    }
}

static void answer_request(stream_t *st)
{
    sim_h2_hub_t *hub = st->h2->hub;
    sim_service_t *service = hub->service;
    pst_buf_clear(&service->out);
    if (st->refuse) {
        sim_service_malformed(service, st->refuse, &st->reply);
    } else {
        fill_request(st, &hub->req);
        sim_service_request(service, &hub->req, hub->now, &st->reply);
    }
    st->state = STREAM_PENDING;
    pst_buf_putv(&st->out, pst_buf_view(&service->out));
    PST_ASSERT(!st->out.failed);
    buf_rest(&st->body);
    if (st->reply.act == SIM_HANG)
        return;
    if (st->reply.delay == 0)
        deliver(st);
    else
        pst_heap_set(&hub->timers, &st->timer, pst_ns_add(hub->now, st->reply.delay));
}

/* ---- what nghttp2 tells ---- */

static bool is_request(const nghttp2_frame *f)
{
    return f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *arg)
{
    sim_h2_t *h = arg;
    h->heading = NULL;
    if (!is_request(f))
        return 0;
    h->heading = stream_new(h, f->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, f->hd.stream_id, h->heading);
    sim_add(&h->hub->service->world->wire.h2_streams, 1);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)session;
    (void)f;
    (void)flags;
    sim_h2_t *h = arg;
    if (h->heading)
        put_header(h->heading, pst_view((const char *)name, name_n),
                   pst_view((const char *)value, value_n));
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *arg)
{
    (void)flags;
    (void)arg;
    stream_t *st = nghttp2_session_get_stream_user_data(session, id);
    if (!st || st->refuse)
        return 0;
    if (st->body.n + n > SIM_HTTP_BODY_BYTES_MAX) {
        pst_buf_release(&st->body);
        st->refuse = 413;
        return 0;
    }
    pst_buf_put(&st->body, p, n);
    PST_ASSERT(!st->body.failed);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *arg)
{
    sim_h2_t *h = arg;
    if ((f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) ||
        !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    stream_t *st = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
    if (st && st->state == STREAM_READING)
        answer_request(st);
    return h->cut ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    (void)code;
    (void)arg;
    stream_t *st = nghttp2_session_get_stream_user_data(session, id);
    if (st)
        stream_end(st, SIM_LOST_CLIENT);
    return 0;
}

/* ---- connections ---- */

sim_h2_hub_t *sim_h2_hub_new(sim_service_t *s, unsigned streams_max)
{
    sim_h2_hub_t *hub = pst_calloc(1, sizeof *hub);
    hub->service = s;
    hub->streams_max = streams_max;
    pst_heap_init(&hub->timers);
    pst_link_init(&hub->ready);
    pst_link_init(&hub->idle);
    PST_ASSERT(nghttp2_session_callbacks_new(&hub->callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(hub->callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(hub->callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(hub->callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(hub->callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(hub->callbacks, on_stream_close);
    PST_ASSERT(nghttp2_option_new(&hub->option) == 0);
    /* Ended streams are kept for a tree of priorities that nobody here looks at. */
    nghttp2_option_set_no_closed_streams(hub->option, 1);
    return hub;
}

void sim_h2_hub_destroy(sim_h2_hub_t **phub)
{
    sim_h2_hub_t *hub = *phub;
    if (!hub)
        return;
    while (!pst_link_empty(&hub->idle)) {
        stream_t *st = PST_CONTAINER(hub->idle.next, stream_t, link);
        pst_link_remove(&st->link);
        stream_free(st);
    }
    nghttp2_session_callbacks_del(hub->callbacks);
    nghttp2_option_del(hub->option);
    pst_heap_release(&hub->timers);
    free(hub);
    *phub = NULL;
}

pst_ns_t sim_h2_hub_due(const sim_h2_hub_t *hub)
{
    const pst_heap_node_t *top = pst_heap_top(&hub->timers);
    return top ? top->key : PST_NEVER;
}

void sim_h2_hub_step(sim_h2_hub_t *hub, pst_ns_t now)
{
    hub->now = now;
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&hub->timers)) && top->key <= now) {
        pst_heap_remove(&hub->timers, top);
        stream_t *st = PST_CONTAINER(top, stream_t, timer);
        if (st->h2->cut) /* its end counts it */
            continue;
        if (st->out_all)
            say_more(st);
        else
            deliver(st);
    }
}

void *sim_h2_hub_ready(sim_h2_hub_t *hub)
{
    if (pst_link_empty(&hub->ready))
        return NULL;
    sim_h2_t *h = PST_CONTAINER(hub->ready.next, sim_h2_t, ready);
    pst_link_remove(&h->ready);
    return h->owner;
}

sim_h2_t *sim_h2_new(sim_h2_hub_t *hub, void *owner)
{
    sim_h2_t *h = pst_calloc(1, sizeof *h);
    h->hub = hub;
    h->owner = owner;
    pst_link_init(&h->streams);
    pst_link_init(&h->ready);
    PST_ASSERT(nghttp2_session_server_new2(&h->session, hub->callbacks, h, hub->option) == 0);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, hub->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    int r = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, PST_COUNT(settings));
    PST_ASSERT(r == 0);
    r = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    PST_ASSERT(r == 0);
    set_ready(h);
    sim_add(&hub->service->world->wire.h2, 1);
    return h;
}

void sim_h2_destroy(sim_h2_t **ph)
{
    sim_h2_t *h = *ph;
    if (!h)
        return;
    nghttp2_session_del(h->session); /* may not call back any more */
    while (!pst_link_empty(&h->streams))
        stream_end(PST_CONTAINER(h->streams.next, stream_t, link),
                   h->cut ? SIM_LOST_CUT : SIM_LOST_CLIENT);
    pst_link_remove(&h->ready);
    free(h);
    *ph = NULL;
}

bool sim_h2_read(sim_h2_t *h, const char *p, size_t n, pst_ns_t now)
{
    h->hub->now = now;
    ssize_t r = nghttp2_session_mem_recv(h->session, (const uint8_t *)p, n);
    set_ready(h);
    return r >= 0 && !h->cut;
}

bool sim_h2_write(sim_h2_t *h, pst_buf_t *out, size_t enough)
{
    while (out->n < enough && !h->cut) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        pst_buf_put(out, p, (size_t)n);
    }
    PST_ASSERT(!out->failed);
    return !h->cut;
}

bool sim_h2_is_done(const sim_h2_t *h)
{
    return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}
