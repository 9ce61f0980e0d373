/* main.c - the command line of penstock-worker. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "proc/log.h"
#include "worker.h"

#define DRAIN_TIMEOUT_S 30
#define DRAIN_TIMEOUT_S_MAX 86400

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "usage: penstock-worker [options]\n"
    "Calls providers for a penstock broker.  SIGTERM or SIGINT lets the calls in flight end and leaves; a\n"
    "second one cuts them.  SIGHUP reads the configuration again.\n"
    "\n"
    "  --broker ADDR        the broker's workers socket (default: broker.workers of the configuration)\n"
    "  --provider NAME      serve this provider; may be repeated (default: all that have their key)\n"
    "  --concurrency N      calls in flight a provider (default: its limits.concurrency, else 64)\n"
    "  --drain-timeout S    seconds that calls in flight get when leaving (default: 30)\n"
    "  --config FILE        configuration (default: $PENSTOCK_CONFIG, ./penstock.yaml,\n"
    "                       ~/.config/penstock/penstock.yaml)\n"
    "  --help, --version\n";

enum { OPT_BROKER = 256, OPT_PROVIDER, OPT_CONCURRENCY, OPT_DRAIN, OPT_CONFIG, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
    {"broker", required_argument, NULL, OPT_BROKER},
    {"provider", required_argument, NULL, OPT_PROVIDER},
    {"concurrency", required_argument, NULL, OPT_CONCURRENCY},
    {"drain-timeout", required_argument, NULL, OPT_DRAIN},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

typedef struct line {
    pst_worker_args_t args;
    const char *providers[PST_WORKER_PROVIDERS_MAX];
    bool help, version;
} line_t;

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || n < min || n > max)
        return false;
    *ret = n;
    return true;
}

static bool wrong(const char *option, const char *value, const char *wanted)
{
    fprintf(stderr, "penstock-worker: %s \"%s\": give %s\n", option, value, wanted);
    return false;
}

static bool add_provider(line_t *l, const char *name)
{
    pst_pool_choice_t *c = &l->args.choice;
    if (c->providers_n == PST_COUNT(l->providers))
        return wrong("--provider", name, "fewer of them");
    l->providers[c->providers_n++] = name;
    return true;
}

static bool parse_option(line_t *l, int option, const char *value)
{
    uint64_t n;
    switch (option) {
    case OPT_BROKER:
        l->args.broker = value;
        return true;
    case OPT_PROVIDER:
        return add_provider(l, value);
    case OPT_CONCURRENCY:
        if (!parse_number(value, 1, PST_POOLS_RUNS_MAX, &n))
            return wrong("--concurrency", value, "a number from 1 to 32768");
        l->args.choice.concurrency = (uint32_t)n;
        return true;
    case OPT_DRAIN:
        if (!parse_number(value, 0, DRAIN_TIMEOUT_S_MAX, &n))
            return wrong("--drain-timeout", value, "seconds from 0 to 86400");
        l->args.drain_timeout = n * PST_SEC;
        return true;
    case OPT_CONFIG:
        l->args.config_path = value;
        return true;
    case OPT_HELP:
        return l->help = true;
    case OPT_VERSION:
        return l->version = true;
    }
    fputs("penstock-worker: see --help\n", stderr);
    return false;
}

static bool parse_line(int argc, char **argv, line_t *l)
{
    l->args.drain_timeout = DRAIN_TIMEOUT_S * PST_SEC;
    l->args.choice.providers = l->providers;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!parse_option(l, option, optarg))
            return false;
    }
    if (optind == argc)
        return true;
    fprintf(stderr, "penstock-worker: \"%s\" is no option: see --help\n", argv[optind]);
    return false;
}

static int work(const pst_worker_args_t *args)
{
    pst_errbuf_t eb = {""};
    pst_auto(pst_worker) w = NULL;
    pst_log_init("worker");
    if (pst_worker_new(args, &w, &eb)) {
        fprintf(stderr, "penstock-worker: %s\n", eb.text);
        return EXIT_FAILED;
    }
    return pst_worker_run(w) ? EXIT_SUCCESS : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static line_t l;
    if (!parse_line(argc, argv, &l))
        return EXIT_USAGE;
    if (l.help)
        fputs(help, stdout);
    else if (l.version)
        puts("penstock-worker " PST_VERSION);
    else
        return work(&l.args);
    return EXIT_SUCCESS;
}
