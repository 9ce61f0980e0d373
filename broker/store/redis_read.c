/* redis_read.c - queries and the registry of workers: reads that fail with the connection instead of being repeated. */
#include "store/redis_codec.h"
#include "store/redis_store.h"

typedef struct query {
    pst_link_t link;
    pst_store_t *s;
    pst_store_read_fn *fn;
    void *arg;
} query_t;

static query_t *query_new(pst_store_t *s, pst_store_read_fn *fn, void *arg)
{
    query_t *q = pst_alloc(sizeof *q);
    *q = (query_t){.s = s, .fn = fn, .arg = arg};
    pst_link_before(&s->reads, &q->link);
    return q;
}

static void query_free(query_t *q)
{
    pst_link_remove(&q->link);
    free(q);
}

void pst_reads_free(pst_store_t *s)
{
    while (!pst_link_empty(&s->reads))
        query_free(PST_CONTAINER(s->reads.next, query_t, link));
}

static void query_done(query_t *q, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    pst_store_read_fn *fn = q->fn;
    void *arg = q->arg;
    query_free(q);
    fn(arg, e, values, n);
}

/* True if there is no usable reply, and the query has been told so. */
static bool failed(query_t *q, const redisReply *r)
{
    if (r && r->type == REDIS_REPLY_ARRAY)
        return false;
    query_done(q, r ? PST_E_STORE_BAD : PST_E_STORE_DOWN, NULL, 0);
    return true;
}

static void send(pst_store_t *s, pst_cmd_t *c)
{
    c->once = true;
    pst_cmd_finish(c);
    pst_redis_send(s->conn, c);
}

/* The reply's elements are the values. */
static void on_values(pst_cmd_t *c, const redisReply *r)
{
    query_t *q = c->arg;
    if (failed(q, r))
        return;
    uint32_t n = (uint32_t)r->elements;
    pst_view_t *v = pst_alloc(PST_MAX(n, 1u) * sizeof *v);
    for (uint32_t i = 0; i < n; i++)
        v[i] = pst_reply_view(r->element[i]);
    query_done(q, PST_OK, v, n);
    free(v);
}

static void arg_pack(pst_cmd_t *c, const pst_id_t *batch, uint32_t segment, pst_pack_key_t what, uint32_t number)
{
    pst_redis_key_t k;
    pst_key_pack(&k, batch, segment, what, number);
    pst_cmd_key(c, &k);
}

void pst_store_read_results(pst_store_t *s, const pst_id_t *batch, uint32_t segment, uint32_t first, uint32_t count,
                            pst_store_read_fn *fn, void *arg)
{
    PST_ASSERT(count > 0);
    pst_cmd_t *c = pst_cmd_new("MGET", on_values, query_new(s, fn, arg));
    for (uint32_t i = 0; i < count; i++)
        arg_pack(c, batch, segment, PST_PACK_RESULTS, first + i);
    send(s, c);
}

void pst_store_read_headers(pst_store_t *s, const pst_id_t *batch, uint32_t segment, const uint32_t *packs, uint32_t n,
                            pst_store_read_fn *fn, void *arg)
{
    PST_ASSERT(n > 0);
    pst_cmd_t *c = pst_cmd_new("MGET", on_values, query_new(s, fn, arg));
    for (uint32_t i = 0; i < n; i++)
        arg_pack(c, batch, segment, PST_PACK_HEADERS, packs[i]);
    send(s, c);
}

static void on_batch(pst_cmd_t *c, const redisReply *r)
{
    query_t *q = c->arg;
    if (failed(q, r))
        return;
    const redisReply *state = pst_reply_at(r, 0), *summary = pst_reply_at(r, 1);
    bool ended = state && summary && pst_view_eqs(pst_reply_view(state), "2");
    char segments[4];
    pst_le32_put(segments, (uint32_t)pst_reply_num(pst_reply_at(r, 2)));
    pst_view_t v[2] = {ended ? pst_reply_view(summary) : pst_view(NULL, 0), pst_view(segments, sizeof segments)};
    query_done(q, PST_OK, v, 2);
}

void pst_store_read_batch(pst_store_t *s, const pst_id_t *batch, pst_store_read_fn *fn, void *arg)
{
    pst_redis_key_t k;
    pst_key_batch(&k, batch);
    pst_cmd_t *c = pst_cmd_new("HMGET", on_batch, query_new(s, fn, arg));
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "st");
    pst_cmd_str(c, "su");
    pst_cmd_str(c, "sg");
    send(s, c);
}

static int by_pack(const void *x, const void *y)
{
    uint32_t a = pst_le32_get(x), b = pst_le32_get(y);
    return a < b ? -1 : a > b;
}

/* Entries without what follows them in the directory, in pack order; malloc'd. */
static char *entries(const redisReply *dir, size_t *ret_bytes)
{
    size_t n = dir && dir->type == REDIS_REPLY_ARRAY ? (size_t)dir->elements : 0, at = 0;
    char *bytes = pst_alloc(n * PST_ENTRY_BYTES + 1);
    for (size_t i = 0; i < n; i++) {
        pst_view_t v = pst_reply_view(dir->element[i]);
        if (v.n != PST_DIR_BYTES)
            continue;
        memcpy(bytes + at, v.p, PST_ENTRY_BYTES);
        at += PST_ENTRY_BYTES;
    }
    qsort(bytes, at / PST_ENTRY_BYTES, PST_ENTRY_BYTES, by_pack);
    *ret_bytes = at;
    return bytes;
}

static void on_segment(pst_cmd_t *c, const redisReply *r)
{
    query_t *q = c->arg;
    if (failed(q, r))
        return;
    char n[4];
    size_t bytes;
    pst_le32_put(n, (uint32_t)pst_reply_num(pst_reply_at(r, 0)));
    char *dir = entries(pst_reply_at(r, 1), &bytes);
    const redisReply *idx = pst_reply_at(r, 2);
    pst_view_t v[3] = {pst_view(n, sizeof n), pst_view(dir, bytes), idx ? pst_reply_view(idx) : pst_view(NULL, 0)};
    query_done(q, PST_OK, v, 3);
    free(dir);
}

void pst_store_read_segment(pst_store_t *s, const pst_id_t *batch, uint32_t segment, pst_store_read_fn *fn, void *arg)
{
    static const pst_seg_key_t keys[] = {PST_SEG_META, PST_SEG_DIR, PST_SEG_IDX};
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("seg_read"), PST_COUNT(keys), on_segment, query_new(s, fn, arg));
    for (unsigned i = 0; i < PST_COUNT(keys); i++) {
        pst_redis_key_t k;
        pst_key_segment(&k, batch, segment, keys[i]);
        pst_cmd_key(c, &k);
    }
    send(s, c);
}

void pst_store_read_list(pst_store_t *s, const pst_id_t *after, uint32_t limit, pst_store_read_fn *fn, void *arg)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("list"), 1, on_values, query_new(s, fn, arg));
    pst_cmd_str(c, PST_KEY_ALL);
    pst_cmd_num(c, (uint64_t)limit + 1);
    if (after) {
        pst_cmd_id(c, after);
        pst_cmd_num(c, pst_id_wall_ms(after));
    }
    send(s, c);
}

/* ---- workers -------------------------------------------------------------------------------------------------------- */

static void on_worker(pst_cmd_t *c, const redisReply *r)
{
    (void)pst_store_reply_err(c->arg, r);
}

void pst_store_worker(pst_store_t *s, pst_view_t name, bool here)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("worker"), 1, on_worker, s);
    pst_cmd_str(c, PST_KEY_WORKERS);
    pst_cmd_arg(c, name.p, name.n);
    pst_cmd_num(c, here);
    pst_cmd_finish(c);
    pst_redis_send(s->conn, c);
}

typedef struct names {
    pst_arena_t *a;
    pst_names_t v;
    pst_err_t err;
    bool done;
} names_t;

static void on_names(void *arg, pst_err_t e, const pst_view_t *values, uint32_t n)
{
    names_t *x = arg;
    x->done = true;
    x->err = e;
    if (e)
        return;
    x->v.v = pst_arena_get(x->a, PST_MAX(n, 1u) * sizeof *values);
    for (uint32_t i = 0; i < n && x->v.v; i++) {
        x->v.v[i] = pst_arena_copy(x->a, values[i]);
        x->v.n++;
        if (!x->v.v[i].p)
            x->err = PST_E_NOMEM;
    }
    if (!x->v.v)
        x->err = PST_E_NOMEM;
}

pst_err_t pst_store_workers(pst_store_t *s, pst_arena_t *a, pst_names_t *ret, pst_errbuf_t *eb)
{
    names_t x = {.a = a};
    pst_cmd_t *c = pst_cmd_new("SMEMBERS", on_values, query_new(s, on_names, &x));
    pst_cmd_str(c, PST_KEY_WORKERS);
    send(s, c);
    s->quiet = true;
    bool done = pst_redis_pump(s->conn, &x.done, PST_NEVER);
    s->quiet = false;
    PST_ASSERT(done);
    if (x.err)
        return pst_errf(eb, x.err, "the workers known to Redis cannot be read: %s", pst_redis_why(s->conn));
    *ret = x.v;
    return PST_OK;
}

pst_blob_t *pst_store_recent_results(const pst_store_t *s, const pst_id_t *batch, uint32_t segment, uint32_t n)
{
    return pst_recent_get(s->recent, batch, segment, n);
}
