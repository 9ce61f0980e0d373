#include "adapter_round.h"

/* Requests read as their provider documents them.  What is not understood is left, and then differs. */

static json_t *uri_item(json_t *mime, json_t *data)
{
    return json_pack("{s:o, s:o}", "mime", mime, "data", data);
}

/* ---- anthropic ---- */

static json_t *anthropic_items(json_t *content);

/* {type: base64, media_type, data} | {type: url, url} */
static json_t *anthropic_source(json_t *block)
{
    json_t *source = round_take(block, "source"), *type = round_take(source, "type"), *item;
    if (strcmp(json_string_value(type), "url") == 0)
        item = json_pack("{s:o}", "link", round_take(source, "url"));
    else
        item = uri_item(round_take(source, "media_type"), round_take(source, "data"));
    round_left(item, source, "source");
    json_decref(type);
    json_decref(source);
    return item;
}

static json_t *anthropic_item(json_t *block)
{
    json_t *type = round_take(block, "type"), *item;
    const char *name = json_string_value(type);
    if (strcmp(name, "text") == 0) {
        item = json_pack("{s:o}", "text", round_take(block, "text"));
    } else if (strcmp(name, "tool_use") == 0) {
        item = json_pack("{s:{s:o, s:o, s:o}}", "call", "id", round_take(block, "id"), "name", round_take(block, "name"),
                         "arguments", round_take(block, "input"));
    } else if (strcmp(name, "tool_result") == 0) {
        json_t *content = round_take(block, "content");
        item = json_pack("{s:o, s:o}", "result", round_take(block, "tool_use_id"), "said", anthropic_items(content));
        json_decref(content);
    } else {
        item = anthropic_source(block); /* image, document */
    }
    round_left(item, block, "block");
    json_decref(type);
    return item;
}

/* A string is one block of text. */
static json_t *anthropic_items(json_t *content)
{
    json_t *items = json_array(), *block;
    size_t i;
    if (json_is_string(content))
        json_array_append_new(items, json_pack("{s:O}", "text", content));
    json_array_foreach(content, i, block)
        json_array_append_new(items, anthropic_item(block));
    return items;
}

/* Turns must alternate: two of one speaker are left as two, and differ. */
static json_t *turns_of(json_t *messages, const char *content_key, json_t *(*items)(json_t *content))
{
    json_t *turns = json_array(), *m;
    size_t i;
    json_array_foreach(messages, i, m)
    {
        json_t *content = round_take(m, content_key), *role = round_take(m, "role");
        const char *who = strcmp(json_string_value(role), "model") == 0 ? "assistant" : json_string_value(role);
        json_t *turn = json_pack("{s:s, s:o}", "who", who, "said", items(content));
        round_left(turn, m, "message");
        json_array_append_new(turns, turn);
        json_decref(content);
        json_decref(role);
    }
    return turns;
}

static json_t *anthropic_tools(json_t *tools)
{
    json_t *out = json_array(), *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        json_object_set_new(tool, "parameters", round_take(tool, "input_schema"));
        json_array_append(out, tool);
    }
    return out;
}

static void anthropic_choice(json_t *normal, json_t *choice)
{
    json_t *type = round_take(choice, "type"), *alone = round_take(choice, "disable_parallel_tool_use");
    const char *name = json_string_value(type);
    if (name && strcmp(name, "tool") == 0)
        round_set(normal, "choice", json_pack("{s:o}", "name", round_take(choice, "name")));
    else if (name)
        round_set(normal, "choice", json_string(strcmp(name, "any") == 0 ? "required" : name));
    if (json_is_true(alone))
        round_set(normal, "parallel", json_false());
    round_left(normal, choice, "tool_choice");
    json_decref(type);
    json_decref(alone);
}

/* output_config and, for no thinking at all, thinking. */
static void anthropic_output(json_t *normal, json_t *body)
{
    json_t *config = round_take(body, "output_config"), *thinking = round_take(body, "thinking"), *disabled;
    round_rename(normal, "effort", config, "effort");
    round_rename(normal, "format", config, "format");
    round_left(normal, config, "output_config");
    disabled = json_pack("{s:s}", "type", "disabled");
    if (thinking)
        round_set(normal, "effort", json_string(json_equal(thinking, disabled) ? "none" : "?"));
    json_decref(disabled);
    json_decref(thinking);
    json_decref(config);
}

json_t *round_back_anthropic(json_t *body)
{
    json_t *normal = json_object(), *system = round_take(body, "system"), *messages = round_take(body, "messages");
    json_t *tools = round_take(body, "tools"), *choice = round_take(body, "tool_choice"), *metadata = round_take(body, "metadata");
    round_set(normal, "instructions", anthropic_items(system));
    round_set(normal, "turns", turns_of(messages, "content", anthropic_items));
    round_set(normal, "tools", anthropic_tools(tools));
    anthropic_choice(normal, choice);
    anthropic_output(normal, body);
    round_rename(normal, "user", metadata, "user_id");
    round_left(normal, metadata, "metadata");
    round_rename(normal, "max_tokens", body, "max_tokens");
    round_rename(normal, "temperature", body, "temperature");
    round_rename(normal, "top_p", body, "top_p");
    round_rename(normal, "top_k", body, "top_k");
    round_rename(normal, "stop", body, "stop_sequences");
    json_object_del(body, "model");
    round_left(normal, body, "body");
    round_number_ids(normal);
    json_decref(system);
    json_decref(messages);
    json_decref(tools);
    json_decref(choice);
    json_decref(metadata);
    return normal;
}

/* ---- gemini ---- */

static json_t *gemini_item(json_t *part)
{
    json_t *inlined = round_take(part, "inlineData"), *file = round_take(part, "fileData"), *item;
    json_t *call = round_take(part, "functionCall"), *result = round_take(part, "functionResponse");
    if (inlined)
        item = uri_item(round_take(inlined, "mimeType"), round_take(inlined, "data"));
    else if (file)
        item = json_pack("{s:o}", "link", round_take(file, "fileUri"));
    else if (call)
        item = json_pack("{s:{s:o, s:o}}", "call", "name", round_take(call, "name"), "arguments", round_take(call, "args"));
    else if (result)
        item = json_pack("{s:o, s:o}", "result", round_take(result, "name"), "said", round_take(result, "response"));
    else
        item = json_pack("{s:o}", "text", round_take(part, "text"));
    json_object_del(file, "mimeType"); /* made from the link */
    round_left(item, part, "part");
    round_left(item, inlined, "inlineData");
    round_left(item, file, "fileData");
    round_left(item, call, "functionCall");
    round_left(item, result, "functionResponse");
    json_decref(inlined);
    json_decref(file);
    json_decref(call);
    json_decref(result);
    return item;
}

static json_t *gemini_items(json_t *parts)
{
    json_t *items = json_array(), *part;
    size_t i;
    json_array_foreach(parts, i, part)
        json_array_append_new(items, gemini_item(part));
    return items;
}

static void gemini_tools(json_t *normal, json_t *body)
{
    json_t *tools = round_take(body, "tools"), *group, *tool, *out = json_array();
    json_t *config = round_take(body, "toolConfig"), *calling = round_take(config, "functionCallingConfig");
    json_t *mode = round_take(calling, "mode"), *names = round_take(calling, "allowedFunctionNames");
    size_t i, k;
    json_array_foreach(tools, i, group)
    {
        json_array_foreach(json_object_get(group, "functionDeclarations"), k, tool)
        {
            round_set(tool, "parameters", round_take(tool, "parametersJsonSchema"));
            json_array_append(out, tool);
        }
    }
    round_set(normal, "tools", out);
    if (json_array_size(names) == 1)
        round_set(normal, "choice", json_pack("{s:O}", "name", json_array_get(names, 0)));
    else if (mode)
        round_set(normal, "choice", json_string(strcmp(json_string_value(mode), "ANY") == 0    ? "required"
                                                : strcmp(json_string_value(mode), "NONE") == 0 ? "none"
                                                                                               : "auto"));
    round_left(normal, calling, "functionCallingConfig");
    round_left(normal, config, "toolConfig");
    json_decref(tools);
    json_decref(config);
    json_decref(calling);
    json_decref(mode);
    json_decref(names);
}

static void gemini_format(json_t *normal, json_t *config)
{
    json_t *mime = round_take(config, "responseMimeType"), *schema = round_take(config, "responseJsonSchema");
    if (schema)
        round_set(normal, "format", json_pack("{s:s, s:O}", "type", "json_schema", "schema", schema));
    else if (mime)
        round_set(normal, "format", json_pack("{s:s}", "type", "json_object"));
    json_decref(mime);
    json_decref(schema);
}

/* A level's name, or a budget's digits. */
static void gemini_thinking(json_t *normal, json_t *config)
{
    json_t *thinking = round_take(config, "thinkingConfig"), *budget = round_take(thinking, "thinkingBudget");
    round_rename(normal, "effort", thinking, "thinkingLevel");
    if (budget)
        round_set(normal, "effort", json_sprintf("%d", (int)json_integer_value(budget)));
    round_left(normal, thinking, "thinkingConfig");
    json_decref(budget);
    json_decref(thinking);
}

static void gemini_config(json_t *normal, json_t *config)
{
    static const char *const names[][2] = {
        {"temperature", "temperature"}, {"top_p", "topP"}, {"top_k", "topK"}, {"n", "candidateCount"}, {"seed", "seed"},
        {"presence_penalty", "presencePenalty"}, {"frequency_penalty", "frequencyPenalty"},
        {"max_tokens", "maxOutputTokens"}, {"stop", "stopSequences"}, {"logprobs", "responseLogprobs"},
        {"top_logprobs", "logprobs"},
    };
    for (size_t i = 0; i < PST_COUNT(names); i++)
        round_rename(normal, names[i][0], config, names[i][1]);
    gemini_format(normal, config);
    gemini_thinking(normal, config);
    round_left(normal, config, "generationConfig");
}

json_t *round_back_gemini(json_t *body)
{
    json_t *normal = json_object(), *system = round_take(body, "systemInstruction"), *contents = round_take(body, "contents");
    json_t *config = round_take(body, "generationConfig");
    round_set(normal, "instructions", gemini_items(json_object_get(system, "parts")));
    round_set(normal, "turns", turns_of(contents, "parts", gemini_items));
    gemini_tools(normal, body);
    gemini_config(normal, config);
    round_left(normal, body, "body");
    json_decref(system);
    json_decref(contents);
    json_decref(config);
    return normal;
}

/* ---- bedrock ---- */

static json_t *bedrock_items(json_t *content);

/* {format, source: {bytes}}, a document with a name of its own. */
static json_t *bedrock_file(json_t *file, bool image)
{
    json_t *source = round_take(file, "source"), *format = round_take(file, "format");
    json_t *item = uri_item(json_sprintf("%s/%s", image ? "image" : "application", json_string_value(format)),
                            round_take(source, "bytes"));
    if (!image)
        json_object_del(file, "name");
    round_left(item, file, "file");
    round_left(item, source, "source");
    json_decref(source);
    json_decref(format);
    return item;
}

static json_t *bedrock_item(json_t *block)
{
    json_t *use = round_take(block, "toolUse"), *result = round_take(block, "toolResult"), *item;
    json_t *image = round_take(block, "image"), *document = round_take(block, "document");
    if (use) {
        item = json_pack("{s:{s:o, s:o, s:o}}", "call", "id", round_take(use, "toolUseId"), "name", round_take(use, "name"),
                         "arguments", round_take(use, "input"));
    } else if (result) {
        json_t *content = round_take(result, "content");
        item = json_pack("{s:o, s:o}", "result", round_take(result, "toolUseId"), "said", bedrock_items(content));
        json_decref(content);
    } else if (image || document) {
        item = bedrock_file(image ? image : document, image != NULL);
    } else {
        item = json_pack("{s:o}", "text", round_take(block, "text"));
    }
    round_left(item, block, "block");
    round_left(item, use, "toolUse");
    round_left(item, result, "toolResult");
    json_decref(use);
    json_decref(result);
    json_decref(image);
    json_decref(document);
    return item;
}

static json_t *bedrock_items(json_t *content)
{
    json_t *items = json_array(), *block;
    size_t i;
    json_array_foreach(content, i, block)
        json_array_append_new(items, bedrock_item(block));
    return items;
}

static void bedrock_choice(json_t *normal, json_t *choice)
{
    if (json_object_get(choice, "tool"))
        round_set(normal, "choice", json_incref(json_object_get(choice, "tool")));
    else if (json_object_get(choice, "any"))
        round_set(normal, "choice", json_string("required"));
    else if (json_object_get(choice, "auto"))
        round_set(normal, "choice", json_string("auto"));
}

static void bedrock_tools(json_t *normal, json_t *body)
{
    json_t *config = round_take(body, "toolConfig"), *tools = round_take(config, "tools"), *tool, *out = json_array();
    json_t *choice = round_take(config, "toolChoice");
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        json_t *spec = json_object_get(tool, "toolSpec"), *schema = round_take(spec, "inputSchema");
        round_set(spec, "parameters", json_incref(json_object_get(schema, "json")));
        json_array_append(out, spec);
        json_decref(schema);
    }
    round_set(normal, "tools", out);
    bedrock_choice(normal, choice);
    round_left(normal, config, "toolConfig");
    json_decref(config);
    json_decref(tools);
    json_decref(choice);
}

/* outputConfig.textFormat.structure.jsonSchema.schema is the text of one. */
static void bedrock_format(json_t *normal, json_t *body)
{
    json_t *config = round_take(body, "outputConfig"), *format = json_object_get(config, "textFormat");
    const json_t *text = json_object_get(json_object_get(json_object_get(format, "structure"), "jsonSchema"), "schema");
    if (text)
        round_set(normal, "format", json_pack("{s:O, s:o}", "type", json_object_get(format, "type"), "schema",
                                              json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL)));
    json_decref(config);
}

/* Claude's fields, or gpt-oss's. */
static void bedrock_fields(json_t *normal, json_t *body)
{
    json_t *fields = round_take(body, "additionalModelRequestFields");
    anthropic_output(normal, fields);
    if (!json_object_get(normal, "effort"))
        round_rename(normal, "effort", fields, "reasoning_effort");
    round_rename(normal, "top_k", fields, "top_k");
    round_left(normal, fields, "additionalModelRequestFields");
    json_decref(fields);
}

json_t *round_back_bedrock(json_t *body)
{
    json_t *normal = json_object(), *system = round_take(body, "system"), *messages = round_take(body, "messages");
    json_t *inference = round_take(body, "inferenceConfig");
    round_set(normal, "instructions", bedrock_items(system));
    round_set(normal, "turns", turns_of(messages, "content", bedrock_items));
    bedrock_tools(normal, body);
    bedrock_fields(normal, body);
    bedrock_format(normal, body);
    round_rename(normal, "max_tokens", inference, "maxTokens");
    round_rename(normal, "temperature", inference, "temperature");
    round_rename(normal, "top_p", inference, "topP");
    round_rename(normal, "stop", inference, "stopSequences");
    round_left(normal, inference, "inferenceConfig");
    round_left(normal, body, "body");
    round_number_ids(normal);
    json_decref(system);
    json_decref(messages);
    json_decref(inference);
    return normal;
}
