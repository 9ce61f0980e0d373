#include "settings.h"

#include <assert.h>
#include <math.h>

static const struct {
    const char *name;
    double initial, most;
    const char *help;
} rows[SIM_SETTING_COUNT] = {
#define X(id, name, def, most, help) {name, def, most, help},
    SIM_SETTINGS(X)
#undef X
};

static_assert(SIM_SETTING_COUNT <= 64, "sim_settings_t.own has a bit for each");

void sim_settings_init(sim_settings_t *s)
{
    for (unsigned i = 0; i < SIM_SETTING_COUNT; i++)
        atomic_store_explicit(&s->v[i], rows[i].initial, memory_order_relaxed);
    s->own = 0;
}

void sim_settings_copy(sim_settings_t *to, const sim_settings_t *from)
{
    for (unsigned i = 0; i < SIM_SETTING_COUNT; i++)
        atomic_store_explicit(&to->v[i], sim_get(from, i), memory_order_relaxed);
    to->own = 0;
}

static bool is_called(pst_view_t name, const char *want)
{
    if (name.n != strlen(want))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if ((name.p[i] == '-' ? '_' : name.p[i]) != want[i])
            return false;
    }
    return true;
}

static bool read_number(pst_view_t v, double most, double *ret)
{
    char text[64];
    if (v.n == 0 || v.n >= sizeof text)
        return false;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    char *end;
    double d = strtod(text, &end);
    if (*end || !isfinite(d) || d < 0 || d > most)
        return false;
    *ret = d;
    return true;
}

static bool read_word(pst_view_t v, const char *const *words, unsigned count, double *ret)
{
    for (unsigned i = 0; i < count; i++) {
        if (pst_view_eqs(v, words[i])) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool read_value(sim_setting_t which, pst_view_t v, double *ret)
{
    static const char *const buckets[] = {"continuous", "second", "minute"};
    static const char *const tokens[] = {"used", "asked"};
    if (which == SIM_BUCKET)
        return read_word(v, buckets, PST_COUNT(buckets), ret);
    if (which == SIM_TOKENS)
        return read_word(v, tokens, PST_COUNT(tokens), ret);
    return read_number(v, rows[which].most, ret);
}

static pst_err_t read_outage(pst_view_t v, sim_change_t *ret)
{
    *ret = (sim_change_t){.which = {SIM_OUTAGE_FROM_MS, SIM_OUTAGE_TO_MS}, .n = 2};
    const double most = rows[SIM_OUTAGE_TO_MS].most;
    if (pst_view_eqs(v, "off"))
        return PST_OK;
    if (pst_view_eqs(v, "on")) {
        ret->value[1] = most;
        return PST_OK;
    }
    const char *colon = v.n ? memchr(v.p, ':', v.n) : NULL;
    if (!colon)
        return PST_E_INVALID;
    size_t n = (size_t)(colon - v.p);
    bool ok = read_number(pst_view(v.p, n), most, &ret->value[0]) &&
              read_number(pst_view(colon + 1, v.n - n - 1), most, &ret->value[1]);
    return ok ? PST_OK : PST_E_INVALID;
}

pst_err_t sim_change_read(pst_view_t name, pst_view_t value, sim_change_t *ret)
{
    if (is_called(name, "outage"))
        return read_outage(value, ret);
    for (unsigned i = 0; i < SIM_SETTING_COUNT; i++) {
        if (!is_called(name, rows[i].name))
            continue;
        *ret = (sim_change_t){.which = {i}, .n = 1};
        return read_value(i, value, &ret->value[0]) ? PST_OK : PST_E_INVALID;
    }
    return PST_E_NOT_FOUND;
}

void sim_change_apply(const sim_change_t *c, sim_settings_t *s, bool own)
{
    for (unsigned i = 0; i < c->n; i++) {
        uint64_t bit = (uint64_t)1 << c->which[i];
        if (!own && (s->own & bit))
            continue;
        atomic_store_explicit(&s->v[c->which[i]], c->value[i], memory_order_relaxed);
        if (own)
            s->own |= bit;
    }
}

void sim_settings_help(FILE *f)
{
    for (unsigned i = 0; i < SIM_SETTING_COUNT; i++) {
        fprintf(f, "  --");
        for (const char *p = rows[i].name; *p; p++)
            fputc(*p == '_' ? '-' : *p, f);
        fprintf(f, " V: %s\n", rows[i].help);
    }
}
