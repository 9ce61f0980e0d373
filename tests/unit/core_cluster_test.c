/* core_cluster_test.c - whose a batch is, and what a live view of everything shows. */
#include "core_world.h"

static void open_of(world_t *w, pst_view_t tenant)
{
    pst_msg_open_t m = {.req = 1, .batch = ID, .priority = PST_PRIORITY_NORMAL, .tenant = tenant};
    run(w, &(pst_event_t){.type = PST_EV_OPEN, .u.open = {CLIENT, &m}});
}

static void a_tenant_is_stored_and_told(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_batch_info_t i;
    w->store_mute = true;
    open_of(w, PST_VIEW_LIT("search"));
    assert_int_equal(w->kept[0].type, PST_STORE_OPEN);
    assert_true(pst_view_eqs(w->kept[0].u.open.info->tenant, "search"));
    unmute(w);
    info(w, &i);
    assert_true(pst_view_eqs(i.tenant, "search"));
    world_free(w);
}

static void a_restored_batch_is_its_tenants(void **state)
{
    (void)state;
    world_t *w = world_new();
    pst_restored_t r = {.type = PST_RESTORED_BATCH, .batch = ID};
    pst_batch_info_t i;
    r.u.batch.info = (pst_batch_info_t){.batch = ID, .priority = PST_PRIORITY_NORMAL, .tenant = PST_VIEW_LIT("ads")};
    run(w, &(pst_event_t){.type = PST_EV_RESTORED, .u.restored = &r});
    info(w, &i);
    assert_true(pst_view_eqs(i.tenant, "ads"));
    world_free(w);
}

static pst_cluster_t look(world_t *w)
{
    pst_cluster_t c;
    tick(w, 0);
    pst_core_cluster(w->core, w->wall_ms, &w->arena, &c);
    return c;
}

static const pst_cluster_endpoint_t *endpoint(const pst_cluster_t *c, const char *model)
{
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        if (pst_view_eqs(c->endpoints[i].name.model, model))
            return &c->endpoints[i];
    fail_msg("no endpoint %s", model);
    return NULL;
}

static const pst_cluster_provider_t *provider(const pst_cluster_t *c, const char *name)
{
    for (uint32_t i = 0; i < c->providers_n; i++)
        if (pst_view_eqs(c->providers[i].name, name))
            return &c->providers[i];
    fail_msg("no provider %s", name);
    return NULL;
}

static void an_idle_cluster_is_shown_as_configured(void **state)
{
    (void)state;
    world_t *w = world_new();
    configure_limited(w, 600);
    tick(w, 5 * PST_SEC);
    pst_cluster_t c = look(w);
    assert_int_equal(c.wall_ms, w->wall_ms);
    assert_int_equal(c.uptime_ms, 5000);
    assert_int_equal(c.workers + c.batches + c.jobs_queued + c.accepted + c.completed + c.failed + c.cost_nano, 0);
    assert_int_equal(c.providers_n, 3);
    assert_int_equal(c.endpoints_n, 4);
    const pst_cluster_provider_t *p = provider(&c, "alpha");
    assert_int_equal(p->workers, 0);
    assert_int_equal(p->limits_n, 1);
    assert_int_equal(p->limits[0].rate, PST_RATE_REQUESTS);
    assert_int_equal(p->limits[0].limit, 600);
    assert_int_equal(p->limits[0].source, PST_LIMIT_CONFIGURED);
    assert_int_equal(provider(&c, "beta")->limits_n, 0);
    assert_int_equal(endpoint(&c, "up-a")->uptime_per_mille, 1000);
    world_free(w);
}

static void calls_are_counted_by_what_came_of_them(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    pst_cluster_t c = look(w);
    assert_int_equal(c.workers, 1);
    assert_int_equal(c.batches, 1);
    assert_int_equal(c.accepted, JOBS);
    assert_int_equal(c.jobs_running, JOBS);
    assert_int_equal(c.jobs_queued, 0);
    assert_int_equal(provider(&c, "alpha")->workers, 1);
    assert_int_equal(provider(&c, "alpha")->in_flight, JOBS);
    assert_int_equal(provider(&c, "alpha")->room, 64 - JOBS);
    assert_int_equal(endpoint(&c, "only-a")->in_flight, JOBS);
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_DONE, .status = 200, .input_tokens = 50, .cached_tokens = 30});
    outcome(w, 1, (say_t){.verdict = PST_VERDICT_FINAL, .cause = PST_CAUSE_INVALID_REQUEST, .status = 400});
    outcome(w, 2, SERVER);
    outcome(w, 3, (say_t){.verdict = PST_VERDICT_RETURNED});
    outcome(w, 4, (say_t){.verdict = PST_VERDICT_THROTTLE, .cause = PST_CAUSE_RATE_LIMIT, .status = 429,
                          .wait_ms = 60000});
    c = look(w);
    const pst_cluster_endpoint_t *e = endpoint(&c, "only-a");
    assert_int_equal(e->calls, 4);
    assert_int_equal(e->completed, 1);
    assert_int_equal(e->rate_limited, 1);
    assert_int_equal(e->failed, 2);
    assert_int_equal(e->input_tokens, 50);
    assert_int_equal(e->cached_tokens, 30);
    assert_int_equal(e->output_tokens, 20);
    assert_int_equal(e->cost_nano, 70 * 1000);
    assert_int_equal(c.cost_nano, 70 * 1000);
    assert_int_equal(c.completed, 1);
    assert_int_equal(c.failed, 1);
    assert_int_equal(c.jobs_waiting, 1);
    assert_int_equal(c.jobs_queued + c.jobs_running + c.jobs_waiting, JOBS - 2);
    assert_int_equal(e->cause, PST_CAUSE_NONE); /* a limit is no reason to look at it */
    pst_batch_info_t i;
    info(w, &i); /* the batch's own account */
    assert_int_equal(i.endpoints_n, 1);
    assert_int_equal(i.endpoints[0].calls, 4);
    assert_int_equal(i.endpoints[0].input_tokens, 50);
    assert_int_equal(i.endpoints[0].cached_tokens, 30);
    world_free(w);
}

static void what_rests_says_why_and_until_when(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 64, NULL, 0);
    submit(w, (wish_t){.models = {"one"}});
    outcome(w, 0, (say_t){.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_NOT_FOUND, .status = 404, .wait_ms = 9000});
    outcome(w, 1, (say_t){.verdict = PST_VERDICT_PARK, .cause = PST_CAUSE_AUTHENTICATION, .status = 401,
                          .wait_ms = 20000, .whole = true});
    tick(w, PST_SEC);
    pst_cluster_t c = look(w);
    assert_int_equal(endpoint(&c, "only-a")->cause, PST_CAUSE_NOT_FOUND);
    assert_int_equal(endpoint(&c, "only-a")->until_wall_ms, w->wall_ms + 8000);
    assert_int_equal(provider(&c, "alpha")->cause, PST_CAUSE_AUTHENTICATION);
    assert_int_equal(provider(&c, "alpha")->until_wall_ms, w->wall_ms + 19000);
    assert_int_equal(provider(&c, "beta")->cause, PST_CAUSE_NONE);
    assert_int_equal(provider(&c, "beta")->until_wall_ms, 0);
    world_free(w);
}

/* Once there were calls enough to tell. */
static void speed_and_uptime_are_of_the_last_minutes(void **state)
{
    (void)state;
    world_t *w = world_new();
    hello(w, WORKER, 256, NULL, 0);
    submit(w, (wish_t){.models = {"one"}, .jobs = 110});
    for (uint32_t i = 0; i < 100; i++)
        outcome(w, i, (say_t){.verdict = PST_VERDICT_DONE, .status = 200, .output_tokens = 100, .latency_us = 1000000});
    for (uint32_t i = 100; i < 105; i++)
        outcome(w, i, SERVER);
    tick(w, 2 * PST_SEC);
    pst_cluster_t c = look(w);
    const pst_cluster_endpoint_t *e = endpoint(&c, "only-a");
    assert_in_range(e->p50_ms, 900, 1300);
    assert_in_range(e->tokens_per_s, 80, 120);
    assert_int_equal(e->uptime_per_mille, 952);
    world_free(w);
}

/* More endpoints than a view may have: only those in use are shown. */
static void a_crowd_is_cut_to_what_was_used(void **state)
{
    (void)state;
    enum { MANY = PST_CLUSTER_ENDPOINTS_MAX + 10 };
    world_t *w = world_new();
    static char names[MANY][16];
    static pst_core_endpoint_t e[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "m-%u", i);
        e[i] = (pst_core_endpoint_t){.model = pst_view_str(names[i])};
    }
    pst_core_provider_t p = {.name = PST_VIEW_LIT("alpha"), .urls = 1};
    pst_core_model_t m = {PST_VIEW_LIT("last"), MANY - 1, 1};
    configure(w, &(pst_core_config_t){&p, 1, e, MANY, &m, 1});
    hello(w, WORKER, 8, NULL, 0);
    submit(w, (wish_t){.models = {"last"}});
    pst_cluster_t c = look(w);
    assert_int_equal(c.endpoints_n, 1);
    assert_true(pst_view_eqs(c.endpoints[0].name.model, names[MANY - 1]));
    world_free(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_tenant_is_stored_and_told),
    cmocka_unit_test(a_restored_batch_is_its_tenants),
    cmocka_unit_test(an_idle_cluster_is_shown_as_configured),
    cmocka_unit_test(calls_are_counted_by_what_came_of_them),
    cmocka_unit_test(what_rests_says_why_and_until_when),
    cmocka_unit_test(speed_and_uptime_are_of_the_last_minutes),
    cmocka_unit_test(a_crowd_is_cut_to_what_was_used),
};
UNIT_MAIN(tests)
