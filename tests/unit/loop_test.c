#include "unit.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proc/clock.h"
#include "proc/log.h"
#include "proc/loop.h"

/* What the callbacks of a test share. */
typedef struct world {
    pst_loop_t *loop;
    int pipe[2], other[2];
    unsigned turns, reads, calls;
    int kept; /* the writing end of a pipe that is to stay silent, not closed */
    pst_ns_t wake;
    char order[16];
    int signals[4];
    unsigned signals_n;
} world_t;

static int setup(void **state)
{
    static world_t w;
    w = (world_t){.loop = pst_loop_new()};
    if (pipe(w.pipe) != 0 || pipe(w.other) != 0)
        return -1;
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world_t *w = *state;
    pst_loop_destroy(&w->loop);
    assert_null(w->loop);
    for (int i = 0; i < 2; i++) {
        close(w->pipe[i]);
        close(w->other[i]);
    }
    return 0;
}

static void put(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

static void read_and_stop(void *arg, int fd, uint32_t events)
{
    world_t *w = arg;
    char c;
    assert_true(events & EPOLLIN);
    assert_int_equal(read(fd, &c, 1), 1);
    w->reads++;
    pst_loop_stop(w->loop);
}

static pst_ns_t never(void *arg, pst_ns_t now)
{
    world_t *w = arg;
    assert_true(now == pst_loop_now(w->loop));
    w->turns++;
    return PST_NEVER;
}

static void a_ready_descriptor_wakes(void **state)
{
    world_t *w = *state;
    pst_loop_fd(w->loop, w->pipe[0], EPOLLIN, read_and_stop, w);
    pst_loop_prepare(w->loop, never, w);
    put(w->pipe[1]);
    pst_loop_run(w->loop);
    assert_int_equal(w->reads, 1);
    assert_int_equal(w->turns, 1);
    /* and again: run can be called as often as one likes */
    put(w->pipe[1]);
    pst_loop_run(w->loop);
    assert_int_equal(w->reads, 2);
}

static pst_ns_t until_wake(void *arg, pst_ns_t now)
{
    world_t *w = arg;
    w->turns++;
    if (now < w->wake)
        return w->wake;
    pst_loop_stop(w->loop);
    return PST_NEVER;
}

static void the_soonest_deadline_wakes_and_not_before(void **state)
{
    world_t *w = *state;
    pst_ns_t start = pst_clock_mono();
    w->wake = start + 20 * PST_MS;
    pst_loop_prepare(w->loop, never, w);
    pst_loop_prepare(w->loop, until_wake, w);
    pst_loop_run(w->loop);
    assert_true(pst_clock_mono() >= start + 20 * PST_MS);
    assert_true(pst_loop_now(w->loop) >= w->wake);
    /* once to sleep, once awake, in both hooks; a signal or a rounding may cost one turn more, spinning would not */
    assert_in_range(w->turns, 4, 8);
}

static pst_ns_t append(world_t *w, char c)
{
    size_t n = strlen(w->order);
    w->order[n] = c;
    if (n + 1 >= 6)
        pst_loop_stop(w->loop);
    return 0;
}

static pst_ns_t hook_a(void *arg, pst_ns_t now)
{
    (void)now;
    return append(arg, 'a');
}

static pst_ns_t hook_b(void *arg, pst_ns_t now)
{
    (void)now;
    return append(arg, 'b');
}

static void hooks_run_in_order_and_zero_does_not_sleep(void **state)
{
    world_t *w = *state;
    pst_loop_prepare(w->loop, hook_a, w);
    pst_loop_prepare(w->loop, hook_b, w);
    pst_loop_run(w->loop);
    assert_string_equal(w->order, "ababab");
}

/* Two descriptors are ready in one turn; the first callback takes the other away. */
static void remove_the_other(void *arg, int fd, uint32_t events)
{
    (void)events;
    world_t *w = arg;
    w->calls++;
    pst_loop_fd_remove(w->loop, fd == w->pipe[0] ? w->other[0] : w->pipe[0]);
    pst_loop_fd_remove(w->loop, fd);
    pst_loop_fd_remove(w->loop, fd);
    pst_loop_fd_remove(w->loop, 900);
    pst_loop_fd_remove(w->loop, -1);
    pst_loop_stop(w->loop);
}

static void a_removed_descriptor_is_not_called(void **state)
{
    world_t *w = *state;
    pst_loop_fd(w->loop, w->pipe[0], EPOLLIN, remove_the_other, w);
    pst_loop_fd(w->loop, w->other[0], EPOLLIN, remove_the_other, w);
    put(w->pipe[1]);
    put(w->other[1]);
    pst_loop_run(w->loop);
    assert_int_equal(w->calls, 1);
}

static void must_not_run(void *arg, int fd, uint32_t events)
{
    (void)arg, (void)events;
    fail_msg("an event of the old descriptor %d reached the new one", fd);
}

/* The other number is closed and given to something new, within the turn in which the old one was ready. */
static void reuse_the_other(void *arg, int fd, uint32_t events)
{
    (void)events;
    world_t *w = arg;
    int other = fd == w->pipe[0] ? w->other[0] : w->pipe[0];
    pst_loop_fd_remove(w->loop, other);
    pst_loop_fd_remove(w->loop, fd);
    int fresh[2];
    assert_int_equal(pipe(fresh), 0);
    assert_int_equal(dup2(fresh[0], other), other);
    close(fresh[0]);
    w->kept = fresh[1];
    pst_loop_fd(w->loop, other, EPOLLIN, must_not_run, w);
    pst_loop_stop(w->loop);
    w->calls++;
}

static void a_reused_number_gets_no_stale_event(void **state)
{
    world_t *w = *state;
    pst_loop_fd(w->loop, w->pipe[0], EPOLLIN, reuse_the_other, w);
    pst_loop_fd(w->loop, w->other[0], EPOLLIN, reuse_the_other, w);
    put(w->pipe[1]);
    put(w->other[1]);
    pst_loop_run(w->loop);
    assert_int_equal(w->calls, 1);
    close(w->kept);
}

static void write_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    world_t *w = arg;
    assert_true(events & EPOLLOUT);
    w->calls++;
    pst_loop_stop(w->loop);
}

static void events_and_callback_of_a_descriptor_change(void **state)
{
    world_t *w = *state;
    pst_loop_fd(w->loop, w->pipe[1], EPOLLIN, must_not_run, w);
    pst_loop_fd(w->loop, w->pipe[1], EPOLLOUT, write_ready, w);
    pst_loop_run(w->loop);
    assert_int_equal(w->calls, 1);
    /* closed and opened again behind the loop's back */
    assert_int_equal(dup2(w->other[1], w->pipe[1]), w->pipe[1]);
    pst_loop_fd(w->loop, w->pipe[1], EPOLLOUT, write_ready, w);
    pst_loop_run(w->loop);
    assert_int_equal(w->calls, 2);
}

/* Descriptors appear inside a callback, far past the table's size. */
static void add_a_high_one(void *arg, int fd, uint32_t events)
{
    (void)events;
    world_t *w = arg;
    pst_loop_fd_remove(w->loop, fd);
    assert_int_equal(dup2(w->other[0], 700), 700);
    pst_loop_fd(w->loop, 700, EPOLLIN, read_and_stop, w);
    put(w->other[1]);
}

static void a_callback_may_add_descriptors(void **state)
{
    world_t *w = *state;
    pst_loop_fd(w->loop, w->pipe[0], EPOLLIN, add_a_high_one, w);
    put(w->pipe[1]);
    pst_loop_run(w->loop);
    assert_int_equal(w->reads, 1);
    pst_loop_fd_remove(w->loop, 700);
    close(700);
}

static void stop_before_run_is_kept(void **state)
{
    world_t *w = *state;
    pst_loop_prepare(w->loop, never, w);
    pst_loop_stop(w->loop);
    pst_loop_run(w->loop);
    assert_int_equal(w->turns, 0);
}

static void note_signal(void *arg, int sig)
{
    world_t *w = arg;
    w->signals[w->signals_n++] = sig;
    if (w->signals_n == 2)
        pst_loop_stop(w->loop);
}

static void signals_arrive_as_events(void **state)
{
    world_t *w = *state;
    static const int sigs[] = {SIGUSR1, SIGHUP, 0};
    pst_loop_signals(w->loop, sigs, note_signal, w);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    pst_loop_run(w->loop);
    assert_int_equal(w->signals[0] + w->signals[1], SIGUSR1 + SIGHUP);
}

/* clock */

static void clocks_and_randomness(void **state)
{
    (void)state;
    pst_ns_t a = pst_clock_mono(), b = pst_clock_mono();
    assert_true(b >= a);
    assert_true(pst_clock_wall_ms() > 1700000000000ull);
    assert_true(pst_random_u64() != pst_random_u64());
    unsigned char bytes[1000] = {0};
    pst_random(bytes, sizeof bytes);
    unsigned zeros = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        zeros += bytes[i] == 0;
    assert_true(zeros < 50);
}

/* log */

/* What `emit` writes to stderr at a level, as one text. */
static char *logged(const char *level, void (*emit)(void))
{
    static char text[8192];
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    if (level)
        setenv("PENSTOCK_LOG", level, 1);
    else
        unsetenv("PENSTOCK_LOG");
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    pst_log_init("tester");
    emit();
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void emit_two(void)
{
    pst_log(PST_LOG_DEBUG, "detail", "n=%d", 1);
    pst_log(PST_LOG_WARN, "store_down", "host=%s port=%d", "h\nforged error x\x1b[2J", 6379);
}

static void a_line_is_stamped_named_and_tamed(void **state)
{
    (void)state;
    char *text = logged(NULL, emit_two);
    unsigned year, month, day, h, m, s, ms;
    int rest = 0;
    assert_int_equal(sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %n", &year, &month, &day, &h, &m,
                            &s, &ms, &rest),
                     7);
    assert_in_range(month, 1, 12);
    assert_string_equal(text + rest,
                        "warn store_down process=tester host=h?forged error x?[2J port=6379\n");
}

static void the_level_decides(void **state)
{
    (void)state;
    assert_non_null(strstr(logged("debug", emit_two), " debug detail process=tester n=1\n"));
    assert_string_equal(logged("ERROR", emit_two), "");
    assert_null(strstr(logged("nonsense", emit_two), "detail"));
}

static void emit_long(void)
{
    static char value[9000];
    memset(value, 'v', sizeof value - 1);
    pst_log(PST_LOG_ERROR, "long", "v=%s", value);
    pst_log(PST_LOG_ERROR, "bare", NULL);
}

static void a_long_line_is_cut(void **state)
{
    (void)state;
    char *text = logged(NULL, emit_long);
    char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_in_range(end - text, 4000, 4095);
    assert_non_null(strstr(end, " error bare process=tester\n"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_ready_descriptor_wakes, setup, teardown),
    cmocka_unit_test_setup_teardown(the_soonest_deadline_wakes_and_not_before, setup, teardown),
    cmocka_unit_test_setup_teardown(hooks_run_in_order_and_zero_does_not_sleep, setup, teardown),
    cmocka_unit_test_setup_teardown(a_removed_descriptor_is_not_called, setup, teardown),
    cmocka_unit_test_setup_teardown(a_reused_number_gets_no_stale_event, setup, teardown),
    cmocka_unit_test_setup_teardown(events_and_callback_of_a_descriptor_change, setup, teardown),
    cmocka_unit_test_setup_teardown(a_callback_may_add_descriptors, setup, teardown),
    cmocka_unit_test_setup_teardown(stop_before_run_is_kept, setup, teardown),
    cmocka_unit_test_setup_teardown(signals_arrive_as_events, setup, teardown),
    cmocka_unit_test(clocks_and_randomness),
    cmocka_unit_test(a_line_is_stamped_named_and_tamed),
    cmocka_unit_test(the_level_decides),
    cmocka_unit_test(a_long_line_is_cut),
};

UNIT_MAIN(tests)
