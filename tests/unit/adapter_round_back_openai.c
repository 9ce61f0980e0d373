#include "adapter_round.h"

/* Requests whose messages are OpenAI's: the test's own reading of those is taken for them too. */

/* What a protocol is not told of a result. */
static void drop_marks(json_t *normal)
{
    json_t *turn, *item;
    size_t i, k;
    json_array_foreach(json_object_get(normal, "turns"), i, turn)
    {
        json_array_foreach(json_object_get(turn, "said"), k, item)
            json_object_del(item, "whole");
    }
}

/* ---- cohere ---- */

/* Its messages and tools are OpenAI's; the rest has names of its own. */
static void cohere_format(json_t *normal, json_t *body)
{
    json_t *format = round_take(body, "response_format"), *schema = json_object_get(format, "json_schema");
    if (schema)
        round_set(normal, "format", json_pack("{s:s, s:O}", "type", "json_schema", "schema", schema));
    else
        round_set(normal, "format", json_incref(format));
    json_decref(format);
}

static void cohere_thinking(json_t *normal, json_t *body)
{
    json_t *thinking = round_take(body, "thinking"), *budget = round_take(thinking, "token_budget");
    json_t *type = round_take(thinking, "type");
    round_set(normal, "effort", budget ? json_sprintf("%d", (int)json_integer_value(budget)) : json_incref(type));
    round_left(normal, thinking, "thinking");
    json_decref(type);
    json_decref(budget);
    json_decref(thinking);
}

static void cohere_choice(json_t *normal, json_t *body)
{
    json_t *choice = round_take(body, "tool_choice");
    if (choice)
        round_set(normal, "choice", json_string(strcmp(json_string_value(choice), "NONE") == 0 ? "none" : "required"));
    json_decref(choice);
}

/* `system` may only come first. */
static bool cohere_misplaces(const json_t *messages)
{
    for (size_t i = 1; i < json_array_size(messages); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(messages, i), "role")), "system") == 0)
            return true;
    return false;
}

json_t *round_back_cohere(json_t *body)
{
    static const char *const names[][2] = {{"top_p", "p"}, {"top_k", "k"}, {"stop", "stop_sequences"}, {"strict", "strict_tools"}};
    json_t *messages = round_take(body, "messages"), *tools = round_take(body, "tools");
    json_t *talk = json_pack("{s:O, s:O*}", "messages", messages, "tools", tools);
    json_t *normal = round_normal(talk);
    static const char *const kept[] = {"max_tokens", "temperature", "seed", "presence_penalty", "frequency_penalty", "logprobs"};
    for (size_t i = 0; i < PST_COUNT(kept); i++)
        round_rename(normal, kept[i], body, kept[i]);
    for (size_t i = 0; i < PST_COUNT(names); i++)
        round_rename(normal, names[i][0], body, names[i][1]);
    cohere_format(normal, body);
    cohere_thinking(normal, body);
    cohere_choice(normal, body);
    json_object_del(body, "model");
    round_left(normal, body, "body");
    if (cohere_misplaces(messages))
        json_object_set_new(normal, "left", json_string("an instruction within the conversation"));
    drop_marks(normal);
    json_decref(talk);
    json_decref(messages);
    json_decref(tools);
    return normal;
}

/* ---- OpenAI's shape ---- */

json_t *round_back_openai(json_t *body)
{
    json_t *normal = round_normal(body);
    drop_marks(normal);
    return normal;
}

static bool is_nine_letters(const json_t *id)
{
    const char *s = json_string_value(id);
    return strlen(s) == 9 && strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == 9;
}

/* A member that Mistral's messages do not have, or an id that it refuses. */
static const char *mistral_fault(const json_t *message)
{
    static const char *const known[] = {"role", "content", "tool_calls", "tool_call_id", "prefix"};
    const char *key;
    json_t *v, *call;
    size_t i, k;
    json_object_foreach((json_t *)(uintptr_t)message, key, v)
    {
        for (k = 0; k < PST_COUNT(known) && strcmp(key, known[k]) != 0; k++)
            ;
        if (k == PST_COUNT(known))
            return "a member of a message that is not known";
    }
    if (strcmp(json_string_value(json_object_get(message, "role")), "developer") == 0)
        return "a developer";
    if (json_object_get(message, "tool_call_id") && !is_nine_letters(json_object_get(message, "tool_call_id")))
        return "an id of a call";
    json_array_foreach(json_object_get(message, "tool_calls"), i, call) if (!is_nine_letters(json_object_get(call, "id")))
        return "an id of a call";
    return NULL;
}

json_t *round_back_mistral(json_t *body)
{
    json_t *seed = round_take(body, "random_seed"), *m, *normal, *messages = json_object_get(body, "messages");
    const char *fault = NULL;
    size_t i;
    json_array_foreach(messages, i, m)
        fault = fault ? fault : mistral_fault(m);
    m = json_array_get(messages, json_array_size(messages) - 1);
    bool assistant = strcmp(json_string_value(json_object_get(m, "role")), "assistant") == 0;
    if (assistant && !json_object_get(m, "tool_calls") && !json_is_true(json_object_get(m, "prefix")))
        fault = "the assistant at the end, and not as a prefix";
    normal = round_normal(body);
    round_set(normal, "seed", seed);
    round_number_ids(normal);
    drop_marks(normal);
    if (fault)
        json_object_set_new(normal, "left", json_string(fault));
    return normal;
}
