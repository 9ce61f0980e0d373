#include "gateway/keys.h"

#include "base/list.h"
#include "base/map.h"

#define EXCHANGE_EVERY PST_SEC
#define MINUTE (60 * PST_SEC)
#define WARM (2 * MINUTE)      /* so long after its latest request a key's totals are looked at */

/* Fills up within a minute.  Below 0 where others, or an answer that was longer than expected, took more than there was. */
typedef struct bucket {
    double level;
    double limit; /* 0: none */
    pst_ns_t at;
} bucket_t;

typedef struct entry {
    pst_key_t key;        /* first: what callers hold */
    pst_key_hash_t hash;
    uint32_t holds;
    bool kept;            /* in by_hash; else it lives as long as it is held */
    bool seen;            /* by the load that is under way */
    bucket_t requests, tokens;
    uint64_t in_flight, reserved_nano;

    uint64_t period_start; /* of `spent` */
    int64_t spent;         /* nano-USD in that period: the latest total and what was booked since */

    /* The exchange. */
    pst_link_t hot;        /* in `hot` of the keys while one is to come */
    pst_ns_t next_at;      /* when; valid in `hot` */
    bool asked;            /* one is under way: it is not in `hot` */
    pst_ns_t warm_until;
    pst_ns_t totals_at;    /* of the latest totals; 0: none yet */
    int64_t total[2];      /* what they would be without the others: requests, tokens */
    pst_keys_amount_t *book; /* to be added to the account: a few, and one for each period of late bookings */
    unsigned book_n, book_cap;
    uint64_t used_min, told_min; /* wall-clock minute of its latest request; the one that Redis has */
} entry_t;

struct pst_keys {
    pst_map_t by_hash; /* what may come in, or was revoked */
    pst_map_t by_id;
    pst_link_t hot;    /* by next_at, soonest first */
    uint32_t stored;   /* of by_hash: those in Redis */
    bool loaded, needed;
};

static entry_t *entry_of(const pst_key_t *key)
{
    return PST_CONTAINER(key, entry_t, key);
}

static entry_t *by_id(const pst_keys_t *k, pst_view_t id)
{
    return pst_map_get(&k->by_id, id.p, id.n);
}

/* ---- entries --------------------------------------------------------------------------------- */

static bool is_plain(const entry_t *e)
{
    return !e->key.id[0];
}

static void entry_free(entry_t *e)
{
    pst_link_remove(&e->hot);
    pst_key_release(&e->key);
    free(e->book);
    free(e);
}

static entry_t *entry_new(pst_keys_t *k, const pst_key_hash_t *h)
{
    entry_t *e = pst_calloc(1, sizeof *e);
    e->hash = *h;
    e->kept = true;
    pst_link_init(&e->hot);
    pst_map_set(&k->by_hash, h->b, sizeof h->b, e);
    k->needed = true;
    return e;
}

/* Nobody finds it any more. */
static void entry_forget(pst_keys_t *k, entry_t *e)
{
    pst_map_remove(&k->by_hash, e->hash.b, sizeof e->hash.b);
    if (!is_plain(e)) {
        pst_map_remove(&k->by_id, e->key.id, PST_KEY_ID_LEN);
        k->stored--;
    }
    pst_link_remove(&e->hot);
    e->kept = false;
    if (e->holds == 0)
        entry_free(e);
}

pst_keys_t *pst_keys_new(uint64_t seed)
{
    pst_keys_t *k = pst_calloc(1, sizeof *k);
    pst_map_init(&k->by_hash, seed);
    pst_map_init(&k->by_id, seed);
    pst_link_init(&k->hot);
    return k;
}

void pst_keys_destroy(pst_keys_t **k)
{
    pst_keys_t *x = *k;
    *k = NULL;
    if (!x)
        return;
    uint32_t i = 0;
    for (entry_t *e = pst_map_next(&x->by_hash, &i); e; e = pst_map_next(&x->by_hash, &i))
        entry_free(e);
    pst_map_release(&x->by_hash);
    pst_map_release(&x->by_id);
    free(x);
}

bool pst_keys_needed(const pst_keys_t *k) { return k->needed || !k->loaded; }
bool pst_keys_loaded(const pst_keys_t *k) { return k->loaded; }
uint32_t pst_keys_count(const pst_keys_t *k) { return k->stored; }

/* ---- buckets --------------------------------------------------------------------------------- */

static void bucket_set(bucket_t *b, uint64_t limit)
{
    double was = b->limit;
    b->limit = (double)limit;
    b->level = was > 0 ? PST_MIN(b->level, b->limit) : b->limit;
}

static void bucket_fill(bucket_t *b, pst_ns_t now)
{
    double passed = (double)pst_ns_since(now, b->at);
    b->at = now;
    b->level = PST_MIN(b->level + b->limit * passed / (double)MINUTE, b->limit);
}

/* More than it ever holds is asked of a full one. */
static double part_of(const bucket_t *b, uint64_t n)
{
    return PST_MIN((double)n, b->limit);
}

/* 0: there is room; else how long until there is. */
static uint64_t bucket_wait_ms(const bucket_t *b, uint64_t n)
{
    double missing = part_of(b, n) - b->level;
    if (b->limit <= 0 || missing <= 1e-9)
        return 0;
    return (uint64_t)(missing / b->limit * 60000) + 1;
}

static void bucket_take(bucket_t *b, double n)
{
    b->level = PST_MIN(b->level - n, b->limit);
}

/* What others took since the totals of before.  Of a longer time a minute's share: the rest has filled up again.  No debt
 * lasts longer than a minute. */
static void bucket_others(bucket_t *b, pst_ns_t now, int64_t others, pst_ns_t since)
{
    if (b->limit <= 0 || others <= 0)
        return;
    bucket_fill(b, now);
    double share = since > MINUTE ? (double)MINUTE / (double)since : 1;
    b->level = PST_MAX(b->level - (double)others * share, -b->limit);
}

/* ---- when to exchange ------------------------------------------------------------------------ */

static bool is_limited(const entry_t *e)
{
    return e->key.rpm || e->key.tpm || e->key.spend_nano;
}

static void exchange_at(pst_keys_t *k, entry_t *e, pst_ns_t at)
{
    if (e->asked || !e->kept || is_plain(e) || (!pst_link_empty(&e->hot) && e->next_at <= at))
        return;
    pst_link_remove(&e->hot);
    e->next_at = at;
    pst_link_t *before = &k->hot;
    while (before->prev != &k->hot && PST_CONTAINER(before->prev, entry_t, hot)->next_at > at)
        before = before->prev;
    pst_link_before(before, &e->hot);
}

/* Of a limited key that nobody asked for lately the totals are wanted at once. */
static void warm(pst_keys_t *k, entry_t *e, pst_keys_time_t t)
{
    bool cold = is_limited(e) && (!e->totals_at || pst_ns_since(t.mono, e->totals_at) > 2 * EXCHANGE_EVERY);
    e->used_min = t.wall_ms / 60000;
    e->warm_until = pst_ns_add(t.mono, WARM);
    if (cold)
        exchange_at(k, e, t.mono);
    else if (is_limited(e) || e->used_min != e->told_min)
        exchange_at(k, e, pst_ns_add(t.mono, EXCHANGE_EVERY));
}

static void exchanged(pst_keys_t *k, entry_t *e, pst_keys_time_t t, bool again)
{
    e->asked = false;
    if (again || e->book_n || e->used_min != e->told_min || (is_limited(e) && t.mono < e->warm_until))
        exchange_at(k, e, pst_ns_add(e->next_at, EXCHANGE_EVERY));
}

pst_ns_t pst_keys_due_at(const pst_keys_t *k)
{
    return pst_link_empty(&k->hot) ? PST_NEVER : PST_CONTAINER(k->hot.next, entry_t, hot)->next_at;
}

/* ---- the account ----------------------------------------------------------------------------- */

static int64_t sum(int64_t a, int64_t b)
{
    int64_t s;
    if (!__builtin_add_overflow(a, b, &s))
        return s;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

static pst_keys_amount_t *find_booked(const entry_t *e, const char *field)
{
    for (unsigned i = 0; i < e->book_n; i++) {
        if (strcmp(e->book[i].field, field) == 0)
            return &e->book[i];
    }
    return NULL;
}

static void book(entry_t *e, const char *field, int64_t n)
{
    pst_keys_amount_t *a = find_booked(e, field);
    if (!a) {
        pst_grow(e->book, e->book_n, e->book_cap);
        a = &e->book[e->book_n++];
        *a = (pst_keys_amount_t){.n = 0};
        memcpy(a->field, field, strlen(field));
    }
    a->n = sum(a->n, n);
}

static int64_t booked(const entry_t *e, const char *field)
{
    const pst_keys_amount_t *a = find_booked(e, field);
    return a ? a->n : 0;
}

/* In a period that has begun since, nothing is spent but what is booked in it; the next totals will say. */
static void turn_period(entry_t *e, uint64_t wall_ms)
{
    char field[PST_KEY_FIELD_MAX];
    uint64_t start = pst_key_period_start(e->key.reset, wall_ms);
    if (start == e->period_start)
        return;
    pst_key_period_field(e->key.reset, wall_ms, field);
    e->period_start = start;
    e->spent = booked(e, field);
}

/* Money in its period, and in the sum; of a period that nobody asks for any more in the sum alone. */
static void book_money(entry_t *e, uint64_t at_ms, uint64_t wall_ms, int64_t nano)
{
    char field[PST_KEY_FIELD_MAX];
    turn_period(e, wall_ms);
    book(e, PST_KEY_SPENT, nano);
    pst_key_period_field(e->key.reset, at_ms, field);
    if (e->key.reset != PST_RESET_NEVER && !pst_key_field_stale(pst_view_str(field), wall_ms))
        book(e, field, nano);
    if (pst_key_period_start(e->key.reset, at_ms) == e->period_start)
        e->spent = sum(e->spent, nano);
}

static int64_t left_of(const entry_t *e)
{
    int64_t gone = PST_MAX(e->spent, 0);
    uint64_t limit = e->key.spend_nano, taken = (uint64_t)gone + e->reserved_nano;
    return limit > taken ? (int64_t)(limit - taken) : 0;
}

int64_t pst_keys_budget(const pst_keys_t *k, const pst_key_t *key, pst_keys_time_t t)
{
    (void)k;
    entry_t *e = entry_of(key);
    if (!key->spend_nano)
        return INT64_MAX;
    turn_period(e, t.wall_ms);
    return left_of(e);
}

void pst_keys_spend(pst_keys_t *k, pst_view_t key_id, uint64_t at_ms, pst_keys_time_t t, int64_t nano)
{
    entry_t *e = by_id(k, key_id);
    if (!e || nano == 0)
        return;
    book_money(e, at_ms, t.wall_ms, nano);
    exchange_at(k, e, pst_ns_add(t.mono, EXCHANGE_EVERY));
}

/* ---- a request ------------------------------------------------------------------------------- */

pst_err_t pst_keys_find_hash(pst_keys_t *k, const pst_key_hash_t *h, pst_keys_time_t t, const pst_key_t **ret)
{
    entry_t *e = pst_map_get(&k->by_hash, h->b, sizeof h->b);
    if (!e)
        return k->loaded ? PST_E_NOT_FOUND : PST_E_LOADING;
    if (e->key.revoked_ms)
        return PST_E_NOT_FOUND;
    if (pst_key_expired(&e->key, t.wall_ms))
        return PST_E_STATE;
    e->holds++;
    warm(k, e, t);
    *ret = &e->key;
    return PST_OK;
}

pst_err_t pst_keys_find(pst_keys_t *k, pst_view_t secret, pst_keys_time_t t, const pst_key_t **ret)
{
    pst_key_hash_t h = pst_key_hash(secret);
    return pst_keys_find_hash(k, &h, t, ret);
}

void pst_keys_drop(pst_keys_t *k, const pst_key_t **key)
{
    (void)k;
    if (!*key)
        return;
    entry_t *e = entry_of(*key);
    *key = NULL;
    PST_ASSERT(e->holds > 0);
    e->holds--;
    if (e->holds == 0 && !e->kept)
        entry_free(e);
}

static void judge(entry_t *e, pst_keys_time_t t, uint64_t tokens, uint64_t nano, pst_admission_t *a)
{
    const pst_key_t *key = &e->key;
    uint64_t requests_ms = bucket_wait_ms(&e->requests, 1), tokens_ms = bucket_wait_ms(&e->tokens, tokens);
    if (!e->kept || key->revoked_ms || pst_key_expired(key, t.wall_ms)) {
        a->verdict = PST_ADMIT_ENDED;
    } else if (key->spend_nano && left_of(e) < (int64_t)PST_MAX(nano, 1)) {
        a->verdict = PST_ADMIT_SPEND;
        a->resets_ms = pst_key_period_end(key->reset, t.wall_ms);
    } else if (key->concurrency && e->in_flight >= key->concurrency) {
        a->verdict = PST_ADMIT_CONCURRENCY;
    } else if (requests_ms || tokens_ms) {
        a->verdict = requests_ms >= tokens_ms ? PST_ADMIT_REQUESTS : PST_ADMIT_TOKENS;
        a->retry_ms = PST_MAX(requests_ms, tokens_ms);
    }
}

void pst_keys_admit(pst_keys_t *k, const pst_key_t *key, pst_keys_time_t t, uint64_t tokens, uint64_t nano,
                    pst_admission_t *ret)
{
    entry_t *e = entry_of(key);
    *ret = (pst_admission_t){.verdict = PST_ADMIT_OK};
    nano = PST_MIN(nano, PST_KEY_SPEND_NANO_MAX);
    turn_period(e, t.wall_ms);
    bucket_fill(&e->requests, t.mono);
    bucket_fill(&e->tokens, t.mono);
    judge(e, t, tokens, nano, ret);
    if (ret->verdict)
        return;
    ret->tokens = tokens;
    ret->nano = key->spend_nano ? nano : 0;
    e->in_flight++;
    e->reserved_nano += ret->nano;
    bucket_take(&e->requests, 1);
    bucket_take(&e->tokens, part_of(&e->tokens, tokens));
    book(e, PST_KEY_REQUESTS, 1);
    exchange_at(k, e, pst_ns_add(t.mono, EXCHANGE_EVERY));
}

void pst_keys_release(pst_keys_t *k, const pst_key_t *key, pst_keys_time_t t, const pst_admission_t *a, uint64_t tokens,
                      uint64_t nano)
{
    entry_t *e = entry_of(key);
    PST_ASSERT(a->verdict == PST_ADMIT_OK && e->in_flight > 0);
    e->in_flight--;
    e->reserved_nano -= a->nano;
    bucket_fill(&e->tokens, t.mono);
    bucket_take(&e->tokens, part_of(&e->tokens, tokens) - part_of(&e->tokens, a->tokens));
    if (tokens)
        book(e, PST_KEY_TOKENS, (int64_t)PST_MIN(tokens, PST_KEY_RATE_MAX));
    if (nano)
        book_money(e, t.wall_ms, t.wall_ms, (int64_t)PST_MIN(nano, PST_KEY_SPEND_NANO_MAX));
    exchange_at(k, e, pst_ns_add(t.mono, EXCHANGE_EVERY));
}

/* ---- the configuration's keys, and Redis's ------------------------------------------------------- */

void pst_keys_plain_clear(pst_keys_t *k)
{
    uint32_t i = 0;
    for (entry_t *e = pst_map_next(&k->by_hash, &i); e; e = pst_map_next(&k->by_hash, &i)) {
        if (is_plain(e))
            entry_forget(k, e);
    }
}

/* One that is in Redis too has the limits that it has there. */
void pst_keys_plain_add(pst_keys_t *k, pst_view_t secret)
{
    pst_key_hash_t h = pst_key_hash(secret);
    if (!pst_map_get(&k->by_hash, h.b, sizeof h.b))
        (void)entry_new(k, &h);
}

void pst_keys_load_begin(pst_keys_t *k)
{
    uint32_t i = 0;
    for (entry_t *e = pst_map_next(&k->by_hash, &i); e; e = pst_map_next(&k->by_hash, &i))
        e->seen = false;
}

/* Where the limits are the same the buckets go on; money of another period is another sum. */
static void take_data(entry_t *e, pst_key_t *key)
{
    pst_key_reset_t reset = e->key.reset;
    pst_key_release(&e->key);
    e->key = *key;
    bucket_set(&e->requests, key->rpm);
    bucket_set(&e->tokens, key->tpm);
    if (e->key.reset != reset) {
        e->period_start = UINT64_MAX;
        e->totals_at = 0;
    }
}

/* The entry for a record; NULL if another key has its id. */
static entry_t *place(pst_keys_t *k, const pst_key_hash_t *h, const pst_key_t *key)
{
    entry_t *e = pst_map_get(&k->by_hash, h->b, sizeof h->b);
    entry_t *namesake = by_id(k, pst_view_str(key->id));
    if (namesake && namesake != e && namesake->seen)
        return NULL;
    if (namesake && namesake != e)
        entry_forget(k, namesake);
    if (e && strcmp(e->key.id, key->id) != 0) {
        entry_forget(k, e);
        e = NULL;
    }
    if (!e && k->stored >= PST_KEYS_MAX)
        return NULL;
    if (!e) {
        e = entry_new(k, h);
        pst_map_set(&k->by_id, key->id, PST_KEY_ID_LEN, e);
        k->stored++;
    }
    return e;
}

bool pst_keys_load_put(pst_keys_t *k, pst_view_t hex, pst_view_t json)
{
    pst_key_hash_t h;
    pst_key_t key;
    k->needed = true; /* also by one that cannot be read */
    if (pst_key_hash_read(hex, &h) || pst_key_read(json, &key))
        return false;
    entry_t *e = place(k, &h, &key);
    if (!e) {
        pst_key_release(&key);
        return false;
    }
    take_data(e, &key);
    e->seen = true;
    return true;
}

void pst_keys_load_end(pst_keys_t *k, pst_keys_time_t t)
{
    uint32_t i = 0;
    for (entry_t *e = pst_map_next(&k->by_hash, &i); e; e = pst_map_next(&k->by_hash, &i)) {
        if (!is_plain(e) && !e->seen)
            entry_forget(k, e);
        else if (is_limited(e) && !e->totals_at)
            exchange_at(k, e, t.mono);
    }
    k->loaded = true;
}

/* ---- the exchange ---------------------------------------------------------------------------- */

/* What this process added is in the totals that come next: the others' share is what they show beyond it. */
static void expect(entry_t *e, const char *field, int64_t n)
{
    if (strcmp(field, PST_KEY_REQUESTS) == 0)
        e->total[0] += n;
    else if (strcmp(field, PST_KEY_TOKENS) == 0)
        e->total[1] += n;
}

bool pst_keys_due(pst_keys_t *k, pst_keys_time_t t, pst_keys_due_t *ret)
{
    if (pst_keys_due_at(k) > t.mono)
        return false;
    entry_t *e = PST_CONTAINER(k->hot.next, entry_t, hot);
    pst_link_remove(&e->hot);
    e->asked = true;
    e->next_at = t.mono;
    *ret = (pst_keys_due_t){.add_n = 0};
    memcpy(ret->id, e->key.id, sizeof ret->id);
    while (e->book_n > 0 && ret->add_n < PST_KEYS_ADD_MAX) {
        const pst_keys_amount_t *a = &e->book[--e->book_n];
        expect(e, a->field, a->n);
        ret->add[ret->add_n++] = *a;
    }
    if (e->used_min != e->told_min)
        ret->last_s = e->used_min * 60;
    e->told_min = e->used_min;
    return true;
}

void pst_keys_unbook(pst_keys_t *k, pst_view_t key_id, const pst_keys_amount_t *a)
{
    entry_t *e = by_id(k, key_id);
    if (!e)
        return;
    expect(e, a->field, -a->n);
    book(e, a->field, a->n);
}

static bool read_number(pst_view_t v, int64_t *ret)
{
    char text[24];
    char *end;
    if (v.n == 0 || v.n >= sizeof text || !(v.p[0] == '-' || (v.p[0] >= '0' && v.p[0] <= '9')))
        return false;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    long long n = strtoll(text, &end, 10);
    *ret = n;
    return *end == '\0' && n > INT64_MIN / 4 && n < INT64_MAX / 4;
}

/* A number that is none counts as `otherwise`. */
static int64_t total_of(const pst_keys_pair_t *pair, size_t n, const char *field, int64_t otherwise)
{
    int64_t v;
    for (size_t i = 0; i < n; i++) {
        if (pst_view_eqs(pair[i].field, field))
            return read_number(pair[i].value, &v) ? v : otherwise;
    }
    return 0;
}

/* At the first look there is nothing to compare with. */
static void take_others(entry_t *e, int i, bucket_t *b, pst_ns_t now, int64_t total)
{
    if (e->totals_at)
        bucket_others(b, now, total - e->total[i], pst_ns_since(now, e->totals_at));
    e->total[i] = total;
}

/* Whoever cannot read how much is spent lets nothing more be spent. */
void pst_keys_answer(pst_keys_t *k, pst_view_t key_id, pst_keys_time_t t, const pst_keys_pair_t *pair, size_t n)
{
    entry_t *e = by_id(k, key_id);
    char field[PST_KEY_FIELD_MAX];
    if (!e || !e->asked)
        return;
    take_others(e, 0, &e->requests, t.mono, total_of(pair, n, PST_KEY_REQUESTS, e->total[0]));
    take_others(e, 1, &e->tokens, t.mono, total_of(pair, n, PST_KEY_TOKENS, e->total[1]));
    turn_period(e, t.wall_ms);
    pst_key_period_field(e->key.reset, t.wall_ms, field);
    e->spent = sum(total_of(pair, n, field, PST_KEY_SPEND_NANO_MAX), booked(e, field));
    e->totals_at = PST_MAX(t.mono, (pst_ns_t)1);
    exchanged(k, e, t, false);
}

void pst_keys_lost(pst_keys_t *k, pst_view_t key_id, pst_keys_time_t t)
{
    entry_t *e = by_id(k, key_id);
    if (!e || !e->asked)
        return;
    e->told_min = 0;
    exchanged(k, e, t, true);
}
