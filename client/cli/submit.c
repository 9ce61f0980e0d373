/* submit.c - `penstock submit`: a file or standard input into a batch; with --wait until it ends, with --output its
 * results on the way. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"

#define READ_BYTES ((size_t)256 << 10)
#define RESULTS_WAIT_MS 500

static bool parse_priority(const char *text, int *ret)
{
    static const char *const names[] = {"low", "normal", "high"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i - 1;
            return true;
        }
    }
    return false;
}

static bool parse_usd(const char *text, double *ret)
{
    char *end;
    text += *text == '$';
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && *ret > 0 && *ret <= 1e9;
}

static int read_options(const pst_cli_args_t *a, pst_submit_opts_t *o)
{
    *o = (pst_submit_opts_t){.name = a->name,
                             .idempotency_key = a->key,
                             .model = a->model,
                             .tenant = a->tenant ? a->tenant : getenv("PENSTOCK_TENANT"),
                             .skip_invalid = a->skip_invalid};
    if (a->priority && !parse_priority(a->priority, &o->priority))
        return pst_cli_fail(EXIT_USAGE, "--priority %s is not known: use low, normal or high", a->priority);
    if (a->window && !pst_cli_parse_span(a->window, &o->window_s))
        return pst_cli_fail(EXIT_USAGE, "--completion-window %s is no duration: write 30m, 24h or 7d", a->window);
    if (a->max_cost && !parse_usd(a->max_cost, &o->max_cost_usd))
        return pst_cli_fail(EXIT_USAGE, "--max-cost %s is no amount: write USD, as in 2.50", a->max_cost);
    return EXIT_WELL;
}

static const char *shown_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "<stdin>" : path;
}

static int open_input(const char *path, int *ret_fd)
{
    *ret_fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0)
        return pst_cli_fail(EXIT_FAILED, "%s cannot be read: %s", path, strerror(errno));
    (void)posix_fadvise(*ret_fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return EXIT_WELL;
}

static ssize_t read_some(int fd, char *to, size_t n)
{
    ssize_t got;
    do {
        got = read(fd, to, n);
    } while (got < 0 && errno == EINTR);
    return got;
}

static int feed(const char *path, int fd, pst_submit_t *s, pst_err_t *ret_err)
{
    char *buffer = pst_alloc(READ_BYTES);
    ssize_t n = 1;
    *ret_err = PST_OK;
    while (*ret_err == PST_OK && (n = read_some(fd, buffer, READ_BYTES)) > 0)
        *ret_err = pst_submit_write(s, buffer, (size_t)n);
    int saved = errno;
    free(buffer);
    if (n < 0)
        return pst_cli_fail(EXIT_FAILED, "%s cannot be read: %s", shown_name(path), strerror(saved));
    return EXIT_WELL;
}

/* FILE:LINE: code: message, for an editor to jump to. */
static void list_bad(const char *path, const pst_submit_t *s)
{
    size_t n;
    uint64_t total;
    const pst_bad_line_t *bad = pst_submit_bad(s, &n, &total);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s:%llu: %s: %s\n", shown_name(path), (unsigned long long)bad[i].line,
                pst_cause_text(bad[i].code), bad[i].message);
}

static int refused(pst_client_t *c, const char *path, const pst_submit_t *s)
{
    size_t n;
    uint64_t total, lines, jobs;
    list_bad(path, s);
    pst_submit_bad(s, &n, &total);
    pst_submit_counts(s, &lines, &jobs);
    if (total == 0)
        return pst_cli_fail(EXIT_REFUSED, "%s: %s", shown_name(path), pst_client_error(c));
    return pst_cli_fail(EXIT_REFUSED,
                        "%s%llu of the first %llu lines of %s are wrong, nothing was accepted: correct them, or "
                        "use --skip-invalid to run the others",
                        total > n ? "more than " : "", (unsigned long long)n, (unsigned long long)lines,
                        shown_name(path));
}

static void warn_skipped(const char *path, const pst_submit_t *s)
{
    size_t n;
    uint64_t total;
    pst_submit_bad(s, &n, &total);
    if (total == 0)
        return;
    list_bad(path, s);
    pst_cli_say("%llu lines of %s are wrong: they will be failed results", (unsigned long long)total, shown_name(path));
}

/* The whole of the upload: EXIT_WELL with the batch accepted. */
static int upload(pst_client_t *c, const char *path, int fd, const pst_submit_opts_t *o, pst_id_t *ret)
{
    pst_submit_t *s = NULL;
    bool known;
    pst_err_t e = pst_submit_begin(c, o, &s, &known);
    if (e)
        return e == PST_E_INVALID ? pst_cli_fail(EXIT_USAGE, "%s", pst_client_error(c)) : pst_cli_fail_client(c, e);
    int code = known ? EXIT_WELL : feed(path, fd, s, &e);
    if (!code && !e)
        e = pst_submit_finish(s, ret);
    if (!code && e == PST_E_INPUT)
        code = refused(c, path, s);
    else if (!code && e)
        code = pst_cli_fail_client(c, e);
    else if (!code)
        warn_skipped(path, s);
    pst_submit_destroy(&s);
    return code;
}

/* What is taken from the results between two looks at the batch. */
typedef struct collector {
    pst_client_t *client;
    pst_results_t *results;
    pst_output_t *out;
} collector_t;

static int collect(void *arg, bool *ret_ended)
{
    collector_t *k = arg;
    pst_result_line_t line;
    bool more = true;
    int code = EXIT_WELL;
    for (int n = 0; more && !code && n < 10000; n++) {
        pst_err_t e = pst_results_next(k->results, n ? 0 : RESULTS_WAIT_MS, &line, &more, ret_ended);
        if (e)
            return pst_cli_fail_client(k->client, e);
        if (more)
            code = pst_output_line(k->out, line.line);
    }
    return code ? code : pst_output_flush(k->out);
}

static int wait_with_output(pst_client_t *c, const pst_id_t *batch, pst_output_t *out)
{
    collector_t k = {.client = c, .out = out};
    pst_err_t e = pst_results_open(c, batch, &k.results);
    if (e)
        return pst_cli_fail_client(c, e);
    int code = pst_progress_watch(c, batch, collect, &k);
    pst_results_close(&k.results);
    int closed = pst_output_close(out);
    return code ? code : closed;
}

static int print_id(const pst_id_t *batch)
{
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(batch, id);
    if (puts(id) == EOF || fflush(stdout) != 0)
        return pst_cli_fail(EXIT_FAILED, "%s was accepted, but standard output cannot be written: %s", id,
                            strerror(errno));
    return EXIT_WELL;
}

/* The output is opened before anything is uploaded: a path that cannot be written should cost nothing. */
static int run(const pst_cli_args_t *a, pst_client_t *c, int fd, const pst_submit_opts_t *o)
{
    pst_output_t out = {0};
    int code = a->output ? pst_output_open(&out, a->output) : EXIT_WELL;
    pst_id_t batch;
    if (!code)
        code = upload(c, a->operand[0], fd, o, &batch);
    if (!code)
        code = print_id(&batch);
    if (code) {
        if (out.f)
            (void)pst_output_close(&out);
        return code;
    }
    if (a->output)
        return wait_with_output(c, &batch, &out);
    return a->wait ? pst_progress_watch(c, &batch, NULL, NULL) : EXIT_WELL;
}

int pst_cli_submit(const pst_cli_args_t *a)
{
    pst_submit_opts_t o;
    pst_client_t *c = NULL;
    int fd = -1;
    int code = read_options(a, &o);
    if (!code)
        code = open_input(a->operand[0], &fd);
    if (!code)
        code = pst_cli_connect(a, &c);
    if (!code)
        code = run(a, c, fd, &o);
    pst_client_destroy(&c);
    if (fd > STDIN_FILENO)
        close(fd);
    return code;
}
