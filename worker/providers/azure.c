/* azure: OpenAI's models as Azure serves them.
 *
 * Azure has two forms of URL, and the base URL says which is meant (proto/proc/config.c).  With
 * …/openai/v1 all is as at OpenAI, and the body's model is the name of the deployment.  With
 * …/openai?api-version=… the deployment is part of the path, but for responses, and the version
 * follows it; what the body says of the model is then not looked at.
 *
 * Bodies are OpenAI's and go through as they are.  What the content filters found is left out of
 * answers; an answer that they cut off is one with finish_reason content_filter, a prompt that they
 * refuse a 400 with the code content_filter. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/common.h"
#include "providers/openai.h"

/* ---- request ---- */

/* A user may name any model of a provider: nothing in a name may leave its place in the path. */
static bool is_deployment(pst_view_t model)
{
    return model.n > 0 && !pst_view_eqs(model, ".") && !pst_view_eqs(model, "..");
}

static pst_err_t set_path(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret, pst_view_t *ret_why)
{
    if (task->url != PST_URL_RESPONSES && !is_deployment(task->endpoint.model)) {
        *ret_why = PST_VIEW_LIT("model: no deployment can have this name");
        return PST_E_INVALID;
    }
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    if (task->url != PST_URL_RESPONSES) {
        pst_buf_puts(&b, "/deployments/");
        pst_put_segment(&b, task->endpoint.model);
    }
    pst_buf_putv(&b, ret->path);
    pst_buf_puts(&b, "?api-version=");
    pst_buf_putv(&b, task->api_version);
    return pst_seal(&b, a, &ret->path);
}

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                       pst_view_t *ret_why)
{
    pst_err_t e = pst_openai_build(&pst_openai_plain, task, a, ret, ret_why);
    return e || task->api_version.n == 0 ? e : set_path(task, a, ret, ret_why);
}

/* ---- answer ---- */

static const char of_prompt[] = "prompt_filter_results", of_choice[] = "content_filter_results";

static bool has_findings(const pst_json_t *j, uint32_t choices)
{
    bool any = pst_json_get(j, 0, of_prompt) != PST_JSON_NONE;
    for (uint32_t t = pst_json_first(j, choices); t != PST_JSON_NONE && !any; t = pst_json_after(j, choices, t))
        any = pst_json_get(j, t, of_choice) != PST_JSON_NONE;
    return any;
}

static void put_key(pst_buf_t *b, const pst_json_t *j, uint32_t key)
{
    pst_json_put_comma(b);
    pst_buf_putv(b, pst_json_raw(j, key));
    pst_buf_putc(b, ':');
}

static void put_choice(pst_buf_t *b, const pst_json_t *j, uint32_t choice)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    for (uint32_t k = pst_json_first(j, choice); k != PST_JSON_NONE; k = pst_json_after(j, choice, k)) {
        if (pst_is_word(j, k, of_choice))
            continue;
        put_key(b, j, k);
        pst_buf_putv(b, pst_json_raw(j, k + 1));
    }
    pst_buf_putc(b, '}');
}

static void put_answer(pst_buf_t *b, const pst_json_t *j, uint32_t choices)
{
    pst_buf_putc(b, '{');
    for (uint32_t k = pst_json_first(j, 0); k != PST_JSON_NONE; k = pst_json_after(j, 0, k)) {
        if (pst_is_word(j, k, of_prompt))
            continue;
        put_key(b, j, k);
        if (k + 1 != choices) {
            pst_buf_putv(b, pst_json_raw(j, k + 1));
            continue;
        }
        pst_buf_putc(b, '[');
        for (uint32_t t = pst_json_first(j, choices); t != PST_JSON_NONE; t = pst_json_after(j, choices, t))
            put_choice(b, j, t);
        pst_buf_putc(b, ']');
    }
    pst_buf_putc(b, '}');
}

static void read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                    pst_arena_t *a, pst_reading_t *ret)
{
    pst_openai_read_ok(task, j, answer, a, ret);
    uint32_t choices = pst_json_get(j, 0, "choices");
    if (ret->verdict != PST_VERDICT_DONE || (task->url != PST_URL_CHAT && task->url != PST_URL_COMPLETIONS) ||
        !has_findings(j, choices))
        return;
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_reserve(&b, answer->body.n);
    put_answer(&b, j, choices);
    pst_reading_done(ret, answer, &b, a);
}

static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    pst_answer_read(task, answer, a, ret, read_ok);
}

/* The first chunk tells what was found in the prompt, and has no choice. */
static void put_chunk(pst_stream_t *s, const pst_stream_event_t *e)
{
    const pst_json_t *j = e->json;
    uint32_t choices = pst_json_get(j, 0, "choices");
    if (!has_findings(j, choices)) {
        pst_openai_put_chunk(s, e);
        return;
    }
    if (pst_json_first(j, choices) == PST_JSON_NONE && pst_member(j, 0, "usage") == PST_JSON_NONE)
        return;
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    put_answer(&b, j, choices);
    pst_chunk_raw(s, e->out, pst_buf_view(&b));
    e->out->failed = e->out->failed || b.failed;
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    return pst_openai_event(s, e, put_chunk, ret);
}

static const pst_streaming_t streaming = {
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_RESPONSES | 1u << PST_URL_COMPLETIONS,
    .done = true,
    .event = on_event,
};

const pst_provider_t pst_provider_azure = {
    .name = "azure",
    .auth = PST_AUTH_API_KEY,
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_RESPONSES | 1u << PST_URL_EMBEDDINGS |
            1u << PST_URL_COMPLETIONS,
    .params = PST_PARAMS_ALL,
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
