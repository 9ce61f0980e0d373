#include "proc/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

pst_ns_t pst_clock_mono(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_MONOTONIC, &t);
    PST_ASSERT(rc == 0);
    return (pst_ns_t)t.tv_sec * PST_SEC + (pst_ns_t)t.tv_nsec;
}

uint64_t pst_clock_wall_ms(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_REALTIME, &t);
    PST_ASSERT(rc == 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void pst_clock_sleep(pst_ns_t d)
{
    struct timespec t = {.tv_sec = (time_t)(d / PST_SEC), .tv_nsec = (long)(d % PST_SEC)};
    nanosleep(&t, NULL);
}

void pst_random(void *p, size_t n)
{
    char *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        PST_ASSERT(got > 0);
        at += got;
        n -= (size_t)got;
    }
}

uint64_t pst_random_u64(void)
{
    uint64_t r;
    pst_random(&r, sizeof r);
    return r;
}

pst_id_t pst_id_new(void)
{
    uint8_t random[10];
    pst_random(random, sizeof random);
    return pst_id_make(pst_clock_wall_ms(), random);
}
