#include "store/redis_store.h"

#include <stdio.h>

#include "proc/clock.h"
#include "store/redis_codec.h"

#define OPEN_WAIT (10 * PST_SEC)
#define RECENT_BYTES_MAX ((size_t)8 << 20)
#define SCRATCH_KEEP_BYTES ((size_t)1 << 20)
#define NEARLY_FULL_PERCENT 90 /* of maxmemory: from there on results go as calls alone */

/* ---- answers ---------------------------------------------------------------------------------------------------- */

uint64_t pst_reply_num(const redisReply *r)
{
    if (!r)
        return 0;
    if (r->type == REDIS_REPLY_INTEGER)
        return r->integer > 0 ? (uint64_t)r->integer : 0;
    /* hiredis ends every string with a NUL. */
    return r->type == REDIS_REPLY_STRING ? strtoull(r->str, NULL, 10) : 0;
}

void pst_store_fatal(pst_store_t *s, const char *why)
{
    if (s->dead)
        return;
    s->dead = true;
    pst_redis_stop(s->conn, why);
    if (!s->opening)
        s->ev.fatal(s->ev.arg, why);
}

static bool starts(const redisReply *r, const char *code)
{
    return strncmp(r->str, code, strlen(code)) == 0;
}

pst_err_t pst_store_reply_err(pst_store_t *s, const redisReply *r)
{
    if (r->type != REDIS_REPLY_ERROR)
        return PST_OK;
    if (starts(r, "OOM "))
        return PST_E_STORE_FULL;
    if (starts(r, "NOTFOUND "))
        return PST_E_NOT_FOUND;
    if (starts(r, "ENDED "))
        return PST_E_EXISTS;
    if (starts(r, "FENCED ")) {
        if (!s->fenced)
            s->ev.fatal(s->ev.arg, "another broker took over: this one ends");
        s->fenced = true;
        return PST_E_FENCED;
    }
    char why[256];
    snprintf(why, sizeof why, "Redis refuses a write: %.200s", r->str);
    pst_store_fatal(s, why);
    return PST_E_STORE_BAD;
}

void pst_store_answer(pst_store_t *s, const pst_store_answer_t *a)
{
    PST_ASSERT(s->pending > 0);
    s->pending--;
    if (a->token)
        s->ev.answer(s->ev.arg, a);
}

static pst_store_answer_t answer_of(const pst_cmd_t *c)
{
    return (pst_store_answer_t){.type = (pst_store_op_type_t)c->op, .token = c->token};
}

/* Answers of operations that are done or refused, and nothing else. */
static void on_done(pst_cmd_t *c, const redisReply *r)
{
    pst_store_t *s = c->arg;
    pst_store_answer_t a = answer_of(c);
    a.err = pst_store_reply_err(s, r);
    pst_store_answer(s, &a);
}

static void send_op(pst_store_t *s, pst_cmd_t *c, const pst_store_op_t *op)
{
    c->op = op->type;
    c->token = op->token;
    c->write = op->type != PST_STORE_LOAD && op->type != PST_STORE_LIMIT_TAKE && op->type != PST_STORE_LIMIT_GIVE &&
               op->type != PST_STORE_LIMIT_BLOCK && op->type != PST_STORE_LIMIT_KEEP;
    pst_cmd_finish(c);
    pst_redis_send(s->conn, c);
}

/* ---- OPEN: a place in the lists; the batch; who has its idempotency key.  Keys of three hash tags, so three calls; they
 * go together, and whatever follows can rely on them.  If one is refused the OPEN is, and the core deletes the rest. ---- */

typedef struct opening {
    pst_link_t link;
    pst_store_t *s;
    uint64_t token;
    pst_err_t err;           /* the first */
    bool keyed;
} opening_t;

static void opening_free(opening_t *o)
{
    pst_link_remove(&o->link);
    free(o);
}

static void open_done(opening_t *o, pst_id_t holder)
{
    pst_store_answer_t a = {.type = PST_STORE_OPEN, .token = o->token, .err = o->err, .holder = holder};
    pst_store_t *s = o->s;
    opening_free(o);
    pst_store_answer(s, &a);
}

static pst_id_t reply_id(const redisReply *r)
{
    pst_id_t id = {{0}};
    pst_view_t v = pst_reply_view(r);
    if (v.n == sizeof id.b)
        memcpy(id.b, v.p, sizeof id.b);
    return id;
}

static void arg_batch_key(pst_cmd_t *c, const pst_store_op_t *op)
{
    pst_redis_key_t k;
    pst_key_batch(&k, &op->batch);
    pst_cmd_key(c, &k);
}

static void on_open_holder(pst_cmd_t *c, const redisReply *r)
{
    opening_t *o = c->arg;
    open_done(o, o->err ? (pst_id_t){{0}} : reply_id(r));
}

static void on_opened(pst_cmd_t *c, const redisReply *r)
{
    opening_t *o = c->arg;
    pst_err_t e = pst_store_reply_err(o->s, r);
    o->err = o->err ? o->err : e;
    if (!o->keyed)
        open_done(o, (pst_id_t){{0}});
}

static void on_enlisted(pst_cmd_t *c, const redisReply *r)
{
    opening_t *o = c->arg;
    o->err = pst_store_reply_err(o->s, r);
}

/* All of them as writes, the read too: with replicated durability what is no write is answered out of turn. */
static void send_part(pst_store_t *s, pst_cmd_t *c)
{
    c->write = true;
    pst_cmd_finish(c);
    pst_redis_send(s->conn, c);
}

static void submit_open(pst_store_t *s, const pst_store_op_t *op)
{
    const pst_batch_info_t *info = op->u.open.info;
    opening_t *o = pst_calloc(1, sizeof *o);
    *o = (opening_t){.s = s, .token = op->token, .keyed = info->idempotency_key.n > 0};
    pst_link_before(&s->openings, &o->link);
    pst_cmd_t *enlist = pst_cmd_fcall(PST_LUA("enlist"), 3, on_enlisted, o);
    pst_cmd_str(enlist, PST_KEY_EPOCH);
    pst_cmd_str(enlist, PST_KEY_ACTIVE);
    pst_cmd_str(enlist, PST_KEY_ALL);
    pst_cmd_num(enlist, s->epoch);
    pst_cmd_id(enlist, &op->batch);
    pst_cmd_num(enlist, pst_id_wall_ms(&op->batch)); /* lists are in the order of ids, whenever each was opened */
    send_part(s, enlist);
    pst_buf_t encoded;
    pst_buf_init(&encoded, 0);
    pst_batch_info_encode(info, &encoded);
    pst_cmd_t *open = pst_cmd_fcall(PST_LUA("open"), 1, on_opened, o);
    arg_batch_key(open, op);
    pst_cmd_num(open, s->epoch);
    pst_cmd_buf(open, &encoded);
    send_part(s, open);
    if (!o->keyed)
        return;
    pst_redis_key_t idem;
    pst_key_idem(&idem, info->idempotency_key);
    pst_cmd_t *holder = pst_cmd_new("HGET", on_open_holder, o);
    pst_cmd_key(holder, &idem);
    pst_cmd_str(holder, "b");
    send_part(s, holder);
}

/* ---- operations of one command ------------------------------------------------------------------------------------------ */

static void arg_seg_key(pst_cmd_t *c, const pst_store_op_t *op, pst_seg_key_t what)
{
    pst_redis_key_t k;
    pst_key_segment(&k, &op->batch, op->segment, what);
    pst_cmd_key(c, &k);
}

static void arg_pack_key(pst_cmd_t *c, const pst_store_op_t *op, pst_pack_key_t what, uint32_t number)
{
    pst_redis_key_t k;
    pst_key_pack(&k, &op->batch, op->segment, what, number);
    pst_cmd_key(c, &k);
}

static void submit_put_pack(pst_store_t *s, const pst_store_op_t *op)
{
    uint32_t pack = op->u.put.entry.pack;
    pst_dir_value_t d = {.entry = op->u.put.entry, .url = op->u.put.url, .rejected = op->u.put.rejected};
    char entry[PST_DIR_BYTES - 2];
    pst_dir_encode(&d, entry);
    pst_cmd_t *c = pst_cmd_group(on_done, s);
    pst_cmd_begin(c, "MSET", 4);
    arg_seg_key(c, op, PST_SEG_NEW_HEADERS);
    pst_cmd_blob(c, op->u.put.headers);
    arg_seg_key(c, op, PST_SEG_NEW_BODIES);
    pst_cmd_blob(c, op->u.put.bodies);
    pst_cmd_call(c, PST_LUA("put_pack"), 7, 4);
    arg_seg_key(c, op, PST_SEG_META);
    arg_seg_key(c, op, PST_SEG_DIR);
    arg_seg_key(c, op, PST_SEG_ROUTES);
    arg_pack_key(c, op, PST_PACK_HEADERS, pack);
    arg_pack_key(c, op, PST_PACK_BODIES, pack);
    arg_seg_key(c, op, PST_SEG_NEW_HEADERS);
    arg_seg_key(c, op, PST_SEG_NEW_BODIES);
    pst_cmd_num(c, s->epoch);
    pst_cmd_num(c, pack);
    pst_cmd_arg(c, entry, sizeof entry);
    pst_cmd_arg(c, op->u.put.route.p, op->u.put.route.n);
    send_op(s, c, op);
}

static void on_claimed(pst_cmd_t *c, const redisReply *r)
{
    pst_store_t *s = c->arg;
    pst_store_answer_t a = answer_of(c);
    a.err = pst_store_reply_err(s, r);
    a.holder = reply_id(r);
    pst_store_answer(s, &a);
}

static void submit_claim(pst_store_t *s, const pst_store_op_t *op)
{
    pst_redis_key_t key;
    pst_key_idem(&key, op->u.claim.key);
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("idem_claim"), 1, on_claimed, s);
    pst_cmd_key(c, &key);
    pst_cmd_num(c, s->epoch);
    pst_cmd_id(c, &op->batch);
    if (op->u.claim.replace)
        pst_cmd_id(c, &op->u.claim.holder);
    else
        pst_cmd_str(c, "");
    send_op(s, c, op);
}

static void submit_commit(pst_store_t *s, const pst_store_op_t *op)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("commit"), 1, on_done, s);
    arg_batch_key(c, op);
    pst_cmd_num(c, s->epoch);
    pst_cmd_num(c, op->u.commit.packs);
    pst_cmd_num(c, op->u.commit.jobs);
    pst_cmd_num(c, op->u.commit.segments);
    pst_cmd_num(c, op->u.commit.accepted_ms);
    pst_cmd_num(c, op->u.commit.expires_ms);
    send_op(s, c, op);
}

static void arg_retry_field(pst_cmd_t *c, uint32_t pack, uint16_t slot)
{
    char field[24];
    int n = snprintf(field, sizeof field, "%u.%u", pack, slot);
    pst_cmd_arg(c, field, (size_t)n);
}

static void arg_stats(pst_cmd_t *c, const pst_seg_stats_t *stats)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_stats_encode(stats, &b);
    pst_cmd_buf(c, &b);
}

static void arg_ends(pst_cmd_t *c, uint32_t n, const pst_slot_ref_t *ended, uint32_t count)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_ends_encode(n, ended, count, &b);
    pst_cmd_buf(c, &b);
}

/* Readers may be given it only when it is stored, which is theirs to know. */
static pst_blob_t *encode_results(pst_store_t *s, const pst_store_op_t *op)
{
    pst_buf_clear(&s->scratch);
    pst_result_pack_encode(op->u.append.pack, &s->scratch);
    PST_ASSERT(!s->scratch.failed);
    pst_blob_t *pack = pst_blob_new(s->scratch.p, s->scratch.n);
    if (s->scratch.cap > SCRATCH_KEEP_BYTES)
        pst_buf_release(&s->scratch);
    pst_recent_put(s->recent, &op->batch, op->segment, op->u.append.n, pack);
    return pack;
}

/* The result pack is one msgpack value with the blobs inside it, so they are copied once, here; blob_refs need not be
 * kept. */
static void submit_append(pst_store_t *s, const pst_store_op_t *op)
{
    uint32_t n = op->u.append.n;
    /* Both travel through Lua's stack, which takes some thousands. */
    PST_ASSERT(op->u.append.spent_n <= PST_OUTCOMES_MAX && op->u.append.unretry_n <= PST_OUTCOMES_MAX);
    pst_blob_t *pack = encode_results(s, op);
    uint32_t keys = 5 + op->u.append.spent_n, args = 5 + op->u.append.unretry_n;
    pst_cmd_t *c;
    bool group = pack->n >= PST_CMD_CHUNK_BYTES_MIN && !pst_redis_full(s->conn);
    if (group) {
        c = pst_cmd_group(on_done, s);
        pst_cmd_begin(c, "SET", 2);
        arg_seg_key(c, op, PST_SEG_NEW_RESULTS);
        pst_cmd_blob(c, pack);
        pst_cmd_call(c, PST_LUA("append"), keys, args);
    } else {
        c = pst_cmd_fcall(PST_LUA("append"), keys, on_done, s);
    }
    arg_seg_key(c, op, PST_SEG_META);
    arg_pack_key(c, op, PST_PACK_RESULTS, n);
    arg_seg_key(c, op, PST_SEG_ENDS);
    arg_seg_key(c, op, PST_SEG_RETRY);
    arg_seg_key(c, op, PST_SEG_NEW_RESULTS);
    for (uint32_t i = 0; i < op->u.append.spent_n; i++)
        arg_pack_key(c, op, PST_PACK_BODIES, op->u.append.spent[i]);
    pst_cmd_num(c, s->epoch);
    pst_cmd_num(c, n);
    if (group)
        pst_cmd_hole(c);
    else
        pst_cmd_blob(c, pack);
    pst_blob_unref(&pack);
    arg_stats(c, op->u.append.stats);
    arg_ends(c, n, op->u.append.ended, op->u.append.pack->results_n);
    for (uint32_t i = 0; i < op->u.append.unretry_n; i++)
        arg_retry_field(c, op->u.append.unretry[i].pack, op->u.append.unretry[i].slot);
    send_op(s, c, op);
}

static void submit_retry(pst_store_t *s, const pst_store_op_t *op)
{
    const pst_retry_t *y = op->u.retry.retry;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_retry_encode(y, &b);
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("retry"), 2, on_done, s);
    arg_seg_key(c, op, PST_SEG_META);
    arg_seg_key(c, op, PST_SEG_RETRY);
    pst_cmd_num(c, s->epoch);
    arg_retry_field(c, y->pack, y->slot);
    pst_cmd_buf(c, &b);
    send_op(s, c, op);
}

static pst_blob_t *reply_blob(const redisReply *r)
{
    pst_view_t v = r ? pst_reply_view(r) : pst_view(NULL, 0);
    return v.p ? pst_blob_new(v.p, v.n) : NULL;
}

static void on_loaded(pst_cmd_t *c, const redisReply *r)
{
    pst_store_t *s = c->arg;
    pst_store_answer_t a = answer_of(c);
    a.err = pst_store_reply_err(s, r);
    if (!a.err) {
        bool bodies = pst_reply_at(r, 1) != NULL;
        a.headers = reply_blob(pst_reply_at(r, 0));
        a.bodies = bodies ? reply_blob(pst_reply_at(r, 1)) : NULL;
        if (!a.headers || (bodies && !a.bodies))
            a.err = PST_E_NOT_FOUND;
    }
    pst_blob_t *headers = a.headers, *loaded = a.bodies;
    pst_store_answer(s, &a);
    pst_blob_unref(&headers);
    pst_blob_unref(&loaded);
}

static void submit_load(pst_store_t *s, const pst_store_op_t *op)
{
    pst_cmd_t *c = pst_cmd_new("MGET", on_loaded, s);
    arg_pack_key(c, op, PST_PACK_HEADERS, op->u.load.pack);
    if (op->u.load.bodies)
        arg_pack_key(c, op, PST_PACK_BODIES, op->u.load.pack);
    send_op(s, c, op);
}

static void submit_cancelling(pst_store_t *s, const pst_store_op_t *op)
{
    pst_cmd_t *c = pst_cmd_fcall(PST_LUA("cancelling"), 1, on_done, s);
    arg_batch_key(c, op);
    pst_cmd_num(c, s->epoch);
    pst_cmd_num(c, op->u.cancelling.drain);
    pst_cmd_num(c, op->u.cancelling.wall_ms);
    send_op(s, c, op);
}

/* ---- rate budgets ------------------------------------------------------------------------------------------------------- */

static pst_cmd_t *limit_cmd(pst_store_t *s, const pst_store_op_t *op, const char *function, pst_cmd_fn *fn)
{
    pst_redis_key_t key;
    pst_key_limit(&key, op->u.limit.name);
    pst_cmd_t *c = pst_cmd_fcall(function, 1, fn, s);
    pst_cmd_key(c, &key);
    for (int i = 0; i < PST_RATE_COUNT; i++) {
        pst_cmd_num(c, op->u.limit.rate[i].limit);
        pst_cmd_num(c, op->u.limit.rate[i].cap);
        pst_cmd_num(c, op->u.limit.rate[i].amount);
        pst_cmd_num(c, op->u.limit.rate[i].least);
    }
    return c;
}

static void on_limit_taken(pst_cmd_t *c, const redisReply *r)
{
    pst_store_t *s = c->arg;
    pst_store_answer_t a = answer_of(c);
    a.err = pst_store_reply_err(s, r);
    a.wait_ms = pst_reply_num(pst_reply_at(r, 0));
    a.refused = a.err || a.wait_ms > 0;
    a.blocked = a.refused && pst_reply_num(pst_reply_at(r, 1)) == 1;
    for (unsigned i = 0; i < PST_RATE_COUNT && !a.refused; i++)
        a.granted[i] = pst_reply_num(pst_reply_at(r, 1 + i));
    pst_store_answer(s, &a);
}

static void submit_limit_take(pst_store_t *s, const pst_store_op_t *op)
{
    send_op(s, limit_cmd(s, op, PST_LUA("limit_take"), on_limit_taken), op);
}

static void submit_limit_give(pst_store_t *s, const pst_store_op_t *op)
{
    send_op(s, limit_cmd(s, op, PST_LUA("limit_give"), on_done), op);
}

static void submit_limit_block(pst_store_t *s, const pst_store_op_t *op)
{
    pst_cmd_t *c = limit_cmd(s, op, PST_LUA("limit_block"), on_done);
    pst_cmd_num(c, op->u.limit.block_ms);
    send_op(s, c, op);
}

/* A pair a rate: the limit, and what taught it. */
static void submit_limit_keep(pst_store_t *s, const pst_store_op_t *op)
{
    char text[PST_RATE_COUNT * 32];
    size_t n = 0;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%llu:%u", i ? " " : "",
                              (unsigned long long)op->u.limit.rate[i].limit, (unsigned)op->u.limit.rate[i].amount);
    pst_cmd_t *c = pst_cmd_new("HSET", on_done, s);
    pst_cmd_str(c, PST_KEY_LEARNED);
    pst_cmd_arg(c, op->u.limit.name.p, op->u.limit.name.n);
    pst_cmd_arg(c, text, n);
    send_op(s, c, op);
}

void pst_store_submit(pst_store_t *s, const pst_store_op_t *op)
{
    s->pending++;
    switch (op->type) {
    case PST_STORE_OPEN: submit_open(s, op); break;
    case PST_STORE_PUT_PACK: submit_put_pack(s, op); break;
    case PST_STORE_CLAIM: submit_claim(s, op); break;
    case PST_STORE_COMMIT: submit_commit(s, op); break;
    case PST_STORE_APPEND: submit_append(s, op); break;
    case PST_STORE_RETRY: submit_retry(s, op); break;
    case PST_STORE_LOAD: submit_load(s, op); break;
    case PST_STORE_CANCELLING: submit_cancelling(s, op); break;
    case PST_STORE_END:
    case PST_STORE_DELETE: pst_sweep_begin(s, op); break;
    case PST_STORE_LIMIT_TAKE: submit_limit_take(s, op); break;
    case PST_STORE_LIMIT_GIVE: submit_limit_give(s, op); break;
    case PST_STORE_LIMIT_BLOCK: submit_limit_block(s, op); break;
    case PST_STORE_LIMIT_KEEP: submit_limit_keep(s, op); break;
    case PST_STORE_OP_COUNT: PST_ASSERT(!"an operation");
    }
    PST_ASSERT(!s->room_bytes_max || pst_redis_queued_bytes(s->conn) <= s->room_bytes_max);
}

/* ---- the connection's events ---------------------------------------------------------------------------------------------- */

static void on_state(void *arg, bool up, const char *why)
{
    pst_store_t *s = arg;
    s->up = up;
    if (!s->opening && !s->dead)
        s->ev.state(s->ev.arg, up, why);
}

/* The number after "name:" in INFO's text, 0 if it is not there. */
static uint64_t info_number(const redisReply *r, const char *name)
{
    const char *at = r->type == REDIS_REPLY_STRING ? strstr(r->str, name) : NULL;
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void on_memory(pst_cmd_t *c, const redisReply *r)
{
    pst_store_t *s = c->arg;
    if (!r || r->type != REDIS_REPLY_STRING)
        return;
    uint64_t used = info_number(r, "\nused_memory:"), max = info_number(r, "\nmaxmemory:");
    pst_redis_set_full(s->conn, max && used / NEARLY_FULL_PERCENT >= max / 100);
    s->ev.room(s->ev.arg, used, max);
}

/* Also what finds a connection that died silently: this is never left unanswered for long. */
static void on_tick(void *arg)
{
    pst_store_t *s = arg;
    if (s->quiet)
        return;
    pst_cmd_t *c = pst_cmd_new("INFO", on_memory, s);
    pst_cmd_str(c, "memory");
    c->once = true;
    pst_cmd_finish(c);
    pst_redis_send(s->conn, c);
}

/* ---- life ----------------------------------------------------------------------------------------------------------------- */

/* Until the greeting is through, refused, or late. */
static pst_err_t wait_open(pst_store_t *s, pst_errbuf_t *eb)
{
    pst_ns_t until = pst_ns_add(pst_clock_mono(), OPEN_WAIT);
    while (!s->up && !s->refused && pst_clock_mono() < until) {
        bool never = false;
        (void)pst_redis_pump(s->conn, &never, PST_MIN(until, pst_ns_add(pst_clock_mono(), 10 * PST_MS)));
    }
    if (s->up)
        return PST_OK;
    if (s->refused)
        return pst_errf(eb, s->refused, "%s", pst_redis_why(s->conn));
    return pst_errf(eb, PST_E_STORE_DOWN, "Redis at %s cannot be used: %s", s->url.local ? s->url.path : s->url.host,
                    pst_redis_why(s->conn));
}

pst_err_t pst_store_open(pst_loop_t *loop, const pst_store_opts_t *o, const pst_store_events_t *ev, pst_store_t **ret,
                         pst_errbuf_t *eb)
{
    pst_redis_url_t url;
    if (pst_redis_url_parse(o->url, &url, eb))
        return PST_E_STORE_BAD;
    pst_store_t *s = pst_calloc(1, sizeof *s);
    *s = (pst_store_t){.url = url, .ev = *ev, .durability = o->durability, .room_bytes_max = o->room_bytes_max,
                       .opening = true};
    pst_link_init(&s->sweeps);
    pst_link_init(&s->openings);
    pst_link_init(&s->reads);
    s->recent = pst_recent_new(RECENT_BYTES_MAX, pst_random_u64());
    pst_buf_init(&s->scratch, 0);
    pst_redis_events_t events = {.greet = pst_greet, .state = on_state, .tick = on_tick, .arg = s};
    s->quiet = true;
    s->conn = pst_redis_new(loop, &url, o->durability == PST_DUR_REPLICATED, &events);
    pst_err_t e = wait_open(s, eb);
    if (e) {
        pst_store_destroy(&s);
        return e;
    }
    s->opening = s->quiet = false;
    if (eb)
        snprintf(eb->text, sizeof eb->text, "%s", s->note);
    *ret = s;
    return PST_OK;
}

void pst_store_destroy(pst_store_t **s)
{
    pst_store_t *x = *s;
    *s = NULL;
    if (!x)
        return;
    pst_sweeps_free(x);
    pst_reads_free(x);
    while (!pst_link_empty(&x->openings))
        opening_free(PST_CONTAINER(x->openings.next, opening_t, link));
    pst_redis_destroy(&x->conn);
    pst_recent_destroy(&x->recent);
    pst_buf_release(&x->scratch);
    free(x);
}

uint64_t pst_store_epoch(const pst_store_t *s) { return s->epoch; }
void pst_store_flush(pst_store_t *s) { pst_redis_flush(s->conn); }

void pst_store_pending(const pst_store_t *s, uint32_t *ret_ops, uint64_t *ret_bytes)
{
    *ret_ops = s->pending;
    *ret_bytes = pst_redis_queued_bytes(s->conn);
}
