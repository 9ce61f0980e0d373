/* core_call_test.c - calls: jobs that somebody waits for. */
#include "core_world.h"

#define OTHER (WORKER + 1)

static const wish_t ONE = {.models = {"one"}}, BOTH = {.models = {"one", "other"}};
static const pst_msg_call_t PLAIN = {.priority = PST_PRIORITY_HIGH};
static const pst_msg_call_t STREAM = {.priority = PST_PRIORITY_HIGH, .stream = true};

static void begun(world_t *w)
{
    pst_event_t ev = {.type = PST_EV_BEGUN, .u.begun.call = ID};
    run(w, &ev);
}

static void gone(world_t *w, pst_peer_t worker)
{
    pst_event_t ev = {.type = PST_EV_WORKER_GONE, .u.worker.worker = worker};
    run(w, &ev);
}

static void assert_result(const world_t *w, pst_job_status_t status, pst_cause_t cause)
{
    assert_int_equal(w->results, 1);
    assert_int_equal(w->last_result.status, status);
    assert_int_equal(w->last_result.cause, cause);
    assert_true(w->ended);
    assert_false(pst_core_calls(w->core, &ID));
}

/* Nothing of it is left, here or in a store. */
static void assert_clean(world_t *w)
{
    pst_core_gauges_t g;
    tick(w, 0);
    pst_core_gauges(w->core, &g);
    assert_int_equal(g.batches + g.packs + g.packs_open + g.jobs_running + g.jobs_waiting + g.jobs_queued + g.open_bytes, 0);
    assert_int_equal(w->kept_ops, 0);
    assert_int_equal(w->notices, 0);
}

static void a_call_runs_at_once(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, PLAIN);
    assert_int_equal(w->done.req, 0); /* its result is the answer */
    assert_int_equal(w->tasks_n, 1);
    assert_true(w->tasks[0].bytes);
    assert_int_equal(w->tasks[0].live, PST_LIVE_UNSTORED);
    assert_true(pst_core_calls(w->core, &ID));
    outcome(w, 0, DONE);
    assert_result(w, PST_JOB_COMPLETED, PST_CAUSE_NONE);
    assert_int_equal(w->last_result.cost_nano, 30 * 1000);
    assert_int_equal(w->acked, 1);
    assert_int_equal(w->live_ops, 2); /* APPEND, END */
    assert_clean(w);
    const pst_core_counters_t *n = pst_core_counters(w->core);
    assert_int_equal(n->jobs_accepted, 1);
    assert_int_equal(n->jobs_completed, 1);
    assert_int_equal(n->batches_accepted + n->batches_ended, 0);
    world_free(w);
}

static void a_stream_is_asked_for(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    assert_int_equal(w->tasks[0].live, PST_LIVE_UNSTORED | PST_LIVE_STREAM);
    submit(w, (wish_t){.models = {"one"}, .batch = 1});
    assert_int_equal(w->tasks[1].live, 0);
    world_free(w);
}

static void what_cannot_be_begun_is_refused(void **state)
{
    (void)state;
    world_t *w = world_new();
    send_call(w, &(wish_t){.models = {"nobody"}}, PLAIN);
    assert_int_equal(w->done.req, 60);
    assert_int_equal(w->done.err, PST_E_MODEL_NOT_FOUND);
    assert_clean(w);
    send_open(w, &ONE);
    send_call(w, &ONE, PLAIN);
    assert_int_equal(w->done.req, 60);
    assert_int_equal(w->done.err, PST_E_EXISTS);
    assert_false(pst_core_calls(w->core, &ID));
    world_free(w);
}

static void a_route_that_nobody_serves_fails_the_call(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_view_t model = PST_VIEW_LIT("one"), only = PST_VIEW_LIT("beta");
    pst_route_t r = {.models = {&model, 1}, .only = {&only, 1}, .max_price_prompt = -1, .max_price_completion = -1,
                     .max_price_request = -1};
    send_call(w, &(wish_t){.route = encoded(w, &r)}, PLAIN);
    assert_result(w, PST_JOB_FAILED, PST_CAUSE_NO_ENDPOINT);
    assert_clean(w);
    world_free(w);
}

/* As no batch is it found by those who ask for batches. */
static void a_call_is_no_batch(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_batch_info_t i;
    pst_core_gauges_t g;
    uint32_t n;
    bool last;
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, PLAIN);
    assert_int_equal(pst_core_batch_info(w->core, &ID, true, &w->arena, &i), PST_E_NOT_FOUND);
    assert_int_equal(pst_core_results(w->core, &ID, 0, &n, &last), PST_E_NOT_FOUND);
    assert_int_equal(pst_core_segments(w->core, &ID), 0);
    pst_core_gauges(w->core, &g);
    assert_int_equal(g.batches, 0);
    assert_int_equal(g.jobs_running, 1);
    world_free(w);
}

static void it_is_known_who_runs_it(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    pst_task_ref_t ref = w->tasks[0].ref;
    assert_true(pst_core_runs(w->core, WORKER, &ref));
    assert_false(pst_core_runs(w->core, OTHER, &ref));
    ref.dispatch++;
    assert_false(pst_core_runs(w->core, WORKER, &ref));
    ref.dispatch--;
    ref.slot = 1;
    assert_false(pst_core_runs(w->core, WORKER, &ref));
    ref.slot = 0;
    outcome(w, 0, SERVER);
    assert_false(pst_core_runs(w->core, WORKER, &ref));
    world_free(w);
}

static void cancelling_cuts_the_running_call(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, PLAIN);
    batch_req(w, PST_EV_CANCEL);
    assert_int_equal(w->done.req, 50);
    assert_int_equal(w->done.err, PST_OK);
    assert_int_equal(w->revoked, 1);
    assert_result(w, PST_JOB_CANCELLED, PST_CAUSE_BATCH_CANCELLED);
    outcome(w, 0, DONE); /* it was made already */
    assert_int_equal(w->results, 1);
    assert_int_equal(w->acked, 1);
    assert_clean(w);
    world_free(w);
}

static void a_call_ends_with_its_window(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, (pst_msg_call_t){.window_ms = 500});
    pass(w, 499 * PST_MS);
    assert_int_equal(w->results, 0);
    pass(w, PST_MS);
    assert_int_equal(w->revoked, 1);
    assert_result(w, PST_JOB_EXPIRED, PST_CAUSE_BATCH_EXPIRED);
    assert_clean(w);
    world_free(w);
}

/* A window says when to give up, not how much time there is to be cheap in. */
static void a_window_makes_no_plan(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    send_call(w, &(wish_t){.models = {"both"}, .batch = 1}, PLAIN);
    assert_string_equal(w->tasks[0].provider, "alpha");
    send_call(w, &(wish_t){.models = {"both"}, .batch = 2}, (pst_msg_call_t){.window_ms = 3600000});
    assert_int_equal(w->tasks_n, 2);
    assert_string_equal(w->tasks[1].provider, "beta");
    world_free(w);
}

static void a_call_has_its_budget(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, (pst_msg_call_t){.max_cost_nano = 10});
    assert_int_equal(w->tasks_n, 0);
    assert_result(w, PST_JOB_FAILED, PST_CAUSE_BUDGET_EXCEEDED);
    assert_clean(w);
    world_free(w);
}

static void what_fails_is_tried_again(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &BOTH, STREAM);
    for (uint32_t i = 0; i < PST_ATTEMPTS_MAX; i++) {
        outcome(w, i, SERVER);
        pass(w, 60 * PST_SEC);
        assert_int_equal(w->tasks_n, i + 2);
    }
    assert_string_equal(w->tasks[PST_ATTEMPTS_MAX].model, "only-b");
    outcome(w, PST_ATTEMPTS_MAX, DONE);
    assert_result(w, PST_JOB_COMPLETED, PST_CAUSE_NONE);
    assert_int_equal(w->last_attempts, PST_ATTEMPTS_MAX + 1);
    assert_clean(w);
    world_free(w);
}

/* A batch's job would wait until somebody has mended it. */
static void nobody_waits_for_what_rests(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, PLAIN);
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_AUTHENTICATION, .status = 401, .whole = true});
    assert_result(w, PST_JOB_FAILED, PST_CAUSE_AUTHENTICATION);
    send_call(w, &ONE, PLAIN);
    assert_int_equal(w->done.req, 60);
    assert_int_equal(w->done.err, PST_E_PARKED);
    assert_int_equal(w->tasks_n, 1);
    assert_false(pst_core_calls(w->core, &ID));
    pass(w, 40 * PST_SEC); /* a probe is due: this is it */
    send_call(w, &ONE, PLAIN);
    assert_int_equal(w->tasks_n, 2);
    world_free(w);
}

static void a_lost_worker_s_call_goes_to_another(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    hello(w, OTHER, 64, NULL, 0);
    gone(w, WORKER);
    assert_int_equal(w->tasks_n, 2);
    assert_int_equal(w->tasks[1].worker, OTHER);
    assert_int_equal(w->tasks[1].ref.dispatch, 2);
    outcome(w, 1, DONE);
    assert_result(w, PST_JOB_COMPLETED, PST_CAUSE_NONE);
    world_free(w);
}

static void what_began_is_not_given_to_another_worker(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    hello(w, OTHER, 64, NULL, 0);
    begun(w);
    gone(w, WORKER);
    assert_int_equal(w->tasks_n, 1);
    assert_result(w, PST_JOB_FAILED, PST_CAUSE_WORKER_LOST);
    assert_clean(w);
    world_free(w);
}

static void what_began_does_not_go_on_in_a_new_session(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    begun(w);
    hello(w, OTHER, 64, &w->tasks[0].ref, 1);
    assert_int_equal(w->revoked, 1);
    gone(w, WORKER);
    assert_int_equal(w->tasks_n, 1);
    assert_result(w, PST_JOB_FAILED, PST_CAUSE_WORKER_LOST);
    world_free(w);
}

/* Pieces that nobody got may have been lost with the session, and an answer without them is none. */
static void a_stream_is_asked_for_anew_after_its_session(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    hello(w, OTHER, 64, &w->tasks[0].ref, 1);
    assert_int_equal(w->revoked, 1);
    outcome_from(w, OTHER, &w->tasks[0], DONE);
    assert_int_equal(w->results, 0);
    assert_int_equal(w->acked, 1);
    gone(w, WORKER);
    assert_int_equal(w->tasks_n, 2);
    outcome_from(w, OTHER, &w->tasks[0], DONE);
    assert_int_equal(w->results, 0);
    outcome(w, 1, DONE);
    assert_result(w, PST_JOB_COMPLETED, PST_CAUSE_NONE);
    world_free(w);
}

static void what_is_not_streamed_goes_on_in_a_new_session(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, PLAIN);
    hello(w, OTHER, 64, &w->tasks[0].ref, 1);
    gone(w, WORKER);
    assert_int_equal(w->revoked, 0);
    assert_true(pst_core_runs(w->core, OTHER, &w->tasks[0].ref));
    outcome_from(w, OTHER, &w->tasks[0], DONE);
    assert_result(w, PST_JOB_COMPLETED, PST_CAUSE_NONE);
    world_free(w);
}

static void what_began_is_never_begun_again(void **state)
{
    (void)state;
    static const say_t says[] = {
        {.verdict = PST_VERDICT_RETRY, .cause = PST_CAUSE_SERVER, .status = 500},
        {.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429},
        {.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_QUOTA, .status = 429},
        {.verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_CONNECTION, .status = 200},
    };
    for (size_t i = 0; i < PST_COUNT(says); i++) {
        world_t *w = world_new();
        hello(w, WORKER, 64, NULL, 0);
        send_call(w, &BOTH, STREAM);
        begun(w);
        outcome(w, 0, says[i]);
        pass(w, 60 * PST_SEC);
        assert_int_equal(w->tasks_n, 1);
        assert_int_equal(w->acked, 1);
        assert_result(w, PST_JOB_FAILED, says[i].cause);
        world_free(w);
    }
}

static void handing_back_what_began_loses_it(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, STREAM);
    begun(w);
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_RETURNED});
    assert_int_equal(w->tasks_n, 1);
    assert_result(w, PST_JOB_FAILED, PST_CAUSE_WORKER_LOST);
    world_free(w);
}

/* A worker that has a call of a broker that is no more. */
static void an_unknown_task_is_revoked(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_task_ref_t ref = {.batch = ID, .dispatch = 1};
    hello(w, WORKER, 64, &ref, 1);
    assert_int_equal(w->revoked, 1);
    outcome_from(w, WORKER, &(task_t){.ref = ref, .provider = "alpha", .model = "only-a"}, DONE);
    assert_int_equal(w->acked, 1);
    assert_int_equal(w->results, 0);
    world_free(w);
}

static void a_call_waits_while_the_store_is_away(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    run(w, &(pst_event_t){.type = PST_EV_STORE_STATE});
    send_call(w, &ONE, PLAIN);
    assert_int_equal(w->tasks_n, 0);
    run(w, &(pst_event_t){.type = PST_EV_STORE_STATE, .u.store_state.up = true});
    assert_int_equal(w->tasks_n, 1);
    world_free(w);
}

/* The time that a client has is its own. */
static void a_call_ends_while_the_store_is_away(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        world_t *w = world_new();
        hello(w, WORKER, 64, NULL, 0);
        if (waits)
            run(w, &(pst_event_t){.type = PST_EV_STORE_STATE});
        send_call(w, &ONE, (pst_msg_call_t){.window_ms = 500});
        assert_int_equal(w->tasks_n, !waits);
        run(w, &(pst_event_t){.type = PST_EV_STORE_STATE});
        pass(w, 500 * PST_MS);
        assert_result(w, PST_JOB_EXPIRED, PST_CAUSE_BATCH_EXPIRED);
        assert_clean(w);
        world_free(w);
    }
}

/* Its bytes are read back like those of any pack. */
static void a_call_without_room_for_its_bytes_is_loaded(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_destroy(&w->core);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 7, .open_bytes_max = 2});
    configure_limited(w, 0);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    hello(w, WORKER, 64, NULL, 0);
    send_call(w, &ONE, PLAIN);
    assert_int_equal(w->loads, 1);
    assert_int_equal(w->tasks_n, 1);
    outcome(w, 0, DONE);
    assert_result(w, PST_JOB_COMPLETED, PST_CAUSE_NONE);
    assert_clean(w);
    world_free(w);
}

/* Of prompts that begin alike a batch's second waits for the answer to its first. */
static void a_call_waits_for_no_other(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_provider_t p = {.name = PST_VIEW_LIT("alpha"), .urls = 1};
    pst_core_endpoint_t e = {.model = PST_VIEW_LIT("m"), .price_input = 1, .concurrency = 100, .caches_prompts = true};
    pst_core_model_t m = {PST_VIEW_LIT("cached"), 0, 1};
    configure(w, &(pst_core_config_t){&p, 1, &e, 1, &m, 1});
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"cached"}, .jobs = 2, .prefix = 77});
    assert_int_equal(w->tasks_n, 1);
    send_call(w, &(wish_t){.models = {"cached"}, .prefix = 77, .batch = 1}, PLAIN);
    assert_int_equal(w->tasks_n, 2);
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_call_runs_at_once),
    cmocka_unit_test(a_stream_is_asked_for),
    cmocka_unit_test(what_cannot_be_begun_is_refused),
    cmocka_unit_test(a_route_that_nobody_serves_fails_the_call),
    cmocka_unit_test(a_call_is_no_batch),
    cmocka_unit_test(it_is_known_who_runs_it),
    cmocka_unit_test(cancelling_cuts_the_running_call),
    cmocka_unit_test(a_call_ends_with_its_window),
    cmocka_unit_test(a_window_makes_no_plan),
    cmocka_unit_test(a_call_has_its_budget),
    cmocka_unit_test(what_fails_is_tried_again),
    cmocka_unit_test(nobody_waits_for_what_rests),
    cmocka_unit_test(a_lost_worker_s_call_goes_to_another),
    cmocka_unit_test(what_began_is_not_given_to_another_worker),
    cmocka_unit_test(what_began_does_not_go_on_in_a_new_session),
    cmocka_unit_test(a_stream_is_asked_for_anew_after_its_session),
    cmocka_unit_test(what_is_not_streamed_goes_on_in_a_new_session),
    cmocka_unit_test(what_began_is_never_begun_again),
    cmocka_unit_test(handing_back_what_began_loses_it),
    cmocka_unit_test(an_unknown_task_is_revoked),
    cmocka_unit_test(a_call_waits_while_the_store_is_away),
    cmocka_unit_test(a_call_ends_while_the_store_is_away),
    cmocka_unit_test(a_call_without_room_for_its_bytes_is_loaded),
    cmocka_unit_test(a_call_waits_for_no_other),
};

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
