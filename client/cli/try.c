/* try.c - `penstock try`: one request, at once, on the path of every other: a batch of one at the highest priority.
 * Whoever tries a new key wants to know why nothing comes, so it says what it waits for, and it cancels what it gives
 * up: a request that somebody stopped waiting for is not worth its price. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/near.h"
#include "penstock/limits.h"
#include "proc/clock.h"

#define TIMEOUT_S 120
#define LOOK_MS 250             /* between two looks whether somebody interrupts */
#define EXPLAIN PST_SEC         /* of waiting for something else than the answer, and between two looks at it */
#define EXPLAIN_CALL (5 * PST_SEC) /* of waiting for the answer itself: most models take less */
#define CANCEL_WAIT (2 * PST_SEC)

typedef struct trial {
    const pst_cli_args_t *args;
    pst_client_t *client;
    uint64_t timeout_s;
    pst_id_t batch;
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_results_t *results;
    pst_ns_t began;             /* when it was accepted */
    pst_ns_t looked;            /* for what it waits, the last time */
    char said[512];             /* what was said of that */
} trial_t;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* The second one ends the program at once. */
static void heed_interrupts(void)
{
    struct sigaction act = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
}

/* The request. */

static int read_input(pst_buf_t *to)
{
    char piece[16384];
    ssize_t n;
    while ((n = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pst_cli_fail(EXIT_FAILED, "<stdin> cannot be read: %s", strerror(errno));
        pst_buf_put(to, piece, (size_t)n);
        if (to->failed)
            return pst_cli_fail(EXIT_REFUSED, "the prompt is longer than a request may be, %u bytes: shorten it",
                                PST_LINE_BYTES_MAX);
    }
    return EXIT_WELL;
}

/* The operand; else standard input but for its last newline, which is the shell's. */
static int read_prompt(const pst_cli_args_t *a, pst_buf_t *to)
{
    bool named = a->operands > 1, piped = !named || strcmp(a->operand[1], "-") == 0;
    if (!named && isatty(STDIN_FILENO))
        return pst_cli_fail(EXIT_USAGE, "no prompt: write it behind the model, or into standard input");
    int code = EXIT_WELL;
    if (piped)
        code = read_input(to);
    else
        pst_buf_puts(to, a->operand[1]);
    to->n -= piped && to->n > 0 && to->p[to->n - 1] == '\n';
    if (!code && to->n == 0)
        code = pst_cli_fail(EXIT_USAGE, "the prompt is empty: write one behind the model, or into standard input");
    return code;
}

static bool parse_tokens(const char *text, unsigned long *ret)
{
    char *end;
    errno = 0;
    *ret = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !errno && *end == '\0' && *ret > 0 && *ret <= INT32_MAX;
}

static void put_message(pst_buf_t *b, const char *role, pst_view_t text)
{
    pst_json_put_comma(b);
    pst_buf_printf(b, "{\"role\":\"%s\",\"content\":", role);
    pst_json_put_str(b, text);
    pst_buf_putc(b, '}');
}

static int make_body(const pst_cli_args_t *a, pst_view_t prompt, pst_buf_t *b)
{
    unsigned long max_tokens = 0;
    if (a->max_tokens && !parse_tokens(a->max_tokens, &max_tokens))
        return pst_cli_fail(EXIT_USAGE, "--max-tokens %s is no number of tokens: write 1 or more", a->max_tokens);
    pst_buf_puts(b, "{\"model\":");
    pst_json_put_str(b, pst_view_str(a->operand[0]));
    pst_buf_puts(b, ",\"messages\":[");
    if (a->system)
        put_message(b, "system", pst_view_str(a->system));
    put_message(b, "user", prompt);
    pst_buf_putc(b, ']');
    if (max_tokens)
        pst_buf_printf(b, ",\"max_tokens\":%lu", max_tokens);
    pst_buf_putc(b, '}');
    return b->failed ? pst_cli_fail(EXIT_FAILED, "%s", pst_err_text(PST_E_NOMEM)) : EXIT_WELL;
}

static int prepare(trial_t *t, pst_buf_t *body)
{
    pst_buf_t prompt;
    pst_buf_init(&prompt, PST_LINE_BYTES_MAX);
    t->timeout_s = TIMEOUT_S;
    int code = EXIT_WELL;
    if (t->args->timeout && !pst_cli_parse_span(t->args->timeout, &t->timeout_s))
        code = pst_cli_fail(EXIT_USAGE, "--timeout %s is no duration: write 30s, 10m or 1h", t->args->timeout);
    if (!code)
        code = read_prompt(t->args, &prompt);
    if (!code)
        code = make_body(t->args, pst_buf_view(&prompt), body);
    pst_buf_release(&prompt);
    return code;
}

/* What the configuration here has may not be what the broker has, but mostly it is. */
static int unknown_model(const trial_t *t)
{
    const char *model = t->args->operand[0];
    pst_config_t *c = NULL;
    pst_config_errors_t errors = {0};
    pst_near_t near;
    char names[3 * PST_NAME_BYTES_MAX + 32] = "";
    int n = 0;
    pst_near_init(&near, model);
    if (pst_config_load(t->args->config, &c, &errors) == PST_OK) {
        for (uint32_t i = 0; i < c->models_n; i++)
            pst_near_add(&near, c->models[i].name);
    }
    for (unsigned i = 0; i < near.n; i++)
        n += snprintf(names + n, sizeof names - (size_t)n, "%s%s", i ? ", " : " did you mean ", near.name[i]);
    pst_config_errors_release(&errors);
    pst_config_destroy(&c);
    return pst_cli_fail(EXIT_REFUSED, "no endpoint serves %s:%s%s `penstock check` lists what is served, and which keys "
                        "are missing", model, names, *names ? "?" : "");
}

static int refused(const trial_t *t, const pst_submit_t *s)
{
    size_t n;
    uint64_t total;
    const pst_bad_line_t *bad = pst_submit_bad(s, &n, &total);
    if (n == 0)
        return pst_cli_fail(EXIT_REFUSED, "%s", pst_client_error(t->client));
    if (bad[0].code == PST_CAUSE_LINE_MODEL)
        return unknown_model(t);
    return pst_cli_fail(EXIT_REFUSED, "the request is refused: %s: %s", pst_cause_text(bad[0].code), bad[0].message);
}

/* Asking whether the model is served takes as long as a broker that is not there: interrupts end that as ever. */
static pst_err_t upload(trial_t *t, pst_submit_t *s, pst_view_t body)
{
    pst_err_t e = pst_submit_job(s, NULL, PST_URL_CHAT, body.p, body.n);
    if (e)
        return e;
    heed_interrupts();
    return pst_submit_finish(s, &t->batch);
}

static int submit(trial_t *t, pst_view_t body)
{
    pst_submit_opts_t o = {.name = "try", .priority = 1,
                           .tenant = t->args->tenant ? t->args->tenant : getenv("PENSTOCK_TENANT")};
    pst_submit_t *s = NULL;
    bool known;
    pst_err_t e = pst_submit_begin(t->client, &o, &s, &known);
    if (e)
        return e == PST_E_INVALID ? pst_cli_fail(EXIT_USAGE, "%s", pst_client_error(t->client))
                                  : pst_cli_fail_client(t->client, e);
    e = upload(t, s, body);
    int code = EXIT_WELL;
    if (e == PST_E_INPUT)
        code = refused(t, s);
    else if (e)
        code = pst_cli_fail_client(t->client, e);
    pst_submit_destroy(&s);
    pst_id_text(&t->batch, t->id);
    t->began = t->looked = pst_clock_mono();
    return code;
}

/* Waiting. */

/* The broker does not say any more what becomes of the request. */
static int lost(const trial_t *t, pst_err_t e)
{
    int code = pst_cli_fail_client(t->client, e);
    pst_cli_say("the request goes on: see `penstock results %s`, stop it with `penstock cancel %s`", t->id, t->id);
    return code;
}

static const char *hint(const char *error_type)
{
    static const struct {
        pst_cause_t cause;
        const char *hint;
    } hints[] = {{PST_CAUSE_AUTHENTICATION, " (is its key right?)"},
                 {PST_CAUSE_PERMISSION_DENIED, " (may its key do this?)"},
                 {PST_CAUSE_PAYMENT_REQUIRED, " (has its account credit?)"},
                 {PST_CAUSE_QUOTA, " (is its quota used up?)"}};
    for (size_t i = 0; i < PST_COUNT(hints); i++) {
        if (strcmp(error_type, pst_cause_text(hints[i].cause)) == 0)
            return hints[i].hint;
    }
    return "";
}

static void put_parked(const pst_batch_t *b, char *to, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < b->parked_n && n < room; i++) {
        const pst_parked_line_t *p = &b->parked[i];
        pst_cli_text_t t;
        bool known = p->until_ms != 0;
        n += (size_t)snprintf(to + n, room - n, "%s%s%s%s: %s%s, next try %s%s", i ? "; " : "", p->provider,
                              *p->model ? " " : "", p->model, p->error_type, hint(p->error_type), known ? "at " : "",
                              known ? pst_cli_time(&t, p->until_ms) : "when the configuration is reloaded");
    }
}

static const pst_endpoint_line_t *rate_limited(const pst_batch_t *b)
{
    for (size_t i = 0; i < b->endpoints_n; i++) {
        if (b->endpoints[i].rate_limited)
            return &b->endpoints[i];
    }
    return NULL;
}

/* Providers that no worker serves, most likely for want of a key: which ones may serve this request is not known here. */
static void put_unserved(const pst_top_t *top, char *to, size_t room)
{
    size_t n = 0;
    *to = '\0';
    for (size_t i = 0; i < top->providers_n && n < room; i++) {
        if (top->providers[i].workers == 0)
            n += (size_t)snprintf(to + n, room - n, "%s%s", n ? ", " : "", top->providers[i].name);
    }
}

/* For its turn, while nothing is wrong with any endpoint. */
static pst_err_t put_queued(trial_t *t, const pst_batch_t *b, char *to, size_t room)
{
    const pst_endpoint_line_t *limited = rate_limited(b);
    if (limited) {
        snprintf(to, room, "the rate limit of %s %s is reached, it refused with 429", limited->provider, limited->model);
        return PST_OK;
    }
    pst_top_t top;
    char unserved[256];
    pst_err_t e = pst_top_get(t->client, &top);
    if (e)
        return e;
    put_unserved(&top, unserved, sizeof unserved);
    pst_top_release(&top);
    snprintf(to, room, "there is no place for it: limits are used up%s%s%s, see `penstock top`",
             *unserved ? ", or no worker serves its provider (none does " : "", unserved,
             *unserved ? ": is the key set?)" : "");
    return PST_OK;
}

/* Why there is no answer yet; nothing where that is as it should be. */
static pst_err_t put_reason(trial_t *t, const pst_batch_t *b, pst_ns_t now, char *to, size_t room)
{
    *to = '\0';
    if (b->running) {
        if (pst_ns_since(now, t->began) >= EXPLAIN_CALL && b->parked_n == 0)
            snprintf(to, room, "a provider has the request and has not answered");
    } else if (b->parked_n) {
        put_parked(b, to, room);
    } else if (b->retrying) {
        snprintf(to, room, "an attempt failed, the next comes soon");
    } else if (b->queued) {
        return put_queued(t, b, to, room);
    }
    return PST_OK;
}

static int explain(trial_t *t)
{
    pst_ns_t now = pst_clock_mono();
    if (pst_ns_since(now, t->looked) < EXPLAIN)
        return EXIT_WELL;
    t->looked = now;
    pst_batch_t b;
    char why[sizeof t->said];
    pst_err_t e = pst_batch_get(t->client, &t->batch, &b);
    if (e)
        return lost(t, e);
    e = put_reason(t, &b, now, why, sizeof why);
    pst_batch_release(&b);
    if (e)
        return lost(t, e);
    if (*why && strcmp(why, t->said) != 0) {
        pst_cli_say("waiting: %s", why);
        memcpy(t->said, why, sizeof why);
    }
    return EXIT_WELL;
}

/* Until the result is there, or `until`, or an interrupt that `heed` says to heed. */
static int wait_for_result(trial_t *t, pst_ns_t until, bool heed, pst_view_t *ret, bool *ret_there)
{
    pst_result_line_t line;
    bool ended;
    for (;;) {
        pst_err_t e = pst_results_next(t->results, LOOK_MS, &line, ret_there, &ended);
        if (e)
            return lost(t, e);
        if (*ret_there) {
            *ret = line.line;
            return EXIT_WELL;
        }
        if (ended)
            return pst_cli_fail(EXIT_FAILED, "%s ended without a result: see `penstock status %s`", t->id, t->id);
        if ((heed && interrupted) || pst_clock_mono() >= until)
            return EXIT_WELL;
        int code = heed ? explain(t) : EXIT_WELL;
        if (code)
            return code;
    }
}

/* A call that runs is not cut off, and its answer would be paid for: it is waited for a little. */
static int give_up(trial_t *t, pst_view_t *ret, bool *ret_there)
{
    pst_cli_text_t span;
    if (interrupted)
        pst_cli_say("interrupted: %s is being cancelled", t->id);
    else
        pst_cli_say("no answer within %s: %s is being cancelled, wait longer with --timeout",
                    pst_cli_span(&span, t->timeout_s), t->id);
    pst_err_t e = pst_batch_cancel(t->client, &t->batch);
    if (e && e != PST_E_STATE) /* it has ended just now */
        return lost(t, e);
    int code = wait_for_result(t, pst_ns_add(pst_clock_mono(), CANCEL_WAIT), false, ret, ret_there);
    if (!code && !*ret_there)
        code = pst_cli_fail(EXIT_FAILED, "a call that was sent already is not cut off: see `penstock results %s` for what "
                            "becomes of it", t->id);
    return code;
}

static int show(trial_t *t, pst_view_t line)
{
    pst_batch_t b;
    pst_err_t e = pst_batch_get(t->client, &t->batch, &b);
    if (e)
        return lost(t, e);
    int code = pst_answer_show(line, &b, t->args->json);
    pst_batch_release(&b);
    return code;
}

static int follow(trial_t *t)
{
    pst_err_t e = pst_results_open(t->client, &t->batch, &t->results);
    if (e)
        return lost(t, e);
    pst_view_t line;
    bool there = false;
    int code = wait_for_result(t, pst_ns_add(t->began, t->timeout_s * PST_SEC), true, &line, &there);
    if (!code && !there)
        code = give_up(t, &line, &there);
    if (!code)
        code = show(t, line);
    pst_results_close(&t->results);
    return code;
}

int pst_cli_try(const pst_cli_args_t *a)
{
    trial_t t = {.args = a};
    pst_buf_t body;
    pst_buf_init(&body, 0);
    int code = prepare(&t, &body);
    if (!code)
        code = pst_cli_connect(a, &t.client);
    if (!code)
        code = submit(&t, pst_buf_view(&body));
    pst_buf_release(&body);
    if (!code)
        code = follow(&t);
    pst_client_destroy(&t.client);
    return code;
}
