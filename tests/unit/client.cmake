# libpenstock and the command line.  client_submit talks to a broker made for it (tests/support/fake_front.c).
pst_unit(client_tokens penstock_objects)
pst_unit(client_line penstock_objects)
pst_unit(client_packer penstock_objects)
pst_unit(client_render penstock_objects)
pst_unit(client_order penstock_cli penstock_objects)
pst_unit(client_submit penstock_objects)
target_sources(client_submit_test PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../support/fake_front.c)
target_include_directories(client_submit_test PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../support)
