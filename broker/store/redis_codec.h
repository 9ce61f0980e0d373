/* redis_codec.h - bytes of what the store keeps beside packs: directory entries, ended jobs, accounts, retries.
 *
 * Directory entries and ended jobs are fixed-width little endian, because queries hand them on as they are.  Accounts and
 * retries are sequences of LEB128 numbers and length-prefixed names, with a version byte first: an account is
 * written with every append and read once.  Decoding believes nothing: counts are checked against the bytes
 * that remain before anything is allocated. */
#ifndef PST_REDIS_CODEC_H
#define PST_REDIS_CODEC_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/store.h"

#define PST_ENTRY_BYTES 32u
#define PST_DIR_BYTES (PST_ENTRY_BYTES + 4u) /* entry, url, rejected, number of its route: u16 */

static inline void pst_le32_put(char *to, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (char)(v >> 8 * i);
}
static inline uint32_t pst_le32_get(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

typedef struct pst_dir_value {
    pst_pack_entry_t entry;
    uint8_t url;
    bool rejected;
    uint16_t route; /* appended inside Redis, which numbers the routes of a segment */
} pst_dir_value_t;

/* All of it but the route's number: PST_DIR_BYTES - 2 bytes. */
void pst_dir_encode(const pst_dir_value_t *d, char to[PST_DIR_BYTES - 2]);
bool pst_dir_decode(pst_view_t bytes, pst_dir_value_t *ret);

/* One record of `ends`: number of the result pack, how many, then pack (u32) and slot (u16) of each job. */
void pst_ends_encode(uint32_t n, const pst_slot_ref_t *ended, uint32_t count, pst_buf_t *out);
/* Takes the next record off *bytes; the jobs lie in the arena.  False at the end or if the rest is no record:
 * then bytes->n tells which. */
bool pst_ends_next(pst_view_t *bytes, pst_arena_t *a, uint32_t *ret_n, const pst_slot_ref_t **ret_ended,
                   uint32_t *ret_count);

void pst_stats_encode(const pst_seg_stats_t *s, pst_buf_t *out);
PST_MUSTCHECK pst_err_t pst_stats_decode(pst_view_t bytes, pst_arena_t *a, pst_seg_stats_t *ret);
void pst_retry_encode(const pst_retry_t *r, pst_buf_t *out);
PST_MUSTCHECK pst_err_t pst_retry_decode(pst_view_t bytes, pst_arena_t *a, pst_retry_t *ret);

#endif
