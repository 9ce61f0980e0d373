#include "redis/dial.h"

#include <stdio.h>
#include <sys/time.h>

#include "redis/url.h"

#define PATIENCE_S 5

/* NULL if it was carried out, else what is wrong with it. */
static const char *do_it(redisContext *c, int argc, const char **argv, char *why, size_t room)
{
    redisReply *r = redisCommandArgv(c, argc, argv, NULL);
    if (r && r->type != REDIS_REPLY_ERROR) {
        freeReplyObject(r);
        return NULL;
    }
    snprintf(why, room, "%s", r ? r->str : c->errstr);
    if (r)
        freeReplyObject(r);
    return why;
}

static const char *log_in(redisContext *c, const pst_redis_url_t *u, char *why, size_t room)
{
    const char *auth[3] = {"AUTH"};
    int n = 1;
    if (*u->user)
        auth[n++] = u->user;
    if (*u->pass)
        auth[n++] = u->pass;
    const char *fault = *u->pass ? do_it(c, n, auth, why, room) : NULL;
    char db[16];
    snprintf(db, sizeof db, "%u", u->db);
    const char *select[] = {"SELECT", db};
    return fault || u->db == 0 ? fault : do_it(c, 2, select, why, room);
}

pst_err_t pst_redis_dial(const char *url, redisContext **ret, pst_errbuf_t *eb)
{
    pst_redis_url_t u;
    pst_err_t e = pst_redis_url_parse(url, &u, eb);
    if (e)
        return e;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    redisContext *c = u.local ? redisConnectUnixWithTimeout(u.path, patience)
                              : redisConnectWithTimeout(u.host, atoi(u.port), patience);
    if (!c)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    char why[256];
    bool broken = c->err || redisSetTimeout(c, patience) != REDIS_OK;
    const char *fault = broken ? c->errstr : log_in(c, &u, why, sizeof why);
    explicit_bzero(&u, sizeof u);
    if (fault) {
        e = pst_errf(eb, PST_E_STORE_DOWN, "Redis cannot be asked: %s", fault);
        redisFree(c);
        return e;
    }
    *ret = c;
    return PST_OK;
}
