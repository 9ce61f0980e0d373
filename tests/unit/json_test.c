#include "unit.h"

#include <locale.h>
#include <math.h>

#include "base/json.h"
#include "base/rng.h"

/* Parses a copy of exactly the text's size on the heap, so that ASan sees a read past its end. */
static pst_err_t parse_exact(pst_view_t text, size_t *ret_at)
{
    char *copy = malloc(text.n ? text.n : 1);
    if (text.n)
        memcpy(copy, text.p, text.n);
    pst_json_t j;
    pst_json_init(&j);
    pst_err_t e = pst_json_parse(&j, pst_view(copy, text.n), ret_at);
    pst_json_release(&j);
    free(copy);
    return e;
}

static void parse(pst_json_t *j, const char *text)
{
    if (pst_json_parse(j, pst_view_str(text), NULL) != PST_OK)
        fail_msg("refused: %s", text);
}

static void accepts(void **state)
{
    (void)state;
    static const pst_view_t good[] = {
#define T(s) {"" s, sizeof(s) - 1}
        /* any value may be the whole text, with space around it */
        T("null"), T("true"), T("false"), T("0"), T("\"\""), T("[]"), T("{}"),
        T(" \t\r\n1\n\r\t "), T("\n[ ]\n"), T("{ }"), T("[1 , 2]"), T("{ \"a\" : 1 , \"b\" : 2 }"),
        /* numbers */
        T("-0"), T("0.0"), T("-0.0"), T("0e0"), T("0E+0"), T("0e-00"), T("10"), T("1e1"), T("1E-1"),
        T("1.5e+300"), T("1e400"), T("-1e-400"), T("123456789012345678901234567890"),
        T("0.0000000000000000000000000000000000000000000001"), T("[0,-1,2.0]"), T("1e00007"),
        /* strings */
        T("\"a\""), T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), T("\"\\u0000\""), T("\"\\uAbCd\""),
        T("\"/\""), T("\"\x7f\""), T("\" \""), T("\"'\""), T("\"//c\""), T("\"\\\\u0000\""),
        T("\"\\ud83d\\ude00\""), T("\"\\ud800\""), T("\"\\udc00\\ud800\""), T("\"\\ud800x\""),
        T("\"1234567\""), T("\"12345678\""), T("\"123456789\""), T("\"123456789012345\\n\""),
        /* the edges of UTF-8's lengths, and non-characters, which are valid */
        T("\"\xc2\x80\""), T("\"\xdf\xbf\""), T("\"\xe0\xa0\x80\""), T("\"\xed\x9f\xbf\""),
        T("\"\xee\x80\x80\""), T("\"\xef\xbf\xbf\""), T("\"\xf0\x90\x80\x80\""),
        T("\"\xf4\x8f\xbf\xbf\""), T("\"\xe2\x80\xa8\""), T("\"\xc3\xa9 \xc3\xa9\""),
        T("\"\xef\xbb\xbf\""),
        /* structure */
        T("[[]]"), T("[{}]"), T("{\"\":0}"), T("{\"a\":{\"a\":[]}}"), T("{\"a\":1,\"a\":2}"),
        T("[[],[[]],{},[1]]"), T("[null,true,false]"), T("{\"\\u0061\":null}"),
    };
    for (size_t i = 0; i < PST_COUNT(good); i++) {
        size_t at = 12345;
        if (parse_exact(good[i], &at) != PST_OK)
            fail_msg("refused at %zu: %.*s", at, (int)good[i].n, good[i].p);
    }
}

static void refuses_at_the_fault(void **state)
{
    (void)state;
    static const struct {
        pst_view_t text;
        size_t at;
    } bad[] = {
#define B(s, n) {T(s), n}
        /* nothing, or something after */
        B("", 0), B(" ", 1), B("\n\t", 2), B("1 2", 2), B("{}{}", 2), B("[]]", 2), B("null,", 4),
        B("\"a\"b", 3), B("1\0", 1), B("[]\0", 2), B("{} //", 3), B("\xef\xbb\xbf[]", 0),
        /* words */
        B("nul", 3), B("nulll", 4), B("True", 0), B("tru3", 3), B("fals", 4), B("NaN", 0),
        B("Infinity", 0), B("-Infinity", 1), B("undefined", 0), B("n\0ll", 1), B("[truE]", 4),
        /* numbers */
        B("+1", 0), B("01", 1), B("-01", 2), B("00", 1), B("-", 1), B("--1", 1), B("1.", 2),
        B(".5", 0), B("-.5", 1), B("1.e1", 2), B("1e", 2), B("1e+", 3), B("1e-", 3), B("1e+x", 3),
        B("1E1.5", 3), B("0x10", 1), B("1_000", 1), B("1,000", 1), B("1.5.5", 3), B("1e1e1", 3),
        B("[1.]", 3), B("[-]", 2), B("1a", 1), B("\xef\xbc\x91", 0),
        /* strings */
        B("\"", 1), B("\"a", 2), B("'a'", 0), B("\"\\\"", 3), B("\"\\", 2), B("\"\\x41\"", 2),
        B("\"\\'\"", 2), B("\"\\a\"", 2), B("\"\\0\"", 2), B("\"\\U0041\"", 2), B("\"\\u\"", 3),
        B("\"\\u004\"", 6), B("\"\\u004g\"", 6), B("\"\\u00", 5), B("\"\\u 041\"", 3),
        B("\"\\u-041\"", 3), B("\"\n\"", 1), B("\"\t\"", 1), B("\"a\0b\"", 2), B("\"\x1f\"", 1),
        B("\"12345678\x01\"", 9), B("\"1234567\r\"", 8), B("\"123456789012\n456\"", 13),
        B("\"\\\n\"", 2), B("\"\\\xc3\xa9\"", 2),
        /* UTF-8: stray and missing continuations, overlong forms, surrogates, past U+10FFFF */
        B("\"\x80\"", 1), B("\"\xbf\"", 1), B("\"\xc3\"", 1), B("\"\xc3", 1), B("\"\xe2\x82\"", 1),
        B("\"\xe2\x82", 1), B("\"\xf0\x9f\x98\"", 1), B("\"\xf0\x9f\x98", 1), B("\"\xc3(\"", 1),
        B("\"\xe2(\xa1\"", 1), B("\"\xe2\x82(\"", 1), B("\"\xf0(\x8c\xbc\"", 1),
        B("\"\xf0\x90\x8c(\"", 1), B("\"\xc0\x80\"", 1), B("\"\xc1\xbf\"", 1),
        B("\"\xe0\x80\x80\"", 1), B("\"\xe0\x9f\xbf\"", 1), B("\"\xf0\x80\x80\x80\"", 1),
        B("\"\xf0\x8f\xbf\xbf\"", 1), B("\"\xed\xa0\x80\"", 1), B("\"\xed\xbf\xbf\"", 1),
        B("\"\xf4\x90\x80\x80\"", 1), B("\"\xf5\x80\x80\x80\"", 1), B("\"\xff\"", 1),
        B("\"\xfe\"", 1), B("\"abc\xc3\xa9\xc3\"", 6), B("\"\xc3\xa9 \x80\"", 4), B("\xc3\xa9", 0),
        B("[\xff]", 1),
        /* space that JSON does not know */
        B("\f1", 0), B("\v1", 0), B("\xc2\xa0" "1", 0), B("[1\f]", 2),
        /* arrays */
        B("[", 1), B("]", 0), B("[1", 2), B("[1,", 3), B("[1,]", 3), B("[,1]", 1), B("[,]", 1),
        B("[1,,2]", 3), B("[1 2]", 3), B("[1:2]", 2), B("[}", 1), B("[1}", 2), B("[\"a\":1]", 4),
        B("[[1]", 4), B("[1],", 3), B("(1)", 0),
        /* objects */
        B("{", 1), B("}", 0), B("{,}", 1), B("{1:2}", 1), B("{a:1}", 1), B("{'a':1}", 1),
        B("{\"a\"}", 4), B("{\"a\":}", 5), B("{\"a\":1", 6), B("{\"a\":1,", 7), B("{\"a\":1,}", 7),
        B("{\"a\" 1}", 5), B("{\"a\"::1}", 5), B("{\"a\":1 \"b\":2}", 7),
        B("{\"a\":1,,\"b\":2}", 7),
        B("{\"a\",1}", 4), B("{]", 1), B("{\"a\":1]", 6), B("{\"a\"", 4), B("{\"a\":", 5),
        B("{null:1}", 1), B("{\"a\":1,2}", 7), B("{[]:1}", 1), B("/**/{}", 0), B("{}#", 2),
    };
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        size_t at = 12345;
        const char *p = bad[i].text.p;
        int n = (int)bad[i].text.n;
        if (parse_exact(bad[i].text, &at) != PST_E_INVALID)
            fail_msg("accepted: %.*s", n, p);
        if (at != bad[i].at)
            fail_msg("fault at %zu instead of %zu: %.*s", at, bad[i].at, n, p);
        assert_int_equal(parse_exact(bad[i].text, NULL), PST_E_INVALID);
    }
}

/* Every pair of bytes in a string, against the rule itself: both are plain ASCII, or together they
 * are an escape or a two-byte sequence. */
static void all_pairs_of_bytes(void **state)
{
    (void)state;
    pst_json_t j;
    pst_json_init(&j);
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char text[4] = {'"', (char)a, (char)b, '"'};
            bool plain_a = a >= 0x20 && a < 0x80 && a != '"' && a != '\\';
            bool plain_b = b >= 0x20 && b < 0x80 && b != '"' && b != '\\';
            bool escape = a == '\\' && b != 0 && strchr("\"\\/bfnrt", (int)b);
            bool two = a >= 0xc2 && a <= 0xdf && b >= 0x80 && b <= 0xbf;
            bool good = (plain_a && plain_b) || escape || two;
            pst_err_t e = pst_json_parse(&j, pst_view(text, 4), NULL);
            assert_int_equal(e, good ? PST_OK : PST_E_INVALID);
        }
    }
    pst_json_release(&j);
}

/* The scan of sixteen bytes at a time must stop at the first special byte wherever it stands. */
static void special_bytes_at_every_place(void **state)
{
    (void)state;
    static const char special[] = {'\x00', '\x1f', '"', '\\', '\x80', '\xff'};
    for (size_t n = 1; n < 40; n++) {
        for (size_t at = 0; at < n; at++) {
            for (size_t k = 0; k < sizeof special; k++) {
                char text[64];
                memset(text, 'x', sizeof text);
                text[0] = '"';
                text[n + 1] = '"';
                text[1 + at] = special[k];
                size_t fault = SIZE_MAX;
                pst_err_t e = parse_exact(pst_view(text, n + 2), &fault);
                assert_int_equal(e, PST_E_INVALID);
                /* A quote ends the string, a backslash at its end escapes the closing quote. */
                bool later = special[k] == '"' || special[k] == '\\';
                bool open = special[k] == '\\' && at == n - 1;
                assert_int_equal(fault, open ? n + 2 : 1 + at + later);
            }
        }
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    enum { DEEP = PST_JSON_DEPTH_MAX + 1 };
    char text[2 * DEEP];
    size_t at;
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_int_equal(parse_exact(pst_view(text, 2 * DEEP), &at), PST_E_INVALID);
    assert_int_equal(at, PST_JSON_DEPTH_MAX);
    assert_int_equal(parse_exact(pst_view(text + 1, 2 * DEEP - 2), NULL), PST_OK);

    /* width is not depth */
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, '[');
    for (int i = 0; i < 1000; i++)
        pst_buf_puts(&b, i ? ",{\"a\":[]}" : "{}");
    pst_buf_putc(&b, ']');
    assert_int_equal(parse_exact(pst_buf_view(&b), NULL), PST_OK);
    pst_buf_release(&b);

    /* a stack overflow, were it recursive */
    size_t n = 4 << 20;
    char *open = malloc(n);
    for (size_t i = 0; i < n; i++)
        open[i] = i % 5 ? "\"a\":{"[i % 5 - 1] : '{';
    assert_int_equal(parse_exact(pst_view(open, n), NULL), PST_E_INVALID);
    free(open);
}

static void huge_text_is_refused_unread(void **state)
{
    (void)state;
    pst_json_t j;
    pst_json_init(&j);
    size_t at = 1;
    pst_view_t huge = pst_view("1", (size_t)UINT32_MAX + 1);
    assert_int_equal(pst_json_parse(&j, huge, &at), PST_E_INVALID);
    assert_int_equal(at, 0);
    assert_int_equal(pst_json_parse(&j, pst_view(NULL, 0), NULL), PST_E_INVALID);
    pst_json_release(&j);
}

static void tape_tells_ranges_counts_and_siblings(void **state)
{
    (void)state;
    static const char text[] = " {\"a\" : [1, \"x\\n\", {}], \"b\":null} ";
    static const struct {
        const char *raw;
        pst_json_type_t type;
        uint32_t next, count;
        bool escaped;
    } expected[] = {
        {"{\"a\" : [1, \"x\\n\", {}], \"b\":null}", PST_JSON_OBJECT, 8, 2, false},
        {"\"a\"", PST_JSON_STRING, 2, 0, false},
        {"[1, \"x\\n\", {}]", PST_JSON_ARRAY, 6, 3, false},
        {"1", PST_JSON_NUMBER, 4, 0, false},
        {"\"x\\n\"", PST_JSON_STRING, 5, 0, true},
        {"{}", PST_JSON_OBJECT, 6, 0, false},
        {"\"b\"", PST_JSON_STRING, 7, 0, false},
        {"null", PST_JSON_NULL, 8, 0, false},
    };
    pst_json_t j;
    pst_json_init(&j);
    parse(&j, text);
    assert_int_equal(j.n, PST_COUNT(expected));
    for (uint32_t i = 0; i < j.n; i++) {
        assert_true(pst_view_eqs(pst_json_raw(&j, i), expected[i].raw));
        assert_true(pst_json_is(&j, i, expected[i].type));
        assert_int_equal(j.tok[i].next, expected[i].next);
        assert_int_equal(j.tok[i].count, expected[i].count);
        assert_int_equal(j.tok[i].escaped, expected[i].escaped);
    }
    pst_json_release(&j);
}

static void members_are_found(void **state)
{
    (void)state;
    pst_json_t j;
    pst_json_init(&j);
    parse(&j, "{\"error\":{\"message\":\"no\",\"code\":{}},\"a\":1,\"a\":2,\"\\u0062\\\\\":3,"
              "\"\":4,\"\\ud83d\\ude00\":5,\"aa\":[{\"a\":6}],\"nul\\u0000\":7}");
    int64_t v;
    assert_true(pst_json_int(&j, pst_json_get(&j, 0, "a"), &v) && v == 1); /* the first of two */
    assert_true(pst_json_int(&j, pst_json_get(&j, 0, "b\\"), &v) && v == 3);
    assert_true(pst_json_int(&j, pst_json_get(&j, 0, ""), &v) && v == 4);
    assert_true(pst_json_int(&j, pst_json_get(&j, 0, "\xf0\x9f\x98\x80"), &v) && v == 5);
    assert_int_equal(pst_json_get(&j, 0, "b"), PST_JSON_NONE);
    assert_int_equal(pst_json_get(&j, 0, "b\\x"), PST_JSON_NONE);
    assert_int_equal(pst_json_get(&j, 0, "nul"), PST_JSON_NONE);
    assert_int_equal(pst_json_get(&j, 0, "message"), PST_JSON_NONE); /* a member's member */
    assert_int_equal(pst_json_get(&j, PST_JSON_NONE, "a"), PST_JSON_NONE);
    assert_int_equal(pst_json_get(&j, pst_json_get(&j, 0, "aa"), "a"), PST_JSON_NONE);

    uint32_t t = pst_json_path(&j, 0, "error", "message", NULL);
    assert_true(pst_view_eqs(pst_json_raw(&j, t), "\"no\""));
    assert_int_equal(pst_json_path(&j, 0, NULL), 0);
    assert_int_equal(pst_json_path(&j, 0, "error", "none", "message", NULL), PST_JSON_NONE);
    assert_int_equal(pst_json_path(&j, 0, "a", "a", NULL), PST_JSON_NONE);
    assert_int_equal(pst_json_path(&j, PST_JSON_NONE, "a", NULL), PST_JSON_NONE);

    /* nothing of the last document remains after a refusal */
    assert_int_equal(pst_json_parse(&j, PST_VIEW_LIT("{\"a\":1"), NULL), PST_E_INVALID);
    assert_int_equal(pst_json_get(&j, 0, "a"), PST_JSON_NONE);
    pst_json_release(&j);
}

static void iteration_visits_keys_or_items(void **state)
{
    (void)state;
    pst_json_t j;
    pst_json_init(&j);
    parse(&j, "[{\"a\":[1,[2]],\"b\":{\"c\":3},\"d\":4},[5,[6,7],{},8],[],{}]");
    uint32_t obj = pst_json_first(&j, 0);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    for (uint32_t k = pst_json_first(&j, obj); k != PST_JSON_NONE; k = pst_json_after(&j, obj, k)) {
        pst_buf_putv(&b, pst_json_raw(&j, k));
        pst_buf_putv(&b, pst_json_raw(&j, k + 1));
    }
    assert_true(pst_view_eqs(pst_buf_view(&b), "\"a\"[1,[2]]\"b\"{\"c\":3}\"d\"4"));
    pst_buf_clear(&b);
    uint32_t arr = pst_json_after(&j, 0, obj);
    for (uint32_t k = pst_json_first(&j, arr); k != PST_JSON_NONE; k = pst_json_after(&j, arr, k)) {
        pst_buf_putv(&b, pst_json_raw(&j, k));
        pst_buf_putc(&b, ';');
    }
    assert_true(pst_view_eqs(pst_buf_view(&b), "5;[6,7];{};8;"));
    pst_buf_release(&b);
    uint32_t empty = pst_json_after(&j, 0, arr);
    assert_int_equal(pst_json_first(&j, empty), PST_JSON_NONE);
    assert_int_equal(pst_json_first(&j, pst_json_after(&j, 0, empty)), PST_JSON_NONE);
    assert_int_equal(pst_json_first(&j, PST_JSON_NONE), PST_JSON_NONE);
    assert_int_equal(pst_json_first(&j, obj + 3), PST_JSON_NONE); /* a number */
    pst_json_release(&j);
}

static void strings_decode(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        pst_view_t expected;
    } cases[] = {
        {"\"\"", T("")},
        {"\"plain\"", T("plain")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", T("\"\\/\b\f\n\r\t")},
        {"\"a\\u0000b\"", T("a\0b")},
        {"\"\\u0041\\u00e9\\u20AC\"", T("A\xc3\xa9\xe2\x82\xac")},
        {"\"\\ud83d\\ude00\"", T("\xf0\x9f\x98\x80")},
        {"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"", T("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        /* lone surrogates become U+FFFD, each, and take nothing with them */
        {"\"\\ud800\"", T("\xef\xbf\xbd")},
        {"\"\\udc00x\"", T("\xef\xbf\xbdx")},
        {"\"\\ud800\\n\"", T("\xef\xbf\xbd\n")},
        {"\"\\ud800\\u0041\"", T("\xef\xbf\xbd" "A")},
        {"\"\\ud800\\ud83d\\ude00\"", T("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {"\"\\ude00\\ud83d\"", T("\xef\xbf\xbd\xef\xbf\xbd")},
        {"\"\\ud83d\\\\ude00\"", T("\xef\xbf\xbd\\ude00")},
        {"\"\\uffff\\u07ff\\u0800\\u007f\\u0080\"",
         T("\xef\xbf\xbf\xdf\xbf\xe0\xa0\x80\x7f\xc2\x80")},
    };
    pst_json_t j;
    pst_json_init(&j);
    pst_arena_t a;
    pst_arena_init(&a, 0);
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        parse(&j, cases[i].text);
        pst_view_t v = pst_json_str(&j, 0, &a);
        assert_non_null(v.p);
        assert_true(pst_view_eq(v, cases[i].expected));
    }
    parse(&j, "\"in place\"");
    assert_ptr_equal(pst_json_str(&j, 0, &a).p, j.text.p + 1);
    parse(&j, "[1]");
    assert_null(pst_json_str(&j, 0, &a).p);
    assert_null(pst_json_str(&j, PST_JSON_NONE, &a).p);
    pst_arena_release(&a);

    pst_arena_init(&a, 4);
    parse(&j, "\"12345\\n\"");
    assert_null(pst_json_str(&j, 0, &a).p);
    pst_arena_release(&a);
    pst_json_release(&j);
}

static void integers_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t v;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-0.0e5", true, 0},
        {"0e999999999999999999999", true, 0},
        {"42", true, 42},
        {"-17", true, -17},
        {"9007199254740993", true, INT64_C(9007199254740993)}, /* 2^53 + 1 */
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999999", false, 0},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"1.5e1", true, 15},
        {"1200e-2", true, 12},
        {"0.000001e6", true, 1},
        {"9.223372036854775807e18", true, INT64_MAX},
        {"100000000000000000000000000e-24", true, 100},
        {"0.1", false, 0},
        {"1.0000000000000000000001", false, 0}, /* 1.0 as a double */
        {"1e-1", false, 0},
        {"15e-1", false, 0},
        {"1e19", false, 0},
        {"1e400", false, 0},
        {"1e18446744073709551616", false, 0},
        {"1e-18446744073709551616", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
    };
    pst_json_t j;
    pst_json_init(&j);
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        parse(&j, cases[i].text);
        int64_t v = 77;
        if (pst_json_int(&j, 0, &v) != cases[i].ok || v != (cases[i].ok ? cases[i].v : 77))
            fail_msg("%s gave %lld", cases[i].text, (long long)v);
    }
    int64_t v;
    assert_false(pst_json_int(&j, PST_JSON_NONE, &v));
    pst_json_release(&j);
}

static void doubles_and_booleans(void **state)
{
    (void)state;
    pst_json_t j;
    pst_json_init(&j);
    double d = 77;
    parse(&j, "[0.1,-2.5e-3,1e308,5e-324,1e-400,1e400,\"1\",true,false,null]");
    assert_true(pst_json_num(&j, 1, &d) && d == 0.1);
    assert_true(pst_json_num(&j, 2, &d) && d == -0.0025);
    assert_true(pst_json_num(&j, 3, &d) && d == 1e308);
    assert_true(pst_json_num(&j, 4, &d) && d == 5e-324);
    assert_true(pst_json_num(&j, 5, &d) && d == 0);
    d = 77;
    assert_false(pst_json_num(&j, 6, &d)); /* no infinity gets in */
    assert_false(pst_json_num(&j, 7, &d));
    assert_false(pst_json_num(&j, 8, &d));
    assert_false(pst_json_num(&j, PST_JSON_NONE, &d));
    assert_true(d == 77);

    bool b = false;
    assert_true(pst_json_bool(&j, 8, &b) && b);
    assert_true(pst_json_bool(&j, 9, &b) && !b);
    assert_false(pst_json_bool(&j, 10, &b));
    assert_false(pst_json_bool(&j, 1, &b));
    assert_false(pst_json_bool(&j, PST_JSON_NONE, &b));

    /* longer than any buffer on the stack, and nothing behind its last digit */
    char *text = malloc(5000);
    memset(text, '0', 5000);
    text[1] = '.';
    text[4999] = '1';
    memcpy(text + 2, "25", 2);
    assert_int_equal(pst_json_parse(&j, pst_view(text, 5000), NULL), PST_OK);
    assert_true(pst_json_num(&j, 0, &d) && d == 0.25);
    free(text);
    pst_json_release(&j);
}

static void assert_num(double v, const char *expected)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_json_put_num(&b, v);
    pst_buf_putc(&b, '\0');
    assert_string_equal(b.p, expected);
    pst_buf_release(&b);
}

static void numbers_are_written_short(void **state)
{
    (void)state;
    assert_num(0, "0");
    assert_num(-0.0, "-0");
    assert_num(0.1, "0.1");
    assert_num(1.0 / 3, "0.3333333333333333");
    assert_num(0.1 + 0.2, "0.30000000000000004");
    assert_num(100, "100");
    assert_num(1e21, "1e+21");
    assert_num(9007199254740991, "9007199254740991");
    assert_num((double)NAN, "null");
    assert_num((double)INFINITY, "null");
}

/* The decimal point is the library's, whatever the program around it has set. */
static void numbers_ignore_the_locale(void **state)
{
    (void)state;
    static const char *const with_comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    const char *set = NULL;
    for (size_t i = 0; i < PST_COUNT(with_comma) && !set; i++)
        set = setlocale(LC_NUMERIC, with_comma[i]);
    if (!set) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    assert_num(0.5, "0.5");
    pst_json_t j;
    pst_json_init(&j);
    parse(&j, "0.5");
    double d;
    assert_true(pst_json_num(&j, 0, &d) && d == 0.5);
    pst_json_release(&j);
    setlocale(LC_NUMERIC, "C");
}

static void random_numbers_round_trip(void **state)
{
    (void)state;
    pst_rng_t r;
    pst_rng_seed(&r, 8);
    pst_json_t j;
    pst_json_init(&j);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = pst_rng_next(&r);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        pst_buf_clear(&b);
        pst_json_put_num(&b, v);
        assert_int_equal(pst_json_parse(&j, pst_buf_view(&b), NULL), PST_OK);
        assert_true(pst_json_num(&j, 0, &back));
        assert_memory_equal(&v, &back, sizeof v);

        int64_t n = (int64_t)(bits >> pst_rng_below(&r, 64)), n_back;
        pst_buf_clear(&b);
        pst_buf_printf(&b, "%lld", (long long)n);
        assert_int_equal(pst_json_parse(&j, pst_buf_view(&b), NULL), PST_OK);
        assert_true(pst_json_int(&j, 0, &n_back) && n == n_back);
    }
    pst_buf_release(&b);
    pst_json_release(&j);
}

static void strings_are_written_escaped(void **state)
{
    (void)state;
    static const struct {
        pst_view_t in, out;
    } cases[] = {
        {T(""), T("\"\"")},
        {T("a\"b\\c/"), T("\"a\\\"b\\\\c/\"")},
        {T("\b\f\n\r\t\0\x1f\x7f"), T("\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"")},
        {T("\xc3\xa9\xf0\x9f\x98\x80"), T("\"\xc3\xa9\xf0\x9f\x98\x80\"")},
        {T("a\xff" "b"), T("\"a\xef\xbf\xbd" "b\"")},
        {T("\xc3"), T("\"\xef\xbf\xbd\"")},
        {T("\xed\xa0\x80"), T("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"")},
        {{NULL, 0}, T("\"\"")},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        pst_json_put_str(&b, cases[i].in);
        assert_true(pst_view_eq(pst_buf_view(&b), cases[i].out));
        assert_int_equal(parse_exact(pst_buf_view(&b), NULL), PST_OK);
        pst_buf_release(&b);
    }
}

static bool valid_utf8(pst_view_t v)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, '"');
    for (size_t i = 0; i < v.n; i++) {
        bool special = (unsigned char)v.p[i] < 0x20 || v.p[i] == '"' || v.p[i] == '\\';
        pst_buf_putc(&b, special ? '.' : v.p[i]);
    }
    pst_buf_putc(&b, '"');
    bool ok = parse_exact(pst_buf_view(&b), NULL) == PST_OK;
    pst_buf_release(&b);
    return ok;
}

/* Whatever the bytes, what is written parses; if they were UTF-8, it reads back the same. */
static void random_strings_round_trip(void **state)
{
    (void)state;
    static const char pieces[][5] = {"a", "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xe2\x82\xac",
                                     "\xf0\x9f\x98\x80", "plai", " ", "\xff", "\xc3", "\xed\xa0"};
    pst_rng_t r;
    pst_rng_seed(&r, 9);
    for (int round = 0; round < 3000; round++) {
        pst_buf_t in, out;
        pst_buf_init(&in, 0);
        pst_buf_init(&out, 0);
        uint64_t kinds = round % 2 ? PST_COUNT(pieces) : PST_COUNT(pieces) - 3;
        for (uint64_t i = pst_rng_below(&r, 30); i > 0; i--)
            pst_buf_puts(&in, pieces[pst_rng_below(&r, kinds)]);
        pst_json_put_str(&out, pst_buf_view(&in));
        pst_json_t j;
        pst_json_init(&j);
        assert_int_equal(pst_json_parse(&j, pst_buf_view(&out), NULL), PST_OK);
        pst_arena_t a;
        pst_arena_init(&a, 0);
        pst_view_t back = pst_json_str(&j, 0, &a);
        assert_int_equal(pst_view_eq(back, pst_buf_view(&in)), valid_utf8(pst_buf_view(&in)));
        assert_true(valid_utf8(back));
        pst_arena_release(&a);
        pst_json_release(&j);
        pst_buf_release(&in);
        pst_buf_release(&out);
    }
}

/* Of every length, with something to escape at every place; the text is a block of just its size, for ASan. */
static void short_strings_are_written_whole(void **state)
{
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        for (size_t at = 0; at < n; at++) {
            char *text = malloc(n);
            memset(text, 'x', n);
            text[at] = '\n';
            pst_buf_t b;
            pst_buf_init(&b, 0);
            pst_json_put_str(&b, pst_view(text, n));
            assert_int_equal(b.n, n + 3);
            assert_memory_equal(b.p + 1 + at, "\\n", 2);
            for (size_t i = 1; i + 1 < b.n; i++)
                assert_true(b.p[i] == 'x' || i == 1 + at || i == 2 + at);
            pst_buf_release(&b);
            free(text);
        }
    }
}

static void writer_puts_commas(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, '{');
    pst_json_put_key(&b, "a");
    pst_buf_putc(&b, '[');
    for (int i = 0; i < 3; i++) {
        pst_json_put_comma(&b);
        pst_json_put_num(&b, i);
    }
    pst_buf_putc(&b, ']');
    pst_json_put_key(&b, "ends with {");
    pst_json_put_str(&b, PST_VIEW_LIT("{"));
    pst_json_put_key(&b, "q\"");
    pst_buf_puts(&b, "{}}");
    assert_true(pst_view_eqs(pst_buf_view(&b),
                             "{\"a\":[0,1,2],\"ends with {\":\"{\",\"q\\\"\":{}}"));
    assert_int_equal(parse_exact(pst_buf_view(&b), NULL), PST_OK);
    pst_buf_release(&b);
    pst_json_put_comma(&b);
    assert_int_equal(b.n, 0);
}

/* A random document, and beside it what its tape must say. */
typedef struct doc {
    pst_rng_t r;
    pst_buf_t text;
    uint8_t type[4096];
    uint32_t count[4096];
    uint32_t next[4096];
    uint32_t n;
} doc_t;

static void put_space(doc_t *d)
{
    static const char space[] = " \t\r\n";
    while (pst_rng_below(&d->r, 4) == 0)
        pst_buf_putc(&d->text, space[pst_rng_below(&d->r, 4)]);
}

static uint32_t put_leaf(doc_t *d, pst_json_type_t type, const char *text)
{
    uint32_t t = d->n++;
    d->type[t] = (uint8_t)type;
    d->count[t] = 0;
    d->next[t] = d->n;
    pst_buf_puts(&d->text, text);
    return t;
}

static void put_value(doc_t *d, int depth);

static void put_container(doc_t *d, int depth, bool object)
{
    uint32_t t = put_leaf(d, object ? PST_JSON_OBJECT : PST_JSON_ARRAY, object ? "{" : "[");
    uint32_t count = (uint32_t)pst_rng_below(&d->r, 5);
    put_space(d);
    for (uint32_t i = 0; i < count; i++) {
        pst_buf_puts(&d->text, i ? "," : "");
        put_space(d);
        if (object) {
            put_leaf(d, PST_JSON_STRING, i % 2 ? "\"k\"" : "\"\\u006b\"");
            put_space(d);
            pst_buf_putc(&d->text, ':');
            put_space(d);
        }
        put_value(d, depth + 1);
        put_space(d);
    }
    pst_buf_putc(&d->text, object ? '}' : ']');
    d->count[t] = count;
    d->next[t] = d->n;
}

static void put_value(doc_t *d, int depth)
{
    static const struct {
        pst_json_type_t type;
        const char *text;
    } leaves[] = {
        {PST_JSON_NUMBER, "-12.5e+3"}, {PST_JSON_NUMBER, "0"}, {PST_JSON_STRING, "\"\""},
        {PST_JSON_STRING, "\"]}\\\"\xc3\xa9,[{\""}, {PST_JSON_TRUE, "true"},
        {PST_JSON_FALSE, "false"}, {PST_JSON_NULL, "null"},
    };
    uint64_t kind = pst_rng_below(&d->r, PST_COUNT(leaves) + 6);
    if (depth > 0 && (kind < PST_COUNT(leaves) || depth > 6 || d->n > 2000)) {
        kind %= PST_COUNT(leaves);
        put_leaf(d, leaves[kind].type, leaves[kind].text);
    } else {
        put_container(d, depth, kind % 2);
    }
}

static void random_documents_have_the_tape_they_were_made_from(void **state)
{
    (void)state;
    static doc_t d;
    pst_json_t j;
    pst_json_init(&j);
    for (uint64_t seed = 0; seed < 400; seed++) {
        pst_rng_seed(&d.r, seed);
        pst_buf_init(&d.text, 0);
        d.n = 0;
        put_value(&d, 0);
        assert_int_equal(pst_json_parse(&j, pst_buf_view(&d.text), NULL), PST_OK);
        assert_int_equal(j.n, d.n);
        for (uint32_t i = 0; i < d.n; i++) {
            assert_int_equal(j.tok[i].type, d.type[i]);
            assert_int_equal(j.tok[i].count, d.count[i]);
            assert_int_equal(j.tok[i].next, d.next[i]);
        }
        /* A container's document cut short is none; the fault is where the text ends or before. */
        size_t cut = (size_t)pst_rng_below(&d.r, d.text.n), at = SIZE_MAX;
        assert_int_equal(parse_exact(pst_view(d.text.p, cut), &at), PST_E_INVALID);
        assert_true(at <= cut);
        pst_buf_release(&d.text);
    }
    pst_json_release(&j);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(accepts),
    cmocka_unit_test(refuses_at_the_fault),
    cmocka_unit_test(all_pairs_of_bytes),
    cmocka_unit_test(special_bytes_at_every_place),
    cmocka_unit_test(depth_is_bounded),
    cmocka_unit_test(huge_text_is_refused_unread),
    cmocka_unit_test(tape_tells_ranges_counts_and_siblings),
    cmocka_unit_test(members_are_found),
    cmocka_unit_test(iteration_visits_keys_or_items),
    cmocka_unit_test(strings_decode),
    cmocka_unit_test(integers_are_exact),
    cmocka_unit_test(doubles_and_booleans),
    cmocka_unit_test(numbers_are_written_short),
    cmocka_unit_test(numbers_ignore_the_locale),
    cmocka_unit_test(random_numbers_round_trip),
    cmocka_unit_test(strings_are_written_escaped),
    cmocka_unit_test(random_strings_round_trip),
    cmocka_unit_test(short_strings_are_written_whole),
    cmocka_unit_test(writer_puts_commas),
    cmocka_unit_test(random_documents_have_the_tape_they_were_made_from),
};
UNIT_MAIN(tests)
