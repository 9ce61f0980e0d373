# Samples, texts and vectors of everything with an encoding, shared by the tests of proto/wire.
add_library(wire_sample STATIC wire_sample.c wire_dump.c wire_kind.c wire_notation.c wire_vectors.c)
target_link_libraries(wire_sample PUBLIC pst_wire m)
pst_unit(msg wire_sample)
pst_unit(wire_vectors wire_sample)
pst_unit(wire_hostile wire_sample)
pst_unit(wire_memory wire_sample)
pst_unit(wire_document pst_wire)
pst_unit(codec pst_codec)

# Writes the vectors anew: proto/vectors/README.md.
add_executable(wire_vectors wire_vectors_main.c)
target_link_libraries(wire_vectors PRIVATE wire_sample)
