#include "adapter_round.h"

bool round_one_in(pst_rng_t *r, unsigned n)
{
    return pst_rng_below(r, n) == 0;
}

static const char *one_of(pst_rng_t *r, const char *const *words, size_t n)
{
    return words[pst_rng_below(r, n)];
}

#define ONE_OF(r, ...)                                                                                                 \
    one_of(r, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* ---- values ---- */

json_t *round_draw_text(pst_rng_t *r)
{
    static const struct {
        const char *p;
        size_t n;
    } pieces[] = {
        {"word", 4}, {" ", 1},  {"\n", 1},      {"\t", 1},           {"\"", 1},      {"\\", 1},
        {"/", 1},    {"\0", 1}, {"\x01", 1},    {"\x7f", 1},         {"\xc3\xa9", 2}, {"\xe6\x97\xa5", 3},
        {"{", 1},    {"}]", 2}, {"\\u0041", 6}, {"\xf0\x9f\x98\x80", 4}, {"\xe2\x80\xa8", 3}, {"</s>", 4},
    };
    char text[64];
    size_t n = 0;
    text[n++] = "axZ0"[pst_rng_below(r, 4)]; /* never blank: which texts are is drawn apart */
    for (uint64_t left = pst_rng_below(r, 6); left; left--) {
        size_t i = pst_rng_below(r, PST_COUNT(pieces));
        memcpy(text + n, pieces[i].p, pieces[i].n);
        n += pieces[i].n;
    }
    return json_stringn_nocheck(text, n);
}

static json_t *draw_blank(pst_rng_t *r)
{
    return json_string(ONE_OF(r, "", "", " ", "\n", " \t\r\n "));
}

static json_t *draw_name(pst_rng_t *r, const char *prefix, unsigned i)
{
    static const char letters[] = "abcXYZ019_-";
    char tail[4] = {0};
    for (size_t k = 0; k < 3; k++)
        tail[k] = letters[pst_rng_below(r, sizeof letters - 1)];
    return json_sprintf("%s%u%s", prefix, i, tail);
}

static json_t *draw_integer(pst_rng_t *r)
{
    static const json_int_t odd[] = {0, 1, -1, INT64_MAX, INT64_MIN, (json_int_t)1 << 53, ((json_int_t)1 << 53) + 1};
    return json_integer(round_one_in(r, 2) ? odd[pst_rng_below(r, PST_COUNT(odd))] : (json_int_t)pst_rng_next(r));
}

static json_t *draw_value(pst_rng_t *r, unsigned depth);

json_t *round_draw_object(pst_rng_t *r, unsigned depth)
{
    json_t *o = json_object();
    for (uint64_t i = pst_rng_below(r, 4); i; i--) {
        json_t *key = draw_name(r, ONE_OF(r, "k", "\xc3\xa9", "a b", "type", ""), (unsigned)i);
        json_object_set_new(o, json_string_value(key), draw_value(r, depth));
        json_decref(key);
    }
    return o;
}

static json_t *draw_array(pst_rng_t *r, unsigned depth)
{
    json_t *a = json_array();
    for (uint64_t i = pst_rng_below(r, 4); i; i--)
        json_array_append_new(a, draw_value(r, depth));
    return a;
}

static json_t *draw_value(pst_rng_t *r, unsigned depth)
{
    switch (pst_rng_below(r, depth ? 8 : 6)) {
    case 0: return round_draw_text(r);
    case 1: return draw_integer(r);
    case 2: return json_real((pst_rng_unit(r) - 0.5) * 1e6);
    case 3: return json_boolean(round_one_in(r, 2));
    case 4: return json_null();
    case 5: return draw_blank(r);
    case 6: return round_draw_object(r, depth - 1);
    default: return draw_array(r, depth - 1);
    }
}

static json_t *draw_arguments(pst_rng_t *r)
{
    json_t *o = round_draw_object(r, 3);
    char *text = json_dumps(o, round_one_in(r, 3) ? JSON_INDENT(1) : JSON_COMPACT);
    json_t *s = json_object_size(o) == 0 && round_one_in(r, 2) ? json_string("") : json_string(text);
    free(text);
    json_decref(o);
    return s;
}

/* ---- content ---- */

static json_t *draw_text_part(pst_rng_t *r)
{
    return json_pack("{s:s, s:o}", "type", "text", "text", round_one_in(r, 6) ? draw_blank(r) : round_draw_text(r));
}

static json_t *draw_image(pst_rng_t *r, const round_can_t *can)
{
    json_t *url = can->links && round_one_in(r, 2)
                      ? json_sprintf("https://x.example/%s?q=%%20", ONE_OF(r, "a.png", "b.webp", "c"))
                      : json_sprintf("data:image/%s;base64,%s", ONE_OF(r, "png", "jpeg", "gif", "webp"),
                                     ONE_OF(r, "AA==", "/9j+", "iVBORw0KGgo="));
    json_t *image = json_pack("{s:o}", "url", url);
    if (round_one_in(r, 3))
        json_object_set_new(image, "detail", json_string("low"));
    return json_pack("{s:s, s:o}", "type", "image_url", "image_url", image);
}

static json_t *draw_user_part(pst_rng_t *r, const round_can_t *can)
{
    if (can->files && round_one_in(r, 6))
        return json_pack("{s:s, s:{s:s, s:s}}", "type", "file", "file", "filename", "a.pdf", "file_data",
                         "data:application/pdf;base64,JVBERi0=");
    return round_one_in(r, 3) ? draw_image(r, can) : draw_text_part(r);
}

/* `can` NULL: text alone. */
static json_t *draw_content(pst_rng_t *r, const round_can_t *can)
{
    if (round_one_in(r, 8))
        return draw_blank(r);
    if (round_one_in(r, 2))
        return round_draw_text(r);
    json_t *parts = json_array();
    for (uint64_t n = pst_rng_below(r, 4); n; n--)
        json_array_append_new(parts, can ? draw_user_part(r, can) : draw_text_part(r));
    return parts;
}

/* ---- messages ---- */

static void add_message(json_t *messages, const char *role, json_t *content)
{
    json_array_append_new(messages, json_pack("{s:s, s:o}", "role", role, "content", content));
}

static void add_instruction(pst_rng_t *r, json_t *messages)
{
    add_message(messages, ONE_OF(r, "system", "developer"), draw_content(r, NULL));
}

/* An id that no other call of the conversation has, of any provider's make. */
static json_t *draw_id(pst_rng_t *r, unsigned serial)
{
    switch (pst_rng_below(r, 5)) {
    case 4: return json_sprintf("f%c%u", ".:_/"[serial % 4], serial / 4); /* neighbours, but for what Claude does not take */
    case 0: return json_sprintf("call_%016llx%u", (unsigned long long)pst_rng_next(r), serial);
    case 1: return json_sprintf("functions.f:%u", serial);
    case 2: return json_sprintf("abcde%04u", serial);
    default: return json_sprintf("toolu_%u\xc3\xa9/\"", serial);
    }
}

static json_t *draw_result(pst_rng_t *r)
{
    if (!round_one_in(r, 3))
        return draw_content(r, NULL);
    json_t *o = round_draw_object(r, 2);
    char *text = json_dumps(o, 0);
    json_t *s = json_sprintf("%s%s", round_one_in(r, 2) ? "" : " ", text);
    free(text);
    json_decref(o);
    return s;
}

/* What OpenAI's answers have beside it comes back with them. */
static void add_answer_members(pst_rng_t *r, json_t *message)
{
    if (round_one_in(r, 4))
        json_object_set_new(message, "refusal", json_null());
    if (round_one_in(r, 4))
        json_object_set_new(message, "annotations", json_array());
    if (round_one_in(r, 4))
        json_object_set_new(message, "reasoning_content", round_draw_text(r));
}

static json_t *draw_said(pst_rng_t *r)
{
    if (round_one_in(r, 8))
        return json_pack("[{s:s, s:o}]", "type", "refusal", "refusal", round_draw_text(r));
    return round_one_in(r, 4) ? json_null() : draw_content(r, NULL);
}

/* Calls that are made at once, and their results in any order. */
static void add_answer(pst_rng_t *r, json_t *messages, unsigned *serial)
{
    json_t *message = json_object(), *calls = json_array(), *results = json_array();
    add_answer_members(r, message);
    json_object_set_new(message, "role", json_string("assistant"));
    json_object_set_new(message, "content", draw_said(r));
    for (uint64_t n = round_one_in(r, 2) ? pst_rng_below(r, 4) : 0; n; n--) {
        json_t *id = draw_id(r, ++*serial);
        json_array_append_new(calls, json_pack("{s:O, s:s, s:{s:o, s:o}}", "id", id, "type", "function", "function",
                                               "name", draw_name(r, "f", *serial), "arguments", draw_arguments(r)));
        json_array_insert_new(results, pst_rng_below(r, json_array_size(results) + 1),
                              json_pack("{s:s, s:o, s:o}", "role", "tool", "tool_call_id", id, "content",
                                        draw_result(r)));
    }
    if (json_array_size(calls))
        json_object_set_new(message, "tool_calls", calls);
    else
        json_decref(calls);
    json_array_append_new(messages, message);
    json_array_extend(messages, results);
    json_decref(results);
}

static json_t *draw_messages(pst_rng_t *r, const round_can_t *can)
{
    json_t *messages = json_array();
    unsigned serial = 0;
    for (uint64_t n = pst_rng_below(r, 3); n; n--)
        add_instruction(r, messages);
    for (uint64_t n = pst_rng_below(r, 5); n; n--) {
        for (uint64_t k = 1 + pst_rng_below(r, 2); k; k--)
            add_message(messages, "user", draw_content(r, can));
        if (round_one_in(r, 2))
            add_answer(r, messages, &serial);
        if (round_one_in(r, 8))
            add_instruction(r, messages);
    }
    if (json_array_size(messages) == 0)
        add_message(messages, "user", draw_content(r, can));
    return messages;
}

/* ---- parameters ---- */

static void add_tools(pst_rng_t *r, json_t *body)
{
    json_t *tools = json_array(), *f = NULL;
    for (unsigned n = (unsigned)pst_rng_below(r, 4); n; n--) {
        f = json_pack("{s:o}", "name", draw_name(r, "f", n));
        if (round_one_in(r, 2))
            json_object_set_new(f, "description", round_draw_text(r));
        if (!round_one_in(r, 4))
            json_object_set_new(f, "parameters", round_draw_object(r, 3));
        if (round_one_in(r, 2))
            json_object_set_new(f, "strict", json_boolean(round_one_in(r, 2)));
        json_array_append_new(tools, json_pack("{s:s, s:o}", "type", "function", "function", f));
    }
    json_object_set_new(body, "tools", tools);
    if (f && round_one_in(r, 3))
        json_object_set_new(body, "tool_choice", json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name",
                                                           json_object_get(f, "name")));
    else if (round_one_in(r, 2))
        json_object_set_new(body, "tool_choice", json_string(ONE_OF(r, "auto", "none", "required")));
    if (round_one_in(r, 3))
        json_object_set_new(body, "parallel_tool_calls", json_boolean(round_one_in(r, 2)));
}

static void add_format(pst_rng_t *r, json_t *body)
{
    json_t *format = json_pack("{s:s}", "type", ONE_OF(r, "text", "json_object", "json_schema", "json_schema"));
    if (strcmp(json_string_value(json_object_get(format, "type")), "json_schema") == 0)
        json_object_set_new(format, "json_schema",
                            json_pack("{s:s, s:o, s:b}", "name", "answer", "schema", round_draw_object(r, 3), "strict",
                                      1));
    json_object_set_new(body, "response_format", format);
}

static json_t *draw_stop(pst_rng_t *r)
{
    if (round_one_in(r, 2))
        return round_draw_text(r);
    json_t *stop = json_array();
    for (uint64_t n = pst_rng_below(r, 4); n; n--)
        json_array_append_new(stop, round_draw_text(r));
    return stop;
}

static void add_max_tokens(pst_rng_t *r, json_t *body)
{
    json_t *max = json_integer(1 + (json_int_t)pst_rng_below(r, 100000));
    if (!round_one_in(r, 3))
        json_object_set(body, "max_tokens", max);
    if (round_one_in(r, 2))
        json_object_set(body, "max_completion_tokens", max);
    json_decref(max);
}

static json_t *draw_fraction(pst_rng_t *r, unsigned most)
{
    return round_one_in(r, 3) ? json_integer((json_int_t)pst_rng_below(r, most + 1)) : json_real(pst_rng_unit(r) * most);
}

static void add_sampling(pst_rng_t *r, json_t *body)
{
    json_object_set_new(body, "temperature", draw_fraction(r, 2));
    if (round_one_in(r, 2))
        json_object_set_new(body, "top_p", draw_fraction(r, 1));
    if (round_one_in(r, 3))
        json_object_set_new(body, "top_k", json_integer((json_int_t)pst_rng_below(r, 600)));
    if (round_one_in(r, 2))
        json_object_set_new(body, "seed", draw_integer(r));
    if (round_one_in(r, 2))
        json_object_set_new(body, "presence_penalty", json_real(pst_rng_unit(r) * 4 - 2));
    if (round_one_in(r, 2))
        json_object_set_new(body, "frequency_penalty", json_real(pst_rng_unit(r) * 4 - 2));
    if (round_one_in(r, 3))
        json_object_set_new(body, "logprobs", json_boolean(round_one_in(r, 2)));
    if (json_is_true(json_object_get(body, "logprobs")) && round_one_in(r, 2))
        json_object_set_new(body, "top_logprobs", json_integer((json_int_t)pst_rng_below(r, 21)));
}

/* Routing fields of our own, and what only OpenAI knows. */
static void add_others(pst_rng_t *r, json_t *body)
{
    json_object_set_new(body, "metadata", json_pack("{s:o}", "k", round_draw_text(r)));
    json_object_set_new(body, "store", json_boolean(round_one_in(r, 2)));
    json_object_set_new(body, "service_tier", json_string("auto"));
    json_object_set_new(body, "prompt_cache_key", round_draw_text(r));
    json_object_set_new(body, "logit_bias", json_pack("{s:i}", "50256", -100));
    json_object_set_new(body, "models", json_pack("[s]", "other"));
    json_object_set_new(body, "provider", json_pack("{s:b}", "allow_fallbacks", 1));
    json_object_set_new(body, "stream", round_one_in(r, 2) ? json_false() : json_null());
}

/* null says no more than a member that is not there. */
static void add_nulls(pst_rng_t *r, json_t *body)
{
    static const char *const keys[] = {"temperature", "top_p", "stop", "tools", "tool_choice", "seed", "n", "user",
                                       "max_tokens", "response_format", "reasoning_effort", "parallel_tool_calls"};
    for (size_t i = 0; i < PST_COUNT(keys); i++)
        if (!json_object_get(body, keys[i]) && round_one_in(r, 2))
            json_object_set_new(body, keys[i], json_null());
}

json_t *round_draw_body(pst_rng_t *r, const round_can_t *can)
{
    json_t *body = json_pack("{s:s, s:o}", "model", "asked-for", "messages", draw_messages(r, can));
    if (round_one_in(r, 2))
        add_tools(r, body);
    if (round_one_in(r, 3))
        add_format(r, body);
    if (round_one_in(r, 2))
        json_object_set_new(body, "stop", draw_stop(r));
    if (round_one_in(r, 2))
        add_max_tokens(r, body);
    if (round_one_in(r, 2))
        add_sampling(r, body);
    if (round_one_in(r, 3))
        json_object_set_new(body, "reasoning_effort",
                            json_string(ONE_OF(r, "none", "minimal", "low", "medium", "high", "xhigh", "max")));
    if (round_one_in(r, 4))
        json_object_set_new(body, "user", round_draw_text(r));
    if (round_one_in(r, 4))
        json_object_set_new(body, "n", json_integer(can->choices ? 1 + (json_int_t)pst_rng_below(r, 4) : 1));
    if (round_one_in(r, 4))
        add_others(r, body);
    if (round_one_in(r, 6))
        add_nulls(r, body);
    return body;
}

/* ---- completions ---- */

static json_t *draw_usage(pst_rng_t *r, const round_can_t *can)
{
    json_int_t cached = (json_int_t)pst_rng_below(r, 1000), written = can->writes ? (json_int_t)pst_rng_below(r, 1000) : 0;
    json_int_t thought = can->thinks ? (json_int_t)pst_rng_below(r, 1000) : 0;
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "input", cached + written + (json_int_t)pst_rng_below(r, 100000),
                     "cached", cached, "cache_write", written, "output", thought + (json_int_t)pst_rng_below(r, 100000),
                     "reasoning", thought);
}

static const char *draw_finish(pst_rng_t *r, const round_can_t *can, bool calls)
{
    if (round_one_in(r, 4))
        return "length";
    if (calls)
        return "tool_calls";
    return can->filters && round_one_in(r, 4) ? "content_filter" : "stop";
}

json_t *round_draw_completion(pst_rng_t *r, const round_can_t *can)
{
    json_t *c = json_object(), *calls = json_array();
    for (uint64_t n = round_one_in(r, 2) ? pst_rng_below(r, 4) : 0; n; n--)
        json_array_append_new(calls, json_pack("{s:o, s:o, s:o}", "id", draw_id(r, (unsigned)n), "name",
                                               draw_name(r, "f", (unsigned)n), "arguments", round_draw_object(r, 3)));
    bool any = json_array_size(calls) > 0;
    if (!any || round_one_in(r, 2))
        json_object_set_new(c, "content", round_draw_text(r));
    if (can->thinks && round_one_in(r, 3))
        json_object_set_new(c, "reasoning", round_draw_text(r));
    json_object_set_new(c, "finish", json_string(draw_finish(r, can, any)));
    json_object_set_new(c, "usage", draw_usage(r, can));
    json_object_set_new(c, "calls", calls);
    return c;
}

/* ---- printing ---- */

char *round_print(pst_rng_t *r, const json_t *j, size_t *ret_n)
{
    size_t flags = round_one_in(r, 2) ? JSON_COMPACT : JSON_INDENT(pst_rng_below(r, 4));
    flags |= round_one_in(r, 3) ? JSON_ENSURE_ASCII : 0;
    flags |= round_one_in(r, 3) ? JSON_ESCAPE_SLASH : 0;
    char *text = json_dumps(j, flags);
    *ret_n = strlen(text);
    return text;
}
