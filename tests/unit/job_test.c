#include "unit.h"

#include <limits.h>

#include "base/base.h"
#include "penstock/job.h"

static void urls_map_both_ways(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PST_URL_COUNT; i++)
        assert_int_equal(pst_url_parse(pst_view_str(pst_url_text(i))), i);
    assert_string_equal(pst_url_text(PST_URL_CHAT), "/v1/chat/completions");
    assert_null(pst_url_text(PST_URL_COUNT));
    assert_null(pst_url_text(UINT_MAX));
}

static void other_urls_are_none(void **state)
{
    (void)state;
    static const char *const others[] = {
        "", "/", "/v1/chat", "/v1/chat/completions/", "/V1/chat/completions", "v1/completions",
    };
    for (size_t i = 0; i < PST_COUNT(others); i++)
        assert_int_equal(pst_url_parse(pst_view_str(others[i])), -1);
    assert_int_equal(pst_url_parse(pst_view(NULL, 0)), -1);
    assert_int_equal(pst_url_parse(PST_VIEW_LIT("/v1/responses\0")), -1);
}

static void every_number_of_the_lists_has_its_text(void **state)
{
    (void)state;
#define X(name, number, text) assert_string_equal(pst_job_status_text(number), text);
    PST_JOB_STATUS_LIST(X)
#undef X
#define X(name, number, text) assert_string_equal(pst_cause_text(number), text);
    PST_CAUSE_LIST(X)
#undef X
}

static void numbers_outside_the_lists_have_none(void **state)
{
    (void)state;
    assert_null(pst_job_status_text(PST_JOB_NONE));
    assert_null(pst_job_status_text(PST_JOB_CANCELLED + 1));
    assert_null(pst_cause_text(PST_CAUSE_TLS + 1)); /* a gap */
    assert_null(pst_cause_text(PST_CAUSE_LINE_ROUTING + 1));
    assert_null(pst_cause_text(UINT_MAX));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(urls_map_both_ways),
    cmocka_unit_test(other_urls_are_none),
    cmocka_unit_test(every_number_of_the_lists_has_its_text),
    cmocka_unit_test(numbers_outside_the_lists_have_none),
};
UNIT_MAIN(tests)
