/* A result line as `penstock try` shows it: what goes to standard output, and what to stderr. */
#include "unit.h"

#include <unistd.h>

#include "cli/answer.h"

#define RESULT(response, error, account)                                                                           \
    "{\"id\":\"batch_X.0\",\"custom_id\":\"0\",\"response\":" response ",\"error\":" error ",\"penstock\":{" account "}}"
#define BODY(status, body) "{\"status_code\":" status ",\"request_id\":\"r\",\"body\":" body "}"
#define MESSAGE(message) BODY("200", "{\"choices\":[{\"index\":0,\"message\":" message "}]}")
#define DONE(attempts) "\"status\":\"completed\",\"provider\":\"p\",\"model\":\"m\",\"attempts\":[" attempts "]"
#define ATTEMPT "{\"provider\":\"p\",\"status\":200,\"latency_ms\":8}"

static const pst_endpoint_line_t endpoints[] = {
    {.provider = "p", .model = "m"}, {.provider = "q", .model = "n"}, {.provider = "q", .model = "o"}};
static const pst_batch_t batch = {.endpoints = endpoints, .endpoints_n = 3, .input_tokens = 1234, .output_tokens = 5,
                                  .cost_usd = 0.25};

typedef struct capture {
    FILE *f;
    int fd, own;
} capture_t;

static capture_t divert(FILE *stream)
{
    capture_t c = {.f = tmpfile(), .fd = fileno(stream), .own = dup(fileno(stream))};
    assert_non_null(c.f);
    fflush(stream);
    dup2(fileno(c.f), c.fd);
    return c;
}

static void restore(capture_t *c, char *to, size_t room)
{
    dup2(c->own, c->fd);
    close(c->own);
    ssize_t n = pread(fileno(c->f), to, room - 1, 0);
    assert_true(n >= 0);
    to[n] = '\0';
    fclose(c->f);
}

static void assert_shown(const char *line, bool json, int code, const char *want_out, const char *want_err)
{
    char out[4096], err[4096];
    capture_t o = divert(stdout), e = divert(stderr);
    int got = pst_answer_show(pst_view_str(line), &batch, json);
    restore(&e, err, sizeof err);
    restore(&o, out, sizeof out);
    assert_string_equal(out, want_out);
    assert_string_equal(err, want_err);
    assert_int_equal(got, code);
}

#define ACCOUNT "penstock: answered by p m: 1,234 tokens in, 5 out, $0.2500\n"
#define ATTEMPT_1 "penstock: attempt 1: p m: 200, 8 ms\n"

static void the_text_is_decoded(void **state)
{
    (void)state;
    assert_shown(RESULT(MESSAGE("{\"content\":\"a\\n\\\"b\\u00fc\\\"\"}"), "null", DONE(ATTEMPT)), false, EXIT_WELL,
                 "a\n\"b\u00fc\"\n", ATTEMPT_1 ACCOUNT);
    assert_shown(RESULT(MESSAGE("{\"content\":\"with its own end\\n\"}"), "null", DONE("")), false, EXIT_WELL,
                 "with its own end\n", ACCOUNT);
}

static void without_text_the_message_is_shown(void **state)
{
    (void)state;
    assert_shown(RESULT(MESSAGE("{\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]}"), "null", DONE("")), false, EXIT_WELL,
                 "{\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]}\n", ACCOUNT);
    assert_shown(RESULT(BODY("200", "{\"odd\":1}"), "null", DONE("")), false, EXIT_WELL, "{\"odd\":1}\n", ACCOUNT);
}

static void json_is_the_line(void **state)
{
    (void)state;
    static const char line[] = RESULT(MESSAGE("{\"content\":\"x\"}"), "null", DONE(ATTEMPT));
    char want[1024];
    snprintf(want, sizeof want, "%s\n", line);
    assert_shown(line, true, EXIT_WELL, want, ATTEMPT_1 ACCOUNT);
}

static void attempts_say_what_is_known(void **state)
{
    (void)state;
    assert_shown(RESULT(MESSAGE("{\"content\":\"x\"}"), "null",
                        DONE("{\"provider\":\"p\",\"status\":429,\"error_type\":\"rate_limit_exceeded\",\"latency_ms\":3},"
                             "{\"provider\":\"q\",\"status\":null,\"error_type\":\"connection\",\"latency_ms\":70},"
                             "{\"provider\":null,\"status\":null,\"error_type\":\"worker_lost\",\"latency_ms\":0}," ATTEMPT)),
                 false, EXIT_WELL, "x\n",
                 "penstock: attempt 1: p m: 429 rate_limit_exceeded, 3 ms\n"
                 "penstock: attempt 2: q: connection, 70 ms\n" /* of two models: not known which */
                 "penstock: attempt 3: ?: worker_lost, 0 ms\n"
                 "penstock: attempt 4: p m: 200, 8 ms\n" ACCOUNT);
}

static void a_failure_is_in_the_words_of_who_refused(void **state)
{
    (void)state;
    assert_shown(RESULT(BODY("400", "{\"error\":{\"message\":\"too \\u001b[31mred\\nfor us\"}}"), "null",
                        "\"status\":\"failed\",\"error_type\":\"invalid_request\",\"attempts\":[]"),
                 false, EXIT_JOBS_FAILED, "", "penstock: failed: invalid_request: too ?[31mred?for us\n");
    assert_shown(RESULT("null", "{\"code\":\"batch_cancelled\",\"message\":\"It was cancelled.\"}",
                        "\"status\":\"cancelled\",\"error_type\":\"batch_cancelled\",\"attempts\":[]"),
                 false, EXIT_JOBS_FAILED, "", "penstock: cancelled: batch_cancelled: It was cancelled.\n");
    assert_shown(RESULT(BODY("502", "null"), "null", "\"status\":\"failed\",\"error_type\":\"server\""), false,
                 EXIT_JOBS_FAILED, "", "penstock: failed: server\n");
}

static void what_is_no_json_is_a_failure(void **state)
{
    (void)state;
    assert_shown("{", false, EXIT_FAILED, "", "penstock: the result cannot be read: invalid argument\n");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_text_is_decoded),
    cmocka_unit_test(without_text_the_message_is_shown),
    cmocka_unit_test(json_is_the_line),
    cmocka_unit_test(attempts_say_what_is_known),
    cmocka_unit_test(a_failure_is_in_the_words_of_who_refused),
    cmocka_unit_test(what_is_no_json_is_a_failure),
};

UNIT_MAIN(tests)
