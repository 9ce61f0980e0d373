/* headers.c - the jobs of a pack without their bodies.  256 records a message on the way in, and
 * again at each start of the broker: read by the cursor. */
#include "wire/cursor.h"
#include "wire/put.h"

#define FIELDS 5
#define JOB_FIELDS 9

static void put_job(msgpack_packer *k, const pst_job_header_t *j)
{
    pst_put_array(k, JOB_FIELDS);
    pst_put_uint(k, j->index);
    pst_put_str_or_nil(k, j->custom_id, PST_CUSTOM_ID_BYTES_MAX);
    pst_put_uint(k, j->input_tokens);
    pst_put_uint(k, j->output_tokens);
    pst_put_uint(k, j->body_bytes);
    pst_put_uint(k, j->prefix);
    pst_put_uint(k, j->reject);
    pst_put_uint(k, j->line);
    pst_put_str(k, j->message, PST_MESSAGE_BYTES_MAX);
}

void pst_pack_headers_encode(const pst_pack_headers_t *h, pst_buf_t *out)
{
    msgpack_packer k = pst_put_into(out);
    pst_put_array(&k, FIELDS);
    pst_put_uint(&k, h->url);
    pst_put_bin(&k, h->route, PST_ROUTE_BYTES_MAX);
    pst_put_uint(&k, h->codec);
    pst_put_uint(&k, h->text_bytes);
    if (!pst_put_list(&k, h->jobs_n, PST_PACK_JOBS_MAX))
        return;
    for (uint32_t i = 0; i < h->jobs_n; i++)
        put_job(&k, &h->jobs[i]);
}

static void read_job(pst_in_t *c, pst_job_header_t *j)
{
    uint32_t extra = pst_in_open(c, JOB_FIELDS);
    j->index = pst_in_u32(c);
    j->custom_id = pst_in_str_or_nil(c, PST_CUSTOM_ID_BYTES_MAX);
    j->input_tokens = pst_in_u32(c);
    j->output_tokens = pst_in_u32(c);
    j->body_bytes = pst_in_u32(c);
    j->prefix = pst_in_uint(c, UINT64_MAX);
    j->reject = pst_in_u8(c, UINT8_MAX);
    j->line = pst_in_u32(c);
    j->message = pst_in_str(c, PST_MESSAGE_BYTES_MAX);
    pst_in_close(c, extra);
}

/* Every job that can be sent has a name, indexes rise, and the bodies are as long as the text. */
static bool jobs_fit(const pst_pack_headers_t *h)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < h->jobs_n; i++) {
        const pst_job_header_t *j = &h->jobs[i];
        if (!j->custom_id.p && !j->reject)
            return false;
        if (i > 0 && j->index <= h->jobs[i - 1].index)
            return false;
        bytes += j->body_bytes;
    }
    return h->jobs_n > 0 && bytes == h->text_bytes;
}

pst_err_t pst_pack_headers_decode(pst_view_t bytes, pst_arena_t *a, pst_pack_headers_t *ret)
{
    if (bytes.n > PST_HEADERS_BYTES_MAX)
        return PST_E_TOO_LARGE;
    pst_in_t c;
    pst_pack_headers_t h;
    pst_in_init(&c, bytes);
    uint32_t extra = pst_in_open(&c, FIELDS);
    h.url = pst_in_u8(&c, PST_URL_COUNT - 1);
    h.route = pst_in_bin(&c, PST_ROUTE_BYTES_MAX);
    h.codec = pst_in_u8(&c, PST_CODEC_LZ4);
    h.text_bytes = pst_in_u32(&c);
    h.jobs = pst_in_list(&c, a, PST_PACK_JOBS_MAX, 1 + JOB_FIELDS, sizeof *h.jobs, &h.jobs_n);
    for (uint32_t i = 0; i < h.jobs_n; i++)
        read_job(&c, &h.jobs[i]);
    pst_in_close(&c, 0);
    pst_in_close(&c, extra);
    pst_err_t e = pst_in_end(&c);
    if (e != PST_OK)
        return e;
    if (h.text_bytes > PST_LINE_BYTES_MAX)
        return PST_E_TOO_LARGE;
    if (!jobs_fit(&h))
        return PST_E_MALFORMED;
    *ret = h;
    return PST_OK;
}
