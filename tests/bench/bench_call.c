/* bench_call - calls through a running cluster, on a stopwatch: each is one CALL and its JOB, and so many are made at a
 * time.  One thread and one session, as a gateway has it.  Every answer is checked: completed, with the call's own text.
 *
 * The session is this program's own and as small as it can be, so that what is measured is the broker and the worker. */
#include <getopt.h>
#include <zmq.h>

#include "prompts.h"
#include "stopwatch.h"
#include "wire/codec.h"

#define SILENCE_MS 5000      /* of the broker: the end */
#define ARENA_BYTES_MAX ((size_t)64 << 20)
#define IN_FLIGHT_MAX 65536

typedef struct run {
    const char *broker, *model;
    uint32_t calls, in_flight, bytes, text_bytes;
    pst_buf_t lead;          /* what stands before the text in an answer */
    void *zmq, *socket;
    uint64_t session, epoch, seq;
    pst_ns_t spoke;
    bench_prompts_t *prompts;
    pst_buf_t route, headers, frame, text;
    pst_decompressor_t *decompressor;
    pst_arena_t arena;
    pst_ns_t *began;         /* of each call */
    double *us;
    uint32_t begun, ended;
} run_t;

static _Noreturn void give_up(const char *what, pst_view_t more)
{
    fprintf(stderr, "bench_call: %s%s%.*s\n", what, more.n ? ": " : "", (int)PST_MIN(more.n, 2000u), more.p);
    exit(1);
}

/* ---- the session ------------------------------------------------------------------------------------------------- */

static void set_int(void *socket, int option, int value)
{
    PST_ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

static void say(run_t *r, pst_msg_t *m)
{
    m->version = PST_PROTOCOL_VERSION;
    m->session = r->session;
    m->epoch = r->epoch;
    m->seq = r->seq++;
    pst_buf_clear(&r->frame);
    pst_msg_encode(m, &r->frame);
    if (r->frame.failed || zmq_send(r->socket, r->frame.p, r->frame.n, 0) < 0)
        give_up("cannot send", pst_view_str(zmq_strerror(zmq_errno())));
    r->spoke = pst_clock_mono();
}

/* The next message; its views are valid until `frame` is used again. */
static pst_msg_t hear(run_t *r, zmq_msg_t *frame)
{
    pst_msg_t m;
    zmq_pollitem_t item = {.socket = r->socket, .events = ZMQ_POLLIN};
    for (long waited = 0; zmq_poll(&item, 1, PST_HEARTBEAT_MS) == 0; waited += PST_HEARTBEAT_MS) {
        pst_msg_t ping = {.type = PST_MSG_PING};
        say(r, &ping);
        if (waited >= SILENCE_MS)
            give_up("the broker is silent", pst_view(NULL, 0));
    }
    if (zmq_msg_recv(frame, r->socket, 0) < 0)
        give_up("cannot receive", pst_view_str(zmq_strerror(zmq_errno())));
    pst_arena_clear(&r->arena);
    pst_err_t e = pst_msg_decode(pst_view(zmq_msg_data(frame), zmq_msg_size(frame)), &r->arena, &m);
    if (e)
        give_up("a frame is wrong", pst_view_str(pst_err_text(e)));
    if (m.type == PST_MSG_REFUSED || m.type == PST_MSG_BYE)
        give_up("the session is over", m.u.refused.text);
    return m;
}

static void begin_session(run_t *r)
{
    uint8_t id[16];
    r->zmq = zmq_ctx_new();
    r->socket = r->zmq ? zmq_socket(r->zmq, ZMQ_DEALER) : NULL;
    PST_ASSERT(r->socket);
    pst_random(id, sizeof id);
    id[0] |= 1;
    PST_ASSERT(zmq_setsockopt(r->socket, ZMQ_ROUTING_ID, id, sizeof id) == 0);
    set_int(r->socket, ZMQ_LINGER, 0);
    set_int(r->socket, ZMQ_SNDHWM, IN_FLIGHT_MAX);
    set_int(r->socket, ZMQ_RCVHWM, IN_FLIGHT_MAX);
    if (zmq_connect(r->socket, r->broker) != 0)
        give_up(r->broker, pst_view_str(zmq_strerror(zmq_errno())));
    r->session = pst_random_u64();
    pst_msg_t hello = {.type = PST_MSG_HELLO};
    hello.u.hello = (pst_msg_hello_t){.role = PST_ROLE_CLIENT, .software = PST_VIEW_LIT("bench_call"),
                                      .name = PST_VIEW_LIT("bench_call")};
    say(r, &hello);
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    pst_msg_t m = hear(r, &frame);
    if (m.type != PST_MSG_WELCOME)
        give_up("no WELCOME came", pst_view_str(pst_msg_name(m.type)));
    r->epoch = m.epoch;
    zmq_msg_close(&frame);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void begin_call(run_t *r)
{
    uint32_t i = r->begun++;
    char custom_id[BENCH_CUSTOM_ID_MAX];
    pst_view_t body = bench_prompts_body(r->prompts, i);
    bench_custom_id(i, custom_id);
    pst_job_header_t job = {.custom_id = pst_view_str(custom_id), .input_tokens = r->bytes / 4,
                            .body_bytes = (uint32_t)body.n};
    pst_pack_headers_t h = {.url = PST_URL_CHAT, .route = pst_buf_view(&r->route), .codec = PST_CODEC_RAW,
                            .text_bytes = (uint32_t)body.n, .jobs = &job, .jobs_n = 1};
    pst_buf_clear(&r->headers);
    pst_pack_headers_encode(&h, &r->headers);
    pst_msg_t m = {.type = PST_MSG_CALL};
    m.u.call = (pst_msg_call_t){.req = i, .priority = PST_PRIORITY_HIGH, .headers = pst_buf_view(&r->headers),
                                .bodies = body};
    pst_random(&m.u.call.batch, sizeof m.u.call.batch);
    r->began[i] = pst_clock_mono();
    say(r, &m);
}

static bool answered(run_t *r, uint32_t i, const pst_result_pack_t *p)
{
    const pst_result_t *x = &p->results[0];
    const pst_result_blob_t *b = &p->blobs[x->blob];
    if (p->results_n != 1 || x->status != PST_JOB_COMPLETED || !x->body_bytes)
        return false;
    pst_buf_clear(&r->text);
    if (!pst_buf_reserve(&r->text, b->text_bytes) ||
        pst_decompress(r->decompressor, b->codec, b->bytes, r->text.p, b->text_bytes))
        return false;
    /* The message's own line of text, to its end. */
    return bench_prompts_answered(r->prompts, i, pst_view(r->text.p + x->body_offset, x->body_bytes),
                                  pst_buf_view(&r->lead));
}

static void end_call(run_t *r, const pst_msg_t *m)
{
    uint32_t i = m->u.job.req;
    pst_result_pack_t p;
    if (m->type != PST_MSG_JOB)
        give_up("a call was refused", m->type == PST_MSG_DONE ? m->u.done.text : pst_view_str(pst_msg_name(m->type)));
    if (i >= r->begun || !r->began[i])
        give_up("an answer to no call", pst_view(NULL, 0));
    r->us[r->ended++] = (double)pst_ns_since(pst_clock_mono(), r->began[i]) / 1e3;
    r->began[i] = 0;
    if (pst_result_pack_decode(m->u.job.pack, &r->arena, &p) || !answered(r, i, &p))
        give_up("a wrong answer", p.results_n ? p.results[0].message : pst_view(NULL, 0));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(run_t *r)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    bench_watch_t w = bench_watch_start();
    while (r->ended < r->calls) {
        while (r->begun < r->calls && r->begun - r->ended < r->in_flight)
            begin_call(r);
        pst_msg_t m = hear(r, &frame);
        if (m.type != PST_MSG_PING)
            end_call(r, &m);
        if (pst_ns_since(pst_clock_mono(), r->spoke) > PST_HEARTBEAT_MS * PST_MS) {
            pst_msg_t ping = {.type = PST_MSG_PING};
            say(r, &ping);
        }
    }
    double seconds = bench_watch_s(&w), cpu = bench_watch_cpu_s(&w);
    zmq_msg_close(&frame);
    qsort(r->us, r->calls, sizeof *r->us, by_size);
    printf("{\"jobs\": %u, \"in_flight\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, \"min_us\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"cpu_s\": %.6f, \"rss_kib\": %ld}\n",
           r->calls, r->in_flight, seconds, r->calls / seconds, r->us[0], r->us[r->calls / 2],
           r->us[(uint64_t)r->calls * 99 / 100], r->us[r->calls - 1], cpu, bench_rss_kib());
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static const char help[] =
    "usage: bench_call [options]\n"
    "  --broker ADDR        default: tcp://127.0.0.1:7701\n"
    "  --calls N            default 10000\n"
    "  --in-flight N        at a time, default 1\n"
    "  --bytes N            of a request body, default 1024\n"
    "  --text-bytes N       of the user's message in it, which is what echo answers, default 500\n"
    "  --model NAME         default echo/bench\n";

static void parse(int argc, char **argv, run_t *r)
{
    static const struct option options[] = {
        {"broker", required_argument, NULL, 'b'}, {"calls", required_argument, NULL, 'c'},
        {"in-flight", required_argument, NULL, 'f'}, {"bytes", required_argument, NULL, 'n'},
        {"text-bytes", required_argument, NULL, 't'}, {"model", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'b': r->broker = optarg; break;
        case 'c': r->calls = bench_number("calls", optarg); break;
        case 'f': r->in_flight = PST_MIN(bench_number("in-flight", optarg), IN_FLIGHT_MAX); break;
        case 'n': r->bytes = bench_number("bytes", optarg); break;
        case 't': r->text_bytes = bench_number("text-bytes", optarg); break;
        case 'm': r->model = optarg; break;
        default:
            fputs(help, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
}

static void make_route(run_t *r)
{
    pst_view_t model = pst_view_str(r->model);
    pst_route_t route = {.models = {&model, 1}, .allow_fallbacks = true, .require_parameters = true,
                         .max_price_prompt = -1, .max_price_completion = -1, .max_price_request = -1};
    pst_route_encode(&route, &r->route);
}

static void release(run_t *r)
{
    zmq_close(r->socket);
    zmq_ctx_term(r->zmq);
    pst_decompressor_destroy(&r->decompressor);
    bench_prompts_destroy(&r->prompts);
    pst_arena_release(&r->arena);
    pst_buf_t *bufs[] = {&r->lead, &r->route, &r->headers, &r->frame, &r->text};
    for (size_t i = 0; i < PST_COUNT(bufs); i++)
        pst_buf_release(bufs[i]);
    free(r->began);
    free(r->us);
}

int main(int argc, char **argv)
{
    run_t r = {.broker = "tcp://127.0.0.1:7701", .model = "echo/bench", .calls = 10000, .in_flight = 1, .bytes = 1024,
               .text_bytes = 500};
    parse(argc, argv, &r);
    bench_prompts_opts_t o = {r.model, r.bytes, r.text_bytes, false};
    r.prompts = bench_prompts_new(&o);
    if (!r.prompts) {
        fputs("bench_call: --bytes must be 100 to 2,097,152\n", stderr);
        return 2;
    }
    pst_buf_puts(&r.lead, "\"content\":\"");
    pst_arena_init(&r.arena, ARENA_BYTES_MAX);
    r.decompressor = pst_decompressor_new();
    r.began = pst_calloc(r.calls, sizeof *r.began);
    r.us = pst_calloc(r.calls, sizeof *r.us);
    make_route(&r);
    begin_session(&r);
    measure(&r);
    release(&r);
    return 0;
}
