/* delay.h - how long a provider asks us to wait, in whatever form it says so.
 *
 * Seen in the field: "2" and "0.5" (seconds), "6m0s" and "120ms" (Go), RFC 3339 (Anthropic), HTTP
 * dates, epoch seconds (Cohere) and milliseconds, and prose ("Please try again in 5.289s").
 * Negative numbers mean that the provider does not know (Azure sends -1). */
#ifndef PST_PROVIDERS_DELAY_H
#define PST_PROVIDERS_DELAY_H

#include "provider.h"

/* What is said is believed only between these: milliseconds. */
#define PST_DELAY_MIN_MS ((uint64_t)50)
#define PST_DELAY_MAX_MS ((uint64_t)25 * 3600 * 1000)

static inline uint64_t pst_delay_clamp(uint64_t ms)
{
    return PST_MIN(PST_MAX(ms, PST_DELAY_MIN_MS), PST_DELAY_MAX_MS);
}

/* All of these: true and *ret_ms set (0 for a moment that has passed) if a delay was said. */
bool pst_delay_parse(pst_view_t text, uint64_t wall_ms, uint64_t *ret_ms);
/* "… try again in 5.289s", "… retry after 20 seconds", "… access on 2026-12-01 at 00:00 UTC" */
bool pst_delay_in_message(pst_view_t message, uint64_t wall_ms, uint64_t *ret_ms);
/* retry-after-ms, x-ms-retry-after-ms, retry-after. */
bool pst_delay_said(const pst_http_answer_t *answer, uint64_t *ret_ms);
/* The longest reset among the dimensions of which nothing remains. */
bool pst_delay_of_exhausted(const pst_http_answer_t *answer, uint64_t *ret_ms);

/* Until the next midnight in California, where Gemini's days end; daylight saving by the rule in
 * force since 2007. */
uint64_t pst_delay_to_pacific_midnight(uint64_t wall_ms);

#endif
