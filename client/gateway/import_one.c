#include "gateway/import_one.h"

#include <stdio.h>

#include "base/json.h"
#include "gateway/caller.h"
#include "gateway/import_elements.h"
#include "gateway/pieces.h"
#include "gateway/record.h"
#include "gateway/text.h"
#include "lib/submit.h"
#include "lib/text.h"
#include "proc/clock.h"
#include "proc/log.h"
#include "redis/dial.h"

#define BROKER_PATIENCE_MS 30000u

struct pst_import_one {
    pst_importer_opts_t opts;
    const atomic_bool *stopping;
    redisContext *redis;      /* NULL: not connected */
    pst_client_t *client;
    pst_decompressor_t *decompressor;
    pst_buf_t text;
    pst_arena_t arena;        /* of one run */
};

/* How a run ended; or it did not. */
typedef enum fate { FATE_MADE, FATE_REFUSED, FATE_CANCELLED, FATE_LATER } fate_t;

pst_import_one_t *pst_import_one_new(const pst_importer_opts_t *o, const atomic_bool *stopping)
{
    pst_import_one_t *i = calloc(1, sizeof *i);
    if (!i)
        return NULL;
    i->opts = *o;
    i->stopping = stopping;
    i->decompressor = pst_decompressor_new();
    pst_buf_init(&i->text, 0);
    pst_arena_init(&i->arena, 0);
    pst_client_opts_t c = {.broker = o->broker, .timeout_ms = BROKER_PATIENCE_MS, .line_bytes_max = o->line_bytes_max,
                           .prefix_bytes_max = o->prefix_bytes_max, .prefix_bytes_min = o->prefix_bytes_min};
    if (!i->decompressor || pst_client_new(&c, &i->client))
        pst_import_one_destroy(&i);
    return i;
}

void pst_import_one_destroy(pst_import_one_t **pi)
{
    pst_import_one_t *i = *pi;
    *pi = NULL;
    if (!i)
        return;
    if (i->redis)
        redisFree(i->redis);
    pst_client_destroy(&i->client);
    pst_decompressor_destroy(&i->decompressor);
    pst_buf_release(&i->text);
    pst_arena_release(&i->arena);
    free(i);
}

/* Redis. */

static void hang_up(pst_import_one_t *i)
{
    if (i->redis)
        redisFree(i->redis);
    i->redis = NULL;
}

/* NULL: Redis is away, or refuses. */
static redisReply *ask(pst_import_one_t *i, size_t argc, const char **argv, const size_t *len)
{
    redisReply *r = i->redis ? redisCommandArgv(i->redis, (int)argc, argv, len) : NULL;
    if (!r) {
        hang_up(i);
        return NULL;
    }
    if (r->type == REDIS_REPLY_ERROR) {
        freeReplyObject(r);
        return NULL;
    }
    return r;
}

static redisReply *read_hash(pst_import_one_t *i, const char *what, const char *id, const char *const *fields, size_t n)
{
    pst_redis_key_t k;
    const char *argv[2 + PST_RECORD_FIELDS] = {"HMGET", k.p};
    pst_db_key(&k, what, id);
    memcpy(argv + 2, fields, n * sizeof *fields);
    return ask(i, 2 + n, argv, NULL);
}

static bool do_cmd(pst_import_one_t *i, size_t argc, const char **argv)
{
    redisReply *r = ask(i, argc, argv, NULL);
    if (r)
        freeReplyObject(r);
    return r;
}

static void drop_from(pst_import_one_t *i, const char *what, const char *of, const char *batch)
{
    pst_redis_key_t k;
    pst_db_key(&k, what, of);
    const char *argv[] = {"ZREM", k.p, batch};
    (void)do_cmd(i, PST_COUNT(argv), argv);
}

/* It is not to be read (any more): from the lists of those that are, and of those that the broker does not have. */
static void tidy(pst_import_one_t *i, const char *batch, const pst_record_t *rec)
{
    drop_from(i, "imports", "", batch);
    if (strcmp(rec->state, "made") != 0)
        return;
    drop_from(i, "lone", rec->tenant, batch);
    if (*rec->tenant)
        drop_from(i, "lone", "", batch);
}

/* The record first: what has left `imports` is not looked at again. */
static void settle(pst_import_one_t *i, const char *batch, const pst_record_t *rec, const char *state, const char *errors)
{
    pst_redis_key_t k;
    char now[24];
    snprintf(now, sizeof now, "%llu", (unsigned long long)pst_clock_wall_ms());
    pst_db_key(&k, "batch", batch);
    const char *set[] = {"HSET", k.p, "state", state, "ended_ms", now, "errors", errors};
    if (!do_cmd(i, PST_COUNT(set), set))
        return;
    pst_record_t settled = *rec;
    settled.state = state;
    tidy(i, batch, &settled);
}

/* What is wrong with a file, as OpenAI lists it. */

static void put_error(pst_buf_t *b, const char *code, const char *message, const char *param, uint64_t line)
{
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "code", code);
    pst_member_str(b, "message", message);
    pst_member_str(b, "param", param);
    if (line)
        pst_member_uint(b, "line", line);
    else
        pst_member_str(b, "line", NULL);
    pst_buf_putc(b, '}');
}

/* Its message names it; the rest is about custom_ids that are none. */
static const char *missing_of(const pst_bad_line_t *bad)
{
    return strstr(bad->message, "'body.model'") ? "body.model" : strstr(bad->message, "'body'") ? "body" : "custom_id";
}

static const char *param_of(const pst_bad_line_t *bad)
{
    switch ((unsigned)bad->code) {
    case PST_CAUSE_LINE_MISSING: return missing_of(bad);
    case PST_CAUSE_LINE_DUPLICATE: return "custom_id";
    case PST_CAUSE_LINE_URL: return "url";
    case PST_CAUSE_LINE_METHOD: return "method";
    case PST_CAUSE_LINE_MODEL: return "body.model";
    case PST_CAUSE_LINE_BODY: return "body";
    case PST_CAUSE_LINE_STREAM: return "body.stream";
    default: return NULL;
    }
}

#define ERRORS_BEGIN "{\"object\":\"list\",\"data\":["
#define ERRORS_END "]}"

static void put_bad_lines(pst_buf_t *b, const pst_submit_t *s, const char *words)
{
    size_t n;
    uint64_t total;
    const pst_bad_line_t *bad = pst_submit_bad(s, &n, &total);
    pst_buf_puts(b, ERRORS_BEGIN);
    for (size_t k = 0; k < n; k++)
        put_error(b, pst_cause_text(bad[k].code), bad[k].message, param_of(&bad[k]), bad[k].line);
    if (n == 0)
        put_error(b, "empty_file", words, NULL, 0);
    pst_buf_puts(b, ERRORS_END);
}

static void put_one_error(pst_buf_t *b, const char *code, const char *message, const char *param)
{
    pst_buf_puts(b, ERRORS_BEGIN);
    put_error(b, code, message, param, 0);
    pst_buf_puts(b, ERRORS_END);
}

/* Reading. */

typedef struct run {
    const char *batch;
    pst_id_t id;
    pst_record_t record;
    pst_file_t file;
    pst_submit_t *submit;
    pst_elements_t *elements; /* NULL: the file has lines */
    pst_key_t key;            /* of who asked for it */
    pst_line_rule_t rule;
    pst_buf_t errors;
} run_t;

static bool is_cancelled(pst_import_one_t *i, const run_t *x)
{
    pst_redis_key_t k;
    pst_db_key(&k, "batch", x->batch);
    const char *argv[] = {"HGET", k.p, "cancel_ms"};
    redisReply *r = ask(i, PST_COUNT(argv), argv, NULL);
    bool yes = r && r->type == REDIS_REPLY_STRING && r->len > 0;
    if (r)
        freeReplyObject(r);
    return yes;
}

static fate_t refuse(run_t *x, const char *code, const char *message, const char *param)
{
    put_one_error(&x->errors, code, message, param);
    return FATE_REFUSED;
}

/* What becomes of it after an error of the library. */
static fate_t after(pst_import_one_t *i, run_t *x, pst_err_t e)
{
    const char *words = pst_client_error(i->client);
    if (e == PST_E_INPUT) {
        put_bad_lines(&x->errors, x->submit, words);
        return FATE_REFUSED;
    }
    if (pst_err_class(e) == PST_CLASS_FATAL && e != PST_E_NOT_FOUND && e != PST_E_STATE)
        return refuse(x, "invalid_request", words, NULL);
    pst_log(PST_LOG_WARN, "IMPORT_PUT_OFF", "batch=%s why=\"%s\"", x->batch, words);
    return FATE_LATER;
}

/* As lines, which are told apart by elements' ends. */
static fate_t feed_elements(pst_import_one_t *i, run_t *x)
{
    pst_errbuf_t why;
    pst_view_t line;
    pst_elements_feed(x->elements, pst_buf_view(&i->text));
    for (;;) {
        pst_err_t e = pst_elements_next(x->elements, &line, &why);
        if (e)
            return e == PST_E_INPUT ? refuse(x, "invalid_request", why.text, "requests") : FATE_LATER;
        if (line.n == 0)
            return FATE_MADE;
        if ((e = pst_submit_write(x->submit, line.p, line.n)))
            return after(i, x, e);
    }
}

static fate_t feed_piece(pst_import_one_t *i, run_t *x, uint32_t n)
{
    pst_redis_key_t k;
    pst_db_key_piece(&k, x->record.file, n);
    const char *argv[] = {"GET", k.p};
    redisReply *r = ask(i, PST_COUNT(argv), argv, NULL);
    if (!r)
        return FATE_LATER;
    pst_buf_clear(&i->text);
    bool there = r->type == REDIS_REPLY_STRING;
    pst_err_t e = there ? pst_piece_get(i->decompressor, pst_view(r->str, r->len), &i->text) : PST_OK;
    freeReplyObject(r);
    if (!there)
        return refuse(x, "invalid_request", "The input file was deleted before it was read.", "input_file_id");
    if (e)
        return e == PST_E_NOMEM ? FATE_LATER : refuse(x, "invalid_request", "The input file is damaged.", "input_file_id");
    if (x->elements)
        return feed_elements(i, x);
    e = pst_submit_write(x->submit, i->text.p, i->text.n);
    return e ? after(i, x, e) : FATE_MADE;
}

/* A batch that came with its requests is made all the same, and cancelled then: each of them is to have its result. */
static bool breaks_off(pst_import_one_t *i, const run_t *x)
{
    return strcmp(x->file.purpose, PST_PURPOSE_INLINE) != 0 && is_cancelled(i, x);
}

static fate_t feed_all(pst_import_one_t *i, run_t *x)
{
    for (uint32_t n = 0; n < x->file.pieces; n++) {
        if (atomic_load(i->stopping))
            return FATE_LATER;
        if (breaks_off(i, x))
            return FATE_CANCELLED;
        fate_t fate = feed_piece(i, x, n);
        if (fate != FATE_MADE)
            return fate;
    }
    return breaks_off(i, x) ? FATE_CANCELLED : FATE_MADE;
}

static int priority_of(const char *text)
{
    return strcmp(text, "high") == 0 ? 1 : strcmp(text, "low") == 0 ? -1 : 0;
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

static fate_t submit(pst_import_one_t *i, run_t *x)
{
    const pst_record_t *rec = &x->record;
    pst_submit_opts_t o = {.name = or_null(rec->name),
                           .priority = priority_of(rec->priority),
                           .window_s = pst_window_seconds(rec->window),
                           .max_cost_usd = strtod(*rec->max_cost ? rec->max_cost : "0", NULL),
                           .model = or_null(rec->model),
                           .skip_invalid = *rec->skip_invalid == '1',
                           .metadata = or_null(rec->metadata),
                           .tenant = or_null(rec->tenant),
                           .batch = &x->id};
    bool known;
    pst_err_t e = pst_submit_begin(i->client, &o, &x->submit, &known);
    if (e)
        return after(i, x, e);
    if (pst_key_rule(&x->key, &x->rule))
        pst_submit_rule(x->submit, &x->rule);
    fate_t fate = known ? FATE_MADE : feed_all(i, x);
    pst_id_t made;
    if (fate == FATE_MADE && (e = pst_submit_finish(x->submit, &made)))
        fate = after(i, x, e);
    return fate;
}

/* An order to cancel may have come while the batch was being made. */
static void cancel_late(pst_import_one_t *i, const run_t *x)
{
    if (is_cancelled(i, x))
        (void)!pst_batch_cancel(i->client, &x->id);
}

static fate_t run(pst_import_one_t *i, run_t *x)
{
    redisReply *r = read_hash(i, "file", x->record.file, pst_file_fields, PST_FILE_FIELDS);
    if (!r)
        return FATE_LATER;
    bool there = pst_file_read(r, &x->file);
    freeReplyObject(r);
    if (!there)
        return refuse(x, "invalid_request", "Cannot find the input file: it has expired or was deleted.", "input_file_id");
    pst_key_init(&x->key);
    if (*x->record.key && pst_key_read(pst_view_str(x->record.key), &x->key))
        return refuse(x, "invalid_request", "The key that asked for this batch cannot be read any more.", NULL);
    pst_openrouter_submit_t all = {.endpoint = pst_view_str(x->record.endpoint),
                                   .model = pst_view_str(x->record.model),
                                   .provider = pst_view_str(x->record.provider)};
    bool ready = !*x->record.elements || (x->elements = pst_elements_new(&all));
    fate_t fate = ready ? submit(i, x) : FATE_LATER;
    pst_submit_destroy(&x->submit);
    pst_elements_destroy(&x->elements);
    pst_key_release(&x->key);
    return fate;
}

void pst_import_one_run(pst_import_one_t *i, const char *batch)
{
    pst_errbuf_t eb;
    run_t x = {.batch = batch};
    if (pst_id_parse(pst_view_str(batch), &x.id) || (!i->redis && pst_redis_dial(i->opts.redis, &i->redis, &eb)))
        return;
    pst_buf_init(&x.errors, 0);
    pst_arena_clear(&i->arena);
    redisReply *r = read_hash(i, "batch", batch, pst_record_fields, PST_RECORD_FIELDS);
    bool there = r && pst_record_read(r, &i->arena, &x.record);
    if (r)
        freeReplyObject(r);
    bool wanted = there && strcmp(x.record.state, "validating") == 0;
    if (there && !wanted)
        tidy(i, batch, &x.record);
    fate_t fate = wanted ? run(i, &x) : FATE_LATER;
    pst_buf_putc(&x.errors, '\0');
    const char *errors = x.errors.failed ? "" : x.errors.p;
    switch (fate) {
    case FATE_MADE:
        settle(i, batch, &x.record, "made", "");
        cancel_late(i, &x);
        break;
    case FATE_REFUSED: settle(i, batch, &x.record, "failed", errors); break;
    case FATE_CANCELLED: settle(i, batch, &x.record, "cancelled", ""); break;
    case FATE_LATER: break;
    }
    pst_buf_release(&x.errors);
}
