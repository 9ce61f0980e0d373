/* prompts.h - the jobs of a benchmark.  Job i is always the same bytes, so that what comes back can be checked without
 * keeping what was sent; making one costs a few copies, so that the stopwatch measures penstock and not this. */
#ifndef BENCH_PROMPTS_H
#define BENCH_PROMPTS_H

#include "base/buf.h"

#define BENCH_CUSTOM_ID_MAX 16

typedef struct bench_prompts_opts {
    const char *model;
    size_t body_bytes;  /* of a whole request body */
    size_t text_bytes;  /* of the user's message, which echo answers with; a body too short for that and a system text
                         * is a message alone, as long as fits */
    bool unique;        /* random letters everywhere; else one system text shared by all, and words */
} bench_prompts_opts_t;

typedef struct bench_prompts bench_prompts_t;

/* NULL where the sizes do not fit into each other. */
bench_prompts_t *bench_prompts_new(const bench_prompts_opts_t *o);
void bench_prompts_destroy(bench_prompts_t **p);
/* Of the user's message, as it came to be. */
size_t bench_prompts_text_bytes(const bench_prompts_t *p);
/* The body of job i: valid until the next call. */
pst_view_t bench_prompts_body(bench_prompts_t *p, uint32_t i);
/* The message in it. */
pst_view_t bench_prompts_text(const bench_prompts_t *p);
/* Whether behind the first `lead` in `answer` (the result's line, or the provider's body) stand the text of job i and
 * nothing after it, to the end of the string, but the dots of a padded answer. */
bool bench_prompts_answered(const bench_prompts_t *p, uint32_t i, pst_view_t answer, pst_view_t lead);
void bench_custom_id(uint32_t i, char to[BENCH_CUSTOM_ID_MAX]);

#endif
