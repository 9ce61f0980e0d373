#include "unit.h"

#include "provider.h"

static void every_adapter_is_found_by_its_name(void **state)
{
    (void)state;
    const pst_provider_t *p;
    unsigned n = 0;
    for (; (p = pst_provider_at(n)); n++) {
        assert_ptr_equal(pst_provider_find(pst_view_str(p->name)), p);
        assert_non_null(p->build);
        assert_non_null(p->read);
        assert_int_not_equal(p->urls, 0);
        assert_int_equal(p->urls >> PST_URL_COUNT, 0);
    }
    assert_int_equal(n, 8);
    assert_null(pst_provider_at(n + 1));
}

static void a_stranger_is_not_found(void **state)
{
    (void)state;
    assert_null(pst_provider_find(PST_VIEW_LIT("openai2")));
    assert_null(pst_provider_find(PST_VIEW_LIT("open")));
    assert_null(pst_provider_find(pst_view(NULL, 0)));
}

/* The adapters' promise when the worker's memory for a call is used up. */
static void a_full_arena_is_an_error_or_a_reading(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    static const pst_view_t answers[] = {
        PST_VIEW_LIT("{\"choices\":"),
        PST_VIEW_LIT("{\"content\":[],\"stop_reason\":\"end_turn\"}"),
        PST_VIEW_LIT("{\"error\":{\"message\":\"a\\nb\"}}")};
    pst_json_t j, tape;
    pst_json_init(&j);
    pst_json_init(&tape);
    assert_int_equal(pst_json_parse(&j, pst_view_str(body), NULL), PST_OK);
    pst_task_t task = {.body = &j, .tape = &tape, .endpoint = {.model = PST_VIEW_LIT("m")}};
    for (unsigned i = 0; pst_provider_at(i); i++) {
        const pst_provider_t *p = pst_provider_at(i);
        pst_arena_t a;
        pst_http_req_t req;
        pst_view_t why;
        pst_arena_init(&a, 4);
        if (!p->internal)
            assert_int_equal(p->build(&task, &a, &req, &why), PST_E_NOMEM);
        for (size_t k = 0; k < PST_COUNT(answers); k++) {
            pst_http_answer_t answer = {.status = 200, .body = answers[k]};
            pst_reading_t r;
            p->read(&task, &answer, &a, &r);
            assert_int_equal(r.verdict, PST_VERDICT_RETRY);
            assert_int_equal(r.status, 0);
            assert_int_equal(r.body.n, 0);
            assert_int_not_equal(r.message.n, 0);
        }
        pst_arena_release(&a);
    }
    pst_json_release(&j);
    pst_json_release(&tape);
}

/* A conversation with `text` in it, as the adapter sends it, in one piece; to be freed. */
static char *sent(const pst_provider_t *p, const char *text, size_t n, size_t *ret_n)
{
    pst_buf_t in;
    pst_json_t j;
    pst_arena_t a;
    pst_http_req_t req;
    pst_view_t why;
    pst_buf_init(&in, 0);
    pst_buf_puts(&in, "{\"model\":\"m\",\"seed\":1,\"messages\":[{\"role\":\"developer\",\"content\":\"a\"},"
                      "{\"role\":\"user\",\"name\":\"x\",\"content\":\"");
    pst_buf_put(&in, text, n);
    pst_buf_puts(&in, "\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1\",\"type\":"
                      "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
                      "\"tool_call_id\":\"call_1\",\"content\":\"b\"}],\"max_tokens\":5}");
    pst_json_init(&j);
    pst_arena_init(&a, 0);
    assert_int_equal(pst_json_parse(&j, pst_buf_view(&in), NULL), PST_OK);
    pst_task_t task = {.body = &j, .endpoint = {.model = PST_VIEW_LIT("m")}};
    assert_int_equal(p->build(&task, &a, &req, &why), PST_OK);
    char *out = malloc(pst_http_req_bytes(&req)), *at = out;
    if (req.body.n)
        memcpy(at, req.body.p, req.body.n);
    at += req.body.n;
    for (unsigned i = 0; i < req.pieces; at += req.piece[i++].n)
        memcpy(at, req.piece[i].p, req.piece[i].n);
    *ret_n = (size_t)(at - out);
    pst_arena_release(&a);
    pst_json_release(&j);
    pst_buf_release(&in);
    return out;
}

/* Long bodies are sent in pieces, where an adapter can. */
static void a_long_body_says_what_a_short_one_does(void **state)
{
    (void)state;
    enum { LONG = 300000 };
    char *text = malloc(LONG);
    memset(text, '@', LONG);
    for (unsigned i = 0; pst_provider_at(i); i++) {
        if (pst_provider_at(i)->internal)
            continue;
        size_t brief_n, whole_n;
        char *brief = sent(pst_provider_at(i), text, 1, &brief_n), *whole = sent(pst_provider_at(i), text, LONG, &whole_n);
        const char *mark = memchr(brief, '@', brief_n);
        assert_non_null(mark);
        size_t before = (size_t)(mark - brief), behind = brief_n - before - 1;
        assert_int_equal(whole_n, before + LONG + behind);
        assert_memory_equal(whole, brief, before);
        assert_memory_equal(whole + before, text, LONG);
        assert_memory_equal(whole + before + LONG, mark + 1, behind);
        free(brief);
        free(whole);
    }
    free(text);
}

/* Whoever calls a provider tells what it says of limits, whatever else it answers; not where there was no answer. */
static void every_adapter_reads_limits(void **state)
{
    (void)state;
    static const pst_http_header_t header[] = {
        {PST_VIEW_LIT("x-ratelimit-limit-tokens-minute"), PST_VIEW_LIT("60000")}};
    static const int statuses[] = {0, 200, 400, 429, 500};
    pst_json_t tape;
    pst_json_init(&tape);
    pst_task_t task = {.tape = &tape, .endpoint = {.model = PST_VIEW_LIT("m")}};
    for (unsigned i = 0; pst_provider_at(i); i++) {
        for (size_t k = 0; k < PST_COUNT(statuses) && !pst_provider_at(i)->internal; k++) {
            pst_http_answer_t answer = {
                .status = statuses[k], .header = header, .headers = 1, .body = PST_VIEW_LIT("{}")};
            pst_arena_t a;
            pst_reading_t r;
            pst_arena_init(&a, 0);
            pst_provider_at(i)->read(&task, &answer, &a, &r);
            assert_int_equal(r.limits_n, answer.status ? 1 : 0);
            if (r.limits_n)
                assert_int_equal(r.limits[0].limit, 60000);
            pst_arena_release(&a);
        }
    }
    pst_json_release(&tape);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_adapter_is_found_by_its_name),
    cmocka_unit_test(a_stranger_is_not_found),
    cmocka_unit_test(a_full_arena_is_an_error_or_a_reading),
    cmocka_unit_test(a_long_body_says_what_a_short_one_does),
    cmocka_unit_test(every_adapter_reads_limits),
};

UNIT_MAIN(tests)
