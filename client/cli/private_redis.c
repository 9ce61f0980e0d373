#include "cli/private_redis.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/clock.h"

#define SOCKET_PATH_MAX 100      /* the kernel takes 107 */
#define SOCKET_ROOM 4200
#define LEFTOVER_WAIT (10 * PST_SEC)
#define PING_TIMEOUT_MS 500
#define MEMORY_SHARE 2           /* without a maxmemory: this part of the machine's */

/* Like mkdir -p, 0700: what is in there is the users' prompts. */
static bool make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        int rc = mkdir(path, 0755);
        *p = '/';
        if (rc < 0 && errno != EEXIST)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool choose_dir(pst_private_redis_t *r, const char *dir)
{
    const char *home = getenv("HOME");
    char cwd[2048];
    int n;
    if (!dir)
        n = snprintf(r->dir, sizeof r->dir, "%s/.local/share/penstock", home ? home : "");
    else if (*dir == '/' || !getcwd(cwd, sizeof cwd))
        n = snprintf(r->dir, sizeof r->dir, "%s", dir);
    else
        n = snprintf(r->dir, sizeof r->dir, "%s/%s", cwd, dir);
    return n > 0 && (size_t)n < sizeof r->dir;
}

/* A descriptor on DIR/name, -1 with errno if it cannot be made. */
static int open_lock(const pst_private_redis_t *r, const char *name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static bool lock_until(int fd, pst_ns_t until)
{
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (pst_clock_mono() >= until)
            return false;
        pst_clock_sleep(50 * PST_MS);
    }
    return true;
}

static int take_locks(pst_private_redis_t *r)
{
    r->up_lock = open_lock(r, "up.lock");
    r->redis_lock = open_lock(r, "redis.lock");
    if (r->up_lock < 0 || r->redis_lock < 0)
        return pst_cli_fail(EXIT_FAILED, "%s cannot be written: %s: name another with --data", r->dir, strerror(errno));
    if (!lock_until(r->up_lock, 0))
        return pst_cli_fail(EXIT_FAILED, "another penstock up runs on %s: stop it, or name another with --data",
                            r->dir);
    if (lock_until(r->redis_lock, 0))
        return EXIT_WELL;
    pst_cli_say("waiting for the Redis that an earlier penstock up left on %s", r->dir);
    if (lock_until(r->redis_lock, pst_ns_add(pst_clock_mono(), LEFTOVER_WAIT)))
        return EXIT_WELL;
    return pst_cli_fail(EXIT_FAILED, "a Redis of an earlier penstock up still runs on %s: end it, its log is there",
                        r->dir);
}

/* In the data directory, for who is to find it there; false if its path is too long for a socket. */
static bool socket_path(const pst_private_redis_t *r, char to[SOCKET_ROOM])
{
    return snprintf(to, SOCKET_ROOM, "%s/redis.sock", r->dir) <= SOCKET_PATH_MAX;
}

static int choose_socket(pst_private_redis_t *r)
{
    char link[SOCKET_ROOM];
    if (socket_path(r, r->socket))
        return EXIT_WELL;
    const char *run = getenv("XDG_RUNTIME_DIR");
    bool fits = run && *run && strlen(run) < 64;
    snprintf(r->socket_dir, sizeof r->socket_dir, "%s/penstock-XXXXXX", fits ? run : "/tmp");
    if (!mkdtemp(r->socket_dir)) {
        int saved = errno;
        r->socket_dir[0] = '\0';
        return pst_cli_fail(EXIT_FAILED, "no place for Redis's socket: %s: use a shorter --data", strerror(saved));
    }
    snprintf(r->socket, sizeof r->socket, "%s/redis.sock", r->socket_dir);
    socket_path(r, link);
    unlink(link); /* of one that was killed */
    if (symlink(r->socket, link) < 0)
        return pst_cli_fail(EXIT_FAILED, "%s cannot be made: %s: name another with --data", link, strerror(errno));
    return EXIT_WELL;
}

int pst_private_redis_find(const char *dir, char *to, size_t room)
{
    pst_private_redis_t r = {.up_lock = -1, .redis_lock = -1};
    char path[SOCKET_ROOM], target[SOCKET_PATH_MAX + 1] = "";
    if (!choose_dir(&r, dir))
        return pst_cli_fail(EXIT_USAGE, "the path of --data is too long: name another");
    bool here = socket_path(&r, path);
    if (!here && readlink(path, target, sizeof target - 1) <= 0)
        return pst_cli_fail(EXIT_FAILED, "no penstock up runs on %s: start it, name its directory with --data, or set "
                            "redis.url", r.dir);
    snprintf(to, room, "unix://%s", here ? path : target);
    return EXIT_WELL;
}

int pst_private_redis_open(pst_private_redis_t *r, const char *dir)
{
    *r = (pst_private_redis_t){.up_lock = -1, .redis_lock = -1};
    if (!choose_dir(r, dir))
        return pst_cli_fail(EXIT_USAGE, "the path of --data is too long: name another");
    if (!make_dirs(r->dir))
        return pst_cli_fail(EXIT_FAILED, "%s cannot be made: %s: name another with --data", r->dir, strerror(errno));
    int code = take_locks(r);
    return code ? code : choose_socket(r);
}

static uint64_t memory_max(const pst_config_t *config)
{
    if (config->redis_maxmemory)
        return config->redis_maxmemory;
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / MEMORY_SHARE;
}

/* What the wanted durability asks of the append-only file (ARCHITECTURE.md section 4). */
static void add_durability(pst_child_t *c, pst_durability_t d)
{
    pst_child_arg(c, "--appendonly");
    pst_child_arg(c, d == PST_DUR_MEMORY ? "no" : "yes");
    pst_child_arg(c, "--appendfsync");
    pst_child_arg(c, d == PST_DUR_LOGGED ? "everysec" : "always");
}

static void add_settings(pst_child_t *c)
{
    static const char *const settings[] = {
        "--port",
        "0",
        "--daemonize",
        "no",
        "--unixsocketperm",
        "700",
        "--save",
        "",
        "--proc-title-template",
        "redis-server",
        "--maxmemory-policy",
        "noeviction",
        "--maxmemory-clients",
        "25%",
        "--client-output-buffer-limit",
        "normal",
        "1gb",
        "512mb",
        "60",
        /* packs are compressed already: trying again took half of a rewrite of the log */
        "--rdbcompression",
        "no",
        "--auto-aof-rewrite-min-size",
        "256mb",
        /* nothing large is freed in the foreground */
        "--lazyfree-lazy-expire",
        "yes",
        "--lazyfree-lazy-eviction",
        "yes",
        "--lazyfree-lazy-server-del",
        "yes",
        "--lazyfree-lazy-user-del",
        "yes",
        "--lazyfree-lazy-user-flush",
        "yes",
    };
    for (size_t i = 0; i < PST_COUNT(settings); i++)
        pst_child_arg(c, "%s", settings[i]);
}

int pst_private_redis_child(const pst_private_redis_t *r, const pst_config_t *config, pst_child_t *ret)
{
    char program[4096];
    if (!pst_program_find("redis-server", false, program, sizeof program))
        return pst_cli_fail(EXIT_FAILED,
                            "redis-server is not installed: install the package redis-server, or set redis.url "
                            "to a Redis that runs");
    pst_child_init(ret, "redis", program);
    ret->fd = r->redis_lock;
    add_settings(ret);
    add_durability(ret, config->durability);
    pst_child_arg(ret, "--unixsocket");
    pst_child_arg(ret, "%s", r->socket);
    pst_child_arg(ret, "--dir");
    pst_child_arg(ret, "%s", r->dir);
    pst_child_arg(ret, "--logfile");
    pst_child_arg(ret, "%s/redis.log", r->dir);
    pst_child_arg(ret, "--maxmemory");
    pst_child_arg(ret, "%llu", (unsigned long long)memory_max(config));
    return EXIT_WELL;
}

bool pst_private_redis_ready(const pst_private_redis_t *r)
{
    struct timeval timeout = {.tv_usec = PING_TIMEOUT_MS * 1000};
    redisContext *c = redisConnectUnixWithTimeout(r->socket, timeout);
    bool ready = false;
    if (c && !c->err && redisSetTimeout(c, timeout) == REDIS_OK) {
        redisReply *reply = redisCommand(c, "PING");
        ready = reply && reply->type == REDIS_REPLY_STATUS; /* while it loads its file this is an error */
        freeReplyObject(reply);
    }
    if (c)
        redisFree(c);
    return ready;
}

void pst_private_redis_close(pst_private_redis_t *r)
{
    if (r->socket_dir[0]) {
        char link[SOCKET_ROOM];
        socket_path(r, link);
        unlink(link);
        unlink(r->socket);
        rmdir(r->socket_dir);
    }
    if (r->redis_lock >= 0)
        close(r->redis_lock);
    if (r->up_lock >= 0)
        close(r->up_lock);
}
