#include "unit.h"

#include "base/map.h"
#include "base/rng.h"

enum { KEYS = 700 };

static int marks[KEYS];

/* Keys of all lengths, 1 to 40, each telling its number. */
static size_t key_of(int i, char key[PST_MAP_KEY_MAX])
{
    size_t n = 3 + (size_t)i % (PST_MAP_KEY_MAX - 2);
    memset(key, 'k', n);
    memcpy(key, &(uint16_t){(uint16_t)i}, 2);
    return n;
}

static void *get(const pst_map_t *m, int i)
{
    char key[PST_MAP_KEY_MAX];
    size_t n = key_of(i, key);
    return pst_map_get(m, key, n);
}

static void set(pst_map_t *m, int i, void *value)
{
    char key[PST_MAP_KEY_MAX];
    size_t n = key_of(i, key);
    pst_map_set(m, key, n, value);
}

static void *drop(pst_map_t *m, int i)
{
    char key[PST_MAP_KEY_MAX];
    size_t n = key_of(i, key);
    return pst_map_remove(m, key, n);
}

static void assert_holds(const pst_map_t *m, int *const *expected)
{
    uint32_t live = 0;
    for (int i = 0; i < KEYS; i++) {
        assert_ptr_equal(get(m, i), expected[i]);
        live += expected[i] != NULL;
    }
    assert_int_equal(m->n, live);
    uint32_t at = 0, seen = 0;
    while (pst_map_next(m, &at))
        seen++;
    assert_int_equal(seen, live);
}

static void agrees_with_an_array(void **state)
{
    (void)state;
    int *expected[KEYS] = {0};
    pst_map_t m;
    pst_map_init(&m, 99);
    pst_rng_t r;
    pst_rng_seed(&r, 5);
    for (int step = 0; step < 60000; step++) {
        /* Waves: mostly filling, then mostly emptying. */
        uint64_t fill = step / 5000 % 2 ? 2 : 8;
        int i = (int)pst_rng_below(&r, KEYS);
        if (pst_rng_below(&r, 10) < fill) {
            int *value = &marks[pst_rng_below(&r, KEYS)];
            set(&m, i, value);
            expected[i] = value;
        } else {
            assert_ptr_equal(drop(&m, i), expected[i]);
            expected[i] = NULL;
        }
        assert_true(m.used >= m.n && m.used * 10 <= m.cap * 7);
        if (step % 997 == 0)
            assert_holds(&m, expected);
    }
    assert_holds(&m, expected);
    pst_map_release(&m);
    assert_int_equal(m.n, 0);
}

/* A queue's life: keys come and go for ever, few at a time.  The past must not make it grow. */
static void churn_does_not_grow_it(void **state)
{
    (void)state;
    pst_map_t m;
    pst_map_init(&m, 7);
    for (uint32_t i = 0; i < 200000; i++) {
        pst_map_set(&m, &i, sizeof i, marks);
        if (i >= 50)
            assert_non_null(pst_map_remove(&m, &(uint32_t){i - 50}, sizeof i));
    }
    assert_int_equal(m.n, 50);
    assert_true(m.cap <= 256);
    pst_map_release(&m);
}

static void current_may_be_removed_while_iterating(void **state)
{
    (void)state;
    pst_map_t m;
    pst_map_init(&m, 8);
    for (int i = 0; i < KEYS; i++)
        set(&m, i, &marks[i]);
    uint32_t at = 0, seen = 0;
    for (int *p; (p = pst_map_next(&m, &at)); seen++) {
        int i = (int)(p - marks);
        if (i % 3)
            assert_ptr_equal(drop(&m, i), p);
    }
    assert_int_equal(seen, KEYS);
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(get(&m, i), i % 3 ? NULL : &marks[i]);
    pst_map_release(&m);
}

static void keys_are_bytes_with_a_length(void **state)
{
    (void)state;
    pst_map_t m;
    pst_map_init(&m, 9);
    assert_null(pst_map_get(&m, "a", 1));
    assert_null(pst_map_remove(&m, "a", 1));
    pst_map_set(&m, "", 0, &marks[0]);
    pst_map_set(&m, "\0", 1, &marks[1]);
    pst_map_set(&m, "\0\0", 2, &marks[2]);
    pst_map_set(&m, "a", 1, &marks[3]);
    pst_map_set(&m, "a", 1, &marks[4]);
    assert_int_equal(m.n, 4);
    assert_ptr_equal(pst_map_get(&m, NULL, 0), &marks[0]);
    assert_ptr_equal(pst_map_get(&m, "\0", 1), &marks[1]);
    assert_ptr_equal(pst_map_get(&m, "\0\0", 2), &marks[2]);
    assert_ptr_equal(pst_map_get(&m, "a", 1), &marks[4]);
    static const char long_key[PST_MAP_KEY_MAX + 1];
    assert_null(pst_map_get(&m, long_key, sizeof long_key));
    assert_null(pst_map_remove(&m, long_key, sizeof long_key));
    pst_map_release(&m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(agrees_with_an_array),
    cmocka_unit_test(churn_does_not_grow_it),
    cmocka_unit_test(current_may_be_removed_while_iterating),
    cmocka_unit_test(keys_are_bytes_with_a_length),
};
UNIT_MAIN(tests)
