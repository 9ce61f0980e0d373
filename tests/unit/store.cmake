# Tests of broker/store.  Each starts its own redis-server on a unix socket in a directory of its own.
add_library(store_world STATIC store_world.c)
target_link_libraries(store_world PUBLIC pst_store_redis PkgConfig::HIREDIS)
pst_unit(store_codec pst_store_redis)
pst_unit(store_recent pst_store_redis)
pst_unit(store_ops store_world)
pst_unit(store_fault store_world)
pst_unit(store_speed store_world)
