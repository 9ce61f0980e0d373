#include "jscan.h"

#define DEPTH_MAX 128

void sim_js_init(sim_js_t *j, pst_view_t text)
{
    *j = (sim_js_t){.p = text.p, .end = text.p + text.n};
}

static bool fail(sim_js_t *j)
{
    j->bad = true;
    j->p = j->end;
    return false;
}

char sim_js_peek(sim_js_t *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
    return j->p < j->end ? *j->p : '\0';
}

static bool take(sim_js_t *j, char c)
{
    if (sim_js_peek(j) != c || j->p == j->end)
        return false;
    j->p++;
    return true;
}

bool sim_js_enter(sim_js_t *j, char open)
{
    if (j->depth == DEPTH_MAX || !take(j, open))
        return fail(j);
    j->depth++;
    j->first = true;
    return true;
}

/* At a separator: true if another element follows, false if `close` ended it (or bad). */
static bool next(sim_js_t *j, char close)
{
    if (j->bad)
        return false;
    bool first = j->first;
    j->first = false;
    if (take(j, close)) {
        j->depth--;
        return false;
    }
    return first || take(j, ',') ? true : fail(j);
}

bool sim_js_key(sim_js_t *j, pst_view_t *ret)
{
    if (!next(j, '}') || !sim_js_string(j, ret))
        return false;
    return take(j, ':') ? true : fail(j);
}

bool sim_js_item(sim_js_t *j)
{
    return next(j, ']');
}

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates), 0 if none. */
static size_t utf8_len(const unsigned char *p, size_t room)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (room < n)
        return 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Of four digits; -1 if they are not. */
static int hex_value(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4 && v >= 0; i++) {
        int d = hex_digit(p[i]);
        v = d < 0 ? -1 : v * 16 + d;
    }
    return v;
}

/* Length of the escape at p (a backslash), 0 if it is none. */
static size_t escape_len(const char *p, size_t room)
{
    if (room < 2)
        return 0;
    if (p[1] == 'u')
        return room >= 6 && hex_value(p + 2) >= 0 ? 6 : 0;
    return memchr("\"\\/bfnrt", p[1], 8) ? 2 : 0;
}

/* True if none of the 8 bytes is a control, a quote, a backslash or beyond ASCII. */
static bool plain8(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t w;
    memcpy(&w, p, 8);
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    uint64_t hit = (w - ones * ' ') | (quote - ones) | (slash - ones) | w;
    return (hit & tops) == 0;
}

bool sim_js_string(sim_js_t *j, pst_view_t *ret)
{
    if (!take(j, '"'))
        return fail(j);
    const char *start = j->p, *p = j->p;
    for (;;) {
        while (j->end - p >= 8 && plain8(p))
            p += 8;
        if (p == j->end || (unsigned char)*p < ' ')
            return fail(j);
        if (*p == '"')
            break;
        size_t room = (size_t)(j->end - p);
        size_t n = *p == '\\' ? escape_len(p, room) : utf8_len((const unsigned char *)p, room);
        if (n == 0)
            return fail(j);
        p += n;
    }
    *ret = pst_view(start, (size_t)(p - start));
    j->p = p + 1;
    return true;
}

static bool digits(sim_js_t *j)
{
    const char *start = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
        j->p++;
    return j->p > start;
}

static bool skip_number(sim_js_t *j)
{
    if (*j->p == '-')
        j->p++;
    if (j->p < j->end && *j->p == '0')
        j->p++;
    else if (!digits(j))
        return fail(j);
    if (j->p < j->end && *j->p == '.') {
        j->p++;
        if (!digits(j))
            return fail(j);
    }
    if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
        j->p++;
        if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
            j->p++;
        if (!digits(j))
            return fail(j);
    }
    return true;
}

static bool skip_word(sim_js_t *j, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
        return fail(j);
    j->p += n;
    return true;
}

static bool skip_container(sim_js_t *j, char open)
{
    pst_view_t key;
    sim_js_enter(j, open);
    while (!j->bad && (open == '{' ? sim_js_key(j, &key) : sim_js_item(j)))
        sim_js_skip(j, NULL);
    return !j->bad;
}

bool sim_js_skip(sim_js_t *j, pst_view_t *ret)
{
    char c = sim_js_peek(j);
    const char *start = j->p;
    pst_view_t string;
    bool ok;
    if (c == '{' || c == '[')
        ok = skip_container(j, c);
    else if (c == '"')
        ok = sim_js_string(j, &string);
    else if (c == 't')
        ok = skip_word(j, "true");
    else if (c == 'f')
        ok = skip_word(j, "false");
    else if (c == 'n')
        ok = skip_word(j, "null");
    else
        ok = c == '-' || (c >= '0' && c <= '9') ? skip_number(j) : fail(j);
    if (ok && ret)
        *ret = pst_view(start, (size_t)(j->p - start));
    return ok;
}

bool sim_js_end(sim_js_t *j)
{
    return !j->bad && sim_js_peek(j) == '\0' && j->p == j->end;
}

static size_t put_utf8(char *out, uint32_t c)
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

/* The character of a \u escape at p; *ret_n: its bytes.  A surrogate alone becomes U+FFFD. */
static uint32_t unicode_escape(const char *p, const char *end, size_t *ret_n)
{
    uint32_t c = (uint32_t)hex_value(p + 2);
    *ret_n = 6;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
        uint32_t low = (uint32_t)hex_value(p + 8);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *ret_n = 12;
            return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return 0xfffd;
}

pst_view_t sim_js_decode(pst_view_t raw, pst_buf_t *b)
{
    if (raw.n == 0 || !memchr(raw.p, '\\', raw.n))
        return raw;
    size_t start = b->n;
    char *out = pst_buf_reserve(b, raw.n); /* no escape is shorter than what it stands for */
    PST_ASSERT(out);
    const char *p = raw.p, *end = raw.p + raw.n;
    while (p < end) {
        if (*p != '\\') {
            *out++ = *p++;
        } else if (p[1] == 'u') {
            size_t n;
            out += put_utf8(out, unicode_escape(p, end, &n));
            p += n;
        } else {
            static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
            const char *at = strchr(from, p[1]);
            *out++ = at ? to[at - from] : p[1];
            p += 2;
        }
    }
    b->n = (size_t)(out - b->p);
    return pst_view(b->p + start, b->n - start);
}

/* How many bytes at s.p[i] may stand as they are, 0 if the first may not. */
static size_t as_it_is(pst_view_t s, size_t i)
{
    unsigned char c = (unsigned char)s.p[i];
    if (c < ' ' || c == '"' || c == '\\')
        return 0;
    return utf8_len((const unsigned char *)s.p + i, s.n - i);
}

static void put_escaped(pst_buf_t *b, unsigned char c)
{
    if (c >= 0x80) /* no character: U+FFFD in its place */
        pst_buf_puts(b, "\xef\xbf\xbd");
    else if (c < ' ')
        pst_buf_printf(b, "\\u%04x", c);
    else
        pst_buf_printf(b, "\\%c", c);
}

void sim_js_put(pst_buf_t *b, pst_view_t s)
{
    pst_buf_putc(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n;) {
        size_t n = as_it_is(s, i);
        if (n) {
            i += n;
            continue;
        }
        pst_buf_put(b, s.p + from, i - from);
        put_escaped(b, (unsigned char)s.p[i]);
        from = ++i;
    }
    if (s.n)
        pst_buf_put(b, s.p + from, s.n - from);
    pst_buf_putc(b, '"');
}
