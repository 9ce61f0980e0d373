/* config_file.c - where the config and the keys lie. */
#include "proc/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "proc/config_value.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)
#define KEY_BYTES_MAX 4096
#define PARTS_BYTES_MAX ((size_t)4 * KEY_BYTES_MAX)

/* All of a file, at most `max` bytes.  0, or an errno (EFBIG: longer). */
static int read_all(const char *path, size_t max, pst_buf_t *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = 0;
    for (;;) {
        char *room = pst_buf_reserve(out, 64u << 10);
        ssize_t got = room ? read(fd, room, 64u << 10) : -1;
        if (!room)
            error = ENOMEM;
        else if (got < 0 && errno == EINTR)
            continue;
        else if (got < 0)
            error = errno;
        if (got <= 0)
            break;
        out->n += (size_t)got;
        if (out->n > max) {
            error = EFBIG;
            break;
        }
    }
    close(fd);
    return error;
}

/* One finding that concerns no line. */
static pst_err_t fail(pst_config_errors_t *errors, const char *path, int error, const char *advice)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_printf(&b, "%s: %s: %s\n", path,
                   error == EFBIG ? "larger than 16 MiB"
                   : error        ? strerror(error)
                                  : "not found",
                   advice);
    errors->text = pst_buf_detach(&b, NULL);
    errors->count = 1;
    return PST_E_CONFIG;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The user's file into `path`, or "" if there is none.  One that was named is taken as it is, so that its
 * absence is an error. */
static void find_user(const char *given, char path[PATH_MAX])
{
    const char *env = getenv("PENSTOCK_CONFIG"), *home = getenv("HOME");
    const char *named = given ? given : env && *env ? env : NULL;
    if (!named && exists("penstock.yaml"))
        named = "penstock.yaml";
    path[0] = '\0';
    if (named)
        snprintf(path, PATH_MAX, "%s", named);
    else if (home)
        snprintf(path, PATH_MAX, "%s/.config/penstock/penstock.yaml", home);
    if (!named && *path && !exists(path))
        path[0] = '\0';
}

/* The catalog into `path`, or "". */
static void find_catalog(char path[PATH_MAX])
{
    const char *env = getenv("PENSTOCK_CATALOG");
    if (env && *env) {
        snprintf(path, PATH_MAX, "%s", env);
        return;
    }
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[PST_MAX(n, 0)] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) {
        *slash = '\0';
        int wrote = snprintf(path, PATH_MAX, "%s/../share/penstock/catalog.yaml", program);
        if (wrote < PATH_MAX && exists(path))
            return;
    }
    snprintf(path, PATH_MAX, "%s", exists(PST_CATALOG_SOURCE) ? PST_CATALOG_SOURCE : "");
}

static pst_err_t load(const char *user_path, const char *catalog_path, pst_buf_t *user,
                      pst_buf_t *catalog, pst_config_t **ret, pst_config_errors_t *errors)
{
    int error = *user_path ? read_all(user_path, FILE_BYTES_MAX, user) : 0;
    if (error)
        return fail(errors, user_path, error, "check --config, $PENSTOCK_CONFIG and the file");
    if (!*catalog_path)
        return fail(errors, "catalog.yaml", 0,
                    "install share/penstock/catalog.yaml or set $PENSTOCK_CATALOG");
    error = read_all(catalog_path, FILE_BYTES_MAX, catalog);
    if (error)
        return fail(errors, catalog_path, error, "check $PENSTOCK_CATALOG and the file");
    const pst_config_source_t from_user = {
        pst_buf_view(user), *user_path ? user_path : "environment", *user_path ? user_path : NULL};
    const pst_config_source_t from_catalog = {pst_buf_view(catalog), catalog_path, catalog_path};
    return pst_config_build(&from_user, &from_catalog, ret, errors);
}

pst_err_t pst_config_load(const char *path, pst_config_t **ret, pst_config_errors_t *errors)
{
    char user_path[PATH_MAX], catalog_path[PATH_MAX];
    find_user(path, user_path);
    find_catalog(catalog_path);
    pst_buf_t user, catalog;
    pst_buf_init(&user, 0);
    pst_buf_init(&catalog, 0);
    *errors = (pst_config_errors_t){0};
    pst_err_t e = load(user_path, catalog_path, &user, &catalog, ret, errors);
    pst_buf_release(&user);
    pst_buf_release(&catalog);
    return e;
}

/* keys */

/* NULL if `var`, the name of a variable, is empty, not set, or set to nothing. */
static const char *env(pst_view_t var)
{
    char name[KEY_BYTES_MAX];
    if (var.n == 0 || var.n >= sizeof name)
        return NULL;
    memcpy(name, var.p, var.n);
    name[var.n] = '\0';
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

const char *pst_config_getenv(const char *ref)
{
    return env(pst_value_variable(pst_view_str(ref)));
}

/* least: the first character it may have; keys have no blanks. */
static pst_err_t keep(const char *text, size_t n, unsigned char least, const char *what, pst_secret_t *ret,
                      pst_errbuf_t *eb)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < least || c >= 0x7f)
            return pst_errf(eb, PST_E_CONFIG,
                            least > ' ' ? "%s has a blank or a character that no key has: check its source"
                                        : "%s has a character that no header has: check its source",
                            what);
    }
    char *copy = pst_alloc(n + 1);
    memcpy(copy, text, n);
    copy[n] = '\0';
    ret->text = copy;
    return PST_OK;
}

static pst_err_t from_file(const char *path, unsigned char least, const char *what, pst_secret_t *ret, pst_errbuf_t *eb)
{
    char text[KEY_BYTES_MAX + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text) : -1;
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return pst_errf(eb, PST_E_CONFIG, "%s: %s: %s: check the path", what, path,
                        strerror(error));
    size_t n = (size_t)got;
    while (n > 0 && strchr(" \t\r\n", text[n - 1]))
        n--;
    pst_err_t e;
    if (n == 0 || n > KEY_BYTES_MAX)
        e = pst_errf(eb, PST_E_CONFIG, "%s: %s is %s: put the key alone into it", what, path,
                     n ? "longer than a key" : "empty");
    else
        e = keep(text, n, least, what, ret, eb);
    explicit_bzero(text, sizeof text);
    return e;
}

static pst_err_t put_part(pst_buf_t *b, pst_view_t part, const char *what, pst_errbuf_t *eb)
{
    pst_view_t var = pst_value_variable(part);
    const char *value = env(var);
    if (var.n && !value)
        return pst_errf(eb, PST_E_CONFIG, "%s: the environment variable %.*s is not set: export it", what, (int)var.n,
                        var.p);
    pst_buf_putv(b, value ? pst_view_str(value) : part);
    return PST_OK;
}

/* "${VAR}", a literal, or several of them with colons between. */
static pst_err_t from_parts(const char *ref, unsigned char least, const char *what, pst_secret_t *ret, pst_errbuf_t *eb)
{
    pst_err_t e = PST_OK;
    pst_buf_t b;
    pst_buf_init(&b, PARTS_BYTES_MAX);
    pst_buf_reserve(&b, PARTS_BYTES_MAX); /* once, so that all of it is wiped */
    for (pst_view_t rest = pst_view_str(ref); rest.n && e == PST_OK;)
        e = put_part(&b, pst_value_key_part(&rest), what, eb);
    if (e == PST_OK && b.failed)
        e = pst_errf(eb, PST_E_CONFIG, "%s is longer than a key: check its source", what);
    if (e == PST_OK)
        e = keep(b.n ? b.p : "", b.n, least, what, ret, eb);
    explicit_bzero(b.p, b.n);
    pst_buf_release(&b);
    return e;
}

static pst_err_t resolve(const char *ref, unsigned char least, const char *what, pst_secret_t *ret, pst_errbuf_t *eb)
{
    if (!ref) {
        ret->text = NULL;
        return PST_OK;
    }
    if (strncmp(ref, "file:", 5) == 0)
        return from_file(ref + 5, least, what, ret, eb);
    return from_parts(ref, least, what, ret, eb);
}

pst_err_t pst_config_secret(const char *ref, const char *what, pst_secret_t *ret, pst_errbuf_t *eb)
{
    return resolve(ref, ' ' + 1, what, ret, eb);
}

pst_err_t pst_config_header(const pst_config_header_t *h, pst_secret_t *ret, pst_errbuf_t *eb)
{
    return resolve(h->value_ref, ' ', h->name, ret, eb);
}

pst_err_t pst_config_key(const pst_config_provider_t *p, pst_secret_t *ret, pst_errbuf_t *eb)
{
    char what[96];
    snprintf(what, sizeof what, "the key of provider `%s`", p->name);
    return pst_config_secret(p->key_ref, what, ret, eb);
}

void pst_secret_release(pst_secret_t *s)
{
    if (s->text)
        explicit_bzero(s->text, strlen(s->text));
    free(s->text);
    s->text = NULL;
}
