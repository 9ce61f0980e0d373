/* query_get.c - GET: one job, by its index or its custom_id.
 *
 *   packs that may hold it --> their headers, a few at a time --> found --> its state, or its result pack
 *
 * For a batch that runs the core names packs and states; for one that has ended both are read from the store, segment
 * by segment: directory, headers, and `idx`, which says where the result of each of its jobs lies. */
#include "query_internal.h"

#define HEADERS_PER_READ 16
#define ARENA_BYTES_MAX ((size_t)64 << 20)
#define NO_RESULT UINT32_MAX

typedef struct get {
    query_t q;
    bool by_index;
    uint32_t index;          /* asked for, then found */
    pst_blob_t *custom_id;
    /* packs whose headers are being read */
    uint32_t packs[HEADERS_PER_READ];
    uint32_t packs_n;
    uint32_t segment;
    uint32_t next;           /* runs: the core's place to go on, UINT32_MAX: none; ended: entry of the directory */
    /* of an ended batch */
    bool ended;
    uint32_t segments;
    pst_pack_entry_t *dir;
    uint32_t dir_n;
    pst_blob_t *idx;
} get_t;

static void begin(get_t *g);
static void read_segment(get_t *g);

static void release(query_t *q)
{
    get_t *g = PST_CONTAINER(q, get_t, q);
    pst_blob_unref(&g->custom_id);
    pst_blob_unref(&g->idx);
    free(g->dir);
}

static void no_such_job(get_t *g)
{
    query_done(&g->q, PST_E_NOT_FOUND, "no such job in this batch");
}

/* ---- found ------------------------------------------------------------------------------------------------------- */

static void on_result(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    get_t *g = arg;
    if (query_failed(&g->q, e, values, n, 1))
        return;
    if (!values[0].p) {
        query_not_found(&g->q); /* deleted meanwhile */
        return;
    }
    pst_msg_t m = {.type = PST_MSG_JOB};
    m.u.job.state = PST_STATE_ENDED;
    m.u.job.index = g->index;
    m.u.job.pack = values[0];
    query_reply(&g->q, &m);
}

static void read_result(get_t *g, uint32_t segment, uint32_t pack)
{
    pst_store_read_results(g->q.b->store, &g->q.batch, segment, pack, 1, on_result, g);
}

static void answer_running(get_t *g, uint32_t pack, uint16_t slot)
{
    uint32_t segment, attempts, result;
    uint64_t due;
    pst_job_state_t state;
    if (pst_core_job(g->q.b->core, &g->q.batch, pack, slot, &segment, &state, &attempts, &due, &result)) {
        begin(g); /* the batch ended while its headers were read */
        return;
    }
    if (state == PST_STATE_ENDED) {
        read_result(g, segment, result);
        return;
    }
    pst_msg_t m = {.type = PST_MSG_JOB};
    m.u.job.state = (uint8_t)state;
    m.u.job.index = g->index;
    m.u.job.attempts = attempts;
    m.u.job.due_wall_ms = due;
    query_reply(&g->q, &m);
}

static void answer_ended(get_t *g, uint32_t pack, uint16_t slot)
{
    uint64_t ordinal = slot;
    for (uint32_t i = 0; i < g->dir_n && g->dir[i].pack < pack; i++)
        ordinal += g->dir[i].jobs;
    pst_view_t idx = pst_blob_view(g->idx);
    uint32_t result = NO_RESULT;
    if ((ordinal + 1) * 4 <= idx.n)
        result = query_le32(pst_view(idx.p + ordinal * 4, 4));
    if (result == NO_RESULT)
        query_done(&g->q, PST_E_STORE_BAD, "the batch's index in Redis is damaged");
    else
        read_result(g, g->segment, result);
}

/* ---- looking for it ---------------------------------------------------------------------------------------------- */

static bool is_it(const get_t *g, const pst_job_header_t *j)
{
    if (g->by_index)
        return j->index == g->index;
    return j->custom_id.p && pst_view_eq(j->custom_id, pst_blob_view(g->custom_id));
}

/* *ret_slot of the job in these headers. */
static bool find_in(get_t *g, pst_view_t headers, pst_arena_t *a, uint16_t *ret_slot)
{
    pst_pack_headers_t h;
    pst_arena_clear(a);
    if (pst_pack_headers_decode(headers, a, &h))
        return false;
    for (uint32_t i = 0; i < h.jobs_n; i++) {
        if (!is_it(g, &h.jobs[i]))
            continue;
        g->index = h.jobs[i].index;
        *ret_slot = (uint16_t)i;
        return true;
    }
    return false;
}

static void go_on(get_t *g);

static void on_headers(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    get_t *g = arg;
    if (query_failed(&g->q, e, values, n, g->packs_n))
        return;
    pst_arena_t a;
    pst_arena_init(&a, ARENA_BYTES_MAX);
    uint16_t slot = 0;
    uint32_t i = 0;
    while (i < g->packs_n && !(values[i].p && find_in(g, values[i], &a, &slot)))
        i++;
    pst_arena_release(&a);
    if (i == g->packs_n)
        go_on(g);
    else if (g->ended)
        answer_ended(g, g->packs[i], slot);
    else
        answer_running(g, g->packs[i], slot);
}

static void read_headers(get_t *g)
{
    pst_store_read_headers(g->q.b->store, &g->q.batch, g->segment, g->packs, g->packs_n, on_headers, g);
}

/* The next packs that the core names, of one segment, for that is what one read can give. */
static void next_running(get_t *g)
{
    uint32_t segments[HEADERS_PER_READ], next;
    uint32_t n = pst_core_find_packs(g->q.b->core, &g->q.batch, g->by_index ? g->index : UINT32_MAX, g->next, g->packs,
                                     segments, HEADERS_PER_READ, &next);
    g->packs_n = 0;
    while (g->packs_n < n && segments[g->packs_n] == segments[0])
        g->packs_n++;
    g->next = g->packs_n < n ? g->packs[g->packs_n] : next;
    g->segment = n ? segments[0] : 0;
}

static void next_ended(get_t *g)
{
    g->packs_n = 0;
    for (; g->next < g->dir_n && g->packs_n < HEADERS_PER_READ; g->next++) {
        const pst_pack_entry_t *d = &g->dir[g->next];
        if (!g->by_index || (d->index_lo <= g->index && g->index <= d->index_hi))
            g->packs[g->packs_n++] = d->pack;
    }
}

static void go_on(get_t *g)
{
    if (!g->q.asker->peer) {
        no_such_job(g); /* and nobody to hear it */
        return;
    }
    if (!g->ended && !pst_core_segments(g->q.b->core, &g->q.batch)) {
        begin(g);
        return;
    }
    g->packs_n = 0;
    if (g->ended)
        next_ended(g);
    else if (g->next != UINT32_MAX)
        next_running(g);
    if (g->packs_n) {
        read_headers(g);
    } else if (g->ended) {
        g->segment++;
        read_segment(g);
    } else {
        no_such_job(g);
    }
}

/* ---- of an ended batch ------------------------------------------------------------------------------------------- */

static void on_segment(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    get_t *g = arg;
    if (query_failed(&g->q, e, values, n, 3))
        return;
    g->dir_n = (uint32_t)(values[1].n / sizeof *g->dir);
    g->dir = pst_realloc(g->dir, g->dir_n * sizeof *g->dir);
    for (uint32_t i = 0; i < g->dir_n; i++) {
        uint32_t *field = (uint32_t *)(void *)&g->dir[i];
        for (uint32_t k = 0; k < sizeof *g->dir / 4; k++)
            field[k] = query_le32(pst_view(values[1].p + i * sizeof *g->dir + 4 * k, 4));
    }
    pst_blob_unref(&g->idx);
    g->idx = pst_blob_new(values[2].p, values[2].n);
    g->next = 0;
    go_on(g);
}

static void read_segment(get_t *g)
{
    if (g->segment >= g->segments)
        no_such_job(g);
    else
        pst_store_read_segment(g->q.b->store, &g->q.batch, g->segment, on_segment, g);
}

static void on_summary(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    get_t *g = arg;
    if (query_failed(&g->q, e, values, n, 2))
        return;
    if (!values[0].p) {
        query_not_found(&g->q);
        return;
    }
    g->ended = true;
    g->segments = query_le32(values[1]);
    g->segment = 0;
    read_segment(g);
}

static void begin(get_t *g)
{
    pst_broker_t *b = g->q.b;
    g->next = 0;
    if (pst_core_segments(b->core, &g->q.batch))
        go_on(g);
    else if (pst_queries_holds(g->q.all, &g->q.batch))
        query_done(&g->q, PST_E_NOT_FOUND, "the batch is still being uploaded");
    else
        pst_store_read_batch(b->store, &g->q.batch, on_summary, g);
}

void pst_queries_get(pst_queries_t *all, pst_peer_t peer, const pst_msg_get_t *m)
{
    get_t *g = (get_t *)(void *)query_new(all, peer, m->req, &m->batch, sizeof *g);
    if (!g)
        return;
    g->q.release = release;
    g->by_index = m->by_index;
    g->index = m->index;
    if (!m->by_index)
        g->custom_id = pst_blob_new(m->custom_id.p, m->custom_id.n);
    begin(g);
}
