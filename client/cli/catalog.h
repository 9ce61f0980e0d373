/* catalog.h - price lists of others as a catalog of ours.  Pure: text in, text out; no file, no clock.
 *
 * Two sources, told apart by their structure: LiteLLM's model_prices_and_context_window.json, and what OpenRouter
 * answers to GET /api/v1/models and GET /api/v1/models/AUTHOR/SLUG/endpoints.  The catalog in force says which
 * providers there are, under which names it has a model already (they are kept, and with them what its entries say
 * in `options`: no price list knows that), and is the one whose `providers` the new catalog begins with.
 *
 * One entry a provider and upstream name.  A name that the catalog in force does not have is <lab>/<upstream> in
 * small letters, so entries of several providers meet under one name only where their upstream names are the same.
 * What is left out is counted by reason: nothing disappears without a word. */
#ifndef PST_CATALOG_H
#define PST_CATALOG_H

#include "base/arena.h"
#include "base/json.h"
#include "proc/config.h"

#define PST_CATALOG_SOURCE_BYTES_MAX ((size_t)64 << 20)
#define PST_CATALOG_SOURCE_VALUES_MAX 8000000u /* JSON values, as the marks between them count */
#define PST_CATALOG_ENTRIES_MAX 20000u

/* Why something is left out. */
#define PST_CATALOG_SKIP_LIST(X)                                                                                   \
    X(MODE, "mode that is not served")                                                                             \
    X(PROVIDER, "provider that the catalog in force does not have")                                                \
    X(OUTPUT, "answers with no text")                                                                              \
    X(NAME, "name that is too long, or has more than printable ASCII without blanks")                              \
    X(SUFFIX, "not to be called one request at a time by this name")                                               \
    X(STATUS, "endpoint that is out of service")                                                                   \
    X(DYNAMIC, "price unknown or made for each call (-1)")                                                         \
    X(PRICE, "no price per token, or none that can be one")                                                        \
    X(REPEATED, "said again of the same provider and model: the first is taken")                                   \
    X(FORM, "not in the form of this source")

typedef enum pst_catalog_skip {
#define X(name, text) PST_CATALOG_SKIP_##name,
    PST_CATALOG_SKIP_LIST(X)
#undef X
        PST_CATALOG_SKIPS
} pst_catalog_skip_t;

typedef struct pst_catalog_entry {
    pst_view_t name;              /* what users ask for */
    bool name_made;               /* the catalog in force has none for it */
    pst_view_t model;             /* upstream */
    uint32_t provider;            /* index in the catalog in force */
    double input, output;         /* USD per million tokens */
    double cached;                /* the same; below 0: not said */
    double request;               /* USD a call; 0: none */
    uint32_t context, max_output; /* tokens; 0: not said */
    uint32_t parameters;          /* PST_PARAM_… */
    bool parameters_given;
    uint32_t options;             /* PST_CONFIG_OPT_…, without the provider's */
    pst_view_t quantization;      /* empty: not said */
    pst_view_t note;              /* what the entry cannot say, for a comment; empty: nothing */
    uint32_t order;               /* place in the source */
} pst_catalog_entry_t;

/* How often a reason, and of what. */
typedef struct pst_catalog_tally {
    pst_catalog_skip_t reason;
    uint32_t count;
    char what[32]; /* printable; "": nothing to say */
} pst_catalog_tally_t;

/* One endpoint of the catalog in force, and the model whose it is. */
typedef struct pst_catalog_known {
    const pst_config_endpoint_t *endpoint;
    const char *name;
} pst_catalog_known_t;

typedef struct pst_catalog {
    const pst_config_t *force; /* borrowed: the catalog in force, with all its providers */
    pst_catalog_known_t *known; /* its endpoints, sorted by provider and upstream name */
    const char *source;        /* what was read, in words */
    pst_json_t json;
    pst_arena_t strings;
    pst_catalog_entry_t *entry; /* after a read: sorted by name, provider and upstream name, nothing twice */
    uint32_t n, cap;
    pst_catalog_tally_t *tally;
    uint32_t tally_n, tally_cap;
    uint32_t skipped[PST_CATALOG_SKIPS];
    bool more;                 /* the source says that it has further pages */
} pst_catalog_t;

void pst_catalog_init(pst_catalog_t *c, const pst_config_t *in_force);
void pst_catalog_release(pst_catalog_t *c);
/* Reads one source; text is borrowed until the release.  PST_E_INVALID with "line:column: what is wrong: what to
 * do" in eb; then c is only good for a release. */
PST_MUSTCHECK pst_err_t pst_catalog_read(pst_catalog_t *c, pst_view_t text, pst_errbuf_t *eb);

/* "12 skipped: mode that is not served (rerank 7, moderation 5)" for a reason that occurred. */
void pst_catalog_put_skipped(const pst_catalog_t *c, pst_catalog_skip_t reason, pst_buf_t *out);

/* The `providers` of a catalog's text as they stand there, comments included; empty if no line begins with it. */
pst_view_t pst_catalog_providers(pst_view_t text);
/* A whole catalog: those providers, and the entries as models. */
void pst_catalog_write(const pst_catalog_t *c, pst_view_t providers, pst_buf_t *out);
/* The shortest decimal, without exponent, that reads back within a trillionth of v: 0.15, not 0.15000000000000002. */
void pst_catalog_put_usd(pst_buf_t *out, double v);

#endif
