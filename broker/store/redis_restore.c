/* redis_restore.c - reading every active batch back.
 *
 * Batches are taken over some hundreds at a time; then their segments are read in order, a window of them on the way at
 * once, five commands each.  Redis answers in order, so one segment is in the making at any time and only it is held in
 * memory.  The same commands that read take the batch and the segment over: from then on an older broker's
 * writes are refused. */
#include <stdio.h>
#include <stdlib.h>

#include "store/redis_codec.h"
#include "store/redis_store.h"

#define BATCHES_AT_ONCE 256u
#define SEGMENTS_AT_ONCE 32u
#define SEGMENT_GAP_MAX PST_UPLOAD_PACKS_MAX /* see redis_sweep.c */

typedef struct taken { /* a batch taken over */
    pst_id_t id;
    bool live;          /* to be reported: staging or accepted */
    bool begun;         /* PST_RESTORED_BATCH was reported */
    bool committed;
    pst_restored_t head;
    uint32_t limit;     /* segments to ask for; grows while a staging batch turns out to have more */
    uint32_t packs;
    uint64_t jobs;      /* found in its directories */
} taken_t;

typedef struct restore {
    pst_store_t *s;
    void (*fn)(void *arg, const pst_restored_t *r);
    void *arg;
    pst_errbuf_t *eb;
    pst_err_t err;
    pst_id_t *ids;
    size_t ids_n;
    pst_arena_t batch_arena;
    taken_t taken[BATCHES_AT_ONCE];
    uint32_t taken_n;
    /* what is asked next */
    uint32_t batch, segment;
    uint32_t out;       /* segments on the way */
    uint32_t asked;     /* commands unanswered */
    bool done;          /* asked is 0: for the pump */
    /* the segment being answered */
    pst_arena_t arena;
    bool found;
    uint32_t results_n; /* result packs it should have */
    pst_seg_stats_t stats;
    pst_dir_value_t *dir;
    uint32_t dir_n;
} restore_t;

static void fail(restore_t *r, pst_err_t e, const pst_id_t *batch, const char *what)
{
    if (r->err)
        return;
    char text[PST_BATCH_TEXT_LEN + 1] = "the list of batches";
    if (batch)
        pst_id_text(batch, text);
    r->err = pst_errf(r->eb, e, "%s in Redis cannot be read back: %s", text, what);
}

static void fail_reply(restore_t *r, const pst_id_t *batch, const redisReply *reply)
{
    if (!reply)
        fail(r, PST_E_STORE_DOWN, batch, pst_redis_why(r->s->conn));
    else if (strncmp(reply->str, "FENCED ", 7) == 0)
        fail(r, PST_E_FENCED, batch, "another broker took over");
    else
        fail(r, PST_E_STORE_BAD, batch, reply->str);
}

static void send(restore_t *r, pst_cmd_t *c, uint64_t token)
{
    c->once = true;
    c->token = token;
    r->asked++;
    r->done = false;
    pst_cmd_finish(c);
    pst_redis_send(r->s->conn, c);
}

/* Counts a reply; false if there is nothing to be had from it. */
static bool got(restore_t *r, const pst_id_t *batch, const redisReply *reply)
{
    r->asked--;
    r->done = r->asked == 0;
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        fail_reply(r, batch, reply);
    return !r->err;
}

/* Every command is answered, or fails with the connection: both end it. */
static void pump(restore_t *r)
{
    r->done = r->asked == 0;
    bool done = pst_redis_pump(r->s->conn, &r->done, PST_NEVER);
    PST_ASSERT(done);
}

/* ---- which batches ----------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(pst_id_t));
}

static void on_active(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    if (!got(r, NULL, reply) || reply->type != REDIS_REPLY_ARRAY)
        return;
    r->ids = pst_alloc(PST_MAX((size_t)reply->elements, (size_t)1) * sizeof *r->ids);
    for (size_t i = 0; i < (size_t)reply->elements; i++) {
        pst_view_t v = pst_reply_view(reply->element[i]);
        if (v.n == sizeof(pst_id_t))
            memcpy(r->ids[r->ids_n++].b, v.p, v.n);
    }
    qsort(r->ids, r->ids_n, sizeof *r->ids, by_id);
}

static void ask_active(restore_t *r)
{
    pst_cmd_t *c = pst_cmd_new("SMEMBERS", on_active, r);
    pst_cmd_str(c, PST_KEY_ACTIVE);
    send(r, c, 0);
}

/* "LIMIT:SOURCE" of each rate, as LIMIT_KEEP writes them; what does not read is nothing learned. */
static bool read_limits(pst_view_t text, pst_restored_t *e)
{
    char copy[256];
    if (text.n >= sizeof copy)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    char *at = copy;
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        char *end;
        e->u.limits.limit[i] = strtoull(at, &end, 10);
        if (end == at || *end != ':')
            return false;
        at = end + 1;
        e->u.limits.source[i] = (uint8_t)strtoul(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

static void on_learned(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    if (!got(r, NULL, reply))
        return;
    for (size_t i = 0; pst_reply_at(reply, i + 1); i += 2) {
        pst_restored_t e = {.type = PST_RESTORED_LIMITS, .u.limits.name = pst_reply_view(reply->element[i])};
        if (read_limits(pst_reply_view(reply->element[i + 1]), &e))
            r->fn(r->arg, &e);
    }
}

static void ask_learned(restore_t *r)
{
    pst_cmd_t *c = pst_cmd_new("HGETALL", on_learned, r);
    pst_cmd_str(c, PST_KEY_LEARNED);
    send(r, c, 0);
}

/* The value of a field in HGETALL's reply, NULL if it has none. */
static const redisReply *field(const redisReply *reply, const char *name)
{
    for (size_t i = 0; pst_reply_at(reply, i + 1); i += 2)
        if (pst_view_eqs(pst_reply_view(reply->element[i]), name))
            return reply->element[i + 1];
    return NULL;
}

static uint64_t field_num(const redisReply *reply, const char *name)
{
    return pst_reply_num(field(reply, name));
}

static void read_batch(restore_t *r, taken_t *t, const redisReply *reply)
{
    pst_restored_t *h = &t->head;
    *h = (pst_restored_t){.type = PST_RESTORED_BATCH, .batch = t->id};
    const redisReply *info = field(reply, "i");
    pst_view_t bytes = info ? pst_arena_copy(&r->batch_arena, pst_reply_view(info)) : pst_view(NULL, 0);
    if (!bytes.p || pst_batch_info_decode(bytes, &r->batch_arena, &h->u.batch.info)) {
        fail(r, PST_E_STORE_BAD, &t->id, "its description is damaged");
        return;
    }
    h->u.batch.drain = (pst_drain_t)PST_MIN(field_num(reply, "dr"), (uint64_t)PST_DRAIN_BUDGET);
    h->u.batch.info.cancelling_ms = field_num(reply, "dw");
    t->live = true;
    t->limit = SEGMENT_GAP_MAX;
    if (!t->committed)
        return;
    h->u.batch.info.accepted_ms = field_num(reply, "ac");
    h->u.batch.info.expires_ms = field_num(reply, "ex");
    h->u.batch.packs = (uint32_t)field_num(reply, "pk");
    h->u.batch.jobs = (uint32_t)field_num(reply, "jb");
    h->u.batch.segments = t->limit = (uint32_t)field_num(reply, "sg");
}

static void on_taken(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    taken_t *t = &r->taken[c->token];
    if (!got(r, &t->id, reply))
        return;
    uint64_t state = field_num(reply, "st");
    const redisReply *segments = field(reply, "sg");
    uint32_t segments_n = segments ? (uint32_t)pst_reply_num(segments) : UINT32_MAX;
    /* Listed and nothing more, because the OPEN broke off there; or its deletion did. */
    if (!field(reply, "st") || state == 3)
        pst_sweep_resume(r->s, &t->id, PST_STORE_DELETE, segments_n);
    else if (state == 2)
        pst_sweep_resume(r->s, &t->id, PST_STORE_END, segments ? segments_n : 0);
    else {
        t->committed = state == 1;
        read_batch(r, t, reply);
    }
}

static void take_batches(restore_t *r, const pst_id_t *ids, uint32_t n)
{
    pst_arena_clear(&r->batch_arena);
    r->taken_n = n;
    for (uint32_t i = 0; i < n; i++) {
        r->taken[i] = (taken_t){.id = ids[i]};
        pst_redis_key_t k;
        pst_key_batch(&k, &ids[i]);
        pst_cmd_t *c = pst_cmd_fcall(PST_LUA("batch_take"), 1, on_taken, r);
        pst_cmd_key(c, &k);
        pst_cmd_num(c, r->s->epoch);
        send(r, c, i);
    }
    pump(r);
}

/* ---- reporting ------------------------------------------------------------------------------------------------------ */

static void begin_batch(restore_t *r, taken_t *t)
{
    if (t->begun || r->err)
        return;
    t->begun = true;
    r->fn(r->arg, &t->head);
}

static void end_batch(restore_t *r, taken_t *t)
{
    begin_batch(r, t);
    const pst_restored_t *h = &t->head;
    if (t->committed && (t->packs != h->u.batch.packs || t->jobs != h->u.batch.jobs)) {
        char what[160];
        snprintf(what, sizeof what, "it was accepted with %u packs and %u jobs, there are %u and %llu", h->u.batch.packs,
                 h->u.batch.jobs, t->packs, (unsigned long long)t->jobs);
        fail(r, PST_E_STORE_BAD, &t->id, what);
    }
    if (r->err)
        return;
    pst_restored_t e = {.type = PST_RESTORED_BATCH_END, .batch = t->id};
    r->fn(r->arg, &e);
}

static taken_t *batch_of(restore_t *r, const pst_cmd_t *c)
{
    return &r->taken[c->token >> 32];
}

static uint32_t segment_of(const pst_cmd_t *c)
{
    return (uint32_t)c->token;
}

/* ---- one segment: five replies in this order --------------------------------------------------------------------------- */

static void on_seg_taken(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    taken_t *t = batch_of(r, c);
    pst_arena_clear(&r->arena);
    r->found = false;
    r->results_n = 0;
    r->stats = (pst_seg_stats_t){0};
    if (!got(r, &t->id, reply))
        return;
    begin_batch(r, t);
    r->found = pst_reply_at(reply, 0) != NULL;
    if (!r->found)
        return;
    r->results_n = (uint32_t)pst_reply_num(pst_reply_at(reply, 0));
    pst_view_t stats = pst_reply_view(pst_reply_at(reply, 1));
    if (stats.n && pst_stats_decode(stats, &r->arena, &r->stats))
        fail(r, PST_E_STORE_BAD, &t->id, "the account of a segment is damaged");
}

static int by_pack(const void *x, const void *y)
{
    const pst_dir_value_t *a = x, *b = y;
    return a->entry.pack < b->entry.pack ? -1 : a->entry.pack > b->entry.pack;
}

static void on_dir(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    taken_t *t = batch_of(r, c);
    r->dir_n = 0;
    if (!got(r, &t->id, reply))
        return;
    size_t n = reply->type == REDIS_REPLY_ARRAY ? (size_t)reply->elements : 0;
    r->dir = pst_arena_get(&r->arena, PST_MAX(n, (size_t)1) * sizeof *r->dir);
    PST_ASSERT(r->dir);
    for (size_t i = 0; i < n; i++) {
        if (pst_dir_decode(pst_reply_view(reply->element[i]), &r->dir[r->dir_n]))
            r->dir_n++;
        else
            fail(r, PST_E_STORE_BAD, &t->id, "a directory entry is damaged");
    }
    qsort(r->dir, r->dir_n, sizeof *r->dir, by_pack);
}

static void report_pack(restore_t *r, taken_t *t, uint32_t segment, const pst_dir_value_t *d, pst_view_t route)
{
    t->packs++;
    t->jobs += d->entry.jobs;
    pst_restored_t e = {.type = PST_RESTORED_PACK, .batch = t->id, .segment = segment};
    e.u.pack.entry = d->entry;
    e.u.pack.url = d->url;
    e.u.pack.rejected = d->rejected;
    e.u.pack.route = route;
    r->fn(r->arg, &e);
}

static void on_routes(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    taken_t *t = batch_of(r, c);
    if (!got(r, &t->id, reply))
        return;
    size_t n = reply->type == REDIS_REPLY_ARRAY ? (size_t)reply->elements / 2 : 0;
    pst_view_t *route = pst_arena_get(&r->arena, PST_MAX(n, (size_t)1) * sizeof *route);
    PST_ASSERT(route);
    memset(route, 0, n * sizeof *route);
    for (size_t i = 0; i < n; i++) {
        uint64_t number = pst_reply_num(reply->element[2 * i + 1]);
        if (number < n)
            route[number] = pst_reply_view(reply->element[2 * i]);
    }
    for (uint32_t i = 0; i < r->dir_n && !r->err; i++) {
        uint16_t number = r->dir[i].route;
        if (number < n && route[number].p)
            report_pack(r, t, segment_of(c), &r->dir[i], route[number]);
        else
            fail(r, PST_E_STORE_BAD, &t->id, "a pack's route is missing");
    }
}

static void on_ends(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    taken_t *t = batch_of(r, c);
    if (!got(r, &t->id, reply))
        return;
    pst_restored_t e = {.type = PST_RESTORED_RESULTS, .batch = t->id, .segment = segment_of(c)};
    pst_view_t bytes = pst_reply_view(reply);
    uint32_t count = 0;
    while (pst_ends_next(&bytes, &r->arena, &e.u.results.n, &e.u.results.ended, &e.u.results.ended_n)) {
        if (e.u.results.n != count++)
            break;
        r->fn(r->arg, &e);
    }
    if (bytes.n || count != r->results_n)
        fail(r, PST_E_STORE_BAD, &t->id, "the list of ended jobs does not match the results");
}

static void finish_segment(restore_t *r, taken_t *t, uint32_t segment);

static void on_retries(pst_cmd_t *c, const redisReply *reply)
{
    restore_t *r = c->arg;
    taken_t *t = batch_of(r, c);
    if (got(r, &t->id, reply) && r->found) {
        pst_restored_t e = {.type = PST_RESTORED_RETRY, .batch = t->id, .segment = segment_of(c)};
        for (size_t i = 0; pst_reply_at(reply, i) && !r->err; i++) {
            if (pst_retry_decode(pst_reply_view(reply->element[i]), &r->arena, &e.u.retry))
                fail(r, PST_E_STORE_BAD, &t->id, "a waiting job's record is damaged");
            else
                r->fn(r->arg, &e);
        }
        e = (pst_restored_t){.type = PST_RESTORED_STATS, .batch = t->id, .segment = segment_of(c), .u.stats = r->stats};
        if (!r->err && r->results_n)
            r->fn(r->arg, &e);
    }
    finish_segment(r, t, segment_of(c));
}

static pst_cmd_t *seg_cmd(restore_t *r, const char *name, pst_cmd_fn *fn, const taken_t *t, uint32_t segment,
                          pst_seg_key_t what)
{
    pst_redis_key_t k;
    pst_key_segment(&k, &t->id, segment, what);
    pst_cmd_t *c = pst_cmd_new(name, fn, r);
    pst_cmd_key(c, &k);
    return c;
}

static void ask_segment(restore_t *r, uint32_t batch, uint32_t segment)
{
    const taken_t *t = &r->taken[batch];
    uint64_t token = (uint64_t)batch << 32 | segment;
    pst_redis_key_t meta;
    pst_key_segment(&meta, &t->id, segment, PST_SEG_META);
    pst_cmd_t *take = pst_cmd_fcall(PST_LUA("seg_take"), 1, on_seg_taken, r);
    pst_cmd_key(take, &meta);
    pst_cmd_num(take, r->s->epoch);
    send(r, take, token);
    send(r, seg_cmd(r, "HVALS", on_dir, t, segment, PST_SEG_DIR), token);
    send(r, seg_cmd(r, "HGETALL", on_routes, t, segment, PST_SEG_ROUTES), token);
    send(r, seg_cmd(r, "GET", on_ends, t, segment, PST_SEG_ENDS), token);
    send(r, seg_cmd(r, "HVALS", on_retries, t, segment, PST_SEG_RETRY), token);
    r->out++;
}

/* Keeps the window full.  A batch whose last segment is not known beforehand is seen through before the next begins. */
static void ask_more(restore_t *r)
{
    while (r->out < SEGMENTS_AT_ONCE && r->batch < r->taken_n && !r->err) {
        taken_t *t = &r->taken[r->batch];
        if (t->live && r->segment < t->limit) {
            ask_segment(r, r->batch, r->segment++);
            continue;
        }
        bool ends_itself = t->committed && t->limit > 0;
        if (t->live && !ends_itself) {
            if (r->out > 0)
                return;
            end_batch(r, t);
        }
        r->batch++;
        r->segment = 0;
    }
}

static void finish_segment(restore_t *r, taken_t *t, uint32_t segment)
{
    r->out--;
    if (!t->committed && r->found)
        t->limit = PST_MAX(t->limit, segment + 1 + SEGMENT_GAP_MAX);
    if (t->committed && segment + 1 == t->limit && !r->err)
        end_batch(r, t);
    ask_more(r);
}

static void restore(restore_t *r)
{
    ask_learned(r);
    ask_active(r);
    pump(r);
    for (size_t i = 0; i < r->ids_n && !r->err; i += r->taken_n) {
        take_batches(r, r->ids + i, (uint32_t)PST_MIN(r->ids_n - i, (size_t)BATCHES_AT_ONCE));
        r->batch = r->segment = 0;
        ask_more(r);
        pump(r);
    }
}

pst_err_t pst_store_restore(pst_store_t *s, void (*fn)(void *arg, const pst_restored_t *r), void *arg, pst_errbuf_t *eb)
{
    restore_t *r = pst_calloc(1, sizeof *r);
    *r = (restore_t){.s = s, .fn = fn, .arg = arg, .eb = eb};
    pst_arena_init(&r->batch_arena, 0);
    pst_arena_init(&r->arena, 0);
    s->quiet = true;
    restore(r);
    s->quiet = false;
    pst_err_t e = r->err;
    pst_arena_release(&r->batch_arena);
    pst_arena_release(&r->arena);
    free(r->ids);
    free(r);
    return e;
}
