/* keys.c - `penstock keys`: keys of the gateway are made, changed and revoked in Redis, where every gateway looks once a
 * second.  A key is shown once, by the command that makes it; nobody keeps it. */
#include "cli/keys.h"

#include <errno.h>
#include <unistd.h>

#include "proc/clock.h"

#define FORGET_MS (90ull * 86400000) /* a revoked key stays in the list so long */

/* ---- records ------------------------------------------------------------------------------- */

static int order(const void *a, const void *b)
{
    return strcmp(((const pst_cli_key_t *)a)->key.id, ((const pst_cli_key_t *)b)->key.id);
}

static void take_record(pst_cli_keys_t *k, const redisReply *hex, const redisReply *json)
{
    pst_key_hash_t h;
    pst_key_t key;
    if (pst_key_hash_read(pst_view(hex->str, hex->len), &h) || pst_key_read(pst_view(json->str, json->len), &key)) {
        k->bad++;
        return;
    }
    pst_grow(k->v, k->n, k->cap);
    pst_cli_key_t *to = &k->v[k->n++];
    pst_key_hex(&h, to->hex);
    to->key = key;
}

int pst_cli_keys_read(redisContext *c, pst_cli_keys_t *ret)
{
    const char *argv[] = {"HGETALL", PST_KEYS_HASH};
    pst_errbuf_t why = {""};
    *ret = (pst_cli_keys_t){0};
    redisReply *r = pst_redis_ask(c, &why, 2, argv);
    if (!r)
        return pst_cli_fail(EXIT_FAILED, "%s: see penstock check", why.text);
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        take_record(ret, r->element[i], r->element[i + 1]);
    freeReplyObject(r);
    if (ret->n)
        qsort(ret->v, ret->n, sizeof *ret->v, order);
    if (ret->bad)
        pst_cli_say("%u record%s in " PST_KEYS_HASH " cannot be read, those keys are refused: is this penstock older than the "
                    "one that made them?", ret->bad, ret->bad == 1 ? "" : "s");
    return EXIT_WELL;
}

void pst_cli_keys_release(pst_cli_keys_t *k)
{
    for (size_t i = 0; i < k->n; i++)
        pst_key_release(&k->v[i].key);
    free(k->v);
    *k = (pst_cli_keys_t){0};
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool send_all(redisContext *c, pst_errbuf_t *why, const char *const (*commands)[4], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int argc = 0;
        const char *argv[4];
        while (argc < 4 && commands[i][argc]) {
            argv[argc] = commands[i][argc];
            argc++;
        }
        redisReply *r = pst_redis_ask(c, why, argc, argv);
        freeReplyObject(r);
        if (!r)
            return false;
    }
    return true;
}

/* What was queued happens at once, and only if nobody changed a key since pst_cli_keys_read under `watch`. */
static int commit(redisContext *c, bool queued, pst_errbuf_t *why)
{
    const char *exec[] = {"EXEC"};
    redisReply *r = queued ? pst_redis_ask(c, why, 1, exec) : NULL;
    int code = EXIT_WELL;
    if (!r)
        code = pst_cli_fail(EXIT_FAILED, "%s: nothing was changed, see penstock check", why->text);
    else if (r->type == REDIS_REPLY_NIL)
        code = pst_cli_fail(EXIT_FAILED, "somebody else changed a key meanwhile: nothing was changed, try again");
    freeReplyObject(r);
    return code;
}

static int store(redisContext *c, const char *hex, const pst_key_t *key)
{
    pst_buf_t json;
    pst_errbuf_t why = {""};
    pst_buf_init(&json, 0);
    pst_key_write(key, &json);
    pst_buf_putc(&json, '\0');
    const char *const commands[][4] = {
        {"MULTI"}, {"HSET", PST_KEYS_HASH, hex, json.p}, {"INCR", PST_KEYS_VERSION}};
    int code = commit(c, !json.failed && send_all(c, &why, commands, PST_COUNT(commands)), &why);
    pst_buf_release(&json);
    return code;
}

static int read_for_change(redisContext *c, pst_cli_keys_t *ret)
{
    static const char *const watch[][4] = {{"WATCH", PST_KEYS_HASH}};
    pst_errbuf_t why = {""};
    if (!send_all(c, &why, watch, 1))
        return pst_cli_fail(EXIT_FAILED, "%s: see penstock check", why.text);
    return pst_cli_keys_read(c, ret);
}

/* Room for one more.  Keys that were revoked long ago go, with their accounts. */
static int make_room(redisContext *c, uint64_t wall_ms)
{
    pst_cli_keys_t all;
    pst_errbuf_t why = {""};
    size_t left = 0;
    int code = pst_cli_keys_read(c, &all);
    for (size_t i = 0; !code && i < all.n; i++) {
        const pst_key_t *k = &all.v[i].key;
        char use[sizeof PST_KEYS_USE + PST_KEY_ID_LEN];
        snprintf(use, sizeof use, PST_KEYS_USE "%s", k->id);
        const char *const commands[][4] = {{"HDEL", PST_KEYS_HASH, all.v[i].hex}, {"DEL", use}};
        bool old = k->revoked_ms && k->revoked_ms + FORGET_MS < wall_ms;
        left += !old;
        if (old && !send_all(c, &why, commands, PST_COUNT(commands)))
            code = pst_cli_fail(EXIT_FAILED, "%s: see penstock check", why.text);
    }
    if (!code && left + all.bad >= PST_KEYS_MAX)
        code = pst_cli_fail(EXIT_FAILED, "there are %zu keys, and no more fit: those that were revoked are forgotten after "
                            "90 days", left + all.bad);
    pst_cli_keys_release(&all);
    return code;
}

/* ---- create ---------------------------------------------------------------------------------- */

/* Past stdio, whose buffer nobody would wipe. */
static int show_secret(const char secret[PST_KEY_SECRET_LEN + 1], const char *id)
{
    char line[PST_KEY_SECRET_LEN + 1];
    memcpy(line, secret, PST_KEY_SECRET_LEN);
    line[PST_KEY_SECRET_LEN] = '\n';
    size_t n = 0;
    ssize_t got = 0;
    while (n < sizeof line && ((got = write(STDOUT_FILENO, line + n, sizeof line - n)) > 0 || errno == EINTR))
        n += got > 0 ? (size_t)got : 0;
    explicit_bzero(line, sizeof line);
    if (n < sizeof line)
        return pst_cli_fail(EXIT_FAILED, "the key cannot be shown: %s: revoke %s", strerror(errno), id);
    pst_cli_say("%s is made: this is the one time that its key is shown", id);
    return EXIT_WELL;
}

static int do_create(const pst_cli_args_t *a, redisContext *c, pst_key_t *k)
{
    (void)a;
    uint8_t random[42];
    char secret[PST_KEY_SECRET_LEN + 1], hex[PST_KEY_HEX_LEN + 1];
    k->created_ms = pst_clock_wall_ms();
    int code = make_room(c, k->created_ms);
    if (code)
        return code;
    pst_random(random, sizeof random);
    pst_key_id(k->created_ms, random, k->id);
    pst_key_secret(random + 10, secret);
    pst_key_hash_t h = pst_key_hash(pst_view_str(secret));
    pst_key_hex(&h, hex);
    code = store(c, hex, k);
    if (!code)
        code = show_secret(secret, k->id);
    explicit_bzero(random, sizeof random);
    explicit_bzero(secret, sizeof secret);
    return code;
}

/* ---- update, revoke, list ---------------------------------------------------------------------- */

/* All records, and that which the second operand names, to be changed. */
static int find(const pst_cli_args_t *a, redisContext *c, pst_cli_keys_t *all, pst_cli_key_t **ret)
{
    int code = read_for_change(c, all);
    if (code)
        return code;
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->v[i].key.id, a->operand[1]) == 0) {
            *ret = &all->v[i];
            return EXIT_WELL;
        }
    }
    return pst_cli_fail(EXIT_NOT_FOUND, "no key has the id %s: see penstock keys list", a->operand[1]);
}

static int check_reset(const pst_cli_args_t *a, const pst_key_t *k)
{
    if (!a->reset || k->spend_nano)
        return EXIT_WELL;
    return pst_cli_fail(EXIT_USAGE, "--reset is of a spend limit: give --spend too");
}

static int change(const pst_cli_args_t *a, pst_cli_key_t *k)
{
    if (k->key.revoked_ms)
        return pst_cli_fail(EXIT_FAILED, "%s is revoked: make another with penstock keys create", k->key.id);
    int code = pst_cli_keys_options(a, pst_clock_wall_ms(), &k->key);
    return code ? code : check_reset(a, &k->key);
}

static int do_update(const pst_cli_args_t *a, redisContext *c, pst_key_t *unused)
{
    (void)unused;
    pst_cli_keys_t all = {0};
    pst_cli_key_t *k = NULL;
    int code = find(a, c, &all, &k);
    if (!code)
        code = change(a, k);
    if (!code)
        code = store(c, k->hex, &k->key);
    if (!code)
        pst_cli_say("%s is changed: gateways know it within a second", k->key.id);
    pst_cli_keys_release(&all);
    return code;
}

static int do_revoke(const pst_cli_args_t *a, redisContext *c, pst_key_t *unused)
{
    (void)unused;
    pst_cli_keys_t all = {0};
    pst_cli_key_t *k = NULL;
    int code = find(a, c, &all, &k);
    if (!code && !k->key.revoked_ms) {
        k->key.revoked_ms = pst_clock_wall_ms();
        code = store(c, k->hex, &k->key);
    }
    if (!code)
        pst_cli_say("%s is revoked: gateways refuse it within a second, what it began goes on", k->key.id);
    pst_cli_keys_release(&all);
    return code;
}

static int do_list(const pst_cli_args_t *a, redisContext *c, pst_key_t *unused)
{
    (void)unused;
    pst_cli_keys_t all = {0};
    int code = pst_cli_keys_read(c, &all);
    if (!code)
        code = pst_cli_keys_list(c, &all, a->json);
    pst_cli_keys_release(&all);
    return code;
}

/* ---- which of them --------------------------------------------------------------------------- */

typedef struct verb {
    const char *name;
    int operands;
    bool options; /* takes those that say what a key may */
    int (*run)(const pst_cli_args_t *a, redisContext *c, pst_key_t *k); /* k: of the options alone */
} verb_t;

static const verb_t verbs[] = {
    {"create", 1, true, do_create},
    {"list", 1, false, do_list},
    {"revoke", 2, false, do_revoke},
    {"update", 2, true, do_update},
};

static const verb_t *find_verb(const char *name)
{
    for (size_t i = 0; i < PST_COUNT(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

static bool any_option(const pst_cli_args_t *a)
{
    return a->name || a->tenant || a->rpm || a->tpm || a->concurrency || a->spend || a->reset || a->models ||
           a->providers || a->expires;
}

static int check_verb(const verb_t *v, const pst_cli_args_t *a)
{
    if (!v)
        return pst_cli_fail(EXIT_USAGE, "keys %s is no command: use create, list, update or revoke", a->operand[0]);
    if (a->operands < v->operands)
        return pst_cli_fail(EXIT_USAGE, "keys %s needs the id of a key: see penstock keys list", v->name);
    if (a->operands > v->operands)
        return pst_cli_fail(EXIT_USAGE, "%s: one operand too many: see penstock keys --help", a->operand[1]);
    if (any_option(a) && !v->options)
        return pst_cli_fail(EXIT_USAGE, "keys %s changes nothing that a key may: use create or update", v->name);
    if (a->json && v->run != do_list)
        return pst_cli_fail(EXIT_USAGE, "keys %s prints no JSON: leave out --json", v->name);
    if (v->run == do_update && !any_option(a))
        return pst_cli_fail(EXIT_USAGE, "keys update needs something to change: see penstock keys --help");
    if (v->run == do_update && a->tenant)
        return pst_cli_fail(EXIT_USAGE, "a key stays with its tenant, whose files and batches it made: make another");
    return EXIT_WELL;
}

/* A new key, with what $PENSTOCK_TENANT says where no option does. */
static int read_new(const pst_cli_args_t *a, pst_key_t *k)
{
    pst_cli_args_t with = *a;
    const char *tenant = getenv("PENSTOCK_TENANT");
    if (!a->tenant && tenant && *tenant)
        with.tenant = tenant;
    int code = pst_cli_keys_options(&with, pst_clock_wall_ms(), k);
    return code ? code : check_reset(a, k);
}

/* Options are read before anything is connected: of what is wrong there Redis need not be asked. */
int pst_cli_keys(const pst_cli_args_t *a)
{
    const verb_t *v = find_verb(a->operand[0]);
    pst_key_t k;
    redisContext *c = NULL;
    pst_key_init(&k);
    int code = check_verb(v, a);
    if (!code && v->options)
        code = v->run == do_create ? read_new(a, &k) : pst_cli_keys_options(a, pst_clock_wall_ms(), &k);
    if (!code)
        code = pst_redis_dial_cluster(a, &c);
    if (!code)
        code = v->run(a, c, &k);
    if (c)
        redisFree(c);
    pst_key_release(&k);
    return code;
}
