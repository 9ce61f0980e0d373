/* submit.h - what those can ask of a submission who make it for somebody else. */
#ifndef PST_SUBMIT_H
#define PST_SUBMIT_H

#include "lib/line.h"
#include "penstock/penstock.h"

/* Before the first line.  What it refuses is a bad line. */
void pst_submit_rule(pst_submit_t *s, const pst_line_rule_t *rule);

#endif
