#include "unit.h"

#include "gateway/import_elements.h"

static const pst_openrouter_submit_t chats = {.endpoint = {"/v1/chat/completions", 20}, .model = {"a/b", 3},
                                              .provider = {"{\"only\":[\"x\"]}", 14}};
static const pst_openrouter_submit_t messages = {.endpoint = {"/v1/messages", 12}, .model = {"a/b", 3}};

/* Everything that comes of the text, fed `step` bytes at a time. */
static pst_err_t read_all(const pst_openrouter_submit_t *batch, const char *text, size_t step, pst_buf_t *out,
                          pst_errbuf_t *why)
{
    pst_elements_t *e = pst_elements_new(batch);
    pst_err_t err = PST_OK;
    for (size_t at = 0, n = strlen(text); at < n && !err; at += step) {
        pst_elements_feed(e, pst_view(text + at, PST_MIN(step, n - at)));
        pst_view_t line;
        while (!(err = pst_elements_next(e, &line, why)) && line.n > 0)
            pst_buf_putv(out, line);
    }
    pst_elements_destroy(&e);
    return err;
}

static void gives(const pst_openrouter_submit_t *batch, const char *text, const char *want)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        pst_errbuf_t why;
        pst_buf_t out;
        pst_buf_init(&out, 0);
        assert_int_equal(read_all(batch, text, step, &out, &why), PST_OK);
        pst_buf_putc(&out, '\0');
        assert_string_equal(out.p, want);
        pst_buf_release(&out);
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    gives(&chats, "{\"custom_id\":\"1\",\"body\":{\"x\":1}}\n{\"custom_id\":\"2\",\"body\":{\"model\":\"c:batch\",\"provider\":{}}}\n",
          "{\"custom_id\":\"1\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"a/b\",\"provider\":"
          "{\"only\":[\"x\"]},\"x\":1}}\n"
          "{\"custom_id\":\"2\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"c\",\"provider\":{}}}\n");
}

/* What is wrong with a line is found where lines are read. */
static void bad_elements_stay_lines(void **state)
{
    (void)state;
    gives(&chats, "7\n{\"custom_id\":\"2\"}\n", "7\n{\"custom_id\":\"2\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\"}\n");
    gives(&messages, "{\"custom_id\":\"2\",\"body\":7}\n",
          "{\"custom_id\":\"2\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":7}\n");
}

static void messages_are_turned(void **state)
{
    (void)state;
    gives(&messages, "{\"custom_id\":\"1\",\"body\":{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}}\n",
          "{\"custom_id\":\"1\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"a/b\",\"messages\":"
          "[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":5}}\n");
}

static void what_cannot_be_said_is_named(void **state)
{
    (void)state;
    pst_errbuf_t why;
    pst_buf_t out;
    pst_buf_init(&out, 0);
    assert_int_equal(read_all(&messages,
                              "7\n{\"custom_id\":\"1\",\"body\":{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
                              "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]}}\n", 1000, &out, &why), PST_E_INPUT);
    assert_memory_equal(why.text, "requests.1.body: tools.0", 24);
    pst_buf_release(&out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(cut_anywhere),
    cmocka_unit_test(bad_elements_stay_lines),
    cmocka_unit_test(messages_are_turned),
    cmocka_unit_test(what_cannot_be_said_is_named),
};

UNIT_MAIN(tests)
