/* query_fetch.c - FETCH: stored result packs of one segment, from a cursor on.
 *
 *   asked --> (the core holds the batch) --> reading <--> reading ... --> answered
 *     |                 |                       ^
 *     |                 +--> parked --results, end, time--+
 *     +--> (it has ended) summary -------------/
 *
 * Packs are read in windows that follow their size, because one may have 300 bytes or 30 MiB. */
#include "query_internal.h"

#define WINDOW_FIRST 4
#define WINDOW_MAX 64
#define ANSWER_BYTES_MAX ((size_t)40 << 20) /* leaves the frame room for its envelope */

_Static_assert(PST_FETCH_BYTES_MAX < ANSWER_BYTES_MAX && ANSWER_BYTES_MAX < PST_FRAME_BYTES_MAX, "answers fit a frame");

/* Those who wait for one batch. */
typedef struct wait {
    pst_id_t batch;
    pst_link_t fetches;
} wait_t;

typedef struct fetch {
    query_t q;
    pst_cursor_t cursor;
    uint32_t bytes_wanted;
    uint32_t wait_ms;
    uint32_t segments;
    bool ended;                 /* the batch has: what is absent will never come */
    uint32_t reading;           /* packs asked for */
    pst_blob_t *packs[PST_FETCH_PACKS_MAX];
    uint32_t packs_n;
    size_t bytes;
    wait_t *wait;
    pst_link_t place;           /* in wait.fetches, or in queries.woken */
    pst_heap_node_t timer;
} fetch_t;

static void unpark(fetch_t *f)
{
    pst_link_remove(&f->place);
    pst_heap_remove(&f->q.all->timers, &f->timer);
    f->q.parked = false;
    wait_t *w = f->wait;
    f->wait = NULL;
    if (w && pst_link_empty(&w->fetches)) {
        pst_map_remove(&f->q.all->waits, w->batch.b, sizeof w->batch.b);
        free(w);
    }
}

static void release(query_t *q)
{
    fetch_t *f = PST_CONTAINER(q, fetch_t, q);
    unpark(f);
    for (uint32_t i = 0; i < f->packs_n; i++)
        pst_blob_unref(&f->packs[i]);
}

static void park(fetch_t *f)
{
    pst_queries_t *all = f->q.all;
    wait_t *w = pst_map_get(&all->waits, f->q.batch.b, sizeof f->q.batch.b);
    if (!w) {
        w = pst_calloc(1, sizeof *w);
        w->batch = f->q.batch;
        pst_link_init(&w->fetches);
        pst_map_set(&all->waits, w->batch.b, sizeof w->batch.b, w);
    }
    f->wait = w;
    f->q.parked = true;
    pst_link_before(&w->fetches, &f->place);
    pst_heap_set(&all->timers, &f->timer, pst_ns_add(pst_loop_now(f->q.b->loop), f->wait_ms * PST_MS));
    f->wait_ms = 0;
}

static void answer(fetch_t *f, bool at_end)
{
    pst_view_t views[PST_FETCH_PACKS_MAX];
    for (uint32_t i = 0; i < f->packs_n; i++)
        views[i] = pst_blob_view(f->packs[i]);
    pst_msg_t m = {.type = PST_MSG_RESULTS};
    m.u.results.next = (pst_cursor_t){f->cursor.segment, f->cursor.pack + f->packs_n};
    m.u.results.ended = f->ended && at_end;
    m.u.results.packs = views;
    m.u.results.packs_n = f->packs_n;
    m.u.results.segments = f->segments;
    query_reply(&f->q, &m);
}

/* The next pack wanted. */
static uint32_t at(const fetch_t *f)
{
    return f->cursor.pack + f->packs_n;
}

static void begin(fetch_t *f);

/* How many packs to ask for, if `there` more can be read (as far as is known). */
static uint32_t window(const fetch_t *f, uint32_t there)
{
    uint32_t n = WINDOW_FIRST;
    if (f->packs_n) {
        size_t size = PST_MAX(f->bytes / f->packs_n, (size_t)1);
        n = (uint32_t)PST_MIN((f->bytes_wanted - f->bytes) / size + 1, (size_t)WINDOW_MAX);
    }
    return PST_MIN(PST_MIN(n, there), PST_FETCH_PACKS_MAX - f->packs_n);
}

static bool enough(const fetch_t *f)
{
    return f->bytes >= f->bytes_wanted || f->packs_n == PST_FETCH_PACKS_MAX;
}

static void on_packs(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    fetch_t *f = arg;
    if (query_failed(&f->q, e, values, n, f->reading))
        return;
    for (uint32_t i = 0; i < n && !enough(f); i++) {
        bool fits = !f->packs_n || f->bytes + values[i].n <= ANSWER_BYTES_MAX;
        if (!values[i].p || !fits) {
            answer(f, fits);
            return;
        }
        f->packs[f->packs_n++] = pst_blob_new(values[i].p, values[i].n);
        f->bytes += values[i].n;
    }
    if (enough(f) || !f->q.asker->peer)
        answer(f, false);
    else
        begin(f);
}

static void read_packs(fetch_t *f, uint32_t there)
{
    f->reading = window(f, there);
    pst_store_read_results(f->q.b->store, &f->q.batch, f->cursor.segment, at(f), f->reading,
                           on_packs, f);
}

/* What is still in memory; the reader of a running batch finds nearly everything there. */
static void take_recent(fetch_t *f, uint32_t stored)
{
    while (!enough(f) && at(f) < stored) {
        pst_blob_t *p = pst_store_recent_results(f->q.b->store, &f->q.batch, f->cursor.segment, at(f));
        if (!p || (f->packs_n && f->bytes + p->n > ANSWER_BYTES_MAX))
            return;
        f->packs[f->packs_n++] = pst_blob_ref(p);
        f->bytes += p->n;
    }
}

static void read_stored(fetch_t *f, uint32_t stored)
{
    take_recent(f, stored);
    if (enough(f) || at(f) == stored)
        answer(f, false);
    else
        read_packs(f, stored - at(f));
}

/* A batch that is being uploaded has no segments to be read yet, but will have the first. */
static bool no_such_segment(fetch_t *f)
{
    if (f->cursor.segment < PST_MAX(f->segments, 1u))
        return false;
    query_done(&f->q, PST_E_INVALID, "the batch has no such segment");
    return true;
}

static void read_ended(fetch_t *f)
{
    if (no_such_segment(f))
        return;
    if (at(f) < f->cursor.pack || at(f) == UINT32_MAX)
        answer(f, true);
    else
        read_packs(f, UINT32_MAX - at(f));
}

static void on_summary(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    fetch_t *f = arg;
    if (query_failed(&f->q, e, values, n, 2))
        return;
    if (!values[0].p) {
        query_not_found(&f->q);
        return;
    }
    f->ended = true;
    f->segments = query_le32(values[1]);
    read_ended(f);
}

/* Also to go on: what the core holds may have changed since. */
static void begin(fetch_t *f)
{
    pst_broker_t *b = f->q.b;
    if (f->ended) {
        read_ended(f);
        return;
    }
    if (!pst_queries_holds(f->q.all, &f->q.batch)) {
        pst_store_read_batch(b->store, &f->q.batch, on_summary, f);
        return;
    }
    f->segments = pst_core_segments(b->core, &f->q.batch);
    if (no_such_segment(f))
        return;
    uint32_t stored = 0;
    bool last;
    if (pst_core_results(b->core, &f->q.batch, f->cursor.segment, &stored, &last) == PST_OK && at(f) < stored)
        read_stored(f, stored);
    else if (f->packs_n == 0 && f->wait_ms > 0)
        park(f);
    else
        answer(f, false);
}

void pst_queries_fetch(pst_queries_t *all, pst_peer_t peer, const pst_msg_fetch_t *m)
{
    fetch_t *f = (fetch_t *)(void *)query_new(all, peer, m->req, &m->batch, sizeof *f);
    if (!f)
        return;
    f->q.release = release;
    f->cursor = m->cursor;
    f->bytes_wanted = PST_MIN(PST_MAX(m->bytes, 1u), (uint32_t)PST_FETCH_BYTES_MAX);
    f->wait_ms = PST_MIN(m->wait_ms, (uint32_t)PST_WAIT_MS_MAX);
    pst_link_init(&f->place);
    pst_heap_node_init(&f->timer);
    begin(f);
}

/* Not answered at once: this is called amid a step's actions, and the core may be asked only after it. */
void pst_queries_wake(pst_queries_t *all, const pst_id_t *batch)
{
    wait_t *w = pst_map_get(&all->waits, batch->b, sizeof batch->b);
    if (!w)
        return;
    for (pst_link_t *l = w->fetches.next, *next; l != &w->fetches; l = next) {
        next = l->next;
        fetch_t *f = PST_CONTAINER(l, fetch_t, place);
        pst_link_remove(&f->place);
        pst_link_before(&all->woken, &f->place);
        f->wait = NULL;
    }
    pst_map_remove(&all->waits, batch->b, sizeof batch->b);
    free(w);
}

pst_ns_t fetches_turn(pst_queries_t *all, pst_ns_t now)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&all->timers)) != NULL && top->key <= now) {
        fetch_t *f = PST_CONTAINER(top, fetch_t, timer);
        unpark(f);
        begin(f);
    }
    while (!pst_link_empty(&all->woken)) {
        fetch_t *f = PST_CONTAINER(all->woken.next, fetch_t, place);
        unpark(f);
        begin(f);
    }
    top = pst_heap_top(&all->timers);
    return top ? top->key : PST_NEVER;
}

void fetches_init(pst_queries_t *all)
{
    pst_map_init(&all->waits, all->b->seed);
    pst_heap_init(&all->timers);
    pst_link_init(&all->woken);
}

void fetches_release(pst_queries_t *all)
{
    pst_map_release(&all->waits);
    pst_heap_release(&all->timers);
}
