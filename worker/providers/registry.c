#include "providers/adapters.h"
#include "providers/common.h"
#include "providers/embeddings.h"
#include "providers/responses.h"

/* The order is that of `penstock check`; add at the end. */
static const pst_provider_t *const providers[] = {
    &pst_provider_openai,
    &pst_provider_anthropic,
    &pst_provider_gemini,
    &pst_provider_echo,
    &pst_provider_cohere,
    &pst_provider_bedrock,
    &pst_provider_mistral,
    &pst_provider_azure,
};

const pst_provider_t *pst_provider_at(unsigned i)
{
    return i < PST_COUNT(providers) ? providers[i] : NULL;
}

const pst_provider_t *pst_provider_find(pst_view_t name)
{
    for (unsigned i = 0; i < PST_COUNT(providers); i++) {
        if (pst_view_eqs(name, providers[i]->name))
            return providers[i];
    }
    return NULL;
}

uint32_t pst_provider_urls(const pst_provider_t *p)
{
    return p->urls & 1u << PST_URL_CHAT ? p->urls | 1u << PST_URL_RESPONSES : p->urls;
}

bool pst_provider_packs(pst_url_t url, const pst_json_t *body)
{
    return url == PST_URL_EMBEDDINGS && pst_is_word(body, pst_json_get(body, 0, "encoding_format"), "base64");
}

static bool through_chat(const pst_provider_t *p, const pst_task_t *task)
{
    bool responds = (p->urls & 1u << PST_URL_RESPONSES) && !(task->endpoint.flags & PST_EP_NO_RESPONSES);
    return task->url == PST_URL_RESPONSES && !responds;
}

/* A response said as a chat is answered whole: its events would tell of items that a chat's chunks do not know. */
bool pst_provider_streams(const pst_provider_t *p, const pst_task_t *task)
{
    return p->streaming && (p->streaming->urls & 1u << task->url) && !through_chat(p, task);
}

static pst_err_t build_through_chat(const pst_provider_t *p, const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                                    pst_view_t *ret_why)
{
    pst_view_t text;
    pst_err_t e = pst_responses_ask(task, a, &text, ret_why);
    if (e)
        return e;
    PST_SCOPED(pst_json_release) pst_json_t body;
    pst_json_init(&body);
    e = pst_json_parse(&body, text, NULL);
    if (e == PST_E_INVALID) /* what was read once is read again, but for its depth */
        *ret_why = PST_VIEW_LIT("input: is nested too deeply to be said as a chat");
    if (e)
        return e;
    pst_task_t chat = *task;
    chat.url = PST_URL_CHAT;
    chat.body = &body;
    return p->build(&chat, a, ret, ret_why);
}

pst_err_t pst_provider_build(const pst_provider_t *p, const pst_task_t *task, pst_arena_t *a, pst_http_req_t *ret,
                             pst_view_t *ret_why)
{
    return through_chat(p, task) ? build_through_chat(p, task, a, ret, ret_why) : p->build(task, a, ret, ret_why);
}

void pst_provider_read(const pst_provider_t *p, const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                       pst_reading_t *ret)
{
    if (!through_chat(p, task)) {
        p->read(task, answer, a, ret);
        if (task->packed && ret->verdict == PST_VERDICT_DONE)
            pst_embeddings_pack(a, ret);
        return;
    }
    pst_task_t chat = *task;
    chat.url = PST_URL_CHAT;
    p->read(&chat, answer, a, ret);
    if (ret->verdict == PST_VERDICT_DONE)
        pst_responses_answer(task, answer, a, ret);
}
