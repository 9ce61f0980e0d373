/* fake_front.h - a broker that only a client can see, in a thread of the test: keeps uploads in memory, "runs" an
 * accepted batch at once by answering each job with its own body, and misbehaves as it is told. */
#ifndef PST_FAKE_FRONT_H
#define PST_FAKE_FRONT_H

#include "wire/msg.h"

typedef struct fake_front fake_front_t;

typedef enum fake_fault {
    FAKE_PUT_OFF,  /* PACKs are answered FULL */
    FAKE_FORGET,   /* messages find no session, as after a restart */
    FAKE_SWALLOW,  /* requests are not answered, and nothing more is said in their session */
    FAKE_GAP,      /* replies skip a number */
    FAKE_DOWN,     /* OPENs are answered STORE_DOWN */
    FAKE_LOADING,  /* questions and CALLs are answered LOADING */
    FAKE_HOLD,     /* messages are kept until there are no more to keep, then taken from the last to the first */
    FAKE_VERSION,  /* HELLOs are refused: another version */
    FAKE_BREAK,    /* of a CALL's PIECEs only the first is said, and its session is over */
    FAKE_TAKEN,    /* CALLs are answered EXISTS */
    FAKE_LONG,     /* CALLs are not answered */
    FAKE_FAULTS
} fake_fault_t;

typedef struct fake_counts {
    unsigned hellos, routes, opens, packs, commits, aborts, accepted, calls, cancels;
    pst_id_t cancelled;      /* by the last CANCEL */
    pst_id_t called;         /* by the last CALL */
    unsigned segments;       /* of the last batch */
    uint64_t jobs;           /* stored, each counted once */
    unsigned out_of_order;   /* PACKs that came before the one they follow was taken */
} fake_counts_t;

fake_front_t *fake_front_start(void);
void fake_front_stop(fake_front_t **f);
const char *fake_front_address(const fake_front_t *f);
/* The next n messages that the fault can befall meet it. */
void fake_front_fault(fake_front_t *f, fake_fault_t fault, unsigned n);
fake_counts_t fake_front_counts(fake_front_t *f);

#endif
