/* redis_greet.c - what is asked of a Redis before it is trusted, at the first connection and at each later one. */
#include <stdio.h>

#include "store/redis_lua.h"
#include "store/redis_store.h"

/* In this order; each may be skipped. */
typedef enum greet_step {
    GREET_AUTH,
    GREET_SELECT,
    GREET_INFO,      /* version, role, loading, policy, append-only file, replicas */
    GREET_FSYNC,     /* CONFIG GET appendfsync */
    GREET_LIBRARY,   /* is ours there? */
    GREET_LOAD,
    GREET_EPOCH,     /* take one, or compare */
    GREET_DONE,
} greet_step_t;

static void send_step(pst_store_t *s, pst_cmd_t *c, greet_step_t step)
{
    s->step = step;
    pst_cmd_finish(c);
    pst_redis_greet(s->conn, c);
}

/* This Redis will not do; trying again helps only after somebody changed it. */
static void refuse(pst_store_t *s, const char *why)
{
    s->refused = PST_E_STORE_BAD;
    pst_redis_retry(s->conn, why);
}

static void refuse_reply(pst_store_t *s, const char *what, const redisReply *r)
{
    char why[256];
    snprintf(why, sizeof why, "%s: %.150s", what, r->type == REDIS_REPLY_ERROR ? r->str : "unexpected answer");
    refuse(s, why);
}

/* The value of a line "name:value" of INFO, 0 bytes if there is none. */
static pst_view_t info_get(pst_view_t info, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = info.p, *end = info.p + info.n; p < end;) {
        const char *eol = memchr(p, '\r', (size_t)(end - p));
        eol = eol ? eol : end;
        if ((size_t)(eol - p) > n && memcmp(p, name, n) == 0 && p[n] == ':')
            return pst_view(p + n + 1, (size_t)(eol - p) - n - 1);
        p = end - eol > 2 ? eol + 2 : end;
    }
    return pst_view("", 0);
}

/* What stands in INFO against using this Redis, NULL if nothing.  *ret_wait: it will pass by itself. */
static const char *info_fault(const pst_store_t *s, pst_view_t info, bool *ret_wait)
{
    *ret_wait = true;
    if (pst_view_eqs(info_get(info, "loading"), "1"))
        return "Redis is loading its data: wait";
    if (!pst_view_eqs(info_get(info, "role"), "master") && info_get(info, "role").n)
        return "Redis is a replica: name its master in redis.url";
    *ret_wait = false;
    pst_view_t version = info_get(info, "redis_version");
    char major[16] = "";
    memcpy(major, version.p, PST_MIN(version.n, sizeof major - 1));
    if (strtoul(major, NULL, 10) < 7)
        return "Redis is older than 7.0: install 7.0 or newer";
    pst_view_t policy = info_get(info, "maxmemory_policy");
    if (policy.n && !pst_view_eqs(policy, "noeviction"))
        return "Redis evicts keys when memory is full, which loses jobs: set maxmemory-policy noeviction";
    if (s->durability >= PST_DUR_LOGGED && pst_view_eqs(info_get(info, "aof_enabled"), "0"))
        return "Redis keeps no append-only file: set appendonly yes, or ask for redis.durability memory";
    if (s->durability == PST_DUR_REPLICATED && pst_view_eqs(info_get(info, "connected_slaves"), "0")) {
        *ret_wait = true;
        return "Redis has no replica: start one, or ask for redis.durability fsynced";
    }
    return NULL;
}

static void ask_library(pst_store_t *s)
{
    pst_cmd_t *c = pst_cmd_new("FUNCTION", NULL, NULL);
    pst_cmd_str(c, "LIST");
    pst_cmd_str(c, "LIBRARYNAME");
    pst_cmd_str(c, PST_LUA_LIBRARY);
    pst_cmd_str(c, "WITHCODE");
    send_step(s, c, GREET_LIBRARY);
}

static void ask_epoch(pst_store_t *s)
{
    pst_cmd_t *c;
    if (s->epoch == 0) {
        c = pst_cmd_fcall(PST_LUA("epoch_take"), 1, NULL, NULL);
        pst_cmd_str(c, PST_KEY_EPOCH);
    } else {
        c = pst_cmd_new("GET", NULL, NULL);
        pst_cmd_str(c, PST_KEY_EPOCH);
    }
    send_step(s, c, GREET_EPOCH);
}

static void load_library(pst_store_t *s)
{
    pst_cmd_t *c = pst_cmd_new("FUNCTION", NULL, NULL);
    pst_cmd_str(c, "LOAD");
    pst_cmd_str(c, "REPLACE");
    pst_cmd_arg(c, pst_lua_source, pst_lua_source_n);
    send_step(s, c, GREET_LOAD);
}

static void ask_info(pst_store_t *s)
{
    send_step(s, pst_cmd_new("INFO", NULL, NULL), GREET_INFO);
}

static void ask_select(pst_store_t *s)
{
    if (s->url.db == 0) {
        ask_info(s);
        return;
    }
    pst_cmd_t *c = pst_cmd_new("SELECT", NULL, NULL);
    pst_cmd_num(c, s->url.db);
    send_step(s, c, GREET_SELECT);
}

static void ask_auth(pst_store_t *s)
{
    s->note[0] = '\0';
    if (!s->url.pass[0]) {
        ask_select(s);
        return;
    }
    pst_cmd_t *c = pst_cmd_new("AUTH", NULL, NULL);
    if (s->url.user[0])
        pst_cmd_str(c, s->url.user);
    pst_cmd_str(c, s->url.pass);
    send_step(s, c, GREET_AUTH);
}

static void got_info(pst_store_t *s, const redisReply *r)
{
    pst_view_t info = pst_reply_view(r);
    if (!info.p) {
        refuse_reply(s, "Redis does not answer INFO, which the broker needs", r);
        return;
    }
    bool wait;
    const char *fault = info_fault(s, info, &wait);
    if (fault && wait)
        pst_redis_retry(s->conn, fault);
    else if (fault)
        refuse(s, fault);
    else if (s->durability >= PST_DUR_FSYNCED) {
        pst_cmd_t *c = pst_cmd_new("CONFIG", NULL, NULL);
        pst_cmd_str(c, "GET");
        pst_cmd_str(c, "appendfsync");
        send_step(s, c, GREET_FSYNC);
    } else
        ask_library(s);
}

static void got_fsync(pst_store_t *s, const redisReply *r)
{
    const redisReply *v = pst_reply_at(r, 1);
    if (!v)
        snprintf(s->note, sizeof s->note, "Redis does not tell its appendfsync: see that it is `always`, or what "
                                          "was accepted may be lost with the machine");
    if (v && !pst_view_eqs(pst_reply_view(v), "always")) {
        refuse(s, "Redis does not sync its append-only file before it answers: set appendfsync always, or ask for "
                  "redis.durability logged");
        return;
    }
    ask_library(s);
}

static bool library_same(const redisReply *r)
{
    const redisReply *library = pst_reply_at(r, 0);
    for (size_t i = 0; library && pst_reply_at(library, i + 1); i += 2)
        if (pst_view_eqs(pst_reply_view(library->element[i]), "library_code"))
            return pst_view_eq(pst_reply_view(library->element[i + 1]), pst_view(pst_lua_source, pst_lua_source_n));
    return false;
}

static void got_epoch(pst_store_t *s, const redisReply *r)
{
    if (r->type == REDIS_REPLY_ERROR) {
        refuse_reply(s, "the epoch cannot be read", r);
        return;
    }
    uint64_t stored = pst_reply_num(r);
    if (s->epoch == 0)
        s->epoch = stored;
    if (stored > s->epoch) {
        pst_store_fatal(s, "another broker took over: this one ends");
    } else if (stored < s->epoch) {
        pst_store_fatal(s, "Redis went back in time: it lost what it had acknowledged (restarted without its append-only "
                           "file, or an older replica took over): starting again from what there is");
    } else {
        s->step = GREET_DONE;
        s->refused = PST_OK;
        pst_redis_up(s->conn);
    }
}

static void got(pst_store_t *s, const redisReply *r)
{
    switch ((greet_step_t)s->step) {
    case GREET_AUTH:
        if (r->type == REDIS_REPLY_ERROR)
            refuse_reply(s, "Redis refuses user and password of redis.url", r);
        else
            ask_select(s);
        break;
    case GREET_SELECT:
        if (r->type == REDIS_REPLY_ERROR)
            refuse_reply(s, "Redis refuses the database of redis.url", r);
        else
            ask_info(s);
        break;
    case GREET_INFO:
        got_info(s, r);
        break;
    case GREET_FSYNC:
        got_fsync(s, r);
        break;
    case GREET_LIBRARY:
        if (r->type == REDIS_REPLY_ERROR)
            refuse_reply(s, "Redis does not let the broker list functions", r);
        else if (library_same(r))
            ask_epoch(s);
        else
            load_library(s);
        break;
    case GREET_LOAD:
        if (r->type == REDIS_REPLY_ERROR)
            refuse_reply(s, "Redis does not take the function library", r);
        else
            ask_epoch(s);
        break;
    case GREET_EPOCH:
        got_epoch(s, r);
        break;
    case GREET_DONE:
        break;
    }
}

void pst_greet(void *arg, const redisReply *r)
{
    pst_store_t *s = arg;
    if (r)
        got(s, r);
    else
        ask_auth(s);
}
