/* log.c - a line is built on the stack and leaves in one write(2), so that lines of several processes on one
 * stderr do not mix (PIPE_BUF is 4096 on Linux) and logging never allocates. */
#include "proc/log.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "proc/clock.h"

#define LINE_BYTES_MAX 4096
#define NAME_BYTES_MAX 64

static const char *const level_name[] = {
    [PST_LOG_ERROR] = "error",
    [PST_LOG_WARN] = "warn",
    [PST_LOG_INFO] = "info",
    [PST_LOG_DEBUG] = "debug",
};

static char process_name[NAME_BYTES_MAX] = "penstock";
static pst_log_level_t level_max = PST_LOG_INFO;

void pst_log_init(const char *process)
{
    snprintf(process_name, sizeof process_name, "%s", process);
    level_max = PST_LOG_INFO;
    const char *want = getenv("PENSTOCK_LOG");
    if (!want)
        return;
    for (size_t i = 0; i < PST_COUNT(level_name); i++) {
        if (strcasecmp(want, level_name[i]) == 0)
            level_max = (pst_log_level_t)i;
    }
}

/* What snprintf wrote of a line's rest, never more than there was room for. */
static size_t clamp(int wrote, size_t room)
{
    if (wrote < 0)
        return 0;
    return PST_MIN((size_t)wrote, room - 1);
}

static size_t put_head(char *line, size_t room, pst_log_level_t level, const char *msg_id)
{
    uint64_t ms = pst_clock_wall_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm t;
    gmtime_r(&s, &t);
    size_t n = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &t);
    n += clamp(snprintf(line + n, room - n, ".%03uZ %s %s process=%s", (unsigned)(ms % 1000),
                        level_name[level], msg_id, process_name),
               room - n);
    return n;
}

/* A value from outside must not be able to begin a line of its own or drive a terminal. */
static void tame(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c == 0x7f)
            p[i] = '?';
    }
}

void pst_log(pst_log_level_t level, const char *msg_id, const char *kv, ...)
{
    if (level > level_max)
        return;
    int saved = errno;
    char line[LINE_BYTES_MAX];
    size_t n = put_head(line, sizeof line - 1, level, msg_id);
    if (kv && *kv && n + 2 < sizeof line) {
        line[n++] = ' ';
        va_list ap;
        va_start(ap, kv);
        n += clamp(vsnprintf(line + n, sizeof line - 1 - n, kv, ap), sizeof line - 1 - n);
        va_end(ap);
    }
    tame(line, n);
    line[n++] = '\n';
    ssize_t wrote;
    do {
        wrote = write(STDERR_FILENO, line, n);
    } while (wrote < 0 && errno == EINTR);
    errno = saved;
}
