/* drawn.h - what is drawn into a buffer, looked at as text. */
#ifndef DRAWN_H
#define DRAWN_H

#include "base/buf.h"
#include "unit.h"

static pst_buf_t out;

static int setup(void **state)
{
    (void)state;
    pst_buf_init(&out, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pst_buf_release(&out);
    return 0;
}

static void assert_drawn(const char *want)
{
    pst_buf_putc(&out, '\0');
    assert_string_equal(out.p, want);
    pst_buf_clear(&out);
}

#endif
