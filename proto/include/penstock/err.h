/* err.h - the one list of errors, shared by every process and the wire.
 *
 * The numbers are part of the protocol (PROTOCOL.md, "Errors"): never reuse one.  The class says
 * what the one who gets it should do:
 *   FATAL  the request is wrong; asking again gives the same answer
 *   RETRY  nothing was done; ask again later
 *   CLOSE  the session is over; begin a new one */
#ifndef PENSTOCK_ERR_H
#define PENSTOCK_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#define PST_ERR_LIST(X)                                                                            \
    X(INVALID, 1, FATAL, "invalid argument")                                                       \
    X(NOMEM, 2, RETRY, "out of memory")                                                            \
    X(IO, 3, RETRY, "input or output failed")                                                      \
    X(NOT_FOUND, 4, FATAL, "not found")                                                            \
    X(CONFIG, 5, FATAL, "configuration is wrong")                                                  \
    X(UNREACHABLE, 6, RETRY, "no answer from the broker")                                          \
    X(FULL, 10, RETRY, "queue is full")                                                            \
    X(TOO_LARGE, 11, FATAL, "larger than its limit")                                               \
    X(MALFORMED, 12, CLOSE, "message does not parse")                                              \
    X(VERSION, 13, CLOSE, "another protocol version")                                              \
    X(SEQUENCE, 14, CLOSE, "message out of order")                                                 \
    X(NO_SESSION, 15, CLOSE, "no such session")                                                    \
    X(STORE_DOWN, 20, RETRY, "Redis does not answer")                                              \
    X(STORE_FULL, 21, RETRY, "Redis has no room")                                                  \
    X(FENCED, 22, CLOSE, "another broker owns this now")                                           \
    X(STORE_BAD, 23, FATAL, "Redis cannot be used")                                                \
    X(STATE, 30, FATAL, "not possible in this state")                                              \
    X(MODEL_NOT_FOUND, 31, FATAL, "no endpoint serves this model")                                 \
    X(EXISTS, 32, FATAL, "exists already")                                                         \
    X(INPUT, 33, FATAL, "input refused")                                                           \
    X(LOADING, 34, RETRY, "the broker is still reading its state back")                            \
    X(PARKED, 35, FATAL, "every endpoint of this model rests")

typedef enum pst_err {
    PST_OK = 0,
#define X(name, number, class, text) PST_E_##name = number,
    PST_ERR_LIST(X)
#undef X
} pst_err_t;

typedef enum pst_err_class { PST_CLASS_NONE, PST_CLASS_FATAL, PST_CLASS_RETRY, PST_CLASS_CLOSE } pst_err_class_t;

/* Static text for an error, "unknown error" for a number this build does not know. */
const char *pst_err_text(pst_err_t e);
/* Short stable name in lower case ("not_found"). */
const char *pst_err_name(pst_err_t e);
pst_err_class_t pst_err_class(pst_err_t e);

#ifdef __cplusplus
}
#endif
#endif
