/* sixteen.h - sixteen bytes looked at together, with the vectors that gcc and clang have for every processor. */
#ifndef PST_SIXTEEN_H
#define PST_SIXTEEN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Signed: bytes from 0x80 on are less than any other. */
typedef int8_t pst_sixteen_t __attribute__((vector_size(16)));

#define PST_SIXTEEN_OF(byte) ((pst_sixteen_t){0} + (int8_t)(byte))

static inline pst_sixteen_t pst_sixteen_at(const void *p)
{
    pst_sixteen_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Of bytes that are 0 or 0xff each, as comparisons make them, a bit each: the first byte's is the lowest. */
static inline uint64_t pst_sixteen_mask(pst_sixteen_t v)
{
#ifdef __SSE2__
    typedef char chars_t __attribute__((vector_size(16)));
    return (unsigned)__builtin_ia32_pmovmskb128((chars_t)v);
#else
    uint64_t half[2];
    memcpy(half, &v, sizeof half);
    uint64_t mask = 0;
    for (unsigned i = 0; i < 2; i++)
        mask |= ((le64toh(half[i]) & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56) << 8 * i;
    return mask;
#endif
}

#endif
