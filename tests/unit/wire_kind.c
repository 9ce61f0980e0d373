#include "wire_kind.h"

#include <ctype.h>
#include <stdio.h>

/* Each with the types that a kind_t wants. */
#define KIND(prefix, T)                                                                            \
    static void prefix##_put(const void *v, pst_buf_t *out)                                        \
    {                                                                                              \
        pst_##prefix##_encode((const T *)v, out);                                                  \
    }                                                                                              \
    static pst_err_t prefix##_get(pst_view_t bytes, pst_arena_t *a, void *ret)                     \
    {                                                                                              \
        return pst_##prefix##_decode(bytes, a, (T *)ret);                                          \
    }

KIND(msg, pst_msg_t)
KIND(route, pst_route_t)
KIND(pack_headers, pst_pack_headers_t)
KIND(result_pack, pst_result_pack_t)
KIND(batch_info, pst_batch_info_t)

static void msg_text(const void *v, pst_buf_t *out)
{
    dump_msg(v, out);
}

static void route_text(const void *v, pst_buf_t *out)
{
    dump_route(v, out);
}

static void headers_text(const void *v, pst_buf_t *out)
{
    dump_headers(v, out);
}

static void results_text(const void *v, pst_buf_t *out)
{
    dump_result_pack(v, out);
}

static void info_text(const void *v, pst_buf_t *out)
{
    dump_batch_info(v, out);
}

static const kind_t carried[] = {
    {"values/route", 0, route_put, route_get, route_text},
    {"values/pack_headers", 0, pack_headers_put, pack_headers_get, headers_text},
    {"values/result_pack", 0, result_pack_put, result_pack_get, results_text},
    {"values/batch_info", 0, batch_info_put, batch_info_get, info_text},
};

bool kind_at(unsigned i, kind_t *ret)
{
    if (i >= sample_types_n) {
        i -= sample_types_n;
        if (i < PST_COUNT(carried))
            *ret = carried[i];
        return i < PST_COUNT(carried);
    }
    *ret =
        (kind_t){.type = sample_types[i], .encode = msg_put, .decode = msg_get, .dump = msg_text};
    snprintf(ret->name, sizeof ret->name, "messages/%s", pst_msg_name(ret->type));
    for (char *p = ret->name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return true;
}

bool kind_find(pst_view_t name, kind_t *ret)
{
    unsigned i = 0;
    while (kind_at(i, ret) && !pst_view_eqs(name, ret->name))
        i++;
    return kind_at(i, ret);
}

void kind_sample(const kind_t *k, sample_t *s, thing_t *ret)
{
    if (k->type)
        sample_msg(s, (pst_msg_type_t)k->type, &ret->msg);
    else if (k->encode == route_put)
        sample_route(s, &ret->route);
    else if (k->encode == pack_headers_put)
        sample_headers(s, &ret->headers);
    else if (k->encode == result_pack_put)
        sample_result_pack(s, &ret->results);
    else
        sample_batch_info(s, &ret->info);
}
