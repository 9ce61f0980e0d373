/* Anthropic's dialect of the gateway.  Every case of a file in fixtures/dialect_anthropic is a test of its own, by file:
 *   request  in: a Messages body; out: the chat completion's, or why: part of the refusal
 *   round    in: a body that comes to Anthropic's own API as it was sent, through our adapter
 *   count    in: a body; least, most: between which the estimate lies, or why
 *   answer   in: a chat completion; out: the Message; fallback_id; malformed: true
 *   error    status, in or in_text: an error body; request_id; out: the envelope
 *   stream   in: chunks, as objects or texts; input_tokens; end: false leaves it open; out: the data of the events
 *   line     in: an element of `requests`; out: the line, or why
 *   result   in: a result line of ours; out: Anthropic's
 * What comes out is compared as JSON, and is on one line. */
#include "unit.h"

#include <dirent.h>
#include <jansson.h>

#include "gateway/anthropic.h"
#include "provider.h"

#define CASES_MAX 256
#define INDEX 7

static const char *text_or(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : otherwise;
}

/* As a person would write it, so that there are ends of lines to take out.  To be freed. */
static char *dumped(const json_t *v)
{
    char *s = json_dumps(v, JSON_INDENT(2) | JSON_ENCODE_ANY);
    assert_non_null(s);
    return s;
}

static void assert_json(pst_view_t got, const json_t *want)
{
    json_error_t error;
    json_t *j = json_loadb(got.p, got.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!j)
        fail_msg("not JSON: %s\n%.*s", error.text, (int)got.n, got.p);
    if (!json_equal(j, want)) {
        char *text = json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY);
        fail_msg("\n got: %.*s\nwant: %s", (int)got.n, got.p, text);
    }
    json_decref(j);
}

static void assert_line(const pst_buf_t *got, const json_t *want)
{
    if (memchr(got->p, '\n', got->n))
        fail_msg("more than a line:\n%.*s", (int)got->n, got->p);
    assert_json(pst_buf_view(got), want);
}

typedef struct run {
    const json_t *c;
    pst_anthropic_t x;
    pst_buf_t out;
    pst_errbuf_t why;
    char *in;
    pst_view_t text;
} run_t;

/* True if it was to be refused, and was. */
static bool refused(run_t *r, pst_err_t e)
{
    const char *why = text_or(r->c, "why", NULL);
    if (!why && e)
        fail_msg("%s: %s", pst_err_text(e), r->why.text);
    if (!why)
        return false;
    assert_int_equal(e, PST_E_INVALID);
    if (!strstr(r->why.text, why))
        fail_msg("refused because: %s", r->why.text);
    return true;
}

static void run_request(run_t *r)
{
    if (!refused(r, pst_anthropic_request(&r->x, r->text, &r->out, &r->why)))
        assert_line(&r->out, json_object_get(r->c, "out"));
}

static void run_round(run_t *r)
{
    pst_json_t body;
    pst_arena_t arena;
    pst_http_req_t req;
    pst_view_t why = {NULL, 0};
    assert_int_equal(pst_anthropic_request(&r->x, r->text, &r->out, &r->why), PST_OK);
    pst_json_init(&body);
    pst_arena_init(&arena, 0);
    assert_int_equal(pst_json_parse(&body, pst_buf_view(&r->out), NULL), PST_OK);
    pst_task_t task = {.url = PST_URL_CHAT, .body = &body, .endpoint = {.model = PST_VIEW_LIT("claude-sonnet-4-5")}};
    pst_err_t e = pst_provider_build(pst_provider_find(PST_VIEW_LIT("anthropic")), &task, &arena, &req, &why);
    if (e)
        fail_msg("%.*s", (int)why.n, why.p);
    assert_json(req.body, json_object_get(r->c, "in"));
    pst_arena_release(&arena);
    pst_json_release(&body);
}

static void run_count(run_t *r)
{
    if (refused(r, pst_anthropic_count_tokens(&r->x, r->text, &r->out, &r->why)))
        return;
    json_t *j = json_loadb(r->out.p, r->out.n, 0, NULL);
    assert_non_null(j);
    json_int_t n = json_integer_value(json_object_get(j, "input_tokens"));
    assert_in_range(n, json_integer_value(json_object_get(r->c, "least")),
                    json_integer_value(json_object_get(r->c, "most")));
    assert_int_equal(json_object_size(j), 1);
    json_decref(j);
}

static void run_answer(run_t *r)
{
    pst_view_t id = pst_view_str(text_or(r->c, "fallback_id", "batch_X.7"));
    pst_err_t e = pst_anthropic_answer(&r->x, r->text, id, &r->out);
    if (json_is_true(json_object_get(r->c, "malformed"))) {
        assert_int_equal(e, PST_E_MALFORMED);
        return;
    }
    assert_int_equal(e, PST_OK);
    assert_line(&r->out, json_object_get(r->c, "out"));
}

static void run_error(run_t *r)
{
    int status = (int)json_integer_value(json_object_get(r->c, "status"));
    pst_anthropic_error_of(&r->x, status, r->text, pst_view_str(text_or(r->c, "request_id", NULL)), &r->out);
    assert_line(&r->out, json_object_get(r->c, "out"));
}

/* The data of events as an array; each must be named as its data is. */
static json_t *events_of(const pst_buf_t *b)
{
    json_t *all = json_array();
    const char *p = b->p, *end = b->p + b->n;
    while (p < end) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        const char *last = line ? memmem(line, (size_t)(end - line), "\n\n", 2) : NULL;
        if (!last || strncmp(p, "event: ", 7) != 0 || strncmp(line, "\ndata: ", 7) != 0)
            fail_msg("no event: %.*s", (int)(end - p), p);
        json_t *data = json_loadb(line + 7, (size_t)(last - line) - 7, JSON_REJECT_DUPLICATES, NULL);
        if (!data)
            fail_msg("not JSON: %.*s", (int)(last - line), line);
        const char *type = text_or(data, "type", "");
        assert_int_equal(strlen(type), line - p - 7);
        assert_memory_equal(p + 7, type, strlen(type));
        json_array_append_new(all, data);
        p = last + 2;
    }
    return all;
}

static void run_stream(run_t *r)
{
    pst_anthropic_stream_t s;
    json_t *chunk, *end = json_object_get(r->c, "end");
    size_t i;
    pst_anthropic_stream_init(&s, (uint64_t)json_integer_value(json_object_get(r->c, "input_tokens")));
    json_array_foreach(json_object_get(r->c, "in"), i, chunk)
    {
        char *text = json_is_string(chunk) ? strdup(json_string_value(chunk)) : dumped(chunk);
        pst_anthropic_stream_feed(&s, pst_view_str(text), &r->out);
        free(text);
    }
    if (!end || json_is_true(end)) {
        pst_anthropic_stream_end(&s, &r->out);
        assert_true(s.done);
        size_t n = r->out.n;
        pst_anthropic_stream_feed(&s, PST_VIEW_LIT("{}"), &r->out);
        pst_anthropic_stream_end(&s, &r->out);
        assert_int_equal(r->out.n, n);
    }
    json_t *got = events_of(&r->out);
    if (!json_equal(got, json_object_get(r->c, "out"))) {
        char *text = json_dumps(got, JSON_COMPACT);
        fail_msg("\n got: %s", text);
    }
    json_decref(got);
    pst_anthropic_stream_release(&s);
}

static void run_line(run_t *r)
{
    if (!refused(r, pst_anthropic_batch_line(&r->x, r->text, INDEX, &r->out, &r->why)))
        assert_line(&r->out, json_object_get(r->c, "out"));
}

static void run_result(run_t *r)
{
    pst_err_t e = pst_anthropic_result(&r->x, r->text, &r->out);
    if (json_is_true(json_object_get(r->c, "malformed"))) {
        assert_int_equal(e, PST_E_MALFORMED);
        return;
    }
    assert_int_equal(e, PST_OK);
    assert_line(&r->out, json_object_get(r->c, "out"));
}

typedef struct fixture {
    const json_t *c;
    void (*run)(run_t *r);
} fixture_t;

static void run_case(void **state)
{
    const fixture_t *f = *state;
    const char *text = text_or(f->c, "in_text", NULL);
    run_t r = {.c = f->c, .in = text ? strdup(text) : dumped(json_object_get(f->c, "in"))};
    r.text = pst_view_str(r.in);
    f->run(&r);
    pst_buf_release(&r.out);
    pst_anthropic_release(&r.x);
    free(r.in);
}

/* ---- batches ---- */

static const pst_batch_t batch = {
    .id = "batch_01JDZK3M4N5P6Q7R8S9TAVBWCX",
    .status = "in_progress",
    .created_ms = 1700000000123,
    .accepted_ms = 1700000001000,
    .expires_ms = 1700086400123,
    .jobs = 10,
    .completed = 4,
    .failed = 1,
};

static void assert_batch(const pst_batch_t *x, pst_view_t base, const char *want)
{
    pst_buf_t b;
    json_t *j = json_loads(want, 0, NULL);
    pst_buf_init(&b, 0);
    pst_anthropic_batch(x, base, &b);
    assert_line(&b, j);
    json_decref(j);
    pst_buf_release(&b);
}

static void a_running_batch(void **state)
{
    (void)state;
    assert_batch(&batch, pst_view(NULL, 0),
                 "{\"id\":\"msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX\",\"type\":\"message_batch\","
                 "\"processing_status\":\"in_progress\",\"request_counts\":{\"processing\":10,\"succeeded\":0,"
                 "\"errored\":0,\"canceled\":0,\"expired\":0},\"ended_at\":null,"
                 "\"created_at\":\"2023-11-14T22:13:20.123Z\",\"expires_at\":\"2023-11-15T22:13:20.123Z\","
                 "\"archived_at\":null,\"cancel_initiated_at\":null,\"results_url\":null}");
}

static void a_cancelled_batch(void **state)
{
    (void)state;
    pst_batch_t x = batch;
    x.cancelling_ms = 1700000002000;
    assert_batch(&x, pst_view(NULL, 0),
                 "{\"id\":\"msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX\",\"type\":\"message_batch\","
                 "\"processing_status\":\"canceling\",\"request_counts\":{\"processing\":10,\"succeeded\":0,"
                 "\"errored\":0,\"canceled\":0,\"expired\":0},\"ended_at\":null,"
                 "\"created_at\":\"2023-11-14T22:13:20.123Z\",\"expires_at\":\"2023-11-15T22:13:20.123Z\","
                 "\"archived_at\":null,\"cancel_initiated_at\":\"2023-11-14T22:13:22.000Z\",\"results_url\":null}");
    x.ended = true;
    x.ended_ms = 1700000003007;
    x.cancelled = 3;
    x.expired = 2;
    assert_batch(&x, PST_VIEW_LIT("http://127.0.0.1:7700"),
                 "{\"id\":\"msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX\",\"type\":\"message_batch\","
                 "\"processing_status\":\"ended\",\"request_counts\":{\"processing\":0,\"succeeded\":4,"
                 "\"errored\":1,\"canceled\":3,\"expired\":2},\"ended_at\":\"2023-11-14T22:13:23.007Z\","
                 "\"created_at\":\"2023-11-14T22:13:20.123Z\",\"expires_at\":\"2023-11-15T22:13:20.123Z\","
                 "\"archived_at\":null,\"cancel_initiated_at\":\"2023-11-14T22:13:22.000Z\",\"results_url\":"
                 "\"http://127.0.0.1:7700/v1/messages/batches/msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX/results\"}");
}

static void a_list(void **state)
{
    (void)state;
    pst_batch_t two[] = {batch, batch};
    pst_batch_list_t l = {.v = two, .n = 2, .more = true};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    strcpy(two[1].id, "batch_01JDZK3M4N5P6Q7R8S9TAVBWCY");
    pst_anthropic_batch_list(&l, pst_view(NULL, 0), &b);
    json_t *j = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(j, "data")), 2);
    assert_true(json_is_true(json_object_get(j, "has_more")));
    assert_string_equal(text_or(j, "first_id", ""), "msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX");
    assert_string_equal(text_or(j, "last_id", ""), "msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCY");
    json_decref(j);
    l = (pst_batch_list_t){0};
    pst_buf_clear(&b);
    pst_anthropic_batch_list(&l, pst_view(NULL, 0), &b);
    j = json_loads("{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}", 0, NULL);
    assert_line(&b, j);
    json_decref(j);
    pst_buf_release(&b);
}

static void ids_there_and_back(void **state)
{
    (void)state;
    pst_id_t id, again;
    pst_buf_t b;
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_buf_init(&b, 0);
    assert_int_equal(pst_anthropic_batch_id(PST_VIEW_LIT("msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX"), &id), PST_OK);
    pst_id_text(&id, text);
    assert_string_equal(text, "batch_01JDZK3M4N5P6Q7R8S9TAVBWCX");
    pst_anthropic_batch_deleted(&id, &b);
    json_t *j = json_loads("{\"id\":\"msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCX\",\"type\":\"message_batch_deleted\"}", 0, NULL);
    assert_line(&b, j);
    json_decref(j);
    pst_buf_release(&b);
    static const char *const wrong[] = {"", "batch_01JDZK3M4N5P6Q7R8S9TAVBWCX", "msgbatch_", "msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWC",
                                        "msgbatch_01JDZK3M4N5P6Q7R8S9TAVBWCXX", "msgbatch_01JDZK3M4N5P6Q7R8S9TAVBW/.",
                                        "msgbatch-01JDZK3M4N5P6Q7R8S9TAVBWCX"};
    for (size_t i = 0; i < PST_COUNT(wrong); i++)
        assert_int_equal(pst_anthropic_batch_id(pst_view_str(wrong[i]), &again), PST_E_INVALID);
}

/* ---- errors ---- */

static void a_type_for_every_status(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *type;
    } want[] = {
        {400, "invalid_request_error"}, {401, "authentication_error"}, {402, "billing_error"},
        {403, "permission_error"},      {404, "not_found_error"},      {409, "invalid_request_error"},
        {413, "request_too_large"},     {422, "invalid_request_error"}, {429, "rate_limit_error"},
        {500, "api_error"},             {502, "api_error"},            {503, "overloaded_error"},
        {504, "timeout_error"},         {529, "overloaded_error"},     {0, "api_error"},
    };
    for (size_t i = 0; i < PST_COUNT(want); i++)
        assert_string_equal(pst_anthropic_error_type(want[i].status), want[i].type);
}

/* Those that are the client's to mend are told so. */
static void a_status_for_every_cause(void **state)
{
    (void)state;
    assert_int_equal(pst_anthropic_error_status(PST_VIEW_LIT("rate_limit_exceeded")), 429);
    assert_int_equal(pst_anthropic_error_status(PST_VIEW_LIT("no_endpoint")), 404);
    assert_int_equal(pst_anthropic_error_status(PST_VIEW_LIT("worker_lost")), 500);
    assert_int_equal(pst_anthropic_error_status(PST_VIEW_LIT("")), 500);
    for (unsigned cause = PST_CAUSE_LINE_JSON; cause <= PST_CAUSE_LINE_ROUTING; cause++)
        assert_in_range(pst_anthropic_error_status(pst_view_str(pst_cause_text(cause))), 400, 499);
}

static void a_ping(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_anthropic_ping(&b);
    assert_int_equal(b.n, strlen("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
    assert_memory_equal(b.p, "event: ping\ndata: {\"type\":\"ping\"}\n\n", b.n);
    pst_buf_release(&b);
}

/* What has no room is not half there and called whole. */
static void a_buffer_without_room(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                               "\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]}";
    pst_anthropic_t x = {0};
    for (size_t room = 1; room < 120; room++) {
        pst_buf_t b;
        pst_buf_init(&b, room);
        pst_err_t e = pst_anthropic_request(&x, pst_view_str(body), &b, NULL);
        assert_true(b.n <= room);
        assert_int_equal(e, b.failed ? PST_E_NOMEM : PST_OK);
        assert_true(room > 60 || b.failed);
        pst_buf_release(&b);
    }
    pst_anthropic_release(&x);
}

/* ---- finding the cases ---- */

static struct CMUnitTest tests[CASES_MAX];
static fixture_t fixtures[CASES_MAX];
static char names[CASES_MAX][160];
static size_t n_tests;

static void add_cases(const char *kind, void (*run)(run_t *r), json_t *all)
{
    size_t i;
    json_t *c;
    json_array_foreach(all, i, c)
    {
        if (n_tests == CASES_MAX) {
            fprintf(stderr, "more than %d cases\n", CASES_MAX);
            exit(1);
        }
        fixtures[n_tests] = (fixture_t){.c = c, .run = run};
        snprintf(names[n_tests], sizeof names[0], "%s: %s", kind, text_or(c, "name", ""));
        tests[n_tests] = (struct CMUnitTest){
            .name = names[n_tests], .test_func = run_case, .initial_state = &fixtures[n_tests]};
        n_tests++;
    }
}

static void add_plain(const char *name, CMUnitTestFunction test)
{
    tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = test};
}

#define PLAIN(test) add_plain(#test, test)

int main(int argc, char **argv)
{
    static const struct {
        const char *kind;
        void (*run)(run_t *r);
    } kinds[] = {{"request", run_request}, {"round", run_round}, {"count", run_count}, {"answer", run_answer},
                 {"error", run_error},     {"stream", run_stream}, {"line", run_line}, {"result", run_result}};
    json_t *loaded = json_array();
    for (size_t i = 0; i < PST_COUNT(kinds); i++) {
        char path[1024];
        json_error_t error;
        snprintf(path, sizeof path, "%s/dialect_anthropic/%s.json", PST_FIXTURES, kinds[i].kind);
        json_t *all = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (!json_is_array(all) || json_array_size(all) == 0) {
            fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
            return 1;
        }
        json_array_append_new(loaded, all);
        add_cases(kinds[i].kind, kinds[i].run, all);
    }
    PLAIN(a_running_batch);
    PLAIN(a_cancelled_batch);
    PLAIN(a_list);
    PLAIN(ids_there_and_back);
    PLAIN(a_type_for_every_status);
    PLAIN(a_status_for_every_cause);
    PLAIN(a_ping);
    PLAIN(a_buffer_without_room);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests("dialect_anthropic", tests, n_tests, NULL, NULL);
    json_decref(loaded);
    return failed;
}
