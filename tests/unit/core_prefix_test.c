/* core_prefix_test.c - prompts that begin alike: the first goes alone, the others follow its answer to where it was given.
 *
 * Endpoints left/up and right/up of model `m`, at the same price, cache prompts. */
#include "core_world.h"

#define HELD_MAX 1024 /* jobs of a batch that wait for the first of their beginning */

static void configure_caches(world_t *w, bool caches)
{
    pst_core_provider_t p[] = {{.name = PST_VIEW_LIT("left"), .urls = 1, .concurrency = 10000},
                               {.name = PST_VIEW_LIT("right"), .urls = 1, .concurrency = 10000}};
    pst_core_endpoint_t e[] = {
        {.provider = 0, .model = PST_VIEW_LIT("up"), .price_input = 1, .price_output = 1, .caches_prompts = caches},
        {.provider = 1, .model = PST_VIEW_LIT("up"), .price_input = 1, .price_output = 1, .caches_prompts = caches},
    };
    pst_core_model_t m[] = {{PST_VIEW_LIT("m"), 0, 2}, {PST_VIEW_LIT("l"), 0, 1}};
    configure(w, &(pst_core_config_t){p, 2, e, 2, m, 2});
}

static world_t *caching(uint32_t places)
{
    world_t *w = world_new();
    configure_caches(w, true);
    hello(w, WORKER, places, NULL, 0);
    return w;
}

static void lose_worker(world_t *w)
{
    pst_event_t gone = {.type = PST_EV_WORKER_GONE};
    gone.u.worker.worker = WORKER;
    run(w, &gone);
}

/* Whatever became of the batch, the core holds nothing of it. */
static void assert_nothing_left(world_t *w)
{
    assert_true(w->ended);
    tick(w, 0);
    pst_core_gauges_t g;
    pst_core_gauges(w->core, &g);
    assert_int_equal(g.batches + g.packs + g.packs_open + g.jobs_running + g.jobs_waiting + g.jobs_queued, 0);
    assert_int_equal(g.open_bytes, 0);
}

/* ---- who goes, and where ------------------------------------------------------------------------------------------------ */

static void the_first_goes_alone_and_the_others_after_its_answer(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 50});
    assert_int_equal(w->tasks_n, 1);
    pass(w, 60 * PST_SEC); /* however long it takes */
    assert_int_equal(w->tasks_n, 1);
    outcome(w, 0, DONE);
    assert_int_equal(w->tasks_n, 50);
    for (uint32_t i = 1; i < 50; i++) /* in their order */
        assert_int_equal(w->tasks[i].ref.slot, i);
    finish_all(w, 1);
    assert_int_equal(w->summary.completed, 50);
    assert_nothing_left(w);
    world_free(w);
}

/* With two endpoints two would lead; each is followed at its own.  Whoever has its answer gets all that still wait. */
static void the_others_go_where_the_first_was_answered(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"m"}, .prefix = 7, .jobs = 50});
    assert_int_equal(w->tasks_n, 2);
    assert_string_not_equal(w->tasks[0].provider, w->tasks[1].provider);
    outcome(w, 1, DONE);
    assert_true(w->tasks_n > 2);
    for (uint32_t i = 2; i < w->tasks_n; i++)
        assert_string_equal(w->tasks[i].provider, w->tasks[1].provider);
    world_free(w);
}

/* A batch that comes later knows where its beginning is cached, as long as caches last. */
static void a_beginning_is_known_for_five_minutes(void **state)
{
    (void)state;
    static const uint32_t later_s[] = {299, 301};
    for (size_t i = 0; i < PST_COUNT(later_s); i++) {
        world_t *w = caching(100);
        submit(w, (wish_t){.models = {"l"}, .prefix = 7, .batch = 1, .jobs = 1});
        outcome(w, 0, DONE);
        pass(w, later_s[i] * PST_SEC);
        submit(w, (wish_t){.models = {"l"}, .prefix = 7, .batch = 2, .jobs = 20});
        assert_int_equal(w->tasks_n, i == 0 ? 21 : 2);
        world_free(w);
    }
}

static void where_it_is_cached_comes_before_whose_turn_it_is(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .batch = 1, .jobs = 1});
    outcome(w, 0, DONE);
    submit(w, (wish_t){.models = {"m"}, .prefix = 7, .batch = 2, .jobs = 50});
    assert_int_equal(w->tasks_n, 51);
    for (uint32_t i = 1; i < 51; i++)
        assert_string_equal(w->tasks[i].provider, "left");
    world_free(w);
}

static void if_the_first_fails_the_next_leads(void **state)
{
    (void)state;
    static const say_t wrong = {.verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_INVALID_REQUEST, .status = 400};
    const say_t fails[] = {SERVER, wrong, {.verdict = PST_VERDICT_RETURNED}};
    for (size_t i = 0; i < PST_COUNT(fails); i++) {
        world_t *w = caching(100);
        submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 20});
        outcome(w, 0, fails[i]);
        assert_int_equal(w->tasks_n, 2);
        outcome(w, 1, DONE);
        assert_true(w->tasks_n >= 20);
        world_free(w);
    }
}

static void a_lost_worker_loses_no_follower(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 20});
    lose_worker(w);
    hello(w, WORKER + 1, 100, NULL, 0);
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, DONE);
    assert_int_equal(w->tasks_n, 2 + 19);
    finish_all(w, 2);
    assert_int_equal(w->summary.completed, 20);
    assert_nothing_left(w);
    world_free(w);
}

/* ---- who is not held up --------------------------------------------------------------------------------------------------- */

static void other_beginnings_and_none_are_not_held_up(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .prefixes = 5, .batch = 1, .jobs = 40});
    assert_int_equal(w->tasks_n, 5);
    submit(w, (wish_t){.models = {"l"}, .batch = 2, .jobs = 30});
    assert_int_equal(w->tasks_n, 35);
    outcome(w, 3, DONE); /* its seven may go, no others */
    assert_int_equal(w->tasks_n, 42);
    world_free(w);
}

static void without_a_cache_there_is_nothing_to_wait_for(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_caches(w, false);
    hello(w, WORKER, 100, NULL, 0);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 50});
    assert_int_equal(w->tasks_n, 50);
    world_free(w);
}

/* A batch of 256 jobs a pack, so many packs that begin alike and then one that does not. */
static void submit_alike_and_not(world_t *w, uint32_t alike)
{
    wish_t x = {.models = {"l"}, .prefix = 7, .jobs = 256};
    send_open(w, &x);
    for (uint32_t i = 0; i < alike; i++)
        send_pack(w, &x, i);
    x.prefix = 0;
    send_pack(w, &x, alike);
    send_commit(w, alike + 1, (alike + 1) * 256);
}

/* More do not wait beside their packs: the flow does, with all that is behind. */
static void a_batch_holds_back_so_many_at_most(void **state)
{
    (void)state;
    enum { PACKS_HELD = HELD_MAX / 256 }; /* their first job leads: one less than may be held */
    for (uint32_t more = 0; more < 2; more++) {
        world_t *w = caching(4000);
        submit_alike_and_not(w, PACKS_HELD + more);
        assert_int_equal(w->tasks_n, more ? 1 : 1 + 256);
        submit(w, (wish_t){.models = {"l"}, .batch = 2, .jobs = 10}); /* others are served */
        uint32_t sent = more ? 11 : 267;
        assert_int_equal(w->tasks_n, sent);
        outcome(w, 0, DONE);
        assert_int_equal(w->tasks_n, 10 + (PACKS_HELD + more + 1) * 256);
        finish_all(w, 1);
        assert_int_equal(w->ends, 2);
        assert_nothing_left(w);
        world_free(w);
    }
}

/* The bound is the batch's: packs of it with other wishes wait as well, and go on with the rest. */
static void what_a_batch_holds_back_counts_for_all_its_routes(void **state)
{
    (void)state;
    world_t *w = caching(4000);
    wish_t x = {.models = {"l"}, .prefix = 7, .jobs = 256}, other = {.models = {"l"}, .order = "left", .jobs = 256};
    send_open(w, &x);
    for (uint32_t i = 0; i < 5; i++)
        send_pack(w, &x, i);
    send_pack(w, &other, 5);
    send_commit(w, 6, 6 * 256);
    assert_in_range(w->tasks_n, 1, 1 + 256);
    for (uint32_t i = 0; i < w->tasks_n; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->summary.completed, 6 * 256);
    assert_nothing_left(w);
    world_free(w);
}

/* Held ones keep their pack's record, not its bytes: it is read back when they may go. */
static void held_jobs_of_packs_that_were_closed_are_read_back(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_core_destroy(&w->core);
    w->core = pst_core_new(&(pst_core_opts_t){.seed = 7, .open_bytes_max = 1});
    configure_caches(w, true);
    run(w, &(pst_event_t){.type = PST_EV_GO});
    hello(w, WORKER, 100, NULL, 0);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 8, .packs = 8});
    assert_int_equal(w->tasks_n, 1);
    for (uint32_t i = 0; i < w->tasks_n; i++)
        outcome(w, i, DONE);
    assert_int_equal(w->summary.completed, 64);
    assert_nothing_left(w);
    world_free(w);
}

/* ---- ends in between -------------------------------------------------------------------------------------------------------- */

static void a_cancelled_batch_leaves_nothing_held(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 50});
    batch_req(w, PST_EV_CANCEL);
    assert_int_equal(w->results, 49);
    outcome(w, 0, DONE);
    assert_int_equal(w->summary.completed, 1);
    assert_int_equal(w->summary.cancelled, 49);
    assert_int_equal(w->tasks_n, 1);
    assert_nothing_left(w);
    world_free(w);
}

static void an_expired_batch_leaves_nothing_held(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 50, .window_s = 60});
    assert_int_equal(w->tasks_n, 1);
    pass(w, 61 * PST_SEC);
    assert_int_equal(w->summary.expired, 50);
    assert_int_equal(w->revoked, 1);
    assert_nothing_left(w);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .batch = 1, .jobs = 2}); /* and nobody leads */
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, DONE);
    assert_int_equal(w->tasks_n, 3);
    world_free(w);
}

/* The leader's batch ends; the followers are another batch's. */
static void a_leader_whose_batch_is_cancelled_lets_other_batches_go(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 2, .window_s = 60});
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .batch = 1, .jobs = 20});
    assert_int_equal(w->tasks_n, 1);
    pass(w, 61 * PST_SEC);
    assert_int_equal(w->ends, 1);
    assert_int_equal(w->tasks_n, 2);
    outcome(w, 1, DONE);
    assert_int_equal(w->tasks_n, 2 + 19);
    world_free(w);
}

/* Money for one call: it goes to the first, and its answer decides what becomes of the others. */
static void a_batch_out_of_money_leaves_nothing_held(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 20, .max_cost_nano = 2 * 200 * 1000});
    assert_int_equal(w->tasks_n, 1);
    for (uint32_t i = 0; i < w->tasks_n; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .input_tokens = 100, .output_tokens = 100});
    assert_int_equal(w->summary.completed, 2);
    assert_int_equal(w->summary.failed, 18);
    assert_nothing_left(w);
    world_free(w);
}

static void a_lost_worker_of_a_cancelled_batch_leaves_nothing_held(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 20});
    batch_req(w, PST_EV_CANCEL);
    lose_worker(w);
    assert_int_equal(w->summary.cancelled, 20);
    assert_nothing_left(w);
    world_free(w);
}

/* A reload takes the endpoint away while its followers wait: they are told so when the leader is back. */
static void a_reload_that_takes_the_endpoint_leaves_nothing_held(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .jobs = 20});
    configure_limited(w, 0); /* no model `l` */
    assert_int_equal(w->tasks_n, 1);
    outcome(w, 0, DONE);
    assert_int_equal(w->summary.completed, 1);
    assert_int_equal(w->summary.failed, 19);
    assert_int_equal(w->last_result.cause, PST_CAUSE_NO_ENDPOINT);
    assert_nothing_left(w);
    world_free(w);
}

/* A broker that ends lets go of what it held back (the sanitizers look). */
static void a_core_may_end_with_jobs_held(void **state)
{
    (void)state;
    world_t *w = caching(100);
    submit(w, (wish_t){.models = {"l"}, .prefix = 7, .prefixes = 3, .jobs = 50});
    assert_int_equal(w->tasks_n, 3);
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_goes_alone_and_the_others_after_its_answer),
    cmocka_unit_test(the_others_go_where_the_first_was_answered),
    cmocka_unit_test(a_beginning_is_known_for_five_minutes),
    cmocka_unit_test(where_it_is_cached_comes_before_whose_turn_it_is),
    cmocka_unit_test(if_the_first_fails_the_next_leads),
    cmocka_unit_test(a_lost_worker_loses_no_follower),
    cmocka_unit_test(other_beginnings_and_none_are_not_held_up),
    cmocka_unit_test(without_a_cache_there_is_nothing_to_wait_for),
    cmocka_unit_test(a_batch_holds_back_so_many_at_most),
    cmocka_unit_test(what_a_batch_holds_back_counts_for_all_its_routes),
    cmocka_unit_test(held_jobs_of_packs_that_were_closed_are_read_back),
    cmocka_unit_test(a_cancelled_batch_leaves_nothing_held),
    cmocka_unit_test(an_expired_batch_leaves_nothing_held),
    cmocka_unit_test(a_leader_whose_batch_is_cancelled_lets_other_batches_go),
    cmocka_unit_test(a_batch_out_of_money_leaves_nothing_held),
    cmocka_unit_test(a_lost_worker_of_a_cancelled_batch_leaves_nothing_held),
    cmocka_unit_test(a_reload_that_takes_the_endpoint_leaves_nothing_held),
    cmocka_unit_test(a_core_may_end_with_jobs_held),
};
UNIT_MAIN(tests)
