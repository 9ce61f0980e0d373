#include "store_world.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/clock.h"

#define ANSWER_WAIT (20 * PST_SEC)

/* ---- the server ---------------------------------------------------------------------------------------------------- */

static void connect_raw(server_t *s)
{
    for (unsigned i = 0; i < 500; i++) {
        if (s->raw)
            redisFree(s->raw);
        s->raw = redisConnectUnix(s->socket);
        PST_ASSERT(s->raw);
        redisReply *r = s->raw->err ? NULL : redisCommand(s->raw, "PING");
        bool ok = r && r->type == REDIS_REPLY_STATUS;
        if (r)
            freeReplyObject(r);
        if (ok)
            return;
        usleep(10000);
    }
    PST_ASSERT(!"redis-server answers");
}

void server_again(server_t *s, const char *const *extra)
{
    const char *argv[40] = {"redis-server", "--port", "0", "--unixsocket", s->socket, "--dir", s->dir,
                            "--save", "", "--logfile", "redis.log", "--appendonly", "yes", "--appendfsync", "always"};
    unsigned n = 15;
    for (; extra && *extra; extra++)
        argv[n++] = *extra;
    PST_ASSERT(n < PST_COUNT(argv));
    s->pid = fork();
    PST_ASSERT(s->pid >= 0);
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    connect_raw(s);
}

void server_start(server_t *s, const char *const *extra)
{
    *s = (server_t){0};
    snprintf(s->dir, sizeof s->dir, "/tmp/pst-store-XXXXXX");
    PST_ASSERT(mkdtemp(s->dir));
    snprintf(s->socket, sizeof s->socket, "%s/redis", s->dir);
    snprintf(s->url, sizeof s->url, "unix://%s", s->socket);
    server_again(s, extra);
}

void server_kill(server_t *s, int sig)
{
    kill(s->pid, sig);
    PST_ASSERT(waitpid(s->pid, NULL, 0) == s->pid);
    s->pid = 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char sub[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof sub, "%.200s/%.255s", path, e->d_name);
        if (unlink(sub) != 0)
            remove_tree(sub);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

void server_stop(server_t *s)
{
    if (s->pid)
        server_kill(s, SIGKILL);
    if (s->raw)
        redisFree(s->raw);
    remove_tree(s->dir);
}

static redisReply *ask(server_t *s, const char *format, va_list ap)
{
    redisReply *r = redisvCommand(s->raw, format, ap);
    if (!r) { /* the server was restarted */
        connect_raw(s);
        return NULL;
    }
    return r;
}

redisReply *server_ask(server_t *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    redisReply *r = ask(s, format, ap);
    va_end(ap);
    PST_ASSERT(r);
    return r;
}

long long server_num(server_t *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    redisReply *r = ask(s, format, ap);
    va_end(ap);
    PST_ASSERT(r);
    long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : r->type == REDIS_REPLY_STRING ? atoll(r->str) : -1;
    freeReplyObject(r);
    return n;
}

size_t server_keys(server_t *s)
{
    redisReply *r = server_ask(s, "KEYS *");
    size_t n = 0;
    for (size_t i = 0; i < (size_t)r->elements; i++)
        n += strncmp(r->element[i]->str, "pst:{o}", 7) != 0;
    freeReplyObject(r);
    return n;
}

/* ---- a store --------------------------------------------------------------------------------------------------------- */

static void keep_blob(const pst_blob_t *b, char *to, size_t *n)
{
    *n = b ? b->n : 0;
    if (b)
        memcpy(to, b->p, PST_MIN(b->n, (size_t)64));
}

static void on_answer(void *arg, const pst_store_answer_t *a)
{
    world_t *w = arg;
    w->answers++;
    w->answered = true;
    w->answer = *a;
    keep_blob(a->headers, w->headers, &w->headers_n);
    keep_blob(a->bodies, w->bodies, &w->bodies_n);
    if (w->on_answer)
        w->on_answer(w, a);
    if (w->stop_on_answer && a->token == w->token)
        pst_loop_stop(w->loop);
}

static void on_state(void *arg, bool up, const char *why)
{
    world_t *w = arg;
    (void)why;
    if (up)
        w->ups++;
    else
        w->downs++;
}

static void on_room(void *arg, uint64_t used, uint64_t max)
{
    world_t *w = arg;
    w->rooms++;
    w->used = used;
    w->max = max;
}

static void on_fatal(void *arg, const char *why)
{
    world_t *w = arg;
    w->fatals++;
    snprintf(w->fatal, sizeof w->fatal, "%s", why);
}

static pst_ns_t stop_late(void *arg, pst_ns_t now)
{
    world_t *w = arg;
    if (now >= w->until) {
        w->late = true;
        pst_loop_stop(w->loop);
    }
    return w->until;
}

pst_err_t world_try(world_t *w, const char *url, pst_durability_t durability, pst_errbuf_t *eb)
{
    *w = (world_t){.loop = pst_loop_new(), .until = PST_NEVER};
    pst_loop_prepare(w->loop, stop_late, w);
    pst_store_opts_t o = {.url = url, .durability = durability};
    pst_store_events_t ev = {.answer = on_answer, .state = on_state, .room = on_room, .fatal = on_fatal, .arg = w};
    pst_err_t e = pst_store_open(w->loop, &o, &ev, &w->store, eb);
    if (e)
        pst_loop_destroy(&w->loop);
    return e;
}

void world_open(world_t *w, const server_t *s, pst_durability_t durability)
{
    pst_errbuf_t eb = {""};
    pst_err_t e = world_try(w, s->url, durability, &eb);
    if (e)
        fprintf(stderr, "open: %s: %s\n", pst_err_name(e), eb.text);
    PST_ASSERT(!e);
}

void world_close(world_t *w)
{
    pst_store_destroy(&w->store);
    pst_loop_destroy(&w->loop);
}

void world_run(world_t *w, pst_ns_t t)
{
    w->late = false;
    w->until = pst_ns_add(pst_clock_mono(), t);
    pst_loop_run(w->loop);
}

pst_err_t world_do(world_t *w, pst_store_op_t op)
{
    op.token = ++w->token;
    w->answered = false;
    w->stop_on_answer = true;
    pst_store_submit(w->store, &op);
    pst_store_flush(w->store);
    world_run(w, ANSWER_WAIT);
    w->stop_on_answer = false;
    PST_ASSERT(!w->late && w->answered && w->answer.token == op.token && w->answer.type == op.type);
    return w->answer.err;
}

/* ---- operations ------------------------------------------------------------------------------------------------------- */

pst_id_t id_of(uint32_t n)
{
    uint8_t random[10] = {(uint8_t)(n >> 8), (uint8_t)n};
    return pst_id_make(1000000 + n, random);
}

pst_store_op_t op_open(pst_id_t batch, const char *key, pst_batch_info_t *info)
{
    *info = (pst_batch_info_t){.batch = batch, .name = PST_VIEW_LIT("a name"), .priority = PST_PRIORITY_NORMAL,
                               .metadata = PST_VIEW_LIT("{}"), .idempotency_key = pst_view_str(key),
                               .created_ms = pst_id_wall_ms(&batch), .window_s = 60};
    return (pst_store_op_t){.type = PST_STORE_OPEN, .batch = batch, .u.open = {.info = info}};
}

/* A blob of that size, one of each, never freed before the process ends. */
static pst_blob_t *blob_of(size_t n)
{
    static pst_blob_t *made[16];
    unsigned i = 0;
    for (; i < PST_COUNT(made) && made[i]; i++)
        if (made[i]->n == n)
            return made[i];
    PST_ASSERT(i < PST_COUNT(made));
    made[i] = pst_blob_new(NULL, n);
    for (size_t k = 0; k < n; k++)
        made[i]->p[k] = (char)('a' + k % 26);
    return made[i];
}

pst_store_op_t op_put(pst_id_t batch, uint32_t segment, uint32_t pack, uint32_t jobs, size_t bodies_bytes)
{
    pst_store_op_t op = {.type = PST_STORE_PUT_PACK, .batch = batch, .segment = segment};
    op.u.put.entry = (pst_pack_entry_t){.pack = pack, .jobs = jobs, .text_bytes = 1000, .headers_bytes = 40 * jobs,
                                        .bodies_bytes = (uint32_t)bodies_bytes, .index_lo = pack * jobs,
                                        .index_hi = pack * jobs + jobs - 1, .input_tokens = 7};
    op.u.put.url = PST_URL_RESPONSES;
    op.u.put.route = pack % 2 ? PST_VIEW_LIT("odd route") : PST_VIEW_LIT("even route");
    op.u.put.rejected = pack % 5 == 4;
    op.u.put.headers = blob_of(40 * (size_t)jobs);
    op.u.put.bodies = blob_of(bodies_bytes);
    return op;
}

pst_store_op_t op_commit(pst_id_t batch, uint32_t packs, uint32_t jobs, uint32_t segments)
{
    return (pst_store_op_t){.type = PST_STORE_COMMIT, .batch = batch,
                            .u.commit = {.packs = packs, .jobs = jobs, .segments = segments, .accepted_ms = 5000,
                                         .expires_ms = 9000}};
}

pst_store_op_t op_append(append_t *a, pst_id_t batch, uint32_t segment, uint32_t n, uint32_t pack, uint32_t from,
                         uint32_t jobs, size_t body_bytes)
{
    *a = (append_t){.name = {PST_VIEW_LIT("provider"), PST_VIEW_LIT("model")}, .spent = pack};
    a->ref = pst_blob_new(NULL, body_bytes * jobs);
    memset(a->ref->p, 'x', a->ref->n);
    a->blob = (pst_result_blob_t){.codec = PST_CODEC_RAW, .text_bytes = (uint32_t)a->ref->n, .bytes = pst_blob_view(a->ref)};
    for (uint32_t i = 0; i < jobs; i++) {
        a->results[i] = (pst_result_t){.index = pack * 256 + from + i, .custom_id = PST_VIEW_LIT("custom"),
                                       .status = PST_JOB_COMPLETED, .http_status = 200,
                                       .body_offset = (uint32_t)(i * body_bytes), .body_bytes = (uint32_t)body_bytes};
        a->ended[i] = (pst_slot_ref_t){pack, (uint16_t)(from + i)};
    }
    a->pack = (pst_result_pack_t){.endpoints = &a->name, .endpoints_n = 1, .results = a->results, .results_n = jobs,
                                  .blobs = &a->blob, .blobs_n = 1};
    a->endpoint = (pst_seg_endpoint_t){.name = a->name, .calls = n + 1};
    a->endpoint.hist[40] = jobs;
    a->endpoint.hist[87] = 1;
    a->cause = (pst_cause_count_t){PST_CAUSE_TIMEOUT, 3};
    a->stats = (pst_seg_stats_t){.completed = (n + 1) * jobs, .causes = &a->cause, .causes_n = 1,
                                 .endpoints = &a->endpoint, .endpoints_n = 1};
    pst_store_op_t op = {.type = PST_STORE_APPEND, .batch = batch, .segment = segment};
    op.u.append.n = n;
    op.u.append.pack = &a->pack;
    op.u.append.blob_refs = &a->ref;
    op.u.append.stats = &a->stats;
    op.u.append.ended = a->ended;
    return op;
}

void append_release(append_t *a)
{
    pst_blob_unref(&a->ref);
}
