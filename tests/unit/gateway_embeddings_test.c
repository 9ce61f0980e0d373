#include "unit.h"

#include "gateway/embeddings.h"

static char *packed(const char *answer)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    assert_int_equal(pst_embeddings_pack(pst_view_str(answer), &b), PST_OK);
    pst_buf_putc(&b, '\0');
    return pst_buf_detach(&b, NULL);
}

static void check(const char *answer, const char *wanted)
{
    char *got = packed(answer);
    assert_string_equal(got, wanted);
    free(got);
}

#define ANSWER(a, b) "{\"object\":\"list\", \"data\":[{\"index\":0,\"embedding\":" a "} ,{\"embedding\":" b ",\"index\":1}],\"usage\":{}}"

static void numbers_become_floats(void **state)
{
    (void)state;
    check(ANSWER("[0.5, -0.25]", "[1,0]"), ANSWER("\"AAAAPwAAgL4=\"", "\"AACAPwAAAAA=\""));
    check(ANSWER("[1]", "[]"), ANSWER("\"AACAPw==\"", "\"\""));
}

/* 13 of them: more than go at a time. */
static void long_vectors(void **state)
{
    (void)state;
    check("{\"data\":[{\"embedding\":[1,1,1,1,1,1,1,1,1,1,1,1,0.5]}]}",
          "{\"data\":[{\"embedding\":\"AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AAAAPw==\"}]}");
}

static void the_rest_stays(void **state)
{
    (void)state;
    static const char *const same[] = {ANSWER("\"AACAPw==\"", "null"), ANSWER("[1,\"2\"]", "[[1]]"), "{\"data\":{}}", "{\"data\":[]}",
                                       "{}", "[1, 2]", "{\"data\":[1,{}]}"};
    for (size_t i = 0; i < PST_COUNT(same); i++)
        check(same[i], same[i]);
}

static void no_json(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    assert_int_equal(pst_embeddings_pack(PST_VIEW_LIT("{\"data\":["), &b), PST_E_INVALID);
    assert_int_equal(b.n, 0);
    pst_buf_release(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(numbers_become_floats),
    cmocka_unit_test(long_vectors),
    cmocka_unit_test(the_rest_stays),
    cmocka_unit_test(no_json),
};
UNIT_MAIN(tests)
