/* catalog_yaml.c - entries as the YAML of a catalog, and the part of one that is taken over. */
#include <stdio.h>
#include <strings.h>

#include "cli/catalog.h"
#include "penstock/job.h"

#define DECIMALS_MAX 24
#define USD_SLACK 1e-12

void pst_catalog_put_usd(pst_buf_t *out, double v)
{
    char text[64];
    for (int decimals = 0; decimals <= DECIMALS_MAX; decimals++) {
        snprintf(text, sizeof text, "%.*f", decimals, v);
        double off = strtod(text, NULL) - v;
        if ((off < 0 ? -off : off) <= v * USD_SLACK)
            break;
    }
    pst_buf_puts(out, text);
}

/* What a YAML reader takes for something else than a text. */
static bool is_reserved(pst_view_t v)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
    for (size_t i = 0; i < PST_COUNT(words); i++) {
        if (strlen(words[i]) == v.n && strncasecmp(words[i], v.p, v.n) == 0)
            return true;
    }
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Plain are names that nobody could read otherwise, in a list between braces, too. */
static bool is_plain(pst_view_t v)
{
    if (v.n == 0 || !is_letter(v.p[0]) || is_reserved(v))
        return false;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-' && c != '/')
            return false;
    }
    return true;
}

/* v is printable ASCII: nothing but the quote and the backslash needs an escape. */
static void put_text(pst_buf_t *out, pst_view_t v)
{
    if (is_plain(v)) {
        pst_buf_putv(out, v);
        return;
    }
    pst_buf_putc(out, '"');
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"' || v.p[i] == '\\')
            pst_buf_putc(out, '\\');
        pst_buf_putc(out, v.p[i]);
    }
    pst_buf_putc(out, '"');
}

typedef struct word {
    uint32_t bit;
    const char *text;
} word_t;

static const word_t parameter_words[] = {
#define X(name, bit, text) {PST_PARAM_##name, text},
    PST_PARAM_LIST(X)
#undef X
};
static const word_t option_words[] = {
    {PST_CONFIG_OPT_MAX_COMPLETION_TOKENS, "max_completion_tokens"},
    {PST_CONFIG_OPT_MAX_TOKENS, "max_tokens"},
    {PST_CONFIG_OPT_NO_DEVELOPER, "no_developer"},
    {PST_CONFIG_OPT_NO_STORE, "no_store"},
    {PST_CONFIG_OPT_NO_SAMPLING, "no_sampling"},
};

static void put_words(pst_buf_t *out, const char *key, const word_t *words, size_t n, uint32_t bits)
{
    pst_buf_printf(out, ",\n        %s: [", key);
    const char *comma = "";
    for (size_t i = 0; i < n; i++) {
        if (!(bits & words[i].bit))
            continue;
        pst_buf_printf(out, "%s%s", comma, words[i].text);
        comma = ", ";
    }
    pst_buf_putc(out, ']');
}

static void put_price(pst_buf_t *out, const pst_catalog_entry_t *e)
{
    pst_buf_puts(out, ",\n        price: { input: ");
    pst_catalog_put_usd(out, e->input);
    if (e->cached >= 0) {
        pst_buf_puts(out, ", cached: ");
        pst_catalog_put_usd(out, e->cached);
    }
    pst_buf_puts(out, ", output: ");
    pst_catalog_put_usd(out, e->output);
    if (e->request > 0) {
        pst_buf_puts(out, ", request: ");
        pst_catalog_put_usd(out, e->request);
    }
    pst_buf_puts(out, " }");
}

static void put_entry(const pst_catalog_t *c, const pst_catalog_entry_t *e, pst_buf_t *out)
{
    if (e->note.n)
        pst_buf_printf(out, "    # %.*s\n", (int)e->note.n, e->note.p);
    pst_buf_puts(out, "    - { provider: ");
    put_text(out, pst_view_str(c->force->providers[e->provider].name));
    pst_buf_puts(out, ", model: ");
    put_text(out, e->model);
    if (e->cached >= 0)
        pst_buf_puts(out, ", caches_prompts: true");
    put_price(out, e);
    if (e->context)
        pst_buf_printf(out, ", context: %u", e->context);
    if (e->max_output)
        pst_buf_printf(out, ", max_output: %u", e->max_output);
    if (e->quantization.n) {
        pst_buf_puts(out, ", quantization: ");
        put_text(out, e->quantization);
    }
    if (e->parameters_given)
        put_words(out, "parameters", parameter_words, PST_COUNT(parameter_words), e->parameters);
    if (e->options)
        put_words(out, "options", option_words, PST_COUNT(option_words), e->options);
    pst_buf_puts(out, " }\n");
}

void pst_catalog_write(const pst_catalog_t *c, pst_view_t providers, pst_buf_t *out)
{
    pst_buf_printf(out,
                   "# A catalog that penstock catalog import made of %s.\n"
                   "# Prices are USD per million tokens as they were found there: CHECK THEM before you rely on\n"
                   "# receipts or --max-cost.\n\n",
                   c->source);
    pst_buf_putv(out, providers);
    pst_buf_puts(out, "\nmodels:\n");
    for (uint32_t i = 0; i < c->n; i++) {
        const pst_catalog_entry_t *e = &c->entry[i];
        if (i == 0 || !pst_view_eq(e->name, e[-1].name)) {
            pst_buf_puts(out, "  ");
            put_text(out, e->name);
            pst_buf_puts(out, ":\n");
        }
        put_entry(c, e, out);
    }
}

/* The end of the line that begins at `from`, its newline included. */
static size_t line_end(pst_view_t text, size_t from)
{
    const char *newline = memchr(text.p + from, '\n', text.n - from);
    return newline ? (size_t)(newline - text.p) + 1 : text.n;
}

pst_view_t pst_catalog_providers(pst_view_t text)
{
    static const char key[] = "providers:";
    size_t from = 0, n = sizeof key - 1;
    while (from < text.n && (text.n - from < n || memcmp(text.p + from, key, n) != 0))
        from = line_end(text, from);
    if (from >= text.n)
        return pst_view(NULL, 0);
    size_t end = line_end(text, from); /* of the last line that is still part of it */
    for (size_t at = end; at < text.n; at = line_end(text, at)) {
        if (text.p[at] == ' ')
            end = line_end(text, at);
        else if (!strchr("#\r\n", text.p[at]))
            break;
    }
    return pst_view(text.p + from, end - from);
}
