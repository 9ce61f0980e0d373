#include "gateway/webhook.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "base/json.h"

#define HASH_N 32
#define ID_HASH_N 16
#define AFTER_S_MAX (12u * 3600)

/* ---- the event --------------------------------------------------------------------------------- */

static const char *const statuses[] = {
#define X(name, status) [PST_WEBHOOK_##name] = status,
    PST_WEBHOOK_TYPE_LIST(X)
#undef X
};

const char *pst_webhook_status(unsigned type)
{
    return type < PST_WEBHOOK_TYPES ? statuses[type] : NULL;
}

bool pst_webhook_of_status(pst_view_t status, pst_webhook_type_t *ret)
{
    for (unsigned i = 0; i < PST_WEBHOOK_TYPES; i++) {
        if (pst_view_eqs(status, statuses[i])) {
            *ret = (pst_webhook_type_t)i;
            return true;
        }
    }
    return false;
}

void pst_webhook_id(const pst_webhook_t *w, pst_view_t url, char ret[PST_WEBHOOK_ID_LEN + 1])
{
    unsigned char hash[HASH_N];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    PST_ASSERT(c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1);
    PST_ASSERT(EVP_DigestUpdate(c, w->batch.b, sizeof w->batch.b) == 1);
    PST_ASSERT(EVP_DigestUpdate(c, statuses[w->type], strlen(statuses[w->type]) + 1) == 1);
    PST_ASSERT(EVP_DigestUpdate(c, url.p, url.n) == 1);
    PST_ASSERT(EVP_DigestFinal_ex(c, hash, NULL) == 1);
    EVP_MD_CTX_free(c);
    char *p = ret + sprintf(ret, "evt_");
    for (size_t i = 0; i < ID_HASH_N; i++)
        p += sprintf(p, "%02x", hash[i]);
}

void pst_webhook_payload(const pst_webhook_t *w, const char *id, pst_buf_t *out)
{
    char batch[PST_BATCH_TEXT_LEN + 1];
    const char *status = statuses[w->type];
    pst_id_text(&w->batch, batch);
    pst_buf_printf(out, "{\"id\":\"%s\",\"object\":\"event\",\"type\":\"batch.%s\",\"created_at\":%llu,", id, status,
                   (unsigned long long)w->created_s);
    pst_buf_printf(out, "\"data\":{\"id\":\"%s\"", batch);
    if (w->dialect == PST_WEBHOOK_OPENROUTER)
        pst_buf_printf(out, ",\"object\":\"batch\",\"status\":\"%s\"", status);
    pst_buf_puts(out, "}}");
}

/* ---- the signature ----------------------------------------------------------------------------- */

static bool begins(pst_view_t v, const char *with)
{
    size_t n = strlen(with);
    return v.n >= n && memcmp(v.p, with, n) == 0;
}

/* Base64 with its padding made whole; false if it is none. */
static bool decode(pst_view_t text, pst_webhook_key_t *ret)
{
    unsigned char in[PST_WEBHOOK_KEY_MAX * 2], out[PST_WEBHOOK_KEY_MAX * 2];
    while (text.n && text.p[text.n - 1] == '=')
        text.n--;
    size_t whole = (text.n + 3) / 4 * 4;
    if (whole > sizeof in || text.n % 4 == 1 || (text.n && memchr(text.p, '=', text.n)))
        return false;
    memset(in, '=', sizeof in);
    if (text.n)
        memcpy(in, text.p, text.n);
    int n = EVP_DecodeBlock(out, in, (int)whole) - (int)(whole - text.n);
    bool fits = n >= PST_WEBHOOK_KEY_MIN && n <= PST_WEBHOOK_KEY_MAX;
    if (fits) {
        memcpy(ret->b, out, (size_t)n);
        ret->n = (size_t)n;
    }
    explicit_bzero(in, sizeof in);
    explicit_bzero(out, sizeof out);
    return fits;
}

pst_err_t pst_webhook_key_parse(pst_view_t text, pst_webhook_key_t *ret, pst_errbuf_t *eb)
{
    static const char prefix[] = "whsec_";
    if (begins(text, prefix))
        text = pst_view(text.p + sizeof prefix - 1, text.n - (sizeof prefix - 1));
    if (decode(text, ret))
        return PST_OK;
    return pst_errf(eb, PST_E_CONFIG,
                    "gateway.webhook_secret is no secret of Standard Webhooks: write whsec_ and the base64 of %d to %d random "
                    "bytes, such as `openssl rand -base64 32` gives",
                    PST_WEBHOOK_KEY_MIN, PST_WEBHOOK_KEY_MAX);
}

void pst_webhook_key_release(pst_webhook_key_t *k)
{
    explicit_bzero(k, sizeof *k);
}

void pst_webhook_sign(const pst_webhook_key_t *k, const char *id, uint64_t timestamp_s, pst_view_t payload,
                      char ret[PST_WEBHOOK_SIGNATURE_LEN + 1])
{
    unsigned char hash[HASH_N];
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_printf(&b, "%s.%llu.", id, (unsigned long long)timestamp_s);
    pst_buf_putv(&b, payload);
    PST_ASSERT(!b.failed);
    PST_ASSERT(HMAC(EVP_sha256(), k->b, (int)k->n, (const unsigned char *)b.p, b.n, hash, NULL));
    pst_buf_release(&b);
    memcpy(ret, "v1,", 3);
    EVP_EncodeBlock((unsigned char *)ret + 3, hash, sizeof hash);
}

/* ---- tries ------------------------------------------------------------------------------------- */

pst_webhook_verdict_t pst_webhook_verdict(int status)
{
    if (status >= 200 && status <= 299)
        return PST_WEBHOOK_DELIVERED;
    return status == 410 ? PST_WEBHOOK_GONE : PST_WEBHOOK_AGAIN;
}

bool pst_webhook_wait(unsigned tries, uint64_t chance, uint64_t after_s, uint64_t *ret_ms)
{
    static const uint32_t seconds[] = {5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600};
    PST_ASSERT(tries > 0);
    if (tries > PST_COUNT(seconds))
        return false;
    uint64_t ms = seconds[tries - 1] * (uint64_t)1000;
    ms += chance % (ms / 10 + 1);
    *ret_ms = PST_MAX(ms, PST_MIN(after_s, (uint64_t)AFTER_S_MAX) * 1000);
    return true;
}
