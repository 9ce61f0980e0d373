#include "gateway/splice.h"

uint32_t pst_splice_member(const pst_json_t *j, uint32_t obj, const char *key)
{
    uint32_t t = pst_json_get(j, obj, key);
    return pst_json_is(j, t, PST_JSON_NULL) ? PST_JSON_NONE : t;
}

pst_view_t pst_splice_inside(const pst_json_t *j, uint32_t t)
{
    if (!pst_json_is(j, t, PST_JSON_STRING))
        return pst_view(NULL, 0);
    pst_view_t raw = pst_json_raw(j, t);
    return pst_view(raw.p + 1, raw.n - 2);
}

bool pst_splice_is(const pst_json_t *j, uint32_t t, const char *word)
{
    return pst_view_eqs(pst_splice_inside(j, t), word);
}

bool pst_splice_has_text(const pst_json_t *j, uint32_t t)
{
    return pst_splice_inside(j, t).n > 0;
}

uint64_t pst_splice_count(const pst_json_t *j, uint32_t t)
{
    int64_t n;
    return pst_json_int(j, t, &n) && n > 0 ? (uint64_t)n : 0;
}

/* No string has the end of a line in it: they are white space, and no two parts of a document need any between them. */
void pst_splice_put(pst_buf_t *b, const pst_json_t *j, uint32_t t)
{
    pst_view_t v = pst_json_raw(j, t);
    bool whole = !pst_json_is(j, t, PST_JSON_OBJECT) && !pst_json_is(j, t, PST_JSON_ARRAY);
    size_t done = 0;
    for (size_t i = 0; i < v.n && !whole; i++) {
        if (v.p[i] != '\n' && v.p[i] != '\r')
            continue;
        pst_buf_put(b, v.p + done, i - done);
        done = i + 1;
    }
    pst_buf_put(b, v.p + done, v.n - done);
}

void pst_splice_put_member(pst_buf_t *b, const char *key, const pst_json_t *j, uint32_t t)
{
    if (t == PST_JSON_NONE)
        return;
    pst_json_put_key(b, key);
    pst_splice_put(b, j, t);
}

void pst_splice_put_text(pst_buf_t *b, const char *key, pst_view_t text)
{
    pst_json_put_key(b, key);
    pst_json_put_str(b, text);
}
