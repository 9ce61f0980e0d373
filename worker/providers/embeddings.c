#include "providers/embeddings.h"

#include "providers/common.h"
#include "providers/failure.h"

#define GROUP 3u /* floats that base64 takes without padding: 12 bytes, 16 characters */

static void put_bytes(pst_buf_t *b, const unsigned char *v, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t x = (uint32_t)v[i] << 16 | (i + 1 < n ? (uint32_t)v[i + 1] << 8 : 0) | (i + 2 < n ? v[i + 2] : 0);
        char four[4] = {digits[x >> 18], digits[x >> 12 & 63], i + 1 < n ? digits[x >> 6 & 63] : '=',
                        i + 2 < n ? digits[x & 63] : '='};
        pst_buf_put(b, four, sizeof four);
    }
}

static void set_float(unsigned char *to, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    for (unsigned k = 0; k < 4; k++)
        to[k] = (unsigned char)(bits >> 8 * k);
}

static bool has_numbers_alone(const pst_json_t *j, uint32_t list)
{
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t)) {
        if (!pst_json_is(j, t, PST_JSON_NUMBER))
            return false;
    }
    return pst_json_is(j, list, PST_JSON_ARRAY);
}

static void put_packed(pst_buf_t *b, const pst_json_t *j, uint32_t list)
{
    unsigned char bytes[4 * GROUP];
    size_t n = 0;
    pst_buf_putc(b, '"');
    for (uint32_t t = pst_json_first(j, list); t != PST_JSON_NONE; t = pst_json_after(j, list, t)) {
        double x = 0; /* where it has no room in one */
        (void)pst_json_num(j, t, &x);
        set_float(bytes + n, (float)x);
        n += 4;
        if (n == sizeof bytes) {
            put_bytes(b, bytes, n);
            n = 0;
        }
    }
    put_bytes(b, bytes, n);
    pst_buf_putc(b, '"');
}

static void put_answer(pst_buf_t *b, const pst_json_t *j)
{
    size_t from = 0;
    uint32_t data = pst_json_get(j, 0, "data");
    for (uint32_t t = pst_json_first(j, data); t != PST_JSON_NONE; t = pst_json_after(j, data, t)) {
        uint32_t list = pst_json_get(j, t, "embedding");
        if (!has_numbers_alone(j, list))
            continue;
        pst_buf_put(b, j->text.p + from, j->tok[list].start - from);
        put_packed(b, j, list);
        from = j->tok[list].end;
    }
    pst_buf_put(b, j->text.p + from, j->text.n - from);
}

void pst_embeddings_pack(pst_arena_t *a, pst_reading_t *r)
{
    PST_SCOPED(pst_json_release) pst_json_t j;
    PST_SCOPED(pst_buf_release) pst_buf_t b;
    pst_json_init(&j);
    pst_buf_init(&b, 0);
    pst_err_t e = pst_json_parse(&j, r->body, NULL); /* an adapter's answer is JSON */
    if (!e) {
        put_answer(&b, &j);
        e = pst_seal(&b, a, &r->body);
    }
    if (e)
        pst_failure_no_memory(r);
}
