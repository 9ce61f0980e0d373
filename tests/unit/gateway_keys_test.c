/* All keys of a gateway: who comes in, how fast, for how much, and what two gateways make of one key.  Time is numbers. */
#include "unit.h"

#include "gateway/keys.h"

#define DAY_MS 86400000ull
#define WALL (20600 * DAY_MS + 43200000) /* noon of some day */
#define USD 1000000000ull

static const char *const ids[] = {"key_01J8ZQ4K7N9V0M2X3C4B5A6F70", "key_01J8ZQ4K7N9V0M2X3C4B5A6F71",
                                  "key_01J8ZQ4K7N9V0M2X3C4B5A6F72"};

static pst_keys_time_t now_at(double s)
{
    return (pst_keys_time_t){.mono = 1000 * PST_SEC + (pst_ns_t)(s * 1e9), .wall_ms = WALL + (uint64_t)(s * 1000)};
}

/* The record of the key that is called `secret`, with more members. */
static bool put(pst_keys_t *k, const char *secret, const char *id, const char *more)
{
    char hex[PST_KEY_HEX_LEN + 1], json[512];
    pst_key_hash_t h = pst_key_hash(pst_view_str(secret));
    pst_key_hex(&h, hex);
    snprintf(json, sizeof json, "{\"id\":\"%s\",\"created_ms\":1%s%s}", id, *more ? "," : "", more);
    return pst_keys_load_put(k, pst_view_str(hex), pst_view_str(json));
}

static void load_one(pst_keys_t *k, const char *more)
{
    pst_keys_load_begin(k);
    assert_true(put(k, "one", ids[0], more));
    pst_keys_load_end(k, now_at(0));
}

static pst_keys_t *with_one(const char *more)
{
    pst_keys_t *k = pst_keys_new(7);
    load_one(k, more);
    return k;
}

static const pst_key_t *find(pst_keys_t *k, const char *secret, double s)
{
    const pst_key_t *key = NULL;
    assert_int_equal(pst_keys_find(k, pst_view_str(secret), now_at(s), &key), PST_OK);
    return key;
}

static pst_err_t try_find(pst_keys_t *k, const char *secret, double s)
{
    const pst_key_t *key = NULL;
    pst_err_t e = pst_keys_find(k, pst_view_str(secret), now_at(s), &key);
    pst_keys_drop(k, &key);
    return e;
}

/* A whole request that takes no time. */
static pst_admit_t request(pst_keys_t *k, const pst_key_t *key, double s, uint64_t tokens, uint64_t nano)
{
    pst_admission_t a;
    pst_keys_admit(k, key, now_at(s), tokens, nano, &a);
    if (a.verdict == PST_ADMIT_OK)
        pst_keys_release(k, key, now_at(s), &a, tokens, nano);
    return a.verdict;
}

static unsigned requests(pst_keys_t *k, const pst_key_t *key, double s, unsigned n)
{
    unsigned in = 0;
    for (unsigned i = 0; i < n; i++)
        in += request(k, key, s, 0, 0) == PST_ADMIT_OK;
    return in;
}

/* ---- who comes in ---------------------------------------------------------------------------- */

static void keys_of_the_configuration(void **state)
{
    (void)state;
    pst_keys_t *k = pst_keys_new(7);
    assert_true(pst_keys_needed(k)); /* as long as nobody knows */
    assert_int_equal(try_find(k, "plain", 0), PST_E_LOADING);
    pst_keys_plain_add(k, pst_view_str("plain"));
    assert_true(pst_keys_needed(k));
    const pst_key_t *key = find(k, "plain", 0);
    assert_true(!key->id[0] && !key->tenant[0]);
    assert_int_equal(requests(k, key, 0, 1000), 1000);
    assert_true(pst_keys_budget(k, key, now_at(0)) == INT64_MAX);
    assert_true(pst_keys_due_at(k) == PST_NEVER); /* it has no account */
    pst_keys_plain_clear(k);
    pst_keys_plain_add(k, pst_view_str("another"));
    assert_int_equal(request(k, key, 0, 0, 0), PST_ADMIT_ENDED);
    assert_int_equal(try_find(k, "plain", 0), PST_E_LOADING);
    assert_int_equal(try_find(k, "another", 0), PST_OK);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void keys_of_redis(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"tenant\":\"t\"");
    pst_keys_load_begin(k);
    assert_true(put(k, "one", ids[0], "\"tenant\":\"t\""));
    assert_true(put(k, "revoked", ids[1], "\"revoked_ms\":5"));
    char expires[64];
    snprintf(expires, sizeof expires, "\"expires_ms\":%llu", (unsigned long long)WALL + 2000);
    assert_true(put(k, "expiring", ids[2], expires));
    pst_keys_load_end(k, now_at(0));
    assert_int_equal(pst_keys_count(k), 3);
    assert_int_equal(try_find(k, "one", 0), PST_OK);
    assert_int_equal(try_find(k, "", 0), PST_E_NOT_FOUND);
    assert_int_equal(try_find(k, "ONE", 0), PST_E_NOT_FOUND);
    assert_int_equal(try_find(k, "revoked", 0), PST_E_NOT_FOUND);
    assert_int_equal(try_find(k, "expiring", 1.9), PST_OK);
    assert_int_equal(try_find(k, "expiring", 2), PST_E_STATE);
    const pst_key_t *held = find(k, "expiring", 0);
    assert_int_equal(request(k, held, 1.9, 0, 0), PST_ADMIT_OK);
    assert_int_equal(request(k, held, 2, 0, 0), PST_ADMIT_ENDED);
    pst_keys_drop(k, &held);
    pst_keys_destroy(&k);
}

static void the_last_key_leaves_the_door_shut(void **state)
{
    (void)state;
    pst_keys_t *k = pst_keys_new(7);
    pst_keys_load_begin(k);
    pst_keys_load_end(k, now_at(0));
    assert_false(pst_keys_needed(k)); /* nobody ever made one */
    load_one(k, "");
    assert_true(pst_keys_needed(k));
    pst_keys_load_begin(k);
    pst_keys_load_end(k, now_at(1));
    assert_int_equal(try_find(k, "one", 1), PST_E_NOT_FOUND);
    assert_true(pst_keys_needed(k));
    pst_keys_destroy(&k);
    k = pst_keys_new(7);
    pst_keys_load_begin(k);
    assert_false(pst_keys_load_put(k, pst_view_str("no hash"), pst_view_str("no key")));
    pst_keys_load_end(k, now_at(0));
    assert_true(pst_keys_needed(k)); /* somebody meant to have one */
    assert_int_equal(pst_keys_count(k), 0);
    pst_keys_destroy(&k);
}

static void what_is_held_stays(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"tenant\":\"before\",\"models\":[\"a\"]");
    const pst_key_t *key = find(k, "one", 0);
    pst_admission_t a;
    pst_keys_admit(k, key, now_at(0), 10, 0, &a);
    load_one(k, "\"tenant\":\"after\",\"models\":[\"b\"]");
    assert_string_equal(key->tenant, "after");
    assert_true(pst_key_allows_model(key, pst_view_str("b")));
    pst_keys_load_begin(k);
    pst_keys_load_end(k, now_at(1)); /* it is gone */
    assert_int_equal(request(k, key, 1, 0, 0), PST_ADMIT_ENDED);
    pst_keys_release(k, key, now_at(1), &a, 10, USD);
    assert_string_equal(key->tenant, "after");
    pst_keys_drop(k, &key);
    assert_null(key);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* Two records under one id, two ids under one hash, a record under its neighbour's hash. */
static void records_that_contradict_each_other(void **state)
{
    (void)state;
    pst_keys_t *k = pst_keys_new(7);
    pst_keys_load_begin(k);
    assert_true(put(k, "one", ids[0], ""));
    assert_false(put(k, "two", ids[0], ""));
    pst_keys_load_end(k, now_at(0));
    assert_int_equal(pst_keys_count(k), 1);
    assert_int_equal(try_find(k, "two", 0), PST_E_NOT_FOUND);
    pst_keys_load_begin(k);
    assert_true(put(k, "one", ids[1], ""));
    assert_true(put(k, "two", ids[0], ""));
    pst_keys_load_end(k, now_at(0));
    assert_int_equal(pst_keys_count(k), 2);
    const pst_key_t *key = find(k, "two", 0);
    assert_string_equal(key->id, ids[0]);
    pst_keys_drop(k, &key);
    pst_keys_plain_add(k, pst_view_str("one")); /* the limits of Redis stay */
    key = find(k, "one", 0);
    assert_string_equal(key->id, ids[1]);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* ---- how fast -------------------------------------------------------------------------------- */

static void requests_of_a_minute(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"rpm\":60");
    const pst_key_t *key = find(k, "one", 0);
    pst_admission_t a;
    assert_int_equal(requests(k, key, 0, 100), 60);
    pst_keys_admit(k, key, now_at(0.25), 0, 0, &a);
    assert_int_equal(a.verdict, PST_ADMIT_REQUESTS);
    assert_in_range(a.retry_ms, 750, 752);
    assert_int_equal(requests(k, key, 0.9, 9), 0);
    assert_int_equal(requests(k, key, 1.001, 9), 1);
    assert_int_equal(requests(k, key, 31.002, 100), 30);
    assert_int_equal(requests(k, key, 500, 100), 60); /* no more is saved up */
    assert_int_equal(requests(k, key, 400, 100), 0);  /* nor does a clock that goes back give any */
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void tokens_are_settled_by_the_answer(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"tpm\":1000");
    const pst_key_t *key = find(k, "one", 0);
    pst_admission_t a, b;
    pst_keys_admit(k, key, now_at(0), 600, 0, &a);
    assert_int_equal(a.verdict, PST_ADMIT_OK);
    pst_keys_admit(k, key, now_at(0), 600, 0, &b);
    assert_int_equal(b.verdict, PST_ADMIT_TOKENS);
    assert_in_range(b.retry_ms, 12000, 12002);
    pst_keys_release(k, key, now_at(0), &a, 100, 0); /* it was shorter */
    assert_int_equal(request(k, key, 0, 900, 0), PST_ADMIT_OK);
    assert_int_equal(request(k, key, 0, 1, 0), PST_ADMIT_TOKENS);
    pst_keys_admit(k, key, now_at(60), 10, 0, &a);
    pst_keys_release(k, key, now_at(60), &a, 700, 0); /* it was longer */
    pst_keys_admit(k, key, now_at(60), 301, 0, &a);
    assert_int_equal(a.verdict, PST_ADMIT_TOKENS);
    assert_int_equal(request(k, key, 60, 300, 0), PST_ADMIT_OK);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void a_giant_is_let_in_by_a_full_bucket(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"tpm\":1000");
    const pst_key_t *key = find(k, "one", 0);
    assert_int_equal(request(k, key, 0, 1000000, 0), PST_ADMIT_OK);
    assert_int_equal(request(k, key, 59, 1000000, 0), PST_ADMIT_TOKENS);
    assert_int_equal(request(k, key, 60.1, UINT64_MAX, 0), PST_ADMIT_OK);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void so_many_at_a_time(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"concurrency\":2,\"rpm\":3");
    const pst_key_t *key = find(k, "one", 0);
    pst_admission_t a, b, c;
    pst_keys_admit(k, key, now_at(0), 0, 0, &a);
    pst_keys_admit(k, key, now_at(0), 0, 0, &b);
    pst_keys_admit(k, key, now_at(0), 0, 0, &c);
    assert_int_equal(c.verdict, PST_ADMIT_CONCURRENCY);
    pst_keys_release(k, key, now_at(0), &a, 0, 0);
    pst_keys_admit(k, key, now_at(0), 0, 0, &c); /* the refused one took nothing from the minute */
    assert_int_equal(c.verdict, PST_ADMIT_OK);
    pst_keys_release(k, key, now_at(0), &b, 0, 0);
    pst_keys_release(k, key, now_at(0), &c, 0, 0);
    assert_int_equal(request(k, key, 0, 0, 0), PST_ADMIT_REQUESTS);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void a_limit_that_changes(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"rpm\":60");
    const pst_key_t *key = find(k, "one", 0);
    assert_int_equal(requests(k, key, 0, 50), 50);
    load_one(k, "\"rpm\":60"); /* loading it again fills no bucket */
    assert_int_equal(requests(k, key, 0, 50), 10);
    load_one(k, "");
    assert_int_equal(requests(k, key, 0, 500), 500);
    load_one(k, "\"rpm\":5");
    assert_int_equal(requests(k, key, 0, 50), 5);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* ---- for how much ------------------------------------------------------------------------------ */

#define DAILY "\"spend_nano\":5000000000,\"reset\":\"daily\""

static void money_of_a_day(void **state)
{
    (void)state;
    pst_keys_t *k = with_one(DAILY);
    const pst_key_t *key = find(k, "one", 0);
    pst_admission_t a, b;
    assert_true(pst_keys_budget(k, key, now_at(0)) == 5 * (int64_t)USD);
    pst_keys_admit(k, key, now_at(0), 0, 3 * USD, &a);
    assert_int_equal(a.verdict, PST_ADMIT_OK);
    assert_true(pst_keys_budget(k, key, now_at(0)) == 2 * (int64_t)USD);
    pst_keys_admit(k, key, now_at(0), 0, 3 * USD, &b); /* what is in flight may take it */
    assert_int_equal(b.verdict, PST_ADMIT_SPEND);
    assert_true(b.resets_ms == WALL + DAY_MS / 2);
    pst_keys_release(k, key, now_at(0), &a, 0, 1 * USD);
    assert_int_equal(request(k, key, 0, 0, 4 * USD), PST_ADMIT_OK);
    assert_true(pst_keys_budget(k, key, now_at(0)) == 0);
    assert_int_equal(request(k, key, 0, 0, 0), PST_ADMIT_SPEND); /* also where nobody knows what it costs */
    assert_int_equal(request(k, key, DAY_MS / 2000.0 - 1, 0, 0), PST_ADMIT_SPEND);
    assert_int_equal(request(k, key, DAY_MS / 2000.0, 0, 0), PST_ADMIT_OK);
    assert_true(pst_keys_budget(k, key, now_at(DAY_MS / 2000.0)) == 5 * (int64_t)USD);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void money_for_good(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"spend_nano\":1000000000");
    const pst_key_t *key = find(k, "one", 0);
    pst_admission_t a;
    assert_int_equal(request(k, key, 0, 0, USD), PST_ADMIT_OK);
    pst_keys_admit(k, key, now_at(1e7), 0, 0, &a);
    assert_int_equal(a.verdict, PST_ADMIT_SPEND);
    assert_true(a.resets_ms == UINT64_MAX);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void a_batch_takes_and_gives_back(void **state)
{
    (void)state;
    pst_keys_t *k = with_one(DAILY);
    const pst_key_t *key = find(k, "one", 0);
    pst_view_t id = pst_view_str(ids[0]);
    pst_keys_spend(k, id, WALL, now_at(0), 4 * (int64_t)USD);
    assert_true(pst_keys_budget(k, key, now_at(0)) == 1 * (int64_t)USD);
    pst_keys_spend(k, id, WALL, now_at(10), -3 * (int64_t)USD);
    assert_true(pst_keys_budget(k, key, now_at(10)) == 4 * (int64_t)USD);
    /* The next day what comes back is the last one's. */
    pst_keys_spend(k, id, WALL + DAY_MS, now_at(DAY_MS / 1000.0), 2 * (int64_t)USD);
    pst_keys_spend(k, id, WALL, now_at(DAY_MS / 1000.0), -(int64_t)USD);
    assert_true(pst_keys_budget(k, key, now_at(DAY_MS / 1000.0)) == 3 * (int64_t)USD);
    pst_keys_spend(k, pst_view_str("key_unknown"), WALL, now_at(10), 1);
    pst_keys_spend(k, pst_view_str(""), WALL, now_at(10), 1);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void sums_that_are_too_large_stay_sums(void **state)
{
    (void)state;
    pst_keys_t *k = with_one("\"spend_nano\":1000000000000000000");
    const pst_key_t *key = find(k, "one", 0);
    for (unsigned i = 0; i < 20; i++)
        pst_keys_spend(k, pst_view_str(ids[0]), WALL, now_at(0), INT64_MAX);
    assert_true(pst_keys_budget(k, key, now_at(0)) == 0);
    assert_int_equal(request(k, key, 0, UINT64_MAX, UINT64_MAX), PST_ADMIT_SPEND);
    for (unsigned i = 0; i < 20; i++)
        pst_keys_spend(k, pst_view_str(ids[0]), WALL, now_at(0), INT64_MIN + 1);
    assert_true(pst_keys_budget(k, key, now_at(0)) > 0);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* ---- two gateways ------------------------------------------------------------------------------ */

/* The account of a key, as Redis would have it. */
typedef struct account {
    struct {
        char field[PST_KEY_FIELD_MAX];
        char value[24];
        int64_t n;
    } f[16];
    size_t n;
} account_t;

static int64_t *field_of(account_t *a, const char *field)
{
    size_t i = 0;
    while (i < a->n && strcmp(a->f[i].field, field) != 0)
        i++;
    if (i == a->n)
        snprintf(a->f[a->n++].field, PST_KEY_FIELD_MAX, "%s", field);
    return &a->f[i].n;
}

static void answer(pst_keys_t *k, account_t *a, double s)
{
    pst_keys_pair_t pair[16];
    for (size_t i = 0; i < a->n; i++) {
        snprintf(a->f[i].value, sizeof a->f[i].value, "%lld", (long long)a->f[i].n);
        pair[i] = (pst_keys_pair_t){pst_view_str(a->f[i].field), pst_view_str(a->f[i].value)};
    }
    pst_keys_answer(k, pst_view_str(ids[0]), now_at(s), pair, a->n);
}

/* All exchanges that are due; how many. */
static unsigned exchange(pst_keys_t *k, account_t *a, double s)
{
    pst_keys_due_t d;
    unsigned n = 0;
    for (; pst_keys_due(k, now_at(s), &d); n++) {
        assert_string_equal(d.id, ids[0]);
        for (unsigned i = 0; i < d.add_n; i++)
            *field_of(a, d.add[i].field) += d.add[i].n;
        if (d.last_s)
            *field_of(a, "last") = (int64_t)d.last_s;
        answer(k, a, s);
    }
    return n;
}

static void two_share_a_minute(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_t *k[2] = {with_one("\"rpm\":600"), with_one("\"rpm\":600")};
    const pst_key_t *key[2] = {find(k[0], "one", 0), find(k[1], "one", 0)};
    assert_int_equal(exchange(k[0], &a, 0), 1); /* totals are wanted at once */
    assert_int_equal(exchange(k[1], &a, 0), 1);
    unsigned in = 0;
    for (unsigned s = 1; s <= 60; s++) { /* each asked for twenty a second */
        in += requests(k[0], key[0], s, 20) + requests(k[1], key[1], s, 20);
        exchange(k[0], &a, s + 0.5);
        exchange(k[1], &a, s + 0.5);
    }
    assert_in_range(in, 1200, 1240); /* a full bucket and a minute, and what one second's blindness lets in */
    assert_int_equal(*field_of(&a, "requests"), in);
    pst_keys_drop(k[0], &key[0]);
    pst_keys_drop(k[1], &key[1]);
    pst_keys_destroy(&k[0]);
    pst_keys_destroy(&k[1]);
}

static void two_share_a_budget(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_t *k[2] = {with_one(DAILY), with_one(DAILY)};
    const pst_key_t *key[2] = {find(k[0], "one", 0), find(k[1], "one", 0)};
    exchange(k[0], &a, 0);
    exchange(k[1], &a, 0);
    assert_int_equal(request(k[0], key[0], 0.1, 7, 4 * USD), PST_ADMIT_OK);
    assert_true(pst_keys_budget(k[1], key[1], now_at(0.2)) == 5 * (int64_t)USD);
    exchange(k[0], &a, 1.1);
    exchange(k[1], &a, 1.2);
    assert_true(pst_keys_budget(k[1], key[1], now_at(1.2)) == 1 * (int64_t)USD);
    assert_true(pst_keys_budget(k[0], key[0], now_at(1.2)) == 1 * (int64_t)USD);
    assert_true(*field_of(&a, "spent") == 4 * (int64_t)USD);
    assert_true(*field_of(&a, "day:2026-05-27") == 4 * (int64_t)USD);
    assert_true(*field_of(&a, "tokens") == 7);
    assert_true(*field_of(&a, "last") == (int64_t)(WALL / 1000));
    /* A gateway that begins knows what was spent before it lets anybody in. */
    pst_keys_t *late = with_one(DAILY);
    const pst_key_t *its = find(late, "one", 2);
    assert_int_equal(exchange(late, &a, 2), 1);
    assert_true(pst_keys_budget(late, its, now_at(2)) == 1 * (int64_t)USD);
    pst_keys_drop(late, &its);
    pst_keys_destroy(&late);
    pst_keys_drop(k[0], &key[0]);
    pst_keys_drop(k[1], &key[1]);
    pst_keys_destroy(&k[0]);
    pst_keys_destroy(&k[1]);
}

static void a_lost_connection_loses_no_money(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_due_t d;
    pst_keys_t *k = with_one(DAILY);
    const pst_key_t *key = find(k, "one", 0);
    exchange(k, &a, 0);
    request(k, key, 0, 0, 2 * USD);
    for (unsigned s = 1; s <= 3; s++) {
        assert_true(pst_keys_due(k, now_at(s), &d));
        assert_false(pst_keys_due(k, now_at(s), &d)); /* one exchange at a time */
        request(k, key, s, 0, USD / 2);
        for (unsigned i = 0; i < d.add_n; i++)
            pst_keys_unbook(k, pst_view_str(d.id), &d.add[i]);
        pst_keys_lost(k, pst_view_str(d.id), now_at(s));
        assert_true(pst_keys_budget(k, key, now_at(s)) == (int64_t)(3 * USD - s * USD / 2));
    }
    exchange(k, &a, 4);
    assert_true(*field_of(&a, "spent") == (int64_t)(7 * USD / 2));
    assert_int_equal(*field_of(&a, "requests"), 4);
    assert_int_equal(*field_of(&a, "last"), (int64_t)(WALL / 1000));
    assert_true(pst_keys_budget(k, key, now_at(4)) == (int64_t)(3 * USD / 2));
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* Taken by an exchange that failed, requests are our own when they are taken again. */
static void a_lost_exchange_is_not_taken_for_others(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_due_t d;
    pst_keys_t *k = with_one("\"rpm\":600");
    const pst_key_t *key = find(k, "one", 0);
    exchange(k, &a, 0);
    assert_int_equal(requests(k, key, 0, 10), 10);
    assert_true(pst_keys_due(k, now_at(1), &d));
    assert_int_equal(d.add_n, 1);
    pst_keys_unbook(k, pst_view_str(d.id), &d.add[0]);
    pst_keys_lost(k, pst_view_str(d.id), now_at(1));
    *field_of(&a, "requests") += 100;
    exchange(k, &a, 2);
    assert_int_equal(requests(k, key, 2, 1000), 500);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void the_time_of_use_is_told_again(void **state)
{
    (void)state;
    pst_keys_due_t d;
    pst_keys_t *k = with_one("");
    const pst_key_t *key = find(k, "one", 0);
    assert_true(pst_keys_due(k, now_at(1), &d));
    assert_true(d.last_s == WALL / 1000);
    pst_keys_lost(k, pst_view_str(d.id), now_at(1));
    assert_true(pst_keys_due(k, now_at(2), &d));
    assert_true(d.last_s == WALL / 1000);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* Totals do not know what was booked after they were asked for. */
static void money_spent_during_an_exchange(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_due_t d;
    pst_keys_t *k = with_one(DAILY);
    const pst_key_t *key = find(k, "one", 0);
    assert_true(pst_keys_due(k, now_at(0), &d));
    assert_int_equal(request(k, key, 0, 0, 2 * USD), PST_ADMIT_OK);
    answer(k, &a, 0.1);
    assert_true(pst_keys_budget(k, key, now_at(0.1)) == 3 * (int64_t)USD);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void totals_are_wanted_as_soon_as_there_is_a_limit(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_t *k = with_one(DAILY);
    assert_true(pst_keys_due_at(k) == now_at(0).mono);
    *field_of(&a, "day:2026-05-27") = (int64_t)USD;
    *field_of(&a, "week:2026-05-25") = 4 * (int64_t)USD;
    exchange(k, &a, 0);
    const pst_key_t *key = find(k, "one", 0.1);
    assert_true(pst_keys_budget(k, key, now_at(0.1)) == 4 * (int64_t)USD);
    load_one(k, "\"spend_nano\":5000000000,\"reset\":\"weekly\"");
    assert_int_equal(exchange(k, &a, 0.1), 1);
    assert_true(pst_keys_budget(k, key, now_at(0.1)) == (int64_t)USD);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* A key that nobody uses is not asked for; one that comes back is at once. */
static void exchanges_end(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    unsigned n = 0;
    pst_keys_t *k = with_one("\"rpm\":60");
    const pst_key_t *key = find(k, "one", 0);
    pst_keys_drop(k, &key);
    for (unsigned s = 0; s < 600; s++)
        n += exchange(k, &a, s);
    assert_in_range(n, 119, 122);
    assert_true(pst_keys_due_at(k) == PST_NEVER);
    *field_of(&a, "requests") += 300; /* others, in eight minutes */
    key = find(k, "one", 600);
    assert_true(pst_keys_due_at(k) == now_at(600).mono);
    assert_int_equal(exchange(k, &a, 600), 1);
    assert_in_range(requests(k, key, 600, 100), 20, 40); /* a minute's share of them */
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* Without limits nothing has to be known, but what was used is written, and when. */
static void a_key_without_limits_is_counted(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_t *k = with_one("");
    assert_true(pst_keys_due_at(k) == PST_NEVER);
    const pst_key_t *key = find(k, "one", 0);
    assert_int_equal(request(k, key, 0, 30, USD), PST_ADMIT_OK);
    assert_true(pst_keys_due_at(k) == now_at(1).mono);
    assert_int_equal(exchange(k, &a, 1), 1);
    assert_true(*field_of(&a, "spent") == (int64_t)USD && *field_of(&a, "tokens") == 30);
    assert_int_equal(a.n, 4); /* no period is counted */
    assert_true(pst_keys_due_at(k) == PST_NEVER);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

static void accounts_that_cannot_be_read(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "1e9", " 1", "+1", "12 ", "0x10", "99999999999999999999", "9223372036854775807",
                                      "1.5", "--1"};
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        pst_keys_due_t d;
        pst_keys_t *k = with_one(DAILY ",\"rpm\":60");
        const pst_key_t *key = find(k, "one", 0);
        assert_true(pst_keys_due(k, now_at(0), &d));
        pst_keys_pair_t pair[] = {{pst_view_str("day:2026-05-27"), pst_view_str(bad[i])},
                                  {pst_view_str("requests"), pst_view_str(bad[i])},
                                  {pst_view("", 0), pst_view("", 0)}};
        pst_keys_answer(k, pst_view_str(ids[0]), now_at(0), pair, PST_COUNT(pair));
        assert_true(pst_keys_budget(k, key, now_at(0)) == 0);
        pst_keys_drop(k, &key);
        pst_keys_destroy(&k);
    }
    pst_keys_t *k = with_one(DAILY);
    const pst_key_t *key = find(k, "one", 0);
    pst_keys_due_t d;
    assert_true(pst_keys_due(k, now_at(0), &d));
    pst_keys_pair_t negative = {pst_view_str("day:2026-05-27"), pst_view_str("-4000000000")};
    pst_keys_answer(k, pst_view_str(ids[0]), now_at(0), &negative, 1);
    assert_true(pst_keys_budget(k, key, now_at(0)) == 5 * (int64_t)USD); /* no more than there is */
    pst_keys_answer(k, pst_view_str("key_unknown"), now_at(0), NULL, 0);
    pst_keys_drop(k, &key);
    pst_keys_destroy(&k);
}

/* Late bookings of many days, more than one exchange takes along. */
static void many_periods_at_once(void **state)
{
    (void)state;
    account_t a = {.n = 0};
    pst_keys_t *k = with_one(DAILY);
    pst_view_t id = pst_view_str(ids[0]);
    for (unsigned day = 0; day < 12; day++)
        pst_keys_spend(k, id, WALL - day * DAY_MS, now_at(0), (int64_t)USD);
    pst_keys_spend(k, id, WALL - 100 * DAY_MS, now_at(0), (int64_t)USD); /* of a day that is forgotten */
    for (unsigned s = 0; s < 4; s++)
        exchange(k, &a, s);
    assert_true(*field_of(&a, "spent") == 13 * (int64_t)USD);
    assert_true(*field_of(&a, "day:2026-05-27") == (int64_t)USD && *field_of(&a, "day:2026-05-16") == (int64_t)USD);
    assert_int_equal(a.n, 13);
    pst_keys_destroy(&k);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(keys_of_the_configuration),
    cmocka_unit_test(keys_of_redis),
    cmocka_unit_test(the_last_key_leaves_the_door_shut),
    cmocka_unit_test(what_is_held_stays),
    cmocka_unit_test(records_that_contradict_each_other),
    cmocka_unit_test(requests_of_a_minute),
    cmocka_unit_test(tokens_are_settled_by_the_answer),
    cmocka_unit_test(a_giant_is_let_in_by_a_full_bucket),
    cmocka_unit_test(so_many_at_a_time),
    cmocka_unit_test(a_limit_that_changes),
    cmocka_unit_test(money_of_a_day),
    cmocka_unit_test(money_for_good),
    cmocka_unit_test(a_batch_takes_and_gives_back),
    cmocka_unit_test(sums_that_are_too_large_stay_sums),
    cmocka_unit_test(two_share_a_minute),
    cmocka_unit_test(two_share_a_budget),
    cmocka_unit_test(a_lost_connection_loses_no_money),
    cmocka_unit_test(a_lost_exchange_is_not_taken_for_others),
    cmocka_unit_test(the_time_of_use_is_told_again),
    cmocka_unit_test(money_spent_during_an_exchange),
    cmocka_unit_test(totals_are_wanted_as_soon_as_there_is_a_limit),
    cmocka_unit_test(exchanges_end),
    cmocka_unit_test(a_key_without_limits_is_counted),
    cmocka_unit_test(accounts_that_cannot_be_read),
    cmocka_unit_test(many_periods_at_once),
};

UNIT_MAIN(tests)
