/* worker.c - workers' sessions: what each can take, what each runs. */
#include "core/internal.h"

worker_t *worker_find(const pst_core_t *c, pst_peer_t peer)
{
    return pst_map_get(&c->workers, &peer, sizeof peer);
}

pool_t *worker_pool(const worker_t *w, uint32_t provider)
{
    for (uint32_t i = 0; i < w->pools_n; i++)
        if (w->pools[i]->provider == provider)
            return w->pools[i];
    return NULL;
}

static uint32_t room_of(const pool_t *p)
{
    return p->jobs > p->in_flight ? p->jobs - p->in_flight : 0;
}

/* The provider's room is the sum of its pools'; kept, not counted. */
static void change_pool(pst_core_t *c, pool_t *p, uint32_t jobs, uint32_t in_flight)
{
    provider_t *pr = c->providers[p->provider];
    pr->room -= room_of(p);
    pr->places -= PST_MAX(p->jobs, p->in_flight);
    p->jobs = jobs;
    p->in_flight = in_flight;
    pr->room += room_of(p);
    pr->places += PST_MAX(p->jobs, p->in_flight);
}

void pool_take(pst_core_t *c, pool_t *p)
{
    change_pool(c, p, p->jobs, p->in_flight + 1);
}

void pool_release(pst_core_t *c, pool_t *p)
{
    PST_ASSERT(p->in_flight > 0);
    change_pool(c, p, p->jobs, p->in_flight - 1);
}

static pool_t *add_pool(pst_core_t *c, worker_t *w, uint32_t provider)
{
    pool_t *p = pst_calloc(1, sizeof *p);
    p->worker = w;
    p->provider = provider;
    pst_link_before(&c->providers[provider]->pools, &p->link);
    w->pools = pst_realloc(w->pools, (w->pools_n + 1) * sizeof *w->pools);
    w->pools[w->pools_n++] = p;
    return p;
}

static void set_pools(pst_core_t *c, worker_t *w, const pst_core_pool_t *pools, uint32_t n)
{
    for (uint32_t i = 0; i < w->pools_n; i++)
        change_pool(c, w->pools[i], 0, w->pools[i]->in_flight);
    for (uint32_t i = 0; i < n; i++) {
        if (pools[i].provider >= c->providers_n)
            continue;
        pool_t *p = worker_pool(w, pools[i].provider);
        if (!p)
            p = add_pool(c, w, pools[i].provider);
        change_pool(c, p, pools[i].jobs, p->in_flight);
        place_wake(c, &c->providers[p->provider]->place);
    }
}

/* The endpoint an adopted job must be running at: the only candidate of its route that this worker serves; NONE if there is
 * no telling.  With it the job counts against the limits of concurrency, which a restart must not make us forget. */
static uint32_t only_endpoint(const pst_core_t *c, const worker_t *w, const route_t *r)
{
    uint32_t found = NONE;
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        uint32_t e = r->candidates[i]->endpoint;
        if (e == found || !worker_pool(w, c->endpoints[e]->provider))
            continue;
        if (found != NONE)
            return NONE;
        found = e;
    }
    return found;
}

static void occupy(pst_core_t *c, worker_t *w, job_t *j, uint32_t endpoint)
{
    j->endpoint = endpoint;
    if (endpoint == NONE)
        return; /* its outcome will tell */
    endpoint_t *e = c->endpoints[endpoint];
    e->in_flight++;
    c->providers[e->provider]->in_flight++;
    pool_take(c, worker_pool(w, e->provider));
}

static void revoke(pst_core_t *c, const worker_t *w, const pst_task_ref_t *ref)
{
    pst_action_t *a = core_action(c, PST_ACT_REVOKE);
    a->u.revoke.worker = w->peer;
    a->u.revoke.ref = *ref;
}

/* The worker says it still runs this job (or holds its outcome): it must not be sent again. */
static void adopt(pst_core_t *c, worker_t *w, const pst_task_ref_t *ref)
{
    batch_t *b = batch_find(c, &ref->batch);
    if (!b || (b->live_call & PST_LIVE_STREAM)) { /* a call of before a restart; or pieces of it may be lost */
        revoke(c, w, ref);
        return;
    }
    if (b->state != BATCH_ACTIVE || ref->pack >= b->packs_n || ref->slot >= b->packs[ref->pack].jobs)
        return;
    pack_t *p = &b->packs[ref->pack];
    if (b->where[p->base + ref->slot])
        return; /* ended meanwhile: its outcome will be acknowledged and dropped */
    job_t *j = pack_record(p, ref->slot);
    if (j && j->state == JOB_RUNNING) {
        if (j->dispatch != ref->dispatch)
            return; /* runs elsewhere by now: the first outcome wins */
        job_leave_worker(c, j); /* the same call: its worker has a new session, and the old one's end is not known yet */
    }
    if (j) {
        if (j->state == JOB_WAITING) {
            b->waiting--;
            c->gauge.jobs_waiting--;
            core_timer(c, &j->timer, PST_NEVER);
        }
        pst_link_remove(&j->link);
    } else {
        j = job_new(c, b, ref->pack, ref->slot);
    }
    j->state = JOB_RUNNING;
    j->dispatch = ref->dispatch;
    j->worker = w;
    j->started = c->now;
    j->reserved = (tokens_t){0, 0};
    occupy(c, w, j, only_endpoint(c, w, c->routes[p->route]));
    pst_link_before(&w->running, &j->link);
    b->running++;
    c->gauge.jobs_running++;
}

void worker_on_hello(pst_core_t *c, const pst_event_t *ev)
{
    pst_peer_t peer = ev->u.worker.worker;
    PST_ASSERT(peer && !worker_find(c, peer));
    worker_t *w = pst_calloc(1, sizeof *w);
    w->peer = peer;
    pst_link_init(&w->running);
    pst_link_before(&c->worker_list, &w->link);
    pst_map_set(&c->workers, &peer, sizeof peer, w);
    c->gauge.workers++;
    set_pools(c, w, ev->u.worker.pools, ev->u.worker.pools_n);
    for (uint32_t i = 0; i < ev->u.worker.running_n; i++)
        adopt(c, w, &ev->u.worker.running[i]);
}

void worker_on_capacity(pst_core_t *c, const pst_event_t *ev)
{
    worker_t *w = worker_find(c, ev->u.worker.worker);
    if (w)
        set_pools(c, w, ev->u.worker.pools, ev->u.worker.pools_n);
}

void worker_on_gone(pst_core_t *c, pst_peer_t peer)
{
    worker_t *w = pst_map_remove(&c->workers, &peer, sizeof peer);
    if (!w)
        return;
    if (!pst_link_empty(&w->running))
        c->count.worker_losses++;
    while (!pst_link_empty(&w->running)) {
        job_t *j = PST_CONTAINER(w->running.next, job_t, link);
        c->count.jobs_lost_with_worker++;
        job_leave_worker(c, j);
        sched_ready(c, j);
    }
    for (uint32_t i = 0; i < w->pools_n; i++) {
        change_pool(c, w->pools[i], 0, 0);
        pst_link_remove(&w->pools[i]->link);
        free(w->pools[i]);
    }
    pack_forget_worker(c, peer);
    pst_link_remove(&w->link);
    free(w->pools);
    free(w);
    c->gauge.workers--;
}

/* The worker that holds the pack already, if it has room; else the one with the most room. */
pool_t *worker_pick(const pst_core_t *c, const provider_t *p, const live_t *l)
{
    (void)c;
    pool_t *best = NULL;
    for (pst_link_t *x = p->pools.next; x != &p->pools; x = x->next) {
        pool_t *pool = PST_CONTAINER(x, pool_t, link);
        if (!room_of(pool))
            continue;
        for (int i = 0; i < HOLDERS_MAX; i++)
            if (l->holders[i] == pool->worker->peer)
                return pool;
        if (!best || room_of(pool) > room_of(best))
            best = pool;
    }
    return best;
}
