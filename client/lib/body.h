/* body.h - what routing and budgets need to know of a request body: its members by name, the tokens its prompt may
 * cost, the capabilities it uses, a hash of the beginning it shares with others.  Pure. */
#ifndef PST_BODY_H
#define PST_BODY_H

#include "base/arena.h"
#include "base/json.h"
#include "lib/tokens.h"
#include "penstock/job.h"

/* Members of a body, of any of the APIs, that are looked at.  The first of a repeated member counts, as it does for
 * whoever reads the body later. */
#define PST_BODY_LIST(X)                                                                           \
    X(MODEL, "model")                                                                              \
    X(MODELS, "models")                                                                            \
    X(PROVIDER, "provider")                                                                        \
    X(STREAM, "stream")                                                                            \
    X(MESSAGES, "messages")                                                                        \
    X(INPUT, "input")                                                                              \
    X(PROMPT, "prompt")                                                                            \
    X(INSTRUCTIONS, "instructions")                                                                \
    X(MAX_TOKENS, "max_tokens")                                                                    \
    X(MAX_COMPLETION_TOKENS, "max_completion_tokens")                                              \
    X(MAX_OUTPUT_TOKENS, "max_output_tokens")                                                      \
    X(TOOLS, "tools")                                                                              \
    X(FUNCTIONS, "functions")                                                                      \
    X(RESPONSE_FORMAT, "response_format")                                                          \
    X(TEXT, "text")                                                                                \
    X(LOGPROBS, "logprobs")                                                                        \
    X(TOP_LOGPROBS, "top_logprobs")                                                                \
    X(SEED, "seed")                                                                                \
    X(FREQUENCY_PENALTY, "frequency_penalty")                                                      \
    X(PRESENCE_PENALTY, "presence_penalty")                                                        \
    X(LOGIT_BIAS, "logit_bias")                                                                    \
    X(N, "n")                                                                                      \
    X(REASONING, "reasoning")                                                                      \
    X(REASONING_EFFORT, "reasoning_effort")

enum {
#define X(name, text) PST_BODY_##name,
    PST_BODY_LIST(X)
#undef X
    PST_BODY_COUNT
};

/* The first of several messages, and what was made of it: in most batches all bodies begin with the same. */
typedef struct pst_body_first {
    pst_buf_t raw;               /* empty: nothing is known */
    uint64_t milli;
    bool images;
} pst_body_first_t;

/* What outlives a body.  Zero is a valid start. */
typedef struct pst_body_memory {
    pst_tokens_cache_t tokens;
    pst_body_first_t first;      /* of the body before */
} pst_body_memory_t;
void pst_body_memory_release(pst_body_memory_t *m);

typedef struct pst_body {
    const pst_json_t *json;
    uint32_t at[PST_BODY_COUNT]; /* tokens; PST_JSON_NONE: not there, or null */
    pst_body_memory_t *memory;   /* borrowed */
} pst_body_t;

/* obj: token of the body's object.  The arena takes keys that are written with escapes. */
void pst_body_scan(pst_body_t *b, const pst_json_t *json, uint32_t obj, pst_arena_t *a, pst_body_memory_t *m);

/* Of the whole prompt; *params gains PST_PARAM_IMAGES if there are some. */
uint32_t pst_body_input_tokens(const pst_body_t *b, uint32_t *params);
/* 0: not given. */
uint32_t pst_body_output_tokens(const pst_body_t *b);
/* PST_PARAM_… but for images. */
uint32_t pst_body_params(const pst_body_t *b);
/* Jobs of one model with the same value begin alike, so that they can share a provider's prompt cache: a hash of at
 * most `max` bytes of tools, system prompt and messages.  0: what could be shared is shorter than `min` (1 … max). */
uint64_t pst_body_prefix(const pst_body_t *b, size_t min, size_t max);

#endif
