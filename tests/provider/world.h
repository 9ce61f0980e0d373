/* world.h - everything the threads share: models with their settings, limits and counters; keys;
 * tracked texts.  Made once before the threads start, destroyed after they have ended. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "counters.h"
#include "limit.h"
#include "track.h"

#define SIM_MODELS_MAX 1024 /* names beyond it share the last model */
#define SIM_MODEL_NAME_BYTES_MAX 200
#define SIM_KEYS_MAX 64
#define SIM_KEY_BYTES_MAX 256

typedef struct sim_model {
    char name[SIM_MODEL_NAME_BYTES_MAX + 1]; /* cut to this if longer; only for show and lookup */
    size_t name_n;
    sim_settings_t settings;
    sim_limit_t limit;
    sim_counters_t counters;
} sim_model_t;

/* X(member): how calls came; one set for the whole world, in the order they are shown. */
#define SIM_WIRE(X)                                                                                \
    X(connections) /* accepted */                                                                  \
    X(tls)         /* handshakes done */                                                           \
    X(tls_resumed) /* of those, with an earlier session's ticket */                                \
    X(tls_failed)  /* the client refused our certificate, spoke no TLS, or left */                 \
    X(h2)          /* connections with HTTP/2 */                                                   \
    X(h2_streams)

typedef struct sim_wire {
#define X(member) _Atomic uint64_t member;
    SIM_WIRE(X)
#undef X
} sim_wire_t;

typedef struct sim_key {
    char text[SIM_KEY_BYTES_MAX];
    size_t n;
    bool good;
} sim_key_t;

typedef struct sim_world {
    uint64_t seed;
    bool track_all;          /* else only texts with a counted marker */
    pst_ns_t start;          /* monotonic */
    _Atomic uint64_t serial; /* of the next call */
    sim_counters_t total;
    sim_wire_t wire;
    sim_settings_t defaults;
    sim_track_t *track;
    pthread_mutex_t models_lock; /* to add a model or change settings; finding one takes no lock */
    _Atomic unsigned models;
    sim_model_t *_Atomic model[SIM_MODELS_MAX];
    sim_model_t
        *_Atomic by_name[SIM_MODELS_MAX * 4]; /* open addressing; entries are never removed */
    pthread_mutex_t keys_lock;
    _Atomic unsigned keys;
    bool only_listed; /* a key nobody named is bad */
    sim_key_t key[SIM_KEYS_MAX];
} sim_world_t;

sim_world_t *sim_world_new(void);
void sim_world_destroy(sim_world_t **w);

/* Finds or makes the model; it lives as long as the world. */
sim_model_t *sim_world_model(sim_world_t *w, pst_view_t name);
/* The change for one model, or (model NULL) for all that have no value of their own. */
void sim_world_change(sim_world_t *w, sim_model_t *model, const sim_change_t *c);
/* Counters, tracked texts and buckets back to zero; settings and keys stay. */
void sim_world_reset(sim_world_t *w);

bool sim_world_key_good(sim_world_t *w, pst_view_t key); /* an empty one is never good */
/* Names a key good or bad.  PST_E_FULL, PST_E_TOO_LARGE. */
PST_MUSTCHECK pst_err_t sim_world_set_key(sim_world_t *w, pst_view_t key, bool good);

#endif
