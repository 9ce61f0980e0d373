#include "gateway/keys_redis.h"

#include <stdio.h>

#include "proc/clock.h"
#include "proc/log.h"

#define LOOK_EVERY PST_SEC
#define FIRST_LOOK_EVERY (20 * PST_MS) /* until the records were read once nobody comes in */
#define TELL_EVERY (60 * PST_SEC)
#define PAIRS_MAX 256u /* fields of an account that are looked at: it has fewer than a hundred */

struct pst_keys_redis {
    pst_keys_t *keys;
    pst_redis_t *redis;
    pst_link_t asks;       /* unanswered */
    pst_ns_t look_at;
    bool looking;
    bool again;            /* the connection was lost: it may be another Redis now */
    uint64_t version;      /* of the records that were read */
    pst_ns_t told_at;      /* of the latest refusal that was logged; 0: none */
};

/* A command about one key, until it is answered. */
typedef struct ask {
    pst_link_t link;
    pst_keys_redis_t *owner;
    char id[PST_KEY_ID_LEN + 1];
    pst_keys_amount_t amount;
} ask_t;

static pst_keys_time_t time_now(void)
{
    return (pst_keys_time_t){.mono = pst_clock_mono(), .wall_ms = pst_clock_wall_ms()};
}

static ask_t *ask_new(pst_keys_redis_t *r, const char *id)
{
    ask_t *a = pst_calloc(1, sizeof *a);
    a->owner = r;
    memcpy(a->id, id, sizeof a->id);
    pst_link_before(&r->asks, &a->link);
    return a;
}

static void ask_free(ask_t *a)
{
    pst_link_remove(&a->link);
    free(a);
}

/* Whether the reply is of that type.  A refusal (no memory, no right, something else under that name) comes again every
 * second: it is told now and then. */
static bool is_good(pst_keys_redis_t *r, const redisReply *reply, int type)
{
    pst_ns_t now = pst_clock_mono();
    if (reply && reply->type == type)
        return true;
    if (reply && (!r->told_at || pst_ns_since(now, r->told_at) >= TELL_EVERY)) {
        pst_log(PST_LOG_WARN, "keys.refused", "why=\"%.200s\"",
                reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected answer");
        r->told_at = now;
    }
    return false;
}

static pst_view_t text_of(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING ? pst_view(r->str, r->len) : pst_view("", 0);
}

/* Amounts are not repeated by the connection: they are given back, and are due again. */
static void send_once(pst_keys_redis_t *r, pst_cmd_t *c)
{
    c->once = true;
    pst_cmd_finish(c);
    pst_redis_send(r->redis, c);
}

/* ---- what was used --------------------------------------------------------------------------- */

static pst_cmd_t *account_cmd(const char *name, const char *id, pst_cmd_fn *fn, ask_t *a)
{
    char key[sizeof PST_KEYS_USE + PST_KEY_ID_LEN];
    snprintf(key, sizeof key, PST_KEYS_USE "%s", id);
    pst_cmd_t *c = pst_cmd_new(name, fn, a);
    pst_cmd_str(c, key);
    return c;
}

static void on_added(pst_cmd_t *c, const redisReply *reply)
{
    ask_t *a = c->arg;
    if (!is_good(a->owner, reply, REDIS_REPLY_INTEGER))
        pst_keys_unbook(a->owner->keys, pst_view_str(a->id), &a->amount);
    ask_free(a);
}

static void add(pst_keys_redis_t *r, const char *id, const pst_keys_amount_t *amount)
{
    ask_t *a = ask_new(r, id);
    a->amount = *amount;
    char n[24];
    snprintf(n, sizeof n, "%lld", (long long)amount->n);
    pst_cmd_t *c = account_cmd("HINCRBY", id, on_added, a);
    pst_cmd_str(c, amount->field);
    pst_cmd_str(c, n);
    send_once(r, c);
}

static void ignore(pst_cmd_t *c, const redisReply *reply)
{
    (void)c;
    (void)reply;
}

static void put_last(pst_keys_redis_t *r, const char *id, uint64_t s)
{
    pst_cmd_t *c = account_cmd("HSET", id, ignore, NULL);
    pst_cmd_str(c, PST_KEY_LAST);
    pst_cmd_num(c, s);
    send_once(r, c);
}

/* A key that is used every day would have a field for each. */
static void drop_stale(pst_keys_redis_t *r, const char *id, const pst_keys_pair_t *pair, size_t n, uint64_t wall_ms)
{
    for (size_t i = 0; i < n; i++) {
        if (!pst_key_field_stale(pair[i].field, wall_ms))
            continue;
        pst_cmd_t *c = account_cmd("HDEL", id, ignore, NULL);
        pst_cmd_arg(c, pair[i].field.p, pair[i].field.n);
        send_once(r, c);
    }
}

static void on_account(pst_cmd_t *c, const redisReply *reply)
{
    ask_t *a = c->arg;
    pst_keys_redis_t *r = a->owner;
    pst_keys_time_t t = time_now();
    pst_keys_pair_t pair[PAIRS_MAX];
    size_t n = 0;
    if (!is_good(r, reply, REDIS_REPLY_ARRAY)) {
        pst_keys_lost(r->keys, pst_view_str(a->id), t);
    } else {
        for (; n < PAIRS_MAX && 2 * n + 1 < reply->elements; n++)
            pair[n] = (pst_keys_pair_t){text_of(reply->element[2 * n]), text_of(reply->element[2 * n + 1])};
        pst_keys_answer(r->keys, pst_view_str(a->id), t, pair, n);
        drop_stale(r, a->id, pair, n, t.wall_ms);
    }
    ask_free(a);
}

static void exchange(pst_keys_redis_t *r, const pst_keys_due_t *due)
{
    for (unsigned i = 0; i < due->add_n; i++)
        add(r, due->id, &due->add[i]);
    if (due->last_s)
        put_last(r, due->id, due->last_s);
    send_once(r, account_cmd("HGETALL", due->id, on_account, ask_new(r, due->id)));
}

/* ---- the records ----------------------------------------------------------------------------- */

static void on_records(pst_cmd_t *c, const redisReply *reply)
{
    pst_keys_redis_t *r = c->arg;
    r->looking = false;
    if (!is_good(r, reply, REDIS_REPLY_ARRAY)) {
        r->again = true;
        return;
    }
    unsigned bad = 0;
    pst_keys_load_begin(r->keys);
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        bad += !pst_keys_load_put(r->keys, text_of(reply->element[i]), text_of(reply->element[i + 1]));
    pst_keys_load_end(r->keys, time_now());
    r->version = c->token;
    pst_log(bad ? PST_LOG_WARN : PST_LOG_INFO, "keys.loaded", "keys=%u unreadable=%u", pst_keys_count(r->keys), bad);
}

/* The version was asked for before the records: what changes between the two is found at the next look. */
static void ask_records(pst_keys_redis_t *r, uint64_t version)
{
    r->looking = true;
    r->again = false;
    pst_cmd_t *c = pst_cmd_new("HGETALL", on_records, r);
    pst_cmd_str(c, PST_KEYS_HASH);
    c->token = version;
    send_once(r, c);
}

static void on_version(pst_cmd_t *c, const redisReply *reply)
{
    pst_keys_redis_t *r = c->arg;
    r->looking = false;
    bool none = reply && reply->type == REDIS_REPLY_NIL; /* nobody has made a key yet */
    if (!none && !is_good(r, reply, REDIS_REPLY_STRING)) {
        r->again = true;
        if (!pst_keys_loaded(r->keys))
            r->look_at = pst_ns_add(pst_clock_mono(), FIRST_LOOK_EVERY);
        return;
    }
    uint64_t version = none ? 0 : strtoull(reply->str, NULL, 10);
    if (r->again || version != r->version || !pst_keys_loaded(r->keys))
        ask_records(r, version);
}

static void look(pst_keys_redis_t *r)
{
    r->looking = true;
    pst_cmd_t *c = pst_cmd_new("GET", on_version, r);
    pst_cmd_str(c, PST_KEYS_VERSION);
    send_once(r, c);
}

pst_ns_t pst_keys_redis_turn(void *arg, pst_ns_t now)
{
    pst_keys_redis_t *r = arg;
    pst_keys_time_t t = {.mono = now, .wall_ms = pst_clock_wall_ms()};
    pst_keys_due_t due;
    bool any = false;
    if (now >= r->look_at) {
        r->look_at = pst_ns_add(now, LOOK_EVERY);
        any = !r->looking;
        if (any)
            look(r);
    }
    for (; pst_keys_due(r->keys, t, &due); any = true)
        exchange(r, &due);
    if (any)
        pst_redis_flush(r->redis);
    return pst_ns_min(r->look_at, pst_keys_due_at(r->keys));
}

pst_keys_redis_t *pst_keys_redis_new(pst_keys_t *keys, pst_redis_t *redis)
{
    pst_keys_redis_t *r = pst_calloc(1, sizeof *r);
    *r = (pst_keys_redis_t){.keys = keys, .redis = redis};
    pst_link_init(&r->asks);
    return r;
}

void pst_keys_redis_destroy(pst_keys_redis_t **r)
{
    pst_keys_redis_t *x = *r;
    *r = NULL;
    if (!x)
        return;
    while (!pst_link_empty(&x->asks))
        ask_free(PST_CONTAINER(x->asks.next, ask_t, link));
    free(x);
}
