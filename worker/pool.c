#include "pool.h"

#include <stdio.h>

#include "base/heap.h"
#include "base/rng.h"
#include "proc/clock.h"
#include "proc/log.h"
#include "providers/stream.h"

/* What a built request or a read answer may take, a body of PST_LINE_BYTES_MAX escaped twice over included. */
#define CALL_ARENA_BYTES_MAX ((size_t)4 * PST_LINE_BYTES_MAX)
/* What is kept for the next call: tokens of the tape, bytes of a spare exchange. */
#define TAPE_KEEP 65536u
#define EXCHANGE_KEEP_BYTES ((size_t)16 << 10)
/* Runs started in one step: few enough that what was made of them is still in the cache when it is sent. */
#define STARTS_PER_STEP 32
#define RUNS_PER_SLAB 256
/* Between two words on calls of a provider that had no answer: an outage fails thousands. */
#define TROUBLE_TOLD_EVERY (10 * PST_SEC)
#define WAIT_MS_MIN 50u
#define WAIT_MS_MAX (25u * 3600u * 1000u)
/* Between two signs of life of an answer that has begun: providers send some every few seconds. */
#define STREAM_IDLE (120 * PST_SEC)
/* For a provider to end its answer when all has been said: a connection that ended in order can be used again. */
#define STREAM_END_GRACE PST_SEC
/* What is kept for lines on their way to a piece. */
#define LINES_KEEP_BYTES ((size_t)256 << 10)

/* An endpoint that runs of a pool speak of. */
typedef struct endpoint {
    pst_link_t link;
    uint32_t refs;
    uint32_t max_output, flags;
    pst_endpoint_name_t name; /* into the pool's name and `text` */
    char text[];
} endpoint_t;

typedef struct pool {
    char *name;
    const pst_provider_t *adapter;
    pst_http_target_t *target; /* NULL: answers by itself */
    uint32_t capacity;         /* 0: not served */
    pst_ns_t delay;            /* of an answer that it gives by itself */
    uint32_t answer_bytes;     /* of its text, at least */
    char *api_version;         /* of requests to it; NULL: none */
    pst_link_t queue, live;    /* pst_run_t.link */
    uint32_t queued, lives;
    pst_link_t endpoints;      /* endpoint_t.link */
    pst_ns_t told_at;          /* of calls without an answer; 0: never */
    uint32_t untold;           /* of them since */
} pool_t;

/* What one call needs beside its run until the answer is there, used again by the next. */
typedef struct exchange {
    pst_link_t link;
    pst_arena_t arena; /* of the request */
    pst_task_t task;
} exchange_t;

/* An answer that is told while it is made. */
typedef struct talk {
    pst_link_t paused;       /* in pst_pools.paused: its provider is not read */
    pst_run_t *run;
    pst_stream_t stream;
    pst_voice_t voice;
} talk_t;

struct pst_run {
    pst_link_t link;         /* pool's queue or live; free list */
    pst_heap_node_t due;     /* in pst_pools.timers while an echo waits out its delay, or a stream the next word */
    pst_pools_t *pools;
    pool_t *pool;
    pst_pack_t *pack;
    endpoint_t *endpoint;
    const pst_provider_t *adapter; /* live: what it began with, whatever a reload says meanwhile */
    exchange_t *exchange;    /* with `call` */
    pst_http_call_t *call;   /* NULL: none under way */
    talk_t *talk;            /* live; NULL: told as a whole */
    pst_ns_t since;          /* live */
    uint16_t slot, dispatch;
    bool streams;            /* wanted as it is made */
};

typedef struct slab {
    struct slab *next;
    pst_run_t run[RUNS_PER_SLAB];
} slab_t;

struct pst_pools {
    pst_http_t *http;
    pst_packs_t *packs;
    pst_outbox_t *outbox;
    pst_pieces_t *pieces;
    pool_t *pool[PST_WORKER_PROVIDERS_MAX];
    unsigned pools;
    slab_t *slabs;
    pst_link_t free_runs;
    pst_link_t free_exchanges;
    /* Of the request being made, or the answer being read. */
    pst_arena_t arena;
    pst_json_t tape;
    pst_buf_t lines;         /* of an answer on their way to its piece */
    pst_link_t paused;       /* talk_t.paused */
    pst_heap_t timers;       /* pst_run_t.due */
    pst_rng_t rng;
    pst_ns_t now;            /* of the step under way */
    uint64_t wall_ms;        /* the same on the wall's clock */
    uint32_t runs;
    bool draining, pressed;
    pst_pool_stats_t stats;
};

/* ---- memory ---------------------------------------------------------------------------------- */

static void add_slab(pst_pools_t *p)
{
    slab_t *s = pst_calloc(1, sizeof *s);
    s->next = p->slabs;
    p->slabs = s;
    for (unsigned i = 0; i < RUNS_PER_SLAB; i++) {
        pst_heap_node_init(&s->run[i].due);
        pst_link_before(&p->free_runs, &s->run[i].link);
    }
}

static endpoint_t *endpoint_of(pool_t *pool, const pst_task_group_t *g)
{
    pst_view_t model = g->endpoint.model;
    for (pst_link_t *l = pool->endpoints.next; l != &pool->endpoints; l = l->next) {
        endpoint_t *e = PST_CONTAINER(l, endpoint_t, link);
        if (e->max_output == g->max_output && e->flags == g->flags && pst_view_eq(e->name.model, model))
            return e;
    }
    endpoint_t *e = pst_alloc(sizeof *e + model.n);
    *e = (endpoint_t){.max_output = g->max_output, .flags = g->flags,
                      .name = {pst_view_str(pool->name), pst_view(e->text, model.n)}};
    if (model.n)
        memcpy(e->text, model.p, model.n);
    pst_link_before(&pool->endpoints, &e->link);
    return e;
}

/* Freed with the last run of it, so that a catalog that changes for ever does not fill memory. */
static void endpoint_unref(endpoint_t *e)
{
    if (--e->refs > 0)
        return;
    pst_link_remove(&e->link);
    free(e);
}

static exchange_t *take_exchange(pst_pools_t *p)
{
    if (!pst_link_empty(&p->free_exchanges)) {
        exchange_t *x = PST_CONTAINER(p->free_exchanges.next, exchange_t, link);
        pst_link_remove(&x->link);
        return x;
    }
    exchange_t *x = pst_calloc(1, sizeof *x);
    pst_link_init(&x->link);
    pst_arena_init(&x->arena, CALL_ARENA_BYTES_MAX);
    return x;
}

static void give_exchange(pst_pools_t *p, exchange_t *x)
{
    pst_arena_clear(&x->arena);
    if (x->arena.bytes > EXCHANGE_KEEP_BYTES)
        pst_arena_release(&x->arena);
    pst_link_after(&p->free_exchanges, &x->link);
}

static void begin_talk(pst_run_t *r)
{
    talk_t *t = pst_calloc(1, sizeof *t);
    pst_link_init(&t->paused);
    t->run = r;
    pst_stream_init(&t->stream);
    r->talk = t;
}

/* drop: lines that were not sent yet. */
static void end_talk(pst_run_t *r, bool drop)
{
    talk_t *t = pst_take(&r->talk);
    if (!t)
        return;
    pst_link_remove(&t->paused);
    pst_pieces_end(r->pools->pieces, &t->voice, drop);
    pst_stream_release(&t->stream);
    free(t);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Takes the run out of everything; its pack may be freed. */
static void free_run(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    if (r->call)
        pst_http_cancel(p->http, &r->call);
    end_talk(r, true);
    if (r->exchange)
        give_exchange(p, pst_take(&r->exchange));
    pst_heap_remove(&p->timers, &r->due);
    pst_link_remove(&r->link);
    endpoint_unref(r->endpoint);
    pst_pack_detach(r->pack, r->slot);
    r->pack = NULL;
    p->runs--;
    pst_link_after(&p->free_runs, &r->link);
}

static uint32_t count32(uint64_t n)
{
    return (uint32_t)PST_MIN(n, (uint64_t)UINT32_MAX);
}

/* At most n bytes, not cut inside a character. */
static pst_view_t cut_text(pst_view_t v, size_t n)
{
    if (v.n <= n)
        return v;
    while (n > 0 && ((unsigned char)v.p[n] & 0xc0) == 0x80)
        n--;
    return pst_view(v.p, n);
}

static uint64_t clamp_wait(const pst_reading_t *r)
{
    if (r->wait_ms == 0)
        return 0;
    return PST_MIN(PST_MAX(r->wait_ms, (uint64_t)WAIT_MS_MIN), (uint64_t)WAIT_MS_MAX);
}

static void put_outcome(pst_pools_t *p, const pst_pack_t *k, pst_task_slot_t s,
                        const pst_endpoint_name_t *endpoint, const pst_reading_t *r, uint64_t latency_us)
{
    const pst_job_header_t *job = &k->headers.jobs[s.slot];
    pst_outcome_t o = {
        .pack = k->pack,
        .slot = s.slot,
        .dispatch = s.dispatch,
        .index = job->index,
        .custom_id = job->custom_id,
        .verdict = (uint8_t)r->verdict,
        .cause = (uint8_t)r->cause,
        .http_status = (uint16_t)r->status,
        .url = k->headers.url,
        .whole_provider = r->whole_provider,
        .wait_ms = clamp_wait(r),
        .latency_us = latency_us,
        .input_tokens = count32(r->input_tokens),
        .cached_tokens = count32(r->cached_tokens),
        .output_tokens = count32(r->output_tokens),
        .request_id = cut_text(r->request_id, PST_REQUEST_ID_BYTES_MAX),
        .message = cut_text(r->message, PST_MESSAGE_BYTES_MAX),
    };
    p->stats.verdict[r->verdict]++;
    pst_outbox_add(p->outbox, &(pst_ending_t){
                                  .urgent = k->priority > PST_PRIORITY_NORMAL,
                                  .batch = &k->batch,
                                  .segment = k->segment,
                                  .endpoint = endpoint,
                                  .outcome = &o,
                                  .body = r->body,
                                  .limits = r->limits,
                                  .limits_n = r->limits_n,
                              });
}

static void leave_pool(pst_run_t *r, bool live)
{
    if (live)
        r->pool->lives--;
    else
        r->pool->queued--;
}

static void end_run(pst_run_t *r, bool live, const pst_reading_t *reading, uint64_t latency_us)
{
    pst_task_slot_t s = {r->slot, r->dispatch};
    put_outcome(r->pools, r->pack, s, &r->endpoint->name, reading, latency_us);
    leave_pool(r, live);
    end_talk(r, false);
    free_run(r);
}

static pst_task_ref_t ref_of(const pst_run_t *r)
{
    return (pst_task_ref_t){r->pack->batch, r->pack->segment, r->pack->pack, r->slot, r->dispatch};
}

/* Ends a run whose request cannot be made; why lives until then. */
static void refuse(pst_run_t *r, pst_view_t why)
{
    pst_reading_t reading = {
        .verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_INVALID_REQUEST, .message = why};
    end_run(r, true, &reading, 0);
}

/* Sends what was put into `lines`. */
static void send_lines(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    pst_task_ref_t ref = ref_of(r);
    pst_pieces_add(p->pieces, &r->talk->voice, &ref, pst_buf_view(&p->lines));
    if (p->lines.cap > LINES_KEEP_BYTES)
        pst_buf_release(&p->lines);
    pst_buf_clear(&p->lines);
}

/* Ends a run with what was made of its answer, in the arena. */
static void conclude(pst_run_t *r, const pst_reading_t *reading, uint64_t latency_us)
{
    pst_pools_t *p = r->pools;
    PST_ASSERT(reading->verdict >= PST_VERDICT_DONE && reading->verdict <= PST_VERDICT_PARK);
    end_run(r, true, reading, latency_us);
    pst_arena_clear(&p->arena);
    if (p->tape.cap > TAPE_KEEP)
        pst_json_release(&p->tape);
}

/* What cannot stream is told at once. */
static void tell_whole(pst_run_t *r, const pst_task_t *task, const pst_http_answer_t *answer, pst_reading_t *reading)
{
    pst_pools_t *p = r->pools;
    pst_task_t told = *task;
    told.tape = &p->tape; /* the body of what is answered here lay in it */
    pst_stream_begin(&r->talk->stream, r->adapter, &told);
    pst_stream_whole(&r->talk->stream, answer, &p->arena, &p->lines, reading);
    send_lines(r);
}

static void read_answer(pst_run_t *r, const pst_task_t *task, const pst_http_answer_t *answer, uint64_t latency_us)
{
    pst_pools_t *p = r->pools;
    pst_reading_t reading;
    memset(&reading, 0, sizeof reading);
    pst_provider_read(r->adapter, task, answer, &p->arena, &reading);
    if (reading.body.n > PST_RESULT_BODY_BYTES_MAX) {
        /* It grew in translation: as if the provider had sent so much. */
        pst_http_answer_t over = {.transport = PST_CAUSE_PAYLOAD_TOO_LARGE, .wall_ms = answer->wall_ms};
        memset(&reading, 0, sizeof reading);
        pst_provider_read(r->adapter, task, &over, &p->arena, &reading);
    }
    if (r->talk && reading.verdict == PST_VERDICT_DONE)
        tell_whole(r, task, answer, &reading);
    conclude(r, &reading, latency_us);
}

/* ---- answers that are told while they are made ------------------------------------------------ */

static void end_stream(pst_run_t *r, const pst_http_answer_t *answer, uint64_t latency_us)
{
    pst_pools_t *p = r->pools;
    pst_reading_t reading;
    pst_stream_end(&r->talk->stream, answer, &p->arena, &p->lines, &reading);
    send_lines(r);
    conclude(r, &reading, latency_us);
}

/* It has been silent for too long, or has said all and does not end. */
static void end_due_stream(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    pst_http_answer_t answer = {.status = 200, .wall_ms = p->wall_ms};
    if (!r->talk->stream.over)
        answer = (pst_http_answer_t){.transport = PST_CAUSE_TIMEOUT, .wall_ms = p->wall_ms};
    end_stream(r, &answer, pst_ns_since(p->now, r->since) / PST_US);
}

/* Its client is gone. */
static void end_lost_stream(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    pst_http_answer_t lost = {.transport = PST_CAUSE_CONNECTION, .wall_ms = p->wall_ms};
    pst_reading_t reading;
    pst_stream_end(&r->talk->stream, &lost, &p->arena, &p->lines, &reading);
    reading.cause = PST_CAUSE_WORKER_LOST;
    reading.message = PST_VIEW_LIT("the connection to the broker failed while the answer was made");
    conclude(r, &reading, pst_ns_since(p->now, r->since) / PST_US);
}

static pst_ns_t patience(const talk_t *t)
{
    return t->stream.over ? STREAM_END_GRACE : STREAM_IDLE;
}

/* Some of it came.  While the broker takes no more the next part is not read. */
static pst_http_part_t on_part(void *arg, const pst_http_answer_t *head, pst_view_t bytes)
{
    pst_run_t *r = arg;
    pst_pools_t *p = r->pools;
    talk_t *t = r->talk;
    pst_reading_t reading;
    if (!pst_stream_is(head))
        return PST_HTTP_KEEP;
    pst_ns_t now = pst_clock_mono();
    p->stats.received_bytes += bytes.n;
    pst_stream_state_t state = pst_stream_feed(&t->stream, head, bytes, &p->arena, &p->lines, &reading);
    send_lines(r);
    if (state == PST_STREAM_FAILED) {
        r->call = NULL;
        conclude(r, &reading, pst_ns_since(now, r->since) / PST_US);
        return PST_HTTP_CUT;
    }
    pst_heap_set(&p->timers, &r->due, pst_ns_add(now, patience(t)));
    if (pst_pieces_full(p->pieces) && pst_link_empty(&t->paused))
        pst_link_before(&p->paused, &t->paused);
    return PST_HTTP_TAKEN;
}

/* ---- starts ---------------------------------------------------------------------------------- */

static void prepare_stream(const pst_run_t *r, pst_task_t *task)
{
    const pst_json_t *j = task->body;
    task->stream = pst_provider_streams(r->adapter, task);
    task->usage_wanted = pst_json_is(j, pst_json_path(j, 0, "stream_options", "include_usage", NULL), PST_JSON_TRUE);
}

/* Parses the job's body; NULL, or why it cannot be sent. */
static const char *prepare(pst_run_t *r, pst_task_t *ret)
{
    pst_pools_t *p = r->pools;
    if (!r->pack->readable)
        return "the pack of this job does not decompress: submit it again";
    size_t at;
    if (pst_json_parse(&p->tape, pst_pack_body(r->pack, r->slot), &at) ||
        !pst_json_is(&p->tape, 0, PST_JSON_OBJECT))
        return "the body is not a JSON object";
    *ret = (pst_task_t){
        .url = (pst_url_t)r->pack->headers.url,
        .body = &p->tape,
        .endpoint = {r->endpoint->name.model, r->endpoint->max_output, r->endpoint->flags},
        .random = pst_rng_next(&p->rng),
        .wall_s = p->wall_ms / 1000,
        .api_version = pst_view_str(r->pool->api_version),
        .answer_bytes = r->pool->answer_bytes,
        .packed = pst_provider_packs((pst_url_t)r->pack->headers.url, &p->tape),
        .live = r->talk != NULL,
    };
    if (r->talk)
        prepare_stream(r, ret);
    return NULL;
}

static void answer_by_itself(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    pst_task_t task;
    const char *why = prepare(r, &task);
    if (why) {
        refuse(r, pst_view_str(why));
        return;
    }
    pst_http_answer_t answer = {.status = 200, .wall_ms = p->wall_ms};
    read_answer(r, &task, &answer, pst_ns_since(p->now, r->since) / PST_US);
}

static void tell_trouble(pst_pools_t *p, pool_t *pool, const pst_http_answer_t *answer)
{
    pool->untold++;
    if (pool->told_at && pst_ns_since(p->now, pool->told_at) < TROUBLE_TOLD_EVERY)
        return;
    pst_log(PST_LOG_WARN, "provider.no_answer", "provider=%s cause=%s calls=%u why=\"%.*s\"", pool->name,
            pst_cause_text(answer->transport), pool->untold, (int)answer->why.n, answer->why.p ? answer->why.p : "");
    pool->told_at = p->now;
    pool->untold = 0;
}

static void on_answer(void *arg, const pst_http_answer_t *answer, uint64_t latency_us)
{
    pst_run_t *r = arg;
    r->call = NULL;
    r->pools->stats.received_bytes += answer->body.n;
    if (answer->status == 0)
        tell_trouble(r->pools, r->pool, answer);
    const pst_task_t *task = &r->exchange->task;
    if (task->stream && (answer->status == 0 || pst_stream_is(answer)))
        end_stream(r, answer, latency_us);
    else
        read_answer(r, task, answer, latency_us);
}

static pst_http_call_t *start_call(pst_run_t *r, const pst_http_req_t *req)
{
    pst_http_t *http = r->pools->http;
    const pst_task_t *task = &r->exchange->task;
    if (!task->stream)
        return pst_http_start(http, r->pool->target, req, on_answer, r);
    pst_stream_begin(&r->talk->stream, r->adapter, task);
    return pst_http_stream(http, r->pool->target, req, on_part, on_answer, r);
}

/* The tape is the next call's as soon as the request is made. */
static pst_err_t build(pst_run_t *r, pst_http_req_t *ret, pst_view_t *ret_why)
{
    exchange_t *x = r->exchange;
    pst_err_t e = pst_provider_build(r->adapter, &x->task, &x->arena, ret, ret_why);
    x->task.body = NULL;
    x->task.tape = &r->pools->tape;
    return e;
}

static void call(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    r->exchange = take_exchange(p);
    const char *why = prepare(r, &r->exchange->task);
    if (why) {
        refuse(r, pst_view_str(why));
        return;
    }
    pst_http_req_t req;
    memset(&req, 0, sizeof req);
    pst_view_t refusal = PST_VIEW_LIT("the request cannot be put into this provider's words");
    pst_err_t e = build(r, &req, &refusal);
    if (e == PST_E_NOMEM)
        refusal = PST_VIEW_LIT("the request is too large for this provider's words");
    if (!e) {
        r->call = start_call(r, &req);
        if (!r->call)
            refusal = PST_VIEW_LIT("the upstream model's name cannot be put into a URL");
    }
    if (!r->call) {
        refuse(r, refusal);
        return;
    }
    p->stats.calls++;
    p->stats.sent_bytes += pst_http_req_bytes(&req);
}

static void start(pst_run_t *r)
{
    pst_pools_t *p = r->pools;
    pool_t *pool = r->pool;
    pst_link_remove(&r->link);
    pst_link_before(&pool->live, &r->link);
    pool->queued--;
    pool->lives++;
    r->since = p->now;
    r->adapter = pool->adapter;
    if (r->streams)
        begin_talk(r);
    unsigned url = r->pack->headers.url;
    if (url >= PST_URL_COUNT || !(pst_provider_urls(r->adapter) & 1u << url)) {
        const char *text = pst_url_text(url);
        char why[128];
        snprintf(why, sizeof why, "%s does not serve %s", r->adapter->name, text ? text : "this url");
        refuse(r, pst_view_str(why));
    } else if (!r->adapter->internal) {
        call(r);
    } else if (pool->delay == 0) {
        answer_by_itself(r);
    } else {
        pst_heap_set(&p->timers, &r->due, pst_ns_add(p->now, pool->delay));
    }
}

static bool may_start(const pst_pools_t *p, const pool_t *pool)
{
    return pool->queued > 0 && pool->lives < pool->capacity && !pst_outbox_full(p->outbox) &&
           (!pool->target || pst_http_target_ready(pool->target));
}

static void answer_due(pst_pools_t *p)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&p->timers)) && top->key <= p->now) {
        pst_run_t *r = PST_CONTAINER(top, pst_run_t, due);
        pst_heap_remove(&p->timers, top);
        if (r->call)
            end_due_stream(r);
        else
            answer_by_itself(r);
    }
}

/* Going on may bring more at once, and the end of that run. */
static void pace(pst_pools_t *p)
{
    pst_link_t *l = p->paused.next;
    while (l != &p->paused) {
        talk_t *t = PST_CONTAINER(l, talk_t, paused);
        bool full = pst_pieces_full(p->pieces);
        l = l->next;
        if (full && !t->stream.over) /* it is not the provider that is silent */
            pst_heap_remove(&p->timers, &t->run->due);
        if (!full) {
            pst_link_remove(&t->paused);
            pst_heap_set(&p->timers, &t->run->due, pst_ns_add(p->now, patience(t)));
        }
        pst_http_pause(p->http, t->run->call, full);
    }
}

bool pst_pools_held(const pst_pools_t *p)
{
    return !pst_link_empty(&p->paused) && !pst_pieces_full(p->pieces);
}

void pst_pools_step(pst_pools_t *p, pst_ns_t now)
{
    p->now = now;
    if (p->runs > 0)
        p->wall_ms = pst_clock_wall_ms();
    answer_due(p);
    pace(p);
    unsigned left = STARTS_PER_STEP;
    for (unsigned i = 0; i < p->pools; i++) {
        pool_t *pool = p->pool[i];
        for (; left > 0 && may_start(p, pool); left--)
            start(PST_CONTAINER(pool->queue.next, pst_run_t, link));
    }
}

pst_ns_t pst_pools_due(const pst_pools_t *p)
{
    for (unsigned i = 0; i < p->pools; i++) {
        if (may_start(p, p->pool[i]))
            return 0;
    }
    const pst_heap_node_t *top = pst_heap_top(&p->timers);
    return top ? top->key : PST_NEVER;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static pool_t *find_pool(const pst_pools_t *p, pst_view_t name)
{
    for (unsigned i = 0; i < p->pools; i++) {
        if (pst_view_eqs(name, p->pool[i]->name))
            return p->pool[i];
    }
    return NULL;
}

static uint8_t priority_of(const pst_link_t *l)
{
    return PST_CONTAINER(l, const pst_run_t, link)->pack->priority;
}

/* Behind those that are as urgent: nearly always at the end; else from the front, where the few more urgent stand. */
static void enqueue(pool_t *pool, pst_run_t *r)
{
    pst_link_t *before = &pool->queue;
    if (!pst_link_empty(&pool->queue) && priority_of(pool->queue.prev) < r->pack->priority) {
        before = pool->queue.next;
        while (priority_of(before) >= r->pack->priority)
            before = before->next;
    }
    pst_link_before(before, &r->link);
    pool->queued++;
}

static void queue_run(pst_pools_t *p, pool_t *pool, pst_pack_t *pack, endpoint_t *e, pst_task_slot_t s, bool streams)
{
    if (pst_link_empty(&p->free_runs))
        add_slab(p);
    pst_run_t *r = PST_CONTAINER(p->free_runs.next, pst_run_t, link);
    pst_link_remove(&r->link);
    r->pools = p;
    r->pool = pool;
    r->pack = pack;
    r->endpoint = e;
    r->slot = s.slot;
    r->dispatch = s.dispatch;
    r->streams = streams;
    e->refs++;
    pst_pack_attach(pack, s.slot, r);
    enqueue(pool, r);
    p->runs++;
    p->stats.runs++;
}

static const pst_reading_t returned = {.verdict = PST_VERDICT_RETURNED, .cause = PST_CAUSE_NONE};

pst_err_t pst_pools_take(pst_pools_t *p, const pst_task_group_t *g, pst_pack_t *pack)
{
    pool_t *pool = find_pool(p, g->endpoint.provider);
    bool serves = pool && pool->capacity > 0 && !p->draining && !pst_packs_over(p->packs);
    for (uint32_t i = 0; i < g->slots_n; i++) {
        pst_task_slot_t s = g->slots[i];
        if (s.slot >= pack->headers.jobs_n)
            return PST_E_MALFORMED;
        pst_run_t *r = pack->run[s.slot];
        if (r) {
            r->dispatch = s.dispatch; /* it runs already: the broker forgot, or asks again after a new session */
        } else if (!serves) {
            p->stats.refused++;
            put_outcome(p, pack, s, &g->endpoint, &returned, 0);
        } else if (p->runs >= PST_POOLS_RUNS_MAX) {
            return PST_E_FULL;
        } else {
            queue_run(p, pool, pack, endpoint_of(pool, g), s, g->live & PST_LIVE_STREAM);
        }
    }
    return PST_OK;
}

static bool is_live(const pst_run_t *r)
{
    return r->call || pst_heap_has(&r->due);
}

void pst_pools_revoke(pst_pools_t *p, const pst_task_ref_t *ref)
{
    pst_run_t *r = pst_packs_run(p->packs, ref);
    if (!r || r->dispatch != ref->dispatch)
        return;
    p->stats.revoked++;
    leave_pool(r, is_live(r));
    free_run(r);
}

static void return_queue(pool_t *pool)
{
    while (!pst_link_empty(&pool->queue))
        end_run(PST_CONTAINER(pool->queue.next, pst_run_t, link), false, &returned, 0);
}

void pst_pools_drain(pst_pools_t *p)
{
    p->draining = true;
    for (unsigned i = 0; i < p->pools; i++)
        return_queue(p->pool[i]);
}

void pst_pools_lost(pst_pools_t *p)
{
    for (unsigned i = 0; i < p->pools; i++) {
        pst_link_t *live = &p->pool[i]->live, *l = live->next;
        while (l != live) {
            pst_run_t *r = PST_CONTAINER(l, pst_run_t, link);
            l = l->next;
            if (r->talk && r->talk->voice.told)
                end_lost_stream(r);
        }
    }
    pst_pieces_lost(p->pieces);
}

static void cut_list(pst_link_t *list, bool live)
{
    while (!pst_link_empty(list)) {
        pst_run_t *r = PST_CONTAINER(list->next, pst_run_t, link);
        leave_pool(r, live);
        free_run(r);
    }
}

void pst_pools_cut(pst_pools_t *p)
{
    for (unsigned i = 0; i < p->pools; i++)
        cut_list(&p->pool[i]->live, true);
}

uint32_t pst_pools_runs(const pst_pools_t *p)
{
    return p->runs;
}

static uint32_t list_refs(const pst_link_t *list, pst_task_ref_t *ret, uint32_t max)
{
    uint32_t n = 0;
    for (const pst_link_t *l = list->next; l != list && n < max; l = l->next) {
        const pst_run_t *r = PST_CONTAINER(l, const pst_run_t, link);
        ret[n++] = ref_of(r);
    }
    return n;
}

uint32_t pst_pools_refs(const pst_pools_t *p, pst_task_ref_t *ret, uint32_t max)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < p->pools; i++) {
        n += list_refs(&p->pool[i]->live, ret + n, max - n);
        n += list_refs(&p->pool[i]->queue, ret + n, max - n);
    }
    return n;
}

uint32_t pst_pools_capacity(const pst_pools_t *p, pst_pool_capacity_t *ret)
{
    uint32_t left = PST_POOLS_RUNS_MAX;
    for (unsigned i = 0; i < p->pools; i++) {
        const pool_t *pool = p->pool[i];
        uint32_t jobs = p->draining ? 0 : PST_MIN(pool->capacity, left);
        if (p->pressed) /* one at least, or a pool would wait for as long as another is full of work */
            jobs = PST_MIN(jobs, PST_MAX(pool->queued + pool->lives, 1u));
        left -= jobs;
        ret[i] = (pst_pool_capacity_t){pst_view_str(pool->name), jobs};
    }
    return p->pools;
}

void pst_pools_press(pst_pools_t *p, bool pressed)
{
    p->pressed = pressed;
}

const pst_pool_stats_t *pst_pools_stats(const pst_pools_t *p)
{
    return &p->stats;
}

/* ---- configuration --------------------------------------------------------------------------- */

/* What a provider of the configuration will become. */
typedef struct plan {
    const pst_config_provider_t *provider;
    const pst_provider_t *adapter;
    pst_http_target_t *target;
} plan_t;

/* What requests to a provider carry that the configuration names by reference. */
typedef struct secrets {
    pst_secret_t key, proxy, value[PST_CONFIG_HEADERS_MAX];
} secrets_t;

static pst_err_t resolve(const pst_config_provider_t *c, secrets_t *s, pst_errbuf_t *eb)
{
    pst_err_t e = pst_config_key(c, &s->key, eb);
    if (!e && c->proxy_ref && *c->proxy_ref)
        e = pst_config_secret(c->proxy_ref, "proxy", &s->proxy, eb);
    for (uint32_t i = 0; i < c->headers_n && !e; i++)
        e = pst_config_header(&c->headers[i], &s->value[i], eb);
    return e;
}

static void release(secrets_t *s)
{
    pst_secret_release(&s->key);
    pst_secret_release(&s->proxy);
    for (unsigned i = 0; i < PST_CONFIG_HEADERS_MAX; i++)
        pst_secret_release(&s->value[i]);
}

static pst_http_target_t *make_target(pst_http_t *http, const pst_config_provider_t *c, pst_auth_t auth, const secrets_t *s)
{
    _Static_assert(PST_CONFIG_HEADERS_MAX <= PST_HTTP_TARGET_HEADERS_MAX, "headers");
    pst_http_header_t header[PST_CONFIG_HEADERS_MAX];
    for (uint32_t i = 0; i < c->headers_n; i++)
        header[i] = (pst_http_header_t){pst_view_str(c->headers[i].name), pst_view_str(s->value[i].text)};
    pst_http_target_opts_t o = {.base_url = c->base_url,
                                .ca_file = c->ca_file,
                                .proxy = c->proxy_ref && !*c->proxy_ref ? "" : s->proxy.text,
                                .auth = auth,
                                .key = &s->key,
                                .header = header,
                                .headers = c->headers_n,
                                .asks_for_packed = c->compressed_answers,
                                .timeout = c->timeout,
                                .idle_timeout = c->idle_timeout};
    return pst_http_target_new(http, &o);
}

static bool plan_provider(pst_http_t *http, const pst_config_provider_t *c, plan_t *ret)
{
    pst_errbuf_t eb = {""};
    const pst_provider_t *adapter = pst_provider_find(pst_view_str(c->api));
    if (!adapter) {
        pst_log(PST_LOG_WARN, "provider.unknown_api", "provider=%s api=%s", c->name, c->api);
        return false;
    }
    *ret = (plan_t){.provider = c, .adapter = adapter};
    if (adapter->internal)
        return true;
    secrets_t s = {0};
    pst_err_t e = resolve(c, &s, &eb);
    if (e)
        pst_log(PST_LOG_WARN, "provider.no_key", "provider=%s why=\"%s\"", c->name, eb.text);
    else
        ret->target = make_target(http, c, adapter->auth, &s);
    release(&s);
    return !e;
}

static bool chosen(const pst_pool_choice_t *choice, const char *name)
{
    for (unsigned i = 0; i < choice->providers_n; i++) {
        if (strcmp(choice->providers[i], name) == 0)
            return true;
    }
    return choice->providers_n == 0;
}

static unsigned plan_all(pst_http_t *http, const pst_config_t *c, const pst_pool_choice_t *choice, plan_t *plan)
{
    for (unsigned i = 0; i < choice->providers_n; i++) {
        if (pst_config_provider_find(c, pst_view_str(choice->providers[i])) < 0)
            pst_log(PST_LOG_WARN, "provider.not_configured", "provider=%s", choice->providers[i]);
    }
    unsigned n = 0;
    for (uint32_t i = 0; i < c->providers_n && n < PST_WORKER_PROVIDERS_MAX; i++) {
        if (chosen(choice, c->providers[i].name) && plan_provider(http, &c->providers[i], &plan[n]))
            n++;
    }
    return n;
}

static pool_t *add_pool(pst_pools_t *p, const char *name)
{
    pool_t *pool = pst_calloc(1, sizeof *pool);
    pool->name = pst_strdup_view(pst_view_str(name));
    pst_link_init(&pool->queue);
    pst_link_init(&pool->live);
    pst_link_init(&pool->endpoints);
    p->pool[p->pools++] = pool;
    return pool;
}

static void free_pool(pool_t *pool)
{
    pst_http_target_destroy(&pool->target);
    free(pool->api_version);
    free(pool->name);
    free(pool);
}

/* Pools without a provider any more go as soon as nothing runs in them. */
static void drop_unserved(pst_pools_t *p)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < p->pools; i++) {
        pool_t *pool = p->pool[i];
        if (pool->capacity == 0 && pool->queued + pool->lives == 0)
            free_pool(pool);
        else
            p->pool[kept++] = pool;
    }
    p->pools = kept;
}

static void serve(pst_pools_t *p, plan_t *plan, const pst_pool_choice_t *choice)
{
    const pst_config_provider_t *c = plan->provider;
    pool_t *pool = find_pool(p, pst_view_str(c->name));
    if (!pool && p->pools == PST_WORKER_PROVIDERS_MAX) {
        pst_log(PST_LOG_WARN, "provider.too_many", "provider=%s max=%d", c->name, PST_WORKER_PROVIDERS_MAX);
        pst_http_target_destroy(&plan->target);
        return;
    }
    if (!pool)
        pool = add_pool(p, c->name);
    pst_http_target_destroy(&pool->target);
    pool->target = pst_take(&plan->target);
    pool->adapter = plan->adapter;
    pool->delay = c->echo_delay;
    pool->answer_bytes = c->echo_bytes;
    free(pool->api_version);
    pool->api_version = c->api_version ? pst_strdup_view(pst_view_str(c->api_version)) : NULL;
    uint32_t jobs = choice->concurrency ? choice->concurrency : c->limits.concurrency;
    pool->capacity = PST_MIN(jobs ? jobs : PST_POOL_CAPACITY_DEFAULT, PST_POOLS_RUNS_MAX);
    pst_log(PST_LOG_INFO, "provider.served", "provider=%s api=%s calls_max=%u", c->name, c->api,
            pool->capacity);
}

pst_err_t pst_pools_configure(pst_pools_t *p, const pst_config_t *c, const pst_pool_choice_t *choice,
                              pst_errbuf_t *eb)
{
    plan_t plan[PST_WORKER_PROVIDERS_MAX];
    unsigned n = plan_all(p->http, c, choice, plan);
    if (n == 0)
        return pst_errf(eb, PST_E_CONFIG,
                        "no provider can be served: configure one, or put its key into the environment");
    for (unsigned i = 0; i < p->pools; i++)
        p->pool[i]->capacity = 0;
    drop_unserved(p);
    for (unsigned i = 0; i < n; i++)
        serve(p, &plan[i], choice);
    for (unsigned i = 0; i < p->pools; i++) {
        if (p->pool[i]->capacity == 0)
            return_queue(p->pool[i]);
    }
    return PST_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

pst_pools_t *pst_pools_new(pst_http_t *http, pst_packs_t *packs, pst_outbox_t *outbox, pst_pieces_t *pieces,
                           uint64_t seed)
{
    pst_pools_t *p = pst_calloc(1, sizeof *p);
    p->http = http;
    p->packs = packs;
    p->outbox = outbox;
    p->pieces = pieces;
    pst_buf_init(&p->lines, 0);
    pst_link_init(&p->paused);
    pst_link_init(&p->free_runs);
    pst_link_init(&p->free_exchanges);
    pst_json_init(&p->tape);
    pst_arena_init(&p->arena, CALL_ARENA_BYTES_MAX);
    pst_heap_init(&p->timers);
    pst_rng_seed(&p->rng, seed);
    return p;
}

void pst_pools_destroy(pst_pools_t **p)
{
    if (!p || !*p)
        return;
    pst_pools_t *x = pst_take(p);
    for (unsigned i = 0; i < x->pools; i++) {
        cut_list(&x->pool[i]->live, true);
        cut_list(&x->pool[i]->queue, false);
        free_pool(x->pool[i]);
    }
    while (!pst_link_empty(&x->free_exchanges)) {
        exchange_t *e = PST_CONTAINER(x->free_exchanges.next, exchange_t, link);
        pst_link_remove(&e->link);
        pst_arena_release(&e->arena);
        free(e);
    }
    pst_arena_release(&x->arena);
    pst_json_release(&x->tape);
    pst_buf_release(&x->lines);
    while (x->slabs) {
        slab_t *s = x->slabs;
        x->slabs = s->next;
        free(s);
    }
    pst_heap_release(&x->timers);
    free(x);
}
