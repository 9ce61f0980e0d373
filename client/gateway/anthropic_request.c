/* Requests: a body of /v1/messages, said as one of /v1/chat/completions. */
#include "gateway/anthropic_msgreq.h"

#include <stdio.h>

#include "lib/body.h"
#include "lib/text.h"

/* What a budget of thinking tokens is as an effort: below these low and medium, then high.  They lie between the
 * budgets that our adapters make of efforts. */
#define BUDGET_LOW_MAX 4096
#define BUDGET_MEDIUM_MAX 16384

void pst_msgreq_refuse(pst_msgreq_t *q, const char *fmt, ...)
{
    char what[sizeof q->why->text];
    va_list ap;
    if (q->refused)
        return;
    q->refused = true;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    (void)pst_errf(q->why, PST_E_INVALID, "%s%s", q->place, what);
}

/* ---- tools ---- */

static void put_tool(pst_msgreq_t *q, uint32_t tool, unsigned at)
{
    uint32_t type = pst_splice_member(q->j, tool, "type"), name = pst_json_get(q->j, tool, "name");
    uint32_t schema = pst_splice_member(q->j, tool, "input_schema");
    pst_view_t v = pst_msgreq_shown(q, type);
    if (type != PST_JSON_NONE && !pst_splice_is(q->j, type, "custom"))
        pst_msgreq_refuse(q, "tools.%u: \"%.*s\" is a tool of Anthropic's own: here they must have an input_schema", at,
                          (int)v.n, v.p);
    else if (!pst_splice_has_text(q->j, name))
        pst_msgreq_refuse(q, "tools.%u.name: is required", at);
    pst_json_put_comma(q->b);
    pst_buf_puts(q->b, "{\"type\":\"function\",\"function\":{");
    pst_splice_put_member(q->b, "name", q->j, name);
    pst_splice_put_member(q->b, "description", q->j, pst_splice_member(q->j, tool, "description"));
    if (schema == PST_JSON_NONE)
        pst_buf_puts(q->b, ",\"parameters\":{\"type\":\"object\",\"properties\":{}}");
    pst_splice_put_member(q->b, "parameters", q->j, schema);
    pst_splice_put_member(q->b, "strict", q->j, pst_splice_member(q->j, tool, "strict"));
    pst_buf_putc(q->b, '}');
    pst_splice_put_member(q->b, "cache_control", q->j, pst_msgreq_mark(q, tool));
    pst_buf_putc(q->b, '}');
}

static void put_named_choice(pst_msgreq_t *q, uint32_t choice)
{
    uint32_t name = pst_json_get(q->j, choice, "name");
    if (!pst_splice_has_text(q->j, name))
        pst_msgreq_refuse(q, "tool_choice.name: is required");
    pst_buf_puts(q->b, "{\"type\":\"function\",\"function\":{");
    pst_splice_put_member(q->b, "name", q->j, name);
    pst_buf_puts(q->b, "}}");
}

static void put_tool_choice(pst_msgreq_t *q)
{
    static const struct {
        const char *theirs, *ours; /* ours NULL: the tool that is named */
    } kinds[] = {{"auto", "\"auto\""}, {"any", "\"required\""}, {"none", "\"none\""}, {"tool", NULL}};
    uint32_t choice = pst_msgreq_param(q, "tool_choice");
    size_t i = 0;
    if (choice == PST_JSON_NONE)
        return;
    while (i < PST_COUNT(kinds) && !pst_msgreq_is(q, choice, kinds[i].theirs))
        i++;
    if (i == PST_COUNT(kinds)) {
        pst_msgreq_refuse(q, "tool_choice.type: must be auto, any, tool or none");
        return;
    }
    pst_json_put_key(q->b, "tool_choice");
    if (kinds[i].ours)
        pst_buf_puts(q->b, kinds[i].ours);
    else
        put_named_choice(q, choice);
    if (pst_json_is(q->j, pst_json_get(q->j, choice, "disable_parallel_tool_use"), PST_JSON_TRUE))
        pst_buf_puts(q->b, ",\"parallel_tool_calls\":false");
}

/* A choice without tools would be refused. */
static void put_tools(pst_msgreq_t *q)
{
    uint32_t tools = pst_msgreq_param(q, "tools");
    unsigned at = 0;
    if (pst_msgreq_first(q, tools) == PST_JSON_NONE)
        return;
    pst_json_put_key(q->b, "tools");
    pst_buf_putc(q->b, '[');
    for (uint32_t t = pst_msgreq_first(q, tools); t != PST_JSON_NONE; t = pst_json_after(q->j, tools, t), at++)
        put_tool(q, t, at);
    pst_buf_putc(q->b, ']');
    put_tool_choice(q);
}

/* ---- parameters ---- */

static const char *effort_of_budget(uint64_t budget)
{
    return budget < BUDGET_LOW_MAX ? "low" : budget < BUDGET_MEDIUM_MAX ? "medium" : "high";
}

/* Claude wants the thoughts before the call of a tool whose result it gets, if it had a budget for them, and they are
 * not sent back: it goes on without. */
static bool awaits_thoughts(const pst_msgreq_t *q)
{
    uint32_t messages = pst_msgreq_param(q, "messages"), last = PST_JSON_NONE;
    for (uint32_t m = pst_msgreq_first(q, messages); m != PST_JSON_NONE; m = pst_json_after(q->j, messages, m)) {
        if (pst_splice_is(q->j, pst_json_get(q->j, m, "role"), "assistant"))
            last = m;
    }
    uint32_t content = pst_json_get(q->j, last, "content");
    uint32_t t = pst_msgreq_first(q, content);
    while (t != PST_JSON_NONE && !pst_msgreq_is(q, t, "tool_use"))
        t = pst_json_after(q->j, content, t);
    return t != PST_JSON_NONE;
}

/* Other models think, or not, as they do by themselves where no budget is given. */
static void put_thinking(pst_msgreq_t *q)
{
    uint32_t thinking = pst_msgreq_param(q, "thinking"), config = pst_msgreq_param(q, "output_config");
    uint32_t effort = pst_splice_member(q->j, config, "effort");
    bool budgeted = pst_msgreq_is(q, thinking, "enabled");
    pst_splice_put_member(q->b, "reasoning_effort", q->j, effort);
    if (q->claude) {
        if (!budgeted || !awaits_thoughts(q))
            pst_splice_put_member(q->b, "thinking", q->j, thinking);
    } else if (budgeted && effort == PST_JSON_NONE) {
        uint64_t budget = pst_splice_count(q->j, pst_json_get(q->j, thinking, "budget_tokens"));
        pst_splice_put_text(q->b, "reasoning_effort", pst_view_str(effort_of_budget(budget)));
    }
}

/* Not strict: OpenAI's strict schemas must require every member, which Anthropic's need not. */
static void put_format(pst_msgreq_t *q)
{
    uint32_t format = pst_splice_member(q->j, pst_msgreq_param(q, "output_config"), "format");
    if (format == PST_JSON_NONE)
        return;
    if (!pst_msgreq_is(q, format, "json_schema"))
        pst_msgreq_refuse(q, "output_config.format.type: must be json_schema");
    pst_buf_puts(q->b, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\"");
    pst_splice_put_member(q->b, "schema", q->j, pst_json_get(q->j, format, "schema"));
    pst_buf_puts(q->b, "}}");
}

static void put_stream(pst_msgreq_t *q, pst_anthropic_use_t use)
{
    if (!pst_json_is(q->j, pst_msgreq_param(q, "stream"), PST_JSON_TRUE))
        return;
    if (use == PST_ANTHROPIC_BATCH)
        pst_msgreq_refuse(q, "stream: a batch has no one to stream to: leave it out");
    pst_buf_puts(q->b, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
}

static void put_parameters(pst_msgreq_t *q)
{
    static const char *const same[] = {"models", "provider", "max_tokens", "temperature", "top_p", "top_k"};
    for (size_t i = 0; i < PST_COUNT(same); i++)
        pst_splice_put_member(q->b, same[i], q->j, pst_msgreq_param(q, same[i]));
    uint32_t stop = pst_msgreq_param(q, "stop_sequences");
    if (pst_msgreq_first(q, stop) != PST_JSON_NONE)
        pst_splice_put_member(q->b, "stop", q->j, stop);
    pst_splice_put_member(q->b, "user", q->j, pst_splice_member(q->j, pst_msgreq_param(q, "metadata"), "user_id"));
}

/* ---- the whole ---- */

static bool has_part(pst_view_t text, const char *part)
{
    return text.n && memmem(text.p, text.n, part, strlen(part));
}

static bool is_claude(const pst_msgreq_t *q, uint32_t name)
{
    pst_view_t v = pst_splice_inside(q->j, name);
    return has_part(v, "claude") || (v.n > 10 && memcmp(v.p, "anthropic/", 10) == 0);
}

/* Whoever may serve it in the end. */
static bool only_claude(const pst_msgreq_t *q)
{
    uint32_t models = pst_msgreq_param(q, "models"), model = pst_msgreq_param(q, "model");
    bool all = model == PST_JSON_NONE ? pst_msgreq_first(q, models) != PST_JSON_NONE : is_claude(q, model);
    for (uint32_t t = pst_msgreq_first(q, models); t != PST_JSON_NONE && all; t = pst_json_after(q->j, models, t))
        all = is_claude(q, t);
    return all;
}

static void check(pst_msgreq_t *q, pst_anthropic_use_t use)
{
    static const char *const elsewhere[] = {"container", "mcp_servers"};
    uint32_t max = pst_msgreq_param(q, "max_tokens"), models = pst_msgreq_param(q, "models");
    if (!pst_json_is(q->j, q->obj, PST_JSON_OBJECT))
        pst_msgreq_refuse(q, "must be a JSON object");
    if (!pst_splice_has_text(q->j, pst_msgreq_param(q, "model")) && pst_msgreq_first(q, models) == PST_JSON_NONE)
        pst_msgreq_refuse(q, "model: is required");
    if (use != PST_ANTHROPIC_COUNT && !pst_json_is(q->j, max, PST_JSON_NUMBER))
        pst_msgreq_refuse(q, max == PST_JSON_NONE ? "max_tokens: is required" : "max_tokens: must be a number");
    for (size_t i = 0; i < PST_COUNT(elsewhere); i++) {
        uint32_t t = pst_msgreq_param(q, elsewhere[i]);
        if (t != PST_JSON_NONE && !(pst_json_is(q->j, t, PST_JSON_ARRAY) && q->j->tok[t].count == 0))
            pst_msgreq_refuse(q, "%s: lies with Anthropic, and cannot be used here", elsewhere[i]);
    }
}

pst_err_t pst_anthropic_put_request(pst_anthropic_t *x, uint32_t obj, pst_anthropic_use_t use, const char *place,
                                    pst_buf_t *out, pst_errbuf_t *why)
{
    pst_msgreq_t q = {.j = &x->json, .obj = obj, .b = out, .why = why, .place = place};
    check(&q, use);
    if (q.refused)
        return PST_E_INVALID;
    q.claude = only_claude(&q);
    pst_buf_putc(out, '{');
    pst_splice_put_member(out, "model", q.j, pst_msgreq_param(&q, "model"));
    pst_anthropic_put_messages(&q);
    put_parameters(&q);
    put_tools(&q);
    put_thinking(&q);
    put_format(&q);
    put_stream(&q, use);
    pst_buf_putc(out, '}');
    return q.refused ? PST_E_INVALID : out->failed ? PST_E_NOMEM : PST_OK;
}

static pst_err_t parse(pst_anthropic_t *x, pst_view_t body, pst_errbuf_t *why)
{
    size_t at = 0;
    pst_arena_clear(&x->arena);
    pst_err_t e = pst_json_parse(&x->json, body, &at);
    return e == PST_E_INVALID ? pst_errf(why, e, "the body is not JSON: look at byte %zu", at) : e;
}

pst_err_t pst_anthropic_request(pst_anthropic_t *x, pst_view_t body, pst_buf_t *out, pst_errbuf_t *why)
{
    pst_err_t e = parse(x, body, why);
    return e ? e : pst_anthropic_put_request(x, 0, PST_ANTHROPIC_CALL, "", out, why);
}

/* Of what the request becomes, as that is what will be paid for. */
pst_err_t pst_anthropic_count_tokens(pst_anthropic_t *x, pst_view_t body, pst_buf_t *out, pst_errbuf_t *why)
{
    pst_buf_t text;
    pst_body_t b;
    pst_body_memory_t memory = {0};
    uint32_t params = 0;
    pst_buf_init(&text, 0);
    pst_err_t e = parse(x, body, why);
    if (!e)
        e = pst_anthropic_put_request(x, 0, PST_ANTHROPIC_COUNT, "", &text, why);
    if (!e && (e = pst_json_parse(&x->inner, pst_buf_view(&text), NULL)) == PST_E_INVALID)
        e = pst_errf(why, e, "the body is nested too deeply");
    if (!e) {
        pst_body_scan(&b, &x->inner, 0, &x->arena, &memory);
        pst_buf_puts(out, "{\"input_tokens\":");
        pst_text_uint(out, pst_body_input_tokens(&b, &params));
        pst_buf_putc(out, '}');
    }
    pst_body_memory_release(&memory);
    pst_buf_release(&text);
    return e;
}

void pst_anthropic_release(pst_anthropic_t *x)
{
    pst_json_release(&x->json);
    pst_json_release(&x->inner);
    pst_arena_release(&x->arena);
}
