#include "gateway/inline.h"

#include <stdio.h>

#include "base/json.h"
#include "penstock/limits.h"

/* Memory that one long element needed is not kept for the short ones behind it. */
#define KEPT_BYTES_MAX ((size_t)1 << 20)
#define KEPT_TOKENS_MAX (64u << 10)

/* What may come next. */
typedef enum place {
    AT_BEGIN,       /* { */
    AT_FIRST_KEY,   /* a key or } */
    AT_KEY,
    AT_COLON,
    AT_VALUE,       /* of a member */
    AT_COMMA,       /* , or } */
    AT_FIRST_ITEM,  /* an element or ] */
    AT_ITEM,
    AT_ITEM_COMMA,  /* , or ] */
    AT_END,         /* nothing */
} place_t;

typedef enum shape { SHAPE_NONE, SHAPE_SCALAR, SHAPE_STRING, SHAPE_CONTAINER } shape_t;

typedef struct member {
    size_t key_at, key_n;     /* in `kept` */
    size_t value_at, value_n;
} member_t;

struct pst_inline {
    const char *array;
    size_t element_bytes_max;
    pst_inline_element_fn *fn;
    void *arg;

    place_t place;
    shape_t shape;         /* of the value being read; NONE: between values */
    unsigned depth;        /* its open brackets */
    bool in_string, escaped;
    uint64_t at;           /* bytes of the body read so far */
    uint64_t begin;        /* where the value began */
    pst_buf_t text;        /* of the value */

    member_t member[PST_INLINE_MEMBERS_MAX]; /* the last one's value may still be to come */
    unsigned members;
    pst_buf_t kept;
    bool is_array;         /* the key read last is the array's */
    bool had_array;
    uint64_t elements;

    pst_json_t json;
    pst_arena_t arena;     /* decoded keys */
    pst_err_t error;
    uint64_t fault_at;
    char fault[160];
};

pst_inline_t *pst_inline_new(const char *array, size_t element_bytes_max, pst_inline_element_fn *fn, void *arg)
{
    pst_inline_t *r = pst_calloc(1, sizeof *r);
    r->array = array;
    r->element_bytes_max = element_bytes_max ? element_bytes_max : PST_LINE_BYTES_MAX;
    r->fn = fn;
    r->arg = arg;
    pst_buf_init(&r->text, 0);
    pst_buf_init(&r->kept, 0);
    pst_json_init(&r->json);
    pst_arena_init(&r->arena, 0);
    return r;
}

void pst_inline_destroy(pst_inline_t **r)
{
    pst_inline_t *x = r ? pst_take(r) : NULL;
    if (!x)
        return;
    pst_buf_release(&x->text);
    pst_buf_release(&x->kept);
    pst_json_release(&x->json);
    pst_arena_release(&x->arena);
    free(x);
}

static pst_err_t fail(pst_inline_t *r, pst_err_t e, uint64_t at, const char *fmt, ...) PST_PRINTF(4, 5);
static pst_err_t fail(pst_inline_t *r, pst_err_t e, uint64_t at, const char *fmt, ...)
{
    r->error = e;
    r->fault_at = at;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->fault, sizeof r->fault, fmt, ap);
    va_end(ap);
    return e;
}

/* ---- whole values ------------------------------------------------------------------------------ */

static pst_view_t key_of(const pst_inline_t *r, const member_t *m)
{
    return pst_view(r->kept.p + m->key_at, m->key_n);
}

static const member_t *find(const pst_inline_t *r, pst_view_t name)
{
    for (unsigned i = 0; i < r->members; i++) {
        if (pst_view_eq(key_of(r, &r->member[i]), name))
            return &r->member[i];
    }
    return NULL;
}

static pst_err_t fail_members(pst_inline_t *r)
{
    return fail(r, PST_E_TOO_LARGE, r->begin, "the members beside `%s` are longer than %zu bytes together", r->array,
                PST_INLINE_MEMBERS_BYTES_MAX);
}

static pst_err_t got_key(pst_inline_t *r)
{
    pst_arena_clear(&r->arena);
    pst_view_t key = pst_json_str(&r->json, 0, &r->arena);
    r->place = AT_COLON;
    r->is_array = pst_view_eqs(key, r->array);
    if (r->is_array ? r->had_array : find(r, key) != NULL)
        return fail(r, PST_E_INPUT, r->begin, "a member is given twice: remove one");
    if (r->is_array) {
        r->had_array = true;
        return PST_OK;
    }
    if (key.n > PST_INLINE_MEMBERS_BYTES_MAX - r->kept.n)
        return fail_members(r);
    if (r->members == PST_INLINE_MEMBERS_MAX)
        return fail(r, PST_E_TOO_LARGE, r->begin, "more than %d members", PST_INLINE_MEMBERS_MAX);
    r->member[r->members++] = (member_t){.key_at = r->kept.n, .key_n = key.n};
    pst_buf_putv(&r->kept, key);
    return PST_OK;
}

static pst_err_t got_value(pst_inline_t *r)
{
    member_t *m = &r->member[r->members - 1];
    m->value_at = r->kept.n;
    m->value_n = r->text.n;
    pst_buf_putv(&r->kept, pst_buf_view(&r->text));
    r->place = AT_COMMA;
    return PST_OK;
}

static pst_err_t got_item(pst_inline_t *r)
{
    r->place = AT_ITEM_COMMA;
    pst_err_t e = r->fn(r->arg, r->elements, pst_buf_view(&r->text));
    if (e)
        return fail(r, e, r->begin, "element %llu was refused", (unsigned long long)r->elements);
    r->elements++;
    return PST_OK;
}

static void shed(pst_inline_t *r)
{
    if (r->text.cap > KEPT_BYTES_MAX)
        pst_buf_release(&r->text);
    if (r->json.cap > KEPT_TOKENS_MAX)
        pst_json_release(&r->json);
    pst_buf_clear(&r->text);
}

static pst_err_t got(pst_inline_t *r)
{
    r->shape = SHAPE_NONE;
    size_t at = 0;
    pst_err_t e = pst_json_parse(&r->json, pst_buf_view(&r->text), &at);
    if (e == PST_E_INVALID)
        return fail(r, PST_E_INPUT, r->begin + at, "this is not JSON");
    if (e)
        return fail(r, e, r->begin, "%s", pst_err_text(e));
    if (r->place == AT_KEY)
        e = got_key(r);
    else if (r->place == AT_VALUE)
        e = got_value(r);
    else
        e = got_item(r);
    if (!e && r->kept.failed)
        e = fail(r, PST_E_NOMEM, r->begin, "%s", pst_err_text(PST_E_NOMEM));
    shed(r);
    return e;
}

/* ---- the bytes of a value ---------------------------------------------------------------------- */

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where a string goes on: past its closing quote, or at the end of what there is. */
static size_t skip_string(pst_inline_t *r, const char *p, size_t i, size_t n)
{
    for (; i < n; i++) {
        if (r->escaped) {
            r->escaped = false;
        } else if (p[i] == '\\') {
            r->escaped = true;
        } else if (p[i] == '"') {
            r->in_string = false;
            return i + 1;
        }
    }
    return n;
}

/* Brackets are only counted here: whether they match is for the check of the whole.  *ret_done: the value ends before
 * the byte that is returned. */
static size_t skip_container(pst_inline_t *r, const char *p, size_t n, bool *ret_done)
{
    for (size_t i = 0; i < n;) {
        if (r->in_string) {
            i = skip_string(r, p, i, n);
            continue;
        }
        char c = p[i++];
        if (c == '"') {
            r->in_string = true;
        } else if (c == '{' || c == '[') {
            if (++r->depth > PST_JSON_DEPTH_MAX) {
                (void)fail(r, PST_E_INPUT, r->at + i - 1, "nested deeper than %d", PST_JSON_DEPTH_MAX);
                return i;
            }
        } else if ((c == '}' || c == ']') && --r->depth == 0) {
            *ret_done = true;
            return i;
        }
    }
    return n;
}

static size_t skip_scalar(const char *p, size_t n, bool *ret_done)
{
    for (size_t i = 0; i < n; i++) {
        if (is_blank((unsigned char)p[i]) || p[i] == ',' || p[i] == ']' || p[i] == '}') {
            *ret_done = true;
            return i;
        }
    }
    return n;
}

static size_t skip_value(pst_inline_t *r, const char *p, size_t n, bool *ret_done)
{
    if (r->shape == SHAPE_SCALAR)
        return skip_scalar(p, n, ret_done);
    if (r->shape == SHAPE_CONTAINER)
        return skip_container(r, p, n, ret_done);
    size_t opened = r->in_string ? 0 : 1; /* the quote it begins with */
    r->in_string = true;
    size_t i = skip_string(r, p, opened, n);
    *ret_done = !r->in_string;
    return i;
}

/* A key counts when it is known not to be the array's. */
static pst_err_t check_room(pst_inline_t *r, size_t n)
{
    bool item = r->place == AT_ITEM;
    size_t kept = r->place == AT_KEY ? 0 : r->kept.n;
    size_t max = item ? r->element_bytes_max : PST_INLINE_MEMBERS_BYTES_MAX - kept;
    if (n <= max && r->text.n <= max - n)
        return PST_OK;
    if (item)
        return fail(r, PST_E_TOO_LARGE, r->begin, "element %llu is longer than %zu bytes",
                    (unsigned long long)r->elements, max);
    return fail_members(r);
}

/* Takes of the value what there is; returns how much. */
static size_t take(pst_inline_t *r, const char *p, size_t n)
{
    bool done = false;
    size_t part = skip_value(r, p, n, &done);
    if (r->error || check_room(r, part))
        return part;
    pst_buf_put(&r->text, p, part);
    if (r->text.failed)
        (void)fail(r, PST_E_NOMEM, r->begin, "%s", pst_err_text(PST_E_NOMEM));
    else if (done)
        (void)got(r);
    return part;
}

/* ---- between values ---------------------------------------------------------------------------- */

static pst_err_t unexpected(pst_inline_t *r, const char *what)
{
    return fail(r, PST_E_INPUT, r->at, "here should be %s", what);
}

/* Its first byte is there, and stays for `take`. */
static pst_err_t begin_value(pst_inline_t *r, char c, place_t place)
{
    if (c == '"')
        r->shape = SHAPE_STRING;
    else if (c == '{' || c == '[')
        r->shape = SHAPE_CONTAINER;
    else if (c == '-' || (c >= '0' && c <= '9') || c == 't' || c == 'f' || c == 'n')
        r->shape = SHAPE_SCALAR;
    else
        return unexpected(r, "a value");
    r->place = place;
    r->begin = r->at;
    r->depth = 0;
    r->in_string = r->escaped = false;
    return PST_OK;
}

static pst_err_t begin_key(pst_inline_t *r, char c)
{
    return c == '"' ? begin_value(r, c, AT_KEY) : unexpected(r, "a member's name");
}

/* A byte that only stands between values. */
static pst_err_t step(pst_inline_t *r, bool as_expected, place_t next, const char *what)
{
    if (!as_expected)
        return unexpected(r, what);
    r->place = next;
    r->at++;
    return PST_OK;
}

static pst_err_t begin_array(pst_inline_t *r, char c)
{
    if (c != '[')
        return fail(r, PST_E_INPUT, r->at, "`%s` is not an array", r->array);
    return step(r, true, AT_FIRST_ITEM, "");
}

static pst_err_t between(pst_inline_t *r, char c)
{
    switch (r->place) {
    case AT_BEGIN:
        return step(r, c == '{', AT_FIRST_KEY, "a JSON object");
    case AT_FIRST_KEY:
        return c == '}' ? step(r, true, AT_END, "") : begin_key(r, c);
    case AT_KEY:
        return begin_key(r, c);
    case AT_COLON:
        return step(r, c == ':', AT_VALUE, "a colon");
    case AT_VALUE:
        return r->is_array ? begin_array(r, c) : begin_value(r, c, AT_VALUE);
    case AT_COMMA:
        return c == '}' ? step(r, true, AT_END, "") : step(r, c == ',', AT_KEY, "a comma or the end of the object");
    case AT_FIRST_ITEM:
        return c == ']' ? step(r, true, AT_COMMA, "") : begin_value(r, c, AT_ITEM);
    case AT_ITEM:
        return begin_value(r, c, AT_ITEM);
    case AT_ITEM_COMMA:
        return c == ']' ? step(r, true, AT_COMMA, "") : step(r, c == ',', AT_ITEM, "a comma or the end of the array");
    case AT_END:
        return unexpected(r, "nothing more");
    }
    return PST_OK;
}

pst_err_t pst_inline_feed(pst_inline_t *r, const void *bytes, size_t n)
{
    const char *p = bytes;
    uint64_t from = r->at;
    while (!r->error && r->at - from < n) {
        size_t i = (size_t)(r->at - from);
        if (r->shape != SHAPE_NONE)
            r->at += take(r, p + i, n - i);
        else if (is_blank((unsigned char)p[i]))
            r->at++;
        else
            (void)between(r, p[i]);
    }
    return r->error;
}

pst_err_t pst_inline_end(pst_inline_t *r)
{
    if (r->error)
        return r->error;
    if (r->place != AT_END)
        return fail(r, PST_E_INPUT, r->at, "the body ends in the middle");
    if (!r->had_array)
        return fail(r, PST_E_INPUT, r->at, "`%s` is missing", r->array);
    return PST_OK;
}

bool pst_inline_is_whole(const pst_inline_t *r)
{
    return r->place == AT_END;
}

/* ---- what was read ----------------------------------------------------------------------------- */

pst_view_t pst_inline_member(const pst_inline_t *r, const char *name)
{
    const member_t *m = find(r, pst_view_str(name));
    bool there = m && m->value_n > 0; /* no value is empty */
    return there ? pst_view(r->kept.p + m->value_at, m->value_n) : pst_view(NULL, 0);
}

size_t pst_inline_memory(const pst_inline_t *r)
{
    return r->text.cap;
}

uint64_t pst_inline_elements(const pst_inline_t *r)
{
    return r->elements;
}

const char *pst_inline_fault(const pst_inline_t *r, uint64_t *ret_at)
{
    if (ret_at)
        *ret_at = r->fault_at;
    return r->fault;
}
