/* The library against a broker that misbehaves: whatever happens, an accepted batch has every job once. */
#include "unit.h"

#include <unistd.h>

#include "base/buf.h"
#include "fake_front.h"
#include "penstock/penstock.h"

static fake_front_t *front;
static pst_client_t *client;

static int setup(void **state)
{
    (void)state;
    front = fake_front_start();
    pst_client_opts_t o = {.broker = fake_front_address(front), .timeout_ms = 3000, .line_bytes_max = 10000};
    return pst_client_new(&o, &client);
}

static int teardown(void **state)
{
    (void)state;
    pst_client_destroy(&client);
    fake_front_stop(&front);
    return 0;
}

/* ---- what is submitted --------------------------------------------------------------------------------------- */

static void put_line(pst_buf_t *b, unsigned i, unsigned filler)
{
    pst_buf_printf(b, "{\"custom_id\":\"c-%u\",\"body\":{\"model\":\"m%u\",\"k\":%u,\"x\":\"", i, i % 3, i);
    for (unsigned k = 0; k < filler; k++)
        pst_buf_putc(b, (char)('a' + (i * 7 + k * k) % 26));
    pst_buf_puts(b, "\"}}\n");
}

static pst_submit_t *begin(const pst_submit_opts_t *o)
{
    pst_submit_t *s = NULL;
    bool known;
    assert_int_equal(pst_submit_begin(client, o, &s, &known), PST_OK);
    assert_false(known);
    return s;
}

static pst_err_t submit_text(const pst_submit_opts_t *o, pst_view_t text, pst_id_t *ret)
{
    pst_submit_t *s = begin(o);
    pst_err_t e = pst_submit_write(s, text.p, text.n);
    if (!e)
        e = pst_submit_finish(s, ret);
    pst_submit_destroy(&s);
    return e;
}

static pst_id_t submit_many(unsigned n, unsigned filler)
{
    pst_buf_t b;
    pst_id_t id;
    pst_buf_init(&b, 0);
    for (unsigned i = 0; i < n; i++)
        put_line(&b, i, filler);
    pst_err_t e = submit_text(NULL, pst_buf_view(&b), &id);
    if (e)
        fail_msg("%s", pst_client_error(client));
    pst_buf_release(&b);
    return id;
}

/* Every job has one result, with its own body. */
static void check_results(const pst_id_t *id, unsigned n)
{
    pst_results_t *r = NULL;
    assert_int_equal(pst_results_open(client, id, &r), PST_OK);
    unsigned char *seen = calloc(n, 1);
    pst_result_line_t line;
    bool more = true, ended = false;
    char want[64];
    while (more || !ended) {
        assert_int_equal(pst_results_next(r, 100, &line, &more, &ended), PST_OK);
        if (!more)
            continue;
        assert_true(line.index < n && !seen[line.index]);
        seen[line.index] = 1;
        snprintf(want, sizeof want, "\"custom_id\":\"c-%u\"", line.index);
        assert_non_null(memmem(line.line.p, line.line.n, want, strlen(want)));
        snprintf(want, sizeof want, "\"k\":%u,", line.index);
        assert_non_null(memmem(line.line.p, line.line.n, want, strlen(want)));
    }
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(seen[i], 1);
    free(seen);
    pst_results_close(&r);
}

/* ---- all well -------------------------------------------------------------------------------------------------- */

static void one_job(void **state)
{
    (void)state;
    pst_id_t id = submit_many(1, 10);
    check_results(&id, 1);
    fake_counts_t c = fake_front_counts(front);
    assert_int_equal(c.hellos, 1);
    assert_int_equal(c.packs, 1);
    assert_int_equal(c.accepted, 1);
    submit_many(1, 10);
    c = fake_front_counts(front);
    assert_int_equal(c.routes, 1); /* the verdict on the route is remembered */
    assert_int_equal(c.accepted, 2);
}

static void many_jobs(void **state)
{
    (void)state;
    pst_id_t id = submit_many(5000, 300);
    check_results(&id, 5000);
    fake_counts_t c = fake_front_counts(front);
    assert_int_equal(c.jobs, 5000);
    assert_int_equal(c.routes, 3);
    assert_int_equal(c.hellos, 1);
    assert_int_equal(c.out_of_order, 0);
}

static void jobs_of_one_model_ask_once(void **state)
{
    (void)state;
    pst_submit_t *s = begin(NULL);
    for (unsigned i = 0; i < 1000; i++) {
        char id[16], body[32];
        snprintf(id, sizeof id, "c-%u", i);
        int n = snprintf(body, sizeof body, "{\"model\":\"m\",\"k\":%u,\"x\":1}", i);
        assert_int_equal(pst_submit_job(s, id, PST_URL_CHAT, body, (size_t)n), PST_OK);
    }
    pst_id_t id;
    assert_int_equal(pst_submit_finish(s, &id), PST_OK);
    pst_submit_destroy(&s);
    check_results(&id, 1000);
    assert_int_equal(fake_front_counts(front).routes, 1);
}

static void cut_anywhere(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "\xef\xbb\xbf");
    for (unsigned i = 0; i < 20; i++) {
        put_line(&b, i, 20);
        b.n--;
        pst_buf_puts(&b, i % 2 ? "\r\n\r\n  \n" : "\n");
    }
    b.n -= 7; /* the last line has no newline */
    for (size_t step = 1; step < 40; step += 3) {
        pst_submit_t *s = begin(NULL);
        for (size_t at = 0; at < b.n; at += step)
            assert_int_equal(pst_submit_write(s, b.p + at, PST_MIN(step, b.n - at)), PST_OK);
        pst_id_t id;
        assert_int_equal(pst_submit_finish(s, &id), PST_OK);
        uint64_t lines, jobs;
        pst_submit_counts(s, &lines, &jobs);
        assert_int_equal(jobs, 20);
        assert_int_equal(lines, 38);
        pst_submit_destroy(&s);
        check_results(&id, 20);
    }
    pst_buf_release(&b);
}

static void job_by_its_parts(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"m\",\"k\":0,\"messages\":[]}";
    pst_submit_t *s = begin(NULL);
    pst_id_t id;
    assert_int_equal(pst_submit_job(s, NULL, PST_URL_CHAT, body, sizeof body - 1), PST_OK);
    assert_int_equal(pst_submit_job(s, "b", PST_URL_CHAT, body, sizeof body - 1), PST_E_INVALID);
    assert_int_equal(pst_submit_finish(s, &id), PST_OK);
    pst_submit_destroy(&s);
    char *json = NULL;
    bool ended;
    assert_int_equal(pst_job_get(client, &id, 0, NULL, &json, &ended), PST_OK);
    assert_true(ended);
    assert_non_null(strstr(json, "\"custom_id\":\"0\""));
    free(json);
    assert_int_equal(pst_job_get(client, &id, 0, "0", &json, &ended), PST_OK);
    free(json);
    assert_int_equal(pst_job_get(client, &id, 1, NULL, &json, &ended), PST_E_NOT_FOUND);
}

static void batches(void **state)
{
    (void)state;
    pst_id_t id = submit_many(3, 10), none = {{1}};
    pst_batch_t b;
    assert_int_equal(pst_batch_get(client, &id, &b), PST_OK);
    assert_string_equal(b.status, "completed");
    assert_true(b.ended && b.jobs == 3 && b.completed == 3);
    char *json = NULL;
    assert_int_equal(pst_batch_json(&b, &json), PST_OK);
    assert_non_null(strstr(json, "\"object\":\"batch\""));
    assert_non_null(strstr(json, "\"request_counts\":{\"total\":3,\"completed\":3,"));
    assert_non_null(strstr(json, "\"cost_usd\":0.000369"));
    free(json);
    assert_int_equal(pst_batch_receipt_json(&b, &json), PST_OK);
    assert_non_null(strstr(json, "\"jobs\":3,\"results\":3,\"completed\":3,"));
    assert_non_null(strstr(json, "\"cost_usd\":0.000369,\"input_tokens\":70,\"cached_tokens\":50,\"output_tokens\":30,"));
    assert_non_null(strstr(json, "\"endpoints\":[{\"provider\":\"echo\",\"model\":\"echo-1\",\"calls\":3,\"completed\":3,"
                                 "\"rate_limited\":0,\"retried\":0,\"input_tokens\":70,\"cached_tokens\":50,"
                                 "\"output_tokens\":30,\"cost_usd\":0.000369,"));
    free(json);
    pst_batch_release(&b);
    assert_int_equal(pst_batch_get(client, &none, &b), PST_E_NOT_FOUND);
    assert_int_equal(pst_batch_cancel(client, &id), PST_E_STATE);
    pst_batch_list_t l;
    assert_int_equal(pst_batch_list(client, NULL, 10, &l), PST_OK);
    assert_int_equal(l.n, 1);
    pst_batch_list_release(&l);
}

static void whose_batch_it_is(void **state)
{
    (void)state;
    static const char *const tenants[] = {"research", "", NULL};
    for (size_t i = 0; i < PST_COUNT(tenants); i++) {
        bool is_any = tenants[i] && *tenants[i];
        pst_submit_opts_t o = {.tenant = tenants[i]};
        pst_buf_t text;
        pst_id_t id;
        pst_batch_t b;
        char *json = NULL;
        pst_buf_init(&text, 0);
        put_line(&text, 0, 5);
        assert_int_equal(submit_text(&o, pst_buf_view(&text), &id), PST_OK);
        assert_int_equal(pst_batch_get(client, &id, &b), PST_OK);
        assert_string_equal(b.tenant, is_any ? tenants[i] : "");
        assert_int_equal(pst_batch_json(&b, &json), PST_OK);
        assert_int_equal(strstr(json, "\"tenant\":\"research\"") != NULL, is_any);
        assert_int_equal(strstr(json, "tenant") != NULL, is_any);
        free(json);
        pst_batch_release(&b);
        pst_buf_release(&text);
    }
}

static void cluster_as_json(void **state)
{
    (void)state;
    static const char want[] =
        "{\"wall_ms\":1767222000000,\"uptime_ms\":61000,\"workers\":2,\"batches\":1,\"jobs_queued\":5000000000,"
        "\"jobs_running\":7,\"jobs_waiting\":3,\"accepted\":5000000016,\"completed\":5,\"failed\":1,\"cost_usd\":1.5,"
        "\"providers\":[{\"name\":\"sim\",\"workers\":2,\"in_flight\":7,\"room\":93,\"concurrency\":50,\"limits\":["
        "{\"rate\":\"requests_per_minute\",\"limit\":5000,\"source\":\"configured\",\"used\":3120},"
        "{\"rate\":\"tokens_per_minute\",\"limit\":2000000,\"source\":\"headers\",\"used\":12}],"
        "\"cause\":null,\"until_wall_ms\":0}],"
        "\"endpoints\":[{\"provider\":\"sim\",\"model\":\"good\",\"in_flight\":7,\"concurrency\":0,\"calls\":10,"
        "\"completed\":6,\"rate_limited\":3,\"failed\":1,\"input_tokens\":100,\"cached_tokens\":40,"
        "\"output_tokens\":20,\"cost_usd\":1.5,\"p50_ms\":830,\"tokens_per_s\":55,\"uptime_per_mille\":857,"
        "\"limits\":[],\"cause\":null,\"until_wall_ms\":0},"
        "{\"provider\":\"sim\",\"model\":\"gone\",\"in_flight\":0,\"concurrency\":4,\"calls\":0,\"completed\":0,"
        "\"rate_limited\":0,\"failed\":0,\"input_tokens\":0,\"cached_tokens\":0,\"output_tokens\":0,\"cost_usd\":0,"
        "\"p50_ms\":0,\"tokens_per_s\":0,\"uptime_per_mille\":1000,\"limits\":["
        "{\"rate\":\"requests_per_day\",\"limit\":900,\"source\":\"429s\",\"used\":899}],"
        "\"cause\":\"quota_exceeded\",\"until_wall_ms\":1767222030000}]}";
    pst_top_t t;
    char *json = NULL;
    assert_int_equal(pst_top_get(client, &t), PST_OK);
    assert_int_equal(pst_top_json(&t, &json), PST_OK);
    assert_string_equal(json, want);
    free(json);
    pst_top_release(&t);
}

static void idempotency_key(void **state)
{
    (void)state;
    pst_submit_opts_t o = {.idempotency_key = "k-1"};
    pst_id_t first, second;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_line(&b, 0, 5);
    assert_int_equal(submit_text(&o, pst_buf_view(&b), &first), PST_OK);
    pst_submit_t *s = NULL;
    bool known = false;
    assert_int_equal(pst_submit_begin(client, &o, &s, &known), PST_OK);
    assert_true(known);
    assert_int_equal(pst_submit_finish(s, &second), PST_OK);
    assert_true(pst_id_eq(&first, &second));
    pst_submit_destroy(&s);
    assert_int_equal(fake_front_counts(front).packs, 1);
    pst_buf_release(&b);
}

/* ---- bad input ----------------------------------------------------------------------------------------------------
 */

#define GOOD(id) "{\"custom_id\":\"" id "\",\"body\":{\"model\":\"m\",\"k\":0}}\n"

static void bad_lines_are_named_and_nothing_is_accepted(void **state)
{
    (void)state;
    static const char text[] = GOOD("c-0") "\n{]\n" GOOD("c-0")
        "{\"custom_id\":\"x\",\"body\":{\"model\":\"no/such\"}}\n" "{\"custom_id\":\"y\"}";
    static const struct {
        uint64_t line;
        pst_cause_t code;
    } want[] = {{3, PST_CAUSE_LINE_JSON},
                {4, PST_CAUSE_LINE_DUPLICATE},
                {5, PST_CAUSE_LINE_MODEL},
                {6, PST_CAUSE_LINE_MISSING}};
    pst_submit_t *s = begin(NULL);
    pst_id_t id;
    assert_int_equal(pst_submit_write(s, text, sizeof text - 1), PST_OK);
    assert_int_equal(pst_submit_finish(s, &id), PST_E_INPUT);
    size_t n;
    uint64_t total;
    const pst_bad_line_t *bad = pst_submit_bad(s, &n, &total);
    assert_int_equal(n, PST_COUNT(want));
    assert_int_equal(total, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(bad[i].line, want[i].line);
        assert_int_equal(bad[i].code, want[i].code);
    }
    pst_submit_destroy(&s);
    fake_counts_t c = fake_front_counts(front);
    assert_int_equal(c.opens + c.commits + c.accepted, 0);
}

#define UNSERVED(id) "{\"custom_id\":\"" id "\",\"body\":{\"model\":\"no/such\"}}\n"

/* A route that was never asked about, because its line was refused for its name, does not count as that before it. */
static void unserved_after_a_refused_line(void **state)
{
    (void)state;
    static const char text[] = GOOD("c-0") GOOD("c-1") UNSERVED("c-0") UNSERVED("c-2") UNSERVED("c-3") GOOD("c-4");
    static const pst_cause_t want[] = {PST_CAUSE_LINE_DUPLICATE, PST_CAUSE_LINE_MODEL, PST_CAUSE_LINE_MODEL};
    pst_submit_t *s = begin(NULL);
    assert_int_equal(pst_submit_write(s, text, sizeof text - 1), PST_OK);
    size_t n;
    uint64_t total;
    const pst_bad_line_t *bad = pst_submit_bad(s, &n, &total);
    assert_int_equal(n, PST_COUNT(want));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(bad[i].line, 3 + i);
        assert_int_equal(bad[i].code, want[i]);
    }
    pst_submit_destroy(&s);
}

static void skipped_lines_become_failed_results(void **state)
{
    (void)state;
    static const char text[] =
        GOOD("c-0") "{]\n" GOOD("c-0") "{\"custom_id\":\"x\",\"body\":{\"model\":\"no/such\"}}\n";
    static const char *const want[] = {"\"custom_id\":\"c-0\",\"response\":{", "\"custom_id\":null,\"response\":null",
                                       "\"custom_id\":\"c-0\",\"response\":null",
                                       "\"custom_id\":\"x\",\"response\":null"};
    pst_submit_opts_t o = {.skip_invalid = true};
    pst_id_t id;
    assert_int_equal(submit_text(&o, pst_view(text, sizeof text - 1), &id), PST_OK);
    for (uint32_t i = 0; i < PST_COUNT(want); i++) {
        char *json = NULL;
        bool ended;
        assert_int_equal(pst_job_get(client, &id, i, NULL, &json, &ended), PST_OK);
        if (!strstr(json, want[i]))
            fail_msg("%s", json);
        free(json);
    }
}

static void too_many_bad_lines_end_it_at_once(void **state)
{
    (void)state;
    pst_submit_t *s = begin(NULL);
    unsigned n = 0;
    while (pst_submit_write(s, "{]\n", 3) == PST_OK)
        n++;
    assert_int_equal(n, PST_BAD_LINES_MAX);
    pst_id_t id;
    assert_int_equal(pst_submit_finish(s, &id), PST_E_INPUT);
    pst_submit_destroy(&s);
}

static void long_lines_take_no_memory(void **state)
{
    (void)state;
    static char blanks[9000];
    memset(blanks, 'x', sizeof blanks);
    pst_submit_opts_t o = {.skip_invalid = true};
    pst_submit_t *s = begin(&o);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pst_submit_write(s, blanks, sizeof blanks), PST_OK);
    assert_int_equal(pst_submit_write(s, "\n" GOOD("c-1"), sizeof GOOD("c-1")), PST_OK);
    size_t n;
    uint64_t total;
    const pst_bad_line_t *bad = pst_submit_bad(s, &n, &total);
    assert_int_equal(n, 1);
    assert_int_equal(bad[0].code, PST_CAUSE_LINE_TOO_LONG);
    assert_int_equal(bad[0].line, 1);
    pst_id_t id;
    assert_int_equal(pst_submit_finish(s, &id), PST_OK);
    pst_submit_destroy(&s);
}

/* The limit counts the line, not its end or a byte-order mark. */
static void a_line_of_just_the_limit(void **state)
{
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        pst_buf_t b;
        pst_id_t id;
        pst_buf_init(&b, 0);
        pst_buf_puts(&b, "\xef\xbb\xbf");
        put_line(&b, 0, 0);
        b.n -= 4; /* "}}\n */
        while (b.n < 3 + 10000 - 3 + over)
            pst_buf_putc(&b, 'x');
        pst_buf_puts(&b, "\"}}\r\n");
        assert_int_equal(submit_text(NULL, pst_buf_view(&b), &id), over ? PST_E_INPUT : PST_OK);
        pst_buf_release(&b);
    }
}

static void empty_input_is_refused(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "\n\r\n\n", "\xef\xbb\xbf", "  "};
    pst_submit_opts_t o = {.skip_invalid = true};
    pst_id_t id;
    for (size_t i = 0; i < PST_COUNT(empty); i++) {
        assert_int_equal(submit_text(&o, pst_view_str(empty[i]), &id), PST_E_INPUT);
        assert_non_null(strstr(pst_client_error(client), "no request"));
    }
}

static void wrong_options(void **state)
{
    (void)state;
    char longer[300] = {0};
    memset(longer, 'x', sizeof longer - 1);
    pst_submit_opts_t o[] = {
        {.priority = 2}, {.max_cost_usd = -1}, {.metadata = "[1]"}, {.metadata = "{"}, {.tenant = longer}};
    for (size_t i = 0; i < PST_COUNT(o); i++) {
        pst_submit_t *s = NULL;
        bool known;
        assert_int_equal(pst_submit_begin(client, &o[i], &s, &known), PST_E_INVALID);
        assert_null(s);
    }
}

/* ---- a broker in trouble
 * -------------------------------------------------------------------------------------------- */

static void packs_put_off(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_PUT_OFF, 7);
    pst_id_t id = submit_many(4000, 300);
    check_results(&id, 4000);
    assert_int_equal(fake_front_counts(front).accepted, 1);
}

static void one_pack_put_off_behind_commit(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_PUT_OFF,
                     1); /* OPEN, PACK and COMMIT leave together: the COMMIT comes to nothing, too */
    pst_id_t id = submit_many(1, 300);
    check_results(&id, 1);
    assert_true(fake_front_counts(front).commits >= 2);
}

static void sessions_lost_under_way(void **state)
{
    (void)state;
    static const fake_fault_t faults[] = {FAKE_FORGET, FAKE_GAP, FAKE_SWALLOW};
    for (size_t i = 0; i < PST_COUNT(faults); i++) {
        pst_buf_t b;
        pst_buf_init(&b, 0);
        pst_submit_t *s = begin(NULL);
        for (unsigned k = 0; k < 4000; k++) {
            pst_buf_clear(&b);
            put_line(&b, k, 300);
            if (k % 1000 == 500)
                fake_front_fault(front, faults[i], 1);
            assert_int_equal(pst_submit_write(s, b.p, b.n), PST_OK);
        }
        fake_front_fault(front, faults[i], 1);
        pst_id_t id;
        assert_int_equal(pst_submit_finish(s, &id), PST_OK);
        pst_submit_destroy(&s);
        check_results(&id, 4000);
        pst_buf_release(&b);
    }
    assert_true(fake_front_counts(front).hellos > 3);
    assert_int_equal(fake_front_counts(front).accepted, 3);
}

/* Between two calls nobody sends PINGs: the broker forgets, and the next call begins anew by itself. */
static void long_pause_between_calls(void **state)
{
    (void)state;
    pst_id_t id = submit_many(1, 10);
    fake_front_fault(front, FAKE_FORGET, 1);
    check_results(&id, 1);
    assert_int_equal(fake_front_counts(front).hellos, 2);
}

static void store_down_is_waited_for(void **state)
{
    (void)state;
    fake_front_fault(front, FAKE_DOWN, 3);
    pst_id_t id = submit_many(10, 10);
    check_results(&id, 10);
    pst_client_destroy(&client);
    pst_client_opts_t o = {.broker = fake_front_address(front), .timeout_ms = 1500};
    assert_int_equal(pst_client_new(&o, &client), PST_OK);
    fake_front_fault(front, FAKE_DOWN, 1000000);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_line(&b, 0, 5);
    assert_int_equal(submit_text(NULL, pst_buf_view(&b), &id), PST_E_STORE_DOWN);
    pst_buf_release(&b);
}

static void nobody_there(void **state)
{
    (void)state;
    pst_client_t *c = NULL;
    pst_client_opts_t o = {.broker = "tcp://127.0.0.1:1", .timeout_ms = 200};
    pst_batch_list_t l;
    assert_int_equal(pst_client_new(&o, &c), PST_OK);
    assert_int_equal(pst_client_hello(c), PST_E_UNREACHABLE);
    assert_int_equal(pst_batch_list(c, NULL, 1, &l), PST_E_UNREACHABLE);
    assert_non_null(strstr(pst_client_error(c), "tcp://127.0.0.1:1"));
    pst_client_destroy(&c);
    o.broker = "nonsense";
    assert_int_equal(pst_client_new(&o, &c), PST_E_INVALID);
}

static void upload_that_is_dropped(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_submit_t *s = begin(NULL);
    for (unsigned i = 0; i < 2000; i++)
        put_line(&b, i, 100);
    assert_int_equal(pst_submit_write(s, b.p, b.n), PST_OK);
    pst_submit_t *other = NULL;
    bool known;
    assert_int_equal(pst_submit_begin(client, NULL, &other, &known), PST_E_STATE); /* one at a time */
    pst_submit_destroy(&s);
    assert_int_equal(fake_front_counts(front).aborts, 1);
    assert_int_equal(fake_front_counts(front).accepted, 0);
    pst_id_t id = submit_many(10, 10);
    check_results(&id, 10);
    pst_buf_release(&b);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(one_job), CASE(many_jobs), CASE(jobs_of_one_model_ask_once), CASE(cut_anywhere), CASE(job_by_its_parts),
    CASE(batches), CASE(whose_batch_it_is), CASE(cluster_as_json), CASE(idempotency_key),
    CASE(bad_lines_are_named_and_nothing_is_accepted), CASE(unserved_after_a_refused_line),
    CASE(skipped_lines_become_failed_results), CASE(too_many_bad_lines_end_it_at_once),
    CASE(long_lines_take_no_memory), CASE(a_line_of_just_the_limit), CASE(empty_input_is_refused), CASE(wrong_options),
    CASE(packs_put_off), CASE(one_pack_put_off_behind_commit), CASE(sessions_lost_under_way),
    CASE(long_pause_between_calls), CASE(store_down_is_waited_for), CASE(nobody_there), CASE(upload_that_is_dropped),
};

UNIT_MAIN(tests)
