/* result.c - packs of ended jobs, as they are stored and as clients get them.  Written once a job
 * and read once: read by the cursor. */
#include "wire/cursor.h"
#include "wire/put.h"

#define FIELDS 3
#define RESULT_FIELDS 19
#define ATTEMPT_FIELDS 4
/* An endpoint is named by 16 bits, of which the last value says "none"; a blob by 16 bits. */
#define ENDPOINTS_MAX UINT16_MAX
#define BLOBS_MAX (UINT16_MAX + 1u)

static void put_attempts(msgpack_packer *k, const pst_result_t *r)
{
    if (!pst_put_list(k, r->attempts_n, PST_HISTORY_MAX))
        return;
    for (uint32_t i = 0; i < r->attempts_n; i++) {
        const pst_attempt_t *t = &r->attempts[i];
        pst_put_array(k, ATTEMPT_FIELDS);
        pst_put_uint(k, t->endpoint);
        pst_put_uint(k, t->http_status);
        pst_put_uint(k, t->cause);
        pst_put_uint(k, t->latency_ms);
    }
}

static void put_result(msgpack_packer *k, const pst_result_t *r)
{
    pst_put_array(k, RESULT_FIELDS + (r->dropped != 0));
    pst_put_uint(k, r->index);
    pst_put_str_or_nil(k, r->custom_id, PST_CUSTOM_ID_BYTES_MAX);
    pst_put_uint(k, r->status);
    pst_put_uint(k, r->cause);
    pst_put_uint(k, r->http_status);
    pst_put_uint(k, r->endpoint);
    pst_put_uint(k, r->cost_nano);
    pst_put_uint(k, r->input_tokens);
    pst_put_uint(k, r->cached_tokens);
    pst_put_uint(k, r->output_tokens);
    pst_put_uint(k, r->queued_ms);
    pst_put_uint(k, r->latency_ms);
    pst_put_str(k, r->request_id, PST_REQUEST_ID_BYTES_MAX);
    pst_put_str(k, r->message, PST_MESSAGE_BYTES_MAX);
    pst_put_uint(k, r->line);
    pst_put_uint(k, r->blob);
    pst_put_uint(k, r->body_offset);
    pst_put_uint(k, r->body_bytes);
    put_attempts(k, r);
    if (r->dropped)
        pst_put_uint(k, r->dropped);
}

#define RESULT_BYTES_GUESS 96 /* without its body */

static size_t guess_bytes(const pst_result_pack_t *p)
{
    size_t n = RESULT_BYTES_GUESS * ((size_t)p->results_n + 1);
    for (uint32_t i = 0; p->blobs_n <= BLOBS_MAX && i < p->blobs_n; i++)
        n += p->blobs[i].bytes.n;
    return n;
}

void pst_result_pack_encode(const pst_result_pack_t *p, pst_buf_t *out)
{
    pst_buf_expect(out, guess_bytes(p));
    msgpack_packer k = pst_put_into(out);
    pst_put_array(&k, FIELDS);
    if (!pst_put_list(&k, p->endpoints_n, ENDPOINTS_MAX))
        return;
    for (uint32_t i = 0; i < p->endpoints_n; i++)
        pst_put_endpoint(&k, &p->endpoints[i]);
    if (!pst_put_list(&k, p->results_n, PST_SEGMENT_JOBS_MAX))
        return;
    for (uint32_t i = 0; i < p->results_n; i++)
        put_result(&k, &p->results[i]);
    if (!pst_put_list(&k, p->blobs_n, BLOBS_MAX))
        return;
    for (uint32_t i = 0; i < p->blobs_n; i++)
        pst_put_blob(&k, &p->blobs[i]);
}

static void read_attempt(pst_in_t *c, pst_attempt_t *t)
{
    uint32_t extra = pst_in_open(c, ATTEMPT_FIELDS);
    t->endpoint = pst_in_u16(c);
    t->http_status = pst_in_u16(c);
    t->cause = pst_in_u8(c, UINT8_MAX);
    t->latency_ms = pst_in_u32(c);
    pst_in_close(c, extra);
}

static void read_result(pst_in_t *c, pst_arena_t *a, pst_result_t *r)
{
    uint32_t extra = pst_in_open(c, RESULT_FIELDS);
    r->index = pst_in_u32(c);
    r->custom_id = pst_in_str_or_nil(c, PST_CUSTOM_ID_BYTES_MAX);
    r->status = pst_in_u8(c, PST_JOB_CANCELLED);
    r->cause = pst_in_u8(c, UINT8_MAX);
    r->http_status = pst_in_u16(c);
    r->endpoint = pst_in_u16(c);
    r->cost_nano = pst_in_uint(c, UINT64_MAX);
    r->input_tokens = pst_in_u32(c);
    r->cached_tokens = pst_in_u32(c);
    r->output_tokens = pst_in_u32(c);
    r->queued_ms = pst_in_uint(c, UINT64_MAX);
    r->latency_ms = pst_in_u32(c);
    r->request_id = pst_in_str(c, PST_REQUEST_ID_BYTES_MAX);
    r->message = pst_in_str(c, PST_MESSAGE_BYTES_MAX);
    r->line = pst_in_u32(c);
    r->blob = pst_in_u16(c);
    r->body_offset = pst_in_u32(c);
    r->body_bytes = pst_in_u32(c);
    r->attempts = pst_in_list(c, a, PST_HISTORY_MAX, 1 + ATTEMPT_FIELDS, sizeof *r->attempts,
                              &r->attempts_n);
    for (uint32_t i = 0; i < r->attempts_n; i++)
        read_attempt(c, &r->attempts[i]);
    pst_in_close(c, 0);
    r->dropped = extra ? pst_in_u32(c) : 0;
    pst_in_close(c, extra ? extra - 1 : 0);
    if (r->status == PST_JOB_NONE)
        pst_in_fail(c, PST_E_MALFORMED);
}

static bool endpoint_fits(const pst_result_pack_t *p, uint16_t endpoint)
{
    return endpoint < p->endpoints_n || endpoint == PST_NO_ENDPOINT;
}

/* Everything a result names is there, so that a reader need not ask again. */
static bool result_fits(const pst_result_pack_t *p, const pst_result_t *r)
{
    if (!endpoint_fits(p, r->endpoint))
        return false;
    for (uint32_t i = 0; i < r->attempts_n; i++) {
        if (!endpoint_fits(p, r->attempts[i].endpoint))
            return false;
    }
    if (r->body_bytes == 0)
        return true;
    return r->blob < p->blobs_n &&
           (uint64_t)r->body_offset + r->body_bytes <= p->blobs[r->blob].text_bytes;
}

pst_err_t pst_result_pack_decode(pst_view_t bytes, pst_arena_t *a, pst_result_pack_t *ret)
{
    if (bytes.n > PST_FRAME_BYTES_MAX)
        return PST_E_TOO_LARGE;
    pst_in_t c;
    pst_result_pack_t p;
    pst_in_init(&c, bytes);
    uint32_t extra = pst_in_open(&c, FIELDS);
    p.endpoints = pst_in_endpoints(&c, a, ENDPOINTS_MAX, &p.endpoints_n);
    p.results = pst_in_list(&c, a, PST_SEGMENT_JOBS_MAX, 1 + RESULT_FIELDS, sizeof *p.results,
                            &p.results_n);
    for (uint32_t i = 0; i < p.results_n; i++)
        read_result(&c, a, &p.results[i]);
    pst_in_close(&c, 0);
    p.blobs = pst_in_list(&c, a, BLOBS_MAX, 4, sizeof *p.blobs, &p.blobs_n);
    for (uint32_t i = 0; i < p.blobs_n; i++)
        p.blobs[i] = pst_in_blob(&c);
    pst_in_close(&c, 0);
    pst_in_close(&c, extra);
    pst_err_t e = pst_in_end(&c);
    for (uint32_t i = 0; e == PST_OK && i < p.results_n; i++) {
        if (!result_fits(&p, &p.results[i]))
            e = PST_E_MALFORMED;
    }
    if (e == PST_OK)
        *ret = p;
    return e;
}
