/* upload.c - POST /v1/files: a form whose file is cut into pieces, compressed and stored while it comes.
 *
 *   bytes ──► form ──► piece (1 MiB of text) ──► compressed ──► SET, at most SETS_MAX unanswered, else the socket is not read
 *   the end ──► all SETs answered ──► the file's hash and its place in the list ──► 200
 * A file is there when its hash is: what an upload that breaks off has stored is taken away again, or, where the gateway dies,
 * expires by itself an hour later (pieces get the file's own expiry with the hash). */
#include <stdio.h>

#include "base/json.h"
#include "gateway/file.h"
#include "gateway/parts.h"
#include "gateway/text.h"
#include "proc/clock.h"

#define SETS_MAX 4u
#define PIECES_MAX (1u << 20)      /* a TiB */
#define LINE_FIRST_MAX (64u << 10) /* of the first line so much is looked at */
#define FORM_BEYOND_MAX (256u << 10) /* of a form beside its file, what is read ahead included */
#define UNFINISHED_S 3600u
#define EXPIRES_S (30u * 86400u)
#define EXPIRES_LEAST_S 3600u
#define EXPIRES_MOST_S (30u * 86400u)

typedef struct upload {
    pst_req_t *r;                /* NULL: it has gone, and only SETs on their way keep this */
    pst_gateway_t *g;
    char id[PST_FILE_TEXT_MAX];
    pst_form_t *form;
    pst_compressor_t *compressor;
    pst_buf_t text, room;        /* the piece that is being filled */
    pst_buf_t first;             /* the first line, until it was looked at */
    bool first_seen, broken_json, has_line;
    uint32_t pieces, sets;       /* begun; unanswered */
    bool lost;                   /* a SET failed */
    bool two_files;
    uint64_t form_bytes;         /* of the body: what is beyond the file's text is bounded */
    bool ended;                  /* the body is whole */
    pst_file_t file;
    char field[4][64];           /* purpose, expires_after[anchor], expires_after[seconds] … as far as they came */
} upload_t;

enum { FIELD_PURPOSE, FIELD_ANCHOR, FIELD_SECONDS };

static const char *const field_names[] = {[FIELD_PURPOSE] = "purpose",
                                          [FIELD_ANCHOR] = "expires_after[anchor]",
                                          [FIELD_SECONDS] = "expires_after[seconds]"};

static void upload_free(upload_t *u)
{
    (void)pst_form_end(&u->form);
    pst_compressor_destroy(&u->compressor);
    pst_buf_release(&u->text);
    pst_buf_release(&u->room);
    pst_buf_release(&u->first);
    free(u);
}

static void unlink_pieces(pst_gateway_t *g, const char *id, uint32_t pieces)
{
    for (uint32_t i = 0; i < pieces; i++) {
        pst_redis_key_t k;
        pst_db_key_piece(&k, id, i);
        pst_cmd_t *c = pst_db_cmd("UNLINK", NULL, NULL);
        pst_cmd_key(c, &k);
        pst_db_send(g->db, c);
    }
}

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

static void finish(upload_t *u);

static void on_set(pst_cmd_t *c, const redisReply *r)
{
    upload_t *u = c->arg;
    u->sets--;
    u->lost |= !r || r->type == REDIS_REPLY_ERROR;
    if (!u->r && u->sets == 0) {
        unlink_pieces(u->g, u->id, u->pieces);
        upload_free(u);
    } else if (u->r && u->ended) {
        finish(u);
    } else if (u->r && u->sets < SETS_MAX) {
        pst_req_go_on(u->r);
    }
}

static void send_piece(upload_t *u)
{
    pst_buf_t piece;
    pst_buf_init(&piece, 0);
    pst_piece_put(u->compressor, pst_buf_view(&u->text), &u->room, &piece);
    pst_buf_clear(&u->text);
    if (piece.failed || u->pieces == PIECES_MAX) {
        pst_buf_release(&piece);
        u->lost = true;
        return;
    }
    pst_redis_key_t k;
    pst_db_key_piece(&k, u->id, u->pieces++);
    pst_cmd_t *c = pst_db_cmd("SET", on_set, u);
    pst_cmd_key(c, &k);
    pst_cmd_buf(c, &piece);
    pst_cmd_str(c, "EX");
    pst_cmd_num(c, UNFINISHED_S);
    u->sets++;
    pst_db_send(u->g->db, c);
}

static void take_text(upload_t *u, pst_view_t bytes)
{
    u->file.bytes += bytes.n;
    if (!u->first_seen)
        watch_first_line(u, bytes);
    while (bytes.n > 0 && !u->lost) {
        size_t n = PST_MIN(bytes.n, PST_PIECE_BYTES - u->text.n);
        pst_buf_put(&u->text, bytes.p, n);
        u->lost |= u->text.failed;
        bytes = pst_view(bytes.p + n, bytes.n - n);
        if (u->text.n == PST_PIECE_BYTES)
            send_piece(u);
    }
}

static void on_field(void *arg, const char *field, const char *file, pst_view_t bytes, bool first)
{
    upload_t *u = arg;
    if (file && strcmp(field, "file") == 0) {
        u->two_files |= first && u->file.bytes > 0;
        snprintf(u->file.filename, sizeof u->file.filename, "%s", file);
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
    u->r = NULL;
    if (u->sets > 0)
        return;
    unlink_pieces(u->g, u->id, u->pieces);
    upload_free(u);
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
    if (!u || !(u->compressor = pst_compressor_new())) {
        free(u);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    pst_req_state(r, u, upload_gone);
    u->r = r;
    u->g = g;
    pst_file_id_make(u->id);
    u->form = pst_form_new(r, on_field, u);
    if (!u->form)
        pst_reply_error(r, 400, NULL, NULL, "Send multipart/form-data with the fields purpose and file.");
}

void pst_files_create_data(pst_req_t *r, pst_view_t bytes)
{
    upload_t *u = r->state;
    u->form_bytes += bytes.n;
    if (!pst_form_feed(u->form, bytes) || u->form_bytes - u->file.bytes > FORM_BEYOND_MAX) {
        pst_reply_error(r, 400, NULL, NULL, "The body is not well-formed multipart/form-data.");
        return;
    }
    if (u->two_files) {
        pst_reply_error(r, 400, NULL, "file", "Send one file at a time.");
        return;
    }
    if (u->lost)
        pst_reply_away(r);
    else if (pst_db_is_full(u->g->db))
        pst_reply_full(r);
    else if (u->sets >= SETS_MAX)
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
    else if (!*u->file.filename)
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

static void on_made(pst_cmd_t *c, const redisReply *r)
{
    upload_t *u = c->arg;
    u->sets--;
    u->pieces = 0; /* they are the file's now, or may be */
    if (!u->r) {
        upload_free(u);
        return;
    }
    if (!r || r->type == REDIS_REPLY_ERROR) {
        pst_reply_away(u->r);
        return;
    }
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_file_put_json(&b, u->id, &u->file);
    pst_reply_json(u->r, &b);
}

static void put_field(pst_cmd_t *c, const char *name, uint64_t value)
{
    pst_cmd_str(c, name);
    pst_cmd_num(c, value);
}

static void put_text(pst_cmd_t *c, const char *name, const char *value)
{
    pst_cmd_str(c, name);
    pst_cmd_str(c, value);
}

static void expire(pst_gateway_t *g, const pst_redis_key_t *k, uint64_t at_s)
{
    pst_cmd_t *c = pst_db_cmd("EXPIREAT", NULL, NULL);
    pst_cmd_key(c, k);
    pst_cmd_num(c, at_s);
    pst_db_send(g->db, c);
}

/* The hash comes last: with it the file is there. */
static void make_file(upload_t *u)
{
    pst_redis_key_t k;
    uint64_t at_s = u->file.expires_ms / 1000;
    for (uint32_t i = 0; i < u->pieces; i++) {
        pst_db_key_piece(&k, u->id, i);
        expire(u->g, &k, at_s + 60);
    }
    pst_db_key(&k, "files", u->file.tenant);
    pst_cmd_t *c = pst_db_cmd("ZADD", NULL, NULL);
    pst_cmd_key(c, &k);
    pst_cmd_num(c, u->file.created_ms);
    pst_cmd_str(c, u->id);
    pst_db_send(u->g->db, c);
    pst_db_key(&k, "file", u->id);
    c = pst_db_cmd("HSET", NULL, NULL);
    pst_cmd_key(c, &k);
    put_field(c, "bytes", u->file.bytes);
    put_field(c, "pieces", u->pieces);
    put_field(c, "created_ms", u->file.created_ms);
    put_field(c, "expires_ms", u->file.expires_ms);
    put_text(c, "tenant", u->file.tenant);
    put_text(c, "filename", u->file.filename);
    put_text(c, "purpose", u->file.purpose);
    pst_db_send(u->g->db, c);
    c = pst_db_cmd("EXPIREAT", on_made, u);
    pst_cmd_key(c, &k);
    pst_cmd_num(c, at_s);
    u->sets++;
    pst_db_send(u->g->db, c);
}

static void finish(upload_t *u)
{
    if (u->lost) {
        pst_reply_away(u->r);
        return;
    }
    if (u->sets > 0)
        return;
    unsigned long seconds = *u->field[FIELD_SECONDS] ? strtoul(u->field[FIELD_SECONDS], NULL, 10) : EXPIRES_S;
    u->file.created_ms = pst_clock_wall_ms();
    u->file.expires_ms = u->file.created_ms + seconds * 1000ull;
    snprintf(u->file.purpose, sizeof u->file.purpose, "%.32s", u->field[FIELD_PURPOSE]);
    snprintf(u->file.tenant, sizeof u->file.tenant, "%s", pst_gw_tenant(u->r));
    make_file(u);
}

void pst_files_create_end(pst_req_t *r)
{
    upload_t *u = r->state;
    u->ended = true;
    if (u->has_line && !u->first_seen)
        look_at_first(u);
    if (!pst_form_end(&u->form)) {
        pst_reply_error(r, 400, NULL, NULL, "The body is not well-formed multipart/form-data: its end is missing.");
        return;
    }
    if (refuse(u))
        return;
    if (u->text.n > 0)
        send_piece(u);
    finish(u);
}
