#include "unit.h"

#include "providers/delay.h"

/* 2026-11-22T15:04:05.250Z, a Sunday. */
#define NOW UINT64_C(1795359845250)
#define NONE UINT64_MAX

static uint64_t parsed(const char *text)
{
    uint64_t ms;
    return pst_delay_parse(pst_view_str(text), NOW, &ms) ? ms : NONE;
}

static void every_form_of_a_delay(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {
        {"2", 2000},
        {"0", 0},
        {"0.5", 500},
        {" 30 ", 30000},
        {"7.66", 7660},
        {"0.0001", 1},
        {"1s", 1000},
        {"6m0s", 360000},
        {"120ms", 120},
        {"2m59.56s", 179560},
        {"1h", 3600000},
        {"1h1m1s", 3661000},
        {"1d", 86400000},
        {"37.5s", 37500},
        {"20 seconds", 20000},
        {"1 minute", 60000},
        {"500us", 1},
        {"1h 5m", 3900000},
        {"2026-11-22T15:04:35Z", 29750},
        {"2026-11-22T15:04:35.5Z", 30250},
        {"2026-11-22T16:04:35+01:00", 29750},
        {"2026-11-22T10:04:35-05:00", 29750},
        {"2026-11-22t15:04:35z", 29750},
        {"2026-11-22T15:04:05Z", 0},
        {"Sun, 22 Nov 2026 15:05:05 GMT", 59750},
        {"Sun, 22 Nov 2020 15:05:05 GMT", 0},
        {"1795359855", 9750},
        {"1795359855250", 10000},
        {"1795359845", 0},
        {"1795359840000", 0},
        {"99999999999999999999", PST_DELAY_MAX_MS},
        {"999999999", PST_DELAY_MAX_MS},
        {"9999d", PST_DELAY_MAX_MS},
        {"", NONE},
        {"-1", NONE},
        {"soon", NONE},
        {"5x", NONE},
        {"1e3", NONE},
        {"s", NONE},
        {".5", NONE},
        {"5s later", NONE},
        {"2026-11-22", NONE},
        {"2026-13-22T15:04:35Z", NONE},
        {"2026-11-22T15:04:35Zzz", NONE},
        {"2026-11-22T15:04:35+1", NONE},
        {"Sun, 22 Nov", NONE},
        {"Sun, 22 Foo 2026 15:05:05 GMT", NONE},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        if (parsed(cases[i].text) != cases[i].ms)
            fail_msg("%s: %llu ms, not %llu", cases[i].text,
                     (unsigned long long)parsed(cases[i].text), (unsigned long long)cases[i].ms);
    }
}

static uint64_t in_message(const char *text)
{
    uint64_t ms;
    return pst_delay_in_message(pst_view_str(text), NOW, &ms) ? ms : NONE;
}

static void delays_in_prose(void **state)
{
    (void)state;
    assert_int_equal(in_message("Rate limit reached. Please try again in 5.289s. Visit …"), 5289);
    assert_int_equal(in_message("Please try again in 6m0s."), 360000);
    assert_int_equal(in_message("please TRY AGAIN IN 120ms"), 120);
    assert_int_equal(in_message("Please retry after 20 seconds."), 20000);
    assert_int_equal(in_message("Please retry in 37.25s."), 37250);
    assert_int_equal(in_message("You will regain access on 2026-11-23 at 00:00 UTC."), 32154750);
    assert_int_equal(in_message("You will regain access on 2026-11-23."), 32154750);
    assert_int_equal(in_message("try again in a while"), NONE);
    assert_int_equal(in_message("try again in "), NONE);
    assert_int_equal(in_message(""), NONE);
}

static uint64_t midnight_after(uint64_t wall_s)
{
    return pst_delay_to_pacific_midnight(wall_s * 1000) / 1000;
}

static void midnight_in_california(void **state)
{
    (void)state;
    assert_int_equal(midnight_after(1795359845), 60955);  /* 2026-11-22T15:04:05Z, PST: 08:00Z */
    assert_int_equal(midnight_after(1784732645), 57355);  /* 2026-07-22T15:04:05Z, PDT: 07:00Z */
    assert_int_equal(midnight_after(1795334400), 86400);  /* midnight itself: the whole next day */
    assert_int_equal(midnight_after(1795334399), 1);
    assert_int_equal(midnight_after(1772956800), 23 * 3600); /* 2026-03-08, the short day */
    assert_int_equal(midnight_after(1793516400), 25 * 3600); /* 2026-11-01, the long day */
    assert_int_equal(midnight_after(1798761600 - 1), 1 + 8 * 3600); /* into the new year */
    assert_int_equal(midnight_after(1835424000), 86400); /* 2028-02-29T08:00Z: a leap day is a day */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_form_of_a_delay),
    cmocka_unit_test(delays_in_prose),
    cmocka_unit_test(midnight_in_california),
};

UNIT_MAIN(tests)
