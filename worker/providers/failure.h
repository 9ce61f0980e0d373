/* failure.h - what a provider's error means.
 *
 * Errors come in about eight shapes (below) and their statuses do not always tell the truth, so
 * three things are asked in turn: words that say exactly what happened (code, type, OpenRouter's
 * error_type), phrases of well-known messages, and the status.
 *
 *   {"error":{"message","type","param","code"}}              OpenAI and most of its kind
 *   {"error":{"code":429,"message","metadata":{…}}}          OpenRouter
 *   {"error":{"code":"429","message","innererror":{…}}}      Azure
 *   {"type":"error","error":{"type","message"},"request_id"} Anthropic
 *   {"error":{"code","message","status","details":[…]}}      Gemini, or an array of one of it
 *   {"error":"text"}  {"message":"text"}  {"detail":…}       Ollama once, Cohere, FastAPI
 *   {"message"} or {"Message"}, x-amzn-errortype or "__type"  Bedrock
 *   {"object":"error","message","type","code"}               Mistral, old vLLM
 *   {"object":"error","message":{"detail":…},"type"}         Mistral, of a body that is not valid
 *   HTML, text, nothing                                      proxies on the way */
#ifndef PST_PROVIDERS_FAILURE_H
#define PST_PROVIDERS_FAILURE_H

#include "provider.h"

typedef struct pst_failure {
    const pst_json_t *json;  /* NULL if the body is not JSON */
    uint32_t error;          /* the object with the members below, or PST_JSON_NONE */
    bool openai_shaped;      /* it has OpenAI's members and can be shown as it stands */
    int status;              /* HTTP's; where that was 2xx the one the error names, else 502 */
    bool status_known;       /* false: 502 is our word, not the provider's */
    pst_view_t message, type, code;
    pst_view_t kind;         /* OpenRouter's metadata.error_type or Anthropic's error_code */
    uint32_t availability;   /* OpenRouter's error.availability, or PST_JSON_NONE */
} pst_failure_t;

/* Reads the error in `object`: the document's root, or the part of an answer that is or has one. */
void pst_failure_find(const pst_json_t *json, uint32_t object, int status, pst_arena_t *a,
                      pst_failure_t *ret);
/* Verdict, cause, wait, request id and body. */
void pst_failure_report(const pst_failure_t *f, const pst_http_answer_t *answer, pst_arena_t *a,
                        pst_reading_t *ret);
/* The two above for an answer that is not 2xx; json is NULL if its body did not parse. */
void pst_failure_read(const pst_json_t *json, const pst_http_answer_t *answer, pst_arena_t *a,
                      pst_reading_t *ret);
/* A 2xx that is no answer: RETRY. */
void pst_failure_bad_answer(const pst_http_answer_t *answer, const char *why, pst_arena_t *a,
                            pst_reading_t *ret);
/* No answer at all (status 0). */
void pst_failure_transport(const pst_http_answer_t *answer, pst_reading_t *ret);
/* The arena is full: no body can be made. */
void pst_failure_no_memory(pst_reading_t *ret);

#endif
