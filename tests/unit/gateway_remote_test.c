/* The broker as the gateway sees it, against one that misbehaves: each question is answered once, whatever happens. */
#include "unit.h"

#include "fake_front.h"
#include "gateway/remote.h"
#include "proc/clock.h"

#define MANY 1000
#define PATIENT (20 * PST_SEC)
#define TEST_TIME (30 * PST_SEC)

/* What became of a question. */
typedef struct answer {
    unsigned calls, pieces;
    pst_err_t err;
    uint8_t type;         /* of the reply */
    unsigned turn;        /* as how manieth it came, from 0 */
    char words[160];
} answer_t;

static fake_front_t *front;
static pst_loop_t *loop;
static pst_remote_t *broker;
static answer_t answers[MANY];
static unsigned answered, expected;
static pst_ns_t stop_at;

/* Ends the loop when everything expected has come; 30 s without that are a failure. */
static pst_ns_t look(void *arg, pst_ns_t now)
{
    (void)arg;
    assert_true(stop_at > now);
    if (answered >= expected && expected > 0)
        pst_loop_stop(loop);
    return stop_at;
}

static void on_answer(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    answer_t *a = arg;
    assert_int_equal(m == NULL, err != PST_OK);
    a->calls++;
    a->err = err;
    a->type = m ? m->type : 0;
    a->turn = answered++;
    snprintf(a->words, sizeof a->words, "%.*s", (int)words.n, words.n ? words.p : "");
}

static void on_piece(void *arg, uint32_t number, pst_view_t bytes)
{
    answer_t *a = arg;
    char line[32];
    snprintf(line, sizeof line, "{\"piece\":%u}\n", (unsigned)number);
    assert_true(pst_view_eqs(bytes, line));
    assert_int_equal(number, a->pieces);
    a->pieces++;
}

static void run_until(unsigned n)
{
    expected = n;
    stop_at = pst_ns_add(pst_clock_mono(), TEST_TIME);
    pst_loop_run(loop);
}

static pst_ask_t *ask(uint8_t type, unsigned i, pst_ns_t patience)
{
    pst_msg_t m = {.type = type};
    pst_ask_t *a = pst_remote_ask(broker, &m, patience, on_answer, &answers[i]);
    assert_non_null(a);
    return a;
}

static void connect_to(const char *address)
{
    pst_errbuf_t eb;
    broker = pst_remote_new(loop, address, &eb);
    assert_non_null(broker);
    pst_loop_prepare(loop, look, NULL);
}

static int setup(void **state)
{
    (void)state;
    front = fake_front_start();
    loop = pst_loop_new();
    memset(answers, 0, sizeof answers);
    answered = expected = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pst_remote_destroy(&broker);
    pst_loop_destroy(&loop);
    if (front)
        fake_front_stop(&front);
    return 0;
}

static void each_answered_once(unsigned n, pst_err_t err)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].err, err);
    }
}

/* ---- questions ----------------------------------------------------------------------------------------------- */

static void ask_many(void)
{
    for (unsigned i = 0; i < MANY; i++)
        ask(i % 2 ? PST_MSG_TOP : PST_MSG_LIST, i, PATIENT);
}

static void many_are_well_answered(void)
{
    each_answered_once(MANY, PST_OK);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(answers[i].type, i % 2 ? PST_MSG_CLUSTER : PST_MSG_BATCHES);
}

static void test_a_thousand_at_once(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    ask_many();
    assert_false(pst_remote_is_up(broker));
    run_until(MANY);
    many_are_well_answered();
    assert_true(pst_remote_is_up(broker));
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(answers[i].turn, i);
    assert_int_equal(fake_front_counts(front).hellos, 1);
}

static void test_answers_out_of_order(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_HOLD, 100);
    connect_to(fake_front_address(front));
    ask_many();
    run_until(MANY);
    many_are_well_answered();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(answers[i].turn, 99 - i);
}

static void test_a_lost_session_delays_them(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    ask_many();
    run_until(MANY / 2);
    fake_front_fault(front, FAKE_FORGET, 1);
    fake_front_fault(front, FAKE_GAP, 1);
    ask_many();
    run_until(2 * MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(answers[i].calls, 2);
    assert_true(fake_front_counts(front).hellos > 1);
}

static void test_a_silent_broker_delays_them(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_SWALLOW, 1);
    connect_to(fake_front_address(front));
    ask_many();
    run_until(MANY);
    many_are_well_answered();
    assert_int_equal(fake_front_counts(front).hellos, 2);
}

static void test_what_is_put_off_is_asked_again(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_LOADING, 4 * MANY);
    connect_to(fake_front_address(front));
    ask_many();
    pst_ns_t began = pst_clock_mono();
    run_until(MANY);
    many_are_well_answered();
    assert_true(pst_clock_mono() - began >= (20 + 40 + 80) * PST_MS); /* each was put off about four times */
    assert_int_equal(fake_front_counts(front).hellos, 1);
}

static void test_patience_ends_with_what_it_was_put_off_with(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_LOADING, UINT32_MAX);
    connect_to(fake_front_address(front));
    ask(PST_MSG_TOP, 0, 300 * PST_MS);
    pst_ns_t began = pst_clock_mono();
    run_until(1);
    each_answered_once(1, PST_E_LOADING);
    assert_string_equal(answers[0].words, pst_err_text(PST_E_LOADING));
    assert_true(pst_clock_mono() - began < 300 * PST_MS); /* it is not waited for in vain */
    assert_true(pst_remote_is_up(broker));
}

static void test_patience_with_nobody_there(void **state)
{
    (void)state;
    char address[128];
    snprintf(address, sizeof address, "%s", fake_front_address(front));
    fake_front_stop(&front);
    connect_to(address);
    ask(PST_MSG_TOP, 0, 200 * PST_MS);
    ask(PST_MSG_LIST, 1, 100 * PST_MS);
    pst_ns_t began = pst_loop_now(loop);
    run_until(2);
    pst_ns_t took = pst_clock_mono() - began;
    each_answered_once(2, PST_E_UNREACHABLE);
    assert_int_equal(answers[1].turn, 0);
    assert_non_null(strstr(answers[0].words, address));
    assert_true(took >= 200 * PST_MS);
    assert_false(pst_remote_is_up(broker));
}

static void test_an_error_of_the_question_is_its_answer(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    ask(PST_MSG_STATUS, 0, PATIENT);
    ask(PST_MSG_TOP, 1, PATIENT);
    run_until(2);
    assert_int_equal(answers[0].err, PST_E_NOT_FOUND);
    assert_string_equal(answers[0].words, pst_err_text(PST_E_NOT_FOUND));
    assert_int_equal(answers[1].err, PST_OK);
}

static void test_another_version_is_said_to_all(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_VERSION, 1);
    connect_to(fake_front_address(front));
    ask_many();
    run_until(MANY);
    each_answered_once(MANY, PST_E_VERSION);
    ask(PST_MSG_TOP, 0, PATIENT); /* it was replaced meanwhile */
    run_until(MANY + 1);
    assert_int_equal(answers[0].err, PST_OK);
    assert_int_equal(fake_front_counts(front).hellos, 2);
}

static void test_forgotten_ones_are_not_answered(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    pst_ask_t *all[MANY];
    for (unsigned i = 0; i < MANY; i++)
        all[i] = ask(PST_MSG_TOP, i, PATIENT);
    for (unsigned i = 0; i < MANY / 2; i++)
        pst_remote_forget(broker, &all[2 * i]); /* not sent yet */
    run_until(MANY / 4);
    unsigned on_their_way = 0;
    for (unsigned i = 1; i < MANY; i += 4) {
        if (answers[i].calls)
            continue;
        pst_remote_forget(broker, &all[i]);
        assert_null(all[i]);
        on_their_way++;
    }
    assert_true(on_their_way > 0);
    run_until(MANY / 2 - on_their_way);
    ask(PST_MSG_LIST, 0, PATIENT); /* behind every late answer */
    run_until(MANY / 2 - on_their_way + 1);
    for (unsigned i = 2; i < MANY; i++)
        assert_int_equal(answers[i].calls, all[i] ? 1 : 0);
    assert_int_equal(answers[0].type, PST_MSG_BATCHES);
}

/* Three FETCHes of 8 MiB may be on their way; what is small goes past those that wait. */
static void test_large_answers_share_a_window(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_HOLD, 5);
    connect_to(fake_front_address(front));
    for (unsigned i = 0; i < 10; i++) {
        pst_msg_t m = {.type = PST_MSG_FETCH, .u.fetch = {.bytes = PST_FETCH_BYTES_MAX}};
        assert_non_null(pst_remote_ask(broker, &m, PATIENT, on_answer, &answers[i]));
    }
    ask(PST_MSG_TOP, 10, 300 * PST_MS);
    run_until(1);
    assert_int_equal(answers[10].err, PST_E_UNREACHABLE); /* it was held with three FETCHes */
    assert_true(pst_remote_is_up(broker));
    ask(PST_MSG_TOP, 11, PATIENT);
    run_until(12);
    each_answered_once(10, PST_E_NOT_FOUND);
    assert_int_equal(answers[11].turn, 1);
}

/* Asks again from its own callback, and forgets another. */
static pst_ask_t *victim;
static void ask_on(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    on_answer(arg, err, m, words);
    pst_remote_forget(broker, &victim);
    if (answered < 5) {
        pst_msg_t next = {.type = PST_MSG_TOP};
        assert_non_null(pst_remote_ask(broker, &next, PATIENT, ask_on, arg));
    }
}

static void test_callbacks_ask_and_forget(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    pst_msg_t m = {.type = PST_MSG_TOP};
    assert_non_null(pst_remote_ask(broker, &m, PATIENT, ask_on, &answers[0]));
    victim = ask(PST_MSG_TOP, 1, PATIENT);
    run_until(5);
    assert_int_equal(answers[0].calls, 5);
    assert_int_equal(answers[1].calls, 0);
}

static void test_there_is_a_bound(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    pst_msg_t m = {.type = PST_MSG_TOP};
    for (unsigned i = 0; i < REMOTE_ASKS_MAX; i++)
        assert_non_null(pst_remote_ask(broker, &m, PATIENT, on_answer, &answers[i % MANY]));
    assert_null(pst_remote_ask(broker, &m, PATIENT, on_answer, &answers[0]));
    run_until(REMOTE_ASKS_MAX);
    assert_int_equal(fake_front_counts(front).hellos, 1);
    ask(PST_MSG_TOP, 0, PATIENT);
}

/* ---- calls --------------------------------------------------------------------------------------------------- */

static pst_id_t id_of(unsigned i)
{
    return (pst_id_t){.b = {1, (uint8_t)(i >> 8), (uint8_t)i}};
}

static pst_ask_t *call_with(unsigned i, bool stream, pst_ns_t patience, pst_remote_piece_fn *piece)
{
    pst_view_t name = PST_VIEW_LIT("m"), body = PST_VIEW_LIT("{\"n\":1}");
    pst_route_t route = {.models = {&name, 1}, .allow_fallbacks = true, .require_parameters = true,
                         .max_price_prompt = -1, .max_price_completion = -1, .max_price_request = -1};
    pst_buf_t r, h;
    pst_buf_init(&r, 0);
    pst_buf_init(&h, 0);
    pst_route_encode(&route, &r);
    pst_job_header_t job = {.custom_id = PST_VIEW_LIT("c"), .body_bytes = (uint32_t)body.n};
    pst_pack_headers_t headers = {.route = pst_buf_view(&r), .text_bytes = (uint32_t)body.n, .jobs = &job, .jobs_n = 1};
    pst_pack_headers_encode(&headers, &h);
    pst_msg_t m = {.type = PST_MSG_CALL};
    m.u.call = (pst_msg_call_t){.batch = id_of(i), .priority = PST_PRIORITY_NORMAL, .stream = stream,
                                .headers = pst_buf_view(&h), .bodies = body};
    pst_ask_t *a = pst_remote_call(broker, &m, patience, piece, on_answer, &answers[i]);
    assert_non_null(a);
    pst_buf_release(&r);
    pst_buf_release(&h);
    return a;
}

static pst_ask_t *call(unsigned i, bool stream, pst_ns_t patience)
{
    return call_with(i, stream, patience, on_piece);
}

static void test_calls_and_their_pieces(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    for (unsigned i = 0; i < 100; i++)
        call(i, i % 2, PATIENT);
    run_until(100);
    each_answered_once(100, PST_OK);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(answers[i].type, PST_MSG_JOB);
        assert_int_equal(answers[i].pieces, i % 2 ? 3 : 0);
    }
    assert_int_equal(fake_front_counts(front).calls, 100);
}

static void test_a_call_is_sent_again_before_its_first_piece(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_SWALLOW, 1);
    fake_front_fault(front, FAKE_TAKEN, 2); /* by itself, until the broker knows that its session is lost */
    connect_to(fake_front_address(front));
    call(7, true, PATIENT);
    run_until(1);
    assert_int_equal(answers[7].err, PST_OK);
    assert_int_equal(answers[7].pieces, 3);
    fake_counts_t c = fake_front_counts(front);
    assert_int_equal(c.hellos, 2);
    assert_int_equal(c.calls, 3);
    pst_id_t id = id_of(7);
    assert_true(pst_id_eq(&c.called, &id));
}

static void test_a_taken_id_is_an_error_at_first(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_TAKEN, 1);
    connect_to(fake_front_address(front));
    call(0, false, PATIENT);
    run_until(1);
    each_answered_once(1, PST_E_EXISTS);
}

static void test_a_call_is_not_sent_again_after_its_first_piece(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_BREAK, 1);
    connect_to(fake_front_address(front));
    call(0, true, PATIENT);
    call(1, true, PATIENT);
    run_until(2);
    assert_int_equal(answers[0].err, PST_E_UNREACHABLE);
    assert_int_equal(answers[0].pieces, 1);
    assert_int_equal(answers[0].calls, 1);
    assert_int_equal(answers[1].err, PST_OK);
    assert_int_equal(answers[1].pieces, 3);
}

static void test_a_call_that_is_put_off(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_LOADING, 3);
    connect_to(fake_front_address(front));
    call(0, true, PATIENT);
    run_until(1);
    each_answered_once(1, PST_OK);
    assert_int_equal(answers[0].pieces, 3);
    assert_int_equal(fake_front_counts(front).calls, 1);
}

static void test_patience_is_not_for_a_call_that_runs(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_LONG, 1);
    connect_to(fake_front_address(front));
    pst_ask_t *a = call(0, false, 200 * PST_MS);
    ask(PST_MSG_TOP, 1, PATIENT);
    run_until(1);
    fake_front_fault(front, FAKE_LOADING, UINT32_MAX);
    ask(PST_MSG_TOP, 2, 600 * PST_MS);
    run_until(2);
    assert_int_equal(answers[2].err, PST_E_LOADING);
    assert_int_equal(answers[0].calls, 0);
    pst_remote_forget(broker, &a);
}

static void test_a_forgotten_call_is_cancelled(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_LONG, 1);
    connect_to(fake_front_address(front));
    pst_ask_t *a = call(3, false, PATIENT);
    ask(PST_MSG_TOP, 0, PATIENT);
    run_until(1);
    pst_ask_t *unsent = call(4, false, PATIENT);
    pst_remote_forget(broker, &unsent); /* of which the broker never heard */
    pst_remote_forget(broker, &a);
    ask(PST_MSG_TOP, 1, PATIENT);
    run_until(2);
    fake_counts_t c = fake_front_counts(front);
    assert_int_equal(c.calls, 1);
    assert_int_equal(c.cancels, 1);
    pst_id_t id = id_of(3);
    assert_true(pst_id_eq(&c.cancelled, &id));
    assert_int_equal(answers[3].calls, 0);
}

static void forget_at_piece(void *arg, uint32_t number, pst_view_t bytes)
{
    on_piece(arg, number, bytes);
    pst_remote_forget(broker, &victim);
}

static void test_a_call_forgotten_amid_its_pieces(void **state)
{
    (void)state;
    connect_to(fake_front_address(front));
    victim = call_with(0, true, PATIENT, forget_at_piece);
    call(1, true, PATIENT);
    run_until(1);
    ask(PST_MSG_TOP, 2, PATIENT); /* behind the CANCEL */
    run_until(2);
    assert_int_equal(answers[0].pieces, 1);
    assert_int_equal(answers[0].calls, 0);
    assert_int_equal(answers[1].pieces, 3);
    assert_int_equal(fake_front_counts(front).cancels, 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_a_thousand_at_once, setup, teardown),
    cmocka_unit_test_setup_teardown(test_answers_out_of_order, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_lost_session_delays_them, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_silent_broker_delays_them, setup, teardown),
    cmocka_unit_test_setup_teardown(test_what_is_put_off_is_asked_again, setup, teardown),
    cmocka_unit_test_setup_teardown(test_patience_ends_with_what_it_was_put_off_with, setup, teardown),
    cmocka_unit_test_setup_teardown(test_patience_with_nobody_there, setup, teardown),
    cmocka_unit_test_setup_teardown(test_an_error_of_the_question_is_its_answer, setup, teardown),
    cmocka_unit_test_setup_teardown(test_another_version_is_said_to_all, setup, teardown),
    cmocka_unit_test_setup_teardown(test_forgotten_ones_are_not_answered, setup, teardown),
    cmocka_unit_test_setup_teardown(test_large_answers_share_a_window, setup, teardown),
    cmocka_unit_test_setup_teardown(test_callbacks_ask_and_forget, setup, teardown),
    cmocka_unit_test_setup_teardown(test_there_is_a_bound, setup, teardown),
    cmocka_unit_test_setup_teardown(test_calls_and_their_pieces, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_call_is_sent_again_before_its_first_piece, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_taken_id_is_an_error_at_first, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_call_is_not_sent_again_after_its_first_piece, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_call_that_is_put_off, setup, teardown),
    cmocka_unit_test_setup_teardown(test_patience_is_not_for_a_call_that_runs, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_forgotten_call_is_cancelled, setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_call_forgotten_amid_its_pieces, setup, teardown),
};

UNIT_MAIN(tests)
