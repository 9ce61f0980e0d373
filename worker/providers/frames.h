/* frames.h - AWS's event stream encoding (application/vnd.amazon.eventstream), taken apart as its bytes come.
 *
 *   total: u32, headers: u32, CRC-32 of these 8 bytes, headers, payload, CRC-32 of all before it     big-endian
 *   header: length of name: u8, name, type: u8, value; of the types only 7 is read: length: u16, text
 *
 * As the SDKs have it: `:message-type` is event, exception or error; what it is of stands in `:event-type`,
 * `:exception-type` or `:error-code`.  Pure. */
#ifndef PST_PROVIDERS_FRAMES_H
#define PST_PROVIDERS_FRAMES_H

#include "base/buf.h"
#include "penstock/limits.h"

#define PST_FRAMES_BYTES_MAX ((size_t)PST_PIECE_BYTES_MAX)

typedef enum pst_frames_state {
    PST_FRAMES_MORE,
    PST_FRAMES_ONE,
    PST_FRAMES_BROKEN, /* larger than the maximum, a sum that is wrong, headers that do not add up */
} pst_frames_state_t;

typedef struct pst_frames {
    pst_buf_t in;    /* of the frame that has not come whole */
    bool ended;      /* it has, and was given */
} pst_frames_t;

typedef struct pst_frame {
    pst_view_t name;
    pst_view_t payload;
    bool failure;    /* an exception or an error */
} pst_frame_t;

void pst_frames_init(pst_frames_t *f);
void pst_frames_release(pst_frames_t *f);
/* Takes bytes up to the end of the next frame, which stays until the next call. */
pst_frames_state_t pst_frames_next(pst_frames_t *f, pst_view_t *bytes, pst_frame_t *ret);
/* Nothing of a frame has come that has not been given. */
bool pst_frames_whole(const pst_frames_t *f);
/* CRC-32 as in zlib and Ethernet. */
uint32_t pst_frames_crc(const void *p, size_t n);

#endif
