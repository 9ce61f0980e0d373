#include "adapter_round.h"

/* ---- trees ---- */

void round_set(json_t *o, const char *key, json_t *value)
{
    bool empty = !value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0);
    if (empty)
        json_decref(value);
    else
        json_object_set_new(o, key, value);
}

json_t *round_take(json_t *o, const char *key)
{
    json_t *v = json_incref(json_object_get(o, key));
    json_object_del(o, key);
    return v;
}

void round_rename(json_t *normal, const char *key, json_t *from, const char *theirs)
{
    round_set(normal, key, round_take(from, theirs));
}

void round_left(json_t *normal, json_t *o, const char *where)
{
    if (json_object_size(o) == 0)
        return;
    json_t *left = json_object_get(normal, "left");
    if (!left)
        json_object_set_new(normal, "left", left = json_object());
    json_object_set(left, where, o);
}

static bool members_differ(const json_t *a, const json_t *b, pst_buf_t *path)
{
    const char *key;
    json_t *v;
    size_t before = path->n;
    json_object_foreach((json_t *)(uintptr_t)b, key, v) if (!json_object_get(a, key))
    {
        pst_buf_putc(path, '.');
        pst_buf_puts(path, key);
        return true;
    }
    json_object_foreach((json_t *)(uintptr_t)a, key, v)
    {
        pst_buf_putc(path, '.');
        pst_buf_puts(path, key);
        if (round_differ(v, json_object_get(b, key), path))
            return true;
        path->n = before;
    }
    return false;
}

static bool items_differ(const json_t *a, const json_t *b, pst_buf_t *path)
{
    size_t before = path->n;
    for (size_t i = 0; i < PST_MAX(json_array_size(a), json_array_size(b)); i++) {
        char at[24];
        snprintf(at, sizeof at, "[%zu]", i);
        pst_buf_puts(path, at);
        if (round_differ(json_array_get(a, i), json_array_get(b, i), path))
            return true;
        path->n = before;
    }
    return false;
}

bool round_differ(const json_t *a, const json_t *b, pst_buf_t *path)
{
    if (json_is_number(a) && json_is_number(b) && !(json_is_integer(a) && json_is_integer(b)))
        return json_number_value(a) < json_number_value(b) || json_number_value(a) > json_number_value(b);
    if (json_is_object(a) && json_is_object(b))
        return members_differ(a, b, path);
    if (json_is_array(a) && json_is_array(b))
        return items_differ(a, b, path);
    return !json_equal(a, b);
}

/* ---- content ---- */

/* data:TYPE;base64,DATA, or a link. */
static json_t *item_of_uri(const char *uri)
{
    const char *semicolon = strchr(uri, ';'), *comma = strchr(uri, ',');
    if (strncmp(uri, "data:", 5) != 0 || !semicolon || !comma)
        return json_pack("{s:s}", "link", uri);
    return json_pack("{s:o, s:s}", "mime", json_stringn(uri + 5, (size_t)(semicolon - uri) - 5), "data", comma + 1);
}

static json_t *item_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    if (strcmp(type, "image_url") == 0)
        return item_of_uri(json_string_value(json_object_get(json_object_get(part, "image_url"), "url")));
    if (strcmp(type, "file") == 0)
        return item_of_uri(json_string_value(json_object_get(json_object_get(part, "file"), "file_data")));
    return json_pack("{s:O}", "text", json_object_get(part, type)); /* text, refusal */
}

/* An empty text says nothing, and protocols refuse it. */
static bool is_empty(const json_t *item)
{
    const json_t *text = json_object_get(item, "text");
    return text && json_string_length(text) == 0;
}

json_t *round_items(const json_t *content)
{
    json_t *items = json_array(), *part;
    size_t i;
    if (json_is_string(content) && json_string_length(content))
        json_array_append_new(items, json_pack("{s:O}", "text", content));
    json_array_foreach(content, i, part)
    {
        json_t *item = item_of(part);
        if (!is_empty(item))
            json_array_append(items, item);
        json_decref(item);
    }
    return items;
}

void round_turn(json_t *turns, const char *who, json_t *items)
{
    json_t *last = json_array_get(turns, json_array_size(turns) - 1);
    if (json_array_size(items) == 0) {
        json_decref(items); /* who says nothing has no turn */
    } else if (last && strcmp(json_string_value(json_object_get(last, "who")), who) == 0) {
        json_array_extend(json_object_get(last, "said"), items);
        json_decref(items);
    } else {
        json_array_append_new(turns, json_pack("{s:s, s:o}", "who", who, "said", items));
    }
}

/* ---- messages ---- */

/* The text of an object, "" one with nothing in it. */
static json_t *arguments_of(const json_t *text)
{
    if (json_string_length(text) == 0)
        return json_object();
    return json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
}

static json_t *call_of(const json_t *call)
{
    const json_t *f = json_object_get(call, "function");
    return json_pack("{s:{s:O, s:O, s:o}}", "call", "id", json_object_get(call, "id"), "name", json_object_get(f, "name"),
                     "arguments", arguments_of(json_object_get(f, "arguments")));
}

static json_t *said_by(const json_t *message, const char *role)
{
    json_t *items = round_items(json_object_get(message, "content")), *call;
    size_t i;
    if (strcmp(role, "tool") == 0)
        return json_pack("[{s:O, s:o, s:b}]", "result", json_object_get(message, "tool_call_id"), "said", items, "whole",
                         json_is_string(json_object_get(message, "content")));
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
        json_array_append_new(items, call_of(call));
    return items;
}

/* Leading instructions stand apart; later ones are said by the user, and so are those of a conversation that is
 * nothing else: every protocol wants a turn of theirs. */
static void normal_messages(json_t *normal, const json_t *messages)
{
    json_t *instructions = json_array(), *turns = json_array(), *m;
    bool opened = false;
    size_t i;
    json_array_foreach(messages, i, m)
    {
        const char *role = json_string_value(json_object_get(m, "role"));
        bool instructs = strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
        json_t *items = said_by(m, role);
        opened = opened || !instructs;
        if (opened)
            round_turn(turns, strcmp(role, "assistant") == 0 ? "assistant" : "user", items);
        else
            json_array_extend(instructions, items), json_decref(items);
    }
    if (!opened) {
        round_turn(turns, "user", instructions);
        instructions = NULL;
    }
    round_set(normal, "instructions", instructions);
    round_set(normal, "turns", turns);
}

/* ---- parameters ---- */

static void normal_tools(json_t *normal, json_t *rest)
{
    json_t *tools = round_take(rest, "tools"), *choice = round_take(rest, "tool_choice"), *t, *out = json_array();
    json_t *parallel = round_take(rest, "parallel_tool_calls");
    size_t i;
    json_array_foreach(tools, i, t)
    {
        json_t *f = json_copy(json_object_get(t, "function"));
        json_array_append_new(out, f);
    }
    round_set(normal, "tools", out);
    if (json_is_object(choice))
        round_set(normal, "choice",
                  json_pack("{s:O}", "name", json_object_get(json_object_get(choice, "function"), "name")));
    else
        round_set(normal, "choice", json_incref(choice));
    if (json_is_false(parallel))
        round_set(normal, "parallel", json_false());
    json_decref(tools);
    json_decref(choice);
    json_decref(parallel);
}

static void normal_format(json_t *normal, json_t *rest)
{
    json_t *format = round_take(rest, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (type && strcmp(type, "text") != 0) { /* text is what holds if nothing is said */
        json_t *out = json_pack("{s:s}", "type", type);
        round_set(out, "schema", json_incref(json_object_get(json_object_get(format, "json_schema"), "schema")));
        round_set(normal, "format", out);
    }
    json_decref(format);
}

static void normal_stop(json_t *normal, json_t *rest)
{
    json_t *stop = round_take(rest, "stop");
    round_set(normal, "stop", json_is_string(stop) ? json_pack("[o]", stop) : stop);
}

/* Two spellings of one thing: the newer counts. */
static void normal_max_tokens(json_t *normal, json_t *rest)
{
    json_t *older = round_take(rest, "max_tokens"), *newer = round_take(rest, "max_completion_tokens");
    round_set(normal, "max_tokens", json_incref(newer && !json_is_null(newer) ? newer : older));
    json_decref(older);
    json_decref(newer);
}

static void drop_nulls(json_t *o)
{
    const char *key;
    json_t *v;
    void *tmp;
    json_object_foreach_safe(o, tmp, key, v) if (json_is_null(v)) json_object_del(o, key);
}

json_t *round_normal(const json_t *body)
{
    static const char *const same[] = {"temperature", "top_p", "top_k", "n", "seed", "presence_penalty",
                                       "frequency_penalty", "top_logprobs", "user"};
    static const char *const routing[] = {"model", "models", "provider", "stream"}; /* our own */
    json_t *normal = json_object(), *rest = json_copy((json_t *)(uintptr_t)body);
    json_t *messages = round_take(rest, "messages"), *logprobs = round_take(rest, "logprobs");
    normal_messages(normal, messages);
    normal_tools(normal, rest);
    normal_format(normal, rest);
    normal_stop(normal, rest);
    normal_max_tokens(normal, rest);
    for (size_t i = 0; i < PST_COUNT(same); i++)
        round_set(normal, same[i], round_take(rest, same[i]));
    round_set(normal, "effort", round_take(rest, "reasoning_effort"));
    if (json_is_true(logprobs))
        round_set(normal, "logprobs", json_true());
    for (size_t i = 0; i < PST_COUNT(routing); i++)
        json_object_del(rest, routing[i]);
    drop_nulls(rest);
    if (json_object_size(rest))
        json_object_set(normal, "other", rest);
    json_decref(rest);
    json_decref(messages);
    json_decref(logprobs);
    return normal;
}
