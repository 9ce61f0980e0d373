#include "cli/redis_ask.h"

#include "cli/private_redis.h"

redisReply *pst_redis_ask(redisContext *c, pst_errbuf_t *eb, int argc, const char **argv)
{
    redisReply *r = redisCommandArgv(c, argc, argv, NULL);
    if (r && r->type != REDIS_REPLY_ERROR)
        return r;
    (void)pst_errf(eb, PST_E_STORE_DOWN, "Redis cannot be asked: %s", r ? r->str : c->errstr);
    freeReplyObject(r);
    return NULL;
}

int pst_redis_dial_cluster(const pst_cli_args_t *a, redisContext **ret)
{
    pst_config_t *config = NULL;
    pst_errbuf_t why = {""};
    char private[4300] = "";
    int code = pst_cli_config(a, &config);
    const char *url = code ? NULL : a->redis ? a->redis : config->redis_url;
    if (!code && !url)
        code = pst_private_redis_find(a->data, private, sizeof private);
    if (!code && pst_redis_dial(url ? url : private, ret, &why)) {
        if (!url)
            code = pst_cli_fail(EXIT_FAILED, "%s: %s: is penstock up running? Start it, name its directory with --data, "
                                "or set redis.url", private, why.text);
        else
            code = pst_cli_fail(EXIT_FAILED, "%s: see penstock check", why.text);
    }
    pst_config_destroy(&config);
    return code;
}
