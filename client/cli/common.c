#include <errno.h>
#include <math.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress.h"

static void say(const char *fmt, va_list ap)
{
    pst_progress_clear();
    fputs("penstock: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void pst_cli_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

int pst_cli_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return code;
}

static int exit_code(pst_err_t e)
{
    if (e == PST_E_NOT_FOUND)
        return EXIT_NOT_FOUND;
    return e == PST_E_INPUT || e == PST_E_MODEL_NOT_FOUND ? EXIT_REFUSED : EXIT_FAILED;
}

int pst_cli_fail_client(const pst_client_t *c, pst_err_t e)
{
    const char *words = pst_client_error(c);
    return pst_cli_fail(exit_code(e), "%s", words && *words ? words : pst_err_text(e));
}

int pst_cli_end_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_WELL;
    if (errno == EPIPE)
        return EXIT_WELL;
    return pst_cli_fail(EXIT_FAILED, "standard output cannot be written: %s", strerror(errno));
}

int pst_cli_config(const pst_cli_args_t *a, pst_config_t **ret)
{
    pst_config_errors_t errors = {0};
    pst_err_t e = pst_config_load(a->config, ret, &errors);
    if (e && errors.text)
        fputs(errors.text, stderr);
    if (e)
        pst_cli_say("the configuration has %u error%s: correct %s, nothing was changed", errors.count,
                    errors.count == 1 ? "" : "s", errors.count == 1 ? "it" : "them");
    pst_config_errors_release(&errors);
    return e ? EXIT_FAILED : EXIT_WELL;
}

/* Whether the user has a file at all: reading the shipped catalog just to ask for a status would be wasted. */
static bool has_config(const pst_cli_args_t *a)
{
    const char *env = getenv("PENSTOCK_CONFIG");
    const char *home = getenv("HOME");
    char path[4096];
    if (a->config || (env && *env) || access("penstock.yaml", F_OK) == 0)
        return true;
    snprintf(path, sizeof path, "%s/.config/penstock/penstock.yaml", home ? home : "");
    return home && access(path, F_OK) == 0;
}

static int connect_to(const pst_client_opts_t *o, pst_client_t **ret)
{
    pst_err_t e = pst_client_new(o, ret);
    if (e == PST_E_INVALID)
        return pst_cli_fail(EXIT_USAGE, "\"%s\" is no address of a broker: write tcp://HOST:PORT or ipc:///PATH",
                            o->broker ? o->broker : getenv("PENSTOCK_BROKER"));
    return e ? pst_cli_fail(EXIT_FAILED, "%s", pst_err_text(e)) : EXIT_WELL;
}

int pst_cli_connect_by(const pst_cli_args_t *a, const pst_config_t *config, uint32_t timeout_ms, pst_client_t **ret)
{
    const char *env = getenv("PENSTOCK_BROKER");
    bool named = a->broker || (env && *env);
    pst_client_opts_t o = {.broker = named ? a->broker : config->broker_clients,
                           .timeout_ms = timeout_ms,
                           .line_bytes_max = config->line_bytes_max,
                           .prefix_bytes_max = config->prefix_bytes_max,
                           .prefix_bytes_min = config->prefix_bytes_min};
    return connect_to(&o, ret);
}

int pst_cli_connect_within(const pst_cli_args_t *a, uint32_t timeout_ms, pst_client_t **ret)
{
    if (!has_config(a))
        return connect_to(&(pst_client_opts_t){.broker = a->broker, .timeout_ms = timeout_ms}, ret);
    pst_config_t *config = NULL;
    int code = pst_cli_config(a, &config);
    if (!code)
        code = pst_cli_connect_by(a, config, timeout_ms, ret);
    pst_config_destroy(&config);
    return code;
}

int pst_cli_connect(const pst_cli_args_t *a, pst_client_t **ret)
{
    return pst_cli_connect_within(a, 0, ret);
}

const char *pst_cli_reachable(const char *address, char *to, size_t room)
{
    static const char *const any[] = {"tcp://*:", "tcp://0.0.0.0:"};
    for (size_t i = 0; i < PST_COUNT(any); i++) {
        if (strncmp(address, any[i], strlen(any[i])) == 0) {
            snprintf(to, room, "tcp://127.0.0.1:%s", address + strlen(any[i]));
            return to;
        }
    }
    return address;
}

int pst_cli_batch_id(const pst_cli_args_t *a, pst_id_t *ret)
{
    if (pst_id_parse(pst_view_str(a->operand[0]), ret) == PST_OK)
        return EXIT_WELL;
    return pst_cli_fail(EXIT_USAGE, "\"%s\" is no id of a batch: they are batch_ and 26 letters, see penstock list",
                        a->operand[0]);
}

uint64_t pst_cli_done(const pst_batch_t *b)
{
    return b->completed + b->failed + b->expired + b->cancelled;
}

bool pst_cli_is_terminal(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && !(term && strcmp(term, "dumb") == 0);
}

#define ROWS_DEFAULT 24
#define COLUMNS_DEFAULT 80

void pst_cli_screen(int fd, int *ret_rows, int *ret_columns)
{
    struct winsize w;
    bool known = ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0;
    *ret_rows = known ? w.ws_row : ROWS_DEFAULT;
    *ret_columns = known ? w.ws_col : COLUMNS_DEFAULT;
}

int pst_cli_print_json(pst_err_t e, char *text)
{
    if (e)
        return pst_cli_fail(EXIT_FAILED, "%s", pst_err_text(e));
    puts(text);
    free(text);
    return pst_cli_end_stdout();
}

const char *pst_cli_count(pst_cli_text_t *t, uint64_t n)
{
    char plain[24];
    int len = snprintf(plain, sizeof plain, "%llu", (unsigned long long)n);
    char *to = t->s;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = plain[i];
    }
    *to = '\0';
    return t->s;
}

/* Cents and more in cents; less with enough digits to see something. */
const char *pst_cli_usd(pst_cli_text_t *t, double usd)
{
    int decimals = usd >= 100 || usd == 0 ? 2 : usd >= 1 ? 3 : usd >= 0.01 ? 4 : 6;
    snprintf(t->s, sizeof t->s, "$%.*f", decimals, usd);
    return t->s;
}

const char *pst_cli_time(pst_cli_text_t *t, uint64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    strftime(t->s, sizeof t->s, "%Y-%m-%d %H:%M:%S", &tm);
    return t->s;
}

const char *pst_cli_span(pst_cli_text_t *t, uint64_t s)
{
    unsigned long long d = s / 86400, h = s / 3600 % 24, m = s / 60 % 60, r = s % 60;
    if (d)
        snprintf(t->s, sizeof t->s, "%llud%02lluh", d, h);
    else if (h)
        snprintf(t->s, sizeof t->s, "%lluh%02llum", h, m);
    else if (m)
        snprintf(t->s, sizeof t->s, "%llum%02llus", m, r);
    else
        snprintf(t->s, sizeof t->s, "%llus", r);
    return t->s;
}

#define LEFT_S_MAX (30 * 86400.0)
#define RATE_MIN 0.01

const char *pst_cli_left(pst_cli_text_t *t, uint64_t jobs, double rate)
{
    if (rate < RATE_MIN || (double)jobs / rate > LEFT_S_MAX)
        return "?";
    return pst_cli_span(t, (uint64_t)((double)jobs / rate + 0.5));
}

static uint64_t unit_seconds(const char *unit)
{
    static const struct {
        const char *unit;
        uint64_t s;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (size_t i = 0; i < PST_COUNT(units); i++) {
        if (strcmp(unit, units[i].unit) == 0)
            return units[i].s;
    }
    return 0;
}

#define SPAN_S_MAX (366.0 * 86400)

bool pst_cli_parse_span(const char *text, uint64_t *ret_s)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    uint64_t unit = unit_seconds(end);
    if (errno || unit == 0 || n == 0 || (double)n * (double)unit > SPAN_S_MAX)
        return false;
    *ret_s = n * unit;
    return true;
}
