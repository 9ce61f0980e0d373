/* keys_list.c - `penstock keys list`: whose the keys are, what they may, and what they did. */
#include "base/json.h"
#include "cli/keys.h"
#include "cli/table.h"
#include "proc/clock.h"

typedef struct account {
    int64_t spent_nano, requests, tokens, last_s; /* spent: in this period */
} account_t;

/* One account, in one look: what is missing there is 0. */
static int read_account(redisContext *c, const pst_key_t *k, uint64_t wall_ms, account_t *ret)
{
    char use[sizeof PST_KEYS_USE + PST_KEY_ID_LEN], spent[PST_KEY_FIELD_MAX];
    snprintf(use, sizeof use, PST_KEYS_USE "%s", k->id);
    pst_key_period_field(k->reset, wall_ms, spent);
    const char *argv[] = {"HMGET", use, spent, PST_KEY_REQUESTS, PST_KEY_TOKENS, PST_KEY_LAST};
    int64_t *to[] = {&ret->spent_nano, &ret->requests, &ret->tokens, &ret->last_s};
    pst_errbuf_t why = {""};
    *ret = (account_t){0};
    redisReply *r = pst_redis_ask(c, &why, PST_COUNT(argv), argv);
    if (!r)
        return pst_cli_fail(EXIT_FAILED, "%s: see penstock check", why.text);
    for (size_t i = 0; i < PST_COUNT(to) && i < r->elements; i++) {
        if (r->element[i]->type == REDIS_REPLY_STRING)
            *to[i] = PST_MAX(strtoll(r->element[i]->str, NULL, 10), 0);
    }
    freeReplyObject(r);
    return EXIT_WELL;
}

static const char *state_of(const pst_key_t *k, const account_t *use, uint64_t wall_ms)
{
    if (k->revoked_ms)
        return "revoked";
    if (pst_key_expired(k, wall_ms))
        return "expired";
    return k->spend_nano && (uint64_t)use->spent_nano >= k->spend_nano ? "spent" : "active";
}

/* ---- for people -------------------------------------------------------------------------------- */

static const pst_column_t columns[] = {
    {.title = "ID", .left = true},     {.title = "NAME", .left = true}, {.title = "TENANT", .left = true},
    {.title = "LIMITS", .left = true}, {.title = "SPENT"},              {.title = "LAST USED", .left = true},
    {.title = "EXPIRES", .left = true}, {.title = "STATE", .left = true},
};

static void put_limit(pst_buf_t *b, uint64_t n, const char *what)
{
    pst_cli_text_t t;
    if (n)
        pst_buf_printf(b, "%s%s %s", b->n ? ", " : "", pst_cli_count(&t, n), what);
}

static void put_limits(pst_table_t *t, const pst_key_t *k)
{
    static const char *const every[] = {[PST_RESET_NEVER] = "in all", [PST_RESET_DAILY] = "a day",
                                        [PST_RESET_WEEKLY] = "a week", [PST_RESET_MONTHLY] = "a month"};
    pst_buf_t b;
    pst_cli_text_t usd;
    pst_buf_init(&b, 0);
    put_limit(&b, k->rpm, "rpm");
    put_limit(&b, k->tpm, "tpm");
    put_limit(&b, k->concurrency, "at a time");
    if (k->spend_nano)
        pst_buf_printf(&b, "%s%s %s", b.n ? ", " : "", pst_cli_usd(&usd, (double)k->spend_nano / 1e9), every[k->reset]);
    put_limit(&b, k->models.n, k->models.n == 1 ? "model" : "models");
    put_limit(&b, k->providers.n, k->providers.n == 1 ? "provider" : "providers");
    pst_table_cell(t, "%.*s", (int)b.n, b.n ? b.p : "");
    pst_buf_release(&b);
}

/* To the minute; nothing for 0. */
static void put_time(pst_table_t *t, uint64_t wall_ms)
{
    pst_cli_text_t text = {""};
    if (wall_ms)
        pst_cli_time(&text, wall_ms);
    pst_table_cell(t, "%.16s", text.s);
}

static void put_row(pst_table_t *t, const pst_key_t *k, const account_t *use, uint64_t wall_ms)
{
    pst_cli_text_t usd;
    pst_table_cell(t, "%s", k->id);
    pst_table_cell(t, "%s", k->name);
    pst_table_cell(t, "%s", k->tenant);
    put_limits(t, k);
    pst_table_cell(t, "%s", pst_cli_usd(&usd, (double)use->spent_nano / 1e9));
    put_time(t, (uint64_t)use->last_s * 1000);
    put_time(t, k->expires_ms);
    pst_table_cell(t, "%s", state_of(k, use, wall_ms));
}

/* ---- for programs ------------------------------------------------------------------------------ */

static void put_text(pst_buf_t *b, const char *name, const char *text)
{
    pst_json_put_key(b, name);
    if (*text)
        pst_json_put_str(b, pst_view_str(text));
    else
        pst_buf_puts(b, "null");
}

/* null where there is none. */
static void put_number(pst_buf_t *b, const char *name, uint64_t n)
{
    pst_json_put_key(b, name);
    if (n)
        pst_buf_printf(b, "%llu", (unsigned long long)n);
    else
        pst_buf_puts(b, "null");
}

static void put_usd(pst_buf_t *b, const char *name, uint64_t nano)
{
    pst_json_put_key(b, name);
    pst_json_put_num(b, (double)nano / 1e9);
}

static void put_names(pst_buf_t *b, const char *name, const pst_key_names_t *l)
{
    pst_json_put_key(b, name);
    if (l->n == 0) {
        pst_buf_puts(b, "null");
        return;
    }
    pst_buf_putc(b, '[');
    for (uint32_t i = 0; i < l->n; i++) {
        pst_json_put_comma(b);
        pst_json_put_str(b, pst_view_str(l->v[i]));
    }
    pst_buf_putc(b, ']');
}

static void put_object(pst_buf_t *b, const pst_key_t *k, const account_t *use, uint64_t wall_ms)
{
    uint64_t resets_ms = k->reset == PST_RESET_NEVER ? 0 : pst_key_period_end(k->reset, wall_ms);
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    put_text(b, "id", k->id);
    put_text(b, "object", "key");
    put_text(b, "name", k->name);
    put_text(b, "tenant", k->tenant);
    put_text(b, "state", state_of(k, use, wall_ms));
    put_number(b, "created_at", k->created_ms / 1000);
    put_number(b, "last_used_at", (uint64_t)use->last_s);
    put_number(b, "expires_at", k->expires_ms / 1000);
    put_number(b, "revoked_at", k->revoked_ms / 1000);
    put_number(b, "rpm", k->rpm);
    put_number(b, "tpm", k->tpm);
    put_number(b, "concurrency", k->concurrency);
    if (k->spend_nano)
        put_usd(b, "spend_usd", k->spend_nano);
    else
        put_number(b, "spend_usd", 0);
    put_text(b, "reset", pst_key_reset_name(k->reset));
    put_number(b, "resets_at", resets_ms / 1000);
    put_usd(b, "spent_usd", (uint64_t)use->spent_nano);
    pst_json_put_key(b, "requests");
    pst_buf_printf(b, "%lld", (long long)use->requests);
    pst_json_put_key(b, "tokens");
    pst_buf_printf(b, "%lld", (long long)use->tokens);
    put_names(b, "models", &k->models);
    put_names(b, "providers", &k->providers);
    pst_buf_putc(b, '}');
}

/* ---- both -------------------------------------------------------------------------------------- */

int pst_cli_keys_list(redisContext *c, const pst_cli_keys_t *k, bool json)
{
    pst_table_t t;
    pst_buf_t b;
    uint64_t now = pst_clock_wall_ms();
    int code = EXIT_WELL;
    pst_table_init(&t, columns, PST_COUNT(columns));
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; !code && i < k->n; i++) {
        account_t use;
        code = read_account(c, &k->v[i].key, now, &use);
        if (json)
            put_object(&b, &k->v[i].key, &use, now);
        else
            put_row(&t, &k->v[i].key, &use, now);
    }
    pst_buf_puts(&b, "]}");
    if (!code && json)
        printf("%.*s\n", (int)b.n, b.p);
    else if (!code)
        pst_table_print(&t);
    pst_buf_release(&b);
    pst_table_release(&t);
    return code ? code : pst_cli_end_stdout();
}
