#include "lib/text.h"

#include "base/json.h"

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

void pst_member_str(pst_buf_t *b, const char *key, const char *value)
{
    pst_json_put_key(b, key);
    if (value)
        pst_json_put_str(b, pst_view_str(value));
    else
        pst_buf_puts(b, "null");
}

void pst_member_uint(pst_buf_t *b, const char *key, uint64_t value)
{
    pst_json_put_key(b, key);
    pst_text_uint(b, value);
}

void pst_member_usd(pst_buf_t *b, const char *key, double usd)
{
    pst_json_put_key(b, key);
    pst_text_usd(b, (uint64_t)(usd * NANO + 0.5));
}

pst_err_t pst_text_give(pst_buf_t *b, char **ret)
{
    char *text = pst_buf_detach(b, NULL);
    if (!text)
        return PST_E_NOMEM;
    *ret = text;
    return PST_OK;
}
