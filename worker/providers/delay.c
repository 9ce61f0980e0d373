#include "providers/delay.h"

#include "providers/common.h"

#define DAY_S 86400
#define HOUR_S 3600
/* Above these a plain number is a moment, not a duration. */
#define EPOCH_S_MIN 1e9
#define EPOCH_MS_MIN 1e12

typedef struct scan {
    const char *p, *end;
} scan_t;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool at_digit(const scan_t *s)
{
    return s->p < s->end && is_digit(*s->p);
}

static bool eat(scan_t *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* "12", "0.5": no sign, no exponent. */
static bool eat_decimal(scan_t *s, double *ret)
{
    if (!at_digit(s))
        return false;
    double v = 0, place = 1;
    for (; at_digit(s); s->p++)
        v = v * 10 + (*s->p - '0');
    if (eat(s, '.')) {
        for (; at_digit(s); s->p++)
            v += (*s->p - '0') * (place /= 10);
    }
    *ret = v;
    return true;
}

/* Exactly n digits. */
static bool eat_digits(scan_t *s, int n, int *ret)
{
    int v = 0;
    for (int i = 0; i < n; i++, s->p++) {
        if (!at_digit(s))
            return false;
        v = v * 10 + (*s->p - '0');
    }
    *ret = v;
    return true;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar; month from 1. */
static int64_t days_to(int year, int month, int day)
{
    static const int before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int y = month > 2 ? year : year - 1; /* the last year whose leap day has passed */
    int64_t leaps = y / 4 - y / 100 + y / 400 - 477; /* 477 of them before 1970 */
    return 365 * (int64_t)(year - 1970) + leaps + before[month - 1] + day - 1;
}

/* Milliseconds from wall_ms to a moment, 0 if it has passed. */
static uint64_t until(int64_t moment_ms, uint64_t wall_ms)
{
    return moment_ms > 0 && (uint64_t)moment_ms > wall_ms ? (uint64_t)moment_ms - wall_ms : 0;
}

static bool is_date(int year, int month, int day, int hour, int minute, int second)
{
    return year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour <= 24 &&
           minute <= 59 && second <= 60;
}

static int64_t moment_ms(int year, int month, int day, int hour, int minute, int second)
{
    int64_t s = days_to(year, month, day) * DAY_S + hour * HOUR_S + minute * 60 + second;
    return s * 1000;
}

/* "Z", "+02:00", "" (taken as UTC): seconds east of Greenwich. */
static bool eat_zone(scan_t *s, int *ret)
{
    *ret = 0;
    if (s->p == s->end || eat(s, 'Z') || eat(s, 'z'))
        return true;
    int sign = *s->p == '-' ? -1 : 1, hour, minute;
    if (!eat(s, '+') && !eat(s, '-'))
        return false;
    if (!eat_digits(s, 2, &hour) || !eat(s, ':') || !eat_digits(s, 2, &minute))
        return false;
    *ret = sign * (hour * HOUR_S + minute * 60);
    return true;
}

/* "2026-11-22T15:04:05.123Z" */
static bool parse_rfc3339(scan_t s, uint64_t wall_ms, uint64_t *ret_ms)
{
    int year, month, day, hour, minute, second, zone;
    double fraction = 0;
    if (!eat_digits(&s, 4, &year) || !eat(&s, '-') || !eat_digits(&s, 2, &month) || !eat(&s, '-') ||
        !eat_digits(&s, 2, &day))
        return false;
    if (!eat(&s, 'T') && !eat(&s, 't') && !eat(&s, ' '))
        return false;
    if (!eat_digits(&s, 2, &hour) || !eat(&s, ':') || !eat_digits(&s, 2, &minute) ||
        !eat(&s, ':') || !eat_digits(&s, 2, &second))
        return false;
    for (double place = eat(&s, '.') ? 100 : 0; at_digit(&s); s.p++, place /= 10)
        fraction += (*s.p - '0') * place;
    if (!eat_zone(&s, &zone) || s.p != s.end || !is_date(year, month, day, hour, minute, second))
        return false;
    int64_t at = moment_ms(year, month, day, hour, minute, second) + (int64_t)fraction;
    *ret_ms = until(at - (int64_t)zone * 1000, wall_ms);
    return true;
}

static bool eat_month(scan_t *s, int *ret)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int i = 0; i < 12 && s->end - s->p >= 3; i++) {
        if (memcmp(s->p, names + 3 * i, 3) == 0) {
            s->p += 3;
            *ret = i + 1;
            return true;
        }
    }
    return false;
}

/* "Sun, 22 Nov 2026 15:04:05 GMT"; the two obsolete forms of HTTP dates are not sent by any API. */
static bool parse_http_date(scan_t s, uint64_t wall_ms, uint64_t *ret_ms)
{
    int year, month, day, hour, minute, second;
    const char *comma = memchr(s.p, ',', (size_t)(s.end - s.p));
    if (!comma)
        return false;
    s.p = comma + 1;
    if (!eat(&s, ' ') || !eat_digits(&s, 2, &day) || !eat(&s, ' ') || !eat_month(&s, &month) ||
        !eat(&s, ' ') || !eat_digits(&s, 4, &year) || !eat(&s, ' '))
        return false;
    if (!eat_digits(&s, 2, &hour) || !eat(&s, ':') || !eat_digits(&s, 2, &minute) ||
        !eat(&s, ':') || !eat_digits(&s, 2, &second) ||
        !is_date(year, month, day, hour, minute, second))
        return false;
    *ret_ms = until(moment_ms(year, month, day, hour, minute, second), wall_ms);
    return true;
}

static bool eat_unit(scan_t *s, double *ret_ms)
{
    /* Longest first where one begins another. */
    static const struct {
        const char *name;
        double ms;
    } units[] = {
        {"milliseconds", 1}, {"millisecond", 1}, {"minutes", 60e3}, {"minute", 60e3},
        {"seconds", 1e3},    {"second", 1e3},    {"hours", 3600e3}, {"hour", 3600e3},
        {"days", 86400e3},   {"day", 86400e3},   {"ms", 1},         {"us", 1e-3},
        {"\xc2\xb5s", 1e-3}, {"ns", 1e-6},       {"s", 1e3},        {"m", 60e3},
        {"h", 3600e3},       {"d", 86400e3},
    };
    for (size_t i = 0; i < PST_COUNT(units); i++) {
        size_t n = strlen(units[i].name);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, units[i].name, n) == 0) {
            s->p += n;
            *ret_ms = units[i].ms;
            return true;
        }
    }
    return false;
}

/* Rounded up, so that a wait never ends before the moment that was meant; what binary fractions add
 * to a decimal one is not a reason to. */
static uint64_t whole_ms(double ms)
{
    if (ms >= (double)PST_DELAY_MAX_MS)
        return PST_DELAY_MAX_MS;
    uint64_t whole = (uint64_t)ms;
    return ms - (double)whole > 1e-6 ? whole + 1 : whole;
}

/* "6m0s", "20 seconds", "1h 5m": at least one number with a unit; s is left after the last. */
static bool eat_duration(scan_t *s, uint64_t *ret_ms)
{
    double total = 0, v, unit;
    bool any = false;
    for (scan_t at = *s; eat_decimal(&at, &v);) {
        eat(&at, ' ');
        if (!eat_unit(&at, &unit))
            break;
        total += v * unit;
        any = true;
        *s = at;
        eat(&at, ' ');
    }
    if (any)
        *ret_ms = whole_ms(total);
    return any;
}

static uint64_t plain_number(double v, uint64_t wall_ms)
{
    if (v > EPOCH_MS_MIN)
        return v < 1e16 ? until((int64_t)v, wall_ms) : PST_DELAY_MAX_MS;
    if (v > EPOCH_S_MIN)
        return until((int64_t)(v * 1e3), wall_ms);
    return whole_ms(v * 1e3);
}

bool pst_delay_parse(pst_view_t text, uint64_t wall_ms, uint64_t *ret_ms)
{
    text = pst_text_trim(text);
    if (text.n == 0)
        return false;
    scan_t s = {text.p, text.p + text.n}, number = s, duration = s;
    double v;
    if (eat_decimal(&number, &v) && number.p == number.end) {
        *ret_ms = plain_number(v, wall_ms);
        return true;
    }
    uint64_t ms;
    if (eat_duration(&duration, &ms) && duration.p == duration.end) {
        *ret_ms = ms;
        return true;
    }
    return parse_rfc3339(s, wall_ms, ret_ms) || parse_http_date(s, wall_ms, ret_ms);
}

/* Anthropic, of a limit that the customer set: "You will regain access on 2026-12-01 at 00:00

 * UTC." */
static bool regain_access(pst_view_t after, uint64_t wall_ms, uint64_t *ret_ms)
{
    int year, month, day, hour = 0, minute = 0;
    scan_t s = {after.p, after.p + after.n};
    if (!eat_digits(&s, 4, &year) || !eat(&s, '-') || !eat_digits(&s, 2, &month) || !eat(&s, '-') ||
        !eat_digits(&s, 2, &day))
        return false;
    pst_view_t time = pst_view(s.p, (size_t)(s.end - s.p));
    if (pst_text_starts(time, " at ")) {
        s.p += 4;
        if (!eat_digits(&s, 2, &hour) || !eat(&s, ':') || !eat_digits(&s, 2, &minute))
            return false;
    }
    if (!is_date(year, month, day, hour, minute, 0))
        return false;
    *ret_ms = until(moment_ms(year, month, day, hour, minute, 0), wall_ms);
    return true;
}

bool pst_delay_in_message(pst_view_t message, uint64_t wall_ms, uint64_t *ret_ms)
{
    static const char *const phrases[] = {"try again in ", "retry after ", "retry in "};
    pst_view_t after;
    for (size_t i = 0; i < PST_COUNT(phrases); i++) {
        if (!pst_text_has(message, phrases[i], &after))
            continue;
        scan_t s = {after.p, after.p + after.n};
        if (eat_duration(&s, ret_ms))
            return true;
    }
    return pst_text_has(message, "regain access on ", &after) &&
           regain_access(after, wall_ms, ret_ms);
}

bool pst_delay_said(const pst_http_answer_t *answer, uint64_t *ret_ms)
{
    static const char *const in_ms[] = {"retry-after-ms", "x-ms-retry-after-ms"};
    for (size_t i = 0; i < PST_COUNT(in_ms); i++) {
        pst_view_t v = pst_answer_header(answer, in_ms[i]);
        if (v.n == 0)
            continue;
        scan_t s = {v.p, v.p + v.n};
        double ms;
        if (eat_decimal(&s, &ms) && s.p == s.end) {
            *ret_ms = whole_ms(ms);
            return true;
        }
    }
    return pst_delay_parse(pst_answer_header(answer, "retry-after"), answer->wall_ms, ret_ms);
}

/* A reset without its count (Cohere, Mistral) belongs to the dimension that refused. */
static bool is_exhausted(pst_view_t remaining)
{
    return remaining.n == 0 || pst_view_eqs(remaining, "0") || pst_view_eqs(remaining, "0.0");
}

bool pst_delay_of_exhausted(const pst_http_answer_t *answer, uint64_t *ret_ms)
{
    static const struct {
        const char *remaining, *reset;
    } dimensions[] = {
        {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
        {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
        {"x-ratelimit-remaining-project-tokens", "x-ratelimit-reset-project-tokens"},
        {"x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"},
        {"x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"},
        {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
        {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
        {"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"},
        {"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"},
        {"x-ratelimit-remaining", "x-ratelimit-reset"},
        {"ratelimitbysize-remaining", "ratelimitbysize-reset"},
    };
    bool any = false;
    for (size_t i = 0; i < PST_COUNT(dimensions); i++) {
        uint64_t ms;
        if (!is_exhausted(pst_answer_header(answer, dimensions[i].remaining)) ||
            !pst_delay_parse(pst_answer_header(answer, dimensions[i].reset), answer->wall_ms, &ms))
            continue;
        *ret_ms = any ? PST_MAX(*ret_ms, ms) : ms;
        any = true;
    }
    return any;
}

/* Day of the month of the n-th Sunday (n from 1).  1970-01-01 was a Thursday. */
static int nth_sunday(int year, int month, int n)
{
    int weekday = (int)((days_to(year, month, 1) + 4) % 7); /* 0: Sunday */
    return 1 + (7 - weekday) % 7 + 7 * (n - 1);
}

/* Seconds that California is behind UTC: from the second Sunday of March to the first of November,
 * both at two in the morning, seven hours, else eight. */
static int64_t pacific_behind(int64_t utc_s)
{
    int year = 1970 + (int)(utc_s / (366 * DAY_S));
    while (days_to(year + 1, 1, 1) * DAY_S <= utc_s)
        year++;
    int64_t begin = days_to(year, 3, nth_sunday(year, 3, 2)) * DAY_S + (2 + 8) * HOUR_S;
    int64_t end = days_to(year, 11, nth_sunday(year, 11, 1)) * DAY_S + (2 + 7) * HOUR_S;
    return (utc_s >= begin && utc_s < end ? 7 : 8) * HOUR_S;
}

uint64_t pst_delay_to_pacific_midnight(uint64_t wall_ms)
{
    int64_t now = (int64_t)(wall_ms / 1000), behind = pacific_behind(now);
    int64_t local_midnight = ((now - behind) / DAY_S + 1) * DAY_S;
    /* The clocks may change between now and then. */
    int64_t midnight = local_midnight + pacific_behind(local_midnight + behind);
    return until(midnight * 1000, wall_ms);
}
