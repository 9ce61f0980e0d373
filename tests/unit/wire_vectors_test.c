#include "unit.h"

#include "base/json.h"
#include "wire_vectors.h"

/* The whole of proto/vectors/NAME.json; free it. */
static pst_view_t read_vectors(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, PST_SOURCE "/proto/vectors/%s.json", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    rewind(f);
    char *p = malloc((size_t)n + 1);
    assert_int_equal(fread(p, 1, (size_t)n, f), n);
    fclose(f);
    return pst_view(p, (size_t)n);
}

static pst_view_t unhex(pst_arena_t *a, pst_view_t text)
{
    size_t n = text.n / 2;
    uint8_t *p = pst_arena_get(a, n + 1);
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {text.p[2 * i], text.p[2 * i + 1], '\0'};
        p[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return pst_view(p, n);
}

static pst_view_t member(const pst_json_t *j, uint32_t obj, const char *key, pst_arena_t *a)
{
    return pst_json_str(j, pst_json_get(j, obj, key), a);
}

/* The bytes say these fields, and, unless the vector denies it, these fields are said by these
 * bytes. */
static void check_good(const kind_t *k, const pst_json_t *j, uint32_t vector, pst_arena_t *a)
{
    thing_t thing;
    pst_buf_t b;
    bool encode = true;
    pst_view_t bytes = unhex(a, member(j, vector, "hex", a));
    pst_buf_init(&b, 0);
    assert_int_equal(k->decode(bytes, a, &thing), PST_OK);
    k->dump(&thing, &b);
    pst_view_t fields = pst_json_raw(j, pst_json_get(j, vector, "fields"));
    assert_true(pst_view_eq(pst_buf_view(&b), fields));
    pst_json_bool(j, pst_json_get(j, vector, "encode"), &encode);
    pst_buf_clear(&b);
    k->encode(&thing, &b);
    assert_int_equal(pst_view_eq(pst_buf_view(&b), bytes), encode);
    pst_buf_release(&b);
}

static void good_vectors_hold(void **state)
{
    (void)state;
    kind_t k;
    pst_arena_t a;
    pst_json_t j;
    pst_arena_init(&a, 0);
    pst_json_init(&j);
    for (unsigned i = 0; kind_at(i, &k); i++) {
        pst_view_t file = read_vectors(k.name);
        assert_int_equal(pst_json_parse(&j, file, NULL), PST_OK);
        assert_true(j.tok[0].count >= 4);
        for (uint32_t v = pst_json_first(&j, 0); v != PST_JSON_NONE; v = pst_json_after(&j, 0, v))
            check_good(&k, &j, v, &a);
        free((char *)file.p);
    }
    pst_json_release(&j);
    pst_arena_release(&a);
}

static void check_bad(const pst_json_t *j, uint32_t vector, pst_arena_t *a)
{
    kind_t k;
    thing_t thing;
    assert_true(kind_find(member(j, vector, "kind", a), &k));
    pst_err_t e = k.decode(unhex(a, member(j, vector, "hex", a)), a, &thing);
    pst_view_t want = member(j, vector, "error", a), name = member(j, vector, "name", a);
    if (!pst_view_eqs(want, pst_err_name(e)))
        fail_msg("%s, %.*s: %s", k.name, (int)name.n, name.p, pst_err_name(e));
}

static void bad_vectors_are_refused(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_json_t j;
    pst_arena_init(&a, 0);
    pst_json_init(&j);
    pst_view_t file = read_vectors("bad");
    assert_int_equal(pst_json_parse(&j, file, NULL), PST_OK);
    assert_true(j.tok[0].count > 50);
    for (uint32_t v = pst_json_first(&j, 0); v != PST_JSON_NONE; v = pst_json_after(&j, 0, v))
        check_bad(&j, v, &a);
    free((char *)file.p);
    pst_json_release(&j);
    pst_arena_release(&a);
}

static void assert_up_to_date(const char *name, const pst_buf_t *made)
{
    pst_view_t file = read_vectors(name);
    if (!pst_view_eq(file, pst_buf_view(made)))
        fail_msg("proto/vectors/%s.json differs from what wire_vectors writes", name);
    free((char *)file.p);
}

/* The files are what the encoders make today: a change of the format cannot go unnoticed. */
static void files_are_what_is_encoded(void **state)
{
    (void)state;
    kind_t k;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    for (unsigned i = 0; kind_at(i, &k); i++) {
        pst_buf_clear(&b);
        vectors_good(&k, &b);
        assert_up_to_date(k.name, &b);
    }
    pst_buf_clear(&b);
    vectors_bad(&b);
    assert_up_to_date("bad", &b);
    pst_buf_release(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(good_vectors_hold),
    cmocka_unit_test(bad_vectors_are_refused),
    cmocka_unit_test(files_are_what_is_encoded),
};
UNIT_MAIN(tests)
