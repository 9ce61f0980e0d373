#include "lib/text.h"

#define UINT64_DIGITS 20
#define NANO 1000000000u

void pst_text_uint(pst_buf_t *b, uint64_t v)
{
    char digits[UINT64_DIGITS];
    char *p = digits + sizeof digits;
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    pst_buf_put(b, p, (size_t)(digits + sizeof digits - p));
}

void pst_text_usd(pst_buf_t *b, uint64_t nano)
{
    pst_text_uint(b, nano / NANO);
    uint32_t rest = (uint32_t)(nano % NANO);
    if (rest == 0)
        return;
    char digits[10] = ".";
    for (int i = 9; i > 0; i--, rest /= 10)
        digits[i] = (char)('0' + rest % 10);
    size_t n = sizeof digits;
    while (digits[n - 1] == '0')
        n--;
    pst_buf_put(b, digits, n);
}
