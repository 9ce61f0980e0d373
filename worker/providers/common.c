#include "providers/common.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

pst_view_t pst_text_trim(pst_view_t v)
{
    while (v.n && is_space(v.p[0]))
        v = pst_view(v.p + 1, v.n - 1);
    while (v.n && is_space(v.p[v.n - 1]))
        v.n--;
    return v;
}

bool pst_text_starts(pst_view_t v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.n >= n && memcmp(v.p, prefix, n) == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool starts_lower(const char *p, const char *needle, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lower(p[i]) != needle[i])
            return false;
    }
    return true;
}

bool pst_text_has(pst_view_t hay, const char *needle, pst_view_t *ret_after)
{
    size_t n = strlen(needle);
    for (size_t i = 0; i + n <= hay.n; i++) {
        if (!starts_lower(hay.p + i, needle, n))
            continue;
        if (ret_after)
            *ret_after = pst_view(hay.p + i + n, hay.n - i - n);
        return true;
    }
    return false;
}

pst_view_t pst_answer_header(const pst_http_answer_t *answer, const char *name)
{
    for (unsigned i = 0; i < answer->headers; i++) {
        if (pst_view_eqs(answer->header[i].name, name))
            return pst_text_trim(answer->header[i].value);
    }
    return pst_view(NULL, 0);
}

pst_view_t pst_answer_request_id(const pst_http_answer_t *answer)
{
    static const char *const names[] = {
        "x-request-id",           "request-id",    "apim-request-id", "x-amzn-requestid",
        "mistral-correlation-id", "x-ds-trace-id",
    };
    for (size_t i = 0; i < PST_COUNT(names) && answer->headers > 0; i++) {
        pst_view_t id = pst_answer_header(answer, names[i]);
        if (id.n)
            return id;
    }
    return pst_view(NULL, 0);
}

uint32_t pst_if_any(const pst_json_t *j, uint32_t t)
{
    return pst_json_is(j, t, PST_JSON_NULL) ? PST_JSON_NONE : t;
}

uint32_t pst_member(const pst_json_t *j, uint32_t obj, const char *key)
{
    return pst_if_any(j, pst_json_get(j, obj, key));
}

/* Which of the keys the token is; `keys` if none. */
static unsigned key_at(const pst_json_t *j, const pst_json_tok_t *t, const pst_view_t *key, unsigned keys)
{
    pst_view_t name = pst_view(j->text.p + t->start + 1, t->end - t->start - 2);
    unsigned i = 0;
    while (i < keys && !(key[i].n == name.n && memcmp(key[i].p, name.p, name.n) == 0))
        i++;
    return i;
}

void pst_members(const pst_json_t *j, uint32_t obj, const pst_view_t *key, unsigned keys, uint32_t *ret)
{
    bool escaped = false;
    for (unsigned i = 0; i < keys; i++)
        ret[i] = PST_JSON_NONE;
    if (!pst_json_is(j, obj, PST_JSON_OBJECT))
        return;
    for (uint32_t k = obj + 1; k < j->tok[obj].next; k = j->tok[k + 1].next) {
        unsigned i = key_at(j, &j->tok[k], key, keys);
        if (i < keys && ret[i] == PST_JSON_NONE)
            ret[i] = k + 1;
        escaped = escaped || j->tok[k].escaped;
    }
    for (unsigned i = 0; escaped && i < keys; i++)
        ret[i] = pst_json_get(j, obj, key[i].p);
}

bool pst_is_word(const pst_json_t *j, uint32_t t, const char *word)
{
    return pst_view_eqs(pst_inside(j, t), word);
}

bool pst_has_text(const pst_json_t *j, uint32_t t)
{
    return pst_inside(j, t).n > 0;
}

pst_view_t pst_inside(const pst_json_t *j, uint32_t t)
{
    if (t >= j->n || j->tok[t].type != PST_JSON_STRING)
        return pst_view(NULL, 0);
    const pst_json_tok_t *k = &j->tok[t];
    return pst_view(j->text.p + k->start + 1, k->end - k->start - 2);
}

uint64_t pst_count_of(const pst_json_t *j, uint32_t t)
{
    int64_t n;
    return pst_json_int(j, t, &n) && n > 0 ? (uint64_t)n : 0;
}

bool pst_is_true(const pst_json_t *j, uint32_t obj, const char *key)
{
    return pst_json_is(j, pst_json_get(j, obj, key), PST_JSON_TRUE);
}

bool pst_is_false(const pst_json_t *j, uint32_t obj, const char *key)
{
    return pst_json_is(j, pst_json_get(j, obj, key), PST_JSON_FALSE);
}

void pst_put_raw(pst_buf_t *b, const char *key, const pst_json_t *j, uint32_t t)
{
    if (t == PST_JSON_NONE)
        return;
    pst_json_put_key(b, key);
    pst_buf_putv(b, pst_json_raw(j, t));
}

void pst_put_text(pst_buf_t *b, const char *key, pst_view_t text)
{
    pst_json_put_key(b, key);
    pst_json_put_str(b, text);
}

void pst_put_digits(pst_buf_t *b, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    pst_buf_put(b, digits + at, sizeof digits - at);
}

uint64_t pst_text_hash(pst_view_t v)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < v.n; i++)
        hash = (hash ^ (unsigned char)v.p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void pst_put_count(pst_buf_t *b, const char *key, uint64_t n)
{
    pst_json_put_key(b, key);
    pst_put_digits(b, n);
}

void pst_put_made_id(pst_buf_t *b, const char *prefix, uint64_t random, uint32_t salt)
{
    char hex[16];
    /* An odd multiplier spreads the salt over all bits, so that ids of one answer do not look
     * alike. */
    uint64_t v = random + salt * UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 15; i >= 0; i--, v >>= 4)
        hex[i] = "0123456789abcdef"[v & 15];
    pst_buf_putc(b, '"');
    pst_buf_puts(b, prefix);
    pst_buf_put(b, hex, sizeof hex);
    pst_buf_putc(b, '"');
}

void pst_put_segment(pst_buf_t *b, pst_view_t name)
{
    pst_buf_put_percent(b, name, '@');
}

pst_err_t pst_buf_in_arena(pst_buf_t *b, pst_arena_t *a, size_t n)
{
    *b = (pst_buf_t){.p = pst_arena_get(a, n), .cap = n, .max = n};
    return b->p ? PST_OK : PST_E_NOMEM;
}

pst_err_t pst_seal(const pst_buf_t *b, pst_arena_t *a, pst_view_t *ret)
{
    if (b->failed)
        return PST_E_NOMEM;
    pst_view_t v = pst_arena_copy(a, pst_buf_view(b));
    if (!v.p)
        return PST_E_NOMEM;
    *ret = v;
    return PST_OK;
}

bool pst_data_uri(pst_view_t v, pst_view_t *ret_type, pst_view_t *ret_data)
{
    static const char marker[] = ";base64";
    const size_t marker_n = sizeof marker - 1;
    if (!pst_text_starts(v, "data:"))
        return false;
    v = pst_view(v.p + 5, v.n - 5);
    const char *comma = v.n ? memchr(v.p, ',', v.n) : NULL;
    if (!comma)
        return false;
    size_t head = (size_t)(comma - v.p);
    if (head < marker_n || memcmp(comma - marker_n, marker, marker_n) != 0)
        return false;
    const char *semicolon = memchr(v.p, ';', head);
    *ret_type = pst_view(v.p, (size_t)(semicolon - v.p));
    *ret_data = pst_view(comma + 1, v.n - head - 1);
    return ret_type->n > 0;
}
