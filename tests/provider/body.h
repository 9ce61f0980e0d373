/* body.h - what the simulated provider reads from a request's body: the few fields that decide the
 * answer.  Pure; all views point into the body or the scratch buffer. */
#ifndef SIM_BODY_H
#define SIM_BODY_H

#include "jscan.h"

typedef enum sim_api {
    SIM_CHAT,        /* OpenAI /v1/chat/completions */
    SIM_RESPONSES,   /* OpenAI /v1/responses */
    SIM_EMBEDDINGS,  /* OpenAI /v1/embeddings */
    SIM_COMPLETIONS, /* OpenAI /v1/completions */
    SIM_MESSAGES,    /* Anthropic /v1/messages */
    SIM_GENERATE,    /* Gemini :generateContent */
    SIM_COHERE_CHAT, /* Cohere /v2/chat */
    SIM_CONVERSE,    /* Bedrock /model/M/converse */
} sim_api_t;

typedef struct sim_body {
    pst_view_t model; /* decoded; p is NULL if there is none */
    bool has_content; /* messages, input, prompt or contents is there, and of a type it may have */
    pst_view_t text_raw; /* the last user text as it stands in the JSON, without its quotes */
    pst_view_t text;     /* the same, decoded: what calls are told apart by */
    pst_view_t input;    /* embeddings: raw value of `input` */
    bool has_max_tokens;
    uint64_t max_tokens; /* under whichever of its names */
    uint64_t dimensions; /* 0: not given */
    bool base64;         /* encoding_format */
    bool tools;          /* at least one */
    bool stream;
    bool stream_usage;   /* stream_options.include_usage */
} sim_body_t;

/* False if the body is no JSON object.  scratch is cleared and then holds decoded texts. */
bool sim_body_read(sim_api_t api, pst_view_t body, pst_buf_t *scratch, sim_body_t *ret);

#endif
