/* check.c - `penstock check`: what the configuration says, and whether what it needs is there. */
#include "cli/cli.h"
#include "cli/redis_look.h"
#include "cli/table.h"

#define REDIS_MAJOR_MIN 7 /* functions */
#define ASK_MS 250        /* a broker: most checks are made where none runs, and nobody should wait for it */

static void put_limit(char *to, size_t room, const char *name, uint64_t v)
{
    size_t n = strlen(to);
    pst_cli_text_t t;
    if (v && n < room)
        snprintf(to + n, room - n, "%s%s %s", n ? ", " : "", name, pst_cli_count(&t, v));
}

static const char *limits_text(const pst_limits_t *l, char *to, size_t room)
{
    *to = '\0';
    put_limit(to, room, "rpm", l->rpm);
    put_limit(to, room, "tpm", l->tpm);
    put_limit(to, room, "itpm", l->itpm);
    put_limit(to, room, "otpm", l->otpm);
    put_limit(to, room, "rpd", l->rpd);
    put_limit(to, room, "concurrency", l->concurrency);
    return *to ? to : "learned";
}

/* "set", or what is missing. */
static bool key_text(const pst_config_provider_t *p, char *to, size_t room)
{
    if (!p->key_ref) {
        snprintf(to, room, "not needed");
        return true;
    }
    pst_secret_t key = {0};
    pst_errbuf_t why = {""};
    pst_err_t e = pst_config_key(p, &key, &why);
    pst_secret_release(&key);
    snprintf(to, room, "%s%s", e ? "MISSING: " : "set", e ? why.text : "");
    return e == PST_OK;
}

static const char *url_text(const pst_config_provider_t *p, char *to, size_t room)
{
    snprintf(to, room, "%s%s%s", p->base_url ? p->base_url : "-", p->api_version ? "?api-version=" : "",
             p->api_version ? p->api_version : "");
    return to;
}

/* How many keys are missing. */
static unsigned put_providers(const pst_config_t *c)
{
    unsigned missing = 0;
    printf("%-16s %-10s %-44s %-28s %s\n", "PROVIDER", "API", "BASE URL", "LIMITS", "KEY");
    for (uint32_t i = 0; i < c->providers_n; i++) {
        const pst_config_provider_t *p = &c->providers[i];
        char limits[160], key[sizeof(pst_errbuf_t) + 16], url[1200];
        missing += !key_text(p, key, sizeof key);
        printf("%-16s %-10s %-44s %-28s %s\n", p->name, p->api, url_text(p, url, sizeof url),
               limits_text(&p->limits, limits, sizeof limits), key);
    }
    return missing;
}

static void put_endpoint(const pst_config_t *c, const char *model, const pst_config_endpoint_t *e)
{
    pst_cli_text_t context;
    printf("%-40s %-16s %-32s ", model, c->providers[e->provider].name, e->model);
    if (e->price_known)
        printf("%9.4g %9.4g", e->price.input, e->price.output);
    else
        printf("%9s %9s", "?", "?");
    printf(" %12s\n", e->context ? pst_cli_count(&context, e->context) : "?");
}

static void put_models(const pst_config_t *c)
{
    printf("\n%-40s %-16s %-32s %9s %9s %12s\n", "MODEL", "PROVIDER", "ENDPOINT", "IN $/M", "OUT $/M", "CONTEXT");
    for (uint32_t i = 0; i < c->models_n; i++) {
        const pst_config_model_t *m = &c->models[i];
        for (uint32_t k = 0; k < m->count; k++)
            put_endpoint(c, k ? "" : m->name, &c->endpoints[m->first + k]);
    }
}

static const pst_column_t learned_columns[] = {
    {.title = "PROVIDER", .left = true}, {.title = "ENDPOINT", .left = true}, {.title = "LEARNED LIMIT", .left = true},
    {.title = "VALUE"},                  {.title = "FROM", .left = true},
};

static void add_learned(pst_table_t *t, const char *provider, const char *model, const pst_top_limit_t *limits,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pst_cli_text_t value;
        if (strcmp(limits[i].source, "configured") == 0)
            continue;
        pst_table_cell(t, "%s", provider);
        pst_table_cell(t, "%s", model);
        pst_table_cell(t, "%s", limits[i].rate);
        pst_table_cell(t, "%s", pst_cli_count(&value, limits[i].limit));
        pst_table_cell(t, "%s", limits[i].source);
    }
}

static void put_learned(const pst_top_t *top)
{
    pst_table_t t;
    pst_table_init(&t, learned_columns, PST_COUNT(learned_columns));
    for (size_t i = 0; i < top->providers_n; i++) {
        const pst_top_provider_t *p = &top->providers[i];
        add_learned(&t, p->name, "(account)", p->limits, p->limits_n);
    }
    for (size_t i = 0; i < top->endpoints_n; i++) {
        const pst_top_endpoint_t *e = &top->endpoints[i];
        add_learned(&t, e->provider, e->model, e->limits, e->limits_n);
    }
    if (pst_table_rows(&t) > 0) {
        putchar('\n');
        pst_table_print(&t);
    }
    pst_table_release(&t);
}

/* What a broker has learned of limits, if one runs: a configuration can be checked without. */
static int ask_broker(const pst_cli_args_t *a, const pst_config_t *c)
{
    pst_client_t *client = NULL;
    pst_top_t top;
    int code = pst_cli_connect_by(a, c, ASK_MS, &client);
    if (!code && pst_top_get(client, &top) == PST_OK) {
        put_learned(&top);
        pst_top_release(&top);
    }
    pst_client_destroy(&client);
    return code;
}

static int judge_redis(const pst_config_t *c, const pst_redis_look_t *r)
{
    if (r->major < REDIS_MAJOR_MIN)
        return pst_cli_fail(EXIT_FAILED, "Redis is %s: penstock needs 7.0 or newer", r->version);
    if (r->policy[0] && strcmp(r->policy, "noeviction") != 0)
        return pst_cli_fail(EXIT_FAILED,
                            "Redis evicts by %s, which would throw jobs away: set maxmemory-policy noeviction",
                            r->policy);
    if (r->durability_known && r->durability < c->durability)
        return pst_cli_fail(EXIT_FAILED,
                            "Redis as it is set up gives \"%s\", the configuration wants \"%s\": set appendonly, "
                            "appendfsync and replicas for that, or redis.durability",
                            pst_durability_text(r->durability), pst_durability_text(c->durability));
    return EXIT_WELL;
}

static int check_redis(const pst_config_t *c)
{
    printf("\nredis        %s, durability %s\n", c->redis_url ? "named by redis.url" : "private, run by penstock up",
           pst_durability_text(c->durability));
    if (!c->redis_url)
        return EXIT_WELL;
    pst_redis_look_t r;
    pst_errbuf_t why = {""};
    pst_err_t e = pst_redis_look(c->redis_url, &r, &why);
    if (e)
        return pst_cli_fail(EXIT_FAILED, "%s", why.text);
    pst_cli_text_t t;
    printf("             version %s, can give \"%s\", eviction %s, maxmemory %s\n", r.version,
           r.durability_known ? pst_durability_text(r.durability) : "?", r.policy[0] ? r.policy : "?",
           r.maxmemory ? pst_cli_count(&t, r.maxmemory) : "without limit");
    fflush(stdout);
    return judge_redis(c, &r);
}

int pst_cli_check(const pst_cli_args_t *a)
{
    pst_config_t *c = NULL;
    int code = pst_cli_config(a, &c);
    if (code)
        return code;
    printf("configuration %s\n\n", c->path ? c->path : "from the environment alone");
    unsigned missing = put_providers(c);
    put_models(c);
    code = ask_broker(a, c);
    printf("\nbroker       clients %s, workers %s, metrics %s\n", c->broker_clients, c->broker_workers,
           c->broker_metrics && *c->broker_metrics ? c->broker_metrics : "off");
    code = code ? code : check_redis(c);
    int closed = pst_cli_end_stdout();
    if (!code && missing)
        code = pst_cli_fail(EXIT_FAILED, "%u provider%s no key: set %s, or take the provider out", missing,
                            missing == 1 ? " has" : "s have", missing == 1 ? "it" : "them");
    pst_config_destroy(&c);
    return code ? code : closed;
}
