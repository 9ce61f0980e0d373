/* anthropic.h - Anthropic's dialect of the gateway: what its SDK says becomes a chat completion of OpenAI's, which any
 * provider may then serve, and what comes back is said in Anthropic's words.
 *
 * Pure: text in, text out, no clock and no I/O.  What is written is appended to the caller's buffer, whose `failed`
 * says whether all of it had room.  After an error the buffer has what was written so far: it is to be thrown away.
 *
 * Requests.  What only settles how an answer is made, and has no counterpart, is left out (service_tier, speed,
 * inference_geo, context_management, the signatures of thoughts); what would change the question (a tool that Anthropic
 * itself runs, a file that lies there, a container) is refused with its place and a reason.  cache_control, `thinking`
 * and pictures in a tool's result are kept as our adapters for Claude read them where only Claude's models are asked
 * for; any other model gets reasoning_effort instead of a budget, and the pictures in the turn after the result. */
#ifndef PST_GATEWAY_ANTHROPIC_H
#define PST_GATEWAY_ANTHROPIC_H

#include "base/arena.h"
#include "base/json.h"
#include "penstock/penstock.h"

/* Memory of one translation at a time, kept for the next.  Zero is a valid start. */
typedef struct pst_anthropic {
    pst_json_t json, inner; /* inner: of text inside the text */
    pst_arena_t arena;
} pst_anthropic_t;
void pst_anthropic_release(pst_anthropic_t *x);

/* ---- requests ---- */

/* The body of POST /v1/messages as one of POST /v1/chat/completions, on one line.  A stream is asked for with its
 * usage.  PST_E_INVALID: *why has the message for the client. */
PST_MUSTCHECK pst_err_t pst_anthropic_request(pst_anthropic_t *x, pst_view_t body, pst_buf_t *out, pst_errbuf_t *why);
/* POST /v1/messages/count_tokens: {"input_tokens":n}, an estimate (lib/tokens.h). */
PST_MUSTCHECK pst_err_t pst_anthropic_count_tokens(pst_anthropic_t *x, pst_view_t body, pst_buf_t *out,
                                                   pst_errbuf_t *why);
/* One element of `requests` of POST /v1/messages/batches as a line of OpenAI's batch input, without its newline.
 * `index` is its place in the array, for the message. */
PST_MUSTCHECK pst_err_t pst_anthropic_batch_line(pst_anthropic_t *x, pst_view_t element, uint64_t index, pst_buf_t *out,
                                                 pst_errbuf_t *why);

/* ---- answers ---- */

/* A chat completion as a Message.  fallback_id names it where the completion has no id.  PST_E_MALFORMED: it is no
 * completion. */
PST_MUSTCHECK pst_err_t pst_anthropic_answer(pst_anthropic_t *x, pst_view_t completion, pst_view_t fallback_id,
                                             pst_buf_t *out);
/* The `type` of an error with this HTTP status. */
const char *pst_anthropic_error_type(int status);
/* The status for an error_type of ours, where no provider gave one. */
int pst_anthropic_error_status(pst_view_t error_type);
/* The error envelope.  request_id may be empty. */
void pst_anthropic_error(int status, pst_view_t message, pst_view_t request_id, pst_buf_t *out);
/* The same from an error body of OpenAI's shape, or of anything else. */
void pst_anthropic_error_of(pst_anthropic_t *x, int status, pst_view_t body, pst_view_t request_id, pst_buf_t *out);

/* ---- streams ---- */

/* Tokens as Anthropic counts them: what was read from a cache, or written to one, is not part of the input. */
typedef struct pst_anthropic_usage {
    uint64_t input, cached, cache_write, output, reasoning;
} pst_anthropic_usage_t;

/* A call of a tool in an answer that is still coming. */
typedef struct pst_anthropic_call {
    uint64_t index;            /* OpenAI's */
    pst_buf_t id, name;        /* decoded */
    pst_buf_t arguments;       /* decoded, what is not written yet */
    uint32_t depth;            /* braces and brackets that are open in the arguments so far */
    bool in_string, escaped;
    bool complete;             /* the arguments are whole: another call may begin */
} pst_anthropic_call_t;

typedef enum pst_anthropic_block {
    PST_ANTHROPIC_NO_BLOCK,
    PST_ANTHROPIC_TEXT,
    PST_ANTHROPIC_THINKING,
    PST_ANTHROPIC_TOOL,
} pst_anthropic_block_t;

#define PST_ANTHROPIC_CALLS_MAX 128

/* An answer on its way, as server-sent events.  Anthropic's blocks come one after the other, OpenAI's calls of tools
 * may come side by side: those that are not open wait until the open one's arguments are whole.
 * After its end, or an error, `done` is set and nothing more is written. */
typedef struct pst_anthropic_stream {
    pst_anthropic_t x;
    pst_anthropic_block_t open;
    uint32_t blocks;           /* begun so far */
    pst_anthropic_call_t *call;
    uint32_t calls, calls_begun; /* the last one begun is the one that may be open */
    bool began, done;
    bool refused;              /* the answer is a refusal in words */
    const char *stop_reason;   /* NULL: not said yet */
    bool counted;              /* usage is the provider's */
    pst_anthropic_usage_t usage;
    uint64_t guessed_milli;    /* 1/1000 tokens of what came, for providers that do not count */
} pst_anthropic_stream_t;

/* input_tokens: what message_start says, as nobody has counted yet; 0 if nothing is known. */
void pst_anthropic_stream_init(pst_anthropic_stream_t *s, uint64_t input_tokens);
void pst_anthropic_stream_release(pst_anthropic_stream_t *s);
/* One chunk, a JSON object.  An error in it, or a chunk that is none, ends the stream with an error event. */
void pst_anthropic_stream_feed(pst_anthropic_stream_t *s, pst_view_t chunk, pst_buf_t *out);
/* No more chunks: the end of the message, or, if none of them said that it had ended, an error event. */
void pst_anthropic_stream_end(pst_anthropic_stream_t *s, pst_buf_t *out);
/* Ends it with an error event. */
void pst_anthropic_stream_fail(pst_anthropic_stream_t *s, int status, pst_view_t message, pst_buf_t *out);
/* Keeps a silent connection open. */
void pst_anthropic_ping(pst_buf_t *out);

/* ---- batches ---- */

#define PST_ANTHROPIC_BATCH_TEXT_LEN 35 /* "msgbatch_" + 26, without the NUL */

/* Reads "msgbatch_…", the same id that "batch_…" is; PST_E_INVALID for anything else. */
PST_MUSTCHECK pst_err_t pst_anthropic_batch_id(pst_view_t text, pst_id_t *ret);
/* The message_batch object.  base: what results_url begins with ("https://host"), may be empty.  As with Anthropic, all
 * requests count as processing until the batch has ended. */
void pst_anthropic_batch(const pst_batch_t *batch, pst_view_t base, pst_buf_t *out);
void pst_anthropic_batch_list(const pst_batch_list_t *list, pst_view_t base, pst_buf_t *out);
void pst_anthropic_batch_deleted(const pst_id_t *batch, pst_buf_t *out);
/* A result line of ours as one of Anthropic's, without newlines.  PST_E_MALFORMED: it is no result line. */
PST_MUSTCHECK pst_err_t pst_anthropic_result(pst_anthropic_t *x, pst_view_t line, pst_buf_t *out);

#endif
