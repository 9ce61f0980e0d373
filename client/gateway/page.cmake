# The page travels in the program: page_embed.cmake makes C of its files.
set(page_files
  index.html page.css icon.svg theme.js app.js api.js ask.js cancel.js charts.js dom.js format.js icons.js live.js parts.js
  pools.js preview.js rates.js view_batch.js view_batches.js view_endpoints.js view_overview.js view_signin.js
  view_submit.js words.js)
list(TRANSFORM page_files PREPEND page/ OUTPUT_VARIABLE page_sources)
list(JOIN page_files "," page_names)
add_custom_command(
  OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/page_files.c
  COMMAND ${CMAKE_COMMAND} -DDIR=${CMAKE_CURRENT_SOURCE_DIR}/page -DFILES=${page_names}
          -DOUT=${CMAKE_CURRENT_BINARY_DIR}/page_files.c -P ${CMAKE_CURRENT_SOURCE_DIR}/page_embed.cmake
  DEPENDS ${page_sources} page_embed.cmake
  VERBATIM)
add_library(pst_page STATIC page.c ${CMAKE_CURRENT_BINARY_DIR}/page_files.c)
target_include_directories(pst_page PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/..)
target_link_libraries(pst_page PUBLIC pst_base)
