/* bench_submit - jobs through a running cluster and back, on a stopwatch.
 *
 * One thread, one handle, as the smallest program that uses libpenstock would do it: submit all, wait until they are
 * accepted, read all results.  Every result is checked: each job once, completed, with its own text.
 * Parts of that, and other questions:
 *   --submit      submits, and leaves the batch to run
 *   --read ID     reads the results of such a batch (the same --jobs and sizes) and checks them
 *   --latency     one-job batches, each after the result of the one before
 *   --status ID   asks how that batch stands, --jobs times */
#include <getopt.h>

#include "penstock/penstock.h"
#include "prompts.h"
#include "stopwatch.h"

#define WAIT_MS 5000

typedef struct run {
    const char *broker, *model;
    uint32_t jobs, bytes, text_bytes;
    uint32_t seconds_max;      /* of --latency; 0: until all jobs are done */
    pst_buf_t lead;            /* what stands before the text in a result's line */
    bool unique;
    int priority;
    uint32_t window_s;         /* in which the batches must end; 0: none */
    const char *batch_text;    /* --read, --status */
    pst_id_t batch;
    pst_client_t *client;
    bench_prompts_t *prompts;
} run_t;

typedef void bench_mode_t(run_t *r);

static _Noreturn void give_up(const run_t *r, const char *where)
{
    fprintf(stderr, "bench_submit: %s: %s\n", where, r->client ? pst_client_error(r->client) : "");
    exit(1);
}

static void must(const run_t *r, pst_err_t e, const char *where)
{
    if (e)
        give_up(r, where);
}

static pst_submit_t *begin(run_t *r)
{
    pst_submit_t *s = NULL;
    bool known;
    pst_submit_opts_t o = {.priority = r->priority, .window_s = r->window_s};
    must(r, pst_submit_begin(r->client, &o, &s, &known), "begin");
    return s;
}

static void add_job(run_t *r, pst_submit_t *s, uint32_t i)
{
    char id[BENCH_CUSTOM_ID_MAX];
    bench_custom_id(i, id);
    pst_view_t body = bench_prompts_body(r->prompts, i);
    must(r, pst_submit_job(s, id, PST_URL_CHAT, body.p, body.n), "job");
}

static pst_id_t finish(run_t *r, pst_submit_t *s)
{
    pst_id_t batch;
    must(r, pst_submit_finish(s, &batch), "finish");
    pst_submit_destroy(&s);
    return batch;
}

/* Whether the line, which begins with ids, names job i. */
static bool names_job(pst_view_t line, uint32_t i)
{
    char id[BENCH_CUSTOM_ID_MAX];
    bench_custom_id(i, id);
    static const char field[] = "\"custom_id\":\"";
    const char *at = memmem(line.p, PST_MIN(line.n, 128u), field, sizeof field - 1);
    size_t n = strlen(id), skip = sizeof field - 1;
    return at && line.n - (size_t)(at - line.p) > skip + n && memcmp(at + skip, id, n) == 0 && at[skip + n] == '"';
}

/* The result of job i, and of nothing else. */
static void check(run_t *r, const pst_result_line_t *l, uint32_t i)
{
    if (l->status == PST_JOB_COMPLETED && names_job(l->line, i) &&
        bench_prompts_answered(r->prompts, i, l->line, pst_buf_view(&r->lead)))
        return;
    fprintf(stderr, "bench_submit: wrong result of job %u: %.*s\n", i, (int)PST_MIN(l->line.n, 2000u), l->line.p);
    exit(1);
}

/* False when the batch has ended and its last line was read. */
static bool next(run_t *r, pst_results_t *results, pst_result_line_t *ret)
{
    bool more = false, ended = false;
    while (!more && !ended)
        must(r, pst_results_next(results, WAIT_MS, ret, &more, &ended), "results");
    return more;
}

typedef struct submitted {
    pst_id_t batch;
    double sent_s, accepted_s, cpu_s;
} submitted_t;

static submitted_t submit_all(run_t *r, const bench_watch_t *w)
{
    pst_submit_t *s = begin(r);
    for (uint32_t i = 0; i < r->jobs; i++)
        add_job(r, s, i);
    submitted_t done = {.sent_s = bench_watch_s(w)};
    done.batch = finish(r, s);
    done.accepted_s = bench_watch_s(w);
    done.cpu_s = bench_watch_cpu_s(w);
    return done;
}

typedef struct results_read {
    double first_s;
    uint64_t bytes;
} results_read_t;

static results_read_t read_all(run_t *r, const pst_id_t *batch, const bench_watch_t *w)
{
    uint8_t *seen = pst_calloc(r->jobs, 1);
    results_read_t done = {0};
    uint32_t got = 0;
    pst_results_t *results = NULL;
    must(r, pst_results_open(r->client, batch, &results), "results");
    for (pst_result_line_t l; next(r, results, &l); got++) {
        if (got == 0)
            done.first_s = bench_watch_s(w);
        if (l.index >= r->jobs || seen[l.index]++) {
            fprintf(stderr, "bench_submit: a result of job %u, which is unknown or had one\n", l.index);
            exit(1);
        }
        check(r, &l, l.index);
        done.bytes += l.line.n;
    }
    if (got != r->jobs) {
        fprintf(stderr, "bench_submit: %u results of %u jobs\n", got, r->jobs);
        exit(1);
    }
    pst_results_close(&results);
    free(seen);
    return done;
}

static void measure_throughput(run_t *r)
{
    bench_watch_t w = bench_watch_start();
    submitted_t s = submit_all(r, &w);
    results_read_t got = read_all(r, &s.batch, &w);
    double seconds = bench_watch_s(&w), cpu = bench_watch_cpu_s(&w);
    printf("{\"jobs\": %u, \"body_bytes\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, \"submit_s\": %.6f, "
           "\"accepted_s\": %.6f, \"first_result_s\": %.6f, \"run_s\": %.6f, \"result_bytes\": %llu, \"cpu_s\": %.6f, "
           "\"cpu_submit_s\": %.6f, \"rss_kib\": %ld}\n",
           r->jobs, r->bytes, seconds, r->jobs / seconds, s.sent_s, s.accepted_s, got.first_s, seconds - s.accepted_s,
           (unsigned long long)got.bytes, cpu, s.cpu_s, bench_rss_kib());
}

static void measure_submit(run_t *r)
{
    bench_watch_t w = bench_watch_start();
    submitted_t s = submit_all(r, &w);
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(&s.batch, text);
    printf("{\"batch\": \"%s\", \"jobs\": %u, \"body_bytes\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, "
           "\"cpu_s\": %.6f, \"rss_kib\": %ld}\n",
           text, r->jobs, r->bytes, s.accepted_s, r->jobs / s.accepted_s, s.cpu_s, bench_rss_kib());
}

static void measure_read(run_t *r)
{
    bench_watch_t w = bench_watch_start();
    results_read_t got = read_all(r, &r->batch, &w);
    double seconds = bench_watch_s(&w);
    printf("{\"jobs\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, \"first_result_s\": %.6f, \"result_bytes\": %llu, "
           "\"cpu_s\": %.6f, \"rss_kib\": %ld}\n",
           r->jobs, seconds, r->jobs / seconds, got.first_s, (unsigned long long)got.bytes, bench_watch_cpu_s(&w),
           bench_rss_kib());
}

static double one_job(run_t *r, uint32_t i)
{
    bench_watch_t w = bench_watch_start();
    pst_submit_t *s = begin(r);
    add_job(r, s, i);
    pst_id_t batch = finish(r, s);
    pst_results_t *results = NULL;
    must(r, pst_results_open(r->client, &batch, &results), "results");
    pst_result_line_t l;
    if (!next(r, results, &l))
        give_up(r, "a batch ended without a result");
    double s_taken = bench_watch_s(&w);
    check(r, &l, i);
    pst_results_close(&results);
    return s_taken;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(double *us, uint32_t n, const bench_watch_t *w)
{
    double seconds = bench_watch_s(w), cpu = bench_watch_cpu_s(w);
    qsort(us, n, sizeof *us, by_size);
    printf("{\"jobs\": %u, \"seconds\": %.6f, \"min_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, "
           "\"cpu_s\": %.6f, \"rss_kib\": %ld}\n",
           n, seconds, us[0], us[n / 2], us[(uint64_t)n * 99 / 100], us[n - 1], cpu, bench_rss_kib());
}

static void measure_latency(run_t *r)
{
    double *us = pst_calloc(r->jobs, sizeof *us);
    bench_watch_t w = bench_watch_start();
    uint32_t n = 0;
    while (n < r->jobs && (n == 0 || r->seconds_max == 0 || bench_watch_s(&w) < r->seconds_max)) {
        us[n] = one_job(r, n) * 1e6;
        n++;
    }
    print_times(us, n, &w);
    free(us);
}

static void measure_status(run_t *r)
{
    double *us = pst_calloc(r->jobs, sizeof *us);
    bench_watch_t w = bench_watch_start();
    for (uint32_t i = 0; i < r->jobs; i++) {
        bench_watch_t one = bench_watch_start();
        pst_batch_t b;
        must(r, pst_batch_get(r->client, &r->batch, &b), "status");
        us[i] = bench_watch_s(&one) * 1e6;
        if (b.ended)
            give_up(r, "the batch has ended");
        pst_batch_release(&b);
    }
    print_times(us, r->jobs, &w);
    free(us);
}

static const char help[] =
    "usage: bench_submit [options]\n"
    "  --broker ADDR        default: $PENSTOCK_BROKER, else tcp://127.0.0.1:7701\n"
    "  --jobs N             default 100000\n"
    "  --bytes N            of a request body, default 1024\n"
    "  --text-bytes N       of the user's message in it, which is what echo answers, default 500\n"
    "  --model NAME         default echo/bench\n"
    "  --prefix TEXT        what the answers begin with before the message (\"echo:\" of the simulated provider)\n"
    "  --unique             prompts that share nothing, instead of one system text and words\n"
    "  --priority N         of the batches: -1, 0, 1; default 0\n"
    "  --window SECONDS     in which the batches are to end, as cheaply as that allows\n"
    "instead of submitting and reading:\n"
    "  --submit             only the first; prints the batch's id\n"
    "  --read ID            only the second: the results of such a batch, submitted with the same options\n"
    "  --latency            one-job batches one after the other, for at most --seconds N\n"
    "  --status ID          how that batch stands, --jobs times; it must not end meanwhile\n";

static int priority_of(const char *text)
{
    static const char *const known[] = {"-1", "0", "1"};
    for (int i = 0; i < (int)PST_COUNT(known); i++) {
        if (strcmp(text, known[i]) == 0)
            return i - 1;
    }
    fprintf(stderr, "bench_submit: --priority %s: give -1, 0 or 1\n", text);
    exit(2);
}

static bench_mode_t *parse(int argc, char **argv, run_t *r)
{
    static const struct option options[] = {
        {"broker", required_argument, NULL, 'b'}, {"jobs", required_argument, NULL, 'j'},
        {"bytes", required_argument, NULL, 'n'},  {"text-bytes", required_argument, NULL, 't'},
        {"model", required_argument, NULL, 'm'},  {"prefix", required_argument, NULL, 'p'},
        {"unique", no_argument, NULL, 'u'},       {"priority", required_argument, NULL, 'P'},
        {"window", required_argument, NULL, 'w'},
        {"submit", no_argument, NULL, 'S'},       {"read", required_argument, NULL, 'R'},
        {"latency", no_argument, NULL, 'l'},      {"seconds", required_argument, NULL, 's'},
        {"status", required_argument, NULL, 'T'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bench_mode_t *mode = measure_throughput;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'b': r->broker = optarg; break;
        case 'j': r->jobs = bench_number("jobs", optarg); break;
        case 'n': r->bytes = bench_number("bytes", optarg); break;
        case 't': r->text_bytes = bench_number("text-bytes", optarg); break;
        case 'm': r->model = optarg; break;
        case 'p': pst_buf_puts(&r->lead, optarg); break;
        case 'u': r->unique = true; break;
        case 'P': r->priority = priority_of(optarg); break;
        case 'w': r->window_s = bench_number("window", optarg); break;
        case 's': r->seconds_max = bench_number("seconds", optarg); break;
        case 'S': mode = measure_submit; break;
        case 'l': mode = measure_latency; break;
        case 'R': mode = measure_read; r->batch_text = optarg; break;
        case 'T': mode = measure_status; r->batch_text = optarg; break;
        default:
            fputs(help, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (r->batch_text && pst_id_parse(pst_view_str(r->batch_text), &r->batch)) {
        fprintf(stderr, "bench_submit: %s: not the id of a batch\n", r->batch_text);
        exit(2);
    }
    return mode;
}

int main(int argc, char **argv)
{
    run_t r = {.model = "echo/bench", .jobs = 100000, .bytes = 1024, .text_bytes = 500};
    pst_buf_puts(&r.lead, "\"content\":\"");
    bench_mode_t *measure = parse(argc, argv, &r);
    bench_prompts_opts_t o = {r.model, r.bytes, r.text_bytes, r.unique};
    r.prompts = bench_prompts_new(&o);
    if (!r.prompts) {
        fputs("bench_submit: --bytes must be 100 to 2,097,152\n", stderr);
        return 2;
    }
    pst_client_opts_t client = {.broker = r.broker};
    if (pst_client_new(&client, &r.client))
        give_up(&r, "client");
    must(&r, pst_client_hello(r.client), "hello");
    measure(&r);
    pst_client_destroy(&r.client);
    bench_prompts_destroy(&r.prompts);
    pst_buf_release(&r.lead);
    return 0;
}
