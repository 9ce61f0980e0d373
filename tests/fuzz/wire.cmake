pst_fuzz(wire wire_fuzz.c pst_wire)
