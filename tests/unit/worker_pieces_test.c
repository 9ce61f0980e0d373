#include "unit.h"

#include "pieces.h"

static pst_task_ref_t task(uint16_t slot)
{
    return (pst_task_ref_t){.pack = 3, .slot = slot, .dispatch = 1};
}

static void add(pst_pieces_t *p, pst_voice_t *v, uint16_t slot, const char *text)
{
    pst_task_ref_t t = task(slot);
    pst_pieces_add(p, v, &t, pst_view_str(text));
}

/* "slot/number:text" of each piece of the next message. */
static char *next(pst_pieces_t *p)
{
    static char text[512];
    pst_msg_pieces_t m;
    text[0] = '\0';
    if (!pst_pieces_next(p, &m))
        return text;
    for (uint32_t i = 0; i < m.pieces_n; i++) {
        const pst_piece_t *x = &m.pieces[i];
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%u/%u:%.*s", x->task.slot, x->number, (int)x->bytes.n, x->bytes.p);
    }
    return text;
}

static void lines_gather_until_they_are_sent(void **state)
{
    (void)state;
    pst_pieces_t *p = pst_pieces_new();
    pst_voice_t a = {0}, b = {0};
    assert_string_equal(next(p), "");
    add(p, &a, 1, "one\n");
    add(p, &b, 2, "ONE\n");
    add(p, &a, 1, "two\n");
    assert_string_equal(next(p), "1/0:one\ntwo\n2/0:ONE\n");
    assert_string_equal(next(p), "");
    add(p, &a, 1, "three\n");
    assert_string_equal(next(p), "1/1:three\n");
    pst_pieces_end(p, &a, false);
    pst_pieces_end(p, &b, false);
    pst_pieces_destroy(&p);
    assert_null(p);
}

static void what_was_said_is_sent_though_its_call_has_ended(void **state)
{
    (void)state;
    pst_pieces_t *p = pst_pieces_new();
    pst_voice_t a = {0}, b = {0};
    add(p, &a, 1, "one\n");
    add(p, &b, 2, "ONE\n");
    pst_pieces_end(p, &a, false);
    pst_pieces_end(p, &b, true);
    assert_null(a.last);
    assert_null(b.last);
    assert_string_equal(next(p), "1/0:one\n");
    pst_pieces_destroy(&p);
}

/* A task that has told something cannot go on in another session; one that has not can begin there. */
static void a_session_takes_along_what_was_begun_in_it(void **state)
{
    (void)state;
    pst_pieces_t *p = pst_pieces_new();
    pst_voice_t a = {0}, b = {0};
    add(p, &a, 1, "one\n");
    assert_string_equal(next(p), "1/0:one\n");
    assert_true(a.told);
    add(p, &a, 1, "two\n");
    add(p, &b, 2, "ONE\n");
    pst_pieces_lost(p);
    assert_false(b.told);
    add(p, &b, 2, "TWO\n");
    assert_string_equal(next(p), "2/0:ONE\nTWO\n");
    pst_pieces_end(p, &a, false);
    pst_pieces_end(p, &b, false);
    pst_pieces_destroy(&p);
}

/* Lines of so many bytes each, `lines` of them. */
static char *many(size_t bytes, size_t lines, size_t *ret_n)
{
    char *p = malloc(bytes * lines);
    memset(p, 'a', bytes * lines);
    for (size_t i = 1; i <= lines; i++)
        p[i * bytes - 1] = '\n';
    *ret_n = bytes * lines;
    return p;
}

static void a_piece_is_whole_lines_and_has_a_bound(void **state)
{
    (void)state;
    enum { LINE = 300000 };
    pst_pieces_t *p = pst_pieces_new();
    pst_voice_t v = {0};
    pst_task_ref_t t = task(1);
    pst_msg_pieces_t m;
    size_t n, sent = 0;
    uint32_t number = 0;
    char *text = many(LINE, 10, &n);
    pst_pieces_add(p, &v, &t, pst_view(text, n));
    while (pst_pieces_next(p, &m)) {
        assert_true(m.pieces_n <= PST_PIECES_MAX);
        for (uint32_t i = 0; i < m.pieces_n; i++) {
            assert_int_equal(m.pieces[i].number, number++);
            assert_int_equal(m.pieces[i].bytes.n % LINE, 0);
            assert_true(m.pieces[i].bytes.n <= PST_PIECE_BYTES_MAX);
            sent += m.pieces[i].bytes.n;
        }
    }
    assert_int_equal(sent, n);
    assert_int_equal(number, 4);
    pst_pieces_end(p, &v, false);
    pst_pieces_destroy(&p);
    free(text);
}

static void it_is_full_until_enough_was_sent(void **state)
{
    (void)state;
    pst_pieces_t *p = pst_pieces_new();
    pst_voice_t v = {0};
    pst_task_ref_t t = task(1);
    pst_msg_pieces_t m;
    size_t n;
    char *text = many(PST_PIECE_BYTES_MAX, 1, &n);
    for (size_t i = 0; i < PST_PIECES_BYTES_MAX / PST_PIECE_BYTES_MAX; i++) {
        assert_false(pst_pieces_full(p));
        pst_pieces_add(p, &v, &t, pst_view(text, n));
    }
    assert_true(pst_pieces_full(p));
    assert_true(pst_pieces_next(p, &m));
    assert_true(m.pieces_n < 16);
    assert_false(pst_pieces_full(p));
    pst_pieces_end(p, &v, false);
    pst_pieces_destroy(&p);
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(lines_gather_until_they_are_sent),
    cmocka_unit_test(what_was_said_is_sent_though_its_call_has_ended),
    cmocka_unit_test(a_session_takes_along_what_was_begun_in_it),
    cmocka_unit_test(a_piece_is_whole_lines_and_has_a_bound),
    cmocka_unit_test(it_is_full_until_enough_was_sent),
};

UNIT_MAIN(tests)
