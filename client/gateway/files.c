/* files.c - /v1/files but for uploads: listed, shown, read back, deleted. */
#include <stdio.h>

#include "base/json.h"
#include "gateway/list.h"
#include "gateway/pieces.h"
#include "gateway/text.h"
#include "lib/text.h"
#include "proc/clock.h"

#define LIST_MAX 10000u

void pst_file_id_make(char out[PST_FILE_TEXT_MAX])
{
    pst_id_t id = pst_id_new();
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(&id, text);
    snprintf(out, PST_FILE_TEXT_MAX, "file-%s", text + sizeof "batch_" - 1);
}

static bool parse_ulid(pst_view_t digits, pst_id_t *ret)
{
    char text[PST_BATCH_TEXT_LEN + 1] = "batch_";
    if (digits.n != PST_BATCH_TEXT_LEN - 6)
        return false;
    memcpy(text + 6, digits.p, digits.n);
    return pst_id_parse(pst_view(text, PST_BATCH_TEXT_LEN), ret) == PST_OK;
}

static bool begins(pst_view_t v, const char *with)
{
    size_t n = strlen(with);
    return v.n > n && memcmp(v.p, with, n) == 0;
}

bool pst_file_id_ok(pst_view_t id)
{
    pst_id_t ignored;
    return begins(id, "file-") && parse_ulid(pst_view(id.p + 5, id.n - 5), &ignored);
}

bool pst_output_id_parse(pst_view_t id, pst_id_t *ret_batch, bool *ret_errors)
{
    *ret_errors = begins(id, "file-errors-");
    return (*ret_errors || begins(id, "file-output-")) && parse_ulid(pst_view(id.p + 12, id.n - 12), ret_batch);
}

/* One file, for a request that is about it. */
typedef struct look {
    pst_req_t *r;            /* NULL: it has gone */
    pst_gateway_t *g;
    char id[PST_FILE_TEXT_MAX];
    void (*found)(struct look *l, const pst_file_t *f);
    unsigned waits;          /* commands that will still call */
    /* content */
    pst_file_t file;
    pst_decompressor_t *decompressor;
    pst_buf_t text;          /* of one piece */
    size_t at;
    uint32_t next;           /* piece to be asked for */
    bool asked, broken;
} look_t;

static void look_free(look_t *l)
{
    if (l->r || l->waits)
        return;
    pst_decompressor_destroy(&l->decompressor);
    pst_buf_release(&l->text);
    free(l);
}

static void look_gone(pst_req_t *r)
{
    look_t *l = r->state;
    l->r = NULL;
    look_free(l);
}

static void on_file(pst_cmd_t *c, const redisReply *r)
{
    look_t *l = c->arg;
    l->waits--;
    pst_file_t f;
    if (!l->r) {
        look_free(l);
    } else if (!r) {
        pst_reply_away(l->r);
    } else if (!pst_file_read(r, &f) || !pst_gw_sees(l->r, f.tenant)) {
        pst_reply_not_found(l->r, "File object", pst_view_str(l->id));
    } else {
        l->found(l, &f);
    }
}

static void look_up(pst_req_t *r, void (*found)(look_t *l, const pst_file_t *f))
{
    pst_gateway_t *g = pst_gw(r);
    if (!pst_file_id_ok(r->segment[0])) {
        pst_reply_not_found(r, "File object", r->segment[0]);
        return;
    }
    look_t *l = calloc(1, sizeof *l);
    if (!l || !pst_db_is_up(g->db)) {
        free(l);
        pst_reply_away(r);
        return;
    }
    *l = (look_t){.r = r, .g = g, .found = found, .waits = 1};
    snprintf(l->id, sizeof l->id, "%.*s", (int)r->segment[0].n, r->segment[0].p);
    pst_buf_init(&l->text, 0);
    pst_req_state(r, l, look_gone);
    pst_db_send(g->db, pst_file_cmd(l->id, on_file, l));
}

/* One. */

static void show(look_t *l, const pst_file_t *f)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_file_put_json(&b, l->id, f);
    pst_reply_json(l->r, &b);
}

void pst_files_get(pst_req_t *r)
{
    pst_id_t batch;
    bool errors;
    if (pst_output_id_parse(r->segment[0], &batch, &errors))
        pst_outputs_get(r, &batch, errors);
    else
        look_up(r, show);
}

/* Deleting: the hash first, then it is gone. */

static void on_deleted(pst_cmd_t *c, const redisReply *r)
{
    look_t *l = c->arg;
    l->waits--;
    if (!l->r) {
        look_free(l);
        return;
    }
    if (!r || r->type == REDIS_REPLY_ERROR) {
        pst_reply_away(l->r);
        return;
    }
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_printf(&b, "{\"id\":\"%s\",\"object\":\"file\",\"deleted\":true}", l->id);
    pst_reply_json(l->r, &b);
}

static void unlist(pst_gateway_t *g, const char *tenant, const char *id, pst_cmd_fn *fn, void *arg)
{
    pst_db_send(g->db, pst_db_drop("files", tenant, id, fn, arg));
}

static void delete_it(look_t *l, const pst_file_t *f)
{
    pst_pieces_unlink(l->g, l->id, f->pieces);
    if (*f->tenant)
        unlist(l->g, "", l->id, NULL, NULL);
    l->waits++;
    unlist(l->g, f->tenant, l->id, on_deleted, l);
}

void pst_files_delete(pst_req_t *r)
{
    pst_id_t batch;
    bool errors;
    if (pst_output_id_parse(r->segment[0], &batch, &errors))
        pst_outputs_delete(r, &batch, errors);
    else
        look_up(r, delete_it);
}

/* Its text, a piece at a time; the next is on its way while one is being sent. */

static void ask_piece(look_t *l);

static void on_piece(pst_cmd_t *c, const redisReply *r)
{
    look_t *l = c->arg;
    l->waits--;
    l->asked = false;
    if (!l->r) {
        look_free(l);
        return;
    }
    l->at = 0;
    pst_buf_clear(&l->text);
    pst_view_t piece = r && r->type == REDIS_REPLY_STRING ? pst_view(r->str, r->len) : pst_view(NULL, 0);
    l->broken = pst_piece_get(l->decompressor, piece, &l->text) != PST_OK; /* deleted meanwhile, or Redis is away */
    pst_req_wake(l->r);
}

static void ask_piece(look_t *l)
{
    if (l->asked || l->next == l->file.pieces)
        return;
    pst_redis_key_t k;
    pst_db_key_piece(&k, l->id, l->next++);
    pst_cmd_t *c = pst_db_cmd("GET", on_piece, l);
    pst_cmd_key(c, &k);
    l->asked = true;
    l->waits++;
    pst_db_send(l->g->db, c);
}

static ptrdiff_t pull_text(pst_req_t *r, char *to, size_t room)
{
    look_t *l = r->state;
    if (l->broken)
        return PST_PULL_CUT;
    size_t n = PST_MIN(room, l->text.n - l->at);
    if (n == 0) {
        bool end = !l->asked && l->next == l->file.pieces;
        ask_piece(l);
        return end ? PST_PULL_END : PST_PULL_WAIT;
    }
    memcpy(to, l->text.p + l->at, n);
    l->at += n;
    return (ptrdiff_t)n;
}

static void send_text(look_t *l, const pst_file_t *f)
{
    l->file = *f;
    l->decompressor = pst_decompressor_new();
    if (!l->decompressor) {
        pst_reply_error(l->r, 503, NULL, NULL, "out of memory");
        return;
    }
    ask_piece(l);
    pst_req_stream(l->r, 200, "application/jsonl", f->bytes, pull_text);
}

void pst_files_content(pst_req_t *r)
{
    pst_id_t batch;
    bool errors;
    if (pst_output_id_parse(r->segment[0], &batch, &errors))
        pst_outputs_content(r, &batch, errors);
    else
        look_up(r, send_text);
}

/* All. */

typedef struct list {
    pst_req_t *r;
    pst_gateway_t *g;
    uint32_t limit;
    bool ascending;
    char after[PST_FILE_TEXT_MAX];
    uint32_t n, answered;        /* of the ids: how many there are, how many were looked up */
    char (*id)[PST_FILE_TEXT_MAX];
    pst_file_t *file;            /* of the same places; bytes of one that has expired: tenant[0] '\1' */
    unsigned waits;
} list_t;

static void list_free(list_t *l)
{
    if (l->r || l->waits)
        return;
    free(l->id);
    free(l->file);
    free(l);
}

static void list_gone(pst_req_t *r)
{
    list_t *l = r->state;
    l->r = NULL;
    list_free(l);
}

static bool is_there(const list_t *l, uint32_t i)
{
    return l->file[i].created_ms > 0;
}

static void put_list(list_t *l)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "{\"object\":\"list\",\"data\":[");
    uint32_t shown = 0;
    const char *first = NULL, *last = NULL;
    bool more = false;
    for (uint32_t i = 0; i < l->n; i++) {
        if (!is_there(l, i))
            continue;
        more = shown == l->limit;
        if (more)
            break;
        pst_json_put_comma(&b);
        pst_file_put_json(&b, l->id[i], &l->file[i]);
        first = first ? first : l->id[i];
        last = l->id[i];
        shown++;
    }
    pst_buf_putc(&b, ']');
    pst_member_str(&b, "first_id", first);
    pst_member_str(&b, "last_id", last);
    pst_buf_printf(&b, ",\"has_more\":%s}", more ? "true" : "false");
    pst_reply_json(l->r, &b);
}

static void on_listed_file(pst_cmd_t *c, const redisReply *r)
{
    list_t *l = c->arg;
    l->waits--;
    uint32_t i = l->answered++;
    if (!l->r) {
        list_free(l);
        return;
    }
    if (r && !pst_file_read(r, &l->file[i]))
        unlist(l->g, pst_gw_tenant(l->r), l->id[i], NULL, NULL); /* it has expired */
    if (l->waits == 0)
        put_list(l);
}

/* The list is in the order of making: those behind `after` are taken, and one more tells whether there are more. */
static void take_ids(list_t *l, const redisReply *r)
{
    size_t from = 0;
    for (size_t i = 0; *l->after && i < r->elements; i++) {
        if (strcmp(r->element[i]->str, l->after) == 0)
            from = i + 1;
    }
    for (size_t i = from; i < r->elements && l->n <= l->limit; i++)
        snprintf(l->id[l->n++], PST_FILE_TEXT_MAX, "%s", r->element[i]->str);
}

static void on_ids(pst_cmd_t *c, const redisReply *r)
{
    list_t *l = c->arg;
    l->waits--;
    if (!l->r) {
        list_free(l);
        return;
    }
    if (!r || r->type != REDIS_REPLY_ARRAY) {
        pst_reply_away(l->r);
        return;
    }
    take_ids(l, r);
    for (uint32_t i = 0; i < l->n; i++) {
        l->waits++;
        pst_db_send(l->g->db, pst_file_cmd(l->id[i], on_listed_file, l));
    }
    if (l->n == 0)
        put_list(l);
}

static bool read_query(pst_req_t *r, list_t *l)
{
    const char *order = pst_req_query(r, "order"), *after = pst_req_query(r, "after");
    if (!pst_list_query(r, LIST_MAX, LIST_MAX, &l->limit))
        return false;
    l->ascending = order && strcmp(order, "asc") == 0;
    if (order && !l->ascending && strcmp(order, "desc") != 0) {
        pst_reply_error(r, 400, "invalid_value", "order", "Invalid value: '%.100s'. Supported values are: 'asc' and 'desc'.", order);
        return false;
    }
    snprintf(l->after, sizeof l->after, "%s", after ? after : "");
    return true;
}

void pst_files_list(pst_req_t *r)
{
    pst_gateway_t *g = pst_gw(r);
    const char *purpose = pst_req_query(r, "purpose");
    list_t *l = calloc(1, sizeof *l);
    if (!l || !pst_db_is_up(g->db)) {
        free(l);
        pst_reply_away(r);
        return;
    }
    *l = (list_t){.r = r, .g = g};
    pst_req_state(r, l, list_gone);
    if (!read_query(r, l))
        return;
    l->id = calloc(l->limit + 1, sizeof *l->id);
    l->file = calloc(l->limit + 1, sizeof *l->file);
    if (!l->id || !l->file) {
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    if (purpose && strcmp(purpose, "batch") != 0) { /* outputs are named by their batches */
        put_list(l);
        return;
    }
    pst_redis_key_t k;
    pst_db_key(&k, "files", pst_gw_tenant(r));
    pst_cmd_t *c = pst_db_cmd(l->ascending ? "ZRANGE" : "ZREVRANGE", on_ids, l);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "0");
    pst_cmd_str(c, "-1");
    l->waits++;
    pst_db_send(g->db, c);
}
