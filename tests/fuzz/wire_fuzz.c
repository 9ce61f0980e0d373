/* wire_fuzz.c - everything in proto/wire that reads bytes.  The first byte chooses the decoder, the
 * rest is read.
 *
 * What decodes must also pass pst_wire_check, take memory in proportion to its bytes, be encodable
 * within the limits, and mean the same when it is read again: its encoding's encoding is the same
 * bytes. */
#include "fuzz.h"
#include "wire/msg.h"

typedef union thing {
    pst_msg_t msg;
    pst_route_t route;
    pst_pack_headers_t headers;
    pst_result_pack_t results;
    pst_batch_info_t info;
} thing_t;

typedef enum kind {
    KIND_MSG,
    KIND_ROUTE,
    KIND_HEADERS,
    KIND_RESULTS,
    KIND_INFO,
    KIND_COUNT
} kind_t;

static pst_err_t decode(kind_t kind, pst_view_t v, pst_arena_t *a, thing_t *ret)
{
    switch (kind) {
    case KIND_MSG: return pst_msg_decode(v, a, &ret->msg);
    case KIND_ROUTE: return pst_route_decode(v, a, &ret->route);
    case KIND_HEADERS: return pst_pack_headers_decode(v, a, &ret->headers);
    case KIND_RESULTS: return pst_result_pack_decode(v, a, &ret->results);
    case KIND_INFO:
    case KIND_COUNT: break;
    }
    return pst_batch_info_decode(v, a, &ret->info);
}

static void encode(kind_t kind, const thing_t *t, pst_buf_t *out)
{
    switch (kind) {
    case KIND_MSG: pst_msg_encode(&t->msg, out); break;
    case KIND_ROUTE: pst_route_encode(&t->route, out); break;
    case KIND_HEADERS: pst_pack_headers_encode(&t->headers, out); break;
    case KIND_RESULTS: pst_result_pack_encode(&t->results, out); break;
    case KIND_INFO:
    case KIND_COUNT: pst_batch_info_encode(&t->info, out); break;
    }
    PST_ASSERT(!out->failed);
}

static void check_again(kind_t kind, const thing_t *t)
{
    pst_buf_t once, twice;
    pst_arena_t a;
    thing_t again;
    pst_buf_init(&once, 0);
    pst_buf_init(&twice, 0);
    pst_arena_init(&a, 0);
    encode(kind, t, &once);
    PST_ASSERT(decode(kind, pst_buf_view(&once), &a, &again) == PST_OK);
    encode(kind, &again, &twice);
    PST_ASSERT(pst_view_eq(pst_buf_view(&once), pst_buf_view(&twice)));
    pst_arena_release(&a);
    pst_buf_release(&twice);
    pst_buf_release(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    kind_t kind = (kind_t)(data[0] % KIND_COUNT);
    pst_view_t v = pst_view(data + 1, size - 1);
    pst_arena_t a;
    thing_t t;
    pst_arena_init(&a, 0);
    pst_err_t checked = pst_wire_check(v);
    pst_err_t e = decode(kind, v, &a, &t);
    PST_ASSERT(checked == PST_OK || checked == PST_E_MALFORMED);
    PST_ASSERT(e == PST_OK || e == PST_E_MALFORMED || e == PST_E_TOO_LARGE ||
               (e == PST_E_VERSION && kind == KIND_MSG));
    /* The smallest record on the wire becomes a struct of a dozen times its size; arenas round up
     * to chunks. */
    PST_ASSERT(a.bytes <= 16 * size + (128 << 10));
    if (e == PST_OK) {
        PST_ASSERT(checked == PST_OK || kind == KIND_ROUTE); /* routes alone have floats */
        check_again(kind, &t);
    }
    pst_arena_release(&a);
    return 0;
}
