pst_fuzz(json json_fuzz.c pst_base)
