#include "unit.h"

#include "lib/line.h"

static pst_line_reader_t reader;

static int setup(void **state)
{
    (void)state;
    pst_line_reader_init(&reader, pst_view(NULL, 0));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pst_line_reader_release(&reader);
    return 0;
}

static pst_line_job_t read_good(const char *text)
{
    pst_line_job_t job;
    pst_line_fault_t fault;
    if (pst_line_read(&reader, pst_view_str(text), &job, &fault) != PST_OK)
        fail_msg("%s: %s", text, fault.message);
    return job;
}

static pst_route_t route_of(const char *text)
{
    static pst_arena_t arena;
    pst_arena_clear(&arena);
    pst_line_job_t job = read_good(text);
    pst_route_t r;
    assert_int_equal(pst_route_decode(job.route, &arena, &r), PST_OK);
    return r;
}

#define BODY(members) "{\"custom_id\":\"a\",\"body\":{\"model\":\"m\"," members "}}"
#define MESSAGE "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static const struct {
    const char *line;
    pst_cause_t code;
    const char *message;   /* a part of it */
    const char *custom_id; /* NULL: none could be read */
} bad[] = {
    {"nonsense", PST_CAUSE_LINE_JSON, "not parseable", NULL},
    {"{\"custom_id\":\"a\"", PST_CAUSE_LINE_JSON, "not parseable", NULL},
    {"{\"custom_id\":\"a\",}", PST_CAUSE_LINE_JSON, "not parseable", NULL},
    {"{} {}", PST_CAUSE_LINE_JSON, "not parseable", NULL},
    {"{\"custom_id\":\"\xff\"}", PST_CAUSE_LINE_JSON, "not parseable", NULL},
    {"{\"custom_id\":\"a\",\"body\":{\"model\":NaN}}", PST_CAUSE_LINE_JSON, "not parseable", NULL},
    {"[1]", PST_CAUSE_LINE_JSON, "not a JSON object", NULL},
    {"7", PST_CAUSE_LINE_JSON, "not a JSON object", NULL},
    {"{\"body\":{\"model\":\"m\"}}", PST_CAUSE_LINE_MISSING, "'custom_id'", NULL},
    {"{\"custom_id\":null,\"body\":{}}", PST_CAUSE_LINE_MISSING, "'custom_id'", NULL},
    {"{\"custom_id\":7,\"body\":{}}", PST_CAUSE_LINE_MISSING, "must be a string", NULL},
    {"{\"custom_id\":\"\",\"body\":{}}", PST_CAUSE_LINE_MISSING, "empty", NULL},
    {"{\"custom_id\":\"a\",\"method\":\"GET\",\"body\":{}}", PST_CAUSE_LINE_METHOD, "POST", "a"},
    {"{\"custom_id\":\"a\",\"method\":null,\"body\":{}}", PST_CAUSE_LINE_METHOD, "POST", "a"},
    {"{\"custom_id\":\"a\",\"url\":\"/v1/images\",\"body\":{}}", PST_CAUSE_LINE_URL, "/v1/chat/completions", "a"},
    {"{\"custom_id\":\"a\",\"url\":7,\"body\":{}}", PST_CAUSE_LINE_URL, "URL", "a"},
    {"{\"custom_id\":\"a\"}", PST_CAUSE_LINE_MISSING, "'body'", "a"},
    {"{\"custom_id\":\"a\",\"body\":[]}", PST_CAUSE_LINE_BODY, "object", "a"},
    {"{\"custom_id\":\"a\",\"body\":null}", PST_CAUSE_LINE_BODY, "object", "a"},
    {"{\"custom_id\":\"a\",\"body\":{}}", PST_CAUSE_LINE_MISSING, "body.model", "a"},
    {"{\"custom_id\":\"a\",\"body\":{\"model\":7}}", PST_CAUSE_LINE_BODY, "body.model", "a"},
    {"{\"custom_id\":\"a\",\"body\":{\"model\":\"\"}}", PST_CAUSE_LINE_BODY, "body.model", "a"},
    {BODY("\"stream\":true"), PST_CAUSE_LINE_STREAM, "Streaming", "a"},
    {BODY("\"models\":\"x\""), PST_CAUSE_LINE_ROUTING, "models must be an array", "a"},
    {BODY("\"models\":[1]"), PST_CAUSE_LINE_ROUTING, "models must hold strings", "a"},
    {BODY("\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]"), PST_CAUSE_LINE_ROUTING, "too many", "a"},
    {BODY("\"provider\":\"x\""), PST_CAUSE_LINE_ROUTING, "provider must be an object", "a"},
    {BODY("\"provider\":{\"only\":\"x\"}"), PST_CAUSE_LINE_ROUTING, "provider.only", "a"},
    {BODY("\"provider\":{\"order\":[\"\"]}"), PST_CAUSE_LINE_ROUTING, "provider.order", "a"},
    {BODY("\"provider\":{\"zdr\":1}"), PST_CAUSE_LINE_ROUTING, "provider.zdr", "a"},
    {BODY("\"provider\":{\"allow_fallbacks\":\"no\"}"), PST_CAUSE_LINE_ROUTING, "allow_fallbacks", "a"},
    {BODY("\"provider\":{\"data_collection\":\"maybe\"}"), PST_CAUSE_LINE_ROUTING, "\"allow\", \"deny\"", "a"},
    {BODY("\"provider\":{\"sort\":\"luck\"}"), PST_CAUSE_LINE_ROUTING, "\"price\", \"throughput\", \"latency\"", "a"},
    {BODY("\"provider\":{\"sort\":{\"by\":\"luck\"}}"), PST_CAUSE_LINE_ROUTING, "provider.sort.by must be one of", "a"},
    {BODY("\"provider\":{\"sort\":{\"partition\":\"all\"}}"), PST_CAUSE_LINE_ROUTING, "\"model\", \"none\"", "a"},
    {BODY("\"provider\":{\"sort\":{\"order\":\"asc\"}}"), PST_CAUSE_LINE_ROUTING, "by and partition", "a"},
    {BODY("\"provider\":{\"preferred_max_latency\":0}"), PST_CAUSE_LINE_ROUTING, "preferred_max_latency must be", "a"},
    {BODY("\"provider\":{\"preferred_min_throughput\":{\"p95\":3}}"), PST_CAUSE_LINE_ROUTING, "p50, p75, p90 and p99", "a"},
    {BODY("\"provider\":{\"preferred_min_throughput\":\"fast\"}"), PST_CAUSE_LINE_ROUTING, "numbers above 0", "a"},
    {BODY("\"provider\":{\"max_price\":3}"), PST_CAUSE_LINE_ROUTING, "max_price", "a"},
    {BODY("\"provider\":{\"max_price\":{\"prompt\":-1}}"), PST_CAUSE_LINE_ROUTING, "max_price.prompt", "a"},
    {BODY("\"provider\":{\"max_price\":{\"image\":1}}"), PST_CAUSE_LINE_ROUTING, "max_price", "a"},
    {BODY("\"provider\":{\"speed\":1}"), PST_CAUSE_LINE_ROUTING, "provider.speed is not a routing field", "a"},
};

static void bad_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        pst_line_job_t job;
        pst_line_fault_t f;
        pst_err_t e = pst_line_read(&reader, pst_view_str(bad[i].line), &job, &f);
        if (e != PST_E_INPUT || f.code != bad[i].code || !strstr(f.message, bad[i].message))
            fail_msg("%s: err %d, %s: %s", bad[i].line, e, pst_cause_text(f.code), f.message);
        if (bad[i].custom_id)
            assert_true(pst_view_eqs(f.custom_id, bad[i].custom_id));
        else
            assert_null(f.custom_id.p);
    }
}

static void every_cut_of_a_line_is_refused(void **state)
{
    (void)state;
    const char *line = BODY(MESSAGE ",\"provider\":{\"only\":[\"x\"],\"max_price\":{\"prompt\":1.5}},\"seed\":1");
    for (size_t n = 0; n < strlen(line); n++) {
        pst_line_job_t job;
        pst_line_fault_t f;
        char *cut = malloc(n + 1); /* of its own, so that a sanitizer sees a read past it */
        memcpy(cut, line, n);
        assert_int_equal(pst_line_read(&reader, pst_view(cut, n), &job, &f), PST_E_INPUT);
        free(cut);
    }
}

static void custom_id_bounds(void **state)
{
    (void)state;
    char line[8192], id[PST_CUSTOM_ID_BYTES_MAX + 2];
    pst_line_job_t job;
    pst_line_fault_t f;
    memset(id, 'x', sizeof id);
    for (size_t n = PST_CUSTOM_ID_BYTES_MAX; n <= PST_CUSTOM_ID_BYTES_MAX + 1; n++) {
        snprintf(line, sizeof line, "{\"custom_id\":\"%.*s\",\"body\":{\"model\":\"m\"}}", (int)n, id);
        assert_int_equal(pst_line_read(&reader, pst_view_str(line), &job, &f),
                         n > PST_CUSTOM_ID_BYTES_MAX ? PST_E_INPUT : PST_OK);
    }
    assert_true(pst_view_eqs(read_good("{\"custom_id\":\"\\u00e9\\n\",\"body\":{\"model\":\"m\"}}").custom_id, "é\n"));
}

static void body_is_kept_as_it_stood(void **state)
{
    (void)state;
    pst_line_job_t job = read_good(
        " {\"custom_id\":\"a\", \"body\": { \"model\" : \"m\",\"n\":1.0e2, \"x\":12345678901234567890 } } ");
    assert_true(pst_view_eqs(job.body, "{ \"model\" : \"m\",\"n\":1.0e2, \"x\":12345678901234567890 }"));
    assert_int_equal(job.url, PST_URL_CHAT);
    assert_true(pst_view_eqs(job.custom_id, "a"));
    job = read_good("{\"url\":\"/v1/embeddings\",\"custom_id\":\"a\",\"body\":{\"model\":\"m\"}}");
    assert_int_equal(job.url, PST_URL_EMBEDDINGS);
}

static void models(void **state)
{
    (void)state;
    pst_route_t r = route_of(BODY("\"models\":[\"m\",\"n:floor\",\"o\"]"));
    assert_int_equal(r.models.n, 3);
    assert_true(pst_view_eqs(r.models.v[0], "m"));
    assert_true(pst_view_eqs(r.models.v[1], "n"));
    assert_int_equal(r.sort, PST_SORT_DEFAULT);
    r = route_of("{\"custom_id\":\"a\",\"body\":{\"models\":[\"x\",\"y\"]}}");
    assert_true(pst_view_eqs(r.models.v[0], "x"));
    r = route_of("{\"custom_id\":\"a\",\"body\":{\"model\":\"m:nitro\"}}");
    assert_true(pst_view_eqs(r.models.v[0], "m"));
    assert_int_equal(r.sort, PST_SORT_THROUGHPUT);
    r = route_of("{\"custom_id\":\"a\",\"body\":{\"model\":\"m:floor\"}}");
    assert_int_equal(r.sort, PST_SORT_PRICE);
    r = route_of("{\"custom_id\":\"a\",\"body\":{\"model\":\"m:floor\",\"provider\":{\"sort\":\"latency\"}}}");
    assert_int_equal(r.sort, PST_SORT_LATENCY);
    r = route_of("{\"custom_id\":\"a\",\"body\":{\"model\":\"llama:8b\"}}");
    assert_true(pst_view_eqs(r.models.v[0], "llama:8b"));
}

static void model_for_lines_without_one(void **state)
{
    (void)state;
    reader.model = PST_VIEW_LIT("given");
    assert_true(pst_view_eqs(route_of("{\"custom_id\":\"a\",\"body\":{}}").models.v[0], "given"));
    assert_true(pst_view_eqs(route_of("{\"custom_id\":\"a\",\"body\":{\"model\":null}}").models.v[0], "given"));
    assert_true(pst_view_eqs(route_of(BODY(MESSAGE)).models.v[0], "m"));
    assert_int_equal(route_of("{\"custom_id\":\"a\",\"body\":{\"models\":[\"x\"]}}").models.n, 1);
}

static void provider_fields(void **state)
{
    (void)state;
    pst_route_t r = route_of(BODY(
        "\"provider\":{\"order\":[\"a\",\"b\"],\"only\":[\"a\"],\"ignore\":[\"c\"],\"allow_fallbacks\":false,"
        "\"require_parameters\":false,\"data_collection\":\"deny\",\"zdr\":true,\"quantizations\":[\"fp8\"],"
        "\"sort\":\"throughput\",\"max_price\":{\"prompt\":1,\"completion\":2.5,\"request\":0}}"));
    assert_int_equal(r.order.n, 2);
    assert_int_equal(r.only.n, 1);
    assert_int_equal(r.ignore.n, 1);
    assert_int_equal(r.quantizations.n, 1);
    assert_false(r.allow_fallbacks);
    assert_false(r.require_parameters);
    assert_true(r.deny_data_collection);
    assert_true(r.zdr);
    assert_int_equal(r.sort, PST_SORT_THROUGHPUT);
    assert_true(r.max_price_prompt == 1 && r.max_price_completion == 2.5 && r.max_price_request == 0);
    assert_false(r.across_models);
    r = route_of(BODY("\"provider\":{\"sort\":{\"by\":\"latency\",\"partition\":\"none\"},"
                      "\"preferred_min_throughput\":30,\"preferred_max_latency\":{\"p50\":null,\"p99\":2.5}}"));
    assert_int_equal(r.sort, PST_SORT_LATENCY);
    assert_true(r.across_models && r.min_throughput[0] == 30 && r.min_throughput[3] == 0);
    assert_true(r.max_latency[0] == 0 && r.max_latency[3] == 2.5);
    r = route_of(BODY("\"provider\":{\"order\":null,\"sort\":null,\"max_price\":{\"prompt\":null}}"));
    assert_true(r.allow_fallbacks && r.require_parameters && r.max_price_prompt < 0);
}

static void params(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint32_t params;
    } table[] = {
        {BODY(MESSAGE), 0},
        {BODY("\"tools\":[{\"type\":\"function\"}]"), PST_PARAM_TOOLS},
        {BODY("\"tools\":[],\"seed\":null,\"logprobs\":false,\"n\":1,\"logit_bias\":{}"), 0},
        {BODY("\"response_format\":{\"type\":\"json_object\"}"), PST_PARAM_RESPONSE_FORMAT},
        {BODY("\"response_format\":{\"type\":\"text\"}"), 0},
        {BODY("\"text\":{\"format\":{\"type\":\"json_schema\"}}"), PST_PARAM_RESPONSE_FORMAT},
        {BODY("\"logprobs\":true,\"seed\":0"), PST_PARAM_LOGPROBS | PST_PARAM_SEED},
        {BODY("\"presence_penalty\":0.5"), PST_PARAM_PENALTIES},
        {BODY("\"logit_bias\":{\"1\":2},\"n\":3"), PST_PARAM_LOGIT_BIAS | PST_PARAM_N},
        {BODY("\"reasoning_effort\":\"low\""), PST_PARAM_REASONING},
        {BODY("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:"
              "x\"}}]}]"),
         PST_PARAM_IMAGES},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        uint32_t got = route_of(table[i].line).params;
        if (got != table[i].params)
            fail_msg("%s: %x", table[i].line, got);
    }
}

static void token_estimates(void **state)
{
    (void)state;
    assert_int_equal(read_good(BODY(MESSAGE)).input_tokens, 3 + 4 + 1);
    pst_line_job_t job =
        read_good(BODY("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"},"
                       "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}],"
                       "\"max_tokens\":7"));
    assert_int_equal(job.input_tokens, 3 + 4 + 1 + 1000);
    assert_int_equal(job.output_tokens, 7);
    job = read_good(BODY("\"input\":[\"one two\",\"three\"],\"max_output_tokens\":9"));
    assert_int_equal(job.input_tokens, 3 + 3);
    assert_int_equal(job.output_tokens, 9);
    assert_int_equal(read_good(BODY("\"input\":[[1,2,3],[4]]")).input_tokens, 3 + 4);
    assert_int_equal(read_good(BODY("\"prompt\":\"one two\"")).input_tokens, 3 + 2);
    assert_int_equal(read_good(BODY("\"max_tokens\":-5")).output_tokens, 0);
    assert_int_equal(read_good(BODY("\"max_tokens\":1e30")).output_tokens, 0);
}

/* The prefix of a job with this body, in which each X stands for so many letters. */
static uint64_t prefix_of(const char *body, unsigned letters)
{
    pst_buf_t line;
    pst_buf_init(&line, 0);
    pst_buf_puts(&line, "{\"custom_id\":\"a\",\"body\":{\"model\":\"m\",");
    for (const char *p = body; *p; p++)
        for (unsigned i = 0; i < (*p == 'X' ? letters : 1); i++)
            pst_buf_putc(&line, *p);
    pst_buf_puts(&line, "}}");
    pst_line_job_t job;
    pst_line_fault_t fault;
    assert_int_equal(pst_line_read(&reader, pst_buf_view(&line), &job, &fault), PST_OK);
    pst_buf_release(&line);
    return job.prefix;
}

#define SAID(role, text) "{\"role\":\"" role "\",\"content\":\"" text "\"}"
#define KIB(n) ((n) << 10)

static void prefix_is_shared_by_what_begins_alike(void **state)
{
    (void)state;
    static const struct {
        const char *one, *two;
        unsigned letters;
        bool alike;
    } pair[] = {
        /* a system prompt, however it is given, is the beginning, whatever follows */
        {"\"messages\":[" SAID("system", "X") "," SAID("user", "1") "]",
         "\"messages\":[" SAID("system", "X") "," SAID("user", "2") "]", KIB(5), true},
        {"\"messages\":[" SAID("developer", "X") "," SAID("user", "1X") "]",
         "\"messages\":[" SAID("developer", "X") "," SAID("user", "2X") "]", KIB(5), true},
        {"\"messages\":[" SAID("system", "X1") "," SAID("user", "1") "]",
         "\"messages\":[" SAID("system", "X2") "," SAID("user", "1") "]", KIB(5), false},
        {"\"messages\":[" SAID("system", "X1") "," SAID("user", "1") "]",
         "\"messages\":[" SAID("system", "X2") "," SAID("user", "1") "]", KIB(33), true},
        {"\"instructions\":\"X\",\"input\":\"1\"", "\"instructions\":\"X\",\"input\":\"2\"", KIB(5), true},
        {"\"tools\":[1],\"instructions\":\"X\"", "\"tools\":[2],\"instructions\":\"X\"", KIB(5), false},
        {"\"tools\":[\"X\"],\"messages\":[" SAID("user", "1") "]",
         "\"tools\":[\"X\"],\"messages\":[" SAID("user", "2") "]", KIB(5), true},
        /* with none, or a short one, messages are, up to somewhere before their end */
        {"\"messages\":[" SAID("user", "X1") "]", "\"messages\":[" SAID("user", "X2") "]", KIB(5), true},
        {"\"messages\":[" SAID("user", "1X") "]", "\"messages\":[" SAID("user", "2X") "]", KIB(5), false},
        {"\"messages\":[" SAID("system", "s") "," SAID("user", "X1") "]",
         "\"messages\":[" SAID("system", "s") "," SAID("user", "X2") "]", KIB(5), true},
        {"\"messages\":[" SAID("system", "s") "," SAID("user", "X1") "]",
         "\"messages\":[" SAID("system", "t") "," SAID("user", "X1") "]", KIB(5), false},
        {"\"messages\":[" SAID("user", "X") "," SAID("assistant", "X") "," SAID("user", "1") "]",
         "\"messages\":[" SAID("user", "X") "," SAID("assistant", "X") "," SAID("user", "2") "]", KIB(3), true},
        {"\"input\":\"X1\"", "\"input\":\"X2\"", KIB(5), true},
        {"\"prompt\":\"X1\"", "\"prompt\":\"X2\"", KIB(5), true},
        /* long ones have to be alike for longer */
        {"\"messages\":[" SAID("user", "X1X") "]", "\"messages\":[" SAID("user", "X2X") "]", KIB(10), true},
        {"\"messages\":[" SAID("user", "X1X") "]", "\"messages\":[" SAID("user", "X2X") "]", KIB(20), false},
        {"\"messages\":[" SAID("user", "X1") "]", "\"messages\":[" SAID("user", "X2") "]", KIB(40), true},
    };
    for (size_t i = 0; i < PST_COUNT(pair); i++) {
        uint64_t one = prefix_of(pair[i].one, pair[i].letters), two = prefix_of(pair[i].two, pair[i].letters);
        if (one == 0 || two == 0 || (one == two) != pair[i].alike)
            fail_msg("%s, %s: %llx, %llx", pair[i].one, pair[i].two, (unsigned long long)one, (unsigned long long)two);
    }
}

static void a_short_beginning_is_none(void **state)
{
    (void)state;
    static const char *const body[] = {
        MESSAGE, "\"messages\":[]", "\"tools\":[]", "\"input\":[]", "\"prompt\":\"\"", "\"x\":\"X\"",
        "\"messages\":[" SAID("system", "X") "," SAID("user", "1") "]",
        "\"tools\":[1],\"instructions\":\"X\",\"input\":[" SAID("user", "1") "]",
    };
    for (size_t i = 0; i < PST_COUNT(body); i++)
        assert_int_equal(prefix_of(body[i], KIB(4) - 200), 0);
    reader.prefix_min = 500;
    assert_int_not_equal(prefix_of("\"prompt\":\"X\"", 498), 0);
    assert_int_equal(prefix_of("\"prompt\":\"X\"", 497), 0);
    reader.prefix_max = 500;
    assert_int_equal(prefix_of("\"prompt\":\"X1\"", 499), prefix_of("\"prompt\":\"X2\"", 499));
    assert_int_not_equal(prefix_of("\"prompt\":\"X1\"", 498), prefix_of("\"prompt\":\"X2\"", 498));
}

/* The job of a line as a reader gives it that has read no other. */
static void check_as_if_alone(const char *text, const pst_line_job_t *job)
{
    pst_line_reader_t alone;
    pst_line_job_t want;
    pst_line_fault_t fault;
    pst_line_reader_init(&alone, reader.model);
    assert_int_equal(pst_line_read(&alone, pst_view_str(text), &want, &fault), PST_OK);
    assert_false(want.route_again);
    assert_true(pst_view_eq(job->route, want.route));
    assert_true(pst_view_eq(job->model, want.model));
    assert_true(pst_view_eq(job->body, want.body));
    assert_int_equal(job->input_tokens, want.input_tokens);
    assert_int_equal(job->output_tokens, want.output_tokens);
    assert_int_equal(job->prefix, want.prefix);
    pst_line_reader_release(&alone);
}

#define LINE(body) "{\"custom_id\":\"a\",\"body\":{" body "}}"

static void routes_of_a_row_of_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool good, again;
    } row[] = {
        {LINE("\"model\":\"m\""), true, false},
        {LINE("\"model\":\"m\""), true, true},
        {LINE("\"model\":\"m\",\"models\":\"x\""), false, false},
        {LINE("\"x\":1,\"model\":\"m\""), true, true}, /* the bad one changed nothing */
        {LINE("\"model\":\"m\",\"seed\":1"), true, false},
        {LINE("\"model\":\"m\",\"seed\":2"), true, true},
        {LINE("\"model\":\"m\""), true, false},
        {LINE("\"model\":\"mm\""), true, false},
        {LINE("\"model\":\"mm:floor\""), true, false},
        {LINE("\"model\":\"mm:floor\""), true, true},
        {LINE("\"model\":\"mm:nitro\""), true, false},
        {LINE("\"model\":\"m\",\"provider\":{\"order\":[\"p\"]}"), true, false},
        {LINE("\"model\":\"m\",\"provider\":{\"order\":[\"q\"]}"), true, false},
        {LINE("\"model\":\"m\",\"provider\":null"), true, false},
        {LINE("\"model\":\"m\",\"provider\":null"), true, true},
        {LINE("\"model\":\"m\",\"models\":[\"n\"]"), true, false},
        {LINE("\"model\":\"m\",\"models\":[\"o\"]"), true, false},
        {LINE("\"model\":\"\\u006d\""), true, false},
        {LINE("\"model\":\"\\u006d\""), true, false},
        {LINE("\"x\":1"), true, false},
        {LINE("\"x\":1"), true, false},
        {LINE("\"model\":\"fallback\""), true, false},
        {LINE("\"model\":\"fallback\""), true, true},
    };
    reader.model = PST_VIEW_LIT("fallback");
    for (size_t i = 0; i < PST_COUNT(row); i++) {
        pst_line_job_t job;
        pst_line_fault_t fault;
        pst_err_t e = pst_line_read(&reader, pst_view_str(row[i].line), &job, &fault);
        assert_int_equal(e, row[i].good ? PST_OK : PST_E_INPUT);
        if (e)
            continue;
        if (job.route_again != row[i].again)
            fail_msg("row %zu: again %d", i, job.route_again);
        check_as_if_alone(row[i].line, &job);
    }
}

#define TWO(first) "\"messages\":[" first ",{\"role\":\"user\",\"content\":\"and now\"}]"
#define SYSTEM(text) "{\"role\":\"system\",\"content\":\"" text "\"}"
#define IMAGE "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}]}"

/* What is remembered of the first message is only of the same. */
static void first_messages_of_a_row_of_lines(void **state)
{
    (void)state;
    static const char *const row[] = {
        BODY(TWO(SYSTEM("Be kind"))), BODY(TWO(SYSTEM("Be kind"))), BODY(TWO(SYSTEM("Be kind to all who ask"))),
        BODY(TWO(SYSTEM("Be kind"))), BODY(TWO(IMAGE)), BODY(TWO(IMAGE)), BODY(TWO(SYSTEM("Be kind"))),
        BODY(MESSAGE), BODY(TWO(IMAGE)), BODY("\"messages\":[]"), BODY("\"input\":[" IMAGE "," IMAGE "]"),
        BODY("\"input\":[" SYSTEM("Be kind") "," IMAGE "]"), BODY("\"tools\":[1]," TWO(SYSTEM("Be kind"))),
        BODY(TWO("\"Be kind\"")), BODY(TWO("\"Be kind\"")), BODY(TWO("7")), BODY(TWO("[\"a\",7]")),
        BODY("\"instructions\":\"Be curt\"," TWO(SYSTEM("Be kind"))),
    };
    for (unsigned i = 0; i < 3 * PST_COUNT(row); i++) {
        const char *text = row[i * 5 % PST_COUNT(row)];
        pst_line_job_t job = read_good(text);
        check_as_if_alone(text, &job);
        bool images = strstr(text, "image_url") != NULL;
        assert_int_equal((route_of(text).params & PST_PARAM_IMAGES) != 0, images);
    }
}

static void first_message_of_any_length(void **state)
{
    (void)state;
    static char filler[200000], line[sizeof filler + 256];
    memset(filler, 'x', sizeof filler - 1);
    for (size_t n = 1; n < sizeof filler; n *= 3) {
        for (int twice = 0; twice < 2; twice++) {
            snprintf(line, sizeof line, BODY(TWO(SYSTEM("%.*s"))), (int)n, filler);
            pst_line_job_t job = read_good(line);
            check_as_if_alone(line, &job);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(bad_lines),        CASE(every_cut_of_a_line_is_refused), CASE(custom_id_bounds),
    CASE(models),           CASE(body_is_kept_as_it_stood),       CASE(model_for_lines_without_one),
    CASE(provider_fields),  CASE(params),                         CASE(token_estimates),
    CASE(prefix_is_shared_by_what_begins_alike), CASE(a_short_beginning_is_none), CASE(routes_of_a_row_of_lines),
    CASE(first_messages_of_a_row_of_lines), CASE(first_message_of_any_length),
};

UNIT_MAIN(tests)
