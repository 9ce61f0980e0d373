// Calls that are answered at once, as OpenAI's Node SDK makes them: streams.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkTypes, fits, simulated, until } from "./lib.mjs";
import { MODEL, OpenAI, client, user } from "./openai.mjs";

// The simulated provider streams in OpenAI's form and Anthropic's; an echo is told at once.
const MODELS = ["test/gpt", "test/claude", "test/echo"];
const TOOLS = [{ type: "function", function: { name: "get_weather", parameters: { type: "object", properties: {} } } }];
const ask = (content, more = {}, options) =>
  client.chat.completions.create({ model: MODEL, messages: user(content), stream: true, ...more }, options);

async function gather(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(fits("SDK.Chat.ChatCompletionChunk", chunk));
  return chunks;
}

const text = (chunks) => chunks.map((c) => c.choices[0]?.delta?.content ?? "").join("");

describe("a stream of a chat", () => {
  for (const model of MODELS) {
    it(`comes chunk by chunk from ${model}`, async () => {
      const chunks = await gather(await ask('a "ü" \u{1f600} and more words', { model, max_tokens: 100 }));
      assert.ok(text(chunks).includes('a "ü" \u{1f600} and more words'), text(chunks));
      assert.ok(chunks.every((c) => c.object === "chat.completion.chunk" && c.id === chunks[0].id));
      assert.equal(chunks[0].choices[0].delta.role, "assistant");
      const finished = chunks.filter((c) => c.choices[0]?.finish_reason);
      assert.deepEqual(finished.map((c) => c.choices[0].finish_reason), ["stop"]);
      assert.ok(chunks.every((c) => !c.usage), "usage was not asked for");
    });

    it(`ends with the usage at ${model}, if that is asked for`, async () => {
      const chunks = await gather(await ask("count", { model, stream_options: { include_usage: true } }));
      const last = chunks.at(-1);
      assert.deepEqual(last.choices, []);
      assert.ok(last.usage.prompt_tokens > 0 && last.usage.completion_tokens > 0);
      assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
      assert.ok(chunks.slice(0, -1).every((c) => !c.usage));
    });
  }

  it("is put together by the SDK's helper", async () => {
    const stream = client.chat.completions.stream({ model: MODEL, messages: user("helped") });
    const whole = fits("SDK.Chat.ChatCompletion", await stream.finalChatCompletion());
    assert.equal(whole.choices[0].message.content, "echo:helped");
  });

  it("carries calls of tools", async () => {
    const stream = client.chat.completions.stream({ model: MODEL, messages: user("[[tool]]"), tools: TOOLS });
    const { choices: [{ message, finish_reason }] } = await stream.finalChatCompletion();
    assert.equal(finish_reason, "tool_calls");
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Paris" });
  });

  it("tells who asked what in its headers", async () => {
    const { data, response } = await ask("headers").withResponse();
    assert.match(response.headers.get("content-type"), /^text\/event-stream/);
    assert.match(response.headers.get("x-request-id"), /^req_/);
    await gather(data);
  });

  it("20 at once, each its own", async () => {
    const texts = Array.from({ length: 20 }, (_, i) => `stream ${i}`);
    const said = await Promise.all(texts.map(async (t) => text(await gather(await ask(t)))));
    assert.deepEqual(said, texts.map((t) => `echo:${t}`));
  });

  it("that cannot begin is an error with its status", async () => {
    await assert.rejects(ask("x", { model: "no/such" }), OpenAI.NotFoundError);
    await assert.rejects(ask("[[400]]"), OpenAI.BadRequestError);
    await assert.rejects(ask("[[500]]"), OpenAI.InternalServerError);
  });

  it("that breaks off is an error of the iteration", async () => {
    await assert.rejects(async () => gather(await ask(`[[cutmid]] ${"long ".repeat(500)}`)), OpenAI.APIError);
  });

  it("is aborted midway, and the provider's call with it", async () => {
    const before = (await simulated("stats")).abandoned;
    const stream = await ask("word ".repeat(500), { model: "test/drip" });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break;
    }
    await until("the provider to be left", async () => (await simulated("stats")).abandoned > before, 15);
  });
});

describe("a stream of", () => {
  it("a completion", async () => {
    let said = "";
    for await (const c of await client.completions.create({ model: MODEL, prompt: "once upon", stream: true }))
      said += c.choices[0]?.text ?? "";
    assert.equal(said, "echo:once upon");
  });

  it("a response with a call of a tool", async () => {
    const tools = TOOLS.map(({ function: f }) => ({ type: "function", strict: false, ...f }));
    const stream = client.responses.stream({ model: MODEL, input: "[[tool]]", tools });
    const said = [];
    stream.on("response.function_call_arguments.delta", (event) => said.push(event.delta));
    const { output } = await stream.finalResponse();
    assert.deepEqual([output[0].type, output[0].name, output[0].status], ["function_call", "get_weather", "completed"]);
    assert.equal(said.join(""), output[0].arguments);
  });

  for (const model of ["test/gpt", "test/claude"]) {
    it(`a response by ${model}`, async () => {
      const events = [];
      for await (const event of await client.responses.create({ model, input: "a question", stream: true }))
        events.push(event.response ? event : fits("SDK.Responses.ResponseStreamEvent", event));
      assert.equal(events[0].type, "response.created");
      assert.equal(events.at(-1).type, "response.completed");
      assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
      const said = events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join("");
      assert.equal(said, "echo:a question");
      assert.equal(events.at(-1).response.output[0].content[0].text, "echo:a question");
      const whole = await client.responses.stream({ model, input: "helped" }).finalResponse();
      assert.equal(whole.output_text, "echo:helped");
    });
  }
});

it("every object is as the SDK's types say", checkTypes);
