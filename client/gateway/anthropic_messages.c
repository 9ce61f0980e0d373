/* Requests: instructions, turns and what is in them.
 *
 * A user's turn may hold results of tools, which are messages of their own with OpenAI and come first, as they must
 * follow the calls; an assistant's calls stand beside its text, with arguments as the text of JSON.  Texts of several
 * blocks stay several parts, but an assistant's and a tool's are joined for other models than Claude: many hosts take
 * only a string there. */
#include "gateway/anthropic_msgreq.h"

/* Parts of a content being written. */
typedef struct parts {
    size_t at;                /* where it begins */
    unsigned n;
    uint32_t only;            /* text of the one part, if a string says the same */
    bool marked;              /* the last part has a cache_control */
} parts_t;

/* ---- parts of a content ---- */

static void refuse_block(pst_msgreq_t *q, const char *what)
{
    pst_msgreq_refuse(q, "messages.%u.content.%u%s", q->message, q->block, what);
}

static void refuse_type(pst_msgreq_t *q, uint32_t block)
{
    pst_view_t v = pst_msgreq_shown(q, pst_json_get(q->j, block, "type"));
    pst_msgreq_refuse(q, "messages.%u.content.%u: a block of type \"%.*s\" cannot be sent here", q->message, q->block,
                      (int)v.n, v.p);
}

static parts_t open_parts(pst_msgreq_t *q)
{
    parts_t p = {.at = q->b->n, .only = PST_JSON_NONE};
    pst_buf_putc(q->b, '[');
    return p;
}

/* False, and nothing is written, if there are no parts. */
static bool close_parts(pst_msgreq_t *q, parts_t *p)
{
    if (q->b->failed)
        return true;
    if (p->n > 1 || (p->n == 1 && p->only == PST_JSON_NONE)) {
        pst_buf_putc(q->b, ']');
        return true;
    }
    q->b->n = p->at;
    if (p->n)
        pst_splice_put(q->b, q->j, p->only);
    return p->n > 0;
}

/* An empty text would be refused by most. */
static void put_text(pst_msgreq_t *q, parts_t *p, uint32_t text, uint32_t mark)
{
    if (!pst_splice_has_text(q->j, text))
        return;
    p->only = p->n == 0 && mark == PST_JSON_NONE ? text : PST_JSON_NONE;
    p->marked = mark != PST_JSON_NONE;
    p->n++;
    pst_json_put_comma(q->b);
    pst_buf_puts(q->b, "{\"type\":\"text\"");
    pst_splice_put_member(q->b, "text", q->j, text);
    pst_splice_put_member(q->b, "cache_control", q->j, mark);
    pst_buf_putc(q->b, '}');
}

static void put_words(pst_msgreq_t *q, parts_t *p, const char *before, pst_view_t raw)
{
    p->only = PST_JSON_NONE;
    p->marked = false;
    p->n++;
    pst_json_put_comma(q->b);
    pst_buf_puts(q->b, "{\"type\":\"text\",\"text\":\"");
    pst_buf_puts(q->b, before);
    pst_buf_putv(q->b, raw);
    pst_buf_puts(q->b, "\"}");
}

static void begin_other(pst_msgreq_t *q, parts_t *p, const char *head)
{
    p->only = PST_JSON_NONE;
    p->n++;
    pst_json_put_comma(q->b);
    pst_buf_puts(q->b, head);
}

static void end_other(pst_msgreq_t *q, parts_t *p, uint32_t block)
{
    uint32_t mark = pst_msgreq_mark(q, block);
    p->marked = mark != PST_JSON_NONE;
    pst_splice_put_member(q->b, "cache_control", q->j, mark);
    pst_buf_putc(q->b, '}');
}

/* "data:TYPE;base64,DATA" of a source that has both. */
static void put_data(pst_msgreq_t *q, uint32_t source)
{
    pst_buf_puts(q->b, "\"data:");
    pst_buf_putv(q->b, pst_splice_inside(q->j, pst_json_get(q->j, source, "media_type")));
    pst_buf_puts(q->b, ";base64,");
    pst_buf_putv(q->b, pst_splice_inside(q->j, pst_json_get(q->j, source, "data")));
    pst_buf_putc(q->b, '"');
}

static bool is_base64(const pst_msgreq_t *q, uint32_t source)
{
    return pst_splice_is(q->j, pst_json_get(q->j, source, "type"), "base64") &&
           pst_splice_has_text(q->j, pst_json_get(q->j, source, "media_type")) &&
           pst_splice_has_text(q->j, pst_json_get(q->j, source, "data"));
}

static void put_block_text(pst_msgreq_t *q, parts_t *p, uint32_t block)
{
    uint32_t text = pst_json_get(q->j, block, "text");
    if (!pst_json_is(q->j, text, PST_JSON_STRING))
        refuse_block(q, ".text: must be a string");
    put_text(q, p, text, pst_msgreq_mark(q, block));
}

static void put_image(pst_msgreq_t *q, parts_t *p, uint32_t block)
{
    uint32_t source = pst_json_get(q->j, block, "source"), url = pst_json_get(q->j, source, "url");
    bool link = pst_splice_is(q->j, pst_json_get(q->j, source, "type"), "url") && pst_splice_has_text(q->j, url);
    if (!link && !is_base64(q, source)) {
        refuse_block(q, ".source: a picture must be a base64 or a url source here");
        return;
    }
    begin_other(q, p, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    if (link)
        pst_splice_put(q->b, q->j, url);
    else
        put_data(q, source);
    pst_buf_putc(q->b, '}');
    end_other(q, p, block);
}

static void put_block(pst_msgreq_t *q, parts_t *p, uint32_t block);

/* A string, or an array of blocks. */
static void put_blocks(pst_msgreq_t *q, parts_t *p, uint32_t content)
{
    if (pst_json_is(q->j, content, PST_JSON_STRING))
        put_text(q, p, content, PST_JSON_NONE);
    for (uint32_t t = pst_msgreq_first(q, content); t != PST_JSON_NONE; t = pst_json_after(q->j, content, t))
        put_block(q, p, t);
}

static void put_pdf(pst_msgreq_t *q, parts_t *p, uint32_t block, uint32_t source)
{
    uint32_t title = pst_json_get(q->j, block, "title");
    begin_other(q, p, "{\"type\":\"file\",\"file\":{\"filename\":");
    if (pst_splice_has_text(q->j, title))
        pst_splice_put(q->b, q->j, title);
    else
        pst_buf_puts(q->b, "\"document.pdf\"");
    pst_json_put_key(q->b, "file_data");
    put_data(q, source);
    pst_buf_putc(q->b, '}');
    end_other(q, p, block);
}

/* A PDF is a file; of a document in words, its title and what was said of it stand before it. */
static void put_document(pst_msgreq_t *q, parts_t *p, uint32_t block)
{
    uint32_t source = pst_json_get(q->j, block, "source"), type = pst_json_get(q->j, source, "type");
    bool text = pst_splice_is(q->j, type, "text"), content = pst_splice_is(q->j, type, "content");
    if (!text && !content && !is_base64(q, source)) {
        refuse_block(q, ".source: a document must be a base64, text or content source here");
        return;
    }
    if (text || content)
        put_text(q, p, pst_json_get(q->j, block, "title"), PST_JSON_NONE);
    put_text(q, p, pst_json_get(q->j, block, "context"), PST_JSON_NONE);
    if (text)
        put_text(q, p, pst_json_get(q->j, source, "data"), pst_msgreq_mark(q, block));
    else if (content)
        put_blocks(q, p, pst_json_get(q->j, source, "content"));
    else
        put_pdf(q, p, block, source);
}

static void put_search_result(pst_msgreq_t *q, parts_t *p, uint32_t block)
{
    put_text(q, p, pst_json_get(q->j, block, "title"), PST_JSON_NONE);
    put_text(q, p, pst_json_get(q->j, block, "source"), PST_JSON_NONE);
    put_blocks(q, p, pst_json_get(q->j, block, "content"));
}

static void put_block(pst_msgreq_t *q, parts_t *p, uint32_t block)
{
    static const struct {
        const char *type;
        void (*put)(pst_msgreq_t *q, parts_t *p, uint32_t block);
    } known[] = {
        {"text", put_block_text},
        {"image", put_image},
        {"document", put_document},
        {"search_result", put_search_result},
    };
    uint32_t type = pst_json_get(q->j, block, "type");
    for (size_t i = 0; i < PST_COUNT(known); i++) {
        if (pst_splice_is(q->j, type, known[i].type)) {
            known[i].put(q, p, block);
            return;
        }
    }
    refuse_type(q, block);
}

/* ---- results of tools ---- */

/* OpenAI's messages do not say that a tool failed: words do. */
static bool is_error(const pst_msgreq_t *q, uint32_t result)
{
    return pst_json_is(q->j, pst_json_get(q->j, result, "is_error"), PST_JSON_TRUE);
}

/* The text of a string, or of the text blocks of an array with a line for each, as one string. */
static void put_lines(pst_msgreq_t *q, uint32_t content, bool error)
{
    bool first = true;
    pst_buf_puts(q->b, error ? "\"Error: " : "\"");
    pst_buf_putv(q->b, pst_splice_inside(q->j, content));
    for (uint32_t t = pst_msgreq_first(q, content); t != PST_JSON_NONE; t = pst_json_after(q->j, content, t)) {
        if (!pst_msgreq_is(q, t, "text"))
            continue;
        if (!first)
            pst_buf_puts(q->b, "\\n");
        first = false;
        pst_buf_putv(q->b, pst_splice_inside(q->j, pst_json_get(q->j, t, "text")));
    }
    pst_buf_putc(q->b, '"');
}

/* Our adapters read cache_control in the parts, not around them. */
static void put_result_parts(pst_msgreq_t *q, uint32_t result, uint32_t content)
{
    uint32_t mark = pst_msgreq_mark(q, result);
    parts_t p = open_parts(q);
    if (is_error(q, result))
        put_words(q, &p, "Error:", pst_view(NULL, 0));
    put_blocks(q, &p, content);
    if (mark != PST_JSON_NONE && p.n && !p.marked && !q->b->failed) {
        q->b->n--;
        pst_splice_put_member(q->b, "cache_control", q->j, mark);
        pst_buf_putc(q->b, '}');
        p.only = PST_JSON_NONE;
    }
    if (!close_parts(q, &p))
        pst_buf_puts(q->b, "\"\"");
}

static void put_result(pst_msgreq_t *q, uint32_t result)
{
    uint32_t content = pst_json_get(q->j, result, "content"), id = pst_json_get(q->j, result, "tool_use_id");
    if (!pst_splice_has_text(q->j, id))
        refuse_block(q, ".tool_use_id: is required");
    pst_json_put_comma(q->b);
    pst_buf_puts(q->b, "{\"role\":\"tool\"");
    pst_splice_put_member(q->b, "tool_call_id", q->j, id);
    pst_json_put_key(q->b, "content");
    if (q->claude && (pst_json_is(q->j, content, PST_JSON_ARRAY) || pst_msgreq_mark(q, result) != PST_JSON_NONE))
        put_result_parts(q, result, content);
    else
        put_lines(q, content, is_error(q, result));
    pst_buf_putc(q->b, '}');
}

/* What a tool's message could not say, in the turn that follows it. */
static void put_rest_of_result(pst_msgreq_t *q, parts_t *p, uint32_t result)
{
    uint32_t content = pst_json_get(q->j, result, "content"), id = pst_json_get(q->j, result, "tool_use_id");
    bool named = false;
    for (uint32_t t = q->claude ? PST_JSON_NONE : pst_msgreq_first(q, content); t != PST_JSON_NONE;
         t = pst_json_after(q->j, content, t)) {
        if (pst_msgreq_is(q, t, "text"))
            continue;
        if (!named)
            put_words(q, p, "More of the result of ", pst_splice_inside(q->j, id));
        named = true;
        put_block(q, p, t);
    }
}

/* ---- messages ---- */

/* A walk over a message's blocks that knows where it is. */
static uint32_t begin_blocks(pst_msgreq_t *q, uint32_t content)
{
    q->block = 0;
    return pst_msgreq_first(q, content);
}

static uint32_t next_block(pst_msgreq_t *q, uint32_t content, uint32_t t)
{
    q->block++;
    return pst_json_after(q->j, content, t);
}

/* Begins a message at its content. */
static void open_message(pst_msgreq_t *q, const char *role)
{
    pst_json_put_comma(q->b);
    pst_buf_puts(q->b, "{\"role\":\"");
    pst_buf_puts(q->b, role);
    pst_buf_puts(q->b, "\",\"content\":");
}

/* A message in which nothing is said is taken back. */
static void close_message(pst_msgreq_t *q, parts_t *p, size_t before)
{
    if (close_parts(q, p))
        pst_buf_putc(q->b, '}');
    else
        q->b->n = before;
}

static void put_user(pst_msgreq_t *q, uint32_t content)
{
    for (uint32_t t = begin_blocks(q, content); t != PST_JSON_NONE; t = next_block(q, content, t)) {
        if (pst_msgreq_is(q, t, "tool_result"))
            put_result(q, t);
    }
    size_t before = q->b->n;
    open_message(q, "user");
    parts_t p = open_parts(q);
    put_text(q, &p, content, PST_JSON_NONE);
    for (uint32_t t = begin_blocks(q, content); t != PST_JSON_NONE; t = next_block(q, content, t)) {
        if (pst_msgreq_is(q, t, "tool_result"))
            put_rest_of_result(q, &p, t);
        else
            put_block(q, &p, t);
    }
    close_message(q, &p, before);
}

static void put_instructions(pst_msgreq_t *q, uint32_t content, const char *where)
{
    size_t before = q->b->n;
    open_message(q, "system");
    parts_t p = open_parts(q);
    put_text(q, &p, content, PST_JSON_NONE);
    for (uint32_t t = pst_msgreq_first(q, content); t != PST_JSON_NONE; t = pst_json_after(q->j, content, t)) {
        if (pst_msgreq_is(q, t, "text"))
            put_text(q, &p, pst_json_get(q->j, t, "text"), pst_msgreq_mark(q, t));
        else
            pst_msgreq_refuse(q, "%s: only text can be sent as instructions", where);
    }
    close_message(q, &p, before);
}

static void put_call(pst_msgreq_t *q, uint32_t block)
{
    uint32_t name = pst_json_get(q->j, block, "name"), input = pst_splice_member(q->j, block, "input");
    uint32_t id = pst_json_get(q->j, block, "id");
    if (!pst_splice_has_text(q->j, name) || !pst_splice_has_text(q->j, id))
        refuse_block(q, ": a tool_use needs an id and a name");
    pst_json_put_comma(q->b);
    pst_buf_putc(q->b, '{');
    pst_splice_put_member(q->b, "id", q->j, id);
    pst_buf_puts(q->b, ",\"type\":\"function\",\"function\":{");
    pst_splice_put_member(q->b, "name", q->j, name);
    pst_splice_put_text(q->b, "arguments", input == PST_JSON_NONE ? PST_VIEW_LIT("{}") : pst_json_raw(q->j, input));
    pst_buf_puts(q->b, "}}");
}

/* ,"tool_calls":[…]; false, and nothing, if there are none. */
static bool put_calls(pst_msgreq_t *q, uint32_t content)
{
    size_t before = q->b->n;
    pst_buf_puts(q->b, ",\"tool_calls\":[");
    size_t empty = q->b->n;
    for (uint32_t t = begin_blocks(q, content); t != PST_JSON_NONE; t = next_block(q, content, t)) {
        if (pst_msgreq_is(q, t, "tool_use"))
            put_call(q, t);
    }
    bool any = q->b->n > empty;
    if (any)
        pst_buf_putc(q->b, ']');
    else
        q->b->n = before;
    return any;
}

/* The texts of an assistant's blocks as one string, as they came out of the model. */
static bool put_joined(pst_msgreq_t *q, uint32_t content)
{
    size_t before = q->b->n;
    pst_buf_putc(q->b, '"');
    for (uint32_t t = pst_msgreq_first(q, content); t != PST_JSON_NONE; t = pst_json_after(q->j, content, t)) {
        if (pst_msgreq_is(q, t, "text"))
            pst_buf_putv(q->b, pst_splice_inside(q->j, pst_json_get(q->j, t, "text")));
    }
    if (q->b->n == before + 1) {
        q->b->n = before;
        return false;
    }
    pst_buf_putc(q->b, '"');
    return true;
}

static bool put_texts(pst_msgreq_t *q, uint32_t content)
{
    parts_t p = open_parts(q);
    put_text(q, &p, content, PST_JSON_NONE);
    for (uint32_t t = pst_msgreq_first(q, content); t != PST_JSON_NONE; t = pst_json_after(q->j, content, t)) {
        if (pst_msgreq_is(q, t, "text"))
            put_text(q, &p, pst_json_get(q->j, t, "text"), pst_msgreq_mark(q, t));
    }
    return close_parts(q, &p);
}

/* Thoughts are not sent back: no message of OpenAI's has a place for them. */
static void check_assistants_blocks(pst_msgreq_t *q, uint32_t content)
{
    static const char *const known[] = {"text", "tool_use", "thinking", "redacted_thinking"};
    for (uint32_t t = begin_blocks(q, content); t != PST_JSON_NONE; t = next_block(q, content, t)) {
        size_t i = 0;
        while (i < PST_COUNT(known) && !pst_msgreq_is(q, t, known[i]))
            i++;
        if (i == PST_COUNT(known))
            refuse_type(q, t);
    }
}

static void put_assistant(pst_msgreq_t *q, uint32_t content)
{
    size_t before = q->b->n;
    check_assistants_blocks(q, content);
    open_message(q, "assistant");
    bool joins = !q->claude && pst_json_is(q->j, content, PST_JSON_ARRAY);
    bool text = joins ? put_joined(q, content) : put_texts(q, content);
    if (!text)
        pst_buf_puts(q->b, "null");
    if (put_calls(q, content) || text)
        pst_buf_putc(q->b, '}');
    else
        q->b->n = before;
}

static void put_message(pst_msgreq_t *q, uint32_t m)
{
    uint32_t role = pst_json_get(q->j, m, "role"), content = pst_json_get(q->j, m, "content");
    if (!pst_json_is(q->j, content, PST_JSON_STRING) && !pst_json_is(q->j, content, PST_JSON_ARRAY))
        pst_msgreq_refuse(q, "messages.%u.content: must be a string or an array of blocks", q->message);
    else if (pst_splice_is(q->j, role, "user"))
        put_user(q, content);
    else if (pst_splice_is(q->j, role, "assistant"))
        put_assistant(q, content);
    else if (pst_splice_is(q->j, role, "system"))
        put_instructions(q, content, "messages");
    else
        pst_msgreq_refuse(q, "messages.%u.role: must be user, assistant or system", q->message);
}

void pst_anthropic_put_messages(pst_msgreq_t *q)
{
    uint32_t messages = pst_msgreq_param(q, "messages"), system = pst_msgreq_param(q, "system");
    if (pst_msgreq_first(q, messages) == PST_JSON_NONE)
        pst_msgreq_refuse(q, "messages: must be an array with at least one message");
    if (system != PST_JSON_NONE && !pst_json_is(q->j, system, PST_JSON_STRING) &&
        !pst_json_is(q->j, system, PST_JSON_ARRAY))
        pst_msgreq_refuse(q, "system: must be a string or an array of text blocks");
    pst_json_put_key(q->b, "messages");
    pst_buf_putc(q->b, '[');
    put_instructions(q, system, "system");
    for (uint32_t m = pst_msgreq_first(q, messages); m != PST_JSON_NONE && !q->refused;
         m = pst_json_after(q->j, messages, m), q->message++)
        put_message(q, m);
    pst_buf_putc(q->b, ']');
}
