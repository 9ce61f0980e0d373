#include "gateway/embeddings.h"

#include <openssl/evp.h>

#define FLOATS 12u /* at a time: 48 bytes, which base64 takes without padding */

static void put_floats(pst_buf_t *out, const float *v, unsigned n)
{
    unsigned char bytes[4 * FLOATS], text[4 * sizeof bytes / 3 + 1];
    for (unsigned i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        for (unsigned k = 0; k < 4; k++)
            bytes[4 * i + k] = (unsigned char)(bits >> 8 * k);
    }
    int length = EVP_EncodeBlock(text, bytes, (int)(4 * n));
    pst_buf_put(out, text, (size_t)length);
}

static bool has_numbers_alone(const pst_json_t *j, uint32_t list)
{
    double x;
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t)) {
        if (!pst_json_num(j, t, &x))
            return false;
    }
    return pst_json_is(j, list, PST_JSON_ARRAY);
}

static void put_packed(pst_buf_t *out, const pst_json_t *j, uint32_t list)
{
    float v[FLOATS];
    unsigned n = 0;
    pst_buf_putc(out, '"');
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t)) {
        double x = 0;
        (void)pst_json_num(j, t, &x);
        v[n++] = (float)x;
        if (n == FLOATS) {
            put_floats(out, v, n);
            n = 0;
        }
    }
    if (n > 0)
        put_floats(out, v, n);
    pst_buf_putc(out, '"');
}

pst_err_t pst_embeddings_pack(pst_view_t answer, pst_buf_t *out)
{
    pst_json_t j;
    pst_json_init(&j);
    pst_err_t e = pst_json_parse(&j, answer, NULL);
    uint32_t data = e ? PST_JSON_NONE : pst_json_get(&j, 0, "data");
    size_t from = 0;
    for (uint32_t t = pst_json_is(&j, data, PST_JSON_ARRAY) ? pst_json_first(&j, data) : PST_JSON_NONE; t != PST_JSON_NONE;
         t = pst_json_after(&j, data, t)) {
        uint32_t list = pst_json_get(&j, t, "embedding");
        if (!has_numbers_alone(&j, list))
            continue;
        pst_buf_put(out, answer.p + from, j.tok[list].start - from);
        put_packed(out, &j, list);
        from = j.tok[list].end;
    }
    if (!e)
        pst_buf_put(out, answer.p + from, answer.n - from);
    pst_json_release(&j);
    return e ? e : out->failed ? PST_E_NOMEM : PST_OK;
}
