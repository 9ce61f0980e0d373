/* keys.h - all keys of the gateway: who comes in, how fast, and for how much money.
 *
 * Owns the keys as Redis has them (key.h) and, beside each, what this process knows of its use: two buckets a minute wide
 * (requests, tokens), requests in flight, money of the period.  The one who holds the connection (keys_redis.h) brings
 * records and totals and takes what was used; nothing waits for Redis.  Pure: no clock, no I/O, no logging; one thread.
 *
 * Several gateways share a key.  Each counts by itself, adds what it used to Redis once a second, and takes what the
 * totals show beyond that, the others' use, out of its own buckets and budget.  So a limit can be passed by what the
 * others let in during one second (two, if Redis is slow; all the time, if it is down); and where a key was not seen for a
 * second its first requests may come before the totals do.  Requests at a time are counted by each gateway for itself.
 *
 * Money: what is answered is booked; what is in flight is reserved, as far as the caller can say what it will cost.
 * Nothing says exactly whether Redis took an amount when the connection was lost: it is added again, so that the
 * account errs towards too much spent, by a second's worth. */
#ifndef PST_GATEWAY_KEYS_H
#define PST_GATEWAY_KEYS_H

#include "gateway/key.h"

typedef struct pst_keys pst_keys_t;

typedef struct pst_keys_time {
    pst_ns_t mono;
    uint64_t wall_ms; /* periods, expiry */
} pst_keys_time_t;

pst_keys_t *pst_keys_new(uint64_t seed);
void pst_keys_destroy(pst_keys_t **k);

/* ---- a request ------------------------------------------------------------------------------- */

/* Whether anybody has to show a key: there is one, or was one since this process began, or nobody knows yet.  Revoked and
 * expired ones count: revoking the last must not open the door. */
bool pst_keys_needed(const pst_keys_t *k);
/* Whether the records were read.  Before that pst_keys_find knows gateway.api_keys alone. */
bool pst_keys_loaded(const pst_keys_t *k);

/* The key of that text (what stands behind "Bearer "), held until pst_keys_drop.  PST_E_NOT_FOUND: none, or a revoked one.
 * PST_E_STATE: it has expired.  PST_E_LOADING: none yet, ask again. */
PST_MUSTCHECK pst_err_t pst_keys_find(pst_keys_t *k, pst_view_t secret, pst_keys_time_t t, const pst_key_t **ret);
/* The same by its hash, for who remembers that instead of the key. */
PST_MUSTCHECK pst_err_t pst_keys_find_hash(pst_keys_t *k, const pst_key_hash_t *h, pst_keys_time_t t,
                                           const pst_key_t **ret);
/* Sets *key to NULL; NULL-safe.  Until then it stays where it is, whatever is loaded, and says what was loaded last. */
void pst_keys_drop(pst_keys_t *k, const pst_key_t **key);

typedef enum pst_admit {
    PST_ADMIT_OK,
    PST_ADMIT_ENDED,       /* expired, or revoked since it was found */
    PST_ADMIT_SPEND,       /* the period's money is spent, or in flight */
    PST_ADMIT_CONCURRENCY, /* as many in flight as it may have */
    PST_ADMIT_REQUESTS,    /* of a minute */
    PST_ADMIT_TOKENS,
} pst_admit_t;

typedef struct pst_admission {
    pst_admit_t verdict;
    uint64_t retry_ms;  /* REQUESTS, TOKENS: there is room then, if nobody else takes it */
    uint64_t resets_ms; /* SPEND: wall clock of the next period; UINT64_MAX: never */
    uint64_t tokens;    /* OK: reserved, */
    uint64_t nano;      /* and so is this */
} pst_admission_t;

/* tokens and nano: what it is expected to take, 0 where that is not known.  The verdict OK is to be followed by one
 * pst_keys_release, with the same admission, before the key is dropped. */
void pst_keys_admit(pst_keys_t *k, const pst_key_t *key, pst_keys_time_t t, uint64_t tokens, uint64_t nano,
                    pst_admission_t *ret);
/* What it did take. */
void pst_keys_release(pst_keys_t *k, const pst_key_t *key, pst_keys_time_t t, const pst_admission_t *a, uint64_t tokens,
                      uint64_t nano);

/* ---- batches --------------------------------------------------------------------------------- */

/* nano-USD that the key has left in this period; INT64_MAX: no limit. */
int64_t pst_keys_budget(const pst_keys_t *k, const pst_key_t *key, pst_keys_time_t t);
/* Books money, or gives it back, in the period around `at_ms`.  A batch that takes its max_cost when it is made, and gives
 * back what is left of it when it ends, both at the time at which it was made, keeps two batches from spending one budget
 * twice.  An unknown id is a key that was forgotten since. */
void pst_keys_spend(pst_keys_t *k, pst_view_t key_id, uint64_t at_ms, pst_keys_time_t t, int64_t nano);

/* ---- what the configuration and Redis say ------------------------------------------------------ */

/* gateway.api_keys: forgets those there were, then takes them one by one. */
void pst_keys_plain_clear(pst_keys_t *k);
void pst_keys_plain_add(pst_keys_t *k, pst_view_t secret);

/* All records: begin, each, end; those that did not come again are gone.  put: false if it is none. */
void pst_keys_load_begin(pst_keys_t *k);
PST_MUSTCHECK bool pst_keys_load_put(pst_keys_t *k, pst_view_t hex, pst_view_t json);
void pst_keys_load_end(pst_keys_t *k, pst_keys_time_t t);
uint32_t pst_keys_count(const pst_keys_t *k); /* of those in Redis */

#define PST_KEYS_ADD_MAX 8

typedef struct pst_keys_amount {
    char field[PST_KEY_FIELD_MAX];
    int64_t n;
} pst_keys_amount_t;

typedef struct pst_keys_due {
    char id[PST_KEY_ID_LEN + 1];
    pst_keys_amount_t add[PST_KEYS_ADD_MAX]; /* to the fields of its account */
    unsigned add_n;
    uint64_t last_s;                          /* for the field `last`; 0: as it was */
} pst_keys_due_t;

/* A key whose use is to be exchanged now: false if there is none.  It is exchanged by adding, by reading the whole account
 * after that, and by one of answer and lost. */
bool pst_keys_due(pst_keys_t *k, pst_keys_time_t t, pst_keys_due_t *ret);
pst_ns_t pst_keys_due_at(const pst_keys_t *k); /* PST_NEVER: nothing is */

typedef struct pst_keys_pair {
    pst_view_t field, value;
} pst_keys_pair_t;

/* The amount was not added, as far as one knows: it is due again. */
void pst_keys_unbook(pst_keys_t *k, pst_view_t key_id, const pst_keys_amount_t *a);
void pst_keys_answer(pst_keys_t *k, pst_view_t key_id, pst_keys_time_t t, const pst_keys_pair_t *pair, size_t n);
void pst_keys_lost(pst_keys_t *k, pst_view_t key_id, pst_keys_time_t t);

#endif
