// Calls that are answered at once, as OpenAI's Node SDK makes them: whole answers.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KEYS, checkTypes, fits, simulated, until } from "./lib.mjs";
import { MODEL, OpenAI, client, counting, make, user } from "./openai.mjs";

const MODELS = ["test/gpt", "test/claude", "test/gemini", "test/echo"];
// But for one member, which is about an account at OpenAI.
const RESPONSE = "Omit<SDK.Responses.Response, 'access_programs'>";
const TOOLS = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];
const chat = (content, more = {}, by = client, options) =>
  by.chat.completions.create({ model: MODEL, messages: user(content), ...more }, options);
const fails = (kind, wanted = {}) => (e) => {
  assert.ok(e instanceof kind, `${e.constructor.name}: ${e}`);
  for (const [name, value] of Object.entries(wanted)) assert.equal(e[name], value, `${name} of ${JSON.stringify(e.error)}`);
  return true;
};

describe("models", () => {
  it("are listed, and found by names with a slash in them", async () => {
    const { data } = await client.models.list();
    data.forEach((m) => fits("SDK.Models.Model", m));
    assert.ok(MODELS.every((name) => data.some((m) => m.id === name)), JSON.stringify(data));
    assert.equal((await client.models.retrieve("test/gpt")).id, "test/gpt");
    await assert.rejects(client.models.retrieve("no/such"), fails(OpenAI.NotFoundError, { code: "model_not_found" }));
    await assert.rejects(client.models.retrieve("such"), fails(OpenAI.NotFoundError));
  });
});

describe("chats", () => {
  for (const model of MODELS) {
    it(`are answered by ${model}`, async () => {
      const answer = fits("SDK.Chat.ChatCompletion", await chat('say "ü" \u{1f600}', { model, max_tokens: 100 }));
      assert.equal(answer.object, "chat.completion");
      const [choice] = answer.choices;
      assert.ok(choice.message.content.includes('say "ü" \u{1f600}'), choice.message.content);
      assert.equal(choice.message.role, "assistant");
      assert.equal(choice.finish_reason, "stop");
      assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
      assert.match(answer._request_id, /^req_/);
    });
  }

  for (const model of MODELS.slice(0, 3)) {
    it(`call tools at ${model}, and take their results`, async () => {
      const first = fits("SDK.Chat.ChatCompletion", await chat("[[tool]]", { model, tools: TOOLS }));
      const { message, finish_reason } = first.choices[0];
      assert.equal(finish_reason, "tool_calls");
      const [call] = message.tool_calls;
      assert.equal(call.type, "function");
      assert.equal(call.function.name, "get_weather");
      assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
      const messages = [...user("weather?"), message, { role: "tool", tool_call_id: call.id, content: "rain" }];
      const second = await client.chat.completions.create({ model, tools: TOOLS, messages });
      assert.equal(second.choices[0].finish_reason, "stop");
    });
  }

  it("run the SDK's own loop of tools", async () => {
    const asked = [];
    const tools = [{ type: "function", function: { ...TOOLS[0].function, parse: JSON.parse,
                                                   function: ({ city }) => asked.push(city) && "rain" } }];
    const runner = client.chat.completions.runTools({ model: MODEL, messages: user("[[tool]]"), tools },
                                                    { maxChatCompletions: 2 });
    await runner.done();
    assert.ok(asked.length > 0 && asked.every((city) => city === "Paris"));
  });

  it("tell who answered", async () => {
    const { response } = await chat("who").withResponse();
    assert.equal(response.headers.get("x-penstock-provider"), "simopenai");
    assert.equal(response.headers.get("x-penstock-model"), "gpt-test");
    assert.equal(response.headers.get("x-penstock-attempts"), "1");
    assert.ok(Number(response.headers.get("x-penstock-cost-usd")) > 0);
  });

  it("are answered 20 at once, each with its own", async () => {
    const texts = Array.from({ length: 20 }, (_, i) => `at once ${i}`);
    const answers = await Promise.all(texts.map((text) => chat(text)));
    assert.deepEqual(answers.map((a) => a.choices[0].message.content), texts.map((text) => `echo:${text}`));
    assert.equal(new Set(answers.map((a) => a._request_id)).size, 20);
  });
});

describe("the other calls", () => {
  it("embeddings, packed or not", async () => {
    for (const model of ["test/gpt", "test/echo"]) {
      const input = ["one", "two", "three"];
      const packed = fits("SDK.CreateEmbeddingResponse", await client.embeddings.create({ model, input }));
      const plain = await client.embeddings.create({ model, input, encoding_format: "float" });
      assert.deepEqual(packed.data.map((d) => [d.index, d.object]), [0, 1, 2].map((i) => [i, "embedding"]));
      packed.data.forEach((d, i) => {
        assert.equal(d.embedding.length, plain.data[i].embedding.length);
        d.embedding.forEach((x, k) => assert.ok(Math.abs(x - plain.data[i].embedding[k]) < 1e-6));
      });
      assert.ok(packed.usage.prompt_tokens > 0);
    }
  });

  it("completions", async () => {
    const answer = fits("SDK.Completion", await client.completions.create({ model: MODEL, prompt: "once upon" }));
    assert.equal(answer.choices[0].text, "echo:once upon");
    assert.equal(answer.choices[0].finish_reason, "stop");
  });

  for (const model of MODELS) {
    it(`responses by ${model}`, async () => {
      const answer = await client.responses.create({ model, input: "a question", instructions: "be short" });
      fits(RESPONSE, answer);
      assert.equal(answer.object, "response");
      assert.equal(answer.status, "completed");
      assert.ok(answer.output_text.includes("a question"), answer.output_text);
      assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
    });
  }
});

describe("errors", () => {
  it("of a model that is unknown, or not said", async () => {
    const unknown = fails(OpenAI.NotFoundError, { code: "model_not_found", param: "model" });
    await assert.rejects(chat("x", { model: "no/such" }), unknown);
    await assert.rejects(chat("x", { model: undefined }), fails(OpenAI.BadRequestError, { param: "model" }));
  });

  it("of what no endpoint can serve, which is not asked again", async () => {
    const { client: patient, sent } = counting({ maxRetries: 2 });
    const more = { model: "test/claude", logprobs: true };
    await assert.rejects(chat("x", more, patient), fails(OpenAI.NotFoundError, { code: "no_endpoint" }));
    assert.equal(sent.requests, 1);
  });

  it("of a body that is no chat", async () => {
    const post = (body) => client.post("/chat/completions", { body });
    await assert.rejects(post([1]), fails(OpenAI.BadRequestError, { type: "invalid_request_error" }));
    await assert.rejects(post("nonsense"), fails(OpenAI.BadRequestError, { type: "invalid_request_error" }));
  });

  it("of a path that is none, or a method", async () => {
    await assert.rejects(client.post("/nonsense", { body: {} }), fails(OpenAI.NotFoundError));
    await assert.rejects(client.get("/chat/completions"), fails(OpenAI.APIError, { status: 405 }));
  });

  it("of a provider, in its own words", async () => {
    await assert.rejects(chat("[[400]]"), fails(OpenAI.BadRequestError, { type: "invalid_request_error" }));
    await assert.rejects(chat("[[context]]"), fails(OpenAI.BadRequestError, { code: "context_length_exceeded" }));
    await assert.rejects(chat("[[context]]", { model: "test/claude" }),
                         fails(OpenAI.BadRequestError, { code: "context_length_exceeded" }));
    await assert.rejects(chat("[[policy]]"), fails(OpenAI.BadRequestError));
  });

  it("that pass are not seen", async () => {
    const { client: patient, sent } = counting();
    const answer = await chat("[[500x1]][[429x1]] after all", {}, patient);
    assert.match(answer.choices[0].message.content, /after all/);
    assert.equal(sent.requests, 1);
  });

  it("that stay are the provider's", async () => {
    await assert.rejects(chat("[[500]]"), fails(OpenAI.InternalServerError));
  });

  it("of a key's limit: told with the time to wait, which the SDK does", async () => {
    const impatient = make({ apiKey: KEYS.slow });
    const outcomes = await Promise.allSettled(Array.from({ length: 70 }, (_, i) => chat(`limited ${i}`, {}, impatient)));
    const refused = outcomes.filter((o) => o.status === "rejected").map((o) => o.reason);
    assert.ok(refused.length >= 5 && refused.length <= 11, `${refused.length} of 70 refused`);
    for (const e of refused) {
      fails(OpenAI.RateLimitError, { code: "rate_limit_exceeded" })(e);
      assert.ok(Number(e.headers.get("retry-after")) >= 1, e.headers.get("retry-after"));
    }
    const { client: patient, sent } = counting({ apiKey: KEYS.slow, maxRetries: 2 });
    assert.equal((await chat("patient", {}, patient)).choices[0].message.content, "echo:patient");
    assert.ok(sent.retries >= 1, "it was not refused first");
  });
});

describe("a client that does not wait", () => {
  const abandoned = async () => (await simulated("stats")).abandoned;

  it("ends by its timeout, and the provider's call with it", async () => {
    const before = await abandoned();
    await assert.rejects(chat("[[slow:20000]] timeout", {}, client, { timeout: 400 }), OpenAI.APIConnectionTimeoutError);
    await until("the provider to be left", async () => (await abandoned()) > before, 15);
  });

  it("aborts, and the provider's call with it", async () => {
    const before = await abandoned(), control = new AbortController();
    setTimeout(() => control.abort(), 400);
    await assert.rejects(chat("[[slow:20000]] abort", {}, client, { signal: control.signal }), OpenAI.APIUserAbortError);
    await until("the provider to be left", async () => (await abandoned()) > before, 15);
  });
});

it("every object is as the SDK's types say", checkTypes);
