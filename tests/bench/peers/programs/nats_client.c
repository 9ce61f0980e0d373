/* nats_client - jobs through NATS JetStream, with results in a second stream or without.
 *
 * `run` publishes jobs asynchronously into the stream JOBS (file storage) and waits until every job has its answer: the
 * last message of the subject results.N in the stream RESULTS, read by several threads; or, without results, until the
 * worker has acknowledged all.  `work` pulls jobs by 500, stores the results, and only then acknowledges the jobs, so
 * that a worker that dies loses none.  JetStream keeps no results of its own: a second stream is the usual way.
 *
 * Bodies, answers and the talk with peers.py are those of work.py. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <nats/nats.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BODY_BYTES = 1024,
    ANSWER_BYTES = 500,
    NUMBER_BYTES = 10,
    PENDING_MAX = 4000, /* publications without an answer yet */
    PULL = 500,
    PULL_WAIT_MS = 200,
    READERS = 8,
    POLL_US = 2000,
    WAIT_MS = 20000, /* for any one answer of the server */
    RUN_S_MAX = 60,  /* a run that takes longer hangs */
};

typedef struct bench {
    natsConnection *connection;
    jsCtx *js;
    bool results;
} bench_t;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "nats_client: %s\n", what);
    exit(1);
}

static void must(natsStatus s, const char *what)
{
    if (s == NATS_OK)
        return;
    fprintf(stderr, "nats_client: %s: %s: %s\n", what, natsStatus_GetText(s), nats_GetLastError(NULL));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t number_of(const char *text)
{
    uint32_t n = 0;
    for (int i = 0; i < NUMBER_BYTES; i++)
        n = n * 10 + (uint32_t)(text[i] - '0');
    return n;
}

static void answer_of(uint32_t number, char *answer)
{
    char digits[NUMBER_BYTES + 1];
    snprintf(digits, sizeof digits, "%0*" PRIu32, NUMBER_BYTES, number);
    for (int i = 0; i < ANSWER_BYTES; i += NUMBER_BYTES)
        memcpy(answer + i, digits, NUMBER_BYTES);
}

static void body_of(uint32_t number, char *body)
{
    memset(body, 's', BODY_BYTES - ANSWER_BYTES);
    answer_of(number, body + BODY_BYTES - ANSWER_BYTES);
}

/* ---- both sides ---- */

static void refused(jsCtx *js, jsPubAckErr *e, void *closure)
{
    (void)js;
    (void)closure;
    fprintf(stderr, "nats_client: a publication failed: %s\n", e->ErrText ? e->ErrText : natsStatus_GetText(e->Err));
    exit(1);
}

static void open_js(bench_t *b, const char *url)
{
    must(natsConnection_ConnectTo(&b->connection, url), "connect");
    jsOptions o;
    jsOptions_Init(&o);
    o.Wait = WAIT_MS;
    o.PublishAsync.MaxPending = PENDING_MAX;
    o.PublishAsync.StallWait = WAIT_MS;
    o.PublishAsync.ErrHandler = refused;
    must(natsConnection_JetStream(&b->js, b->connection, &o), "jetstream");
}

static void add_stream(bench_t *b, const char *name, const char *subject, bool direct)
{
    jsStreamConfig c;
    jsStreamConfig_Init(&c);
    c.Name = name;
    c.Subjects = &subject;
    c.SubjectsLen = 1;
    c.Storage = js_FileStorage;
    c.AllowDirect = direct;
    must(js_AddStream(NULL, b->js, &c, NULL, NULL), name);
}

static void add_consumer(bench_t *b)
{
    jsConsumerConfig c;
    jsConsumerConfig_Init(&c);
    c.Durable = "workers";
    c.AckPolicy = js_AckExplicit;
    c.MaxAckPending = 4 * PULL;
    must(js_AddConsumer(NULL, b->js, "JOBS", &c, NULL, NULL), "consumer");
}

static void published(bench_t *b)
{
    jsPubOptions o;
    jsPubOptions_Init(&o);
    o.MaxWait = WAIT_MS;
    must(js_PublishAsyncComplete(b->js, &o), "answers to publications");
}

/* ---- work ---- */

typedef struct worker {
    uint32_t jobs, different;
    uint8_t *seen;
    size_t seen_n;
} worker_t;

static void see(worker_t *w, uint32_t number)
{
    if (number >= w->seen_n) {
        size_t n = 2 * ((size_t)number + 1024);
        w->seen = realloc(w->seen, n);
        if (!w->seen)
            give_up("out of memory");
        memset(w->seen + w->seen_n, 0, n - w->seen_n);
        w->seen_n = n;
    }
    w->jobs++;
    w->different += !w->seen[number];
    w->seen[number] = 1;
}

static uint32_t checked_body(natsMsg *m)
{
    char wanted[BODY_BYTES];
    const char *body = natsMsg_GetData(m);
    if (natsMsg_GetDataLength(m) != BODY_BYTES)
        give_up("a body of another length");
    uint32_t number = number_of(body + BODY_BYTES - ANSWER_BYTES);
    body_of(number, wanted);
    if (memcmp(body, wanted, BODY_BYTES) != 0)
        give_up("a wrong body");
    return number;
}

static void store_result(bench_t *b, uint32_t number, natsMsg *m)
{
    char subject[32];
    snprintf(subject, sizeof subject, "results.%" PRIu32, number);
    must(js_PublishAsync(b->js, subject, natsMsg_GetData(m) + BODY_BYTES - ANSWER_BYTES, ANSWER_BYTES, NULL), "result");
}

static void work_batch(bench_t *b, worker_t *w, natsMsgList *list)
{
    for (int i = 0; i < list->Count; i++) {
        uint32_t number = checked_body(list->Msgs[i]);
        see(w, number);
        if (b->results)
            store_result(b, number, list->Msgs[i]);
    }
    if (b->results)
        published(b);
    for (int i = 0; i < list->Count; i++)
        must(natsMsg_Ack(list->Msgs[i], NULL), "acknowledgement");
}

static bool input_ended(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void work(bench_t *b)
{
    worker_t w = {0};
    natsSubscription *subscription = NULL;
    jsSubOptions o;
    jsSubOptions_Init(&o);
    o.Stream = "JOBS";
    o.Consumer = "workers";
    must(js_PullSubscribe(&subscription, b->js, "jobs", "workers", NULL, &o, NULL), "subscribe");
    puts("ready");
    fflush(stdout);
    while (!input_ended()) {
        natsMsgList list = {0};
        natsStatus s = natsSubscription_Fetch(&list, subscription, PULL, PULL_WAIT_MS, NULL);
        if (s == NATS_TIMEOUT)
            continue;
        must(s, "fetch");
        work_batch(b, &w, &list);
        natsMsgList_Destroy(&list);
    }
    printf("{\"jobs\": %" PRIu32 ", \"different\": %" PRIu32 "}\n", w.jobs, w.different);
    natsSubscription_Destroy(subscription);
    free(w.seen);
}

/* ---- run ---- */

typedef struct reader {
    bench_t *b;
    sem_t *done;
    uint32_t from, to, step;
    double end;
} reader_t;

static void read_result(reader_t *r, uint32_t number)
{
    char subject[32], wanted[ANSWER_BYTES];
    snprintf(subject, sizeof subject, "results.%" PRIu32, number);
    jsDirectGetMsgOptions o;
    jsDirectGetMsgOptions_Init(&o);
    o.LastBySubject = subject;
    natsMsg *m = NULL;
    natsStatus s;
    while ((s = js_DirectGetMsg(&m, r->b->js, "RESULTS", NULL, &o)) == NATS_NOT_FOUND && now_s() < r->end)
        usleep(POLL_US);
    must(s, subject);
    answer_of(number, wanted);
    if (natsMsg_GetDataLength(m) != ANSWER_BYTES || memcmp(natsMsg_GetData(m), wanted, ANSWER_BYTES) != 0)
        give_up("a wrong result");
    natsMsg_Destroy(m);
}

static void *read_share(void *arg)
{
    reader_t *r = arg;
    for (uint32_t i = r->from; i < r->to; i += r->step)
        read_result(r, i);
    sem_post(r->done);
    /* The CPU time of a thread is asked of the kernel later, which forgets those that have ended. */
    for (;;)
        pause();
    return NULL;
}

static void read_all(bench_t *b, uint32_t from, uint32_t to)
{
    reader_t readers[READERS];
    sem_t done;
    sem_init(&done, 0, 0);
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_t thread;
        readers[i] = (reader_t){.b = b, .done = &done, .from = from + i, .to = to, .step = READERS};
        readers[i].end = now_s() + RUN_S_MAX;
        if (pthread_create(&thread, NULL, read_share, &readers[i]) != 0)
            give_up("no thread");
    }
    for (uint32_t i = 0; i < READERS; i++)
        sem_wait(&done);
}

static bool all_acknowledged(bench_t *b)
{
    jsConsumerInfo *info = NULL;
    must(js_GetConsumerInfo(&info, b->js, "JOBS", "workers", NULL, NULL), "consumer info");
    bool all = info->NumPending == 0 && info->NumAckPending == 0;
    jsConsumerInfo_Destroy(info);
    return all;
}

static void wait_acknowledged(bench_t *b)
{
    double end = now_s() + RUN_S_MAX;
    while (!all_acknowledged(b)) {
        if (now_s() > end)
            give_up("not all jobs were acknowledged in time");
        usleep(POLL_US);
    }
}

static void through(bench_t *b, uint32_t from, uint32_t to)
{
    char body[BODY_BYTES];
    for (uint32_t i = from; i < to; i++) {
        body_of(i, body);
        must(js_PublishAsync(b->js, "jobs", body, BODY_BYTES, NULL), "job");
    }
    published(b);
    if (b->results)
        read_all(b, from, to);
    else
        wait_acknowledged(b);
}

static void run(bench_t *b, uint32_t warm_up, uint32_t jobs)
{
    through(b, 0, warm_up);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        return;
    double start = now_s();
    through(b, warm_up, warm_up + jobs);
    double seconds = now_s() - start;
    printf("{\"jobs\": %" PRIu32 ", \"seconds\": %.6f, \"jobs_per_s\": %.1f}\n", jobs, seconds, jobs / seconds);
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "version") == 0)
        return puts(nats_GetVersion()) == EOF;
    if (argc < 4) {
        fputs("usage: nats_client version\n"
              "       nats_client streams|work URL results|none\n"
              "       nats_client run URL results|none WARM_UP_JOBS JOBS\n", stderr);
        return 2;
    }
    bench_t b = {.results = strcmp(argv[3], "results") == 0};
    open_js(&b, argv[2]);
    if (strcmp(argv[1], "streams") == 0) {
        add_stream(&b, "JOBS", "jobs", false);
        add_stream(&b, "RESULTS", "results.*", true);
        add_consumer(&b);
    } else if (strcmp(argv[1], "work") == 0) {
        work(&b);
    } else if (argc == 6) {
        run(&b, (uint32_t)atol(argv[4]), (uint32_t)atol(argv[5]));
    }
    jsCtx_Destroy(b.js);
    natsConnection_Destroy(b.connection);
    nats_Close();
    return 0;
}
