#include "back.h"

#include "base/list.h"
#include "base/map.h"
#include "engine.h"
#include "live.h"
#include "proc/log.h"
#include "restore.h"

#define WORKERS_MAX 10000
#define HIGH_WATER 256
/* The core sends at most what it holds open (64 MiB) before it hears that there is no more room. */
#define OUT_BYTES_MAX ((size_t)256 << 20)
#define BEHIND_BYTES ((size_t)16 << 20)    /* no room from here on … */
#define CAUGHT_UP_BYTES ((size_t)4 << 20)  /* … until here */
#define CAUGHT_UP_POLL (5 * PST_MS)
#define TASKS_BYTES_MAX ((size_t)8 << 20)  /* packs of one message, unless one alone is larger */
#define REVOKES_MAX 1024

typedef struct worker {
    pst_peer_t peer;
    char *name;
    pst_pool_capacity_t *pools; /* as it said last; names are the worker's own */
    uint32_t pools_n;
    bool behind;
    pst_link_t place;           /* in back.busy while something is gathered */
    /* this turn's */
    pst_arena_t arena;
    pst_task_group_t *groups;
    pst_blob_t **blobs;         /* two a group */
    uint32_t groups_n, groups_cap;
    uint32_t jobs;
    size_t bytes;
    pst_task_ref_t *revokes;
    uint32_t revokes_n;
} worker_t;

struct pst_back {
    pst_broker_t *b;
    pst_sessions_t *sessions;
    pst_map_t workers; /* by peer */
    pst_link_t busy;
    uint32_t behind_n;
    pst_core_pool_t pools[PST_WORKER_PROVIDERS_MAX];
};

static worker_t *find(const pst_back_t *k, pst_peer_t peer)
{
    return pst_map_get(&k->workers, &peer, sizeof peer);
}

/* ---- to the workers ---------------------------------------------------------------------------------------------- */

static void touch(pst_back_t *k, worker_t *w)
{
    if (pst_link_empty(&w->place))
        pst_link_before(&k->busy, &w->place);
}

static void forget_groups(worker_t *w)
{
    for (uint32_t i = 0; i < 2 * w->groups_n; i++)
        pst_blob_unref(&w->blobs[i]);
    pst_arena_clear(&w->arena);
    w->groups_n = w->jobs = 0;
    w->bytes = 0;
}

static void send_tasks(pst_back_t *k, worker_t *w)
{
    if (!w->groups_n)
        return;
    pst_msg_t m = {.type = PST_MSG_TASKS, .u.tasks = {w->groups, w->groups_n}};
    pst_sessions_send(k->sessions, w->peer, &m);
    forget_groups(w);
}

static void send_revokes(pst_back_t *k, worker_t *w)
{
    if (!w->revokes_n)
        return;
    pst_msg_t m = {.type = PST_MSG_REVOKE, .u.revoke = {w->revokes, w->revokes_n}};
    pst_sessions_send(k->sessions, w->peer, &m);
    w->revokes_n = 0;
}

/* A job that was sent and is revoked in the same turn must be revoked after it was sent, and the other way round. */
static void send_gathered(pst_back_t *k, worker_t *w)
{
    send_tasks(k, w);
    send_revokes(k, w);
}

static pst_view_t keep(worker_t *w, pst_view_t v)
{
    pst_view_t copy = pst_arena_copy(&w->arena, v);
    PST_ASSERT(copy.p || v.n == 0);
    return copy;
}

static void gather(worker_t *w, const pst_task_group_t *g, pst_blob_t *headers, pst_blob_t *bodies)
{
    if (w->groups_n == w->groups_cap) {
        w->groups_cap = w->groups_cap ? w->groups_cap * 2 : 16;
        w->groups = pst_realloc(w->groups, w->groups_cap * sizeof *w->groups);
        w->blobs = pst_realloc(w->blobs, 2 * w->groups_cap * sizeof(pst_blob_t *));
    }
    pst_task_group_t *own = &w->groups[w->groups_n];
    *own = *g;
    own->endpoint.provider = keep(w, g->endpoint.provider);
    own->endpoint.model = keep(w, g->endpoint.model);
    own->model = keep(w, g->model);
    size_t slots_bytes = g->slots_n * sizeof *g->slots;
    own->slots = pst_arena_get(&w->arena, slots_bytes);
    PST_ASSERT(own->slots);
    if (slots_bytes) /* a group of none only says that the pack is not needed any more */
        memcpy(own->slots, g->slots, slots_bytes);
    w->blobs[2 * w->groups_n] = pst_blob_ref(headers);
    w->blobs[2 * w->groups_n + 1] = pst_blob_ref(bodies);
    w->groups_n++;
    w->jobs += g->slots_n;
    w->bytes += g->headers.n + g->bodies.n;
}

void pst_back_tasks(pst_back_t *k, pst_peer_t worker, const pst_task_group_t *g, pst_blob_t *headers,
                    pst_blob_t *bodies)
{
    worker_t *w = find(k, worker);
    if (!w)
        return;
    if (w->revokes_n || w->jobs + g->slots_n > PST_TASKS_MAX ||
        (w->groups_n && w->bytes + g->headers.n + g->bodies.n > TASKS_BYTES_MAX))
        send_gathered(k, w);
    gather(w, g, headers, bodies);
    touch(k, w);
}

void pst_back_revoke(pst_back_t *k, pst_peer_t worker, const pst_task_ref_t *ref)
{
    worker_t *w = find(k, worker);
    if (!w)
        return;
    if (!w->revokes)
        w->revokes = pst_alloc(REVOKES_MAX * sizeof *w->revokes);
    if (w->revokes_n == REVOKES_MAX)
        send_gathered(k, w);
    w->revokes[w->revokes_n++] = *ref;
    touch(k, w);
}

void pst_back_ack(pst_back_t *k, pst_peer_t worker, uint64_t number)
{
    pst_msg_t m = {.type = PST_MSG_ACK, .u.ack.number = number};
    pst_sessions_send(k->sessions, worker, &m);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

static uint32_t core_pools(pst_back_t *k, const worker_t *w)
{
    for (uint32_t i = 0; i < w->pools_n; i++) {
        k->pools[i].provider = pst_core_provider(k->b->core, w->pools[i].provider);
        k->pools[i].jobs = w->behind ? 0 : w->pools[i].jobs;
    }
    return w->pools_n;
}

static void tell_capacity(pst_back_t *k, const worker_t *w)
{
    pst_event_t ev = {.type = PST_EV_CAPACITY};
    ev.u.worker.worker = w->peer;
    ev.u.worker.pools = k->pools;
    ev.u.worker.pools_n = core_pools(k, w);
    pst_engine_step(k->b, &ev);
}

static void set_behind(pst_back_t *k, worker_t *w, bool behind)
{
    if (w->behind == behind)
        return;
    w->behind = behind;
    k->behind_n += behind ? 1 : UINT32_MAX;
    tell_capacity(k, w);
}

static void look_for_behind(pst_back_t *k)
{
    uint32_t i = 0;
    for (worker_t *w; (w = pst_map_next(&k->workers, &i)) != NULL;)
        if (w->behind && pst_sessions_waiting(k->sessions, w->peer) <= CAUGHT_UP_BYTES)
            set_behind(k, w, false);
}

/* Only what this turn was sent to can have fallen behind.  Telling the core may make it send more: to others. */
pst_ns_t pst_back_flush(pst_back_t *k, pst_ns_t now)
{
    if (k->behind_n)
        look_for_behind(k);
    while (!pst_link_empty(&k->busy)) {
        worker_t *w = PST_CONTAINER(k->busy.next, worker_t, place);
        pst_link_remove(&w->place);
        send_gathered(k, w);
        if (pst_sessions_waiting(k->sessions, w->peer) > BEHIND_BYTES)
            set_behind(k, w, true);
    }
    return k->behind_n ? pst_ns_add(now, CAUGHT_UP_POLL) : PST_NEVER;
}

void pst_back_reconfigured(pst_back_t *k)
{
    uint32_t i = 0;
    for (worker_t *w; (w = pst_map_next(&k->workers, &i)) != NULL;)
        tell_capacity(k, w);
}

/* ---- from the workers -------------------------------------------------------------------------------------------- */

static void free_pools(worker_t *w)
{
    for (uint32_t i = 0; i < w->pools_n; i++)
        free((char *)w->pools[i].provider.p);
    free(w->pools);
    w->pools = NULL;
    w->pools_n = 0;
}

static void set_pools(worker_t *w, const pst_pool_capacity_t *pools, uint32_t n)
{
    free_pools(w);
    w->pools = pst_calloc(n, sizeof *w->pools);
    for (uint32_t i = 0; i < n; i++) {
        w->pools[i].provider = pst_view(pst_strdup_view(pools[i].provider), pools[i].provider.n);
        w->pools[i].jobs = pools[i].jobs;
    }
    w->pools_n = n;
}

static pst_err_t on_hello(void *arg, pst_peer_t peer, const pst_msg_hello_t *m)
{
    pst_back_t *k = arg;
    if (m->pools_n > PST_WORKER_PROVIDERS_MAX || m->name.n == 0)
        return PST_E_INVALID;
    worker_t *w = pst_calloc(1, sizeof *w);
    w->peer = peer;
    w->name = pst_strdup_view(m->name);
    pst_link_init(&w->place);
    pst_arena_init(&w->arena, 0);
    set_pools(w, m->pools, m->pools_n);
    pst_map_set(&k->workers, &peer, sizeof peer, w);
    pst_store_worker(k->b->store, m->name, true);
    pst_log(PST_LOG_INFO, "worker.here", "worker=\"%s\" peer=%u pools=%u running=%u", w->name, peer, w->pools_n,
            m->running_n);
    pst_event_t ev = {.type = PST_EV_WORKER};
    ev.u.worker.worker = peer;
    ev.u.worker.pools = k->pools;
    ev.u.worker.pools_n = core_pools(k, w);
    ev.u.worker.running = m->running;
    ev.u.worker.running_n = m->running_n;
    pst_engine_step(k->b, &ev);
    pst_restore_worker(k->b->restore, m->name);
    return PST_OK;
}

static void on_capacity(pst_back_t *k, pst_peer_t peer, const pst_msg_capacity_t *m)
{
    worker_t *w = find(k, peer);
    set_pools(w, m->pools, m->pools_n);
    tell_capacity(k, w);
}

static pst_err_t on_outcomes(pst_back_t *k, pst_peer_t peer, const pst_msg_outcomes_t *m)
{
    pst_blob_t **blobs = pst_calloc(m->groups_n, sizeof(pst_blob_t *));
    for (uint32_t i = 0; i < m->groups_n; i++) {
        pst_result_blob_t *r = &m->groups[i].blob;
        blobs[i] = pst_blob_new(r->bytes.p, r->bytes.n);
        r->bytes = pst_blob_view(blobs[i]); /* what the core keeps must not point into the frame */
    }
    pst_event_t ev = {.type = PST_EV_OUTCOMES};
    ev.u.outcomes.worker = peer;
    ev.u.outcomes.number = m->number;
    ev.u.outcomes.groups = m->groups;
    ev.u.outcomes.groups_n = m->groups_n;
    ev.u.outcomes.blobs = blobs;
    pst_engine_step(k->b, &ev);
    for (uint32_t i = 0; i < m->groups_n; i++)
        pst_blob_unref(&blobs[i]);
    free(blobs);
    return PST_OK;
}

static pst_err_t on_message(void *arg, pst_peer_t peer, const pst_msg_t *m)
{
    pst_back_t *k = arg;
    if (m->type == PST_MSG_OUTCOMES)
        return on_outcomes(k, peer, &m->u.outcomes);
    if (m->type == PST_MSG_PIECES)
        return pst_live_pieces(k->b->live, peer, &m->u.pieces);
    if (m->type != PST_MSG_CAPACITY || m->u.capacity.pools_n > PST_WORKER_PROVIDERS_MAX)
        return PST_E_MALFORMED;
    on_capacity(k, peer, &m->u.capacity);
    return PST_OK;
}

static void worker_free(worker_t *w)
{
    forget_groups(w);
    pst_link_remove(&w->place);
    pst_arena_release(&w->arena);
    free_pools(w);
    free(w->groups);
    free(w->blobs);
    free(w->revokes);
    free(w->name);
    free(w);
}

static void on_gone(void *arg, pst_peer_t peer)
{
    pst_back_t *k = arg;
    worker_t *w = pst_map_remove(&k->workers, &peer, sizeof peer);
    if (!w)
        return;
    pst_log(PST_LOG_INFO, "worker.gone", "worker=\"%s\" peer=%u", w->name, peer);
    if (w->behind)
        k->behind_n--;
    if (!pst_back_has(k, pst_view_str(w->name)))
        pst_store_worker(k->b->store, pst_view_str(w->name), false);
    worker_free(w);
    pst_event_t ev = {.type = PST_EV_WORKER_GONE};
    ev.u.worker.worker = peer;
    pst_engine_step(k->b, &ev);
}

bool pst_back_has(const pst_back_t *k, pst_view_t name)
{
    uint32_t i = 0;
    for (worker_t *w; (w = pst_map_next(&k->workers, &i)) != NULL;)
        if (pst_view_eqs(name, w->name))
            return true;
    return false;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

pst_err_t pst_back_new(pst_broker_t *b, const char *address, pst_back_t **ret, pst_errbuf_t *eb)
{
    pst_back_t *k = pst_calloc(1, sizeof *k);
    k->b = b;
    pst_map_init(&k->workers, b->seed);
    pst_link_init(&k->busy);
    pst_sessions_opts_t o = {.role = PST_ROLE_WORKER, .sessions_max = WORKERS_MAX, .out_bytes_max = OUT_BYTES_MAX,
                             .high_water = HIGH_WATER, .epoch = pst_store_epoch(b->store),
                             .last_peer = &b->last_peer, .seed = b->seed};
    pst_sessions_ops_t ops = {.hello = on_hello, .message = on_message, .gone = on_gone, .arg = k};
    pst_err_t e = pst_sessions_new(b->loop, b->zmq, address, &o, &ops, &k->sessions, eb);
    if (e) {
        pst_back_destroy(&k);
        return e;
    }
    *ret = k;
    return PST_OK;
}

void pst_back_destroy(pst_back_t **k)
{
    pst_back_t *x = pst_take(k);
    if (!x)
        return;
    pst_sessions_destroy(&x->sessions);
    uint32_t i = 0;
    for (worker_t *w; (w = pst_map_next(&x->workers, &i)) != NULL;)
        worker_free(w);
    pst_map_release(&x->workers);
    free(x);
}

pst_sessions_t *pst_back_sessions(pst_back_t *k)
{
    return k->sessions;
}
