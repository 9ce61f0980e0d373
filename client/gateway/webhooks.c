#include "gateway/webhooks.h"

#include <stdio.h>

#include "base/list.h"
#include "gateway/webhook_post.h"
#include "gateway/webhook_url.h"
#include "proc/clock.h"
#include "proc/log.h"

#define LEASE_MS 60000u
#define LOOK_EVERY PST_SEC      /* other gateways add too */
#define TELL_EVERY (60 * PST_SEC)
#define KEEP_S (3u * 86400)     /* longer than the tries take */
#define BUSY_MS_MIN 2000u       /* what its host has no room for goes back for so long, */
#define BUSY_MS_SPREAD 8000u    /* and up to so much longer */

/* Each may be used of a full Redis, but the one that adds. */
#define NOW "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
#define FULL_TOO "#!lua flags=allow-oom\n"

/* set, record; id, then fields and values of the record. */
static const char add_script[] =
    NOW "if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end\n"
        "redis.call('HSET', KEYS[2], unpack(ARGV, 2))\n"
        "redis.call('ZADD', KEYS[1], now, ARGV[1])\n"
        "return 1\n";

/* set; how many at most, lease.  The lease as it is now in the set, milliseconds until the next is due (-1: there is none),
 * ids. */
static const char claim_script[] = FULL_TOO NOW
    "local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])\n"
    "for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], now + ARGV[2], id) end\n"
    "local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
    "local wait = first[2] and math.max(0, first[2] - now) or -1\n"
    "return {now + ARGV[2], wait, unpack(ids)}\n";

/* set, record; id, the lease it was claimed with, milliseconds until the next try (-1: none), how long to keep it then, fields
 * and values that change.  A record that is gone is not begun anew. */
static const char settle_script[] = FULL_TOO NOW
    "if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) ~= tonumber(ARGV[2]) then return 0 end\n"
    "if redis.call('EXISTS', KEYS[2]) == 0 then return redis.call('ZREM', KEYS[1], ARGV[1]) end\n"
    "if #ARGV > 4 then redis.call('HSET', KEYS[2], unpack(ARGV, 5)) end\n"
    "if tonumber(ARGV[3]) >= 0 then redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1]) return 1 end\n"
    "redis.call('ZREM', KEYS[1], ARGV[1])\n"
    "redis.call('EXPIRE', KEYS[2], ARGV[4])\n"
    "return 1\n";

typedef enum stage {
    STAGE_FREE,
    STAGE_LOADING,  /* its record was asked for */
    STAGE_POSTING,
    STAGE_SETTLING, /* what came of it is being written */
} stage_t;

typedef struct delivery {
    pst_webhooks_t *owner;
    stage_t stage;
    char id[PST_WEBHOOK_ID_LEN + 1];
    char lease[24];
    pst_ns_t until;     /* the lease's end, or a little before it */
    char url[PST_WEBHOOK_URL_BYTES_MAX + 1];
    char host[PST_WEBHOOK_HOST_BYTES_MAX + 1];
    pst_webhook_t event;
    unsigned tries;     /* made before */
} delivery_t;

/* An addition that Redis has not answered. */
typedef struct addition {
    pst_link_t link;
    pst_webhooks_stored_fn *stored;
    void *arg;
} addition_t;

struct pst_webhooks {
    pst_redis_t *redis;
    pst_poster_t *poster;
    pst_webhook_key_t key;
    bool private_too;
    delivery_t delivery[PST_WEBHOOKS_IN_FLIGHT];
    pst_link_t additions;
    bool claiming;
    pst_ns_t claimed_at;
    pst_ns_t claim_at;  /* the next */
    pst_ns_t told_at;   /* of the latest refusal of Redis that was logged; 0: none */
    pst_webhooks_counts_t counts;
};

/* ---- Redis ------------------------------------------------------------------------------------- */

static pst_cmd_t *eval(const char *script, const char *id, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = pst_cmd_new("EVAL", fn, arg);
    pst_cmd_str(c, script);
    pst_cmd_num(c, id ? 2 : 1);
    pst_cmd_str(c, PST_WEBHOOKS_SET);
    if (id) {
        char record[sizeof PST_WEBHOOKS_RECORD + PST_WEBHOOK_ID_LEN];
        snprintf(record, sizeof record, PST_WEBHOOKS_RECORD "%s", id);
        pst_cmd_str(c, record);
        pst_cmd_str(c, id);
    }
    return c;
}

static void send_cmd(pst_webhooks_t *w, pst_cmd_t *c)
{
    pst_cmd_finish(c);
    pst_redis_send(w->redis, c);
}

/* A refusal (no right, no memory) comes again every second: it is told now and then. */
static bool is_good(pst_webhooks_t *w, const redisReply *r, int type)
{
    pst_ns_t now = pst_clock_mono();
    if (r && r->type == type)
        return true;
    if (r && (!w->told_at || pst_ns_since(now, w->told_at) >= TELL_EVERY)) {
        pst_log(PST_LOG_WARN, "webhook.refused", "why=\"%.200s\"",
                r->type == REDIS_REPLY_ERROR ? r->str : "unexpected answer");
        w->told_at = now;
    }
    return false;
}

static pst_view_t text_of(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING ? pst_view(r->str, r->len) : pst_view("", 0);
}

/* ---- adding ------------------------------------------------------------------------------------ */

static void on_added(pst_cmd_t *c, const redisReply *r)
{
    addition_t *a = c->arg;
    bool stored = r && r->type == REDIS_REPLY_INTEGER;
    pst_webhooks_stored_fn *fn = a->stored;
    void *arg = a->arg;
    pst_link_remove(&a->link);
    free(a);
    if (fn)
        fn(arg, stored);
}

static void put_record(pst_cmd_t *c, pst_view_t url, const pst_webhook_t *event)
{
    char batch[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(&event->batch, batch);
    pst_cmd_str(c, "url");
    pst_cmd_arg(c, url.p, url.n);
    pst_cmd_str(c, "batch");
    pst_cmd_str(c, batch);
    pst_cmd_str(c, "event");
    pst_cmd_str(c, pst_webhook_status(event->type));
    pst_cmd_str(c, "dialect");
    pst_cmd_num(c, event->dialect);
    pst_cmd_str(c, "created");
    pst_cmd_num(c, event->created_s);
    pst_cmd_str(c, "tries");
    pst_cmd_num(c, 0);
}

pst_err_t pst_webhooks_add(pst_webhooks_t *w, pst_view_t url, const pst_webhook_t *event,
                           pst_webhooks_stored_fn *stored, void *arg, pst_errbuf_t *eb)
{
    pst_err_t e = pst_webhook_url_check(url, w->private_too, NULL, eb);
    if (e)
        return e;
    char id[PST_WEBHOOK_ID_LEN + 1];
    pst_webhook_id(event, url, id);
    addition_t *a = pst_calloc(1, sizeof *a);
    a->stored = stored;
    a->arg = arg;
    pst_link_before(&w->additions, &a->link);
    pst_cmd_t *c = eval(add_script, id, on_added, a);
    c->write = true; /* a replica has it too before it counts as stored */
    put_record(c, url, event);
    send_cmd(w, c);
    w->claim_at = 0;
    return PST_OK;
}

/* ---- what came of a try ------------------------------------------------------------------------ */

static void on_settled(pst_cmd_t *c, const redisReply *r)
{
    delivery_t *d = c->arg;
    /* Not written: it is tried again when its lease is over. */
    (void)is_good(d->owner, r, REDIS_REPLY_INTEGER);
    d->stage = STAGE_FREE;
}

/* wait_ms < 0: there will be no other try. */
static pst_cmd_t *settle(delivery_t *d, int64_t wait_ms)
{
    char wait[24];
    snprintf(wait, sizeof wait, "%lld", (long long)wait_ms);
    d->stage = STAGE_SETTLING;
    pst_cmd_t *c = eval(settle_script, d->id, on_settled, d);
    pst_cmd_str(c, d->lease);
    pst_cmd_str(c, wait);
    pst_cmd_num(c, KEEP_S);
    return c;
}

static void put_outcome(pst_cmd_t *c, unsigned tries, const pst_post_answer_t *a, const char *ended)
{
    pst_cmd_str(c, "tries");
    pst_cmd_num(c, tries);
    pst_cmd_str(c, "status");
    pst_cmd_num(c, (uint64_t)a->status);
    pst_cmd_str(c, "why");
    pst_cmd_str(c, a->why ? a->why : "");
    if (ended) {
        pst_cmd_str(c, "ended");
        pst_cmd_str(c, ended);
    }
}

static void end(delivery_t *d, const pst_post_answer_t *a, const char *ended)
{
    pst_cmd_t *c = settle(d, -1);
    put_outcome(c, d->tries + 1, a, ended);
    send_cmd(d->owner, c);
    pst_log(strcmp(ended, "delivered") == 0 ? PST_LOG_INFO : PST_LOG_WARN, "webhook.ended",
            "id=%s host=%s outcome=%s tries=%u status=%d why=\"%s\"", d->id, d->host, ended, d->tries + 1, a->status,
            a->why ? a->why : "");
}

static void try_again(delivery_t *d, const pst_post_answer_t *a)
{
    uint64_t wait_ms;
    pst_webhooks_t *w = d->owner;
    w->counts.failed++;
    if (!pst_webhook_wait(d->tries + 1, pst_random_u64(), a->after_s, &wait_ms)) {
        w->counts.gave_up++;
        end(d, a, "gave_up");
        return;
    }
    pst_cmd_t *c = settle(d, (int64_t)wait_ms);
    put_outcome(c, d->tries + 1, a, NULL);
    send_cmd(w, c);
    pst_log(PST_LOG_INFO, "webhook.failed", "id=%s host=%s tries=%u status=%d why=\"%s\" again_ms=%llu", d->id, d->host,
            d->tries + 1, a->status, a->why ? a->why : "", (unsigned long long)wait_ms);
}

static void on_answer(void *arg, const pst_post_answer_t *a)
{
    delivery_t *d = arg;
    pst_webhooks_t *w = d->owner;
    w->counts.in_flight--;
    switch (pst_webhook_verdict(a->status)) {
    case PST_WEBHOOK_DELIVERED:
        w->counts.delivered++;
        end(d, a, "delivered");
        break;
    case PST_WEBHOOK_AGAIN:
        try_again(d, a);
        break;
    case PST_WEBHOOK_GONE:
        w->counts.failed++;
        w->counts.gone++;
        end(d, a, "gone");
        break;
    }
}

/* ---- a try ------------------------------------------------------------------------------------- */

static unsigned posting_to(const pst_webhooks_t *w, const char *host)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PST_WEBHOOKS_IN_FLIGHT; i++) {
        const delivery_t *d = &w->delivery[i];
        n += d->stage == STAGE_POSTING && strcmp(d->host, host) == 0;
    }
    return n;
}

static void post(delivery_t *d)
{
    pst_webhooks_t *w = d->owner;
    char id[64], time[48], signature[PST_WEBHOOK_SIGNATURE_LEN + 32], signed_as[PST_WEBHOOK_SIGNATURE_LEN + 1];
    const char *header[] = {"content-type: application/json", id, time, signature};
    uint64_t now_s = pst_clock_wall_ms() / 1000;
    pst_buf_t payload;
    pst_buf_init(&payload, 0);
    pst_webhook_payload(&d->event, d->id, &payload);
    PST_ASSERT(!payload.failed);
    snprintf(id, sizeof id, "webhook-id: %s", d->id);
    snprintf(time, sizeof time, "webhook-timestamp: %llu", (unsigned long long)now_s);
    if (w->key.n) {
        pst_webhook_sign(&w->key, d->id, now_s, pst_buf_view(&payload), signed_as);
        snprintf(signature, sizeof signature, "webhook-signature: %s", signed_as);
    }
    pst_post_t p = {.url = d->url, .header = header, .headers = w->key.n ? 4 : 3, .body = pst_buf_view(&payload)};
    d->stage = STAGE_POSTING;
    w->counts.in_flight++;
    pst_poster_start(w->poster, &p, on_answer, d);
    pst_buf_release(&payload);
}

static uint64_t number_of(pst_view_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%.*s", (int)PST_MIN(v.n, sizeof text - 1), v.p);
    return strtoull(text, NULL, 10);
}

/* The value of a field, empty if there is none. */
static pst_view_t field_of(const redisReply *r, const char *name)
{
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        if (pst_view_eqs(text_of(r->element[i]), name))
            return text_of(r->element[i + 1]);
    }
    return pst_view("", 0);
}

/* false: that is no record of ours. */
static bool read_record(delivery_t *d, const redisReply *r)
{
    pst_view_t url = field_of(r, "url");
    uint64_t dialect = number_of(field_of(r, "dialect"));
    if (pst_webhook_url_check(url, true, d->host, NULL) || pst_id_parse(field_of(r, "batch"), &d->event.batch) ||
        !pst_webhook_of_status(field_of(r, "event"), &d->event.type) || dialect >= PST_WEBHOOK_DIALECTS)
        return false;
    memcpy(d->url, url.p, url.n);
    d->url[url.n] = '\0';
    d->event.dialect = (pst_webhook_dialect_t)dialect;
    d->event.created_s = number_of(field_of(r, "created"));
    d->tries = (unsigned)PST_MIN(number_of(field_of(r, "tries")), (uint64_t)UINT16_MAX);
    return true;
}

static void on_loaded(pst_cmd_t *c, const redisReply *r)
{
    delivery_t *d = c->arg;
    pst_webhooks_t *w = d->owner;
    if (!is_good(w, r, REDIS_REPLY_ARRAY) || pst_clock_mono() >= d->until) {
        d->stage = STAGE_FREE;
        return;
    }
    if (!read_record(d, r)) {
        send_cmd(w, settle(d, -1));
        pst_log(PST_LOG_WARN, "webhook.unreadable", "id=%s", d->id);
    } else if (posting_to(w, d->host) >= PST_WEBHOOKS_IN_FLIGHT_HOST) {
        send_cmd(w, settle(d, (int64_t)(BUSY_MS_MIN + pst_random_u64() % BUSY_MS_SPREAD)));
    } else {
        post(d);
    }
}

/* ---- claiming ---------------------------------------------------------------------------------- */

static delivery_t *free_delivery(pst_webhooks_t *w)
{
    for (unsigned i = 0; i < PST_WEBHOOKS_IN_FLIGHT; i++) {
        if (w->delivery[i].stage == STAGE_FREE)
            return &w->delivery[i];
    }
    return NULL;
}

static unsigned free_deliveries(const pst_webhooks_t *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PST_WEBHOOKS_IN_FLIGHT; i++)
        n += w->delivery[i].stage == STAGE_FREE;
    return n;
}

static void load(pst_webhooks_t *w, long long lease, pst_view_t id)
{
    delivery_t *d = free_delivery(w);
    if (!d || id.n > PST_WEBHOOK_ID_LEN)
        return;
    *d = (delivery_t){.owner = w, .stage = STAGE_LOADING, .until = pst_ns_add(w->claimed_at, LEASE_MS * PST_MS / 2)};
    memcpy(d->id, id.p, id.n);
    snprintf(d->lease, sizeof d->lease, "%lld", lease);
    char record[sizeof PST_WEBHOOKS_RECORD + PST_WEBHOOK_ID_LEN];
    snprintf(record, sizeof record, PST_WEBHOOKS_RECORD "%s", d->id);
    pst_cmd_t *c = pst_cmd_new("HGETALL", on_loaded, d);
    c->once = true;
    pst_cmd_str(c, record);
    send_cmd(w, c);
}

static void on_claimed(pst_cmd_t *c, const redisReply *r)
{
    pst_webhooks_t *w = c->arg;
    w->claiming = false;
    w->claim_at = pst_ns_add(pst_clock_mono(), LOOK_EVERY);
    if (!is_good(w, r, REDIS_REPLY_ARRAY) || r->elements < 2)
        return;
    long long wait_ms = r->element[1]->integer;
    if (wait_ms >= 0)
        w->claim_at = pst_ns_min(w->claim_at, pst_ns_add(pst_clock_mono(), (pst_ns_t)wait_ms * PST_MS));
    for (size_t i = 2; i < r->elements; i++)
        load(w, r->element[0]->integer, text_of(r->element[i]));
}

static void claim(pst_webhooks_t *w, pst_ns_t now, unsigned most)
{
    w->claiming = true;
    w->claimed_at = now;
    pst_cmd_t *c = eval(claim_script, NULL, on_claimed, w);
    pst_cmd_num(c, most);
    pst_cmd_num(c, LEASE_MS);
    c->once = true; /* repeated, it would lease others */
    send_cmd(w, c);
}

/* While Redis is away nothing is asked: it would be answered with leases that are over. */
static void look(pst_webhooks_t *w, pst_ns_t now, unsigned room)
{
    if (pst_redis_is_up(w->redis))
        claim(w, now, room);
    else
        w->claim_at = pst_ns_add(now, LOOK_EVERY);
}

pst_ns_t pst_webhooks_step(void *arg, pst_ns_t now)
{
    pst_webhooks_t *w = arg;
    pst_poster_step(w->poster, now);
    unsigned room = free_deliveries(w);
    if (!w->claiming && room && now >= w->claim_at)
        look(w, now, room);
    pst_redis_flush(w->redis);
    /* Answers of Redis and of receivers make turns by themselves. */
    bool waits = w->claiming || !room;
    return pst_ns_min(pst_poster_due(w->poster), waits ? PST_NEVER : w->claim_at);
}

/* ---- life -------------------------------------------------------------------------------------- */

pst_err_t pst_webhooks_new(const pst_webhooks_opts_t *o, pst_webhooks_t **ret, pst_errbuf_t *eb)
{
    pst_webhook_key_t key = {.n = 0};
    if (o->secret && *o->secret) {
        pst_err_t e = pst_webhook_key_parse(pst_view_str(o->secret), &key, eb);
        if (e)
            return e;
    }
    pst_webhooks_t *w = pst_calloc(1, sizeof *w);
    w->redis = o->redis;
    w->private_too = o->private_too;
    w->key = key;
    pst_webhook_key_release(&key);
    w->poster = pst_poster_new(o->loop, o->private_too);
    pst_link_init(&w->additions);
    *ret = w;
    return PST_OK;
}

void pst_webhooks_destroy(pst_webhooks_t **w)
{
    pst_webhooks_t *x = w ? pst_take(w) : NULL;
    if (!x)
        return;
    pst_poster_destroy(&x->poster);
    while (!pst_link_empty(&x->additions)) {
        addition_t *a = PST_CONTAINER(x->additions.next, addition_t, link);
        pst_link_remove(&a->link);
        free(a);
    }
    pst_webhook_key_release(&x->key);
    free(x);
}

void pst_webhooks_counts(const pst_webhooks_t *w, pst_webhooks_counts_t *ret)
{
    *ret = w->counts;
}
