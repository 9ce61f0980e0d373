#include "world.h"

sim_world_t *sim_world_new(void)
{
    sim_world_t *w = pst_calloc(1, sizeof *w);
    sim_settings_init(&w->defaults);
    w->track = sim_track_new();
    pthread_mutex_init(&w->models_lock, NULL);
    pthread_mutex_init(&w->keys_lock, NULL);
    return w;
}

void sim_world_destroy(sim_world_t **w)
{
    if (!*w)
        return;
    for (unsigned i = 0; i < (*w)->models; i++)
        free((*w)->model[i]);
    sim_track_destroy(&(*w)->track);
    free(*w);
    *w = NULL;
}

static sim_model_t *make_model(sim_world_t *w, pst_view_t name)
{
    sim_model_t *m = pst_calloc(1, sizeof *m);
    m->name_n = name.n;
    memcpy(m->name, name.p ? name.p : "", name.n);
    sim_settings_copy(&m->settings, &w->defaults);
    sim_limit_init(&m->limit);
    return m;
}

/* The slot of the name, or the free one where it belongs.  There is always a free one. */
static sim_model_t *_Atomic *slot_of(sim_world_t *w, pst_view_t name)
{
    size_t mask = PST_COUNT(w->by_name) - 1, at = sim_hash(name) & mask;
    for (;; at = (at + 1) & mask) {
        sim_model_t *m = atomic_load_explicit(&w->by_name[at], memory_order_acquire);
        if (!m || pst_view_eq(pst_view(m->name, m->name_n), name))
            return &w->by_name[at];
    }
}

static sim_model_t *add_model(sim_world_t *w, pst_view_t name)
{
    pthread_mutex_lock(&w->models_lock);
    sim_model_t *_Atomic *slot = slot_of(w, name);
    sim_model_t *m = *slot;
    unsigned n = w->models;
    if (!m && n == SIM_MODELS_MAX) {
        m = w->model[n - 1];
    } else if (!m) {
        m = make_model(w, n == SIM_MODELS_MAX - 1 ? PST_VIEW_LIT("(others)") : name);
        atomic_store_explicit(&w->model[n], m, memory_order_release);
        atomic_store_explicit(slot, m, memory_order_release);
        w->models = n + 1;
    }
    pthread_mutex_unlock(&w->models_lock);
    return m;
}

sim_model_t *sim_world_model(sim_world_t *w, pst_view_t name)
{
    name.n = PST_MIN(name.n, (size_t)SIM_MODEL_NAME_BYTES_MAX);
    sim_model_t *m = atomic_load_explicit(slot_of(w, name), memory_order_acquire);
    return m ? m : add_model(w, name);
}

void sim_world_change(sim_world_t *w, sim_model_t *model, const sim_change_t *c)
{
    pthread_mutex_lock(&w->models_lock);
    if (model) {
        sim_change_apply(c, &model->settings, true);
    } else {
        sim_change_apply(c, &w->defaults, false);
        for (unsigned i = 0; i < w->models; i++)
            sim_change_apply(c, &w->model[i]->settings, false);
    }
    pthread_mutex_unlock(&w->models_lock);
}

void sim_world_reset(sim_world_t *w)
{
    sim_counters_reset(&w->total);
#define X(member) w->wire.member = 0;
    SIM_WIRE(X)
#undef X
    for (unsigned i = 0; i < w->models; i++) {
        sim_counters_reset(&w->model[i]->counters);
        sim_limit_reset(&w->model[i]->limit);
    }
    sim_track_reset(w->track);
}

static sim_key_t *find_key(sim_world_t *w, pst_view_t key)
{
    for (unsigned i = 0; i < w->keys; i++) {
        if (pst_view_eq(pst_view(w->key[i].text, w->key[i].n), key))
            return &w->key[i];
    }
    return NULL;
}

bool sim_world_key_good(sim_world_t *w, pst_view_t key)
{
    if (key.n == 0)
        return false;
    if (w->keys == 0) /* nobody named any: no need for the lock */
        return true;
    pthread_mutex_lock(&w->keys_lock);
    const sim_key_t *k = find_key(w, key);
    bool good = k ? k->good : !w->only_listed;
    pthread_mutex_unlock(&w->keys_lock);
    return good;
}

pst_err_t sim_world_set_key(sim_world_t *w, pst_view_t key, bool good)
{
    if (key.n == 0 || key.n > SIM_KEY_BYTES_MAX)
        return PST_E_TOO_LARGE;
    pthread_mutex_lock(&w->keys_lock);
    sim_key_t *k = find_key(w, key);
    bool room = k || w->keys < SIM_KEYS_MAX;
    if (!k && room) {
        k = &w->key[w->keys];
        memcpy(k->text, key.p, key.n);
        k->n = key.n;
        w->only_listed |= good;
        w->keys++;
    }
    if (room)
        k->good = good;
    pthread_mutex_unlock(&w->keys_lock);
    return room ? PST_OK : PST_E_FULL;
}
