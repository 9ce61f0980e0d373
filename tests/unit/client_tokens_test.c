/* The counts to compare with are those of the o200k_base vocabulary. */
#include "unit.h"

#include "lib/tokens.h"

#define OFF_PERCENT_MAX 20

typedef struct sample {
    const char *text;
    unsigned tokens;
} sample_t;

static const sample_t samples[] = {
    {"A penstock is the gated pipe that leads water from a reservoir to a turbine. Its gate decides how much may "
     "pass, and "
     "a screen in front of it keeps out whatever would damage the blades. When several turbines share one reservoir, "
     "each "
     "has its own penstock, so that one can be closed for repair while the others go on turning.",
     69},
    {"Hi! Could you summarise the attached meeting notes in three bullet points, please? Keep names and dates as "
     "they are, "
     "and flag anything that sounds like a decision. Thanks a lot.",
     38},
    {"static int find_name(const char *key, size_t n)\n{\n    for (size_t i = 0; i < COUNT(table); i++) {\n        "
     "if "
     "(table[i].n == n && memcmp(table[i].name, key, n) == 0)\n            return (int)i;\n    }\n    return "
     "-1;\n}\n",
     71},
    {"{\"id\": 4711, \"name\": \"Anna Schmidt\", \"email\": \"anna@example.org\", \"tags\": [\"new\", \"trial\"], "
     "\"score\": "
     "0.875, \"active\": true}",
     44},
    {"Die Staumauer wurde im Jahre neunzehnhundertsechsundzwanzig fertiggestellt und dient seither der "
     "Stromerzeugung. Über "
     "das Überlaufwehr fließt nur bei außergewöhnlich hohem Wasserstand überschüssiges Wasser ab.",
     52},
    {"Le barrage a été achevé en mille neuf cent vingt-six et sert depuis à produire de l'électricité. L'eau "
     "excédentaire ne "
     "s'écoule par le déversoir que lorsque le niveau est exceptionnellement élevé.",
     45},
    {"Плотина была построена в прошлом веке и с тех пор вырабатывает электричество для всего района. Избыточная вода "
     "стекает "
     "через водослив только при очень высоком уровне.",
     42},
    {"这座水坝建于上个世纪,从那时起一直为整个地区发电。只有在水位非常高的时候,多余的水才会从溢洪道流出。", 43},
    {"このダムは前世紀に建設され、それ以来、地域全体に電力を供給しています。水位が非常に高いときだけ、余分な水が放水"
     "路から流れ出ます。",
     50},
    {"이 댐은 지난 세기에 건설되어 그 이후로 지역 전체에 전기를 공급하고 있습니다. 수위가 매우 높을 때만 남는 물이 "
     "방수로로 흘러나옵니다.",
     46},
    {"1. Open the gate.\n2. Wait for 30 seconds.\n3. Read the gauge: it must show between 4.2 and 4.8 bar.\n\n- If "
     "it does "
     "not, close the gate.\n- Call 555-0199.\n",
     53},
    {"iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/"
     "w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg0KGgoA"
     "AAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==",
     127},
};

static unsigned tokens(const char *text)
{
    return (unsigned)((pst_tokens_milli(pst_view_str(text), false) + 999) / 1000);
}

static void known_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(samples); i++) {
        const sample_t *s = &samples[i];
        unsigned got = tokens(s->text);
        unsigned off = got > s->tokens ? got - s->tokens : s->tokens - got;
        if (off * 100 > OFF_PERCENT_MAX * s->tokens)
            fail_msg("%.40s…: %u estimated, %u counted", s->text, got, s->tokens);
    }
}

/* A string of JSON costs the same with its characters written as escapes. */
static void escapes(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *escaped;
    } same[] = {
        {"a line\nand another", "a line\\nand another"},
        {"say \"yes\" or \"no\"", "say \\\"yes\\\" or \\\"no\\\""},
        {"grün und blau", "gr\\u00fcn und blau"},
        {"水坝", "\\u6c34\\u575d"},
        {"well done 👍", "well done \\ud83d\\udc4d"},
        {"word", "\\u0077ord"},
        {"a\tb\r\n", "a\\tb\\r\\n"},
    };
    for (size_t i = 0; i < PST_COUNT(same); i++) {
        uint64_t plain = pst_tokens_milli(pst_view_str(same[i].plain), false);
        uint64_t escaped = pst_tokens_milli(pst_view_str(same[i].escaped), true);
        if (plain != escaped)
            fail_msg("%s: %llu plain, %llu escaped", same[i].plain, (unsigned long long)plain,
                     (unsigned long long)escaped);
    }
}

static void rules(void **state)
{
    (void)state;
    assert_int_equal(tokens(""), 0);
    assert_int_equal(tokens("   "), 0);
    assert_int_equal(tokens("word"), 1);
    assert_int_equal(tokens("question"), 1);   /* eight letters */
    assert_int_equal(tokens("QUESTION"), 2);
    assert_int_equal(tokens("don't"), 1);
    assert_int_equal(tokens("1234567"), 3);
    assert_int_equal(tokens("......"), 1);
    assert_int_equal(tokens("......."), 2);
    assert_int_equal(tokens("end.\n"), 2);     /* the line break joins the dot */
    assert_int_equal(tokens("end.\n\n"), 3);
    assert_int_equal(tokens("end\n"), 2);
}

/* The same words cost the same wherever they stand: the fast way through prose and the slow one agree. */
static void fast_and_slow_agree(void **state)
{
    (void)state;
    char text[512];
    static const char *const words[] = {"a", "the", "seven", "operator", "Operator", "penstocks", "instructions",
                                        "incomprehensible", "internationalisation", "x1", "don't", "42"};
    for (size_t i = 0; i < PST_COUNT(words); i++) {
        unsigned alone = tokens(words[i]);
        snprintf(text, sizeof text, "%s and some more words behind it", words[i]);
        assert_int_equal(tokens(text), alone + 6);
        snprintf(text, sizeof text, "before it some words and then %s", words[i]);
        assert_int_equal(tokens(text), alone + 6);
    }
}

static size_t put_run(char *to, const char *from, uint32_t random, uint32_t max)
{
    size_t kinds = strlen(from), n = 1 + random % max;
    for (size_t i = 0; i < n; i++)
        to[i] = from[(random >> 8) * (i + 7) % kinds];
    return n;
}

/* Prose, which is counted in windows, and the same with each character escaped, which is not. */
static void windows_and_runs_agree(void **state)
{
    (void)state;
    static const char *const runs[] = {"aeioklmnrst", "etaoinshrdlu", "AbCdEfGhIjK", "xyzXYZ", "'a", "0123456789", ".,;:!?-()"};
    static const uint32_t longest[] = {8, 16, 9, 30, 4, 5, 9};
    char plain[2100], escaped[6 * sizeof plain + 1];
    uint32_t x = 7;
    for (int round = 0; round < 3000; round++) {
        size_t n = 0, end = 1 + (x = x * 1664525u + 1013904223u) % 2000;
        while (n < end) {
            x = x * 1664525u + 1013904223u;
            unsigned kind = (x >> 24) % (round % 3 ? 3 : PST_COUNT(runs));
            n += put_run(plain + n, runs[kind], x, longest[kind]);
            x = x * 1664525u + 1013904223u;
            n += put_run(plain + n, round % 7 ? " " : ".,", x, 2);
            plain[n++] = ' ';
        }
        size_t e = 0;
        for (size_t i = 0; i < n; i++) {
            bool digit = plain[i] >= '0' && plain[i] <= '9'; /* which escaped would count as a letter */
            e += (size_t)snprintf(escaped + e, 7, digit ? "%c" : "\\u%04x", (unsigned char)plain[i]);
        }
        assert_int_equal(pst_tokens_milli(pst_view(plain, n), false), pst_tokens_milli(pst_view(escaped, e), true));
    }
}

/* A long text costs what its parts cost, within the little that a sample may miss. */
static void long_texts_are_sampled(void **state)
{
    (void)state;
    size_t page = 20000, n = 0, cap = 30 * page + 1000;
    char *text = malloc(cap);
    uint64_t parts = 0;
    for (size_t i = 0; n < 25 * page; i++) {
        size_t from = n, len = strlen(samples[i % PST_COUNT(samples)].text);
        while (n - from < page) {
            memcpy(text + n, samples[i % PST_COUNT(samples)].text, len);
            n += len;
            text[n++] = ' ';
        }
        parts += pst_tokens_milli(pst_view(text + from, n - from), false);
    }
    assert_true(n <= cap);
    double off = (double)pst_tokens_milli(pst_view(text, n), false) / (double)parts - 1;
    assert_true(off > -0.03 && off < 0.03);
    free(text);
}

/* Never more than a token a byte, and all of a text that no rule knows is read. */
static void any_bytes(void **state)
{
    (void)state;
    unsigned char text[300];
    uint32_t x = 1;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (unsigned char)((x = x * 1664525u + 1013904223u) >> 24);
        size_t n = x % sizeof text;
        assert_true(pst_tokens_milli(pst_view(text, n), round & 1) <= n * 1200);
    }
}

static void cache_gives_the_same(void **state)
{
    (void)state;
    static pst_tokens_cache_t cache;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < PST_COUNT(samples); i++) {
            pst_view_t text = pst_view_str(samples[i].text);
            assert_int_equal(pst_tokens_cached(&cache, text, false), pst_tokens_milli(text, false));
        }
    }
}

/* The same ends and length, and nothing else in common. */
static void cache_looks_between_the_ends(void **state)
{
    (void)state;
    static pst_tokens_cache_t cache;
    char words[100], signs[100];
    memset(words, ' ', sizeof words);
    memset(signs, '.', sizeof signs);
    memset(signs, ' ', 8);
    memset(signs + sizeof signs - 8, ' ', 8);
    for (int round = 0; round < 6; round++) {
        pst_view_t text = pst_view(round % 3 ? signs : words, sizeof words);
        assert_int_equal(pst_tokens_cached(&cache, text, false), pst_tokens_milli(text, false));
    }
    assert_int_not_equal(pst_tokens_milli(pst_view(signs, 100), false), pst_tokens_milli(pst_view(words, 100), false));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_texts), cmocka_unit_test(escapes),   cmocka_unit_test(rules),
    cmocka_unit_test(any_bytes),   cmocka_unit_test(fast_and_slow_agree),
    cmocka_unit_test(windows_and_runs_agree), cmocka_unit_test(long_texts_are_sampled),
    cmocka_unit_test(cache_gives_the_same), cmocka_unit_test(cache_looks_between_the_ends),
};

UNIT_MAIN(tests)
