#include "proc/config_value.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

typedef struct unit {
    const char *name;
    uint64_t size;
} unit_t;

/* The largest first, for printing. */
static const unit_t duration_units[] = {
    {"d", 86400 * PST_SEC}, {"h", 3600 * PST_SEC}, {"m", 60 * PST_SEC},
    {"s", PST_SEC},         {"ms", PST_MS},        {NULL, 0},
};
static const unit_t size_units[] = {
    {"tb", 1ull << 40}, {"gb", 1ull << 30}, {"mb", 1ull << 20},
    {"kb", 1ull << 10}, {"b", 1},           {NULL, 0},
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool name_char(char c)
{
    return isalnum((unsigned char)c) && (unsigned char)c < 0x80;
}

static bool begins(pst_view_t v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.n >= n && memcmp(v.p, prefix, n) == 0;
}

static pst_view_t skip(pst_view_t v, size_t n)
{
    return pst_view(v.p + n, v.n - n);
}

/* Reads leading digits into *ret; how many there were.  19 of them always fit. */
static size_t leading_digits(pst_view_t v, uint64_t *ret)
{
    uint64_t n = 0;
    size_t i = 0;
    for (; i < v.n && digit(v.p[i]); i++) {
        if (i < 19)
            n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    *ret = i > 19 ? UINT64_MAX : n;
    return i;
}

const char *pst_value_number(pst_view_t v, uint64_t *ret)
{
    uint64_t n;
    size_t digits = leading_digits(v, &n);
    if (digits == 0 || digits != v.n)
        return "write a whole number without quotes, such as 5000";
    *ret = n;
    return NULL;
}

static bool with_unit(pst_view_t v, const unit_t *units, uint64_t *ret)
{
    uint64_t n;
    size_t digits = leading_digits(v, &n);
    if (digits == 0)
        return false;
    pst_view_t rest = skip(v, digits);
    for (const unit_t *u = units; u->name; u++) {
        if (strlen(u->name) != rest.n || strncasecmp(u->name, rest.p, rest.n) != 0)
            continue;
        if (__builtin_mul_overflow(n, u->size, ret))
            *ret = UINT64_MAX;
        return true;
    }
    return false;
}

const char *pst_value_duration(pst_view_t v, uint64_t *ret_ns)
{
    uint64_t ns;
    if (!with_unit(v, duration_units, &ns))
        return "write a duration with its unit, such as 500ms, 600s, 10m or 1h";
    *ret_ns = ns;
    return NULL;
}

const char *pst_value_size(pst_view_t v, uint64_t *ret_bytes)
{
    uint64_t bytes;
    if (!with_unit(v, size_units, &bytes))
        return "write a size with its unit, such as 64kb, 512mb or 8gb";
    *ret_bytes = bytes;
    return NULL;
}

const char *pst_value_price(pst_view_t v, double *ret)
{
    static const char advice[] = "write USD as a decimal number without quotes, such as 0.40";
    size_t i = 0, digits = 0, points = 0;
    for (; i < v.n && i < 32; i++) {
        digits += digit(v.p[i]);
        points += v.p[i] == '.';
    }
    if (i != v.n || digits == 0 || points > 1 || digits + points != v.n)
        return advice;
    char text[33];
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    *ret = strtod(text, NULL);
    return NULL;
}

const char *pst_value_bool(pst_view_t v, bool *ret)
{
    bool yes = pst_view_eqs(v, "true");
    if (!yes && !pst_view_eqs(v, "false"))
        return "write true or false";
    *ret = yes;
    return NULL;
}

/* Only printable characters that are not blank.  Anything past ASCII is let through: names may be in any
 * script, and the text is UTF-8 already. */
static bool no_blanks(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (c <= 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

const char *pst_value_provider_name(pst_view_t v)
{
    bool good = v.n >= 1 && v.n <= 40;
    for (size_t i = 0; good && i < v.n; i++)
        good = name_char(v.p[i]) || (i > 0 && strchr("._-", v.p[i]) && v.p[i]);
    return good ? NULL : "name it with letters, digits, '.', '_' and '-', at most 40 of them";
}

const char *pst_value_model_name(pst_view_t v)
{
    if (v.n < 1 || v.n > 128 || !no_blanks(v))
        return "a model's name has 1 to 128 bytes and no blanks";
    static const char *const suffix[] = {":floor", ":nitro"};
    for (size_t i = 0; i < PST_COUNT(suffix); i++) {
        size_t n = strlen(suffix[i]);
        if (v.n >= n && memcmp(v.p + v.n - n, suffix[i], n) == 0)
            return "the suffixes :floor and :nitro are routing wishes of a request: name it "
                   "otherwise";
    }
    return NULL;
}

const char *pst_value_upstream(pst_view_t v)
{
    return v.n >= 1 && v.n <= 200 && no_blanks(v)
               ? NULL
               : "write the provider's name of the model: 1 to 200 bytes, no blanks";
}

const char *pst_value_word(pst_view_t v)
{
    bool good = v.n >= 1 && v.n <= 32;
    for (size_t i = 0; good && i < v.n; i++)
        good = name_char(v.p[i]) || v.p[i] == '_' || v.p[i] == '-';
    return good ? NULL : "write one word of at most 32 letters and digits, such as fp8";
}

const char *pst_value_path(pst_view_t v)
{
    bool good = v.n >= 2 && v.n <= 1024 && v.p[0] == '/' && !memchr(v.p, '\0', v.n);
    return good ? NULL : "write a path from the root on, such as /etc/ssl/certs/company.pem";
}

/* host:port, [v6]:port; a port of 0 or * lets the system choose. */
static bool host_port(pst_view_t v, pst_view_t *ret_host)
{
    const char *colon = v.n ? memrchr(v.p, ':', v.n) : NULL;
    if (!colon)
        return false;
    pst_view_t host = pst_view(v.p, (size_t)(colon - v.p));
    pst_view_t port = skip(v, host.n + 1);
    uint64_t number = 0;
    if (!pst_view_eqs(port, "*") &&
        (leading_digits(port, &number) != port.n || port.n == 0 || number > 65535))
        return false;
    bool v6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (v6)
        host = pst_view(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n > 253)
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (!name_char(c) && !(v6 && (c == ':' || c == '%')) && c != '.' && c != '-' && c != '_' &&
            !(c == '*' && host.n == 1))
            return false;
    }
    *ret_host = host;
    return true;
}

const char *pst_value_http_url(pst_view_t v)
{
    static const char advice[] = "write http://HOST[:PORT][/PATH] or https://…";
    if (v.n > 1024 || !no_blanks(v))
        return advice;
    size_t scheme = begins(v, "https://") ? 8 : begins(v, "http://") ? 7 : 0;
    if (scheme == 0 || v.n == scheme || v.p[scheme] == '/' || v.p[scheme] == ':')
        return advice;
    pst_view_t rest = skip(v, scheme);
    if (memchr(rest.p, '?', rest.n) || memchr(rest.p, '#', rest.n))
        return "a base URL ends with its path: leave ?… and #… out";
    const char *slash = memchr(rest.p, '/', rest.n);
    if (memchr(rest.p, '@', slash ? (size_t)(slash - rest.p) : rest.n))
        return "no user or password in a URL: put the key in api_key";
    return NULL;
}

const char *pst_value_base_url(pst_view_t v)
{
    static const char name[] = "?api-version=";
    static const char advice[] = "behind ?api-version= write a version such as 2024-10-21, and nothing more";
    const char *query = v.n ? memchr(v.p, '?', v.n) : NULL;
    if (!query)
        return pst_value_http_url(v);
    size_t n = (size_t)(query - v.p);
    pst_view_t version = skip(v, n);
    if (!begins(version, name))
        return pst_value_http_url(v);
    version = skip(version, sizeof name - 1);
    for (size_t i = 0; i < version.n; i++) {
        if (!name_char(version.p[i]) && version.p[i] != '-')
            return advice;
    }
    if (version.n == 0 || version.n > 64)
        return advice;
    return pst_value_http_url(pst_view(v.p, n));
}

const char *pst_value_proxy(pst_view_t v)
{
    static const char advice[] = "write http://[USER:PASSWORD@]HOST:PORT, https://…, socks5h://…, ${VARIABLE} or \"\" for none";
    static const char *const schemes[] = {"http://", "https://", "socks4://", "socks4a://", "socks5://", "socks5h://"};
    if (v.n == 0 || (begins(v, "${") && pst_value_variable(v).n))
        return NULL;
    for (size_t i = 0; i < PST_COUNT(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (begins(v, schemes[i]))
            return v.n > n && v.n <= 1024 && no_blanks(v) ? NULL : advice;
    }
    return advice;
}

/* RFC 9110's tokens. */
static bool is_token(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (!name_char(v.p[i]) && (v.p[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", v.p[i])))
            return false;
    }
    return v.n > 0 && v.n <= 128;
}

static bool is_header(pst_view_t v, const char *const *names, size_t n)
{
    size_t i = 0;
    while (i < n && (v.n != strlen(names[i]) || strncasecmp(v.p, names[i], v.n) != 0))
        i++;
    return i < n;
}

const char *pst_value_header_name(pst_view_t v)
{
    static const char *const ours[] = {"Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection",
                                       "Expect", "Accept-Encoding", "User-Agent", "TE", "Upgrade"};
    static const char *const keys[] = {"Authorization", "x-api-key", "x-goog-api-key", "api-key"};
    if (!is_token(v))
        return "a header's name has letters, digits and -";
    if (is_header(v, ours, PST_COUNT(ours)))
        return "this header is made for each request: leave it out";
    return is_header(v, keys, PST_COUNT(keys)) ? "put the key into api_key" : NULL;
}

const char *pst_value_redis_url(pst_view_t v)
{
    static const char advice[] =
        "write redis://[USER:PASSWORD@]HOST[:PORT][/DB], unix:///PATH or ${VARIABLE}";
    if (v.n > 1024 || !no_blanks(v))
        return advice;
    if (begins(v, "rediss://"))
        return "TLS to Redis is not in this build yet: use a tunnel (stunnel, a mesh) and redis://";
    if (begins(v, "${"))
        return pst_value_variable(v).n ? NULL : advice;
    if (begins(v, "unix://"))
        return v.n > 8 && v.p[7] == '/' ? NULL
                                        : "write unix:/// and the absolute path of the socket";
    if (!begins(v, "redis://"))
        return advice;
    pst_view_t rest = skip(v, 8);
    const char *at = rest.n ? memrchr(rest.p, '@', rest.n) : NULL;
    if (at)
        rest = skip(rest, (size_t)(at - rest.p) + 1);
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    pst_view_t db = slash ? skip(rest, (size_t)(slash - rest.p) + 1) : pst_view(NULL, 0);
    pst_view_t address = slash ? pst_view(rest.p, (size_t)(slash - rest.p)) : rest;
    uint64_t number = 0;
    if (leading_digits(db, &number) != db.n || number > 1000000 || address.n == 0)
        return advice;
    pst_view_t host;
    if (memchr(address.p, ':', address.n) && !host_port(address, &host))
        return advice;
    return NULL;
}

const char *pst_value_zmq_address(pst_view_t v)
{
    pst_view_t host;
    if (v.n > 512 || !no_blanks(v))
        return "write tcp://HOST:PORT or ipc:///PATH";
    if (begins(v, "tcp://") && host_port(skip(v, 6), &host))
        return NULL;
    if (begins(v, "ipc:///") && v.n > 7)
        return v.n <= 6 + 100
                   ? NULL
                   : "the path of a unix socket has at most 100 bytes: choose a shorter one";
    return "write tcp://HOST:PORT or ipc:///PATH";
}

const char *pst_value_listen(pst_view_t v)
{
    pst_view_t host;
    if (v.n == 0 || (v.n <= 512 && host_port(v, &host)))
        return NULL;
    return "write HOST:PORT, or \"\" to switch it off";
}

bool pst_value_is_loopback(pst_view_t listen)
{
    pst_view_t host;
    if (listen.n == 0)
        return true;
    if (!host_port(listen, &host))
        return false;
    if (pst_view_eqs(host, "localhost") || pst_view_eqs(host, "::1"))
        return true;
    for (size_t i = 0; i < host.n; i++) {
        if (!digit(host.p[i]) && host.p[i] != '.')
            return false;
    }
    return begins(host, "127.");
}

pst_view_t pst_value_variable(pst_view_t v)
{
    if (v.n < 4 || !begins(v, "${") || v.p[v.n - 1] != '}' || digit(v.p[2]))
        return pst_view(NULL, 0);
    pst_view_t name = pst_view(v.p + 2, v.n - 3);
    for (size_t i = 0; i < name.n; i++) {
        if (!name_char(name.p[i]) && name.p[i] != '_')
            return pst_view(NULL, 0);
    }
    return name;
}

pst_view_t pst_value_key_part(pst_view_t *v)
{
    const char *colon = memchr(v->p, ':', v->n);
    size_t before = colon ? (size_t)(colon - v->p) : v->n;
    pst_view_t part = pst_view(v->p, before ? before : 1);
    *v = skip(*v, part.n);
    return part;
}

/* Of what is a reference, or begins like one. */
static const char *check_reference(pst_view_t v)
{
    for (pst_view_t rest = v; rest.n;) {
        pst_view_t part = pst_value_key_part(&rest);
        if (part.p[0] == '$' && pst_value_variable(part).n == 0)
            return "write ${VARIABLE} with letters, digits and _";
    }
    if (begins(v, "file:") && (v.n < 7 || v.p[5] != '/'))
        return "write file: and an absolute path, such as file:/run/secrets/openai";
    return NULL;
}

const char *pst_value_secret(pst_view_t v)
{
    if (v.n > 4096 || !no_blanks(v))
        return "a key has no blanks and at most 4096 bytes: write ${VARIABLE} or file:/path";
    return check_reference(v);
}

const char *pst_value_header(pst_view_t v)
{
    bool fits = v.n <= 4096 && (v.n == 0 || (v.p[0] != ' ' && v.p[v.n - 1] != ' '));
    for (size_t i = 0; i < v.n; i++)
        fits = fits && (unsigned char)v.p[i] >= 0x20 && (unsigned char)v.p[i] < 0x7f;
    return fits ? check_reference(v) : "a header's value is printable ASCII, without blanks around it, at most 4096 bytes";
}

static void print_unit(uint64_t n, const unit_t *units, char out[32])
{
    for (const unit_t *u = units; u->name; u++) {
        if (n % u->size == 0 && n > 0) {
            snprintf(out, 32, "%llu%s", (unsigned long long)(n / u->size), u->name);
            return;
        }
    }
    snprintf(out, 32, "%llu", (unsigned long long)n);
}

void pst_value_print_duration(uint64_t ns, char out[32])
{
    print_unit(ns, duration_units, out);
}

void pst_value_print_size(uint64_t bytes, char out[32])
{
    print_unit(bytes, size_units, out);
}
