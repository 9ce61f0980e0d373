/* limits.h - what the headers of an answer say of limits: how much is allowed, how much of it is left.
 *
 * Seen in the field, where … is limit, remaining and reset:
 *   x-ratelimit-…-requests, -tokens         OpenAI and most of its kind: a minute's.  Groq: of requests the day's
 *   x-ratelimit-…-project-tokens            OpenAI, of the project beside those of the model
 *   x-ratelimit-…-requests-day, -tokens-minute, -req-minute    Cerebras, Mistral
 *   x-ratelimit-…-tokens-prompt, -tokens-generated             Fireworks: a second's
 *   x-ratelimit-…, x-tokenlimit-…, both also with -dynamic     Together: a second's
 *   x-ratelimitbysize-…-minute, ratelimitbysize-…              Mistral before
 *   anthropic-ratelimit-requests-…, -tokens-…, -input-tokens-…, -output-tokens-…
 * Gemini says nothing.  What counts hours or months has no place among our rates, nor what has a pool of its own
 * (anthropic-priority-…).  Azure says -1 of what it does not know. */
#ifndef PST_PROVIDERS_LIMITS_H
#define PST_PROVIDERS_LIMITS_H

#include "provider.h"

/* Sets ret->limits, in the arena, and their number; nothing else. */
void pst_limits_read(const pst_http_answer_t *answer, pst_arena_t *a, pst_reading_t *ret);

#endif
