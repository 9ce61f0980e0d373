#include "redis/url.h"

#define DB_MAX 65535u

static bool copy_text(pst_view_t v, char *to, size_t size)
{
    if (v.n >= size || (v.n && memchr(v.p, '\0', v.n)))
        return false;
    if (v.n)
        memcpy(to, v.p, v.n);
    to[v.n] = '\0';
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 32);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte that "%hh" at p names, -1 if it names none. */
static int percent(const char *p, const char *end)
{
    if (end - p < 3)
        return -1;
    int high = hex_digit(p[1]), low = hex_digit(p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* User and password may be written with %40 and the like. */
static bool copy_decoded(pst_view_t v, char *to, size_t size)
{
    size_t n = 0;
    for (const char *p = v.p, *end = v.p + v.n; p < end; p++) {
        int c = (unsigned char)*p;
        if (c == '%') {
            c = percent(p, end);
            p += 2;
        }
        if (c <= 0 || n + 1 >= size)
            return false;
        to[n++] = (char)c;
    }
    to[n] = '\0';
    return true;
}

/* What stands before `c`, and the rest after it; false if there is no `c`. */
static bool cut(pst_view_t v, char c, bool last, pst_view_t *before, pst_view_t *after)
{
    const char *at = !v.n ? NULL : last ? memrchr(v.p, c, v.n) : memchr(v.p, c, v.n);
    if (!at)
        return false;
    *before = pst_view(v.p, (size_t)(at - v.p));
    *after = pst_view(at + 1, (size_t)(v.p + v.n - at - 1));
    return true;
}

static bool number(pst_view_t v, unsigned max, unsigned *ret)
{
    unsigned n = 0;
    if (!v.n || v.n > 5)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        n = n * 10 + (unsigned)(v.p[i] - '0');
    }
    *ret = n;
    return n <= max;
}

static const char *parse_server(pst_view_t rest, pst_redis_url_t *u)
{
    pst_view_t login, db, user, pass, host = rest, port = PST_VIEW_LIT("6379");
    unsigned n = 0;
    if (cut(rest, '@', true, &login, &rest)) {
        if (!cut(login, ':', false, &user, &pass))
            return "before '@' stands user:password or :password";
        if (!copy_decoded(user, u->user, sizeof u->user) || !copy_decoded(pass, u->pass, sizeof u->pass))
            return "user or password is too long or has a bad %";
    }
    if (cut(rest, '/', false, &rest, &db) && db.n && !number(db, DB_MAX, &u->db))
        return "after '/' stands the number of the database";
    host = rest;
    if (rest.n && rest.p[0] == '[') {
        if (!cut(pst_view(rest.p + 1, rest.n - 1), ']', false, &host, &rest))
            return "'[' without ']'";
        if (rest.n && rest.p[0] == ':')
            port = pst_view(rest.p + 1, rest.n - 1);
    } else if (cut(rest, ':', true, &host, &rest)) {
        port = rest;
    }
    if (!number(port, 65535, &n) || n == 0 || !copy_text(port, u->port, sizeof u->port))
        return "the port is a number from 1 to 65535";
    if (!host.n || !copy_text(host, u->host, sizeof u->host))
        return "no host";
    return NULL;
}

static const char *parse(pst_view_t v, pst_redis_url_t *u)
{
    static const pst_view_t unix_scheme = PST_VIEW_LIT("unix://"), tcp_scheme = PST_VIEW_LIT("redis://");
    if (v.n > unix_scheme.n && memcmp(v.p, unix_scheme.p, unix_scheme.n) == 0) {
        u->local = true;
        if (!copy_text(pst_view(v.p + unix_scheme.n, v.n - unix_scheme.n), u->path, sizeof u->path))
            return "the path of a socket has at most 107 characters";
        return u->path[0] == '/' ? NULL : "the path of a socket begins with '/'";
    }
    if (v.n > tcp_scheme.n && memcmp(v.p, tcp_scheme.p, tcp_scheme.n) == 0)
        return parse_server(pst_view(v.p + tcp_scheme.n, v.n - tcp_scheme.n), u);
    return "it begins with unix:// or redis:// (TLS ends outside: stunnel, or a sidecar)";
}

pst_err_t pst_redis_url_parse(const char *text, pst_redis_url_t *ret, pst_errbuf_t *eb)
{
    pst_redis_url_t u = {0};
    const char *wrong = parse(pst_view_str(text), &u);
    if (wrong)
        return pst_errf(eb, PST_E_CONFIG, "redis.url does not parse: %s", wrong);
    *ret = u;
    return PST_OK;
}
