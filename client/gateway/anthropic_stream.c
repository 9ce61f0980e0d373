/* Streams: OpenAI's chunks, said as Anthropic's events. */
#include "gateway/anthropic_inside.h"
#include "lib/text.h"
#include "lib/tokens.h"

#define STATUS_BROKEN 500 /* of an answer that went wrong on its way, where nothing else is said of it */

/* ---- events ---- */

/* Begins one at the end of its type. */
static void open_event(pst_buf_t *b, const char *type)
{
    pst_buf_puts(b, "event: ");
    pst_buf_puts(b, type);
    pst_buf_puts(b, "\ndata: {\"type\":\"");
    pst_buf_puts(b, type);
    pst_buf_putc(b, '"');
}

static void close_event(pst_buf_t *b)
{
    pst_buf_puts(b, "}\n\n");
}

void pst_anthropic_ping(pst_buf_t *out)
{
    open_event(out, "ping");
    close_event(out);
}

static void open_delta(pst_anthropic_stream_t *s, const char *type, const char *key, pst_buf_t *b)
{
    open_event(b, "content_block_delta");
    pst_member_uint(b, "index", s->blocks - 1);
    pst_buf_puts(b, ",\"delta\":{");
    pst_member_str(b, "type", type);
    pst_json_put_key(b, key);
}

static void close_delta(pst_buf_t *b)
{
    pst_buf_putc(b, '}');
    close_event(b);
}

void pst_anthropic_stream_fail(pst_anthropic_stream_t *s, int status, pst_view_t message, pst_buf_t *out)
{
    if (s->done)
        return;
    s->done = true;
    pst_buf_puts(out, "event: error\ndata: ");
    pst_anthropic_error(status, message, pst_view(NULL, 0), out);
    pst_buf_puts(out, "\n\n");
}

static void begin(pst_anthropic_stream_t *s, pst_buf_t *b)
{
    const pst_json_t *j = &s->x.json;
    if (s->began)
        return;
    s->began = true;
    open_event(b, "message_start");
    pst_buf_puts(b, ",\"message\":{\"id\":");
    pst_anthropic_put_id(b, j, pst_json_get(j, 0, "id"), PST_VIEW_LIT("stream"));
    pst_buf_puts(b, ",\"type\":\"message\",\"role\":\"assistant\"");
    pst_anthropic_put_model(b, j, 0);
    pst_buf_puts(b, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null");
    pst_anthropic_put_usage(b, &s->usage);
    pst_buf_putc(b, '}');
    close_event(b);
}

/* ---- blocks ---- */

static void close_block(pst_anthropic_stream_t *s, pst_buf_t *b)
{
    if (s->open == PST_ANTHROPIC_NO_BLOCK)
        return;
    open_event(b, "content_block_stop");
    pst_member_uint(b, "index", s->blocks - 1);
    close_event(b);
    s->open = PST_ANTHROPIC_NO_BLOCK;
}

/* Up to its content_block, whose type is to follow. */
static void open_block(pst_anthropic_stream_t *s, pst_anthropic_block_t kind, pst_buf_t *b)
{
    close_block(s, b);
    s->open = kind;
    open_event(b, "content_block_start");
    pst_member_uint(b, "index", s->blocks++);
    pst_buf_puts(b, ",\"content_block\":{");
}

static void put_words(pst_anthropic_stream_t *s, pst_anthropic_block_t kind, uint32_t text, pst_buf_t *b)
{
    const pst_json_t *j = &s->x.json;
    bool thinks = kind == PST_ANTHROPIC_THINKING;
    if (!pst_splice_has_text(j, text))
        return;
    s->guessed_milli += pst_tokens_milli(pst_splice_inside(j, text), j->tok[text].escaped);
    if (s->open != kind) {
        open_block(s, kind, b);
        pst_buf_puts(b, thinks ? "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"
                               : "\"type\":\"text\",\"text\":\"\"}");
        close_event(b);
    }
    open_delta(s, thinks ? "thinking_delta" : "text_delta", thinks ? "thinking" : "text", b);
    pst_splice_put(b, j, text);
    close_delta(b);
}

/* ---- calls of tools ---- */

static void open_call(pst_anthropic_stream_t *s, pst_buf_t *b)
{
    const pst_anthropic_call_t *c = &s->call[s->calls_begun++];
    open_block(s, PST_ANTHROPIC_TOOL, b);
    pst_member_str(b, "type", "tool_use");
    if (c->id.n)
        pst_splice_put_text(b, "id", pst_buf_view(&c->id));
    else
        pst_buf_printf(b, ",\"id\":\"toolu_%u\"", s->calls_begun - 1);
    pst_splice_put_text(b, "name", pst_buf_view(&c->name));
    pst_buf_puts(b, ",\"input\":{},\"caller\":" PST_ANTHROPIC_CALLER "}");
    close_event(b);
}

static void put_waiting(pst_anthropic_stream_t *s, pst_anthropic_call_t *c, pst_buf_t *b)
{
    if (c->arguments.n == 0)
        return;
    open_delta(s, "input_json_delta", "partial_json", b);
    pst_json_put_str(b, pst_buf_view(&c->arguments));
    close_delta(b);
    pst_buf_clear(&c->arguments);
}

/* Writes what can be written; all of it if nothing more will come. */
static void advance(pst_anthropic_stream_t *s, bool last, pst_buf_t *b)
{
    for (;;) {
        pst_anthropic_call_t *open = s->open == PST_ANTHROPIC_TOOL ? &s->call[s->calls_begun - 1] : NULL;
        if (open)
            put_waiting(s, open, b);
        if (s->calls_begun == s->calls || (open && !open->complete && !last))
            return;
        if (s->call[s->calls_begun].name.n == 0 && !last)
            return;
        open_call(s, b);
    }
}

/* Whether an object or array is whole is seen in its braces. */
static void follow(pst_anthropic_call_t *c, pst_view_t text)
{
    for (size_t i = 0; i < text.n; i++) {
        char x = text.p[i];
        if (c->in_string) {
            c->in_string = x != '"' || c->escaped;
            c->escaped = x == '\\' && !c->escaped;
        } else if (x == '"') {
            c->in_string = true;
        } else if (x == '{' || x == '[') {
            c->depth++;
        } else if ((x == '}' || x == ']') && c->depth) {
            c->complete = --c->depth == 0;
        }
    }
}

/* Some hosts give all calls the index 0 and tell them apart by their ids alone. */
static pst_anthropic_call_t *find_call(pst_anthropic_stream_t *s, uint64_t index, pst_view_t id)
{
    for (uint32_t i = s->calls; i-- > 0;) {
        pst_anthropic_call_t *c = &s->call[i];
        if (c->index == index)
            return id.n == 0 || c->id.n == 0 || pst_view_eq(id, pst_buf_view(&c->id)) ? c : NULL;
    }
    return NULL;
}

/* NULL if there is no room. */
static pst_anthropic_call_t *add_call(pst_anthropic_stream_t *s, uint64_t index)
{
    if (s->calls == PST_ANTHROPIC_CALLS_MAX)
        return NULL;
    pst_anthropic_call_t *v = realloc(s->call, (s->calls + 1) * sizeof *v);
    if (!v)
        return NULL;
    s->call = v;
    v[s->calls] = (pst_anthropic_call_t){.index = index};
    return &v[s->calls++];
}

static bool is_over(const pst_anthropic_stream_t *s, const pst_anthropic_call_t *c)
{
    uint32_t at = (uint32_t)(c - s->call);
    return at < s->calls_begun && !(s->open == PST_ANTHROPIC_TOOL && at + 1 == s->calls_begun);
}

static void read_call(pst_anthropic_stream_t *s, uint32_t t, pst_buf_t *b)
{
    pst_anthropic_t *x = &s->x;
    const pst_json_t *j = &x->json;
    uint32_t function = pst_json_get(j, t, "function"), text = pst_json_get(j, function, "arguments");
    pst_view_t id = pst_json_str(j, pst_json_get(j, t, "id"), &x->arena);
    pst_view_t arguments = pst_json_str(j, text, &x->arena);
    uint64_t index = pst_splice_count(j, pst_json_get(j, t, "index"));
    pst_anthropic_call_t *c = find_call(s, index, id);
    if (!c)
        c = add_call(s, index);
    if (!c) {
        pst_anthropic_stream_fail(s, STATUS_BROKEN, PST_VIEW_LIT("the answer calls too many tools"), b);
        return;
    }
    if (arguments.n && is_over(s, c)) {
        pst_anthropic_stream_fail(s, STATUS_BROKEN, PST_VIEW_LIT("a call of a tool went on after its end"), b);
        return;
    }
    if (c->id.n == 0)
        pst_buf_putv(&c->id, id);
    if (c->name.n == 0)
        pst_buf_putv(&c->name, pst_json_str(j, pst_json_get(j, function, "name"), &x->arena));
    if (arguments.n)
        s->guessed_milli += pst_tokens_milli(arguments, false);
    follow(c, arguments);
    pst_buf_putv(&c->arguments, arguments);
    if (c->id.failed || c->name.failed || c->arguments.failed)
        pst_anthropic_stream_fail(s, STATUS_BROKEN, PST_VIEW_LIT("out of memory"), b);
}

/* ---- chunks ---- */

static void read_delta(pst_anthropic_stream_t *s, uint32_t delta, pst_buf_t *b)
{
    const pst_json_t *j = &s->x.json;
    uint32_t refusal = pst_json_get(j, delta, "refusal"), calls = pst_json_get(j, delta, "tool_calls");
    uint32_t thoughts = pst_json_get(j, delta, "reasoning_content");
    if (!pst_splice_has_text(j, thoughts))
        thoughts = pst_json_get(j, delta, "reasoning");
    put_words(s, PST_ANTHROPIC_THINKING, thoughts, b);
    put_words(s, PST_ANTHROPIC_TEXT, pst_json_get(j, delta, "content"), b);
    put_words(s, PST_ANTHROPIC_TEXT, refusal, b);
    s->refused = s->refused || pst_splice_has_text(j, refusal);
    if (!pst_json_is(j, calls, PST_JSON_ARRAY))
        return;
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE && !s->done; t = pst_json_after(j, calls, t)) {
        read_call(s, t, b);
        if (!s->done)
            advance(s, false, b);
    }
}

/* The one choice that was asked for. */
static uint32_t choice_of(const pst_json_t *j)
{
    uint32_t choices = pst_json_get(j, 0, "choices");
    uint32_t t = pst_json_is(j, choices, PST_JSON_ARRAY) ? pst_json_first(j, choices) : PST_JSON_NONE;
    while (t != PST_JSON_NONE && pst_splice_count(j, pst_json_get(j, t, "index")) != 0)
        t = pst_json_after(j, choices, t);
    return t;
}

static void read_error(pst_anthropic_stream_t *s, uint32_t error, pst_buf_t *b)
{
    const pst_json_t *j = &s->x.json;
    uint32_t code = pst_json_get(j, error, "code");
    int64_t status;
    pst_view_t message = pst_anthropic_message_of(&s->x, 0);
    if (!pst_json_int(j, code, &status) || status < 400 || status > 599)
        status = pst_anthropic_error_status(pst_splice_inside(j, code));
    pst_anthropic_stream_fail(s, (int)status, message.n ? message : PST_VIEW_LIT("the answer broke off"), b);
}

static void read_chunk(pst_anthropic_stream_t *s, pst_buf_t *b)
{
    const pst_json_t *j = &s->x.json;
    uint32_t choice = choice_of(j), usage = pst_splice_member(j, 0, "usage");
    if (usage != PST_JSON_NONE) {
        s->counted = true;
        s->usage = pst_anthropic_usage_of(j, usage);
    }
    begin(s, b);
    read_delta(s, pst_json_get(j, choice, "delta"), b);
    const char *why = pst_anthropic_stop_reason(j, choice);
    if (pst_splice_is(j, pst_json_get(j, choice, "finish_reason"), "error"))
        pst_anthropic_stream_fail(s, STATUS_BROKEN, PST_VIEW_LIT("the provider broke the answer off"), b);
    else if (why)
        s->stop_reason = why;
}

void pst_anthropic_stream_feed(pst_anthropic_stream_t *s, pst_view_t chunk, pst_buf_t *out)
{
    const pst_json_t *j = &s->x.json;
    if (s->done)
        return;
    pst_arena_clear(&s->x.arena);
    bool parsed = pst_json_parse(&s->x.json, chunk, NULL) == PST_OK && pst_json_is(j, 0, PST_JSON_OBJECT);
    uint32_t error = parsed ? pst_splice_member(j, 0, "error") : PST_JSON_NONE;
    if (!parsed)
        pst_anthropic_stream_fail(s, STATUS_BROKEN, PST_VIEW_LIT("a part of the answer does not parse"), out);
    else if (error != PST_JSON_NONE)
        read_error(s, error, out);
    else
        read_chunk(s, out);
}

static const char *final_reason(const pst_anthropic_stream_t *s)
{
    bool plain = strcmp(s->stop_reason, "end_turn") == 0;
    return s->refused ? "refusal" : s->calls && plain ? "tool_use" : s->stop_reason;
}

void pst_anthropic_stream_end(pst_anthropic_stream_t *s, pst_buf_t *out)
{
    if (!s->stop_reason)
        pst_anthropic_stream_fail(s, STATUS_BROKEN, PST_VIEW_LIT("the answer ended before it was complete"), out);
    if (s->done)
        return;
    s->done = true;
    advance(s, true, out);
    close_block(s, out);
    if (!s->counted)
        s->usage.output = (s->guessed_milli + 999) / 1000;
    open_event(out, "message_delta");
    pst_buf_puts(out, ",\"delta\":{");
    pst_member_str(out, "stop_reason", final_reason(s));
    pst_buf_puts(out, ",\"stop_sequence\":null}");
    pst_anthropic_put_usage(out, &s->usage);
    close_event(out);
    open_event(out, "message_stop");
    close_event(out);
}

void pst_anthropic_stream_init(pst_anthropic_stream_t *s, uint64_t input_tokens)
{
    *s = (pst_anthropic_stream_t){.usage = {.input = input_tokens}};
}

void pst_anthropic_stream_release(pst_anthropic_stream_t *s)
{
    for (uint32_t i = 0; i < s->calls; i++) {
        pst_buf_release(&s->call[i].id);
        pst_buf_release(&s->call[i].name);
        pst_buf_release(&s->call[i].arguments);
    }
    free(s->call);
    pst_anthropic_release(&s->x);
    *s = (pst_anthropic_stream_t){0};
}
