#include "providers/chat.h"

#include "providers/common.h"

#define SPELLED "x-" /* before an id that could not go as it was */
#define CALL_ID_BYTES_MAX 64

pst_chat_role_t pst_chat_role(const pst_chat_t *c, uint32_t message)
{
    static const struct {
        const char *name;
        pst_chat_role_t role;
    } roles[] = {
        {"user", PST_ROLE_USER},     {"assistant", PST_ROLE_ASSISTANT},
        {"tool", PST_ROLE_TOOL},     {"system", PST_ROLE_SYSTEM},
        {"developer", PST_ROLE_SYSTEM},
    };
    uint32_t role = pst_json_get(c->j, message, "role");
    for (size_t i = 0; i < PST_COUNT(roles); i++) {
        if (pst_is_word(c->j, role, roles[i].name))
            return roles[i].role;
    }
    return PST_ROLE_UNKNOWN;
}

void pst_chat_refuse(pst_chat_t *c, const char *why)
{
    if (!c->why)
        c->why = why;
}

static void check_messages(pst_chat_t *c)
{
    if (!pst_json_is(c->j, c->messages, PST_JSON_ARRAY) || c->j->tok[c->messages].count == 0) {
        pst_chat_refuse(c, "messages: must be an array with at least one message");
        return;
    }
    for (uint32_t m = pst_json_first(c->j, c->messages); m != PST_JSON_NONE;
         m = pst_chat_after(c, m)) {
        if (pst_chat_role(c, m) == PST_ROLE_UNKNOWN)
            pst_chat_refuse(c, "messages: role must be system, developer, user, assistant or tool");
        if (pst_member(c->j, m, "function_call") != PST_JSON_NONE)
            pst_chat_refuse(
                c, "messages: function_call cannot be sent to this provider: use tool_calls");
    }
}

/* A conversation of instructions alone is said by the user: every protocol wants a turn of

 * theirs. */
static uint32_t find_opening(const pst_chat_t *c)
{
    uint32_t first = pst_json_first(c->j, c->messages), m = first;
    while (m != PST_JSON_NONE && pst_chat_role(c, m) == PST_ROLE_SYSTEM)
        m = pst_chat_after(c, m);
    return m == PST_JSON_NONE ? first : m;
}

void pst_chat_begin(pst_chat_t *c, const pst_task_t *task, pst_arena_t *a)
{
    *c = (pst_chat_t){.task = task, .j = task->body, .a = a, .opening = PST_JSON_NONE};
    pst_buf_init(&c->b, 0);
    pst_buf_reserve(&c->b, task->body->text.n + 512);
    c->messages = pst_json_get(c->j, 0, "messages");
    if (pst_is_true(c->j, 0, "stream") && !task->live)
        pst_chat_refuse(c, "stream: a batch has no one to stream to: leave it out");
    if (pst_chat_param(c, "functions") != PST_JSON_NONE)
        pst_chat_refuse(c, "functions: cannot be sent to this provider: use tools");
    check_messages(c);
    if (!c->why)
        c->opening = find_opening(c);
}

pst_err_t pst_chat_end(pst_chat_t *c, pst_view_t *ret_body, pst_view_t *ret_why)
{
    pst_err_t e = PST_E_INVALID;
    if (c->why)
        *ret_why = pst_view_str(c->why);
    else
        e = pst_seal(&c->b, c->a, ret_body);
    pst_buf_release(&c->b);
    return e;
}

uint32_t pst_chat_turn_end(const pst_chat_t *c, uint32_t m)
{
    bool assistant = pst_chat_role(c, m) == PST_ROLE_ASSISTANT;
    do
        m = pst_chat_after(c, m);
    while (m != PST_JSON_NONE && (pst_chat_role(c, m) == PST_ROLE_ASSISTANT) == assistant);
    return m;
}

static const char turn_end[] = "]}";

pst_turn_t pst_chat_open_turn(pst_chat_t *c, bool assistant, const char *head)
{
    pst_turn_t turn = {.before = c->b.n, .assistant = assistant};
    if (c->has_turn && c->of_assistant == assistant) {
        c->b.n -= strlen(turn_end);
    } else {
        pst_json_put_comma(&c->b);
        pst_buf_puts(&c->b, head);
    }
    turn.empty = c->b.n;
    return turn;
}

void pst_chat_close_turn(pst_chat_t *c, pst_turn_t turn)
{
    if (c->b.n == turn.empty) {
        c->b.n = turn.before; /* the end of the turn before still stands there */
        return;
    }
    pst_buf_puts(&c->b, turn_end);
    c->has_turn = true;
    c->of_assistant = turn.assistant;
}

/* ---- content ---- */

static pst_part_t text_part(const pst_json_t *j, uint32_t text)
{
    return (pst_part_t){.kind = pst_has_text(j, text) ? PST_PART_TEXT : PST_PART_NONE,
                        .text = text};
}

static pst_part_t data_part(pst_chat_t *c, pst_view_t uri, const char *why_not)
{
    pst_part_t p = {.kind = PST_PART_DATA};
    if (!pst_data_uri(uri, &p.mime, &p.data)) {
        pst_chat_refuse(c, why_not);
        p.kind = PST_PART_NONE;
    }
    return p;
}

/* {"image_url":{"url":"…"}}, or the bare string that some clients send. */
static pst_part_t image_part(pst_chat_t *c, uint32_t t)
{
    uint32_t image = pst_json_get(c->j, t, "image_url");
    uint32_t token =
        pst_json_is(c->j, image, PST_JSON_STRING) ? image : pst_json_get(c->j, image, "url");
    pst_view_t url = pst_json_str(c->j, token, c->a);
    if (pst_text_starts(url, "http://") || pst_text_starts(url, "https://"))
        return (pst_part_t){.kind = PST_PART_LINK, .url = url};
    return data_part(c, url, "image_url: must be http(s) or data:TYPE;base64,…");
}

static pst_part_t file_part(pst_chat_t *c, uint32_t t)
{
    pst_view_t uri = pst_json_str(c->j, pst_json_path(c->j, t, "file", "file_data", NULL), c->a);
    return data_part(c, uri,
                     "file: only file_data as data:TYPE;base64,… can be sent to this provider");
}

static pst_part_t audio_part(pst_chat_t *c, uint32_t t)
{
    uint32_t audio = pst_json_get(c->j, t, "input_audio"),
             format = pst_json_get(c->j, audio, "format");
    pst_part_t p = {.kind = PST_PART_DATA};
    p.data = pst_json_str(c->j, pst_json_get(c->j, audio, "data"), c->a);
    p.mime =
        pst_is_word(c->j, format, "mp3") ? PST_VIEW_LIT("audio/mp3") : PST_VIEW_LIT("audio/wav");
    if (p.data.n == 0) {
        pst_chat_refuse(c, "input_audio: has no data");
        p.kind = PST_PART_NONE;
    }
    return p;
}

static pst_part_t part_of(pst_chat_t *c, uint32_t t)
{
    uint32_t type = pst_json_get(c->j, t, "type");
    if (pst_is_word(c->j, type, "text"))
        return text_part(c->j, pst_json_get(c->j, t, "text"));
    if (pst_is_word(c->j, type, "refusal"))
        return text_part(c->j, pst_json_get(c->j, t, "refusal"));
    if (pst_is_word(c->j, type, "image_url"))
        return image_part(c, t);
    if (pst_is_word(c->j, type, "file"))
        return file_part(c, t);
    if (pst_is_word(c->j, type, "input_audio"))
        return audio_part(c, t);
    pst_chat_refuse(c, "content: a part of this type cannot be sent to this provider");
    return (pst_part_t){.kind = PST_PART_NONE};
}

void pst_chat_each_part(pst_chat_t *c, uint32_t content,
                        void (*put)(pst_chat_t *c, uint32_t token, const pst_part_t *part))
{
    if (pst_json_is(c->j, content, PST_JSON_STRING)) {
        pst_part_t p = text_part(c->j, content);
        if (p.kind != PST_PART_NONE)
            put(c, content, &p);
    } else if (pst_json_is(c->j, content, PST_JSON_ARRAY)) {
        for (uint32_t t = pst_json_first(c->j, content); t != PST_JSON_NONE;
             t = pst_json_after(c->j, content, t)) {
            pst_part_t p = part_of(c, t);
            if (p.kind != PST_PART_NONE)
                put(c, t, &p);
        }
    } else if (content != PST_JSON_NONE && !pst_json_is(c->j, content, PST_JSON_NULL)) {
        pst_chat_refuse(c, "content: must be a string or an array of parts");
    }
}

/* ---- tools ---- */

/* OpenAI keeps arguments as a string of JSON; the text in it, or an empty view if it is no

 * object. */
static pst_view_t arguments_of(pst_chat_t *c, uint32_t function)
{
    uint32_t t = pst_json_get(c->j, function, "arguments");
    if (pst_json_is(c->j, t, PST_JSON_OBJECT))
        return pst_json_raw(c->j, t);
    pst_view_t text = pst_text_trim(pst_json_str(c->j, t, c->a));
    if (text.n == 0)
        return PST_VIEW_LIT("{}");
    PST_SCOPED(pst_json_release) pst_json_t args;
    pst_json_init(&args);
    if (pst_json_parse(&args, text, NULL) != PST_OK || !pst_json_is(&args, 0, PST_JSON_OBJECT))
        return pst_view(NULL, 0);
    return text;
}

void pst_chat_each_call(pst_chat_t *c, uint32_t message,
                        void (*put)(pst_chat_t *c, uint32_t call, uint32_t function,
                                    pst_view_t arguments))
{
    uint32_t calls = pst_json_get(c->j, message, "tool_calls");
    for (uint32_t t = pst_json_first(c->j, calls); t != PST_JSON_NONE;
         t = pst_json_after(c->j, calls, t)) {
        uint32_t function = pst_json_get(c->j, t, "function");
        pst_view_t arguments = arguments_of(c, function);
        if (!pst_has_text(c->j, pst_json_get(c->j, function, "name")))
            pst_chat_refuse(c,
                            "tool_calls: only functions with a name can be sent to this provider");
        else if (arguments.n == 0)
            pst_chat_refuse(c, "tool_calls: arguments are not the text of a JSON object");
        else
            put(c, t, function, arguments);
    }
}

static bool is_plain(char x)
{
    return (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') || x == '_';
}

/* It can go as it is, and cannot be taken for one that was spelled. */
static bool is_call_id(pst_view_t id)
{
    bool fits = id.n < 2 || memcmp(id.p, SPELLED, 2) != 0;
    for (size_t i = 0; fits && i < id.n; i++)
        fits = is_plain(id.p[i]) || id.p[i] == '-';
    return fits;
}

static size_t spelled_bytes(pst_view_t id)
{
    size_t n = sizeof SPELLED - 1;
    for (size_t i = 0; i < id.n; i++)
        n += is_plain(id.p[i]) ? 1 : 3;
    return n;
}

static void spell(pst_buf_t *b, pst_view_t id)
{
    pst_buf_puts(b, SPELLED);
    if (spelled_bytes(id) > CALL_ID_BYTES_MAX) { /* no spelling has two dashes in a row */
        pst_buf_printf(b, "-%016llx", (unsigned long long)pst_text_hash(id));
        return;
    }
    for (size_t i = 0; i < id.n; i++) {
        if (is_plain(id.p[i]))
            pst_buf_putc(b, id.p[i]);
        else
            pst_buf_printf(b, "-%02X", (unsigned char)id.p[i]);
    }
}

void pst_chat_put_call_id(pst_chat_t *c, const char *key, uint32_t t)
{
    pst_view_t id = pst_json_str(c->j, t, c->a);
    pst_json_put_key(&c->b, key);
    pst_buf_putc(&c->b, '"');
    if (is_call_id(id))
        pst_buf_putv(&c->b, id);
    else
        spell(&c->b, id);
    pst_buf_putc(&c->b, '"');
}

void pst_chat_each_tool(pst_chat_t *c, void (*put)(pst_chat_t *c, uint32_t tool, uint32_t function))
{
    uint32_t tools = pst_chat_param(c, "tools");
    for (uint32_t t = pst_json_first(c->j, tools); t != PST_JSON_NONE;
         t = pst_json_after(c->j, tools, t)) {
        uint32_t function = pst_json_get(c->j, t, "function");
        if (pst_has_text(c->j, pst_json_get(c->j, function, "name")))
            put(c, t, function);
        else
            pst_chat_refuse(c, "tools: only functions with a name can be sent to this provider");
    }
}

bool pst_chat_has_tools(const pst_chat_t *c)
{
    uint32_t tools = pst_chat_param(c, "tools");
    return pst_json_is(c->j, tools, PST_JSON_ARRAY) && c->j->tok[tools].count > 0;
}

pst_choice_kind_t pst_chat_choice(pst_chat_t *c, uint32_t *ret_name)
{
    uint32_t choice = pst_chat_param(c, "tool_choice");
    if (choice == PST_JSON_NONE)
        return PST_CHOICE_UNSAID;
    if (pst_is_word(c->j, choice, "auto"))
        return PST_CHOICE_AUTO;
    if (pst_is_word(c->j, choice, "none"))
        return PST_CHOICE_NONE;
    if (pst_is_word(c->j, choice, "required"))
        return PST_CHOICE_REQUIRED;
    *ret_name = pst_json_path(c->j, choice, "function", "name", NULL);
    if (pst_has_text(c->j, *ret_name))
        return PST_CHOICE_NAMED;
    pst_chat_refuse(c, "tool_choice: must be auto, none, required or a function");
    return PST_CHOICE_UNSAID;
}

/* ---- turns of blocks ---- */

static void put_others_blocks(pst_chat_t *c, const pst_chat_blocks_t *put, uint32_t m, uint32_t end)
{
    for (uint32_t i = m; i != end; i = pst_chat_after(c, i)) {
        if (pst_chat_role(c, i) == PST_ROLE_TOOL)
            put->result(c, i);
    }
    for (uint32_t i = m; i != end; i = pst_chat_after(c, i)) {
        if (pst_chat_role(c, i) != PST_ROLE_TOOL)
            pst_chat_each_part(c, pst_json_get(c->j, i, "content"), put->part);
    }
}

static void put_assistants_blocks(pst_chat_t *c, const pst_chat_blocks_t *put, uint32_t m, uint32_t end)
{
    for (uint32_t i = m; i != end; i = pst_chat_after(c, i)) {
        pst_chat_each_part(c, pst_json_get(c->j, i, "content"), put->part);
        pst_chat_each_call(c, i, put->call);
    }
}

static void put_turn(pst_chat_t *c, const pst_chat_blocks_t *put, uint32_t m, uint32_t end)
{
    bool assistant = pst_chat_role(c, m) == PST_ROLE_ASSISTANT;
    pst_turn_t turn = pst_chat_open_turn(c, assistant, assistant ? "{\"role\":\"assistant\",\"content\":["
                                                                 : "{\"role\":\"user\",\"content\":[");
    if (assistant)
        put_assistants_blocks(c, put, m, end);
    else
        put_others_blocks(c, put, m, end);
    pst_chat_close_turn(c, turn);
}

void pst_chat_put_turns(pst_chat_t *c, const pst_chat_blocks_t *put)
{
    pst_json_put_key(&c->b, "messages");
    pst_buf_putc(&c->b, '[');
    for (uint32_t m = c->opening, end; m != PST_JSON_NONE; m = end) {
        end = pst_chat_turn_end(c, m);
        put_turn(c, put, m, end);
    }
    pst_buf_putc(&c->b, ']');
}

/* ---- parameters ---- */

uint32_t pst_chat_param(const pst_chat_t *c, const char *key)
{
    return pst_member(c->j, 0, key);
}

uint32_t pst_chat_max_tokens(const pst_chat_t *c)
{
    uint32_t t = pst_chat_param(c, "max_completion_tokens");
    return t != PST_JSON_NONE ? t : pst_chat_param(c, "max_tokens");
}

int64_t pst_chat_n(const pst_chat_t *c)
{
    int64_t n;
    return pst_json_int(c->j, pst_chat_param(c, "n"), &n) ? n : 1;
}

void pst_chat_one_choice(pst_chat_t *c)
{
    if (pst_chat_n(c) != 1)
        pst_chat_refuse(c, "n: this provider gives one choice a request: submit more requests");
}

void pst_chat_put_stop(pst_chat_t *c, const char *key)
{
    uint32_t stop = pst_chat_param(c, "stop");
    if (pst_json_is(c->j, stop, PST_JSON_ARRAY)) {
        if (c->j->tok[stop].count)
            pst_put_raw(&c->b, key, c->j, stop);
    } else if (pst_json_is(c->j, stop, PST_JSON_STRING)) {
        pst_json_put_key(&c->b, key);
        pst_buf_putc(&c->b, '[');
        pst_buf_putv(&c->b, pst_json_raw(c->j, stop));
        pst_buf_putc(&c->b, ']');
    }
}

uint32_t pst_chat_schema(const pst_chat_t *c)
{
    uint32_t format = pst_chat_param(c, "response_format");
    if (!pst_is_word(c->j, pst_json_get(c->j, format, "type"), "json_schema"))
        return PST_JSON_NONE;
    return pst_json_path(c->j, format, "json_schema", "schema", NULL);
}
