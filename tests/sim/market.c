/* market: runs scenarios and prints their figures, a JSON object a line.  Exit 0: all rules held, whatever the figures;
 * 1: a rule was broken (its line has a "failure"); 2: usage.
 *   market [--only REGEX] [--jobs N] [--seed S]     N jobs of a scenario's main batch (default 1,000,000)
 *   market --list                                   the scenarios
 *   market --verbose [--every S] [--from S] [--until S]
 *                                                   on stderr, a line a virtual second (or S): for each endpoint calls
 *                                                   sent, 429s and errors meanwhile, and calls in flight; the tokens
 *                                                   of each tenant's calls sent meanwhile.  At the end: how much of
 *                                                   each endpoint's limits was used */
#include <math.h>
#include <regex.h>
#include <stdio.h>

#include "market.h"

static const scenario_t *const all[] = {market_limits, market_cost, market_fair, market_decision};

static int usage(void)
{
    fprintf(stderr, "usage: market [--only REGEX] [--jobs N] [--seed S] [--list]\n"
                    "              [--verbose [--every S] [--from S] [--until S]]\n");
    return 2;
}

static bool parse(int argc, char **argv, options_t *o, const char **only, bool *list)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--list") == 0)
            *list = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            o->verbose = true;
        else if (!value)
            return false;
        else if (strcmp(argv[i], "--only") == 0)
            *only = argv[++i];
        else if (strcmp(argv[i], "--jobs") == 0)
            o->jobs = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--every") == 0)
            o->every_s = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--from") == 0)
            o->from_s = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--until") == 0)
            o->until_s = strtod(argv[++i], NULL);
        else
            return false;
    }
    return o->jobs >= 1000 && o->jobs <= 100000000 && o->every_s >= 0.001;
}

static uint32_t run_all(const options_t *o, const regex_t *only, bool list)
{
    uint32_t failures = 0;
    for (size_t i = 0; i < PST_COUNT(all); i++) {
        for (const scenario_t *s = all[i]; s->name; s++) {
            if (regexec(only, s->name, 0, NULL, 0))
                continue;
            if (list) {
                printf("%s\n", s->name);
                continue;
            }
            run_t r = {.options = o, .scenario = s->name};
            s->run(&r);
            failures += r.failures;
        }
    }
    return failures;
}

int main(int argc, char **argv)
{
    options_t o = {.jobs = 1000000, .seed = 1, .every_s = 1, .until_s = INFINITY};
    const char *only = "";
    bool list = false;
    regex_t regex;
    if (!parse(argc, argv, &o, &only, &list) || regcomp(&regex, only, REG_EXTENDED | REG_NOSUB))
        return usage();
    uint32_t failures = run_all(&o, &regex, list);
    regfree(&regex);
    return failures ? 1 : 0;
}
