#include "wire_notation.h"

#include <ctype.h>

static size_t value(const char **at, pst_buf_t *out);

static void put_be(pst_buf_t *b, uint8_t type, uint64_t v, unsigned bytes)
{
    pst_buf_putc(b, (char)type);
    for (unsigned i = bytes; i-- > 0;)
        pst_buf_putc(b, (char)(v >> (8 * i)));
}

/* A header with its count: in the `fixed` byte up to `fixed_max`, else type8 and one byte, type16
 * and two, or type16 + 1 and four; fixed or type8 0: there is none. */
static void put_head(pst_buf_t *b, uint8_t fixed, size_t fixed_max, uint8_t type8, uint8_t type16,
                     size_t n)
{
    if (fixed && n <= fixed_max)
        pst_buf_putc(b, (char)(fixed | n));
    else if (type8 && n <= UINT8_MAX)
        put_be(b, type8, n, 1);
    else if (n <= UINT16_MAX)
        put_be(b, type16, n, 2);
    else
        put_be(b, type16 + 1, n, 4);
}

static void put_uint(pst_buf_t *b, uint64_t v)
{
    if (v < 0x80)
        pst_buf_putc(b, (char)v);
    else if (v <= UINT8_MAX)
        put_be(b, 0xcc, v, 1);
    else if (v <= UINT16_MAX)
        put_be(b, 0xcd, v, 2);
    else if (v <= UINT32_MAX)
        put_be(b, 0xce, v, 4);
    else
        put_be(b, 0xcf, v, 8);
}

static void put_filled(pst_buf_t *b, char fill, size_t n)
{
    char *to = n ? pst_buf_reserve(b, n) : NULL;
    if (!to)
        return;
    memset(to, fill, n);
    b->n += n;
}

static size_t number(const char **at)
{
    char *end;
    unsigned long v = strtoul(*at, &end, 10);
    PST_ASSERT(end > *at);
    *at = end;
    return v;
}

static void hex(const char **at, pst_buf_t *out)
{
    while (isxdigit((unsigned char)**at)) {
        char pair[3] = {(*at)[0], (*at)[1], '\0'};
        char *end;
        pst_buf_putc(out, (char)strtoul(pair, &end, 16));
        PST_ASSERT(end == pair + 2);
        *at += 2;
    }
}

static void array(const char **at, pst_buf_t *out)
{
    pst_buf_t items;
    pst_buf_init(&items, 0);
    size_t n = 0;
    while (**at != ']')
        n += value(at, &items);
    ++*at;
    put_head(out, 0x90, 15, 0, 0xdc, n);
    pst_buf_putv(out, pst_buf_view(&items));
    pst_buf_release(&items);
}

static void quoted(const char **at, pst_buf_t *out)
{
    const char *end = strchr(*at, '"');
    size_t n = (size_t)(end - *at);
    put_head(out, 0xa0, 31, 0xd9, 0xda, n);
    pst_buf_put(out, *at, n);
    *at = end + 1;
}

static void bin(const char **at, pst_buf_t *out)
{
    pst_buf_t bytes;
    pst_buf_init(&bytes, 0);
    hex(at, &bytes);
    put_be(out, 0xc4, bytes.n, 1);
    pst_buf_putv(out, pst_buf_view(&bytes));
    pst_buf_release(&bytes);
}

static size_t repeated(const char **at, pst_buf_t *out)
{
    size_t times = number(at), n = 0;
    const char *from = *at + 1; /* behind the blank */
    for (size_t i = 0; i < times; i++) {
        *at = from;
        n += value(at, out);
    }
    return n;
}

static void float64(const char **at, pst_buf_t *out)
{
    char *end;
    double v = strtod(*at, &end);
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_be(out, 0xcb, bits, 8);
    *at = end;
}

static bool word(const char **at, const char *w, uint8_t byte, pst_buf_t *out)
{
    size_t n = strlen(w);
    if (strncmp(*at, w, n) != 0)
        return false;
    pst_buf_putc(out, (char)byte);
    *at += n;
    return true;
}

static void filled(const char **at, char kind, pst_buf_t *out)
{
    size_t n = number(at);
    if (kind == 's')
        put_head(out, 0xa0, 31, 0xd9, 0xda, n);
    else
        put_head(out, 0, 0, 0xc4, 0xc5, n);
    put_filled(out, kind == 's' ? 'a' : '\0', n);
}

/* One item and the blanks behind it.  Returns how many values it made. */
static size_t value(const char **at, pst_buf_t *out)
{
    size_t n = 1;
    if (!word(at, "nil", 0xc0, out) && !word(at, "false", 0xc2, out) &&
        !word(at, "true", 0xc3, out)) {
        char c = *(*at)++;
        switch (c) {
        case '[': array(at, out); break;
        case '"': quoted(at, out); break;
        case 'x': bin(at, out); break;
        case 's':
        case 'b': filled(at, c, out); break;
        case 'f': float64(at, out); break;
        case '!': hex(at, out); break;
        case '@': n = repeated(at, out); break;
        case '-': pst_buf_putc(out, (char)-(int)number(at)); break;
        default: --*at; put_uint(out, strtoull(*at, (char **)at, 10));
        }
    }
    while (**at == ' ')
        ++*at;
    return n;
}

void notation_put(const char *text, pst_buf_t *out)
{
    while (*text) {
        const char *from = text;
        value(&text, out);
        PST_ASSERT(text > from);
    }
}
