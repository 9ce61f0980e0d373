#include "providers/google.h"

#include "providers/common.h"
#include "providers/delay.h"

typedef struct details {
    bool any, help_only, daily, bad_key;
    pst_view_t retry_delay;
} details_t;

static bool is_type(const pst_json_t *j, uint32_t detail, const char *name)
{
    /* "type.googleapis.com/google.rpc.RetryInfo" */
    return pst_text_has(pst_inside(j, pst_json_get(j, detail, "@type")), name, NULL);
}

/* quotaId is like GenerateRequestsPerDayPerProjectPerModel-FreeTier. */
static bool is_daily(const pst_json_t *j, uint32_t quota_failure)
{
    uint32_t violations = pst_json_get(j, quota_failure, "violations");
    for (uint32_t v = pst_json_first(j, violations); v != PST_JSON_NONE;
         v = pst_json_after(j, violations, v)) {
        if (pst_text_has(pst_inside(j, pst_json_get(j, v, "quotaId")), "perday", NULL))
            return true;
    }
    return false;
}

static details_t read_details(const pst_json_t *j, uint32_t details, pst_arena_t *a)
{
    details_t d = {.help_only = true};
    for (uint32_t t = pst_json_first(j, details); t != PST_JSON_NONE;
         t = pst_json_after(j, details, t)) {
        d.any = true;
        if (is_type(j, t, "google.rpc.help"))
            continue;
        d.help_only = false;
        if (is_type(j, t, "google.rpc.retryinfo"))
            d.retry_delay = pst_json_str(j, pst_json_get(j, t, "retryDelay"), a);
        else if (is_type(j, t, "google.rpc.quotafailure"))
            d.daily = d.daily || is_daily(j, t);
        else if (is_type(j, t, "google.rpc.errorinfo"))
            d.bad_key = pst_is_word(j, pst_json_get(j, t, "reason"), "API_KEY_INVALID");
    }
    return d;
}

static void park(pst_reading_t *ret, pst_cause_t cause, uint64_t wait_ms, bool whole_provider)
{
    ret->verdict = PST_VERDICT_PARK;
    ret->cause = cause;
    ret->wait_ms = wait_ms;
    ret->whole_provider = whole_provider;
}

void pst_google_refine(const pst_json_t *j, uint32_t error, const pst_http_answer_t *answer,
                       bool wait_said, pst_arena_t *a, pst_reading_t *ret)
{
    details_t d = read_details(j, pst_json_get(j, error, "details"), a);
    uint64_t ms;
    if (!d.any)
        return;
    if (d.bad_key) {
        park(ret, PST_CAUSE_AUTHENTICATION, 0, true);
    } else if (ret->verdict == PST_VERDICT_THROTTLE && d.daily) {
        /* RetryInfo beside it is the minute's. */
        park(ret, PST_CAUSE_QUOTA,
             pst_delay_clamp(pst_delay_to_pacific_midnight(answer->wall_ms)), false);
    } else if (ret->verdict == PST_VERDICT_THROTTLE && d.help_only) {
        /* A link to plans and billing, and no limit named: there is none to wait for. */
        park(ret, PST_CAUSE_PAYMENT_REQUIRED, 0, true);
    } else if (ret->verdict == PST_VERDICT_THROTTLE && !wait_said &&
               pst_delay_parse(d.retry_delay, answer->wall_ms, &ms)) {
        ret->wait_ms = pst_delay_clamp(ms);
    }
}
