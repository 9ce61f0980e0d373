#include "fate.h"

#include "track.h"

#include <math.h>

#define SLOW_MS_MAX 3.6e6

typedef struct sim_mark_row {
    const char *name;
    sim_act_t act;
    sim_trouble_t trouble;
    int status;
} row_t;

static const row_t rows[] = {
    {"500", SIM_FAIL, SIM_SERVER, 500},    {"502", SIM_FAIL, SIM_SERVER, 502},
    {"503", SIM_FAIL, SIM_SERVER, 503},    {"504", SIM_FAIL, SIM_SERVER, 504},
    {"429", SIM_FAIL, SIM_RATE, 0},        {"529", SIM_FAIL, SIM_OVERLOAD, 0},
    {"400", SIM_FAIL, SIM_BAD_REQUEST, 0}, {"401", SIM_FAIL, SIM_BAD_KEY, 0},
    {"402", SIM_FAIL, SIM_CREDIT, 0},      {"404", SIM_FAIL, SIM_UNKNOWN_MODEL, 0},
    {"context", SIM_FAIL, SIM_CONTEXT, 0}, {"policy", SIM_FAIL, SIM_POLICY, 0},
    {"quota", SIM_FAIL, SIM_QUOTA, 0},     {"cut", SIM_CUT, SIM_OK, 0},
    {"cutmid", SIM_CUT_MID, SIM_OK, 0},    {"hang", SIM_HANG, SIM_OK, 0},
    {"garbage", SIM_GARBAGE, SIM_OK, 0},   {"empty", SIM_EMPTY, SIM_OK, 0},
};

/* The number that v is, all of it; UINT32_MAX if it is none. */
static uint32_t number(pst_view_t v)
{
    uint32_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9' || n > 100000000)
            return UINT32_MAX;
        n = n * 10 + (uint32_t)(v.p[i] - '0');
    }
    return v.n ? n : UINT32_MAX;
}

/* name, or name and xN. */
static bool matches(pst_view_t word, const char *name, uint32_t *ret_times)
{
    size_t n = strlen(name);
    if (word.n < n || memcmp(word.p, name, n) != 0)
        return false;
    *ret_times = 0;
    if (word.n == n)
        return true;
    if (word.p[n] != 'x')
        return false;
    *ret_times = number(pst_view(word.p + n + 1, word.n - n - 1));
    return *ret_times != UINT32_MAX && *ret_times > 0;
}

static void read_mark(pst_view_t word, sim_marks_t *m)
{
    uint32_t times, slow;
    if (pst_view_eqs(word, "tool")) {
        m->tool = true;
    } else if (pst_view_eqs(word, "length")) {
        m->finish = SIM_LENGTH;
    } else if (pst_view_eqs(word, "refusal")) {
        m->finish = SIM_FILTER;
    } else if (pst_view_eqs(word, "badevent")) {
        m->spoil = SIM_BAD_EVENT;
    } else if (pst_view_eqs(word, "errorevent")) {
        m->spoil = SIM_ERROR_EVENT;
    } else if (pst_view_eqs(word, "noend")) {
        m->spoil = SIM_NO_END;
    } else if (word.n > 5 && memcmp(word.p, "slow:", 5) == 0) {
        slow = number(pst_view(word.p + 5, word.n - 5));
        m->slow = slow <= SLOW_MS_MAX;
        m->slow_ms = slow;
    }
    for (size_t i = 0; i < PST_COUNT(rows) && m->n < SIM_MARKS_MAX; i++) {
        if (!matches(word, rows[i].name, &times))
            continue;
        m->v[m->n++] = (sim_mark_t){&rows[i], times};
        m->counted |= times > 0;
        return;
    }
}

void sim_marks_find(pst_view_t text, sim_marks_t *ret)
{
    enum { WORD_BYTES_MAX = 32 };
    ret->n = 0;
    ret->counted = ret->tool = ret->slow = false;
    ret->finish = SIM_STOP;
    ret->spoil = SIM_SOUND;
    const char *p = text.p, *end = text.p + text.n;
    while (text.n && (p = memmem(p, (size_t)(end - p), "[[", 2))) {
        p += 2;
        size_t room = PST_MIN((size_t)(end - p), (size_t)WORD_BYTES_MAX);
        const char *close = memmem(p, room, "]]", 2);
        if (close)
            read_mark(pst_view(p, (size_t)(close - p)), ret);
    }
}

/* Marks follow one another: [[500x2]][[429x1]] is two 500s, then a 429, then an answer. */
static const row_t *mark_for(const sim_marks_t *m, uint32_t nth)
{
    uint64_t past = 0;
    for (unsigned i = 0; i < m->n; i++) {
        past += m->v[i].times;
        if (m->v[i].times == 0 || nth <= past)
            return m->v[i].row;
    }
    return NULL;
}

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

/* One throw for all faults: their shares add up. */
static void throw_fault(const sim_settings_t *s, double u, sim_fate_t *ret)
{
    static const struct {
        sim_setting_t share;
        row_t row;
    } faults[] = {
        {SIM_FAULT_500, {"", SIM_FAIL, SIM_SERVER, 500}},
        {SIM_FAULT_429, {"", SIM_FAIL, SIM_RATE, 0}},
        {SIM_FAULT_529, {"", SIM_FAIL, SIM_OVERLOAD, 0}},
        {SIM_FAULT_CUT, {"", SIM_CUT, SIM_OK, 0}},
        {SIM_FAULT_CUT_MID, {"", SIM_CUT_MID, SIM_OK, 0}},
        {SIM_FAULT_HANG, {"", SIM_HANG, SIM_OK, 0}},
        {SIM_FAULT_GARBAGE, {"", SIM_GARBAGE, SIM_OK, 0}},
        {SIM_FAULT_EMPTY, {"", SIM_EMPTY, SIM_OK, 0}},
    };
    for (size_t i = 0; i < PST_COUNT(faults); i++) {
        u -= sim_get(s, faults[i].share);
        if (u < 0) {
            ret->act = faults[i].row.act;
            ret->trouble = faults[i].row.trouble;
            ret->status = faults[i].row.status;
            return;
        }
    }
}

/* Lognormal around the median: Box-Muller from two more throws. */
static double latency(const sim_settings_t *s, uint64_t dice)
{
    double median = sim_get(s, SIM_LATENCY_MS), sigma = sim_get(s, SIM_LATENCY_SIGMA);
    if (median <= 0 || sigma <= 0)
        return median;
    double a = 1 - unit(sim_mix(dice, 1)), b = unit(sim_mix(dice, 2));
    double z = sqrt(-2 * log(a)) * cos(2 * M_PI * b);
    return fmin(median * exp(sigma * z), SLOW_MS_MAX);
}

void sim_fate_decide(const sim_settings_t *s, const sim_marks_t *m, uint32_t nth, uint64_t dice,
                     sim_fate_t *ret)
{
    *ret = (sim_fate_t){.act = SIM_ANSWER, .tool = m->tool, .finish = m->finish};
    ret->delay_ms = m->slow ? m->slow_ms : latency(s, dice);
    const row_t *row = mark_for(m, nth);
    if (row) {
        ret->act = row->act;
        ret->trouble = row->trouble;
        ret->status = row->status;
    } else {
        throw_fault(s, unit(dice), ret);
    }
}
