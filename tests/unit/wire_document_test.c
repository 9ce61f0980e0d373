/* PROTOCOL.md names every message, error and cause with the number that the code has. */
#include "unit.h"

#include "penstock/err.h"
#include "wire/msg.h"

static char *document;

static int read_document(void **state)
{
    (void)state;
    FILE *f = fopen(PST_SOURCE "/proto/PROTOCOL.md", "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        return -1;
    long n = ftell(f);
    rewind(f);
    document = calloc(1, (size_t)n + 1);
    size_t got = fread(document, 1, (size_t)n, f);
    fclose(f);
    return got == (size_t)n ? 0 : -1;
}

static int free_document(void **state)
{
    (void)state;
    free(document);
    return 0;
}

static void assert_row(const char *row)
{
    if (!strstr(document, row))
        fail_msg("PROTOCOL.md has no \"%s\"", row);
}

static void every_message_is_there(void **state)
{
    (void)state;
    char row[128];
#define X(name, number)                                                                            \
    snprintf(row, sizeof row, "\n| %d | %s |", number, #name);                                     \
    assert_row(row);
    PST_MSG_LIST(X)
#undef X
}

static void every_error_is_there(void **state)
{
    (void)state;
    char row[128];
#define X(name, number, class, text)                                                               \
    snprintf(row, sizeof row, "\n| %d | %s | %s | %s", number, #name, #class, text);               \
    assert_row(row);
    PST_ERR_LIST(X)
#undef X
}

static void every_cause_is_there(void **state)
{
    (void)state;
    char row[128];
    for (unsigned i = 1; i <= UINT8_MAX; i++) {
        if (!pst_cause_text(i))
            continue;
        snprintf(row, sizeof row, "| %u | %s |", i, pst_cause_text(i));
        assert_row(row);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_message_is_there),
    cmocka_unit_test(every_error_is_there),
    cmocka_unit_test(every_cause_is_there),
};

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, read_document, free_document);
}
