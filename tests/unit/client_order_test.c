#include "unit.h"

#include <unistd.h>

#include "cli/order.h"

#define LINES 5000u

static void put(pst_order_t *o, uint32_t index)
{
    char line[64];
    int n = snprintf(line, sizeof line, "line %u%.*s", index, (int)(index % 20), "....................");
    assert_int_equal(pst_order_add(o, index, pst_view(line, (size_t)n)), EXIT_WELL);
}

static char *write_all(pst_order_t *o)
{
    char *text = NULL;
    size_t n = 0;
    pst_output_t out = {.f = open_memstream(&text, &n), .path = "memory"};
    assert_int_equal(pst_order_write(o, &out), EXIT_WELL);
    fclose(out.f);
    return text;
}

static void every_line_in_its_place(void **state)
{
    (void)state;
    pst_order_t *o = NULL;
    assert_int_equal(pst_order_new(LINES, &o), EXIT_WELL);
    for (uint32_t i = 0; i < LINES; i++)
        put(o, (uint32_t)((uint64_t)i * 1543 % LINES)); /* 1543 and 5000 share no factor: all of them, shuffled */
    char *text = write_all(o);
    uint32_t i = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), i++)
        assert_int_equal(strtoul(line + sizeof "line " - 1, NULL, 10), i);
    assert_int_equal(i, LINES);
    free(text);
    pst_order_destroy(&o);
}

static void some_are_missing(void **state)
{
    (void)state;
    pst_order_t *o = NULL;
    assert_int_equal(pst_order_new(10, &o), EXIT_WELL);
    put(o, 9);
    put(o, 0);
    put(o, 3);
    char *text = write_all(o);
    assert_string_equal(text, "line 0\nline 3...\nline 9.........\n");
    free(text);
    pst_order_destroy(&o);
}

static void nothing_and_too_much(void **state)
{
    (void)state;
    pst_order_t *o = NULL;
    assert_int_equal(pst_order_new(0, &o), EXIT_WELL);
    char *text = write_all(o);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(pst_order_add(o, 0, PST_VIEW_LIT("x")), EXIT_FAILED);
    pst_order_destroy(&o);
}

static void texts(void **state)
{
    (void)state;
    pst_cli_text_t t;
    uint64_t s;
    assert_string_equal(pst_cli_count(&t, 0), "0");
    assert_string_equal(pst_cli_count(&t, 999), "999");
    assert_string_equal(pst_cli_count(&t, 1234567), "1,234,567");
    assert_string_equal(pst_cli_count(&t, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(pst_cli_span(&t, 59), "59s");
    assert_string_equal(pst_cli_span(&t, 3723), "1h02m");
    assert_string_equal(pst_cli_span(&t, 90000), "1d01h");
    assert_true(pst_cli_parse_span("24h", &s) && s == 86400);
    assert_true(pst_cli_parse_span("90", &s) && s == 90);
    assert_true(pst_cli_parse_span("7d", &s) && s == 7 * 86400);
    static const char *const wrong[] = {"", "soon", "-1h", "0h", "1w", "1h30m", "99999999999999999999d", " 1h", "400d"};
    for (size_t i = 0; i < PST_COUNT(wrong); i++)
        assert_false(pst_cli_parse_span(wrong[i], &s));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_line_in_its_place),
    cmocka_unit_test(some_are_missing),
    cmocka_unit_test(nothing_and_too_much),
    cmocka_unit_test(texts),
};

UNIT_MAIN(tests)
