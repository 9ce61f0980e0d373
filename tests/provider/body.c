#include "body.h"

#define COUNT_MAX ((uint64_t)1 << 53)

/* A non-negative whole number; anything else is skipped and leaves *ret alone. */
static bool read_count(sim_js_t *j, uint64_t *ret)
{
    pst_view_t raw;
    if (!sim_js_skip(j, &raw) || raw.n == 0)
        return false;
    uint64_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] < '0' || raw.p[i] > '9' || n > COUNT_MAX / 10)
            return false;
        n = n * 10 + (uint64_t)(raw.p[i] - '0');
    }
    *ret = n;
    return true;
}

static bool read_true(sim_js_t *j)
{
    pst_view_t raw;
    return sim_js_skip(j, &raw) && pst_view_eqs(raw, "true");
}

/* A string, or anything else skipped. */
static bool read_string(sim_js_t *j, pst_view_t *ret)
{
    if (sim_js_peek(j) != '"') {
        sim_js_skip(j, NULL);
        return false;
    }
    return sim_js_string(j, ret);
}

/* One content part; true if it is a text. */
static bool read_part(sim_js_t *j, pst_view_t *ret)
{
    if (sim_js_peek(j) == '"')
        return sim_js_string(j, ret);
    if (sim_js_peek(j) != '{') {
        sim_js_skip(j, NULL);
        return false;
    }
    pst_view_t key, type = {0}, text = {0};
    sim_js_enter(j, '{');
    while (sim_js_key(j, &key)) {
        if (pst_view_eqs(key, "text"))
            read_string(j, &text);
        else if (pst_view_eqs(key, "type"))
            read_string(j, &type);
        else
            sim_js_skip(j, NULL);
    }
    bool textual = !type.p || pst_view_eqs(type, "text") || pst_view_eqs(type, "input_text");
    if (!text.p || !textual)
        return false;
    *ret = text;
    return true;
}

/* A string, or an array of parts of which the first text counts. */
static bool read_content(sim_js_t *j, pst_view_t *ret)
{
    char c = sim_js_peek(j);
    if (c != '[')
        return read_string(j, ret);
    bool found = false;
    pst_view_t part;
    sim_js_enter(j, '[');
    while (sim_js_item(j)) {
        if (read_part(j, &part) && !found) {
            *ret = part;
            found = true;
        }
    }
    return found;
}

/* One message: sets *text if it is a user's and has one. */
static void read_message(sim_js_t *j, pst_view_t *text)
{
    if (sim_js_peek(j) != '{') {
        sim_js_skip(j, NULL);
        return;
    }
    pst_view_t key, role = PST_VIEW_LIT("user"), content = {0};
    sim_js_enter(j, '{');
    while (sim_js_key(j, &key)) {
        if (pst_view_eqs(key, "role"))
            read_string(j, &role);
        else if (pst_view_eqs(key, "content") || pst_view_eqs(key, "parts"))
            read_content(j, &content);
        else
            sim_js_skip(j, NULL);
    }
    if (pst_view_eqs(role, "user") && content.p)
        *text = content;
}

static void read_messages(sim_js_t *j, sim_body_t *b)
{
    if (sim_js_peek(j) != '[') {
        sim_js_skip(j, NULL);
        return;
    }
    b->has_content = true;
    sim_js_enter(j, '[');
    while (sim_js_item(j))
        read_message(j, &b->text_raw);
}

/* Responses' `input`: a text, or items like messages. */
static void read_input_items(sim_js_t *j, sim_body_t *b)
{
    if (sim_js_peek(j) == '"')
        b->has_content = read_string(j, &b->text_raw);
    else
        read_messages(j, b);
}

/* Embeddings' `input` and completions' `prompt`: a text, texts, or token numbers.  Of several texts
 * the last is the text; token numbers have none. */
static void read_texts(sim_js_t *j, sim_body_t *b)
{
    char c = sim_js_peek(j);
    const char *start = j->p;
    b->has_content = c == '"' || c == '[';
    if (c == '[') {
        sim_js_enter(j, '[');
        while (sim_js_item(j))
            read_string(j, &b->text_raw);
    } else {
        read_string(j, &b->text_raw);
    }
    b->input = pst_view(start, (size_t)(j->p - start));
}

static void read_tools(sim_js_t *j, sim_body_t *b)
{
    if (sim_js_peek(j) != '[') {
        sim_js_skip(j, NULL);
        return;
    }
    sim_js_enter(j, '[');
    while (sim_js_item(j)) {
        b->tools = true;
        sim_js_skip(j, NULL);
    }
}

static bool is_content_key(sim_api_t api, pst_view_t key)
{
    switch (api) {
    case SIM_CHAT:
    case SIM_MESSAGES:
    case SIM_COHERE_CHAT:
    case SIM_CONVERSE:
        return pst_view_eqs(key, "messages");
    case SIM_RESPONSES:
    case SIM_EMBEDDINGS:
        return pst_view_eqs(key, "input");
    case SIM_COMPLETIONS:
        return pst_view_eqs(key, "prompt");
    case SIM_GENERATE:
        return pst_view_eqs(key, "contents");
    }
    return false;
}

static void read_any_content(sim_js_t *j, sim_api_t api, sim_body_t *b)
{
    b->text_raw = (pst_view_t){0};
    b->has_content = false;
    switch (api) {
    case SIM_CHAT:
    case SIM_MESSAGES:
    case SIM_GENERATE:
    case SIM_COHERE_CHAT:
    case SIM_CONVERSE:
        read_messages(j, b);
        return;
    case SIM_RESPONSES:
        read_input_items(j, b);
        return;
    case SIM_EMBEDDINGS:
    case SIM_COMPLETIONS:
        read_texts(j, b);
        return;
    }
}

static bool is_max_tokens(pst_view_t key)
{
    return pst_view_eqs(key, "max_tokens") || pst_view_eqs(key, "max_completion_tokens") ||
           pst_view_eqs(key, "max_output_tokens");
}

/* Gemini and Bedrock keep their limit one level down, Bedrock its tools too. */
static void read_config(sim_js_t *j, sim_body_t *b)
{
    if (sim_js_peek(j) != '{') {
        sim_js_skip(j, NULL);
        return;
    }
    pst_view_t key;
    sim_js_enter(j, '{');
    while (sim_js_key(j, &key)) {
        if (pst_view_eqs(key, "maxOutputTokens") || pst_view_eqs(key, "maxTokens"))
            b->has_max_tokens = read_count(j, &b->max_tokens);
        else if (pst_view_eqs(key, "tools"))
            read_tools(j, b);
        else
            sim_js_skip(j, NULL);
    }
}

static void read_stream_options(sim_js_t *j, sim_body_t *b)
{
    pst_view_t key;
    if (sim_js_peek(j) != '{') {
        sim_js_skip(j, NULL);
        return;
    }
    sim_js_enter(j, '{');
    while (sim_js_key(j, &key)) {
        if (pst_view_eqs(key, "include_usage"))
            b->stream_usage = read_true(j);
        else
            sim_js_skip(j, NULL);
    }
}

static void read_member(sim_js_t *j, sim_api_t api, pst_view_t key, sim_body_t *b,
                        pst_view_t *model)
{
    pst_view_t format;
    if (is_content_key(api, key))
        read_any_content(j, api, b);
    else if (pst_view_eqs(key, "model"))
        read_string(j, model);
    else if (is_max_tokens(key))
        b->has_max_tokens = read_count(j, &b->max_tokens);
    else if (pst_view_eqs(key, "tools"))
        read_tools(j, b);
    else if (pst_view_eqs(key, "stream"))
        b->stream = read_true(j);
    else if (pst_view_eqs(key, "stream_options"))
        read_stream_options(j, b);
    else if (pst_view_eqs(key, "dimensions"))
        read_count(j, &b->dimensions);
    else if (pst_view_eqs(key, "encoding_format"))
        b->base64 = read_string(j, &format) && pst_view_eqs(format, "base64");
    else if (pst_view_eqs(key, "generationConfig") || pst_view_eqs(key, "inferenceConfig") ||
             pst_view_eqs(key, "toolConfig"))
        read_config(j, b);
    else
        sim_js_skip(j, NULL);
}

bool sim_body_read(sim_api_t api, pst_view_t body, pst_buf_t *scratch, sim_body_t *ret)
{
    *ret = (sim_body_t){0};
    sim_js_t j;
    sim_js_init(&j, body);
    pst_view_t key, model = {0};
    sim_js_enter(&j, '{');
    while (sim_js_key(&j, &key))
        read_member(&j, api, key, ret, &model);
    if (!sim_js_end(&j))
        return false;
    /* Room for both first, so that decoding the second does not move the first. */
    pst_buf_clear(scratch);
    PST_ASSERT(pst_buf_reserve(scratch, model.n + ret->text_raw.n));
    ret->model = sim_js_decode(model, scratch);
    ret->text = sim_js_decode(ret->text_raw, scratch);
    return true;
}
