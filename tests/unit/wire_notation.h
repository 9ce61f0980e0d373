/* wire_notation.h - msgpack written by hand, for bytes that no encoder of ours would make.
 *
 *   [1 98 0 0 0 41]     an array            -3        a negative integer
 *   "text"              a str               s300      a str of 300 letters
 *   x00ff               a bin               b300      a bin of 300 bytes
 *   nil true false      themselves          f1.5      a float64 (fnan, finf)
 *   !ddffffffff         these bytes as they stand, counted as one value
 *   @300 VALUE          the value 300 times */
#ifndef WIRE_NOTATION_H
#define WIRE_NOTATION_H

#include "base/buf.h"

/* Appends what the notation says; asserts that it is well written. */
void notation_put(const char *text, pst_buf_t *out);

#endif
