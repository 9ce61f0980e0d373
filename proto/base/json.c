#include "base/json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "base/sixteen.h"
#include "base/utf8.h"

#define TOKENS_MIN 64u

/* Bytes as unsigned, so that comparisons mean what they say. */
typedef const unsigned char *bytes_t;

/* Bytes of text: what both the parser and the writer need to know. */

/* A byte that a string holds as it is: ASCII but for controls, quote and backslash. */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Of sixteen bytes a bit each that is not plain. */
static inline uint64_t not_plain(bytes_t p)
{
    pst_sixteen_t v = pst_sixteen_at(p);
    return pst_sixteen_mask((pst_sixteen_t)((v == PST_SIXTEEN_OF('"')) | (v == PST_SIXTEEN_OF('\\')) |
                                            (v < PST_SIXTEEN_OF(0x20))));
}

/* Skips plain bytes, sixteen at a time; the last ones together with some before them, which from `base` on may be read
 * again. */
static inline bytes_t skip_plain(bytes_t base, bytes_t p, bytes_t end)
{
    for (; end - p >= 16; p += 16) {
        uint64_t stop = not_plain(p);
        if (stop)
            return p + __builtin_ctzll(stop);
    }
    if (end - base >= 16 && p < end) {
        uint64_t stop = not_plain(end - 16) >> (16 - (end - p));
        return stop ? p + __builtin_ctzll(stop) : end;
    }
    while (p < end && is_plain(*p))
        p++;
    return p;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* 0 to 15, or -1. */
static int hex_digit(unsigned char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The parser.  The place in the text, p, goes through it by value, so that it stays in a register; a function returns
 * where it stopped, or NULL after it refused. */

typedef struct scan {
    bytes_t base, end;
    pst_json_t *j;
    uint32_t open[PST_JSON_DEPTH_MAX]; /* containers not yet closed, outermost first */
    uint32_t depth;
    bool in_object; /* what the innermost of them is */
    bytes_t fault;  /* the byte that was refused */
    pst_err_t error;
} scan_t;

void pst_json_release(pst_json_t *j)
{
    free(j->tok);
    pst_json_init(j);
}

static bytes_t refuse(scan_t *s, bytes_t at)
{
    s->fault = at;
    s->error = PST_E_INVALID;
    return NULL;
}

static bool grow_tape(scan_t *s)
{
    pst_json_t *j = s->j;
    uint64_t cap = j->cap ? (uint64_t)j->cap * 2 : TOKENS_MIN;
    cap = PST_MIN(cap, UINT32_MAX - 1);
    pst_json_tok_t *tok = realloc(j->tok, cap * sizeof *tok);
    if (!tok) {
        s->error = PST_E_NOMEM;
        return false;
    }
    j->tok = tok;
    j->cap = (uint32_t)cap;
    return true;
}

/* But for opening brackets, a token takes two bytes: the tape of 4 GiB cannot outgrow 2^32. */
static inline bytes_t push(scan_t *s, pst_json_type_t type, bytes_t start, bytes_t end, bool escaped)
{
    pst_json_t *j = s->j;
    if (j->n == j->cap && !grow_tape(s))
        return NULL;
    uint32_t n = j->n++;
    j->tok[n] = (pst_json_tok_t){
        .start = (uint32_t)(start - s->base),
        .end = (uint32_t)(end - s->base),
        .next = n + 1,
        .type = (uint8_t)type,
        .escaped = escaped,
    };
    return end;
}

static inline bytes_t skip_space(bytes_t p, bytes_t end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* p is at the backslash.  A lone surrogate is good grammar; what it decodes to is decided there. */
static bytes_t scan_escape(scan_t *s, bytes_t p)
{
    if (++p == s->end)
        return refuse(s, p);
    switch (*p) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return p + 1;
    case 'u':
        for (int i = 0; i < 4; i++) {
            if (++p == s->end || hex_digit(*p) < 0)
                return refuse(s, p);
        }
        return p + 1;
    }
    return refuse(s, p);
}

/* p is at a byte past ASCII.  Goes over single plain bytes between such characters as well: for the
 * spaces of a Cyrillic text, going back to the fast scan would cost more than it saves. */
static bytes_t scan_utf8(scan_t *s, bytes_t p)
{
    bytes_t end = s->end;
    while (p < end) {
        if (*p >= 0x80) {
            size_t n = pst_utf8_length(p, end);
            if (n == 0)
                return refuse(s, p);
            p += n;
        } else if (is_plain(*p) && end - p > 1 && p[1] >= 0x80) {
            p++;
        } else {
            break;
        }
    }
    return p;
}

/* What skip_plain stopped at inside a string, and what follows, up to the closing quote. */
static bytes_t scan_special(scan_t *s, bytes_t p, bool *ret_escaped)
{
    while (p && p < s->end && *p != '"') {
        if (*p == '\\') {
            *ret_escaped = true;
            p = scan_escape(s, p);
        } else {
            p = *p < 0x20 ? refuse(s, p) : scan_utf8(s, p);
        }
        if (p)
            p = skip_plain(s->base, p, s->end);
    }
    return p == s->end ? refuse(s, p) : p;
}

/* p is at the opening quote. */
static inline bytes_t scan_string(scan_t *s, bytes_t p)
{
    bytes_t start = p;
    bool escaped = false;
    p = skip_plain(s->base, p + 1, s->end);
    if (p == s->end || *p != '"')
        p = scan_special(s, p, &escaped);
    return p ? push(s, PST_JSON_STRING, start, p + 1, escaped) : NULL;
}

static bytes_t scan_digits(scan_t *s, bytes_t p)
{
    bytes_t from = p;
    while (p < s->end && is_digit(*p))
        p++;
    return p == from ? refuse(s, p) : p;
}

static bytes_t scan_exponent(scan_t *s, bytes_t p)
{
    p++;
    if (p < s->end && (*p == '+' || *p == '-'))
        p++;
    return scan_digits(s, p);
}

static bytes_t scan_number(scan_t *s, bytes_t p)
{
    bytes_t start = p;
    if (*p == '-')
        p++;
    if (p < s->end && *p == '0')
        p++; /* stands alone: a digit after it is refused as what follows the value */
    else
        p = scan_digits(s, p);
    if (p && p < s->end && *p == '.')
        p = scan_digits(s, p + 1);
    if (p && p < s->end && (*p == 'e' || *p == 'E'))
        p = scan_exponent(s, p);
    return p ? push(s, PST_JSON_NUMBER, start, p, false) : NULL;
}

static bytes_t scan_word(scan_t *s, bytes_t p, const char *word, pst_json_type_t type)
{
    bytes_t start = p;
    for (; *word; word++, p++) {
        if (p == s->end || *p != (unsigned char)*word)
            return refuse(s, p);
    }
    return push(s, type, start, p, false);
}

static bytes_t scan_scalar(scan_t *s, bytes_t p)
{
    switch (*p) {
    case '"': return scan_string(s, p);
    case 't': return scan_word(s, p, "true", PST_JSON_TRUE);
    case 'f': return scan_word(s, p, "false", PST_JSON_FALSE);
    case 'n': return scan_word(s, p, "null", PST_JSON_NULL);
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9': return scan_number(s, p);
    }
    return refuse(s, p);
}

static bytes_t open_container(scan_t *s, bytes_t p)
{
    if (s->depth == PST_JSON_DEPTH_MAX)
        return refuse(s, p);
    s->open[s->depth++] = s->j->n;
    s->in_object = *p == '{';
    if (!push(s, s->in_object ? PST_JSON_OBJECT : PST_JSON_ARRAY, p, p, false))
        return NULL;
    return p + 1;
}

static bytes_t close_container(scan_t *s, bytes_t p)
{
    pst_json_tok_t *t = &s->j->tok[s->open[--s->depth]];
    p++;
    t->end = (uint32_t)(p - s->base);
    t->next = s->j->n;
    s->in_object = s->depth && s->j->tok[s->open[s->depth - 1]].type == PST_JSON_OBJECT;
    return p;
}

/* Of an object the key and its colon, counted as a member; of an array the item is counted.  p is at its first byte. */
static inline bytes_t begin_item(scan_t *s, bytes_t p)
{
    uint32_t parent = s->open[s->depth - 1];
    s->j->tok[parent].count++;
    if (!s->in_object)
        return p;
    if (*p != '"')
        return refuse(s, p);
    p = scan_string(s, p);
    if (!p)
        return NULL;
    p = skip_space(p, s->end);
    if (p == s->end || *p != ':')
        return refuse(s, p);
    return skip_space(p + 1, s->end);
}

/* After a value: over the brackets that close here and a comma, to where the next item begins, or to the end. */
static inline bytes_t end_item(scan_t *s, bytes_t p)
{
    for (;;) {
        p = skip_space(p, s->end);
        if (s->depth == 0)
            return p;
        if (p == s->end)
            return refuse(s, p);
        if (*p == ',')
            return skip_space(p + 1, s->end);
        if (*p != (s->in_object ? '}' : ']'))
            return refuse(s, p);
        p = close_container(s, p);
    }
}

/* One item a turn, without recursion: hostile nesting costs no stack.  False with s->error set. */
static bool scan_text(scan_t *s)
{
    bytes_t p = skip_space(s->base, s->end);
    do {
        if (s->depth && p < s->end)
            p = begin_item(s, p);
        if (p == s->end)
            p = refuse(s, p);
        if (!p)
            return false;
        if (*p == '{' || *p == '[') {
            p = open_container(s, p);
            if (!p)
                return false;
            p = skip_space(p, s->end);
            if (p == s->end || *p != (s->in_object ? '}' : ']'))
                continue;
            p = close_container(s, p);
        } else {
            p = scan_scalar(s, p);
        }
        if (p)
            p = end_item(s, p);
        if (!p)
            return false;
    } while (s->depth);
    return p == s->end || refuse(s, p);
}

pst_err_t pst_json_parse(pst_json_t *j, pst_view_t text, size_t *ret_at)
{
    j->n = 0;
    j->text = pst_view(NULL, 0);
    scan_t s; /* not cleared: that would cost as much as a token */
    s.j = j;
    s.depth = 0;
    s.in_object = false;
    s.error = PST_E_INVALID;
    s.base = s.end = s.fault = (bytes_t)text.p;
    if (text.n && text.n <= UINT32_MAX)
        s.end += text.n;
    if (scan_text(&s)) {
        j->text = text;
        return PST_OK;
    }
    j->n = 0;
    if (ret_at && s.error == PST_E_INVALID)
        *ret_at = (size_t)(s.fault - s.base);
    return s.error;
}

/* Reading the tape. */

/* What is between a string token's quotes. */
static pst_view_t inside(const pst_json_t *j, const pst_json_tok_t *k)
{
    return pst_view(j->text.p + k->start + 1, k->end - k->start - 2);
}

static size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static uint32_t hex4(const char *p)
{
    uint32_t c = 0;
    for (int i = 0; i < 4; i++)
        c = c << 4 | (uint32_t)hex_digit((unsigned char)p[i]);
    return c;
}

#define REPLACEMENT 0xfffdu

/* The code point of \uXXXX at *p, or of a surrogate pair of them; *p moves past what was read. */
static uint32_t decode_unicode(const char **p, const char *end)
{
    uint32_t c = hex4(*p + 2);
    *p += 6;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return REPLACEMENT;
    uint32_t low = hex4(*p + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return REPLACEMENT; /* a value of its own, decoded next */
    *p += 6;
    return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* Decodes what stands at *p of a validated string: one escape, or one byte as it is.  Returns how
 * many bytes it put into out; never more than it read. */
static size_t decode_step(const char **p, const char *end, char out[4])
{
    if (**p != '\\') {
        out[0] = *(*p)++;
        return 1;
    }
    char c = (*p)[1];
    if (c == 'u')
        return utf8_encode(decode_unicode(p, end), out);
    *p += 2;
    switch (c) {
    case 'b': out[0] = '\b'; break;
    case 'f': out[0] = '\f'; break;
    case 'n': out[0] = '\n'; break;
    case 'r': out[0] = '\r'; break;
    case 't': out[0] = '\t'; break;
    default: out[0] = c; /* quote, backslash, slash */
    }
    return 1;
}

static bool key_is(const pst_json_t *j, const pst_json_tok_t *k, pst_view_t key)
{
    pst_view_t raw = inside(j, k);
    if (!k->escaped)
        return pst_view_eq(raw, key);
    const char *p = raw.p;
    const char *end = raw.p + raw.n;
    size_t at = 0;
    while (p < end) {
        char c[4];
        size_t n = decode_step(&p, end, c);
        if (n > key.n - at || memcmp(c, key.p + at, n) != 0)
            return false;
        at += n;
    }
    return at == key.n;
}

uint32_t pst_json_get(const pst_json_t *j, uint32_t obj, const char *key)
{
    if (!pst_json_is(j, obj, PST_JSON_OBJECT))
        return PST_JSON_NONE;
    pst_view_t v = pst_view_str(key);
    uint32_t k = pst_json_first(j, obj);
    while (k != PST_JSON_NONE && !key_is(j, &j->tok[k], v))
        k = pst_json_after(j, obj, k);
    return k == PST_JSON_NONE ? k : k + 1;
}

uint32_t pst_json_path(const pst_json_t *j, uint32_t obj, ...)
{
    va_list ap;
    va_start(ap, obj);
    const char *key;
    while ((key = va_arg(ap, const char *)))
        obj = pst_json_get(j, obj, key);
    va_end(ap);
    return obj;
}

pst_view_t pst_json_str(const pst_json_t *j, uint32_t t, pst_arena_t *a)
{
    if (!pst_json_is(j, t, PST_JSON_STRING))
        return pst_view(NULL, 0);
    pst_view_t raw = inside(j, &j->tok[t]);
    if (!j->tok[t].escaped)
        return raw;
    char *out = pst_arena_get(a, raw.n);
    if (!out)
        return pst_view(NULL, 0);
    size_t n = 0;
    for (const char *p = raw.p, *end = raw.p + raw.n; p < end;) {
        char c[4];
        size_t k = decode_step(&p, end, c);
        memcpy(out + n, c, k);
        n += k;
    }
    return pst_view(out, n);
}

/* strtod wants the decimal point of the host program's locale; JSON's is always a dot. */
static double to_double(const char *s)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double v = strtod_l(s, NULL, c);
    freelocale(c);
    return v;
}

bool pst_json_num(const pst_json_t *j, uint32_t t, double *ret)
{
    if (!pst_json_is(j, t, PST_JSON_NUMBER))
        return false;
    pst_view_t raw = pst_json_raw(j, t);
    char local[64]; /* all but a stranger's number fits */
    char *s = raw.n < sizeof local ? local : malloc(raw.n + 1);
    if (!s)
        return false;
    memcpy(s, raw.p, raw.n);
    s[raw.n] = '\0';
    double v = to_double(s);
    if (s != local)
        free(s);
    if (!isfinite(v))
        return false;
    *ret = v;
    return true;
}

static bool scale(uint64_t *m, uint64_t tens)
{
    for (; tens && *m; tens--) {
        if (__builtin_mul_overflow(*m, 10, m))
            return false;
    }
    return true;
}

/* |number| = m * 10^exp10, with no zero at the end of m; *p moves to the exponent.  False if m does
 * not fit: then the number is no 64-bit integer either. */
static bool read_mantissa(const char **p, const char *end, uint64_t *m, int64_t *exp10)
{
    uint64_t zeros = 0; /* seen but not yet in m: they may be the last */
    bool fraction = false;
    for (; *p < end && (**p | 0x20) != 'e'; (*p)++) {
        if (**p == '.') {
            fraction = true;
            continue;
        }
        *exp10 -= fraction;
        unsigned d = (unsigned)(**p - '0');
        if (d == 0) {
            zeros++;
            continue;
        }
        if (!scale(m, zeros + 1) || __builtin_add_overflow(*m, d, m))
            return false;
        zeros = 0;
    }
    *exp10 += (int64_t)zeros;
    return true;
}

/* Saturates far past what any mantissa below 4 GiB can balance. */
static int64_t read_exponent(const char *p, const char *end)
{
    if (p == end)
        return 0;
    p++;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    int64_t e = 0;
    for (; p < end; p++)
        e = e < INT64_C(1) << 40 ? e * 10 + (*p - '0') : e;
    return negative ? -e : e;
}

/* Exact, without a detour through double: 1.0 and 1e3 are integers, 1.0000000000000000001 is not. */
bool pst_json_int(const pst_json_t *j, uint32_t t, int64_t *ret)
{
    if (!pst_json_is(j, t, PST_JSON_NUMBER))
        return false;
    pst_view_t raw = pst_json_raw(j, t);
    const char *p = raw.p;
    const char *end = raw.p + raw.n;
    bool negative = *p == '-';
    p += negative;
    uint64_t m = 0;
    int64_t exp10 = 0;
    if (!read_mantissa(&p, end, &m, &exp10))
        return false;
    exp10 += read_exponent(p, end);
    if (m && (exp10 < 0 || !scale(&m, (uint64_t)exp10)))
        return false;
    if (m > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = (int64_t)(negative ? -m : m);
    return true;
}

bool pst_json_bool(const pst_json_t *j, uint32_t t, bool *ret)
{
    bool yes = pst_json_is(j, t, PST_JSON_TRUE);
    if (!yes && !pst_json_is(j, t, PST_JSON_FALSE))
        return false;
    *ret = yes;
    return true;
}

/* The writer. */

static void put_special(pst_buf_t *b, unsigned char c)
{
    switch (c) {
    case '"': pst_buf_puts(b, "\\\""); return;
    case '\\': pst_buf_puts(b, "\\\\"); return;
    case '\b': pst_buf_puts(b, "\\b"); return;
    case '\f': pst_buf_puts(b, "\\f"); return;
    case '\n': pst_buf_puts(b, "\\n"); return;
    case '\r': pst_buf_puts(b, "\\r"); return;
    case '\t': pst_buf_puts(b, "\\t"); return;
    }
    if (c < 0x20)
        pst_buf_printf(b, "\\u%04x", c);
    else
        pst_buf_puts(b, "\xef\xbf\xbd"); /* U+FFFD for a byte that is no UTF-8 */
}

void pst_json_put_str(pst_buf_t *b, pst_view_t s)
{
    bytes_t p = (bytes_t)s.p;
    bytes_t end = s.n ? p + s.n : p;
    bytes_t run = p; /* start of what is copied as it stands */
    pst_buf_putc(b, '"');
    while ((p = skip_plain((bytes_t)s.p, p, end)) < end) {
        size_t n = *p >= 0x80 ? pst_utf8_length(p, end) : 0;
        if (n) {
            p += n;
            continue;
        }
        pst_buf_put(b, run, (size_t)(p - run));
        put_special(b, *p++);
        run = p;
    }
    pst_buf_put(b, run, (size_t)(end - run));
    pst_buf_putc(b, '"');
}

void pst_json_put_comma(pst_buf_t *b)
{
    char last = b->n ? b->p[b->n - 1] : '{';
    if (last != '{' && last != '[')
        pst_buf_putc(b, ',');
}

void pst_json_put_key(pst_buf_t *b, const char *key)
{
    pst_json_put_comma(b);
    pst_json_put_str(b, pst_view_str(key));
    pst_buf_putc(b, ':');
}

/* JSON has no infinities and no NaN: null says "no number" without making the document invalid. */
void pst_json_put_num(pst_buf_t *b, double v)
{
    if (!isfinite(v)) {
        pst_buf_puts(b, "null");
        return;
    }
    char s[32];
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t host = uselocale(c);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        if (strtod(s, NULL) == v)
            break;
    }
    uselocale(host);
    freelocale(c);
    pst_buf_puts(b, s);
}
