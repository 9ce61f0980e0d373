/* `penstock check` beside a broker (tests/support/fake_front.c), and where none is. */
#include "unit.h"

#include <unistd.h>

#include "cli/cli.h"
#include "fake_front.h"
#include "proc/clock.h"

#define CONFIG "providers: { echo: { api: echo } }\n"

static char config[] = "/tmp/pst-check-XXXXXX";

static int setup(void **state)
{
    (void)state;
    strcpy(config + sizeof config - 7, "XXXXXX");
    int fd = mkstemp(config);
    return fd >= 0 && write(fd, CONFIG, sizeof CONFIG - 1) == sizeof CONFIG - 1 ? close(fd) : -1;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(config);
}

/* What check prints, malloc'd, and its exit code. */
static char *check(const char *broker, int *ret_code)
{
    FILE *f = tmpfile();
    int own = dup(STDOUT_FILENO);
    assert_non_null(f);
    fflush(stdout);
    dup2(fileno(f), STDOUT_FILENO);
    *ret_code = pst_cli_check(&(pst_cli_args_t){.config = config, .broker = broker});
    dup2(own, STDOUT_FILENO);
    close(own);
    long n = lseek(fileno(f), 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    assert_int_equal(pread(fileno(f), text, (size_t)n, 0), n);
    fclose(f);
    return text;
}

static void what_a_broker_has_learned_is_added(void **state)
{
    (void)state;
    fake_front_t *front = fake_front_start();
    int code;
    char *text = check(fake_front_address(front), &code);
    assert_int_equal(code, EXIT_WELL);
    if (!strstr(text, "\n\n"
                      "PROVIDER  ENDPOINT   LEARNED LIMIT          VALUE  FROM\n"
                      "sim       (account)  tokens_per_minute  2,000,000  headers\n"
                      "sim       gone       requests_per_day         900  429s\n"
                      "\nbroker "))
        fail_msg("%s", text);
    free(text);
    fake_front_stop(&front);
}

static void without_a_broker_nothing_is_missed(void **state)
{
    (void)state;
    int code;
    pst_ns_t began = pst_clock_mono();
    char *text = check("tcp://127.0.0.1:1", &code);
    assert_in_range(pst_clock_mono() - began, 0, PST_SEC); /* 250 ms, and what a busy machine adds */
    assert_int_equal(code, EXIT_WELL);
    assert_non_null(strstr(text, "\necho "));
    assert_null(strstr(text, "LEARNED"));
    free(text);
    text = check("nonsense", &code);
    assert_int_equal(code, EXIT_USAGE);
    free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(what_a_broker_has_learned_is_added), CASE(without_a_broker_nothing_is_missed),
};

UNIT_MAIN(tests)
