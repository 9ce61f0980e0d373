#include "unit.h"

#include "gateway/openrouter.h"

#define ID "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G"

/* ---- submissions ------------------------------------------------------------------------------- */

static pst_err_t on_element(void *arg, uint64_t index, pst_view_t text)
{
    (void)arg;
    (void)index;
    (void)text;
    return PST_OK;
}

typedef struct submitted {
    pst_inline_t *in;
    pst_arena_t arena;
    pst_openrouter_submit_t s;
    pst_errbuf_t eb;
    pst_err_t error;
} submitted_t;

static void submit(submitted_t *x, const char *members)
{
    *x = (submitted_t){.in = pst_inline_new(PST_OPENROUTER_ARRAY, 0, on_element, NULL)};
    pst_arena_init(&x->arena, 0);
    char body[1024];
    snprintf(body, sizeof body, "{\"requests\":[]%s%s}", *members ? "," : "", members);
    assert_int_equal(pst_inline_feed(x->in, body, strlen(body)), PST_OK);
    assert_int_equal(pst_inline_end(x->in), PST_OK);
    x->error = pst_openrouter_submit_read(x->in, &x->arena, &x->s, &x->eb);
}

static void release(submitted_t *x)
{
    pst_inline_destroy(&x->in);
    pst_arena_release(&x->arena);
}

static void same(pst_view_t got, const char *want)
{
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)got.n, got.n ? got.p : "");
    assert_string_equal(text, want);
}

static void whole_submission(void **state)
{
    (void)state;
    submitted_t x;
    submit(&x, "\"endpoint\":\"/v1/responses\",\"model\":\"a/b:batch\",\"provider\":{\"only\":[\"x\"]},"
               "\"completion_window\":\"90m\",\"callback_url\":\"https:\\/\\/h/p\",\"metadata\":{\"k\":\"v\"}");
    assert_int_equal(x.error, PST_OK);
    same(x.s.endpoint, "/v1/responses");
    same(x.s.model, "a/b");
    same(x.s.provider, "{\"only\":[\"x\"]}");
    same(x.s.callback_url, "https://h/p");
    same(x.s.metadata, "{\"k\":\"v\"}");
    assert_int_equal(x.s.window_s, 5400);
    release(&x);
}

static void bare_submission(void **state)
{
    (void)state;
    submitted_t x;
    submit(&x, "\"endpoint\":\"/v1/messages\",\"provider\":null,\"callback_url\":null,\"unknown\":1");
    assert_int_equal(x.error, PST_OK);
    same(x.s.model, "");
    same(x.s.provider, "");
    same(x.s.callback_url, "");
    same(x.s.metadata, "");
    assert_int_equal(x.s.window_s, 86400);
    release(&x);
}

static void refused(const char *members, const char *why)
{
    submitted_t x;
    submit(&x, members);
    assert_int_equal(x.error, PST_E_INPUT);
    assert_string_equal(x.eb.text, why);
    release(&x);
}

static void bad_submissions(void **state)
{
    (void)state;
    refused("", "endpoint is missing: name one such as /v1/chat/completions");
    refused("\"endpoint\":\"/v1/images\"", "endpoint: expected one of /v1/chat/completions, /v1/responses, /v1/messages, "
                                           "/v1/embeddings, /v1/completions");
    refused("\"endpoint\":7", "endpoint: expected a string");
    refused("\"endpoint\":\"/v1/responses\",\"model\":[]", "model: expected a string");
    refused("\"endpoint\":\"/v1/responses\",\"model\":\"a\\u0000\"", "model has a NUL in it");
    refused("\"endpoint\":\"/v1/responses\",\"provider\":[]", "provider: expected an object");
    refused("\"endpoint\":\"/v1/responses\",\"metadata\":\"m\"", "metadata: expected an object");
    refused("\"endpoint\":\"/v1/responses\",\"completion_window\":\"soon\"",
            "completion_window: expected a duration such as 24h");
    refused("\"endpoint\":\"/v1/responses\",\"completion_window\":\"400d\"",
            "completion_window: expected a duration such as 24h");
    refused("\"endpoint\":\"/v1/responses\",\"completion_window\":24",
            "completion_window: expected a string");
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void line(const pst_openrouter_submit_t *s, const char *element, const char *want)
{
    pst_openrouter_reader_t r;
    pst_openrouter_request_t q;
    pst_buf_t out;
    pst_openrouter_reader_init(&r);
    pst_buf_init(&out, 0);
    assert_int_equal(pst_openrouter_read(&r, pst_view_str(element), s, &q), PST_OK);
    pst_openrouter_put_line(&out, &q, PST_VIEW_LIT("/v1/chat/completions"));
    pst_buf_putc(&out, '\0');
    assert_string_equal(out.p, want);
    pst_buf_release(&out);
    pst_openrouter_reader_release(&r);
}

#define HEAD "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":"

static void lines(void **state)
{
    (void)state;
    pst_openrouter_submit_t none = {0};
    pst_openrouter_submit_t all = {.model = PST_VIEW_LIT("m"), .provider = PST_VIEW_LIT("{\"only\":[1]}")};
    line(&none, "{\"custom_id\":\"a\",\"body\":{\"n\":1.0}}", HEAD "{\"n\":1.0}}\n");
    line(&all, "{\"body\":{\"n\":1.0},\"custom_id\":\"a\"}", HEAD "{\"model\":\"m\",\"provider\":{\"only\":[1]},\"n\":1.0}}\n");
    line(&all, "{\"custom_id\":\"a\",\"body\":{}}", HEAD "{\"model\":\"m\",\"provider\":{\"only\":[1]}}}\n");
    line(&all, "{\"custom_id\":\"a\",\"body\":{\"provider\":{},\"model\":\"n\"}}", HEAD "{\"provider\":{},\"model\":\"n\"}}\n");
    line(&none, "{\"custom_id\":\"a\",\"body\":{\"x\":1,\"model\":\"n:batch\",\"y\":2}}",
         HEAD "{\"x\":1,\"model\":\"n\",\"y\":2}}\n");
    line(&none, "{\"custom_id\":\"a\",\"body\":{\"model\":\":batch\"}}", HEAD "{\"model\":\":batch\"}}\n");
    line(&all, "{\r\n \"custom_id\": \"a\", \"body\": {\n\"n\": \"\\n\"\r\n}\n}",
         HEAD "{\"model\":\"m\",\"provider\":{\"only\":[1]}, \"n\": \"\\n\"  }}\n");
}

/* What is wrong goes through, for the reader of lines to name it. */
static void odd_lines(void **state)
{
    (void)state;
    pst_openrouter_submit_t all = {.model = PST_VIEW_LIT("m")};
    line(&all, "[1,\n2]", "[1, 2]\n");
    line(&all, "{}", "{\"method\":\"POST\",\"url\":\"/v1/chat/completions\"}\n");
    line(&all, "{\"custom_id\":7,\"body\":[]}",
         "{\"custom_id\":7,\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":[]}\n");
}

/* ---- batches ----------------------------------------------------------------------------------- */

static pst_endpoint_line_t called[] = {{.provider = "openai", .model = "gpt"}, {.provider = "openai", .model = "gpt-x"}};

static pst_batch_t batch(void)
{
    return (pst_batch_t){.id = ID, .status = "in_progress", .name = "", .metadata = "{\"k\":\"v\"}", .tenant = "",
                         .created_ms = 1000500, .expires_ms = 87400000, .window_s = 86400, .jobs = 10, .completed = 3,
                         .failed = 1, .expired = 2, .cancelled = 1, .queued = 1, .running = 1, .retrying = 1,
                         .input_tokens = 70, .output_tokens = 30, .cost_usd = 0.25, .endpoints = called,
                         .endpoints_n = 2};
}

static void check_json(pst_buf_t *b, const char *want)
{
    pst_json_t j;
    pst_json_init(&j);
    assert_int_equal(pst_json_parse(&j, pst_buf_view(b), NULL), PST_OK);
    pst_json_release(&j);
    pst_buf_putc(b, '\0');
    assert_string_equal(b->p, want);
    pst_buf_release(b);
}

#define COUNTS                                                                                                         \
    "\"request_counts\":{\"total\":10,\"completed\":3,\"failed\":4,\"expired\":2,\"cancelled\":1,\"queued\":1,"         \
    "\"running\":1,\"retrying\":1},\"usage\":{\"prompt_tokens\":70,\"completion_tokens\":30,\"total_tokens\":100,"      \
    "\"cost\":0.25,\"is_byok\":true},"

static void running_batch(void **state)
{
    (void)state;
    pst_batch_t x = batch();
    pst_openrouter_about_t about = {.endpoint = "/v1/responses", .model = "a/b"};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_openrouter_put_batch(&b, &x, &about, true);
    pst_openrouter_put_end(&b);
    check_json(&b, "{\"id\":\"" ID "\",\"object\":\"batch\",\"endpoint\":\"/v1/responses\",\"model\":\"a/b\","
                   "\"provider\":\"openai\",\"completion_window\":\"24h\",\"status\":\"in_progress\",\"created_at\":1000,"
                   "\"expires_at\":87400,\"finalized_at\":null," COUNTS
                   "\"metadata\":{\"k\":\"v\"},\"error\":null,\"results\":[]}");
}

static void failed_batch(void **state)
{
    (void)state;
    pst_cause_line_t causes[] = {{"timeout", 6}, {"batch_expired", 4}};
    pst_batch_t x = batch();
    pst_openrouter_about_t about = {0};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    x.status = "failed";
    x.ended = true;
    x.ended_ms = 2000999;
    x.window_s = 0;
    x.expires_ms = x.created_ms + 90000;
    x.metadata = NULL;
    x.causes = causes;
    x.causes_n = 2;
    x.endpoints_n = 1;
    pst_openrouter_put_batch(&b, &x, &about, false);
    check_json(&b, "{\"id\":\"" ID "\",\"object\":\"batch\",\"endpoint\":\"/v1/chat/completions\",\"model\":\"gpt\","
                   "\"provider\":\"openai\",\"completion_window\":\"90s\",\"status\":\"failed\",\"created_at\":1000,"
                   "\"expires_at\":1090,\"finalized_at\":2000," COUNTS
                   "\"metadata\":null,\"error\":{\"message\":\"No request of this batch completed: timeout: 6, "
                   "batch_expired: 4.\"},\"results\":null}");
    pst_buf_clear(&b);
    about.error = "line \"7\"";
    pst_openrouter_put_batch(&b, &x, &about, false);
    pst_buf_putc(&b, '\0');
    assert_non_null(strstr(b.p, ",\"error\":{\"message\":\"line \\\"7\\\"\"},\"results\":null}"));
    pst_buf_release(&b);
}

static void lists(void **state)
{
    (void)state;
    pst_batch_t v[2] = {batch(), batch()};
    pst_openrouter_about_t about[2] = {{0}, {.model = "m"}};
    pst_batch_list_t l = {.v = v, .n = 2, .more = true}, none = {0};
    pst_buf_t b;
    pst_json_t j;
    v[1].id[sizeof ID - 2] = 'H';
    pst_buf_init(&b, 0);
    pst_json_init(&j);
    pst_openrouter_put_list(&b, &l, about);
    assert_int_equal(pst_json_parse(&j, pst_buf_view(&b), NULL), PST_OK);
    uint32_t data = pst_json_get(&j, 0, "data");
    assert_int_equal(j.tok[data].count, 2);
    same(pst_json_raw(&j, pst_json_get(&j, pst_json_first(&j, data), "model")), "\"\"");
    same(pst_json_raw(&j, pst_json_get(&j, 0, "first_id")), "\"" ID "\"");
    same(pst_json_raw(&j, pst_json_get(&j, 0, "last_id")), "\"batch_01J8ZQ4K7N9V0M2X3C4B5A6F7H\"");
    same(pst_json_raw(&j, pst_json_get(&j, 0, "has_more")), "true");
    pst_json_release(&j);
    pst_buf_clear(&b);
    pst_openrouter_put_list(&b, &none, NULL);
    check_json(&b, "{\"object\":\"list\",\"data\":[],\"first_id\":null,\"last_id\":null,\"has_more\":false}");
}

/* ---- results ----------------------------------------------------------------------------------- */

static void result(const char *text, bool first, const char *want)
{
    pst_openrouter_reader_t r;
    pst_buf_t out;
    pst_openrouter_reader_init(&r);
    pst_buf_init(&out, 0);
    assert_int_equal(pst_openrouter_put_result(&r, pst_view_str(text), first, &out), PST_OK);
    pst_buf_putc(&out, '\0');
    assert_string_equal(out.p, want);
    pst_buf_release(&out);
    pst_openrouter_reader_release(&r);
}

static void results(void **state)
{
    (void)state;
    result("{\"id\":\"b.0\",\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":{\"n\":1.0}},\"error\":null,"
           "\"penstock\":{\"status\":\"completed\"}}", true,
           "{\"id\":\"b.0\",\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":{\"n\":1.0}},\"error\":null,"
           "\"penstock\":{\"status\":\"completed\"}}");
    result("{\"id\":\"b.1\",\"custom_id\":null,\"response\":null,\"error\":{\"code\":\"batch_expired\",\"message\":\"late\"},"
           "\"penstock\":{\"status\":\"expired\",\"error_type\":\"batch_expired\"}}", false,
           ",{\"id\":\"b.1\",\"custom_id\":null,\"response\":null,\"error\":{\"type\":\"batch_expired\",\"message\":\"late\","
           "\"param\":null,\"error_type\":\"batch_expired\"},"
           "\"penstock\":{\"status\":\"expired\",\"error_type\":\"batch_expired\"}}");
    result("{\"id\":\"b.2\",\"custom_id\":\"c\",\"response\":{\"status_code\":400,\"body\":{\"error\":{\"message\":\"no \\\"x\\\"\","
           "\"type\":\"invalid_request_error\",\"param\":\"n\",\"code\":null}}},\"error\":null,"
           "\"penstock\":{\"status\":\"failed\",\"error_type\":\"invalid_request\"}}", true,
           "{\"id\":\"b.2\",\"custom_id\":\"c\",\"response\":null,\"error\":{\"type\":\"invalid_request_error\","
           "\"message\":\"no \\\"x\\\"\",\"param\":\"n\",\"error_type\":\"invalid_request\"},"
           "\"penstock\":{\"status\":\"failed\",\"error_type\":\"invalid_request\"}}");
    result("{\"id\":\"b.3\",\"custom_id\":\"d\",\"response\":{\"status_code\":502,\"body\":null},\"error\":null,"
           "\"penstock\":{\"status\":\"failed\",\"error_type\":\"provider_unavailable\"}}", true,
           "{\"id\":\"b.3\",\"custom_id\":\"d\",\"response\":null,\"error\":{\"type\":\"provider_unavailable\","
           "\"message\":\"The provider answered with status 502.\",\"param\":null,\"error_type\":\"provider_unavailable\"},"
           "\"penstock\":{\"status\":\"failed\",\"error_type\":\"provider_unavailable\"}}");
}

static void no_result(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "[]", "{}", "{\"id\":\"b.0\"}", "{\"id\":1,\"penstock\":{\"status\":\"failed\"}}",
                                        "{\"id\":\"b.0\",\"penstock\":{\"status\":\"failed\"}"};
    pst_openrouter_reader_t r;
    pst_buf_t out;
    pst_openrouter_reader_init(&r);
    pst_buf_init(&out, 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(pst_openrouter_put_result(&r, pst_view_str(texts[i]), true, &out), PST_E_INVALID);
    assert_int_equal(out.n, 0);
    pst_openrouter_reader_release(&r);
}

static void errors(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_openrouter_put_error(&b, 404, PST_VIEW_LIT("no \"x\""), pst_view(NULL, 0));
    check_json(&b, "{\"error\":{\"code\":404,\"message\":\"no \\\"x\\\"\"}}");
    pst_buf_init(&b, 0);
    pst_openrouter_put_error(&b, 400, PST_VIEW_LIT("m"), PST_VIEW_LIT("{\"at\":7}"));
    check_json(&b, "{\"error\":{\"code\":400,\"message\":\"m\",\"metadata\":{\"at\":7}}}");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(whole_submission), cmocka_unit_test(bare_submission), cmocka_unit_test(bad_submissions),
    cmocka_unit_test(lines),            cmocka_unit_test(odd_lines),       cmocka_unit_test(running_batch),
    cmocka_unit_test(failed_batch),     cmocka_unit_test(lists),           cmocka_unit_test(results),
    cmocka_unit_test(no_result),        cmocka_unit_test(errors),
};
UNIT_MAIN(tests)
