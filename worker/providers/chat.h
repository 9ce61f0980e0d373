/* chat.h - an OpenAI chat request taken apart, for adapters that say it in another protocol.
 *
 * What OpenAI means is decided here, once: which messages are instructions, where a turn ends, what
 * a content part is, what tool_choice says.  How that is written is the adapter's.  Parameters that
 * another protocol lacks are left out, as OpenRouter does (a job that minds sets require_parameters
 * and is routed elsewhere); what would change the question itself, such as a picture that cannot be
 * sent, is refused. */
#ifndef PST_PROVIDERS_CHAT_H
#define PST_PROVIDERS_CHAT_H

#include "provider.h"

/* A request being rewritten.  Begun by pst_chat_begin, ended by pst_chat_end.  Once `why` is set,
 * what is written to `b` no longer matters. */
typedef struct pst_chat {
    const pst_task_t *task;
    const pst_json_t *j;
    pst_arena_t *a;
    pst_buf_t b;
    const char *why;   /* first thing that cannot be said, static text */
    uint32_t messages; /* the array */
    uint32_t opening;  /* first message of the conversation; those before it are instructions */
    bool has_turn;     /* a turn has been written */
    bool of_assistant; /* the last one is the assistant's */
} pst_chat_t;

/* A turn being written: an object that ends in the array of what is said. */
typedef struct pst_turn {
    size_t before, empty;
    bool assistant;
} pst_turn_t;

typedef enum pst_chat_role {
    PST_ROLE_SYSTEM, /* or developer */
    PST_ROLE_USER,
    PST_ROLE_ASSISTANT,
    PST_ROLE_TOOL,
    PST_ROLE_UNKNOWN,
} pst_chat_role_t;

typedef enum pst_part_kind {
    PST_PART_TEXT,
    PST_PART_LINK, /* an image at `url` */
    PST_PART_DATA, /* an image, sound or file: `data` in base64, of type `mime` */
    PST_PART_NONE, /* nothing to say, or refused */
} pst_part_kind_t;

typedef struct pst_part {
    pst_part_kind_t kind;
    uint32_t text; /* a string token */
    pst_view_t url, mime, data;
} pst_part_t;

typedef enum pst_choice_kind {
    PST_CHOICE_UNSAID,
    PST_CHOICE_AUTO,
    PST_CHOICE_NONE,
    PST_CHOICE_REQUIRED,
    PST_CHOICE_NAMED, /* the function *ret_name, a string token */
} pst_choice_kind_t;

/* Checks what holds for any protocol: no stream that nobody takes, messages are objects with a role, no legacy
 * functions. */
void pst_chat_begin(pst_chat_t *c, const pst_task_t *task, pst_arena_t *a);
/* PST_OK and the text, or PST_E_INVALID and why, or PST_E_NOMEM.  Releases the buffer. */
PST_MUSTCHECK pst_err_t pst_chat_end(pst_chat_t *c, pst_view_t *ret_body, pst_view_t *ret_why);
/* Remembers the first reason only. */
void pst_chat_refuse(pst_chat_t *c, const char *why);

pst_chat_role_t pst_chat_role(const pst_chat_t *c, uint32_t message);
/* Providers want turns to alternate: a turn is a run of messages of the assistant, or of everybody
 * else.  The first message after the turn that begins with m, or PST_JSON_NONE. */
uint32_t pst_chat_turn_end(const pst_chat_t *c, uint32_t m);
/* Begins with `head`, which opens the array.  A turn in which nothing is said is left out by pst_chat_close_turn, as an
 * empty one would be refused; that which follows then goes on with the one before, as turns must alternate. */
pst_turn_t pst_chat_open_turn(pst_chat_t *c, bool assistant, const char *head);
void pst_chat_close_turn(pst_chat_t *c, pst_turn_t turn);
static inline uint32_t pst_chat_after(const pst_chat_t *c, uint32_t m)
{
    return pst_json_after(c->j, c->messages, m);
}

/* Calls put for each part of a message's content: a string is one text part, null and "" are

 * none. */
void pst_chat_each_part(pst_chat_t *c, uint32_t content,
                        void (*put)(pst_chat_t *c, uint32_t token, const pst_part_t *part));
/* Calls put for each tool call of an assistant's message: its function object, and its arguments as
 * the text of a JSON object. */
void pst_chat_each_call(pst_chat_t *c, uint32_t message,
                        void (*put)(pst_chat_t *c, uint32_t call, uint32_t function,
                                    pst_view_t arguments));
/* ,"key":<id of a tool call>.  Claude takes letters, digits, - and _ alone, and other models' ids have dots and colons:
 * those are spelled, "a.1" as "x-a-2E1", so that no two of a conversation become one and each can be read back.  What
 * would be longer than AWS takes is a hash. */
void pst_chat_put_call_id(pst_chat_t *c, const char *key, uint32_t t);
/* Calls put for each of the body's tools with its function object. */
void pst_chat_each_tool(pst_chat_t *c,
                        void (*put)(pst_chat_t *c, uint32_t tool, uint32_t function));
bool pst_chat_has_tools(const pst_chat_t *c);
pst_choice_kind_t pst_chat_choice(pst_chat_t *c, uint32_t *ret_name);

/* How one block of a message is put, with a comma where it needs one. */
typedef struct pst_chat_blocks {
    void (*part)(pst_chat_t *c, uint32_t token, const pst_part_t *part);
    void (*call)(pst_chat_t *c, uint32_t call, uint32_t function, pst_view_t arguments);
    void (*result)(pst_chat_t *c, uint32_t message); /* of a tool */
} pst_chat_blocks_t;

/* ,"messages":[…] where turns alternate and are {"role":"user"|"assistant","content":[blocks]}, tool results first in
 * the user's: Anthropic's and AWS's way. */
void pst_chat_put_turns(pst_chat_t *c, const pst_chat_blocks_t *put);

/* A parameter of the body that is there and not null. */
uint32_t pst_chat_param(const pst_chat_t *c, const char *key);
/* max_completion_tokens, else max_tokens. */
uint32_t pst_chat_max_tokens(const pst_chat_t *c);
/* n, 1 if it is not said. */
int64_t pst_chat_n(const pst_chat_t *c);
/* Refuses any other n than 1. */
void pst_chat_one_choice(pst_chat_t *c);
/* ,"key":[…] from stop, which may be one string or several. */
void pst_chat_put_stop(pst_chat_t *c, const char *key);
/* The schema of response_format json_schema, or PST_JSON_NONE. */
uint32_t pst_chat_schema(const pst_chat_t *c);

#endif
