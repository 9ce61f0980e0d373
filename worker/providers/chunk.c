#include "providers/common.h"
#include "providers/events.h"
#include "providers/failure.h"
#include "providers/stream.h"

/* A plain answer's texts are told in parts as long as this at most. */
#define PART_BYTES ((size_t)64 << 10)

/* ---- lines ---- */

/* Line breaks in JSON stand between its parts, never in a string. */
static void put_flat(pst_buf_t *out, pst_view_t json)
{
    size_t from = out->n;
    pst_buf_putv(out, json);
    for (size_t i = from; i < out->n; i++) {
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' ';
    }
}

static void put_any(pst_buf_t *out, const char *key, const pst_json_t *j, uint32_t t)
{
    if (t == PST_JSON_NONE)
        return;
    pst_json_put_key(out, key);
    put_flat(out, pst_json_raw(j, t));
}

static void put_string(pst_buf_t *out, const char *key, const pst_json_t *j, uint32_t t)
{
    if (pst_json_is(j, t, PST_JSON_STRING))
        pst_put_raw(out, key, j, t);
}

void pst_stream_name(pst_stream_t *s, const pst_json_t *j, uint32_t id, uint32_t model)
{
    pst_buf_clear(&s->head);
    pst_answer_begin(&s->head, s->task, "chat.completion.chunk", "chatcmpl-", j, id, model);
}

static void put_head(pst_stream_t *s, pst_buf_t *out)
{
    static const pst_json_t nothing = {.n = 0};
    if (s->head.n == 0)
        pst_stream_name(s, &nothing, PST_JSON_NONE, PST_JSON_NONE);
    pst_buf_putv(out, pst_buf_view(&s->head));
}

static uint64_t bit_of(uint32_t index)
{
    PST_ASSERT(index < PST_STREAM_CHOICES_MAX);
    return UINT64_C(1) << index;
}

static void open_choice(pst_stream_t *s, pst_buf_t *out, uint32_t index)
{
    put_head(s, out);
    pst_buf_puts(out, ",\"choices\":[{\"index\":");
    pst_put_digits(out, index);
    pst_buf_puts(out, ",\"delta\":{");
}

void pst_chunk_open(pst_stream_t *s, pst_buf_t *out, uint32_t index)
{
    if (!(s->begun & bit_of(index))) {
        s->begun |= bit_of(index);
        open_choice(s, out, index);
        pst_buf_puts(out, "\"role\":\"assistant\",\"content\":\"\"");
        pst_chunk_close(s, out);
    }
    open_choice(s, out, index);
}

static void end_line(pst_stream_t *s, pst_buf_t *out)
{
    pst_buf_putc(out, '\n');
    s->lines++;
}

void pst_chunk_end(pst_stream_t *s, pst_buf_t *out)
{
    pst_buf_puts(out, ",\"finish_reason\":null}]}");
    end_line(s, out);
}

void pst_chunk_close(pst_stream_t *s, pst_buf_t *out)
{
    pst_buf_puts(out, "},\"logprobs\":null");
    pst_chunk_end(s, out);
}

void pst_chunk_text(pst_stream_t *s, pst_buf_t *out, uint32_t index, const char *key, pst_view_t inside)
{
    if (inside.n == 0)
        return;
    pst_chunk_open(s, out, index);
    pst_json_put_key(out, key);
    pst_buf_putc(out, '"');
    pst_buf_putv(out, inside);
    pst_buf_putc(out, '"');
    pst_chunk_close(s, out);
}

void pst_chunk_call(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t id, uint32_t name,
                    uint32_t signature)
{
    uint32_t n = s->calls[index]++;
    s->in_call = true;
    s->argued = false;
    pst_chunk_open(s, out, index);
    pst_buf_puts(out, "\"tool_calls\":[{\"index\":");
    pst_put_digits(out, n);
    pst_json_put_key(out, "id");
    if (pst_has_text(j, id))
        pst_buf_putv(out, pst_json_raw(j, id));
    else
        pst_put_made_id(out, "call_", s->task->random, index * PST_STREAM_CHOICES_MAX + n + 1);
    pst_buf_puts(out, ",\"type\":\"function\",\"function\":{");
    put_string(out, "name", j, name);
    pst_put_text(out, "arguments", pst_view(NULL, 0));
    put_string(out, "thought_signature", j, signature);
    pst_buf_puts(out, "}}]");
    pst_chunk_close(s, out);
}

static void open_arguments(pst_stream_t *s, pst_buf_t *out, uint32_t index)
{
    s->argued = true;
    pst_chunk_open(s, out, index);
    pst_buf_puts(out, "\"tool_calls\":[{\"index\":");
    pst_put_digits(out, s->calls[index] - 1);
    pst_buf_puts(out, ",\"function\":{\"arguments\":");
}

static void close_arguments(pst_stream_t *s, pst_buf_t *out)
{
    pst_buf_puts(out, "}}]");
    pst_chunk_close(s, out);
}

void pst_chunk_arguments(pst_stream_t *s, pst_buf_t *out, uint32_t index, pst_view_t inside)
{
    if (inside.n == 0 || s->calls[index] == 0)
        return;
    open_arguments(s, out, index);
    pst_buf_putc(out, '"');
    pst_buf_putv(out, inside);
    pst_buf_putc(out, '"');
    close_arguments(s, out);
}

void pst_chunk_arguments_text(pst_stream_t *s, pst_buf_t *out, uint32_t index, pst_view_t text)
{
    open_arguments(s, out, index);
    pst_json_put_str(out, text);
    close_arguments(s, out);
}

void pst_chunk_call_end(pst_stream_t *s, pst_buf_t *out, uint32_t index)
{
    if (s->in_call && !s->argued)
        pst_chunk_arguments_text(s, out, index, PST_VIEW_LIT("{}"));
    s->in_call = false;
}

void pst_chunk_finish(pst_stream_t *s, pst_buf_t *out, uint32_t index, pst_view_t reason, const pst_json_t *j,
                      uint32_t native)
{
    s->finished |= bit_of(index);
    pst_chunk_open(s, out, index);
    pst_buf_puts(out, "},\"logprobs\":null");
    pst_put_text(out, "finish_reason", reason);
    put_string(out, "native_finish_reason", j, native);
    pst_buf_puts(out, "}]}");
    end_line(s, out);
}

void pst_chunk_usage(pst_stream_t *s, pst_buf_t *out)
{
    put_head(s, out);
    pst_buf_puts(out, ",\"choices\":[]");
    pst_answer_end(out, &s->usage);
    end_line(s, out);
}

void pst_chunk_raw(pst_stream_t *s, pst_buf_t *out, pst_view_t object)
{
    put_flat(out, object);
    end_line(s, out);
}

/* ---- a plain answer ---- */

/* Bytes of the character, or of the escape, that begins there: two of a pair are one. */
static size_t unit_bytes(pst_view_t v)
{
    unsigned char c = (unsigned char)v.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == '\\')
        n = v.n > 1 && v.p[1] == 'u' ? 6 : 2;
    if (n == 6 && v.n >= 12 && (v.p[2] | 0x20) == 'd' && v.p[3] >= '8' && (v.p[3] | 0x20) <= 'b')
        n = 12;
    return PST_MIN(n, v.n);
}

/* Of a string's inside: what goes into one line. */
static pst_view_t part_of(pst_view_t v)
{
    size_t n = 0;
    if (v.n <= PART_BYTES)
        return v;
    while (n < PART_BYTES)
        n += unit_bytes(pst_view(v.p + n, v.n - n));
    return pst_view(v.p, n);
}

static void put_parts(pst_stream_t *s, pst_buf_t *out, uint32_t index, const char *key, pst_view_t inside)
{
    while (inside.n) {
        pst_view_t part = part_of(inside);
        if (key)
            pst_chunk_text(s, out, index, key, part);
        else
            pst_chunk_arguments(s, out, index, part);
        inside = pst_view(inside.p + part.n, inside.n - part.n);
    }
}

static void put_whole_calls(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t calls)
{
    for (uint32_t t = pst_json_first(j, calls); t != PST_JSON_NONE; t = pst_json_after(j, calls, t)) {
        uint32_t function = pst_json_get(j, t, "function");
        pst_chunk_call(s, out, index, j, pst_json_get(j, t, "id"), pst_json_get(j, function, "name"),
                       pst_member(j, function, "thought_signature"));
        put_parts(s, out, index, NULL, pst_inside(j, pst_json_get(j, function, "arguments")));
        pst_chunk_call_end(s, out, index);
    }
}

/* Texts in parts; what else a message has as it stands. */
static void put_member(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t key)
{
    static const char *const texts[] = {"content", "reasoning_content", "reasoning", "refusal", "tool_plan"};
    if (pst_is_word(j, key, "role") || pst_json_is(j, key + 1, PST_JSON_NULL))
        return;
    if (pst_is_word(j, key, "tool_calls")) {
        put_whole_calls(s, out, index, j, key + 1);
        return;
    }
    for (size_t i = 0; i < PST_COUNT(texts); i++) {
        if (pst_is_word(j, key, texts[i]) && pst_json_is(j, key + 1, PST_JSON_STRING)) {
            put_parts(s, out, index, texts[i], pst_inside(j, key + 1));
            return;
        }
    }
    pst_chunk_open(s, out, index);
    pst_buf_putv(out, pst_json_raw(j, key));
    pst_buf_putc(out, ':');
    put_flat(out, pst_json_raw(j, key + 1));
    pst_chunk_close(s, out);
}

static void put_whole_choice(pst_stream_t *s, pst_buf_t *out, const pst_json_t *j, uint32_t choice, uint32_t index)
{
    static const char *const rest[] = {"logprobs", "finish_reason", "native_finish_reason"};
    uint32_t message = pst_json_get(j, choice, "message");
    for (uint32_t k = pst_json_first(j, message); k != PST_JSON_NONE; k = pst_json_after(j, message, k))
        put_member(s, out, index, j, k);
    pst_chunk_open(s, out, index);
    pst_buf_putc(out, '}');
    for (size_t i = 0; i < PST_COUNT(rest); i++)
        put_any(out, rest[i], j, pst_json_get(j, choice, rest[i]));
    pst_buf_puts(out, "}]}");
    end_line(s, out);
}

static void put_whole_chat(pst_stream_t *s, pst_buf_t *out, const pst_json_t *j)
{
    uint32_t choices = pst_json_get(j, 0, "choices"), n = 0;
    uint32_t usage = pst_member(j, 0, "usage");
    pst_stream_name(s, j, pst_json_get(j, 0, "id"), pst_json_get(j, 0, "model"));
    for (uint32_t t = pst_json_first(j, choices); t != PST_JSON_NONE && n < PST_STREAM_CHOICES_MAX;
         t = pst_json_after(j, choices, t))
        put_whole_choice(s, out, j, t, n++);
    if (!s->task->usage_wanted || usage == PST_JSON_NONE)
        return;
    put_head(s, out);
    pst_buf_puts(out, ",\"choices\":[]");
    put_any(out, "usage", j, usage);
    pst_buf_putc(out, '}');
    end_line(s, out);
}

static void put_whole(pst_stream_t *s, pst_buf_t *out, const pst_json_t *j)
{
    switch (s->task->url) {
    case PST_URL_CHAT: put_whole_chat(s, out, j); break;
    case PST_URL_RESPONSES: s->lines += pst_response_events(j, out); break;
    case PST_URL_COMPLETIONS: /* a chunk is shaped as the whole is */
    case PST_URL_EMBEDDINGS: pst_chunk_raw(s, out, pst_json_raw(j, 0)); break;
    case PST_URL_COUNT: break;
    }
}

void pst_stream_whole(pst_stream_t *s, const pst_http_answer_t *answer, pst_arena_t *a, pst_buf_t *out,
                      pst_reading_t *ret)
{
    pst_json_t *j = s->task->tape;
    size_t from = out->n;
    if (pst_json_parse(j, ret->body, NULL) != PST_OK) { /* no memory: an adapter's answer is JSON */
        pst_failure_no_memory(ret);
        return;
    }
    put_whole(s, out, j);
    if (pst_stream_fits(out, from)) {
        ret->body = pst_view(NULL, 0);
        return;
    }
    pst_http_answer_t over = {.transport = PST_CAUSE_PAYLOAD_TOO_LARGE, .wall_ms = answer->wall_ms};
    s->provider->read(s->task, &over, a, ret);
}
