#include "fake_front.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "base/blob.h"

#define BATCHES_MAX 16
#define POLL_MS 5
#define LOST_MS 400
#define HEARTBEAT_MS 50
#define UPLOAD_PACKS 4
#define PIECES 3
#define HIGH_WATER 100000 /* answers past it would be dropped: a gap that nobody asked for */

typedef struct stored_pack {
    uint32_t segment;
    pst_blob_t *headers, *bodies;
} stored_pack_t;

typedef struct batch {
    pst_id_t id;
    char key[64], tenant[64];
    bool accepted;
    stored_pack_t *pack;
    uint32_t packs, jobs;
} batch_t;

typedef struct session {
    uint64_t nonce, seq_in, seq_out;
    bool mute;
    size_t id_n;
    char id[64];
} session_t;

struct fake_front {
    void *ctx, *socket;
    char address[128];
    pthread_t thread;
    atomic_bool stop;
    atomic_uint fault[FAKE_FAULTS];
    pthread_mutex_t lock;  /* of counts */
    fake_counts_t counts;
    session_t session;     /* the last peer's: a test has one client */
    batch_t batch[BATCHES_MAX];
    unsigned batches;
    pst_blob_t **held;     /* messages, as they came */
    unsigned held_n, held_cap;
    pst_arena_t arena;
};

static bool strikes(fake_front_t *f, fake_fault_t fault)
{
    unsigned n = atomic_load(&f->fault[fault]);
    if (n == 0)
        return false;
    atomic_store(&f->fault[fault], n - 1);
    return true;
}

static void post(fake_front_t *f, pst_msg_t *m)
{
    session_t *s = &f->session;
    if (s->mute)
        return;
    m->version = PST_PROTOCOL_VERSION;
    m->session = s->nonce;
    m->epoch = 7;
    m->seq = s->seq_out++;
    if (strikes(f, FAKE_GAP))
        m->seq = s->seq_out++;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_msg_encode(m, &b);
    PST_ASSERT(!b.failed);
    zmq_send(f->socket, s->id, s->id_n, ZMQ_SNDMORE);
    zmq_send(f->socket, b.p, b.n, 0);
    pst_buf_release(&b);
}

static void done(fake_front_t *f, uint32_t req, pst_err_t e, const pst_id_t *batch, bool accepted)
{
    pst_msg_t m = {.type = PST_MSG_DONE};
    m.u.done = (pst_msg_done_t){.req = req, .err = (uint16_t)e, .accepted = accepted,
                                .text = pst_view_str(e ? pst_err_text(e) : "")};
    if (batch)
        m.u.done.batch = *batch;
    post(f, &m);
}

static batch_t *find_batch(fake_front_t *f, const pst_id_t *id)
{
    for (unsigned i = 0; i < f->batches; i++) {
        if (pst_id_eq(&f->batch[i].id, id))
            return &f->batch[i];
    }
    return NULL;
}

static batch_t *find_key(fake_front_t *f, pst_view_t key)
{
    for (unsigned i = 0; key.n && i < f->batches; i++) {
        if (f->batch[i].accepted && pst_view_eqs(key, f->batch[i].key))
            return &f->batch[i];
    }
    return NULL;
}

/* Every model is served but those that begin with "no". */
static void on_route(fake_front_t *f, const pst_msg_route_t *m)
{
    pst_route_t r;
    pst_err_t e = pst_route_decode(m->route, &f->arena, &r);
    bool served = !e && r.models.n > 0 && !(r.models.v[0].n >= 2 && memcmp(r.models.v[0].p, "no", 2) == 0);
    f->counts.routes++;
    done(f, m->req, served ? PST_OK : PST_E_MODEL_NOT_FOUND, NULL, false);
}

static void on_open(fake_front_t *f, const pst_msg_open_t *m)
{
    f->counts.opens++;
    if (strikes(f, FAKE_DOWN)) {
        done(f, m->req, PST_E_STORE_DOWN, &m->batch, false);
        return;
    }
    batch_t *b = find_key(f, m->idempotency_key);
    b = b ? b : find_batch(f, &m->batch);
    if (!b) {
        PST_ASSERT(f->batches < BATCHES_MAX);
        b = &f->batch[f->batches++];
        b->id = m->batch;
        snprintf(b->key, sizeof b->key, "%.*s", (int)m->idempotency_key.n,
                 m->idempotency_key.n ? m->idempotency_key.p : "");
        snprintf(b->tenant, sizeof b->tenant, "%.*s", (int)m->tenant.n, m->tenant.n ? m->tenant.p : "");
    }
    done(f, m->req, PST_OK, &b->id, b->accepted);
}

static void on_pack(fake_front_t *f, const pst_msg_pack_t *m)
{
    f->counts.packs++;
    batch_t *b = find_batch(f, &m->batch);
    pst_pack_headers_t h;
    pst_err_t e = PST_OK;
    if (strikes(f, FAKE_PUT_OFF))
        e = PST_E_FULL;
    else if (!b)
        e = PST_E_NOT_FOUND;
    else if (m->pack > b->packs)
        e = PST_E_SEQUENCE;
    else if (pst_pack_headers_decode(m->headers, &f->arena, &h) != PST_OK)
        e = PST_E_INVALID;
    f->counts.out_of_order += e == PST_E_SEQUENCE;
    if (!e && m->pack == b->packs) {
        b->pack = pst_realloc(b->pack, (b->packs + 1) * sizeof *b->pack);
        b->pack[b->packs++] = (stored_pack_t){m->segment, pst_blob_new(m->headers.p, m->headers.n),
                                              pst_blob_new(m->bodies.p, m->bodies.n)};
        b->jobs += h.jobs_n;
        f->counts.jobs += h.jobs_n;
        f->counts.segments = m->segment + 1;
    }
    done(f, m->req, e, &m->batch, false);
}

static void on_commit(fake_front_t *f, const pst_msg_commit_t *m)
{
    f->counts.commits++;
    batch_t *b = find_batch(f, &m->batch);
    pst_err_t e = !b ? PST_E_NOT_FOUND : b->packs != m->packs || b->jobs != m->jobs ? PST_E_STATE : PST_OK;
    if (!e && !b->accepted) {
        b->accepted = true;
        f->counts.accepted++;
    }
    done(f, m->req, e, &m->batch, e == PST_OK);
}

static pst_result_t result_of(const pst_job_header_t *h, uint32_t offset)
{
    pst_result_t r = {.index = h->index, .custom_id = h->custom_id, .endpoint = PST_NO_ENDPOINT};
    if (h->reject) {
        r.status = PST_JOB_FAILED;
        r.cause = h->reject;
        r.line = h->line;
        r.message = h->message;
    } else {
        r.status = PST_JOB_COMPLETED;
        r.http_status = 200;
        r.endpoint = 0;
        r.cost_nano = 123000;
        r.latency_ms = 5;
        r.body_offset = offset;
        r.body_bytes = h->body_bytes;
    }
    return r;
}

/* The pack's bodies are its answers: the blob goes back as it came. */
static void render_pack(fake_front_t *f, const stored_pack_t *p, pst_buf_t *out)
{
    pst_pack_headers_t h;
    PST_ASSERT(pst_pack_headers_decode(pst_blob_view(p->headers), &f->arena, &h) == PST_OK);
    pst_result_t results[PST_PACK_JOBS_MAX];
    pst_endpoint_name_t endpoint = {PST_VIEW_LIT("echo"), PST_VIEW_LIT("echo-1")};
    pst_result_blob_t blob = {.codec = h.codec, .text_bytes = h.text_bytes, .bytes = pst_blob_view(p->bodies)};
    uint32_t offset = 0;
    for (uint32_t i = 0; i < h.jobs_n; i++) {
        results[i] = result_of(&h.jobs[i], offset);
        offset += h.jobs[i].body_bytes;
    }
    pst_result_pack_t rp = {&endpoint, 1, results, h.jobs_n, &blob, 1};
    pst_result_pack_encode(&rp, out);
    PST_ASSERT(!out->failed);
}

#define FETCH_PACKS 4

static void on_fetch(fake_front_t *f, const pst_msg_fetch_t *m)
{
    batch_t *b = find_batch(f, &m->batch);
    if (!b || !b->accepted) {
        done(f, m->req, PST_E_NOT_FOUND, &m->batch, false);
        return;
    }
    pst_buf_t buf[FETCH_PACKS];
    pst_view_t views[FETCH_PACKS];
    pst_msg_t out = {.type = PST_MSG_RESULTS};
    uint32_t n = 0;
    for (uint32_t i = m->cursor.pack; i < b->packs && n < FETCH_PACKS; i++, n++) {
        pst_buf_init(&buf[n], 0);
        render_pack(f, &b->pack[i], &buf[n]);
        views[n] = pst_buf_view(&buf[n]);
    }
    out.u.results = (pst_msg_results_t){.req = m->req, .next = {0, m->cursor.pack + n}, .packs = views, .packs_n = n,
                                        .ended = m->cursor.pack + n == b->packs};
    post(f, &out);
    while (n > 0)
        pst_buf_release(&buf[--n]);
}

static void on_get(fake_front_t *f, const pst_msg_get_t *m)
{
    batch_t *b = find_batch(f, &m->batch);
    pst_pack_headers_t h;
    for (uint32_t i = 0; b && i < b->packs; i++) {
        PST_ASSERT(pst_pack_headers_decode(pst_blob_view(b->pack[i].headers), &f->arena, &h) == PST_OK);
        for (uint32_t k = 0; k < h.jobs_n; k++) {
            if (m->by_index ? h.jobs[k].index != m->index : !pst_view_eq(h.jobs[k].custom_id, m->custom_id))
                continue;
            pst_buf_t buf;
            pst_buf_init(&buf, 0);
            render_pack(f, &b->pack[i], &buf);
            pst_msg_t out = {.type = PST_MSG_JOB};
            out.u.job = (pst_msg_job_t){.req = m->req, .index = h.jobs[k].index, .state = PST_STATE_ENDED,
                                        .pack = pst_buf_view(&buf)};
            post(f, &out);
            pst_buf_release(&buf);
            return;
        }
    }
    done(f, m->req, PST_E_NOT_FOUND, &m->batch, false);
}

static pst_batch_info_t info_of(const batch_t *b)
{
    return (pst_batch_info_t){.batch = b->id, .status = b->accepted ? PST_BATCH_COMPLETED : PST_BATCH_VALIDATING,
                              .priority = PST_PRIORITY_NORMAL, .created_ms = pst_id_wall_ms(&b->id),
                              .accepted_ms = pst_id_wall_ms(&b->id), .ended_ms = pst_id_wall_ms(&b->id) + 1500,
                              .jobs = b->jobs, .completed = b->jobs, .cost_nano = 123000ull * b->jobs,
                              .input_tokens = 70, .cached_tokens = 50, .output_tokens = 30,
                              .tenant = pst_view_str(b->tenant)};
}

static void on_status(fake_front_t *f, const pst_msg_batch_req_t *m)
{
    batch_t *b = find_batch(f, &m->batch);
    if (!b) {
        done(f, m->req, PST_E_NOT_FOUND, &m->batch, false);
        return;
    }
    pst_endpoint_stats_t stats = {.name = {PST_VIEW_LIT("echo"), PST_VIEW_LIT("echo-1")}, .calls = b->jobs,
                                  .completed = b->jobs, .input_tokens = 70, .cached_tokens = 50, .output_tokens = 30,
                                  .cost_nano = 123000ull * b->jobs, .p50_ms = 5, .p95_ms = 6};
    pst_msg_t out = {.type = PST_MSG_BATCH};
    out.u.batch.req = m->req;
    out.u.batch.info = info_of(b);
    out.u.batch.info.endpoints = &stats;
    out.u.batch.info.endpoints_n = 1;
    post(f, &out);
}

static void on_list(fake_front_t *f, const pst_msg_list_t *m)
{
    pst_batch_info_t infos[BATCHES_MAX];
    pst_msg_t out = {.type = PST_MSG_BATCHES};
    for (unsigned i = 0; i < f->batches; i++)
        infos[i] = info_of(&f->batch[f->batches - 1 - i]);
    out.u.batches = (pst_msg_batches_t){.req = m->req, .infos = infos, .infos_n = f->batches};
    post(f, &out);
}

/* One account whose limits are known from everywhere, with one endpoint that works and one that is parked. */
static void on_top(fake_front_t *f, const pst_msg_top_t *m)
{
    pst_cluster_limit_t account[] = {
        {.rate = PST_RATE_REQUESTS, .source = PST_LIMIT_CONFIGURED, .limit = 5000, .used = 3120},
        {.rate = PST_RATE_TOKENS, .source = PST_LIMIT_SAID, .limit = 2000000, .used = 12},
    };
    pst_cluster_limit_t model[] = {{.rate = PST_RATE_DAILY, .source = PST_LIMIT_LEARNED, .limit = 900, .used = 899}};
    pst_cluster_provider_t provider = {.name = PST_VIEW_LIT("sim"), .workers = 2, .in_flight = 7, .room = 93,
                                       .concurrency = 50, .limits = account, .limits_n = PST_COUNT(account)};
    pst_cluster_endpoint_t endpoint[] = {
        {.name = {PST_VIEW_LIT("sim"), PST_VIEW_LIT("good")}, .in_flight = 7, .calls = 10, .completed = 6,
         .rate_limited = 3, .failed = 1, .input_tokens = 100, .cached_tokens = 40, .output_tokens = 20,
         .cost_nano = 1500000000, .p50_ms = 830, .tokens_per_s = 55, .uptime_per_mille = 857},
        {.name = {PST_VIEW_LIT("sim"), PST_VIEW_LIT("gone")}, .concurrency = 4, .uptime_per_mille = 1000,
         .cause = PST_CAUSE_QUOTA, .until_wall_ms = 1767222030000, .limits = model, .limits_n = PST_COUNT(model)},
    };
    pst_msg_t out = {.type = PST_MSG_CLUSTER};
    out.u.cluster.req = m->req;
    out.u.cluster.cluster = (pst_cluster_t){
        .wall_ms = 1767222000000, .uptime_ms = 61000, .workers = 2, .batches = 1, .jobs_queued = 5000000000,
        .jobs_running = 7, .jobs_waiting = 3, .accepted = 5000000016, .completed = 5, .failed = 1,
        .cost_nano = 1500000000, .providers = &provider, .providers_n = 1, .endpoints = endpoint,
        .endpoints_n = PST_COUNT(endpoint)};
    post(f, &out);
}

static void on_abort(fake_front_t *f, const pst_msg_batch_req_t *m)
{
    f->counts.aborts++;
    done(f, m->req, find_batch(f, &m->batch) ? PST_OK : PST_E_NOT_FOUND, &m->batch, false);
}

static void say_pieces(fake_front_t *f, uint32_t req)
{
    for (uint32_t i = 0; i < PIECES; i++) {
        char line[32];
        snprintf(line, sizeof line, "{\"piece\":%u}\n", i);
        pst_msg_t out = {.type = PST_MSG_PIECE};
        out.u.piece = (pst_msg_piece_t){req, i, pst_view_str(line)};
        post(f, &out);
        if (strikes(f, FAKE_BREAK)) {
            f->session.nonce = 0;
            f->session.mute = true;
        }
    }
}

/* As a job of a batch, it is answered by its own body. */
static void on_call(fake_front_t *f, const pst_msg_call_t *m)
{
    f->counts.calls++;
    f->counts.called = m->batch;
    if (strikes(f, FAKE_LONG))
        return;
    if (strikes(f, FAKE_TAKEN)) {
        done(f, m->req, PST_E_EXISTS, &m->batch, false);
        return;
    }
    if (m->stream)
        say_pieces(f, m->req);
    stored_pack_t p = {0, pst_blob_new(m->headers.p, m->headers.n), pst_blob_new(m->bodies.p, m->bodies.n)};
    pst_buf_t buf;
    pst_buf_init(&buf, 0);
    render_pack(f, &p, &buf);
    pst_msg_t out = {.type = PST_MSG_JOB};
    out.u.job = (pst_msg_job_t){.req = m->req, .state = PST_STATE_ENDED, .pack = pst_buf_view(&buf)};
    post(f, &out);
    pst_buf_release(&buf);
    pst_blob_unref(&p.headers);
    pst_blob_unref(&p.bodies);
}

static void on_cancel(fake_front_t *f, const pst_msg_batch_req_t *m)
{
    f->counts.cancels++;
    f->counts.cancelled = m->batch;
    done(f, m->req, PST_E_STATE, &m->batch, false);
}

static void welcome(fake_front_t *f)
{
    pst_msg_t m = {.type = PST_MSG_WELCOME};
    m.u.welcome = (pst_msg_welcome_t){HEARTBEAT_MS, LOST_MS, UPLOAD_PACKS, 1u << 20};
    post(f, &m);
}

static void refuse(fake_front_t *f, pst_view_t id, const pst_msg_t *in, pst_err_t e)
{
    pst_msg_t m = {.version = PST_PROTOCOL_VERSION, .type = PST_MSG_REFUSED, .session = in->session, .epoch = 7};
    m.u.refused = (pst_msg_refused_t){(uint16_t)e, pst_view_str(pst_err_text(e))};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_msg_encode(&m, &b);
    zmq_send(f->socket, id.p, id.n, ZMQ_SNDMORE);
    zmq_send(f->socket, b.p, b.n, 0);
    pst_buf_release(&b);
}

static void on_hello(fake_front_t *f, pst_view_t id, const pst_msg_t *m)
{
    f->counts.hellos++;
    if (strikes(f, FAKE_VERSION)) {
        refuse(f, id, m, PST_E_VERSION);
        return;
    }
    f->session = (session_t){.nonce = m->session, .seq_in = 1, .id_n = id.n};
    memcpy(f->session.id, id.p, id.n);
    welcome(f);
}

static void on_message(fake_front_t *f, const pst_msg_t *m)
{
    switch ((pst_msg_type_t)m->type) {
    case PST_MSG_ROUTE: on_route(f, &m->u.route); break;
    case PST_MSG_OPEN: on_open(f, &m->u.open); break;
    case PST_MSG_PACK: on_pack(f, &m->u.pack); break;
    case PST_MSG_COMMIT: on_commit(f, &m->u.commit); break;
    case PST_MSG_ABORT: on_abort(f, &m->u.batch_req); break;
    case PST_MSG_STATUS: on_status(f, &m->u.batch_req); break;
    case PST_MSG_LIST: on_list(f, &m->u.list); break;
    case PST_MSG_FETCH: on_fetch(f, &m->u.fetch); break;
    case PST_MSG_GET: on_get(f, &m->u.get); break;
    case PST_MSG_TOP: on_top(f, &m->u.top); break;
    case PST_MSG_CALL: on_call(f, &m->u.call); break;
    case PST_MSG_CANCEL: on_cancel(f, &m->u.batch_req); break;
    case PST_MSG_DELETE: done(f, m->u.batch_req.req, PST_E_STATE, &m->u.batch_req.batch, false); break;
    case PST_MSG_HELLO: case PST_MSG_WELCOME: case PST_MSG_PING: case PST_MSG_BYE: case PST_MSG_REFUSED:
    case PST_MSG_DONE: case PST_MSG_BATCH: case PST_MSG_BATCHES: case PST_MSG_RESULTS: case PST_MSG_JOB:
    case PST_MSG_CLUSTER: case PST_MSG_CAPACITY: case PST_MSG_OUTCOMES: case PST_MSG_TASKS:
    case PST_MSG_REVOKE: case PST_MSG_ACK: case PST_MSG_PIECE: case PST_MSG_PIECES: break;
    }
}

static bool is_upload(const pst_msg_t *m)
{
    return m->type == PST_MSG_OPEN || m->type == PST_MSG_PACK || m->type == PST_MSG_COMMIT || m->type == PST_MSG_ABORT;
}

static void take(fake_front_t *f, const pst_msg_t *m)
{
    if (!is_upload(m) && strikes(f, FAKE_LOADING))
        done(f, m->u.batch_req.req, PST_E_LOADING, NULL, false);
    else
        on_message(f, m);
}

static void take_held(fake_front_t *f)
{
    while (f->held_n > 0) {
        pst_msg_t m;
        pst_blob_t *b = f->held[--f->held_n];
        PST_ASSERT(pst_msg_decode(pst_blob_view(b), &f->arena, &m) == PST_OK);
        take(f, &m);
        pst_blob_unref(&b);
    }
}

static void hold(fake_front_t *f, pst_view_t frame)
{
    pst_grow(f->held, f->held_n, f->held_cap);
    f->held[f->held_n++] = pst_blob_new(frame.p, frame.n);
    if (atomic_load(&f->fault[FAKE_HOLD]) == 0)
        take_held(f);
}

static void on_frame(fake_front_t *f, pst_view_t id, pst_view_t frame)
{
    pst_msg_t m;
    pst_arena_clear(&f->arena);
    PST_ASSERT(pst_msg_decode(frame, &f->arena, &m) == PST_OK);
    if (m.type == PST_MSG_HELLO) {
        on_hello(f, id, &m);
        return;
    }
    session_t *s = &f->session;
    bool ours = m.session == s->nonce && s->nonce;
    if (!ours || m.seq != s->seq_in || (m.type != PST_MSG_PING && strikes(f, FAKE_FORGET))) {
        if (ours)
            s->nonce = 0;
        refuse(f, id, &m, PST_E_NO_SESSION);
        return;
    }
    s->seq_in++;
    if (m.type != PST_MSG_PING && strikes(f, FAKE_SWALLOW))
        s->mute = true;
    if (s->mute || m.type == PST_MSG_PING)
        return;
    if (strikes(f, FAKE_HOLD))
        hold(f, frame);
    else
        take(f, &m);
}

static void receive(fake_front_t *f)
{
    zmq_msg_t id, frame;
    zmq_msg_init(&id);
    zmq_msg_init(&frame);
    while (zmq_msg_recv(&id, f->socket, ZMQ_DONTWAIT) >= 0) {
        PST_ASSERT(zmq_msg_recv(&frame, f->socket, 0) >= 0);
        pthread_mutex_lock(&f->lock);
        on_frame(f, pst_view(zmq_msg_data(&id), zmq_msg_size(&id)),
                 pst_view(zmq_msg_data(&frame), zmq_msg_size(&frame)));
        pthread_mutex_unlock(&f->lock);
    }
    zmq_msg_close(&id);
    zmq_msg_close(&frame);
}

static void *serve(void *arg)
{
    fake_front_t *f = arg;
    unsigned turns = 0;
    while (!atomic_load(&f->stop)) {
        zmq_pollitem_t item = {.socket = f->socket, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, POLL_MS);
        receive(f);
        pst_msg_t ping = {.type = PST_MSG_PING};
        if (f->session.nonce && ++turns % (HEARTBEAT_MS / POLL_MS) == 0)
            post(f, &ping);
    }
    return NULL;
}

fake_front_t *fake_front_start(void)
{
    fake_front_t *f = pst_calloc(1, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pst_arena_init(&f->arena, 0);
    f->ctx = zmq_ctx_new();
    f->socket = zmq_socket(f->ctx, ZMQ_ROUTER);
    int high_water = HIGH_WATER;
    PST_ASSERT(zmq_setsockopt(f->socket, ZMQ_SNDHWM, &high_water, sizeof high_water) == 0);
    PST_ASSERT(zmq_bind(f->socket, "tcp://127.0.0.1:*") == 0);
    size_t n = sizeof f->address;
    PST_ASSERT(zmq_getsockopt(f->socket, ZMQ_LAST_ENDPOINT, f->address, &n) == 0);
    PST_ASSERT(pthread_create(&f->thread, NULL, serve, f) == 0);
    return f;
}

static void free_batch(batch_t *b)
{
    for (uint32_t i = 0; i < b->packs; i++) {
        pst_blob_unref(&b->pack[i].headers);
        pst_blob_unref(&b->pack[i].bodies);
    }
    free(b->pack);
}

void fake_front_stop(fake_front_t **pf)
{
    fake_front_t *f = pst_take(pf);
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    int linger = 0;
    zmq_setsockopt(f->socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close(f->socket);
    zmq_ctx_term(f->ctx);
    for (unsigned i = 0; i < f->batches; i++)
        free_batch(&f->batch[i]);
    while (f->held_n > 0)
        pst_blob_unref(&f->held[--f->held_n]);
    free(f->held);
    pst_arena_release(&f->arena);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

const char *fake_front_address(const fake_front_t *f)
{
    return f->address;
}

void fake_front_fault(fake_front_t *f, fake_fault_t fault, unsigned n)
{
    atomic_store(&f->fault[fault], n);
}

fake_counts_t fake_front_counts(fake_front_t *f)
{
    pthread_mutex_lock(&f->lock);
    fake_counts_t c = f->counts;
    pthread_mutex_unlock(&f->lock);
    return c;
}
