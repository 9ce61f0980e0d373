#include "gateway/lines.h"

#define FETCH_BYTES (64u << 10)   /* of packs, compressed: lines of a millisecond or two */
#define TEXT_BYTES (128u << 10)   /* of lines, made ahead of the socket */

struct pst_lines {
    pst_lines_opts_t opts;
    pst_reader_t *reader;
    pst_ask_t *ask;
    pst_buf_t text;
    size_t at;
    bool tailed, ended, broken;
};

pst_lines_t *pst_lines_new(const pst_lines_opts_t *o)
{
    pst_lines_t *l = calloc(1, sizeof *l);
    if (!l || pst_reader_new(&o->batch, FETCH_BYTES, &l->reader)) {
        free(l);
        return NULL;
    }
    l->opts = *o;
    pst_buf_init(&l->text, 0);
    return l;
}

void pst_lines_destroy(pst_lines_t **pl)
{
    pst_lines_t *l = *pl;
    *pl = NULL;
    if (!l)
        return;
    if (l->ask)
        pst_remote_forget(l->opts.g->remote, &l->ask);
    pst_reader_destroy(&l->reader);
    pst_buf_release(&l->text);
    free(l);
}

pst_buf_t *pst_lines_head(pst_lines_t *l)
{
    return &l->text;
}

/* As many as there are at hand, and fit. */
static pst_err_t make_lines(pst_lines_t *l)
{
    const pst_result_t *result;
    pst_err_t e = PST_OK;
    while (!e && l->text.n < TEXT_BYTES) {
        e = pst_reader_next(l->reader, &result);
        if (e || !result)
            return e;
        e = l->opts.put(l->opts.arg, l->reader, result, &l->text);
    }
    return l->text.failed ? PST_E_NOMEM : e;
}

static void on_results(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)words;
    pst_lines_t *l = arg;
    l->ask = NULL;
    if (!err && m->type == PST_MSG_RESULTS)
        err = pst_reader_take(l->reader, &m->u.results, true);
    else if (!err)
        err = PST_E_MALFORMED;
    l->broken = err != PST_OK;
    l->opts.more(l->opts.arg);
}

static void end(pst_lines_t *l)
{
    if (l->opts.tail && !l->tailed)
        pst_buf_puts(&l->text, l->opts.tail);
    else
        l->ended = true;
    l->tailed = true;
}

/* Lines into `text`, or a question on its way, or the end. */
static void fill(pst_lines_t *l)
{
    pst_msg_t m = {.type = PST_MSG_FETCH};
    bool ever;
    pst_buf_clear(&l->text);
    l->at = 0;
    if (!l->broken && make_lines(l) != PST_OK)
        l->broken = true;
    if (l->broken || l->text.n > 0 || l->ask)
        return;
    if (!pst_reader_wants(l->reader, 0, &m.u.fetch, &ever)) {
        end(l);
        return;
    }
    l->ask = pst_remote_ask(l->opts.g->remote, &m, PST_PATIENCE, on_results, l);
    l->broken = !l->ask;
}

static ptrdiff_t look(pst_lines_t *l)
{
    if (l->at == l->text.n)
        fill(l);
    if (l->broken)
        return PST_PULL_CUT;
    if (l->at == l->text.n)
        return l->ended ? PST_PULL_END : PST_PULL_WAIT;
    return (ptrdiff_t)(l->text.n - l->at);
}

ptrdiff_t pst_lines_pull(pst_lines_t *l, char *to, size_t room)
{
    ptrdiff_t there = look(l);
    if (there <= 0)
        return there;
    size_t n = PST_MIN(room, (size_t)there);
    memcpy(to, l->text.p + l->at, n);
    l->at += n;
    return (ptrdiff_t)n;
}

ptrdiff_t pst_lines_skip(pst_lines_t *l)
{
    ptrdiff_t there = look(l);
    l->at = l->text.n;
    return there;
}
