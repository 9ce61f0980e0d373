#include "lib/body.h"

#include <xxhash.h>

#include "wire/msg.h"

#define MESSAGE_TOKENS 4     /* around each message */
#define REQUEST_TOKENS 3     /* around all of them */
#define MEDIA_TOKENS 1000    /* an image, a sound or a file whose size is not known */
#define JSON_BYTES_TOKEN 4   /* schemas and tool calls */
#define DEPTH_MAX 6          /* message, parts, part, nested content */
#define FIRST_BYTES_MAX ((size_t)64 << 10) /* of a first message that is remembered */

static const struct {
    const char *name;
    uint8_t n;
} names[] = {
#define X(name, text) {text, sizeof text - 1},
    PST_BODY_LIST(X)
#undef X
};

static int find_name(pst_view_t key)
{
    for (unsigned i = 0; i < PST_COUNT(names); i++) {
        if (names[i].n == key.n && memcmp(names[i].name, key.p, key.n) == 0)
            return (int)i;
    }
    return -1;
}

void pst_body_memory_release(pst_body_memory_t *m)
{
    pst_buf_release(&m->first.raw);
}

void pst_body_scan(pst_body_t *b, const pst_json_t *json, uint32_t obj, pst_arena_t *a, pst_body_memory_t *m)
{
    b->json = json;
    b->memory = m;
    bool seen[PST_BODY_COUNT] = {false};
    for (unsigned i = 0; i < PST_BODY_COUNT; i++)
        b->at[i] = PST_JSON_NONE;
    for (uint32_t k = pst_json_first(json, obj); k != PST_JSON_NONE; k = pst_json_after(json, obj, k)) {
        int i = find_name(pst_json_str(json, k, a));
        if (i < 0 || seen[i])
            continue;
        seen[i] = true;
        if (!pst_json_is(json, k + 1, PST_JSON_NULL))
            b->at[i] = k + 1;
    }
}

/* Tokens of the prompt, in thousandths. */

typedef struct count {
    const pst_json_t *json;
    pst_tokens_cache_t *cache;
    uint64_t milli;
    bool images;
} count_t;

static pst_view_t between_quotes(const count_t *c, uint32_t t)
{
    pst_view_t raw = pst_json_raw(c->json, t);
    return pst_view(raw.p + 1, raw.n - 2);
}

static void count_json(count_t *c, uint32_t t)
{
    c->milli += (uint64_t)pst_json_raw(c->json, t).n * 1000 / JSON_BYTES_TOKEN;
}

typedef enum member { IGNORED, WORDS, STRUCTURE, IMAGE, MEDIA } member_t;

/* Members of messages, of their parts, and of the items of /v1/responses. */
static member_t member_kind(pst_view_t key)
{
    static const struct {
        pst_view_t name;
        member_t kind;
    } table[] = {
        {PST_VIEW_LIT("content"), WORDS},     {PST_VIEW_LIT("text"), WORDS},
        {PST_VIEW_LIT("refusal"), WORDS},     {PST_VIEW_LIT("output"), WORDS},
        {PST_VIEW_LIT("summary"), WORDS},     {PST_VIEW_LIT("arguments"), WORDS},
        {PST_VIEW_LIT("name"), WORDS},        {PST_VIEW_LIT("tool_calls"), STRUCTURE},
        {PST_VIEW_LIT("function_call"), STRUCTURE}, {PST_VIEW_LIT("image_url"), IMAGE},
        {PST_VIEW_LIT("input_audio"), MEDIA}, {PST_VIEW_LIT("file"), MEDIA},
        {PST_VIEW_LIT("file_data"), MEDIA},   {PST_VIEW_LIT("file_id"), MEDIA},
        {PST_VIEW_LIT("file_url"), MEDIA},
    };
    for (size_t i = 0; i < PST_COUNT(table); i++) {
        if (pst_view_eq(key, table[i].name))
            return table[i].kind;
    }
    return IGNORED;
}

static void count_value(count_t *c, uint32_t t, unsigned depth);

static void count_member(count_t *c, uint32_t key, unsigned depth)
{
    switch (member_kind(between_quotes(c, key))) {
    case IGNORED: break;
    case WORDS: count_value(c, key + 1, depth); break;
    case STRUCTURE: count_json(c, key + 1); break;
    case IMAGE: c->images = true; c->milli += MEDIA_TOKENS * 1000; break;
    case MEDIA: c->milli += MEDIA_TOKENS * 1000; break;
    }
}

/* A string is text, a number a token already made, an array the sum of its items. */
static void count_value(count_t *c, uint32_t t, unsigned depth)
{
    if (t == PST_JSON_NONE || depth == 0)
        return;
    const pst_json_t *j = c->json;
    if (pst_json_is(j, t, PST_JSON_STRING))
        c->milli += pst_tokens_cached(c->cache, between_quotes(c, t), j->tok[t].escaped);
    else if (pst_json_is(j, t, PST_JSON_NUMBER))
        c->milli += 1000;
    else if (pst_json_is(j, t, PST_JSON_ARRAY))
        for (uint32_t i = pst_json_first(j, t); i != PST_JSON_NONE; i = pst_json_after(j, t, i))
            count_value(c, i, depth - 1);
    else if (pst_json_is(j, t, PST_JSON_OBJECT))
        for (uint32_t k = pst_json_first(j, t); k != PST_JSON_NONE; k = pst_json_after(j, t, k))
            count_member(c, k, depth - 1);
}

/* What is known of message t, the first of several. */
static const pst_body_first_t *look_at_first(const pst_body_t *b, uint32_t t)
{
    pst_body_first_t *f = &b->memory->first;
    pst_view_t raw = pst_json_raw(b->json, t);
    if (pst_view_eq(raw, pst_buf_view(&f->raw)))
        return f;
    count_t c = {.json = b->json, .cache = &b->memory->tokens};
    count_value(&c, t, DEPTH_MAX - 1);
    f->milli = c.milli;
    f->images = c.images;
    pst_buf_clear(&f->raw);
    if (raw.n <= FIRST_BYTES_MAX)
        pst_buf_putv(&f->raw, raw);
    return f;
}

static void count_messages(count_t *c, const pst_body_t *b, uint32_t list)
{
    const pst_json_t *j = b->json;
    if (!pst_json_is(j, list, PST_JSON_ARRAY) || j->tok[list].count < 2) {
        count_value(c, list, DEPTH_MAX);
        return;
    }
    uint32_t i = pst_json_first(j, list);
    const pst_body_first_t *first = look_at_first(b, i);
    c->milli += first->milli;
    c->images |= first->images;
    while ((i = pst_json_after(j, list, i)) != PST_JSON_NONE)
        count_value(c, i, DEPTH_MAX - 1);
}

uint32_t pst_body_input_tokens(const pst_body_t *b, uint32_t *params)
{
    count_t c = {.json = b->json, .cache = &b->memory->tokens, .milli = REQUEST_TOKENS * 1000};
    uint32_t messages = b->at[PST_BODY_MESSAGES];
    count_messages(&c, b, messages);
    if (pst_json_is(b->json, messages, PST_JSON_ARRAY))
        c.milli += (uint64_t)b->json->tok[messages].count * MESSAGE_TOKENS * 1000;
    count_messages(&c, b, b->at[PST_BODY_INPUT]);
    count_value(&c, b->at[PST_BODY_PROMPT], DEPTH_MAX);
    count_value(&c, b->at[PST_BODY_INSTRUCTIONS], DEPTH_MAX);
    count_json(&c, b->at[PST_BODY_TOOLS]);
    count_json(&c, b->at[PST_BODY_FUNCTIONS]);
    if (c.images)
        *params |= PST_PARAM_IMAGES;
    return (uint32_t)PST_MIN((c.milli + 999) / 1000, UINT32_MAX);
}

uint32_t pst_body_output_tokens(const pst_body_t *b)
{
    static const uint8_t fields[] = {PST_BODY_MAX_COMPLETION_TOKENS, PST_BODY_MAX_TOKENS, PST_BODY_MAX_OUTPUT_TOKENS};
    for (size_t i = 0; i < PST_COUNT(fields); i++) {
        int64_t v;
        if (pst_json_int(b->json, b->at[fields[i]], &v) && v > 0)
            return (uint32_t)PST_MIN(v, (int64_t)UINT32_MAX);
    }
    return 0;
}

/* There, and neither false nor empty. */
static bool uses(const pst_body_t *b, unsigned field)
{
    uint32_t t = b->at[field];
    if (t == PST_JSON_NONE || pst_json_is(b->json, t, PST_JSON_FALSE))
        return false;
    bool container = pst_json_is(b->json, t, PST_JSON_ARRAY) || pst_json_is(b->json, t, PST_JSON_OBJECT);
    return !container || b->json->tok[t].count > 0;
}

/* {"type":"text"} asks for what every endpoint does. */
static bool wants_format(const pst_body_t *b)
{
    uint32_t format = b->at[PST_BODY_RESPONSE_FORMAT];
    if (format == PST_JSON_NONE)
        format = pst_json_get(b->json, b->at[PST_BODY_TEXT], "format");
    uint32_t type = pst_json_get(b->json, format, "type");
    return type != PST_JSON_NONE && !pst_view_eqs(pst_json_raw(b->json, type), "\"text\"");
}

static bool wants_several(const pst_body_t *b)
{
    int64_t n;
    return pst_json_int(b->json, b->at[PST_BODY_N], &n) && n > 1;
}

uint32_t pst_body_params(const pst_body_t *b)
{
    uint32_t p = 0;
    if (uses(b, PST_BODY_TOOLS) || uses(b, PST_BODY_FUNCTIONS))
        p |= PST_PARAM_TOOLS;
    if (wants_format(b))
        p |= PST_PARAM_RESPONSE_FORMAT;
    if (uses(b, PST_BODY_LOGPROBS) || uses(b, PST_BODY_TOP_LOGPROBS))
        p |= PST_PARAM_LOGPROBS;
    if (uses(b, PST_BODY_SEED))
        p |= PST_PARAM_SEED;
    if (uses(b, PST_BODY_FREQUENCY_PENALTY) || uses(b, PST_BODY_PRESENCE_PENALTY))
        p |= PST_PARAM_PENALTIES;
    if (uses(b, PST_BODY_LOGIT_BIAS))
        p |= PST_PARAM_LOGIT_BIAS;
    if (wants_several(b))
        p |= PST_PARAM_N;
    if (uses(b, PST_BODY_REASONING) || uses(b, PST_BODY_REASONING_EFFORT))
        p |= PST_PARAM_REASONING;
    return p;
}

/* The beginning of a prompt: its first bytes, up to as many as are asked for. */
typedef struct beginning {
    size_t left;
    uint64_t hash;
} beginning_t;

static void take_beginning(beginning_t *b, pst_view_t part)
{
    size_t n = PST_MIN(part.n, b->left);
    b->left -= n;
    if (n > 0)
        b->hash = XXH3_64bits_withSeed(part.p, n, b->hash);
}

static bool is_system(const pst_json_t *j, uint32_t message)
{
    pst_view_t role = pst_json_raw(j, pst_json_get(j, message, "role"));
    return pst_view_eqs(role, "\"system\"") || pst_view_eqs(role, "\"developer\"");
}

/* Of a list, from item t on. */
static pst_view_t rest_of(const pst_json_t *j, uint32_t list, uint32_t t)
{
    return t == PST_JSON_NONE ? pst_view(NULL, 0)
                              : pst_view(j->text.p + j->tok[t].start, j->tok[list].end - j->tok[t].start);
}

/* The parts of a prompt in the order in which providers read them: what the jobs of one task have in common, tools and
 * the system prompt, however it is given; then messages, which begin to differ somewhere. */
enum { TOOLS, SYSTEM, MESSAGES, PARTS };

static void parts_of(const pst_body_t *b, pst_view_t part[PARTS])
{
    static const uint8_t fields[] = {PST_BODY_MESSAGES, PST_BODY_INPUT, PST_BODY_PROMPT};
    const pst_json_t *j = b->json;
    uint32_t prompt = PST_JSON_NONE, system = b->at[PST_BODY_INSTRUCTIONS];
    for (size_t i = 0; i < PST_COUNT(fields) && prompt == PST_JSON_NONE; i++)
        prompt = b->at[fields[i]];
    part[MESSAGES] = pst_json_raw(j, prompt);
    if (pst_json_is(j, prompt, PST_JSON_ARRAY)) {
        uint32_t first = pst_json_first(j, prompt);
        if (system == PST_JSON_NONE && is_system(j, first)) {
            system = first;
            first = pst_json_after(j, prompt, first);
        }
        part[MESSAGES] = rest_of(j, prompt, first);
    }
    part[TOOLS] = pst_json_raw(j, b->at[PST_BODY_TOOLS]);
    part[SYSTEM] = pst_json_raw(j, system);
}

/* Where messages begin to differ nobody knows: in long ones behind max, or the beginning is not theirs alone; in
 * shorter ones before their end, so that of these no more is taken than makes a beginning worth keeping. */
uint64_t pst_body_prefix(const pst_body_t *b, size_t min, size_t max)
{
    pst_view_t part[PARTS];
    parts_of(b, part);
    size_t common = part[TOOLS].n + part[SYSTEM].n, all = common + part[MESSAGES].n;
    if (all < min)
        return 0;
    beginning_t begin = {.left = common >= min ? PST_MIN(common, max) : all >= max ? max : min};
    for (unsigned i = 0; i < PARTS; i++)
        take_beginning(&begin, part[i]);
    return begin.hash + (begin.hash == 0);
}
