#include "unit.h"

#include "base/rng.h"

/* From the authors' description with state {1, 2, 3, 4}, worked out by hand for the first two:
 * rotl(2 * 5, 7) * 9 = 11520; then s[1] is 0. */
static void first_numbers_of_a_known_state(void **state)
{
    (void)state;
    pst_rng_t r = {{1, 2, 3, 4}};
    assert_true(pst_rng_next(&r) == 11520);
    assert_true(pst_rng_next(&r) == 0);
    assert_true(pst_rng_next(&r) == 1509978240);
    assert_true(pst_rng_next(&r) == UINT64_C(1215971899390074240));
}

static void same_seed_same_numbers(void **state)
{
    (void)state;
    pst_rng_t a, b, c;
    pst_rng_seed(&a, 0);
    pst_rng_seed(&b, 0);
    pst_rng_seed(&c, 1);
    assert_true(a.s[0] == UINT64_C(0xe220a8397b1dcdaf)); /* splitmix64's first from 0 */
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = pst_rng_next(&a);
        assert_true(x == pst_rng_next(&b));
        same += x == pst_rng_next(&c);
    }
    assert_int_equal(same, 0);
}

static void below_is_in_range_and_even(void **state)
{
    (void)state;
    pst_rng_t r;
    pst_rng_seed(&r, 6);
    int counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        counts[pst_rng_below(&r, 10)]++;
        assert_true(pst_rng_below(&r, 1) == 0);
        assert_true(pst_rng_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
}

static void unit_stays_below_one(void **state)
{
    (void)state;
    pst_rng_t r;
    pst_rng_seed(&r, 7);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double x = pst_rng_unit(&r);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    assert_true(sum > 49500 && sum < 50500);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(first_numbers_of_a_known_state),
    cmocka_unit_test(same_seed_same_numbers),
    cmocka_unit_test(below_is_in_range_and_even),
    cmocka_unit_test(unit_stays_below_one),
};
UNIT_MAIN(tests)
