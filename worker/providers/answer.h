/* answer.h - OpenAI's answers, written and checked: what every adapter that translates ends in. */
#ifndef PST_PROVIDERS_ANSWER_H
#define PST_PROVIDERS_ANSWER_H

#include "provider.h"

typedef struct pst_usage {
    uint64_t input, cached, cache_write, output, reasoning; /* tokens; cached is part of input */
    bool known;
} pst_usage_t;

/* {"id":…,"object":…,"created":…,"model":…
 * id and model are tokens of j; where they are no text, an id is made up and the endpoint's model
 * named. */
void pst_answer_begin(pst_buf_t *b, const pst_task_t *task, const char *object,
                      const char *id_prefix, const pst_json_t *j, uint32_t id, uint32_t model);
/* {"id":<token id of j, or one made up from `call`, the call's own token>, of a tool call. */
void pst_put_call_id(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t id,
                     uint32_t call);
/* ,"usage":{…}} with the details of a chat completion: the answer's end. */
void pst_answer_end(pst_buf_t *b, const pst_usage_t *u);

/* What every adapter's `read` is: no answer, an error, what does not parse, and what headers say of
 * limits are the same for all; read_ok gets the rest, a 2xx with JSON. */
void pst_answer_read(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                     pst_reading_t *ret,
                     void (*read_ok)(const pst_task_t *task, const pst_json_t *j,
                                     const pst_http_answer_t *answer, pst_arena_t *a,
                                     pst_reading_t *ret));
/* A 2xx that is an error all the same, or in which `fault` (NULL: nothing) is wrong, is reported: true. */
bool pst_answer_failed(const pst_json_t *j, bool is_error, const char *fault, const pst_http_answer_t *answer,
                       pst_arena_t *a, pst_reading_t *ret);
/* A reading without anything in it. */
void pst_reading_init(pst_reading_t *ret);
/* Nothing if it is not known. */
void pst_reading_set_usage(pst_reading_t *ret, const pst_usage_t *u);
/* Closes with DONE and the body in b; the arena full is a reading too. */
void pst_reading_done(pst_reading_t *ret, const pst_http_answer_t *answer, const pst_buf_t *b,
                      pst_arena_t *a);
/* The same with a body that is in the arena already, or was to be and had no room (`whole` false). */
void pst_reading_done_with(pst_reading_t *ret, const pst_http_answer_t *answer, pst_view_t body, bool whole);

#endif
