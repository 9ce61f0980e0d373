/* Prometheus' text format, as its documentation has it. */
#include "unit.h"

#include "proc/prom.h"

static void assert_text(pst_buf_t *b, const char *expected)
{
    pst_buf_putc(b, '\0');
    assert_false(b->failed);
    assert_string_equal(b->p, expected);
    pst_buf_release(b);
}

static void a_metric_has_a_head_and_samples(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_prom_head(&b, "calls_total", "counter", "calls");
    pst_prom_name(&b, "calls_total");
    pst_prom_uint(&b, UINT64_MAX);
    pst_prom_name(&b, "calls_total");
    pst_prom_label(&b, "a", PST_VIEW_LIT("x"));
    pst_prom_label(&b, "b", PST_VIEW_LIT(""));
    pst_prom_num(&b, 0.1);
    pst_prom_one(&b, "up", "gauge", "1 or 0", 1);
    assert_text(&b, "# HELP calls_total calls\n# TYPE calls_total counter\ncalls_total 18446744073709551615\n"
                    "calls_total{a=\"x\",b=\"\"} 0.1\n# HELP up 1 or 0\n# TYPE up gauge\nup 1\n");
}

static void a_name_that_is_not_tame_ends_no_label(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_prom_name(&b, "x");
    pst_prom_label(&b, "model", PST_VIEW_LIT("a\"} 1\n\\"));
    pst_prom_label(&b, "more", PST_VIEW_LIT("ü"));
    pst_prom_uint(&b, 2);
    assert_text(&b, "x{model=\"a\\\"} 1 \\\\\",more=\"ü\"} 2\n");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_metric_has_a_head_and_samples),
    cmocka_unit_test(a_name_that_is_not_tame_ends_no_label),
};
UNIT_MAIN(tests)
