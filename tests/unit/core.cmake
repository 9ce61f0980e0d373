pst_unit(core pst_core)
