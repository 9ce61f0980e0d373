/* settings.h - the numbers that say how a model behaves.  One table gives the options, the
 * per-model overrides and what may be set while running.  Each value is one atomic double:
 * readers on other threads see the old or the new one, never a torn one. */
#ifndef SIM_SETTINGS_H
#define SIM_SETTINGS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdio.h>

/* X(ID, name, default, most, help); the least is always 0. */
#define SIM_SETTINGS(X)                                                                            \
    X(LATENCY_MS, "latency_ms", 0, 3.6e6, "median time to an answer, ms")                          \
    X(LATENCY_SIGMA, "latency_sigma", 0, 5, "sigma of its lognormal spread; 0: always the median") \
    X(RPM, "rpm", 0, 1e12, "requests a minute; 0: no limit")                                       \
    X(TPM, "tpm", 0, 1e15, "tokens a minute; 0: no limit")                                         \
    X(BUCKET, "bucket", 0, 2, "continuous | second | minute: how rpm and tpm are measured")        \
    X(BURST, "burst", 0, 1e12, "requests a full continuous bucket holds; 0: a second's worth")     \
    X(TOKENS, "tokens", 0, 1, "used | asked: what tpm counts (asked: max of input, max_tokens)")   \
    X(CONCURRENCY, "concurrency", 0, 1e9, "requests in flight; 0: no limit")                       \
    X(HEADERS, "headers", 1, 1, "0: no header tells of limits but retry-after")                    \
    X(RETRY_AFTER_MS, "retry_after_ms", 1000, 8.64e7, "wait named by other refusals, ms")          \
    X(ANSWER_BYTES, "answer_bytes", 0, 6.7e7, "answers are padded to this size")                   \
    X(STREAM_MS, "stream_ms", 0, 3.6e6, "time between two events of a streamed answer, ms")        \
    X(STREAM_BYTES, "stream_bytes", 16, 6.7e7, "bytes of text in one of its events, about")        \
    X(FAULT_500, "fault_500", 0, 1, "share of calls that get a 500")                               \
    X(FAULT_429, "fault_429", 0, 1, "share that get a 429")                                        \
    X(FAULT_529, "fault_529", 0, 1, "share that get an overload (Anthropic 529, others 503)")      \
    X(FAULT_CUT, "fault_cut", 0, 1, "share cut before the answer")                                 \
    X(FAULT_CUT_MID, "fault_cut_mid", 0, 1, "share cut in the middle of the answer's body")        \
    X(FAULT_HANG, "fault_hang", 0, 1, "share never answered")                                      \
    X(FAULT_GARBAGE, "fault_garbage", 0, 1, "share answered 200 with HTML")                        \
    X(FAULT_EMPTY, "fault_empty", 0, 1, "share answered 200 without a choice in it")               \
    X(OUTAGE_FROM_MS, "outage_from_ms", 0, 1e15, "start of an outage, ms after the start")         \
    X(OUTAGE_TO_MS, "outage_to_ms", 0, 1e15, "its end")                                            \
    X(OUTAGE_STATUS, "outage_status", 0, 599, "0: connections are cut; 503: that status")          \
    X(GEMINI_KEY_STATUS, "gemini_key_status", 401, 599, "a bad key's status in the Gemini shape")

typedef enum sim_setting {
#define X(id, name, def, most, help) SIM_##id,
    SIM_SETTINGS(X)
#undef X
    SIM_SETTING_COUNT
} sim_setting_t;

typedef enum sim_bucket { SIM_CONTINUOUS, SIM_SECOND, SIM_MINUTE } sim_bucket_t;

typedef struct sim_settings {
    _Atomic double v[SIM_SETTING_COUNT];
    uint64_t own; /* bit of each one given for this model: a general change leaves it alone */
} sim_settings_t;

static inline double sim_get(const sim_settings_t *s, sim_setting_t which)
{
    return atomic_load_explicit(&s->v[which], memory_order_relaxed);
}

void sim_settings_init(sim_settings_t *s);
void sim_settings_copy(sim_settings_t *to, const sim_settings_t *from);

/* One change, read from text so that it can be applied to many. */
typedef struct sim_change {
    sim_setting_t which[2];
    double value[2];
    unsigned n;
} sim_change_t;

/* name with '_' or '-'; `outage` (on, off, FROM:TO) stands for the two ends of it.
 * PST_E_NOT_FOUND: no such name; PST_E_INVALID: not a value it may have. */
PST_MUSTCHECK pst_err_t sim_change_read(pst_view_t name, pst_view_t value, sim_change_t *ret);
/* own: as this model's own; otherwise only where the model has no value of its own. */
void sim_change_apply(const sim_change_t *c, sim_settings_t *s, bool own);
void sim_settings_help(FILE *f);

#endif
