/* ui_page.c - the page's files, which are in the program: open to all, they hold nothing of anybody's. */
#include "gateway/page.h"
#include "gateway/ui.h"

/* One of a list of tags, weak or not; "*" is any. */
static bool is_known(const pst_req_t *r, const char *etag)
{
    const char *known = pst_req_header(r, "if-none-match");
    return known && (strcmp(known, "*") == 0 || strstr(known, etag));
}

void pst_ui_file(pst_req_t *r)
{
    const pst_page_file_t *f = pst_page_find(pst_view_str(pst_req_path(r)));
    pst_buf_t b;
    if (!f) {
        pst_reply_error(r, 404, NULL, NULL, "there is nothing at this path");
        return;
    }
    pst_req_answer_header(r, "etag", f->etag);
    pst_req_answer_header(r, "cache-control", "no-cache"); /* asked for each time, sent when it is another */
    pst_req_answer_header(r, "content-security-policy", PST_PAGE_POLICY);
    pst_req_answer_header(r, "referrer-policy", "no-referrer");
    pst_req_answer_header(r, "x-frame-options", "DENY");
    pst_buf_init(&b, 0);
    if (is_known(r, f->etag)) {
        pst_req_reply(r, 304, NULL, &b);
        return;
    }
    pst_buf_putv(&b, f->bytes);
    if (b.failed) {
        pst_buf_release(&b);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
    } else {
        pst_req_reply(r, 200, f->content_type, &b);
    }
}
