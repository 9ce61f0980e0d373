#include "providers/failure.h"

#include "providers/common.h"
#include "providers/delay.h"
#include "providers/google.h"

/* How much of a body that is no JSON is shown. */
#define EXCERPT_MAX 256

typedef struct meaning {
    pst_verdict_t verdict;
    pst_cause_t cause;
    bool whole_provider;
} meaning_t;

typedef struct word {
    const char *text;
    meaning_t meaning;
} word_t;

#define FINAL(cause) {PST_VERDICT_FINAL, PST_CAUSE_##cause, false}
#define RETRY(cause) {PST_VERDICT_RETRY, PST_CAUSE_##cause, false}
#define THROTTLE(cause) {PST_VERDICT_THROTTLE, PST_CAUSE_##cause, false}
#define PARK(cause) {PST_VERDICT_PARK, PST_CAUSE_##cause, false}
#define PARK_ALL(cause) {PST_VERDICT_PARK, PST_CAUSE_##cause, true}

/* True whatever the status.  A 429 of an account without credit, a 403 of a moderated prompt and a
 * 400 of a wrong key are only known by these. */
static const word_t exact_words[] = {
    {"context_length_exceeded", FINAL(CONTEXT_LENGTH)},
    {"exceed_context_size_error", FINAL(CONTEXT_LENGTH)},
    {"content_filter", FINAL(CONTENT_POLICY)},
    {"content_policy_violation", FINAL(CONTENT_POLICY)},
    {"refusal", FINAL(CONTENT_POLICY)},
    {"image_content_policy_violation", FINAL(CONTENT_POLICY)},
    {"invalid_prompt", FINAL(INVALID_REQUEST)},
    {"payload_too_large", FINAL(PAYLOAD_TOO_LARGE)},
    {"model_not_found", FINAL(NOT_FOUND)},
    {"invalid_api_key", PARK_ALL(AUTHENTICATION)},
    {"account_deactivated", PARK_ALL(AUTHENTICATION)},
    {"credit_balance_exhausted", PARK_ALL(PAYMENT_REQUIRED)},
    {"billing_hard_limit_reached", PARK_ALL(PAYMENT_REQUIRED)},
    {"billing_not_active", PARK_ALL(PAYMENT_REQUIRED)},
    {"billing_error", PARK_ALL(PAYMENT_REQUIRED)},
    {"payment_required", PARK_ALL(PAYMENT_REQUIRED)},
    {"insufficient_quota", PARK_ALL(QUOTA)},
    {"enforced_spend_limit_reached", PARK_ALL(QUOTA)},
    {"contract_spend_limit_reached", PARK_ALL(QUOTA)},
    /* AWS: a key that is wrong or out of date is a 403, as a model without access is; a model that is still being
     * loaded is a 429, as a limit is; a quota is a 400. */
    {"UnrecognizedClientException", PARK_ALL(AUTHENTICATION)},
    {"InvalidSignatureException", PARK_ALL(AUTHENTICATION)},
    {"IncompleteSignatureException", PARK_ALL(AUTHENTICATION)},
    {"MissingAuthenticationTokenException", PARK_ALL(AUTHENTICATION)},
    {"ExpiredTokenException", PARK_ALL(AUTHENTICATION)},
    {"ServiceQuotaExceededException", PARK(QUOTA)},
    {"ThrottlingException", THROTTLE(RATE_LIMIT)},
    {"ModelNotReadyException", THROTTLE(OVERLOADED)},
};

/* General words, which some hosts put on anything: they count where HTTP said 2xx and so said
 * nothing. */
static const word_t general_words[] = {
    {"invalid_request", FINAL(INVALID_REQUEST)},
    {"invalid_request_error", FINAL(INVALID_REQUEST)},
    {"invalid_image", FINAL(INVALID_REQUEST)},
    {"invalid_image_format", FINAL(INVALID_REQUEST)},
    {"invalid_base64_image", FINAL(INVALID_REQUEST)},
    {"invalid_image_url", FINAL(INVALID_REQUEST)},
    {"image_too_large", FINAL(INVALID_REQUEST)},
    {"image_too_small", FINAL(INVALID_REQUEST)},
    {"image_parse_error", FINAL(INVALID_REQUEST)},
    {"unsupported_image_media_type", FINAL(INVALID_REQUEST)},
    {"not_found", FINAL(NOT_FOUND)},
    {"not_found_error", FINAL(NOT_FOUND)},
    {"authentication", PARK_ALL(AUTHENTICATION)},
    {"authentication_error", PARK_ALL(AUTHENTICATION)},
    {"permission_denied", PARK(PERMISSION_DENIED)},
    {"permission_error", PARK(PERMISSION_DENIED)},
    {"rate_limit_exceeded", THROTTLE(RATE_LIMIT)},
    {"rate_limit_error", THROTTLE(RATE_LIMIT)},
    {"provider_overloaded", RETRY(OVERLOADED)},
    {"overloaded_error", RETRY(OVERLOADED)},
    {"provider_unavailable", RETRY(UNAVAILABLE)},
    {"timeout", RETRY(TIMEOUT)},
    {"timeout_error", RETRY(TIMEOUT)},
    {"server", RETRY(SERVER)},
    {"server_error", RETRY(SERVER)},
    {"api_error", RETRY(SERVER)},
};

/* Phrases (lower case) of messages that the codes do not tell apart, each for statuses from..to. */
static const struct {
    int from, to;
    const char *phrase;
    meaning_t meaning;
} phrases[] = {
    /* OpenAI and Groq: more tokens than the limit of a whole minute.  Waiting can never help. */
    {429, 429, "request too large", FINAL(PAYLOAD_TOO_LARGE)},
    {429, 429, "api calls / month", PARK_ALL(QUOTA)}, /* Cohere: all that a trial key may */
    {400, 422, "maximum context length", FINAL(CONTEXT_LENGTH)},
    {400, 422, "context window", FINAL(CONTEXT_LENGTH)},
    {400, 422, "context length", FINAL(CONTEXT_LENGTH)},
    {400, 422, "prompt is too long", FINAL(CONTEXT_LENGTH)},
    {400, 422, "input token count", FINAL(CONTEXT_LENGTH)}, /* Gemini */
    {400, 422, "tokens in the prompt", FINAL(CONTEXT_LENGTH)}, /* Cohere */
    {400, 400, "input is too long", FINAL(CONTEXT_LENGTH)}, /* Bedrock */
    {400, 400, "exceed context limit", FINAL(CONTEXT_LENGTH)}, /* Claude, of prompt and max_tokens together */
    {500, 500, "too large to process", FINAL(CONTEXT_LENGTH)}, /* llama.cpp */
    {400, 400, "api key not valid", PARK_ALL(AUTHENTICATION)}, /* Gemini */
    {400, 400, "api key expired", PARK_ALL(AUTHENTICATION)},
    {403, 403, "make sure your api key is valid", PARK_ALL(AUTHENTICATION)}, /* Bedrock */
    {400, 400, "incorrect api key", PARK_ALL(AUTHENTICATION)}, /* xAI */
    {400, 400, "credit balance is too low", PARK_ALL(PAYMENT_REQUIRED)}, /* Anthropic */
    {400, 400, "reached your specified api usage limits", PARK_ALL(QUOTA)}, /* Anthropic */
};

static const struct {
    int from, to;
    meaning_t meaning;
} statuses[] = {
    {401, 401, PARK_ALL(AUTHENTICATION)},
    {402, 402, PARK_ALL(PAYMENT_REQUIRED)},
    /* Perhaps of one model only: the account's other endpoints find out for themselves. */
    {403, 403, PARK(PERMISSION_DENIED)},
    {404, 404, FINAL(NOT_FOUND)},
    {408, 408, RETRY(TIMEOUT)},
    {409, 409, RETRY(UNAVAILABLE)},
    {413, 413, FINAL(PAYLOAD_TOO_LARGE)},
    {424, 425, RETRY(SERVER)},
    {429, 429, THROTTLE(RATE_LIMIT)},
    {498, 498, THROTTLE(OVERLOADED)}, /* Groq: no flex capacity */
    {499, 499, RETRY(TIMEOUT)},
    {400, 499, FINAL(INVALID_REQUEST)},
    {501, 501, FINAL(INVALID_REQUEST)},
    {502, 502, RETRY(UNAVAILABLE)},
    {503, 503, RETRY(OVERLOADED)},
    {504, 504, RETRY(TIMEOUT)},
    {520, 523, RETRY(UNAVAILABLE)}, /* Cloudflare did not reach the provider */
    {524, 524, RETRY(TIMEOUT)},
    {529, 529, RETRY(OVERLOADED)},
    {500, 599, RETRY(SERVER)},
};

/* AWS's throttling where the day's tokens are spent.  When its day ends is nowhere said: the broker asks now and then. */
static const meaning_t day_spent = PARK(QUOTA);

/* A 2xx with an error that says nothing we know; or a redirection: a misconfigured host, a

 * proxy. */
static const meaning_t otherwise = RETRY(BAD_ANSWER);

/* ---- finding it ---- */

static uint32_t error_object(const pst_json_t *j, uint32_t t)
{
    if (pst_json_is(j, t, PST_JSON_ARRAY))
        t = pst_json_first(j, t);
    uint32_t inner = pst_json_get(j, t, "error");
    if (pst_json_is(j, inner, PST_JSON_OBJECT))
        return inner;
    return pst_json_is(j, t, PST_JSON_OBJECT) ? t : PST_JSON_NONE;
}

/* {"detail":"text"} or FastAPI's {"detail":[{"msg":"text"}]}. */
static pst_view_t detail_text(const pst_json_t *j, uint32_t error, pst_arena_t *a)
{
    uint32_t detail = pst_json_get(j, error, "detail");
    if (pst_json_is(j, detail, PST_JSON_ARRAY))
        detail = pst_json_path(j, pst_json_first(j, detail), "msg", NULL);
    return pst_json_str(j, detail, a);
}

/* Mistral puts FastAPI's into its own: {"object":"error","message":{"detail":[{"msg":"text"}]}}. */
static pst_view_t message_text(const pst_json_t *j, uint32_t error, pst_arena_t *a)
{
    static const char *const names[] = {"message", "error", "Message"};
    pst_view_t text = {NULL, 0};
    for (size_t i = 0; i < PST_COUNT(names) && text.n == 0; i++)
        text = pst_json_str(j, pst_json_get(j, error, names[i]), a);
    if (text.n == 0)
        text = detail_text(j, error, a);
    return text.n ? text : detail_text(j, pst_json_get(j, error, "message"), a);
}

static bool is_error_status(int64_t n)
{
    return n >= 400 && n <= 599;
}

/* A code that is an HTTP status, as a number or as Azure's string. */
static int status_of_code(const pst_json_t *j, uint32_t code)
{
    int64_t n;
    if (pst_json_int(j, code, &n))
        return is_error_status(n) ? (int)n : 0;
    pst_view_t v = pst_inside(j, code);
    if (v.n != 3)
        return 0;
    n = 0;
    for (size_t i = 0; i < 3; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return 0;
        n = n * 10 + (v.p[i] - '0');
    }
    return is_error_status(n) ? (int)n : 0;
}

static pst_view_t kind_of(const pst_json_t *j, uint32_t error, pst_arena_t *a)
{
    pst_view_t v = pst_json_str(j, pst_json_path(j, error, "metadata", "error_type", NULL), a);
    if (v.n == 0)
        v = pst_json_str(j, pst_json_get(j, error, "error_type"), a);
    if (v.n == 0)
        v = pst_json_str(j, pst_json_get(j, error, "error_code"), a);
    return v.n ? v : pst_json_str(j, pst_json_path(j, error, "details", "error_code", NULL), a);
}

/* Anthropic's object has no code, Gemini's has a status beside it: those are said again in our
 * words. */
static bool is_openai_shaped(const pst_json_t *j, uint32_t error)
{
    return pst_has_text(j, pst_json_get(j, error, "message")) &&
           pst_json_get(j, error, "code") != PST_JSON_NONE &&
           pst_json_get(j, error, "status") == PST_JSON_NONE;
}

/* AWS names its exception in a header, "Name:http://…", or in the body, "space#Name". */
static pst_view_t exception_of(const pst_failure_t *f, const pst_http_answer_t *answer)
{
    pst_view_t v = pst_answer_header(answer, "x-amzn-errortype");
    if (v.n == 0 && f->error != PST_JSON_NONE)
        v = pst_inside(f->json, pst_json_get(f->json, f->error, "__type"));
    const char *space = v.n ? memchr(v.p, '#', v.n) : NULL;
    if (space)
        v = pst_view(space + 1, v.n - (size_t)(space + 1 - v.p));
    const char *url = v.n ? memchr(v.p, ':', v.n) : NULL;
    return url ? pst_view(v.p, (size_t)(url - v.p)) : v;
}

void pst_failure_find(const pst_json_t *json, uint32_t object, int status, pst_arena_t *a,
                      pst_failure_t *ret)
{
    *ret = (pst_failure_t){
        .json = json, .error = PST_JSON_NONE, .availability = PST_JSON_NONE, .status = status};
    ret->status_known = is_error_status(status);
    if (json && object != PST_JSON_NONE)
        ret->error = error_object(json, object);
    if (ret->error != PST_JSON_NONE) {
        uint32_t code = pst_json_get(json, ret->error, "code");
        ret->message = message_text(json, ret->error, a);
        ret->type = pst_json_str(json, pst_json_get(json, ret->error, "type"), a);
        ret->code = pst_json_str(json, code, a);
        ret->kind = kind_of(json, ret->error, a);
        ret->availability = pst_member(json, ret->error, "availability");
        ret->openai_shaped = is_openai_shaped(json, ret->error);
        if (!ret->status_known && status_of_code(json, code)) {
            ret->status = status_of_code(json, code);
            ret->status_known = true;
        }
    }
    /* 2xx around an error would be taken for success by whoever reads the result. */
    if (!ret->status_known && status >= 200 && status < 300)
        ret->status = 502;
}

/* ---- judging it ---- */

static const meaning_t *find_word(const word_t *words, size_t n, pst_view_t v)
{
    for (size_t i = 0; v.n && i < n; i++) {
        if (pst_view_eqs(v, words[i].text))
            return &words[i].meaning;
    }
    return NULL;
}

/* The most particular field first. */
static const meaning_t *by_words(const pst_failure_t *f, const word_t *words, size_t n)
{
    const meaning_t *m = find_word(words, n, f->kind);
    if (!m)
        m = find_word(words, n, f->code);
    return m ? m : find_word(words, n, f->type);
}

static const meaning_t *by_phrase(const pst_failure_t *f)
{
    for (size_t i = 0; i < PST_COUNT(phrases); i++) {
        if (f->status >= phrases[i].from && f->status <= phrases[i].to &&
            pst_text_has(f->message, phrases[i].phrase, NULL))
            return &phrases[i].meaning;
    }
    return NULL;
}

static const meaning_t *by_status(int status)
{
    for (size_t i = 0; i < PST_COUNT(statuses); i++) {
        if (status >= statuses[i].from && status <= statuses[i].to)
            return &statuses[i].meaning;
    }
    return &otherwise;
}

static const meaning_t *meaning_of(const pst_failure_t *f)
{
    const meaning_t *m = by_words(f, exact_words, PST_COUNT(exact_words));
    if (m && m->verdict == PST_VERDICT_THROTTLE && pst_text_has(f->message, "per day", NULL))
        return &day_spent;
    /* OpenRouter relays many statuses; its own word for what happened is better than any of
     * them. */
    if (!m)
        m = find_word(general_words, PST_COUNT(general_words), f->kind);
    if (!m)
        m = by_phrase(f);
    if (!m && !f->status_known)
        m = by_words(f, general_words, PST_COUNT(general_words));
    if (m)
        return m;
    return f->status_known ? by_status(f->status) : &otherwise;
}

/* OpenRouter's availability.retry_after is in seconds and already the least of all its attempts. */
static bool wait_of(const pst_failure_t *f, const pst_http_answer_t *answer, uint64_t *ret_ms)
{
    if (pst_delay_said(answer, ret_ms))
        return true;
    if (f->availability != PST_JSON_NONE) {
        uint32_t t = pst_json_get(f->json, f->availability, "retry_after");
        if (pst_json_is(f->json, t, PST_JSON_NUMBER))
            return pst_delay_parse(pst_json_raw(f->json, t), answer->wall_ms, ret_ms);
    }
    return pst_delay_of_exhausted(answer, ret_ms) ||
           pst_delay_in_message(f->message, answer->wall_ms, ret_ms);
}

static bool can_wait(pst_verdict_t v)
{
    return v == PST_VERDICT_THROTTLE || v == PST_VERDICT_PARK;
}

static void judge(const pst_failure_t *f, const pst_http_answer_t *answer, pst_arena_t *a,
                  pst_reading_t *ret)
{
    meaning_t m = *meaning_of(f);
    uint64_t ms;
    bool said = pst_delay_said(answer, &ms);
    /* An overloaded host that says when to come back sets a limit: waiting for it costs no
     * attempt. */
    if (m.verdict == PST_VERDICT_RETRY && m.cause == PST_CAUSE_OVERLOADED && said)
        m.verdict = PST_VERDICT_THROTTLE;
    if (f->availability != PST_JSON_NONE && m.verdict == PST_VERDICT_RETRY &&
        pst_is_false(f->json, f->availability, "retryable"))
        m.verdict = PST_VERDICT_FINAL;
    ret->verdict = m.verdict;
    ret->cause = m.cause;
    ret->whole_provider = m.whole_provider;
    if (can_wait(m.verdict) && wait_of(f, answer, &ms))
        ret->wait_ms = pst_delay_clamp(ms);
    if (f->error != PST_JSON_NONE)
        pst_google_refine(f->json, f->error, answer, said, a, ret);
}

/* ---- showing it ---- */

static const char *type_of_status(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 400 && status < 500 ? "invalid_request_error" : "api_error";
    }
}

static pst_view_t excerpt(pst_view_t body)
{
    body = pst_text_trim(body);
    body.n = PST_MIN(body.n, EXCERPT_MAX);
    return body;
}

static void put_error(pst_buf_t *b, pst_view_t message, pst_view_t type, pst_view_t code)
{
    pst_buf_puts(b, "{\"error\":{");
    pst_put_text(b, "message", message);
    pst_put_text(b, "type", type);
    pst_buf_puts(b, ",\"param\":null,\"code\":");
    if (code.n)
        pst_json_put_str(b, code);
    else
        pst_buf_puts(b, "null");
    pst_buf_puts(b, "}}");
}

static pst_view_t shown_code(const pst_failure_t *f, pst_cause_t cause)
{
    if (cause == PST_CAUSE_CONTEXT_LENGTH) /* the code that OpenAI's clients look for */
        return pst_view_str(pst_cause_text(cause));
    if (f->code.n == 0 && f->error != PST_JSON_NONE)
        return pst_inside(f->json, pst_json_get(f->json, f->error, "status"));
    return f->code;
}

static void put_body(pst_buf_t *b, const pst_failure_t *f, const pst_http_answer_t *answer,
                     pst_cause_t cause)
{
    static const pst_view_t api_error = PST_VIEW_LIT("api_error");
    pst_view_t text = excerpt(answer->body);
    if (f->openai_shaped) {
        pst_buf_puts(b, "{\"error\":");
        pst_buf_putv(b, pst_json_raw(f->json, f->error));
        pst_buf_putc(b, '}');
    } else if (f->message.n) {
        put_error(b, f->message, f->type.n ? f->type : pst_view_str(type_of_status(f->status)),
                  shown_code(f, cause));
    } else if (text.n) {
        put_error(b, text, api_error, pst_view(NULL, 0));
    } else {
        put_error(b, PST_VIEW_LIT("the provider sent an error without a body"), api_error,
                  pst_view(NULL, 0));
    }
}

static pst_view_t request_id_of(const pst_failure_t *f, const pst_http_answer_t *answer,
                                pst_arena_t *a)
{
    pst_view_t id = pst_answer_request_id(answer);
    if (id.n || !f->json)
        return id;
    return pst_json_str(f->json, pst_json_get(f->json, 0, "request_id"), a);
}

void pst_failure_report(const pst_failure_t *f, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    judge(f, answer, a, ret);
    put_body(&b, f, answer, ret->cause);
    ret->status = f->status;
    ret->request_id = request_id_of(f, answer, a);
    if (pst_seal(&b, a, &ret->body) != PST_OK)
        pst_failure_no_memory(ret);
}

void pst_failure_read(const pst_json_t *json, const pst_http_answer_t *answer, pst_arena_t *a,
                      pst_reading_t *ret)
{
    pst_failure_t f;
    pst_failure_find(json, json ? 0 : PST_JSON_NONE, answer->status, a, &f);
    if (f.code.n == 0)
        f.code = exception_of(&f, answer);
    pst_failure_report(&f, answer, a, ret);
}

void pst_failure_bad_answer(const pst_http_answer_t *answer, const char *why, pst_arena_t *a,
                            pst_reading_t *ret)
{
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_buf_init(&b, 0);
    put_error(&b, pst_view_str(why), PST_VIEW_LIT("api_error"), PST_VIEW_LIT("bad_answer"));
    ret->verdict = PST_VERDICT_RETRY;
    ret->cause = PST_CAUSE_BAD_ANSWER;
    ret->status = 502;
    ret->request_id = pst_answer_request_id(answer);
    if (pst_seal(&b, a, &ret->body) != PST_OK)
        pst_failure_no_memory(ret);
}

void pst_failure_transport(const pst_http_answer_t *answer, pst_reading_t *ret)
{
    ret->verdict = PST_VERDICT_RETRY;
    ret->cause = answer->transport;
    if (answer->transport == PST_CAUSE_TIMEOUT) {
        ret->message = PST_VIEW_LIT("the provider did not answer in time");
    } else if (answer->transport == PST_CAUSE_DNS) {
        ret->message = PST_VIEW_LIT("the provider's name does not resolve");
    } else if (answer->transport == PST_CAUSE_TLS) {
        ret->message = PST_VIEW_LIT("TLS handshake failed");
    } else if (answer->transport == PST_CAUSE_BAD_ANSWER) {
        ret->message = PST_VIEW_LIT("the provider's answer cannot be unpacked");
    } else if (answer->transport == PST_CAUSE_CERTIFICATE) {
        /* Nothing was sent, and nothing will be until somebody says whom to trust. */
        ret->verdict = PST_VERDICT_PARK;
        ret->whole_provider = true;
        ret->message = PST_VIEW_LIT("the provider's certificate is not trusted: see ca_file");
    } else if (answer->transport == PST_CAUSE_PAYLOAD_TOO_LARGE) {
        /* Asked again it would be as large again, and be paid for again. */
        ret->verdict = PST_VERDICT_FINAL;
        ret->message = PST_VIEW_LIT("the provider's answer is larger than this worker takes");
    } else {
        ret->cause = PST_CAUSE_CONNECTION;
        ret->message = PST_VIEW_LIT("the connection to the provider failed");
    }
    if (answer->why.n)
        ret->message = answer->why;
}

void pst_failure_no_memory(pst_reading_t *ret)
{
    ret->verdict = PST_VERDICT_RETRY;
    ret->cause = PST_CAUSE_PAYLOAD_TOO_LARGE;
    ret->status = 0;
    ret->body = ret->request_id = pst_view(NULL, 0);
    ret->message = PST_VIEW_LIT("the provider's answer does not fit in this worker's memory");
}
