#include "cli/redis_ask.h"

#include "cli/private_redis.h"
#include "redis/url.h"

#define TIMEOUT_S 3

static pst_err_t down(pst_errbuf_t *eb, const char *why)
{
    return pst_errf(eb, PST_E_STORE_DOWN, "Redis cannot be asked: %s", why);
}

redisReply *pst_redis_ask(redisContext *c, pst_errbuf_t *eb, int argc, const char **argv)
{
    redisReply *r = redisCommandArgv(c, argc, argv, NULL);
    if (r && r->type != REDIS_REPLY_ERROR)
        return r;
    (void)down(eb, r ? r->str : c->errstr);
    freeReplyObject(r);
    return NULL;
}

static bool asked(redisContext *c, pst_errbuf_t *eb, int argc, const char **argv)
{
    redisReply *r = pst_redis_ask(c, eb, argc, argv);
    freeReplyObject(r);
    return r;
}

static pst_err_t greet(redisContext *c, const pst_redis_url_t *u, pst_errbuf_t *eb)
{
    char db[16];
    snprintf(db, sizeof db, "%u", u->db);
    const char *with_user[] = {"AUTH", u->user, u->pass};
    const char *without[] = {"AUTH", u->pass};
    const char *select[] = {"SELECT", db};
    bool ok = !u->pass[0] || (u->user[0] ? asked(c, eb, 3, with_user) : asked(c, eb, 2, without));
    ok = ok && (u->db == 0 || asked(c, eb, 2, select));
    return ok ? PST_OK : PST_E_STORE_DOWN;
}

pst_err_t pst_redis_dial(const char *url, redisContext **ret, pst_errbuf_t *eb)
{
    pst_redis_url_t u;
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    if (pst_redis_url_parse(url, &u, eb))
        return PST_E_INVALID;
    redisContext *c = u.local ? redisConnectUnixWithTimeout(u.path, timeout)
                              : redisConnectWithTimeout(u.host, atoi(u.port), timeout);
    if (!c)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    pst_err_t e = c->err || redisSetTimeout(c, timeout) != REDIS_OK ? down(eb, c->errstr) : greet(c, &u, eb);
    explicit_bzero(&u, sizeof u);
    if (e)
        redisFree(c);
    else
        *ret = c;
    return e;
}

int pst_redis_dial_cluster(const pst_cli_args_t *a, redisContext **ret)
{
    pst_config_t *config = NULL;
    pst_errbuf_t why = {""};
    char private[4300] = "";
    int code = pst_cli_config(a, &config);
    if (!code && !config->redis_url)
        code = pst_private_redis_find(a->data, private, sizeof private);
    if (!code && pst_redis_dial(*private ? private : config->redis_url, ret, &why)) {
        if (*private)
            code = pst_cli_fail(EXIT_FAILED, "%s: %s: is penstock up running? Start it, name its directory with --data, "
                                "or set redis.url", private, why.text);
        else
            code = pst_cli_fail(EXIT_FAILED, "%s: see penstock check", why.text);
    }
    pst_config_destroy(&config);
    return code;
}
