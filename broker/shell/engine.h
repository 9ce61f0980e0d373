/* engine.h - one event through the core, and its actions carried out. */
#ifndef PST_ENGINE_H
#define PST_ENGINE_H

#include "broker.h"

/* Not from within an action: what an action leads to comes back as an event of its own.  Uses the broker's arena. */
void pst_engine_step(pst_broker_t *b, const pst_event_t *ev);
/* The core's timers, if they are due; when it wants to run again. */
pst_ns_t pst_engine_tick(pst_broker_t *b, pst_ns_t now);
/* The store's events: arg is the broker. */
void pst_engine_stored(void *arg, const pst_store_answer_t *a);
void pst_engine_store_state(void *arg, bool up, const char *why);
void pst_engine_store_room(void *arg, uint64_t used_bytes, uint64_t max_bytes);
void pst_engine_store_fatal(void *arg, const char *why);

#endif
