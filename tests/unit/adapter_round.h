/* adapter_round.h - requests and answers that are drawn from a seed, translated by an adapter, and translated back by the
 * test.
 *
 * Both ways end in a normal form, a jansson tree in which everything stands once and has one spelling:
 *   instructions   [item…]
 *   turns          [{who: user | assistant, said: [item…]}…]; who follows on themselves are one turn
 *   item           {text} | {link} | {data, mime} | {call: {id, name, arguments: object}} |
 *                  {result: id, said: [item…], whole: it was one string}
 *   tools          [{name, description, parameters, strict}…]
 *   choice         auto | none | required | {name}
 *   format         {type, schema}
 *   max_tokens, temperature, top_p, top_k, n, seed, presence_penalty, frequency_penalty, logprobs, top_logprobs,
 *   stop [string…], parallel false, effort, user
 *   other          members of the body that are none of these
 * What is null or empty is not there.  A completion's normal form is {content, reasoning, calls: [call…], finish,
 * usage: {input, cached, cache_write, output, reasoning}}. */
#ifndef PST_ADAPTER_ROUND_H
#define PST_ADAPTER_ROUND_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "provider.h"

/* ---- drawing (adapter_round_draw.c) ---- */

/* What may be drawn because the provider can be told it: what it cannot changes the question, and is refused. */
typedef struct round_can {
    bool links;   /* pictures by URL */
    bool files;   /* PDF */
    bool choices; /* n > 1 */
    bool filters; /* answers that end because of their content */
    bool thinks;  /* answers with reasoning, and its tokens */
    bool writes;  /* usage tells of tokens written to a cache */
} round_can_t;

bool round_one_in(pst_rng_t *r, unsigned n);
/* A string: escapes, controls, NUL, every length of UTF-8. */
json_t *round_draw_text(pst_rng_t *r);
json_t *round_draw_object(pst_rng_t *r, unsigned depth);
/* The body of a chat, as a client would send it. */
json_t *round_draw_body(pst_rng_t *r, const round_can_t *can);
/* The normal form of a completion. */
json_t *round_draw_completion(pst_rng_t *r, const round_can_t *can);
/* The text of a tree with white space and escapes that are drawn too; to be freed. */
char *round_print(pst_rng_t *r, const json_t *j, size_t *ret_n);

/* ---- normal forms (adapter_round_normal.c) ---- */

json_t *round_normal(const json_t *body);
/* Takes a member out of an object: what is left in the end was not understood. */
json_t *round_take(json_t *o, const char *key);
/* Takes a member `theirs` of a request as the normal form's `key`. */
void round_rename(json_t *normal, const char *key, json_t *from, const char *theirs);
/* Moves what is left of o to the normal form's `left`, which only one side has. */
void round_left(json_t *normal, json_t *o, const char *where);
/* Where two trees differ, as a path; false if they do not.  Numbers are compared by value. */
bool round_differ(const json_t *a, const json_t *b, pst_buf_t *path);
/* The items that a content says, null and "" none. */
json_t *round_items(const json_t *content);
/* Adds to a turn's items if the last turn is of the same, or begins one. */
void round_turn(json_t *turns, const char *who, json_t *items);
/* Sets a member if there is something to set; takes the value. */
void round_set(json_t *o, const char *key, json_t *value);

/* ---- what a provider cannot be told (adapter_round_loss.c) ---- */

void round_lose_anthropic(json_t *normal, const pst_endpoint_opts_t *e);
void round_lose_gemini(json_t *normal, const pst_endpoint_opts_t *e);
void round_lose_cohere(json_t *normal, const pst_endpoint_opts_t *e);
void round_lose_bedrock(json_t *normal, const pst_endpoint_opts_t *e);
void round_lose_mistral(json_t *normal, const pst_endpoint_opts_t *e);
void round_lose_openai(json_t *normal, const pst_endpoint_opts_t *e);
void round_lose_responses(json_t *normal, const pst_endpoint_opts_t *e);
/* Ids by the order in which they come: which result is whose remains, the ids themselves do not. */
void round_number_ids(json_t *normal);

/* ---- requests read as the provider would (adapter_round_back.c, adapter_round_back_openai.c): the body is used up ---- */

json_t *round_back_anthropic(json_t *body);
json_t *round_back_gemini(json_t *body);
json_t *round_back_cohere(json_t *body);
json_t *round_back_bedrock(json_t *body);
json_t *round_back_mistral(json_t *body);
json_t *round_back_openai(json_t *body);

/* ---- answers and Responses written (adapter_round_write.c) ---- */

/* The body of /responses that says what a chat's body says. */
json_t *round_write_responses(pst_rng_t *r, const json_t *chat);
json_t *round_answer_anthropic(pst_rng_t *r, const json_t *completion);
json_t *round_answer_gemini(pst_rng_t *r, const json_t *completion);
json_t *round_answer_cohere(pst_rng_t *r, const json_t *completion);
json_t *round_answer_bedrock(pst_rng_t *r, const json_t *completion);
json_t *round_answer_mistral(pst_rng_t *r, const json_t *completion);
json_t *round_answer_openai(pst_rng_t *r, const json_t *completion);
/* OpenAI's completion, or its response, in normal form: what the adapter's reading is compared by. */
json_t *round_completion_of(const json_t *answer);
json_t *round_response_of(const json_t *answer);

/* ---- bodies that go through (adapter_round_verbatim.c) ---- */

/* A body's text and what an OpenAI-shaped host must get of it, with `model` as its name. */
void round_draw_verbatim(pst_rng_t *r, const char *model, pst_buf_t *job, pst_buf_t *want);

#endif
