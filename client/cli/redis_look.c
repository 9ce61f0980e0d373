#include "cli/redis_look.h"

#include <stdio.h>

#include "cli/redis_ask.h"

const char *pst_durability_text(pst_durability_t d)
{
    static const char *const names[] = {[PST_DUR_MEMORY] = "memory", [PST_DUR_LOGGED] = "logged",
                                        [PST_DUR_FSYNCED] = "fsynced", [PST_DUR_REPLICATED] = "replicated"};
    return names[d];
}

/* A field of INFO ("name:value\r\n") as text. */
static bool info_field(const char *info, const char *name, char *to, size_t room)
{
    size_t n = strlen(name);
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ':') {
            snprintf(to, room, "%.*s", (int)strcspn(line + n + 1, "\r\n"), line + n + 1);
            return true;
        }
    }
    return false;
}

/* CONFIG GET name; false where it is forbidden. */
static bool config_get(redisContext *c, const char *name, char *to, size_t room)
{
    const char *argv[] = {"CONFIG", "GET", name};
    redisReply *r = pst_redis_ask(c, NULL, 3, argv);
    bool known = r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->type == REDIS_REPLY_STRING;
    if (known)
        snprintf(to, room, "%s", r->element[1]->str);
    freeReplyObject(r);
    return known;
}

static void judge(redisContext *c, const char *info, pst_redis_look_t *ret)
{
    char appendonly[16], appendfsync[16], replicas[16] = "0";
    ret->durability_known = config_get(c, "appendonly", appendonly, sizeof appendonly) &&
                            config_get(c, "appendfsync", appendfsync, sizeof appendfsync);
    if (!ret->durability_known)
        return;
    info_field(info, "connected_slaves", replicas, sizeof replicas);
    if (strcmp(appendonly, "yes") != 0)
        ret->durability = PST_DUR_MEMORY;
    else if (strcmp(appendfsync, "always") != 0)
        ret->durability = PST_DUR_LOGGED;
    else
        ret->durability = atoi(replicas) > 0 ? PST_DUR_REPLICATED : PST_DUR_FSYNCED;
}

static pst_err_t look(redisContext *c, pst_redis_look_t *ret, pst_errbuf_t *eb)
{
    const char *argv[] = {"INFO"};
    redisReply *info = pst_redis_ask(c, eb, 1, argv);
    if (!info)
        return PST_E_STORE_DOWN;
    char number[32] = "0";
    info_field(info->str, "redis_version", ret->version, sizeof ret->version);
    ret->major = (unsigned)atoi(ret->version);
    info_field(info->str, "maxmemory", number, sizeof number);
    ret->maxmemory = strtoull(number, NULL, 10);
    info_field(info->str, "maxmemory_policy", ret->policy, sizeof ret->policy);
    judge(c, info->str, ret);
    freeReplyObject(info);
    return PST_OK;
}

pst_err_t pst_redis_look(const char *url, pst_redis_look_t *ret, pst_errbuf_t *eb)
{
    *ret = (pst_redis_look_t){0};
    redisContext *c = NULL;
    pst_err_t e = pst_redis_dial(url, &c, eb);
    if (!e)
        e = look(c, ret, eb);
    if (c)
        redisFree(c);
    return e;
}
