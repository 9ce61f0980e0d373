/* stream.h - an answer that is told while it is made.
 *
 * A provider sends events: server-sent ones, or AWS's frames.  Its adapter makes lines of them, each one chunk object of
 * OpenAI's streaming form as JSON without line breaks.
 *
 *   begin --feed (MORE)--> … --feed (OVER) | end--> a reading: DONE, FINAL
 *                           \--feed (FAILED)------> a reading: FINAL; RETRY, THROTTLE or PARK if no line was made yet
 *
 * What began is never begun again: once there was a line, whatever breaks the stream is FINAL.  For that reason the first
 * line is made late where a protocol allows it: with the first thing that is said.  A stream without its end mark
 * ([DONE], message_stop, a finish reason) is a bad answer, as half an answer cannot be told from a whole one.
 *
 * An answer that is no stream, an error or the plain answer of a host that knows none, is read as ever; and
 * pst_stream_whole makes the lines of any plain answer.
 *
 * Pure. */
#ifndef PST_PROVIDERS_STREAM_H
#define PST_PROVIDERS_STREAM_H

#include "providers/answer.h"
#include "providers/frames.h"
#include "providers/sse.h"

#define PST_STREAM_CHOICES_MAX 64

/* One answer.  Open, so that it can be kept with its call; fields are for adapters, and for lines. */
typedef struct pst_stream {
    const pst_provider_t *provider;
    const pst_task_t *task;
    pst_sse_t sse;
    pst_frames_t frames;
    pst_buf_t head;        /* {"id":…,"object":…,"created":…,"model":… of each line; empty: not known yet */
    pst_usage_t usage;     /* said so far */
    uint64_t lines;        /* made */
    uint64_t begun;        /* choices, by bit, that have a line */
    uint64_t finished;     /* that have their finish reason */
    uint32_t calls[PST_STREAM_CHOICES_MAX]; /* of tools, begun in each choice */
    bool in_call, argued;  /* the call begun last has not ended; it has arguments */
    bool whole;            /* it may end now: all was said that must be */
    bool over;             /* it has ended: what else comes is not looked at */
} pst_stream_t;

void pst_stream_init(pst_stream_t *s);
void pst_stream_release(pst_stream_t *s);
/* provider, task: borrowed until the end. */
void pst_stream_begin(pst_stream_t *s, const pst_provider_t *provider, const pst_task_t *task);

/* Whether an answer with this status and these headers is a stream. */
bool pst_stream_is(const pst_http_answer_t *head);
/* Some of its body.  Lines go to out.  ret: with FAILED only. */
pst_stream_state_t pst_stream_feed(pst_stream_t *s, const pst_http_answer_t *head, pst_view_t bytes, pst_arena_t *a,
                                   pst_buf_t *out, pst_reading_t *ret);
/* Nothing more comes.  answer: with the stream's headers, or why there is no more (status 0). */
void pst_stream_end(pst_stream_t *s, const pst_http_answer_t *answer, pst_arena_t *a, pst_buf_t *out, pst_reading_t *ret);
/* A plain answer that is DONE becomes lines and loses its body.  Another verdict: there was no room for them. */
void pst_stream_whole(pst_stream_t *s, const pst_http_answer_t *answer, pst_arena_t *a, pst_buf_t *out,
                      pst_reading_t *ret);

/* The lines from there on are each short enough to be sent; else they are taken back. */
PST_MUSTCHECK bool pst_stream_fits(pst_buf_t *out, size_t from);

/* ---- for adapters ---- */

/* Shown as a failure of the provider's: FAILED.  Of a 2xx that is an error, or no answer. */
pst_stream_state_t pst_stream_failed(const pst_stream_event_t *e, uint32_t error, pst_reading_t *ret);
pst_stream_state_t pst_stream_bad(const pst_stream_event_t *e, const char *why, pst_reading_t *ret);

/* What the lines' heads say, once the provider has said it: tokens, as of pst_answer_begin. */
void pst_stream_name(pst_stream_t *s, const pst_json_t *j, uint32_t id, uint32_t model);
/* A line of one choice from its beginning to its delta's brace, and from behind the delta on.  The choice's first line is
 * put before it: that says the role.  index: at most PST_STREAM_CHOICES_MAX. */
void pst_chunk_open(pst_stream_t *s, pst_buf_t *out, uint32_t index);
void pst_chunk_close(pst_stream_t *s, pst_buf_t *out);
/* The rest of the line behind the choice's logprobs. */
void pst_chunk_end(pst_stream_t *s, pst_buf_t *out);
/* A delta with one member: the inside of a string, escapes as they stand; no line if it is empty. */
void pst_chunk_text(pst_stream_t *s, pst_buf_t *out, uint32_t index, const char *key, pst_view_t inside);
/* A call of a tool: the tokens of its id, its function's name, and its thought_signature or NONE; then what is said of its arguments; then its end, before
 * which arguments that were never said become {}. */
void pst_chunk_call(pst_stream_t *s, pst_buf_t *out, uint32_t index, const pst_json_t *j, uint32_t id, uint32_t name,
                    uint32_t signature);
void pst_chunk_arguments(pst_stream_t *s, pst_buf_t *out, uint32_t index, pst_view_t inside);
void pst_chunk_arguments_text(pst_stream_t *s, pst_buf_t *out, uint32_t index, pst_view_t text);
void pst_chunk_call_end(pst_stream_t *s, pst_buf_t *out, uint32_t index);
/* reason: in OpenAI's words; native: the token of the provider's own. */
void pst_chunk_finish(pst_stream_t *s, pst_buf_t *out, uint32_t index, pst_view_t reason, const pst_json_t *j,
                      uint32_t native);
/* A line without a choice, that tells the usage. */
void pst_chunk_usage(pst_stream_t *s, pst_buf_t *out);
/* A provider's own object, as it stands but for line breaks. */
void pst_chunk_raw(pst_stream_t *s, pst_buf_t *out, pst_view_t object);

#endif
