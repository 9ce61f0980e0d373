/* catalog.c - `penstock catalog import`: prices from where others keep them, so that none is compiled in.
 * The new catalog is read back before it is written: what comes out is one that $PENSTOCK_CATALOG can name. */
#include "cli/catalog.h"

#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/output.h"

#define CATALOG_BYTES_MAX ((size_t)16 << 20) /* what a config reads */
#define READ_BYTES ((size_t)64 << 10)

/* All of a file, "-" for standard input, of at most `max` bytes. */
static int read_text(const char *path, size_t max, pst_buf_t *ret)
{
    bool named = strcmp(path, "-") != 0;
    FILE *f = named ? fopen(path, "rbe") : stdin;
    if (!f)
        return pst_cli_fail(EXIT_FAILED, "%s cannot be read: %s", path, strerror(errno));
    size_t got = 1;
    char *to;
    while (got && ret->n <= max && (to = pst_buf_reserve(ret, READ_BYTES))) {
        got = fread(to, 1, READ_BYTES, f);
        ret->n += got;
    }
    int error = ferror(f) ? errno : ret->failed ? ENOMEM : 0;
    if (named)
        fclose(f);
    if (error)
        return pst_cli_fail(EXIT_FAILED, "%s cannot be read: %s", path, strerror(error));
    if (ret->n > max)
        return pst_cli_fail(EXIT_REFUSED, "%s is larger than %zu MiB: name the right file", path, max >> 20);
    return EXIT_WELL;
}

/* A catalog's text as a config of its own, in which all its providers are on. */
static int parse_catalog(pst_view_t text, const char *name, pst_config_t **ret)
{
    pst_config_errors_t errors = {0};
    pst_err_t e = pst_config_parse(text, name, pst_view(NULL, 0), ret, &errors);
    if (e)
        fputs(errors.text, stderr);
    pst_config_errors_release(&errors);
    return e ? EXIT_FAILED : EXIT_WELL;
}

/* The catalog in force: its text and what it says. */
static int read_in_force(const pst_cli_args_t *a, pst_buf_t *text, pst_config_t **ret)
{
    pst_config_t *config = NULL;
    int code = pst_cli_config(a, &config);
    if (!code)
        code = read_text(config->catalog_path, CATALOG_BYTES_MAX, text);
    if (!code)
        code = parse_catalog(pst_buf_view(text), config->catalog_path, ret);
    if (!code && pst_catalog_providers(pst_buf_view(text)).n == 0)
        code = pst_cli_fail(EXIT_FAILED, "%s has no line that begins with providers: they are taken over from there",
                            config->catalog_path);
    pst_config_destroy(&config);
    return code;
}

static void say_skipped(const pst_catalog_t *c)
{
    pst_buf_t line;
    pst_buf_init(&line, 0);
    for (int i = 0; i < PST_CATALOG_SKIPS; i++) {
        if (!c->skipped[i])
            continue;
        pst_buf_clear(&line);
        pst_catalog_put_skipped(c, (pst_catalog_skip_t)i, &line);
        pst_cli_say("%.*s", (int)line.n, line.p);
    }
    pst_buf_release(&line);
}

static int write_text(const char *path, pst_view_t text)
{
    pst_output_t o;
    int code = pst_output_open(&o, path);
    if (code)
        return code;
    code = pst_output_line(&o, pst_view(text.p, text.n - 1)); /* its last newline is added there */
    int closed = pst_output_close(&o);
    return code ? code : closed;
}

/* Writes what was read, if it is a catalog. */
static int put_catalog(const pst_cli_args_t *a, const pst_catalog_t *c, pst_view_t in_force)
{
    pst_config_t *check = NULL;
    pst_buf_t out;
    pst_buf_init(&out, CATALOG_BYTES_MAX);
    pst_catalog_write(c, pst_catalog_providers(in_force), &out);
    int code = out.failed ? pst_cli_fail(EXIT_FAILED, "the catalog would be larger than 16 MiB: nothing was written")
                          : parse_catalog(pst_buf_view(&out), "new catalog", &check);
    if (code && !out.failed)
        pst_cli_say("what was read makes no catalog: nothing was written");
    pst_config_destroy(&check);
    if (!code)
        code = write_text(a->output, pst_buf_view(&out));
    pst_buf_release(&out);
    return code;
}

static int import(const pst_cli_args_t *a, pst_view_t text, const pst_config_t *known, pst_view_t in_force)
{
    pst_catalog_t c;
    pst_errbuf_t why = {""};
    pst_catalog_init(&c, known);
    pst_err_t e = pst_catalog_read(&c, text, &why);
    int code = EXIT_WELL;
    if (e) {
        code = pst_cli_fail(e == PST_E_INVALID ? EXIT_REFUSED : EXIT_FAILED, "%s:%s", a->operand[1],
                            why.text[0] ? why.text : pst_err_text(e));
    } else {
        say_skipped(&c);
        if (c.n == 0)
            code = pst_cli_fail(EXIT_REFUSED, "%s has nothing to import: nothing was written", a->operand[1]);
        else
            code = put_catalog(a, &c, in_force);
    }
    if (!code && c.more)
        pst_cli_say("%s says that more pages follow: fetch them into one list, they are missing", a->operand[1]);
    if (!code)
        pst_cli_say("%u endpoint%s imported from %s", c.n, c.n == 1 ? "" : "s", c.source);
    pst_catalog_release(&c);
    return code;
}

int pst_cli_catalog(const pst_cli_args_t *a)
{
    if (strcmp(a->operand[0], "import") != 0)
        return pst_cli_fail(EXIT_USAGE, "catalog has no `%s`: write penstock catalog import FILE", a->operand[0]);
    pst_config_t *known = NULL;
    pst_buf_t in_force, text;
    pst_buf_init(&in_force, 0);
    pst_buf_init(&text, 0);
    int code = read_in_force(a, &in_force, &known);
    if (!code)
        code = read_text(a->operand[1], PST_CATALOG_SOURCE_BYTES_MAX, &text);
    if (!code)
        code = import(a, pst_buf_view(&text), known, pst_buf_view(&in_force));
    pst_buf_release(&text);
    pst_buf_release(&in_force);
    pst_config_destroy(&known);
    return code;
}
