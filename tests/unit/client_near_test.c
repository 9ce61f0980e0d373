/* Names that a person may have meant. */
#include "unit.h"

#include "cli/near.h"

static const char *const names[] = {"anthropic/claude-sonnet-4.5", "chat/small", "openai/gpt-4.1", "openai/gpt-4.1-mini",
                                    "openai/gpt-4.1-nano", "openai/gpt-4o-mini", "x"};

static void assert_near(const char *word, const char *want)
{
    pst_near_t n;
    char got[1024] = "";
    pst_near_init(&n, word);
    for (size_t i = 0; i < PST_COUNT(names); i++)
        pst_near_add(&n, names[i]);
    for (unsigned i = 0; i < n.n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "", n.name[i]);
    assert_string_equal(got, want);
}

static void a_part_of_a_name(void **state)
{
    (void)state;
    assert_near("claude-sonnet", "anthropic/claude-sonnet-4.5");
    assert_near("GPT-4.1-Mini", "openai/gpt-4.1-mini");
    assert_near("gpt-4", "openai/gpt-4.1 openai/gpt-4.1-mini openai/gpt-4.1-nano"); /* no more than three */
}

static void letters_wrong_missing_or_too_many(void **state)
{
    (void)state;
    assert_near("chat/smal", "chat/small");
    assert_near("chatt/smoll", "chat/small");
    assert_near("openai/gpt-4o-mni", "openai/gpt-4o-mini openai/gpt-4.1-mini openai/gpt-4.1");
    assert_near("openai/gpt-4.1-mni", "openai/gpt-4.1-mini openai/gpt-4.1-nano openai/gpt-4o-mini"); /* nearest first */
}

static void unlike_names_are_not_named(void **state)
{
    (void)state;
    assert_near("mistral/large", "");
    assert_near("", "");
    assert_near("yz", "x"); /* two letters at most */
    assert_near("abc", "");
}

static void names_that_are_too_long(void **state)
{
    (void)state;
    char word[600];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_near(word, "");
    pst_near_t n;
    pst_near_init(&n, "a");
    pst_near_add(&n, word);
    assert_int_equal(n.n, 0);
    word[256] = '\0';
    pst_near_init(&n, word);
    pst_near_add(&n, word);
    pst_near_add(&n, word + 1);
    assert_int_equal(n.n, 2);
    assert_int_equal(n.distance[1], 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_part_of_a_name),
    cmocka_unit_test(letters_wrong_missing_or_too_many),
    cmocka_unit_test(unlike_names_are_not_named),
    cmocka_unit_test(names_that_are_too_long),
};

UNIT_MAIN(tests)
