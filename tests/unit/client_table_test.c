/* Tables for people: whatever is in them, they fit their width and are safe to show. */
#include "drawn.h"

#include "cli/table.h"

static const pst_column_t columns[] = {
    {.title = "NAME", .left = true, .least = 6}, {.title = "SIZE", .drop = 2}, {.title = "COUNT", .drop = 1}, {.title = "N"},
    {.title = "NOTE", .left = true, .least = 8, .drop = 3},
};

static void put_sample(unsigned width, unsigned rows)
{
    static const char *const cells[][PST_COUNT(columns)] = {
        {"apples", "12", "3,456", "7", "ripe and red"}, {"strawberries", "1", "2", "33", "some"}};
    pst_table_t t;
    pst_table_init(&t, columns, PST_COUNT(columns));
    for (size_t i = 0; i < PST_COUNT(cells); i++)
        for (size_t k = 0; k < PST_COUNT(columns); k++)
            pst_table_cell(&t, "%s", cells[i][k]);
    assert_int_equal(pst_table_rows(&t), 2);
    pst_table_put(&t, width, rows, false, &out);
    pst_table_release(&t);
}

static void narrow_tables_lose_columns(void **state)
{
    (void)state;
    put_sample(0, 9);
    assert_drawn("NAME          SIZE  COUNT   N  NOTE\n"
                 "apples          12  3,456   7  ripe and red\n"
                 "strawberries     1      2  33  some\n");
    put_sample(39, 9); /* texts are narrowed, the last one first */
    assert_drawn("NAME          SIZE  COUNT   N  NOTE\n"
                 "apples          12  3,456   7  ripe an…\n"
                 "strawberries     1      2  33  some\n");
    put_sample(34, 9);
    assert_drawn("NAME     SIZE  COUNT   N  NOTE\n"
                 "apples     12  3,456   7  ripe an…\n"
                 "strawb…     1      2  33  some\n");
    put_sample(32, 9); /* then the least wanted column goes, and what it gave up is used */
    assert_drawn("NAME          SIZE  COUNT   N\n"
                 "apples          12  3,456   7\n"
                 "strawberries     1      2  33\n");
    put_sample(20, 1);
    assert_drawn("NAME       COUNT   N\n"
                 "apples     3,456   7\n");
    put_sample(9, 9); /* what is left may be too much, too: nothing is wrapped */
    assert_drawn("NAME\n"
                 "apples\n"
                 "straw…\n");
    put_sample(3, 0);
    assert_drawn("NA…\n");
}

static void a_column_without_a_word_is_left_out(void **state)
{
    (void)state;
    pst_table_t t;
    pst_table_init(&t, columns, 3);
    for (int i = 0; i < 2; i++) {
        pst_table_cell(&t, "a");
        pst_table_cell(&t, "%s", "");
        pst_table_cell(&t, "%d", i);
    }
    pst_table_put(&t, 0, 9, true, &out);
    assert_drawn("\033[1mNAME  COUNT\033[0m\na         0\na         1\n");
    pst_table_release(&t);
    pst_table_init(&t, columns, 3);
    pst_table_put(&t, 0, 9, false, &out);
    assert_drawn("NAME  SIZE  COUNT\n");
    pst_table_release(&t);
}

static void texts_of_strangers_are_harmless(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } table[] = { /* "?" "?": or they would be trigraphs */
        {"a\033[2Jb\r\n\tc", "a?[2Jb?" "?" "?c"},
        {"\x7f\xc2\x9b" "31m", "?" "?31m"},
        {"caf\xc3\xa9", "café"},
        {"\xff\xc0\x9b\xed\xa0\x80 no UTF-8", "?" "?" "?" "?" "?" "? no UTF-8"},
        {"cut \xe4\xb8", "cut ?" "?"},
        {"right\xe2\x80\xaeleft", "right?left"},
        {"\xe4\xb8\xad\xe6\x96\x87 abc", "中文 abc"},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        pst_table_line(&out, 0, false, "%s", table[i].text);
        char want[64];
        snprintf(want, sizeof want, "%s\n", table[i].shown);
        assert_drawn(want);
    }
    pst_table_line(&out, 4, false, "中文 abc"); /* two places each */
    assert_drawn("中…\n");
    pst_table_line(&out, 8, true, "中文 abc");
    assert_drawn("\033[1m中文 abc\033[0m\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(narrow_tables_lose_columns), CASE(a_column_without_a_word_is_left_out), CASE(texts_of_strangers_are_harmless),
};

UNIT_MAIN(tests)
