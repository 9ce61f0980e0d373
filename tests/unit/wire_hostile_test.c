/* Bytes from somebody who means harm, or whose connection broke. */
#include "unit.h"

#include "wire_notation.h"
#include "wire_vectors.h"

#define ID "x00000000000000000000000000000000 "

/* The bytes alone in memory of their own size, so that ASan sees a read past them. */
static pst_err_t decode_alone(const kind_t *k, const char *p, size_t n, pst_arena_t *a)
{
    thing_t thing;
    char *copy = malloc(n ? n : 1);
    if (n)
        memcpy(copy, p, n);
    pst_arena_clear(a);
    pst_err_t e = k->decode(pst_view(n ? copy : NULL, n), a, &thing);
    free(copy);
    return e;
}

static void each_cut(void *context, const char *kind, const char *name, pst_view_t bytes)
{
    pst_arena_t *a = context;
    kind_t k;
    (void)name;
    assert_true(kind_find(pst_view_str(kind), &k));
    if (decode_alone(&k, bytes.p, bytes.n, a) != PST_OK)
        return; /* a bad vector cut short can be a good one */
    for (size_t n = 0; n < bytes.n; n++) {
        pst_err_t e = decode_alone(&k, bytes.p, n, a);
        assert_true(e == PST_E_MALFORMED || e == PST_E_TOO_LARGE || e == PST_E_VERSION);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    vectors_each(each_cut, &a);
    pst_arena_release(&a);
}

/* Every byte of a frame made every other byte of a few that matter: nothing but an answer may come
 * of it. */
static void each_change(void *context, const char *kind, const char *name, pst_view_t bytes)
{
    static const uint8_t others[] = {0x00, 0x7f, 0x80, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc6,
                                     0xc9, 0xcb, 0xcf, 0xd3, 0xdb, 0xdc, 0xdd, 0xdf, 0xe0, 0xff};
    pst_arena_t *a = context;
    kind_t k;
    (void)name;
    assert_true(kind_find(pst_view_str(kind), &k));
    if (bytes.n > 600)
        return;
    char copy[600];
    for (size_t i = 0; i < bytes.n; i++) {
        for (unsigned o = 0; o < sizeof others; o++) {
            memcpy(copy, bytes.p, bytes.n);
            copy[i] = (char)others[o];
            pst_err_t e = decode_alone(&k, copy, bytes.n, a);
            assert_true(e == PST_OK || e == PST_E_MALFORMED || e == PST_E_TOO_LARGE ||
                        e == PST_E_VERSION);
        }
    }
}

static void every_changed_byte_is_survived(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    vectors_each(each_change, &a);
    pst_arena_release(&a);
}

static void assert_check(const char *notation, pst_err_t want)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    notation_put(notation, &b);
    pst_err_t e = pst_wire_check(pst_buf_view(&b));
    if (e != want)
        fail_msg("%s: %s", notation, pst_err_name(e));
    pst_buf_release(&b);
}

static void check_knows_every_type(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0", "127", "128", "256", "65536", "4294967296", "-1", "-32", "!d080", "!d18000",
        "!d280000000", "!d38000000000000000", "nil", "true", "false", "\"\"", "s31", "s32", "s255",
        "s256", "s65536", "b0", "b255", "b256", "b65536", "[]", "[@15 0]", "[@16 0]", "[@70000 0]",
        "[[] [[] []] \"a\" []]", "[[[[[[[[[[[[]]]]]]]]]]]]",
    };
    static const char *const wrong[] = {
        "", "!c1", "f1.0", "!ca00000000", "!80", "!8100", "!de0000", "!df00000000", "!c70000",
        "!c8000000", "!c90000000000", "!d40000", "!d5000000", "!d60000000000",
        "!d7000000000000000000", "!d800000000000000000000000000000000", "0 0", "[] nil", "!cc",
        "!cd00", "!ce000000", "!cf00000000000000", "!d0", "!d100", "!a1", "!d9", "!d901", "!da0001",
        "!db00000001", "!c4", "!c401", "!c50001", "!c600000001", "!91", "!dc", "!dc00", "!dc0001",
        "!dd", "!dd000000", "!dd00000001", "!9fc0", "!92 [@5 0]", "[[[[[[[[[[[[[]]]]]]]]]]]]]",
    };
    for (unsigned i = 0; i < PST_COUNT(good); i++)
        assert_check(good[i], PST_OK);
    for (unsigned i = 0; i < PST_COUNT(wrong); i++)
        assert_check(wrong[i], PST_E_MALFORMED);
}

/* Two lists that fit one by one, but not together. */
static void promises_add_up(void **state)
{
    (void)state;
    assert_check("!91 !dc0003 !dc0003 0 0 0 0", PST_E_MALFORMED);
    assert_check("!91 !dc0003 !dc0003 0 0 0 0 0", PST_OK);
}

static void check_has_a_limit(void **state)
{
    (void)state;
    char *zeros = calloc(1, PST_FRAME_BYTES_MAX + 1);
    assert_int_equal(pst_wire_check(pst_view(zeros, PST_FRAME_BYTES_MAX + 1)), PST_E_TOO_LARGE);
    free(zeros);
}

/* What the cursor reads without the check before it, the check would have let through too. */
static void each_checked(void *context, const char *kind, const char *name, pst_view_t bytes)
{
    kind_t k;
    thing_t thing;
    (void)name;
    assert_true(kind_find(pst_view_str(kind), &k));
    if (strcmp(kind, "values/route") != 0 && k.decode(bytes, context, &thing) == PST_OK)
        assert_int_equal(pst_wire_check(bytes), PST_OK);
}

static void what_decodes_also_checks(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    vectors_each(each_checked, &a);
    pst_arena_release(&a);
}

/* Records may grow at their end at every level, not only the message. */
static void every_record_may_grow(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *bytes;
    } grown[] = {
        {"messages/hello",
         "[1 1 0 0 0 2 \"\" \"\" [[\"p\" 1 [nil]]] [[" ID "0 0 0 1 \"new\"]] [0]]"},
        {"messages/outcomes",
         "[1 81 0 0 0 1 [[" ID "0 [[\"p\" \"m\" 1]] [[0 0 1 0 nil 1 0 0 0 0 false 0 0 0 0 0 "
         "\"\" \"\" 0 0 [[7]]]] [0 0 b0 nil] [[0 0 60 nil 0 \"new\"]] true]]]"},
        {"messages/cluster",
         "[1 53 0 0 0 1 [@11 0 [[\"p\" 0 0 0 0 [[0 1 0 0 nil]] 0 0 true]] [[[\"p\" \"m\" 1] @15 0 [] [7]]] nil] 9]"},
        {"messages/tasks", /* as it was before it had a priority, and as it may be one day */
         "[1 96 0 0 0 [[" ID "0 0 b0 b0 false [\"p\" \"m\" 1] \"m\" 0 0 [[0 1]]] [" ID
         "0 0 b0 b0 false [\"p\" \"m\" 1] \"m\" 0 0 [[0 1 2]] 1 9]]]"},
        {"messages/fetch", "[1 23 0 0 0 1 " ID "[0 0 0] 0 0 nil]"},
        {"values/pack_headers", "[0 b0 0 0 [[0 \"r\" 0 0 0 0 0 0 \"\" nil]] 1]"},
        {"values/result_pack",
         "[[[\"p\" \"m\" nil]] [[0 \"r\" 1 0 0 0 0 0 0 0 0 0 \"\" \"\" 0 0 0 0 "
         "[[0 0 0 0 true]] 4 x00]] [[0 0 b0 1]] []]"},
    };
    pst_arena_t a;
    pst_buf_t b;
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    for (unsigned i = 0; i < PST_COUNT(grown); i++) {
        kind_t k;
        pst_buf_clear(&b);
        notation_put(grown[i].bytes, &b);
        assert_true(kind_find(pst_view_str(grown[i].kind), &k));
        assert_int_equal(decode_alone(&k, b.p, b.n, &a), PST_OK);
    }
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* Every limit is the largest value that may still be: the vectors of bad.json are one past it. */
static void limits_may_be_reached(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *bytes;
    } largest[] = {
        {"messages/hello", "[1 1 0 0 0 2 s256 s256 [@256 [s256 1]] [[" ID "0 0 255 65535]]]"},
        {"messages/refused", "[1 5 0 0 0 65535 s1024]"},
        {"messages/route", "[1 16 0 0 0 1 3 b65536]"},
        {"messages/open", "[1 17 0 0 0 4294967295 " ID "s256 2 0 0 s256 s16384 s256]"},
        {"messages/get", "[1 24 0 0 0 1 " ID "false 0 s512]"},
        {"messages/results", "[1 51 0 0 0 1 [0 0] false [@256 b0] 1]"},
        {"messages/job", "[1 52 0 0 0 1 3 0 0 0 b0]"},
        {"messages/outcomes",
         "[1 81 0 0 0 1 [[" ID "0 [[\"p\" \"m\"]] [@1024 [0 255 1 0 s512 6 255 0 0 3 false 0 0 0 "
         "0 0 s128 s1024 1 2]] [0 3 b3]]]]"},
        {"messages/outcomes", "[1 81 0 0 0 1 [[" ID "0 [] [] [1 50331648 b3]]]]"},
        {"messages/outcomes",
         "[1 81 0 0 0 1 [[" ID "0 [[\"p\" \"m\"]] [] [0 0 b0] [@64 [0 4 1 nil 0]]]]]"},
        {"messages/cluster",
         "[1 53 0 0 0 1 [@11 0 [@256 [s256 0 0 0 0 [@5 [4 0 2 0]] 255 0]] [@1024 [[s256 s256] @12 0 65535 255 0 "
         "[@5 [4 0 2 0]]]]]]"},
        {"messages/tasks",
         "[1 96 0 0 0 [@4 [" ID "0 0 b0 b0 false [\"p\" \"m\"] \"m\" 0 0 [@256 [255 1]]]]]"},
        {"values/route", "[[@8 s256] [@32 s256] [@32 s256] [@32 s256] [@32 s256] true true false "
                         "false 3 0 f0.0 nil 0]"},
        {"values/pack_headers", "[3 b0 1 33554432 [[0 s512 0 0 33554432 0 0 0 \"\"]]]"},
        {"values/pack_headers", "[3 b0 1 0 [[4294967295 nil 0 0 0 0 255 1 s1024]]]"},
        {"values/result_pack", "[[] [[0 \"r\" 4 0 0 65535 0 0 0 0 0 0 s128 s1024 0 0 1 2 [@16 "
                               "[65535 0 0 0]]]] [[0 3 b3]]]"},
        {"values/batch_info", "[" ID "7 2 s256 s16384 s256 @19 0 [] [] [] s256]"},
    };
    pst_arena_t a;
    pst_buf_t b;
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    for (unsigned i = 0; i < PST_COUNT(largest); i++) {
        kind_t k;
        pst_buf_clear(&b);
        notation_put(largest[i].bytes, &b);
        assert_true(kind_find(pst_view_str(largest[i].kind), &k));
        pst_err_t e = decode_alone(&k, b.p, b.n, &a);
        if (e != PST_OK)
            fail_msg("%s: %s", largest[i].bytes, pst_err_name(e));
    }
    pst_buf_release(&b);
    pst_arena_release(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_truncation_is_refused), cmocka_unit_test(every_changed_byte_is_survived),
    cmocka_unit_test(check_knows_every_type),      cmocka_unit_test(promises_add_up),
    cmocka_unit_test(check_has_a_limit),           cmocka_unit_test(what_decodes_also_checks),
    cmocka_unit_test(every_record_may_grow),       cmocka_unit_test(limits_may_be_reached),
};
UNIT_MAIN(tests)
