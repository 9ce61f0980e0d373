/* How much memory a frame can make a receiver ask for, and what happens when there is none.
 *
 * malloc and its kin are defined here, so that every allocation of this process is seen, those
 * inside msgpack-c too. */
#include "unit.h"

#include "wire_notation.h"
#include "wire_vectors.h"

static struct {
    bool on;
    size_t bytes; /* asked for in all */
    uint64_t calls;
    uint64_t fail; /* this call, counted from 1, and those after it fail; 0: none */
} watch;

/* The sanitizers have an allocator of their own in this place. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WATCHED false
#else
#define WATCHED true
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static bool allowed(size_t n)
{
    if (!watch.on)
        return true;
    watch.bytes += n;
    watch.calls++;
    return watch.fail == 0 || watch.calls < watch.fail;
}

void *malloc(size_t n)
{
    return allowed(n) ? __libc_malloc(n) : NULL;
}

void *calloc(size_t n, size_t size)
{
    return allowed(n * size) ? __libc_calloc(n, size) : NULL;
}

void *realloc(void *p, size_t n)
{
    return allowed(n) ? __libc_realloc(p, n) : NULL;
}
#endif

static void watch_start(uint64_t fail)
{
    watch.bytes = 0;
    watch.calls = 0;
    watch.fail = fail;
    watch.on = WATCHED;
}

static void watch_stop(void)
{
    watch.on = false;
}

/* Decodes into an arena of its own; tells how much was asked for. */
static pst_err_t decode_watched(const kind_t *k, pst_view_t bytes, uint64_t fail)
{
    thing_t thing;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    watch_start(fail);
    pst_err_t e = k->decode(bytes, &a, &thing);
    watch_stop();
    pst_arena_release(&a);
    return e;
}

/* What a hostile frame of a few bytes, or of the full size, can make a receiver allocate before it
 * is refused. */
static void hostile_frames_cost_little(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *bytes;
    } hostile[] = {
        {"messages/ping", "!dd0fffffff"},
        {"messages/ping", "[1 3 0 0 0 !dd0fffffff]"},
        {"messages/ping", "[1 3 0 0 0 @100000 !91]"},
        {"messages/ping", "[1 3 0 0 0 @1000000 []]"},
        {"messages/batches", "[1 50 0 0 0 1 [@1000000 nil] true]"},
        {"messages/results", "[1 51 0 0 0 1 [0 0] false [@1000000 b0] 1]"},
        {"messages/hello", "[1 1 0 0 0 2 \"\" \"\" [] [@65537 nil]]"},
        {"messages/hello", "[1 1 0 0 0 2 \"\" \"\" [] !dd00010000]"},
        {"messages/outcomes", "[1 81 0 0 0 1 [@1000000 0]]"},
        {"messages/outcomes", "[1 81 0 0 0 1 !dd00000400]"},
        {"messages/tasks", "[1 96 0 0 0 [@1000000 nil]]"},
        {"messages/tasks", "[1 96 0 0 0 !dc0400 @100 nil]"},
        {"messages/outcomes", "[1 81 0 0 0 1 [[x00000000000000000000000000000000 0 [] [] [0 0 b0] [@1000000 0]]]]"},
        {"messages/cluster", "[1 53 0 0 0 1 [@11 0 [@1000000 0] []]]"},
        {"messages/cluster", "[1 53 0 0 0 1 [@11 0 [] !dc0400 @1023 []]]"},
        {"messages/revoke", "[1 97 0 0 0 !dd0fffffff]"},
        {"values/route", "[!dd0fffffff]"},
        {"values/route", "[[@30000 \"\"] [] [] [] [] true true false false 0 nil nil nil 0]"},
        {"values/pack_headers", "[0 b0 0 0 !dc0100]"},
        {"values/pack_headers", "[0 b0 0 0 [@257 nil]]"},
        {"values/result_pack", "[!dcffff]"},
        {"values/result_pack", "[[] !dd00010000 @1000 nil]"},
        {"values/batch_info", "[@1000000 nil]"},
    };
    pst_buf_t b;
    pst_buf_init(&b, 0);
    for (unsigned i = 0; i < PST_COUNT(hostile); i++) {
        kind_t k;
        pst_buf_clear(&b);
        notation_put(hostile[i].bytes, &b);
        assert_true(kind_find(pst_view_str(hostile[i].kind), &k));
        pst_err_t e = decode_watched(&k, pst_buf_view(&b), 0);
        if (e != PST_E_MALFORMED && e != PST_E_TOO_LARGE)
            fail_msg("%s: %s", hostile[i].bytes, pst_err_name(e));
        if (watch.bytes > 1 << 20)
            fail_msg("%s: %zu bytes", hostile[i].bytes, watch.bytes);
    }
    pst_buf_release(&b);
}

/* A frame that is right costs memory in proportion to its bytes. */
static void memory_follows_the_bytes(void **state)
{
    (void)state;
    kind_t k;
    pst_arena_t a;
    pst_buf_t b;
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    sample_t s = {.shape = SAMPLE_RANDOM, .arena = &a};
    pst_rng_seed(&s.rng, 77);
    for (unsigned i = 0; kind_at(i, &k); i++) {
        for (unsigned round = 0; round < 20; round++) {
            thing_t thing;
            kind_sample(&k, &s, &thing);
            pst_buf_clear(&b);
            k.encode(&thing, &b);
            assert_int_equal(decode_watched(&k, pst_buf_view(&b), 0), PST_OK);
            assert_true(watch.bytes <= 40 * b.n + (128 << 10));
            pst_arena_clear(&a);
        }
    }
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* Encodes with the k-th allocation failing: the buffer says so, and holds no more than before. */
static bool encode_fails(const kind_t *k, const thing_t *thing, uint64_t fail)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    watch_start(fail);
    k->encode(thing, &b);
    watch_stop();
    bool failed = b.failed;
    pst_buf_release(&b);
    return failed;
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    if (!WATCHED) {
        print_message("skipped: the sanitizers replace the allocator; the build without them runs this\n");
        skip();
    }
    kind_t k;
    pst_arena_t a;
    pst_buf_t b;
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    sample_t s = {.shape = SAMPLE_RANDOM, .arena = &a};
    pst_rng_seed(&s.rng, 5);
    for (unsigned i = 0; kind_at(i, &k); i++) {
        thing_t thing;
        kind_sample(&k, &s, &thing);
        pst_buf_clear(&b);
        k.encode(&thing, &b);
        assert_false(encode_fails(&k, &thing, 0));
        for (uint64_t n = watch.calls; n > 0; n--)
            assert_true(encode_fails(&k, &thing, n));
        assert_int_equal(decode_watched(&k, pst_buf_view(&b), 0), PST_OK);
        for (uint64_t n = watch.calls; n > 0; n--)
            assert_int_equal(decode_watched(&k, pst_buf_view(&b), n), PST_E_NOMEM);
        pst_arena_clear(&a);
    }
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* The arena's own limit is no different from no memory. */
static void a_small_arena_is_reported(void **state)
{
    (void)state;
    kind_t k;
    thing_t thing;
    pst_arena_t a, tiny;
    pst_buf_t b;
    pst_arena_init(&a, 0);
    pst_arena_init(&tiny, 64);
    pst_buf_init(&b, 0);
    assert_true(kind_find(PST_VIEW_LIT("messages/tasks"), &k));
    sample_t s = {.shape = SAMPLE_MOST, .arena = &a};
    kind_sample(&k, &s, &thing);
    k.encode(&thing, &b);
    assert_int_equal(k.decode(pst_buf_view(&b), &tiny, &thing), PST_E_NOMEM);
    pst_buf_release(&b);
    pst_arena_release(&tiny);
    pst_arena_release(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(hostile_frames_cost_little),
    cmocka_unit_test(memory_follows_the_bytes),
    cmocka_unit_test(every_failed_allocation_is_reported),
    cmocka_unit_test(a_small_arena_is_reported),
};
UNIT_MAIN(tests)
