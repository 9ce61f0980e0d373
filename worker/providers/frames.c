#include "providers/frames.h"

#define PRELUDE_BYTES 12u
#define CRC_BYTES 4u

void pst_frames_init(pst_frames_t *f)
{
    memset(f, 0, sizeof *f);
    pst_buf_init(&f->in, PST_FRAMES_BYTES_MAX);
}

void pst_frames_release(pst_frames_t *f)
{
    pst_buf_release(&f->in);
}

bool pst_frames_whole(const pst_frames_t *f)
{
    return f->ended || f->in.n == 0;
}

/* Four bits at a time: a table that fits in a line of the cache, for frames of some hundred bytes. */
uint32_t pst_frames_crc(const void *p, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const unsigned char *b = p;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= b[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t u32_at(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Bytes of a value of a type; SIZE_MAX: of none that there is, or it is not whole. */
static size_t value_bytes(unsigned type, pst_view_t rest)
{
    static const uint8_t fixed[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    if (type >= PST_COUNT(fixed))
        return SIZE_MAX;
    size_t n = fixed[type];
    if (type == 6 || type == 7) {
        if (rest.n < 2)
            return SIZE_MAX;
        n = 2 + ((size_t)(unsigned char)rest.p[0] << 8 | (unsigned char)rest.p[1]);
    }
    return n <= rest.n ? n : SIZE_MAX;
}

static void on_header(pst_frame_t *ret, pst_view_t name, pst_view_t value)
{
    if (pst_view_eqs(name, ":message-type"))
        ret->failure = !pst_view_eqs(value, "event");
    else if (pst_view_eqs(name, ":event-type") || pst_view_eqs(name, ":exception-type") ||
             pst_view_eqs(name, ":error-code"))
        ret->name = value;
}

static bool read_headers(pst_view_t v, pst_frame_t *ret)
{
    while (v.n) {
        size_t name_n = (unsigned char)v.p[0];
        if (v.n < 2 + name_n)
            return false;
        unsigned type = (unsigned char)v.p[1 + name_n];
        pst_view_t name = pst_view(v.p + 1, name_n), rest = pst_view(v.p + 2 + name_n, v.n - 2 - name_n);
        size_t n = value_bytes(type, rest);
        if (n == SIZE_MAX)
            return false;
        if (type == 7)
            on_header(ret, name, pst_view(rest.p + 2, n - 2));
        v = pst_view(rest.p + n, rest.n - n);
    }
    return true;
}

/* More of the frame, until it is n bytes. */
static bool fill(pst_frames_t *f, pst_view_t *bytes, size_t n)
{
    size_t part = PST_MIN(n > f->in.n ? n - f->in.n : 0, bytes->n);
    pst_buf_put(&f->in, bytes->p, part);
    *bytes = pst_view(bytes->p + part, bytes->n - part);
    return f->in.n >= n;
}

static bool prelude_holds(const char *p)
{
    uint32_t total = u32_at(p), headers = u32_at(p + 4);
    return u32_at(p + 8) == pst_frames_crc(p, 8) && total <= PST_FRAMES_BYTES_MAX &&
           total >= PRELUDE_BYTES + CRC_BYTES && headers <= total - PRELUDE_BYTES - CRC_BYTES;
}

pst_frames_state_t pst_frames_next(pst_frames_t *f, pst_view_t *bytes, pst_frame_t *ret)
{
    if (f->ended)
        pst_buf_clear(&f->in);
    f->ended = false;
    if (!fill(f, bytes, PRELUDE_BYTES))
        return f->in.failed ? PST_FRAMES_BROKEN : PST_FRAMES_MORE;
    if (!prelude_holds(f->in.p))
        return PST_FRAMES_BROKEN;
    size_t total = u32_at(f->in.p), headers = u32_at(f->in.p + 4);
    if (!fill(f, bytes, total))
        return f->in.failed ? PST_FRAMES_BROKEN : PST_FRAMES_MORE;
    memset(ret, 0, sizeof *ret);
    size_t end = total - CRC_BYTES, payload = PRELUDE_BYTES + headers;
    if (u32_at(f->in.p + end) != pst_frames_crc(f->in.p, end) ||
        !read_headers(pst_view(f->in.p + PRELUDE_BYTES, headers), ret))
        return PST_FRAMES_BROKEN;
    ret->payload = pst_view(f->in.p + payload, end - payload);
    f->ended = true;
    return PST_FRAMES_ONE;
}
