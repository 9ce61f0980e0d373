/* redis_lua.h - penstock.lua, as the build embedded it. */
#ifndef PST_REDIS_LUA_H
#define PST_REDIS_LUA_H

#include <stddef.h>

extern const char pst_lua_source[];
extern const size_t pst_lua_source_n;

/* The library's name carries its version, and so do its functions' names: two versions can live in one Redis. */
#define PST_LUA_LIBRARY "penstock2"
#define PST_LUA_PREFIX "pst2_"
#define PST_LUA(name) (PST_LUA_PREFIX name)

#endif
