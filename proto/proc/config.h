/* config.h - penstock.yaml and the catalog, read once into a const struct.
 *
 * Sources, later ones win: the shipped catalog (providers' wire protocols, base URLs and key variables;
 * models, prices, limits of context), then the user's file.  Without a user's file, or with one that has no
 * `providers`, every catalog provider whose key variable is set is on.  Unknown keys, wrong types and values out
 * of bounds are errors with file:line.  What the catalog knows of a provider, or of a model at a provider, is the
 * default for a user's entry of the same name that leaves it out.
 * One table of keys (config_keys.c) drives the parser, its bounds and the reference that `penstock check` prints.
 *
 * Secrets: api_key is kept as its *reference* ("${VAR}", "${ID}:${SECRET}" or "file:…").  Only a worker resolves
 * it, with pst_config_key; a key has no printable form. */
#ifndef PST_CONFIG_H
#define PST_CONFIG_H

#include "base/base.h"
#include "base/buf.h"

/* What `options` may name: the bits of worker/provider.h's PST_EP_… (config_test.c asserts it). */
#define PST_CONFIG_OPT_MAX_COMPLETION_TOKENS (1u << 0)
#define PST_CONFIG_OPT_MAX_TOKENS (1u << 1)
#define PST_CONFIG_OPT_NO_DEVELOPER (1u << 2)
#define PST_CONFIG_OPT_NO_STORE (1u << 3)
#define PST_CONFIG_OPT_NO_SAMPLING (1u << 4)
#define PST_CONFIG_OPT_NO_RESPONSES (1u << 5)

typedef enum pst_durability { PST_DUR_MEMORY, PST_DUR_LOGGED, PST_DUR_FSYNCED, PST_DUR_REPLICATED } pst_durability_t;

/* Each 0: not given. */
typedef struct pst_limits {
    uint64_t rpm;         /* requests a minute */
    uint64_t tpm;         /* tokens a minute, input and output together */
    uint64_t itpm, otpm;  /* input, output tokens a minute */
    uint64_t rpd;         /* requests a day */
    uint32_t concurrency; /* calls in flight */
} pst_limits_t;

typedef struct pst_price { /* USD per million tokens, except request: USD a call */
    double input, output, cached, request; /* cached is input where it was not given */
} pst_price_t;

#define PST_CONFIG_HEADERS_MAX 16

typedef struct pst_config_header {
    const char *name;
    const char *value_ref; /* as key_ref */
} pst_config_header_t;

typedef struct pst_config_provider {
    const char *name;
    const char *api;       /* wire protocol: an adapter's name */
    const char *base_url;  /* no trailing slash; anthropic: ends in /v1, gemini: in /v1beta, cohere: in /v2; azure: in
                            /openai with an api_version, else in /v1; echo: "" */
    const char *api_version; /* azure: what base_url had behind ?api-version=; NULL: nothing */
    const char *key_ref;   /* "${VAR}", or several with colons between, "file:/path", a literal, or NULL: none needed */
    const char *ca_file;   /* trusted certificates; NULL: the system's */
    const char *proxy_ref; /* as key_ref, of a URL; "": none; NULL: the one the environment names */
    const pst_config_header_t *headers; /* of every request */
    uint32_t headers_n;
    const char *data_policy; /* NULL or "deny" where the provider trains on nothing */
    pst_limits_t limits;   /* the whole account */
    pst_ns_t timeout;      /* a whole call */
    pst_ns_t idle_timeout; /* between two pieces of an answer that has begun */
    bool compressed_answers; /* are asked for */
    pst_ns_t echo_delay;   /* api echo: how long an answer takes */
    uint32_t echo_bytes;   /* api echo: answer text padded to so many bytes; 0: as long as the prompt */
    uint32_t flags;        /* PST_EP_… of worker/provider.h, from `options: [..]` by name */
    bool zdr;
    uint32_t line;         /* where it stands, 0 for the catalog's */
} pst_config_provider_t;

typedef struct pst_config_endpoint {
    uint32_t provider;     /* index in providers */
    const char *model;     /* upstream name */
    pst_price_t price;
    bool price_known;
    uint32_t context;      /* tokens; 0 unknown */
    uint32_t max_output;   /* tokens; 0 unknown */
    const char *quantization; /* NULL unknown */
    const char *variant;   /* tells it from the provider's others: requests name it PROVIDER/VARIANT; NULL: none */
    uint32_t parameters;   /* PST_PARAM_… it takes, of those its wire protocol can say */
    bool parameters_given; /* else all of them */
    uint32_t flags;        /* PST_EP_…, the provider's included */
    pst_limits_t limits;   /* of this model at this provider */
    bool caches_prompts;   /* it caches prompts that begin alike */
} pst_config_endpoint_t;

typedef struct pst_config_model {
    const char *name;      /* what users ask for */
    uint32_t first, count; /* its endpoints: endpoints[first .. first+count) */
} pst_config_model_t;

typedef struct pst_config {
    const char *path;      /* of the user's file; NULL: none, environment only */
    const char *catalog_path;
    const char *redis_url; /* NULL: `penstock up` runs its own.  Still "${VAR}" if that is not set here: unusable */
    pst_durability_t durability;
    uint64_t redis_maxmemory;    /* bytes; 0: not set */
    const char *broker_clients;  /* "tcp://127.0.0.1:7701" */
    const char *broker_workers;  /* "tcp://127.0.0.1:7702" */
    const char *broker_metrics;  /* "127.0.0.1:7709"; "" off */
    const char *gateway_listen;  /* "127.0.0.1:7700"; "" off; beyond loopback only with keys */
    const char **gateway_keys;   /* references, as key_ref; for pst_config_secret */
    uint32_t gateway_keys_n;
    const char *gateway_webhook_secret; /* as key_ref; NULL or "": none */
    bool gateway_webhook_private;       /* webhooks may go to private addresses */
    uint32_t line_bytes_max;     /* input.line_max, default 32 MiB */
    uint32_t prefix_bytes_max;   /* input.prefix_max, default 32 KiB */
    uint32_t prefix_bytes_min;   /* input.prefix_min, default 4 KiB */
    pst_config_provider_t *providers;
    uint32_t providers_n;
    pst_config_endpoint_t *endpoints;
    uint32_t endpoints_n;
    pst_config_model_t *models;  /* sorted by name */
    uint32_t models_n;
} pst_config_t;

/* Every finding of a load, one line each "file:line:column: what is wrong: what to do". */
typedef struct pst_config_errors {
    char *text;    /* NUL-terminated lines, freed by pst_config_errors_release */
    unsigned count;
} pst_config_errors_t;
void pst_config_errors_release(pst_config_errors_t *e);

/* Finds the user's file: `path` if not NULL (must exist), else $PENSTOCK_CONFIG (must exist if set),
 * ./penstock.yaml, ~/.config/penstock/penstock.yaml; else none.  PST_E_CONFIG with errors filled.
 * PENSTOCK_CATALOG names another catalog; else ../share/penstock/catalog.yaml beside the program, else the
 * source tree's (compiled in for builds that are not installed). */
PST_MUSTCHECK pst_err_t pst_config_load(const char *path, pst_config_t **ret, pst_config_errors_t *errors);
/* The same from text, for tests and fuzzing: no file is opened.  catalog may be empty. */
PST_MUSTCHECK pst_err_t pst_config_parse(pst_view_t text, const char *name, pst_view_t catalog, pst_config_t **ret,
                                         pst_config_errors_t *errors);
void pst_config_destroy(pst_config_t **c);

/* The model of that name, or NULL. */
const pst_config_model_t *pst_config_model_find(const pst_config_t *c, pst_view_t name);
/* The provider's index, or -1. */
int pst_config_provider_find(const pst_config_t *c, pst_view_t name);

/* A resolved key.  Wiped by pst_secret_release. */
typedef struct pst_secret {
    char *text; /* NUL-terminated; NULL: none */
} pst_secret_t;
/* PST_E_CONFIG with the missing variable or file named in eb. */
PST_MUSTCHECK pst_err_t pst_config_key(const pst_config_provider_t *p, pst_secret_t *ret, pst_errbuf_t *eb);
/* The same for any reference; `what` names it in eb ("gateway.api_keys[0]"). */
PST_MUSTCHECK pst_err_t pst_config_secret(const char *ref, const char *what, pst_secret_t *ret, pst_errbuf_t *eb);
/* A header's value, which may have blanks. */
PST_MUSTCHECK pst_err_t pst_config_header(const pst_config_header_t *h, pst_secret_t *ret, pst_errbuf_t *eb);
void pst_secret_release(pst_secret_t *s);

/* Every key there is, a line each: path, type and bounds, what it is for. */
void pst_config_reference(pst_buf_t *out);

#endif
