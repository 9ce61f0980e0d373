/* answer.h - one result line as a person wants it: the answer on standard output, how it came to be on stderr. */
#ifndef PST_ANSWER_H
#define PST_ANSWER_H

#include "cli/cli.h"

/* The answer's text, or the whole line with `json`; nothing else, and nothing of a request that failed without `json`.
 * Then a line for each attempt, and one with what it took or why it failed.  `batch` holds the job alone and has ended: it
 * knows what the line does not.  EXIT_WELL, or EXIT_JOBS_FAILED if there is no answer. */
int pst_answer_show(pst_view_t line, const pst_batch_t *batch, bool json);

#endif
