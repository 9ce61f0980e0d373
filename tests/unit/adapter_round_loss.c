#include "adapter_round.h"

/* What each protocol cannot be told, or is told in another way: each rule with its reason. */

static void drop(json_t *normal, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        json_object_del(normal, keys[i]);
}

#define DROP(normal, ...)                                                                                              \
    drop(normal, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* What is a choice among no tools is refused, or says nothing. */
static void choice_needs_tools(json_t *normal)
{
    if (!json_object_get(normal, "tools"))
        DROP(normal, "choice", "parallel");
}

/* A range of 0 to 1, where OpenAI has 0 to 2. */
static void temperature_to_1(json_t *normal)
{
    if (json_number_value(json_object_get(normal, "temperature")) > 1)
        json_object_set_new(normal, "temperature", json_integer(1));
}

/* Anthropic demands it. */
static void max_tokens_must_be(json_t *normal, const pst_endpoint_opts_t *e)
{
    if (!json_object_get(normal, "max_tokens"))
        json_object_set_new(normal, "max_tokens", json_integer(e->max_output ? e->max_output : 4096));
}

/* Tools must have a schema; one without parameters is called with nothing. */
static void schema_must_be(json_t *normal)
{
    json_t *tool;
    size_t i;
    json_array_foreach(json_object_get(normal, "tools"), i, tool) if (!json_object_get(tool, "parameters"))
        json_object_set_new(tool, "parameters", json_pack("{s:s, s:{}}", "type", "object", "properties"));
}

static void drop_of_tools(json_t *normal, const char *key)
{
    json_t *tool;
    size_t i;
    json_array_foreach(json_object_get(normal, "tools"), i, tool)
        json_object_del(tool, key);
}

/* The items of a turn with those that have `key` first, in their order. */
static void put_first(json_t *turn, const char *key, bool first)
{
    json_t *with = json_array(), *without = json_array(), *item;
    size_t i;
    json_array_foreach(json_object_get(turn, "said"), i, item)
        json_array_append(json_object_get(item, key) ? with : without, item);
    json_t *said = first ? with : without, *then = first ? without : with;
    json_array_extend(said, then);
    json_decref(then);
    json_object_set_new(turn, "said", said);
}

/* Results answer the calls of the turn before, and stand directly behind it. */
static void results_first(json_t *normal)
{
    json_t *turn;
    size_t i;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
        put_first(turn, "result", true);
}

/* Where calls stand beside the content, as they do in OpenAI's messages, a turn's calls come after all of it. */
static void calls_last(json_t *normal)
{
    json_t *turn;
    size_t i;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
        put_first(turn, "call", false);
}

/* Runs `change` for each item of the turns that is a result. */
static void each_result(json_t *normal, void (*change)(json_t *item))
{
    json_t *turn, *item;
    size_t i, k;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
    {
        json_array_foreach(json_object_get(turn, "said"), k, item) if (json_object_get(item, "result")) change(item);
    }
}

/* Cohere wants something to be said: an object with nothing in it. */
static void say_nothing_as_object(json_t *item)
{
    if (json_array_size(json_object_get(item, "said")) == 0)
        json_object_set_new(item, "said", json_pack("[{s:s}]", "text", "{}"));
}

static bool is_space_alone(const json_t *item)
{
    const json_t *text = json_object_get(item, "text");
    return text && strspn(json_string_value(text), " \t\r\n") == json_string_length(text);
}

static void drop_blank(json_t *items)
{
    for (size_t i = json_array_size(items); i-- > 0;)
        if (is_space_alone(json_array_get(items, i)))
            json_array_remove(items, i);
}

static void drop_blank_of_result(json_t *item)
{
    drop_blank(json_object_get(item, "said"));
}

/* Bedrock refuses texts of white space alone; a turn in which nothing else is said is none, and those around it are
 * one. */
static void blank_texts_are_none(json_t *normal)
{
    json_t *turns = round_take(normal, "turns"), *out = json_array(), *turn;
    size_t i;
    drop_blank(json_object_get(normal, "instructions"));
    round_set(normal, "instructions", round_take(normal, "instructions"));
    json_array_foreach(turns, i, turn)
    {
        json_t *said = json_object_get(turn, "said");
        drop_blank(said);
        round_turn(out, json_string_value(json_object_get(turn, "who")), json_incref(said));
    }
    round_set(normal, "turns", out);
    json_decref(turns);
    each_result(normal, drop_blank_of_result);
}

/* Effort in the protocol's own words, which are fewer. */
static void effort_in_words(json_t *normal, const char *const (*words)[2], size_t n)
{
    const char *effort = json_string_value(json_object_get(normal, "effort"));
    for (size_t i = 0; effort && i < n; i++) {
        if (strcmp(effort, words[i][0]) == 0) {
            json_object_set_new(normal, "effort", json_string(words[i][1]));
            return;
        }
    }
}

static void minimal_is_low(json_t *normal)
{
    static const char *const words[][2] = {{"minimal", "low"}};
    effort_in_words(normal, words, PST_COUNT(words));
}

/* Anthropic: a format is one with a schema, as any text may be an object. */
static void format_needs_schema(json_t *normal)
{
    if (!json_object_get(json_object_get(normal, "format"), "schema"))
        DROP(normal, "format");
}

/* ---- ids ---- */

static void number_id(json_t *seen, json_t *owner, const char *key)
{
    const json_t *id = json_object_get(owner, key);
    if (!id)
        return;
    size_t n = 0;
    while (n < json_array_size(seen) && !json_equal(json_array_get(seen, n), id))
        n++;
    if (n == json_array_size(seen))
        json_array_append(seen, (json_t *)(uintptr_t)id);
    json_object_set_new(owner, key, json_integer((json_int_t)n));
}

void round_number_ids(json_t *normal)
{
    json_t *seen = json_array(), *turn, *item;
    size_t i, k;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
    {
        json_array_foreach(json_object_get(turn, "said"), k, item)
        {
            number_id(seen, json_object_get(item, "call"), "id");
            number_id(seen, item, "result");
        }
    }
    json_decref(seen);
}

/* ---- gemini ---- */

/* A call is known by its function's name, a result by that of its call. */
static void name_calls(json_t *normal)
{
    json_t *names = json_object(), *turn, *item;
    size_t i, k;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
    {
        json_array_foreach(json_object_get(turn, "said"), k, item)
        {
            json_t *call = json_object_get(item, "call"), *result = json_object_get(item, "result");
            if (call)
                json_object_set(names, json_string_value(json_object_get(call, "id")), json_object_get(call, "name"));
            json_object_del(call, "id");
            if (result)
                json_object_set(item, "result", json_object_get(names, json_string_value(result)));
        }
    }
    json_decref(names);
}

/* A result is an object: that whose text it is, or one around its text. */
static void result_as_object(json_t *item)
{
    json_t *said = json_object_get(item, "said"), *part;
    pst_buf_t b;
    size_t i;
    pst_buf_init(&b, 0);
    json_array_foreach(said, i, part)
        pst_buf_put(&b, json_string_value(json_object_get(part, "text")), json_string_length(json_object_get(part, "text")));
    json_t *o = json_is_true(json_object_get(item, "whole")) ? json_loadb(b.n ? b.p : "", b.n, JSON_ALLOW_NUL, NULL) : NULL;
    if (!json_is_object(o)) {
        json_decref(o);
        o = json_pack("{s:o}", "result", json_stringn_nocheck(b.n ? b.p : "", b.n));
    }
    json_object_set_new(item, "said", o);
    json_object_del(item, "whole");
    pst_buf_release(&b);
}

/* Levels for models since Gemini 3, budgets of tokens before. */
static void effort_of_gemini(json_t *normal, const pst_endpoint_opts_t *e)
{
    static const char *const levels[][2] = {{"none", "MINIMAL"}, {"minimal", "MINIMAL"}, {"low", "LOW"},
                                            {"medium", "MEDIUM"}, {"high", "HIGH"},      {"xhigh", "HIGH"},
                                            {"max", "HIGH"}};
    static const char *const budgets[][2] = {{"none", "0"},      {"minimal", "1024"}, {"low", "1024"}, {"medium", "8192"},
                                             {"high", "24576"}, {"xhigh", "24576"},  {"max", "24576"}};
    bool older = pst_view_eqs(e->model, "gemini-2.5-flash");
    effort_in_words(normal, older ? budgets : levels, PST_COUNT(levels));
}

void round_lose_gemini(json_t *normal, const pst_endpoint_opts_t *e)
{
    name_calls(normal);
    each_result(normal, result_as_object);
    choice_needs_tools(normal);
    drop_of_tools(normal, "strict");
    effort_of_gemini(normal, e);
    DROP(normal, "parallel", "user", "other");
}

/* ---- the others ---- */

static void drop_mark(json_t *item)
{
    json_object_del(item, "whole");
}

void round_lose_anthropic(json_t *normal, const pst_endpoint_opts_t *e)
{
    each_result(normal, drop_mark);
    results_first(normal);
    round_number_ids(normal);
    choice_needs_tools(normal);
    const char *choice = json_string_value(json_object_get(normal, "choice"));
    if (choice && strcmp(choice, "none") == 0) /* nothing is called, nor at once */
        DROP(normal, "parallel");
    else if (!choice && !json_object_get(normal, "choice") && json_object_get(normal, "parallel"))
        json_object_set_new(normal, "choice", json_string("auto")); /* stands inside the choice */
    schema_must_be(normal);
    temperature_to_1(normal);
    max_tokens_must_be(normal, e);
    minimal_is_low(normal);
    format_needs_schema(normal);
    if (e->flags & PST_EP_NO_SAMPLING) /* such models refuse them */
        DROP(normal, "temperature", "top_p", "top_k");
    DROP(normal, "n", "seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "other");
}

/* Clamped to a range; the least of one that begins at 0 holds anyway. */
static void in_range(json_t *normal, const char *key, double least, double most)
{
    const json_t *v = json_object_get(normal, key);
    double x = json_number_value(v);
    if (v && x <= 0 && least <= 0)
        json_object_del(normal, key);
    else if (v && (x < least || x > most))
        json_object_set_new(normal, key, json_real(x < least ? least : most));
}

/* One of several tools is chosen by sending it alone, and a call of it is required. */
static void chosen_alone(json_t *normal)
{
    const json_t *name = json_object_get(json_object_get(normal, "choice"), "name");
    json_t *tools = json_object_get(normal, "tools");
    for (size_t i = json_array_size(tools); name && i-- > 0;)
        if (!json_equal(json_object_get(json_array_get(tools, i), "name"), name))
            json_array_remove(tools, i);
    if (name)
        json_object_set_new(normal, "choice", json_string("required"));
    const char *choice = json_string_value(json_object_get(normal, "choice"));
    if (choice && strcmp(choice, "auto") == 0) /* holds if nothing is said */
        json_object_del(normal, "choice");
}

/* All tools are strict, or none is: what is said of single ones is only kept where all say so. */
static void strict_together(json_t *normal)
{
    json_t *tools = json_object_get(normal, "tools"), *tool;
    bool all = true;
    size_t i;
    json_array_foreach(tools, i, tool)
        all = all && json_is_true(json_object_get(tool, "strict"));
    drop_of_tools(normal, "strict");
    if (tools && all)
        json_object_set_new(normal, "strict", json_true());
}

void round_lose_cohere(json_t *normal, const pst_endpoint_opts_t *e)
{
    static const char *const efforts[][2] = {{"none", "disabled"}, {"minimal", "1024"}, {"low", "1024"},
                                             {"medium", "8192"},   {"high", "enabled"}, {"xhigh", "enabled"},
                                             {"max", "enabled"}};
    (void)e;
    each_result(normal, drop_mark);
    results_first(normal);
    calls_last(normal);
    each_result(normal, say_nothing_as_object);
    choice_needs_tools(normal);
    strict_together(normal);
    chosen_alone(normal);
    schema_must_be(normal);
    in_range(normal, "top_p", 0.01, 0.99);
    in_range(normal, "top_k", 0, 500);
    in_range(normal, "presence_penalty", 0, 1);
    in_range(normal, "frequency_penalty", 0, 1);
    effort_in_words(normal, efforts, PST_COUNT(efforts));
    DROP(normal, "n", "top_logprobs", "parallel", "user", "other");
}

static bool tells_of_tools(const json_t *normal)
{
    json_t *turn, *item;
    size_t i, k;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
    {
        json_array_foreach(json_object_get(turn, "said"), k, item) if (json_object_get(item, "call") ||
                                                                       json_object_get(item, "result")) return true;
    }
    return false;
}

/* Bedrock has no such choice: no tool is called where none is known, but a conversation that tells of calls is refused
 * without tools. */
static void no_choice_of_none(json_t *normal)
{
    const char *choice = json_string_value(json_object_get(normal, "choice"));
    if (!choice || strcmp(choice, "none") != 0)
        return;
    DROP(normal, "choice");
    if (!tells_of_tools(normal))
        DROP(normal, "tools");
}

/* Fields of the model's own are only said to models that are known to have them. */
static void fields_of_models(json_t *normal, const pst_endpoint_opts_t *e)
{
    bool claude = e->model.n > 10 && memmem(e->model.p, e->model.n, "anthropic.", 10);
    if (claude)
        minimal_is_low(normal);
    else
        DROP(normal, "top_k");
    if (!claude && !pst_view_eqs(e->model, "openai.gpt-oss-120b-1:0"))
        DROP(normal, "effort");
}

void round_lose_bedrock(json_t *normal, const pst_endpoint_opts_t *e)
{
    each_result(normal, drop_mark);
    blank_texts_are_none(normal);
    results_first(normal);
    round_number_ids(normal);
    choice_needs_tools(normal);
    no_choice_of_none(normal);
    schema_must_be(normal);
    temperature_to_1(normal);
    format_needs_schema(normal);
    fields_of_models(normal, e);
    DROP(normal, "n", "seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "parallel", "user",
         "other");
}

static void drop_others(json_t *normal, const char *const *keys, size_t n)
{
    json_t *other = json_object_get(normal, "other");
    drop(other, keys, n);
    if (json_object_size(other) == 0)
        json_object_del(normal, "other");
}

/* Members that Mistral does not know are refused there. */
void round_lose_mistral(json_t *normal, const pst_endpoint_opts_t *e)
{
    static const char *const unknown[] = {"store", "logit_bias"}, *const sent[] = {"metadata", "service_tier", "prompt_cache_key"};
    each_result(normal, drop_mark);
    round_number_ids(normal);
    DROP(normal, "logprobs", "top_logprobs", "user");
    drop_others(normal, unknown, PST_COUNT(unknown));
    if (e->flags & PST_EP_NO_STORE)
        drop_others(normal, sent, PST_COUNT(sent));
}

void round_lose_openai(json_t *normal, const pst_endpoint_opts_t *e)
{
    static const char *const stored[] = {"store", "metadata", "service_tier", "prompt_cache_key"};
    each_result(normal, drop_mark);
    if (!(e->flags & PST_EP_NO_STORE))
        return;
    drop_others(normal, stored, PST_COUNT(stored));
    DROP(normal, "user");
}

/* A response has one choice, and what logprobs are wanted it says by their number alone. */
void round_lose_responses(json_t *normal, const pst_endpoint_opts_t *e)
{
    DROP(normal, "n");
    if (!json_object_get(normal, "top_logprobs"))
        DROP(normal, "logprobs");
    choice_needs_tools(normal);
    round_lose_openai(normal, e);
}
