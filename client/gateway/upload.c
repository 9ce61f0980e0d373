/* upload.c - POST /v1/files: a form whose file is stored while it comes (pieces.h).
 *
 *   bytes ──► form ──► pieces     the socket is not read while they are busy
 *   the end ──► pieces are a file ──► 200 */
#include <stdio.h>

#include "base/json.h"
#include "gateway/pieces.h"

#define LINE_FIRST_MAX (64u << 10) /* of the first line so much is looked at */
#define FORM_BEYOND_MAX (256u << 10) /* of a form beside its file, what is read ahead included */
#define EXPIRES_LEAST_S 3600u
#define EXPIRES_MOST_S (30u * 86400u)

typedef struct upload {
    pst_req_t *r;
    pst_form_t *form;
    pst_pieces_t *pieces;
    pst_buf_t first;             /* the first line, until it was looked at */
    bool first_seen, broken_json, has_line;
    char filename[257];
    bool two_files;
    uint64_t form_bytes;         /* of the body: what is beyond the file's text is bounded */
    char field[4][64];           /* purpose, expires_after[anchor], expires_after[seconds] … as far as they came */
} upload_t;

enum { FIELD_PURPOSE, FIELD_ANCHOR, FIELD_SECONDS };

static const char *const field_names[] = {[FIELD_PURPOSE] = "purpose",
                                          [FIELD_ANCHOR] = "expires_after[anchor]",
                                          [FIELD_SECONDS] = "expires_after[seconds]"};

/* Whether it is JSON Lines is told by its first line; the others are read when a batch is made of it. */
static void look_at_first(upload_t *u)
{
    u->first_seen = true;
    pst_view_t line = pst_buf_view(&u->first);
    if (line.n >= 3 && memcmp(line.p, "\xef\xbb\xbf", 3) == 0)
        line = pst_view(line.p + 3, line.n - 3);
    pst_json_t json;
    pst_json_init(&json);
    size_t at;
    pst_err_t e = pst_json_parse(&json, line, &at);
    bool cut = u->first.n >= LINE_FIRST_MAX && at >= line.n; /* too long to see its end, and well so far */
    u->broken_json = e == PST_E_INVALID ? !cut : !pst_json_is(&json, 0, PST_JSON_OBJECT);
    pst_json_release(&json);
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void watch_first_line(upload_t *u, pst_view_t bytes)
{
    for (size_t i = 0; i < bytes.n && !u->first_seen; i++) {
        char c = bytes.p[i];
        if (c == '\n' && u->has_line)
            look_at_first(u);
        else if (u->has_line || !is_blank(c)) {
            u->has_line = true;
            pst_buf_putc(&u->first, c);
            if (u->first.n >= LINE_FIRST_MAX)
                look_at_first(u);
        }
    }
}

static void take_text(upload_t *u, pst_view_t bytes)
{
    if (!u->first_seen)
        watch_first_line(u, bytes);
    pst_pieces_put(u->pieces, bytes);
}

static void on_field(void *arg, const char *field, const char *file, pst_view_t bytes, bool first)
{
    upload_t *u = arg;
    if (file && strcmp(field, "file") == 0) {
        u->two_files |= first && pst_pieces_file(u->pieces)->bytes > 0;
        snprintf(u->filename, sizeof u->filename, "%s", file);
        take_text(u, bytes);
        return;
    }
    for (size_t i = 0; i < PST_COUNT(field_names); i++) {
        if (strcmp(field, field_names[i]) == 0)
            strncat(u->field[i], bytes.p, PST_MIN(bytes.n, sizeof u->field[i] - 1 - strlen(u->field[i])));
    }
}

static void upload_gone(pst_req_t *r)
{
    upload_t *u = r->state;
    (void)pst_form_end(&u->form);
    pst_pieces_drop(&u->pieces);
    pst_buf_release(&u->first);
    free(u);
}

static void on_room(void *arg)
{
    upload_t *u = arg;
    pst_req_go_on(u->r);
}

static void on_made(void *arg, bool ok)
{
    upload_t *u = arg;
    if (!ok) {
        pst_reply_away(u->r);
        return;
    }
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_file_put_json(&b, pst_pieces_id(u->pieces), pst_pieces_file(u->pieces));
    pst_pieces_keep(&u->pieces);
    pst_reply_json(u->r, &b);
}

void pst_files_create_begin(pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    if (!pst_db_is_up(g->db)) {
        pst_reply_away(r);
        return;
    }
    if (pst_db_is_full(g->db)) {
        pst_reply_full(r);
        return;
    }
    upload_t *u = calloc(1, sizeof *u);
    pst_pieces_events_t events = {.room = on_room, .made = on_made, .arg = u};
    if (!u || !(u->pieces = pst_pieces_new(g, &events))) {
        free(u);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    pst_req_state(r, u, upload_gone);
    u->r = r;
    u->form = pst_form_new(r, on_field, u);
    if (!u->form)
        pst_reply_error(r, 400, NULL, NULL, "Send multipart/form-data with the fields purpose and file.");
}

void pst_files_create_data(pst_req_t *r, pst_view_t bytes)
{
    upload_t *u = r->state;
    u->form_bytes += bytes.n;
    if (!pst_form_feed(u->form, bytes) || u->form_bytes - pst_pieces_file(u->pieces)->bytes > FORM_BEYOND_MAX) {
        pst_reply_error(r, 400, NULL, NULL, "The body is not well-formed multipart/form-data.");
        return;
    }
    if (u->two_files) {
        pst_reply_error(r, 400, NULL, "file", "Send one file at a time.");
        return;
    }
    if (!pst_req_keeps(r, pst_pieces_memory(u->pieces)))
        return;
    if (pst_pieces_is_lost(u->pieces))
        pst_reply_away(r);
    else if (pst_db_is_full(pst_gw(r)->db))
        pst_reply_full(r);
    else if (pst_pieces_is_busy(u->pieces))
        pst_req_pause(r);
}

/* Why there is no such file, as an answer; false: nothing is wrong. */
static bool refuse(upload_t *u)
{
    const char *purpose = u->field[FIELD_PURPOSE], *seconds = u->field[FIELD_SECONDS];
    char *end = NULL;
    unsigned long s = *seconds ? strtoul(seconds, &end, 10) : 0;
    if (!*purpose)
        pst_reply_error(u->r, 400, NULL, "purpose", "Missing required parameter: 'purpose'.");
    else if (strcmp(purpose, "batch") != 0)
        pst_reply_error(u->r, 400, "invalid_value", "purpose", "Invalid value: '%s'. Supported values are: 'batch'.", purpose);
    else if (!*u->filename)
        pst_reply_error(u->r, 400, NULL, "file", "Missing required parameter: 'file'.");
    else if (*u->field[FIELD_ANCHOR] && strcmp(u->field[FIELD_ANCHOR], "created_at") != 0)
        pst_reply_error(u->r, 400, "invalid_value", "expires_after.anchor", "Supported values are: 'created_at'.");
    else if (*seconds && (*end || s < EXPIRES_LEAST_S || s > EXPIRES_MOST_S))
        pst_reply_error(u->r, 400, "invalid_value", "expires_after.seconds", "It must be between %u and %u.",
                        EXPIRES_LEAST_S, EXPIRES_MOST_S);
    else if (!u->has_line || u->broken_json)
        pst_reply_error(u->r, 400, NULL, NULL, "Invalid file format for Batch API. Must be .jsonl");
    else
        return false;
    return true;
}

void pst_files_create_end(pst_req_t *r)
{
    upload_t *u = r->state;
    if (u->has_line && !u->first_seen)
        look_at_first(u);
    if (!pst_form_end(&u->form)) {
        pst_reply_error(r, 400, NULL, NULL, "The body is not well-formed multipart/form-data: its end is missing.");
        return;
    }
    if (refuse(u))
        return;
    const char *seconds = u->field[FIELD_SECONDS];
    pst_file_t file = {0};
    snprintf(file.purpose, sizeof file.purpose, "%.32s", u->field[FIELD_PURPOSE]);
    snprintf(file.tenant, sizeof file.tenant, "%s", pst_gw_tenant(r));
    snprintf(file.filename, sizeof file.filename, "%s", u->filename);
    pst_pieces_end(u->pieces, &file, *seconds ? strtoul(seconds, NULL, 10) : PST_FILE_EXPIRES_S, true);
}
