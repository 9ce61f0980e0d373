#include "gateway/import_elements.h"

#include "gateway/anthropic.h"

struct pst_elements {
    pst_openrouter_submit_t submit;
    bool messages;           /* bodies are Anthropic's */
    pst_openrouter_reader_t reader;
    pst_anthropic_t anthropic;
    pst_view_t text;         /* fed and not read yet */
    pst_buf_t partial;       /* beginning of an element whose end has not come */
    pst_buf_t body, line;
    uint64_t index;
};

pst_elements_t *pst_elements_new(const pst_openrouter_submit_t *batch)
{
    pst_elements_t *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->submit = *batch;
    e->messages = pst_view_eqs(batch->endpoint, PST_OPENROUTER_MESSAGES);
    pst_openrouter_reader_init(&e->reader);
    return e;
}

void pst_elements_destroy(pst_elements_t **pe)
{
    pst_elements_t *e = *pe;
    *pe = NULL;
    if (!e)
        return;
    pst_openrouter_reader_release(&e->reader);
    pst_anthropic_release(&e->anthropic);
    pst_buf_release(&e->partial);
    pst_buf_release(&e->body);
    pst_buf_release(&e->line);
    free(e);
}

void pst_elements_feed(pst_elements_t *e, pst_view_t text)
{
    e->text = text;
}

/* A body of Anthropic's form; one that is no object at all is refused as a line's. */
static pst_err_t turn_body(pst_elements_t *e, pst_openrouter_request_t *q, pst_errbuf_t *why)
{
    pst_errbuf_t words;
    if (!e->messages || q->body.n == 0 || q->body.p[0] != '{')
        return PST_OK;
    pst_buf_clear(&e->body);
    pst_err_t err = pst_anthropic_request(&e->anthropic, q->body, &e->body, &words);
    if (err == PST_E_INVALID)
        return pst_errf(why, PST_E_INPUT, "requests.%llu.body: %s", (unsigned long long)e->index, words.text);
    q->body = pst_buf_view(&e->body);
    return err;
}

static pst_err_t make_line(pst_elements_t *e, pst_view_t element, pst_view_t *ret, pst_errbuf_t *why)
{
    pst_openrouter_request_t q;
    pst_err_t err = pst_openrouter_read(&e->reader, element, &e->submit, &q);
    if (!err)
        err = turn_body(e, &q, why);
    if (err)
        return err;
    pst_buf_clear(&e->line);
    pst_openrouter_put_line(&e->line, &q, e->messages ? pst_view_str(pst_url_text(PST_URL_CHAT)) : e->submit.endpoint);
    e->index++;
    *ret = pst_buf_view(&e->line);
    return e->line.failed ? PST_E_NOMEM : PST_OK;
}

pst_err_t pst_elements_next(pst_elements_t *e, pst_view_t *ret, pst_errbuf_t *why)
{
    const char *end = e->text.n > 0 ? memchr(e->text.p, '\n', e->text.n) : NULL;
    size_t n = end ? (size_t)(end - e->text.p) : e->text.n;
    pst_view_t element = pst_view(e->text.p, n);
    bool whole = end && e->partial.n == 0;
    if (!whole) {
        pst_buf_putv(&e->partial, element);
        element = pst_buf_view(&e->partial);
    }
    e->text = pst_view(e->text.p + n + (end != NULL), e->text.n - n - (end != NULL));
    *ret = pst_view(NULL, 0);
    if (e->partial.failed)
        return PST_E_NOMEM;
    if (!end)
        return PST_OK;
    pst_err_t err = make_line(e, element, ret, why);
    pst_buf_clear(&e->partial);
    return err;
}
