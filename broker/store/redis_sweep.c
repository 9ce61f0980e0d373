/* redis_sweep.c - END and DELETE: many keys under many tags, in bounded steps, so that other commands pass between.
 *
 * One command of a sweep is on its way at a time (a few while segments end).  The order is chosen for a crash between
 * any two steps:
 *   END     each segment's idx; the batch is marked ended: here it is answered; what only a running batch needs is
 *           freed; the batch leaves `active`.
 *   DELETE  the batch enters `active` and leaves `all`; it is marked as being deleted; each segment's packs and results,
 *           its directory and meta last; key, hash; the batch leaves `active`; here it is answered.
 * A restart finds an ended or half-deleted batch in `active` and goes on (pst_sweep_resume).  A DELETE that meets an END
 * of the same batch still freeing waits for it. */
#include "store/redis_codec.h"
#include "store/redis_store.h"

#define KEYS_PER_UNLINK 512u
#define END_WINDOW 8u
/* A batch that was never committed does not say how many segments it has.  Its packs came in order but for the unanswered
 * window of an upload, so a gap is never wider than that. */
#define SEGMENT_GAP_MAX PST_UPLOAD_PACKS_MAX

typedef struct sweep {
    pst_link_t link;
    pst_store_t *s;
    pst_store_op_type_t type;
    pst_id_t batch;
    uint64_t token;
    bool counted;        /* an operation waits for the answer */
    bool waits;          /* for another sweep of the batch */
    uint32_t segments;   /* UINT32_MAX: not known */
    pst_err_t err;
    /* END: its parameters, until the batch is marked */
    uint32_t *where, *base;
    uint32_t ending, ended; /* segments asked for, answered */
    pst_buf_t summary;
    /* freeing: the segment at work */
    uint32_t segment, gap;
    uint32_t *packs;     /* numbers of its packs */
    uint32_t packs_n, results_n;
    uint64_t key;        /* next key of the segment, see key_at */
    bool keyed;
    pst_redis_key_t idem;
} sweep_t;

static void free_segment(sweep_t *w);
static void begin(sweep_t *w);

static sweep_t *sweep_new(pst_store_t *s, pst_store_op_type_t type, const pst_id_t *batch, uint32_t segments)
{
    sweep_t *w = pst_calloc(1, sizeof *w);
    *w = (sweep_t){.s = s, .type = type, .batch = *batch, .segments = segments};
    pst_buf_init(&w->summary, 0);
    pst_link_before(&s->sweeps, &w->link);
    return w;
}

static void drop_parameters(sweep_t *w)
{
    free(w->where);
    free(w->base);
    w->where = w->base = NULL;
    pst_buf_release(&w->summary);
}

static void sweep_free(sweep_t *w)
{
    pst_link_remove(&w->link);
    drop_parameters(w);
    free(w->packs);
    free(w);
}

static sweep_t *find(pst_store_t *s, const pst_id_t *batch, const sweep_t *but)
{
    for (pst_link_t *l = s->sweeps.next; l != &s->sweeps; l = l->next) {
        sweep_t *w = PST_CONTAINER(l, sweep_t, link);
        if (w != but && pst_id_eq(&w->batch, batch))
            return w;
    }
    return NULL;
}

static void answer(sweep_t *w, pst_err_t e)
{
    if (!w->counted)
        return;
    w->counted = false;
    pst_store_answer_t a = {.type = w->type, .token = w->token, .err = e};
    pst_store_answer(w->s, &a);
}

static void finish(sweep_t *w, pst_err_t e)
{
    pst_store_t *s = w->s;
    pst_id_t batch = w->batch;
    answer(w, e);
    sweep_free(w);
    sweep_t *next = find(s, &batch, NULL);
    if (next && next->waits) {
        next->waits = false;
        begin(next);
    }
}

static void send(sweep_t *w, pst_cmd_t *c)
{
    c->write = true;
    pst_cmd_finish(c);
    pst_redis_send(w->s->conn, c);
}

/* False after a refusal, which ends the sweep. */
static bool accepted(sweep_t *w, const redisReply *r)
{
    pst_err_t e = pst_store_reply_err(w->s, r);
    if (e)
        finish(w, e);
    return e == PST_OK;
}

static void arg_batch(sweep_t *w, pst_cmd_t *c)
{
    pst_redis_key_t k;
    pst_key_batch(&k, &w->batch);
    pst_cmd_key(c, &k);
}

static void arg_segment(sweep_t *w, pst_cmd_t *c, uint32_t segment, pst_seg_key_t what)
{
    pst_redis_key_t k;
    pst_key_segment(&k, &w->batch, segment, what);
    pst_cmd_key(c, &k);
}

/* ---- the end of both --------------------------------------------------------------------------------------------- */

static void on_retired(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (accepted(w, r))
        finish(w, w->err);
}

static void retire(sweep_t *w)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("retire"), 2, on_retired, w);
    pst_cmd_str(c, PST_KEY_EPOCH);
    pst_cmd_str(c, PST_KEY_ACTIVE);
    pst_cmd_num(c, w->s->epoch);
    pst_cmd_id(c, &w->batch);
    send(w, c);
}

static void on_unlinked_batch(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (accepted(w, r))
        retire(w);
}

static void unlink_batch(sweep_t *w)
{
    pst_cmd_t *c = pst_cmd_new("UNLINK", on_unlinked_batch, w);
    arg_batch(w, c);
    send(w, c);
}

static void on_key_dropped(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (accepted(w, r))
        unlink_batch(w);
}

static void all_segments_freed(sweep_t *w)
{
    if (w->type == PST_STORE_END) {
        retire(w);
    } else if (!w->keyed) {
        unlink_batch(w);
    } else {
        pst_cmd_t *c = pst_cmd_fcall(PST_LUA("idem_drop"), 1, on_key_dropped, w);
        pst_cmd_key(c, &w->idem);
        pst_cmd_num(c, w->s->epoch);
        pst_cmd_id(c, &w->batch);
        send(w, c);
    }
}

/* ---- freeing a segment ---------------------------------------------------------------------------------------------- */

static void key_in_list(sweep_t *w, pst_redis_key_t *k, const pst_seg_key_t *list, unsigned n, uint64_t i)
{
    PST_ASSERT(i < n);
    pst_key_segment(k, &w->batch, w->segment, list[i]);
}

static const pst_seg_key_t end_keys[] = {PST_SEG_RETRY, PST_SEG_ENDS};
/* The directory and meta last: they say what else there is. */
static const pst_seg_key_t delete_keys[] = {PST_SEG_RETRY,       PST_SEG_ENDS,       PST_SEG_IDX,
                                            PST_SEG_NEW_HEADERS, PST_SEG_NEW_BODIES, PST_SEG_NEW_RESULTS,
                                            PST_SEG_ROUTES,      PST_SEG_DIR,        PST_SEG_META};

static uint64_t key_count(const sweep_t *w)
{
    if (w->type == PST_STORE_END)
        return (uint64_t)w->packs_n + PST_COUNT(end_keys);
    return 2 * (uint64_t)w->packs_n + w->results_n + PST_COUNT(delete_keys);
}

/* The i-th key of the segment to be freed: bodies; when deleting also headers and results; then the single ones. */
static void key_at(sweep_t *w, uint64_t i, pst_redis_key_t *k)
{
    if (i < w->packs_n) {
        pst_key_pack(k, &w->batch, w->segment, PST_PACK_BODIES, w->packs[i]);
        return;
    }
    i -= w->packs_n;
    if (w->type == PST_STORE_END) {
        key_in_list(w, k, end_keys, PST_COUNT(end_keys), i);
    } else if (i < w->packs_n) {
        pst_key_pack(k, &w->batch, w->segment, PST_PACK_HEADERS, w->packs[i]);
    } else if (i - w->packs_n < w->results_n) {
        pst_key_pack(k, &w->batch, w->segment, PST_PACK_RESULTS, (uint32_t)(i - w->packs_n));
    } else {
        key_in_list(w, k, delete_keys, PST_COUNT(delete_keys), i - w->packs_n - w->results_n);
    }
}

static void on_unlinked(pst_cmd_t *c, const redisReply *r);

static void unlink_some(sweep_t *w)
{
    uint64_t last = PST_MIN(key_count(w), w->key + KEYS_PER_UNLINK);
    pst_cmd_t *c = pst_cmd_new("UNLINK", on_unlinked, w);
    for (; w->key < last; w->key++) {
        pst_redis_key_t k;
        key_at(w, w->key, &k);
        pst_cmd_key(c, &k);
    }
    send(w, c);
}

static void on_unlinked(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (!accepted(w, r))
        return;
    if (w->key < key_count(w)) {
        unlink_some(w);
        return;
    }
    w->segment++;
    free_segment(w);
}

static void on_directory(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (!accepted(w, r))
        return;
    size_t n = r->type == REDIS_REPLY_ARRAY ? (size_t)r->elements : 0;
    free(w->packs);
    w->packs = pst_alloc(PST_MAX(n, (size_t)1) * sizeof *w->packs);
    w->packs_n = 0;
    for (size_t i = 0; i < n; i++) {
        pst_dir_value_t d;
        if (pst_dir_decode(pst_reply_view(r->element[i]), &d))
            w->packs[w->packs_n++] = d.entry.pack;
    }
    w->key = 0;
    unlink_some(w);
}

static void on_meta(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (!accepted(w, r))
        return;
    const redisReply *e = pst_reply_at(r, 0);
    if (!e || e->type == REDIS_REPLY_NIL) {
        w->gap++;
        w->segment++;
        free_segment(w);
        return;
    }
    w->gap = 0;
    w->results_n = (uint32_t)pst_reply_num(pst_reply_at(r, 1));
    pst_cmd_t *d = pst_cmd_new("HVALS", on_directory, w);
    arg_segment(w, d, w->segment, PST_SEG_DIR);
    send(w, d);
}

static void free_segment(sweep_t *w)
{
    bool known = w->segments != UINT32_MAX;
    if (known ? w->segment >= w->segments : w->gap >= SEGMENT_GAP_MAX) {
        all_segments_freed(w);
        return;
    }
    pst_cmd_t *c = pst_cmd_new("HMGET", on_meta, w);
    arg_segment(w, c, w->segment, PST_SEG_META);
    pst_cmd_str(c, "e");
    pst_cmd_str(c, "n");
    send(w, c);
}

/* ---- END ---------------------------------------------------------------------------------------------------------------- */

static void on_marked_ended(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (!accepted(w, r))
        return;
    drop_parameters(w);
    answer(w, PST_OK);
    free_segment(w);
}

static void mark_ended(sweep_t *w)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("batch_end"), 1, on_marked_ended, w);
    arg_batch(w, c);
    pst_cmd_num(c, w->s->epoch);
    pst_cmd_buf(c, &w->summary);
    send(w, c);
}

static void end_segments(sweep_t *w);

static void on_segment_ended(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    pst_err_t e = pst_store_reply_err(w->s, r);
    w->ended++;
    if (e)
        w->err = e;
    /* A refusal counts only when nothing more of the window is on its way: its answers would find no sweep. */
    if (!w->err)
        end_segments(w);
    else if (w->ended == w->ending)
        finish(w, w->err);
}

/* `where` gives result packs from 1, 0 for none; idx from 0, UINT32_MAX for none. */
static void arg_idx(const sweep_t *w, pst_cmd_t *c, uint32_t segment)
{
    uint32_t first = w->base[segment], n = w->base[segment + 1] - first;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    char *to = pst_buf_reserve(&b, 4 * (size_t)n);
    PST_ASSERT(to);
    for (uint32_t i = 0; i < n; i++)
        pst_le32_put(to + 4 * (size_t)i, w->where[first + i] - 1);
    b.n = 4 * (size_t)n;
    pst_cmd_buf(c, &b);
}

static void end_segments(sweep_t *w)
{
    while (w->ending < w->segments && w->ending - w->ended < END_WINDOW) {
        pst_cmd_t *c = pst_cmd_fcall(PST_LUA("seg_end"), 2, on_segment_ended, w);
        arg_segment(w, c, w->ending, PST_SEG_META);
        arg_segment(w, c, w->ending, PST_SEG_IDX);
        pst_cmd_num(c, w->s->epoch);
        arg_idx(w, c, w->ending);
        w->ending++;
        send(w, c);
    }
    if (w->ended == w->segments)
        mark_ended(w);
}

/* ---- DELETE ------------------------------------------------------------------------------------------------------------- */

static void remember_key(sweep_t *w, const redisReply *info)
{
    pst_arena_t a;
    pst_batch_info_t i;
    pst_arena_init(&a, 0);
    pst_view_t v = info ? pst_reply_view(info) : pst_view(NULL, 0);
    if (v.p && pst_batch_info_decode(v, &a, &i) == PST_OK && i.idempotency_key.n) {
        pst_key_idem(&w->idem, i.idempotency_key);
        w->keyed = true;
    }
    pst_arena_release(&a);
}

static void on_dropped(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (!accepted(w, r))
        return;
    const redisReply *segments = pst_reply_at(r, 0), *info = pst_reply_at(r, 1);
    bool exists = info && info->type == REDIS_REPLY_STRING;
    /* Packs are stored after the batch and freed before it: without it there are none. */
    if (!exists)
        w->err = PST_E_NOT_FOUND;
    if (w->segments == UINT32_MAX && !exists)
        w->segments = 0;
    else if (w->segments == UINT32_MAX && segments && segments->type == REDIS_REPLY_STRING)
        w->segments = (uint32_t)pst_reply_num(segments);
    remember_key(w, info);
    free_segment(w);
}

static void on_unlisted(pst_cmd_t *c, const redisReply *r)
{
    sweep_t *w = c->arg;
    if (!accepted(w, r))
        return;
    pst_cmd_t *d = pst_cmd_fcall(PST_LUA("batch_drop"), 1, on_dropped, w);
    arg_batch(w, d);
    pst_cmd_num(d, w->s->epoch);
    send(w, d);
}

static void unlist(sweep_t *w)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("unlist"), 3, on_unlisted, w);
    pst_cmd_str(c, PST_KEY_EPOCH);
    pst_cmd_str(c, PST_KEY_ACTIVE);
    pst_cmd_str(c, PST_KEY_ALL);
    pst_cmd_num(c, w->s->epoch);
    pst_cmd_id(c, &w->batch);
    send(w, c);
}

/* ---- both ----------------------------------------------------------------------------------------------------------------- */

static void begin(sweep_t *w)
{
    if (w->type == PST_STORE_DELETE)
        unlist(w);
    else if (w->base)
        end_segments(w);
    else
        free_segment(w);
}

static void begin_or_wait(sweep_t *w)
{
    w->waits = find(w->s, &w->batch, w) != NULL;
    if (!w->waits)
        begin(w);
}

void pst_sweep_begin(pst_store_t *s, const pst_store_op_t *op)
{
    bool end = op->type == PST_STORE_END;
    sweep_t *w = sweep_new(s, op->type, &op->batch, end ? op->u.end.segments : op->u.del.segments);
    w->token = op->token;
    w->counted = true;
    if (end) {
        uint32_t jobs = op->u.end.segments ? op->u.end.segment_base[op->u.end.segments] : 0;
        w->base = pst_calloc(op->u.end.segments + 1, sizeof *w->base);
        memcpy(w->base, op->u.end.segment_base, (op->u.end.segments + (size_t)1) * sizeof *w->base);
        w->where = pst_alloc(PST_MAX(jobs, 1u) * sizeof *w->where);
        if (jobs)
            memcpy(w->where, op->u.end.where, jobs * sizeof *w->where);
        pst_batch_info_encode(op->u.end.summary, &w->summary);
        PST_ASSERT(!w->summary.failed);
    }
    begin_or_wait(w);
}

void pst_sweep_resume(pst_store_t *s, const pst_id_t *batch, pst_store_op_type_t type, uint32_t segments)
{
    begin_or_wait(sweep_new(s, type, batch, segments));
}

void pst_sweeps_free(pst_store_t *s)
{
    while (!pst_link_empty(&s->sweeps))
        sweep_free(PST_CONTAINER(s->sweeps.next, sweep_t, link));
}
