#include "wire/tree.h"

#include "wire/walk.h"

/* The largest message read this way is a BATCH: its endpoints, parked ones and causes. */
#define VALUES_MAX (32u << 10)
_Static_assert(VALUES_MAX >= 64 + PST_STATUS_ENDPOINTS_MAX * (14 + 6) + 256 * 3,
               "a full BATCH must fit");

static pst_err_t parse(pst_tree_t *t, pst_view_t bytes, bool floats, msgpack_object *ret)
{
    if (bytes.n == 0 || bytes.n > PST_FRAME_BYTES_MAX)
        return bytes.n ? PST_E_TOO_LARGE : PST_E_MALFORMED;
    pst_walk_t w = {
        .p = (const uint8_t *)bytes.p, .end = (const uint8_t *)bytes.p + bytes.n, .floats = floats};
    if (pst_walk_skip(&w, 1) != PST_OK || w.p != w.end)
        return PST_E_MALFORMED;
    if (w.values > VALUES_MAX)
        return PST_E_TOO_LARGE;
    t->live = msgpack_zone_init(&t->zone, (size_t)w.values * sizeof *ret);
    if (!t->live)
        return PST_E_NOMEM;
    size_t off = 0;
    msgpack_unpack_return r = msgpack_unpack(bytes.p, bytes.n, &off, &t->zone, ret);
    if (r == MSGPACK_UNPACK_NOMEM_ERROR)
        return PST_E_NOMEM;
    return r == MSGPACK_UNPACK_SUCCESS && ret->type == MSGPACK_OBJECT_ARRAY ? PST_OK
                                                                            : PST_E_MALFORMED;
}

pst_fields_t pst_tree_parse(pst_tree_t *t, pst_view_t bytes, bool floats)
{
    msgpack_object root;
    t->live = false;
    t->err = parse(t, bytes, floats, &root);
    if (t->err != PST_OK)
        return (pst_fields_t){.tree = t};
    return (pst_fields_t){.tree = t, .v = root.via.array.ptr, .n = root.via.array.size};
}

void pst_tree_release(pst_tree_t *t)
{
    if (t->live)
        msgpack_zone_destroy(&t->zone);
    t->live = false;
}

void pst_tree_fail(pst_tree_t *t, pst_err_t e)
{
    if (t->err == PST_OK)
        t->err = e;
}

const msgpack_object *pst_field(pst_fields_t *f)
{
    static const msgpack_object nil = {.type = MSGPACK_OBJECT_NIL};
    if (f->n == 0 || f->tree->err != PST_OK) {
        pst_tree_fail(f->tree, PST_E_MALFORMED);
        return &nil;
    }
    f->n--;
    return f->v++;
}

/* The next field if it is of that type, else NULL. */
static const msgpack_object *field_of(pst_fields_t *f, msgpack_object_type type)
{
    const msgpack_object *o = pst_field(f);
    if (o->type == type)
        return o;
    pst_tree_fail(f->tree, PST_E_MALFORMED);
    return NULL;
}

uint64_t pst_field_uint(pst_fields_t *f, uint64_t max)
{
    const msgpack_object *o = field_of(f, MSGPACK_OBJECT_POSITIVE_INTEGER);
    if (o && o->via.u64 <= max)
        return o->via.u64;
    pst_tree_fail(f->tree, PST_E_MALFORMED);
    return 0;
}

uint32_t pst_field_u32(pst_fields_t *f)
{
    return (uint32_t)pst_field_uint(f, UINT32_MAX);
}

bool pst_field_bool(pst_fields_t *f)
{
    const msgpack_object *o = field_of(f, MSGPACK_OBJECT_BOOLEAN);
    return o && o->via.boolean;
}

/* msgpack-c may give an empty text no address; here only nil has none. */
static pst_view_t limited(pst_fields_t *f, const char *p, uint32_t n, size_t max)
{
    if (n <= max)
        return pst_view(n ? p : "", n);
    pst_tree_fail(f->tree, PST_E_TOO_LARGE);
    return pst_view(NULL, 0);
}

pst_view_t pst_field_str(pst_fields_t *f, size_t max)
{
    const msgpack_object *o = field_of(f, MSGPACK_OBJECT_STR);
    return o ? limited(f, o->via.str.ptr, o->via.str.size, max) : pst_view(NULL, 0);
}

pst_view_t pst_field_str_if_any(pst_fields_t *f, size_t max)
{
    return f->n ? pst_field_str(f, max) : pst_view("", 0);
}

uint64_t pst_field_uint_if_any(pst_fields_t *f, uint64_t max)
{
    return f->n ? pst_field_uint(f, max) : 0;
}

pst_view_t pst_field_bin(pst_fields_t *f, size_t max)
{
    const msgpack_object *o = field_of(f, MSGPACK_OBJECT_BIN);
    return o ? limited(f, o->via.bin.ptr, o->via.bin.size, max) : pst_view(NULL, 0);
}

pst_id_t pst_field_id(pst_fields_t *f)
{
    pst_id_t id = {{0}};
    pst_view_t v = pst_field_bin(f, SIZE_MAX);
    if (v.n == sizeof id.b)
        memcpy(id.b, v.p, sizeof id.b);
    else
        pst_tree_fail(f->tree, PST_E_MALFORMED);
    return id;
}

pst_fields_t pst_field_array(pst_fields_t *f)
{
    const msgpack_object *o = field_of(f, MSGPACK_OBJECT_ARRAY);
    if (!o)
        return (pst_fields_t){.tree = f->tree};
    return (pst_fields_t){.tree = f->tree, .v = o->via.array.ptr, .n = o->via.array.size};
}

pst_fields_t pst_field_list(pst_fields_t *f, pst_arena_t *a, uint32_t max, size_t size,
                            void **ret_v)
{
    pst_fields_t list = pst_field_array(f);
    *ret_v = NULL;
    if (list.n > max)
        pst_tree_fail(f->tree, PST_E_TOO_LARGE);
    if (list.n && f->tree->err == PST_OK && !(*ret_v = pst_arena_get(a, list.n * size)))
        pst_tree_fail(f->tree, PST_E_NOMEM);
    if (f->tree->err != PST_OK)
        list.n = 0;
    return list;
}
