#include "gateway/key.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

#include "base/json.h"
#include "base/utf8.h"
#include "penstock/id.h"

#define ID_PREFIX "key_"
#define ID_PREFIX_LEN (sizeof ID_PREFIX - 1)
#define BATCH_PREFIX_LEN (PST_BATCH_TEXT_LEN - 26)
#define RECORD_BYTES_MAX (256u << 10) /* all patterns of the longest kind, and more */
#define WALL_MS_MAX (253402300800000ull) /* the year 10000 */

_Static_assert(PST_KEY_ID_LEN == ID_PREFIX_LEN + 26, "a ULID has 26 digits");

/* ---- what a key is called -------------------------------------------------------------------- */

pst_key_hash_t pst_key_hash(pst_view_t secret)
{
    pst_key_hash_t h;
    unsigned n = 0;
    PST_ASSERT(EVP_Digest(secret.n ? secret.p : "", secret.n, h.b, &n, EVP_sha256(), NULL) == 1 && n == sizeof h.b);
    return h;
}

void pst_key_hex(const pst_key_hash_t *h, char out[PST_KEY_HEX_LEN + 1])
{
    for (size_t i = 0; i < sizeof h->b; i++) {
        *out++ = "0123456789abcdef"[h->b[i] >> 4];
        *out++ = "0123456789abcdef"[h->b[i] & 15];
    }
    *out = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Small letters alone: a hash has one spelling. */
pst_err_t pst_key_hash_read(pst_view_t hex, pst_key_hash_t *ret)
{
    pst_key_hash_t h;
    if (hex.n != PST_KEY_HEX_LEN)
        return PST_E_INVALID;
    for (size_t i = 0; i < sizeof h.b; i++) {
        int high = hex_digit(hex.p[2 * i]), low = hex_digit(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return PST_E_INVALID;
        h.b[i] = (uint8_t)(high << 4 | low);
    }
    *ret = h;
    return PST_OK;
}

/* base64url without padding: 43 letters, of which the last stands for four bits. */
void pst_key_secret(const uint8_t random[32], char out[PST_KEY_SECRET_LEN + 1])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    memcpy(out, "psk_", 4);
    out += 4;
    unsigned acc = 0, bits = 0;
    for (unsigned i = 0; i < 32; i++) {
        acc = acc << 8 | random[i];
        for (bits += 8; bits >= 6; bits -= 6)
            *out++ = letters[acc >> (bits - 6) & 63];
    }
    *out++ = letters[acc << (6 - bits) & 63];
    *out = '\0';
}

void pst_key_id(uint64_t wall_ms, const uint8_t random[10], char out[PST_KEY_ID_LEN + 1])
{
    char batch[PST_BATCH_TEXT_LEN + 1];
    pst_id_t id = pst_id_make(wall_ms, random);
    pst_id_text(&id, batch);
    snprintf(out, PST_KEY_ID_LEN + 1, ID_PREFIX "%s", batch + BATCH_PREFIX_LEN);
}

/* In the spelling in which it was made: it is part of a name in Redis. */
static bool is_id(pst_view_t v)
{
    char batch[PST_BATCH_TEXT_LEN + 1] = "batch_", again[PST_BATCH_TEXT_LEN + 1];
    pst_id_t id;
    if (v.n != PST_KEY_ID_LEN || memcmp(v.p, ID_PREFIX, ID_PREFIX_LEN) != 0)
        return false;
    memcpy(batch + BATCH_PREFIX_LEN, v.p + ID_PREFIX_LEN, 26);
    if (pst_id_parse(pst_view(batch, PST_BATCH_TEXT_LEN), &id) != PST_OK)
        return false;
    pst_id_text(&id, again);
    return memcmp(batch, again, PST_BATCH_TEXT_LEN) == 0;
}

/* ---- its texts ------------------------------------------------------------------------------- */

bool pst_key_text_ok(pst_view_t v)
{
    if (v.n > PST_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < v.n;) {
        uint32_t c;
        size_t n = pst_utf8_decode((const unsigned char *)v.p + i, v.n - i, &c);
        if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            return false;
        i += n;
    }
    return true;
}

bool pst_key_names_add(pst_key_names_t *l, pst_view_t name, uint32_t max)
{
    if (name.n == 0 || !pst_key_text_ok(name) || l->n >= max)
        return false;
    l->v = pst_realloc(l->v, (l->n + 1) * sizeof(char *));
    l->v[l->n++] = pst_strdup_view(name);
    return true;
}

void pst_key_names_release(pst_key_names_t *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (pst_key_names_t){0};
}

void pst_key_release(pst_key_t *k)
{
    pst_key_names_release(&k->models);
    pst_key_names_release(&k->providers);
    pst_key_init(k);
}

static const char *const resets[] = {[PST_RESET_NEVER] = "never", [PST_RESET_DAILY] = "daily",
                                     [PST_RESET_WEEKLY] = "weekly", [PST_RESET_MONTHLY] = "monthly"};

const char *pst_key_reset_name(pst_key_reset_t r)
{
    return resets[r];
}

bool pst_key_reset_find(pst_view_t name, pst_key_reset_t *ret)
{
    for (unsigned i = 0; i < PST_COUNT(resets); i++) {
        if (pst_view_eqs(name, resets[i])) {
            *ret = (pst_key_reset_t)i;
            return true;
        }
    }
    return false;
}

/* ---- its record ------------------------------------------------------------------------------ */

typedef enum kind { KIND_ID, KIND_TEXT, KIND_NUMBER, KIND_RESET, KIND_NAMES } kind_t;

typedef struct member {
    const char *name;
    kind_t kind;
    size_t at;    /* in pst_key_t */
    uint64_t max; /* of a number; how many names */
} member_t;

#define AT(field) offsetof(pst_key_t, field)

/* In the order in which they are written; those that are empty or 0 are left out. */
static const member_t members[] = {
    {"id", KIND_ID, AT(id), 0},
    {"name", KIND_TEXT, AT(name), 0},
    {"tenant", KIND_TEXT, AT(tenant), 0},
    {"created_ms", KIND_NUMBER, AT(created_ms), WALL_MS_MAX},
    {"expires_ms", KIND_NUMBER, AT(expires_ms), WALL_MS_MAX},
    {"revoked_ms", KIND_NUMBER, AT(revoked_ms), WALL_MS_MAX},
    {"rpm", KIND_NUMBER, AT(rpm), PST_KEY_RATE_MAX},
    {"tpm", KIND_NUMBER, AT(tpm), PST_KEY_RATE_MAX},
    {"concurrency", KIND_NUMBER, AT(concurrency), PST_KEY_CONCURRENCY_MAX},
    {"spend_nano", KIND_NUMBER, AT(spend_nano), PST_KEY_SPEND_NANO_MAX},
    {"reset", KIND_RESET, AT(reset), 0},
    {"models", KIND_NAMES, AT(models), PST_KEY_MODELS_MAX},
    {"providers", KIND_NAMES, AT(providers), PST_KEY_PROVIDERS_MAX},
};

static bool read_text(const member_t *m, pst_view_t v, void *into)
{
    if (m->kind == KIND_ID ? !is_id(v) : v.n == 0 || !pst_key_text_ok(v))
        return false;
    memcpy(into, v.p, v.n);
    ((char *)into)[v.n] = '\0';
    return true;
}

static bool read_number(const pst_json_t *j, uint32_t t, uint64_t max, uint64_t *into)
{
    int64_t n;
    if (!pst_json_int(j, t, &n) || n <= 0 || (uint64_t)n > max)
        return false;
    *into = (uint64_t)n;
    return true;
}

/* None would read as "all are allowed": that is said by leaving it out. */
static bool read_names(const pst_json_t *j, uint32_t t, pst_arena_t *a, uint64_t max, pst_key_names_t *into)
{
    if (!pst_json_is(j, t, PST_JSON_ARRAY) || j->tok[t].count == 0)
        return false;
    for (uint32_t i = pst_json_first(j, t); i != PST_JSON_NONE; i = pst_json_after(j, t, i)) {
        if (!pst_key_names_add(into, pst_json_str(j, i, a), (uint32_t)max))
            return false;
    }
    return true;
}

static bool read_member(const pst_json_t *j, uint32_t t, pst_arena_t *a, const member_t *m, pst_key_t *k)
{
    void *into = (char *)k + m->at;
    switch (m->kind) {
    case KIND_ID:
    case KIND_TEXT:
        return read_text(m, pst_json_str(j, t, a), into);
    case KIND_NUMBER:
        return read_number(j, t, m->max, into);
    case KIND_RESET:
        return pst_key_reset_find(pst_json_str(j, t, a), into);
    case KIND_NAMES:
        return read_names(j, t, a, m->max, into);
    }
    return false;
}

static const member_t *find_member(pst_view_t name)
{
    for (size_t i = 0; i < PST_COUNT(members); i++) {
        if (pst_view_eqs(name, members[i].name))
            return &members[i];
    }
    return NULL;
}

/* Every member is one of ours, and is there once. */
static bool read_members(const pst_json_t *j, pst_arena_t *a, pst_key_t *k)
{
    uint32_t seen = 0;
    if (!pst_json_is(j, 0, PST_JSON_OBJECT))
        return false;
    for (uint32_t t = pst_json_first(j, 0); t != PST_JSON_NONE; t = pst_json_after(j, 0, t)) {
        const member_t *m = find_member(pst_json_str(j, t, a));
        uint32_t bit = m ? 1u << (m - members) : 0;
        if (!m || seen & bit || !read_member(j, t + 1, a, m, k))
            return false;
        seen |= bit;
    }
    return k->id[0] && k->created_ms;
}

pst_err_t pst_key_read(pst_view_t json, pst_key_t *ret)
{
    pst_key_init(ret);
    if (json.n > RECORD_BYTES_MAX)
        return PST_E_INVALID;
    pst_json_t j;
    pst_arena_t a;
    pst_json_init(&j);
    pst_arena_init(&a, RECORD_BYTES_MAX);
    bool ok = pst_json_parse(&j, json, NULL) == PST_OK && read_members(&j, &a, ret);
    pst_arena_release(&a);
    pst_json_release(&j);
    if (!ok)
        pst_key_release(ret);
    return ok ? PST_OK : PST_E_INVALID;
}

static void write_names(const member_t *m, const pst_key_names_t *l, pst_buf_t *out)
{
    if (l->n == 0)
        return;
    pst_json_put_key(out, m->name);
    pst_buf_putc(out, '[');
    for (uint32_t i = 0; i < l->n; i++) {
        pst_json_put_comma(out);
        pst_json_put_str(out, pst_view_str(l->v[i]));
    }
    pst_buf_putc(out, ']');
}

static void write_text(const member_t *m, const char *text, pst_buf_t *out)
{
    if (!*text)
        return;
    pst_json_put_key(out, m->name);
    pst_json_put_str(out, pst_view_str(text));
}

static void write_number(const member_t *m, uint64_t n, pst_buf_t *out)
{
    if (n == 0)
        return;
    pst_json_put_key(out, m->name);
    pst_buf_printf(out, "%llu", (unsigned long long)n);
}

void pst_key_write(const pst_key_t *k, pst_buf_t *out)
{
    pst_buf_putc(out, '{');
    for (size_t i = 0; i < PST_COUNT(members); i++) {
        const member_t *m = &members[i];
        const void *from = (const char *)k + m->at;
        if (m->kind == KIND_NUMBER)
            write_number(m, *(const uint64_t *)from, out);
        else if (m->kind == KIND_NAMES)
            write_names(m, from, out);
        else if (m->kind == KIND_RESET)
            write_text(m, k->reset == PST_RESET_NEVER ? "" : resets[k->reset], out);
        else
            write_text(m, from, out);
    }
    pst_buf_putc(out, '}');
}

/* ---- what it may ----------------------------------------------------------------------------- */

bool pst_key_expired(const pst_key_t *k, uint64_t wall_ms)
{
    return k->expires_ms && wall_ms >= k->expires_ms;
}

/* After a mismatch the latest `*` takes one character more: no more is ever taken back. */
static bool matches(const char *pattern, pst_view_t v)
{
    const char *p = pattern, *star = NULL;
    size_t i = 0, mark = 0;
    while (i < v.n) {
        if (*p == '*') {
            star = p++;
            mark = i;
        } else if (*p && *p == v.p[i]) {
            p++;
            i++;
        } else if (star) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (*p == '*')
        p++;
    return *p == '\0';
}

static pst_view_t without_wish(pst_view_t model)
{
    static const pst_view_t wishes[] = {PST_VIEW_LIT(":floor"), PST_VIEW_LIT(":nitro")};
    for (size_t i = 0; i < PST_COUNT(wishes); i++) {
        size_t n = wishes[i].n;
        if (model.n > n && memcmp(model.p + model.n - n, wishes[i].p, n) == 0)
            return pst_view(model.p, model.n - n);
    }
    return model;
}

bool pst_key_allows_model(const pst_key_t *k, pst_view_t model)
{
    pst_view_t name = without_wish(model);
    for (uint32_t i = 0; i < k->models.n; i++) {
        if (matches(k->models.v[i], name))
            return true;
    }
    return k->models.n == 0;
}

bool pst_key_allows_provider(const pst_key_t *k, pst_view_t provider)
{
    const char *slash = provider.n ? memchr(provider.p, '/', provider.n) : NULL;
    pst_view_t whole = pst_view(provider.p, slash ? (size_t)(slash - provider.p) : provider.n);
    for (uint32_t i = 0; i < k->providers.n; i++) {
        if (pst_view_eqs(provider, k->providers.v[i]) || pst_view_eqs(whole, k->providers.v[i]))
            return true;
    }
    return k->providers.n == 0;
}

/* ---- periods --------------------------------------------------------------------------------- */

#define DAY_MS 86400000ull
#define STALE_MS (62 * DAY_MS)

static uint64_t month_start(uint64_t wall_ms, int months_on)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    PST_ASSERT(gmtime_r(&s, &tm));
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + months_on, .tm_mday = 1};
    return (uint64_t)timegm(&tm) * 1000;
}

/* 1970 began on a Thursday, three days after a Monday; those three days have no Monday here, and nobody needs one. */
static uint64_t week_start(uint64_t wall_ms)
{
    uint64_t day = wall_ms / DAY_MS;
    return day < 4 ? 0 : (day - (day + 3) % 7) * DAY_MS;
}

uint64_t pst_key_period_start(pst_key_reset_t r, uint64_t wall_ms)
{
    switch (r) {
    case PST_RESET_NEVER:
        return 0;
    case PST_RESET_DAILY:
        return wall_ms / DAY_MS * DAY_MS;
    case PST_RESET_WEEKLY:
        return week_start(wall_ms);
    case PST_RESET_MONTHLY:
        return month_start(wall_ms, 0);
    }
    return 0;
}

uint64_t pst_key_period_end(pst_key_reset_t r, uint64_t wall_ms)
{
    switch (r) {
    case PST_RESET_NEVER:
        return UINT64_MAX;
    case PST_RESET_DAILY:
        return (wall_ms / DAY_MS + 1) * DAY_MS;
    case PST_RESET_WEEKLY:
        return week_start(wall_ms) + 7 * DAY_MS;
    case PST_RESET_MONTHLY:
        return month_start(wall_ms, 1);
    }
    return UINT64_MAX;
}

static const char *const period_names[] = {[PST_RESET_NEVER] = "", [PST_RESET_DAILY] = "day:",
                                           [PST_RESET_WEEKLY] = "week:", [PST_RESET_MONTHLY] = "month:"};

void pst_key_period_field(pst_key_reset_t r, uint64_t wall_ms, char out[PST_KEY_FIELD_MAX])
{
    time_t s = (time_t)(pst_key_period_start(r, wall_ms) / 1000);
    struct tm tm;
    PST_ASSERT(gmtime_r(&s, &tm));
    size_t n = strlen(period_names[r]);
    memcpy(out, period_names[r], n + 1);
    if (r == PST_RESET_NEVER)
        snprintf(out, PST_KEY_FIELD_MAX, PST_KEY_SPENT);
    else
        strftime(out + n, PST_KEY_FIELD_MAX - n, "%Y-%m-%d", &tm);
}

/* Dates of one form sort as their texts do. */
bool pst_key_field_stale(pst_view_t field, uint64_t wall_ms)
{
    char oldest[PST_KEY_FIELD_MAX];
    pst_key_period_field(PST_RESET_DAILY, wall_ms > STALE_MS ? wall_ms - STALE_MS : 0, oldest);
    const char *date = strchr(oldest, ':') + 1;
    for (unsigned r = PST_RESET_DAILY; r <= PST_RESET_MONTHLY; r++) {
        size_t n = strlen(period_names[r]);
        if (field.n == n + strlen(date) && memcmp(field.p, period_names[r], n) == 0)
            return memcmp(field.p + n, date, strlen(date)) < 0;
    }
    return false;
}
