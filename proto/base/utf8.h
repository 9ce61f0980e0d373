/* utf8.h - characters in UTF-8. */
#ifndef PST_UTF8_H
#define PST_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool pst_utf8_continues(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Length of the valid sequence of two to four bytes at p (p < end), 0 if there is none.  The bounds on the second byte
 * keep out overlong forms, surrogates and what lies past U+10FFFF. */
static inline size_t pst_utf8_length(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    unsigned char c = p[0];
    if (c >= 0xc2 && c <= 0xdf)
        return left >= 2 && pst_utf8_continues(p[1]) ? 2 : 0;
    if (c >= 0xe0 && c <= 0xef) {
        if (left < 3 || !pst_utf8_continues(p[1]) || !pst_utf8_continues(p[2]))
            return 0;
        return (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ? 0 : 3;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        if (left < 4 || !pst_utf8_continues(p[1]) || !pst_utf8_continues(p[2]) || !pst_utf8_continues(p[3]))
            return 0;
        return (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f) ? 0 : 4;
    }
    return 0;
}

/* The character at p, of at most n > 0 bytes; returns how many it takes, 0 if they are no character. */
static inline size_t pst_utf8_decode(const unsigned char *p, size_t n, uint32_t *ret)
{
    size_t length = p[0] < 0x80 ? 1 : pst_utf8_length(p, p + n);
    uint32_t c = length > 1 ? p[0] & (0x7fu >> length) : p[0];
    for (size_t i = 1; i < length; i++)
        c = c << 6 | (p[i] & 0x3fu);
    *ret = c;
    return length;
}

#endif
