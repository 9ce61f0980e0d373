#include "unit.h"

#include "store/recent.h"

static pst_id_t id_of(uint8_t i)
{
    return (pst_id_t){{i}};
}

static void put(pst_recent_t *r, uint8_t batch, uint32_t segment, uint32_t n, size_t bytes)
{
    pst_id_t id = id_of(batch);
    pst_blob_t *b = pst_blob_new(NULL, bytes);
    memset(b->p, (int)n, bytes);
    pst_recent_put(r, &id, segment, n, b);
    pst_blob_unref(&b);
}

static bool has(pst_recent_t *r, uint8_t batch, uint32_t segment, uint32_t n, size_t bytes)
{
    pst_id_t id = id_of(batch);
    pst_blob_t *b = pst_recent_get(r, &id, segment, n);
    return b && b->n == bytes && (bytes == 0 || b->p[bytes - 1] == (char)n);
}

static void gives_what_was_put(void **state)
{
    (void)state;
    pst_recent_t *r = pst_recent_new(1000, 1);
    put(r, 1, 0, 7, 100);
    put(r, 1, 1, 7, 200);
    put(r, 2, 0, 7, 300);
    assert_true(has(r, 1, 0, 7, 100) && has(r, 1, 1, 7, 200) && has(r, 2, 0, 7, 300));
    assert_false(has(r, 2, 1, 7, 300));
    assert_false(has(r, 1, 0, 8, 100));
    put(r, 1, 0, 7, 50); /* written again */
    assert_true(has(r, 1, 0, 7, 50));
    pst_recent_destroy(&r);
}

static void the_oldest_goes_first(void **state)
{
    (void)state;
    pst_recent_t *r = pst_recent_new(1000, 1);
    for (uint32_t n = 0; n < 50; n++)
        put(r, 1, 0, n, 100);
    for (uint32_t n = 0; n < 50; n++)
        assert_int_equal(has(r, 1, 0, n, 100), n >= 40);
    put(r, 1, 0, 50, 950);
    assert_true(has(r, 1, 0, 50, 950));
    assert_false(has(r, 1, 0, 49, 100));
    put(r, 1, 0, 51, 1001); /* longer than all: not kept, and takes nobody's place */
    assert_false(has(r, 1, 0, 51, 1001));
    assert_true(has(r, 1, 0, 50, 950));
    pst_recent_destroy(&r);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(gives_what_was_put),
    cmocka_unit_test(the_oldest_goes_first),
};

UNIT_MAIN(tests)
