/* bare_redis - the ceiling: what the store's own work costs when nothing else is done.
 *
 * Values made before the stopwatch starts; then a pipelined loop does to a Redis what must be done to it, and nothing
 * more: SET the jobs of each pack, GET them, SET its results, GET the results.  No function, no index, no list.
 * In two forms:
 *   packed   the packs that bench_submit would upload (headers, and bodies compressed over all jobs of the pack), and
 *            result packs as the broker would store them for echo
 *   --raw    the same jobs and answers byte for byte, up to RAW_PACK_JOBS of them behind one another in a value: what
 *            one would write by hand */
#include <getopt.h>
#include <hiredis/hiredis.h>

#include "lib/packer.h"
#include "prompts.h"
#include "stopwatch.h"
#include "wire/codec.h"

/* Packs made; a run longer than that goes round.  Redis does not care that their bytes repeat, under other keys. */
#define PACKS_MADE 64u
#define RAW_PACK_JOBS 100u
/* As much unanswered as the protocol lets a client have: 32 packs, two commands each, of 16 MiB in all. */
#define COMMANDS_IN_FLIGHT 64u
#define BYTES_IN_FLIGHT PST_UPLOAD_BYTES_MAX

/* Without `headers`, a raw one. */
typedef struct pack {
    uint32_t jobs;
    pst_buf_t headers, bodies, results;
} pack_t;

typedef struct bare {
    const char *socket, *model;
    uint32_t jobs, bytes, text_bytes;
    bool unique, raw;
    bench_prompts_t *prompts;
    pack_t pack[PACKS_MADE];
    uint32_t made;
    redisContext *redis;
    uint32_t window, in_flight;              /* commands */
    uint64_t sent, answered;                 /* commands since the start */
    size_t expected[COMMANDS_IN_FLIGHT];     /* of command number n, in place n % COMMANDS_IN_FLIGHT: the length of
                                              * the value that comes back; 0: OK */
    uint64_t stored_bytes;
} bare_t;

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "bare_redis: %s: %s\n", what, why);
    exit(1);
}

/* ---- packs ------------------------------------------------------------------------------------------------------ */

static pst_err_t keep_pack(void *arg, const pst_pack_out_t *out)
{
    bare_t *b = arg;
    if (b->made == PACKS_MADE)
        return PST_OK; /* several may be squeezed by the time one is asked for */
    pack_t *p = &b->pack[b->made++];
    p->jobs = out->jobs;
    pst_buf_putv(&p->headers, out->headers);
    pst_buf_putv(&p->bodies, out->bodies);
    return PST_OK;
}

static void make_job_packs(bare_t *b)
{
    pst_packer_t *packer = NULL;
    pst_line_reader_t reader;
    pst_line_reader_init(&reader, PST_VIEW_LIT(""));
    if (pst_packer_new(keep_pack, b, &packer))
        fail("packs", "out of memory");
    for (uint32_t i = 0; i < b->jobs && b->made < PACKS_MADE; i++) {
        char id[BENCH_CUSTOM_ID_MAX];
        pst_line_job_t job;
        pst_line_fault_t fault;
        bench_custom_id(i, id);
        pst_view_t body = bench_prompts_body(b->prompts, i);
        if (pst_line_read_body(&reader, pst_view_str(id), PST_URL_CHAT, body, &job, &fault) ||
            pst_packer_add(packer, i, &job))
            fail("packs", "a job does not pack");
    }
    if (b->made < PACKS_MADE && pst_packer_flush(packer))
        fail("packs", "a pack does not close");
    pst_packer_destroy(&packer);
    pst_line_reader_release(&reader);
}

/* What echo answers. */
static void put_answer(bare_t *b, uint32_t i, pst_buf_t *text)
{
    pst_view_t body = bench_prompts_body(b->prompts, i);
    static const char user[] = "\"user\",\"content\":\"";
    const char *at = memmem(body.p, body.n, user, sizeof user - 1);
    pst_buf_printf(text,
                   "{\"id\":\"chatcmpl-%016x\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":"
                   "\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%.*s\","
                   "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":230,"
                   "\"completion_tokens\":125,\"total_tokens\":355,\"prompt_tokens_details\":{\"cached_tokens\":0},"
                   "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}",
                   i, (int)bench_prompts_text_bytes(b->prompts), at + sizeof user - 1);
}

static void make_result_pack(bare_t *b, pack_t *p, uint32_t first)
{
    static pst_result_t results[PST_PACK_JOBS_MAX];
    static pst_attempt_t attempt = {.http_status = 200};
    static char ids[PST_PACK_JOBS_MAX][BENCH_CUSTOM_ID_MAX];
    pst_buf_t text, packed;
    pst_buf_init(&text, 0);
    pst_buf_init(&packed, 0);
    for (uint32_t k = 0; k < p->jobs; k++) {
        uint32_t offset = (uint32_t)text.n;
        bench_custom_id(first + k, ids[k]);
        put_answer(b, first + k, &text);
        results[k] = (pst_result_t){.index = first + k, .custom_id = pst_view_str(ids[k]), .status = PST_JOB_COMPLETED,
                                    .http_status = 200, .input_tokens = 230, .output_tokens = 125, .queued_ms = 100,
                                    .body_offset = offset, .body_bytes = (uint32_t)text.n - offset,
                                    .attempts = &attempt, .attempts_n = 1};
    }
    pst_codec_t codec;
    pst_compressor_t *c = pst_compressor_new();
    pst_view_t bytes = pst_compress_fast(c, pst_buf_view(&text), &packed, &codec);
    pst_compressor_destroy(&c);
    pst_endpoint_name_t endpoint = {PST_VIEW_LIT("echo"), PST_VIEW_LIT("bench")};
    pst_result_blob_t blob = {(uint8_t)codec, (uint32_t)text.n, bytes};
    pst_result_pack_t r = {.endpoints = &endpoint, .endpoints_n = 1, .results = results, .results_n = p->jobs,
                           .blobs = &blob, .blobs_n = 1};
    pst_result_pack_encode(&r, &p->results);
    if (p->results.failed)
        fail("results", "do not encode");
    pst_buf_release(&text);
    pst_buf_release(&packed);
}

/* Of one job or answer: its custom_id, its length, itself. */
static void put_raw(pst_buf_t *to, uint32_t i, pst_view_t body)
{
    char id[BENCH_CUSTOM_ID_MAX];
    uint32_t n = (uint32_t)body.n;
    bench_custom_id(i, id);
    pst_buf_put(to, id, strlen(id));
    pst_buf_put(to, &n, sizeof n);
    pst_buf_putv(to, body);
}

/* A value ends at RAW_PACK_JOBS, or where a pack's text would end. */
static bool raw_pack_has_room(const bare_t *b, const pack_t *p)
{
    return p->jobs == 0 || (p->jobs < RAW_PACK_JOBS && p->bodies.n + b->bytes <= PST_PACK_TEXT_BYTES);
}

static void make_raw_packs(bare_t *b)
{
    pst_buf_t answer;
    pst_buf_init(&answer, 0);
    for (uint32_t i = 0; i < b->jobs && b->made < PACKS_MADE; b->made++) {
        pack_t *p = &b->pack[b->made];
        for (; i < b->jobs && raw_pack_has_room(b, p); i++, p->jobs++) {
            put_raw(&p->bodies, i, bench_prompts_body(b->prompts, i));
            pst_buf_clear(&answer);
            put_answer(b, i, &answer);
            put_raw(&p->results, i, pst_buf_view(&answer));
        }
        if (p->bodies.failed || p->results.failed || answer.failed)
            fail("packs", "out of memory");
    }
    pst_buf_release(&answer);
}

static void make_packs(bare_t *b)
{
    if (b->raw) {
        make_raw_packs(b);
        return;
    }
    make_job_packs(b);
    uint32_t first = 0;
    for (uint32_t i = 0; i < b->made; i++) {
        make_result_pack(b, &b->pack[i], first);
        first += b->pack[i].jobs;
    }
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static void take_reply(bare_t *b)
{
    redisReply *r = NULL;
    if (redisGetReply(b->redis, (void **)&r) != REDIS_OK)
        fail("redis", b->redis->errstr);
    if (r->type == REDIS_REPLY_ERROR)
        fail("redis", r->str);
    size_t expected = b->expected[b->answered++ % COMMANDS_IN_FLIGHT];
    if (expected ? r->type != REDIS_REPLY_STRING || (size_t)r->len != expected : r->type != REDIS_REPLY_STATUS)
        fail("redis", "a value is not there, or not whole");
    freeReplyObject(r);
    b->in_flight--;
}

static void drain(bare_t *b)
{
    while (b->in_flight > 0)
        take_reply(b);
}

/* As many replies are awaited at once as commands were sent at once: a write of a few packs, a read of theirs. */
static void send(bare_t *b, int argc, const char **argv, const size_t *n, size_t expected)
{
    if (redisAppendCommandArgv(b->redis, argc, argv, n) != REDIS_OK)
        fail("redis", b->redis->errstr);
    b->expected[b->sent++ % COMMANDS_IN_FLIGHT] = expected;
    if (++b->in_flight == b->window) {
        while (b->in_flight > b->window / 2)
            take_reply(b);
    }
}

static int key_of(char *to, size_t room, char what, uint32_t number)
{
    return snprintf(to, room, "pst:{batch_01JDAAAAAAAAAAAAAAAAAAAAAA.%u}:%c:%u", number / 256, what, number);
}

static void set(bare_t *b, char what, uint32_t number, const pst_buf_t *value)
{
    char key[80];
    const char *argv[] = {"SET", key, value->p};
    size_t n[] = {3, (size_t)key_of(key, sizeof key, what, number), value->n};
    send(b, 3, argv, n, 0);
    b->stored_bytes += value->n;
}

static void get(bare_t *b, char what, uint32_t number, const pst_buf_t *value)
{
    char key[80];
    const char *argv[] = {"GET", key};
    size_t n[] = {3, (size_t)key_of(key, sizeof key, what, number)};
    send(b, 2, argv, n, value->n);
}

static void choose_window(bare_t *b)
{
    size_t largest = 1;
    for (uint32_t i = 0; i < b->made; i++)
        largest = PST_MAX(largest, PST_MAX(b->pack[i].bodies.n, b->pack[i].results.n));
    b->window = (uint32_t)PST_MIN(PST_MAX(BYTES_IN_FLIGHT / largest, 2u), COMMANDS_IN_FLIGHT);
}

static void cycle(bare_t *b, uint32_t packs)
{
    for (uint32_t i = 0; i < packs; i++) {
        const pack_t *p = &b->pack[i % b->made];
        if (!b->raw)
            set(b, 'h', i, &p->headers);
        set(b, 'b', i, &p->bodies);
    }
    drain(b);
    for (uint32_t i = 0; i < packs; i++) {
        const pack_t *p = &b->pack[i % b->made];
        if (!b->raw)
            get(b, 'h', i, &p->headers);
        get(b, 'b', i, &p->bodies);
        set(b, 'r', i, &p->results);
    }
    drain(b);
    for (uint32_t i = 0; i < packs; i++)
        get(b, 'r', i, &b->pack[i % b->made].results);
    drain(b);
}

static void measure(bare_t *b)
{
    uint32_t packs = 0, jobs = 0;
    while (jobs < b->jobs)
        jobs += b->pack[packs++ % b->made].jobs;
    choose_window(b);
    bench_watch_t w = bench_watch_start();
    cycle(b, packs);
    double seconds = bench_watch_s(&w);
    printf("{\"jobs\": %u, \"packs\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, \"stored_bytes\": %llu, "
           "\"cpu_s\": %.6f, \"rss_kib\": %ld}\n",
           jobs, packs, seconds, jobs / seconds, (unsigned long long)b->stored_bytes, bench_watch_cpu_s(&w),
           bench_rss_kib());
}

static void parse(int argc, char **argv, bare_t *b)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"jobs", required_argument, NULL, 'j'},
        {"bytes", required_argument, NULL, 'n'},  {"text-bytes", required_argument, NULL, 't'},
        {"unique", no_argument, NULL, 'u'},       {"raw", no_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's': b->socket = optarg; break;
        case 'j': b->jobs = bench_number("jobs", optarg); break;
        case 'n': b->bytes = bench_number("bytes", optarg); break;
        case 't': b->text_bytes = bench_number("text-bytes", optarg); break;
        case 'u': b->unique = true; break;
        case 'r': b->raw = true; break;
        default: exit(2);
        }
    }
    if (b->socket)
        return;
    fputs("usage: bare_redis --socket PATH [--jobs N] [--bytes N] [--text-bytes N] [--unique] [--raw]\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static bare_t b = {.model = "echo/bench", .jobs = 100000, .bytes = 1024, .text_bytes = 500};
    parse(argc, argv, &b);
    bench_prompts_opts_t o = {b.model, b.bytes, b.text_bytes, b.unique};
    b.prompts = bench_prompts_new(&o);
    if (!b.prompts)
        fail("--bytes", "must be 100 to 2,097,152");
    make_packs(&b);
    b.redis = redisConnectUnix(b.socket);
    if (!b.redis || b.redis->err)
        fail("redis", b.redis ? b.redis->errstr : "out of memory");
    measure(&b);
    redisFree(b.redis);
    for (uint32_t i = 0; i < b.made; i++) {
        pst_buf_release(&b.pack[i].headers);
        pst_buf_release(&b.pack[i].bodies);
        pst_buf_release(&b.pack[i].results);
    }
    bench_prompts_destroy(&b.prompts);
    return 0;
}
