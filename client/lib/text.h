/* text.h - numbers into JSON text, fast and the same in every locale. */
#ifndef PST_TEXT_H
#define PST_TEXT_H

#include "base/buf.h"

void pst_text_uint(pst_buf_t *b, uint64_t v);
/* Thousand-millionths of a dollar as USD: "0.000123", no exponent, no zeros at the end. */
void pst_text_usd(pst_buf_t *b, uint64_t nano);
static inline double pst_usd(uint64_t nano) { return (double)nano / 1e9; }

#endif
