/* fake_broker.c - a broker that only a worker can see: it starts penstock-worker, hands it generated jobs,
 * misbehaves as a scenario asks, and holds the worker to its promises.  Exit code 0: all of them kept.
 *
 *   plain   every job ends in one outcome; SIGTERM ends the worker with BYE and exit code 0
 *   faults  the same with sessions refused, silent, with a gap, with lost ACKs, with a broker that restarts,
 *           and with packs said to be held that are not: still one outcome a job, and no call made twice
 *   revoke  half of the jobs are revoked while they run: no outcome of those, one of each other
 *   drain   SIGTERM with runs queued: each comes back DONE or RETURNED, and none is lost
 *   reload  SIGHUP: the worker offers what the new configuration says
 *   stream  jobs are asked for as streams: their pieces come in their order, before the outcome, and make the answer;
 *           one that is spoilt in the middle is final, one that is revoked says nothing more
 *   lost    the session is lost in the middle of streams: they end for good, and are not begun again
 *   limits  the simulated provider has limits, and the worker repeats what its headers say of them
 *
 * With --sim PROGRAM the provider is the simulated one, over HTTP, with --fault SHARE of its answers spoilt in
 * each of its ways; what the worker says may be tried again is then dispatched again.  With --tls FOLDER, where its
 * certificate is put, it is over HTTP/2, with --http1 not.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>
#include <zmq.h>

#include "base/json.h"
#include "proc/clock.h"
#include "wire/codec.h"

#define HEARTBEAT_MS 40
#define LOST_MS 250        /* where sessions are meant to be lost */
#define CALM_LOST_MS 20000 /* elsewhere: a machine that stalls must not make a fault of its own */
#define STEP_MS 5
#define SENDS_MAX 256 /* jobs of one TASKS message */
/* A minute, in `limits`: more than is used. */
#define LIMIT_REQUESTS 600000
#define LIMIT_TOKENS 6000000
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

typedef enum fault { NO_FAULT, REFUSE, SILENCE, GAP, LOST_ACK, RESTART, WRONG_PACK, FAULTS } fault_t;
static const char *const fault_name[] = {"none", "refuse", "silence", "gap", "lost_ack", "restart", "wrong_pack"};

typedef enum state { QUEUED, OUT, ENDED, REVOKED } state_t;

typedef struct job {
    state_t state;
    uint16_t dispatch;
    uint32_t done, returned, retried;
    pst_buf_t text;     /* of its pieces, with those scenarios that stream */
    uint32_t pieces;
    uint8_t verdict, cause;
} job_t;

typedef struct pack {
    pst_buf_t headers, bodies;
    uint32_t first, jobs;
    bool sent; /* the session holds it */
} pack_t;

/* What a job of a scenario that streams asks for, in turn: marks for the simulated provider, and what becomes of it. */
static const struct {
    const char *mark;
    uint8_t verdict, cause;
} asked[] = {
    {"", PST_VERDICT_DONE, PST_CAUSE_NONE},
    {"[[cutmid]]", PST_VERDICT_FINAL, PST_CAUSE_CONNECTION},
    {"[[badevent]]", PST_VERDICT_FINAL, PST_CAUSE_BAD_ANSWER},
    {"[[errorevent]]", PST_VERDICT_FINAL, PST_CAUSE_SERVER},
    {"[[noend]]", PST_VERDICT_FINAL, PST_CAUSE_BAD_ANSWER},
    {"[[500]]", PST_VERDICT_RETRY, PST_CAUSE_SERVER},
    {"[[garbage]]", PST_VERDICT_RETRY, PST_CAUSE_BAD_ANSWER},
    {"[[tool]]", PST_VERDICT_DONE, PST_CAUSE_NONE},
};

typedef struct options {
    const char *worker, *config, *provider, *model, *scenario, *sim, *fault, *latency_ms, *tls;
    uint32_t jobs, pack_jobs, prompt_bytes, concurrency, every, over;
    bool stats, streams, http1;
} options_t;

typedef struct broker {
    options_t o;
    void *zmq, *router;
    char address[128];
    pid_t worker;
    pst_id_t batch;
    job_t *job;
    pack_t *pack;
    uint32_t packs;
    uint32_t next;         /* where to look for a queued job */
    uint32_t out, ended;
    /* the session */
    bool up;
    char id[64];
    size_t id_n;
    uint64_t session, epoch, seq, expect;
    uint32_t capacity;     /* offered for o.provider */
    pst_ns_t spoke;
    pst_ns_t deaf_until;   /* SILENCE */
    /* OUTCOMES seen: hash of each by its number */
    uint64_t *seen;
    uint64_t seen_n;
    uint64_t messages, repeats, sessions, outcomes, body_bytes, blob_bytes;
    uint32_t since_fault, faults;
    uint64_t said[PST_RATE_COUNT]; /* reports of limits, by rate */
    bool lose_acks;
    pst_ns_t fault_at;
    bool bye;
    pst_arena_t arena;
    pst_buf_t frame, text, packed;
    pst_compressor_t *compressor;
    pst_decompressor_t *decompressor;
} broker_t;

_Noreturn static void fail(const char *fmt, ...) PST_PRINTF(1, 2);
_Noreturn static void fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("fake_broker: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

/* Children must not outlive the test. */
static pid_t child, sim;
static void kill_children(void)
{
    if (child > 0)
        kill(child, SIGKILL);
    if (sim > 0)
        kill(sim, SIGKILL);
}

/* ---- packs ------------------------------------------------------------------------------------------------ */

static const char *mark_of(const broker_t *b, uint32_t index)
{
    return strcmp(b->o.scenario, "stream") == 0 ? asked[index % PST_COUNT(asked)].mark : "";
}

static void put_body(const broker_t *b, pst_buf_t *text, uint32_t index)
{
    pst_buf_printf(text, "{\"model\":\"%s\"%s,\"messages\":[{\"role\":\"user\",\"content\":\"%sjob %08u ", b->o.model,
                   b->o.streams ? ",\"stream\":true" : "", b->o.streams && b->o.sim ? mark_of(b, index) : "", index);
    for (uint32_t i = 0; i < b->o.prompt_bytes; i += 16)
        pst_buf_printf(text, "words of %06u ", (index * 2654435761u + i) % 1000000);
    pst_buf_puts(text, "\"}],\"max_tokens\":16}");
}

static void make_pack(broker_t *b, uint32_t at)
{
    pack_t *k = &b->pack[at];
    k->first = at * b->o.pack_jobs;
    k->jobs = PST_MIN(b->o.pack_jobs, b->o.jobs - k->first);
    pst_job_header_t *jobs = pst_calloc(k->jobs, sizeof *jobs);
    char(*names)[16] = pst_calloc(k->jobs, sizeof *names);
    pst_buf_t text, route;
    pst_buf_init(&text, 0);
    pst_buf_init(&route, 0);
    for (uint32_t i = 0; i < k->jobs; i++) {
        size_t before = text.n;
        put_body(b, &text, k->first + i);
        snprintf(names[i], sizeof names[i], "r-%u", k->first + i);
        jobs[i] = (pst_job_header_t){.index = k->first + i,
                                     .custom_id = pst_view_str(names[i]),
                                     .body_bytes = (uint32_t)(text.n - before)};
    }
    pst_view_t model = pst_view_str(b->o.model);
    pst_route_t r = {.models = {&model, 1}, .allow_fallbacks = true, .require_parameters = true,
                     .max_price_prompt = -1, .max_price_completion = -1, .max_price_request = -1};
    pst_route_encode(&r, &route);
    pst_codec_t codec;
    pst_view_t compressed = pst_compress(b->compressor, pst_buf_view(&text), k->jobs, &b->packed, &codec);
    pst_pack_headers_t h = {.url = PST_URL_CHAT, .route = pst_buf_view(&route), .codec = (uint8_t)codec,
                            .text_bytes = (uint32_t)text.n, .jobs = jobs, .jobs_n = k->jobs};
    pst_buf_init(&k->headers, 0);
    pst_pack_headers_encode(&h, &k->headers);
    pst_buf_init(&k->bodies, 0);
    pst_buf_putv(&k->bodies, compressed);
    pst_buf_release(&text);
    pst_buf_release(&route);
    free(names);
    free(jobs);
}

static void make_packs(broker_t *b)
{
    b->packs = (b->o.jobs + b->o.pack_jobs - 1) / b->o.pack_jobs;
    b->pack = pst_calloc(b->packs, sizeof *b->pack);
    b->job = pst_calloc(b->o.jobs, sizeof *b->job);
    for (uint32_t i = 0; i < b->packs; i++)
        make_pack(b, i);
}

/* ---- sending ---------------------------------------------------------------------------------------------- */

static void send_msg(broker_t *b, pst_msg_t *m)
{
    m->version = PST_PROTOCOL_VERSION;
    m->session = b->session;
    m->epoch = b->epoch;
    m->seq = b->seq++;
    pst_buf_clear(&b->frame);
    pst_msg_encode(m, &b->frame);
    if (b->frame.failed)
        fail("a frame does not encode");
    /* A peer that has just reconnected may be unknown for a moment: as with a real link, the message is lost. */
    (void)zmq_send(b->router, b->id, b->id_n, ZMQ_SNDMORE);
    (void)zmq_send(b->router, b->frame.p, b->frame.n, 0);
    b->spoke = pst_clock_mono();
}

static void forget_session(broker_t *b)
{
    b->up = false;
    for (uint32_t i = 0; i < b->packs; i++)
        b->pack[i].sent = false;
}

static void refuse(broker_t *b, uint64_t session, pst_err_t e)
{
    pst_msg_t m = {.type = PST_MSG_REFUSED, .u.refused = {.err = (uint16_t)e}};
    uint64_t own = b->session;
    b->session = session;
    b->seq = 0;
    send_msg(b, &m);
    b->session = own;
}

static void ack(broker_t *b, uint64_t number)
{
    pst_msg_t m = {.type = PST_MSG_ACK, .u.ack = {number}};
    send_msg(b, &m);
}

static void set_group(broker_t *b, uint32_t at, pst_task_group_t *g)
{
    pack_t *k = &b->pack[at];
    *g = (pst_task_group_t){.batch = b->batch, .segment = at / 64, .pack = at,
                            .endpoint = {pst_view_str(b->o.provider), pst_view_str(b->o.model)},
                            .model = pst_view_str(b->o.model),
                            .live = b->o.streams ? PST_LIVE_STREAM | PST_LIVE_UNSTORED : 0};
    if (!k->sent) {
        g->headers = pst_buf_view(&k->headers);
        g->bodies = pst_buf_view(&k->bodies);
    }
    k->sent = true;
}

static uint32_t limit_of(const broker_t *b)
{
    return b->capacity * b->o.over;
}

/* Hands out queued jobs in input order, as many as the worker offers room for. */
static bool send_tasks(broker_t *b)
{
    static pst_task_slot_t slot[SENDS_MAX];
    static pst_task_group_t group[SENDS_MAX];
    uint32_t slots = 0, groups = 0, at = UINT32_MAX;
    for (; b->next < b->o.jobs && slots < SENDS_MAX && b->out < limit_of(b); b->next++) {
        job_t *j = &b->job[b->next];
        if (j->state != QUEUED)
            continue;
        if (at != b->next / b->o.pack_jobs) {
            at = b->next / b->o.pack_jobs;
            set_group(b, at, &group[groups]);
            group[groups++].slots = &slot[slots];
        }
        slot[slots++] = (pst_task_slot_t){(uint16_t)(b->next - b->pack[at].first), ++j->dispatch};
        group[groups - 1].slots_n++;
        j->state = OUT;
        b->out++;
        if (b->next == b->pack[at].first + b->pack[at].jobs - 1) {
            group[groups - 1].last = true;
            b->pack[at].sent = false;
        }
    }
    if (slots == 0)
        return false;
    pst_msg_t m = {.type = PST_MSG_TASKS, .u.tasks = {group, groups}};
    send_msg(b, &m);
    return true;
}

/* ---- receiving -------------------------------------------------------------------------------------------- */

static job_t *job_at(broker_t *b, const pst_id_t *batch, uint32_t segment, uint32_t pack, uint16_t slot)
{
    if (!pst_id_eq(batch, &b->batch) || pack >= b->packs || segment != pack / 64 || slot >= b->pack[pack].jobs)
        fail("the worker speaks of a job that does not exist");
    return &b->job[b->pack[pack].first + slot];
}

static void set_capacity(broker_t *b, const pst_pool_capacity_t *pools, uint32_t n)
{
    b->capacity = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (pst_view_eqs(pools[i].provider, b->o.provider))
            b->capacity = pools[i].jobs;
    }
}

/* What the worker does not say it runs is queued again. */
static void on_hello(broker_t *b, const pst_msg_t *m)
{
    const pst_msg_hello_t *h = &m->u.hello;
    forget_session(b);
    b->up = true;
    b->sessions++;
    b->session = m->session;
    b->seq = 0;
    b->expect = 1;
    set_capacity(b, h->pools, h->pools_n);
    bool *runs = pst_calloc(b->o.jobs, sizeof *runs);
    for (uint32_t i = 0; i < h->running_n; i++) {
        const pst_task_ref_t *r = &h->running[i];
        job_t *j = job_at(b, &r->batch, r->segment, r->pack, r->slot);
        if (j->state == QUEUED)
            fail("the worker runs job %td, which it was not given", j - b->job);
        runs[j - b->job] = true;
    }
    b->out = 0;
    b->next = 0;
    for (uint32_t i = 0; i < b->o.jobs; i++) {
        if (b->job[i].state == OUT && !runs[i])
            b->job[i].state = QUEUED;
        b->out += b->job[i].state == OUT;
    }
    free(runs);
    pst_msg_t w = {.type = PST_MSG_WELCOME, .u.welcome = {.heartbeat_ms = HEARTBEAT_MS, .lost_ms = b->o.every ? LOST_MS : CALM_LOST_MS}};
    send_msg(b, &w);
}

/* Equal numbers must have equal contents, whatever the session.  True the first time. */
static bool first_sight(broker_t *b, const pst_msg_t *m)
{
    pst_msg_t bare = *m;
    bare.session = bare.epoch = bare.seq = 0;
    pst_buf_clear(&b->frame);
    pst_msg_encode(&bare, &b->frame);
    uint64_t hash = XXH3_64bits(b->frame.p, b->frame.n) | 1;
    uint64_t number = m->u.outcomes.number;
    if (number == 0 || number > 10 * (uint64_t)b->o.jobs + 100)
        fail("OUTCOMES number %llu", (unsigned long long)number);
    if (number >= b->seen_n) {
        uint64_t n = 2 * number + 64;
        b->seen = pst_realloc(b->seen, n * sizeof *b->seen);
        memset(b->seen + b->seen_n, 0, (n - b->seen_n) * sizeof *b->seen);
        b->seen_n = n;
    }
    if (b->seen[number] && b->seen[number] != hash)
        fail("OUTCOMES %llu came with other contents", (unsigned long long)number);
    bool first = b->seen[number] == 0;
    b->seen[number] = hash;
    return first;
}

static void open_bodies(broker_t *b, const pst_result_blob_t *blob)
{
    pst_buf_clear(&b->text);
    char *p = pst_buf_reserve(&b->text, PST_MAX(blob->text_bytes, 1u));
    b->text.n = blob->text_bytes;
    b->blob_bytes += blob->bytes.n;
    if (pst_decompress(b->decompressor, blob->codec, blob->bytes, p, blob->text_bytes) != PST_OK)
        fail("a blob does not decompress");
}

static void check_done(broker_t *b, const pst_outcome_t *o, uint32_t index)
{
    char want[32];
    int n = snprintf(want, sizeof want, "job %08u", index);
    const char *body = b->text.p + o->body_offset;
    if (o->index != index)
        fail("job %u came as index %u", index, o->index);
    if (o->http_status != 200 || o->body_bytes == 0)
        fail("job %u is DONE with status %u and %u bytes", index, o->http_status, o->body_bytes);
    if (strcmp(b->o.provider, "echo") == 0 && !memmem(body, o->body_bytes, want, (size_t)n))
        fail("job %u has another one's answer: %.*s", index, (int)o->body_bytes, body);
}

static void on_outcome(broker_t *b, const pst_outcome_group_t *g, const pst_outcome_t *o)
{
    job_t *j = job_at(b, &g->batch, g->segment, o->pack, o->slot);
    uint32_t index = (uint32_t)(j - b->job);
    if ((uint64_t)o->body_offset + o->body_bytes > b->text.n || o->endpoint >= g->endpoints_n)
        fail("job %u: an outcome beyond its blob or table", index);
    if (!pst_view_eqs(g->endpoints[o->endpoint].provider, b->o.provider))
        fail("job %u: of another provider", index);
    if (j->state == REVOKED && b->o.streams) {
        j->done++; /* it was on its way */
        return;
    }
    if (j->state == REVOKED)
        fail("job %u was revoked and has an outcome", index);
    if (j->state != OUT)
        fail("job %u has an outcome in state %d", index, (int)j->state);
    if (o->dispatch != j->dispatch)
        fail("job %u: dispatch %u came back as %u", index, j->dispatch, o->dispatch);
    b->out--;
    b->outcomes++;
    b->body_bytes += o->body_bytes;
    j->verdict = o->verdict;
    j->cause = o->cause;
    if (b->o.streams) {
        if (o->verdict == PST_VERDICT_DONE && o->body_bytes > 0)
            fail("job %u was told in pieces and has a body", index);
        if (j->pieces > 0 && o->verdict != PST_VERDICT_DONE && o->verdict != PST_VERDICT_FINAL)
            fail("job %u has told something, and verdict %u", index, o->verdict);
        j->done++;
        j->state = ENDED;
        b->ended++;
    } else if (o->verdict == PST_VERDICT_DONE) {
        check_done(b, o, index);
        j->done++;
        j->state = ENDED;
        b->ended++;
    } else if (o->verdict == PST_VERDICT_RETURNED || (b->o.sim && o->verdict == PST_VERDICT_RETRY)) {
        j->returned += o->verdict == PST_VERDICT_RETURNED;
        j->retried += o->verdict == PST_VERDICT_RETRY;
        if (o->verdict == PST_VERDICT_RETRY && o->cause == PST_CAUSE_NONE)
            fail("job %u is to be tried again, and no cause is given", index);
        j->state = QUEUED;
        b->next = PST_MIN(b->next, index);
    } else {
        fail("job %u: verdict %u, cause %u, status %u, \"%.*s\" %.*s", index, o->verdict, o->cause, o->http_status,
             (int)o->message.n, o->message.p, (int)PST_MIN(o->body_bytes, 300u), b->text.p + o->body_offset);
    }
}

static void on_limit(broker_t *b, const pst_limit_report_t *l)
{
    static const uint64_t limits[PST_RATE_COUNT] = {
        [PST_RATE_REQUESTS] = LIMIT_REQUESTS, [PST_RATE_TOKENS] = LIMIT_TOKENS};
    if (strcmp(b->o.scenario, "limits") != 0)
        fail("a limit is told that the provider did not speak of");
    if (l->limit != limits[l->rate] || l->remaining >= l->limit || l->reset_ms > 60000)
        fail("rate %u: %llu of %llu left, reset in %llu ms", l->rate, (unsigned long long)l->remaining,
             (unsigned long long)l->limit, (unsigned long long)l->reset_ms);
    b->said[l->rate]++;
}

static void on_outcomes(broker_t *b, const pst_msg_t *m)
{
    b->messages++;
    if (first_sight(b, m)) {
        for (uint32_t i = 0; i < m->u.outcomes.groups_n; i++) {
            const pst_outcome_group_t *g = &m->u.outcomes.groups[i];
            open_bodies(b, &g->blob);
            for (uint32_t k = 0; k < g->outcomes_n; k++)
                on_outcome(b, g, &g->outcomes[k]);
            for (uint32_t k = 0; k < g->limits_n; k++)
                on_limit(b, &g->limits[k]);
            b->since_fault += g->outcomes_n;
        }
    } else {
        b->repeats++;
    }
    if (!b->lose_acks)
        ack(b, m->u.outcomes.number);
}

static void on_pieces(broker_t *b, const pst_msg_pieces_t *m)
{
    for (uint32_t i = 0; i < m->pieces_n; i++) {
        const pst_piece_t *p = &m->pieces[i];
        job_t *j = job_at(b, &p->task.batch, p->task.segment, p->task.pack, p->task.slot);
        if (j->state == REVOKED)
            continue; /* it was on its way */
        if (!b->o.streams || j->state != OUT || p->task.dispatch != j->dispatch)
            fail("job %td has a piece in state %d", j - b->job, (int)j->state);
        if (p->number != j->pieces++)
            fail("job %td: piece %u is number %u", j - b->job, j->pieces - 1, p->number);
        if (p->bytes.n == 0 || p->bytes.p[p->bytes.n - 1] != '\n')
            fail("job %td: a piece is not whole lines", j - b->job);
        pst_buf_putv(&j->text, p->bytes);
    }
}

static void on_message(broker_t *b, const pst_msg_t *m)
{
    if (m->type == PST_MSG_HELLO) {
        on_hello(b, m);
        return;
    }
    if (!b->up || m->session != b->session || m->epoch != b->epoch) {
        refuse(b, m->session, PST_E_NO_SESSION);
        return;
    }
    if (m->seq != b->expect++)
        fail("the worker's message %llu has number %llu", (unsigned long long)b->expect - 1,
             (unsigned long long)m->seq);
    if (m->type == PST_MSG_OUTCOMES)
        on_outcomes(b, m);
    else if (m->type == PST_MSG_PIECES)
        on_pieces(b, &m->u.pieces);
    else if (m->type == PST_MSG_CAPACITY)
        set_capacity(b, m->u.capacity.pools, m->u.capacity.pools_n);
    else if (m->type == PST_MSG_BYE)
        b->bye = true;
    else if (m->type != PST_MSG_PING)
        fail("a worker does not send %s", pst_msg_name(m->type));
}

static void receive(broker_t *b)
{
    zmq_msg_t id, z;
    zmq_msg_init(&id);
    zmq_msg_init(&z);
    while (zmq_msg_recv(&id, b->router, ZMQ_DONTWAIT) >= 0) {
        if (zmq_msg_recv(&z, b->router, 0) < 0 || zmq_msg_more(&z))
            fail("a message is not of one frame");
        if (pst_clock_mono() < b->deaf_until)
            continue;
        b->id_n = PST_MIN(zmq_msg_size(&id), sizeof b->id);
        memcpy(b->id, zmq_msg_data(&id), b->id_n);
        pst_msg_t m;
        pst_arena_clear(&b->arena);
        if (pst_msg_decode(pst_view(zmq_msg_data(&z), zmq_msg_size(&z)), &b->arena, &m))
            fail("the worker's message does not decode");
        on_message(b, &m);
    }
    zmq_msg_close(&id);
    zmq_msg_close(&z);
}

/* ---- misbehaviour ----------------------------------------------------------------------------------------- */

static void bind_router(broker_t *b)
{
    b->router = zmq_socket(b->zmq, ZMQ_ROUTER);
    int one = 1, zero = 0;
    zmq_setsockopt(b->router, ZMQ_ROUTER_HANDOVER, &one, sizeof one);
    zmq_setsockopt(b->router, ZMQ_LINGER, &zero, sizeof zero);
    /* A socket just closed frees its address a moment later. */
    const char *address = b->address[0] ? b->address : "tcp://127.0.0.1:*";
    for (unsigned tries = 0; zmq_bind(b->router, address) != 0; tries++) {
        if (tries == 200)
            fail("bind %s: %s", address, zmq_strerror(errno));
        usleep(10000);
    }
    size_t n = sizeof b->address;
    zmq_getsockopt(b->router, ZMQ_LAST_ENDPOINT, b->address, &n);
}

static void wrong_pack(broker_t *b)
{
    pst_task_slot_t slot = {0, 1};
    pst_task_group_t g;
    set_group(b, 0, &g);
    g.pack = UINT32_MAX;
    g.headers = g.bodies = pst_view(NULL, 0);
    g.slots = &slot;
    g.slots_n = 1;
    pst_msg_t m = {.type = PST_MSG_TASKS, .u.tasks = {&g, 1}};
    send_msg(b, &m);
}

static void do_fault(broker_t *b, fault_t f)
{
    b->lose_acks = false;
    b->fault_at = pst_clock_mono();
    b->faults++;
    fprintf(stderr, "fake_broker: fault %s after %u jobs\n", fault_name[f], b->ended);
    switch (f) {
    case REFUSE:
        refuse(b, b->session, PST_E_NO_SESSION);
        forget_session(b);
        b->epoch++;
        break;
    case SILENCE:
        b->deaf_until = pst_clock_mono() + 2 * LOST_MS * PST_MS;
        forget_session(b);
        break;
    case GAP:
        b->seq++;
        break;
    case LOST_ACK:
        b->lose_acks = true;
        break;
    case RESTART:
        zmq_close(b->router);
        forget_session(b);
        b->epoch++;
        bind_router(b);
        break;
    case WRONG_PACK:
        wrong_pack(b);
        break;
    case NO_FAULT:
    case FAULTS:
        break;
    }
}

static void misbehave(broker_t *b)
{
    static fault_t next = REFUSE;
    if (!b->up)
        return;
    if (b->lose_acks && pst_ns_since(pst_clock_mono(), b->fault_at) > HEARTBEAT_MS * PST_MS) {
        do_fault(b, REFUSE); /* by now the worker's window is full; the ACKs stay lost */
        return;
    }
    if (b->lose_acks || b->since_fault < b->o.every)
        return;
    b->since_fault = 0;
    do_fault(b, next);
    next = next + 1 == FAULTS ? REFUSE : next + 1;
}

/* ---- the worker ------------------------------------------------------------------------------------------- */

static void start_worker(broker_t *b)
{
    char concurrency[16];
    snprintf(concurrency, sizeof concurrency, "%u", b->o.concurrency);
    const char *argv[] = {b->o.worker, "--broker", b->address, "--config", b->o.config, "--provider", b->o.provider,
                          b->o.concurrency ? "--concurrency" : NULL, concurrency, NULL};
    b->worker = child = fork();
    if (b->worker == 0) {
        execv(b->o.worker, (char *const *)argv);
        _exit(127);
    }
}

/* Starts the simulated provider and writes the configuration that leads to it. */
static void start_sim(broker_t *b)
{
    int out[2];
    unsigned port;
    if (pipe(out) != 0)
        fail("pipe: %s", strerror(errno));
    sim = fork();
    if (sim == 0) {
        const char *f = b->o.fault, *argv[32] = {
            b->o.sim, "--port", "0", "--latency-ms", b->o.latency_ms, "--fault-500", f, "--fault-cut", f,
            "--fault-cut-mid", f, "--fault-garbage", f, "--fault-empty", f};
        static const char *const limits[] = {"--rpm", TEXT(LIMIT_REQUESTS), "--burst", TEXT(LIMIT_REQUESTS),
                                             "--tpm", TEXT(LIMIT_TOKENS)};
        unsigned n = 0;
        while (argv[n])
            n++;
        for (unsigned i = 0; i < PST_COUNT(limits) && strcmp(b->o.scenario, "limits") == 0; i++)
            argv[n++] = limits[i];
        if (b->o.streams) {
            argv[n++] = "--stream-ms";
            argv[n++] = strcmp(b->o.scenario, "lost") == 0 ? "100" : "2";
        }
        if (b->o.tls) {
            argv[n++] = "--self-signed";
            argv[n++] = b->o.tls;
        }
        if (b->o.http1)
            argv[n++] = "--http1";
        dup2(out[1], STDOUT_FILENO);
        execv(b->o.sim, (char *const *)argv);
        _exit(127);
    }
    close(out[1]);
    FILE *line = fdopen(out[0], "r");
    FILE *config = fopen(b->o.config, "w");
    if (!line || !config || fscanf(line, "listening 127.0.0.1:%u", &port) != 1)
        fail("%s does not say where it listens", b->o.sim);
    fprintf(config, "providers: { %s: { api: openai, base_url: \"http%s://127.0.0.1:%u/v1\", api_key: k", b->o.provider,
            b->o.tls ? "s" : "", port);
    if (b->o.tls)
        fprintf(config, ", ca_file: \"%s/cert.pem\"", b->o.tls);
    fputs(" } }\n", config);
    fclose(config);
    fclose(line);
}

static void step(broker_t *b)
{
    zmq_pollitem_t item = {b->router, 0, ZMQ_POLLIN, 0};
    (void)zmq_poll(&item, 1, STEP_MS);
    receive(b);
    if (b->up && pst_ns_since(pst_clock_mono(), b->spoke) > HEARTBEAT_MS * PST_MS) {
        pst_msg_t m = {.type = PST_MSG_PING};
        send_msg(b, &m);
    }
}

/* Steps until the condition of the loop's head is met, but not for ever. */
static bool within(pst_ns_t start, unsigned seconds)
{
    if (pst_clock_mono() - start > seconds * PST_SEC)
        fail("nothing happens any more");
    return true;
}

static void run_jobs(broker_t *b, uint32_t jobs)
{
    pst_ns_t start = pst_clock_mono();
    uint32_t ended = 0;
    while (b->ended < jobs && within(start, 20)) {
        if (b->ended != ended)
            start = pst_clock_mono();
        ended = b->ended;
        while (b->up && send_tasks(b))
            ;
        step(b);
        if (b->o.every && b->ended < jobs) /* not behind the last: the worker is stopped then, with a session */
            misbehave(b);
    }
}

static struct rusage stop_worker(broker_t *b)
{
    struct rusage use;
    int status;
    pst_ns_t start = pst_clock_mono();
    kill(b->worker, SIGTERM);
    while (wait4(b->worker, &status, WNOHANG, &use) == 0 && within(start, 10))
        step(b);
    child = 0;
    receive(b);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("the worker ended with status %x", status);
    if (b->up && !b->bye)
        fail("the worker left without BYE");
    return use;
}

/* ---- scenarios -------------------------------------------------------------------------------------------- */

static void check_once(const broker_t *b)
{
    for (uint32_t i = 0; i < b->o.jobs; i++) {
        if (b->job[i].done != 1)
            fail("job %u has %u results", i, b->job[i].done);
    }
}

/* Were the faults asked for really met? */
static void check_faults(const broker_t *b)
{
    uint64_t retried = 0;
    for (uint32_t i = 0; i < b->o.jobs; i++)
        retried += b->job[i].retried;
    if (strcmp(b->o.fault, "0") != 0 && retried == 0)
        fail("no answer was spoilt: more jobs, please");
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void all_jobs(broker_t *b)
{
    pst_ns_t start = pst_clock_mono();
    run_jobs(b, b->o.jobs);
    double wall = (double)(pst_clock_mono() - start) / 1e9;
    struct rusage use = stop_worker(b);
    check_once(b);
    check_faults(b);
    if (b->o.every && b->faults < FAULTS)
        fail("only %u faults were tried: more jobs, please", b->faults);
    double cpu = seconds(use.ru_utime) + seconds(use.ru_stime);
    if (b->o.stats)
        printf("jobs=%u wall_s=%.3f jobs_per_s=%.0f worker_us_per_job=%.2f (user %.2f) rss_kb=%ld messages=%llu "
               "repeats=%llu sessions=%llu body_bytes=%llu blob_bytes=%llu\n",
               b->o.jobs, wall, b->o.jobs / wall, cpu * 1e6 / b->o.jobs,
               seconds(use.ru_utime) * 1e6 / b->o.jobs, use.ru_maxrss, (unsigned long long)b->messages,
               (unsigned long long)b->repeats, (unsigned long long)b->sessions,
               (unsigned long long)b->body_bytes, (unsigned long long)b->blob_bytes);
}

static void give_all(broker_t *b)
{
    pst_ns_t start = pst_clock_mono();
    while (b->out < b->o.jobs && within(start, 10)) {
        while (b->up && send_tasks(b))
            ;
        step(b);
    }
}

static void revoke_half(broker_t *b)
{
    give_all(b);
    pst_task_ref_t *refs = pst_calloc(b->o.jobs, sizeof *refs);
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->o.jobs; i += 2) {
        uint32_t at = i / b->o.pack_jobs;
        refs[n++] = (pst_task_ref_t){b->batch, at / 64, at, (uint16_t)(i - b->pack[at].first), b->job[i].dispatch};
        b->job[i].state = REVOKED;
        b->out--;
    }
    /* One that names an older dispatch must not be heeded. */
    refs[n] = (pst_task_ref_t){b->batch, 0, 0, 1, 0};
    pst_msg_t m = {.type = PST_MSG_REVOKE, .u.revoke = {refs, n + 1}};
    send_msg(b, &m);
    free(refs);
    run_jobs(b, b->o.jobs - n);
    stop_worker(b);
    for (uint32_t i = 0; i < b->o.jobs; i++) {
        if (b->job[i].done != i % 2)
            fail("job %u has %u results", i, b->job[i].done);
    }
}

static void drain(broker_t *b)
{
    give_all(b);
    /* The first outcome shows that the tasks have come: as many as may run are done, as many run, the rest waits. */
    for (pst_ns_t start = pst_clock_mono(); b->outcomes == 0 && within(start, 10);)
        step(b);
    stop_worker(b);
    uint32_t done = 0, returned = 0;
    for (uint32_t i = 0; i < b->o.jobs; i++) {
        if (b->job[i].done + b->job[i].returned != 1)
            fail("job %u: %u results, returned %u times", i, b->job[i].done, b->job[i].returned);
        done += b->job[i].done;
        returned += b->job[i].returned;
    }
    if (done == 0 || returned == 0)
        fail("%u done, %u returned: nothing was shown", done, returned);
    if (b->capacity != 0)
        fail("a draining worker offers room for %u", b->capacity);
}

static void wait_capacity(broker_t *b, uint32_t jobs)
{
    pst_ns_t start = pst_clock_mono();
    while ((!b->up || b->capacity != jobs) && within(start, 10))
        step(b);
}

static void write_config(const broker_t *b, const char *providers)
{
    FILE *f = fopen(b->o.config, "w");
    if (!f || fputs(providers, f) < 0 || fclose(f) != 0)
        fail("cannot write %s", b->o.config);
}

/* Writes the configuration itself. */
static void reload(broker_t *b)
{
    write_config(b, "providers: { echo: { api: echo, limits: { concurrency: 8 } } }\n");
    start_worker(b);
    wait_capacity(b, 8);
    write_config(b, "providers: { echo: { api: echo, limits: { concurrency: 12 } } }\n");
    kill(b->worker, SIGHUP);
    wait_capacity(b, 12);
    /* A bad one leaves the old, and the worker goes on. */
    write_config(b, "providers: { echo: { api: parrot } }\n");
    kill(b->worker, SIGHUP);
    run_jobs(b, b->o.jobs);
    if (b->capacity != 12)
        fail("a bad configuration changed the offer to %u", b->capacity);
    stop_worker(b);
    check_once(b);
}

static void limits(broker_t *b)
{
    all_jobs(b);
    if (!b->said[PST_RATE_REQUESTS] || !b->said[PST_RATE_TOKENS])
        fail("of requests was told %llu times, of tokens %llu times", (unsigned long long)b->said[PST_RATE_REQUESTS],
             (unsigned long long)b->said[PST_RATE_TOKENS]);
}

/* The texts of a job's chunks, joined. */
static void join(const job_t *j, pst_buf_t *ret)
{
    pst_json_t chunk;
    pst_json_init(&chunk);
    pst_buf_init(ret, 0);
    pst_view_t left = pst_buf_view(&j->text);
    while (left.n) {
        size_t n = (size_t)((const char *)memchr(left.p, '\n', left.n) - left.p);
        if (pst_json_parse(&chunk, pst_view(left.p, n), NULL))
            fail("a line of a piece is not JSON: %.*s", (int)n, left.p);
        uint32_t choice = pst_json_first(&chunk, pst_json_get(&chunk, 0, "choices"));
        pst_view_t text = pst_json_raw(&chunk, pst_json_path(&chunk, choice, "delta", "content", NULL));
        if (text.n > 2 && text.p[0] == '"')
            pst_buf_put(ret, text.p + 1, text.n - 2);
        left = pst_view(left.p + n + 1, left.n - n - 1);
    }
    pst_json_release(&chunk);
}

static void check_streamed(const broker_t *b, uint32_t index)
{
    const job_t *j = &b->job[index];
    const char *echo = b->o.sim ? "echo:" : "";
    pst_buf_t want, got;
    unsigned i = b->o.sim ? index % PST_COUNT(asked) : 0;
    /* A connection that is cut may take along all it had brought. */
    uint8_t verdict = asked[i].cause == PST_CAUSE_CONNECTION && j->pieces == 0 ? PST_VERDICT_RETRY : asked[i].verdict;
    if (j->verdict != verdict || j->cause != asked[i].cause)
        fail("job %u, %s: verdict %u, cause %u", index, asked[i].mark, j->verdict, j->cause);
    if (j->pieces == 0 ? j->verdict != PST_VERDICT_RETRY : j->verdict == PST_VERDICT_RETRY)
        fail("job %u, %s: %u pieces", index, asked[i].mark, j->pieces);
    join(j, &got);
    pst_buf_init(&want, 0);
    pst_buf_printf(&want, "%s%sjob %08u ", echo, b->o.sim ? asked[i].mark : "", index);
    size_t n = PST_MIN(got.n, want.n);
    if (n && memcmp(got.p, want.p, n) != 0)
        fail("job %u said: %.*s", index, (int)got.n, got.p);
    bool all = got.n >= b->o.prompt_bytes;
    if (all != (j->verdict == PST_VERDICT_DONE || strcmp(asked[i].mark, "[[noend]]") == 0) && j->pieces)
        fail("job %u, %s: said %zu bytes", index, asked[i].mark, got.n);
    pst_buf_release(&want);
    pst_buf_release(&got);
}

/* Of those that are revoked some have told something. */
static uint32_t revoke_last(broker_t *b)
{
    pst_task_ref_t refs[16];
    uint32_t n = 0;
    for (pst_ns_t start = pst_clock_mono(); b->ended == 0 && within(start, 10);)
        step(b);
    for (uint32_t i = b->o.jobs; i-- > 0 && n < PST_COUNT(refs);) {
        uint32_t at = i / b->o.pack_jobs;
        if (b->job[i].state != OUT)
            continue;
        refs[n++] = (pst_task_ref_t){b->batch, at / 64, at, (uint16_t)(i - b->pack[at].first), b->job[i].dispatch};
        b->job[i].state = REVOKED;
        b->out--;
    }
    pst_msg_t m = {.type = PST_MSG_REVOKE, .u.revoke = {refs, n}};
    send_msg(b, &m);
    return n;
}

static void stream(broker_t *b)
{
    uint32_t revoked = 0, late = 0;
    if (b->o.sim) { /* what answers by itself has ended before all are given */
        give_all(b);
        revoked = revoke_last(b);
        if (revoked == 0)
            fail("all streams had ended when they were to be revoked");
    }
    run_jobs(b, b->o.jobs - revoked);
    stop_worker(b);
    for (uint32_t i = 0; i < b->o.jobs; i++) {
        if (b->job[i].state != REVOKED)
            check_streamed(b, i);
        else
            late += b->job[i].done;
    }
    if (late && late == revoked)
        fail("whatever was revoked had an outcome");
}

/* A broker knows of what it has begun to hear; the rest goes on. */
static void lose_streams(broker_t *b)
{
    uint32_t begun = 0, lost = 0;
    give_all(b);
    for (pst_ns_t start = pst_clock_mono(); begun < b->o.jobs / 2 && within(start, 10); begun = 0) {
        step(b);
        for (uint32_t i = 0; i < b->o.jobs; i++)
            begun += b->job[i].pieces > 0;
        if (begun >= b->o.jobs / 2)
            break;
    }
    do_fault(b, REFUSE);
    for (uint32_t i = 0; i < b->o.jobs; i++)
        b->job[i].returned = b->job[i].pieces;
    run_jobs(b, b->o.jobs);
    stop_worker(b);
    for (uint32_t i = 0; i < b->o.jobs; i++) {
        const job_t *j = &b->job[i];
        bool goes_on = j->verdict == PST_VERDICT_DONE && j->pieces > 0;
        bool is_lost = j->verdict == PST_VERDICT_FINAL && j->cause == PST_CAUSE_WORKER_LOST;
        lost += is_lost;
        /* Its first piece may have been on its way when the session ended. */
        if (!(is_lost || (goes_on && j->returned == 0)) || (j->returned && j->pieces != j->returned))
            fail("job %u had told %u pieces: verdict %u, cause %u, %u pieces", i, j->returned, j->verdict, j->cause,
                 j->pieces);
    }
    if (lost == 0)
        fail("no stream had begun");
}

/* ---- main ------------------------------------------------------------------------------------------------- */

static const struct option longs[] = {
    {"worker", required_argument, NULL, 'w'},   {"config", required_argument, NULL, 'c'},
    {"provider", required_argument, NULL, 'p'}, {"model", required_argument, NULL, 'm'},
    {"jobs", required_argument, NULL, 'j'},     {"pack-jobs", required_argument, NULL, 'k'},
    {"prompt-bytes", required_argument, NULL, 'b'}, {"concurrency", required_argument, NULL, 'n'},
    {"every", required_argument, NULL, 'e'},    {"over", required_argument, NULL, 'o'},
    {"sim", required_argument, NULL, 'S'},      {"fault", required_argument, NULL, 'f'},
    {"latency-ms", required_argument, NULL, 'l'},   {"stats", no_argument, NULL, 's'},
    {"tls", required_argument, NULL, 't'},      {"http1", no_argument, NULL, '1'},
    {NULL, 0, NULL, 0},
};

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static void parse(int argc, char **argv, options_t *o)
{
    *o = (options_t){.provider = "echo", .model = "m", .jobs = 2000, .pack_jobs = 64, .prompt_bytes = 200, .over = 1,
                     .fault = "0", .latency_ms = "5"};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'w': o->worker = optarg; break;
        case 'c': o->config = optarg; break;
        case 'p': o->provider = optarg; break;
        case 'm': o->model = optarg; break;
        case 'j': o->jobs = number(optarg); break;
        case 'k': o->pack_jobs = number(optarg); break;
        case 'b': o->prompt_bytes = number(optarg); break;
        case 'n': o->concurrency = number(optarg); break;
        case 'e': o->every = number(optarg); break;  /* outcomes between faults */
        case 'o': o->over = number(optarg); break;   /* times what the worker offers room for */
        case 'S': o->sim = optarg; break;
        case 'f': o->fault = optarg; break;
        case 'l': o->latency_ms = optarg; break;
        case 's': o->stats = true; break;
        case 't': o->tls = optarg; break;
        case '1': o->http1 = true; break;
        default: exit(2);
        }
    }
    o->scenario = optind < argc ? argv[optind] : "plain";
    o->streams = strcmp(o->scenario, "stream") == 0 || strcmp(o->scenario, "lost") == 0;
    if (!o->worker || !o->config || o->jobs == 0 || o->pack_jobs == 0 || o->pack_jobs > PST_PACK_JOBS_MAX)
        fail("--worker PROGRAM --config FILE [options] plain|faults|revoke|drain|reload|stream|lost|limits");
}

int main(int argc, char **argv)
{
    static broker_t b;
    parse(argc, argv, &b.o);
    b.zmq = zmq_ctx_new();
    b.epoch = 7;
    memset(b.batch.b, 0xb7, sizeof b.batch.b);
    pst_arena_init(&b.arena, 0);
    b.compressor = pst_compressor_new();
    b.decompressor = pst_decompressor_new();
    pst_buf_init(&b.frame, 0);
    pst_buf_init(&b.text, 0);
    bind_router(&b);
    make_packs(&b);
    atexit(kill_children);
    if (b.o.sim)
        start_sim(&b);
    if (strcmp(b.o.scenario, "reload") == 0) {
        reload(&b);
        return 0;
    }
    start_worker(&b);
    if (strcmp(b.o.scenario, "plain") == 0 || strcmp(b.o.scenario, "faults") == 0)
        all_jobs(&b);
    else if (strcmp(b.o.scenario, "limits") == 0)
        limits(&b);
    else if (strcmp(b.o.scenario, "stream") == 0)
        stream(&b);
    else if (strcmp(b.o.scenario, "lost") == 0)
        lose_streams(&b);
    else if (strcmp(b.o.scenario, "revoke") == 0)
        revoke_half(&b);
    else if (strcmp(b.o.scenario, "drain") == 0)
        drain(&b);
    else
        fail("no scenario \"%s\"", b.o.scenario);
    return 0;
}
