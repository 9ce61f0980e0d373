#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/log.h"

#define BACKOFF_MIN (100 * PST_MS)
#define BACKOFF_MAX (5 * PST_SEC)
#define SETTLED (10 * PST_SEC) /* one that lived so long starts afresh */

void pst_child_init(pst_child_t *c, const char *name, const char *program)
{
    *c = (pst_child_t){.fd = -1, .start_at = PST_NEVER};
    snprintf(c->name, sizeof c->name, "%s", name);
    pst_child_arg(c, "%s", program);
}

void pst_child_arg(pst_child_t *c, const char *fmt, ...)
{
    PST_ASSERT(c->argc < PST_CHILD_ARGS_MAX);
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&c->argv[c->argc], fmt, ap);
    va_end(ap);
    PST_ASSERT(n >= 0);
    c->argc++;
}

void pst_child_release(pst_child_t *c)
{
    for (int i = 0; i < c->argc; i++)
        free(c->argv[i]);
    c->argc = 0;
}

/* Between fork and exec: only what is safe there. */
static _Noreturn void become(const pst_child_t *c, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1); /* it died before it could be told of */
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    if (c->fd >= 0)
        fcntl(c->fd, F_SETFD, 0);
    (void)nice(c->niceness);
    execv(c->argv[0], c->argv);
    _exit(127);
}

static void plan_start(pst_child_t *c, pst_ns_t now)
{
    c->backoff = c->backoff ? PST_MIN(c->backoff * 2, BACKOFF_MAX) : BACKOFF_MIN;
    c->start_at = pst_ns_add(now, c->backoff);
}

void pst_child_start(pst_child_t *c, pst_ns_t now)
{
    c->wanted = true;
    c->start_at = PST_NEVER;
    c->started = now;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(c, parent);
    if (pid < 0) {
        pst_log(PST_LOG_ERROR, "child.fork", "child=\"%s\" why=\"%s\"", c->name, strerror(errno));
        plan_start(c, now);
        return;
    }
    c->pid = pid;
}

const char *pst_child_how(const pst_child_t *c, char *to, size_t room)
{
    if (WIFSIGNALED(c->status))
        snprintf(to, room, "signal %d", WTERMSIG(c->status));
    else
        snprintf(to, room, "exit code %d", WEXITSTATUS(c->status));
    return to;
}

void pst_child_ended(pst_child_t *c, int status, pst_ns_t now)
{
    c->pid = 0;
    c->status = status;
    if (!c->wanted)
        return;
    if (pst_ns_since(now, c->started) >= SETTLED)
        c->backoff = 0;
    plan_start(c, now);
    char how[32];
    pst_log(PST_LOG_WARN, "child.died", "child=\"%s\" how=\"%s\" again_ms=%llu", c->name,
            pst_child_how(c, how, sizeof how), (unsigned long long)(c->backoff / PST_MS));
}

void pst_child_stop(pst_child_t *c, int sig)
{
    c->wanted = false;
    c->start_at = PST_NEVER;
    if (c->pid > 0)
        kill(c->pid, sig);
}

static bool is_program(const char *path)
{
    return access(path, X_OK) == 0;
}

static bool find_beside(const char *name, char *to, size_t room)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return (size_t)snprintf(to, room, "%s/%s", self, name) < room && is_program(to);
}

static bool find_in_path(const char *name, char *to, size_t room)
{
    const char *path = getenv("PATH");
    path = path ? path : "/usr/local/bin:/usr/bin:/bin";
    while (*path) {
        size_t n = strcspn(path, ":");
        bool fits = n > 0 && (size_t)snprintf(to, room, "%.*s/%s", (int)n, path, name) < room;
        if (fits && is_program(to))
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

bool pst_program_find(const char *name, bool beside, char *to, size_t room)
{
    return (beside && find_beside(name, to, room)) || find_in_path(name, to, room);
}
