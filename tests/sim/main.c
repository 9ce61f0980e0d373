/* sim: runs seeds.  Exit 0: all rules held; 1: a seed broke one (it is named, with the rule); 2: usage.
 *   sim --seeds N [--first S]    N seeds from S on (default 1)
 *   sim --seed S [--trace]       one seed, and its trace hash; --trace: every event
 * The first seeds of a run are run twice: the same seed must give the same trace. */
#include <stdio.h>

#include "sim.h"

#define TWICE 20

static bool run_one(uint64_t seed, bool trace, sim_report_t *r)
{
    sim_run(seed, trace, r);
    if (r->failure[0]) {
        printf("seed %llu: %s\n", (unsigned long long)seed, r->failure);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 1000, first = 1;
    bool trace = false, one = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--first") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 10);
            seeds = 1;
            one = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else {
            fprintf(stderr, "usage: sim --seeds N [--first S] | --seed S [--trace]\n");
            return 2;
        }
    }
    uint64_t events = 0, jobs = 0, losses = 0, crashes = 0;
    for (uint64_t s = first; s < first + seeds; s++) {
        sim_report_t r, again;
        if (!run_one(s, trace, &r))
            return 1;
        if (s < first + TWICE && !trace) {
            sim_run(s, false, &again);
            if (again.trace != r.trace) {
                printf("seed %llu: two runs differ\n", (unsigned long long)s);
                return 1;
            }
        }
        events += r.events;
        jobs += r.jobs;
        losses += r.losses;
        crashes += r.crashes;
        if (one)
            printf("seed %llu: trace %016llx\n", (unsigned long long)s, (unsigned long long)r.trace);
    }
    printf("%llu seeds held: %llu events, %llu jobs, %llu broker crashes, %llu workers lost with calls in flight\n",
           (unsigned long long)seeds, (unsigned long long)events, (unsigned long long)jobs, (unsigned long long)crashes,
           (unsigned long long)losses);
    return 0;
}
