/* web_form.c - a body as a form, field by field. */
#include "gateway/web_inside.h"

#define FORM_BYTES (64u << 10)

struct pst_form {
    struct MHD_PostProcessor *post;
    pst_form_fn *fn;
    void *arg;
};

static enum MHD_Result on_field(void *arg, enum MHD_ValueKind kind, const char *key, const char *file, const char *type,
                                const char *encoding, const char *data, uint64_t at, size_t n)
{
    (void)kind;
    (void)type;
    (void)encoding;
    pst_form_t *f = arg;
    f->fn(f->arg, key ? key : "", file, pst_view(data, n), at == 0);
    return MHD_YES;
}

pst_form_t *pst_form_new(pst_req_t *r, pst_form_fn *fn, void *arg)
{
    const char *type = pst_req_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (!type || strncasecmp(type, "multipart/form-data", 19) != 0)
        return NULL;
    pst_form_t *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->fn = fn;
    f->arg = arg;
    f->post = MHD_create_post_processor(pst_web_req(r)->mhd, FORM_BYTES, on_field, f);
    if (!f->post)
        (void)pst_form_end(&f);
    return f;
}

bool pst_form_feed(pst_form_t *f, pst_view_t bytes)
{
    return MHD_post_process(f->post, bytes.p, bytes.n) == MHD_YES;
}

bool pst_form_end(pst_form_t **pf)
{
    pst_form_t *f = *pf;
    *pf = NULL;
    if (!f)
        return false;
    bool whole = f->post && MHD_destroy_post_processor(f->post) == MHD_YES;
    free(f);
    return whole;
}
