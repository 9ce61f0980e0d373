/* fuzz.h - the entry that every fuzz target defines.  It checks with PST_ASSERT and returns 0; it
 * must depend on nothing but the bytes given. */
#ifndef PST_FUZZ_H
#define PST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
