#include "unit.h"

#include "base/json.h"
#include "lib/render.h"
#include "lib/text.h"

#define ID "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G"

static pst_endpoint_name_t endpoints[] = {
    {PST_VIEW_LIT("openai"), PST_VIEW_LIT("gpt-4.1-mini")},
    {PST_VIEW_LIT("anthropic"), PST_VIEW_LIT("claude-sonnet-4-5")},
};

static pst_attempt_t attempts[] = {
    {.endpoint = 0, .http_status = 429, .cause = PST_CAUSE_RATE_LIMIT, .latency_ms = 31},
    {.endpoint = 1, .http_status = 200, .latency_ms = 840},
    {.endpoint = 1, .http_status = 0, .cause = PST_CAUSE_TIMEOUT, .latency_ms = 60000},
};

static void check(const pst_result_t *r, const char *body, const char *want)
{
    pst_result_pack_t pack = {.endpoints = endpoints, .endpoints_n = 2};
    pst_buf_t b;
    pst_json_t j;
    pst_buf_init(&b, 0);
    pst_json_init(&j);
    pst_render_line(ID, &pack, r, pst_view_str(body), &b);
    assert_int_equal(pst_json_parse(&j, pst_buf_view(&b), NULL), PST_OK);
    char *got = pst_buf_detach(&b, NULL);
    assert_string_equal(got, want);
    free(got);
    pst_json_release(&j);
}

static void completed(void **state)
{
    (void)state;
    pst_result_t r = {.index = 7, .custom_id = PST_VIEW_LIT("r-7"), .status = PST_JOB_COMPLETED, .http_status = 200,
                      .endpoint = 1, .cost_nano = 123000, .queued_ms = 12, .latency_ms = 840,
                      .request_id = PST_VIEW_LIT("req_abc"), .attempts = attempts, .attempts_n = 2};
    check(&r, "{\"object\": \"chat.completion\" , \"n\":1.0}",
          "{\"id\":\"" ID ".7\",\"custom_id\":\"r-7\",\"response\":{\"status_code\":200,\"request_id\":\"req_abc\","
          "\"body\":{\"object\": \"chat.completion\" , "
          "\"n\":1.0}},\"error\":null,\"penstock\":{\"status\":\"completed\","
          "\"provider\":\"anthropic\",\"model\":\"claude-sonnet-4-5\",\"cost_usd\":0.000123,\"queued_ms\":12,"
          "\"latency_ms\":840,\"attempts\":[{\"provider\":\"openai\",\"status\":429,\"error_type\":\"rate_limit_"
          "exceeded\","
          "\"latency_ms\":31},{\"provider\":\"anthropic\",\"status\":200,\"latency_ms\":840}]}}");
}

static void failed_with_an_answer(void **state)
{
    (void)state;
    pst_result_t r = {.index = 0, .custom_id = PST_VIEW_LIT("a\"\n"), .status = PST_JOB_FAILED,
                      .cause = PST_CAUSE_INVALID_REQUEST, .http_status = 400, .endpoint = 0, .latency_ms = 3,
                      .attempts = attempts, .attempts_n = 1};
    check(&r, "{\"error\":{}}",
          "{\"id\":\"" ID ".0\",\"custom_id\":\"a\\\"\\n\",\"response\":{\"status_code\":400,\"request_id\":\"req_" ID
          ".0\","
          "\"body\":{\"error\":{}}},\"error\":null,\"penstock\":{\"status\":\"failed\",\"provider\":\"openai\","
          "\"model\":"
          "\"gpt-4.1-mini\",\"cost_usd\":0,\"queued_ms\":0,\"latency_ms\":3,\"attempts\":[{\"provider\":\"openai\","
          "\"status\":"
          "429,\"error_type\":\"rate_limit_exceeded\",\"latency_ms\":31}],\"error_type\":\"invalid_request\"}}");
}

static void failed_without_one(void **state)
{
    (void)state;
    pst_result_t r = {.index = 4294967294u,
                      .custom_id = PST_VIEW_LIT("x"),
                      .status = PST_JOB_FAILED,
                      .cause = PST_CAUSE_TIMEOUT,
                      .endpoint = PST_NO_ENDPOINT,
                      .message = PST_VIEW_LIT("no answer in 60 s"),
                      .attempts = attempts + 2,
                      .attempts_n = 1,
                      .dropped = PST_PARAM_SEED | PST_PARAM_LOGPROBS | 1u << 31};
    check(
        &r, "",
        "{\"id\":\"" ID
        ".4294967294\",\"custom_id\":\"x\",\"response\":null,\"error\":{\"code\":\"timeout\",\"message\":"
        "\"no answer in 60 s\"},\"penstock\":{\"status\":\"failed\",\"provider\":null,\"model\":null,\"cost_usd\":0,"
        "\"queued_ms\":0,\"latency_ms\":0,\"attempts\":[{\"provider\":\"anthropic\",\"status\":null,\"error_type\":"
        "\"timeout\",\"latency_ms\":60000}],\"dropped\":[\"logprobs\",\"seed\"],\"error_type\":\"timeout\"}}");
}

static void ended_by_us(void **state)
{
    (void)state;
    pst_result_t r = {.index = 1,
                      .custom_id = PST_VIEW_LIT("x"),
                      .status = PST_JOB_CANCELLED,
                      .cause = PST_CAUSE_BATCH_CANCELLED,
                      .endpoint = PST_NO_ENDPOINT,
                      .message = PST_VIEW_LIT("cancelled")};
    check(&r, "",
          "{\"id\":\"" ID
          ".1\",\"custom_id\":\"x\",\"response\":null,\"error\":{\"code\":\"batch_cancelled\",\"message\":"
          "\"cancelled\"},\"penstock\":{\"status\":\"cancelled\",\"provider\":null,\"model\":null,\"cost_usd\":0,"
          "\"queued_ms\":"
          "0,\"latency_ms\":0,\"attempts\":[],\"error_type\":\"batch_cancelled\"}}");
    r.status = PST_JOB_EXPIRED;
    r.cause = PST_CAUSE_BATCH_EXPIRED;
    r.message = PST_VIEW_LIT("too late");
    check(&r, "",
          "{\"id\":\"" ID
          ".1\",\"custom_id\":\"x\",\"response\":null,\"error\":{\"code\":\"batch_expired\",\"message\":"
          "\"too "
          "late\"},\"penstock\":{\"status\":\"expired\",\"provider\":null,\"model\":null,\"cost_usd\":0,\"queued_"
          "ms\":0,"
          "\"latency_ms\":0,\"attempts\":[],\"error_type\":\"batch_expired\"}}");
}

static void rejected_line(void **state)
{
    (void)state;
    pst_result_t r = {.index = 2, .status = PST_JOB_FAILED, .cause = PST_CAUSE_LINE_JSON, .endpoint = PST_NO_ENDPOINT,
                      .message = PST_VIEW_LIT("not JSON"), .line = 3};
    check(
        &r, "",
        "{\"id\":\"" ID
        ".2\",\"custom_id\":null,\"response\":null,\"error\":{\"code\":\"invalid_json_line\",\"message\":"
        "\"not "
        "JSON\"},\"penstock\":{\"status\":\"failed\",\"provider\":null,\"model\":null,\"cost_usd\":0,\"queued_ms\":0,"
        "\"latency_ms\":0,\"attempts\":[],\"error_type\":\"invalid_json_line\",\"line\":3}}");
}

static void usd(void **state)
{
    (void)state;
    static const struct {
        uint64_t nano;
        const char *text;
    } table[] = {{0, "0"}, {1, "0.000000001"}, {123000, "0.000123"}, {1000000000, "1"}, {1500000000, "1.5"},
                 {10000000010, "10.00000001"}, {UINT64_MAX, "18446744073.709551615"}};
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        pst_text_usd(&b, table[i].nano);
        char *got = pst_buf_detach(&b, NULL);
        assert_string_equal(got, table[i].text);
        free(got);
    }
}

static void state_of_a_job(void **state)
{
    (void)state;
    pst_msg_job_t job = {.state = PST_STATE_RETRYING, .index = 5, .attempts = 2, .due_wall_ms = 1700000000500};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_render_state(ID, &job, &b);
    char *got = pst_buf_detach(&b, NULL);
    assert_string_equal(got, "{\"status\":\"retrying\",\"id\":\"" ID ".5\",\"attempts\":2,\"retry_at\":1700000000}");
    free(got);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(completed),   cmocka_unit_test(failed_with_an_answer), cmocka_unit_test(failed_without_one),
    cmocka_unit_test(ended_by_us), cmocka_unit_test(rejected_line),         cmocka_unit_test(usd),
    cmocka_unit_test(state_of_a_job),
};

UNIT_MAIN(tests)
