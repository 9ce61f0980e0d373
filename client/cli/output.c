#include "cli/output.h"

#include <errno.h>

#define BUFFER_BYTES ((size_t)256 << 10)

int pst_output_open(pst_output_t *o, const char *path)
{
    *o = (pst_output_t){.f = stdout, .path = path};
    if (path && !(o->f = fopen(path, "wbe")))
        return pst_cli_fail(EXIT_FAILED, "%s cannot be written: %s", path, strerror(errno));
    setvbuf(o->f, NULL, _IOFBF, BUFFER_BYTES);
    return EXIT_WELL;
}

static int failed(pst_output_t *o)
{
    if (!o->path && errno == EPIPE) {
        o->closed = true;
        return EXIT_WELL;
    }
    return pst_cli_fail(EXIT_FAILED, "%s cannot be written: %s", o->path ? o->path : "standard output",
                        strerror(errno));
}

int pst_output_line(pst_output_t *o, pst_view_t line)
{
    bool ok = fwrite(line.p, 1, line.n, o->f) == line.n && putc('\n', o->f) != EOF;
    return ok ? EXIT_WELL : failed(o);
}

int pst_output_flush(pst_output_t *o)
{
    return fflush(o->f) == 0 ? EXIT_WELL : failed(o);
}

int pst_output_close(pst_output_t *o)
{
    int code = o->closed ? EXIT_WELL : pst_output_flush(o);
    if (o->path && fclose(o->f) != 0 && !code)
        code = failed(o);
    o->f = NULL;
    return code;
}
