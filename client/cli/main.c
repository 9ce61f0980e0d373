/* main.c - the commands as one table: what each takes, says and does.  Parser and help come from it. */
#include <signal.h>

#include "cli/cli.h"

/* Every option of every command. */
typedef enum option_id {
    O_BROKER, O_CONFIG, O_DATA, O_WAIT, O_OUTPUT, O_NAME, O_PRIORITY, O_WINDOW, O_MAX_COST, O_KEY, O_MODEL,
    O_TENANT, O_SKIP_INVALID, O_JSON, O_FOLLOW, O_IN_ORDER, O_ERRORS, O_LIMIT, O_AFTER, O_SYSTEM, O_MAX_TOKENS, O_TIMEOUT,
    O_LISTEN, O_REDIS, O_RPM, O_TPM, O_CONCURRENCY, O_SPEND, O_RESET, O_MODELS, O_PROVIDERS, O_EXPIRES,
    O_COUNT,
} option_id_t;

typedef struct option {
    const char *name;
    const char *value;  /* what stands for it in the help; NULL: none is taken */
    const char *help;
    size_t field;       /* in pst_cli_args_t: const char *, or bool where none is taken */
} option_t;

#define AT(member) offsetof(pst_cli_args_t, member)

static const option_t options[O_COUNT] = {
    [O_BROKER] = {"--broker", "ADDR", "the broker, tcp://HOST:PORT (else $PENSTOCK_BROKER, else the configuration's)",
                  AT(broker)},
    [O_CONFIG] = {"--config", "FILE",
                  "configuration (else $PENSTOCK_CONFIG, ./penstock.yaml, ~/.config/penstock/penstock.yaml)",
                  AT(config)},
    [O_DATA] = {"--data", "DIR", "where the private Redis keeps its file (else ~/.local/share/penstock)", AT(data)},
    [O_WAIT] = {"--wait", NULL, "wait until the batch ends, with progress on stderr; exit code 3 if some jobs failed",
                AT(wait)},
    [O_OUTPUT] = {"--output", "FILE", "write there: result lines, or a catalog", AT(output)},
    [O_NAME] = {"--name", "NAME", "a name for people", AT(name)},
    [O_PRIORITY] = {"--priority", "P", "low, normal or high", AT(priority)},
    [O_WINDOW] = {"--completion-window", "W", "finish within 30m, 24h, 7d …, as cheaply as that allows", AT(window)},
    [O_MAX_COST] = {"--max-cost", "USD", "stop when so much is spent", AT(max_cost)},
    [O_KEY] = {"--idempotency-key", "K", "the same key never makes a second batch", AT(key)},
    [O_MODEL] = {"--model", "M", "for lines that name none", AT(model)},
    [O_TENANT] = {"--tenant", "NAME", "whose it is (else $PENSTOCK_TENANT): tenants share fairly", AT(tenant)},
    [O_SKIP_INVALID] = {"--skip-invalid", NULL, "run the good lines; the bad ones become failed results",
                        AT(skip_invalid)},
    [O_JSON] = {"--json", NULL, "JSON instead of a text for people", AT(json)},
    [O_FOLLOW] = {"--follow", NULL, "wait for more until the batch ends", AT(follow)},
    [O_IN_ORDER] = {"--in-order", NULL, "in the order of the input instead of as finished", AT(in_order)},
    [O_ERRORS] = {"--errors", NULL, "only those that did not complete", AT(errors)},
    [O_LIMIT] = {"--limit", "N", "how many, 1 to 100 (else 20)", AT(limit)},
    [O_AFTER] = {"--after", "ID", "those older than this one", AT(after)},
    [O_SYSTEM] = {"--system", "TEXT", "a system prompt before it", AT(system)},
    [O_MAX_TOKENS] = {"--max-tokens", "N", "no longer answer than that", AT(max_tokens)},
    [O_LISTEN] = {"--listen", "HOST:PORT", "where to serve HTTP (else the configuration's gateway.listen)", AT(listen)},
    [O_REDIS] = {"--redis", "URL", "the broker's Redis (else the configuration's redis.url)", AT(redis)},
    [O_TIMEOUT] = {"--timeout", "SPAN", "cancel it if there is no answer within 30s, 10m … (else 2m)", AT(timeout)},
    [O_RPM] = {"--rpm", "N", "so many requests a minute; none: no limit", AT(rpm)},
    [O_TPM] = {"--tpm", "N", "so many tokens a minute, input and output together; none: no limit", AT(tpm)},
    [O_CONCURRENCY] = {"--concurrency", "N", "so many requests at a time, at each gateway; none: no limit",
                       AT(concurrency)},
    [O_SPEND] = {"--spend", "USD", "no more than that in a period; none: no limit", AT(spend)},
    [O_RESET] = {"--reset", "PERIOD", "of --spend: daily, weekly, monthly (UTC), or never", AT(reset)},
    [O_MODELS] = {"--models", "A,B", "these models alone; * in a name is any text", AT(models)},
    [O_PROVIDERS] = {"--providers", "A,B", "these providers alone; * alone: all", AT(providers)},
    [O_EXPIRES] = {"--expires", "WHEN", "in 30d, 12h …, at the end of 2026-12-31 (UTC), or never", AT(expires)},
};

#define OPTIONS_MAX 16

typedef struct command {
    const char *name;
    const char *operands;
    int operands_min, operands_max;
    const char *summary;
    const char *examples;
    int (*run)(const pst_cli_args_t *a);
    option_id_t options[OPTIONS_MAX]; /* beside --broker and --config; ends with O_BROKER */
} command_t;

#define ID "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G" /* in examples */

static const command_t commands[] = {
    {.name = "up", .operands = "", .run = pst_cli_up, .options = {O_DATA},
     .summary = "run a whole cluster on this machine, in the foreground",
     .examples = "  penstock up\n"
                 "  penstock up --data /srv/penstock --config /etc/penstock.yaml\n"},
    {.name = "gateway", .operands = "", .run = pst_cli_gateway, .options = {O_LISTEN, O_REDIS},
     .summary = "serve the HTTP APIs and the page beside a running broker (`up` starts one)",
     .examples = "  penstock gateway --listen 0.0.0.0:7700 --broker tcp://10.0.0.1:7701 --redis redis://10.0.0.2:6379\n"},
    {.name = "try", .operands = "MODEL [PROMPT|-]", .operands_min = 1, .operands_max = 2, .run = pst_cli_try,
     .options = {O_SYSTEM, O_MAX_TOKENS, O_TIMEOUT, O_TENANT, O_JSON},
     .summary = "one request at once: the answer on stdout, its attempts, tokens and cost on stderr",
     .examples = "  penstock try openai/gpt-4.1-mini \"Say hi\"\n"
                 "  penstock try anthropic/claude-sonnet-4.5 --system \"Answer in French.\" --max-tokens 200 < prompt.txt\n"
                 "  penstock try openai/gpt-4.1-mini \"Say hi\" --json\n"},
    {.name = "submit", .operands = "FILE|-", .operands_min = 1, .operands_max = 1, .run = pst_cli_submit,
     .options = {O_WAIT, O_OUTPUT, O_NAME, O_PRIORITY, O_WINDOW, O_MAX_COST, O_KEY, O_MODEL, O_TENANT,
                 O_SKIP_INVALID},
     .summary = "submit a file of requests (OpenAI Batch JSONL); prints the batch's id",
     .examples = "  penstock submit requests.jsonl\n"
                 "  penstock submit requests.jsonl --output results.jsonl\n"
                 "  generate | penstock submit - --model openai/gpt-4.1-mini --completion-window 24h --max-cost 5\n"},
    {.name = "status", .operands = "ID", .operands_min = 1, .operands_max = 1, .run = pst_cli_status,
     .options = {O_JSON}, .summary = "how a batch stands", .examples = "  penstock status " ID " --json\n"},
    {.name = "list", .operands = "", .run = pst_cli_list, .options = {O_LIMIT, O_AFTER, O_JSON},
     .summary = "batches, newest first", .examples = "  penstock list --limit 5\n"},
    {.name = "watch", .operands = "ID", .operands_min = 1, .operands_max = 1, .run = pst_cli_watch,
     .summary = "live progress until a batch ends", .examples = "  penstock watch " ID "\n"},
    {.name = "results", .operands = "ID", .operands_min = 1, .operands_max = 1, .run = pst_cli_results,
     .options = {O_OUTPUT, O_FOLLOW, O_IN_ORDER, O_ERRORS},
     .summary = "result lines of a batch, also while it runs",
     .examples = "  penstock results " ID " > results.jsonl\n"
                 "  penstock results " ID " --follow --in-order --output results.jsonl\n"},
    {.name = "receipt", .operands = "ID", .operands_min = 1, .operands_max = 1, .run = pst_cli_receipt,
     .options = {O_JSON}, .summary = "the account of a batch: jobs in, results out, causes, endpoints, cost",
     .examples = "  penstock receipt " ID " --json\n"},
    {.name = "get", .operands = "JOB_ID | ID CUSTOM_ID", .operands_min = 1, .operands_max = 2, .run = pst_cli_get,
     .summary = "one job: its result line, or its state",
     .examples = "  penstock get " ID ".7\n"
                 "  penstock get " ID " r-7\n"},
    {.name = "cancel", .operands = "ID", .operands_min = 1, .operands_max = 1, .run = pst_cli_cancel,
     .summary = "stop what has not been sent, keep what is done", .examples = "  penstock cancel " ID "\n"},
    {.name = "delete", .operands = "ID", .operands_min = 1, .operands_max = 1, .run = pst_cli_delete,
     .summary = "forget an ended batch and its results", .examples = "  penstock delete " ID "\n"},
    {.name = "top", .operands = "", .run = pst_cli_top, .options = {O_JSON},
     .summary = "live view of the cluster: providers, endpoints, limits, batches; q ends it",
     .examples = "  penstock top\n"
                 "  penstock top --json\n"
                 "  penstock top | less -S      (not on a terminal: one table)\n"},
    {.name = "check", .operands = "", .run = pst_cli_check,
     .summary = "read the configuration, say what is wrong, or print what it gives",
     .examples = "  penstock check --config penstock.yaml\n"},
    {.name = "catalog", .operands = "import FILE|-", .operands_min = 2, .operands_max = 2, .run = pst_cli_catalog,
     .options = {O_OUTPUT},
     .summary = "make a catalog of LiteLLM's list of prices, or of OpenRouter's",
     .examples = "  penstock catalog import model_prices_and_context_window.json --output catalog.yaml\n"
                 "  curl -s https://openrouter.ai/api/v1/models | penstock catalog import - > catalog.yaml\n"
                 "  PENSTOCK_CATALOG=catalog.yaml penstock check\n"},
    {.name = "keys", .operands = "VERB [ID]", .operands_min = 1, .operands_max = 2,
     .run = pst_cli_keys,
     .options = {O_DATA, O_REDIS, O_NAME, O_TENANT, O_RPM, O_TPM, O_CONCURRENCY, O_SPEND, O_RESET, O_MODELS, O_PROVIDERS,
                 O_EXPIRES, O_JSON},
     .summary = "keys of the HTTP gateway; VERB: create (prints the key alone, once), list, update ID, revoke ID",
     .examples = "  penstock keys create --name ci --tenant research --rpm 600 --spend 50 --reset monthly --expires 90d\n"
                 "  penstock keys create --models 'openai/*,chat/small' --providers openai\n"
                 "  penstock keys list --json\n"
                 "  penstock keys update key_01J8ZQ4K7N9V0M2X3C4B5A6F7G --rpm none\n"
                 "  penstock keys revoke key_01J8ZQ4K7N9V0M2X3C4B5A6F7G\n"},
};

static const char *command_list(char *to, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < PST_COUNT(commands); i++)
        n += (size_t)snprintf(to + n, room - n, "%s%s", i ? ", " : "", commands[i].name);
    return to;
}

static int usage(void)
{
    puts("penstock - a self-hosted batch router for AI models\n\nusage: penstock COMMAND [OPTION]… [OPERAND]…\n");
    for (size_t i = 0; i < PST_COUNT(commands); i++)
        printf("  %-9s %-24s %s\n", commands[i].name, commands[i].operands, commands[i].summary);
    puts("\npenstock COMMAND --help tells more of one; penstock --version prints the version.\n\n"
         "Exit codes: 0 all well, 1 a failure, 2 usage, 3 the batch ended and some jobs failed, 4 input refused,\n"
         "5 not found.");
    return pst_cli_end_stdout();
}

static void put_option(const option_t *o)
{
    char left[40];
    snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    printf("  %-24s %s\n", left, o->help);
}

static int help(const command_t *c)
{
    printf("usage: penstock %s%s%s [OPTION]…\n\n%s\n\n", c->name, *c->operands ? " " : "", c->operands, c->summary);
    for (size_t i = 0; i < OPTIONS_MAX && c->options[i] != O_BROKER; i++)
        put_option(&options[c->options[i]]);
    put_option(&options[O_BROKER]);
    put_option(&options[O_CONFIG]);
    printf("  %-24s %s\n\nexamples:\n%s", "--help", "this text", c->examples);
    return pst_cli_end_stdout();
}

static bool takes(const command_t *c, option_id_t id)
{
    if (id == O_BROKER || id == O_CONFIG)
        return true;
    for (size_t i = 0; i < OPTIONS_MAX && c->options[i] != O_BROKER; i++) {
        if (c->options[i] == id)
            return true;
    }
    return false;
}

/* The option that `word` names, up to its '='; NULL: none that the command takes. */
static const option_t *find_option(const command_t *c, const char *word, size_t n)
{
    for (unsigned i = 0; i < O_COUNT; i++) {
        if (strlen(options[i].name) == n && strncmp(options[i].name, word, n) == 0)
            return takes(c, (option_id_t)i) ? &options[i] : NULL;
    }
    return NULL;
}

/* One option at argv[*i], with its value there or in the next word. */
static int read_option(const command_t *c, char **argv, int *i, pst_cli_args_t *a)
{
    const char *word = argv[*i];
    size_t n = strcspn(word, "=");
    const char *value = word[n] ? word + n + 1 : NULL;
    const option_t *o = find_option(c, word, n);
    if (!o)
        return pst_cli_fail(EXIT_USAGE, "%s is no option of %s: see penstock %s --help", word, c->name, c->name);
    char *field = (char *)a + o->field;
    if (!o->value) {
        if (value)
            return pst_cli_fail(EXIT_USAGE, "%s takes no value: leave out =%s", o->name, value);
        *(bool *)(void *)field = true;
        return EXIT_WELL;
    }
    if (!value && !(value = argv[*i + 1]))
        return pst_cli_fail(EXIT_USAGE, "%s needs a value: write %s %s", o->name, o->name, o->value);
    if (!word[n])
        ++*i;
    *(const char **)(void *)field = value;
    return EXIT_WELL;
}

static int add_operand(const command_t *c, const char *word, pst_cli_args_t *a)
{
    if (a->operands >= c->operands_max)
        return pst_cli_fail(EXIT_USAGE, "%s: one operand too many: see penstock %s --help", word, c->name);
    a->operand[a->operands++] = word;
    return EXIT_WELL;
}

static int run(const command_t *c, char **argv)
{
    pst_cli_args_t a = {0};
    bool only_operands = false;
    for (int i = 0; argv[i]; i++) {
        bool option = !only_operands && argv[i][0] == '-' && argv[i][1];
        if (option && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0))
            return help(c);
        if (option && strcmp(argv[i], "--") == 0) {
            only_operands = true;
            continue;
        }
        int code = option ? read_option(c, argv, &i, &a) : add_operand(c, argv[i], &a);
        if (code)
            return code;
    }
    if (a.operands < c->operands_min)
        return pst_cli_fail(EXIT_USAGE, "%s needs %s: see penstock %s --help", c->name, c->operands, c->name);
    return c->run(&a);
}

static int version(void)
{
    puts("penstock " PST_VERSION);
    return pst_cli_end_stdout();
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* writes tell: a closed output ends a command quietly */
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--version") == 0)
        return version();
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return usage();
    for (size_t i = 0; i < PST_COUNT(commands); i++) {
        if (strcmp(word, commands[i].name) == 0)
            return run(&commands[i], argv + 2);
    }
    char list[256];
    command_list(list, sizeof list);
    if (*word)
        return pst_cli_fail(EXIT_USAGE, "%s is no command: use one of %s", word, list);
    return pst_cli_fail(EXIT_USAGE, "no command: use one of %s, or see penstock --help", list);
}
