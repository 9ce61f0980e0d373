#include "unit.h"

#include "base/blob.h"
#include "base/buf.h"
#include "base/rng.h"

static void grows_and_keeps_what_it_has(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    for (int i = 0; i < 10000; i++)
        pst_buf_printf(&b, "%d,", i);
    assert_false(b.failed);
    const char *p = b.p;
    for (int i = 0; i < 10000; i++) {
        char *end;
        assert_int_equal(strtol(p, &end, 10), i);
        p = end + 1;
    }
    assert_ptr_equal(p, b.p + b.n);
    pst_buf_release(&b);
    assert_null(b.p);
}

/* Every way to write, against the same bytes put together by hand. */
static void all_writes_append(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_put(&b, NULL, 0);
    pst_buf_putc(&b, 'a');
    pst_buf_puts(&b, "bc");
    pst_buf_putv(&b, PST_VIEW_LIT("\0d"));
    pst_buf_printf(&b, "%s", "");
    char *p = pst_buf_reserve(&b, 5);
    memcpy(p, "efXXX", 5);
    b.n += 2;
    pst_buf_putc(&b, 'g');
    assert_true(pst_view_eq(pst_buf_view(&b), PST_VIEW_LIT("abc\0defg")));
    pst_buf_release(&b);
}

static void ceiling_is_exact_and_failure_changes_nothing(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 10);
    pst_buf_puts(&b, "12345");
    pst_buf_printf(&b, "%05d", 67890);
    assert_false(b.failed);
    pst_buf_putc(&b, 'x');
    assert_true(b.failed);
    assert_true(pst_view_eqs(pst_buf_view(&b), "1234567890"));

    pst_buf_clear(&b);
    assert_false(b.failed);
    pst_buf_puts(&b, "12345");
    pst_buf_printf(&b, "%06d", 1);
    assert_true(b.failed);
    assert_true(pst_view_eqs(pst_buf_view(&b), "12345"));
    pst_buf_putc(&b, '6'); /* would fit, but a hole in the middle must not go unseen */
    assert_int_equal(b.n, 5);
    assert_null(pst_buf_reserve(&b, 1));
    pst_buf_release(&b);
    assert_int_equal(b.max, 10);
    pst_buf_puts(&b, "again");
    assert_false(b.failed);
    pst_buf_release(&b);
}

static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, 'x');
    assert_null(pst_buf_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    pst_buf_clear(&b);
    pst_buf_putc(&b, 'x');
    assert_null(pst_buf_reserve(&b, SIZE_MAX / 2));
    assert_true(b.failed);
    pst_buf_release(&b);
}

static void detach_hands_over(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 4);
    pst_buf_puts(&b, "full");
    size_t n;
    char *p = pst_buf_detach(&b, &n);
    assert_int_equal(n, 4);
    assert_string_equal(p, "full");
    free(p);
    assert_null(b.p);
    assert_int_equal(b.n, 0);

    p = pst_buf_detach(&b, &n); /* of nothing: an empty text, not NULL */
    assert_int_equal(n, 0);
    assert_string_equal(p, "");
    free(p);

    pst_buf_puts(&b, "too long");
    assert_null(pst_buf_detach(&b, &n));
    assert_false(b.failed);
    pst_buf_puts(&b, "ok");
    assert_int_equal(b.n, 2);
    pst_buf_release(&b);
}

/* Random writes under a random ceiling: the content is all whole writes before the first that did
 * not fit. */
static void random_writes_stop_at_the_ceiling(void **state)
{
    (void)state;
    static char all[4096];
    memset(all, 'y', sizeof all);
    pst_rng_t r;
    pst_rng_seed(&r, 3);
    for (int round = 0; round < 500; round++) {
        size_t max = 1 + (size_t)pst_rng_below(&r, 2000);
        size_t expected = 0;
        bool failed = false;
        pst_buf_t b;
        pst_buf_init(&b, max);
        for (int i = 0; i < 40; i++) {
            size_t n = (size_t)pst_rng_below(&r, 120);
            failed = failed || expected + n > max;
            if (!failed)
                expected += n;
            if (i % 3 == 0)
                pst_buf_printf(&b, "%.*s", (int)n, all);
            else
                pst_buf_put(&b, all, n);
        }
        assert_int_equal(b.failed, failed);
        assert_int_equal(b.n, expected);
        assert_memory_equal(b.p ? b.p : "", all, b.n);
        assert_true(b.cap <= max);
        pst_buf_release(&b);
    }
}

static void blobs_count_their_owners(void **state)
{
    (void)state;
    pst_blob_t *a = pst_blob_new("abc", 3);
    pst_blob_t *b = pst_blob_ref(a);
    assert_ptr_equal(a, b);
    assert_true(pst_view_eqs(pst_blob_view(a), "abc"));
    pst_blob_unref(&a);
    assert_null(a);
    assert_true(pst_view_eqs(pst_blob_view(b), "abc"));
    pst_blob_unref(&b);
    pst_blob_unref(&b);
    assert_null(pst_blob_ref(NULL));
    assert_int_equal(pst_blob_view(NULL).n, 0);

    pst_blob_t *room = pst_blob_new(NULL, 1000);
    memset(room->p, 1, room->n);
    pst_blob_unref(&room);
}

static void expected_bytes_are_a_guess(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 1000);
    pst_buf_expect(&b, 600);
    assert_int_equal(b.n, 0);
    assert_true(b.cap >= 600);
    pst_buf_expect(&b, 1u << 30); /* beyond the ceiling: no more than that, and no failure */
    assert_false(b.failed);
    assert_int_equal(b.cap, 1000);
    assert_non_null(pst_buf_reserve(&b, 1000));
    assert_null(pst_buf_reserve(&b, 1001));
    assert_true(b.failed);
    pst_buf_release(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(expected_bytes_are_a_guess),
    cmocka_unit_test(grows_and_keeps_what_it_has),
    cmocka_unit_test(all_writes_append),
    cmocka_unit_test(ceiling_is_exact_and_failure_changes_nothing),
    cmocka_unit_test(absurd_sizes_are_refused),
    cmocka_unit_test(detach_hands_over),
    cmocka_unit_test(random_writes_stop_at_the_ceiling),
    cmocka_unit_test(blobs_count_their_owners),
};
UNIT_MAIN(tests)
