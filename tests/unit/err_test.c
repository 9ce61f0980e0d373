#include "unit.h"

#include <ctype.h>

#include "base/base.h"

static const struct {
    pst_err_t e;
    const char *upper;
    const char *text;
    pst_err_class_t class;
} list[] = {
#define X(name, number, class, text) {number, #name, text, PST_CLASS_##class},
    PST_ERR_LIST(X)
#undef X
};

static void names_are_the_lists_in_lower_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(list); i++) {
        char lower[32];
        size_t n = strlen(list[i].upper);
        assert_true(n < sizeof lower);
        for (size_t k = 0; k <= n; k++)
            lower[k] = (char)tolower(list[i].upper[k]);
        assert_string_equal(pst_err_name(list[i].e), lower);
        assert_string_equal(pst_err_text(list[i].e), list[i].text);
        assert_int_equal(pst_err_class(list[i].e), list[i].class);
    }
}

static void numbers_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(list); i++) {
        assert_int_not_equal(list[i].e, PST_OK);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(list[i].e, list[k].e);
    }
}

static void success_and_unknown_numbers_have_names_too(void **state)
{
    (void)state;
    assert_string_equal(pst_err_text(PST_OK), "ok");
    assert_string_equal(pst_err_name(PST_OK), "ok");
    assert_int_equal(pst_err_class(PST_OK), PST_CLASS_NONE);
    pst_err_t later = (pst_err_t)9999;
    assert_string_equal(pst_err_text(later), "unknown error");
    assert_string_equal(pst_err_name(later), "unknown");
    assert_int_equal(pst_err_class(later), PST_CLASS_FATAL);
}

static void detail_is_formatted_and_cut(void **state)
{
    (void)state;
    pst_errbuf_t eb;
    assert_int_equal(pst_errf(&eb, PST_E_FULL, "queue %s: %d jobs", "a", 7), PST_E_FULL);
    assert_string_equal(eb.text, "queue a: 7 jobs");
    assert_int_equal(pst_errf(NULL, PST_E_IO, "%s", "nobody listens"), PST_E_IO);
    assert_int_equal(pst_errf(&eb, PST_E_IO, "%0600d", 1), PST_E_IO);
    assert_int_equal(strlen(eb.text), sizeof eb.text - 1);
}

static void times_saturate(void **state)
{
    (void)state;
    assert_true(pst_ns_add(5, 7) == 12);
    assert_true(pst_ns_add(PST_NEVER, PST_SEC) == PST_NEVER);
    assert_true(pst_ns_add(1, PST_NEVER) == PST_NEVER);
    assert_true(pst_ns_add(PST_NEVER - 1, 1) == PST_NEVER);
    assert_true(pst_ns_since(3, 5) == 0);
    assert_true(pst_ns_since(5, 3) == 2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_are_the_lists_in_lower_case),
    cmocka_unit_test(numbers_are_unique),
    cmocka_unit_test(success_and_unknown_numbers_have_names_too),
    cmocka_unit_test(detail_is_formatted_and_cut),
    cmocka_unit_test(times_saturate),
};
UNIT_MAIN(tests)
