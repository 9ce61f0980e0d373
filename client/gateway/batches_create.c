/* batches_create.c - batches are made: what is wished for is read, an Idempotency-Key looked up, the record written. */
#include <stdio.h>
#include <xxhash.h>

#include "base/utf8.h"
#include "gateway/batches.h"
#include "gateway/import.h"
#include "gateway/webhook_url.h"
#include "lib/text.h"
#include "proc/clock.h"

#define METADATA_PAIRS_MAX 16u
#define METADATA_KEY_MAX 64u
#define METADATA_VALUE_MAX 512u
#define IDEMPOTENT_S 86400u
#define CLAIM_S 300u /* between a key's first request and its batch: where a gateway dies then, the key is free again */

bool pst_making_begin(pst_making_t *m, pst_req_t *r, pst_batch_show_fn *show)
{
    m->a = pst_about_new(r, show);
    if (!m->a)
        return false;
    m->a->id = pst_id_new();
    pst_id_text(&m->a->id, m->a->text);
    const char *tenant = pst_arena_copy(&m->a->arena, pst_view_str(pst_gw_tenant(r))).p;
    m->wish = (pst_batch_wish_t){.file = "", .endpoint = "", .window = "", .tenant = tenant ? tenant : "", .metadata = "",
                                 .name = "", .model = "", .priority = "normal", .callback = "", .dialect = "openai",
                                 .provider = ""};
    return pst_caller_admit(r, 0);
}

void pst_making_release(pst_making_t *m)
{
    pst_pieces_drop(&m->input);
}

/* What is wished for. */

static const char *text_of(pst_making_t *m, const pst_json_t *j, const char *member, bool *ret_there)
{
    uint32_t t = pst_json_get(j, 0, member);
    *ret_there = t != PST_JSON_NONE && j->tok[t].type != PST_JSON_NULL;
    pst_view_t v = pst_json_str(j, t, &m->a->arena);
    return v.p && !memchr(v.p, '\0', v.n) ? pst_arena_copy(&m->a->arena, v).p : NULL;
}

static const char *required(pst_making_t *m, const pst_json_t *j, const char *member)
{
    bool there;
    const char *text = text_of(m, j, member, &there);
    if (!there)
        pst_reply_error(m->a->r, 400, "missing_required_parameter", member, "Missing required parameter: '%s'.", member);
    else if (!text)
        pst_reply_error(m->a->r, 400, "invalid_type", member, "Invalid type for '%s': expected a string.", member);
    return text;
}

static const char *json_type(const pst_json_t *j, uint32_t t)
{
    static const char *const names[] = {[PST_JSON_OBJECT] = "an object", [PST_JSON_ARRAY] = "an array",
                                        [PST_JSON_STRING] = "a string", [PST_JSON_NUMBER] = "a number",
                                        [PST_JSON_TRUE] = "a boolean", [PST_JSON_FALSE] = "a boolean",
                                        [PST_JSON_NULL] = "null"};
    return names[j->tok[t].type];
}

static size_t characters(pst_view_t text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += !pst_utf8_continues((unsigned char)text.p[i]);
    return n;
}

static bool check_pair(pst_making_t *m, const pst_json_t *j, uint32_t key)
{
    pst_view_t name = pst_json_str(j, key, &m->a->arena), value = pst_json_str(j, key + 1, &m->a->arena);
    char param[96];
    snprintf(param, sizeof param, "metadata.%.*s", (int)PST_MIN(name.n, METADATA_KEY_MAX), name.p ? name.p : "");
    if (!pst_json_is(j, key + 1, PST_JSON_STRING))
        pst_reply_error(m->a->r, 400, "invalid_type", param, "Invalid type for '%s': expected a string, but got %s instead.", param,
                        json_type(j, key + 1));
    else if (characters(name) > METADATA_KEY_MAX || characters(value) > METADATA_VALUE_MAX)
        pst_reply_error(m->a->r, 400, "string_above_max_length", param, "A metadata key has at most %u characters, a value %u.",
                        METADATA_KEY_MAX, METADATA_VALUE_MAX);
    else
        return true;
    return false;
}

static bool read_metadata(pst_making_t *m, const pst_json_t *j)
{
    uint32_t t = pst_json_get(j, 0, "metadata");
    m->wish.metadata = "";
    if (t == PST_JSON_NONE || j->tok[t].type == PST_JSON_NULL)
        return true;
    if (!pst_json_is(j, t, PST_JSON_OBJECT)) {
        pst_reply_error(m->a->r, 400, "invalid_type", "metadata", "Invalid type for 'metadata': expected an object, but got %s "
                        "instead.", json_type(j, t));
        return false;
    }
    if (j->tok[t].count > METADATA_PAIRS_MAX) {
        pst_reply_error(m->a->r, 400, "object_above_max_properties", "metadata", "metadata has at most %u pairs.",
                        METADATA_PAIRS_MAX);
        return false;
    }
    for (uint32_t k = pst_json_first(j, t); k != PST_JSON_NONE; k = pst_json_after(j, t, k)) {
        if (!check_pair(m, j, k))
            return false;
    }
    m->wish.metadata = pst_arena_copy(&m->a->arena, pst_json_raw(j, t)).p;
    return true;
}

static bool is_endpoint(const char *text)
{
    for (unsigned u = 0; u <= PST_URL_COMPLETIONS; u++) {
        if (strcmp(text, pst_url_text((pst_url_t)u)) == 0)
            return true;
    }
    return false;
}

static bool read_callback(pst_making_t *m, const pst_json_t *j)
{
    bool there;
    pst_errbuf_t eb;
    const char *url = text_of(m, j, "callback_url", &there);
    m->wish.callback = url ? url : "";
    if (there && !url)
        pst_reply_error(m->a->r, 400, "invalid_type", "callback_url", "Invalid type for 'callback_url': expected a string.");
    else if (there && pst_webhook_url_check(pst_view_str(url), m->a->g->opts.config->gateway_webhook_private, NULL, &eb))
        pst_reply_error(m->a->r, 400, "invalid_value", "callback_url", "callback_url: %s.", eb.text);
    else
        return true;
    return false;
}

/* What is ours in the body, beyond OpenAI's. */
static bool read_extras(pst_making_t *m, const pst_json_t *j)
{
    bool there;
    double cost = 0;
    const char *priority = text_of(m, j, "priority", &there);
    if (there && (!priority || (strcmp(priority, "low") && strcmp(priority, "normal") && strcmp(priority, "high")))) {
        pst_reply_error(m->a->r, 400, "invalid_value", "priority", "Supported values are: 'low', 'normal', 'high'.");
        return false;
    }
    uint32_t t = pst_json_get(j, 0, "max_cost_usd");
    if (t != PST_JSON_NONE && (!pst_json_num(j, t, &cost) || cost < 0)) {
        pst_reply_error(m->a->r, 400, "invalid_value", "max_cost_usd", "max_cost_usd must be a number of US dollars.");
        return false;
    }
    const char *name = text_of(m, j, "name", &there), *model = text_of(m, j, "model", &there);
    m->wish.priority = priority ? priority : "normal";
    m->wish.name = name && strlen(name) <= PST_NAME_BYTES_MAX ? name : "";
    m->wish.model = model && strlen(model) <= PST_NAME_BYTES_MAX ? model : "";
    m->wish.max_cost_usd = cost;
    (void)pst_json_bool(j, pst_json_get(j, 0, "skip_invalid"), &m->wish.skip_invalid);
    return true;
}

bool pst_making_read(pst_making_t *m, const pst_json_t *j)
{
    return read_metadata(m, j) && read_extras(m, j) && read_callback(m, j);
}

/* Its record. */

static void put_pair(pst_cmd_t *c, const char *name, const char *value)
{
    pst_cmd_str(c, name);
    pst_cmd_str(c, value);
}

static void put_in(pst_gateway_t *g, const char *set, const char *of, uint64_t ms, const char *batch)
{
    pst_db_send(g->db, pst_db_add(set, of, ms, batch));
}

/* What the batch may cost: what its budget says, or its key's, if that is smaller, of which it then takes all until it ends. */
static uint64_t reserve(pst_gateway_t *g, const pst_batch_wish_t *w, uint64_t now_ms, double *cost_usd)
{
    if (!w->key || !w->key->spend_nano || w->errors)
        return 0;
    pst_keys_time_t t = {.mono = pst_loop_now(g->loop), .wall_ms = now_ms};
    int64_t left = PST_MAX(pst_keys_budget(g->keys, w->key, t), 1);
    uint64_t wanted = (uint64_t)(w->max_cost_usd * 1e9);
    uint64_t nano = wanted && wanted < (uint64_t)left ? wanted : (uint64_t)left;
    *cost_usd = (double)nano / 1e9;
    pst_keys_spend(g->keys, pst_view_str(w->key->id), now_ms, t, (int64_t)nano);
    return nano;
}

static void put_key(pst_cmd_t *c, const pst_batch_wish_t *w)
{
    if (!w->key || !*w->key->id)
        return;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_key_write(w->key, &b);
    pst_cmd_str(c, "key");
    pst_cmd_arg(c, b.p, b.n);
    pst_buf_release(&b);
    put_pair(c, "key_id", w->key->id);
}

void pst_batch_record(pst_gateway_t *g, const char *batch, const pst_batch_wish_t *w, pst_cmd_fn *fn, void *arg)
{
    char cost[32], created[24], requests[24], reserved[24];
    uint64_t now = pst_clock_wall_ms();
    bool failed = w->errors;
    double cost_usd = w->max_cost_usd;
    snprintf(reserved, sizeof reserved, "%llu", (unsigned long long)reserve(g, w, now, &cost_usd));
    snprintf(cost, sizeof cost, "%.9f", cost_usd);
    snprintf(created, sizeof created, "%llu", (unsigned long long)now);
    snprintf(requests, sizeof requests, "%llu", (unsigned long long)w->requests);
    put_in(g, "batches", w->tenant, now, batch);
    put_in(g, "lone", w->tenant, now, batch);
    if (*w->tenant)
        put_in(g, "lone", "", now, batch);
    if (!failed)
        put_in(g, "imports", "", now, batch);
    if (*w->callback || (w->key && *w->key->id))
        put_in(g, "watched", "", now, batch);
    pst_redis_key_t k;
    pst_db_key(&k, "batch", batch);
    pst_cmd_t *c = pst_db_cmd("HSET", fn, arg);
    pst_cmd_key(c, &k);
    put_pair(c, "state", failed ? "failed" : "validating");
    put_pair(c, "errors", failed ? w->errors : "");
    put_pair(c, "ended_ms", failed ? created : "");
    put_pair(c, "file", w->file);
    put_pair(c, "endpoint", w->endpoint);
    put_pair(c, "window", w->window);
    put_pair(c, "tenant", w->tenant);
    put_pair(c, "metadata", w->metadata);
    put_pair(c, "name", w->name);
    put_pair(c, "model", w->model);
    put_pair(c, "priority", w->priority);
    put_pair(c, "max_cost", cost);
    put_pair(c, "skip_invalid", w->skip_invalid ? "1" : "0");
    put_pair(c, "callback", w->callback);
    put_pair(c, "dialect", w->dialect);
    put_pair(c, "reserved", reserved);
    put_key(c, w);
    put_pair(c, "provider", w->provider);
    put_pair(c, "elements", w->elements ? "1" : "");
    put_pair(c, "requests", w->requests ? requests : "");
    put_pair(c, "created_ms", created);
    pst_db_send(g->db, c);
    pst_importer_look(g->importer);
}

static void on_recorded(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = c->arg;
    pst_making_t *m = a->more;
    bool refused = r && r->type == REDIS_REPLY_ERROR;
    if (!refused)
        pst_pieces_keep(&m->input); /* where no answer came it may have been written */
    if (!pst_about_answered(c))
        return;
    a->is_new = true;
    if (!r || refused)
        pst_reply_away(a->r);
    else
        pst_about_look(a, pst_about_show);
}

/* Before the record, in the order of commands: there is no batch whose key may be forgotten early. */
static void keep_claim(pst_making_t *m)
{
    pst_cmd_t *c = pst_db_cmd("EXPIRE", NULL, NULL);
    pst_cmd_key(c, &m->claim);
    pst_cmd_num(c, IDEMPOTENT_S);
    pst_db_send(m->a->g->db, c);
}

void pst_making_record(pst_making_t *m)
{
    if (m->claim.n)
        keep_claim(m);
    m->wish.key = pst_caller_key(m->a->r);
    m->a->waits++;
    pst_batch_record(m->a->g, m->a->text, &m->wish, on_recorded, m->a);
}

/* The same request again. */

/* What is claimed and then not made would be claimed for nothing. */
static void unclaim(pst_making_t *m)
{
    pst_cmd_t *c = pst_db_cmd("UNLINK", NULL, NULL);
    pst_cmd_key(c, &m->claim);
    pst_db_send(m->a->g->db, c);
}

static void on_claimed(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = c->arg;
    pst_making_t *m = a->more;
    /* its own, where the command was repeated after a lost connection */
    bool own = r && r->type == REDIS_REPLY_STRING && pst_view_eqs(pst_view(r->str, r->len), a->text);
    bool is_new = own || (r && r->type == REDIS_REPLY_NIL);
    if (is_new && !a->r)
        unclaim(m);
    if (!pst_about_answered(c))
        return;
    if (is_new)
        m->next(m);
    else if (!r || r->type != REDIS_REPLY_STRING)
        pst_reply_away(a->r);
    else if ((a->claimed = pst_about_name(a, pst_view(r->str, r->len))))
        pst_about_look(a, pst_about_show);
    else
        pst_about_not_found(a);
}

static void send_claim(pst_making_t *m, const char *key)
{
    char hash[40];
    XXH3_state_t *x = XXH3_createState();
    XXH3_128bits_reset(x);
    XXH3_128bits_update(x, m->wish.tenant, strlen(m->wish.tenant) + 1);
    XXH3_128bits_update(x, key, strlen(key));
    XXH128_hash_t h = XXH3_128bits_digest(x);
    XXH3_freeState(x);
    snprintf(hash, sizeof hash, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    pst_db_key(&m->claim, "idem", hash);
    pst_cmd_t *c = pst_db_cmd("SET", on_claimed, m->a);
    pst_cmd_key(c, &m->claim);
    pst_cmd_str(c, m->a->text);
    pst_cmd_str(c, "NX");
    pst_cmd_str(c, "GET");
    pst_cmd_str(c, "EX");
    pst_cmd_num(c, CLAIM_S);
    pst_about_send(m->a, c);
}

void pst_making_claim(pst_making_t *m, void (*next)(pst_making_t *m))
{
    const char *key = pst_req_header(m->a->r, "Idempotency-Key");
    m->next = next;
    if (key && *key)
        send_claim(m, key);
    else
        next(m);
}

/* Of a file that was uploaded. */

static bool read_wish(pst_making_t *m, const pst_json_t *j)
{
    const char *file = required(m, j, "input_file_id");
    const char *endpoint = file ? required(m, j, "endpoint") : NULL;
    const char *window = endpoint ? required(m, j, "completion_window") : NULL;
    if (!window)
        return false;
    if (!is_endpoint(endpoint)) {
        pst_reply_error(m->a->r, 400, "invalid_value", "endpoint", "Invalid value: '%.100s'. Supported values are: "
                        "'/v1/chat/completions', '/v1/responses', '/v1/embeddings', and '/v1/completions'.", endpoint);
        return false;
    }
    if (!pst_window_seconds(window)) {
        pst_reply_error(m->a->r, 400, "invalid_value", "completion_window", "Invalid value: '%.100s'. Write a duration such as "
                        "'24h', '90m' or '7d'.", window);
        return false;
    }
    m->wish.file = file;
    m->wish.endpoint = endpoint;
    m->wish.window = window;
    return pst_making_read(m, j);
}

static void fail_without_file(pst_making_t *m)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "{\"object\":\"list\",\"data\":[{\"code\":\"invalid_request\",\"message\":");
    pst_json_put_str(&b, pst_arena_printf(&m->a->arena, "Cannot find file %.100s, or your key does not have access to it.",
                                          m->wish.file));
    pst_buf_puts(&b, ",\"param\":\"file_id\",\"line\":null}]}");
    m->wish.errors = pst_arena_copy(&m->a->arena, pst_buf_view(&b)).p;
    pst_buf_release(&b);
}

static void on_input(pst_cmd_t *c, const redisReply *r)
{
    pst_about_t *a = pst_about_answered(c);
    if (!a)
        return;
    if (!r) {
        pst_reply_away(a->r);
        return;
    }
    pst_file_t file;
    if (!pst_file_read(r, &file) || !pst_gw_sees(a->r, file.tenant))
        fail_without_file(a->more);
    pst_making_record(a->more);
}

static void look_for_input(pst_making_t *m)
{
    pst_about_send(m->a, pst_file_cmd(m->wish.file, on_input, m->a));
}

void pst_making_of_file(pst_making_t *m, pst_view_t body)
{
    pst_req_t *r = m->a->r;
    pst_json_t j;
    pst_json_init(&j);
    if (pst_json_parse(&j, body, NULL) || !pst_json_is(&j, 0, PST_JSON_OBJECT))
        pst_reply_error(r, 400, NULL, NULL, "We could not parse the JSON body of your request.");
    else
        (void)read_wish(m, &j);
    pst_json_release(&j);
    if (!pst_req_is_answered(r))
        pst_making_claim(m, look_for_input);
}

static void making_free(void *more)
{
    pst_making_release(more);
    free(more);
}

void pst_batches_create(pst_req_t *r)
{
    pst_making_t *m = calloc(1, sizeof *m);
    if (!m || !pst_making_begin(m, r, pst_batches_show)) {
        free(m);
        pst_reply_away(r);
        return;
    }
    m->a->more = m;
    m->a->more_gone = making_free;
    pst_making_of_file(m, pst_buf_view(&r->body));
}
