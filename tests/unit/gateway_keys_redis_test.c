/* Keys of two gateways and a real redis-server: what one changes the other knows, and what both use is one account. */
#include "unit.h"

#include <signal.h>

#include "gateway/keys_redis.h"
#include "proc/clock.h"
#include "store_world.h"

#define ID "key_01J8ZQ4K7N9V0M2X3C4B5A6F70"
#define WAIT (20 * PST_SEC)

typedef struct gateway {
    pst_loop_t *loop;
    pst_redis_t *redis;
    pst_keys_t *keys;
    pst_keys_redis_t *sync;
} gateway_t;

/* No login and no library are needed. */
static void greet(void *arg, const redisReply *r)
{
    gateway_t *g = arg;
    (void)r;
    pst_redis_up(g->redis);
}

static void told(void *arg, bool up, const char *why)
{
    (void)arg;
    (void)up;
    (void)why;
}

static void tick(void *arg)
{
    (void)arg;
}

static void gateway_open(gateway_t *g, const server_t *s)
{
    pst_redis_url_t url;
    assert_int_equal(pst_redis_url_parse(s->url, &url, NULL), PST_OK);
    g->loop = pst_loop_new();
    g->redis = pst_redis_new(g->loop, &url, false, &(pst_redis_events_t){greet, told, tick, g});
    g->keys = pst_keys_new(pst_random_u64());
    g->sync = pst_keys_redis_new(g->keys, g->redis);
    pst_loop_prepare(g->loop, pst_keys_redis_turn, g->sync);
}

static void gateway_close(gateway_t *g)
{
    pst_redis_destroy(&g->redis);
    pst_keys_redis_destroy(&g->sync);
    pst_keys_destroy(&g->keys);
    pst_loop_destroy(&g->loop);
}

static pst_keys_time_t now(void)
{
    return (pst_keys_time_t){.mono = pst_clock_mono(), .wall_ms = pst_clock_wall_ms()};
}

static pst_err_t find(gateway_t *g, const pst_key_t **ret)
{
    return pst_keys_find(g->keys, PST_VIEW_LIT("secret"), now(), ret);
}

/* Turns of the connection until the condition holds. */
static bool turn(gateway_t *g, pst_ns_t until)
{
    bool never = false;
    pst_keys_redis_turn(g->sync, pst_clock_mono());
    (void)pst_redis_pump(g->redis, &never, pst_ns_add(pst_clock_mono(), 10 * PST_MS));
    return pst_clock_mono() < until;
}

#define UNTIL(g, condition)                                                                        \
    do {                                                                                           \
        pst_ns_t end_ = pst_ns_add(pst_clock_mono(), WAIT);                                        \
        while (!(condition))                                                                       \
            assert_true(turn(g, end_));                                                            \
    } while (0)

static void write_record(server_t *s, const char *more)
{
    char hex[PST_KEY_HEX_LEN + 1], json[256];
    pst_key_hash_t h = pst_key_hash(PST_VIEW_LIT("secret"));
    pst_key_hex(&h, hex);
    snprintf(json, sizeof json, "{\"id\":\"" ID "\",\"created_ms\":1%s}", more);
    server_num(s, "HSET " PST_KEYS_HASH " %s %s", hex, json);
    server_num(s, "INCR " PST_KEYS_VERSION);
}

/* What a field of the account holds: 0 if there is none. */
static long long account(server_t *s, const char *field)
{
    redisReply *r = server_ask(s, "HGET " PST_KEYS_USE ID " %s", field);
    long long n = r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : 0;
    freeReplyObject(r);
    return n;
}

static void request(gateway_t *g, const pst_key_t *key, uint64_t nano)
{
    pst_admission_t a;
    pst_keys_admit(g->keys, key, now(), 5, 0, &a);
    assert_int_equal(a.verdict, PST_ADMIT_OK);
    pst_keys_release(g->keys, key, now(), &a, 5, nano);
}

static void changes_are_known(void **state)
{
    server_t *s = *state;
    gateway_t g;
    const pst_key_t *key = NULL;
    gateway_open(&g, s);
    assert_int_equal(find(&g, &key), PST_E_LOADING);
    UNTIL(&g, pst_keys_loaded(g.keys));
    assert_false(pst_keys_needed(g.keys));
    write_record(s, ",\"tenant\":\"t\"");
    UNTIL(&g, find(&g, &key) == PST_OK);
    assert_string_equal(key->tenant, "t");
    pst_keys_drop(g.keys, &key);
    write_record(s, ",\"revoked_ms\":9");
    UNTIL(&g, find(&g, &key) == PST_E_NOT_FOUND || (pst_keys_drop(g.keys, &key), false));
    assert_true(pst_keys_needed(g.keys));
    gateway_close(&g);
}

static void two_gateways_have_one_account(void **state)
{
    server_t *s = *state;
    gateway_t g[2];
    const pst_key_t *key[2];
    write_record(s, ",\"spend_nano\":1000,\"reset\":\"monthly\"");
    server_num(s, "HSET " PST_KEYS_USE ID " day:2020-01-01 7 requests 0");
    for (int i = 0; i < 2; i++) {
        gateway_open(&g[i], s);
        UNTIL(&g[i], find(&g[i], &key[i]) == PST_OK);
    }
    request(&g[0], key[0], 100);
    request(&g[0], key[0], 200);
    UNTIL(&g[0], account(s, "spent") == 300);
    UNTIL(&g[1], pst_keys_budget(g[1].keys, key[1], now()) == 700);
    request(&g[1], key[1], 700);
    UNTIL(&g[1], account(s, "spent") == 1000);
    UNTIL(&g[0], pst_keys_budget(g[0].keys, key[0], now()) == 0);
    assert_int_equal(account(s, "requests"), 3);
    assert_int_equal(account(s, "tokens"), 15);
    assert_true((uint64_t)account(s, "last") + 120 > pst_clock_wall_ms() / 1000);
    assert_int_equal(account(s, "last") % 60, 0);
    assert_int_equal(account(s, "day:2020-01-01"), 0); /* long past */
    for (int i = 0; i < 2; i++) {
        pst_keys_drop(g[i].keys, &key[i]);
        gateway_close(&g[i]);
    }
}

static void redis_goes_and_returns(void **state)
{
    server_t *s = *state;
    gateway_t g;
    const pst_key_t *key;
    gateway_open(&g, s);
    write_record(s, "");
    UNTIL(&g, find(&g, &key) == PST_OK);
    request(&g, key, 1);
    UNTIL(&g, account(s, "spent") == 1);
    server_kill(s, SIGKILL);
    UNTIL(&g, !pst_redis_is_up(g.redis));
    request(&g, key, 10); /* whoever was known comes in */
    pst_ns_t later = pst_ns_add(pst_clock_mono(), 2 * PST_SEC);
    UNTIL(&g, pst_clock_mono() >= later);
    server_again(s, NULL);
    UNTIL(&g, account(s, "spent") == 11);
    assert_int_equal(account(s, "requests"), 2);
    pst_keys_drop(g.keys, &key);
    gateway_close(&g);
}

/* Somebody put something else there. */
static void other_things_under_our_names(void **state)
{
    server_t *s = *state;
    gateway_t g;
    const pst_key_t *key;
    write_record(s, ",\"rpm\":60");
    freeReplyObject(server_ask(s, "SET " PST_KEYS_USE ID " x"));
    gateway_open(&g, s);
    UNTIL(&g, find(&g, &key) == PST_OK);
    request(&g, key, 1);
    pst_ns_t later = pst_ns_add(pst_clock_mono(), 2 * PST_SEC);
    UNTIL(&g, pst_clock_mono() >= later);
    server_num(s, "DEL " PST_KEYS_USE ID);
    UNTIL(&g, account(s, "spent") == 1);
    server_num(s, "DEL " PST_KEYS_HASH);
    freeReplyObject(server_ask(s, "SET " PST_KEYS_HASH " x"));
    server_num(s, "INCR " PST_KEYS_VERSION);
    later = pst_ns_add(pst_clock_mono(), 2 * PST_SEC);
    UNTIL(&g, pst_clock_mono() >= later);
    request(&g, key, 1); /* what was read last stands */
    pst_keys_drop(g.keys, &key);
    gateway_close(&g);
}

static int start(void **state)
{
    static server_t s;
    server_start(&s, NULL);
    *state = &s;
    return 0;
}

static int stop(void **state)
{
    server_stop(*state);
    return 0;
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, start, stop)

static const struct CMUnitTest tests[] = {
    REAL(changes_are_known),
    REAL(two_gateways_have_one_account),
    REAL(redis_goes_and_returns),
    REAL(other_things_under_our_names),
};

UNIT_MAIN(tests)
