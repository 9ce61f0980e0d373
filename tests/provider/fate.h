/* fate.h - what becomes of a call: markers in its text, then faults by chance.  Pure: the dice are
 * thrown by the caller, so that one seed gives one run. */
#ifndef SIM_FATE_H
#define SIM_FATE_H

#include "settings.h"

/* Why a call is refused or fails; each shape says it in its own words. */
typedef enum sim_trouble {
    SIM_OK,
    SIM_BAD_REQUEST, /* the request's own fault, no detail */
    SIM_NOT_JSON,
    SIM_NO_MODEL,      /* no model named */
    SIM_NO_CONTENT,    /* messages, input, … missing */
    SIM_NO_MAX_TOKENS, /* Anthropic wants it */
    SIM_NO_VERSION,    /* Anthropic: header anthropic-version */
    SIM_STREAM,        /* streaming is not simulated of this API */
    SIM_NO_KEY,
    SIM_BAD_KEY,
    SIM_CREDIT, /* 402 */
    SIM_UNKNOWN_MODEL,
    SIM_UNKNOWN_URL,
    SIM_WRONG_METHOD,
    SIM_CONTEXT,
    SIM_POLICY,
    SIM_QUOTA, /* a 429 that waiting does not cure */
    SIM_RATE,  /* a 429 that it does */
    SIM_CROWD, /* too many in flight */
    SIM_OVERLOAD,
    SIM_SERVER, /* 500, or the status given */
} sim_trouble_t;

typedef enum sim_act {
    SIM_ANSWER,
    SIM_FAIL, /* with a sim_trouble_t */
    SIM_CUT,
    SIM_CUT_MID,
    SIM_HANG,
    SIM_GARBAGE,
    SIM_EMPTY,
} sim_act_t;

/* How the answer ends, in each shape's words. */
typedef enum sim_finish { SIM_STOP, SIM_LENGTH, SIM_FILTER } sim_finish_t;

/* What is wrong in the middle of a streamed answer. */
typedef enum sim_spoil {
    SIM_SOUND,
    SIM_BAD_EVENT,   /* an event that is no JSON; others follow */
    SIM_ERROR_EVENT, /* an error, and nothing behind it */
    SIM_NO_END,      /* its end mark is missing */
} sim_spoil_t;

typedef struct sim_fate {
    sim_act_t act;
    sim_trouble_t trouble;
    int status; /* SIM_SERVER: 500, 502, 503, 504 */
    double delay_ms;
    bool tool; /* answer with a tool call, if tools were offered */
    sim_finish_t finish;
} sim_fate_t;

#define SIM_MARKS_MAX 16

typedef struct sim_mark {
    const struct sim_mark_row *row;
    uint32_t times; /* 0: always */
} sim_mark_t;

/* The markers of one text, in their order. */
typedef struct sim_marks {
    sim_mark_t v[SIM_MARKS_MAX];
    unsigned n;
    bool counted; /* some have xN: sim_fate_decide needs to know which call of this text it is */
    bool tool;
    bool slow;
    double slow_ms;
    sim_finish_t finish;
    sim_spoil_t spoil;
} sim_marks_t;

void sim_marks_find(pst_view_t text, sim_marks_t *ret);
/* nth: this call's number among those of its text, from 1 (any number if no mark is counted). */
void sim_fate_decide(const sim_settings_t *s, const sim_marks_t *m, uint32_t nth, uint64_t dice,
                     sim_fate_t *ret);

#endif
