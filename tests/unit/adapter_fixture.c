#include "unit.h"

#include "adapter_fixture.h"

#include <dirent.h>
#include <jansson.h>

#include "providers/stream.h"

#define CASES_MAX 512
#define WALL_S UINT64_C(1700000000)
#define RANDOM UINT64_C(0x0123456789abcdef)

static const pst_provider_t *provider;

/* ---- reading a case ---- */

static const char *string_or(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : otherwise;
}

/* The text of `body_text`, or of `body` printed; to be freed. */
static char *body_of(const json_t *o, size_t *ret_n)
{
    const json_t *text = json_object_get(o, "body_text"), *body = json_object_get(o, "body");
    char *s;
    if (text) {
        *ret_n = json_string_length(text);
        s = malloc(*ret_n + 1);
        memcpy(s, json_string_value(text), *ret_n + 1);
        return s;
    }
    s = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
    *ret_n = strlen(s);
    return s;
}

static uint32_t flag_of(const char *name)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } flags[] = {
        {"MAX_COMPLETION_TOKENS", PST_EP_MAX_COMPLETION_TOKENS},
        {"MAX_TOKENS", PST_EP_MAX_TOKENS},
        {"NO_DEVELOPER", PST_EP_NO_DEVELOPER},
        {"NO_STORE", PST_EP_NO_STORE},
        {"NO_SAMPLING", PST_EP_NO_SAMPLING},
        {"NO_RESPONSES", PST_EP_NO_RESPONSES},
    };
    for (size_t i = 0; i < PST_COUNT(flags); i++) {
        if (strcmp(name, flags[i].name) == 0)
            return flags[i].flag;
    }
    fail_msg("no such flag: %s", name);
    return 0;
}

static pst_endpoint_opts_t endpoint_of(const json_t *o)
{
    pst_endpoint_opts_t e = {.model = pst_view_str(string_or(o, "model", "upstream-model"))};
    e.max_output = (uint32_t)json_integer_value(json_object_get(o, "max_output"));
    json_t *flag;
    size_t i;
    json_array_foreach(json_object_get(o, "flags"), i, flag)
        e.flags |= flag_of(json_string_value(flag));
    return e;
}

static pst_cause_t cause_of(const char *name)
{
    for (unsigned i = 0; i < 64; i++) {
        const char *text = pst_cause_text(i);
        if (text && strcmp(text, name) == 0)
            return (pst_cause_t)i;
    }
    fail_msg("no such cause: %s", name);
    return PST_CAUSE_NONE;
}

static const char *verdict_name(pst_verdict_t v)
{
    static const char *const names[] = {"?",        "DONE", "FINAL",   "RETRY",
                                        "THROTTLE", "PARK", "RETURNED"};
    return (size_t)v < PST_COUNT(names) ? names[v] : "?";
}

/* ---- comparing ---- */

static void assert_text(const char *what, pst_view_t got, const char *want, size_t want_n)
{
    if (!pst_view_eq(got, pst_view(want, want_n)))
        fail_msg("%s\n got: %.*s\nwant: %.*s", what, (int)got.n, got.p, (int)want_n, want);
}

static void assert_json(const char *what, pst_view_t got, const json_t *want)
{
    json_error_t error;
    json_t *j =
        json_loadb(got.p ? got.p : "", got.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!j)
        fail_msg("%s is not JSON: %s\n got: %.*s", what, error.text, (int)got.n, got.p);
    if (!json_equal(j, want)) {
        char *text = json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY);
        fail_msg("%s\n got: %.*s\nwant: %s", what, (int)got.n, got.p, text);
    }
    json_decref(j);
}

static void assert_parses(pst_view_t text)
{
    pst_json_t j;
    pst_json_init(&j);
    assert_int_equal(pst_json_parse(&j, text, NULL), PST_OK);
    pst_json_release(&j);
}

static void assert_body(const char *what, pst_view_t got, const json_t *expect)
{
    const json_t *text = json_object_get(expect, "body_text"),
                 *body = json_object_get(expect, "body");
    if (text)
        assert_text(what, got, json_string_value(text), json_string_length(text));
    else if (body)
        assert_json(what, got, body);
}

static void assert_request(const pst_http_req_t *req, const json_t *expect)
{
    const char *path = string_or(expect, "path", NULL), *name;
    json_t *value;
    if (path)
        assert_text("path", req->path, path, strlen(path));
    json_object_foreach(json_object_get(expect, "headers"), name, value) {
        unsigned i = 0;
        while (i < req->headers && !pst_view_eqs(req->header[i].name, name))
            i++;
        if (i == req->headers)
            fail_msg("no header %s", name);
        assert_text(name, req->header[i].value, json_string_value(value),
                    json_string_length(value));
    }
    assert_body("request body", req->body, expect);
}

static void assert_usage(const pst_reading_t *r, const json_t *usage)
{
    assert_int_equal(r->usage_known, !json_is_null(usage));
    if (json_is_null(usage))
        return;
    assert_int_equal(r->input_tokens, json_integer_value(json_object_get(usage, "input")));
    assert_int_equal(r->cached_tokens, json_integer_value(json_object_get(usage, "cached")));
    assert_int_equal(r->output_tokens, json_integer_value(json_object_get(usage, "output")));
}

static void assert_reading(const pst_reading_t *r, const json_t *expect)
{
    const char *verdict = string_or(expect, "verdict", "DONE"), *s;
    const json_t *v;
    if (strcmp(verdict, verdict_name(r->verdict)) != 0)
        fail_msg("verdict %s (%s), not %s\n%.*s", verdict_name(r->verdict),
                 pst_cause_text(r->cause), verdict, (int)r->body.n, r->body.p);
    assert_string_equal(pst_cause_text(r->cause),
                        pst_cause_text(cause_of(string_or(expect, "cause", ""))));
    if ((v = json_object_get(expect, "status")))
        assert_int_equal(r->status, json_integer_value(v));
    assert_body("answer body", r->body, expect);
    if ((s = string_or(expect, "message", NULL)))
        assert_text("message", r->message, s, strlen(s));
    if ((s = string_or(expect, "request_id", NULL)))
        assert_text("request id", r->request_id, s, strlen(s));
    if ((v = json_object_get(expect, "usage")))
        assert_usage(r, v);
    if ((v = json_object_get(expect, "wait_ms")))
        assert_int_equal(r->wait_ms, json_integer_value(v));
    assert_int_equal(r->whole_provider, json_is_true(json_object_get(expect, "whole_provider")));
    /* What holds of every reading. */
    if (r->body.n)
        assert_parses(r->body);
    assert_true(r->status != 0 || r->body.n == 0);
    assert_true(r->wait_ms == 0 || (r->wait_ms >= 50 && r->wait_ms <= UINT64_C(25) * 3600 * 1000));
    assert_true((r->cause == PST_CAUSE_NONE) == (r->verdict == PST_VERDICT_DONE));
}

static void assert_lines(pst_view_t got, const json_t *want)
{
    size_t i = 0;
    while (got.n) {
        const char *feed = memchr(got.p, '\n', got.n);
        assert_non_null(feed);
        size_t n = (size_t)(feed - got.p);
        if (i == json_array_size(want))
            fail_msg("one line too many: %.*s", (int)n, got.p);
        const json_t *line = json_array_get(want, i++);
        if (json_is_string(line))
            assert_text("line", pst_view(got.p, n), json_string_value(line), json_string_length(line));
        else
            assert_json("line", pst_view(got.p, n), line);
        got = pst_view(feed + 1, got.n - n - 1);
    }
    assert_int_equal(i, json_array_size(want));
}

/* ---- streams ---- */

static void put_u32(pst_buf_t *b, size_t n)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        pst_buf_putc(b, (char)(n >> shift));
}

static void put_frame_header(pst_buf_t *b, const char *name, const char *value)
{
    pst_buf_putc(b, (char)strlen(name));
    pst_buf_puts(b, name);
    pst_buf_puts(b, "\7");
    pst_buf_putc(b, 0);
    pst_buf_putc(b, (char)strlen(value));
    pst_buf_puts(b, value);
}

static void put_frame(pst_buf_t *b, const json_t *frame, const char *data)
{
    pst_buf_t head;
    bool failure = json_is_true(json_object_get(frame, "failure"));
    size_t from = b->n;
    pst_buf_init(&head, 0);
    put_frame_header(&head, failure ? ":exception-type" : ":event-type", string_or(frame, "name", ""));
    put_frame_header(&head, ":content-type", "application/json");
    put_frame_header(&head, ":message-type", failure ? "exception" : "event");
    put_u32(b, 16 + head.n + strlen(data));
    put_u32(b, head.n);
    put_u32(b, pst_frames_crc(b->p + from, 8));
    pst_buf_putv(b, pst_buf_view(&head));
    pst_buf_puts(b, data);
    put_u32(b, pst_frames_crc(b->p + from, b->n - from));
    pst_buf_release(&head);
}

static void put_event(pst_buf_t *b, const json_t *event, const char *data)
{
    const char *name = string_or(event, "event", NULL);
    if (name)
        pst_buf_printf(b, "event: %s\n", name);
    pst_buf_printf(b, "data: %s\n\n", data);
}

/* What a stream brings, byte for byte. */
static void put_stream(pst_buf_t *b, const json_t *stream)
{
    const json_t *events = json_object_get(stream, "events"), *frames = json_object_get(stream, "frames");
    size_t i;
    json_t *e;
    pst_buf_puts(b, string_or(stream, "text", ""));
    json_array_foreach(events ? events : frames, i, e) {
        const json_t *data = json_object_get(e, "data");
        char *text = json_is_string(data) ? strdup(json_string_value(data)) : json_dumps(data, JSON_COMPACT);
        if (events)
            put_event(b, e, text);
        else
            put_frame(b, e, text ? text : "");
        free(text);
    }
}

static unsigned headers_of(const json_t *answer, pst_http_header_t *ret)
{
    unsigned n = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(answer, "headers"), name, value)
        ret[n++] = (pst_http_header_t){pst_view_str(name), pst_view_str(json_string_value(value))};
    return n;
}

/* In pieces of `most` bytes: it must not matter where they are cut. */
static void run_stream_in(const pst_task_t *task, const json_t *c, pst_view_t bytes, size_t most)
{
    const json_t *stream = json_object_get(c, "stream"), *status = json_object_get(stream, "status");
    pst_http_header_t header[32];
    pst_http_answer_t head = {.status = status ? (int)json_integer_value(status) : 200, .header = header,
                              .wall_ms = WALL_S * 1000};
    pst_stream_t s;
    pst_arena_t a;
    pst_buf_t out;
    pst_reading_t r;
    pst_stream_state_t state = PST_STREAM_MORE;
    head.headers = headers_of(stream, header);
    pst_arena_init(&a, 0);
    pst_buf_init(&out, 0);
    pst_stream_init(&s);
    pst_stream_begin(&s, provider, task);
    assert_true(pst_stream_is(&head));
    for (size_t at = 0; at < bytes.n && state == PST_STREAM_MORE; at += most)
        state = pst_stream_feed(&s, &head, pst_view(bytes.p + at, PST_MIN(most, bytes.n - at)), &a, &out, &r);
    if (state != PST_STREAM_FAILED) {
        pst_cause_t cause = cause_of(string_or(stream, "transport", ""));
        pst_http_answer_t cut = {.transport = cause, .wall_ms = WALL_S * 1000};
        pst_stream_end(&s, cause == PST_CAUSE_NONE ? &head : &cut, &a, &out, &r);
    }
    assert_lines(pst_buf_view(&out), json_object_get(c, "lines"));
    assert_reading(&r, json_object_get(c, "expect"));
    assert_true(r.verdict == PST_VERDICT_DONE || r.verdict == PST_VERDICT_FINAL || out.n == 0);
    pst_stream_release(&s);
    pst_buf_release(&out);
    pst_arena_release(&a);
}

static void run_stream(const pst_task_t *task, const json_t *c)
{
    const json_t *stream = json_object_get(c, "stream");
    pst_buf_t bytes;
    if (!stream)
        return;
    pst_buf_init(&bytes, 0);
    put_stream(&bytes, stream);
    run_stream_in(task, c, pst_buf_view(&bytes), PST_MAX(bytes.n, 1u));
    run_stream_in(task, c, pst_buf_view(&bytes), 1);
    run_stream_in(task, c, pst_buf_view(&bytes), 7);
    pst_buf_release(&bytes);
}

/* A whole answer is told in lines. */
static void run_whole(const pst_task_t *task, const json_t *c, const pst_http_answer_t *answer, pst_arena_t *a,
                      pst_reading_t *r)
{
    pst_stream_t s;
    pst_buf_t out;
    if (!json_object_get(c, "lines"))
        return;
    pst_buf_init(&out, 0);
    pst_stream_init(&s);
    pst_stream_begin(&s, provider, task);
    pst_stream_whole(&s, answer, a, &out, r);
    assert_lines(pst_buf_view(&out), json_object_get(c, "lines"));
    assert_true(r->body.n == 0);
    pst_stream_release(&s);
    pst_buf_release(&out);
}

/* ---- running ---- */

static void run_build(const pst_task_t *task, pst_arena_t *a, const json_t *c)
{
    const json_t *expect = json_object_get(c, "expect_request");
    const char *why = string_or(c, "expect_why", NULL);
    pst_http_req_t req;
    pst_view_t reason = {NULL, 0};
    if (provider->internal)
        return;
    pst_err_t e = pst_provider_build(provider, task, a, &req, &reason);
    if (why) {
        assert_int_equal(e, PST_E_INVALID);
        if (!reason.p || !memmem(reason.p, reason.n, why, strlen(why)))
            fail_msg("refused because: %.*s", (int)reason.n, reason.p);
        return;
    }
    if (e != PST_OK)
        fail_msg("build: %s: %.*s", pst_err_text(e), (int)reason.n, reason.p);
    assert_request(&req, expect);
    assert_parses(req.body);
}

static void run_read(const pst_task_t *task, pst_arena_t *a, const json_t *c)
{
    const json_t *answer = json_object_get(c, "answer");
    pst_http_header_t header[32];
    pst_http_answer_t in = {.header = header, .wall_ms = WALL_S * 1000};
    if (!answer)
        return;
    const json_t *status = json_object_get(answer, "status");
    in.status = status ? (int)json_integer_value(status) : 200;
    in.transport = cause_of(string_or(answer, "transport", ""));
    in.headers = headers_of(answer, header);
    char *body = body_of(answer, &in.body.n);
    in.body.p = body;
    pst_reading_t r;
    memset(&r, 0xa5, sizeof r);
    pst_provider_read(provider, task, &in, a, &r);
    assert_reading(&r, json_object_get(c, "expect"));
    run_whole(task, c, &in, a, &r);
    free(body);
}

static void run_case(void **state)
{
    const json_t *c = *state;
    pst_arena_t arena;
    pst_json_t body, tape;
    size_t n;
    char *text =
        json_object_get(c, "body") || json_object_get(c, "body_text") ? body_of(c, &n) : NULL;
    if (!text) {
        text = strdup("{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"input\":\"Hi\","
                      "\"prompt\":\"Hi\"}");
        n = strlen(text);
    }
    pst_arena_init(&arena, 0);
    pst_json_init(&body);
    pst_json_init(&tape);
    assert_int_equal(pst_json_parse(&body, pst_view(text, n), NULL), PST_OK);
    int url = pst_url_parse(pst_view_str(string_or(c, "url", "/v1/chat/completions")));
    assert_true(url >= 0);
    assert_true(pst_provider_urls(provider) & 1u << url);
    pst_task_t task = {
        .url = (pst_url_t)url,
        .body = &body,
        .endpoint = endpoint_of(json_object_get(c, "endpoint")),
        .api_version = pst_view_str(string_or(c, "api_version", NULL)),
        .random = RANDOM,
        .wall_s = WALL_S,
        .packed = pst_provider_packs((pst_url_t)url, &body),
        .live = json_is_true(json_object_get(c, "live")),
    };
    task.stream = task.live && pst_provider_streams(provider, &task);
    task.usage_wanted = pst_json_is(&body, pst_json_path(&body, 0, "stream_options", "include_usage", NULL), PST_JSON_TRUE);
    run_build(&task, &arena, c);
    if (!provider->internal)
        task.body = NULL; /* as in the worker, when the answer comes */
    task.tape = &tape;
    run_read(&task, &arena, c);
    run_stream(&task, c);
    pst_json_release(&body);
    pst_json_release(&tape);
    pst_arena_release(&arena);
    free(text);
}

/* ---- finding the cases ---- */

static struct CMUnitTest tests[CASES_MAX];
static char names[CASES_MAX][160];
static size_t n_tests;

static void add_case(const char *file, json_t *c)
{
    if (n_tests == CASES_MAX) {
        fprintf(stderr, "more than %d cases\n", CASES_MAX);
        exit(1);
    }
    snprintf(names[n_tests], sizeof names[0], "%.*s: %s", (int)strcspn(file, "."), file,
             string_or(c, "name", ""));
    tests[n_tests] =
        (struct CMUnitTest){.name = names[n_tests], .test_func = run_case, .initial_state = c};
    n_tests++;
}

static json_t *load_file(const char *folder, const char *file)
{
    char path[1024];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!j) {
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        exit(1);
    }
    size_t i;
    json_t *c;
    if (!json_is_array(j))
        add_case(file, j);
    json_array_foreach(j, i, c)
        add_case(file, c);
    return j;
}

static int is_fixture(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 5 && strcmp(e->d_name + n - 5, ".json") == 0;
}

int adapter_fixture_main(const char *adapter, const char *folder, int argc, char **argv)
{
    struct dirent **files;
    provider = pst_provider_find(pst_view_str(adapter));
    int n = scandir(folder, &files, is_fixture, alphasort);
    if (!provider || n <= 0) {
        fprintf(stderr, "no adapter %s, or no fixtures in %s\n", adapter, folder);
        return 1;
    }
    json_t *loaded = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(loaded, load_file(folder, files[i]->d_name));
        free(files[i]);
    }
    free(files);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests(adapter, tests, n_tests, NULL, NULL);
    json_decref(loaded);
    return failed;
}
