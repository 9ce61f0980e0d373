#include "unit.h"

#include <pthread.h>

#include "http/memory.h"

static void pieces_hold_what_was_asked_for(void **state)
{
    (void)state;
    pst_http_memory_begin();
    for (size_t n = 0; n < 200000; n = n + n / 7 + 1) {
        char *p = pst_http_malloc(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 'x', n);
        pst_http_free(p);
        char *again = pst_http_calloc(n, 1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(again[i], 0);
        pst_http_free(again);
    }
    pst_http_free(NULL);
    pst_http_memory_end();
}

static void a_piece_that_grows_keeps_its_text(void **state)
{
    (void)state;
    pst_http_memory_begin();
    char *p = pst_http_realloc(NULL, 1);
    p[0] = 'a';
    for (size_t n = 2; n < 300000; n += n / 3 + 1) {
        size_t had = n - n / 4 - 1;
        p = pst_http_realloc(p, n);
        assert_int_equal(p[0], 'a');
        assert_int_equal(p[had / 2], 'a');
        memset(p, 'a', n);
    }
    pst_http_free(p);
    char *copy = pst_http_strdup("text");
    assert_string_equal(copy, "text");
    pst_http_free(copy);
    pst_http_memory_end();
}

static void the_latest_comes_back_first(void **state)
{
    (void)state;
    pst_http_memory_begin();
    void *a = pst_http_malloc(1000), *b = pst_http_malloc(1000);
    pst_http_free(a);
    pst_http_free(b);
    assert_ptr_equal(pst_http_malloc(990), b);
    assert_ptr_equal(pst_http_malloc(1000), a);
    pst_http_free(a);
    pst_http_free(b);
    pst_http_memory_end();
}

static void sizes_beyond_reason_are_refused(void **state)
{
    (void)state;
    pst_http_memory_begin();
    assert_null(pst_http_malloc(SIZE_MAX));
    assert_null(pst_http_calloc(SIZE_MAX / 2, 3));
    pst_http_memory_end();
}

static void *in_another_thread(void *p)
{
    pst_http_free(p); /* from the first thread */
    return pst_http_malloc(100);
}

static void threads_may_free_each_others_pieces(void **state)
{
    (void)state;
    pthread_t t;
    void *got;
    pst_http_memory_begin();
    assert_int_equal(pthread_create(&t, NULL, in_another_thread, pst_http_malloc(100)), 0);
    assert_int_equal(pthread_join(t, &got), 0);
    pst_http_free(got);
    assert_ptr_equal(pst_http_malloc(100), got);
    pst_http_free(got);
    pst_http_memory_end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_hold_what_was_asked_for),
    cmocka_unit_test(a_piece_that_grows_keeps_its_text),
    cmocka_unit_test(the_latest_comes_back_first),
    cmocka_unit_test(sizes_beyond_reason_are_refused),
    cmocka_unit_test(threads_may_free_each_others_pieces),
};

UNIT_MAIN(tests)
