#include "cli/table.h"

#include <limits.h>
#include <stdio.h>

#include "base/utf8.h"

#define GAP 2
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

/* Characters. */

/* One character's bytes; of what is no UTF-8 one byte, as U+FFFD. */
static size_t decode(const char *s, uint32_t *ret)
{
    size_t n = pst_utf8_decode((const unsigned char *)s, strnlen(s, 4), ret);
    if (n)
        return n;
    *ret = 0xfffd;
    return 1;
}

typedef struct range {
    uint32_t first, last;
} range_t;

static bool in_ranges(const range_t *r, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++) {
        if (c >= r[i].first && c <= r[i].last)
            return true;
    }
    return false;
}

/* Controls, of terminals and of the direction of text, and line ends. */
static bool is_unsafe(uint32_t c)
{
    static const range_t r[] = {{0, 0x1f}, {0x7f, 0x9f}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
    return in_ranges(r, PST_COUNT(r), c);
}

/* Places on a screen.  A character that is counted wrong shifts its row, no more. */
static unsigned places(uint32_t c)
{
    static const range_t none[] = {{0x300, 0x36f}, {0x200b, 0x200d}, {0xfe00, 0xfe0f}};
    static const range_t two[] = {{0x1100, 0x115f}, {0x2e80, 0xa4cf},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
                                  {0xfe30, 0xfe6f}, {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1faff},
                                  {0x20000, 0x3fffd}};
    if (c < 0x300)
        return 1;
    return in_ranges(none, PST_COUNT(none), c) ? 0 : in_ranges(two, PST_COUNT(two), c) ? 2 : 1;
}

static void put_safe(pst_buf_t *out, const char *s)
{
    uint32_t c;
    for (size_t n; *s; s += n) {
        n = decode(s, &c);
        if (c == 0xfffd || is_unsafe(c))
            pst_buf_putc(out, '?');
        else
            pst_buf_put(out, s, n);
    }
}

static unsigned width_of(const char *s)
{
    unsigned width = 0;
    uint32_t c;
    while (*s) {
        s += decode(s, &c);
        width += places(c);
    }
    return width;
}

/* Appends as much as has room, the last place for "…" if that is not all of it; returns the places taken. */
static unsigned put_cut(pst_buf_t *out, const char *s, unsigned room)
{
    bool cut = width_of(s) > room;
    unsigned taken = 0;
    uint32_t c;
    for (size_t n; *s; s += n) {
        n = decode(s, &c);
        if (taken + places(c) + cut > room)
            break;
        pst_buf_put(out, s, n);
        taken += places(c);
    }
    if (cut && room > 0) {
        pst_buf_puts(out, "…");
        taken++;
    }
    return taken;
}

/* Cells. */

void pst_table_init(pst_table_t *t, const pst_column_t *column, unsigned columns)
{
    PST_ASSERT(columns <= PST_TABLE_COLUMNS_MAX);
    *t = (pst_table_t){.column = column, .columns = columns};
    pst_buf_init(&t->cells, 0);
}

void pst_table_release(pst_table_t *t)
{
    pst_buf_release(&t->cells);
}

/* Formats, then makes safe. */
static void put_formatted(pst_buf_t *out, const char *fmt, va_list ap)
{
    char text[1024]; /* two names of 256 bytes, or five limits, are far less */
    vsnprintf(text, sizeof text, fmt, ap);
    put_safe(out, text);
}

void pst_table_cell(pst_table_t *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_formatted(&t->cells, fmt, ap);
    va_end(ap);
    pst_buf_putc(&t->cells, '\0');
    PST_ASSERT(!t->cells.failed);
    t->cells_n++;
}

unsigned pst_table_rows(const pst_table_t *t)
{
    return t->cells_n / t->columns;
}

/* Layout. */

typedef struct layout {
    unsigned width[PST_TABLE_COLUMNS_MAX];
    bool dropped[PST_TABLE_COLUMNS_MAX];
} layout_t;

/* The widths that all would like; a column of which nothing is said is dropped. */
static void measure(const pst_table_t *t, layout_t *ret)
{
    const char *cell = t->cells.p;
    *ret = (layout_t){0};
    for (unsigned i = 0; i < t->cells_n; i++, cell += strlen(cell) + 1)
        ret->width[i % t->columns] = PST_MAX(ret->width[i % t->columns], width_of(cell));
    for (unsigned i = 0; i < t->columns; i++) {
        ret->dropped[i] = t->cells_n > 0 && ret->width[i] == 0;
        ret->width[i] = PST_MAX(ret->width[i], width_of(t->column[i].title));
    }
}

/* Narrows, from the last column on, until the rest fits; returns how much is still too much. */
static unsigned narrow(const pst_table_t *t, layout_t *l, unsigned width)
{
    unsigned total = 0;
    for (unsigned i = 0; i < t->columns; i++)
        total += l->dropped[i] ? 0 : l->width[i] + (total ? GAP : 0);
    unsigned over = total > width ? total - width : 0;
    for (unsigned i = t->columns; i-- > 0 && over > 0;) {
        unsigned least = t->column[i].least;
        if (l->dropped[i] || least == 0 || l->width[i] <= least)
            continue;
        unsigned less = PST_MIN(over, l->width[i] - least);
        l->width[i] -= less;
        over -= less;
    }
    return over;
}

static bool drop_one(const pst_table_t *t, layout_t *l)
{
    unsigned which = t->columns;
    for (unsigned i = 0; i < t->columns; i++) {
        bool droppable = !l->dropped[i] && t->column[i].drop > 0;
        if (droppable && (which == t->columns || t->column[i].drop > t->column[which].drop))
            which = i;
    }
    if (which == t->columns)
        return false;
    l->dropped[which] = true;
    return true;
}

static void lay_out(const pst_table_t *t, unsigned width, layout_t *ret)
{
    measure(t, ret);
    const layout_t natural = *ret;
    while (width && narrow(t, ret, width) > 0 && drop_one(t, ret))
        memcpy(ret->width, natural.width, sizeof ret->width);
}

/* Drawing. */

static void put_blanks(pst_buf_t *out, unsigned n)
{
    while (n-- > 0)
        pst_buf_putc(out, ' ');
}

/* The row that begins at `cell`; returns where the next does.  Where even what may not be dropped is too wide, the row
 * ends before the first that does not fit. */
static const char *put_row(const pst_table_t *t, const layout_t *l, unsigned width, const char *cell, pst_buf_t *out)
{
    unsigned begin = 0, written = 0; /* of the column; to where something stands */
    bool full = false;
    for (unsigned i = 0; i < t->columns; i++, cell += strlen(cell) + 1) {
        unsigned room = begin == 0 && width ? PST_MIN(l->width[i], width) : l->width[i];
        if (l->dropped[i])
            continue;
        full = full || (width && begin + room > width);
        if (full)
            continue;
        if (*cell) { /* else blanks would end the row */
            unsigned blank = t->column[i].left ? 0 : room - PST_MIN(width_of(cell), room);
            put_blanks(out, begin + blank - written);
            written = begin + blank + put_cut(out, cell, room);
        }
        begin += room + GAP;
    }
    return cell;
}

void pst_table_put(const pst_table_t *t, unsigned width, unsigned rows, bool bold, pst_buf_t *out)
{
    layout_t l;
    lay_out(t, width, &l);
    pst_buf_t titles;
    pst_buf_init(&titles, 0);
    for (unsigned i = 0; i < t->columns; i++)
        pst_buf_put(&titles, t->column[i].title, strlen(t->column[i].title) + 1);
    PST_ASSERT(!titles.failed);
    pst_buf_puts(out, bold ? BOLD : "");
    put_row(t, &l, width, titles.p, out);
    pst_buf_puts(out, bold ? PLAIN "\n" : "\n");
    pst_buf_release(&titles);
    const char *cell = t->cells.p;
    for (unsigned i = 0; i < PST_MIN(rows, pst_table_rows(t)); i++) {
        cell = put_row(t, &l, width, cell, out);
        pst_buf_putc(out, '\n');
    }
}

void pst_table_print(const pst_table_t *t)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_table_put(t, 0, UINT_MAX, false, &b);
    fwrite(b.p, 1, b.n, stdout);
    pst_buf_release(&b);
}

void pst_table_line(pst_buf_t *out, unsigned width, bool bold, const char *fmt, ...)
{
    pst_buf_t text;
    va_list ap;
    pst_buf_init(&text, 0);
    va_start(ap, fmt);
    put_formatted(&text, fmt, ap);
    va_end(ap);
    pst_buf_putc(&text, '\0');
    PST_ASSERT(!text.failed);
    pst_buf_puts(out, bold ? BOLD : "");
    put_cut(out, text.p, width ? width : UINT32_MAX);
    pst_buf_puts(out, bold ? PLAIN "\n" : "\n");
    pst_buf_release(&text);
}
