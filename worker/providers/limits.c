#include "providers/limits.h"

#include "providers/common.h"
#include "providers/delay.h"

#define MINUTE_MS UINT64_C(60000)
#define DAY_MS UINT64_C(86400000)
#define SLACK_MS 1000   /* a minute told in whole seconds */
#define DIGITS_MAX 15   /* of a count: more is none that anybody means */
#define NOT_SAID UINT64_MAX

/* The time that a limit is for. */
typedef enum span { SECOND, MINUTE, DAY, GUESS, UNKNOWN } span_t;

typedef enum family { RATE, TOKEN, ANTHROPIC, X_BY_SIZE, BY_SIZE, FAMILIES } family_t;

static const struct {
    pst_view_t prefix;
    bool field_last; /* "requests-limit", not "limit-requests" */
} families[FAMILIES] = {
    [RATE] = {PST_VIEW_LIT("x-ratelimit-"), false},
    [TOKEN] = {PST_VIEW_LIT("x-tokenlimit-"), false},
    [ANTHROPIC] = {PST_VIEW_LIT("anthropic-ratelimit-"), true},
    [X_BY_SIZE] = {PST_VIEW_LIT("x-ratelimitbysize-"), false},
    [BY_SIZE] = {PST_VIEW_LIT("ratelimitbysize-"), false},
};

enum { LIMIT, REMAINING, RESET, FIELDS };
static const pst_view_t fields[FIELDS] = {
    [LIMIT] = PST_VIEW_LIT("limit"),
    [REMAINING] = PST_VIEW_LIT("remaining"),
    [RESET] = PST_VIEW_LIT("reset"),
};

/* What is limited.  The bare x-ratelimit-… has in other hosts' answers windows that they alone know: it is believed
 * only where Together's own names are beside it. */
static const struct {
    family_t family;
    pst_view_t name;
    pst_rate_t rate;
    span_t span;
    bool beside_tokens;
} subjects[] = {
    {RATE, PST_VIEW_LIT("requests"), PST_RATE_REQUESTS, GUESS, false},
    {RATE, PST_VIEW_LIT("tokens"), PST_RATE_TOKENS, GUESS, false},
    {RATE, PST_VIEW_LIT("project-tokens"), PST_RATE_TOKENS, GUESS, false},
    {RATE, PST_VIEW_LIT("requests-day"), PST_RATE_DAILY, DAY, false},
    {RATE, PST_VIEW_LIT("requests-minute"), PST_RATE_REQUESTS, MINUTE, false},
    {RATE, PST_VIEW_LIT("req-minute"), PST_RATE_REQUESTS, MINUTE, false},
    {RATE, PST_VIEW_LIT("tokens-minute"), PST_RATE_TOKENS, MINUTE, false},
    {RATE, PST_VIEW_LIT("tokens-prompt"), PST_RATE_INPUT, SECOND, false},
    {RATE, PST_VIEW_LIT("tokens-generated"), PST_RATE_OUTPUT, SECOND, false},
    {RATE, PST_VIEW_LIT(""), PST_RATE_REQUESTS, SECOND, true},
    {RATE, PST_VIEW_LIT("dynamic"), PST_RATE_REQUESTS, SECOND, true},
    {TOKEN, PST_VIEW_LIT(""), PST_RATE_TOKENS, SECOND, false},
    {TOKEN, PST_VIEW_LIT("dynamic"), PST_RATE_TOKENS, SECOND, false},
    {ANTHROPIC, PST_VIEW_LIT("requests"), PST_RATE_REQUESTS, MINUTE, false},
    {ANTHROPIC, PST_VIEW_LIT("tokens"), PST_RATE_TOKENS, MINUTE, false},
    {ANTHROPIC, PST_VIEW_LIT("input-tokens"), PST_RATE_INPUT, MINUTE, false},
    {ANTHROPIC, PST_VIEW_LIT("output-tokens"), PST_RATE_OUTPUT, MINUTE, false},
    {X_BY_SIZE, PST_VIEW_LIT("minute"), PST_RATE_TOKENS, MINUTE, false},
    {BY_SIZE, PST_VIEW_LIT(""), PST_RATE_TOKENS, GUESS, false},
};
#define SUBJECTS PST_COUNT(subjects)

/* Of one subject; as it was said, of whatever span. */
typedef struct said {
    uint64_t limit, remaining, reset_ms;
} said_t;

/* ---- names ---- */

/* Takes one of `fields`, and the dash beside it, off one end of a name; FIELDS if none is there. */
static unsigned take_field(pst_view_t *v, bool last)
{
    for (unsigned f = 0; f < FIELDS; f++) {
        size_t n = fields[f].n;
        if (v->n < n || memcmp(last ? v->p + v->n - n : v->p, fields[f].p, n) != 0)
            continue;
        pst_view_t rest = pst_view(last ? v->p : v->p + n, v->n - n);
        if (rest.n && rest.p[last ? rest.n - 1 : 0] != '-')
            continue;
        if (rest.n)
            rest = pst_view(last ? rest.p : rest.p + 1, rest.n - 1);
        *v = rest;
        return f;
    }
    return FIELDS;
}

/* Asked of every header of every answer: most differ in their first letter. */
static family_t family_of(pst_view_t name)
{
    for (unsigned i = 0; i < FAMILIES; i++) {
        const pst_view_t *p = &families[i].prefix;
        if (name.n > p->n && name.p[0] == p->p[0] && memcmp(name.p, p->p, p->n) == 0)
            return (family_t)i;
    }
    return FAMILIES;
}

/* The place in `subjects`, SUBJECTS for a header that says nothing of limits that we know. */
static size_t subject_of(pst_view_t name, unsigned *ret_field)
{
    family_t family = family_of(name);
    if (family == FAMILIES)
        return SUBJECTS;
    size_t n = families[family].prefix.n;
    pst_view_t rest = pst_view(name.p + n, name.n - n);
    *ret_field = take_field(&rest, families[family].field_last);
    size_t i = 0;
    while (i < SUBJECTS && (subjects[i].family != family || !pst_view_eq(rest, subjects[i].name)))
        i++;
    return *ret_field < FIELDS ? i : SUBJECTS;
}

/* ---- values ---- */

/* "5000", "0.0": what is behind the point does not matter. */
static bool parse_count(pst_view_t v, uint64_t *ret)
{
    uint64_t n = 0;
    size_t i = 0;
    v = pst_text_trim(v);
    for (; i < v.n && i < DIGITS_MAX && v.p[i] >= '0' && v.p[i] <= '9'; i++)
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    bool any = i > 0;
    if (any && i < v.n && v.p[i] == '.')
        for (i++; i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++)
            ;
    if (!any || i < v.n)
        return false;
    *ret = n;
    return true;
}

/* What cannot be read stays not said. */
static void note(said_t *s, unsigned field, pst_view_t value, uint64_t wall_ms)
{
    uint64_t ms;
    if (field == LIMIT)
        (void)parse_count(value, &s->limit);
    else if (field == REMAINING)
        (void)parse_count(value, &s->remaining);
    else if (pst_delay_parse(value, wall_ms, &ms))
        s->reset_ms = PST_MIN(ms, PST_DELAY_MAX_MS);
}

/* false, and nothing touched, if no header says anything. */
static bool collect(const pst_http_answer_t *answer, said_t said[SUBJECTS])
{
    bool any = false;
    for (unsigned i = 0; i < answer->headers; i++) {
        const pst_http_header_t *h = &answer->header[i];
        unsigned field;
        size_t s = subject_of(h->name, &field);
        if (s == SUBJECTS)
            continue;
        for (size_t k = 0; !any && k < SUBJECTS; k++)
            said[k] = (said_t){.remaining = NOT_SAID};
        any = true;
        note(&said[s], field, h->value, answer->wall_ms);
    }
    return any;
}

/* ---- what they mean ---- */

/* What remains is told in whole calls, and resets at times in whole seconds. */
static bool is_about(double ms, uint64_t of)
{
    return ms * 1.25 > (double)of && ms < (double)of * 1.25;
}

/* The span of a plain …-requests or …-tokens: OpenAI's minute, or the day that Groq means of requests, and OpenAI of
 * models that it limits by the day.  The names are the same, and whose they are is not known here.
 *
 * Both refill steadily.  Then the reset, when all is there again, is that part of the span that is used of the limit,
 * and so reset * limit / used is the span.  Groq: 942 of 1000 left, all there in 1h23m31s; 1000/58 of that is a day.
 * OpenAI: 4999 of 5000 left, all there in 12ms; 5000 times that is a minute.
 *
 * What fits neither is reset all at once.  If that is within a minute it is a minute's; if later, no span is believed:
 * an hour's taken for a day's would slow its calls down to a twenty-fourth, while a limit that is not told costs some
 * refusals.  For the same reason neither is believed of a reset within a minute that would fit a day: these may be the
 * first calls of a day, or little is used of a minute that happens to end just then.  A later answer will tell. */
static span_t guess(const said_t *s)
{
    uint64_t used = s->remaining < s->limit ? s->limit - s->remaining : 0;
    double span = used ? (double)s->reset_ms * (double)s->limit / (double)used : 0;
    bool soon = s->reset_ms <= MINUTE_MS + SLACK_MS;
    if (is_about(span, MINUTE_MS))
        return MINUTE;
    if (is_about(span, DAY_MS))
        return soon ? UNKNOWN : DAY;
    return soon ? MINUTE : UNKNOWN;
}

/* false: a limit that none of our rates is. */
static bool report_of(size_t subject, const said_t *s, pst_rate_report_t *ret)
{
    span_t span = subjects[subject].span == GUESS ? guess(s) : subjects[subject].span;
    uint64_t times = span == SECOND ? 60 : 1;
    *ret = (pst_rate_report_t){.rate = subjects[subject].rate,
                               .limit = s->limit * times,
                               .remaining = s->remaining == NOT_SAID ? NOT_SAID : s->remaining * times,
                               .reset_ms = s->reset_ms};
    if (span != DAY)
        return span != UNKNOWN;
    ret->rate = PST_RATE_DAILY;
    return subjects[subject].rate == PST_RATE_REQUESTS || subjects[subject].rate == PST_RATE_DAILY;
}

/* Where a rate is spoken of twice (the model and its project, a name of before and a new one) the smaller limit is the
 * one that binds; where they are the same, one may say what the other does not. */
static void merge(pst_rate_report_t *known, const pst_rate_report_t *r)
{
    if (r->limit < known->limit) {
        *known = *r;
    } else if (r->limit == known->limit) {
        known->remaining = PST_MIN(known->remaining, r->remaining);
        known->reset_ms = PST_MAX(known->reset_ms, r->reset_ms);
    }
}

static void add(pst_rate_report_t *reports, unsigned *n, const pst_rate_report_t *r)
{
    unsigned i = 0;
    while (i < *n && reports[i].rate != r->rate)
        i++;
    if (i == *n)
        reports[(*n)++] = *r;
    else
        merge(&reports[i], r);
}

static bool says_tokens(const said_t said[SUBJECTS])
{
    bool any = false;
    for (size_t i = 0; i < SUBJECTS; i++)
        any = any || (subjects[i].family == TOKEN && said[i].limit);
    return any;
}

void pst_limits_read(const pst_http_answer_t *answer, pst_arena_t *a, pst_reading_t *ret)
{
    said_t said[SUBJECTS];
    pst_rate_report_t reports[PST_RATE_COUNT], r;
    unsigned n = 0;
    if (!collect(answer, said))
        return;
    bool tokens = says_tokens(said);
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (said[i].limit && (tokens || !subjects[i].beside_tokens) && report_of(i, &said[i], &r))
            add(reports, &n, &r);
    }
    pst_rate_report_t *kept = n ? pst_arena_get(a, n * sizeof *kept) : NULL;
    if (!kept)
        return;
    memcpy(kept, reports, n * sizeof *kept);
    ret->limits = kept;
    ret->limits_n = n;
}
