/* json_fuzz.c - what pst_json_parse accepts must be a well-formed tape of values that stand on their
 * own, and what it refuses must leave nothing behind. */
#include "base/json.h"
#include "fuzz.h"

/* Children lie inside their container, one after another, as many as it counts. */
static void check_container(const pst_json_t *j, uint32_t i)
{
    const pst_json_tok_t *t = &j->tok[i];
    bool object = t->type == PST_JSON_OBJECT;
    uint32_t from = t->start + 1, count = 0, last = 0;
    for (uint32_t k = pst_json_first(j, i); k != PST_JSON_NONE; k = pst_json_after(j, i, k)) {
        last = object ? k + 1 : k;
        PST_ASSERT(!object || pst_json_is(j, k, PST_JSON_STRING));
        PST_ASSERT(!object || j->tok[k].end < j->tok[last].start);
        PST_ASSERT(j->tok[k].start >= from);
        from = j->tok[last].end + 1; /* a comma or the closing bracket at least */
        count++;
    }
    PST_ASSERT(count == t->count);
    PST_ASSERT(from <= t->end);
    PST_ASSERT(t->next == (count ? j->tok[last].next : i + 1));
}

static void check_token(const pst_json_t *j, uint32_t i)
{
    const pst_json_tok_t *t = &j->tok[i];
    PST_ASSERT(t->start < t->end && t->end <= j->text.n);
    PST_ASSERT(t->next > i && t->next <= j->n);
    if (t->type == PST_JSON_OBJECT || t->type == PST_JSON_ARRAY)
        check_container(j, i);
    else
        PST_ASSERT(t->next == i + 1 && t->count == 0);
}

/* A value cut out is a document of the same type and size. */
static void check_alone(const pst_json_t *j, uint32_t i)
{
    pst_json_t alone;
    pst_json_init(&alone);
    PST_ASSERT(pst_json_parse(&alone, pst_json_raw(j, i), NULL) == PST_OK);
    PST_ASSERT(alone.tok[0].type == j->tok[i].type);
    PST_ASSERT(alone.n == j->tok[i].next - i);
    pst_json_release(&alone);
}

/* Decoded, written and read again, a string is the same. */
static void check_string(const pst_json_t *j, uint32_t i)
{
    pst_arena_t a;
    pst_arena_init(&a, 0);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_json_t again;
    pst_json_init(&again);
    pst_view_t v = pst_json_str(j, i, &a);
    PST_ASSERT(v.p && v.n <= pst_json_raw(j, i).n - 2);
    pst_json_put_str(&b, v);
    PST_ASSERT(pst_json_parse(&again, pst_buf_view(&b), NULL) == PST_OK);
    PST_ASSERT(pst_view_eq(pst_json_str(&again, 0, &a), v));
    pst_json_release(&again);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* As double and as integer, it survives being written; an integer agrees with its double. */
static void check_number(const pst_json_t *j, uint32_t i)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_json_t again;
    pst_json_init(&again);
    double d, d_again;
    bool finite = pst_json_num(j, i, &d);
    if (finite) {
        pst_json_put_num(&b, d);
        PST_ASSERT(pst_json_parse(&again, pst_buf_view(&b), NULL) == PST_OK);
        PST_ASSERT(pst_json_num(&again, 0, &d_again) && d == d_again);
    }
    int64_t n, n_again;
    if (pst_json_int(j, i, &n)) {
        PST_ASSERT(finite && d == (double)n);
        pst_buf_clear(&b);
        pst_buf_printf(&b, "%lld", (long long)n);
        PST_ASSERT(pst_json_parse(&again, pst_buf_view(&b), NULL) == PST_OK);
        PST_ASSERT(pst_json_int(&again, 0, &n_again) && n == n_again);
    }
    pst_json_release(&again);
    pst_buf_release(&b);
}

/* Every key without a NUL is found, at its own place or at an earlier one of the same name. */
static void check_lookup(const pst_json_t *j, uint32_t obj)
{
    pst_arena_t a;
    pst_arena_init(&a, 0);
    for (uint32_t k = pst_json_first(j, obj); k != PST_JSON_NONE; k = pst_json_after(j, obj, k)) {
        pst_view_t key = pst_arena_copy(&a, pst_json_str(j, k, &a));
        if (strlen(key.p) == key.n)
            PST_ASSERT(pst_json_get(j, obj, key.p) <= k + 1);
    }
    pst_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pst_json_t j;
    pst_json_init(&j);
    size_t at = SIZE_MAX;
    pst_err_t e = pst_json_parse(&j, pst_view(data, size), &at);
    if (e != PST_OK)
        PST_ASSERT(e == PST_E_INVALID && at <= size && j.n == 0);
    else
        PST_ASSERT(j.n > 0 && j.tok[0].next == j.n);
    for (uint32_t i = 0; i < j.n; i++) {
        check_token(&j, i);
        check_alone(&j, i);
        if (pst_json_is(&j, i, PST_JSON_STRING))
            check_string(&j, i);
        else if (pst_json_is(&j, i, PST_JSON_NUMBER))
            check_number(&j, i);
        else if (pst_json_is(&j, i, PST_JSON_OBJECT))
            check_lookup(&j, i);
    }
    pst_json_release(&j);
    return 0;
}
