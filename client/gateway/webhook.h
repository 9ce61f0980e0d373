/* webhook.h - what a webhook says, how it is signed, and when it is tried again.
 *
 * Signed as Standard Webhooks has it, which OpenAI's SDKs check (webhooks.unwrap): headers webhook-id, webhook-timestamp
 * and webhook-signature, the last an HMAC-SHA256 of "id.timestamp.payload".  The id is made of batch, event and address:
 * whoever tells of the same end of the same batch, gateway or try, tells it under the same id, so that a receiver that
 * remembers ids may be told any number of times.
 *
 * The event is OpenAI's: {"id","object":"event","type","created_at","data":{"id"}}.  What OpenRouter sends to a
 * batch's callback_url is documented by its types' names alone; its receivers get the same envelope, with status and
 * object beside the id, so that `data` reads like the batch they poll.
 *
 * Pure: time and chance are arguments. */
#ifndef PST_WEBHOOK_H
#define PST_WEBHOOK_H

#include "base/buf.h"
#include "penstock/id.h"

#define PST_WEBHOOK_TYPE_LIST(X)                                                                   \
    X(COMPLETED, "completed")                                                                      \
    X(FAILED, "failed")                                                                            \
    X(EXPIRED, "expired")                                                                          \
    X(CANCELLED, "cancelled")

typedef enum pst_webhook_type {
#define X(name, status) PST_WEBHOOK_##name,
    PST_WEBHOOK_TYPE_LIST(X)
#undef X
    PST_WEBHOOK_TYPES
} pst_webhook_type_t;

typedef enum pst_webhook_dialect { PST_WEBHOOK_OPENAI, PST_WEBHOOK_OPENROUTER, PST_WEBHOOK_DIALECTS } pst_webhook_dialect_t;

typedef struct pst_webhook {
    pst_id_t batch;
    pst_webhook_type_t type;
    pst_webhook_dialect_t dialect;
    uint64_t created_s;   /* wall clock: when the batch ended */
} pst_webhook_t;

/* The status of an ended batch; NULL for a number that is no type. */
const char *pst_webhook_status(unsigned type);
/* The event of a batch's status; false if a batch in it has not ended. */
bool pst_webhook_of_status(pst_view_t status, pst_webhook_type_t *ret);

#define PST_WEBHOOK_ID_LEN 36 /* "evt_" + 32 hexadecimal digits */
void pst_webhook_id(const pst_webhook_t *w, pst_view_t url, char ret[PST_WEBHOOK_ID_LEN + 1]);
void pst_webhook_payload(const pst_webhook_t *w, const char *id, pst_buf_t *out);

#define PST_WEBHOOK_KEY_MIN 24
#define PST_WEBHOOK_KEY_MAX 64
typedef struct pst_webhook_key {
    uint8_t b[PST_WEBHOOK_KEY_MAX];
    size_t n; /* 0: none */
} pst_webhook_key_t;
/* whsec_<base64 of 24 to 64 bytes>; the prefix, and the padding, may be left out.  PST_E_CONFIG, with words that do not
 * repeat it. */
PST_MUSTCHECK pst_err_t pst_webhook_key_parse(pst_view_t text, pst_webhook_key_t *ret, pst_errbuf_t *eb);
void pst_webhook_key_release(pst_webhook_key_t *k); /* wipes it */

#define PST_WEBHOOK_SIGNATURE_LEN 47 /* "v1," + base64 of 32 bytes */
/* timestamp_s: of this try. */
void pst_webhook_sign(const pst_webhook_key_t *k, const char *id, uint64_t timestamp_s, pst_view_t payload,
                      char ret[PST_WEBHOOK_SIGNATURE_LEN + 1]);

typedef enum pst_webhook_verdict {
    PST_WEBHOOK_DELIVERED, /* 2xx */
    PST_WEBHOOK_AGAIN,     /* anything else, redirects and silence too */
    PST_WEBHOOK_GONE,      /* 410: whoever listens there does not want to hear it */
} pst_webhook_verdict_t;
/* status 0: none came. */
pst_webhook_verdict_t pst_webhook_verdict(int status);

/* How long after the `tries`th try failed the next one comes: longer each time, to a day after the first in all, and up to
 * a tenth more by chance, so that those that failed together do not come back together.  after_s: what the receiver
 * asked for (Retry-After), which is kept where it is longer, to a bound.  false: that was the last. */
bool pst_webhook_wait(unsigned tries, uint64_t chance, uint64_t after_s, uint64_t *ret_ms);

#endif
