#include "gateway/pieces.h"

#include <stdio.h>

#include "gateway/text.h"
#include "proc/clock.h"

#define SETS_MAX 4u
#define PIECES_MAX (1u << 20)      /* a TiB */
#define UNFINISHED_S 3600u

struct pst_pieces {
    pst_gateway_t *g;
    pst_pieces_events_t events;
    char id[PST_FILE_TEXT_MAX];
    pst_compressor_t *compressor;
    pst_buf_t text, room;        /* the piece that is being filled */
    uint32_t begun, unanswered;  /* pieces; commands */
    bool lost;                   /* a SET failed */
    bool ended, listed, hashed;  /* hashed: the last commands were sent */
    bool told;                   /* of its end */
    bool dropped;                /* only what is unanswered keeps this */
    pst_file_t file;
};

static void pieces_free(pst_pieces_t *p)
{
    pst_compressor_destroy(&p->compressor);
    pst_buf_release(&p->text);
    pst_buf_release(&p->room);
    free(p);
}

pst_pieces_t *pst_pieces_new(pst_gateway_t *g, const pst_pieces_events_t *events)
{
    pst_pieces_t *p = calloc(1, sizeof *p);
    if (!p || !(p->compressor = pst_compressor_new())) {
        free(p);
        return NULL;
    }
    p->g = g;
    p->events = *events;
    pst_file_id_make(p->id);
    return p;
}

const char *pst_pieces_id(const pst_pieces_t *p) { return p->id; }
bool pst_pieces_is_busy(const pst_pieces_t *p) { return p->unanswered >= SETS_MAX; }
size_t pst_pieces_memory(const pst_pieces_t *p)
{
    return p->text.cap + p->room.cap;
}

bool pst_pieces_is_lost(const pst_pieces_t *p) { return p->lost; }
const pst_file_t *pst_pieces_file(const pst_pieces_t *p) { return &p->file; }

static void unlink_key(pst_gateway_t *g, const pst_redis_key_t *k)
{
    pst_cmd_t *c = pst_db_cmd("UNLINK", NULL, NULL);
    pst_cmd_key(c, k);
    pst_db_send(g->db, c);
}

/* The hash first: with it the file is gone. */
void pst_pieces_unlink(pst_gateway_t *g, const char *file, uint32_t pieces)
{
    pst_redis_key_t k;
    pst_db_key(&k, "file", file);
    unlink_key(g, &k);
    for (uint32_t i = 0; i < pieces; i++) {
        pst_db_key_piece(&k, file, i);
        unlink_key(g, &k);
    }
}

static void take_away(pst_pieces_t *p)
{
    if (p->begun > 0)
        pst_pieces_unlink(p->g, p->id, p->begun);
    pieces_free(p);
}

void pst_pieces_drop(pst_pieces_t **pp)
{
    pst_pieces_t *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    p->dropped = true;
    if (p->unanswered == 0)
        take_away(p);
}

void pst_pieces_keep(pst_pieces_t **pp)
{
    if (*pp)
        pieces_free(*pp);
    *pp = NULL;
}

/* Storing. */

static void settle(pst_pieces_t *p);

static void on_set(pst_cmd_t *c, const redisReply *r)
{
    pst_pieces_t *p = c->arg;
    p->unanswered--;
    p->lost |= !r || r->type == REDIS_REPLY_ERROR;
    if (p->dropped) {
        if (p->unanswered == 0)
            take_away(p);
    } else if (p->ended) {
        settle(p);
    } else if (!pst_pieces_is_busy(p)) {
        p->events.room(p->events.arg);
    }
}

static void send_piece(pst_pieces_t *p)
{
    pst_buf_t piece;
    pst_buf_init(&piece, 0);
    pst_piece_put(p->compressor, pst_buf_view(&p->text), &p->room, &piece);
    pst_buf_clear(&p->text);
    if (piece.failed || p->begun == PIECES_MAX) {
        pst_buf_release(&piece);
        p->lost = true;
        return;
    }
    pst_redis_key_t k;
    pst_db_key_piece(&k, p->id, p->begun++);
    pst_cmd_t *c = pst_db_cmd("SET", on_set, p);
    pst_cmd_key(c, &k);
    pst_cmd_buf(c, &piece);
    pst_cmd_str(c, "EX");
    pst_cmd_num(c, UNFINISHED_S);
    p->unanswered++;
    pst_db_send(p->g->db, c);
}

void pst_pieces_put(pst_pieces_t *p, pst_view_t text)
{
    p->file.bytes += text.n;
    while (text.n > 0 && !p->lost) {
        size_t n = PST_MIN(text.n, PST_PIECE_BYTES - p->text.n);
        pst_buf_put(&p->text, text.p, n);
        p->lost |= p->text.failed;
        text = pst_view(text.p + n, text.n - n);
        if (p->text.n == PST_PIECE_BYTES)
            send_piece(p);
    }
}

/* The end. */

static void tell(pst_pieces_t *p)
{
    if (p->told)
        return;
    p->told = true;
    p->events.made(p->events.arg, !p->lost);
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

static void expire(pst_pieces_t *p, const pst_redis_key_t *k, uint64_t at_s, pst_cmd_fn *fn)
{
    pst_cmd_t *c = pst_db_cmd("EXPIREAT", fn, p);
    pst_cmd_key(c, k);
    pst_cmd_num(c, at_s);
    pst_db_send(p->g->db, c);
}

static void list_for(const pst_pieces_t *p, const char *tenant)
{
    pst_db_send(p->g->db, pst_db_add("files", tenant, p->file.created_ms, p->id));
}

/* The hash comes last: with it the file is there. */
static void make_file(pst_pieces_t *p)
{
    pst_redis_key_t k;
    const pst_file_t *f = &p->file;
    uint64_t at_s = f->expires_ms / 1000;
    p->hashed = true;
    for (uint32_t i = 0; i < f->pieces; i++) {
        pst_db_key_piece(&k, p->id, i);
        expire(p, &k, at_s + 60, NULL);
    }
    if (p->listed) {
        list_for(p, f->tenant);
        if (*f->tenant)
            list_for(p, ""); /* of who sees everything */
    }
    pst_db_key(&k, "file", p->id);
    pst_cmd_t *c = pst_db_cmd("HSET", NULL, NULL);
    pst_cmd_key(c, &k);
    put_field(c, "bytes", f->bytes);
    put_field(c, "pieces", f->pieces);
    put_field(c, "created_ms", f->created_ms);
    put_field(c, "expires_ms", f->expires_ms);
    put_text(c, "tenant", f->tenant);
    put_text(c, "filename", f->filename);
    put_text(c, "purpose", f->purpose);
    pst_db_send(p->g->db, c);
    p->unanswered++;
    expire(p, &k, at_s, on_set);
}

static void settle(pst_pieces_t *p)
{
    if (p->lost || (p->hashed && p->unanswered == 0))
        tell(p);
    else if (p->unanswered == 0)
        make_file(p);
}

void pst_pieces_end(pst_pieces_t *p, const pst_file_t *file, uint64_t expires_s, bool listed)
{
    uint64_t bytes = p->file.bytes;
    if (p->text.n > 0)
        send_piece(p);
    p->ended = true;
    p->listed = listed;
    p->file = *file;
    p->file.bytes = bytes;
    p->file.pieces = p->begun;
    p->file.created_ms = pst_clock_wall_ms();
    p->file.expires_ms = p->file.created_ms + expires_s * 1000;
    settle(p);
}
