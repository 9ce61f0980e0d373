/* echo: answers by itself with what it was asked, for trials and for measuring everything but a
 * provider.  Nothing is decoded: pieces of the question are copied into the answer with their
 * escapes. */
#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/common.h"
#include "providers/responses.h"

#define EMBEDDING "[0.5,-0.25,0.125,-0.0625]"
/* What an answer has around its texts: once, and for each of a list. */
#define FRAME_BYTES 1024u
#define ITEM_BYTES 128u

/* A token is about four bytes of text. */
static uint64_t tokens_of(size_t bytes)
{
    return (bytes + 3) / 4;
}

/* The inside of a string, or of the text parts of an array joined; the number of bytes put.
 * b may be NULL: only counted. */
static size_t put_inside(pst_buf_t *b, const pst_json_t *j, uint32_t content)
{
    if (!pst_json_is(j, content, PST_JSON_ARRAY)) {
        pst_view_t text = pst_inside(j, content);
        if (b)
            pst_buf_putv(b, text);
        return text.n;
    }
    size_t n = 0;
    for (uint32_t i = pst_json_first(j, content); i != PST_JSON_NONE;
         i = pst_json_after(j, content, i)) {
        pst_view_t text = pst_inside(j, pst_json_get(j, i, "text"));
        if (b)
            pst_buf_putv(b, text);
        n += text.n;
    }
    return n;
}

/* The text of an answer: what was asked, padded to the size the configuration wants.  Its tokens. */
static uint64_t put_text(pst_buf_t *b, const pst_task_t *task, uint32_t content)
{
    size_t n = put_inside(b, task->body, content);
    for (; n < task->answer_bytes; n++)
        pst_buf_putc(b, '.');
    return tokens_of(n);
}

/* The content of the last message of role user (NONE if there is none) and the bytes of them
 * all. */
static uint32_t last_user(const pst_json_t *j, uint32_t messages, size_t *ret_bytes)
{
    enum { ROLE, CONTENT, KEYS };
    static const pst_view_t keys[KEYS] = {
        [ROLE] = PST_VIEW_LIT("role"),
        [CONTENT] = PST_VIEW_LIT("content"),
    };
    uint32_t last = PST_JSON_NONE, at[KEYS];
    for (uint32_t m = pst_json_first(j, messages); m != PST_JSON_NONE;
         m = pst_json_after(j, messages, m)) {
        pst_members(j, m, keys, KEYS, at);
        *ret_bytes += put_inside(NULL, j, at[CONTENT]);
        if (pst_is_word(j, at[ROLE], "user"))
            last = at[CONTENT];
    }
    return last;
}

static void put_chat(pst_buf_t *b, const pst_task_t *task, pst_usage_t *u)
{
    size_t bytes = 0;
    uint32_t content = last_user(task->body, pst_json_get(task->body, 0, "messages"), &bytes);
    pst_answer_begin(b, task, "chat.completion", "chatcmpl-", task->body, PST_JSON_NONE,
                     PST_JSON_NONE);
    pst_buf_puts(b,
                 ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    u->output = put_text(b, task, content);
    u->input = tokens_of(bytes);
    pst_buf_puts(b, "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}]");
    pst_answer_end(b, u);
}

static void put_completion_choice(pst_buf_t *b, const pst_task_t *task, uint32_t prompt,
                                  uint32_t index, pst_usage_t *u)
{
    pst_buf_puts(b, index ? ",{\"index\":" : "{\"index\":");
    pst_put_digits(b, index);
    pst_buf_puts(b, ",\"text\":\"");
    u->output += put_text(b, task, prompt);
    pst_buf_puts(b, "\",\"logprobs\":null,\"finish_reason\":\"stop\"}");
}

/* One choice a prompt; a prompt given as tokens is echoed as nothing. */
static void put_completion(pst_buf_t *b, const pst_task_t *task, pst_usage_t *u)
{
    const pst_json_t *j = task->body;
    uint32_t prompt = pst_json_get(j, 0, "prompt"), item = pst_json_first(j, prompt), n = 0;
    pst_answer_begin(b, task, "text_completion", "cmpl-", j, PST_JSON_NONE, PST_JSON_NONE);
    pst_buf_puts(b, ",\"choices\":[");
    if (pst_json_is(j, prompt, PST_JSON_ARRAY) && pst_json_is(j, item, PST_JSON_STRING)) {
        for (; item != PST_JSON_NONE; item = pst_json_after(j, prompt, item))
            put_completion_choice(b, task, item, n++, u);
    } else {
        put_completion_choice(
            b, task, pst_json_is(j, prompt, PST_JSON_STRING) ? prompt : PST_JSON_NONE, 0, u);
    }
    pst_buf_putc(b, ']');
    u->input = u->output;
    pst_answer_end(b, u);
}

/* Strings and lists of tokens are one input each; a list of numbers is one input. */
static uint32_t inputs_of(const pst_json_t *j, uint32_t input)
{
    if (!pst_json_is(j, input, PST_JSON_ARRAY))
        return 1;
    return pst_json_is(j, pst_json_first(j, input), PST_JSON_NUMBER) ? 1 : j->tok[input].count;
}

static void put_embeddings(pst_buf_t *b, const pst_task_t *task, pst_usage_t *u)
{
    const pst_json_t *j = task->body;
    uint32_t input = pst_json_get(j, 0, "input"), n = inputs_of(j, input);
    pst_buf_puts(b, "{\"object\":\"list\",\"data\":[");
    for (uint32_t i = 0; i < n; i++) {
        pst_buf_puts(b, i ? ",{\"object\":\"embedding\",\"index\":"
                          : "{\"object\":\"embedding\",\"index\":");
        pst_put_digits(b, i);
        pst_buf_puts(b, ",\"embedding\":" EMBEDDING "}");
    }
    u->input = tokens_of(pst_json_raw(j, input).n);
    pst_buf_puts(b, "],\"model\":");
    pst_json_put_str(b, task->endpoint.model);
    pst_buf_puts(b, ",\"usage\":{");
    pst_put_count(b, "prompt_tokens", u->input);
    pst_put_count(b, "total_tokens", u->input);
    pst_buf_puts(b, "}}");
}

static void put_response(pst_buf_t *b, const pst_task_t *task, pst_usage_t *u)
{
    const pst_json_t *j = task->body;
    uint32_t input = pst_json_get(j, 0, "input"), text = input;
    size_t bytes = 0;
    if (pst_json_is(j, input, PST_JSON_ARRAY))
        text = last_user(j, input, &bytes);
    else
        bytes = pst_inside(j, input).n;
    pst_buf_puts(b, "{\"id\":");
    pst_put_made_id(b, "resp_", task->random, 0);
    pst_buf_puts(b, ",\"object\":\"response\",\"created_at\":");
    pst_put_digits(b, task->wall_s);
    pst_buf_puts(b,
                 ",\"status\":\"completed\",\"error\":null,\"incomplete_details\":null");
    pst_responses_put_asked(b);
    pst_buf_puts(b, ",\"model\":");
    pst_json_put_str(b, task->endpoint.model);
    pst_buf_puts(b, ",\"output\":[{\"type\":\"message\",\"id\":");
    pst_put_made_id(b, "msg_", task->random, 1);
    pst_buf_puts(b, ",\"status\":\"completed\",\"role\":\"assistant\",\"content\":"
                    "[{\"type\":\"output_text\",\"annotations\":[],\"text\":\"");
    u->output = put_text(b, task, text);
    u->input = tokens_of(bytes);
    pst_buf_puts(b, "\"}]}],\"usage\":{");
    pst_put_count(b, "input_tokens", u->input);
    pst_buf_puts(b, ",\"input_tokens_details\":{\"cache_write_tokens\":0,\"cached_tokens\":0}");
    pst_put_count(b, "output_tokens", u->output);
    pst_buf_puts(b, ",\"output_tokens_details\":{\"reasoning_tokens\":0}");
    pst_put_count(b, "total_tokens", u->input + u->output);
    pst_buf_puts(b, "}}");
}

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                       pst_view_t *ret_why)
{
    (void)task, (void)a, (void)ret;
    *ret_why = PST_VIEW_LIT("echo answers by itself");
    return PST_E_INVALID;
}

/* How many texts the answer has. */
static uint32_t items_of(const pst_task_t *task)
{
    const pst_json_t *j = task->body;
    if (task->url == PST_URL_EMBEDDINGS)
        return inputs_of(j, pst_json_get(j, 0, "input"));
    if (task->url == PST_URL_COMPLETIONS)
        return inputs_of(j, pst_json_get(j, 0, "prompt"));
    return 1;
}

/* At most so long is the answer: the body's texts, each of them padded, and the model's name escaped. */
static size_t answer_bytes_max(const pst_task_t *task)
{
    size_t item = (size_t)ITEM_BYTES + task->answer_bytes;
    return FRAME_BYTES + 6 * task->endpoint.model.n + task->body->text.n + item * PST_MAX(items_of(task), 1u);
}

static void put_answer(pst_buf_t *b, const pst_task_t *task, pst_usage_t *u)
{
    switch (task->url) {
    case PST_URL_CHAT: put_chat(b, task, u); break;
    case PST_URL_RESPONSES: put_response(b, task, u); break;
    case PST_URL_EMBEDDINGS: put_embeddings(b, task, u); break;
    case PST_URL_COMPLETIONS: put_completion(b, task, u); break;
    case PST_URL_COUNT: break;
    }
}

static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    pst_buf_t b;
    pst_usage_t u = {.known = true};
    pst_reading_init(ret);
    pst_err_t e = pst_buf_in_arena(&b, a, answer_bytes_max(task));
    if (!e)
        put_answer(&b, task, &u);
    pst_reading_set_usage(ret, &u);
    pst_reading_done_with(ret, answer, pst_buf_view(&b), !e && !b.failed);
}

const pst_provider_t pst_provider_echo = {
    .name = "echo",
    .auth = PST_AUTH_NONE,
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_RESPONSES | 1u << PST_URL_EMBEDDINGS |
            1u << PST_URL_COMPLETIONS,
    .params = PST_PARAMS_ALL,
    .internal = true,
    .build = build,
    .read = read_answer,
};
