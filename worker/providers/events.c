#include "providers/events.h"

#include "providers/common.h"

typedef struct events {
    const pst_json_t *j;
    pst_buf_t *out;
    uint64_t n;      /* told */
    size_t from;     /* where the event being written begins */
    uint32_t item;   /* the output item that is being told: its token, its place */
    uint32_t index;
    uint32_t part;   /* of its content: place */
} events_t;

/* ---- one event ---- */

static void begin(events_t *e, const char *type)
{
    e->from = e->out->n;
    pst_buf_puts(e->out, "{\"type\":\"response.");
    pst_buf_puts(e->out, type);
    pst_buf_putc(e->out, '"');
    pst_put_count(e->out, "sequence_number", e->n++);
}

/* Line breaks in JSON stand between its parts, never in a string. */
static void end(events_t *e)
{
    pst_buf_putc(e->out, '}');
    for (size_t i = e->from; i < e->out->n; i++) {
        if (e->out->p[i] == '\n' || e->out->p[i] == '\r')
            e->out->p[i] = ' ';
    }
    pst_buf_putc(e->out, '\n');
}

static void begin_of_item(events_t *e, const char *type)
{
    begin(e, type);
    pst_put_raw(e->out, "item_id", e->j, pst_json_get(e->j, e->item, "id"));
    pst_put_count(e->out, "output_index", e->index);
}

static void begin_of_part(events_t *e, const char *type)
{
    begin_of_item(e, type);
    pst_put_count(e->out, "content_index", e->part);
}

/* ---- things that have begun ---- */

typedef struct blank {
    const char *key, *value; /* JSON */
} blank_t;

/* An object as it stands but for what is still to be said. */
static void put_begun(events_t *e, const char *key, uint32_t object, const blank_t *blank, size_t blanks)
{
    pst_json_put_key(e->out, key);
    pst_buf_putc(e->out, '{');
    for (uint32_t k = pst_json_first(e->j, object); k != PST_JSON_NONE; k = pst_json_after(e->j, object, k)) {
        size_t i = 0;
        while (i < blanks && !pst_is_word(e->j, k, blank[i].key))
            i++;
        pst_json_put_comma(e->out);
        pst_buf_putv(e->out, pst_json_raw(e->j, k));
        pst_buf_putc(e->out, ':');
        if (i < blanks)
            pst_buf_puts(e->out, blank[i].value);
        else
            pst_buf_putv(e->out, pst_json_raw(e->j, k + 1));
    }
    pst_buf_putc(e->out, '}');
}

static void tell_beginning(events_t *e, const char *type)
{
    static const blank_t blank[] = {
        {"status", "\"in_progress\""}, {"incomplete_details", "null"}, {"output", "[]"},
        {"native_finish_reason", "null"}, {"usage", "null"}};
    begin(e, type);
    put_begun(e, "response", 0, blank, PST_COUNT(blank));
    end(e);
}

/* ---- items ---- */

/* What is told of a part of some type: the member that has its text, the event of a piece, the event of the whole. */
typedef struct telling {
    const char *type, *member, *delta, *done;
    bool logprobs;   /* the events have them */
} telling_t;

static const telling_t tellings[] = {
    {"output_text", "text", "output_text.delta", "output_text.done", true},
    {"refusal", "refusal", "refusal.delta", "refusal.done", false},
    {"reasoning_text", "text", "reasoning_text.delta", "reasoning_text.done", false},
};

static void put_said(events_t *e, const telling_t *w, const char *key, uint32_t text)
{
    if (w->logprobs)
        pst_buf_puts(e->out, ",\"logprobs\":[]");
    pst_put_raw(e->out, key, e->j, text);
}

static void tell_text(events_t *e, const telling_t *w, uint32_t text)
{
    begin_of_part(e, w->delta);
    put_said(e, w, "delta", text);
    end(e);
    begin_of_part(e, w->done);
    put_said(e, w, w->member, text);
    end(e);
}

static void tell_part(events_t *e, uint32_t part)
{
    static const blank_t blank[] = {{"text", "\"\""}, {"refusal", "\"\""}};
    begin_of_part(e, "content_part.added");
    put_begun(e, "part", part, blank, PST_COUNT(blank));
    end(e);
    for (size_t i = 0; i < PST_COUNT(tellings); i++) {
        if (pst_is_word(e->j, pst_json_get(e->j, part, "type"), tellings[i].type))
            tell_text(e, &tellings[i], pst_json_get(e->j, part, tellings[i].member));
    }
    begin_of_part(e, "content_part.done");
    pst_put_raw(e->out, "part", e->j, part);
    end(e);
}

static void tell_arguments(events_t *e, uint32_t arguments)
{
    begin_of_item(e, "function_call_arguments.delta");
    pst_put_raw(e->out, "delta", e->j, arguments);
    end(e);
    begin_of_item(e, "function_call_arguments.done");
    pst_put_raw(e->out, "name", e->j, pst_json_get(e->j, e->item, "name"));
    pst_put_raw(e->out, "arguments", e->j, arguments);
    end(e);
}

static void tell_item(events_t *e)
{
    static const blank_t blank[] = {{"status", "\"in_progress\""}, {"content", "[]"}, {"arguments", "\"\""}};
    uint32_t content = pst_json_get(e->j, e->item, "content"), arguments = pst_json_get(e->j, e->item, "arguments");
    begin(e, "output_item.added");
    pst_put_count(e->out, "output_index", e->index);
    put_begun(e, "item", e->item, blank, PST_COUNT(blank));
    end(e);
    e->part = 0;
    for (uint32_t t = pst_json_first(e->j, content); t != PST_JSON_NONE; t = pst_json_after(e->j, content, t), e->part++)
        tell_part(e, t);
    if (arguments != PST_JSON_NONE)
        tell_arguments(e, arguments);
    begin(e, "output_item.done");
    pst_put_count(e->out, "output_index", e->index);
    pst_put_raw(e->out, "item", e->j, e->item);
    end(e);
}

uint64_t pst_response_events(const pst_json_t *response, pst_buf_t *out)
{
    events_t e = {.j = response, .out = out};
    uint32_t output = pst_json_get(response, 0, "output");
    bool part = pst_is_word(response, pst_json_get(response, 0, "status"), "incomplete");
    tell_beginning(&e, "created");
    tell_beginning(&e, "in_progress");
    for (e.item = pst_json_first(response, output); e.item != PST_JSON_NONE;
         e.item = pst_json_after(response, output, e.item), e.index++)
        tell_item(&e);
    begin(&e, part ? "incomplete" : "completed");
    pst_put_raw(out, "response", response, 0);
    end(&e);
    return e.n;
}
