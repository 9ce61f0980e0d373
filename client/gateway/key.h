/* key.h - a key of the gateway: whose it is, what it may, and how Redis keeps that.
 *
 *   pst:{gateway}:keys           hash: SHA-256 of the key, in hex -> JSON of its data (pst_key_write), never the key
 *   pst:{gateway}:keys:version   number that every change of the hash raises
 *   pst:{gateway}:use:<key id>   hash of numbers: requests, tokens and spent (nano-USD) since it was made; the same money
 *                                by UTC day, week (from Monday) and month, under the first day of each: day:2026-11-24,
 *                                week:2026-11-23, month:2026-11-01, of which those are written that its limit counts;
 *                                last (unix seconds, to the minute)
 *
 * A key is "psk_" and 43 letters that stand for 32 random bytes: it cannot be guessed, so its bare hash cannot be turned
 * back, and one look-up finds it.  What a process knows of it is the hash.  A record that is not understood to the last
 * member is no key: a restriction of a later version must not be lost here.  Pure, but for libcrypto. */
#ifndef PST_GATEWAY_KEY_H
#define PST_GATEWAY_KEY_H

#include "base/base.h"
#include "base/buf.h"
#include "penstock/limits.h"

#define PST_KEYS_HASH "pst:{gateway}:keys"
#define PST_KEYS_VERSION "pst:{gateway}:keys:version"
#define PST_KEYS_USE "pst:{gateway}:use:" /* and the id */

#define PST_KEY_REQUESTS "requests" /* fields of that */
#define PST_KEY_TOKENS "tokens"
#define PST_KEY_SPENT "spent"
#define PST_KEY_LAST "last"

#define PST_KEYS_MAX 10000u            /* kept at a time, revoked ones included */
#define PST_KEY_SECRET_LEN 47          /* "psk_" + 43 */
#define PST_KEY_ID_LEN 30              /* "key_" + 26, without the NUL */
#define PST_KEY_HEX_LEN 64
#define PST_KEY_RATE_MAX 1000000000000ull
#define PST_KEY_CONCURRENCY_MAX 1000000u
#define PST_KEY_SPEND_NANO_MAX 1000000000000000000ll /* a thousand million dollars */
#define PST_KEY_MODELS_MAX 64u
#define PST_KEY_PROVIDERS_MAX 32u      /* what a route's `only` takes */
_Static_assert(PST_KEY_PROVIDERS_MAX <= PST_ROUTE_NAMES_MAX, "they become a route's `only`");

typedef struct pst_key_hash {
    uint8_t b[32];
} pst_key_hash_t;

typedef enum pst_key_reset { PST_RESET_NEVER, PST_RESET_DAILY, PST_RESET_WEEKLY, PST_RESET_MONTHLY } pst_key_reset_t;

typedef struct pst_key_names {
    char **v; /* NUL-terminated */
    uint32_t n;
} pst_key_names_t;

typedef struct pst_key {
    char id[PST_KEY_ID_LEN + 1];          /* empty: one of gateway.api_keys, without tenant, limits or account */
    char name[PST_NAME_BYTES_MAX + 1];
    char tenant[PST_NAME_BYTES_MAX + 1];  /* empty: none, it sees everything */
    uint64_t created_ms, expires_ms, revoked_ms; /* wall clock; 0: never */
    uint64_t rpm, tpm;                    /* requests, tokens a minute; 0: no limit */
    uint64_t concurrency;                 /* requests at a time; 0: no limit */
    uint64_t spend_nano;                  /* nano-USD a period; 0: no limit */
    pst_key_reset_t reset;
    pst_key_names_t models;               /* patterns; none: all */
    pst_key_names_t providers;            /* none: all */
} pst_key_t;

static inline void pst_key_init(pst_key_t *k) { memset(k, 0, sizeof *k); }
void pst_key_release(pst_key_t *k);

/* Any text: of what is no key it finds nothing. */
pst_key_hash_t pst_key_hash(pst_view_t secret);
void pst_key_hex(const pst_key_hash_t *h, char out[PST_KEY_HEX_LEN + 1]);
PST_MUSTCHECK pst_err_t pst_key_hash_read(pst_view_t hex, pst_key_hash_t *ret);
/* The caller wipes both. */
void pst_key_secret(const uint8_t random[32], char out[PST_KEY_SECRET_LEN + 1]);
void pst_key_id(uint64_t wall_ms, const uint8_t random[10], char out[PST_KEY_ID_LEN + 1]);

/* PST_E_INVALID: no record of a key.  ret is then as pst_key_init leaves it. */
PST_MUSTCHECK pst_err_t pst_key_read(pst_view_t json, pst_key_t *ret);
void pst_key_write(const pst_key_t *k, pst_buf_t *out);
/* A name or tenant: UTF-8 without control characters, not too long. */
bool pst_key_text_ok(pst_view_t v);
/* Adds a copy; false: empty, too long, or there are `max` already. */
bool pst_key_names_add(pst_key_names_t *l, pst_view_t name, uint32_t max);
void pst_key_names_release(pst_key_names_t *l);
const char *pst_key_reset_name(pst_key_reset_t r); /* "never", "daily" … */
bool pst_key_reset_find(pst_view_t name, pst_key_reset_t *ret);

bool pst_key_expired(const pst_key_t *k, uint64_t wall_ms);
/* `*` in a pattern is any text.  The model's suffix :floor or :nitro is a wish, no part of its name. */
bool pst_key_allows_model(const pst_key_t *k, pst_view_t model);
/* "openai", or "openai/variant", of which the key has it or the whole provider.  k->providers lists them for `only`. */
bool pst_key_allows_provider(const pst_key_t *k, pst_view_t provider);

/* The period around a time: its first millisecond (never: 0), and that of the next (never: UINT64_MAX). */
uint64_t pst_key_period_start(pst_key_reset_t r, uint64_t wall_ms);
uint64_t pst_key_period_end(pst_key_reset_t r, uint64_t wall_ms);
/* Its field in the account: "day:2026-11-24"; never: "spent". */
#define PST_KEY_FIELD_MAX 24
void pst_key_period_field(pst_key_reset_t r, uint64_t wall_ms, char out[PST_KEY_FIELD_MAX]);
/* The field of a period that nobody asks for any more: one that began more than two months ago. */
bool pst_key_field_stale(pst_view_t field, uint64_t wall_ms);

#endif
