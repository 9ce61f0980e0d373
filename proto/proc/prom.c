#include "proc/prom.h"

#include "base/json.h"

void pst_prom_head(pst_buf_t *b, const char *name, const char *type, const char *help)
{
    pst_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void pst_prom_name(pst_buf_t *b, const char *name)
{
    pst_buf_puts(b, name);
}

static bool has_label(const pst_buf_t *b)
{
    return b->n > 0 && b->p[b->n - 1] == '"';
}

/* Names come from the configuration, but not necessarily a tame one. */
void pst_prom_label(pst_buf_t *b, const char *name, pst_view_t value)
{
    pst_buf_putc(b, has_label(b) ? ',' : '{');
    pst_buf_puts(b, name);
    pst_buf_puts(b, "=\"");
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\')
            pst_buf_putc(b, '\\');
        pst_buf_putc(b, value.p[i] == '\n' ? ' ' : value.p[i]);
    }
    pst_buf_putc(b, '"');
}

static void end_labels(pst_buf_t *b)
{
    if (has_label(b))
        pst_buf_putc(b, '}');
    pst_buf_putc(b, ' ');
}

void pst_prom_uint(pst_buf_t *b, uint64_t value)
{
    end_labels(b);
    pst_buf_printf(b, "%llu\n", (unsigned long long)value);
}

void pst_prom_num(pst_buf_t *b, double value)
{
    end_labels(b);
    pst_json_put_num(b, value);
    pst_buf_putc(b, '\n');
}

void pst_prom_one(pst_buf_t *b, const char *name, const char *type, const char *help, double value)
{
    pst_prom_head(b, name, type, help);
    pst_prom_name(b, name);
    pst_prom_num(b, value);
}
