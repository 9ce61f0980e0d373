#include "unit.h"

#include <ctype.h>

#include "base/rng.h"
#include "penstock/id.h"

static pst_id_t filled(uint8_t byte)
{
    pst_id_t id;
    memset(id.b, byte, sizeof id.b);
    return id;
}

static void assert_text(pst_id_t id, const char *expected)
{
    char text[PST_BATCH_TEXT_LEN + 1];
    memset(text, 'x', sizeof text);
    pst_id_text(&id, text);
    assert_string_equal(text, expected);
}

static void known_texts(void **state)
{
    (void)state;
    assert_text(filled(0), "batch_00000000000000000000000000");
    assert_text(filled(0xff), "batch_7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    const uint8_t random[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    assert_text(pst_id_make(1, random), "batch_00000000010000000000000001");
    /* 2016-07-30T23:54:10.259Z, the time of the ULID specification's example. */
    assert_text(pst_id_make(1469922850259, random), "batch_01ARZ3NDEK0000000000000001");
}

static void time_goes_in_and_comes_out(void **state)
{
    (void)state;
    const uint8_t random[10] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    const uint64_t times[] = {0, 1, 1700000000123, (UINT64_C(1) << 48) - 1};
    for (size_t i = 0; i < PST_COUNT(times); i++) {
        pst_id_t id = pst_id_make(times[i], random);
        assert_true(pst_id_wall_ms(&id) == times[i]);
        assert_memory_equal(id.b + 6, random, 10);
    }
}

static void random_ids_round_trip_in_both_cases(void **state)
{
    (void)state;
    pst_rng_t r;
    pst_rng_seed(&r, 1);
    for (int i = 0; i < 2000; i++) {
        pst_id_t id, back;
        for (size_t k = 0; k < sizeof id.b; k++)
            id.b[k] = (uint8_t)pst_rng_next(&r);
        char text[PST_BATCH_TEXT_LEN + 1];
        pst_id_text(&id, text);
        assert_int_equal(pst_id_parse(pst_view_str(text), &back), PST_OK);
        assert_true(pst_id_eq(&id, &back));
        for (size_t k = 6; k < PST_BATCH_TEXT_LEN; k++)
            text[k] = (char)tolower(text[k]);
        assert_int_equal(pst_id_parse(pst_view_str(text), &back), PST_OK);
        assert_true(pst_id_eq(&id, &back));
    }
}

/* Texts sort as times do: lists of batches rely on it. */
static void later_ids_sort_later(void **state)
{
    (void)state;
    uint8_t high[10], low[10] = {0};
    memset(high, 0xff, sizeof high);
    for (uint64_t ms = 1; ms < UINT64_C(1) << 47; ms = ms * 3 + 1) {
        pst_id_t a = pst_id_make(ms, high), b = pst_id_make(ms + 1, low);
        char ta[PST_BATCH_TEXT_LEN + 1], tb[PST_BATCH_TEXT_LEN + 1];
        pst_id_text(&a, ta);
        pst_id_text(&b, tb);
        assert_true(strcmp(ta, tb) < 0);
        assert_true(memcmp(a.b, b.b, 16) < 0);
    }
}

static void bad_ids_are_refused_and_leave_the_result(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "batch_",
        "batch_0123456789ABCDEFGHJKMNPQR",   /* 25 digits */
        "batch_0123456789ABCDEFGHJKMNPQRST", /* 27 */
        "batch-0123456789ABCDEFGHJKMNPQRS",
        "Batch_0123456789ABCDEFGHJKMNPQRS",
        "batch_8123456789ABCDEFGHJKMNPQRS", /* 2^128 and more */
        "batch_Z123456789ABCDEFGHJKMNPQRS",
        "batch_z123456789ABCDEFGHJKMNPQRS",
        "batch_0123456789ABCDEFGHIKMNPQRS",
        "batch_0123456789ABCDEFGHLKMNPQRS",
        "batch_0123456789ABCDEFGHOKMNPQRS",
        "batch_0123456789ABCDEFGHUKMNPQRS",
        "batch_0123456789ABCDEFGHJKMNPQR-",
        "batch_0123456789ABCDEFGHJKMNPQR ",
        "batch_\xff" "123456789ABCDEFGHJKMNPQRS",
    };
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        pst_id_t id = filled(0xa5), before = id;
        assert_int_equal(pst_id_parse(pst_view_str(bad[i]), &id), PST_E_INVALID);
        assert_true(pst_id_eq(&id, &before));
    }
    char nul[] = "batch_0123456789ABCDEFGHJKMNPQRS";
    nul[20] = '\0';
    pst_id_t id;
    assert_int_equal(pst_id_parse(pst_view(nul, PST_BATCH_TEXT_LEN), &id), PST_E_INVALID);
    assert_int_equal(pst_id_parse(pst_view(NULL, 0), &id), PST_E_INVALID);
}

#define BATCH "batch_0123456789ABCDEFGHJKMNPQRS"

static void job_ids(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        uint32_t index;
    } cases[] = {
        {BATCH ".0", true, 0},
        {BATCH ".7", true, 7},
        {BATCH ".4294967295", true, UINT32_MAX},
        {BATCH ".4294967296", false, 0},
        {BATCH ".9999999999", false, 0},
        {BATCH ".18446744073709551616", false, 0},
        {BATCH, false, 0},
        {BATCH ".", false, 0},
        {BATCH ".00", false, 0},
        {BATCH ".01", false, 0},
        {BATCH ".-1", false, 0},
        {BATCH ".+1", false, 0},
        {BATCH ". 1", false, 0},
        {BATCH ".1 ", false, 0},
        {BATCH ".1.2", false, 0},
        {BATCH ".1a", false, 0},
        {BATCH "-1", false, 0},
        {"batch_8123456789ABCDEFGHJKMNPQRS.1", false, 0},
        {"", false, 0},
    };
    pst_id_t expected;
    assert_int_equal(pst_id_parse(PST_VIEW_LIT(BATCH), &expected), PST_OK);
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        pst_id_t id = filled(0);
        uint32_t index = 77;
        pst_err_t e = pst_job_id_parse(pst_view_str(cases[i].text), &id, &index);
        assert_int_equal(e, cases[i].ok ? PST_OK : PST_E_INVALID);
        assert_int_equal(index, cases[i].ok ? cases[i].index : 77);
        pst_id_t untouched = filled(0);
        assert_true(pst_id_eq(&id, cases[i].ok ? &expected : &untouched));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_texts),
    cmocka_unit_test(time_goes_in_and_comes_out),
    cmocka_unit_test(random_ids_round_trip_in_both_cases),
    cmocka_unit_test(later_ids_sort_later),
    cmocka_unit_test(bad_ids_are_refused_and_leave_the_result),
    cmocka_unit_test(job_ids),
};
UNIT_MAIN(tests)
