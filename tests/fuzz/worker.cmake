pst_fuzz(reply reply_fuzz.c pst_worker)
