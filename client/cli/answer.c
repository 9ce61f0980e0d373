#include "cli/answer.h"

#include "base/json.h"
#include "cli/table.h"

typedef struct answer {
    pst_json_t json;
    pst_arena_t arena;       /* texts that had escapes */
    const pst_batch_t *batch;
    uint32_t account;        /* token of "penstock" */
    uint32_t body;           /* the provider's; PST_JSON_NONE: none answered */
} answer_t;

/* Empty where there is none. */
static pst_view_t text_at(answer_t *a, uint32_t token, const char *key)
{
    pst_view_t text = pst_json_str(&a->json, pst_json_get(&a->json, token, key), &a->arena);
    return text.p ? text : pst_view_str("");
}

static long long number_at(const answer_t *a, uint32_t token, const char *key)
{
    int64_t n = 0;
    (void)pst_json_int(&a->json, pst_json_get(&a->json, token, key), &n);
    return (long long)n;
}

/* Names and messages come from strangers: they are made safe to show. */
static void say(const char *what, pst_view_t more)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_table_line(&b, 0, false, "%s%.*s", what, (int)more.n, more.p);
    if (!b.failed)
        pst_cli_say("%.*s", (int)b.n - 1, b.p);
    pst_buf_release(&b);
}

/* Standard output. */

static uint32_t message_of(const answer_t *a)
{
    uint32_t choices = pst_json_get(&a->json, a->body, "choices");
    return pst_json_get(&a->json, pst_json_first(&a->json, choices), "message");
}

/* The text; of an answer without one (a call of a tool, say) the message as JSON. */
static pst_view_t shown_text(answer_t *a)
{
    uint32_t message = message_of(a);
    pst_view_t text = text_at(a, message, "content");
    return text.n ? text : pst_json_raw(&a->json, message == PST_JSON_NONE ? a->body : message);
}

static int print(pst_view_t text)
{
    fwrite(text.p, 1, text.n, stdout);
    if (text.n == 0 || text.p[text.n - 1] != '\n')
        putchar('\n');
    return pst_cli_end_stdout();
}

/* stderr. */

/* An attempt names its provider alone: the model there, if the batch has called only one of that provider. */
static const char *model_of(const pst_batch_t *b, pst_view_t provider)
{
    const char *model = "";
    for (size_t i = 0; i < b->endpoints_n; i++) {
        if (!pst_view_eqs(provider, b->endpoints[i].provider))
            continue;
        if (*model)
            return "";
        model = b->endpoints[i].model;
    }
    return model;
}

static void say_attempt(answer_t *a, unsigned number, uint32_t attempt)
{
    pst_view_t provider = text_at(a, attempt, "provider"), cause = text_at(a, attempt, "error_type");
    const char *model = model_of(a->batch, provider);
    provider = provider.n ? provider : pst_view_str("?");
    long long status = number_at(a, attempt, "status");
    char what[1024], code[24] = "";
    if (status)
        snprintf(code, sizeof code, " %lld", status);
    snprintf(what, sizeof what, "attempt %u: %.*s%s%s:%s%s%.*s, %lld ms", number, (int)provider.n, provider.p,
             *model ? " " : "", model, code, cause.n ? " " : "", (int)cause.n, cause.p,
             number_at(a, attempt, "latency_ms"));
    say(what, pst_view_str(""));
}

static void say_attempts(answer_t *a)
{
    uint32_t attempts = pst_json_get(&a->json, a->account, "attempts");
    unsigned number = 0;
    for (uint32_t k = pst_json_first(&a->json, attempts); k != PST_JSON_NONE; k = pst_json_after(&a->json, attempts, k))
        say_attempt(a, ++number, k);
}

static void say_account(answer_t *a)
{
    const pst_batch_t *b = a->batch;
    pst_view_t provider = text_at(a, a->account, "provider"), model = text_at(a, a->account, "model");
    pst_cli_text_t in, out, cost;
    char what[1024];
    snprintf(what, sizeof what, "answered by %.*s %.*s: %s tokens in, %s out, %s", (int)provider.n, provider.p,
             (int)model.n, model.p, pst_cli_count(&in, b->input_tokens), pst_cli_count(&out, b->output_tokens),
             pst_cli_usd(&cost, b->cost_usd));
    say(what, pst_view_str(""));
}

/* The provider's words where it answered, else the broker's. */
static void say_failure(answer_t *a)
{
    pst_view_t status = text_at(a, a->account, "status"), cause = text_at(a, a->account, "error_type");
    uint32_t error = pst_json_get(&a->json, a->body == PST_JSON_NONE ? 0 : a->body, "error");
    pst_view_t message = text_at(a, error, "message");
    char what[256];
    snprintf(what, sizeof what, "%.*s: %.*s%s", (int)status.n, status.p, (int)cause.n, cause.p, message.n ? ": " : "");
    say(what, message);
}

static int show(answer_t *a, bool json)
{
    bool completed = pst_view_eqs(text_at(a, a->account, "status"), "completed");
    int code = EXIT_WELL;
    if (json)
        code = print(a->json.text);
    else if (completed)
        code = print(shown_text(a));
    say_attempts(a);
    if (completed)
        say_account(a);
    else
        say_failure(a);
    return code || completed ? code : EXIT_JOBS_FAILED;
}

int pst_answer_show(pst_view_t line, const pst_batch_t *batch, bool json)
{
    answer_t a = {.batch = batch};
    pst_json_init(&a.json);
    pst_arena_init(&a.arena, 0);
    pst_err_t e = pst_json_parse(&a.json, line, NULL);
    a.account = pst_json_get(&a.json, 0, "penstock");
    a.body = pst_json_path(&a.json, 0, "response", "body", NULL);
    int code = e ? pst_cli_fail(EXIT_FAILED, "the result cannot be read: %s", pst_err_text(e)) : show(&a, json);
    pst_arena_release(&a.arena);
    pst_json_release(&a.json);
    return code;
}
