/* shape.h - the providers' own ways to say things: headers, answers, errors. */
#ifndef SIM_SHAPE_H
#define SIM_SHAPE_H

#include "body.h"
#include "fate.h"
#include "limit.h"

/* One call, as far as it has been understood.  Everything is borrowed from the service. */
typedef struct sim_call {
    sim_api_t api;
    const sim_body_t *body;
    pst_view_t model;  /* decoded; the name asked for */
    pst_view_t key;    /* the credential as given */
    sim_grant_t grant; /* zeros if no limit applies */
    uint64_t id;       /* 64 bits that no other call of this run has */
    pst_ns_t wall;
    uint64_t input_tokens, output_tokens;
    size_t pad; /* bytes of padding after the echoed text */
    bool tool;  /* answer with a tool call */
    bool empty; /* answer without a choice */
    bool azure; /* asked with Azure's credential: chats tell what the content filters found */
    sim_finish_t finish;
    sim_spoil_t spoil;
    size_t stream_bytes; /* of text in an event, about */
    int bad_key_status; /* Gemini's */
} sim_call_t;

typedef struct sim_error {
    sim_trouble_t trouble;
    int status;      /* SIM_SERVER: which; else ignored */
    pst_ns_t wait;   /* SIM_RATE, SIM_CROWD, SIM_OVERLOAD: when to come again; 0: not said */
    bool for_tokens; /* SIM_RATE: because of tokens */
} sim_error_t;

typedef struct sim_shape {
    /* Header lines every answer has: the request's id and what is left of the limits. */
    void (*headers)(const sim_call_t *c, pst_buf_t *head);
    void (*answer)(const sim_call_t *c, pst_buf_t *body);
    /* Fills the body, adds headers of its own; the status. */
    int (*error)(const sim_call_t *c, const sim_error_t *e, pst_buf_t *head, pst_buf_t *body);
    /* The answer as server-sent events, each with its empty line; NULL: none.  APIs: bit (1 << sim_api_t). */
    void (*stream)(const sim_call_t *c, pst_buf_t *body);
    unsigned streams;
} sim_shape_t;

extern const sim_shape_t sim_openai, sim_anthropic, sim_gemini, sim_cohere, sim_bedrock;

#define SIM_TOOL_NAME "get_weather"
#define SIM_TOOL_ARGS "{\"city\":\"Paris\"}"
#define SIM_ECHO "echo:"

/* The answer's text as a JSON string: the request's text spliced in as it stood there. */
void sim_put_echo(const sim_call_t *c, pst_buf_t *b);
/* That text in parts, each the inside of a JSON string of about c->stream_bytes bytes, told to put; before the middle one
 * it may be the answer's fate that something is wrong: false, and nothing is to follow. */
bool sim_put_parts(const sim_call_t *c, pst_buf_t *b, void (*put)(const sim_call_t *c, pst_view_t part, pst_buf_t *b),
                   const char *error_event);
/* A JSON string from a template, in which {model} {key} {wait} {limit} {unit} {input} stand for
 * this call's: name, masked key, "1.5s", the limit a minute, "requests" or "tokens", input tokens.
 */
void sim_put_message(const sim_call_t *c, const sim_error_t *e, const char *template, pst_buf_t *b);
/* "1.5s": seconds with what decimals they need, rounded up to a millisecond. */
void sim_put_seconds(pst_ns_t t, pst_buf_t *b);
void sim_put_retry_after(pst_ns_t wait,
                         pst_buf_t *head); /* whole seconds, rounded up; nothing for 0 */
static inline uint64_t sim_ms_up(pst_ns_t t)
{
    return (t + PST_MS - 1) / PST_MS;
}

#endif
