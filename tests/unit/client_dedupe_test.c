#include "unit.h"

#include "lib/dedupe.h"

static pst_dedupe_t seen;

static int setup(void **state)
{
    (void)state;
    pst_dedupe_init(&seen, 42);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pst_dedupe_release(&seen);
    return 0;
}

static bool is_new(const char *format, unsigned i)
{
    char id[32];
    bool fresh = false;
    snprintf(id, sizeof id, format, i);
    assert_int_equal(pst_dedupe_add(&seen, pst_dedupe_hash(&seen, pst_view_str(id)), &fresh), PST_OK);
    return fresh;
}

#define IDS 100000u

/* Through all the times that the table grows, each is new once. */
static void each_is_new_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < IDS; i++) {
        assert_true(is_new("request-%u", i));
        assert_false(is_new("request-%u", i / 2));
    }
    for (unsigned i = 0; i < IDS; i++) {
        assert_false(is_new("request-%u", i));
        assert_true(is_new("other-%u", i));
    }
    assert_int_equal(seen.n, 2 * IDS);
    assert_true(seen.n * 3 <= seen.cap * 2);
    assert_int_equal(UINT64_MAX >> seen.shift, seen.cap - 1); /* places are the whole table, and none beyond */
}

/* Hashes at the end of the table go on at its beginning, also when they move to a larger one. */
static void hashes_at_the_end_wrap(void **state)
{
    (void)state;
    bool fresh;
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 1000; i++) {
            assert_int_equal(pst_dedupe_add(&seen, UINT64_MAX - i, &fresh), PST_OK);
            assert_int_equal(fresh, round == 0);
        }
    }
    assert_int_equal(seen.n, 1000);
}

static void hash_depends_on_the_seed_and_is_never_zero(void **state)
{
    (void)state;
    pst_dedupe_t other;
    pst_dedupe_init(&other, 43);
    assert_int_equal(pst_dedupe_hash(&seen, PST_VIEW_LIT("a")), pst_dedupe_hash(&seen, PST_VIEW_LIT("a")));
    assert_int_not_equal(pst_dedupe_hash(&seen, PST_VIEW_LIT("a")), pst_dedupe_hash(&other, PST_VIEW_LIT("a")));
    assert_int_not_equal(pst_dedupe_hash(&seen, pst_view(NULL, 0)), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(each_is_new_once), CASE(hashes_at_the_end_wrap), CASE(hash_depends_on_the_seed_and_is_never_zero),
};

UNIT_MAIN(tests)
