pst_fuzz(inline inline_fuzz.c pst_openrouter penstock_objects)
