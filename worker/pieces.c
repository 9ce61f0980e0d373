#include "pieces.h"

#define SPARE_MAX 16
#define KEEP_BYTES ((size_t)64 << 10)

struct pst_pieces_one {
    pst_link_t link;     /* pst_pieces.waiting, sent or spare */
    pst_voice_t *voice;  /* gathers it; NULL: nobody any more */
    pst_task_ref_t task;
    uint32_t number;
    pst_buf_t text;
};

typedef pst_pieces_one_t one_t;

struct pst_pieces {
    pst_link_t waiting, sent; /* the oldest first; sent: in the message given last */
    pst_link_t spare;
    unsigned spares;
    size_t bytes;             /* of those that wait */
    pst_piece_t piece[PST_PIECES_MAX];
};

pst_pieces_t *pst_pieces_new(void)
{
    pst_pieces_t *p = pst_calloc(1, sizeof *p);
    pst_link_init(&p->waiting);
    pst_link_init(&p->sent);
    pst_link_init(&p->spare);
    return p;
}

static one_t *first(const pst_link_t *list)
{
    return PST_CONTAINER(list->next, one_t, link);
}

static void free_one(one_t *o)
{
    pst_link_remove(&o->link);
    pst_buf_release(&o->text);
    free(o);
}

static void leave_voice(one_t *o)
{
    if (o->voice)
        o->voice->last = NULL;
    o->voice = NULL;
}

static void recycle(pst_pieces_t *p, one_t *o)
{
    pst_link_remove(&o->link);
    if (p->spares == SPARE_MAX) {
        free_one(o);
        return;
    }
    if (o->text.cap > KEEP_BYTES)
        pst_buf_release(&o->text);
    pst_buf_clear(&o->text);
    pst_link_after(&p->spare, &o->link);
    p->spares++;
}

static void recycle_sent(pst_pieces_t *p)
{
    while (!pst_link_empty(&p->sent))
        recycle(p, first(&p->sent));
}

static void drop(pst_pieces_t *p, one_t *o)
{
    leave_voice(o);
    p->bytes -= o->text.n;
    recycle(p, o);
}

static one_t *begin_one(pst_pieces_t *p, pst_voice_t *v, const pst_task_ref_t *task)
{
    one_t *o;
    if (pst_link_empty(&p->spare)) {
        o = pst_calloc(1, sizeof *o);
        pst_link_init(&o->link);
        pst_buf_init(&o->text, PST_PIECE_BYTES_MAX);
    } else {
        o = first(&p->spare);
        pst_link_remove(&o->link);
        p->spares--;
    }
    if (v->last)
        leave_voice(v->last);
    o->voice = v;
    o->task = *task;
    o->number = v->number++;
    v->last = o;
    pst_link_before(&p->waiting, &o->link);
    return o;
}

/* As many whole lines as there is room for. */
static size_t lines_in(pst_view_t text, size_t room)
{
    if (text.n <= room)
        return text.n;
    const char *feed = room ? memrchr(text.p, '\n', room) : NULL;
    return feed ? (size_t)(feed + 1 - text.p) : 0;
}

void pst_pieces_add(pst_pieces_t *p, pst_voice_t *v, const pst_task_ref_t *task, pst_view_t text)
{
    recycle_sent(p);
    while (text.n) {
        size_t n = v->last ? lines_in(text, PST_PIECE_BYTES_MAX - v->last->text.n) : 0;
        if (n == 0) {
            begin_one(p, v, task);
            n = lines_in(text, PST_PIECE_BYTES_MAX);
        }
        PST_ASSERT(n > 0);
        pst_buf_put(&v->last->text, text.p, n);
        PST_ASSERT(!v->last->text.failed);
        p->bytes += n;
        text = pst_view(text.p + n, text.n - n);
    }
}

void pst_pieces_end(pst_pieces_t *p, pst_voice_t *v, bool drop_last)
{
    if (v->last && drop_last)
        drop(p, v->last);
    else if (v->last)
        leave_voice(v->last);
}

bool pst_pieces_full(const pst_pieces_t *p)
{
    return p->bytes >= PST_PIECES_BYTES_MAX;
}

bool pst_pieces_next(pst_pieces_t *p, pst_msg_pieces_t *ret)
{
    size_t bytes = 0;
    uint32_t n = 0;
    recycle_sent(p);
    while (!pst_link_empty(&p->waiting) && n < PST_PIECES_MAX && bytes < PST_PIECES_MESSAGE_BYTES) {
        one_t *o = first(&p->waiting);
        if (o->voice)
            o->voice->told = true;
        leave_voice(o);
        pst_link_remove(&o->link);
        pst_link_before(&p->sent, &o->link);
        p->piece[n++] = (pst_piece_t){o->task, o->number, pst_buf_view(&o->text)};
        bytes += o->text.n;
    }
    p->bytes -= bytes;
    *ret = (pst_msg_pieces_t){p->piece, n};
    return n > 0;
}

static bool same_task(const pst_task_ref_t *a, const pst_task_ref_t *b)
{
    return a->pack == b->pack && a->slot == b->slot && a->dispatch == b->dispatch && a->segment == b->segment &&
           pst_id_eq(&a->batch, &b->batch);
}

/* Nothing of its task was sent: its first piece waits too, before it. */
static bool untold(const pst_pieces_t *p, const one_t *o)
{
    for (const pst_link_t *l = p->waiting.next; o->number > 0 && l != &o->link; l = l->next) {
        const one_t *x = PST_CONTAINER(l, const one_t, link);
        if (x->number == 0 && same_task(&x->task, &o->task))
            return true;
    }
    return o->number == 0;
}

void pst_pieces_lost(pst_pieces_t *p)
{
    recycle_sent(p);
    pst_link_t *l = p->waiting.next;
    while (l != &p->waiting) {
        one_t *o = PST_CONTAINER(l, one_t, link);
        l = l->next;
        if (!untold(p, o))
            drop(p, o);
    }
}

void pst_pieces_destroy(pst_pieces_t **p)
{
    if (!p || !*p)
        return;
    pst_pieces_t *x = pst_take(p);
    recycle_sent(x);
    while (!pst_link_empty(&x->waiting))
        drop(x, first(&x->waiting));
    while (!pst_link_empty(&x->spare))
        free_one(first(&x->spare));
    free(x);
}
