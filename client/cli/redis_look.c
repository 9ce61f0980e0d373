#include "cli/redis_look.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#define TIMEOUT_S 3
#define PART_MAX 256

const char *pst_durability_text(pst_durability_t d)
{
    static const char *const names[] = {[PST_DUR_MEMORY] = "memory", [PST_DUR_LOGGED] = "logged",
                                        [PST_DUR_FSYNCED] = "fsynced", [PST_DUR_REPLICATED] = "replicated"};
    return names[d];
}

/* unix:///path, or redis://[[user]:password@]host[:port][/db] */
typedef struct url {
    char path[PART_MAX], host[PART_MAX], user[PART_MAX], password[PART_MAX];
    int port, db;
} url_t;

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* n characters of a URL, %XX decoded. */
static bool take_part(const char *from, size_t n, char to[PART_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < n && at < PART_MAX - 1; i++) {
        bool coded = from[i] == '%' && i + 2 < n && hex(from[i + 1]) >= 0 && hex(from[i + 2]) >= 0;
        to[at++] = coded ? (char)(hex(from[i + 1]) << 4 | hex(from[i + 2])) : from[i];
        i += coded ? 2 : 0;
    }
    to[at] = '\0';
    return n < PART_MAX;
}

static bool take_login(const char *login, size_t n, url_t *u)
{
    size_t user = strcspn(login, ":");
    user = PST_MIN(user, n);
    return take_part(login, user, u->user) &&
           (user == n || take_part(login + user + 1, n - user - 1, u->password));
}

static bool take_host(const char *p, size_t n, url_t *u)
{
    const char *colon = memrchr(p, ':', n);
    const char *bracket = memrchr(p, ']', n); /* of an IPv6 address, which has colons of its own */
    if (colon && bracket && colon < bracket)
        colon = NULL;
    size_t host = colon ? (size_t)(colon - p) : n;
    u->port = colon ? atoi(colon + 1) : 6379;
    bool v6 = host >= 2 && p[0] == '[';
    return take_part(p + v6, host - 2 * v6, u->host) && u->host[0] && u->port > 0 && u->port < 65536;
}

static bool parse_url(const char *text, url_t *u)
{
    *u = (url_t){0};
    if (strncmp(text, "unix://", 7) == 0)
        return text[7] == '/' && take_part(text + 7, strlen(text + 7), u->path);
    if (strncmp(text, "redis://", 8) != 0)
        return false;
    text += 8;
    size_t authority = strcspn(text, "/");
    if (text[authority])
        u->db = atoi(text + authority + 1);
    const char *at = memrchr(text, '@', authority);
    if (at && !take_login(text, (size_t)(at - text), u))
        return false;
    const char *host = at ? at + 1 : text;
    return take_host(host, authority - (size_t)(host - text), u);
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

static pst_err_t down(pst_errbuf_t *eb, const char *why)
{
    return pst_errf(eb, PST_E_STORE_DOWN, "Redis cannot be asked: %s", why);
}

/* The reply, or NULL with the words in eb. */
static redisReply *ask(redisContext *c, pst_errbuf_t *eb, int argc, const char **argv)
{
    redisReply *r = redisCommandArgv(c, argc, argv, NULL);
    if (r && r->type != REDIS_REPLY_ERROR)
        return r;
    (void)down(eb, r ? r->str : c->errstr);
    freeReplyObject(r);
    return NULL;
}

static pst_err_t log_in(redisContext *c, const url_t *u, pst_errbuf_t *eb)
{
    const char *with_user[] = {"AUTH", u->user, u->password};
    const char *without[] = {"AUTH", u->password};
    if (!u->password[0])
        return PST_OK;
    redisReply *r = u->user[0] ? ask(c, eb, 3, with_user) : ask(c, eb, 2, without);
    freeReplyObject(r);
    return r ? PST_OK : PST_E_STORE_DOWN;
}

/* CONFIG GET name; false where it is forbidden. */
static bool config_get(redisContext *c, const char *name, char *to, size_t room)
{
    const char *argv[] = {"CONFIG", "GET", name};
    redisReply *r = ask(c, NULL, 3, argv);
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

static pst_err_t look(redisContext *c, const url_t *u, pst_redis_look_t *ret, pst_errbuf_t *eb)
{
    pst_err_t e = log_in(c, u, eb);
    if (e)
        return e;
    const char *argv[] = {"INFO"};
    redisReply *info = ask(c, eb, 1, argv);
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

pst_err_t pst_redis_look(const char *text, pst_redis_look_t *ret, pst_errbuf_t *eb)
{
    *ret = (pst_redis_look_t){0};
    url_t u;
    if (!parse_url(text, &u))
        return pst_errf(eb, PST_E_INVALID, "redis.url is no address: write redis://USER:PASSWORD@HOST:PORT/DB or "
                        "unix:///PATH");
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    redisContext *c = u.path[0] ? redisConnectUnixWithTimeout(u.path, timeout)
                                : redisConnectWithTimeout(u.host, u.port, timeout);
    if (!c)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    pst_err_t e = PST_OK;
    if (c->err || redisSetTimeout(c, timeout) != REDIS_OK)
        e = down(eb, c->errstr);
    else
        e = look(c, &u, ret, eb);
    redisFree(c);
    return e;
}
