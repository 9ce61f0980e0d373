/* adapter_fuzz.c - any body a user may submit and any answer a provider may send.
 *
 * An input is AUFS, one line, a newline, a body:
 *   A  adapter, '0' on      U  url, '0' on      F  flags of the endpoint, from '@' on; with its high bit, an api version
 *   S  'b': the body is a job's, to be built; else the place in `statuses` of an answer with that body
 * The line is the value of every header about waiting and limits; with bars in it, they have what is between those in
 * turn.  It is also the name of a header. */
#include "fuzz.h"
#include "provider.h"

static const int statuses[] = {0, 200, 302, 400, 401, 403, 404, 413, 422, 429, 498, 500, 503, 529};

static bool parses(pst_view_t text)
{
    pst_json_t j;
    pst_json_init(&j);
    bool ok = pst_json_parse(&j, text, NULL) == PST_OK;
    pst_json_release(&j);
    return ok;
}

/* A translation is a few levels deeper than the body, and arguments that were text become part of
 * it: only where few brackets came is it sure that the result is not deeper than our own parser
 * goes. */
static bool may_be_deep(pst_view_t text)
{
    size_t brackets = 0;
    for (size_t i = 0; i < text.n; i++)
        brackets += text.p[i] == '[' || text.p[i] == '{';
    return brackets > PST_JSON_DEPTH_MAX - 16;
}

static void check_build(const pst_provider_t *p, const pst_task_t *task)
{
    pst_arena_t a;
    pst_http_req_t req;
    pst_view_t why = {NULL, 0};
    pst_arena_init(&a, 0);
    pst_err_t e = pst_provider_build(p, task, &a, &req, &why);
    PST_ASSERT(e == PST_OK || e == PST_E_INVALID);
    if (e == PST_OK) {
        PST_ASSERT(req.path.n > 1 && req.path.p[0] == '/');
        PST_ASSERT(req.headers <= PST_HTTP_HEADERS_MAX);
        PST_ASSERT(may_be_deep(task->body->text) || parses(req.body));
    } else {
        PST_ASSERT(why.n > 0);
    }
    pst_arena_release(&a);
}

static void check_reading(const pst_reading_t *r)
{
    PST_ASSERT(r->verdict >= PST_VERDICT_DONE && r->verdict <= PST_VERDICT_PARK);
    PST_ASSERT((r->cause == PST_CAUSE_NONE) == (r->verdict == PST_VERDICT_DONE));
    PST_ASSERT(r->status ? parses(r->body) : r->body.n == 0);
    PST_ASSERT(r->wait_ms == 0 || (r->wait_ms >= 50 && r->wait_ms <= UINT64_C(25) * 3600 * 1000));
    PST_ASSERT(r->usage_known || r->input_tokens + r->output_tokens == 0);
    PST_ASSERT(r->cached_tokens <= r->input_tokens);
    PST_ASSERT(r->limits_n <= PST_RATE_COUNT);
    unsigned rates = 0;
    for (unsigned i = 0; i < r->limits_n; i++) {
        const pst_rate_report_t *l = &r->limits[i];
        PST_ASSERT(l->rate < PST_RATE_COUNT && !(rates & 1u << l->rate));
        PST_ASSERT(l->limit > 0 && l->reset_ms <= UINT64_C(25) * 3600 * 1000);
        rates |= 1u << l->rate;
    }
}

/* The i-th part of a text with bars, those being taken in turn. */
static pst_view_t part(pst_view_t text, unsigned i)
{
    pst_view_t rest = text;
    for (;;) {
        const char *bar = rest.n ? memchr(rest.p, '|', rest.n) : NULL;
        size_t n = bar ? (size_t)(bar - rest.p) : rest.n;
        if (i-- == 0)
            return pst_view(rest.p, n);
        if (bar)
            rest = pst_view(bar + 1, rest.n - n - 1);
        else if (rest.p == text.p)
            return text; /* no bars */
        else
            rest = text;
    }
}

static void check_read(const pst_provider_t *p, const pst_task_t *task, int status, pst_view_t wait,
                       pst_view_t body)
{
    static const char *const names[] = {
        "retry-after", "x-ratelimit-reset-tokens", "retry-after-ms",
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
        "anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset", "x-ratelimit-limit", "x-ratelimit-limit-dynamic",
        "x-ratelimit-reset", "x-tokenlimit-limit", "x-tokenlimit-remaining", "x-ratelimit-limit-tokens",
        "x-ratelimit-limit-project-tokens", "x-ratelimit-limit-requests-day",
    };
    pst_http_header_t header[PST_COUNT(names) + 2] = {
        {PST_VIEW_LIT("x-ratelimit-remaining-tokens"), PST_VIEW_LIT("0")},
        {part(wait, 0), part(wait, 1)},
    };
    for (unsigned i = 0; i < PST_COUNT(names); i++)
        header[i + 2] = (pst_http_header_t){pst_view_str(names[i]), part(wait, i)};
    pst_http_answer_t answer = {
        .status = status, .header = header, .headers = PST_COUNT(header), .wall_ms = 1700000000000};
    pst_reading_t r;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    if (status)
        answer.body = body;
    pst_provider_read(p, task, &answer, &a, &r);
    check_reading(&r);
    pst_arena_release(&a);
}

static void check(const pst_provider_t *p, pst_task_t *task, char kind, pst_view_t wait,
                  pst_view_t body)
{
    static const pst_view_t job =
        PST_VIEW_LIT("{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
    pst_json_t j, tape;
    pst_json_init(&j);
    pst_json_init(&tape);
    bool build = kind == 'b' || p->internal;
    bool ok = pst_json_parse(&j, build ? body : job, NULL) == PST_OK &&
              pst_json_is(&j, 0, PST_JSON_OBJECT);
    task->body = build ? &j : NULL;
    task->tape = &tape;
    if (ok && build && !p->internal)
        check_build(p, task);
    else if (ok)
        check_read(p, task, p->internal ? 200 : statuses[(unsigned char)kind % PST_COUNT(statuses)],
                   wait, p->internal ? pst_view(NULL, 0) : body);
    pst_json_release(&j);
    pst_json_release(&tape);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *line = size > 4 ? memchr(text + 4, '\n', size - 4) : NULL;
    if (!line)
        return 0;
    const pst_provider_t *p = pst_provider_at((unsigned)(text[0] & 7));
    pst_task_t task = {
        .url = (pst_url_t)(text[1] & 3),
        .endpoint = {.model = PST_VIEW_LIT("some/model"), .flags = (uint32_t)text[2] & 63},
        .api_version = text[2] & 128 ? PST_VIEW_LIT("2024-10-21") : pst_view(NULL, 0),
        .random = 7,
        .wall_s = 1700000000,
    };
    size_t at = (size_t)(line - text) + 1;
    if (p && pst_provider_urls(p) & 1u << task.url)
        check(p, &task, text[3], pst_view(text + 4, at - 5), pst_view(text + at, size - at));
    return 0;
}
