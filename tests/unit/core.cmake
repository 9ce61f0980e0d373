add_library(core_world STATIC core_world.c)
target_link_libraries(core_world PUBLIC pst_core)
pst_unit(core core_world)
pst_unit(core_route core_world)
