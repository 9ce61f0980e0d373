/* tokens.h - how many tokens a text will be, without a tokenizer: runs of blanks, punctuation and words, each priced
 * by its script.  Within 10 % or so on prose and code; a base64 blob counts half its length. */
#ifndef PST_TOKENS_H
#define PST_TOKENS_H

#include "base/base.h"

/* text: what stands between a JSON string's quotes; escaped: it has backslashes in it (then they are read as
 * escapes, otherwise as punctuation).  Valid UTF-8.  In 1/1000 tokens, so that sums of short texts stay exact.  Of more
 * than 64 KiB it is the figure of a sample. */
uint64_t pst_tokens_milli(pst_view_t text, bool escaped);

/* Texts counted lately: most lines of a batch begin with the same instructions.  Zero is a valid start. */
typedef struct pst_tokens_known {
    uint64_t looks;       /* made of its ends and its length: a text that looks new is counted, and not hashed before */
    uint64_t hash, milli; /* hash 0: so far it came once */
} pst_tokens_known_t;
typedef struct pst_tokens_cache {
    pst_tokens_known_t known[256];
} pst_tokens_cache_t;

/* The same figure, from the cache if it is there. */
uint64_t pst_tokens_cached(pst_tokens_cache_t *c, pst_view_t text, bool escaped);

#endif
