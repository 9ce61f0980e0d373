/* route.c - what a job wishes of its endpoint.  Canonical because every value has one form here:
 * the shortest integers and lengths (msgpack-c's packer), a price is nil or a float64. */
#include <math.h>

#include "wire/put.h"
#include "wire/tree.h"

#define FIELDS 17

static void put_names(msgpack_packer *k, const pst_names_t *names, uint32_t max)
{
    if (!pst_put_list(k, names->n, max))
        return;
    for (uint32_t i = 0; i < names->n; i++)
        pst_put_str(k, names->v[i], PST_NAME_BYTES_MAX);
}

/* 0.0 is added so that the two zeros have one form. */
static void put_price(msgpack_packer *k, double price)
{
    if (price >= 0)
        msgpack_pack_double(k, price + 0.0);
    else
        msgpack_pack_nil(k);
}

/* Wishes of none are nil, as no price is. */
static void put_quantiles(msgpack_packer *k, const double v[PST_QUANTILES])
{
    pst_put_array(k, PST_QUANTILES);
    for (int i = 0; i < PST_QUANTILES; i++)
        put_price(k, v[i] > 0 ? v[i] : -1);
}

void pst_route_encode(const pst_route_t *r, pst_buf_t *out)
{
    msgpack_packer k = pst_put_into(out);
    pst_put_array(&k, FIELDS);
    put_names(&k, &r->models, PST_ROUTE_MODELS_MAX);
    put_names(&k, &r->order, PST_ROUTE_NAMES_MAX);
    put_names(&k, &r->only, PST_ROUTE_NAMES_MAX);
    put_names(&k, &r->ignore, PST_ROUTE_NAMES_MAX);
    put_names(&k, &r->quantizations, PST_ROUTE_NAMES_MAX);
    pst_put_bool(&k, r->allow_fallbacks);
    pst_put_bool(&k, r->require_parameters);
    pst_put_bool(&k, r->deny_data_collection);
    pst_put_bool(&k, r->zdr);
    pst_put_uint(&k, r->sort);
    put_price(&k, r->max_price_prompt);
    put_price(&k, r->max_price_completion);
    put_price(&k, r->max_price_request);
    pst_put_uint(&k, r->params);
    pst_put_bool(&k, r->across_models);
    put_quantiles(&k, r->min_throughput);
    put_quantiles(&k, r->max_latency);
}

static pst_names_t read_names(pst_fields_t *f, pst_arena_t *a, uint32_t max)
{
    pst_names_t names;
    void *v;
    pst_fields_t list = pst_field_list(f, a, max, sizeof *names.v, &v);
    names.v = v;
    names.n = list.n;
    for (uint32_t i = 0; i < names.n; i++)
        names.v[i] = pst_field_str(&list, PST_NAME_BYTES_MAX);
    return names;
}

static double read_price(pst_fields_t *f)
{
    const msgpack_object *o = pst_field(f);
    if (o->type == MSGPACK_OBJECT_NIL)
        return -1;
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return (double)o->via.u64;
    bool is_float = o->type == MSGPACK_OBJECT_FLOAT64 || o->type == MSGPACK_OBJECT_FLOAT32;
    if (is_float && isfinite(o->via.f64) && o->via.f64 >= 0)
        return o->via.f64;
    pst_tree_fail(f->tree, PST_E_MALFORMED);
    return -1;
}

static void read_quantiles(pst_fields_t *f, double ret[PST_QUANTILES])
{
    pst_fields_t list = pst_field_array(f);
    for (int i = 0; i < PST_QUANTILES; i++) {
        double v = read_price(&list);
        ret[i] = v > 0 ? v : 0;
    }
}

static void read_route(pst_fields_t *f, pst_arena_t *a, pst_route_t *r)
{
    r->models = read_names(f, a, PST_ROUTE_MODELS_MAX);
    r->order = read_names(f, a, PST_ROUTE_NAMES_MAX);
    r->only = read_names(f, a, PST_ROUTE_NAMES_MAX);
    r->ignore = read_names(f, a, PST_ROUTE_NAMES_MAX);
    r->quantizations = read_names(f, a, PST_ROUTE_NAMES_MAX);
    r->allow_fallbacks = pst_field_bool(f);
    r->require_parameters = pst_field_bool(f);
    r->deny_data_collection = pst_field_bool(f);
    r->zdr = pst_field_bool(f);
    r->sort = (uint8_t)pst_field_uint(f, PST_SORT_LATENCY);
    r->max_price_prompt = read_price(f);
    r->max_price_completion = read_price(f);
    r->max_price_request = read_price(f);
    r->params = pst_field_u32(f);
    r->across_models = false;
    memset(r->min_throughput, 0, sizeof r->min_throughput);
    memset(r->max_latency, 0, sizeof r->max_latency);
    if (f->n == 0)
        return; /* written before there were such wishes */
    r->across_models = pst_field_bool(f);
    read_quantiles(f, r->min_throughput);
    read_quantiles(f, r->max_latency);
}

pst_err_t pst_route_decode(pst_view_t bytes, pst_arena_t *a, pst_route_t *ret)
{
    if (bytes.n > PST_ROUTE_BYTES_MAX)
        return PST_E_MALFORMED;
    pst_tree_t t;
    pst_route_t r;
    pst_fields_t f = pst_tree_parse(&t, bytes, true);
    read_route(&f, a, &r);
    pst_tree_release(&t);
    if (t.err == PST_OK)
        *ret = r;
    return t.err == PST_E_TOO_LARGE ? PST_E_MALFORMED : t.err;
}
