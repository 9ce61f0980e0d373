#include "unit.h"

#include "base/rng.h"
#include "wire/codec.h"

static pst_compressor_t *compressor;
static pst_decompressor_t *decompressor;
static pst_buf_t out;

static int setup(void **state)
{
    (void)state;
    compressor = pst_compressor_new();
    decompressor = pst_decompressor_new();
    pst_buf_init(&out, 0);
    return compressor && decompressor ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pst_buf_release(&out);
    pst_compressor_destroy(&compressor);
    pst_decompressor_destroy(&decompressor);
    return 0;
}

/* `parts` bodies, all alike but for a number; or noise. */
static char *make_text(size_t part_bytes, uint32_t parts, bool noise)
{
    char *text = malloc(part_bytes * parts + 1);
    pst_rng_t rng;
    pst_rng_seed(&rng, part_bytes + parts);
    for (size_t i = 0; i < part_bytes; i++)
        text[i] = (char)('a' + pst_rng_below(&rng, 26));
    for (uint32_t k = 1; k < parts; k++) {
        memcpy(text + k * part_bytes, text, part_bytes);
        if (part_bytes > 8)
            memcpy(text + k * part_bytes, &k, sizeof k);
    }
    for (size_t i = 0; noise && i < part_bytes * parts; i++)
        text[i] = (char)pst_rng_next(&rng);
    return text;
}

static void check_there_and_back(pst_view_t text, uint32_t parts, pst_codec_t want)
{
    pst_codec_t codec;
    pst_view_t bytes = pst_compress(compressor, text, parts, &out, &codec);
    assert_int_equal(codec, want);
    assert_true(codec == PST_CODEC_RAW ? bytes.p == text.p && bytes.n == text.n : bytes.n < text.n);
    char *back = malloc(text.n + 1);
    assert_int_equal(pst_decompress(decompressor, (uint8_t)codec, bytes, back, text.n), PST_OK);
    assert_memory_equal(back, text.p, text.n);
    free(back);
}

static void each_text_by_its_codec(void **state)
{
    (void)state;
    static const struct {
        size_t part_bytes;
        uint32_t parts;
        bool noise;
        pst_codec_t codec;
    } cases[] = {
        {1, 1, false, PST_CODEC_RAW},            {127, 1, false, PST_CODEC_RAW},
        {1024, 200, false, PST_CODEC_LZ4},       {24 << 10, 40, false, PST_CODEC_LZ4},
        {(24 << 10) + 1, 40, false, PST_CODEC_ZSTD}, {180 << 10, 5, false, PST_CODEC_ZSTD},
        {1024, 50, true, PST_CODEC_RAW},         {100 << 10, 5, true, PST_CODEC_RAW},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        size_t n = cases[i].part_bytes * cases[i].parts;
        char *text = make_text(cases[i].part_bytes, cases[i].parts, cases[i].noise);
        check_there_and_back(pst_view(text, n), cases[i].parts, cases[i].codec);
        free(text);
    }
}

/* What agent-sized prompts share is out of LZ4's reach: it must be found all the same. */
static void long_bodies_share(void **state)
{
    (void)state;
    size_t n = (size_t)5 * (180 << 10);
    char *text = make_text(180 << 10, 5, false);
    pst_codec_t codec;
    pst_view_t bytes = pst_compress(compressor, pst_view(text, n), 5, &out, &codec);
    assert_true(bytes.n < n / 4);
    free(text);
}

static void nothing_but_the_whole_text(void **state)
{
    (void)state;
    static const size_t part[] = {1024, 60 << 10};
    for (size_t i = 0; i < PST_COUNT(part); i++) {
        size_t n = part[i] * 10;
        char *text = make_text(part[i], 10, false), *back = malloc(n + 1);
        pst_codec_t codec;
        pst_view_t bytes = pst_compress(compressor, pst_view(text, n), 10, &out, &codec);
        assert_int_equal(pst_decompress(decompressor, (uint8_t)codec, bytes, back, n - 1), PST_E_MALFORMED);
        assert_int_equal(pst_decompress(decompressor, (uint8_t)codec, bytes, back, n + 1), PST_E_MALFORMED);
        bytes.n--;
        assert_int_equal(pst_decompress(decompressor, (uint8_t)codec, bytes, back, n), PST_E_MALFORMED);
        assert_int_equal(pst_decompress(decompressor, 3, bytes, back, n), PST_E_MALFORMED);
        assert_int_equal(pst_decompress(decompressor, PST_CODEC_RAW, bytes, back, n), PST_E_MALFORMED);
        free(text);
        free(back);
    }
}

/* Read past the end of neither side: the sanitizers watch. */
static void any_bytes(void **state)
{
    (void)state;
    pst_rng_t rng;
    pst_rng_seed(&rng, 5);
    for (int round = 0; round < 3000; round++) {
        size_t n = pst_rng_below(&rng, 300), text_bytes = pst_rng_below(&rng, 2000);
        char *bytes = malloc(n + 1), *back = malloc(text_bytes + 1);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(pst_rng_next(&rng) >> (round % 7 * 8));
        (void)!pst_decompress(decompressor, (uint8_t)(round % 4), pst_view(bytes, n), back, text_bytes);
        free(bytes);
        free(back);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(each_text_by_its_codec, setup, teardown),
    cmocka_unit_test_setup_teardown(long_bodies_share, setup, teardown),
    cmocka_unit_test_setup_teardown(nothing_but_the_whole_text, setup, teardown),
    cmocka_unit_test_setup_teardown(any_bytes, setup, teardown),
};

UNIT_MAIN(tests)
