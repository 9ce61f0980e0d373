/* keys_options.c - the words in which a key's limits are given. */
#include <errno.h>
#include <time.h>

#include "cli/keys.h"

#define USD_MAX 1e9
#define NONE "none"

/* NULL: not given, it stays as it is. */
static int take_number(const char *option, const char *text, uint64_t max, uint64_t *into)
{
    char *end = NULL;
    if (!text)
        return EXIT_WELL;
    errno = 0;
    unsigned long long n = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    bool none = strcmp(text, NONE) == 0;
    if (!none && (errno || n == 0 || n > max || *end))
        return pst_cli_fail(EXIT_USAGE, "%s %s is no limit: write a number from 1 to %llu, or " NONE, option, text,
                            (unsigned long long)max);
    *into = n;
    return EXIT_WELL;
}

static int take_money(const char *text, uint64_t *into)
{
    char *end = NULL;
    if (!text)
        return EXIT_WELL;
    if (strcmp(text, NONE) == 0) {
        *into = 0;
        return EXIT_WELL;
    }
    double usd = strtod(text, &end);
    if (!(usd > 0 && usd <= USD_MAX) || *end)
        return pst_cli_fail(EXIT_USAGE, "--spend %s is no amount: write USD, as in 2.50, or " NONE, text);
    *into = PST_MAX((uint64_t)(usd * 1e9 + 0.5), 1u);
    return EXIT_WELL;
}

static int take_reset(const char *text, pst_key_reset_t *into)
{
    if (text && !pst_key_reset_find(pst_view_str(text), into))
        return pst_cli_fail(EXIT_USAGE, "--reset %s is no period: write daily, weekly, monthly or never", text);
    return EXIT_WELL;
}

static int take_text(const char *option, const char *text, char into[PST_NAME_BYTES_MAX + 1])
{
    if (!text)
        return EXIT_WELL;
    if (!*text || !pst_key_text_ok(pst_view_str(text)))
        return pst_cli_fail(EXIT_USAGE, "%s is empty, too long or no text: write up to %d bytes of UTF-8", option,
                            PST_NAME_BYTES_MAX);
    memcpy(into, text, strlen(text) + 1);
    return EXIT_WELL;
}

/* "a,b"; "*" alone: whatever there is. */
static int take_names(const char *option, const char *text, uint32_t max, pst_key_names_t *into)
{
    if (!text)
        return EXIT_WELL;
    pst_key_names_release(into);
    if (strcmp(text, "*") == 0)
        return EXIT_WELL;
    for (const char *p = text, *next; p; p = next) {
        size_t n = strcspn(p, ",");
        next = p[n] ? p + n + 1 : NULL;
        if (!pst_key_names_add(into, pst_view(p, n), max))
            return pst_cli_fail(EXIT_USAGE, "%s takes up to %u names with commas between: \"%.*s\" is none, or one too many",
                                option, max, (int)n, p);
    }
    return EXIT_WELL;
}

/* The end of that day, UTC; false if it is none. */
static bool read_date(const char *text, uint64_t *ret_ms)
{
    struct tm tm = {0};
    char again[16];
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (!end || *end)
        return false;
    tm.tm_mday++;
    time_t s = timegm(&tm), day = s - 86400;
    if (s <= 0 || !gmtime_r(&day, &tm) || strftime(again, sizeof again, "%Y-%m-%d", &tm) == 0)
        return false;
    *ret_ms = (uint64_t)s * 1000;
    return strcmp(again, text) == 0;
}

static int take_expiry(const char *text, uint64_t wall_ms, uint64_t *into)
{
    uint64_t s, ms = 0;
    if (!text)
        return EXIT_WELL;
    if (pst_cli_parse_span(text, &s))
        ms = wall_ms + s * 1000;
    else if (strcmp(text, "never") != 0 && (!read_date(text, &ms) || ms <= wall_ms))
        return pst_cli_fail(EXIT_USAGE, "--expires %s is no time ahead: write 30d, 12h, a day as 2026-12-31, or never", text);
    *into = ms;
    return EXIT_WELL;
}

int pst_cli_keys_options(const pst_cli_args_t *a, uint64_t wall_ms, pst_key_t *k)
{
    int code = take_text("--name", a->name, k->name);
    if (!code)
        code = take_text("--tenant", a->tenant, k->tenant);
    if (!code)
        code = take_number("--rpm", a->rpm, PST_KEY_RATE_MAX, &k->rpm);
    if (!code)
        code = take_number("--tpm", a->tpm, PST_KEY_RATE_MAX, &k->tpm);
    if (!code)
        code = take_number("--concurrency", a->concurrency, PST_KEY_CONCURRENCY_MAX, &k->concurrency);
    if (!code)
        code = take_money(a->spend, &k->spend_nano);
    if (!code)
        code = take_reset(a->reset, &k->reset);
    if (!code)
        code = take_names("--models", a->models, PST_KEY_MODELS_MAX, &k->models);
    if (!code)
        code = take_names("--providers", a->providers, PST_KEY_PROVIDERS_MAX, &k->providers);
    return code ? code : take_expiry(a->expires, wall_ms, &k->expires_ms);
}
