/* The picture of `penstock top`. */
#include "drawn.h"

#include "cli/top_draw.h"

static pst_top_limit_t account_limits[] = {
    {"requests_per_minute", "configured", 5000, 3120}, {"tokens_per_minute", "headers", 2000000, 1203000}};
static pst_top_limit_t model_limits[] = {{"requests_per_day", "429s", 900, 899}};

/* A look after so many seconds of a broker whose one endpoint makes 50 calls a second. */
typedef struct scene {
    pst_top_provider_t provider[2];
    pst_top_endpoint_t endpoint[4];
    pst_batch_t batch[2];
    pst_top_look_t look;
} scene_t;

static void set_scene(scene_t *s, unsigned seconds)
{
    *s = (scene_t){
        .provider = {{.name = "openai", .workers = 2, .in_flight = 7, .room = 93, .concurrency = 50,
                      .limits = account_limits, .limits_n = PST_COUNT(account_limits)},
                     {.name = "local", .cause = "payment_required", .until_wall_ms = 1000000 + 125000}},
        .endpoint = {{.provider = "openai", .model = "idle", .uptime_per_mille = 1000},
                     {.provider = "openai", .model = "parked", .uptime_per_mille = 1000, .cause = "quota_exceeded",
                      .until_wall_ms = 1000000 + 29001, .limits = model_limits, .limits_n = 1},
                     {.provider = "openai", .model = "rare", .calls = 3, .completed = 3, .uptime_per_mille = 1000},
                     {.provider = "openai", .model = "busy", .in_flight = 7, .concurrency = 9, .calls = 50 * seconds,
                      .completed = 40 * seconds, .rate_limited = 9 * seconds, .failed = seconds,
                      .input_tokens = 12000 * seconds, .output_tokens = 600 * seconds, .cost_usd = 0.01 * seconds,
                      .p50_ms = 830, .tokens_per_s = 55, .uptime_per_mille = 857}},
        .batch = {{.id = "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G", .status = "in_progress", .name = "night", .tenant = "search",
                   .jobs = 1000, .completed = 35 * seconds, .failed = 5 * seconds, .cost_usd = 0.01 * seconds},
                  {.id = "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7H", .status = "validating", .name = "", .tenant = "", .jobs = 3}},
    };
    s->look.top = (pst_top_t){.wall_ms = 1000000, .uptime_ms = seconds * 1000, .workers = 2, .batches = 3,
                              .jobs_queued = 1234567, .jobs_running = 7, .jobs_waiting = 12, .accepted = 2000000,
                              .completed = 35 * seconds, .failed = 5 * seconds, .cost_usd = 0.01 * seconds,
                              .providers = s->provider, .providers_n = 2, .endpoints = s->endpoint, .endpoints_n = 4};
    s->look.running = (pst_batch_list_t){.v = s->batch, .n = 2};
}

static void draw(unsigned before_s, unsigned now_s, pst_top_screen_t screen)
{
    static scene_t before, now;
    set_scene(&before, before_s);
    set_scene(&now, now_s);
    pst_top_draw(&now.look, before_s ? &before.look : NULL, &screen, &out);
}

static void everything_at_once(void **state)
{
    (void)state;
    draw(10, 12, (pst_top_screen_t){0});
    assert_drawn(
        "penstock  up 12s  2 workers  3 batches\n"
        "now     1,234,567 queued  7 running  12 waiting  40 jobs/s  $36.000/h\n"
        "so far  2,000,000 accepted  420 completed  60 failed  $0.1200\n"
        "\n"
        "PROVIDER  WORKERS  IN FLIGHT  LIMITS\n"
        "openai          2      7/100  concurrency 7/50, rpm 3,120/5,000, tpm 1,203,000/~2,000,000\n"
        "local           0        0/0  parked: payment_required, next try in 2m05s\n"
        "\n"
        "ENDPOINT       FLIGHT  CALLS/S  OK/S  429/S  429  ERR/S  TOKENS IN/S  OUT/S  P50 MS      UP      $/H  LIMITS\n"
        "openai busy         7       50    40    9.0  18%    1.0       12,000    600     830   85.7%  $36.000  concurrency 7/9\n"
        "openai rare         0        0     0      0    -      0            0      0       -  100.0%    $0.00\n"
        "openai parked       0        0     0      0    -      0            0      0       -  100.0%    $0.00  parked: "
        "quota_exceeded, next try in 30s, rpd 899/?900\n"
        "(1 more, not called yet)\n"
        "\n"
        "BATCH                             NAME   TENANT       DONE       JOBS/S         ETA     COST\n"
        "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G  night  search  480/1,000  48%      40         13s  $0.1200\n"
        "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7H                       0/3   0%       0  validating    $0.00\n"
        "(1 more)\n");
}

static void without_an_earlier_look_there_are_no_rates(void **state)
{
    (void)state;
    static const char *const want[] = {"  - jobs/s  -/h\n", "\nopenai busy    ", "  -    -      -            -      -     830   "};
    for (unsigned before = 0; before <= 20; before += 20) { /* 20: the broker has begun anew since */
        draw(before, 12, (pst_top_screen_t){0});
        pst_buf_putc(&out, '\0');
        for (size_t i = 0; i < PST_COUNT(want); i++)
            if (!strstr(out.p, want[i]))
                fail_msg("\"%s\" is not in\n%s", want[i], out.p);
        pst_buf_clear(&out);
    }
}

static void a_usual_terminal(void **state)
{
    (void)state;
    draw(10, 12, (pst_top_screen_t){.columns = 79, .rows = 24, .note = "(no answer for 3 s)"});
    assert_drawn("penstock  up 12s  2 workers  3 batches  (no answer for 3 s)\n"
                 "now     1,234,567 queued  7 running  12 waiting  40 jobs/s  $36.000/h\n"
                 "so far  2,000,000 accepted  420 completed  60 failed  $0.1200\n"
                 "\n"
                 "PROVIDER  WORKERS  IN FLIGHT  LIMITS\n"
                 "openai          2      7/100  concurrency 7/50, rpm 3,120/5,000, tpm 1,203,000…\n"
                 "local           0        0/0  parked: payment_required, next try in 2m05s\n"
                 "\n"
                 "ENDPOINT       FLIGHT  CALLS/S  429/S      $/H  LIMITS\n"
                 "openai busy         7       50    9.0  $36.000  concurrency 7/9\n"
                 "openai rare         0        0      0    $0.00\n"
                 "openai parked       0        0      0    $0.00  parked: quota_exceeded, next t…\n"
                 "(1 more, not called yet)\n"
                 "\n"
                 "BATCH                                  DONE       JOBS/S         ETA     COST\n"
                 "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G  480/1,000  48%      40         13s  $0.1200\n"
                 "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7H        0/3   0%       0  validating    $0.00\n"
                 "(1 more)\n");
}

static unsigned width_of(const char *line, const char *end)
{
    unsigned n = 0;
    for (; line < end; line++)
        n += ((unsigned char)*line & 0xc0) != 0x80;
    return n;
}

static void every_size_is_kept_to(void **state)
{
    (void)state;
    for (unsigned columns_n = 1; columns_n < 160; columns_n += 3) {
        for (unsigned rows = 1; rows < 30; rows++) {
            draw(10, 12, (pst_top_screen_t){.columns = columns_n, .rows = rows});
            unsigned lines = 0;
            const char *p = out.p, *end = out.p + out.n;
            for (const char *newline; p < end; p = newline + 1, lines++) {
                newline = memchr(p, '\n', (size_t)(end - p));
                assert_non_null(newline);
                if (width_of(p, newline) > columns_n)
                    fail_msg("%u by %u: %.*s", columns_n, rows, (int)(newline - p), p);
            }
            assert_in_range(lines, 1, rows);
            pst_buf_clear(&out);
        }
    }
}

static void a_low_screen_shows_some_of_each(void **state)
{
    (void)state;
    draw(10, 12, (pst_top_screen_t){.columns = 60, .rows = 15});
    assert_drawn("penstock  up 12s  2 workers  3 batches\n"
                 "now     1,234,567 queued  7 running  12 waiting  40 jobs/s …\n"
                 "so far  2,000,000 accepted  420 completed  60 failed  $0.12…\n"
                 "\n"
                 "PROVIDER  WORKERS  IN FLIGHT  LIMITS\n"
                 "openai          2      7/100  concurrency 7/50, rpm 3,120/5…\n"
                 "local           0        0/0  parked: payment_required, nex…\n"
                 "\n"
                 "ENDPOINT       CALLS/S  429/S  LIMITS\n"
                 "openai busy         50    9.0  concurrency 7/9\n"
                 "(3 more)\n"
                 "\n"
                 "BATCH                                         ETA     COST\n"
                 "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G  48%         13s  $0.1200\n"
                 "(2 more)\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(everything_at_once), CASE(without_an_earlier_look_there_are_no_rates), CASE(a_usual_terminal),
    CASE(every_size_is_kept_to), CASE(a_low_screen_shows_some_of_each),
};

UNIT_MAIN(tests)
