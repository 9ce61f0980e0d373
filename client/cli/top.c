/* top.c - `penstock top`: the cluster once as JSON, once as a table, or live on a terminal.
 *
 * The terminal is given back on every way out, the fatal signals' handlers included: what they do (write, tcsetattr) is
 * safe in a handler. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/top_draw.h"
#include "proc/clock.h"

#define EVERY PST_SEC            /* between two looks */
#define LOOKS 10                 /* kept: rates are those of as many seconds, for answers come in packs */
#define ASK_MS 1000              /* a call that waits longer is made again, so that a key is soon heeded */
#define LOST_AFTER (10 * PST_SEC) /* without an answer: as long as other commands wait */
#define PAGE 50                  /* of a list of batches */
#define PAGES_MAX 4              /* looked through for those that have not ended */

/* A look at the cluster. */

/* Moves the batches that have not ended from a page to the list; the rest is released. */
static void keep_running(pst_batch_list_t *page, pst_batch_list_t *to)
{
    to->v = pst_realloc(to->v, (to->n + page->n + 1) * sizeof *to->v);
    for (size_t i = 0; i < page->n; i++) {
        if (page->v[i].ended)
            continue;
        to->v[to->n++] = page->v[i];
        page->v[i] = (pst_batch_t){0};
    }
    pst_batch_list_release(page);
}

static pst_err_t list_running(pst_client_t *c, uint64_t expected, pst_batch_list_t *ret)
{
    pst_id_t after;
    bool more = true;
    for (unsigned pages = 0; more && ret->n < expected && pages < PAGES_MAX; pages++) {
        pst_batch_list_t page;
        pst_err_t e = pst_batch_list(c, pages ? &after : NULL, PAGE, &page);
        if (e)
            return e;
        more = page.more && page.n > 0;
        if (more && pst_id_parse(pst_view_str(page.v[page.n - 1].id), &after) != PST_OK)
            more = false;
        keep_running(&page, ret);
    }
    return PST_OK;
}

/* Batches are listed by Redis: without it, everything else is still worth looking at. */
static pst_err_t look(pst_client_t *c, pst_top_look_t *ret, pst_err_t *ret_list)
{
    pst_top_look_t l = {0};
    pst_err_t e = pst_top_get(c, &l.top);
    if (e)
        return e;
    *ret_list = list_running(c, l.top.batches, &l.running);
    *ret = l;
    return PST_OK;
}

/* Once. */

static int print_once(pst_client_t *c)
{
    pst_top_t t;
    pst_err_t e = pst_top_get(c, &t);
    if (e)
        return pst_cli_fail_client(c, e);
    char *json = NULL;
    e = pst_top_json(&t, &json);
    pst_top_release(&t);
    return pst_cli_print_json(e, json);
}

static int put_table(const pst_top_look_t *now, const pst_top_look_t *before)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_top_draw(now, before, &(pst_top_screen_t){0}, &b);
    fwrite(b.p, 1, b.n, stdout);
    pst_buf_release(&b);
    return pst_cli_end_stdout();
}

/* Two looks, for rates need them. */
static int print_table(pst_client_t *c)
{
    pst_top_look_t before = {0}, now = {0};
    pst_err_t list, e = look(c, &before, &list);
    if (!e) {
        pst_clock_sleep(EVERY);
        e = look(c, &now, &list);
    }
    int code = e ? EXIT_WELL : put_table(&now, &before);
    if (e || list)
        code = pst_cli_fail_client(c, e ? e : list);
    pst_top_look_release(&before);
    pst_top_look_release(&now);
    return code;
}

/* The terminal. */

#define ENTER "\033[?1049h\033[?25l\033[?7l" /* the other screen, no cursor, no wrapping */
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static struct termios saved;          /* of standard input, if that is a terminal */
static bool has_keys;                 /* it is */
static volatile sig_atomic_t taken;   /* the screen is ours */
static volatile sig_atomic_t changed; /* its size, or what stands on it */

static void say(const char *text, size_t n)
{
    ssize_t wrote = write(STDOUT_FILENO, text, n);
    (void)wrote; /* a terminal that is gone needs nothing */
}

static void take_screen(void)
{
    if (has_keys) {
        struct termios raw = saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    say(ENTER, sizeof ENTER - 1);
    taken = 1;
}

static void leave_screen(void)
{
    if (!taken)
        return;
    taken = 0;
    say(LEAVE, sizeof LEAVE - 1);
    if (has_keys) {
        tcflush(STDIN_FILENO, TCIFLUSH); /* keys that were meant for us */
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    }
}

static void on_interrupt(int sig)
{
    (void)sig;
    leave_screen();
    _exit(EXIT_WELL);
}

/* The handler was for one time: now the signal does what it does. */
static void on_fatal(int sig)
{
    leave_screen();
    raise(sig);
}

static void on_stop(int sig)
{
    (void)sig;
    int error = errno;
    bool ours = taken;
    leave_screen();
    raise(SIGSTOP);
    if (ours)
        take_screen(); /* in the foreground again */
    changed = 1;
    errno = error;
}

static void on_resize(int sig)
{
    (void)sig;
    changed = 1;
}

static void handle(int sig, void (*handler)(int), int flags)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&act.sa_mask);
    sigaction(sig, &act, NULL);
}

static void open_screen(void)
{
    static const int fatal[] = {SIGTERM, SIGHUP, SIGQUIT, SIGABRT};
    has_keys = tcgetattr(STDIN_FILENO, &saved) == 0;
    handle(SIGINT, on_interrupt, 0);
    handle(SIGTSTP, on_stop, 0);
    handle(SIGWINCH, on_resize, 0);
    for (size_t i = 0; i < PST_COUNT(fatal); i++)
        handle(fatal[i], on_fatal, (int)SA_RESETHAND);
    take_screen();
}

static bool write_all(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t wrote = write(STDOUT_FILENO, p, n);
        if (wrote < 0 && errno != EINTR)
            return false;
        if (wrote > 0) {
            p += wrote;
            n -= (size_t)wrote;
        }
    }
    return true;
}

/* Line by line over what stands there, so that nothing flickers.  False if the terminal is gone. */
static bool show(pst_view_t picture)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "\033[H");
    const char *p = picture.p, *end = picture.p + picture.n;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        pst_buf_put(&b, p, (size_t)(newline - p));
        pst_buf_puts(&b, "\033[K");
        p = newline + 1;
        pst_buf_puts(&b, p < end ? "\n" : ""); /* behind the last line of the screen it would scroll */
    }
    pst_buf_puts(&b, "\033[J");
    bool ok = !b.failed && write_all(b.p, b.n);
    pst_buf_release(&b);
    return ok;
}

/* Live. */

typedef struct live {
    pst_client_t *client;
    pst_top_look_t look[LOOKS]; /* the oldest first */
    unsigned looks;
    pst_ns_t answered;          /* when the broker last did */
    pst_err_t err, list_err;    /* of the last look */
    bool keys;                  /* somebody may type */
} live_t;

static void add_look(live_t *v, const pst_top_look_t *l)
{
    bool anew = v->looks > 0 && l->top.uptime_ms < v->look[v->looks - 1].top.uptime_ms;
    unsigned forget = anew ? v->looks : v->looks == LOOKS ? 1 : 0;
    for (unsigned i = 0; i < forget; i++)
        pst_top_look_release(&v->look[i]);
    v->looks -= forget;
    memmove(v->look, v->look + forget, v->looks * sizeof *v->look);
    v->look[v->looks++] = *l;
}

/* What a person should know beside the picture; NULL: nothing. */
static const char *note_of(const live_t *v, char *to, size_t room)
{
    if (v->err)
        snprintf(to, room, "(no answer for %llu s)",
                 (unsigned long long)(pst_ns_since(pst_clock_mono(), v->answered) / PST_SEC));
    else if (v->list_err)
        snprintf(to, room, "(batches cannot be listed: %s)", pst_err_text(v->list_err));
    return v->err || v->list_err ? to : NULL;
}

static bool redraw(const live_t *v)
{
    int rows, columns;
    char note[128];
    pst_cli_screen(STDOUT_FILENO, &rows, &columns);
    pst_top_screen_t screen = {.columns = (unsigned)PST_MAX(columns - 1, 1), /* the last place is the cursor's */
                               .rows = (unsigned)rows,
                               .bold = true,
                               .note = note_of(v, note, sizeof note)};
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_top_draw(&v->look[v->looks - 1], v->looks > 1 ? &v->look[0] : NULL, &screen, &b);
    bool ok = !b.failed && show(pst_buf_view(&b));
    pst_buf_release(&b);
    return ok;
}

/* True once `q` was typed.  When the terminal is gone only signals end it. */
static bool read_keys(live_t *v)
{
    char typed[64];
    ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
    for (ssize_t i = 0; i < n; i++) {
        if (typed[i] == 'q' || typed[i] == 'Q')
            return true;
    }
    v->keys = n > 0 || (n < 0 && errno == EINTR);
    return false;
}

/* Until it is time for the next look, and at least long enough to see what was typed.  False: that is the end. */
static bool rest_until(live_t *v, pst_ns_t until)
{
    for (;;) {
        if (changed) {
            changed = 0;
            if (!redraw(v))
                return false;
        }
        pst_ns_t left = pst_ns_since(until, pst_clock_mono());
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        int n = poll(&in, v->keys, (int)((left + PST_MS - 1) / PST_MS));
        if (n > 0 && read_keys(v))
            return false;
        if (pst_clock_mono() >= until)
            return true;
    }
}

/* Whether it is worth waiting for another answer. */
static bool is_passing(const live_t *v)
{
    pst_err_class_t class = pst_err_class(v->err);
    return (class == PST_CLASS_RETRY || class == PST_CLASS_CLOSE) &&
           pst_ns_since(pst_clock_mono(), v->answered) < LOST_AFTER;
}

static void look_again(live_t *v)
{
    pst_top_look_t l;
    v->err = look(v->client, &l, &v->list_err);
    if (v->err)
        return;
    add_look(v, &l);
    v->answered = pst_clock_mono();
}

/* PST_OK: the user has ended it. */
static pst_err_t watch(live_t *v)
{
    pst_ns_t next = pst_ns_add(pst_clock_mono(), EVERY);
    while (!v->err || is_passing(v)) {
        if (!redraw(v) || !rest_until(v, next))
            return PST_OK;
        next = pst_ns_add(pst_clock_mono(), EVERY);
        look_again(v);
    }
    return v->err;
}

/* The first answer is waited for before the screen is taken: where there is no broker, a message should stay. */
static int run_live(pst_client_t *c)
{
    live_t v = {.client = c, .answered = pst_clock_mono()};
    do {
        look_again(&v);
    } while (v.err && is_passing(&v));
    pst_err_t e = v.err;
    if (!e) {
        open_screen();
        v.keys = has_keys;
        e = watch(&v);
        leave_screen();
    }
    for (unsigned i = 0; i < v.looks; i++)
        pst_top_look_release(&v.look[i]);
    return e ? pst_cli_fail_client(c, e) : EXIT_WELL;
}

int pst_cli_top(const pst_cli_args_t *a)
{
    bool live = !a->json && pst_cli_is_terminal(STDOUT_FILENO);
    pst_client_t *c = NULL;
    int code = pst_cli_connect_within(a, live ? ASK_MS : 0, &c);
    if (!code)
        code = a->json ? print_once(c) : live ? run_live(c) : print_table(c);
    pst_client_destroy(&c);
    return code;
}
