/* main.c - the command line of penstock-broker. */
#include <getopt.h>
#include <stdio.h>

#include "broker.h"
#include "proc/log.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "usage: penstock-broker [options]\n"
    "Takes batches from clients, keeps them in Redis and has workers run them.  SIGTERM or SIGINT stops it:\n"
    "nothing is lost, and the next one goes on where it stopped.  SIGHUP reads providers and models again.\n"
    "\n"
    "  --redis URL          redis://[USER:PASSWORD@]HOST[:PORT][/DB] or unix:///PATH (default: redis.url)\n"
    "  --clients ADDR       where clients connect (default: broker.clients, tcp://127.0.0.1:7701)\n"
    "  --workers ADDR       where workers connect (default: broker.workers, tcp://127.0.0.1:7702)\n"
    "  --metrics HOST:PORT  Prometheus metrics over HTTP, \"\" for none (default: broker.metrics, 127.0.0.1:7709)\n"
    "  --config FILE        configuration (default: $PENSTOCK_CONFIG, ./penstock.yaml,\n"
    "                       ~/.config/penstock/penstock.yaml)\n"
    "  --help, --version\n";

enum { OPT_REDIS = 256, OPT_CLIENTS, OPT_WORKERS, OPT_METRICS, OPT_CONFIG, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
    {"redis", required_argument, NULL, OPT_REDIS},
    {"clients", required_argument, NULL, OPT_CLIENTS},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"metrics", required_argument, NULL, OPT_METRICS},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

typedef struct line {
    pst_broker_args_t args;
    bool help, version;
} line_t;

static bool parse_option(line_t *l, int option, const char *value)
{
    switch (option) {
    case OPT_REDIS:
        l->args.redis = value;
        return true;
    case OPT_CLIENTS:
        l->args.clients = value;
        return true;
    case OPT_WORKERS:
        l->args.workers = value;
        return true;
    case OPT_METRICS:
        l->args.metrics = value;
        return true;
    case OPT_CONFIG:
        l->args.config_path = value;
        return true;
    case OPT_HELP:
        return l->help = true;
    case OPT_VERSION:
        return l->version = true;
    }
    fputs("penstock-broker: see --help\n", stderr);
    return false;
}

static bool parse_line(int argc, char **argv, line_t *l)
{
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!parse_option(l, option, optarg))
            return false;
    }
    if (optind == argc)
        return true;
    fprintf(stderr, "penstock-broker: \"%s\" is no option: see --help\n", argv[optind]);
    return false;
}

static int work(const pst_broker_args_t *args)
{
    pst_buf_t words;
    pst_broker_t *b = NULL;
    pst_buf_init(&words, 0);
    pst_log_init("broker");
    if (pst_broker_new(args, &b, &words)) {
        fprintf(stderr, "penstock-broker: %.*s\n", (int)words.n, words.p ? words.p : "");
        pst_buf_release(&words);
        return EXIT_FAILED;
    }
    pst_buf_release(&words);
    bool ok = pst_broker_run(b);
    pst_broker_destroy(&b);
    return ok ? EXIT_SUCCESS : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    line_t l = {0};
    if (!parse_line(argc, argv, &l))
        return EXIT_USAGE;
    if (l.help)
        fputs(help, stdout);
    else if (l.version)
        puts("penstock-broker " PST_VERSION);
    else
        return work(&l.args);
    return EXIT_SUCCESS;
}
