/* fields.h - how many fields each kind of message has: what a decoder asks for at least.  An encoder writes these and
 * those that came later. */
#ifndef PST_WIRE_FIELDS_H
#define PST_WIRE_FIELDS_H

#include "wire/msg.h"

#define PST_ENVELOPE_FIELDS 5
#define PST_REF_FIELDS 5
#define PST_POOL_FIELDS 2
#define PST_TASK_GROUP_FIELDS 11 /* at least; priority, then live came later */
#define PST_PIECE_FIELDS 3
#define PST_OUTCOME_GROUP_FIELDS 5 /* at least; limits came later */
#define PST_LIMIT_REPORT_FIELDS 5
#define PST_OUTCOME_FIELDS 20

/* Fields behind the envelope; -1 for a number that is no message of this version. */
static inline int pst_msg_fields(unsigned type)
{
    static const int8_t fields[] = {
        [PST_MSG_HELLO] = 1 + 5,    [PST_MSG_WELCOME] = 1 + 4,  [PST_MSG_PING] = 1 + 0,
        [PST_MSG_BYE] = 1 + 2,      [PST_MSG_REFUSED] = 1 + 2,  [PST_MSG_ROUTE] = 1 + 3,
        [PST_MSG_OPEN] = 1 + 8,     [PST_MSG_PACK] = 1 + 6,     [PST_MSG_COMMIT] = 1 + 4,
        [PST_MSG_ABORT] = 1 + 2,    [PST_MSG_STATUS] = 1 + 2,   [PST_MSG_LIST] = 1 + 3,
        [PST_MSG_FETCH] = 1 + 5,    [PST_MSG_GET] = 1 + 5,      [PST_MSG_CANCEL] = 1 + 2,
        [PST_MSG_DELETE] = 1 + 2,   [PST_MSG_TOP] = 1 + 1,      [PST_MSG_DONE] = 1 + 5,
        [PST_MSG_BATCH] = 1 + 2,    [PST_MSG_BATCHES] = 1 + 3,  [PST_MSG_RESULTS] = 1 + 5,
        [PST_MSG_JOB] = 1 + 6,      [PST_MSG_CLUSTER] = 1 + 2,  [PST_MSG_CAPACITY] = 1 + 1,
        [PST_MSG_OUTCOMES] = 1 + 2, [PST_MSG_TASKS] = 1 + 1,    [PST_MSG_REVOKE] = 1 + 1,
        [PST_MSG_ACK] = 1 + 1,      [PST_MSG_CALL] = 1 + 9,     [PST_MSG_PIECE] = 1 + 3,
        [PST_MSG_PIECES] = 1 + 1,
    };
    return type < PST_COUNT(fields) ? fields[type] - 1 : -1;
}

/* And so many that came later. */
static inline int pst_msg_later_fields(unsigned type)
{
    return type == PST_MSG_OPEN ? 1 : 0; /* tenant */
}

#endif
