/* core_test.c - the core's rules, one by one. */
#include "core_world.h"

/* ---- the cases ------------------------------------------------------------------------------------------------------ */

static void a_batch_runs_and_ends(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_true(w->done.accepted);
    assert_int_equal(w->tasks_n, JOBS);
    assert_true(w->tasks[0].bytes);
    assert_string_equal(w->tasks[0].model, "only-a");
    finish_all(w, 0);
    assert_int_equal(w->results, JOBS);
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    assert_int_equal(w->summary.completed, JOBS);
    assert_int_equal(w->summary.cost_nano, JOBS * 30 * 1000);
    assert_int_equal(w->acked, JOBS);
    pst_batch_info_t i;
    assert_int_equal(pst_core_batch_info(w->core, &ID, true, &w->arena, &i), PST_E_NOT_FOUND);
    tick(w, 0); /* what has ended is freed with the next step */
    pst_core_gauges_t g;
    pst_core_gauges(w->core, &g);
    assert_int_equal(g.batches + g.packs + g.packs_open + g.jobs_running + g.jobs_waiting + g.jobs_queued, 0);
    world_free(w);
}

static void nothing_is_answered_before_it_is_stored(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    w->store_mute = true;
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->done.req, 0);
    assert_int_equal(w->tasks_n, 0);
    unmute(w);
    assert_true(w->done.accepted);
    w->store_mute = true;
    outcome(w, 0, DONE);
    assert_int_equal(w->acked, 0);
    unmute(w);
    assert_int_equal(w->acked, 1);
    w->store_mute = true;
    outcome(w, 1, SERVER);
    assert_int_equal(w->acked, 1);
    unmute(w);
    assert_int_equal(w->acked, 2);
    world_free(w);
}

/* The store has OPEN, PACK and COMMIT in its hands together.  Whatever it makes of a COMMIT behind an OPEN that it
 * refused, nothing runs, and nothing stays. */
static void a_refused_open_takes_the_commit_along(void **state)
{
    (void)state;
    static const pst_err_t commit_says[] = {PST_OK, PST_E_NOT_FOUND, PST_E_STORE_FULL};
    for (size_t i = 0; i < PST_COUNT(commit_says); i++) {
        world_t *w = world_new();
        hello(w, WORKER, 64, NULL, 0);
        w->store_mute = true;
        w->refuse[PST_STORE_OPEN] = PST_E_STORE_FULL;
        w->refuse[PST_STORE_COMMIT] = commit_says[i];
        submit(w, (wish_t){.models = {"one"}});
        assert_int_equal(w->kept_n, 3);
        unmute(w);
        assert_int_equal(w->done.err, PST_E_STORE_FULL);
        assert_int_equal(w->deletes, 1);
        assert_int_equal(w->tasks_n, 0);
        memset(w->refuse, 0, sizeof w->refuse);
        submit(w, (wish_t){.models = {"one"}});
        assert_true(w->done.accepted);
        assert_int_equal(w->tasks_n, JOBS);
        world_free(w);
    }
}

/* An upload that is repeated because its last answer was lost: the batch has run and ended meanwhile. */
static void a_repeated_upload_of_an_ended_batch_is_accepted(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    w->store_mute = true;
    w->refuse[PST_STORE_OPEN] = PST_E_EXISTS;
    submit(w, (wish_t){.models = {"one"}});
    unmute(w);
    assert_int_equal(w->done.req, 99);
    assert_int_equal(w->done.err, PST_OK);
    assert_true(w->done.accepted);
    assert_int_equal(w->deletes, 0);
    assert_int_equal(w->tasks_n, 0);
    world_free(w);
}

static void a_commit_that_does_not_add_up_is_refused(void **state)
{
    (void)state;
    world_t *w = world_new();
    wish_t x = {.models = {"one"}};
    send_open(w, &x);
    send_pack(w, &x, 0);
    send_commit(w, 2, 2 * JOBS);
    assert_int_equal(w->done.err, PST_E_STATE);
    send_commit(w, 1, JOBS);
    assert_true(w->done.accepted);
    world_free(w);
}

static void errors_cost_five_attempts_with_growing_waits(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 1});
    for (uint32_t i = 0; i < PST_ATTEMPTS_MAX; i++) {
        assert_int_equal(w->tasks_n, i + 1);
        assert_false(w->ended);
        outcome(w, i, SERVER);
        pass(w, 61 * PST_SEC);
    }
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_FAILED);
    assert_int_equal(w->retries, PST_ATTEMPTS_MAX - 1);
    assert_int_equal(w->last_attempts, PST_ATTEMPTS_MAX);
    assert_int_equal(w->last_result.http_status, 500);
    world_free(w);
}

static void a_limit_costs_no_attempt(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 1});
    for (uint32_t i = 0; i < 3 * PST_ATTEMPTS_MAX; i++) {
        assert_int_equal(w->tasks_n, i + 1);
        outcome(w, i, (say_t){.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429,
                              .wait_ms = 2000});
        pass(w, 1900 * PST_MS);
        assert_int_equal(w->tasks_n, i + 1); /* not before the provider said */
        pass(w, 200 * PST_MS);
    }
    assert_int_equal(w->retries, 0);
    outcome(w, w->tasks_n - 1, DONE);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void a_refused_key_parks_the_account_and_spends_nothing(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_AUTHENTICATION, .status = 401,
                          .whole = true});
    assert_int_equal(w->parked, 1);
    assert_int_equal(w->tasks_n, 1);
    pst_batch_info_t i;
    info(w, &i);
    assert_int_equal(i.parked_n, 1);
    assert_int_equal(i.parked[0].cause, PST_CAUSE_AUTHENTICATION);
    pass(w, 31 * PST_SEC); /* one probe */
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, DONE);
    assert_int_equal(w->resumed, 1);
    assert_int_equal(w->tasks_n, 3);
    world_free(w);
}

static void a_parked_endpoint_leaves_the_work_to_the_other(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    submit(w, (wish_t){.models = {"both"}, .order = "alpha"});
    assert_string_equal(w->tasks[0].provider, "alpha");
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_PAYMENT_REQUIRED, .status = 402,
                          .whole = true});
    for (uint32_t i = 1; i < w->tasks_n; i++) {
        assert_string_equal(w->tasks[i].provider, "beta");
        outcome(w, i, DONE);
    }
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void a_wrong_request_falls_back_to_the_next_model(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one", "other"}, .jobs = 1});
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_CONTEXT_LENGTH, .status = 400});
    assert_int_equal(w->tasks_n, 2);
    assert_string_equal(w->tasks[1].model, "only-b");
    outcome(w, 1, (say_t){.verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_CONTEXT_LENGTH, .status = 400});
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_FAILED);
    assert_int_equal(w->last_attempts, 2);
    world_free(w);
}

static void cheaper_endpoints_get_the_square_of_their_advantage(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1000, NULL, 0);
    submit(w, (wish_t){.models = {"both"}, .jobs = 100});
    uint32_t alpha = 0;
    for (uint32_t i = 0; i < w->tasks_n; i++)
        alpha += strcmp(w->tasks[i].provider, "alpha") == 0;
    assert_int_equal(w->tasks_n, 100);
    assert_int_equal(alpha, 90); /* 1 USD against 3: nine to one */
    world_free(w);
}

static void a_lost_worker_gives_its_jobs_back(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    pst_event_t gone = {.type = PST_EV_WORKER_GONE};
    gone.u.worker.worker = WORKER;
    run(w, &gone);
    hello(w, WORKER + 1, 64, NULL, 0);
    assert_int_equal(w->tasks_n, 2 * JOBS);
    assert_true(w->tasks[JOBS].bytes);
    hello(w, WORKER + 2, 64, NULL, 0);
    outcome_from(w, WORKER + 2, &w->tasks[0], DONE); /* the lost one had it done after all */
    assert_int_equal(w->results, 1);
    assert_int_equal(w->revoked, 1);
    for (uint32_t i = JOBS; i < 2 * JOBS; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->results, JOBS);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    assert_int_equal(w->calls, JOBS);
    world_free(w);
}

static void a_repeated_outcome_changes_nothing(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    outcome(w, 0, DONE);
    outcome(w, 0, DONE);
    assert_int_equal(w->results, 1);
    assert_int_equal(w->acked, 2); /* it may be forgotten all the same */
    world_free(w);
}

static void cancel_keeps_what_is_done_and_lets_calls_finish(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 2, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 0, DONE);
    assert_int_equal(w->tasks_n, 3);
    batch_req(w, PST_EV_CANCEL);
    assert_int_equal(w->done.err, PST_OK);
    assert_int_equal(w->results, 1 + JOBS - 3);
    assert_false(w->ended);
    outcome(w, 1, DONE);
    outcome(w, 2, SERVER); /* not tried again */
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_CANCELLED);
    assert_int_equal(w->summary.completed, 2);
    assert_int_equal(w->summary.cancelled, JOBS - 2);
    world_free(w);
}

static void the_window_ends_what_is_not_done(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 2, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .window_s = 60});
    outcome(w, 0, DONE);
    pass(w, 61 * PST_SEC);
    assert_true(w->ended);
    assert_int_equal(w->revoked, 2);
    assert_int_equal(w->end_status, PST_BATCH_EXPIRED);
    assert_int_equal(w->summary.expired, JOBS - 1);
    assert_int_equal(w->last_result.cause, PST_CAUSE_BATCH_EXPIRED);
    world_free(w);
}

static void the_budget_is_not_overshot(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .max_cost_nano = 3 * 200 * 1000}); /* three jobs' reservations */
    assert_int_equal(w->tasks_n, 3);
    for (uint32_t i = 0; i < 3; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100, .output_tokens = 100});
    assert_int_equal(w->tasks_n, 3);
    assert_true(w->ended);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    assert_int_equal(w->summary.failed, JOBS - 3);
    assert_int_equal(w->summary.cost_nano, 3 * 200 * 1000);
    world_free(w);
}

/* What was reserved for an answer and not used is there for other jobs: they wait for it. */
static void a_budget_is_used_up_before_it_ends_a_batch(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .max_cost_nano = 3 * 200 * 1000});
    assert_int_equal(w->tasks_n, 3);
    for (uint32_t i = 0; i < w->tasks_n; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 10, .output_tokens = 20});
    assert_true(w->ended);
    assert_int_equal(w->summary.completed, JOBS);
    assert_int_equal(w->summary.cost_nano, JOBS * 30 * 1000);
    world_free(w);
}

/* An answer that was none is billed too: with the job, at its endpoint, and against the budget. */
static void every_billed_attempt_is_in_the_cost(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 1, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 1});
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_RETRY, .cause = PST_CAUSE_BAD_ANSWER, .status = 200, .input_tokens = 100,
                          .output_tokens = 50});
    pass(w, PST_SEC);
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100, .output_tokens = 20});
    assert_true(w->ended);
    assert_int_equal(w->last_result.cost_nano, 270 * 1000);
    assert_int_equal(w->summary.cost_nano, 270 * 1000);
    world_free(w);
}

static void refused_lines_end_as_failed_without_a_call(void **state)
{
    (void)state;
    world_t *w = world_new();
    submit(w, (wish_t){.reject = true});
    assert_int_equal(w->tasks_n, 0);
    assert_int_equal(w->results, JOBS);
    assert_string_equal(w->last_message, "broken");
    assert_int_equal(w->last_result.cause, PST_CAUSE_LINE_JSON);
    assert_int_equal(w->end_status, PST_BATCH_FAILED);
    world_free(w);
}

static void unknown_models_are_refused_and_bare_providers_pass_through(void **state)
{
    (void)state;
    world_t *w = world_new();
    wish_t x = {.models = {"nobody/knows"}};
    assert_int_equal(pst_core_route_check(w->core, PST_URL_CHAT, route_bytes(w, &x)), PST_E_MODEL_NOT_FOUND);
    x.models[0] = "alpha/typo"; /* alpha has models of its own */
    assert_int_equal(pst_core_route_check(w->core, PST_URL_CHAT, route_bytes(w, &x)), PST_E_MODEL_NOT_FOUND);
    x.models[0] = "bare/any/thing";
    assert_int_equal(pst_core_route_check(w->core, PST_URL_CHAT, route_bytes(w, &x)), PST_OK);
    world_free(w);
}

static void a_budget_of_requests_is_leased_and_waited_for(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_limited(w, 60);
    w->take_refuse = true;
    w->take_wait_ms = 700;
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 0);
    pass(w, 690 * PST_MS);
    assert_int_equal(w->tasks_n, 0);
    w->take_refuse = false;
    pass(w, 20 * PST_MS);
    assert_int_equal(w->tasks_n, 1); /* this store grants a slice: it is spent at the pace of the limit */
    pass(w, 960 * PST_MS);
    assert_int_equal(w->tasks_n, 1);
    pass(w, 40 * PST_MS);
    assert_int_equal(w->tasks_n, 2);
    pass(w, 6 * PST_SEC + 60 * PST_MS);
    assert_int_equal(w->tasks_n, JOBS);
    world_free(w);
}

static void idempotency_key_is_claimed_before_the_batch_counts(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .key = "k"});
    assert_true(w->done.accepted);
    assert_memory_equal(w->done.batch.b, ID.b, 16);
    assert_int_equal(w->tasks_n, JOBS);
    world_free(w);
}

static void packs_that_do_not_fit_in_memory_are_read_back(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_destroy(&w->core);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 7, .open_bytes_max = 1});
    configure_limited(w, 0);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    hello(w, WORKER, 2, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .packs = 4});
    for (uint32_t i = 0; i < w->tasks_n; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->results, 4 * JOBS);
    assert_true(w->loads >= 4);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void a_restarted_core_repeats_no_call_of_a_live_worker(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 3, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 3);
    outcome(w, 0, DONE);
    pst_core_destroy(&w->core);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 8});
    configure_limited(w, 0);
    pst_restored_t r = {.type = PST_RESTORED_BATCH, .batch = ID, .u.batch.jobs = JOBS};
    r.u.batch.info.accepted_ms = 1000000;
    r.u.batch.info.expires_ms = w->wall_ms + 1000000;
    pst_event_t ev = {.type = PST_EV_RESTORED};
    ev.u.restored = &r;
    run(w, &ev);
    wish_t x = {.models = {"one"}};
    r = (pst_restored_t){.type = PST_RESTORED_PACK, .batch = ID};
    r.u.pack.entry = (pst_pack_entry_t){.jobs = JOBS, .index_hi = JOBS - 1};
    r.u.pack.route = route_bytes(w, &x);
    run(w, &ev);
    pst_slot_ref_t ended = {0, 0};
    r = (pst_restored_t){.type = PST_RESTORED_RESULTS, .batch = ID};
    r.u.results.ended = &ended;
    r.u.results.ended_n = 1;
    run(w, &ev);
    pst_seg_stats_t stats = {.completed = 1};
    r = (pst_restored_t){.type = PST_RESTORED_STATS, .batch = ID, .u.stats = stats};
    run(w, &ev);
    r = (pst_restored_t){.type = PST_RESTORED_BATCH_END, .batch = ID};
    run(w, &ev);
    pst_task_ref_t running[3] = {w->tasks[1].ref, w->tasks[2].ref, w->tasks[3].ref};
    hello(w, WORKER, 64, running, 3);
    uint32_t before = w->tasks_n;
    assert_int_equal(before, 4);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    assert_int_equal(w->tasks_n, before + JOBS - 4);
    for (uint32_t i = 1; i < w->tasks_n; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->results, JOBS);
    assert_int_equal(w->summary.completed, JOBS);
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

static void an_adopted_call_counts_against_the_limit(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_provider_t p = {.name = PST_VIEW_LIT("alpha"), .urls = 1, .concurrency = 3};
    pst_core_endpoint_t e = {.model = PST_VIEW_LIT("only-a"), .price_input = 1, .price_output = 1};
    pst_core_model_t m = {PST_VIEW_LIT("one"), 0, 1};
    pst_core_config_t c = {&p, 1, &e, 1, &m, 1};
    pst_event_t ev = {.type = PST_EV_CONFIG};
    ev.u.config = &c;
    run(w, &ev);
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    assert_int_equal(w->tasks_n, 3);
    pst_task_ref_t running[2] = {w->tasks[0].ref, w->tasks[1].ref};
    hello(w, WORKER + 1, 64, running, 2); /* the same calls, in a new session */
    ev = (pst_event_t){.type = PST_EV_WORKER_GONE};
    ev.u.worker.worker = WORKER;
    run(w, &ev);
    assert_int_equal(w->tasks_n, 4); /* two adopted, one given back: there is room for just that one */
    for (uint32_t i = 0; i < w->tasks_n; i++) {
        task_t t = w->tasks[i];
        if (i != 2)
            outcome_from(w, WORKER + 1, &t, DONE);
    }
    assert_int_equal(w->end_status, PST_BATCH_COMPLETED);
    world_free(w);
}

/* A bad key is mended and reloaded; what calls sent before that say of the old one parks nothing. */
static void a_reload_is_not_parked_by_calls_before_it(void **state)
{
    (void)state;
    static const say_t key = {.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_AUTHENTICATION, .status = 401,
                              .whole = true};
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 2});
    outcome(w, 0, key);
    assert_int_equal(w->parked, 1);
    tick(w, PST_SEC);
    configure_limited(w, 0);
    w->pools_n = 2;
    assert_int_equal(w->tasks_n, 3); /* the first again */
    outcome(w, 1, key);
    assert_int_equal(w->parked, 1);
    assert_int_equal(w->tasks_n, 4);
    outcome(w, 2, key); /* sent since: the new key is no better */
    assert_int_equal(w->parked, 2);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_runs_and_ends),
        cmocka_unit_test(nothing_is_answered_before_it_is_stored),
        cmocka_unit_test(a_refused_open_takes_the_commit_along),
    cmocka_unit_test(a_repeated_upload_of_an_ended_batch_is_accepted),
    cmocka_unit_test(a_commit_that_does_not_add_up_is_refused),
        cmocka_unit_test(errors_cost_five_attempts_with_growing_waits),
        cmocka_unit_test(a_limit_costs_no_attempt),
        cmocka_unit_test(a_refused_key_parks_the_account_and_spends_nothing),
        cmocka_unit_test(a_parked_endpoint_leaves_the_work_to_the_other),
        cmocka_unit_test(a_wrong_request_falls_back_to_the_next_model),
        cmocka_unit_test(cheaper_endpoints_get_the_square_of_their_advantage),
        cmocka_unit_test(a_lost_worker_gives_its_jobs_back),
        cmocka_unit_test(a_repeated_outcome_changes_nothing),
        cmocka_unit_test(cancel_keeps_what_is_done_and_lets_calls_finish),
        cmocka_unit_test(the_window_ends_what_is_not_done),
        cmocka_unit_test(the_budget_is_not_overshot),
        cmocka_unit_test(every_billed_attempt_is_in_the_cost),
        cmocka_unit_test(a_budget_is_used_up_before_it_ends_a_batch),
        cmocka_unit_test(refused_lines_end_as_failed_without_a_call),
        cmocka_unit_test(unknown_models_are_refused_and_bare_providers_pass_through),
        cmocka_unit_test(a_budget_of_requests_is_leased_and_waited_for),
        cmocka_unit_test(idempotency_key_is_claimed_before_the_batch_counts),
        cmocka_unit_test(packs_that_do_not_fit_in_memory_are_read_back),
        cmocka_unit_test(a_restarted_core_repeats_no_call_of_a_live_worker),
        cmocka_unit_test(an_adopted_call_counts_against_the_limit),
        cmocka_unit_test(a_reload_is_not_parked_by_calls_before_it),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
