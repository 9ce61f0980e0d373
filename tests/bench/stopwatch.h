/* stopwatch.h - wall and CPU time of this process, and the arguments that the programs share. */
#ifndef BENCH_STOPWATCH_H
#define BENCH_STOPWATCH_H

#include <stdio.h>
#include <sys/resource.h>

#include "proc/clock.h"

typedef struct bench_watch {
    pst_ns_t wall;
    double cpu_s;
} bench_watch_t;

static inline double bench_cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static inline bench_watch_t bench_watch_start(void)
{
    return (bench_watch_t){pst_clock_mono(), bench_cpu_s()};
}

static inline double bench_watch_s(const bench_watch_t *w)
{
    return (double)pst_ns_since(pst_clock_mono(), w->wall) / (double)PST_SEC;
}

static inline double bench_watch_cpu_s(const bench_watch_t *w)
{
    return bench_cpu_s() - w->cpu_s;
}

/* The most memory this program ever held; ru_maxrss would count the one that it was forked from too. */
static inline long bench_rss_kib(void)
{
    long kib = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    }
    if (f)
        fclose(f);
    return kib;
}

/* A positive number, or the end of the program. */
static inline uint32_t bench_number(const char *option, const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || end == text || n == 0 || n > UINT32_MAX / 2) {
        fprintf(stderr, "bench: --%s %s: give a number above 0\n", option, text);
        exit(2);
    }
    return (uint32_t)n;
}

#endif
