/* openai.h - OpenAI's protocol, for adapters that speak it with words of their own.
 *
 * A dialect says what its members are called and how its messages are written; all else of a body goes through
 * byte for byte (openai.c). */
#ifndef PST_PROVIDERS_OPENAI_H
#define PST_PROVIDERS_OPENAI_H

#include "providers/answer.h"
#include "providers/stream.h"

/* A member of the body that has another name there, or none. */
typedef struct pst_openai_word {
    const char *ours, *theirs; /* theirs NULL: left out */
} pst_openai_word_t;

typedef struct pst_openai_dialect pst_openai_dialect_t;

/* A body on its way to the provider: ranges of the job's text, and in `out` what is put between them. */
typedef struct pst_copy {
    const pst_task_t *task;
    const pst_openai_dialect_t *dialect;
    const pst_json_t *j;
    pst_buf_t *out;
    pst_view_t *piece;   /* NULL: all goes to `out` */
    unsigned pieces;
    size_t done;         /* of `out`: what the pieces so far have of it */
    pst_arena_t *a;
    uint32_t flags;      /* PST_EP_… that hold */
    bool first;          /* nothing written in the object yet */
    bool has_model;
    bool streams;        /* the body asks for a stream */
    bool has_other_max;  /* the name that max tokens would be renamed to is there already */
} pst_copy_t;

struct pst_openai_dialect {
    uint32_t flags;                /* PST_EP_… of all its endpoints */
    uint32_t heeded;               /* PST_EP_… that are each endpoint's own to say */
    const pst_openai_word_t *word;
    size_t words;
    void (*put_messages)(pst_copy_t *c, uint32_t messages); /* a chat's, whatever they are; NULL: as they stand */
    bool no_stream_options;        /* it says what was used without being asked, and knows no such member */
};

/* OpenAI's own: what an endpoint's flags do not say stands as it was written. */
extern const pst_openai_dialect_t pst_openai_plain;

/* A range of the job's text, by its bytes. */
void pst_copy_range(pst_copy_t *c, uint32_t from, uint32_t to);
/* pst_provider_t.build in a dialect. */
pst_err_t pst_openai_build(const pst_openai_dialect_t *dialect, const pst_task_t *task, pst_arena_t *a,
                           pst_http_req_t *ret, pst_view_t *ret_why);
/* For pst_answer_read: DONE with the answer as it stands, or what is wrong with it. */
void pst_openai_read_ok(const pst_task_t *task, const pst_json_t *j, const pst_http_answer_t *answer,
                        pst_arena_t *a, pst_reading_t *ret);
/* pst_streaming_t.event where chunks are OpenAI's: what is wrong with one, and what it says of usage; `put` makes the
 * line. */
pst_stream_state_t pst_openai_event(pst_stream_t *s, const pst_stream_event_t *e,
                                    void (*put)(pst_stream_t *s, const pst_stream_event_t *e), pst_reading_t *ret);
/* As it stands. */
void pst_openai_put_chunk(pst_stream_t *s, const pst_stream_event_t *e);

#endif
