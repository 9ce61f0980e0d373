#include "unit.h"

#include "adapter_round.h"

/* A seed that fails is printed: PST_SEED=N tries that one alone.  PST_NIGHTLY=1 tries many more. */
#define SEEDS 2000
#define SEEDS_NIGHTLY 30000
#define RANDOM UINT64_C(0x0123456789abcdef)

typedef struct side {
    const char *name, *provider;
    pst_url_t url;
    round_can_t can;
    void (*lose)(json_t *normal, const pst_endpoint_opts_t *e);
    json_t *(*back)(json_t *body);
    json_t *(*answer)(pst_rng_t *r, const json_t *completion);
    json_t *(*read)(const json_t *answer);
    const char *model[3];  /* one of them, up to the first NULL */
    uint32_t flags;        /* each of which may hold */
} side_t;

static const side_t sides[] = {
    {"anthropic", "anthropic", PST_URL_CHAT, {.links = true, .files = true, .filters = true, .thinks = true, .writes = true},
     round_lose_anthropic, round_back_anthropic, round_answer_anthropic, round_completion_of, {"claude"},
     PST_EP_NO_SAMPLING},
    {"gemini", "gemini", PST_URL_CHAT, {.links = true, .files = true, .choices = true, .filters = true, .thinks = true},
     round_lose_gemini, round_back_gemini, round_answer_gemini, round_completion_of, {"gemini-3-pro", "gemini-2.5-flash"}, 0},
    {"cohere", "cohere", PST_URL_CHAT, {.links = true}, round_lose_cohere, round_back_cohere, round_answer_cohere,
     round_completion_of, {"command"}, 0},
    {"bedrock", "bedrock", PST_URL_CHAT, {.files = true, .filters = true, .writes = true}, round_lose_bedrock,
     round_back_bedrock, round_answer_bedrock, round_completion_of,
     {"us.anthropic.claude-v1:0", "openai.gpt-oss-120b-1:0", "amazon.nova-lite-v1:0"}, 0},
    {"mistral", "mistral", PST_URL_CHAT, {.links = true, .files = true, .choices = true}, round_lose_mistral,
     round_back_mistral, round_answer_mistral, round_completion_of, {"mistral"}, PST_EP_NO_STORE},
    {"openai", "openai", PST_URL_CHAT, {.links = true, .files = true, .choices = true}, round_lose_openai, round_back_openai,
     NULL, NULL, {"model"}, PST_EP_NO_STORE | PST_EP_NO_DEVELOPER | PST_EP_MAX_TOKENS},
    {"responses", "openai", PST_URL_RESPONSES, {.links = true, .files = true, .filters = true, .thinks = true},
     round_lose_responses, round_back_openai, round_answer_openai, round_response_of, {"model"},
     PST_EP_NO_STORE | PST_EP_NO_DEVELOPER | PST_EP_MAX_TOKENS},
};

/* ---- seeds ---- */

static void each_seed(const side_t *s, void (*try)(const side_t *s, uint64_t seed, pst_rng_t *r))
{
    const char *one = getenv("PST_SEED"), *nightly = getenv("PST_NIGHTLY");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, n = nightly && strcmp(nightly, "1") == 0 ? SEEDS_NIGHTLY : SEEDS;
    for (uint64_t seed = first; seed < (one ? first + 1 : first + n); seed++) {
        pst_rng_t r;
        pst_rng_seed(&r, seed);
        try(s, seed, &r);
    }
}

/* ---- one request, one answer ---- */

/* What a try holds, so that it is given back in one place. */
typedef struct round {
    pst_arena_t arena;
    pst_json_t body, tape;
    pst_task_t task;
    char *text;
} round_t;

static void begin(round_t *t, const side_t *s, pst_rng_t *r)
{
    size_t models = 0;
    memset(t, 0, sizeof *t);
    pst_arena_init(&t->arena, 0);
    while (models < PST_COUNT(s->model) && s->model[models])
        models++;
    t->task = (pst_task_t){.url = s->url, .body = &t->body, .tape = &t->tape, .random = RANDOM, .wall_s = 1};
    t->task.endpoint.model = pst_view_str(s->model[pst_rng_below(r, models)]);
    t->task.endpoint.flags = (uint32_t)pst_rng_next(r) & s->flags;
    t->task.endpoint.max_output = round_one_in(r, 2) ? 8192 : 0;
    if (s->url == PST_URL_RESPONSES)
        t->task.endpoint.flags |= PST_EP_NO_RESPONSES;
}

static void end(round_t *t)
{
    pst_json_release(&t->body);
    pst_json_release(&t->tape);
    pst_arena_release(&t->arena);
    free(t->text);
}

static void parse_job(round_t *t, uint64_t seed, pst_view_t text)
{
    size_t at = 0;
    if (pst_json_parse(&t->body, text, &at) != PST_OK)
        fail_msg("PST_SEED=%llu: drawn, but no JSON at %zu: %.*s", (unsigned long long)seed, at, (int)text.n, text.p);
}

/* The body that is sent, its pieces joined in the arena. */
static pst_view_t build(round_t *t, const side_t *s, uint64_t seed)
{
    pst_http_req_t req;
    pst_view_t why = {NULL, 0};
    pst_err_t e = pst_provider_build(pst_provider_find(pst_view_str(s->provider)), &t->task, &t->arena, &req, &why);
    if (e != PST_OK)
        fail_msg("%s: PST_SEED=%llu: %s: %.*s\njob: %.*s", s->name, (unsigned long long)seed, pst_err_text(e), (int)why.n, why.p,
                 (int)t->body.text.n, t->body.text.p);
    if (req.pieces == 0)
        return req.body;
    char *all = pst_arena_get(&t->arena, pst_http_req_bytes(&req)), *at = all;
    for (unsigned i = 0; i < req.pieces; at += req.piece[i++].n)
        memcpy(at, req.piece[i].p, req.piece[i].n);
    return pst_view(all, pst_http_req_bytes(&req));
}

static json_t *load(const side_t *s, uint64_t seed, pst_view_t text)
{
    json_error_t error;
    json_t *j = json_loadb(text.p, text.n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!j)
        fail_msg("%s: PST_SEED=%llu: %s\n%.*s", s->name, (unsigned long long)seed, error.text, (int)text.n, text.p);
    return j;
}

/* Takes both. */
static void assert_same(const side_t *s, uint64_t seed, json_t *want, json_t *got, pst_view_t from, pst_view_t to)
{
    pst_buf_t path;
    pst_buf_init(&path, 0);
    if (round_differ(want, got, &path)) {
        char *w = json_dumps(want, JSON_SORT_KEYS), *g = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("%s: PST_SEED=%llu: differs at %.*s\nfrom: %.*s\nto:   %.*s\nwant: %s\ngot:  %s", s->name,
                 (unsigned long long)seed, (int)path.n, path.n ? path.p : "", (int)from.n, from.p, (int)to.n, to.p, w, g);
    }
    pst_buf_release(&path);
    json_decref(want);
    json_decref(got);
}

static void try_request(const side_t *s, uint64_t seed, pst_rng_t *r)
{
    round_t t;
    size_t n;
    begin(&t, s, r);
    json_t *drawn = round_draw_body(r, &s->can), *want = round_normal(drawn);
    s->lose(want, &t.task.endpoint);
    if (!json_object_get(want, "turns")) { /* nothing is asked: the provider's to refuse */
        json_decref(want);
        json_decref(drawn);
        end(&t);
        return;
    }
    json_t *job = s->url == PST_URL_RESPONSES ? round_write_responses(r, drawn) : json_incref(drawn);
    t.text = round_print(r, job, &n);
    parse_job(&t, seed, pst_view(t.text, n));
    pst_view_t sent = build(&t, s, seed);
    json_t *body = load(s, seed, sent);
    assert_same(s, seed, want, s->back(body), t.body.text, sent);
    json_decref(body);
    json_decref(job);
    json_decref(drawn);
    end(&t);
}

static void test_requests(void **state)
{
    each_seed(*state, try_request);
}

static bool tells(const json_t *completion, const char *key, uint64_t tokens)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(completion, "usage"), key)) == tokens;
}

/* What the worker counts is what the completion says. */
static void assert_usage(const side_t *s, uint64_t seed, const json_t *completion, const pst_reading_t *r)
{
    if (!r->usage_known || !tells(completion, "input", r->input_tokens) || !tells(completion, "cached", r->cached_tokens) ||
        !tells(completion, "output", r->output_tokens))
        fail_msg("%s: PST_SEED=%llu: usage is read as %llu (%llu cached), %llu", s->name, (unsigned long long)seed,
                 (unsigned long long)r->input_tokens, (unsigned long long)r->cached_tokens,
                 (unsigned long long)r->output_tokens);
}

static void try_answer(const side_t *s, uint64_t seed, pst_rng_t *r)
{
    round_t t;
    pst_reading_t reading;
    pst_http_answer_t in = {.status = 200};
    begin(&t, s, r);
    json_t *want = round_draw_completion(r, &s->can), *answer = s->answer(r, want);
    t.text = round_print(r, answer, &in.body.n);
    in.body.p = t.text;
    t.task.body = NULL; /* as in the worker, when the answer comes */
    pst_provider_read(pst_provider_find(pst_view_str(s->provider)), &t.task, &in, &t.arena, &reading);
    if (reading.verdict != PST_VERDICT_DONE)
        fail_msg("%s: PST_SEED=%llu: %s\n%s", s->name, (unsigned long long)seed, pst_cause_text(reading.cause), t.text);
    assert_usage(s, seed, want, &reading);
    json_t *got = load(s, seed, reading.body);
    assert_same(s, seed, want, s->read(got), in.body, reading.body);
    json_decref(got);
    json_decref(answer);
    end(&t);
}

static void test_answers(void **state)
{
    each_seed(*state, try_answer);
}

/* ---- byte for byte ---- */

static void try_verbatim(const side_t *s, uint64_t seed, pst_rng_t *r)
{
    round_t t;
    pst_buf_t job, want;
    begin(&t, s, r);
    t.task.endpoint.flags = 0;
    pst_buf_init(&job, 0);
    pst_buf_init(&want, 0);
    round_draw_verbatim(r, s->model[0], &job, &want);
    parse_job(&t, seed, pst_buf_view(&job));
    pst_view_t sent = build(&t, s, seed);
    if (!pst_view_eq(sent, pst_buf_view(&want)))
        fail_msg("PST_SEED=%llu\n job: %.*s\nsent: %.*s\nwant: %.*s", (unsigned long long)seed, (int)job.n, job.p,
                 (int)sent.n, sent.p, (int)want.n, want.p);
    pst_buf_release(&job);
    pst_buf_release(&want);
    end(&t);
}

static void test_verbatim(void **state)
{
    each_seed(*state, try_verbatim);
}

/* ---- all of them ---- */

static const side_t *side_of(const char *name)
{
    size_t i = 0;
    while (strcmp(sides[i].name, name) != 0)
        i++;
    return &sides[i];
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[2 * PST_COUNT(sides) + 1];
    static char names[2 * PST_COUNT(sides)][64];
    size_t n = 0;
    for (size_t i = 0; i < PST_COUNT(sides); i++) {
        void *side = (void *)(uintptr_t)&sides[i];
        snprintf(names[n], sizeof names[0], "%s: a request and back", sides[i].name);
        tests[n] = (struct CMUnitTest){.name = names[n], .test_func = test_requests, .initial_state = side};
        n++;
        if (!sides[i].answer)
            continue;
        snprintf(names[n], sizeof names[0], "%s: an answer", sides[i].name);
        tests[n] = (struct CMUnitTest){.name = names[n], .test_func = test_answers, .initial_state = side};
        n++;
    }
    tests[n++] = (struct CMUnitTest){.name = "openai: byte for byte", .test_func = test_verbatim,
                                     .initial_state = (void *)(uintptr_t)side_of("openai")};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("adapter_round", tests, n, NULL, NULL);
}
