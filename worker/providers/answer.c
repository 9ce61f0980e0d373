#include "providers/answer.h"

#include "providers/common.h"
#include "providers/failure.h"
#include "providers/limits.h"

void pst_answer_begin(pst_buf_t *b, const pst_task_t *task, const char *object,
                      const char *id_prefix, const pst_json_t *j, uint32_t id, uint32_t model)
{
    pst_buf_puts(b, "{\"id\":");
    if (pst_has_text(j, id))
        pst_buf_putv(b, pst_json_raw(j, id));
    else
        pst_put_made_id(b, id_prefix, task->random, 0);
    pst_buf_puts(b, ",\"object\":\"");
    pst_buf_puts(b, object);
    pst_buf_puts(b, "\",\"created\":");
    pst_put_digits(b, task->wall_s);
    pst_buf_puts(b, ",\"model\":");
    if (pst_has_text(j, model))
        pst_buf_putv(b, pst_json_raw(j, model));
    else
        pst_json_put_str(b, task->endpoint.model);
}

void pst_put_call_id(pst_buf_t *b, const pst_task_t *task, const pst_json_t *j, uint32_t id,
                     uint32_t call)
{
    pst_buf_puts(b, "{\"id\":");
    if (pst_has_text(j, id))
        pst_buf_putv(b, pst_json_raw(j, id));
    else
        pst_put_made_id(b, "call_", task->random, call);
}

void pst_answer_end(pst_buf_t *b, const pst_usage_t *u)
{
    pst_buf_puts(b, ",\"usage\":{\"prompt_tokens\":");
    pst_put_digits(b, u->input);
    pst_buf_puts(b, ",\"completion_tokens\":");
    pst_put_digits(b, u->output);
    pst_buf_puts(b, ",\"total_tokens\":");
    pst_put_digits(b, u->input + u->output);
    pst_buf_puts(b, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    pst_put_digits(b, u->cached);
    if (u->cache_write)
        pst_put_count(b, "cache_write_tokens", u->cache_write);
    pst_buf_puts(b, "},\"completion_tokens_details\":{\"reasoning_tokens\":");
    pst_put_digits(b, u->reasoning);
    pst_buf_puts(b, "}}}");
}

void pst_answer_read(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a,
                     pst_reading_t *ret,
                     void (*read_ok)(const pst_task_t *task, const pst_json_t *j,
                                     const pst_http_answer_t *answer, pst_arena_t *a,
                                     pst_reading_t *ret))
{
    pst_json_t *j = task->tape;
    pst_reading_init(ret);
    if (answer->status == 0) {
        pst_failure_transport(answer, ret);
        return;
    }
    pst_limits_read(answer, a, ret);
    bool parsed = pst_json_parse(j, answer->body, NULL) == PST_OK;
    if (!pst_answer_ok(answer))
        pst_failure_read(parsed ? j : NULL, answer, a, ret);
    else if (parsed)
        read_ok(task, j, answer, a, ret);
    else
        pst_failure_bad_answer(answer, "the answer is not JSON", a, ret);
}

bool pst_answer_failed(const pst_json_t *j, bool is_error, const char *fault, const pst_http_answer_t *answer,
                       pst_arena_t *a, pst_reading_t *ret)
{
    if (is_error) {
        pst_failure_t f;
        pst_failure_find(j, 0, answer->status, a, &f);
        pst_failure_report(&f, answer, a, ret);
    } else if (fault) {
        pst_failure_bad_answer(answer, fault, a, ret);
    }
    return is_error || fault;
}

void pst_reading_init(pst_reading_t *ret)
{
    memset(ret, 0, sizeof *ret);
}

void pst_reading_set_usage(pst_reading_t *ret, const pst_usage_t *u)
{
    if (!u->known)
        return;
    ret->usage_known = true;
    ret->input_tokens = u->input;
    ret->cached_tokens = u->cached;
    ret->output_tokens = u->output;
}

void pst_reading_done(pst_reading_t *ret, const pst_http_answer_t *answer, const pst_buf_t *b,
                      pst_arena_t *a)
{
    pst_view_t body = pst_view(NULL, 0);
    bool kept = pst_seal(b, a, &body) == PST_OK;
    pst_reading_done_with(ret, answer, body, kept);
}

void pst_reading_done_with(pst_reading_t *ret, const pst_http_answer_t *answer, pst_view_t body, bool whole)
{
    if (!whole) {
        pst_failure_no_memory(ret);
        return;
    }
    ret->verdict = PST_VERDICT_DONE;
    ret->cause = PST_CAUSE_NONE;
    ret->status = answer->status;
    ret->request_id = pst_answer_request_id(answer);
    ret->body = body;
}
