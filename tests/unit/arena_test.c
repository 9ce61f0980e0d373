#include "unit.h"

#include "base/arena.h"
#include "base/rng.h"

static void assert_aligned(const void *p)
{
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
}

/* Writes a pattern over every piece, then reads all: pieces that overlapped would disagree. */
static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { PIECES = 2000 };
    static unsigned char *p[PIECES];
    static size_t n[PIECES];
    pst_rng_t r;
    pst_rng_seed(&r, 2);
    pst_arena_t a;
    pst_arena_init(&a, 0);
    for (int i = 0; i < PIECES; i++) {
        n[i] = (size_t)pst_rng_below(&r, i % 50 == 0 ? 100000 : 300);
        p[i] = pst_arena_get(&a, n[i]);
        assert_aligned(p[i]);
        memset(p[i], i & 0xff, n[i]);
    }
    for (int i = 0; i < PIECES; i++) {
        for (size_t k = 0; k < n[i]; k++)
            assert_int_equal(p[i][k], i & 0xff);
    }
    pst_arena_release(&a);
    assert_int_equal(a.bytes, 0);
}

static void limit_holds_and_can_be_used_up(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 100);
    assert_null(pst_arena_get(&a, 101));
    assert_non_null(pst_arena_get(&a, 100));
    assert_null(pst_arena_get(&a, 1));
    assert_true(a.bytes <= 100);
    pst_arena_clear(&a);
    assert_non_null(pst_arena_get(&a, 100));
    pst_arena_release(&a);

    pst_arena_init(&a, 1 << 20);
    size_t got = 0;
    while (pst_arena_get(&a, 1000))
        got += 1000;
    assert_true(a.bytes <= 1 << 20);
    assert_true(got > (1 << 20) * 9 / 10);
    pst_arena_release(&a);
}

static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    assert_null(pst_arena_get(&a, SIZE_MAX));
    assert_null(pst_arena_get(&a, SIZE_MAX - 15));
    assert_null(pst_arena_get(&a, SIZE_MAX / 2 + 1));
    assert_non_null(pst_arena_get(&a, 0));
    assert_null(pst_arena_copy(&a, pst_view("x", SIZE_MAX)).p);
    pst_arena_release(&a);
}

/* A large piece must not strand the free rest of the chunk before it. */
static void small_pieces_go_on_in_their_chunk(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    char *first = pst_arena_get(&a, 16);
    assert_non_null(pst_arena_get(&a, 500000));
    char *second = pst_arena_get(&a, 16);
    assert_ptr_equal(second, first + 16);
    pst_arena_release(&a);
}

static void clear_keeps_one_modest_chunk(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    void *p = pst_arena_get(&a, 10);
    pst_arena_clear(&a);
    assert_ptr_equal(pst_arena_get(&a, 10), p);
    size_t one = a.bytes;
    for (int i = 0; i < 100; i++)
        assert_non_null(pst_arena_get(&a, 3000));
    assert_true(a.bytes > one);
    pst_arena_clear(&a);
    assert_true(a.bytes > 0 && a.bytes <= 64 << 10);
    pst_arena_release(&a);

    assert_non_null(pst_arena_get(&a, 8 << 20));
    pst_arena_clear(&a);
    assert_int_equal(a.bytes, 0);
    pst_arena_clear(&a);
    pst_arena_release(&a);
}

static void copies_and_formatted_texts(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 64);
    pst_view_t v = pst_arena_copy(&a, PST_VIEW_LIT("a\0b"));
    assert_int_equal(v.n, 3);
    assert_memory_equal(v.p, "a\0b", 4);
    v = pst_arena_copy(&a, pst_view(NULL, 0));
    assert_int_equal(v.n, 0);
    assert_string_equal(v.p, "");
    v = pst_arena_printf(&a, "%d-%s", 42, "x");
    assert_true(pst_view_eqs(v, "42-x"));
    assert_int_equal(v.p[v.n], '\0');
    v = pst_arena_printf(&a, "%0100d", 1);
    assert_null(v.p);
    assert_int_equal(v.n, 0);
    pst_arena_release(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_are_aligned_and_apart),
    cmocka_unit_test(limit_holds_and_can_be_used_up),
    cmocka_unit_test(absurd_sizes_are_refused),
    cmocka_unit_test(small_pieces_go_on_in_their_chunk),
    cmocka_unit_test(clear_keeps_one_modest_chunk),
    cmocka_unit_test(copies_and_formatted_texts),
};
UNIT_MAIN(tests)
