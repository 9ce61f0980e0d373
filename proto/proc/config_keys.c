#include "proc/config_keys.h"

#include <stdio.h>

#include "penstock/job.h"
#include "penstock/limits.h"
#include "proc/config_value.h"

#define FINDINGS_MAX 100
#define VISITS_MAX (2 * PST_YAML_NODES_MAX)
#define GATEWAY_KEYS_MAX 1000

typedef struct entry entry_t;
typedef void read_fn(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into);
typedef void print_fn(uint64_t n, char out[32]);

/* One key.  `into` of its reader is the section's struct, `offset` the place of the value in it. */
struct entry {
    const char *name;
    read_fn *read;
    const char *type;               /* as the reference prints it */
    size_t offset;
    uint8_t width;                  /* numbers: bytes of the field, 4 or 8 */
    bool secret;                    /* its value is never shown */
    uint64_t min, max;              /* numbers */
    print_fn *print;                /* numbers: how to show a bound */
    const char *(*check)(pst_view_t v); /* texts: NULL, or what to write instead */
    const char *const *words;       /* words: what it may be, NULL at the end */
    const pst_section_t *section;   /* maps */
    const char *help;
};

struct pst_section {
    const entry_t *keys;
    size_t n;
};

#define SECTION(table) {table, PST_COUNT(table)}

/* findings */

void pst_reader_fail(pst_reader_t *r, const pst_yaml_t *at, const char *fmt, ...)
{
    if (r->count++ >= FINDINGS_MAX)
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pst_buf_printf(&r->findings, "%s:%u:%u: %s\n", r->file, at ? at->line : 1, at ? at->column : 1,
                   text);
}

char *pst_reader_findings(pst_reader_t *r)
{
    if (r->count > FINDINGS_MAX)
        pst_buf_printf(&r->findings, "%s: %u more like these: mend the first ones\n", r->file,
                       r->count - FINDINGS_MAX);
    char *text = pst_buf_detach(&r->findings, NULL);
    PST_ASSERT(text);
    return text;
}

size_t pst_reader_enter(pst_reader_t *r, pst_view_t name)
{
    size_t mark = r->path_n;
    char shown[96];
    int wrote = snprintf(r->path + mark, sizeof r->path - mark, "%s%s", mark ? "." : "",
                         pst_config_show(name, shown));
    r->path_n = PST_MIN(mark + (size_t)PST_MAX(wrote, 0), sizeof r->path - 1);
    return mark;
}

void pst_reader_leave(pst_reader_t *r, size_t mark)
{
    r->path_n = mark;
    r->path[mark] = '\0';
}

bool pst_reader_visit(pst_reader_t *r, const pst_yaml_t *n)
{
    if (r->visits > VISITS_MAX)
        return false;
    if (++r->visits <= VISITS_MAX)
        return true;
    pst_reader_fail(r, n, "aliases make more than %u values of this file: write fewer of them",
                    VISITS_MAX);
    return false;
}

const char *pst_reader_keep(pst_reader_t *r, pst_view_t v)
{
    pst_view_t copy = pst_arena_copy(r->strings, v);
    PST_ASSERT(copy.p);
    return copy.p;
}

const char *pst_config_show(pst_view_t v, char out[96])
{
    static const size_t shown_max = 64;
    size_t n = PST_MIN(v.n, shown_max);
    while (n < v.n && n > 0 && ((unsigned char)v.p[n] & 0xc0) == 0x80)
        n--; /* not through the middle of a character */
    for (size_t i = 0; i < n; i++)
        out[i] = (char)((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f ? '?' : v.p[i]);
    strcpy(out + n, n < v.n ? "…" : "");
    return out;
}

/* did you mean */

/* Edits between a and b (insert, delete, replace, swap neighbours), counted to `most` + 1. */
static unsigned edits(const char *a, size_t an, const char *b, size_t bn, unsigned most)
{
    enum { LONGEST = 40 };
    if (an > LONGEST || bn > LONGEST)
        return most + 1;
    unsigned row[3][LONGEST + 1];
    for (size_t j = 0; j <= bn; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= an; i++) {
        unsigned *now = row[i % 3];
        const unsigned *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= bn; j++) {
            unsigned replace = up[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = PST_MIN(replace, PST_MIN(up[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = PST_MIN(now[j], up2[j - 2] + 1);
        }
    }
    return PST_MIN(row[an % 3][bn], most + 1);
}

/* The best guess so far at what was meant. */
typedef struct guess {
    pst_view_t meant;
    unsigned edits; /* of the best */
    const char *best;
} guess_t;

static guess_t guess_begin(pst_view_t meant)
{
    return (guess_t){.meant = meant, .edits = meant.n > 4 ? 3 : 2};
}

static void guess_try(guess_t *g, const char *word)
{
    unsigned n = edits(g->meant.p, g->meant.n, word, strlen(word), g->edits);
    if (n >= g->edits || n >= g->meant.n)
        return;
    g->edits = n;
    g->best = word;
}

static const char *key_guess(const pst_section_t *s, pst_view_t meant)
{
    guess_t g = guess_begin(meant);
    for (size_t i = 0; i < s->n; i++)
        guess_try(&g, s->keys[i].name);
    return g.best;
}

/* scalars */

/* The text of a value that must be one, or NULL with a finding. */
static const pst_view_t *scalar(pst_reader_t *r, const pst_yaml_t *v, const char *want)
{
    if (v->kind == PST_YAML_SCALAR && !pst_yaml_is_null(v))
        return &v->text;
    pst_reader_fail(r, v, "%s is %s: write %s", r->path,
                    v->kind == PST_YAML_SCALAR ? "empty"
                    : v->kind == PST_YAML_LIST ? "a list"
                                               : "a map",
                    want);
    return NULL;
}

static void fail_value(pst_reader_t *r, const pst_yaml_t *v, bool secret, const char *advice)
{
    char shown[96];
    if (secret)
        pst_reader_fail(r, v, "%s is not right: %s", r->path, advice);
    else
        pst_reader_fail(r, v, "%s is `%s`: %s", r->path, pst_config_show(v->text, shown), advice);
}

static void print_plain(uint64_t n, char out[32])
{
    snprintf(out, 32, "%llu", (unsigned long long)n);
}

static void store_number(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into,
                         uint64_t n)
{
    if (n < k->min || n > k->max) {
        char least[32], most[32], advice[96];
        k->print(k->min, least);
        k->print(k->max, most);
        snprintf(advice, sizeof advice, "write %s to %s%s", least, most,
                 n == 0 ? ", or leave it out" : "");
        fail_value(r, v, false, advice);
        return;
    }
    char *at = (char *)into + k->offset;
    if (k->width == sizeof(uint32_t))
        memcpy(at, &(uint32_t){(uint32_t)n}, sizeof(uint32_t));
    else
        memcpy(at, &n, sizeof n);
}

typedef const char *parse_number_fn(pst_view_t v, uint64_t *ret);

static void read_by(parse_number_fn *parse, pst_reader_t *r, const entry_t *k, const pst_yaml_t *v,
                    void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    if (!text)
        return;
    uint64_t n = 0;
    const char *advice = parse(*text, &n);
    if (advice)
        fail_value(r, v, false, advice);
    else
        store_number(r, k, v, into, n);
}

static void read_number(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    if (v->kind == PST_YAML_SCALAR && v->quoted)
        fail_value(r, v, false, "a number is written without quotes");
    else
        read_by(pst_value_number, r, k, v, into);
}

static void read_duration(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    read_by(pst_value_duration, r, k, v, into);
}

static void read_size(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    read_by(pst_value_size, r, k, v, into);
}

static void read_price(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    if (!text)
        return;
    double price = 0;
    const char *advice =
        v->quoted ? "a number is written without quotes" : pst_value_price(*text, &price);
    if (!advice && price > (double)k->max)
        advice = "that is beyond any price: write USD per million tokens (request: USD a call)";
    if (advice)
        fail_value(r, v, false, advice);
    else
        memcpy((char *)into + k->offset, &price, sizeof price);
}

static void read_bool(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    if (!text)
        return;
    bool yes = false;
    const char *advice =
        v->quoted ? "write true or false without quotes" : pst_value_bool(*text, &yes);
    if (advice)
        fail_value(r, v, false, advice);
    else
        memcpy((char *)into + k->offset, &yes, sizeof yes);
}

static void read_text(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    if (!text)
        return;
    const char *advice = memchr(text->p, 0, text->n) ? "take the NUL out" : k->check(*text);
    if (advice) {
        fail_value(r, v, k->secret, advice);
        return;
    }
    const char *kept = pst_reader_keep(r, *text);
    memcpy((char *)into + k->offset, &kept, sizeof kept);
}

/* words */

static void fail_word(pst_reader_t *r, const pst_yaml_t *v, const char *const *words)
{
    guess_t g = guess_begin(v->text);
    char advice[256] = "write ";
    size_t n = strlen(advice);
    for (size_t i = 0; words[i]; i++) {
        guess_try(&g, words[i]);
        n += (size_t)snprintf(advice + n, sizeof advice - n, "%s%s",
                              i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
    }
    if (g.best)
        snprintf(advice, sizeof advice, "did you mean `%s`?", g.best);
    fail_value(r, v, false, advice);
}

static int word_index(const char *const *words, pst_view_t v)
{
    for (int i = 0; words[i]; i++) {
        if (pst_view_eqs(v, words[i]))
            return i;
    }
    return -1;
}

/* Keeps the word itself. */
static void read_word(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    int i = text ? word_index(k->words, *text) : -1;
    if (text && i < 0)
        fail_word(r, v, k->words);
    if (i >= 0)
        memcpy((char *)into + k->offset, &k->words[i], sizeof k->words[i]);
}

static void read_durability(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    int i = text ? word_index(k->words, *text) : -1;
    if (text && i < 0)
        fail_word(r, v, k->words);
    if (i >= 0)
        ((pst_config_t *)into)->durability = (pst_durability_t)i;
}

const char pst_config_apis[] = "openai, anthropic, gemini, mistral, azure, bedrock, cohere or echo";
static const char *const api_words[] = {"openai", "anthropic", "gemini", "mistral", "azure", "bedrock", "cohere", "echo", NULL};

/* Bits by the place of their names. */
static const char *const option_words[] = {
    "max_completion_tokens", "max_tokens", "no_developer", "no_store", "no_sampling", "no_responses", NULL,
};
static const uint32_t option_bits[] = {
    PST_CONFIG_OPT_MAX_COMPLETION_TOKENS, PST_CONFIG_OPT_MAX_TOKENS, PST_CONFIG_OPT_NO_DEVELOPER,
    PST_CONFIG_OPT_NO_STORE, PST_CONFIG_OPT_NO_SAMPLING, PST_CONFIG_OPT_NO_RESPONSES,
};

static void read_options(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    if (v->kind != PST_YAML_LIST) {
        pst_reader_fail(r, v, "%s is not a list: write it as [max_tokens, no_store]", r->path);
        return;
    }
    static const uint32_t both = PST_CONFIG_OPT_MAX_COMPLETION_TOKENS | PST_CONFIG_OPT_MAX_TOKENS;
    uint32_t bits = 0;
    for (const pst_yaml_t *n = v->first; n && pst_reader_visit(r, n); n = n->next) {
        const pst_yaml_t *item = pst_yaml_deref(n);
        const pst_view_t *text = scalar(r, item, "the name of an option");
        int i = text ? word_index(option_words, *text) : -1;
        if (text && i < 0)
            fail_word(r, item, option_words);
        if (i >= 0)
            bits |= option_bits[i];
    }
    if ((bits & both) == both)
        pst_reader_fail(r, v,
                        "%s has max_tokens and max_completion_tokens: keep the one the host knows",
                        r->path);
    memcpy((char *)into + k->offset, &bits, sizeof bits);
}

static void read_headers(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    (void)k;
    pst_config_provider_t *p = into;
    if (v->kind != PST_YAML_MAP) {
        pst_reader_fail(r, v, "%s is no map: write it as { X-Title: batches }", r->path);
        return;
    }
    pst_config_header_t *list = pst_arena_get(r->strings, PST_CONFIG_HEADERS_MAX * sizeof *list);
    PST_ASSERT(list);
    uint32_t n = 0;
    for (const pst_yaml_t *name = v->first; name && pst_reader_visit(r, name); name = name->next->next) {
        const pst_yaml_t *value = pst_yaml_deref(name->next);
        const pst_view_t *text = scalar(r, value, "a header's value, ${VARIABLE} or file:/path");
        const char *advice = pst_value_header_name(name->text);
        if (advice)
            fail_value(r, name, false, advice);
        else if (text && (advice = pst_value_header(*text)) != NULL)
            fail_value(r, value, true, advice);
        else if (n == PST_CONFIG_HEADERS_MAX) {
            pst_reader_fail(r, name, "%s has more than %d headers: leave some out", r->path, PST_CONFIG_HEADERS_MAX);
            break;
        } else if (text)
            list[n++] = (pst_config_header_t){pst_reader_keep(r, name->text), pst_reader_keep(r, *text)};
    }
    p->headers = list;
    p->headers_n = n;
}

static const char *const parameter_words[] = {
#define X(name, bit, text) text,
    PST_PARAM_LIST(X)
#undef X
    NULL,
};

static void read_parameters(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    (void)k;
    pst_config_endpoint_t *e = into;
    if (v->kind != PST_YAML_LIST) {
        pst_reader_fail(r, v, "%s is not a list: write it as [tools, response_format]", r->path);
        return;
    }
    e->parameters_given = true;
    for (const pst_yaml_t *n = v->first; n && pst_reader_visit(r, n); n = n->next) {
        const pst_yaml_t *item = pst_yaml_deref(n);
        const pst_view_t *text = scalar(r, item, "the name of a parameter");
        int i = text ? word_index(parameter_words, *text) : -1;
        if (text && i < 0)
            fail_word(r, item, parameter_words);
        if (i >= 0)
            e->parameters |= 1u << i;
    }
}

/* An endpoint's provider becomes its index among those that are configured. */
static void read_provider(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    const pst_view_t *text = scalar(r, v, k->type);
    if (!text)
        return;
    guess_t g = guess_begin(*text);
    for (uint32_t i = 0; i < r->providers_n; i++) {
        guess_try(&g, r->providers[i].name);
        if (pst_view_eqs(*text, r->providers[i].name)) {
            ((pst_config_endpoint_t *)into)->provider = i;
            return;
        }
    }
    char advice[128] = "no such provider: add it under `providers`";
    if (g.best)
        snprintf(advice, sizeof advice, "no such provider: did you mean `%s`?", g.best);
    fail_value(r, v, false, advice);
}

static void read_gateway_keys(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    (void)k;
    pst_config_t *c = into;
    uint32_t n = 0;
    if (v->kind == PST_YAML_LIST) {
        for (const pst_yaml_t *item = v->first; item; item = item->next)
            n++;
    }
    if (n == 0 || n > GATEWAY_KEYS_MAX) {
        pst_reader_fail(r, v, "%s is not a list of 1 to %d keys: write it as [\"${GATEWAY_KEY}\"]",
                        r->path, GATEWAY_KEYS_MAX);
        return;
    }
    const char **keys = pst_arena_get(r->strings, n * sizeof *keys);
    PST_ASSERT(keys);
    c->gateway_keys_n = 0;
    c->gateway_keys = keys;
    for (const pst_yaml_t *item = v->first; item; item = item->next) {
        const pst_yaml_t *value = pst_yaml_deref(item);
        const pst_view_t *text = scalar(r, value, "${VARIABLE}, file:/path or a key");
        const char *advice = !text ? NULL : text->n == 0 ? "an empty key would let everybody in"
                                                         : pst_value_secret(*text);
        if (advice)
            fail_value(r, value, true, advice);
        if (text && !advice)
            keys[c->gateway_keys_n++] = pst_reader_keep(r, *text);
    }
}

/* maps */

const pst_yaml_t *pst_config_value(const pst_yaml_t *n, const char *key)
{
    if (!n || n->kind != PST_YAML_MAP)
        return NULL;
    for (const pst_yaml_t *k = n->first; k; k = k->next->next) {
        if (k->kind == PST_YAML_SCALAR && pst_view_eqs(k->text, key))
            return pst_yaml_deref(k->next);
    }
    return NULL;
}

static void fail_unknown(pst_reader_t *r, const pst_section_t *s, const pst_yaml_t *k)
{
    char shown[96], in[sizeof r->path + 8] = "";
    if (r->path_n)
        snprintf(in, sizeof in, " in %s", r->path);
    if (pst_view_eqs(k->text, "<<")) {
        pst_reader_fail(r, k, "merge keys (<<) have no meaning%s: write the keys out", in);
        return;
    }
    const char *guess = key_guess(s, k->text);
    if (guess) {
        pst_reader_fail(r, k, "unknown key `%s`%s: did you mean `%s`?",
                        pst_config_show(k->text, shown), in, guess);
        return;
    }
    char known[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < s->n && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", s->keys[i].name);
    pst_reader_fail(r, k, "unknown key `%s`%s: remove it; known are %s",
                    pst_config_show(k->text, shown), in, known);
}

static const entry_t *find_key(const pst_section_t *s, pst_view_t name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (pst_view_eqs(name, s->keys[i].name))
            return &s->keys[i];
    }
    return NULL;
}

static void read_pair(pst_reader_t *r, const pst_section_t *s, const pst_yaml_t *k,
                      const pst_yaml_t **given, void *into)
{
    if (k->kind != PST_YAML_SCALAR) {
        pst_reader_fail(r, k, "a key that is no name: write `name: value`");
        return;
    }
    const entry_t *key = find_key(s, k->text);
    if (!key) {
        fail_unknown(r, s, k);
        return;
    }
    const pst_yaml_t **first = &given[key - s->keys];
    size_t mark = pst_reader_enter(r, k->text);
    if (*first)
        pst_reader_fail(r, k, "%s is given twice: remove one, the first is in line %u", r->path,
                        (*first)->line);
    else
        key->read(r, key, pst_yaml_deref(k->next), into);
    *first = k;
    pst_reader_leave(r, mark);
}

bool pst_reader_section(pst_reader_t *r, const pst_section_t *s, const pst_yaml_t *n, void *into)
{
    if (!n || pst_yaml_is_null(n))
        return true;
    if (n->kind != PST_YAML_MAP) {
        pst_reader_fail(r, n, "%s is not a map: write `key: value` pairs",
                        r->path_n ? r->path : "the config");
        return false;
    }
    enum { KEYS_MAX = 32 };
    PST_ASSERT(s->n <= KEYS_MAX);
    const pst_yaml_t *given[KEYS_MAX] = {0};
    for (const pst_yaml_t *k = n->first; k && pst_reader_visit(r, k); k = k->next->next)
        read_pair(r, s, k, given, into);
    return true;
}

static void read_section(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    (void)pst_reader_section(r, k->section, v, (char *)into + k->offset);
}

/* `providers` and `models` have names, not keys: config.c reads them. */
static void read_elsewhere(pst_reader_t *r, const entry_t *k, const pst_yaml_t *v, void *into)
{
    (void)r, (void)k, (void)v, (void)into;
}

/* the table */

#define AT(struct_type, field) .offset = offsetof(struct_type, field)
#define NUMBER(struct_type, field, least, most)                                                    \
    .read = read_number, .type = "a number", .print = print_plain, AT(struct_type, field),         \
    .width = sizeof(((struct_type *)0)->field), .min = (least), .max = (most)
#define DURATION(struct_type, field, least, most)                                                  \
    .read = read_duration, .type = "a duration", .print = pst_value_print_duration,                \
    AT(struct_type, field), .width = sizeof(((struct_type *)0)->field), .min = (least), .max = (most)
#define SIZE(struct_type, field, least, most)                                                      \
    .read = read_size, .type = "a size", .print = pst_value_print_size, AT(struct_type, field),    \
    .width = sizeof(((struct_type *)0)->field), .min = (least), .max = (most)
#define PRICE(field, most)                                                                         \
    .read = read_price, .type = "USD", AT(pst_price_t, field), .max = (most)
#define TEXT(struct_type, field, text_type, check_fn)                                              \
    .read = read_text, .type = (text_type), AT(struct_type, field), .check = (check_fn)
#define MAP(struct_type, field, table)                                                             \
    .read = read_section, .type = "a map", AT(struct_type, field), .section = &(table)
/* A section whose values go into the config itself. */
#define PART(table) .read = read_section, .type = "a map", .section = &(table)

static const char *const durability_words[] = {
    [PST_DUR_MEMORY] = "memory", [PST_DUR_LOGGED] = "logged", [PST_DUR_FSYNCED] = "fsynced",
    [PST_DUR_REPLICATED] = "replicated", NULL,
};
static const char *const data_words[] = {"allow", "deny", NULL};

static const entry_t limits_keys[] = {
    {.name = "rpm", NUMBER(pst_limits_t, rpm, 1, 1000000000), .help = "requests a minute"},
    {.name = "tpm", NUMBER(pst_limits_t, tpm, 1, 1000000000000), .help = "tokens a minute, input and output"},
    {.name = "itpm", NUMBER(pst_limits_t, itpm, 1, 1000000000000), .help = "input tokens a minute"},
    {.name = "otpm", NUMBER(pst_limits_t, otpm, 1, 1000000000000), .help = "output tokens a minute"},
    {.name = "rpd", NUMBER(pst_limits_t, rpd, 1, 1000000000000), .help = "requests a day"},
    {.name = "concurrency", NUMBER(pst_limits_t, concurrency, 1, 100000), .help = "calls in flight"},
};
static const pst_section_t limits_section = SECTION(limits_keys);

static const entry_t price_keys[] = {
    {.name = "input", PRICE(input, 100000), .help = "per million input tokens"},
    {.name = "output", PRICE(output, 100000), .help = "per million output tokens"},
    {.name = "cached", PRICE(cached, 100000), .help = "per million input tokens read from a cache; default: input"},
    {.name = "request", PRICE(request, 1000), .help = "a call, beside its tokens"},
};
static const pst_section_t price_section = SECTION(price_keys);

static const entry_t provider_keys[] = {
    {.name = "api", .read = read_word, .type = "a wire protocol", AT(pst_config_provider_t, api),
     .words = api_words, .help = "openai, anthropic, gemini, mistral, azure, bedrock, cohere or echo (answers by itself)"},
    {.name = "base_url", TEXT(pst_config_provider_t, base_url, "a URL", pst_value_base_url), .secret = true,
     .help = "up to what the SDKs call the base URL: https://api.openai.com/v1; azure: https://RES.openai.azure.com/openai/v1, "
             "or …/openai?api-version=… where the version is to be named"},
    {.name = "api_key", TEXT(pst_config_provider_t, key_ref, "${VARIABLE} or file:/path", pst_value_secret),
     .secret = true, .help = "resolved by workers alone; \"\" for none; api bedrock: an API key, or ${ID}:${SECRET} or "
                            "${ID}:${SECRET}:${TOKEN} to sign with"},
    {.name = "ca_file", TEXT(pst_config_provider_t, ca_file, "a file", pst_value_path),
     .help = "certificates trusted instead of the system's, in PEM: a company's own, or a server's"},
    {.name = "proxy", TEXT(pst_config_provider_t, proxy_ref, "a URL", pst_value_proxy), .secret = true,
     .help = "http://[USER:PASSWORD@]HOST:PORT, https://…, socks5h://… or ${VARIABLE}; \"\" for none; default: what "
             "https_proxy, http_proxy, all_proxy and no_proxy of the worker's environment say"},
    {.name = "headers", .read = read_headers, .type = "a map", .secret = true,
     .help = "of every request, such as { OpenAI-Organization: org-1 }; values may be ${VARIABLE} or file:/path"},
    {.name = "limits", MAP(pst_config_provider_t, limits, limits_section), .help = "of the whole account"},
    {.name = "timeout", DURATION(pst_config_provider_t, timeout, PST_SEC, 86400 * PST_SEC),
     .help = "of a whole call; default 10m"},
    {.name = "idle_timeout", DURATION(pst_config_provider_t, idle_timeout, PST_SEC, 86400 * PST_SEC),
     .help = "between two pieces of an answer, once its status has come: before that a model may think; default 5m"},
    {.name = "compressed_answers", .read = read_bool, .type = "true or false",
     AT(pst_config_provider_t, compressed_answers),
     .help = "ask for them, by gzip: for a slow line, unpacking takes the worker some 3 us a KiB; default false"},
    {.name = "options", .read = read_options, .type = "a list of options", AT(pst_config_provider_t, flags),
     .help = "max_completion_tokens, max_tokens, no_developer, no_store, no_sampling, no_responses: how the host deviates"},
    {.name = "data_collection", .read = read_word, .type = "allow or deny", AT(pst_config_provider_t, data_policy),
     .words = data_words, .help = "deny: your contract says it trains on nothing; requests may demand it"},
    {.name = "zdr", .read = read_bool, .type = "true or false", AT(pst_config_provider_t, zdr),
     .help = "zero data retention is agreed; requests may demand it"},
    {.name = "delay", DURATION(pst_config_provider_t, echo_delay, 0, 3600 * PST_SEC),
     .help = "api echo: how long an answer takes"},
    {.name = "answer_bytes", SIZE(pst_config_provider_t, echo_bytes, 1, 8u << 20),
     .help = "api echo: length of an answer; default: the prompt's"},
};
const pst_section_t pst_section_provider = SECTION(provider_keys);

static const entry_t endpoint_keys[] = {
    {.name = "provider", .read = read_provider, .type = "the name of a provider", .help = "who serves it"},
    {.name = "model", TEXT(pst_config_endpoint_t, model, "a model's name", pst_value_upstream),
     .help = "its name there"},
    {.name = "price", MAP(pst_config_endpoint_t, price, price_section), .help = "USD"},
    {.name = "context", NUMBER(pst_config_endpoint_t, context, 1, 1000000000), .help = "tokens, prompt and answer"},
    {.name = "max_output", NUMBER(pst_config_endpoint_t, max_output, 1, 1000000000), .help = "tokens of an answer"},
    {.name = "quantization", TEXT(pst_config_endpoint_t, quantization, "a word", pst_value_word),
     .help = "such as fp8; requests may demand it"},
    {.name = "variant", TEXT(pst_config_endpoint_t, variant, "a word", pst_value_word),
     .help = "such as turbo: requests name this endpoint PROVIDER/turbo, and PROVIDER for all of its"},
    {.name = "parameters", .read = read_parameters, .type = "a list of parameters",
     .help = "what it takes of tools, response_format, images, logprobs, seed, penalties, logit_bias, n and reasoning; "
             "default: all that its api can say"},
    {.name = "options", .read = read_options, .type = "a list of options", AT(pst_config_endpoint_t, flags),
     .help = "beside the provider's"},
    {.name = "limits", MAP(pst_config_endpoint_t, limits, limits_section), .help = "of this model there"},
    {.name = "caches_prompts", .read = read_bool, .type = "true or false", AT(pst_config_endpoint_t, caches_prompts),
     .help = "the provider caches prompts that begin alike: jobs of a batch with the same beginning are sent here "
             "together, the first alone; default false"},
};
const pst_section_t pst_section_endpoint = SECTION(endpoint_keys);

static const entry_t redis_keys[] = {
    {.name = "url", TEXT(pst_config_t, redis_url, "a URL", pst_value_redis_url), .secret = true,
     .help = "redis://… or unix:///path; left out: `penstock up` runs its own"},
    {.name = "durability", .read = read_durability, .type = "a level", .words = durability_words,
     .help = "what accepted means: memory, logged, fsynced (default) or replicated"},
    {.name = "maxmemory", SIZE(pst_config_t, redis_maxmemory, 64ull << 20, 64ull << 40),
     .help = "of the Redis that `penstock up` runs"},
};
static const pst_section_t redis_section = SECTION(redis_keys);

static const entry_t broker_keys[] = {
    {.name = "clients", TEXT(pst_config_t, broker_clients, "an address", pst_value_zmq_address),
     .help = "where clients connect; default tcp://127.0.0.1:7701"},
    {.name = "workers", TEXT(pst_config_t, broker_workers, "an address", pst_value_zmq_address),
     .help = "where workers connect; default tcp://127.0.0.1:7702"},
    {.name = "metrics", TEXT(pst_config_t, broker_metrics, "HOST:PORT", pst_value_listen),
     .help = "Prometheus; default 127.0.0.1:7709, \"\" for off"},
};
static const pst_section_t broker_section = SECTION(broker_keys);

static const entry_t gateway_keys[] = {
    {.name = "listen", TEXT(pst_config_t, gateway_listen, "HOST:PORT", pst_value_listen),
     .help = "the OpenAI API; default 127.0.0.1:7700, \"\" for off"},
    {.name = "api_keys", .read = read_gateway_keys, .type = "a list of keys", .secret = true,
     .help = "one of them as bearer; needed to listen beyond loopback"},
    {.name = "webhook_secret", TEXT(pst_config_t, gateway_webhook_secret, "${VARIABLE} or file:/path", pst_value_secret),
     .secret = true, .help = "whsec_ and base64, as Standard Webhooks has it: signs what tells of a batch's end; default: "
                            "not signed"},
    {.name = "webhook_private", .read = read_bool, .type = "true or false", AT(pst_config_t, gateway_webhook_private),
     .help = "webhooks may go to private addresses too, and through the environment's proxy; default false"},
};
static const pst_section_t gateway_section = SECTION(gateway_keys);

static const entry_t input_keys[] = {
    {.name = "line_max", SIZE(pst_config_t, line_bytes_max, 1u << 10, PST_LINE_BYTES_MAX),
     .help = "the longest line of an input file; default 32mb"},
    {.name = "prefix_max", SIZE(pst_config_t, prefix_bytes_max, 64, PST_LINE_BYTES_MAX),
     .help = "so much of two prompts alike is the same beginning (caches_prompts); default 32kb"},
    {.name = "prefix_min", SIZE(pst_config_t, prefix_bytes_min, 64, PST_LINE_BYTES_MAX),
     .help = "a shorter beginning is not worth keeping together; default 4kb, for most providers cache nothing below "
             "1,024 tokens"},
};
static const pst_section_t input_section = SECTION(input_keys);

static const entry_t root_keys[] = {
    {.name = "redis", PART(redis_section), .help = "the store"},
    {.name = "broker", PART(broker_section), .help = "its sockets"},
    {.name = "gateway", PART(gateway_section), .help = "HTTP"},
    {.name = "input", PART(input_section), .help = "files that are submitted"},
    {.name = "providers", .read = read_elsewhere, .type = "a map by name", .section = &pst_section_provider,
     .help = "accounts; left out: every one of the catalog whose key variable is set"},
    {.name = "models", .read = read_elsewhere, .type = "a map by name", .section = &pst_section_endpoint,
     .help = "lists of endpoints, beside the catalog's"},
};
const pst_section_t pst_section_root = SECTION(root_keys);

/* the reference */

static void print_key(pst_buf_t *out, const char *path, const entry_t *k)
{
    char bounds[80] = "";
    if (k->print && k->width) {
        char least[32], most[32];
        k->print(k->min, least);
        k->print(k->max, most);
        snprintf(bounds, sizeof bounds, ", %s to %s", least, most);
    }
    pst_buf_printf(out, "%s  (%s%s)  %s\n", path, k->type, bounds, k->help);
}

static void print_section(pst_buf_t *out, const char *prefix, const pst_section_t *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const entry_t *k = &s->keys[i];
        char path[128];
        snprintf(path, sizeof path, "%s%s", prefix, k->name);
        print_key(out, path, k);
        if (!k->section)
            continue;
        const char *below = k->section == &pst_section_provider   ? ".NAME."
                            : k->section == &pst_section_endpoint ? ".NAME[]."
                                                                  : ".";
        strncat(path, below, sizeof path - strlen(path) - 1);
        print_section(out, path, k->section);
    }
}

void pst_config_reference(pst_buf_t *out)
{
    print_section(out, "", &pst_section_root);
}
