/* batches.c - /v1/batches: made of files, shown, listed, cancelled. */
#include <stdio.h>
#include <xxhash.h>

#include "base/json.h"
#include "gateway/batches.h"
#include "gateway/file.h"
#include "gateway/import.h"
#include "gateway/parts.h"
#include "gateway/webhook_url.h"
#include "lib/text.h"
#include "proc/clock.h"

#define METADATA_PAIRS_MAX 16u
#define METADATA_KEY_MAX 64u
#define METADATA_VALUE_MAX 512u
#define IDEMPOTENT_S 86400u
#define LIST_DEFAULT 20u
#define LONE_MAX 1000

/* One request about one batch. */
typedef struct about {
    pst_req_t *r;            /* NULL: it has gone */
    pst_gateway_t *g;
    pst_id_t id;
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_arena_t arena;
    pst_record_t record;
    bool recorded;
    pst_ask_t *ask;
    unsigned waits;          /* commands that will still call */
    bool cancels;
    pst_batch_wish_t wish;   /* create */
    bool again;              /* its Idempotency-Key is known */
} about_t;

static void about_free(about_t *a)
{
    if (a->r || a->waits)
        return;
    pst_arena_release(&a->arena);
    free(a);
}

static void about_gone(pst_req_t *r)
{
    about_t *a = r->state;
    a->r = NULL;
    if (a->ask)
        pst_remote_forget(a->g->remote, &a->ask);
    about_free(a);
}

static about_t *about_new(pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    about_t *a = pst_db_is_up(g->db) ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        pst_reply_away(r);
        return NULL;
    }
    a->r = r;
    a->g = g;
    pst_arena_init(&a->arena, 1 << 20);
    pst_req_state(r, a, about_gone);
    return a;
}

/* A command's answer for a request that may have gone meanwhile; NULL: it has. */
static about_t *answered(pst_cmd_t *c)
{
    about_t *a = c->arg;
    a->waits--;
    if (a->r)
        return a;
    about_free(a);
    return NULL;
}

static void send_for(about_t *a, pst_cmd_t *c)
{
    a->waits++;
    pst_db_send(a->g->db, c);
}

/* Showing. */

static void reply_batch(about_t *a, const pst_batch_t *b)
{
    pst_batch_made_t made = a->recorded ? pst_record_made(&a->record) : (pst_batch_made_t){0};
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_batch_put_json(&out, b, &made);
    pst_reply_json(a->r, &out);
}

static void reply_recorded(about_t *a)
{
    pst_batch_t b;
    pst_record_batch(&a->record, a->text, &b);
    reply_batch(a, &b);
}

static void not_found(about_t *a)
{
    pst_reply_error(a->r, 404, NULL, NULL, "No batch found with id '%s'.", a->text);
}

static void cancel_made(about_t *a, const pst_batch_t *b);

static void on_status(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    about_t *a = arg;
    a->ask = NULL;
    pst_batch_t b;
    if (err == PST_E_NOT_FOUND || (!err && m->type != PST_MSG_BATCH)) {
        not_found(a);
    } else if (err) {
        pst_reply_err(a->r, err, words);
    } else if (pst_batch_copy(&m->u.batch.info, &b)) {
        pst_reply_error(a->r, 503, NULL, NULL, "out of memory");
    } else {
        if (!pst_gw_sees(a->r, b.tenant))
            not_found(a);
        else if (a->cancels)
            cancel_made(a, &b);
        else
            reply_batch(a, &b);
        pst_batch_release(&b);
    }
}

static void ask_status(about_t *a)
{
    pst_msg_t m = {.type = PST_MSG_STATUS};
    m.u.batch_req.batch = a->id;
    a->ask = pst_remote_ask(a->g->remote, &m, PST_PATIENCE, on_status, a);
    if (!a->ask)
        pst_reply_away(a->r);
}

/* Cancelling. */

static void refuse_cancel(about_t *a, const char *status)
{
    pst_req_answer_header(a->r, "x-should-retry", "false");
    pst_reply_error(a->r, 409, NULL, NULL, "Cannot cancel a batch with status '%s'.", status);
}

static void on_cancelled(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)m;
    about_t *a = arg;
    a->ask = NULL;
    a->cancels = false;
    if (err && err != PST_E_STATE)
        pst_reply_err(a->r, err, words);
    else
        ask_status(a);
}

static void cancel_made(about_t *a, const pst_batch_t *b)
{
    if (strcmp(b->status, "cancelled") == 0 || strcmp(b->status, "cancelling") == 0) {
        reply_batch(a, b);
        return;
    }
    if (b->ended) {
        refuse_cancel(a, b->status);
        return;
    }
    pst_msg_t m = {.type = PST_MSG_CANCEL};
    m.u.batch_req.batch = a->id;
    a->ask = pst_remote_ask(a->g->remote, &m, PST_PATIENCE, on_cancelled, a);
    if (!a->ask)
        pst_reply_away(a->r);
}

static void on_marked(pst_cmd_t *c, const redisReply *r)
{
    about_t *a = answered(c);
    if (!a)
        return;
    if (!r || r->type == REDIS_REPLY_ERROR)
        pst_reply_away(a->r);
    else
        reply_recorded(a);
}

/* Whoever reads its file looks for this mark. */
static void cancel_recorded(about_t *a)
{
    if (strcmp(a->record.state, "failed") == 0) {
        refuse_cancel(a, a->record.state);
        return;
    }
    if (strcmp(a->record.state, "cancelled") == 0) {
        reply_recorded(a);
        return;
    }
    a->record.cancel_ms = pst_arena_printf(&a->arena, "%llu", (unsigned long long)pst_clock_wall_ms()).p;
    pst_redis_key_t k;
    pst_db_key(&k, "batch", a->text);
    pst_cmd_t *c = pst_db_cmd("HSET", on_marked, a);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "cancel_ms");
    pst_cmd_str(c, a->record.cancel_ms);
    send_for(a, c);
}

/* Getting. */

static void on_record(pst_cmd_t *c, const redisReply *r)
{
    about_t *a = answered(c);
    if (!a)
        return;
    if (!r) {
        pst_reply_away(a->r);
        return;
    }
    a->recorded = pst_record_read(r, &a->arena, &a->record);
    if (a->recorded && !pst_gw_sees(a->r, a->record.tenant))
        not_found(a);
    else if (!a->recorded || strcmp(a->record.state, "made") == 0)
        ask_status(a);
    else if (a->cancels)
        cancel_recorded(a);
    else
        reply_recorded(a);
}

static pst_cmd_t *record_cmd(const char *batch, pst_cmd_fn *fn, void *arg)
{
    pst_redis_key_t k;
    pst_db_key(&k, "batch", batch);
    pst_cmd_t *c = pst_db_cmd("HMGET", fn, arg);
    pst_cmd_key(c, &k);
    for (size_t i = 0; i < PST_RECORD_FIELDS; i++)
        pst_cmd_str(c, pst_record_fields[i]);
    return c;
}

static void look_up(pst_req_t *r, bool cancels)
{
    about_t *a = about_new(r);
    if (!a)
        return;
    snprintf(a->text, sizeof a->text, "%.*s", (int)r->segment[0].n, r->segment[0].p);
    a->cancels = cancels;
    if (pst_id_parse(r->segment[0], &a->id))
        pst_reply_error(r, 404, NULL, NULL, "No batch found with id '%.*s'.", (int)PST_MIN(r->segment[0].n, 100u),
                        r->segment[0].p);
    else
        send_for(a, record_cmd(a->text, on_record, a));
}

void pst_batches_get(pst_req_t *r)
{
    look_up(r, false);
}

void pst_batches_cancel(pst_req_t *r)
{
    look_up(r, true);
}

/* Creating. */

static const char *text_of(about_t *a, const pst_json_t *j, const char *member, bool *ret_there)
{
    uint32_t t = pst_json_get(j, 0, member);
    *ret_there = t != PST_JSON_NONE && j->tok[t].type != PST_JSON_NULL;
    pst_view_t v = pst_json_str(j, t, &a->arena);
    return v.p && !memchr(v.p, '\0', v.n) ? pst_arena_copy(&a->arena, v).p : NULL;
}

static const char *required(about_t *a, const pst_json_t *j, const char *member)
{
    bool there;
    const char *text = text_of(a, j, member, &there);
    if (!there)
        pst_reply_error(a->r, 400, "missing_required_parameter", member, "Missing required parameter: '%s'.", member);
    else if (!text)
        pst_reply_error(a->r, 400, "invalid_type", member, "Invalid type for '%s': expected a string.", member);
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

static bool check_pair(about_t *a, const pst_json_t *j, uint32_t key)
{
    pst_view_t name = pst_json_str(j, key, &a->arena), value = pst_json_str(j, key + 1, &a->arena);
    char param[96];
    snprintf(param, sizeof param, "metadata.%.*s", (int)PST_MIN(name.n, METADATA_KEY_MAX), name.p ? name.p : "");
    if (!pst_json_is(j, key + 1, PST_JSON_STRING))
        pst_reply_error(a->r, 400, "invalid_type", param, "Invalid type for '%s': expected a string, but got %s instead.", param,
                        json_type(j, key + 1));
    else if (name.n > METADATA_KEY_MAX || value.n > METADATA_VALUE_MAX)
        pst_reply_error(a->r, 400, "string_above_max_length", param, "A metadata key has at most %u characters, a value %u.",
                        METADATA_KEY_MAX, METADATA_VALUE_MAX);
    else
        return true;
    return false;
}

static bool read_metadata(about_t *a, const pst_json_t *j)
{
    uint32_t t = pst_json_get(j, 0, "metadata");
    a->wish.metadata = "";
    if (t == PST_JSON_NONE || j->tok[t].type == PST_JSON_NULL)
        return true;
    if (!pst_json_is(j, t, PST_JSON_OBJECT)) {
        pst_reply_error(a->r, 400, "invalid_type", "metadata", "Invalid type for 'metadata': expected an object, but got %s "
                        "instead.", json_type(j, t));
        return false;
    }
    if (j->tok[t].count > METADATA_PAIRS_MAX) {
        pst_reply_error(a->r, 400, "object_above_max_properties", "metadata", "metadata has at most %u pairs.",
                        METADATA_PAIRS_MAX);
        return false;
    }
    for (uint32_t k = pst_json_first(j, t); k != PST_JSON_NONE; k = pst_json_after(j, t, k)) {
        if (!check_pair(a, j, k))
            return false;
    }
    a->wish.metadata = pst_arena_copy(&a->arena, pst_json_raw(j, t)).p;
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

/* What is ours in the body, beyond OpenAI's. */
static bool read_extras(about_t *a, const pst_json_t *j)
{
    bool there;
    double cost = 0;
    const char *priority = text_of(a, j, "priority", &there);
    if (there && (!priority || (strcmp(priority, "low") && strcmp(priority, "normal") && strcmp(priority, "high")))) {
        pst_reply_error(a->r, 400, "invalid_value", "priority", "Supported values are: 'low', 'normal', 'high'.");
        return false;
    }
    uint32_t t = pst_json_get(j, 0, "max_cost_usd");
    if (t != PST_JSON_NONE && (!pst_json_num(j, t, &cost) || cost < 0)) {
        pst_reply_error(a->r, 400, "invalid_value", "max_cost_usd", "max_cost_usd must be a number of US dollars.");
        return false;
    }
    const char *callback = text_of(a, j, "callback_url", &there);
    if (callback && !pst_batch_callback_ok(a->r, callback))
        return false;
    a->wish.callback = callback ? callback : "";
    const char *name = text_of(a, j, "name", &there), *model = text_of(a, j, "model", &there);
    a->wish.priority = priority ? priority : "normal";
    a->wish.name = name && strlen(name) <= PST_NAME_BYTES_MAX ? name : "";
    a->wish.model = model && strlen(model) <= PST_NAME_BYTES_MAX ? model : "";
    a->wish.max_cost_usd = cost;
    bool skip = false;
    (void)pst_json_bool(j, pst_json_get(j, 0, "skip_invalid"), &skip);
    a->wish.skip_invalid = skip;
    return true;
}

bool pst_batch_callback_ok(pst_req_t *r, const char *url)
{
    pst_errbuf_t eb;
    if (!pst_webhook_url_check(pst_view_str(url), pst_gw(r)->opts.config->gateway_webhook_private, NULL, &eb))
        return true;
    pst_reply_error(r, 400, "invalid_value", "callback_url", "callback_url: %s.", eb.text);
    return false;
}

static bool read_wish(about_t *a, const pst_json_t *j)
{
    const char *file = required(a, j, "input_file_id");
    const char *endpoint = file ? required(a, j, "endpoint") : NULL;
    const char *window = endpoint ? required(a, j, "completion_window") : NULL;
    if (!window)
        return false;
    if (!is_endpoint(endpoint)) {
        pst_reply_error(a->r, 400, "invalid_value", "endpoint", "Invalid value: '%.100s'. Supported values are: "
                        "'/v1/chat/completions', '/v1/responses', '/v1/embeddings', and '/v1/completions'.", endpoint);
        return false;
    }
    if (!pst_window_seconds(window)) {
        pst_reply_error(a->r, 400, "invalid_value", "completion_window", "Invalid value: '%.100s'. Write a duration such as "
                        "'24h', '90m' or '7d'.", window);
        return false;
    }
    a->wish.file = file;
    a->wish.endpoint = endpoint;
    a->wish.window = window;
    return read_metadata(a, j) && read_extras(a, j);
}

static void put_pair(pst_cmd_t *c, const char *name, const char *value)
{
    pst_cmd_str(c, name);
    pst_cmd_str(c, value);
}

static void put_in(pst_gateway_t *g, const char *set, const char *of, uint64_t ms, const char *batch)
{
    pst_redis_key_t k;
    pst_db_key(&k, set, of);
    pst_cmd_t *c = pst_db_cmd("ZADD", NULL, NULL);
    pst_cmd_key(c, &k);
    pst_cmd_num(c, ms);
    pst_cmd_str(c, batch);
    pst_db_send(g->db, c);
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
    char cost[32], created[24], reserved[24];
    uint64_t now = pst_clock_wall_ms();
    bool failed = w->errors;
    double cost_usd = w->max_cost_usd;
    snprintf(reserved, sizeof reserved, "%llu", (unsigned long long)reserve(g, w, now, &cost_usd));
    snprintf(cost, sizeof cost, "%.9f", cost_usd);
    snprintf(created, sizeof created, "%llu", (unsigned long long)now);
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
    put_pair(c, "created_ms", created);
    put_pair(c, "callback", w->callback);
    put_pair(c, "dialect", w->dialect);
    put_pair(c, "reserved", reserved);
    put_key(c, w);
    pst_db_send(g->db, c);
    pst_importer_look(g->importer);
}

static void on_recorded(pst_cmd_t *c, const redisReply *r)
{
    about_t *a = answered(c);
    if (!a)
        return;
    if (!r || r->type == REDIS_REPLY_ERROR)
        pst_reply_away(a->r);
    else
        send_for(a, record_cmd(a->text, on_record, a));
}

static void on_input(pst_cmd_t *c, const redisReply *r)
{
    about_t *a = answered(c);
    if (!a || a->again)
        return;
    if (!r) {
        pst_reply_away(a->r);
        return;
    }
    pst_file_t file;
    bool there = pst_file_read(r, &file) && pst_gw_sees(a->r, file.tenant);
    if (!there) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        pst_buf_puts(&b, "{\"object\":\"list\",\"data\":[{\"code\":\"invalid_request\",\"message\":");
        pst_json_put_str(&b, pst_arena_printf(&a->arena, "Cannot find file %.100s, or your key does not have access to it.",
                                              a->wish.file));
        pst_buf_puts(&b, ",\"param\":\"file_id\",\"line\":null}]}");
        a->wish.errors = pst_arena_copy(&a->arena, pst_buf_view(&b)).p;
        pst_buf_release(&b);
    }
    a->wish.key = pst_caller_key(a->r);
    if (!pst_caller_admit(a->r, 0))
        return;
    a->waits++;
    pst_batch_record(a->g, a->text, &a->wish, on_recorded, a);
}

/* The key is known: the batch it made is shown. */
static void on_idempotent(pst_cmd_t *c, const redisReply *r)
{
    about_t *a = answered(c);
    if (!a)
        return;
    a->again = r && r->type == REDIS_REPLY_STRING;
    if (!a->again)
        return;
    snprintf(a->text, sizeof a->text, "%.32s", r->str);
    if (pst_id_parse(pst_view_str(a->text), &a->id))
        not_found(a);
    else
        send_for(a, record_cmd(a->text, on_record, a));
}

static void claim_idempotent(about_t *a, const char *key)
{
    char hash[40];
    XXH3_state_t *x = XXH3_createState();
    XXH3_128bits_reset(x);
    XXH3_128bits_update(x, a->wish.tenant, strlen(a->wish.tenant) + 1);
    XXH3_128bits_update(x, key, strlen(key));
    XXH128_hash_t h = XXH3_128bits_digest(x);
    XXH3_freeState(x);
    snprintf(hash, sizeof hash, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    pst_redis_key_t k;
    pst_db_key(&k, "idem", hash);
    pst_cmd_t *c = pst_db_cmd("SET", on_idempotent, a);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, a->text);
    pst_cmd_str(c, "NX");
    pst_cmd_str(c, "GET");
    pst_cmd_str(c, "EX");
    pst_cmd_num(c, IDEMPOTENT_S);
    send_for(a, c);
}

void pst_batches_create(pst_req_t *r)
{
    about_t *a = about_new(r);
    if (!a)
        return;
    pst_json_t j;
    pst_json_init(&j);
    if (pst_json_parse(&j, pst_buf_view(&r->body), NULL) || !pst_json_is(&j, 0, PST_JSON_OBJECT))
        pst_reply_error(r, 400, NULL, NULL, "We could not parse the JSON body of your request.");
    else
        (void)read_wish(a, &j);
    pst_json_release(&j);
    if (pst_req_is_answered(r))
        return;
    a->wish.tenant = pst_gw_tenant(r);
    a->wish.dialect = "openai";
    a->id = pst_gw_new_id();
    pst_id_text(&a->id, a->text);
    const char *key = pst_req_header(r, "Idempotency-Key");
    if (key && *key)
        claim_idempotent(a, key);
    static const char *const fields[] = {PST_FILE_FIELDS};
    pst_redis_key_t k;
    pst_db_key(&k, "file", a->wish.file);
    pst_cmd_t *c = pst_db_cmd("HMGET", on_input, a);
    pst_cmd_key(c, &k);
    for (size_t i = 0; i < PST_COUNT(fields); i++)
        pst_cmd_str(c, fields[i]);
    send_for(a, c);
}
