#include "cli/progress.h"

#include <signal.h>
#include <unistd.h>

#include "proc/clock.h"

#define PAUSE_MIN (20 * PST_MS)   /* between two looks at the batch: a short one is soon done */
#define PAUSE_MAX (500 * PST_MS)
#define REDRAW (250 * PST_MS)
#define LINE_EVERY (5 * PST_SEC)
#define SAMPLE (500 * PST_MS)
#define BAR_MAX 30

static bool drawn; /* a bar stands in the terminal's last line */

void pst_progress_clear(void)
{
    if (!drawn)
        return;
    fputs("\r\033[K", stderr);
    drawn = false;
}

void pst_progress_init(pst_progress_t *p)
{
    *p = (pst_progress_t){.rate = -1, .tty = pst_cli_is_terminal(STDERR_FILENO)};
    p->shown = p->tty ? 0 : pst_clock_mono();
}

static uint64_t failed_of(const pst_batch_t *b)
{
    return b->failed + b->expired + b->cancelled;
}

/* Smoothed over some ten samples: answers come in packs. */
static void sample(pst_progress_t *p, uint64_t done, pst_ns_t now)
{
    if (p->sampled && pst_ns_since(now, p->sampled) < SAMPLE)
        return;
    if (p->sampled) {
        double s = (double)pst_ns_since(now, p->sampled) / (double)PST_SEC;
        double rate = done > p->done ? (double)(done - p->done) / s : 0;
        p->rate = p->rate < 0 ? rate : p->rate * 0.8 + rate * 0.2;
    }
    p->sampled = now;
    p->done = done;
}

/* Why nothing runs, if nothing does. */
static const pst_parked_line_t *obstacle(const pst_batch_t *b)
{
    return b->running == 0 && b->parked_n > 0 ? &b->parked[0] : NULL;
}

static int put_facts(char *to, size_t room, const pst_progress_t *p, const pst_batch_t *b)
{
    pst_cli_text_t done, jobs, rate, left, cost, failed;
    int n = snprintf(to, room, "%s/%s  %s/s  ETA %s  %s", pst_cli_count(&done, pst_cli_done(b)),
                     pst_cli_count(&jobs, b->jobs), pst_cli_count(&rate, p->rate > 0 ? (uint64_t)(p->rate + 0.5) : 0),
                     pst_cli_left(&left, b->jobs - PST_MIN(pst_cli_done(b), b->jobs), p->rate),
                     pst_cli_usd(&cost, b->cost_usd));
    if (failed_of(b) && (size_t)n < room)
        n += snprintf(to + n, room - (size_t)n, "  %s failed", pst_cli_count(&failed, failed_of(b)));
    const pst_parked_line_t *o = obstacle(b);
    if (o && (size_t)n < room)
        n += snprintf(to + n, room - (size_t)n, "  waiting: %s %s", o->provider, o->error_type);
    return (int)PST_MIN((size_t)n, room - 1);
}

static void draw(const pst_progress_t *p, const pst_batch_t *b)
{
    char facts[256];
    int n = put_facts(facts, sizeof facts, p, b);
    int rows, width;
    pst_cli_screen(STDERR_FILENO, &rows, &width);
    width--;
    int bar = PST_MIN(width - n - 3, BAR_MAX);
    fputs("\r\033[K", stderr);
    if (bar >= 8) {
        int full = b->jobs ? (int)((double)pst_cli_done(b) / (double)b->jobs * bar) : 0;
        fputc('[', stderr);
        for (int i = 0; i < bar; i++)
            fputc(i < full ? '#' : '.', stderr);
        fputs("] ", stderr);
    }
    fprintf(stderr, "%.*s", width, facts);
    fflush(stderr);
    drawn = true;
}

void pst_progress_show(pst_progress_t *p, const pst_batch_t *b, pst_ns_t now)
{
    sample(p, pst_cli_done(b), now);
    if (pst_ns_since(now, p->shown) < (p->tty ? REDRAW : LINE_EVERY))
        return;
    p->shown = now;
    if (p->tty) {
        draw(p, b);
        return;
    }
    char facts[256];
    put_facts(facts, sizeof facts, p, b);
    pst_cli_say("%s", facts);
}

int pst_progress_end(const pst_batch_t *b)
{
    pst_cli_text_t completed, failed, expired, cancelled, cost, span;
    char rest[160] = "";
    int n = 0;
    if (b->expired)
        n += snprintf(rest + n, sizeof rest - (size_t)n, ", %s expired", pst_cli_count(&expired, b->expired));
    if (b->cancelled)
        snprintf(rest + n, sizeof rest - (size_t)n, ", %s cancelled", pst_cli_count(&cancelled, b->cancelled));
    uint64_t s = b->ended_ms > b->accepted_ms ? (b->ended_ms - b->accepted_ms + 500) / 1000 : 0;
    pst_cli_say("%s %s: %s completed, %s failed%s, %s, %s", b->id, b->status, pst_cli_count(&completed, b->completed),
                pst_cli_count(&failed, b->failed), rest, pst_cli_usd(&cost, b->cost_usd), pst_cli_span(&span, s));
    return failed_of(b) ? EXIT_JOBS_FAILED : EXIT_WELL;
}

/* Interrupting the one who waits stops nothing: say so, and how to come back.  The words are ready before the signal
 * comes, because a handler may not format. */
static char farewell[256];
static size_t farewell_n;

static void on_interrupt(int sig)
{
    (void)sig;
    ssize_t n = write(STDERR_FILENO, farewell, farewell_n);
    (void)n;
    _exit(EXIT_FAILED);
}

static void prepare_farewell(const pst_id_t *batch)
{
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(batch, id);
    farewell_n = (size_t)snprintf(farewell, sizeof farewell,
                                  "\npenstock: %s goes on: follow it with `penstock watch %s`, stop it with "
                                  "`penstock cancel %s`\n", id, id, id);
    struct sigaction act = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
}

/* Looks once: *ret_done and the code when the batch has ended. */
static int look(pst_client_t *c, const pst_id_t *batch, pst_progress_t *p, bool may_end, bool *ret_done)
{
    pst_batch_t b;
    pst_err_t e = pst_batch_get(c, batch, &b);
    if (e)
        return pst_cli_fail_client(c, e);
    int code = EXIT_WELL;
    *ret_done = b.ended && may_end;
    if (*ret_done)
        code = pst_progress_end(&b);
    else
        pst_progress_show(p, &b, pst_clock_mono());
    pst_batch_release(&b);
    return code;
}

int pst_progress_watch(pst_client_t *c, const pst_id_t *batch, pst_progress_fn *each, void *arg)
{
    pst_progress_t p;
    pst_progress_init(&p);
    prepare_farewell(batch);
    bool ended = each == NULL; /* all that `each` has to do is done */
    pst_ns_t pause = PAUSE_MIN;
    for (;;) {
        bool done = false;
        int code = look(c, batch, &p, ended, &done);
        if (code || done)
            return code;
        bool before = ended;
        if (!ended && (code = each(arg, &ended)))
            return code;
        if (ended && !before)
            continue;
        pst_clock_sleep(pause);
        pause = PST_MIN(pause * 2, PAUSE_MAX);
    }
}
