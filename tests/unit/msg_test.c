#include "unit.h"

#include "wire_kind.h"

#define ROUNDS 60 /* random samples a kind */

typedef struct world {
    pst_arena_t made, read;
    pst_buf_t bytes, again, text, text_again;
} world_t;

static void world_init(world_t *w)
{
    pst_arena_init(&w->made, 0);
    pst_arena_init(&w->read, 0);
    pst_buf_init(&w->bytes, 0);
    pst_buf_init(&w->again, 0);
    pst_buf_init(&w->text, 0);
    pst_buf_init(&w->text_again, 0);
}

static void world_clear(world_t *w)
{
    pst_arena_clear(&w->made);
    pst_arena_clear(&w->read);
    pst_buf_clear(&w->bytes);
    pst_buf_clear(&w->again);
    pst_buf_clear(&w->text);
    pst_buf_clear(&w->text_again);
}

static void world_release(world_t *w)
{
    pst_arena_release(&w->made);
    pst_arena_release(&w->read);
    pst_buf_release(&w->bytes);
    pst_buf_release(&w->again);
    pst_buf_release(&w->text);
    pst_buf_release(&w->text_again);
}

static void assert_same(const pst_buf_t *a, const pst_buf_t *b)
{
    assert_false(a->failed || b->failed);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->p, b->p, a->n);
}

/* What was read is what was written, and written again it is the same bytes. */
static void round_trip(world_t *w, const kind_t *k, sample_t *s)
{
    thing_t thing, got;
    world_clear(w);
    s->arena = &w->made;
    kind_sample(k, s, &thing);
    k->encode(&thing, &w->bytes);
    assert_false(w->bytes.failed);
    assert_int_equal(k->decode(pst_buf_view(&w->bytes), &w->read, &got), PST_OK);
    k->dump(&thing, &w->text);
    k->dump(&got, &w->text_again);
    assert_same(&w->text, &w->text_again);
    k->encode(&got, &w->again);
    assert_same(&w->bytes, &w->again);
}

static void every_kind_comes_back_the_same(void **state)
{
    (void)state;
    world_t w;
    kind_t k;
    world_init(&w);
    for (unsigned i = 0; kind_at(i, &k); i++) {
        sample_t s = {.shape = SAMPLE_LEAST};
        pst_rng_seed(&s.rng, i);
        for (; s.shape <= SAMPLE_RANDOM; s.shape++)
            round_trip(&w, &k, &s);
        s.shape = SAMPLE_RANDOM;
        for (unsigned round = 0; round < ROUNDS; round++)
            round_trip(&w, &k, &s);
    }
    world_release(&w);
}

static bool inside(pst_view_t whole, pst_view_t part)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* A frame of megabytes is not copied: blobs and texts, read either way, lie in it. */
static void views_point_into_the_frame(void **state)
{
    (void)state;
    world_t w;
    pst_msg_t m, got;
    sample_t s = {.shape = SAMPLE_MOST, .arena = &w.made};
    world_init(&w);
    sample_msg(&s, PST_MSG_PACK, &m);
    pst_msg_encode(&m, &w.bytes);
    assert_int_equal(pst_msg_decode(pst_buf_view(&w.bytes), &w.read, &got), PST_OK);
    assert_true(inside(pst_buf_view(&w.bytes), got.u.pack.bodies));
    world_clear(&w);
    sample_msg(&s, PST_MSG_OPEN, &m);
    pst_msg_encode(&m, &w.bytes);
    assert_int_equal(pst_msg_decode(pst_buf_view(&w.bytes), &w.read, &got), PST_OK);
    assert_true(inside(pst_buf_view(&w.bytes), got.u.open.name));
    world_clear(&w);
    sample_msg(&s, PST_MSG_OUTCOMES, &m);
    pst_msg_encode(&m, &w.bytes);
    assert_int_equal(pst_msg_decode(pst_buf_view(&w.bytes), &w.read, &got), PST_OK);
    assert_true(inside(pst_buf_view(&w.bytes), got.u.outcomes.groups[0].blob.bytes));
    assert_true(inside(pst_buf_view(&w.bytes), got.u.outcomes.groups[0].outcomes[0].request_id));
    world_release(&w);
}

static void encoding_appends(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_msg_t m = {.version = PST_PROTOCOL_VERSION, .type = PST_MSG_PING}, got;
    pst_arena_t a;
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "before");
    pst_msg_encode(&m, &b);
    assert_memory_equal(b.p, "before", 6);
    assert_int_equal(pst_msg_decode(pst_view(b.p + 6, b.n - 6), &a, &got), PST_OK);
    assert_int_equal(b.max, 0);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

static void another_version_keeps_its_envelope(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_msg_t m;
    /* [2, 200, 7, 8, 9, {"a": 1}] */
    static const char frame[] = "\x96\x02\xcc\xc8\x07\x08\x09\x81\xa1\x61\x01";
    pst_arena_init(&a, 0);
    assert_int_equal(pst_msg_decode(pst_view(frame, sizeof frame - 1), &a, &m), PST_E_VERSION);
    assert_int_equal(m.version, 2);
    assert_int_equal(m.type, 200);
    assert_int_equal(m.session, 7);
    assert_int_equal(m.epoch, 8);
    assert_int_equal(m.seq, 9);
    pst_arena_release(&a);
}

/* A failed decode leaves the caller's struct alone. */
static void failure_leaves_the_result_alone(void **state)
{
    (void)state;
    pst_arena_t a;
    thing_t thing, before;
    kind_t k;
    memset(&thing, 0x5a, sizeof thing);
    before = thing;
    pst_arena_init(&a, 0);
    for (unsigned i = 0; kind_at(i, &k); i++) {
        assert_int_equal(k.decode(pst_view("\x91\x01", 2), &a, &thing), PST_E_MALFORMED);
        assert_memory_equal(&thing, &before, sizeof thing);
    }
    pst_arena_release(&a);
}

/* What a receiver would refuse is not sent. */
static void encoder_knows_the_limits(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_buf_t b;
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    sample_t s = {.shape = SAMPLE_TYPICAL, .arena = &a};
    pst_msg_t m;
    static char big[PST_METADATA_BYTES_MAX + 1];

    sample_msg(&s, PST_MSG_OPEN, &m);
    m.u.open.metadata = pst_view(big, sizeof big);
    pst_msg_encode(&m, &b);
    assert_true(b.failed);

    pst_buf_clear(&b);
    sample_msg(&s, PST_MSG_RESULTS, &m);
    m.u.results.packs_n = PST_FETCH_PACKS_MAX + 1;
    pst_msg_encode(&m, &b);
    assert_true(b.failed);

    pst_buf_clear(&b);
    static pst_task_group_t groups[5];
    static pst_task_slot_t slots[PST_PACK_JOBS_MAX];
    for (unsigned i = 0; i < PST_COUNT(groups); i++)
        groups[i] = (pst_task_group_t){.slots = slots, .slots_n = PST_PACK_JOBS_MAX};
    m = (pst_msg_t){.version = 1, .type = PST_MSG_TASKS, .u.tasks = {groups, PST_COUNT(groups)}};
    pst_msg_encode(&m, &b);
    assert_true(b.failed);

    pst_buf_clear(&b);
    static pst_piece_t pieces[PST_PIECES_MAX + 1];
    m = (pst_msg_t){.version = 1, .type = PST_MSG_PIECES, .u.pieces = {pieces, PST_COUNT(pieces)}};
    pst_msg_encode(&m, &b);
    assert_true(b.failed);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* Encoded as a piece of more bytes than it may have would be: the receiver knows the limit too. */
static void pieces_have_a_limit(void **state)
{
    (void)state;
    pst_arena_t a;
    pst_buf_t b;
    pst_msg_t got;
    char *zeros = calloc(1, PST_PIECE_BYTES_MAX + 1);
    pst_msg_t m = {.version = 1, .type = PST_MSG_PIECE, .u.piece.bytes = {zeros, PST_PIECE_BYTES_MAX}};
    pst_arena_init(&a, 0);
    pst_buf_init(&b, 0);
    pst_msg_encode(&m, &b);
    assert_false(b.failed);
    assert_int_equal(pst_msg_decode(pst_buf_view(&b), &a, &got), PST_OK);
    pst_buf_clear(&b);
    m.u.piece.bytes.n++;
    pst_msg_encode(&m, &b);
    assert_true(b.failed);

    static const char head[] = "\x98\x01\x36\x00\x00\x00\x01\x00\xc6\x00\x10\x00\x01"; /* [1 54 0 0 0 1 0 bin32 */
    pst_buf_clear(&b);
    pst_buf_put(&b, head, sizeof head - 1);
    pst_buf_put(&b, zeros, PST_PIECE_BYTES_MAX + 1);
    assert_int_equal(pst_msg_decode(pst_buf_view(&b), &a, &got), PST_E_TOO_LARGE);
    free(zeros);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

static void frame_has_a_limit(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_arena_t a;
    char *zeros = calloc(1, PST_FRAME_BYTES_MAX);
    pst_msg_t m = {.version = 1, .type = PST_MSG_PACK}, got;
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    m.u.pack.bodies = pst_view(zeros, PST_FRAME_BYTES_MAX - 100);
    pst_msg_encode(&m, &b);
    assert_false(b.failed);
    assert_int_equal(pst_msg_decode(pst_buf_view(&b), &a, &got), PST_OK);
    pst_buf_clear(&b);
    m.u.pack.bodies.n = PST_FRAME_BYTES_MAX;
    pst_msg_encode(&m, &b);
    assert_true(b.failed);
    assert_int_equal(pst_msg_decode(pst_view(zeros, (size_t)PST_FRAME_BYTES_MAX + 1), &a, &got),
                     PST_E_TOO_LARGE);
    free(zeros);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* A HELLO as long as it may be, and one job more. */
static void longest_hello(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_arena_t a;
    pst_msg_t m = {.version = 1, .type = PST_MSG_HELLO}, got;
    pst_task_ref_t *refs = calloc(PST_RUNNING_MAX + 1, sizeof *refs);
    m.u.hello =
        (pst_msg_hello_t){.role = PST_ROLE_WORKER, .running = refs, .running_n = PST_RUNNING_MAX};
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    pst_msg_encode(&m, &b);
    assert_false(b.failed);
    assert_int_equal(pst_msg_decode(pst_buf_view(&b), &a, &got), PST_OK);
    assert_int_equal(got.u.hello.running_n, PST_RUNNING_MAX);
    m.u.hello.running_n++;
    pst_buf_clear(&b);
    pst_msg_encode(&m, &b);
    assert_true(b.failed);
    free(refs);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* A STATUS of a batch with as many endpoints as it may name is still read. */
static void longest_batch(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_arena_t a;
    pst_batch_info_t got, i = {.causes_n = 256,
                               .endpoints_n = PST_STATUS_ENDPOINTS_MAX,
                               .parked_n = PST_STATUS_ENDPOINTS_MAX};
    pst_buf_init(&b, 0);
    pst_arena_init(&a, 0);
    i.causes = calloc(i.causes_n, sizeof *i.causes);
    i.endpoints = calloc(i.endpoints_n, sizeof *i.endpoints);
    i.parked = calloc(i.parked_n, sizeof *i.parked);
    pst_batch_info_encode(&i, &b);
    assert_false(b.failed);
    assert_int_equal(pst_batch_info_decode(pst_buf_view(&b), &a, &got), PST_OK);
    assert_int_equal(got.endpoints_n, PST_STATUS_ENDPOINTS_MAX);
    free(i.causes);
    free(i.endpoints);
    free(i.parked);
    pst_buf_release(&b);
    pst_arena_release(&a);
}

/* Equal wishes have equal bytes, however the zeros and "no price" are said. */
static void route_is_canonical(void **state)
{
    (void)state;
    pst_buf_t a, b;
    pst_route_t r = {.allow_fallbacks = true,
                     .max_price_prompt = 0.0,
                     .max_price_completion = -1,
                     .max_price_request = -5};
    pst_buf_init(&a, 0);
    pst_buf_init(&b, 0);
    pst_route_encode(&r, &a);
    r.max_price_prompt = -0.0;
    r.max_price_completion = -2;
    pst_route_encode(&r, &b);
    assert_same(&a, &b);
    pst_buf_release(&a);
    pst_buf_release(&b);
}

static void names_and_texts(void **state)
{
    (void)state;
    assert_string_equal(pst_msg_name(PST_MSG_HELLO), "HELLO");
    assert_string_equal(pst_msg_name(PST_MSG_ACK), "ACK");
    assert_string_equal(pst_msg_name(0), "?");
    assert_string_equal(pst_msg_name(6), "?");
    assert_string_equal(pst_msg_name(255), "?");
    assert_string_equal(pst_batch_status_text(PST_BATCH_IN_PROGRESS), "in_progress");
    assert_string_equal(pst_batch_status_text(PST_BATCH_CANCELLED), "cancelled");
    assert_null(pst_batch_status_text(8));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_kind_comes_back_the_same),
    cmocka_unit_test(views_point_into_the_frame),
    cmocka_unit_test(encoding_appends),
    cmocka_unit_test(another_version_keeps_its_envelope),
    cmocka_unit_test(failure_leaves_the_result_alone),
    cmocka_unit_test(encoder_knows_the_limits),
    cmocka_unit_test(pieces_have_a_limit),
    cmocka_unit_test(frame_has_a_limit),
    cmocka_unit_test(longest_hello),
    cmocka_unit_test(longest_batch),
    cmocka_unit_test(route_is_canonical),
    cmocka_unit_test(names_and_texts),
};
UNIT_MAIN(tests)
