/* One key of the gateway: its names, its record, what it may, and when its periods begin. */
#include "unit.h"

#include <time.h>

#include "gateway/key.h"

#define ID "key_01J8ZQ4K7N9V0M2X3C4B5A6F7G"
#define MINIMAL "{\"id\":\"" ID "\",\"created_ms\":1}"

static pst_view_t view(const char *s)
{
    return pst_view_str(s);
}

static uint64_t utc(int year, int month, int day, int hour)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour};
    return (uint64_t)timegm(&tm) * 1000;
}

/* ---- names --------------------------------------------------------------------------------- */

static void a_hash_is_sha256(void **state)
{
    (void)state;
    char hex[PST_KEY_HEX_LEN + 1];
    pst_key_hash_t h = pst_key_hash(view("abc")), back;
    pst_key_hex(&h, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(pst_key_hash_read(view(hex), &back), PST_OK);
    assert_memory_equal(&h, &back, sizeof h);
    h = pst_key_hash(pst_view(NULL, 0));
    pst_key_hex(&h, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void a_hash_has_one_spelling(void **state)
{
    (void)state;
    pst_key_hash_t h;
    assert_int_equal(pst_key_hash_read(view(""), &h), PST_E_INVALID);
    assert_int_equal(pst_key_hash_read(view("BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), &h),
                     PST_E_INVALID);
    assert_int_equal(pst_key_hash_read(view("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"), &h),
                     PST_E_INVALID);
    assert_int_equal(pst_key_hash_read(view("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015adf"), &h),
                     PST_E_INVALID);
}

static void a_secret_is_base64url_of_its_bytes(void **state)
{
    (void)state;
    uint8_t random[32];
    char secret[PST_KEY_SECRET_LEN + 1];
    memset(random, 0xff, sizeof random);
    pst_key_secret(random, secret);
    assert_string_equal(secret, "psk___________________________________________8");
    for (unsigned i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)i;
    pst_key_secret(random, secret);
    assert_string_equal(secret, "psk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
}

static void an_id_says_when_it_was_made(void **state)
{
    (void)state;
    static const uint8_t random[10];
    char early[PST_KEY_ID_LEN + 1], late[PST_KEY_ID_LEN + 1];
    pst_key_id(1000, random, early);
    pst_key_id(1001, random, late);
    assert_int_equal(strlen(early), PST_KEY_ID_LEN);
    assert_memory_equal(early, "key_0", 5);
    assert_true(strcmp(early, late) < 0);
}

/* ---- records ------------------------------------------------------------------------------- */

static void a_record_is_read_as_it_was_written(void **state)
{
    (void)state;
    const char *text = "{\"id\":\"" ID "\",\"name\":\"ci \\\"é\",\"tenant\":\"research\",\"created_ms\":1700000000000,"
                       "\"expires_ms\":1800000000000,\"revoked_ms\":1750000000000,\"rpm\":60,\"tpm\":100000,\"concurrency\":4,"
                       "\"spend_nano\":2500000000,\"reset\":\"weekly\",\"models\":[\"openai/*\",\"chat\"],"
                       "\"providers\":[\"openai\"]}";
    pst_key_t k;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    assert_int_equal(pst_key_read(view(text), &k), PST_OK);
    assert_string_equal(k.id, ID);
    assert_string_equal(k.name, "ci \"é");
    assert_string_equal(k.tenant, "research");
    assert_true(k.created_ms == 1700000000000 && k.expires_ms == 1800000000000 && k.revoked_ms == 1750000000000);
    assert_true(k.rpm == 60 && k.tpm == 100000 && k.concurrency == 4 && k.spend_nano == 2500000000);
    assert_int_equal(k.reset, PST_RESET_WEEKLY);
    assert_int_equal(k.models.n, 2);
    assert_string_equal(k.models.v[1], "chat");
    assert_int_equal(k.providers.n, 1);
    pst_key_write(&k, &b);
    assert_true(pst_view_eqs(pst_buf_view(&b), text));
    pst_key_release(&k);

    pst_buf_clear(&b);
    assert_int_equal(pst_key_read(view(MINIMAL), &k), PST_OK);
    assert_true(!k.name[0] && !k.tenant[0] && !k.expires_ms && !k.rpm && !k.spend_nano && !k.models.n);
    assert_int_equal(k.reset, PST_RESET_NEVER);
    pst_key_write(&k, &b);
    assert_true(pst_view_eqs(pst_buf_view(&b), MINIMAL));
    pst_key_release(&k);
    pst_buf_release(&b);
}

/* Whoever can write to Redis can do worse; but what is half understood must not let somebody in. */
static void what_is_not_understood_is_no_key(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "null", "[]", "{}", "{", MINIMAL "x", "{\"id\":\"" ID "\"}", "{\"created_ms\":1}",
        "{\"id\":\"key_\",\"created_ms\":1}",
        "{\"id\":\"key_01J8ZQ4K7N9V0M2X3C4B5A6F7U\",\"created_ms\":1}",   /* no digit of a ULID */
        "{\"id\":\"key_01j8zq4k7n9v0m2x3c4b5a6f7g\",\"created_ms\":1}",   /* another spelling */
        "{\"id\":\"batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G\",\"created_ms\":1}",
        "{\"id\":\"" ID "\",\"id\":\"" ID "\",\"created_ms\":1}",         /* twice */
        "{\"id\":\"" ID "\",\"created_ms\":1,\"regions\":[\"eu\"]}",      /* of a later version */
        "{\"id\":\"" ID "\",\"created_ms\":\"1\"}", "{\"id\":\"" ID "\",\"created_ms\":-1}",
        "{\"id\":\"" ID "\",\"created_ms\":1e300}", "{\"id\":\"" ID "\",\"created_ms\":1,\"rpm\":0}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"rpm\":1.5}", "{\"id\":\"" ID "\",\"created_ms\":1,\"rpm\":null}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"rpm\":1000000000001}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"spend_nano\":1000000000000000001}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"concurrency\":true}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"reset\":\"yearly\"}", "{\"id\":\"" ID "\",\"created_ms\":1,\"reset\":1}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"models\":[]}", "{\"id\":\"" ID "\",\"created_ms\":1,\"models\":\"a\"}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"models\":[\"a\",1]}", "{\"id\":\"" ID "\",\"created_ms\":1,\"models\":[\"\"]}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"tenant\":\"\"}", "{\"id\":\"" ID "\",\"created_ms\":1,\"tenant\":\"a\\u0000b\"}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"tenant\":\"a\\nb\"}", "{\"id\":\"" ID "\",\"created_ms\":1,\"tenant\":\"\xff\"}",
        "{\"id\":\"" ID "\",\"created_ms\":1,\"tenant\":{}}",
    };
    pst_key_t k;
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        if (pst_key_read(view(bad[i]), &k) == PST_OK)
            fail_msg("taken: %s", bad[i]);
        assert_true(!k.id[0] && !k.models.v);
    }
}

static void long_texts_and_lists_are_refused(void **state)
{
    (void)state;
    char name[PST_NAME_BYTES_MAX + 2], text[1024];
    pst_key_t k;
    memset(name, 'a', sizeof name);
    for (int n = PST_NAME_BYTES_MAX; n <= PST_NAME_BYTES_MAX + 1; n++) {
        snprintf(text, sizeof text, "{\"id\":\"" ID "\",\"created_ms\":1,\"tenant\":\"%.*s\"}", n, name);
        assert_int_equal(pst_key_read(view(text), &k), n > PST_NAME_BYTES_MAX ? PST_E_INVALID : PST_OK);
        pst_key_release(&k);
    }
    for (unsigned n = PST_KEY_PROVIDERS_MAX; n <= PST_KEY_PROVIDERS_MAX + 1; n++) {
        size_t at = (size_t)snprintf(text, sizeof text, "{\"id\":\"" ID "\",\"created_ms\":1,\"providers\":[\"a\"");
        for (unsigned i = 1; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, ",\"b\"");
        snprintf(text + at, sizeof text - at, "]}");
        assert_int_equal(pst_key_read(view(text), &k), n > PST_KEY_PROVIDERS_MAX ? PST_E_INVALID : PST_OK);
        pst_key_release(&k);
    }
}

/* ---- what it may ----------------------------------------------------------------------------- */

static bool allows(const char *pattern, const char *model)
{
    pst_key_t k;
    pst_key_init(&k);
    assert_true(pst_key_names_add(&k.models, view("other"), 9));
    assert_true(pst_key_names_add(&k.models, view(pattern), 9));
    bool yes = pst_key_allows_model(&k, view(model));
    pst_key_release(&k);
    return yes;
}

static void models_by_pattern(void **state)
{
    (void)state;
    pst_key_t k;
    pst_key_init(&k);
    assert_true(pst_key_allows_model(&k, view("any/thing")));
    assert_true(allows("openai/gpt-4.1", "openai/gpt-4.1"));
    assert_true(allows("openai/gpt-4.1", "other"));
    assert_false(allows("openai/gpt-4.1", "openai/gpt-4.1-mini"));
    assert_false(allows("openai/gpt-4.1", "xopenai/gpt-4.1"));
    assert_false(allows("openai/gpt-4.1", "OpenAI/GPT-4.1"));
    assert_false(allows("openai/gpt-4.1", "openai/gpt-4x1")); /* a dot is a dot */
    assert_true(allows("openai/*", "openai/gpt-4.1"));
    assert_true(allows("openai/*", "openai/"));
    assert_false(allows("openai/*", "openai"));
    assert_false(allows("openai/*", "myopenai/x"));
    assert_true(allows("*", "x"));
    assert_true(allows("*mini*", "openai/gpt-mini-2"));
    assert_true(allows("a*b*c", "aXbXbc"));
    assert_false(allows("a*b*c", "aXbXbcd"));
    assert_true(allows("a**", "a"));
    assert_false(allows("openai/*", ""));
    assert_true(allows("openai/gpt-4.1", "openai/gpt-4.1:nitro"));
    assert_true(allows("openai/gpt-4.1", "openai/gpt-4.1:floor"));
    assert_false(allows("openai/gpt-4.1", "openai/gpt-4.1:free"));
    assert_false(allows("openai/gpt-4.1", ":nitro"));
}

/* Long enough for a matcher that tries every way to never end. */
static void hostile_patterns_end(void **state)
{
    (void)state;
    char model[256];
    memset(model, 'a', 255);
    model[255] = '\0';
    assert_false(allows("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*ab", model));
    assert_true(allows("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a", model));
}

static void providers_by_name(void **state)
{
    (void)state;
    pst_key_t k;
    pst_key_init(&k);
    assert_true(pst_key_allows_provider(&k, view("openai")));
    assert_true(pst_key_names_add(&k.providers, view("openai"), 2));
    assert_true(pst_key_names_add(&k.providers, view("azure/eu"), 2));
    assert_false(pst_key_names_add(&k.providers, view("one-too-many"), 2));
    assert_true(pst_key_allows_provider(&k, view("openai")));
    assert_true(pst_key_allows_provider(&k, view("openai/fast")));
    assert_true(pst_key_allows_provider(&k, view("azure/eu")));
    assert_false(pst_key_allows_provider(&k, view("azure")));
    assert_false(pst_key_allows_provider(&k, view("azure/us")));
    assert_false(pst_key_allows_provider(&k, view("openaix")));
    assert_false(pst_key_allows_provider(&k, view("")));
    pst_key_release(&k);
}

static void expiry_is_a_moment(void **state)
{
    (void)state;
    pst_key_t k;
    pst_key_init(&k);
    assert_false(pst_key_expired(&k, UINT64_MAX));
    k.expires_ms = 1000;
    assert_false(pst_key_expired(&k, 999));
    assert_true(pst_key_expired(&k, 1000));
}

/* ---- periods --------------------------------------------------------------------------------- */

static void assert_period(pst_key_reset_t r, uint64_t at, uint64_t start, uint64_t end, const char *field)
{
    char got[PST_KEY_FIELD_MAX];
    assert_true(pst_key_period_start(r, at) == start);
    assert_true(pst_key_period_end(r, at) == end);
    pst_key_period_field(r, at, got);
    assert_string_equal(got, field);
}

static void periods_are_of_utc(void **state)
{
    (void)state;
    setenv("TZ", "Pacific/Kiritimati", 1); /* fourteen hours ahead */
    tzset();
    uint64_t at = utc(2026, 11, 24, 23); /* a Tuesday */
    assert_period(PST_RESET_NEVER, at, 0, UINT64_MAX, "spent");
    assert_period(PST_RESET_DAILY, at, utc(2026, 11, 24, 0), utc(2026, 11, 25, 0), "day:2026-11-24");
    assert_period(PST_RESET_WEEKLY, at, utc(2026, 11, 23, 0), utc(2026, 11, 30, 0), "week:2026-11-23");
    assert_period(PST_RESET_MONTHLY, at, utc(2026, 11, 1, 0), utc(2026, 12, 1, 0), "month:2026-11-01");
    unsetenv("TZ");
    tzset();
}

static void periods_meet_at_their_ends(void **state)
{
    (void)state;
    assert_period(PST_RESET_WEEKLY, utc(2026, 11, 23, 0), utc(2026, 11, 23, 0), utc(2026, 11, 30, 0), "week:2026-11-23");
    assert_period(PST_RESET_WEEKLY, utc(2026, 11, 23, 0) - 1, utc(2026, 11, 16, 0), utc(2026, 11, 23, 0),
                  "week:2026-11-16");
    assert_period(PST_RESET_WEEKLY, utc(2027, 1, 3, 23), utc(2026, 12, 28, 0), utc(2027, 1, 4, 0), "week:2026-12-28");
    assert_period(PST_RESET_MONTHLY, utc(2026, 12, 31, 23), utc(2026, 12, 1, 0), utc(2027, 1, 1, 0), "month:2026-12-01");
    assert_period(PST_RESET_MONTHLY, utc(2028, 2, 29, 12), utc(2028, 2, 1, 0), utc(2028, 3, 1, 0), "month:2028-02-01");
    for (uint64_t at = utc(2026, 1, 1, 5); at < utc(2028, 1, 1, 0); at += 86400000) {
        for (unsigned r = PST_RESET_DAILY; r <= PST_RESET_MONTHLY; r++) {
            uint64_t end = pst_key_period_end((pst_key_reset_t)r, at);
            assert_true(pst_key_period_start((pst_key_reset_t)r, at) <= at && at < end);
            assert_true(pst_key_period_start((pst_key_reset_t)r, end) == end);
            assert_true(pst_key_period_end((pst_key_reset_t)r, end - 1) == end);
        }
    }
}

static void old_fields_are_stale(void **state)
{
    (void)state;
    uint64_t now = utc(2026, 11, 24, 12);
    static const char *const stays[] = {"spent", "requests", "last", "day:2026-11-24", "day:2026-09-24", "week:2026-11-23",
                                        "month:2026-11-01", "month:2026-10-01", "", "day:", "day:2026", "xday:2020-01-01"};
    static const char *const goes[] = {"day:2026-09-22", "day:1970-01-01", "week:2026-09-14", "month:2026-09-01"};
    for (size_t i = 0; i < PST_COUNT(stays); i++)
        assert_false(pst_key_field_stale(view(stays[i]), now));
    for (size_t i = 0; i < PST_COUNT(goes); i++)
        assert_true(pst_key_field_stale(view(goes[i]), now));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_hash_is_sha256),
    cmocka_unit_test(a_hash_has_one_spelling),
    cmocka_unit_test(a_secret_is_base64url_of_its_bytes),
    cmocka_unit_test(an_id_says_when_it_was_made),
    cmocka_unit_test(a_record_is_read_as_it_was_written),
    cmocka_unit_test(what_is_not_understood_is_no_key),
    cmocka_unit_test(long_texts_and_lists_are_refused),
    cmocka_unit_test(models_by_pattern),
    cmocka_unit_test(hostile_patterns_end),
    cmocka_unit_test(providers_by_name),
    cmocka_unit_test(expiry_is_a_moment),
    cmocka_unit_test(periods_are_of_utc),
    cmocka_unit_test(periods_meet_at_their_ends),
    cmocka_unit_test(old_fields_are_stale),
};

UNIT_MAIN(tests)
