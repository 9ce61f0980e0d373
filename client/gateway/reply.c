#include "gateway/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "gateway/anthropic.h"
#include "gateway/openrouter.h"
#include "lib/text.h"

void pst_reply_json_status(pst_req_t *r, unsigned status, pst_buf_t *b)
{
    if (b->failed) {
        pst_buf_release(b);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    pst_req_reply(r, status, PST_JSON_TYPE, b);
}

void pst_reply_json(pst_req_t *r, pst_buf_t *b)
{
    pst_reply_json_status(r, 200, b);
}

static const char *openai_type(unsigned status)
{
    switch (status) {
    case 402: return "insufficient_quota";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error"; /* a key that is wrong is an invalid request */
    }
}

static void put_openai(pst_buf_t *b, unsigned status, const char *code, const char *param, pst_view_t message)
{
    pst_buf_puts(b, "{\"error\":{");
    pst_json_put_key(b, "message");
    pst_json_put_str(b, message);
    pst_member_str(b, "type", openai_type(status));
    pst_member_str(b, "param", param);
    pst_member_str(b, "code", code);
    pst_buf_puts(b, "}}");
}

static void put_openrouter(pst_buf_t *b, unsigned status, const char *code, pst_view_t message)
{
    char metadata[128] = "";
    if (code) /* one of our words: nothing in it needs an escape */
        snprintf(metadata, sizeof metadata, "{\"error_type\":\"%s\"}", code);
    pst_openrouter_put_error(b, (int)status, message, pst_view_str(metadata));
}

void pst_error_body(pst_buf_t *b, pst_dialect_t dialect, unsigned status, const char *code, const char *param,
                    pst_view_t message, const char *request_id)
{
    switch (dialect) {
    case PST_DIALECT_OPENAI: put_openai(b, status, code, param, message); break;
    case PST_DIALECT_OPENROUTER: put_openrouter(b, status, code, message); break;
    case PST_DIALECT_ANTHROPIC: pst_anthropic_error((int)status, message, pst_view_str(request_id), b); break;
    }
}

void pst_reply_error(pst_req_t *r, unsigned status, const char *code, const char *param, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_error_body(&b, r->dialect, status, code, param, pst_view_str(message), r->id);
    if (status == 503)
        pst_req_answer_header(r, "retry-after", "1");
    pst_req_reply(r, status, PST_JSON_TYPE, &b);
}

void pst_reply_not_found(pst_req_t *r, const char *what, pst_view_t id)
{
    pst_reply_error(r, 404, NULL, "id", "No such %s: '%.*s' was not found.", what, (int)PST_MIN(id.n, 100u), id.p);
}

void pst_reply_away(pst_req_t *r)
{
    pst_reply_error(r, 503, "service_unavailable", NULL, "Redis or the broker does not answer: ask again in a moment.");
}

void pst_reply_full(pst_req_t *r)
{
    pst_reply_error(r, 503, "storage_full", NULL, "Redis has no room for more: delete files and batches, or raise "
                    "redis.maxmemory.");
}

void pst_reply_err(pst_req_t *r, pst_err_t e, pst_view_t words)
{
    if (words.n == 0)
        words = pst_view_str(pst_err_text(e));
    int n = (int)PST_MIN(words.n, 500u);
    if (e == PST_E_NOT_FOUND)
        pst_reply_error(r, 404, NULL, NULL, "No such batch was found: %.*s", n, words.p);
    else if (e == PST_E_MODEL_NOT_FOUND)
        pst_reply_error(r, 404, "model_not_found", "model", "%.*s", n, words.p);
    else if (e == PST_E_PARKED)
        pst_reply_error(r, 503, "provider_unavailable", "model", "%.*s", n, words.p);
    else if (e == PST_E_STATE || e == PST_E_EXISTS)
        pst_reply_error(r, 409, NULL, NULL, "%.*s", n, words.p);
    else if (e == PST_E_INVALID || e == PST_E_INPUT || e == PST_E_TOO_LARGE)
        pst_reply_error(r, 400, NULL, NULL, "%.*s", n, words.p);
    else
        pst_reply_error(r, 503, "service_unavailable", NULL, "%.*s", n, words.p);
}
