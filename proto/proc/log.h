/* log.h - one line an event on stderr: "time level msg_id key=value …".  Only the process that handles an
 * error logs it, once; libraries and the core never do.  Ids are stable and can be searched for.  Bodies and
 * credentials have no printable form here: pass ids, counts and error names. */
#ifndef PST_LOG_H
#define PST_LOG_H

#include "base/base.h"

typedef enum pst_log_level { PST_LOG_ERROR, PST_LOG_WARN, PST_LOG_INFO, PST_LOG_DEBUG } pst_log_level_t;

/* Name of the process in each line ("broker"); level from $PENSTOCK_LOG (error|warn|info|debug), default info. */
void pst_log_init(const char *process);
/* kv: "key=value key=value" by printf; values with blanks are the caller's to quote with %s in "…". */
void pst_log(pst_log_level_t level, const char *msg_id, const char *kv, ...) PST_PRINTF(3, 4);

#endif
