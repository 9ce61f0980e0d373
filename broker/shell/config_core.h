/* config_core.h - the configuration as the core needs it. */
#ifndef PST_CONFIG_CORE_H
#define PST_CONFIG_CORE_H

#include "base/arena.h"
#include "core/core.h"
#include "proc/config.h"

/* Everything lies in the arena or is c's own: valid as long as both are. */
void pst_config_core(const pst_config_t *c, pst_arena_t *a, pst_core_config_t *ret);

#endif
