/* catalog_fuzz.c - a list of prices comes from the network; whatever it is, it ends in a refusal or in a catalog that
 * our own reader takes, with what was read in it. */
#include "fuzz.h"

#include "catalog_in_force.h"
#include "cli/catalog.h"

static pst_config_t *parse(pst_view_t text)
{
    pst_config_t *c = NULL;
    pst_config_errors_t errors = {0};
    pst_err_t e = pst_config_parse(text, "catalog", pst_view(NULL, 0), &c, &errors);
    pst_config_errors_release(&errors);
    PST_ASSERT(e == PST_OK);
    return c;
}

static void write_and_read(const pst_catalog_t *c)
{
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_catalog_write(c, pst_catalog_providers(pst_view_str(catalog_in_force)), &out);
    pst_config_t *made = parse(pst_buf_view(&out));
    PST_ASSERT(made->endpoints_n == c->n);
    pst_config_destroy(&made);
    pst_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pst_config_t *force; /* parsed once */
    if (!force)
        force = parse(pst_view_str(catalog_in_force));
    pst_catalog_t c;
    pst_errbuf_t why = {""};
    pst_catalog_init(&c, force);
    pst_err_t e = pst_catalog_read(&c, pst_view(data, size), &why);
    PST_ASSERT((e == PST_OK) == (why.text[0] == '\0'));
    if (!e) {
        pst_buf_t line;
        pst_buf_init(&line, 0);
        for (int i = 0; i < PST_CATALOG_SKIPS; i++)
            pst_catalog_put_skipped(&c, (pst_catalog_skip_t)i, &line);
        for (size_t i = 0; i < line.n; i++)
            PST_ASSERT((unsigned char)line.p[i] >= 0x20); /* a terminal shows them */
        pst_buf_release(&line);
        if (c.n)
            write_and_read(&c);
    }
    pst_catalog_release(&c);
    return 0;
}
