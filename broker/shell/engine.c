#include "engine.h"

#include "back.h"
#include "front.h"
#include "live.h"
#include "proc/clock.h"
#include "proc/log.h"
#include "query.h"

/* Steps of the core one turn may add when it has more to do than a step does. */
#define TICKS_PER_TURN 16

static void log_parked(const pst_action_t *a)
{
    const pst_endpoint_name_t *n = &a->u.notice.endpoint;
    bool parked = a->u.notice.what == PST_NOTICE_PARKED;
    pst_log(parked ? PST_LOG_WARN : PST_LOG_INFO, parked ? "endpoint.parked" : "endpoint.resumed",
            "provider=%.*s model=%.*s cause=%s until_ms=%llu", (int)n->provider.n, n->provider.p, (int)n->model.n,
            n->model.p ? n->model.p : "", pst_cause_text(a->u.notice.cause),
            (unsigned long long)a->u.notice.until_wall_ms);
}

static void log_batch(const char *msg_id, const pst_id_t *batch)
{
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(batch, id);
    pst_log(PST_LOG_INFO, msg_id, "batch=%s", id);
}

static void notice(pst_broker_t *b, const pst_action_t *a)
{
    switch (a->u.notice.what) {
    case PST_NOTICE_RESULTS:
        pst_queries_wake(b->queries, &a->u.notice.batch);
        break;
    case PST_NOTICE_ENDED:
        log_batch("batch.ended", &a->u.notice.batch);
        pst_queries_wake(b->queries, &a->u.notice.batch);
        break;
    case PST_NOTICE_ACCEPTED:
        log_batch("batch.accepted", &a->u.notice.batch);
        break;
    case PST_NOTICE_PARKED:
    case PST_NOTICE_RESUMED:
        log_parked(a);
        break;
    }
}

static void carry_out(pst_broker_t *b, pst_action_t *a)
{
    switch (a->type) {
    case PST_ACT_REPLY:
        pst_front_done(b->front, a->u.reply.peer, &a->u.reply.done);
        break;
    case PST_ACT_STORE:
        if (a->u.store.live)
            pst_live_store(b->live, &a->u.store);
        else
            pst_store_submit(b->store, &a->u.store);
        break;
    case PST_ACT_TASKS:
        pst_back_tasks(b->back, a->u.tasks.worker, &a->u.tasks.group, a->u.tasks.headers, a->u.tasks.bodies);
        break;
    case PST_ACT_REVOKE:
        pst_back_revoke(b->back, a->u.revoke.worker, &a->u.revoke.ref);
        break;
    case PST_ACT_ACK:
        pst_back_ack(b->back, a->u.ack.worker, a->u.ack.number);
        break;
    case PST_ACT_NOTICE:
        notice(b, a);
        break;
    }
}

static void step(pst_broker_t *b, const pst_event_t *ev)
{
    PST_ASSERT(!b->stepping);
    b->stepping = true;
    pst_core_step(b->core, pst_loop_now(b->loop), pst_clock_wall_ms(), ev);
    pst_action_t a;
    while (pst_core_next(b->core, &a))
        carry_out(b, &a);
    b->stepping = false;
}

static void stored(pst_broker_t *b, const pst_store_answer_t *a)
{
    pst_pack_headers_t headers;
    pst_event_t ev = {.type = PST_EV_STORED};
    ev.u.stored.answer = a;
    pst_arena_clear(&b->arena);
    if (a->type == PST_STORE_LOAD && a->err == PST_OK &&
        pst_pack_headers_decode(pst_blob_view(a->headers), &b->arena, &headers) == PST_OK)
        ev.u.stored.headers = &headers;
    step(b, &ev);
}

/* What a step wants kept of calls is kept when its actions are carried out, and answered before the next event. */
static void answer_live(pst_broker_t *b)
{
    pst_store_answer_t a;
    while (pst_live_next(b->live, &a))
        stored(b, &a);
}

void pst_engine_step(pst_broker_t *b, const pst_event_t *ev)
{
    step(b, ev);
    answer_live(b);
}

pst_ns_t pst_engine_tick(pst_broker_t *b, pst_ns_t now)
{
    static const pst_event_t tick = {.type = PST_EV_TICK};
    pst_ns_t next = pst_core_deadline(b->core);
    for (unsigned i = 0; i < TICKS_PER_TURN && next <= now; i++) {
        pst_engine_step(b, &tick);
        next = pst_core_deadline(b->core);
    }
    return next <= now ? 0 : next;
}

void pst_engine_stored(void *arg, const pst_store_answer_t *a)
{
    pst_broker_t *b = arg;
    stored(b, a);
    answer_live(b);
}

static void tell_store(pst_broker_t *b)
{
    pst_event_t ev = {.type = PST_EV_STORE_STATE};
    ev.u.store_state.up = b->store_up;
    ev.u.store_state.used_bytes = b->store_used;
    ev.u.store_state.max_bytes = b->store_max;
    pst_engine_step(b, &ev);
}

void pst_engine_store_state(void *arg, bool up, const char *why)
{
    pst_broker_t *b = arg;
    if (up)
        pst_log(PST_LOG_INFO, "store.up", "epoch=%llu", (unsigned long long)pst_store_epoch(b->store));
    else
        pst_log(PST_LOG_WARN, "store.down", "why=\"%s\"", why);
    b->store_up = up;
    tell_store(b);
}

void pst_engine_store_room(void *arg, uint64_t used_bytes, uint64_t max_bytes)
{
    pst_broker_t *b = arg;
    b->store_used = used_bytes;
    b->store_max = max_bytes;
    tell_store(b);
}

void pst_engine_store_fatal(void *arg, const char *why)
{
    pst_broker_t *b = arg;
    pst_log(PST_LOG_ERROR, "store.fatal", "why=\"%s\"", why);
    b->failed = true;
    pst_loop_stop(b->loop);
}
