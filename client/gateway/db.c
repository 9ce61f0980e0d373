#include "gateway/db.h"

#include <stdio.h>

#define FULL_SHARE 0.7 /* of maxmemory; the broker stops submissions later */
#define PREFIX "pst:{gateway}:"

typedef enum step { STEP_CONNECTED, STEP_AUTH, STEP_SELECT, STEP_PING } step_t;

struct pst_db {
    pst_loop_t *loop;
    pst_redis_t *conn;
    pst_redis_url_t url;
    step_t step;
    bool full;
};

static void greet_with(pst_db_t *db, pst_cmd_t *c, step_t step)
{
    db->step = step;
    pst_cmd_finish(c);
    pst_redis_greet(db->conn, c);
}

static void greet_ping(pst_db_t *db)
{
    greet_with(db, pst_cmd_new("PING", NULL, NULL), STEP_PING);
}

static void greet_select(pst_db_t *db)
{
    if (db->url.db == 0) {
        greet_ping(db);
        return;
    }
    pst_cmd_t *c = pst_cmd_new("SELECT", NULL, NULL);
    pst_cmd_num(c, db->url.db);
    greet_with(db, c, STEP_SELECT);
}

static void greet_auth(pst_db_t *db)
{
    if (!*db->url.pass) {
        greet_select(db);
        return;
    }
    pst_cmd_t *c = pst_cmd_new("AUTH", NULL, NULL);
    if (*db->url.user)
        pst_cmd_str(c, db->url.user);
    pst_cmd_str(c, db->url.pass);
    greet_with(db, c, STEP_AUTH);
}

static void on_greet(void *arg, const redisReply *r)
{
    pst_db_t *db = arg;
    if (!r) {
        greet_auth(db);
    } else if (r->type == REDIS_REPLY_ERROR) {
        pst_redis_retry(db->conn, r->str);
    } else {
        switch (db->step) {
        case STEP_CONNECTED: break;
        case STEP_AUTH: greet_select(db); break;
        case STEP_SELECT: greet_ping(db); break;
        case STEP_PING: pst_redis_up(db->conn); break;
        }
    }
}

static uint64_t info_number(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void on_info(pst_cmd_t *c, const redisReply *r)
{
    pst_db_t *db = c->arg;
    if (!r || r->type != REDIS_REPLY_STRING)
        return;
    uint64_t used = info_number(r->str, "\nused_memory:"), max = info_number(r->str, "\nmaxmemory:");
    db->full = max > 0 && (double)used > FULL_SHARE * (double)max;
}

static void on_tick(void *arg)
{
    pst_db_t *db = arg;
    pst_cmd_t *c = pst_db_cmd("INFO", on_info, db);
    pst_cmd_str(c, "memory");
    pst_db_send(db, c);
}

static void on_state(void *arg, bool up, const char *why)
{
    (void)arg;
    (void)up;
    (void)why; /* the broker says so in its log */
}

pst_err_t pst_db_new(pst_loop_t *loop, const char *url, pst_db_t **ret, pst_errbuf_t *eb)
{
    pst_redis_url_t u;
    pst_err_t e = pst_redis_url_parse(url, &u, eb);
    if (e)
        return e;
    pst_db_t *db = calloc(1, sizeof *db);
    if (!db)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    db->loop = loop;
    db->url = u;
    pst_redis_events_t events = {.greet = on_greet, .state = on_state, .tick = on_tick, .arg = db};
    db->conn = pst_redis_new(loop, &u, false, &events);
    *ret = db;
    return PST_OK;
}

void pst_db_destroy(pst_db_t **pdb)
{
    pst_db_t *db = *pdb;
    *pdb = NULL;
    if (!db)
        return;
    pst_redis_destroy(&db->conn);
    free(db);
}

pst_redis_t *pst_db_conn(pst_db_t *db)
{
    return db->conn;
}

bool pst_db_is_up(const pst_db_t *db)
{
    return pst_redis_is_up(db->conn);
}

bool pst_db_is_full(const pst_db_t *db)
{
    return db->full;
}

static void nobody_waits(pst_cmd_t *c, const redisReply *r)
{
    (void)c;
    (void)r;
}

pst_cmd_t *pst_db_cmd(const char *name, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = pst_cmd_new(name, fn ? fn : nobody_waits, arg);
    c->once = true;
    return c;
}

void pst_db_send(pst_db_t *db, pst_cmd_t *cmd)
{
    pst_cmd_finish(cmd);
    pst_redis_send(db->conn, cmd);
}

void pst_db_flush(pst_db_t *db)
{
    pst_redis_flush(db->conn);
}

static pst_cmd_t *cmd_of(const char *name, const char *what, const char *of, pst_cmd_fn *fn, void *arg)
{
    pst_redis_key_t k;
    pst_db_key(&k, what, of);
    pst_cmd_t *c = pst_db_cmd(name, fn, arg);
    pst_cmd_key(c, &k);
    return c;
}

pst_cmd_t *pst_db_fields(const char *what, const char *of, const char *const *fields, size_t n, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = cmd_of("HMGET", what, of, fn, arg);
    for (size_t i = 0; i < n; i++)
        pst_cmd_str(c, fields[i]);
    return c;
}

pst_cmd_t *pst_db_add(const char *set, const char *of, uint64_t score, const char *member)
{
    pst_cmd_t *c = cmd_of("ZADD", set, of, NULL, NULL);
    pst_cmd_num(c, score);
    pst_cmd_str(c, member);
    return c;
}

pst_cmd_t *pst_db_drop(const char *set, const char *of, const char *member, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = cmd_of("ZREM", set, of, fn, arg);
    pst_cmd_str(c, member);
    return c;
}

pst_cmd_t *pst_db_lease(const char *of, const char *holder, uint32_t ms, bool if_free, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = cmd_of("SET", "lease", of, fn, arg);
    pst_cmd_str(c, holder);
    pst_cmd_str(c, "PX");
    pst_cmd_num(c, ms);
    if (if_free)
        pst_cmd_str(c, "NX");
    return c;
}

void pst_db_key(pst_redis_key_t *k, const char *what, const char *of)
{
    int n = snprintf(k->p, sizeof k->p, PREFIX "%s:%s", what, of ? of : "");
    k->n = PST_MIN((size_t)n, sizeof k->p - 1);
}

void pst_db_key_piece(pst_redis_key_t *k, const char *file, uint32_t n)
{
    k->n = (size_t)snprintf(k->p, sizeof k->p, PREFIX "text:%s:%u", file, n);
}
