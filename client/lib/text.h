/* text.h - numbers and members of objects into JSON text, fast and the same in every locale. */
#ifndef PST_TEXT_H
#define PST_TEXT_H

#include "base/buf.h"

void pst_text_uint(pst_buf_t *b, uint64_t v);
/* Thousand-millionths of a dollar as USD: "0.000123", no exponent, no zeros at the end. */
void pst_text_usd(pst_buf_t *b, uint64_t nano);
static inline double pst_usd(uint64_t nano) { return (double)nano / 1e9; }
/* Members of an object, with their commas.  A text that is NULL becomes null. */
void pst_member_str(pst_buf_t *b, const char *key, const char *value);
void pst_member_uint(pst_buf_t *b, const char *key, uint64_t value);
void pst_member_usd(pst_buf_t *b, const char *key, double usd);
/* Hands the text on, NUL-terminated and malloc'd: the buffer is empty after.  PST_E_NOMEM if it failed. */
PST_MUSTCHECK pst_err_t pst_text_give(pst_buf_t *b, char **ret);

#endif
