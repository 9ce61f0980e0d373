/* config.c - the catalog and the user's file become one config.
 *
 * The catalog is read whole, also what is off: its providers and endpoints are then the defaults for a user's
 * entries of the same name.  A user's model takes the place of the catalog's of that name; of the catalog's
 * other models those endpoints are kept whose provider is on. */
#include "proc/config.h"

#include <stdio.h>

#include "penstock/limits.h"
#include "proc/config_file.h"
#include "proc/config_keys.h"
#include "proc/config_value.h"

#define PROVIDER_TIMEOUT (600 * PST_SEC)
#define PROVIDER_IDLE_TIMEOUT (300 * PST_SEC)
#define LINE_BYTES_DEFAULT (32u << 20)

/* What pst_config_load gives out is the first member. */
typedef struct owner {
    pst_config_t config;
    pst_arena_t strings;
} owner_t;

/* A growing list of models and the endpoints they point into. */
typedef struct named_model {
    pst_config_model_t model;
    const pst_yaml_t *at; /* its name in the file */
} named_model_t;

typedef struct models {
    named_model_t *model;
    uint32_t models_n, models_cap;
    pst_config_endpoint_t *endpoint; /* flags: its own options, without the provider's */
    uint32_t endpoints_n, endpoints_cap;
} models_t;

typedef struct merge {
    pst_config_t *c;
    pst_reader_t reader;
    pst_arena_t scratch;              /* both YAML trees and the catalog's providers */
    pst_config_provider_t *known;     /* the catalog's */
    uint32_t known_n;
    models_t catalog;
    pst_config_endpoint_t **by_name;  /* the catalog's endpoints, sorted by provider and model */
    models_t user;
} merge_t;

static void *get(pst_arena_t *a, size_t n, size_t size)
{
    void *p = pst_arena_get(a, n * size);
    PST_ASSERT(p);
    return p;
}

/* Room for one more in a list of cap. */
static void *grow(void *list, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    *cap = PST_MAX(*cap * 2, 64u);
    return pst_realloc(list, *cap * size);
}

/* providers */

static int find_provider(const pst_config_provider_t *list, uint32_t n, pst_view_t name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (pst_view_eqs(name, list[i].name))
            return (int)i;
    }
    return -1;
}

/* The catalog's provider of that name, unless the user's entry speaks another protocol: then nothing of it
 * would fit. */
static const pst_config_provider_t *provider_default(const merge_t *m, pst_view_t name,
                                                     const pst_yaml_t *entry)
{
    int i = find_provider(m->known, m->known_n, name);
    if (i < 0)
        return NULL;
    const pst_yaml_t *api = pst_config_value(entry, "api");
    bool same = !api || (api->kind == PST_YAML_SCALAR && pst_view_eqs(api->text, m->known[i].api));
    return same ? &m->known[i] : NULL;
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), tail_n = strlen(tail);
    return n >= tail_n && strcmp(s + n - tail_n, tail) == 0;
}

/* Without the slash at its end, with the version that the protocol's paths begin after. */
static const char *base_url(pst_reader_t *r, const char *url, const char *api)
{
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    const char *kept = pst_reader_keep(r, pst_view(url, n));
    const char *version = "";
    if (strcmp(api, "anthropic") == 0 && !ends(kept, "/v1"))
        version = "/v1";
    if (strcmp(api, "gemini") == 0 && !ends(kept, "/v1beta") && !ends(kept, "/v1") &&
        !ends(kept, "/v1alpha"))
        version = "/v1beta";
    if (strcmp(api, "cohere") == 0 && !ends(kept, "/v2"))
        version = "/v2";
    char whole[1100];
    int wrote = snprintf(whole, sizeof whole, "%s%s", kept, version);
    return pst_reader_keep(r, pst_view(whole, (size_t)wrote));
}

/* Azure's two forms: …/openai/v1, and …/openai?api-version=…, where deployments are part of the path: the adapter puts
 * them there, and the version behind it. */
static void azure_url(pst_reader_t *r, const pst_yaml_t *given, pst_config_provider_t *p)
{
    const char *query = strchr(p->base_url, '?');
    p->api_version = query ? strchr(query, '=') + 1 : NULL;
    size_t n = query ? (size_t)(query - p->base_url) : strlen(p->base_url);
    while (n > 0 && p->base_url[n - 1] == '/')
        n--;
    const char *kept = pst_reader_keep(r, pst_view(p->base_url, n));
    const char *api = ends(kept, "/v1") || ends(kept, "/openai") ? "" : "/openai";
    const char *version = query || ends(kept, "/v1") ? "" : "/v1";
    if (query && ends(kept, "/v1"))
        pst_reader_fail(r, given, "providers.%s.base_url is not right: /v1 needs no api-version: leave ?… out", p->name);
    if (strstr(kept, "/deployments"))
        pst_reader_fail(r, given,
                        "providers.%s.base_url is not right: leave /deployments/… out: a deployment is the model's "
                        "name there", p->name);
    char whole[1100];
    int wrote = snprintf(whole, sizeof whole, "%s%s%s", kept, api, version);
    p->base_url = pst_reader_keep(r, pst_view(whole, (size_t)wrote));
}

/* `given` is the user's base_url; NULL: the catalog's stands, and is what it shall be. */
static void finish_url(pst_reader_t *r, const pst_yaml_t *given, pst_config_provider_t *p)
{
    if (!given)
        return;
    if (strcmp(p->api, "azure") == 0) {
        azure_url(r, given, p);
        return;
    }
    if (strchr(p->base_url, '?'))
        pst_reader_fail(r, given, "providers.%s.base_url is not right: only azure has versions: leave ?… out",
                        p->name);
    p->base_url = base_url(r, p->base_url, p->api);
}

/* How a host deviates where the user does not say: as the catalog's provider at the same URL does, else as
 * carefully as the smallest OpenAI-shaped servers need. */
static uint32_t guess_flags(const merge_t *m, const pst_config_provider_t *p)
{
    for (uint32_t i = 0; i < m->known_n; i++) {
        const pst_config_provider_t *known = &m->known[i];
        /* One of the catalog that is wrong may have neither. */
        if (known->api && known->base_url && strcmp(known->api, p->api) == 0 &&
            strcmp(known->base_url, p->base_url) == 0)
            return known->flags;
    }
    if (strcmp(p->api, "openai") != 0)
        return 0;
    return PST_CONFIG_OPT_MAX_TOKENS | PST_CONFIG_OPT_NO_DEVELOPER | PST_CONFIG_OPT_NO_STORE |
           PST_CONFIG_OPT_NO_RESPONSES;
}

/* What only makes sense when all of an entry's keys are known. */
static void finish_provider(merge_t *m, const pst_yaml_t *name, const pst_yaml_t *entry,
                            bool defaults, pst_config_provider_t *p)
{
    pst_reader_t *r = &m->reader;
    if (p->key_ref && !*p->key_ref)
        p->key_ref = NULL;
    if (p->data_policy && strcmp(p->data_policy, "allow") == 0)
        p->data_policy = NULL;
    if (!p->api) {
        if (!pst_config_value(entry, "api"))
            pst_reader_fail(
                r, name,
                "provider `%s` has no api and the catalog does not know it: add `api:` with %s",
                p->name, pst_config_apis);
        return;
    }
    const pst_yaml_t *url = pst_config_value(entry, "base_url");
    if (strcmp(p->api, "echo") == 0) {
        p->base_url = "";
    } else if (p->base_url) {
        finish_url(r, url, p);
        if (!defaults && !pst_config_value(entry, "options"))
            p->flags = guess_flags(m, p);
    } else if (!url) {
        pst_reader_fail(r, name,
                        "provider `%s` has no base_url: add it, such as https://api.openai.com/v1",
                        p->name);
    }
}

static void read_provider(merge_t *m, const pst_yaml_t *name, pst_config_provider_t *list,
                          uint32_t *n)
{
    pst_reader_t *r = &m->reader;
    const pst_yaml_t *entry = pst_yaml_deref(name->next);
    char shown[96];
    const char *advice =
        name->kind == PST_YAML_SCALAR ? pst_value_provider_name(name->text) : "write `name: {…}`";
    if (advice) {
        pst_reader_fail(r, name, "providers has an entry `%s`: %s",
                        pst_config_show(name->text, shown), advice);
        return;
    }
    if (find_provider(list, *n, name->text) >= 0) {
        pst_reader_fail(r, name, "provider `%s` is given twice: remove one",
                        pst_config_show(name->text, shown));
        return;
    }
    if (*n == PST_CONFIG_PROVIDERS_MAX) {
        pst_reader_fail(r, name, "more than %u providers: run several clusters",
                        PST_CONFIG_PROVIDERS_MAX);
        return;
    }
    const pst_config_provider_t *known =
        list == m->known ? NULL : provider_default(m, name->text, entry);
    pst_config_provider_t *p = &list[*n];
    *p = known ? *known : (pst_config_provider_t){.timeout = PROVIDER_TIMEOUT,
                                                          .idle_timeout = PROVIDER_IDLE_TIMEOUT};
    p->name = pst_reader_keep(r, name->text);
    p->line = list == m->known ? 0 : name->line;
    size_t top = pst_reader_enter(r, pst_view_str("providers"));
    (void)pst_reader_enter(r, name->text);
    bool is_map = pst_reader_section(r, &pst_section_provider, entry, p);
    pst_reader_leave(r, top);
    if (is_map)
        finish_provider(m, name, entry, known != NULL, p);
    ++*n;
}

/* The map under a top key, or NULL if it is left out, empty or (with a finding) no map. */
static const pst_yaml_t *names(pst_reader_t *r, const pst_yaml_t *root, const char *key)
{
    const pst_yaml_t *n = pst_config_value(root, key);
    if (!n || pst_yaml_is_null(n))
        return NULL;
    if (n->kind == PST_YAML_MAP)
        return n->first;
    pst_reader_fail(r, n, "%s is not a map: write `name: …` entries", key);
    return NULL;
}

static void read_providers(merge_t *m, const pst_yaml_t *root, pst_config_provider_t *list,
                           uint32_t *n)
{
    for (const pst_yaml_t *k = names(&m->reader, root, "providers");
         k && pst_reader_visit(&m->reader, k); k = k->next->next)
        read_provider(m, k, list, n);
}

/* Those whose key is there to be used; the key itself is not looked at. */
static void providers_of_environment(merge_t *m)
{
    for (uint32_t i = 0; i < m->known_n; i++) {
        if (pst_config_getenv(m->known[i].key_ref))
            m->c->providers[m->c->providers_n++] = m->known[i];
    }
}

/* models */

/* Both may say how the host names its token limit: then the endpoint, being nearer, decides. */
static uint32_t join_flags(uint32_t provider, uint32_t endpoint)
{
    static const uint32_t either = PST_CONFIG_OPT_MAX_COMPLETION_TOKENS | PST_CONFIG_OPT_MAX_TOKENS;
    return (endpoint & either ? provider & ~either : provider) | endpoint;
}

static int endpoint_order(const pst_config_endpoint_t *a, const pst_config_endpoint_t *b)
{
    if (a->provider != b->provider)
        return a->provider < b->provider ? -1 : 1;
    return strcmp(a->model, b->model);
}

static int by_name_order(const void *a, const void *b)
{
    return endpoint_order(*(pst_config_endpoint_t *const *)a, *(pst_config_endpoint_t *const *)b);
}

/* What the catalog knows of this provider's model of that name, or NULL. */
static const pst_config_endpoint_t *endpoint_default(const merge_t *m, const pst_yaml_t *entry)
{
    const pst_yaml_t *provider = pst_config_value(entry, "provider");
    const pst_yaml_t *model = pst_config_value(entry, "model");
    if (!m->by_name || !provider || provider->kind != PST_YAML_SCALAR || !model ||
        model->kind != PST_YAML_SCALAR)
        return NULL;
    int i = find_provider(m->known, m->known_n, provider->text);
    if (i < 0)
        return NULL;
    const pst_config_endpoint_t want = {.provider = (uint32_t)i, .model = model->text.p};
    const pst_config_endpoint_t *key = &want;
    pst_config_endpoint_t **found =
        bsearch(&key, m->by_name, m->catalog.endpoints_n, sizeof *m->by_name, by_name_order);
    return found ? *found : NULL;
}

/* Reads one endpoint behind the last of the list; true if it may stay. */
static bool read_endpoint(merge_t *m, models_t *list, const pst_yaml_t *at, const pst_yaml_t *entry)
{
    pst_reader_t *r = &m->reader;
    list->endpoint =
        grow(list->endpoint, list->endpoints_n, &list->endpoints_cap, sizeof *list->endpoint);
    pst_config_endpoint_t *e = &list->endpoint[list->endpoints_n];
    const pst_config_endpoint_t *known = list == &m->catalog ? NULL : endpoint_default(m, entry);
    *e = known ? *known : (pst_config_endpoint_t){0};
    e->provider = UINT32_MAX;
    e->model = NULL;
    const pst_yaml_t *price = pst_config_value(entry, "price");
    const bool priced = price && price->kind == PST_YAML_MAP && price->first; /* {} tells no price */
    if (priced)
        e->price = (pst_price_t){.cached = -1};
    if (entry->kind != PST_YAML_MAP) {
        pst_reader_fail(r, at, "%s has an endpoint that is no map: write { provider: …, model: … }",
                        r->path);
        return false;
    }
    (void)pst_reader_section(r, &pst_section_endpoint, entry, e);
    if (priced && e->price.cached < 0)
        e->price.cached = e->price.input;
    e->price_known = e->price_known || priced;
    if (!pst_config_value(entry, "provider"))
        pst_reader_fail(r, at, "%s has an endpoint without provider: add `provider:`", r->path);
    if (!pst_config_value(entry, "model"))
        pst_reader_fail(r, at, "%s has an endpoint without model: add the provider's name of it",
                        r->path);
    return e->provider != UINT32_MAX && e->model;
}

static bool is_repeated(const models_t *list, const pst_config_model_t *model)
{
    const pst_config_endpoint_t *last = &list->endpoint[model->first + model->count];
    for (uint32_t i = 0; i < model->count; i++) {
        if (endpoint_order(&list->endpoint[model->first + i], last) == 0)
            return true;
    }
    return false;
}

static void read_endpoints(merge_t *m, models_t *list, const pst_yaml_t *entries,
                           pst_config_model_t *model)
{
    pst_reader_t *r = &m->reader;
    for (const pst_yaml_t *n = entries->first; n && pst_reader_visit(r, n); n = n->next) {
        if (model->count == PST_CONFIG_MODEL_ENDPOINTS_MAX) {
            pst_reader_fail(r, n, "%s has more than %u endpoints: remove some", r->path,
                            PST_CONFIG_MODEL_ENDPOINTS_MAX);
            return;
        }
        if (list->endpoints_n == PST_CONFIG_ENDPOINTS_MAX) {
            pst_reader_fail(r, n, "more than %u endpoints in all: run several clusters",
                            PST_CONFIG_ENDPOINTS_MAX);
            return;
        }
        if (!read_endpoint(m, list, n, pst_yaml_deref(n)))
            continue;
        if (is_repeated(list, model)) {
            pst_reader_fail(r, n, "%s has this provider and model twice: remove one", r->path);
            continue;
        }
        model->count++;
        list->endpoints_n++;
    }
}

static void read_model(merge_t *m, models_t *list, const pst_yaml_t *name)
{
    pst_reader_t *r = &m->reader;
    const pst_yaml_t *entries = pst_yaml_deref(name->next);
    char shown[96];
    const char *advice =
        name->kind == PST_YAML_SCALAR ? pst_value_model_name(name->text) : "write `name: [{…}]`";
    if (advice) {
        pst_reader_fail(r, name, "models has an entry `%s`: %s", pst_config_show(name->text, shown),
                        advice);
        return;
    }
    size_t top = pst_reader_enter(r, pst_view_str("models"));
    (void)pst_reader_enter(r, name->text);
    if (entries->kind != PST_YAML_LIST || !entries->first) {
        pst_reader_fail(
            r, name, "%s is not a list of endpoints: write each as `- { provider: …, model: … }`",
            r->path);
    } else {
        list->model = grow(list->model, list->models_n, &list->models_cap, sizeof *list->model);
        named_model_t *added = &list->model[list->models_n++];
        *added = (named_model_t){{pst_reader_keep(r, name->text), list->endpoints_n, 0}, name};
        read_endpoints(m, list, entries, &added->model);
    }
    pst_reader_leave(r, top);
}

static int model_order(const void *a, const void *b)
{
    const named_model_t *x = a, *y = b;
    int order = strcmp(x->model.name, y->model.name);
    return order ? order : (x->at->line > y->at->line) - (x->at->line < y->at->line);
}

/* Reads all models of a file and sorts them by name, where repeated ones meet. */
static void read_models(merge_t *m, const pst_yaml_t *root, models_t *list)
{
    pst_reader_t *r = &m->reader;
    for (const pst_yaml_t *k = names(r, root, "models"); k && pst_reader_visit(r, k);
         k = k->next->next)
        read_model(m, list, k);
    if (list->models_n)
        qsort(list->model, list->models_n, sizeof *list->model, model_order);
    for (uint32_t i = 1; i < list->models_n; i++) {
        const named_model_t *first = &list->model[i - 1], *second = &list->model[i];
        if (strcmp(first->model.name, second->model.name) == 0)
            pst_reader_fail(r, second->at,
                            "model `%s` is given twice: remove one, the first is in line %u",
                            second->model.name, first->at->line);
    }
}

static void index_catalog(merge_t *m)
{
    uint32_t n = m->catalog.endpoints_n;
    m->by_name = get(&m->scratch, PST_MAX(n, 1u), sizeof *m->by_name);
    for (uint32_t i = 0; i < n; i++)
        m->by_name[i] = &m->catalog.endpoint[i];
    qsort(m->by_name, n, sizeof *m->by_name, by_name_order);
}

static void put_endpoint(pst_config_t *c, const pst_config_endpoint_t *e, uint32_t provider)
{
    pst_config_endpoint_t *out = &c->endpoints[c->endpoints_n++];
    *out = *e;
    out->provider = provider;
    out->flags = join_flags(c->providers[provider].flags, e->flags);
}

static void put_model(merge_t *m, const models_t *list, const pst_config_model_t *model)
{
    pst_config_t *c = m->c;
    pst_config_model_t out = {model->name, c->endpoints_n, 0};
    for (uint32_t i = 0; i < model->count; i++) {
        const pst_config_endpoint_t *e = &list->endpoint[model->first + i];
        int provider = (int)e->provider;
        if (list == &m->catalog)
            provider = find_provider(c->providers, c->providers_n,
                                     pst_view_str(m->known[e->provider].name));
        if (provider >= 0)
            put_endpoint(c, e, (uint32_t)provider);
    }
    out.count = c->endpoints_n - out.first;
    if (out.count)
        c->models[c->models_n++] = out;
}

/* Both lists are sorted: a merge, in which the user's model of a name hides the catalog's. */
static void put_models(merge_t *m, pst_arena_t *keep)
{
    const models_t *a = &m->user, *b = &m->catalog;
    m->c->models = get(keep, PST_MAX(a->models_n + b->models_n, 1u), sizeof *m->c->models);
    m->c->endpoints =
        get(keep, PST_MAX(a->endpoints_n + b->endpoints_n, 1u), sizeof *m->c->endpoints);
    for (uint32_t i = 0, j = 0; i < a->models_n || j < b->models_n;) {
        int order = i == a->models_n   ? 1
                    : j == b->models_n ? -1
                                       : strcmp(a->model[i].model.name, b->model[j].model.name);
        j += order == 0;
        if (order <= 0)
            put_model(m, a, &a->model[i++].model);
        else
            put_model(m, b, &b->model[j++].model);
    }
}

/* the whole */

static void set_defaults(pst_config_t *c)
{
    c->durability = PST_DUR_FSYNCED;
    c->broker_clients = "tcp://127.0.0.1:7701";
    c->broker_workers = "tcp://127.0.0.1:7702";
    c->broker_metrics = "127.0.0.1:7709";
    c->gateway_listen = "127.0.0.1:7700";
    c->line_bytes_max = LINE_BYTES_DEFAULT;
    c->prefix_bytes_max = PST_PREFIX_BYTES_MAX;
    c->prefix_bytes_min = PST_PREFIX_BYTES_MIN;
}

static const pst_yaml_t *read_yaml(merge_t *m, pst_view_t text, const char *file)
{
    const pst_yaml_t *root = NULL;
    pst_yaml_fault_t fault = {0};
    m->reader.file = file;
    m->reader.visits = 0;
    pst_err_t e = pst_yaml_parse(text, &m->scratch, &root, &fault);
    PST_ASSERT(e != PST_E_NOMEM);
    if (e) {
        const pst_yaml_t at = {.line = fault.line, .column = fault.column};
        pst_reader_fail(&m->reader, &at, "%s", fault.text);
    }
    return root ? pst_yaml_deref(root) : NULL;
}

static void read_catalog(merge_t *m, pst_view_t text, const char *file)
{
    const pst_yaml_t *root = read_yaml(m, text, file);
    m->known = get(&m->scratch, PST_CONFIG_PROVIDERS_MAX, sizeof *m->known);
    pst_config_t rest = {0}; /* a catalog says nothing of this cluster */
    (void)pst_reader_section(&m->reader, &pst_section_root, root, &rest);
    read_providers(m, root, m->known, &m->known_n);
    m->reader.providers = m->known;
    m->reader.providers_n = m->known_n;
    read_models(m, root, &m->catalog);
    index_catalog(m);
}

/* redis.url may be a variable's, since it may hold a password.  One that is not set stays as it is written:
 * a worker elsewhere reads the same file and has no use for it. */
static void resolve_redis_url(merge_t *m, const pst_yaml_t *root)
{
    const char *value = m->c->redis_url ? pst_config_getenv(m->c->redis_url) : NULL;
    if (!value)
        return;
    const char *advice = pst_value_redis_url(pst_view_str(value));
    if (advice || *value == '$')
        pst_reader_fail(&m->reader, pst_config_value(pst_config_value(root, "redis"), "url"),
                        "redis.url is not right in the variable it names: %s",
                        advice ? advice : "no ${…} in it");
    else
        m->c->redis_url = pst_reader_keep(&m->reader, pst_view_str(value));
}

static void check_whole(merge_t *m, const pst_yaml_t *root)
{
    const pst_config_t *c = m->c;
    const pst_yaml_t *gateway = pst_config_value(root, "gateway");
    if (!pst_value_is_loopback(pst_view_str(c->gateway_listen)) && c->gateway_keys_n == 0 &&
        !pst_config_value(gateway, "api_keys"))
        pst_reader_fail(&m->reader, pst_config_value(gateway, "listen"),
                        "gateway.listen is `%s`, which others can reach: set gateway.api_keys, or "
                        "listen on 127.0.0.1",
                        c->gateway_listen);
    const pst_yaml_t *broker = pst_config_value(root, "broker");
    if (broker && strcmp(c->broker_clients, c->broker_workers) == 0)
        pst_reader_fail(&m->reader, broker,
                        "broker.clients and broker.workers are one address: give each its own");
    const pst_yaml_t *prefix_min = pst_config_value(pst_config_value(root, "input"), "prefix_min");
    if (prefix_min && c->prefix_bytes_min > c->prefix_bytes_max)
        pst_reader_fail(&m->reader, prefix_min,
                        "input.prefix_min is more than input.prefix_max: write no more than that, or "
                        "raise it");
}

static void read_user(merge_t *m, pst_view_t text, const char *file, pst_arena_t *keep)
{
    pst_config_t *c = m->c;
    const pst_yaml_t *root = read_yaml(m, text, file);
    unsigned before = m->reader.count;
    (void)pst_reader_section(&m->reader, &pst_section_root, root, c);
    c->providers = get(keep, PST_CONFIG_PROVIDERS_MAX, sizeof *c->providers);
    if (pst_config_value(root, "providers"))
        read_providers(m, root, c->providers, &c->providers_n);
    else
        providers_of_environment(m);
    m->reader.providers = c->providers;
    m->reader.providers_n = c->providers_n;
    read_models(m, root, &m->user);
    resolve_redis_url(m, root);
    if (m->reader.count == before)
        check_whole(m, root);
}

static void merge_release(merge_t *m)
{
    free(m->catalog.model);
    free(m->catalog.endpoint);
    free(m->user.model);
    free(m->user.endpoint);
    pst_arena_release(&m->scratch);
}

/* Each step needs the one before to be right: what is missing would only make findings of its own. */
pst_err_t pst_config_build(const pst_config_source_t *user, const pst_config_source_t *catalog,
                           pst_config_t **ret, pst_config_errors_t *errors)
{
    owner_t *o = pst_calloc(1, sizeof *o);
    pst_arena_init(&o->strings, 0);
    merge_t m = {.c = &o->config, .reader.strings = &o->strings};
    pst_arena_init(&m.scratch, 0);
    set_defaults(m.c);
    m.c->path = user->path ? pst_reader_keep(&m.reader, pst_view_str(user->path)) : NULL;
    m.c->catalog_path =
        catalog->path ? pst_reader_keep(&m.reader, pst_view_str(catalog->path)) : NULL;
    read_catalog(&m, catalog->text, catalog->name);
    if (m.reader.count == 0)
        read_user(&m, user->text, user->name, &o->strings);
    if (m.reader.count == 0)
        put_models(&m, &o->strings);
    merge_release(&m);
    errors->count = m.reader.count;
    errors->text = m.reader.count ? pst_reader_findings(&m.reader) : NULL;
    pst_buf_release(&m.reader.findings);
    pst_config_t *c = m.c;
    if (errors->count) {
        pst_config_destroy(&c);
        return PST_E_CONFIG;
    }
    *ret = c;
    return PST_OK;
}

pst_err_t pst_config_parse(pst_view_t text, const char *name, pst_view_t catalog,
                           pst_config_t **ret, pst_config_errors_t *errors)
{
    const pst_config_source_t user = {text, name, name};
    const pst_config_source_t shipped = {catalog, "catalog", NULL};
    return pst_config_build(&user, &shipped, ret, errors);
}

void pst_config_destroy(pst_config_t **c)
{
    if (!c || !*c)
        return;
    owner_t *o = (owner_t *)*c;
    pst_arena_release(&o->strings);
    free(o);
    *c = NULL;
}

void pst_config_errors_release(pst_config_errors_t *e)
{
    free(e->text);
    *e = (pst_config_errors_t){0};
}

static int name_order(const void *name, const void *model)
{
    const pst_view_t *a = name;
    const char *b = ((const pst_config_model_t *)model)->name;
    size_t n = strlen(b);
    int order = memcmp(a->p, b, PST_MIN(a->n, n));
    return order ? order : (a->n > n) - (a->n < n);
}

const pst_config_model_t *pst_config_model_find(const pst_config_t *c, pst_view_t name)
{
    if (name.n == 0 || c->models_n == 0)
        return NULL;
    return bsearch(&name, c->models, c->models_n, sizeof *c->models, name_order);
}

int pst_config_provider_find(const pst_config_t *c, pst_view_t name)
{
    return find_provider(c->providers, c->providers_n, name);
}
