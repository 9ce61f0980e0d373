/* submit.c - a stream of lines into a batch: cut, read, checked for repeated names, packed, uploaded.
 * The batch's id is chosen here, so that every message of the upload can be repeated.  OPEN is sent with the first
 * pack, not before: a file that is refused at its first line costs the broker nothing. */
#include <stdio.h>

#include "lib/client.h"
#include "lib/dedupe.h"
#include "lib/line.h"
#include "lib/packer.h"
#include "lib/submit.h"
#include "proc/clock.h"

struct pst_submit {
    pst_client_t *client;
    pst_id_t batch;
    /* options */
    char *name, *key, *model, *metadata, *tenant;
    uint8_t priority;
    uint64_t window_s, max_cost_nano;
    bool skip_invalid;
    /* state */
    bool known;              /* the key's batch is there already: nothing to do */
    bool open;               /* OPEN was sent */
    bool done;               /* finished, or refused */
    bool unnamed;            /* a job without custom_id was taken: it must stay alone */
    pst_err_t err;           /* the first error that ends the upload */
    /* input */
    pst_buf_t partial;       /* beginning of a line whose end has not come */
    bool skipping;           /* the rest of a line that is too long */
    uint64_t lines, jobs;
    pst_line_reader_t reader;
    pst_dedupe_t ids;
    pst_url_t served_url;    /* of the job before */
    uint32_t served_left;    /* of more jobs as it was, it is known that they are served */
    pst_packer_t *packer;
    /* what is wrong with it */
    pst_bad_line_t *bad;     /* PST_BAD_LINES_MAX of them, or NULL before the first */
    uint64_t bad_total;
};

#define WORDS(s) (&(s)->client->words)
#define LINE_EXTRA 4 /* bytes of a line that do not count: byte-order mark, carriage return */

static pst_err_t invalid(pst_client_t *c, const char *what)
{
    return pst_errf(&c->words, PST_E_INVALID, "%s", what);
}

static bool longer(const char *text, size_t max)
{
    return text && strlen(text) > max;
}

static bool is_object(const char *text)
{
    pst_json_t j;
    pst_json_init(&j);
    bool yes = pst_json_parse(&j, pst_view_str(text), NULL) == PST_OK && pst_json_is(&j, 0, PST_JSON_OBJECT);
    pst_json_release(&j);
    return yes;
}

#define COST_USD_MAX 1e9

static pst_err_t check_opts(pst_client_t *c, const pst_submit_opts_t *o)
{
    if (longer(o->name, PST_NAME_BYTES_MAX) || longer(o->idempotency_key, PST_NAME_BYTES_MAX) ||
        longer(o->model, PST_NAME_BYTES_MAX) || longer(o->tenant, PST_NAME_BYTES_MAX))
        return invalid(c, "name, tenant, idempotency key and model may have 256 bytes each: shorten it");
    if (longer(o->metadata, PST_METADATA_BYTES_MAX) || (o->metadata && *o->metadata && !is_object(o->metadata)))
        return invalid(c, "metadata must be a JSON object of at most 16 KiB");
    if (o->priority < -1 || o->priority > 1)
        return invalid(c, "priority must be -1, 0 or 1");
    if (!(o->max_cost_usd >= 0 && o->max_cost_usd <= COST_USD_MAX))
        return invalid(c, "the budget must be between 0 and a thousand million USD");
    return PST_OK;
}

/* NULL for NULL; *ok false if there is no memory. */
static char *copy(const char *text, bool *ok)
{
    char *s = text ? strdup(text) : NULL;
    *ok &= !text || s;
    return s;
}

static bool copy_opts(pst_submit_t *s, const pst_submit_opts_t *o)
{
    bool ok = true;
    s->name = copy(o->name, &ok);
    s->key = copy(o->idempotency_key, &ok);
    s->model = copy(o->model, &ok);
    s->metadata = copy(o->metadata, &ok);
    s->tenant = copy(o->tenant, &ok);
    s->priority = (uint8_t)(PST_PRIORITY_NORMAL + o->priority);
    s->window_s = o->window_s;
    /* A budget too small for a thousand-millionth of a dollar is still one: 0 would mean none. */
    s->max_cost_nano = o->max_cost_usd > 0 ? PST_MAX((uint64_t)(o->max_cost_usd * 1e9 + 0.5), 1u) : 0;
    s->skip_invalid = o->skip_invalid;
    return ok;
}

static pst_msg_t open_msg(const pst_submit_t *s)
{
    pst_msg_t m = {.type = PST_MSG_OPEN};
    m.u.open = (pst_msg_open_t){.batch = s->batch,
                                .name = pst_view_str(s->name),
                                .priority = s->priority,
                                .window_s = s->window_s,
                                .max_cost_nano = s->max_cost_nano,
                                .idempotency_key = pst_view_str(s->key),
                                .metadata = pst_view_str(s->metadata),
                                .tenant = pst_view_str(s->tenant)};
    return m;
}

/* With a key the answer is waited for: it says whether there is anything to upload, and for which batch. */
static pst_err_t open_by_key(pst_submit_t *s, bool *ret_known)
{
    pst_msg_t m = open_msg(s);
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(s->client->conn, &m, &r);
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r);
    if (in->type == PST_MSG_DONE) {
        s->batch = in->u.done.batch;
        s->known = *ret_known = in->u.done.accepted;
        s->open = !s->known;
    } else {
        e = pst_client_no_answer(s->client);
    }
    pst_reply_destroy(&r);
    return e;
}

static pst_err_t drop_leftover(pst_submit_t *s)
{
    pst_msg_t m = {.type = PST_MSG_ABORT};
    m.u.batch_req.batch = s->batch;
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(s->client->conn, &m, &r);
    pst_reply_destroy(&r);
    return e == PST_E_NOT_FOUND ? PST_OK : e;
}

/* An id that is not new: the broker may hold a part of the batch, or all of it. */
static pst_err_t look_for_earlier(pst_submit_t *s, bool *ret_known)
{
    pst_msg_t m = {.type = PST_MSG_STATUS};
    m.u.batch_req.batch = s->batch;
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(s->client->conn, &m, &r);
    if (e)
        return e == PST_E_NOT_FOUND ? PST_OK : e;
    const pst_msg_t *in = pst_reply_msg(r);
    if (in->type != PST_MSG_BATCH)
        e = pst_client_no_answer(s->client);
    else
        s->known = *ret_known = in->u.batch.info.accepted_ms > 0;
    pst_reply_destroy(&r);
    return e || s->known ? e : drop_leftover(s);
}

static pst_err_t send_open(pst_submit_t *s)
{
    if (s->open)
        return PST_OK;
    pst_msg_t m = open_msg(s);
    s->open = true;
    return pst_conn_upload(s->client->conn, &m);
}

static pst_err_t send_pack(void *arg, const pst_pack_out_t *p)
{
    pst_submit_t *s = arg;
    pst_err_t e = send_open(s);
    if (e)
        return e;
    pst_msg_t m = {.type = PST_MSG_PACK};
    m.u.pack = (pst_msg_pack_t){.batch = s->batch,
                                .segment = p->segment,
                                .pack = p->pack,
                                .headers = p->headers,
                                .bodies = p->bodies};
    return pst_conn_upload(s->client->conn, &m);
}

pst_err_t pst_submit_begin(pst_client_t *c, const pst_submit_opts_t *o, pst_submit_t **ret, bool *ret_known)
{
    static const pst_submit_opts_t defaults = {0};
    o = o ? o : &defaults;
    pst_err_t e = check_opts(c, o);
    if (e)
        return e;
    if (c->submitting)
        return pst_errf(&c->words, PST_E_STATE, "this handle has an upload open: finish it, or use another handle");
    pst_submit_t *s = calloc(1, sizeof *s);
    if (!s)
        return pst_errf(&c->words, PST_E_NOMEM, "out of memory");
    s->client = c;
    c->submitting = true;
    *ret_known = false;
    bool ok = copy_opts(s, o);
    s->batch = o->batch ? *o->batch : pst_id_new();
    pst_buf_init(&s->partial, c->line_bytes_max + LINE_EXTRA);
    pst_line_reader_init(&s->reader, pst_view_str(s->model));
    s->reader.prefix_min = c->prefix_bytes_min;
    s->reader.prefix_max = c->prefix_bytes_max;
    pst_dedupe_init(&s->ids, pst_random_u64());
    if (!ok || pst_packer_new(send_pack, s, &s->packer) != PST_OK)
        e = pst_errf(&c->words, PST_E_NOMEM, "out of memory");
    else if (o->batch)
        e = look_for_earlier(s, ret_known);
    if (!e && !s->known && s->key && *s->key)
        e = open_by_key(s, ret_known);
    if (e) {
        s->open = false;
        pst_submit_destroy(&s);
        return e;
    }
    *ret = s;
    return PST_OK;
}

void pst_submit_rule(pst_submit_t *s, const pst_line_rule_t *rule)
{
    pst_line_reader_rule(&s->reader, rule);
}

/* Bad lines. */

static bool refusing(const pst_submit_t *s)
{
    return s->bad_total > 0 && !s->skip_invalid;
}

static pst_err_t take_bad(pst_submit_t *s, const pst_line_fault_t *f)
{
    if (!s->bad && !(s->bad = calloc(PST_BAD_LINES_MAX, sizeof *s->bad)))
        return PST_E_NOMEM;
    if (s->bad_total < PST_BAD_LINES_MAX) {
        pst_bad_line_t *b = &s->bad[s->bad_total];
        b->line = s->lines;
        b->code = f->code;
        memcpy(b->message, f->message, sizeof b->message);
    }
    s->bad_total++;
    if (!s->skip_invalid)
        return s->bad_total > PST_BAD_LINES_MAX ? PST_E_INPUT : PST_OK;
    return pst_packer_reject(s->packer, (uint32_t)s->jobs++, (uint32_t)PST_MIN(s->lines, UINT32_MAX), f);
}

static pst_err_t take_duplicate(pst_submit_t *s, pst_view_t id, pst_line_fault_t *f)
{
    f->code = PST_CAUSE_LINE_DUPLICATE;
    f->custom_id = id;
    snprintf(f->message, sizeof f->message,
             "The custom_id '%.*s' for this request is a duplicate of another request. The custom_id parameter must be "
             "unique for each request in a batch.", (int)PST_MIN(id.n, 80u), id.p);
    return take_bad(s, f);
}

static pst_err_t take_unserved(pst_submit_t *s, const pst_line_job_t *job, pst_line_fault_t *f)
{
    f->code = PST_CAUSE_LINE_MODEL;
    f->custom_id = job->custom_id;
    snprintf(f->message, sizeof f->message, "The model '%.*s' is not served here for %s with the routing asked for.",
             (int)PST_MIN(job->model.n, 120u), job->model.p, pst_url_text(job->url));
    return take_bad(s, f);
}

#define SERVED_JOBS 16 /* in a row, before it is looked up again */

static pst_err_t look_up_route(pst_submit_t *s, const pst_line_job_t *job, bool *ret_served)
{
    *ret_served = s->served_left > 0 && job->url == s->served_url;
    if (*ret_served) {
        s->served_left--;
        return PST_OK;
    }
    pst_err_t e = pst_client_route(s->client, job->url, job->route, ret_served);
    s->served_url = job->url;
    s->served_left = !e && *ret_served ? SERVED_JOBS : 0;
    return e;
}

/* A name counts as taken by the first line that bears it, good or bad.  hash: of the name, if it could be read. */
static pst_err_t take_read(pst_submit_t *s, pst_err_t read, const pst_line_job_t *job, uint64_t hash,
                           pst_line_fault_t *f)
{
    if (read && read != PST_E_INPUT)
        return read;
    bool fresh = true;
    pst_err_t e = f->custom_id.p ? pst_dedupe_add(&s->ids, hash, &fresh) : PST_OK;
    if (e)
        return e;
    if (read)
        return take_bad(s, f);
    if (!job->route_again)
        s->served_left = 0;
    if (!fresh)
        return take_duplicate(s, job->custom_id, f);
    bool served;
    if ((e = look_up_route(s, job, &served)))
        return e;
    if (!served)
        return take_unserved(s, job, f);
    uint32_t index = (uint32_t)s->jobs++;
    return refusing(s) ? PST_OK : pst_packer_add(s->packer, index, job);
}

/* Lines. */

static pst_view_t without_mark(pst_view_t line, uint64_t number)
{
    bool mark = number == 1 && line.n >= 3 && memcmp(line.p, "\xef\xbb\xbf", 3) == 0;
    return mark ? pst_view(line.p + 3, line.n - 3) : line;
}

static pst_view_t without_return(pst_view_t line)
{
    line.n -= line.n > 0 && line.p[line.n - 1] == '\r';
    return line;
}

static bool is_blank(pst_view_t line)
{
    size_t i = 0;
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++;
    return i == line.n;
}

static pst_err_t take_long_line(pst_submit_t *s)
{
    pst_line_fault_t f = {.code = PST_CAUSE_LINE_TOO_LONG};
    snprintf(f.message, sizeof f.message, "This line is longer than %u bytes.", (unsigned)s->client->line_bytes_max);
    return take_bad(s, &f);
}

/* A whole line without its newline. */
static pst_err_t take_line(pst_submit_t *s, pst_view_t line)
{
    s->lines++;
    line = without_return(without_mark(line, s->lines));
    if (line.n > s->client->line_bytes_max)
        return take_long_line(s);
    if (is_blank(line))
        return PST_OK;
    if (s->jobs >= PST_BATCH_JOBS_MAX - 1)
        return pst_errf(WORDS(s), PST_E_TOO_LARGE, "a batch holds at most %u requests: split the file",
                        PST_BATCH_JOBS_MAX - 1);
    pst_line_job_t job;
    pst_line_fault_t f;
    pst_err_t e = pst_line_read(&s->reader, line, &job, &f);
    uint64_t hash = f.custom_id.p ? pst_dedupe_hash(&s->ids, f.custom_id) : 0;
    return take_read(s, e, &job, hash, &f);
}

/* A piece without a newline.  Of a line that is too long no more is kept. */
static pst_err_t keep_piece(pst_submit_t *s, pst_view_t piece)
{
    if (s->skipping)
        return PST_OK;
    size_t max = (size_t)s->client->line_bytes_max;
    s->skipping = s->partial.n + piece.n > max + LINE_EXTRA;
    if (!s->skipping)
        pst_buf_putv(&s->partial, piece);
    return s->partial.failed ? PST_E_NOMEM : PST_OK;
}

static pst_err_t end_line(pst_submit_t *s, pst_view_t piece)
{
    pst_err_t e;
    if (s->partial.n == 0 && !s->skipping)
        return take_line(s, piece);
    if ((e = keep_piece(s, piece)))
        return e;
    if (s->skipping) {
        s->lines++;
        e = take_long_line(s);
    } else {
        e = take_line(s, pst_buf_view(&s->partial));
    }
    s->skipping = false;
    pst_buf_clear(&s->partial);
    return e;
}

static pst_err_t feed(pst_submit_t *s, const char *p, size_t n)
{
    pst_err_t e = PST_OK;
    const char *end = p + n;
    while (!e && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline)
            return keep_piece(s, pst_view(p, (size_t)(end - p)));
        e = end_line(s, pst_view(p, (size_t)(newline - p)));
        p = newline + 1;
    }
    return e;
}

static pst_err_t refuse(pst_submit_t *s)
{
    return pst_errf(WORDS(s), PST_E_INPUT, "%llu of %llu lines are wrong, nothing was accepted: correct them, or skip "
                    "invalid lines", (unsigned long long)s->bad_total, (unsigned long long)s->lines);
}

/* Remembers the first error: what comes after it is not read. */
static pst_err_t end_with(pst_submit_t *s, pst_err_t e)
{
    if (e == PST_E_INPUT)
        refuse(s);
    if (e == PST_E_NOMEM)
        pst_errf(WORDS(s), e, "out of memory");
    if (e && !s->err)
        s->err = e;
    return e;
}

pst_err_t pst_submit_write(pst_submit_t *s, const void *p, size_t n)
{
    if (s->err)
        return s->err;
    if (s->known || s->done)
        return pst_errf(WORDS(s), PST_E_STATE, "this batch takes no more input");
    return end_with(s, feed(s, p, n));
}

/* A job without a name is "0", and alone. */
static pst_err_t name_job(pst_submit_t *s, const char *custom_id, pst_view_t *ret)
{
    if (s->unnamed || (!custom_id && s->lines > 0))
        return pst_errf(WORDS(s), PST_E_INVALID, "every job of a batch with several needs a custom_id");
    s->unnamed = !custom_id;
    *ret = pst_view_str(custom_id ? custom_id : "0");
    return PST_OK;
}

pst_err_t pst_submit_job(pst_submit_t *s, const char *custom_id, pst_url_t url, const void *body, size_t n)
{
    if (s->err)
        return s->err;
    if (s->known || s->done)
        return pst_errf(WORDS(s), PST_E_STATE, "this batch takes no more input");
    pst_view_t id;
    pst_err_t e = name_job(s, custom_id, &id);
    if (e)
        return e;
    s->lines++;
    if (n > s->client->line_bytes_max)
        return end_with(s, take_long_line(s));
    pst_line_job_t job;
    pst_line_fault_t f;
    uint64_t hash = pst_dedupe_hash(&s->ids, id);
    e = pst_line_read_body(&s->reader, id, url, pst_view(body, n), &job, &f);
    return end_with(s, take_read(s, e, &job, hash, &f));
}

/* The end. */

static pst_err_t commit(pst_submit_t *s)
{
    pst_err_t e = pst_packer_flush(s->packer);
    if (e)
        return e;
    pst_msg_t m = {.type = PST_MSG_COMMIT};
    m.u.commit = (pst_msg_commit_t){.batch = s->batch,
                                    .packs = pst_packer_packs(s->packer),
                                    .jobs = pst_packer_jobs(s->packer)};
    e = pst_conn_upload(s->client->conn, &m);
    return e ? e : pst_conn_settle(s->client->conn, &s->batch);
}

static pst_err_t last_line(pst_submit_t *s)
{
    if (s->partial.n == 0 && !s->skipping)
        return PST_OK;
    return end_line(s, pst_view(NULL, 0));
}

pst_err_t pst_submit_finish(pst_submit_t *s, pst_id_t *ret_batch)
{
    if (s->done)
        return pst_errf(WORDS(s), PST_E_STATE, "this batch is finished");
    pst_err_t e = s->err;
    if (!e && !s->known)
        e = end_with(s, last_line(s));
    if (!e && refusing(s))
        e = end_with(s, PST_E_INPUT);
    if (!e && !s->known && s->jobs == 0)
        e = s->err = pst_errf(WORDS(s), PST_E_INPUT, "the input has no request in it: write one JSON object a line");
    if (!e && !s->known)
        e = end_with(s, commit(s));
    if (e)
        return e;
    s->done = true;
    *ret_batch = s->batch;
    return PST_OK;
}

void pst_submit_counts(const pst_submit_t *s, uint64_t *ret_lines, uint64_t *ret_jobs)
{
    *ret_lines = s->lines;
    *ret_jobs = s->jobs;
}

const pst_bad_line_t *pst_submit_bad(const pst_submit_t *s, size_t *ret_n, uint64_t *ret_total)
{
    *ret_n = (size_t)PST_MIN(s->bad_total, (uint64_t)PST_BAD_LINES_MAX);
    *ret_total = s->bad_total;
    return s->bad;
}

/* The words of the error that ended the upload outlive its clearing away. */
static void abort_upload(pst_submit_t *s)
{
    pst_errbuf_t words = s->client->words;
    pst_conn_forget(s->client->conn);
    if (s->open && !s->done && pst_err_class(s->err) != PST_CLASS_RETRY) {
        pst_msg_t m = {.type = PST_MSG_ABORT};
        m.u.batch_req.batch = s->batch;
        pst_reply_t *r = NULL;
        (void)!pst_conn_ask(s->client->conn, &m, &r); /* the broker drops it by itself after a while */
        pst_reply_destroy(&r);
    }
    s->client->words = words;
}

void pst_submit_destroy(pst_submit_t **ps)
{
    pst_submit_t *s = *ps;
    *ps = NULL;
    if (!s)
        return;
    abort_upload(s);
    s->client->submitting = false;
    pst_packer_destroy(&s->packer);
    pst_line_reader_release(&s->reader);
    pst_dedupe_release(&s->ids);
    pst_buf_release(&s->partial);
    free(s->bad);
    free(s->name);
    free(s->key);
    free(s->model);
    free(s->metadata);
    free(s->tenant);
    free(s);
}
