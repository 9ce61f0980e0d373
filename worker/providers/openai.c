/* openai: OpenAI's own protocol, and every host that speaks it.
 *
 * The body goes through byte for byte: members are copied as ranges of the user's text, so that
 * numbers of any size, NUL escapes, duplicate keys, order and white space arrive as they were
 * written.  Touched are the model's name, our routing fields, a stream that was not asked for, and
 * what the endpoint's flags say this host does not know. */
#include "providers/openai.h"

#include "providers/adapters.h"
#include "providers/answer.h"
#include "providers/common.h"
#include "providers/failure.h"

/* ---- request ---- */

/* A body as long as this is not copied, but for its short parts: it is sent as PIECES_MAX pieces at most, of which
 * the job's are PIECE_BYTES_MIN at least. */
#define LONG_BODY_BYTES ((size_t)64 << 10)
#define PIECES_MAX 16
#define PIECE_BYTES_MIN ((size_t)4 << 10)
#define SHORT_PARTS_BYTES ((size_t)16 << 10)

/* What becomes of a member of the body. */
typedef enum fate {
    FATE_KEEP,
    FATE_DROP,
    FATE_STREAM,    /* dropped, and noted */
    FATE_MODEL,     /* the value becomes the upstream name */
    FATE_RENAME,    /* the key becomes the host's name for max tokens */
    FATE_WORD,      /* the key becomes the dialect's */
    FATE_DEVELOPER, /* role developer becomes system in the value's items */
    FATE_MESSAGES,  /* the value is the dialect's to write */
} fate_t;

static bool has_flag(const pst_copy_t *c, uint32_t flag)
{
    return (c->flags & flag) != 0;
}

/* Members that an unknown host may refuse and that change nothing of the answer's meaning. */
static bool is_store_key(pst_view_t key)
{
    static const char *const keys[] = {
        "store", "metadata", "service_tier", "safety_identifier", "verbosity", "prediction", "user",
    };
    for (size_t i = 0; i < PST_COUNT(keys); i++) {
        if (pst_view_eqs(key, keys[i]))
            return true;
    }
    return pst_text_starts(key, "prompt_cache_");
}

/* The name of max tokens that this host does not know; NULL if it knows both, or another API is
 * spoken. */
static const char *wrong_max(const pst_copy_t *c)
{
    if (c->task->url != PST_URL_CHAT)
        return NULL;
    if (has_flag(c, PST_EP_MAX_COMPLETION_TOKENS))
        return "max_tokens";
    return has_flag(c, PST_EP_MAX_TOKENS) ? "max_completion_tokens" : NULL;
}

static const char *right_max(const pst_copy_t *c)
{
    return has_flag(c, PST_EP_MAX_COMPLETION_TOKENS) ? "max_completion_tokens" : "max_tokens";
}

static bool is_off(const pst_json_t *j, uint32_t t)
{
    return pst_json_is(j, t, PST_JSON_FALSE) || pst_json_is(j, t, PST_JSON_NULL);
}

static bool holds_roles(const pst_copy_t *c, pst_view_t key)
{
    return (c->task->url == PST_URL_CHAT && pst_view_eqs(key, "messages")) ||
           (c->task->url == PST_URL_RESPONSES && pst_view_eqs(key, "input"));
}

/* NULL: the dialect has the same word. */
static const pst_openai_word_t *word_of(const pst_copy_t *c, pst_view_t key)
{
    const pst_openai_dialect_t *d = c->dialect;
    for (size_t i = 0; i < d->words; i++) {
        if (pst_view_eqs(key, d->word[i].ours))
            return &d->word[i];
    }
    return NULL;
}

/* Where both words are there the dialect's is what the user means for it. */
static fate_t fate_of_word(const pst_copy_t *c, const pst_openai_word_t *w)
{
    return w->theirs && pst_member(c->j, 0, w->theirs) == PST_JSON_NONE ? FATE_WORD : FATE_DROP;
}

/* A name that says null while another member, which says more, will be called so: it must not be there twice. */
static bool gives_way(const pst_copy_t *c, pst_view_t key)
{
    const char *wrong = wrong_max(c);
    if (wrong && pst_view_eqs(key, right_max(c)))
        return !c->has_other_max && pst_json_get(c->j, 0, wrong) != PST_JSON_NONE;
    for (size_t i = 0; i < c->dialect->words; i++) {
        const pst_openai_word_t *w = &c->dialect->word[i];
        if (w->theirs && pst_view_eqs(key, w->theirs))
            return fate_of_word(c, w) == FATE_WORD && pst_json_get(c->j, 0, w->ours) != PST_JSON_NONE;
    }
    return false;
}

/* What an endpoint's flags and the dialect say. */
static fate_t fate_by_host(const pst_copy_t *c, pst_view_t key)
{
    const char *wrong = wrong_max(c);
    if (wrong && pst_view_eqs(key, wrong))
        return c->has_other_max ? FATE_DROP : FATE_RENAME;
    if (gives_way(c, key))
        return FATE_DROP;
    if (has_flag(c, PST_EP_NO_STORE) && is_store_key(key))
        return FATE_DROP;
    const pst_openai_word_t *w = word_of(c, key);
    if (w)
        return fate_of_word(c, w);
    if (!holds_roles(c, key))
        return FATE_KEEP;
    if (c->dialect->put_messages && c->task->url == PST_URL_CHAT)
        return FATE_MESSAGES;
    return has_flag(c, PST_EP_NO_DEVELOPER) ? FATE_DEVELOPER : FATE_KEEP;
}

/* Of a stream that is off no member is sent: hosts differ on whether null is allowed. */
static fate_t fate_of(const pst_copy_t *c, pst_view_t key)
{
    static const struct {
        pst_view_t key;
        fate_t fate;
    } known[] = {
        {PST_VIEW_LIT("model"), FATE_MODEL},   {PST_VIEW_LIT("models"), FATE_DROP},
        {PST_VIEW_LIT("provider"), FATE_DROP}, {PST_VIEW_LIT("stream"), FATE_STREAM},
        {PST_VIEW_LIT("stream_options"), FATE_DROP},
    };
    for (size_t i = 0; i < PST_COUNT(known); i++) {
        if (pst_view_eq(key, known[i].key))
            return known[i].fate;
    }
    return c->flags || c->dialect != &pst_openai_plain ? fate_by_host(c, key) : FATE_KEEP;
}

static void add_piece(pst_copy_t *c, const char *p, size_t n)
{
    if (c->pieces == PIECES_MAX)
        c->out->failed = true;
    else if (n)
        c->piece[c->pieces++] = pst_view(p, n);
}

/* Makes a piece of what was put into `out` since the last one. */
static void close_piece(pst_copy_t *c)
{
    add_piece(c, c->out->p + c->done, c->out->n - c->done);
    c->done = c->out->n;
}

void pst_copy_range(pst_copy_t *c, uint32_t from, uint32_t to)
{
    if (c->piece && to - from >= PIECE_BYTES_MIN) {
        close_piece(c);
        add_piece(c, c->j->text.p + from, to - from);
    } else {
        pst_buf_put(c->out, c->j->text.p + from, to - from);
    }
}

/* The array from its first byte to its last, with the role of each item that says developer
 * replaced. */
static void put_without_developer(pst_copy_t *c, uint32_t array)
{
    const pst_json_t *j = c->j;
    uint32_t at = j->tok[array].start;
    if (pst_json_is(j, array, PST_JSON_ARRAY)) {
        for (uint32_t m = pst_json_first(j, array); m != PST_JSON_NONE;
             m = pst_json_after(j, array, m)) {
            uint32_t role = pst_json_get(j, m, "role");
            if (!pst_is_word(j, role, "developer"))
                continue;
            pst_copy_range(c, at, j->tok[role].start);
            pst_buf_puts(c->out, "\"system\"");
            at = j->tok[role].end;
        }
    }
    pst_copy_range(c, at, j->tok[array].end);
}

/* `gap` is where the text before the key begins: past the brace or past the member before. */
static void put_member(pst_copy_t *c, uint32_t gap, uint32_t key, fate_t fate)
{
    const pst_json_tok_t *k = &c->j->tok[key], *v = &c->j->tok[key + 1];
    /* Only the gap before a member that was not the first has a comma: one that becomes the first
     * loses it. */
    if (!c->first || !memchr(c->j->text.p + gap, ',', k->start - gap))
        pst_copy_range(c, gap, k->start);
    c->first = false;
    if (fate == FATE_RENAME) {
        pst_json_put_str(c->out, pst_view_str(right_max(c)));
        pst_copy_range(c, k->end, v->end);
    } else if (fate == FATE_WORD) {
        pst_json_put_str(c->out, pst_view_str(word_of(c, pst_json_str(c->j, key, c->a))->theirs));
        pst_copy_range(c, k->end, v->end);
    } else if (fate == FATE_MODEL) {
        pst_copy_range(c, k->start, v->start);
        pst_json_put_str(c->out, c->task->endpoint.model);
        c->has_model = true;
    } else if (fate == FATE_DEVELOPER) {
        pst_copy_range(c, k->start, v->start);
        put_without_developer(c, key + 1);
    } else if (fate == FATE_MESSAGES) {
        pst_copy_range(c, k->start, v->start);
        c->dialect->put_messages(c, key + 1);
    } else {
        pst_copy_range(c, k->start, v->end);
    }
}

/* The options that the body has, and usage in any case: what it costs is to be known.  A response's says it unasked. */
static void put_stream_options(pst_copy_t *c)
{
    const pst_json_t *j = c->j;
    uint32_t options = pst_json_get(j, 0, "stream_options");
    bool asks = c->task->url != PST_URL_RESPONSES;
    if (c->dialect->no_stream_options || (!asks && !pst_json_is(j, options, PST_JSON_OBJECT)))
        return;
    pst_buf_puts(c->out, ",\"stream_options\":{");
    if (pst_json_is(j, options, PST_JSON_OBJECT)) {
        for (uint32_t k = pst_json_first(j, options); k != PST_JSON_NONE; k = pst_json_after(j, options, k)) {
            if (pst_is_word(j, k, "include_usage"))
                continue;
            pst_json_put_comma(c->out);
            pst_buf_put(c->out, j->text.p + j->tok[k].start, j->tok[k + 1].end - j->tok[k].start);
        }
    }
    if (asks) {
        pst_json_put_comma(c->out);
        pst_buf_puts(c->out, "\"include_usage\":true");
    }
    pst_buf_putc(c->out, '}');
}

static void put_body(pst_copy_t *c)
{
    const pst_json_t *j = c->j;
    uint32_t gap = j->tok[0].start + 1;
    pst_buf_putc(c->out, '{');
    for (uint32_t k = pst_json_first(j, 0); k != PST_JSON_NONE; k = pst_json_after(j, 0, k)) {
        pst_view_t key = pst_json_str(j, k, c->a);
        fate_t fate = fate_of(c, key);
        if (fate == FATE_STREAM)
            c->streams = c->streams || !is_off(j, k + 1);
        else if (fate != FATE_DROP)
            put_member(c, gap, k, fate);
        gap = j->tok[k + 1].end;
    }
    if (!c->has_model) {
        pst_buf_puts(c->out, c->first ? "\"model\":" : ",\"model\":");
        pst_json_put_str(c->out, c->task->endpoint.model);
    }
    if (c->task->stream) {
        pst_buf_puts(c->out, ",\"stream\":true");
        put_stream_options(c);
    }
    pst_copy_range(c, gap, j->tok[0].end);
}

static const char *const paths[PST_URL_COUNT] = {
    [PST_URL_CHAT] = "/chat/completions",
    [PST_URL_RESPONSES] = "/responses",
    [PST_URL_EMBEDDINGS] = "/embeddings",
    [PST_URL_COMPLETIONS] = "/completions",
};

static pst_err_t put_request(pst_copy_t *c, pst_buf_t *out, pst_view_t *ret_why)
{
    c->out = out;
    c->first = true;
    c->has_model = c->streams = false;
    put_body(c);
    if (c->piece)
        close_piece(c);
    if (!c->streams || c->task->live)
        return out->failed ? PST_E_NOMEM : PST_OK;
    *ret_why = PST_VIEW_LIT("stream: a batch has no one to stream to: leave it out");
    return PST_E_INVALID;
}

/* NOMEM: too many pieces, too much between them, or no memory for them. */
static pst_err_t build_in_pieces(pst_copy_t *c, pst_http_req_t *ret, pst_view_t *ret_why)
{
    pst_buf_t out;
    c->piece = pst_arena_get(c->a, PIECES_MAX * sizeof *c->piece);
    if (!c->piece || pst_buf_in_arena(&out, c->a, SHORT_PARTS_BYTES))
        return PST_E_NOMEM;
    pst_err_t e = put_request(c, &out, ret_why);
    ret->piece = c->piece;
    ret->pieces = c->pieces;
    return e;
}

/* Into the arena at once: what is added is less than this but for names that are all escapes and members that are
 * there many times over. */
static pst_err_t build_at_once(pst_copy_t *c, pst_http_req_t *ret, pst_view_t *ret_why)
{
    pst_buf_t out;
    pst_err_t e = pst_buf_in_arena(&out, c->a, c->j->text.n + 2 * c->task->endpoint.model.n + 128);
    if (!e)
        e = put_request(c, &out, ret_why);
    ret->body = pst_buf_view(&out);
    return e;
}

static pst_err_t build_in_any_case(pst_copy_t *c, pst_http_req_t *ret, pst_view_t *ret_why)
{
    PST_SCOPED(pst_buf_release) pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_err_t e = put_request(c, &out, ret_why);
    return e ? e : pst_seal(&out, c->a, &ret->body);
}

const pst_openai_dialect_t pst_openai_plain = {.heeded = UINT32_MAX};

pst_err_t pst_openai_build(const pst_openai_dialect_t *dialect, const pst_task_t *task, pst_arena_t *a,
                           pst_http_req_t *ret, pst_view_t *ret_why)
{
    const pst_json_t *j = task->body;
    if (task->url == PST_URL_RESPONSES && pst_is_true(j, 0, "background")) {
        *ret_why = PST_VIEW_LIT("background: the answer would not be the response: leave it out");
        return PST_E_INVALID;
    }
    pst_copy_t c = {.task = task, .dialect = dialect, .j = j, .a = a};
    c.flags = dialect->flags | (task->endpoint.flags & dialect->heeded);
    c.has_other_max = wrong_max(&c) && pst_member(j, 0, right_max(&c)) != PST_JSON_NONE;
    *ret = (pst_http_req_t){.path = pst_view_str(paths[task->url])};
    if (j->text.n >= LONG_BODY_BYTES) {
        pst_err_t e = build_in_pieces(&c, ret, ret_why);
        if (e != PST_E_NOMEM)
            return e;
        ret->pieces = 0;
        c.piece = NULL;
    }
    pst_err_t e = build_at_once(&c, ret, ret_why);
    return e == PST_E_NOMEM ? build_in_any_case(&c, ret, ret_why) : e;
}

static pst_err_t build(const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                       pst_view_t *ret_why)
{
    return pst_openai_build(&pst_openai_plain, task, a, ret, ret_why);
}

/* ---- answer ---- */

/* Why a 2xx is no answer. */
typedef struct fault {
    const char *why;   /* NULL: nothing is wrong */
    pst_cause_t cause; /* BAD_ANSWER, or what is known better */
    uint32_t error;    /* token of an error's owner, which then says all; or PST_JSON_NONE */
} fault_t;

static const fault_t no_fault = {NULL, PST_CAUSE_NONE, PST_JSON_NONE};

static fault_t bad(const char *why)
{
    return (fault_t){why, PST_CAUSE_BAD_ANSWER, PST_JSON_NONE};
}

static fault_t is_error(uint32_t owner)
{
    return (fault_t){"the answer is an error", PST_CAUSE_NONE, owner};
}

/* The model said nothing; asked where it does not say why it stopped. */
static bool is_blank(const pst_json_t *j, uint32_t message, uint32_t text)
{
    static const char *const said[] = {"content", "refusal", "reasoning_content", "reasoning"};
    for (size_t i = 0; i < PST_COUNT(said); i++) {
        uint32_t t = pst_json_get(j, message, said[i]);
        if (pst_has_text(j, t) || (pst_json_is(j, t, PST_JSON_ARRAY) && j->tok[t].count))
            return false;
    }
    return !pst_has_text(j, text) && pst_member(j, message, "tool_calls") == PST_JSON_NONE &&
           pst_member(j, message, "function_call") == PST_JSON_NONE &&
           pst_member(j, message, "audio") == PST_JSON_NONE;
}

static fault_t check_choice(const pst_json_t *j, uint32_t choice, pst_url_t url, bool *ret_blank)
{
    enum { ERROR, FINISH, MESSAGE, TEXT, KEYS };
    static const pst_view_t keys[KEYS] = {
        [ERROR] = PST_VIEW_LIT("error"),
        [FINISH] = PST_VIEW_LIT("finish_reason"),
        [MESSAGE] = PST_VIEW_LIT("message"),
        [TEXT] = PST_VIEW_LIT("text"),
    };
    uint32_t at[KEYS];
    pst_members(j, choice, keys, KEYS, at);
    if (pst_if_any(j, at[ERROR]) != PST_JSON_NONE)
        return is_error(choice);
    if (!(url == PST_URL_CHAT ? pst_json_is(j, at[MESSAGE], PST_JSON_OBJECT)
                              : pst_json_is(j, at[TEXT], PST_JSON_STRING)))
        return bad("a choice of the answer is empty");
    if (pst_is_word(j, at[FINISH], "error"))
        return bad("the model stopped with finish_reason error");
    if (pst_is_word(j, at[FINISH], "insufficient_system_resource")) /* DeepSeek, in the middle */
        return (fault_t){"the provider ran out of resources", PST_CAUSE_OVERLOADED, PST_JSON_NONE};
    *ret_blank = !pst_has_text(j, at[FINISH]) && is_blank(j, at[MESSAGE], at[TEXT]);
    return no_fault;
}

static fault_t check_choices(const pst_json_t *j, uint32_t choices, pst_url_t url)
{
    bool all_blank = true;
    if (!pst_json_is(j, choices, PST_JSON_ARRAY) || j->tok[choices].count == 0)
        return bad("the answer has no choices");
    for (uint32_t i = pst_json_first(j, choices); i != PST_JSON_NONE;
         i = pst_json_after(j, choices, i)) {
        bool blank;
        fault_t f = check_choice(j, i, url, &blank);
        if (f.why)
            return f;
        all_blank = all_blank && blank;
    }
    return all_blank ? bad("the answer is blank") : no_fault;
}

/* What is looked for in the answer itself. */
enum { ERROR, OBJECT, CHOICES, OUTPUT, STATUS, DATA, USAGE, MEMBERS };
static const pst_view_t members[MEMBERS] = {
    [ERROR] = PST_VIEW_LIT("error"),     [OBJECT] = PST_VIEW_LIT("object"),
    [CHOICES] = PST_VIEW_LIT("choices"), [OUTPUT] = PST_VIEW_LIT("output"),
    [STATUS] = PST_VIEW_LIT("status"),   [DATA] = PST_VIEW_LIT("data"),
    [USAGE] = PST_VIEW_LIT("usage"),
};

static fault_t check_response(const pst_json_t *j, const uint32_t at[MEMBERS])
{
    if (!pst_json_is(j, at[OUTPUT], PST_JSON_ARRAY))
        return bad("the answer has no output");
    if (pst_has_text(j, at[STATUS]) && !pst_is_word(j, at[STATUS], "completed") &&
        !pst_is_word(j, at[STATUS], "incomplete"))
        return bad("the response ended without being completed");
    return no_fault;
}

static fault_t check_embeddings(const pst_json_t *j, uint32_t data)
{
    if (!pst_json_is(j, data, PST_JSON_ARRAY) || j->tok[data].count == 0 ||
        pst_member(j, pst_json_first(j, data), "embedding") == PST_JSON_NONE)
        return bad("the answer has no embeddings");
    return no_fault;
}

static fault_t check(const pst_json_t *j, const uint32_t at[MEMBERS], pst_url_t url)
{
    if (!pst_json_is(j, 0, PST_JSON_OBJECT))
        return bad("the answer is not an object");
    if (pst_if_any(j, at[ERROR]) != PST_JSON_NONE || pst_is_word(j, at[OBJECT], "error"))
        return is_error(0);
    switch (url) {
    case PST_URL_CHAT:
    case PST_URL_COMPLETIONS: return check_choices(j, at[CHOICES], url);
    case PST_URL_RESPONSES: return check_response(j, at);
    case PST_URL_EMBEDDINGS: return check_embeddings(j, at[DATA]);
    case PST_URL_COUNT: break;
    }
    return no_fault;
}

/* The first of two that is there and not null. */
static uint32_t either(const pst_json_t *j, uint32_t a, uint32_t b)
{
    return pst_if_any(j, a) != PST_JSON_NONE ? a : pst_if_any(j, b);
}

static pst_usage_t usage_in(const pst_json_t *j, uint32_t usage)
{
    /* The names of chat first, then those of responses, then DeepSeek's own. */
    enum { INPUT, INPUT_2, OUTPUT_1, OUTPUT_2, DETAILS, DETAILS_2, HITS, KEYS };
    static const pst_view_t keys[KEYS] = {
        [INPUT] = PST_VIEW_LIT("prompt_tokens"),
        [INPUT_2] = PST_VIEW_LIT("input_tokens"),
        [OUTPUT_1] = PST_VIEW_LIT("completion_tokens"),
        [OUTPUT_2] = PST_VIEW_LIT("output_tokens"),
        [DETAILS] = PST_VIEW_LIT("prompt_tokens_details"),
        [DETAILS_2] = PST_VIEW_LIT("input_tokens_details"),
        [HITS] = PST_VIEW_LIT("prompt_cache_hit_tokens"),
    };
    uint32_t at[KEYS];
    pst_members(j, usage, keys, KEYS, at);
    uint32_t input = either(j, at[INPUT], at[INPUT_2]);
    uint32_t details = either(j, at[DETAILS], at[DETAILS_2]);
    pst_usage_t u = {
        .known = pst_json_is(j, input, PST_JSON_NUMBER),
        .input = pst_count_of(j, input),
        .output = pst_count_of(j, either(j, at[OUTPUT_1], at[OUTPUT_2])),
        .cached = pst_count_of(j, pst_json_get(j, details, "cached_tokens")),
    };
    if (u.cached == 0)
        u.cached = pst_count_of(j, at[HITS]);
    u.cached = PST_MIN(u.cached, u.input);
    return u;
}

void pst_openai_read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                        pst_arena_t *a, pst_reading_t *ret)
{
    uint32_t at[MEMBERS];
    pst_members(j, 0, members, MEMBERS, at);
    fault_t fault = check(j, at, task->url);
    pst_usage_t u = usage_in(j, at[USAGE]);
    pst_reading_set_usage(ret, &u);
    if (fault.error != PST_JSON_NONE) {
        pst_failure_t f;
        pst_failure_find(j, fault.error, answer->status, a, &f);
        pst_failure_report(&f, answer, a, ret);
    } else if (fault.why) {
        pst_failure_bad_answer(answer, fault.why, a, ret);
        ret->cause = fault.cause;
    } else {
        ret->verdict = PST_VERDICT_DONE;
        ret->status = answer->status;
        ret->body =
            pst_json_raw(j, 0); /* without the blank lines that DeepSeek sends while it thinks */
        ret->request_id = pst_answer_request_id(answer);
    }
}

static void read_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    pst_answer_read(task, answer, a, ret, pst_openai_read_ok);
}

/* ---- answer, while it is made ---- */

/* OpenRouter's and vLLM's errors in mid-stream are objects with `error`, or are errors themselves. */
static fault_t check_chunk(const pst_json_t *j, const uint32_t at[MEMBERS])
{
    if (!pst_json_is(j, 0, PST_JSON_OBJECT))
        return bad("a chunk of the answer is not an object");
    if (pst_if_any(j, at[ERROR]) != PST_JSON_NONE || pst_is_word(j, at[OBJECT], "error"))
        return is_error(0);
    if (!pst_json_is(j, at[CHOICES], PST_JSON_ARRAY))
        return no_fault;
    for (uint32_t t = pst_json_first(j, at[CHOICES]); t != PST_JSON_NONE; t = pst_json_after(j, at[CHOICES], t)) {
        uint32_t finish = pst_json_get(j, t, "finish_reason");
        if (pst_member(j, t, "error") != PST_JSON_NONE)
            return is_error(t);
        if (pst_is_word(j, finish, "error"))
            return bad("the model stopped with finish_reason error");
        if (pst_is_word(j, finish, "insufficient_system_resource")) /* DeepSeek, in the middle */
            return (fault_t){"the provider ran out of resources", PST_CAUSE_OVERLOADED, PST_JSON_NONE};
    }
    return no_fault;
}

static pst_stream_state_t on_fault(const pst_stream_event_t *e, const fault_t *f, pst_reading_t *ret)
{
    if (f->error != PST_JSON_NONE)
        return pst_stream_failed(e, f->error, ret);
    pst_stream_bad(e, f->why, ret);
    ret->cause = f->cause;
    return PST_STREAM_FAILED;
}

/* Events name themselves in `type`; the last tells the whole response. */
static pst_stream_state_t on_response_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t type = pst_json_get(j, 0, "type"), response = pst_json_get(j, 0, "response");
    if (!pst_has_text(j, type) || pst_is_word(j, type, "error"))
        return pst_stream_failed(e, 0, ret);
    if (pst_is_word(j, type, "response.failed"))
        return pst_stream_failed(e, response, ret);
    pst_chunk_raw(s, e->out, pst_json_raw(j, 0));
    if (!pst_is_word(j, type, "response.completed") && !pst_is_word(j, type, "response.incomplete"))
        return PST_STREAM_MORE;
    s->usage = usage_in(j, pst_json_get(j, response, "usage"));
    return PST_STREAM_OVER;
}

/* Nobody asked for a chunk that tells usage alone, unless the body did. */
pst_stream_state_t pst_openai_event(pst_stream_t *s, const pst_stream_event_t *e,
                                    void (*put)(pst_stream_t *s, const pst_stream_event_t *e), pst_reading_t *ret)
{
    const pst_json_t *j = e->json;
    uint32_t at[MEMBERS];
    if (s->task->url == PST_URL_RESPONSES)
        return on_response_event(s, e, ret);
    pst_members(j, 0, members, MEMBERS, at);
    fault_t fault = check_chunk(j, at);
    if (fault.why)
        return on_fault(e, &fault, ret);
    bool tells = pst_json_is(j, at[USAGE], PST_JSON_OBJECT);
    if (tells)
        s->usage = usage_in(j, at[USAGE]);
    if (!tells || s->task->usage_wanted || pst_json_first(j, at[CHOICES]) != PST_JSON_NONE)
        put(s, e);
    return PST_STREAM_MORE;
}

void pst_openai_put_chunk(pst_stream_t *s, const pst_stream_event_t *e)
{
    pst_chunk_raw(s, e->out, pst_json_raw(e->json, 0));
}

static pst_stream_state_t on_event(pst_stream_t *s, const pst_stream_event_t *e, pst_reading_t *ret)
{
    return pst_openai_event(s, e, pst_openai_put_chunk, ret);
}

static const pst_streaming_t streaming = {
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_RESPONSES | 1u << PST_URL_COMPLETIONS,
    .done = true,
    .event = on_event,
};

const pst_provider_t pst_provider_openai = {
    .name = "openai",
    .auth = PST_AUTH_BEARER,
    .urls = 1u << PST_URL_CHAT | 1u << PST_URL_RESPONSES | 1u << PST_URL_EMBEDDINGS |
            1u << PST_URL_COMPLETIONS,
    .params = PST_PARAMS_ALL,
    .build = build,
    .read = read_answer,
    .streaming = &streaming,
};
