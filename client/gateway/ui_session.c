/* ui_session.c - the page's key in a cookie that no script reads.  The cookie's value is the key itself: nothing is kept of
 * a session, any gateway knows it, and a key that is revoked ends it. */
#include <stdio.h>

#include "base/json.h"
#include "gateway/parts.h"
#include "gateway/ui.h"
#include "lib/text.h"

#define SESSION_S (30u * 86400u)
#define KEY_BYTES_MAX 1024u

static void set_cookie(pst_req_t *r, const char *key, unsigned seconds)
{
    char text[KEY_BYTES_MAX + 128];
    const char *proto = pst_req_header(r, "x-forwarded-proto");
    bool secure = proto && strcasecmp(proto, "https") == 0;
    snprintf(text, sizeof text, PST_KEY_COOKIE "=%s; HttpOnly; SameSite=Strict; Path=/; Max-Age=%u%s", key, seconds,
             secure ? "; Secure" : "");
    pst_req_answer_header(r, "set-cookie", text);
}

static void reply_session(pst_req_t *r, const pst_key_t *key)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_printf(&b, "{\"needs_key\":%s", pst_caller_needs_key(r) ? "true" : "false");
    pst_member_str(&b, "tenant", key && *key->tenant ? key->tenant : NULL);
    pst_buf_putc(&b, '}');
    pst_req_answer_header(r, "cache-control", "no-store");
    pst_reply_json(r, &b);
}

void pst_ui_session_show(pst_req_t *r)
{
    const pst_key_t *key = NULL;
    if (pst_caller_find(r, NULL, &key))
        key = NULL;
    reply_session(r, key);
    pst_keys_drop(pst_gw(r)->keys, &key);
}

void pst_ui_session_end(pst_req_t *r)
{
    set_cookie(r, "", 0);
    reply_session(r, NULL);
}

/* A cookie takes no spaces, quotes, commas, semicolons and backslashes. */
static bool fits_a_cookie(pst_view_t key)
{
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] <= ' ' || key.p[i] > '~' || strchr("\",;\\", key.p[i]))
            return false;
    }
    return key.n > 0 && key.n <= KEY_BYTES_MAX;
}

/* Another site's page may not sign somebody in. */
static bool is_of_another_site(const pst_req_t *r)
{
    const char *site = pst_req_header(r, "sec-fetch-site");
    return site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

static void begin(pst_req_t *r, pst_view_t text)
{
    char secret[KEY_BYTES_MAX + 1];
    const pst_key_t *key;
    if (!fits_a_cookie(text)) {
        pst_reply_error(r, text.n ? 401 : 400, text.n ? "invalid_api_key" : NULL, "key", text.n ?
                        "This is no key that a page can be opened with." : "Missing required parameter: 'key'.");
        return;
    }
    snprintf(secret, sizeof secret, "%.*s", (int)text.n, text.p);
    pst_err_t e = pst_caller_find(r, secret, &key);
    if (e == PST_E_LOADING) {
        pst_reply_away(r);
    } else if (e) {
        pst_reply_error(r, 401, "invalid_api_key", "key", e == PST_E_STATE ? "This API key has expired." :
                        "This is no key of this gateway.");
    } else {
        set_cookie(r, secret, SESSION_S);
        reply_session(r, key);
        pst_keys_drop(pst_gw(r)->keys, &key);
    }
    explicit_bzero(secret, sizeof secret);
}

void pst_ui_session_begin(pst_req_t *r)
{
    pst_json_t j;
    pst_arena_t a;
    if (is_of_another_site(r)) {
        pst_reply_error(r, 403, NULL, NULL, "Keys are taken from the gateway's own page alone.");
        return;
    }
    pst_json_init(&j);
    pst_arena_init(&a, 1 << 20);
    if (pst_json_parse(&j, pst_buf_view(&r->body), NULL))
        pst_reply_error(r, 400, NULL, NULL, "The body must be a JSON object: {\"key\": \"…\"}.");
    else
        begin(r, pst_json_str(&j, pst_json_get(&j, 0, "key"), &a));
    pst_arena_release(&a);
    pst_json_release(&j);
}
