#include "unit.h"

#include "base/buf.h"
#include "base/json.h"
#include "gateway/inline.h"
#include "penstock/limits.h"

/* What a reader made of a body, as one text: its elements, each with a bar behind it, then the members asked for. */
typedef struct seen {
    pst_buf_t elements;
    uint64_t n;
    uint64_t refuse_at; /* this element */
} seen_t;

static pst_err_t on_element(void *arg, uint64_t index, pst_view_t text)
{
    seen_t *s = arg;
    assert_int_equal(index, s->n);
    if (s->n++ == s->refuse_at)
        return PST_E_FULL;
    pst_buf_putv(&s->elements, text);
    pst_buf_putc(&s->elements, '|');
    return PST_OK;
}

typedef struct outcome {
    pst_err_t error;
    uint64_t at;
    char fault[160];
    char *elements;
    char model[64]; /* "-": not there */
} outcome_t;

/* Feeds the pieces [0, a), [a, b) and [b, n). */
static outcome_t read_cut(pst_view_t text, size_t a, size_t b, size_t element_max, uint64_t refuse_at)
{
    seen_t seen = {.refuse_at = refuse_at};
    outcome_t o = {0};
    pst_buf_init(&seen.elements, 0);
    pst_inline_t *r = pst_inline_new("requests", element_max, on_element, &seen);
    size_t from[] = {0, a, b, text.n};
    for (int i = 0; i < 3 && !o.error; i++)
        o.error = pst_inline_feed(r, text.p + from[i], from[i + 1] - from[i]);
    pst_err_t end = pst_inline_end(r);
    if (o.error)
        assert_int_equal(end, o.error);
    o.error = end;
    snprintf(o.fault, sizeof o.fault, "%s", pst_inline_fault(r, &o.at));
    pst_view_t model = pst_inline_member(r, "model");
    snprintf(o.model, sizeof o.model, "%.*s", model.p ? (int)model.n : 1, model.p ? model.p : "-");
    if (!o.error)
        assert_int_equal(pst_inline_elements(r), seen.n);
    pst_buf_putc(&seen.elements, '\0');
    o.elements = pst_buf_detach(&seen.elements, NULL);
    pst_inline_destroy(&r);
    assert_null(r);
    return o;
}

static outcome_t read_whole(const char *text)
{
    pst_view_t v = pst_view_str(text);
    return read_cut(v, v.n, v.n, 0, UINT64_MAX);
}

/* Wherever it is cut, it comes to the same. */
static void check_every_cut(const char *text)
{
    pst_view_t v = pst_view_str(text);
    outcome_t want = read_whole(text);
    for (size_t a = 0; a <= v.n; a++) {
        for (size_t b = a; b <= v.n; b++) {
            outcome_t got = read_cut(v, a, b, 0, UINT64_MAX);
            assert_int_equal(got.error, want.error);
            assert_int_equal(got.at, want.at);
            assert_string_equal(got.fault, want.fault);
            assert_string_equal(got.elements, want.elements);
            assert_string_equal(got.model, want.model);
            free(got.elements);
        }
    }
    free(want.elements);
}

static void good(const char *text, const char *elements, const char *model)
{
    outcome_t o = read_whole(text);
    assert_string_equal(o.fault, "");
    assert_int_equal(o.error, PST_OK);
    assert_string_equal(o.elements, elements);
    assert_string_equal(o.model, model);
    free(o.elements);
    check_every_cut(text);
}

static void bad(const char *text, uint64_t at, const char *fault)
{
    outcome_t o = read_whole(text);
    assert_int_equal(o.error, PST_E_INPUT);
    assert_string_equal(o.fault, fault);
    assert_int_equal(o.at, at);
    free(o.elements);
    check_every_cut(text);
}

static void any_order(void **state)
{
    (void)state;
    good("{\"model\":\"m\",\"requests\":[{\"a\":1},{}]}", "{\"a\":1}|{}|", "\"m\"");
    good("{\"requests\":[{\"a\":1},{}],\"model\":\"m\"}", "{\"a\":1}|{}|", "\"m\"");
    good(" {\n\"x\" : [ 1,2 ] , \"requests\" :\t[ {\"a\": [1]} , 7 ] , \"model\" : null } \r\n", "{\"a\": [1]}|7|", "null");
    good("{\"requests\":[]}", "", "-");
}

/* Brackets, quotes and commas in strings are text. */
static void exact_text(void **state)
{
    (void)state;
    good("{\"requests\":[{\"a\":\"]}\\\"},{\"},\"\\\\\",-1.5e3,true,null,[[],{}]]}",
         "{\"a\":\"]}\\\"},{\"}|\"\\\\\"|-1.5e3|true|null|[[],{}]|", "-");
    good("{\"requests\":[{\"\xc3\xa9\":\"\\u00e9\"}]}", "{\"\xc3\xa9\":\"\\u00e9\"}|", "-");
}

static void names(void **state)
{
    (void)state;
    good("{\"\\u0072equests\":[1],\"m\\u006fdel\":\"m\",\"\":{}}", "1|", "\"m\"");
    good("{\"a\":{\"requests\":[1],\"model\":2},\"requests\":[]}", "", "-");
}

static void whole_without_the_array(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool whole;
    } cases[] = {{"{\"a\":1}", true}, {"{\"a\":1} \n", true}, {"{\"a\":1", false}, {"{\"a\":", false}, {"", false},
                 {"{\"requests\":[]}", true}, {"{\"requests\":[]", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pst_inline_t *r = pst_inline_new("requests", 0, NULL, NULL);
        assert_int_equal(pst_inline_feed(r, cases[i].body, strlen(cases[i].body)), PST_OK);
        assert_int_equal(pst_inline_is_whole(r), cases[i].whole);
        pst_inline_destroy(&r);
    }
}

static void refused(void **state)
{
    (void)state;
    bad("", 0, "the body ends in the middle");
    bad("[]", 0, "here should be a JSON object");
    bad("{}", 2, "`requests` is missing");
    bad("{\"requests\":[1]", 15, "the body ends in the middle");
    bad("{\"requests\":{}}", 12, "`requests` is not an array");
    bad("{\"requests\":null}", 12, "`requests` is not an array");
    bad("{\"requests\":[1],\"requests\":[2]}", 16, "a member is given twice: remove one");
    bad("{\"model\":1,\"requests\":[],\"model\":2}", 25, "a member is given twice: remove one");
    bad("{\"requests\":[]} x", 16, "here should be nothing more");
    bad("{\"requests\":[1,]}", 15, "here should be a value");
    bad("{\"requests\":[,1]}", 13, "here should be a value");
    bad("{\"requests\":[1 2]}", 15, "here should be a comma or the end of the array");
    bad("{\"requests\":[1},", 14, "here should be a comma or the end of the array");
    bad("{\"requests\":[1],}", 16, "here should be a member's name");
    bad("{\"requests\":[] \"a\"", 15, "here should be a comma or the end of the object");
    bad("{\"requests\" [1]}", 12, "here should be a colon");
    bad("{requests:[1]}", 1, "here should be a member's name");
    bad("\xef\xbb\xbf{}", 0, "here should be a JSON object");
}

/* The offset is that of the byte that JSON does not allow, in the body. */
static void bad_values(void **state)
{
    (void)state;
    bad("{\"requests\":[{\"a\":tru}]}", 21, "this is not JSON");
    bad("{\"requests\":[01]}", 14, "this is not JSON");
    bad("{\"requests\":[{]}]}", 14, "this is not JSON");
    bad("{\"requests\":[[1}]]}", 15, "this is not JSON");
    bad("{\"requests\":[\"\n\"]}", 14, "this is not JSON");
    bad("{\"requests\":[\"\xff\"]}", 14, "this is not JSON");
    bad("{\"a\\x\":1,\"requests\":[]}", 4, "this is not JSON");
    bad("{\"a\":nul,\"requests\":[]}", 8, "this is not JSON");
}

static char *repeated(const char *begin, char c, size_t n, const char *end)
{
    size_t a = strlen(begin), b = strlen(end);
    char *text = malloc(a + n + b + 1);
    memcpy(text, begin, a);
    memset(text + a, c, n);
    memcpy(text + a + n, end, b + 1);
    return text;
}

static void bound(char *text, size_t element_max, pst_err_t error, uint64_t at, const char *fault)
{
    pst_view_t v = pst_view_str(text);
    for (size_t cut = 0; cut <= v.n; cut += 1 + v.n / 97) {
        outcome_t o = read_cut(v, cut, v.n, element_max, UINT64_MAX);
        assert_int_equal(o.error, error);
        assert_string_equal(o.fault, fault);
        assert_int_equal(o.at, at);
        free(o.elements);
    }
    free(text);
}

static void bounds(void **state)
{
    (void)state;
    bound(repeated("{\"requests\":[1,\"", 'x', 98, "\"]}"), 100, PST_OK, 0, "");
    bound(repeated("{\"requests\":[1,\"", 'x', 99, "\"]}"), 100, PST_E_TOO_LARGE, 15,
          "element 1 is longer than 100 bytes");
    bound(repeated("{\"requests\":[1,", '1', 101, ""), 100, PST_E_TOO_LARGE, 15, "element 1 is longer than 100 bytes");
    /* the key, the value and its quotes */
    size_t most = PST_INLINE_MEMBERS_BYTES_MAX - 3;
    bound(repeated("{\"m\":\"", 'x', most, "\",\"requests\":[]}"), 0, PST_OK, 0, "");
    bound(repeated("{\"m\":\"", 'x', most + 1, "\",\"requests\":[]}"), 0, PST_E_TOO_LARGE, 5,
          "the members beside `requests` are longer than 65536 bytes together");
    bound(repeated("{\"requests\":[],\"", 'k', PST_INLINE_MEMBERS_BYTES_MAX - 2, "\":12}"), 0, PST_OK, 0, "");
    bound(repeated("{\"requests\":[],\"", 'k', PST_INLINE_MEMBERS_BYTES_MAX - 1, "\":12}"), 0, PST_E_TOO_LARGE, 15,
          "the members beside `requests` are longer than 65536 bytes together");
    bound(repeated("{\"requests\":[", '[', PST_JSON_DEPTH_MAX + 1, ""), 0, PST_E_INPUT, 13 + PST_JSON_DEPTH_MAX,
          "nested deeper than 128");
}

static void many_members(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "{");
    for (int i = 0; i < PST_INLINE_MEMBERS_MAX; i++)
        pst_buf_printf(&b, "\"%d\":%d,", i, i);
    size_t at = b.n;
    pst_buf_puts(&b, "\"requests\":[]}");
    outcome_t o = read_cut(pst_buf_view(&b), 0, 0, 0, UINT64_MAX);
    assert_int_equal(o.error, PST_OK);
    free(o.elements);
    b.n = at;
    pst_buf_puts(&b, "\"more\":1,\"requests\":[]}");
    o = read_cut(pst_buf_view(&b), 0, 0, 0, UINT64_MAX);
    assert_int_equal(o.error, PST_E_TOO_LARGE);
    assert_int_equal(o.at, at);
    free(o.elements);
    pst_buf_release(&b);
}

static void callback_stops(void **state)
{
    (void)state;
    pst_view_t v = PST_VIEW_LIT("{\"requests\":[1,2,3]}");
    outcome_t o = read_cut(v, 0, 0, 0, 1);
    assert_int_equal(o.error, PST_E_FULL);
    assert_string_equal(o.elements, "1|");
    assert_string_equal(o.fault, "element 1 was refused");
    assert_int_equal(o.at, 15);
    free(o.elements);
}

/* An element as long as a line may be, beside short ones. */
static void long_element(void **state)
{
    (void)state;
    char *text = repeated("{\"requests\":[{\"a\":\"", 'x', PST_LINE_BYTES_MAX - 8, "\"},2]}");
    pst_view_t v = pst_view_str(text);
    outcome_t o = read_cut(v, v.n / 3, v.n - 5, 0, UINT64_MAX);
    assert_int_equal(o.error, PST_OK);
    assert_int_equal(strlen(o.elements), PST_LINE_BYTES_MAX + 3);
    assert_string_equal(o.elements + PST_LINE_BYTES_MAX - 3, "x\"}|2|");
    free(o.elements);
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_order),  cmocka_unit_test(exact_text),   cmocka_unit_test(names),
    cmocka_unit_test(refused),    cmocka_unit_test(bad_values),   cmocka_unit_test(bounds),
    cmocka_unit_test(many_members), cmocka_unit_test(callback_stops), cmocka_unit_test(long_element),
    cmocka_unit_test(whole_without_the_array),
};
UNIT_MAIN(tests)
