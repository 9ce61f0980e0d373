/* Message Batches: requests as lines of ours, batches and their results in Anthropic's words. */
#include <stdio.h>
#include <time.h>

#include "gateway/anthropic_inside.h"
#include "lib/text.h"

#define CUSTOM_ID_CHARS_MAX 64

/* ---- requests ---- */

static bool is_custom_id(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return v.n > 0 && v.n <= CUSTOM_ID_CHARS_MAX;
}

static pst_err_t check_element(const pst_json_t *j, unsigned long long index, pst_errbuf_t *why)
{
    uint32_t id = pst_json_get(j, 0, "custom_id");
    if (!pst_json_is(j, 0, PST_JSON_OBJECT))
        return pst_errf(why, PST_E_INVALID, "requests.%llu: must be an object", index);
    if (id == PST_JSON_NONE)
        return pst_errf(why, PST_E_INVALID, "requests.%llu.custom_id: is required", index);
    if (!is_custom_id(pst_splice_inside(j, id)))
        return pst_errf(why, PST_E_INVALID, "requests.%llu.custom_id: must be 1 to 64 letters, digits, _ and -", index);
    if (!pst_json_is(j, pst_json_get(j, 0, "params"), PST_JSON_OBJECT))
        return pst_errf(why, PST_E_INVALID, "requests.%llu.params: must be an object", index);
    return PST_OK;
}

pst_err_t pst_anthropic_batch_line(pst_anthropic_t *x, pst_view_t element, uint64_t index, pst_buf_t *out,
                                   pst_errbuf_t *why)
{
    char place[64];
    const pst_json_t *j = &x->json;
    pst_arena_clear(&x->arena);
    pst_err_t e = pst_json_parse(&x->json, element, NULL);
    if (e == PST_E_INVALID)
        return pst_errf(why, e, "requests.%llu: is not JSON", (unsigned long long)index);
    if (!e)
        e = check_element(j, index, why);
    if (e)
        return e;
    pst_buf_putc(out, '{');
    pst_splice_put_member(out, "custom_id", j, pst_json_get(j, 0, "custom_id"));
    pst_member_str(out, "method", "POST");
    pst_member_str(out, "url", pst_url_text(PST_URL_CHAT));
    pst_json_put_key(out, "body");
    snprintf(place, sizeof place, "requests.%llu.params.", (unsigned long long)index);
    e = pst_anthropic_put_request(x, pst_json_get(j, 0, "params"), PST_ANTHROPIC_BATCH, place, out, why);
    if (e)
        return e;
    pst_buf_putc(out, '}');
    return out->failed ? PST_E_NOMEM : PST_OK;
}

/* ---- batches ---- */

static const char ours[] = "batch_", theirs[] = "msgbatch_";

pst_err_t pst_anthropic_batch_id(pst_view_t text, pst_id_t *ret)
{
    char own[PST_BATCH_TEXT_LEN];
    size_t n = sizeof theirs - 1, own_n = sizeof ours - 1;
    if (text.n != PST_ANTHROPIC_BATCH_TEXT_LEN || memcmp(text.p, theirs, n) != 0)
        return PST_E_INVALID;
    memcpy(own, ours, own_n);
    memcpy(own + own_n, text.p + n, text.n - n);
    return pst_id_parse(pst_view(own, sizeof own), ret);
}

/* The text of an id of ours without its quotes. */
static void put_batch_id(pst_buf_t *b, const char *id)
{
    pst_buf_puts(b, theirs);
    pst_buf_puts(b, id + sizeof ours - 1);
}

static void put_id_member(pst_buf_t *b, const char *key, const char *id)
{
    pst_json_put_key(b, key);
    pst_buf_putc(b, '"');
    put_batch_id(b, id);
    pst_buf_putc(b, '"');
}

/* RFC 3339; null for "not yet". */
static void put_time(pst_buf_t *b, const char *key, uint64_t ms)
{
    char text[40];
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    pst_json_put_key(b, key);
    if (ms && gmtime_r(&s, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm))
        pst_buf_printf(b, "\"%s.%03uZ\"", text, (unsigned)(ms % 1000));
    else
        pst_buf_puts(b, "null");
}

static void put_counts(pst_buf_t *b, const pst_batch_t *x)
{
    uint64_t over = x->completed + x->failed + x->cancelled + x->expired;
    uint64_t done = x->ended ? UINT64_MAX : 0;
    pst_buf_puts(b, ",\"request_counts\":{");
    pst_member_uint(b, "processing", x->ended ? x->jobs - PST_MIN(over, x->jobs) : x->jobs);
    pst_member_uint(b, "succeeded", x->completed & done);
    pst_member_uint(b, "errored", x->failed & done);
    pst_member_uint(b, "canceled", x->cancelled & done);
    pst_member_uint(b, "expired", x->expired & done);
    pst_buf_putc(b, '}');
}

static void put_results_url(pst_buf_t *b, const pst_batch_t *x, pst_view_t base)
{
    pst_json_put_key(b, "results_url");
    if (!x->ended) {
        pst_buf_puts(b, "null");
        return;
    }
    pst_json_put_str(b, base);
    b->n -= !b->failed;
    pst_buf_puts(b, "/v1/messages/batches/");
    put_batch_id(b, x->id);
    pst_buf_puts(b, "/results\"");
}

void pst_anthropic_batch(const pst_batch_t *x, pst_view_t base, pst_buf_t *out)
{
    const char *status = x->ended ? "ended" : x->cancelling_ms ? "canceling" : "in_progress";
    pst_buf_putc(out, '{');
    put_id_member(out, "id", x->id);
    pst_member_str(out, "type", "message_batch");
    pst_member_str(out, "processing_status", status);
    put_counts(out, x);
    put_time(out, "ended_at", x->ended ? x->ended_ms : 0);
    put_time(out, "created_at", x->created_ms);
    put_time(out, "expires_at", x->expires_ms);
    put_time(out, "archived_at", 0);
    put_time(out, "cancel_initiated_at", x->cancelling_ms);
    put_results_url(out, x, base);
    pst_buf_putc(out, '}');
}

static void put_end(pst_buf_t *b, const char *key, const pst_batch_list_t *l, size_t at)
{
    if (at < l->n)
        put_id_member(b, key, l->v[at].id);
    else
        pst_member_str(b, key, NULL);
}

void pst_anthropic_batch_list(const pst_batch_list_t *l, pst_view_t base, pst_buf_t *out)
{
    pst_buf_puts(out, "{\"data\":[");
    for (size_t i = 0; i < l->n; i++) {
        pst_json_put_comma(out);
        pst_anthropic_batch(&l->v[i], base, out);
    }
    pst_buf_puts(out, l->more ? "],\"has_more\":true" : "],\"has_more\":false");
    put_end(out, "first_id", l, 0);
    put_end(out, "last_id", l, l->n - 1);
    pst_buf_putc(out, '}');
}

void pst_anthropic_batch_deleted(const pst_id_t *batch, pst_buf_t *out)
{
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(batch, id);
    pst_buf_putc(out, '{');
    put_id_member(out, "id", id);
    pst_member_str(out, "type", "message_batch_deleted");
    pst_buf_putc(out, '}');
}

/* ---- results ---- */

static void put_errored(int status, pst_view_t message, pst_view_t request_id, pst_buf_t *out)
{
    pst_buf_puts(out, "{\"type\":\"errored\",\"error\":");
    pst_anthropic_error(status, message, request_id, out);
    pst_buf_putc(out, '}');
}

/* What the provider answered, or why none did. */
static void put_failure(pst_anthropic_t *x, uint32_t response, pst_buf_t *out)
{
    const pst_json_t *j = &x->json;
    uint32_t body = pst_json_get(j, response, "body"), cause = pst_json_path(j, 0, "penstock", "error_type", NULL);
    pst_view_t request_id = pst_json_str(j, pst_json_get(j, response, "request_id"), &x->arena);
    pst_view_t message = pst_anthropic_message_of(x, response == PST_JSON_NONE ? 0 : body);
    int64_t status;
    if (!pst_json_int(j, pst_json_get(j, response, "status_code"), &status) || status < 400 || status > 599)
        status = pst_anthropic_error_status(pst_splice_inside(j, cause));
    put_errored((int)status, message.n ? message : PST_VIEW_LIT("the request failed"), request_id, out);
}

static pst_err_t put_success(pst_anthropic_t *x, uint32_t response, pst_buf_t *out)
{
    const pst_json_t *j = &x->json;
    size_t before = out->n;
    pst_buf_puts(out, "{\"type\":\"succeeded\",\"message\":");
    pst_err_t e = pst_anthropic_put_message(x, pst_json_get(j, response, "body"),
                                            pst_splice_inside(j, pst_json_get(j, 0, "id")), out);
    if (!e) {
        pst_buf_putc(out, '}');
    } else if (e == PST_E_MALFORMED) {
        out->n = before;
        put_errored(500, PST_VIEW_LIT("the answer is not that of a chat"), pst_view(NULL, 0), out);
        e = PST_OK;
    }
    return e;
}

pst_err_t pst_anthropic_result(pst_anthropic_t *x, pst_view_t line, pst_buf_t *out)
{
    const pst_json_t *j = &x->json;
    pst_arena_clear(&x->arena);
    pst_err_t e = pst_json_parse(&x->json, line, NULL);
    uint32_t status = e ? PST_JSON_NONE : pst_json_path(j, 0, "penstock", "status", NULL);
    if (e == PST_E_INVALID || (!e && !pst_splice_has_text(j, status)))
        return PST_E_MALFORMED;
    if (e)
        return e;
    uint32_t id = pst_json_get(j, 0, "custom_id"), response = pst_splice_member(j, 0, "response");
    pst_buf_putc(out, '{');
    if (pst_json_is(j, id, PST_JSON_STRING))
        pst_splice_put_member(out, "custom_id", j, id);
    else
        pst_member_str(out, "custom_id", NULL);
    pst_json_put_key(out, "result");
    if (pst_splice_is(j, status, pst_job_status_text(PST_JOB_COMPLETED)))
        e = put_success(x, response, out);
    else if (pst_splice_is(j, status, pst_job_status_text(PST_JOB_EXPIRED)))
        pst_buf_puts(out, "{\"type\":\"expired\"}");
    else if (pst_splice_is(j, status, pst_job_status_text(PST_JOB_CANCELLED)))
        pst_buf_puts(out, "{\"type\":\"canceled\"}");
    else
        put_failure(x, response, out);
    pst_buf_putc(out, '}');
    return e ? e : out->failed ? PST_E_NOMEM : PST_OK;
}
