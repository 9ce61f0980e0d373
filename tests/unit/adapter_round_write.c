#include "adapter_round.h"

/* ---- requests of /responses ---- */

static json_t *response_part(const json_t *part, bool assistant)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *of = json_object_get(part, type);
    if (strcmp(type, "image_url") == 0)
        return json_pack("{s:s, s:O, s:O*}", "type", "input_image", "image_url", json_object_get(of, "url"), "detail",
                         json_object_get(of, "detail"));
    if (strcmp(type, "file") == 0)
        return json_pack("{s:s, s:O, s:O}", "type", "input_file", "filename", json_object_get(of, "filename"), "file_data",
                         json_object_get(of, "file_data"));
    if (strcmp(type, "refusal") == 0)
        return json_pack("{s:s, s:O}", "type", "refusal", "refusal", of);
    return json_pack("{s:s, s:O}", "type", assistant ? "output_text" : "input_text", "text", of);
}

static json_t *response_content(const json_t *content, bool assistant)
{
    json_t *parts, *part;
    size_t i;
    if (json_is_string(content))
        return json_incref((json_t *)(uintptr_t)content);
    parts = json_array();
    json_array_foreach(content, i, part)
        json_array_append_new(parts, response_part(part, assistant));
    return parts;
}

/* What was thought is an item that no other model can use. */
static void add_message_items(pst_rng_t *r, json_t *input, const json_t *m)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *content = json_object_get(m, "content");
    json_t *call;
    size_t i;
    if (strcmp(role, "tool") == 0) {
        json_array_append_new(input, json_pack("{s:s, s:O, s:o}", "type", "function_call_output", "call_id",
                                               json_object_get(m, "tool_call_id"), "output", response_content(content, false)));
        return;
    }
    if (json_object_get(m, "reasoning_content"))
        json_array_append_new(input, json_pack("{s:s, s:s, s:[]}", "type", "reasoning", "id", "rs_1", "summary"));
    if (!json_is_null(content)) {
        bool assistant = strcmp(role, "assistant") == 0;
        json_t *item = json_pack("{s:s, s:o}", "role", role, "content", response_content(content, assistant));
        if (round_one_in(r, 2))
            json_object_set_new(item, "type", json_string("message"));
        json_array_append_new(input, item);
    }
    json_array_foreach(json_object_get(m, "tool_calls"), i, call)
    {
        const json_t *f = json_object_get(call, "function");
        json_array_append_new(input, json_pack("{s:s, s:O, s:O, s:O}", "type", "function_call", "call_id",
                                               json_object_get(call, "id"), "name", json_object_get(f, "name"), "arguments",
                                               json_object_get(f, "arguments")));
    }
}

static void write_input(pst_rng_t *r, json_t *body, json_t *messages)
{
    json_t *input = json_array(), *first = json_array_get(messages, 0), *m;
    const json_t *said = json_object_get(first, "content");
    bool instructs = strcmp(json_string_value(json_object_get(first, "role")), "system") == 0 && json_is_string(said) &&
                     json_array_size(messages) > 1 && round_one_in(r, 2);
    size_t i;
    if (instructs)
        json_object_set(body, "instructions", (json_t *)(uintptr_t)said);
    json_array_foreach(messages, i, m) if (i > 0 || !instructs)
        add_message_items(r, input, m);
    json_object_set_new(body, "input", input);
}

static void write_tools(json_t *body, json_t *chat)
{
    json_t *tools = round_take(chat, "tools"), *choice = round_take(chat, "tool_choice"), *tool, *out = json_array();
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        json_t *flat = json_copy(json_object_get(tool, "function"));
        json_object_set_new(flat, "type", json_string("function"));
        json_array_append_new(out, flat);
    }
    json_object_set_new(body, "tools", out);
    if (json_is_object(choice))
        json_object_set_new(body, "tool_choice", json_pack("{s:s, s:O}", "type", "function", "name",
                                                           json_object_get(json_object_get(choice, "function"), "name")));
    else if (choice)
        json_object_set(body, "tool_choice", choice);
    json_decref(tools);
    json_decref(choice);
}

static void write_format(json_t *body, json_t *chat)
{
    json_t *format = round_take(chat, "response_format"), *of = json_object_get(format, "json_schema");
    json_t *flat = of ? json_copy(of) : json_object();
    if (json_is_object(format)) {
        json_object_set(flat, "type", json_object_get(format, "type"));
        json_object_set_new(body, "text", json_pack("{s:O}", "format", flat));
    }
    json_decref(flat);
    json_decref(format);
}

static void write_max_tokens(json_t *body, json_t *chat)
{
    json_t *older = round_take(chat, "max_tokens"), *newer = round_take(chat, "max_completion_tokens");
    if (newer || older)
        json_object_set(body, "max_output_tokens", newer ? newer : older);
    json_decref(older);
    json_decref(newer);
}

json_t *round_write_responses(pst_rng_t *r, const json_t *from)
{
    json_t *body = json_object(), *chat = json_copy((json_t *)(uintptr_t)from), *messages = round_take(chat, "messages");
    json_t *effort = round_take(chat, "reasoning_effort");
    write_input(r, body, messages);
    write_tools(body, chat);
    write_format(body, chat);
    write_max_tokens(body, chat);
    if (effort)
        json_object_set_new(body, "reasoning", json_pack("{s:O}", "effort", effort));
    json_object_del(chat, "logprobs");
    json_object_del(chat, "n");
    json_object_update(body, chat); /* the rest has the same names */
    json_decref(effort);
    json_decref(messages);
    json_decref(chat);
    return body;
}

/* ---- answers ---- */

static json_t *get(const json_t *o, const char *key)
{
    return json_object_get(o, key);
}

static json_int_t count(const json_t *completion, const char *key)
{
    return json_integer_value(get(get(completion, "usage"), key));
}

static const char *finish_of(const json_t *completion)
{
    return json_string_value(get(completion, "finish"));
}

/* The provider's word for how the answer ended: one of those that mean the same. */
static const char *word_for(pst_rng_t *r, const json_t *completion, const char *const (*words)[2], size_t n)
{
    size_t i = pst_rng_below(r, n);
    while (strcmp(words[i][0], finish_of(completion)) != 0)
        i = (i + 1) % n;
    return words[i][1];
}

/* A text in one piece or in two, split between characters. */
static void add_pieces(pst_rng_t *r, json_t *to, const json_t *text, json_t *(*wrap)(json_t *piece))
{
    if (!text)
        return;
    const char *p = json_string_value(text);
    size_t n = json_string_length(text), at = pst_rng_below(r, n + 1);
    while (at < n && ((unsigned char)p[at] & 0xc0) == 0x80)
        at++;
    if (round_one_in(r, 2) || at == 0)
        at = n;
    json_array_append_new(to, wrap(json_stringn(p, at)));
    if (at < n)
        json_array_append_new(to, wrap(json_stringn(p + at, n - at)));
}

static void add_calls(json_t *to, const json_t *completion, json_t *(*wrap)(const json_t *call))
{
    json_t *call;
    size_t i;
    json_array_foreach(get(completion, "calls"), i, call)
        json_array_append_new(to, wrap(call));
}

static char *dumps(const json_t *j)
{
    return json_dumps(j, JSON_COMPACT);
}

/* ---- anthropic ---- */

static json_t *anthropic_text(json_t *piece)
{
    return json_pack("{s:s, s:o, s:n}", "type", "text", "text", piece, "citations");
}

static json_t *anthropic_thought(json_t *piece)
{
    return json_pack("{s:s, s:o, s:s}", "type", "thinking", "thinking", piece, "signature", "c2ln");
}

static json_t *anthropic_call(const json_t *call)
{
    return json_pack("{s:s, s:O, s:O, s:O}", "type", "tool_use", "id", get(call, "id"), "name", get(call, "name"), "input",
                     get(call, "arguments"));
}

/* input_tokens are those that no cache had to do with. */
json_t *round_answer_anthropic(pst_rng_t *r, const json_t *c)
{
    static const char *const reasons[][2] = {
        {"stop", "end_turn"}, {"stop", "stop_sequence"}, {"stop", "pause_turn"}, {"length", "max_tokens"},
        {"length", "model_context_window_exceeded"}, {"tool_calls", "tool_use"}, {"content_filter", "refusal"},
    };
    json_t *content = json_array();
    add_pieces(r, content, get(c, "reasoning"), anthropic_thought);
    if (round_one_in(r, 4))
        json_array_append_new(content, json_pack("{s:s, s:s}", "type", "redacted_thinking", "data", "eA=="));
    add_pieces(r, content, get(c, "content"), anthropic_text);
    add_calls(content, c, anthropic_call);
    json_int_t cached = count(c, "cached"), written = count(c, "cache_write");
    json_t *usage = json_pack("{s:I, s:I, s:I, s:I, s:{s:I}}", "input_tokens", count(c, "input") - cached - written,
                              "cache_read_input_tokens", cached, "cache_creation_input_tokens", written, "output_tokens",
                              count(c, "output"), "output_tokens_details", "thinking_tokens", count(c, "reasoning"));
    if (cached == 0 || written == 0)
        json_object_set_new(usage, cached == 0 ? "cache_read_input_tokens" : "cache_creation_input_tokens", json_null());
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:n, s:o}", "id", "msg_1", "type", "message", "role", "assistant",
                     "model", "claude", "content", content, "stop_reason", word_for(r, c, reasons, PST_COUNT(reasons)),
                     "stop_sequence", "usage", usage);
}

/* ---- gemini ---- */

static json_t *gemini_text(json_t *piece)
{
    return json_pack("{s:o}", "text", piece);
}

static json_t *gemini_thought(json_t *piece)
{
    return json_pack("{s:o, s:b}", "text", piece, "thought", 1);
}

static json_t *gemini_call(const json_t *call)
{
    return json_pack("{s:{s:O, s:O, s:O}}", "functionCall", "id", get(call, "id"), "name", get(call, "name"), "args",
                     get(call, "arguments"));
}

json_t *round_answer_gemini(pst_rng_t *r, const json_t *c)
{
    static const char *const reasons[][2] = {
        {"stop", "STOP"}, {"stop", "OTHER"}, {"length", "MAX_TOKENS"}, {"tool_calls", "STOP"}, {"content_filter", "SAFETY"},
        {"content_filter", "RECITATION"}, {"content_filter", "BLOCKLIST"}, {"content_filter", "PROHIBITED_CONTENT"},
        {"content_filter", "SPII"}, {"content_filter", "LANGUAGE"}, {"content_filter", "IMAGE_SAFETY"},
    };
    json_t *parts = json_array();
    json_int_t of_tools = (json_int_t)pst_rng_below(r, (uint64_t)count(c, "input") + 1);
    add_pieces(r, parts, get(c, "reasoning"), gemini_thought);
    add_pieces(r, parts, get(c, "content"), gemini_text);
    add_calls(parts, c, gemini_call);
    return json_pack("{s:[{s:{s:s, s:o}, s:s, s:i}], s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:s, s:s}", "candidates", "content",
                     "role", "model", "parts", parts, "finishReason", word_for(r, c, reasons, PST_COUNT(reasons)), "index", 0,
                     "usageMetadata", "promptTokenCount", count(c, "input") - of_tools, "toolUsePromptTokenCount", of_tools,
                     "candidatesTokenCount", count(c, "output") - count(c, "reasoning"), "thoughtsTokenCount",
                     count(c, "reasoning"), "cachedContentTokenCount", count(c, "cached"), "totalTokenCount",
                     count(c, "input") + count(c, "output"), "modelVersion", "gemini", "responseId", "r1");
}

/* ---- cohere, mistral, openai ---- */

static json_t *cohere_text(json_t *piece)
{
    return json_pack("{s:s, s:o}", "type", "text", "text", piece);
}

static json_t *cohere_thought(json_t *piece)
{
    return json_pack("{s:s, s:o}", "type", "thinking", "thinking", piece);
}

static json_t *openai_call(const json_t *call)
{
    char *text = dumps(get(call, "arguments"));
    json_t *j = json_pack("{s:O, s:s, s:{s:O, s:s}}", "id", get(call, "id"), "type", "function", "function", "name",
                          get(call, "name"), "arguments", text);
    free(text);
    return j;
}

static json_t *object_call(const json_t *call)
{
    return json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", get(call, "id"), "type", "function", "function", "name",
                     get(call, "name"), "arguments", get(call, "arguments"));
}

/* What is billed counts, and is less than what the model read. */
json_t *round_answer_cohere(pst_rng_t *r, const json_t *c)
{
    static const char *const reasons[][2] = {
        {"stop", "COMPLETE"}, {"stop", "STOP_SEQUENCE"}, {"length", "MAX_TOKENS"}, {"tool_calls", "TOOL_CALL"},
    };
    json_t *message = json_pack("{s:s}", "role", "assistant"), *content = json_array(), *calls = json_array();
    add_pieces(r, content, get(c, "reasoning"), cohere_thought);
    add_pieces(r, content, get(c, "content"), cohere_text);
    add_calls(calls, c, openai_call);
    round_set(message, "content", content);
    round_set(message, "tool_calls", calls);
    return json_pack("{s:s, s:s, s:o, s:{s:{s:I, s:I}, s:{s:I, s:I}, s:I}}", "id", "c1", "finish_reason",
                     word_for(r, c, reasons, PST_COUNT(reasons)), "message", message, "usage", "billed_units",
                     "input_tokens", count(c, "input"), "output_tokens", count(c, "output"), "tokens", "input_tokens",
                     count(c, "input") + 500, "output_tokens", count(c, "output"), "cached_tokens", count(c, "cached"));
}

/* {choices, usage} around a message. */
static json_t *answer_around(const json_t *c, json_t *message, const char *finish)
{
    return json_pack("{s:s, s:s, s:i, s:s, s:[{s:i, s:o, s:s}], s:{s:I, s:I, s:I, s:{s:I}, s:{s:I}}}", "id", "x", "object",
                     "chat.completion", "created", 1, "model", "m", "choices", "index", 0, "message", message,
                     "finish_reason", finish, "usage", "prompt_tokens", count(c, "input"), "completion_tokens",
                     count(c, "output"), "total_tokens", count(c, "input") + count(c, "output"), "prompt_tokens_details",
                     "cached_tokens", count(c, "cached"), "completion_tokens_details", "reasoning_tokens",
                     count(c, "reasoning"));
}

static json_t *mistral_thought(json_t *piece)
{
    return json_pack("{s:s, s:[{s:s, s:o}]}", "type", "thinking", "thinking", "type", "text", "text", piece);
}

/* Content is a string, or chunks. */
json_t *round_answer_mistral(pst_rng_t *r, const json_t *c)
{
    static const char *const reasons[][2] = {
        {"stop", "stop"}, {"length", "length"}, {"length", "model_length"}, {"tool_calls", "tool_calls"},
    };
    json_t *message = json_pack("{s:s, s:O?}", "role", "assistant", "content", get(c, "content")), *calls = json_array();
    if (get(c, "reasoning") || round_one_in(r, 3)) {
        json_t *chunks = json_array();
        add_pieces(r, chunks, get(c, "reasoning"), mistral_thought);
        add_pieces(r, chunks, get(c, "content"), cohere_text);
        json_object_set_new(message, "content", chunks);
    }
    add_calls(calls, c, round_one_in(r, 2) ? openai_call : object_call);
    if (json_array_size(calls) == 0 && round_one_in(r, 2))
        json_object_set_new(message, "tool_calls", json_null());
    round_set(message, "tool_calls", calls);
    return answer_around(c, message, word_for(r, c, reasons, PST_COUNT(reasons)));
}

json_t *round_answer_openai(pst_rng_t *r, const json_t *c)
{
    json_t *message = json_pack("{s:s, s:O?, s:n}", "role", "assistant", "content", get(c, "content"), "refusal");
    json_t *calls = json_array();
    round_set(message, round_one_in(r, 2) ? "reasoning" : "reasoning_content", json_incref(get(c, "reasoning")));
    add_calls(calls, c, openai_call);
    round_set(message, "tool_calls", calls);
    return answer_around(c, message, finish_of(c));
}

/* ---- bedrock ---- */

static json_t *bedrock_thought(json_t *piece)
{
    return json_pack("{s:{s:{s:o, s:s}}}", "reasoningContent", "reasoningText", "text", piece, "signature", "c2ln");
}

static json_t *bedrock_call(const json_t *call)
{
    return json_pack("{s:{s:O, s:O, s:O}}", "toolUse", "toolUseId", get(call, "id"), "name", get(call, "name"), "input",
                     get(call, "arguments"));
}

json_t *round_answer_bedrock(pst_rng_t *r, const json_t *c)
{
    static const char *const reasons[][2] = {
        {"stop", "end_turn"}, {"stop", "stop_sequence"}, {"length", "max_tokens"}, {"tool_calls", "tool_use"},
        {"length", "model_context_window_exceeded"}, {"content_filter", "content_filtered"},
        {"content_filter", "guardrail_intervened"},
    };
    json_t *content = json_array();
    json_int_t fresh = count(c, "input") - count(c, "cached") - count(c, "cache_write");
    add_pieces(r, content, get(c, "reasoning"), bedrock_thought);
    add_pieces(r, content, get(c, "content"), gemini_text);
    add_calls(content, c, bedrock_call);
    return json_pack("{s:{s:{s:s, s:o}}, s:s, s:{s:I, s:I, s:I, s:I, s:I}}", "output", "message", "role", "assistant",
                     "content", content, "stopReason", word_for(r, c, reasons, PST_COUNT(reasons)), "usage", "inputTokens",
                     fresh, "outputTokens", count(c, "output"), "totalTokens", fresh + count(c, "output"),
                     "cacheReadInputTokens", count(c, "cached"), "cacheWriteInputTokens", count(c, "cache_write"));
}

/* ---- answers in OpenAI's shapes ---- */

static json_t *parsed(const json_t *text)
{
    return json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
}

static json_t *number_or_0(const json_t *v)
{
    return json_integer(json_integer_value(v));
}

/* `prompt` and `completion`: what tokens that went in and came out are called. */
static json_t *usage_of(const json_t *usage, const char *prompt, const char *completion)
{
    char in[32], in_details[48], out[32], out_details[48];
    snprintf(in, sizeof in, "%s_tokens", prompt);
    snprintf(in_details, sizeof in_details, "%s_details", in);
    snprintf(out, sizeof out, "%s_tokens", completion);
    snprintf(out_details, sizeof out_details, "%s_details", out);
    json_int_t total = json_integer_value(get(usage, in)) + json_integer_value(get(usage, out));
    json_t *j = json_pack("{s:o, s:o, s:o, s:o, s:o}", "input", number_or_0(get(usage, in)), "cached",
                          number_or_0(get(get(usage, in_details), "cached_tokens")), "cache_write",
                          number_or_0(get(get(usage, in_details), "cache_write_tokens")), "output",
                          number_or_0(get(usage, out)), "reasoning",
                          number_or_0(get(get(usage, out_details), "reasoning_tokens")));
    if (json_integer_value(get(usage, "total_tokens")) != total)
        json_object_set_new(j, "total", number_or_0(get(usage, "total_tokens")));
    return j;
}

json_t *round_completion_of(const json_t *answer)
{
    const json_t *choice = json_array_get(get(answer, "choices"), 0), *message = get(choice, "message");
    json_t *c = json_object(), *calls = json_array(), *call;
    size_t i;
    round_set(c, "content", json_incref(get(message, "content")));
    round_set(c, "reasoning", json_incref(get(message, "reasoning_content")));
    json_array_foreach(get(message, "tool_calls"), i, call)
    {
        const json_t *f = get(call, "function");
        json_array_append_new(calls, json_pack("{s:O, s:O, s:o}", "id", get(call, "id"), "name", get(f, "name"), "arguments",
                                               parsed(get(f, "arguments"))));
    }
    json_object_set_new(c, "calls", calls);
    json_object_set(c, "finish", get(choice, "finish_reason"));
    json_object_set_new(c, "usage", usage_of(get(answer, "usage"), "prompt", "completion"));
    return c;
}

static void read_output(json_t *c, json_t *calls, const json_t *item)
{
    const char *type = json_string_value(get(item, "type"));
    const json_t *content = json_array_get(get(item, "content"), 0);
    if (strcmp(type, "message") == 0)
        round_set(c, "content", json_incref(get(content, "text")));
    else if (strcmp(type, "reasoning") == 0)
        round_set(c, "reasoning", json_incref(get(content, "text")));
    else
        json_array_append_new(calls, json_pack("{s:O, s:O, s:o}", "id", get(item, "call_id"), "name", get(item, "name"),
                                               "arguments", parsed(get(item, "arguments"))));
}

/* An answer with calls is completed like any other. */
json_t *round_response_of(const json_t *answer)
{
    json_t *c = json_object(), *calls = json_array(), *item;
    const char *why = json_string_value(get(get(answer, "incomplete_details"), "reason"));
    size_t i;
    json_array_foreach(get(answer, "output"), i, item)
        read_output(c, calls, item);
    const char *whole = json_array_size(calls) ? "tool_calls" : "stop";
    json_object_set_new(c, "finish", json_string(!why ? whole : strcmp(why, "max_output_tokens") == 0 ? "length" : why));
    json_object_set_new(c, "usage", usage_of(get(answer, "usage"), "input", "output"));
    json_object_set_new(c, "calls", calls);
    return c;
}
