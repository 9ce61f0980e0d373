/* adapter_cost - what an adapter itself costs a request: the job's JSON parsed, the request built, a text answer read.
 *
 * As the worker does it: one arena for the request and one for the answer, both cleared and kept, one tape.  Jobs and
 * answers are many, so that neither all of them lie in the nearest cache nor the processor learns them by heart.  A
 * figure is the median over rounds of a round's CPU time divided by its calls. */
#include <getopt.h>

#include "adapter.h"
#include "prompts.h"
#include "stopwatch.h"

#define JOBS 64
#define PASSES 256 /* a round */
#define ROUNDS_MAX 1000
#define BODY_BYTES 2048
#define TEXT_BYTES 400
#define KEPT_BYTES ((size_t)16 << 10) /* of a request's arena, by the worker */
#define WALL_MS UINT64_C(1700000000000)

/* ---- answers: what each provider says around 400 bytes of text -------------------------------------------------- */

#define LINE(name, value) {PST_VIEW_LIT(name), PST_VIEW_LIT(value)}
#define LINES_MAX 12

typedef struct answer {
    const char *api, *head, *tail;
    pst_http_header_t line[LINES_MAX]; /* up to the first without a name */
} answer_t;

static const answer_t answers[] = {
    {"openai",
     "{\"id\":\"chatcmpl-BxQ2mK8vTn4sZc7LrYw1\",\"object\":\"chat.completion\",\"created\":1700000000,"
     "\"model\":\"gpt-test\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
     "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":"
     "{\"prompt_tokens\":500,\"completion_tokens\":100,\"total_tokens\":600,\"prompt_tokens_details\":"
     "{\"cached_tokens\":256}}}",
     {LINE("content-type", "application/json"), LINE("x-request-id", "req_5f1c0a7d3b"),
      LINE("x-ratelimit-limit-requests", "10000"), LINE("x-ratelimit-remaining-requests", "9999"),
      LINE("x-ratelimit-reset-requests", "6ms"), LINE("x-ratelimit-limit-tokens", "2000000"),
      LINE("x-ratelimit-remaining-tokens", "1999400"), LINE("x-ratelimit-reset-tokens", "18ms")}},
    {"azure",
     "{\"choices\":[{\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},\"violence\":"
     "{\"filtered\":false,\"severity\":\"safe\"}},\"finish_reason\":\"stop\",\"index\":0,\"logprobs\":null,"
     "\"message\":{\"content\":\"",
     "\",\"refusal\":null,\"role\":\"assistant\"}}],\"created\":1700000000,\"id\":\"chatcmpl-BxQ2mK8vTn4sZc7LrYw1\","
     "\"model\":\"gpt-test\",\"object\":\"chat.completion\",\"prompt_filter_results\":[{\"prompt_index\":0,"
     "\"content_filter_results\":{\"jailbreak\":{\"filtered\":false,\"detected\":false}}}],\"usage\":"
     "{\"prompt_tokens\":500,\"completion_tokens\":100,\"total_tokens\":600}}",
     {LINE("content-type", "application/json"), LINE("apim-request-id", "5f1c0a7d-3b52-4e0c"),
      LINE("x-ratelimit-limit-requests", "1000"), LINE("x-ratelimit-remaining-requests", "999"),
      LINE("x-ratelimit-limit-tokens", "1000000"), LINE("x-ratelimit-remaining-tokens", "999400")}},
    {"anthropic",
     "{\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"gpt-test\","
     "\"content\":[{\"type\":\"text\",\"text\":\"",
     "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":244,"
     "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":256,\"output_tokens\":100,"
     "\"service_tier\":\"standard\"}}",
     {LINE("content-type", "application/json"), LINE("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
      LINE("anthropic-ratelimit-requests-limit", "4000"), LINE("anthropic-ratelimit-requests-remaining", "3999"),
      LINE("anthropic-ratelimit-requests-reset", "2023-11-14T22:13:20Z"),
      LINE("anthropic-ratelimit-input-tokens-limit", "2000000"),
      LINE("anthropic-ratelimit-input-tokens-remaining", "1999000"),
      LINE("anthropic-ratelimit-input-tokens-reset", "2023-11-14T22:13:21Z"),
      LINE("anthropic-ratelimit-output-tokens-limit", "400000"),
      LINE("anthropic-ratelimit-output-tokens-remaining", "400000"),
      LINE("anthropic-ratelimit-output-tokens-reset", "2023-11-14T22:13:20Z")}},
    {"gemini",
     "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"",
     "\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":500,"
     "\"cachedContentTokenCount\":256,\"candidatesTokenCount\":100,\"totalTokenCount\":600,\"promptTokensDetails\":"
     "[{\"modality\":\"TEXT\",\"tokenCount\":500}]},\"modelVersion\":\"gpt-test\",\"responseId\":"
     "\"x8Jzafq1LcGk1MkP7tPXqQE\"}",
     {LINE("content-type", "application/json; charset=UTF-8"), LINE("server", "scaffolding on HTTPServer2")}},
    {"mistral",
     "{\"id\":\"0f3c7a9e5b1d4f28a6c0e2d4b6f8a1c3\",\"object\":\"chat.completion\",\"created\":1700000000,"
     "\"model\":\"gpt-test\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"tool_calls\":null,"
     "\"content\":\"",
     "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":500,\"completion_tokens\":100,"
     "\"total_tokens\":600,\"prompt_tokens_details\":{\"cached_tokens\":256}}}",
     {LINE("content-type", "application/json"), LINE("mistral-correlation-id", "0199f0a2-5d0e-7b1c"),
      LINE("x-ratelimit-limit-req-minute", "360"), LINE("x-ratelimit-remaining-req-minute", "359"),
      LINE("x-ratelimit-limit-tokens-minute", "500000"), LINE("x-ratelimit-remaining-tokens-minute", "499400")}},
    {"cohere",
     "{\"id\":\"c14c80c3-18eb-4519-9460-6c92edd8cfb4\",\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":"
     "\"text\",\"text\":\"",
     "\"}]},\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":440,\"output_tokens\":100},"
     "\"tokens\":{\"input_tokens\":500,\"output_tokens\":104},\"cached_tokens\":256}}",
     {LINE("content-type", "application/json"), LINE("num_chars", "2048"), LINE("num_tokens", "600")}},
    {"bedrock",
     "{\"metrics\":{\"latencyMs\":1551},\"output\":{\"message\":{\"content\":[{\"text\":\"",
     "\"}],\"role\":\"assistant\"}},\"stopReason\":\"end_turn\",\"usage\":{\"cacheReadInputTokens\":256,"
     "\"cacheWriteInputTokens\":0,\"inputTokens\":244,\"outputTokens\":100,\"totalTokens\":600}}",
     {LINE("content-type", "application/json"), LINE("x-amzn-requestid", "c2c7a8b4-1f0d-4c6e-9f3a")}},
};

/* ---- one adapter ------------------------------------------------------------------------------------------------ */

typedef struct job {
    pst_buf_t body, answer;
    pst_json_t tape; /* of body */
} job_t;

typedef struct cost {
    const pst_provider_t *adapter;
    const answer_t *answer;
    unsigned lines;
    pst_arena_t asked, answered;
    pst_json_t tape; /* of an answer */
    pst_task_t task; /* the last that was built: all are the same when an answer comes */
    job_t job[JOBS];
} cost_t;

typedef void phase_t(cost_t *c, job_t *j);

static _Noreturn void give_up(const cost_t *c, const char *what)
{
    fprintf(stderr, "adapter_cost: %s: %s\n", c->adapter->name, what);
    exit(1);
}

static void parse_job(cost_t *c, job_t *j)
{
    if (!bench_adapter_parse(&j->tape, pst_buf_view(&j->body)))
        give_up(c, "the job is no JSON");
}

static void build_job(cost_t *c, job_t *j)
{
    pst_http_req_t req;
    if (!bench_adapter_build(c->adapter, &j->tape, &c->asked, &c->task, &req) || !pst_http_req_bytes(&req))
        give_up(c, "no request came of the job");
    c->task.body = NULL;
    c->task.tape = &c->tape;
    pst_arena_clear(&c->asked);
}

static pst_reading_t reading_of(cost_t *c, const job_t *j)
{
    pst_http_answer_t a = {.status = 200, .header = c->answer->line, .headers = c->lines,
                           .body = pst_buf_view(&j->answer), .wall_ms = WALL_MS};
    pst_reading_t r;
    memset(&r, 0, sizeof r);
    pst_provider_read(c->adapter, &c->task, &a, &c->answered, &r);
    return r;
}

static void read_answer(cost_t *c, job_t *j)
{
    if (reading_of(c, j).verdict != PST_VERDICT_DONE)
        give_up(c, "the answer was not understood");
    pst_arena_clear(&c->answered);
}

/* Each job once, with a look at what became of it; afterwards all memory is warm. */
static void check(cost_t *c, const bench_prompts_t *p)
{
    for (uint32_t i = 0; i < JOBS; i++) {
        parse_job(c, &c->job[i]);
        build_job(c, &c->job[i]);
        pst_reading_t r = reading_of(c, &c->job[i]);
        if (r.verdict != PST_VERDICT_DONE || !r.usage_known || r.input_tokens == 0 ||
            !bench_prompts_answered(p, i, r.body, PST_VIEW_LIT("\"content\":\"")))
            give_up(c, "the answer was not understood");
        pst_arena_clear(&c->answered);
    }
    if (c->asked.bytes > KEPT_BYTES)
        give_up(c, "the worker would not keep an arena as large as this one's");
}

static double round_us(cost_t *c, phase_t *phase)
{
    double begin = bench_cpu_s();
    for (unsigned pass = 0; pass < PASSES; pass++) {
        for (unsigned i = 0; i < JOBS; i++)
            phase(c, &c->job[i]);
    }
    return (bench_cpu_s() - begin) * 1e6 / (PASSES * JOBS);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, uint32_t n)
{
    qsort(v, n, sizeof *v, by_size);
    return v[n / 2];
}

static void measure(cost_t *c, uint32_t rounds)
{
    double parse[ROUNDS_MAX], build[ROUNDS_MAX], read[ROUNDS_MAX];
    bench_watch_t w = bench_watch_start();
    for (uint32_t r = 0; r < rounds; r++) {
        parse[r] = round_us(c, parse_job);
        build[r] = round_us(c, build_job);
        read[r] = round_us(c, read_answer);
    }
    double seconds = bench_watch_s(&w), cpu = bench_watch_cpu_s(&w);
    double build_us = median(build, rounds), read_us = median(read, rounds);
    printf("{\"api\": \"%s\", \"jobs\": %u, \"job_bytes\": %u, \"answer_bytes\": %zu, \"seconds\": %.6f, "
           "\"parse_us\": %.3f, \"build_us\": %.3f, \"read_us\": %.3f, \"adapter_us\": %.3f, \"cpu_s\": %.6f, "
           "\"rss_kib\": %ld}\n",
           c->adapter->name, rounds * PASSES * JOBS, BODY_BYTES, c->job[0].answer.n, seconds, median(parse, rounds),
           build_us, read_us, build_us + read_us, cpu, bench_rss_kib());
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static void put_answer(cost_t *c, job_t *j, const bench_prompts_t *p)
{
    pst_buf_puts(&j->answer, c->answer->head);
    pst_buf_putv(&j->answer, bench_prompts_text(p));
    pst_buf_puts(&j->answer, c->answer->tail);
}

static void find_answer(cost_t *c)
{
    for (size_t i = 0; i < PST_COUNT(answers); i++) {
        if (strcmp(answers[i].api, c->adapter->name) == 0)
            c->answer = &answers[i];
    }
    if (!c->answer)
        give_up(c, "there is no answer of this provider here: add one");
    while (c->lines < LINES_MAX && c->answer->line[c->lines].name.n)
        c->lines++;
}

static void run(const pst_provider_t *adapter, bench_prompts_t *p, uint32_t rounds)
{
    cost_t c = {.adapter = adapter};
    find_answer(&c);
    pst_arena_init(&c.asked, 0);
    pst_arena_init(&c.answered, 0);
    for (uint32_t i = 0; i < JOBS; i++) {
        pst_buf_putv(&c.job[i].body, bench_prompts_body(p, i));
        put_answer(&c, &c.job[i], p);
    }
    check(&c, p);
    measure(&c, rounds);
    for (uint32_t i = 0; i < JOBS; i++) {
        pst_buf_release(&c.job[i].body);
        pst_buf_release(&c.job[i].answer);
        pst_json_release(&c.job[i].tape);
    }
    pst_json_release(&c.tape);
    pst_arena_release(&c.asked);
    pst_arena_release(&c.answered);
}

static const char help[] =
    "usage: adapter_cost [--api NAME] [--rounds N]\n"
    "  --api NAME    of one adapter; without it of each but echo, a line each\n"
    "  --rounds N    default 31, at most 1000\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"api", required_argument, NULL, 'a'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    const pst_provider_t *only = NULL;
    uint32_t rounds = 31;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'a': only = bench_adapter(optarg); break;
        case 'r': rounds = PST_MIN(bench_number("rounds", optarg), (uint32_t)ROUNDS_MAX); break;
        default: fputs(help, stderr); return 2;
        }
    }
    bench_prompts_opts_t o = {"bench/model", BODY_BYTES, TEXT_BYTES, false};
    bench_prompts_t *p = bench_prompts_new(&o);
    const pst_provider_t *a;
    for (unsigned i = 0; (a = pst_provider_at(i)); i++) {
        if (!a->internal && (!only || a == only))
            run(a, p, rounds);
    }
    bench_prompts_destroy(&p);
    return 0;
}
