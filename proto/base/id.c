#include "penstock/id.h"

#include "base/base.h"

#define PREFIX "batch_"
#define PREFIX_LEN (sizeof PREFIX - 1)
#define DIGITS (PST_BATCH_TEXT_LEN - PREFIX_LEN)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

pst_id_t pst_id_make(uint64_t wall_ms, const uint8_t random[10])
{
    pst_id_t id;
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
    memcpy(id.b + 6, random, 10);
    return id;
}

uint64_t pst_id_wall_ms(const pst_id_t *id)
{
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

/* The 128 bits are read as 130 with two zeros in front, five to a digit. */
void pst_id_text(const pst_id_t *id, char out[PST_BATCH_TEXT_LEN + 1])
{
    memcpy(out, PREFIX, PREFIX_LEN);
    char *to = out + PREFIX_LEN;
    unsigned acc = 0;
    int bits = 2;
    for (size_t i = 0; i < sizeof id->b; i++) {
        acc = acc << 8 | id->b[i];
        bits += 8;
        for (; bits >= 5; bits -= 5)
            *to++ = alphabet[acc >> (bits - 5) & 31];
    }
    *to = '\0';
}

/* 0 to 31, or -1.  Crockford's look-alikes I, L and O are refused: an id has one spelling, but for
 * case. */
static int digit(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

pst_err_t pst_id_parse(pst_view_t text, pst_id_t *ret)
{
    if (text.n != PST_BATCH_TEXT_LEN || memcmp(text.p, PREFIX, PREFIX_LEN) != 0)
        return PST_E_INVALID;
    if (text.p[PREFIX_LEN] > '7')
        return PST_E_INVALID; /* more than 128 bits */
    pst_id_t id;
    uint8_t *to = id.b;
    unsigned acc = 0;
    int bits = -2;
    for (size_t i = 0; i < DIGITS; i++) {
        int d = digit(text.p[PREFIX_LEN + i]);
        if (d < 0)
            return PST_E_INVALID;
        acc = acc << 5 | (unsigned)d;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            *to++ = (uint8_t)(acc >> bits);
        }
    }
    *ret = id;
    return PST_OK;
}

/* Decimal without sign or leading zero, so that a job, too, has one spelling. */
static bool parse_index(pst_view_t v, uint32_t *ret)
{
    if (v.n == 0 || v.n > 10 || (v.p[0] == '0' && v.n > 1))
        return false;
    uint64_t x = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        x = x * 10 + (uint64_t)(v.p[i] - '0');
    }
    if (x > UINT32_MAX)
        return false;
    *ret = (uint32_t)x;
    return true;
}

pst_err_t pst_job_id_parse(pst_view_t text, pst_id_t *ret_batch, uint32_t *ret_index)
{
    pst_id_t batch;
    uint32_t index;
    if (text.n <= PST_BATCH_TEXT_LEN || text.p[PST_BATCH_TEXT_LEN] != '.' ||
        pst_id_parse(pst_view(text.p, PST_BATCH_TEXT_LEN), &batch) != PST_OK)
        return PST_E_INVALID;
    pst_view_t rest = pst_view(text.p + PST_BATCH_TEXT_LEN + 1, text.n - PST_BATCH_TEXT_LEN - 1);
    if (!parse_index(rest, &index))
        return PST_E_INVALID;
    *ret_batch = batch;
    *ret_index = index;
    return PST_OK;
}
