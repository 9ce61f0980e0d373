// Anthropic's Node SDK as a client of the gateway.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KEYS, URL, checkTypes, counted, fits, sdk, simulated, until } from "./lib.mjs";

const { Anthropic } = sdk;
const options = { baseURL: URL, apiKey: KEYS.all, maxRetries: 0 };
const make = (more) => new Anthropic({ ...options, ...more });
const client = make(), lab = make({ apiKey: KEYS.lab });
const MODELS = ["test/claude", "test/gpt", "test/gemini"];
const MODEL = "test/claude";
const MESSAGE = "May<SDK.Messages.Message>";
const NO_BATCH = "msgbatch_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const TOOLS = [{
  name: "get_weather",
  description: "The weather of a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
}];
const asking = (content, more = {}) => ({ model: MODEL, max_tokens: 200, messages: [{ role: "user", content }], ...more });
const ask = (content, more, options) => client.messages.create(asking(content, more), options);
const request = (custom_id, content, model = MODEL) => ({ custom_id, params: asking(content, { model }) });
const numbered = (n, model) => Array.from({ length: n }, (_, i) => request(`c-${i}`, `question ${i}`, model));
const fails = (kind, type) => (e) => {
  assert.ok(e instanceof kind, `${e.constructor.name}: ${e}`);
  assert.equal(e.error.type, "error");
  assert.equal(e.error.error.type, type);
  assert.match(e.requestID, /^req_/);
  return true;
};
const ended = (batch) =>
  until(`${batch.id} to end`, async () => {
    const b = await client.messages.batches.retrieve(batch.id);
    return b.processing_status === "ended" && b;
  });
const results = async (id) => {
  const found = [];
  for await (const x of await client.messages.batches.results(id)) found.push(x);
  return found;
};

describe("messages", () => {
  for (const model of MODELS) {
    it(`are answered by ${model}`, async () => {
      const answer = fits(MESSAGE, await ask('say "ü" \u{1f600}', { model, system: "be short" }));
      assert.equal(answer.type, "message");
      assert.equal(answer.role, "assistant");
      assert.equal(answer.stop_reason, "end_turn");
      assert.deepEqual(answer.content.map((c) => [c.type, c.text]), [["text", 'echo:say "ü" \u{1f600}']]);
      assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
      assert.match(answer._request_id, /^req_/);
    });

    it(`call tools at ${model}, and take their results`, async () => {
      const first = fits(MESSAGE, await ask("[[tool]]", { model, tools: TOOLS }));
      assert.equal(first.stop_reason, "tool_use");
      const call = first.content.find((c) => c.type === "tool_use");
      assert.equal(call.name, "get_weather");
      assert.deepEqual(call.input, { city: "Paris" });
      const result = { type: "tool_result", tool_use_id: call.id, content: "rain" };
      const second = await client.messages.create({
        model,
        max_tokens: 200,
        tools: TOOLS,
        messages: [
          { role: "user", content: "weather?" },
          { role: "assistant", content: first.content },
          { role: "user", content: [result, { type: "text", text: "and now?" }] },
        ],
      });
      assert.equal(second.stop_reason, "end_turn");
    });

    if (model === "test/gemini") continue; // the simulated provider has no streams of that form

    it(`stream from ${model}`, async () => {
      const kinds = [];
      let text = "";
      for await (const event of await client.messages.create(asking("one two three", { model, stream: true }))) {
        kinds.push(fits("May<SDK.Messages.RawMessageStreamEvent>", event).type);
        if (event.type === "content_block_delta") text += event.delta.text;
      }
      assert.equal(text, "echo:one two three");
      assert.equal(kinds[0], "message_start");
      assert.deepEqual(kinds.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
      const stream = client.messages.stream(asking("helped", { model }));
      assert.equal(await stream.finalText(), "echo:helped");
      const whole = await stream.finalMessage();
      assert.equal(whole.stop_reason, "end_turn");
      assert.ok(whole.usage.output_tokens > 0);
    });
  }

  it("stream calls of tools", async () => {
    const whole = await client.messages.stream(asking("[[tool]]", { tools: TOOLS })).finalMessage();
    assert.equal(whole.stop_reason, "tool_use");
    assert.deepEqual(whole.content.find((c) => c.type === "tool_use").input, { city: "Paris" });
  });

  it("are cut at max_tokens", async () => {
    assert.equal((await ask("[[length]] x")).stop_reason, "max_tokens");
  });

  it("have their tokens counted", async () => {
    const short = fits("SDK.Messages.MessageTokensCount", await client.messages.countTokens({
      model: MODEL, messages: [{ role: "user", content: "a few words" }],
    }));
    const long = await client.messages.countTokens({
      model: MODEL, messages: [{ role: "user", content: "a few words ".repeat(100) }],
    });
    assert.ok(short.input_tokens > 0 && long.input_tokens > 50 * short.input_tokens / 10, `${long.input_tokens}`);
  });

  it("20 at once, each with its own", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(`at once ${i}`)));
    assert.deepEqual(answers.map((a) => a.content[0].text), answers.map((_, i) => `echo:at once ${i}`));
  });

  it("are aborted, and the provider's call with them", async () => {
    const before = (await simulated("stats")).abandoned, control = new AbortController();
    setTimeout(() => control.abort(), 400);
    await assert.rejects(ask("[[slow:20000]]", {}, { signal: control.signal }), Anthropic.APIUserAbortError);
    await until("the provider to be left", async () => (await simulated("stats")).abandoned > before, 15);
  });
});

describe("errors", () => {
  it("of messages", async () => {
    await assert.rejects(ask("x", { model: "no/such" }), fails(Anthropic.NotFoundError, "not_found_error"));
    await assert.rejects(ask("x", { max_tokens: undefined }), fails(Anthropic.BadRequestError, "invalid_request_error"));
    await assert.rejects(ask("[[400]]"), fails(Anthropic.BadRequestError, "invalid_request_error"));
    await assert.rejects(ask("[[context]]"), fails(Anthropic.BadRequestError, "invalid_request_error"));
    await assert.rejects(ask("[[500]]"), fails(Anthropic.InternalServerError, "api_error"));
    await assert.rejects(client.messages.create(asking("[[400]]", { stream: true })),
                         fails(Anthropic.BadRequestError, "invalid_request_error"));
  });

  it("of a key that is none", async () => {
    const { client: stranger, sent } = counted((fetching) => make({ ...fetching, apiKey: "sk-wrong", maxRetries: 2 }));
    await assert.rejects(stranger.messages.create(asking("x")), fails(Anthropic.AuthenticationError, "authentication_error"));
    assert.equal(sent.requests, 1);
  });

  it("of a key's limit", async () => {
    const impatient = make({ apiKey: KEYS.slow });
    const outcomes = await Promise.allSettled(Array.from({ length: 70 }, (_, i) => impatient.messages.create(asking(`${i}`))));
    const refused = outcomes.filter((o) => o.status === "rejected").map((o) => o.reason);
    assert.ok(refused.length >= 5 && refused.length <= 11, `${refused.length} of 70 refused`);
    refused.forEach(fails(Anthropic.RateLimitError, "rate_limit_error"));
    assert.equal((await make({ apiKey: KEYS.slow, maxRetries: 3 }).messages.create(asking("patient"))).stop_reason, "end_turn");
  });
});

describe("batches", () => {
  const BATCH = "SDK.Messages.MessageBatch";

  it("are made, run, and have their results", async () => {
    const begun = fits(BATCH, await client.messages.batches.create({ requests: [...numbered(20), request("bad", "[[400]]")] }));
    assert.match(begun.id, /^msgbatch_/);
    assert.equal(begun.type, "message_batch");
    const batch = fits(BATCH, await ended(begun));
    assert.deepEqual(batch.request_counts, { processing: 0, succeeded: 20, errored: 1, canceled: 0, expired: 0 });
    const window = (Date.parse(batch.expires_at) - Date.parse(batch.created_at)) / 1000;
    assert.ok(window >= 86400 && window < 86410, `${window}`);
    assert.ok(Date.parse(batch.ended_at) >= Date.parse(batch.created_at));
    const found = await results(batch.id);
    assert.equal(found.length, 21);
    for (const { custom_id, result } of found) {
      if (custom_id === "bad") {
        assert.equal(result.type, "errored");
        assert.equal(result.error.error.type, "invalid_request_error");
      } else {
        assert.equal(result.type, "succeeded");
        fits(MESSAGE, result.message);
        assert.equal(result.message.content[0].text, `echo:question ${custom_id.split("-")[1]}`);
      }
    }
  });

  it("are listed, newest first, page by page", async () => {
    const made = [];
    for (let i = 0; i < 5; i++) made.push((await lab.messages.batches.create({ requests: numbered(1) })).id);
    made.reverse();
    const found = [];
    for await (const batch of lab.messages.batches.list({ limit: 2 })) found.push(fits(BATCH, batch).id);
    assert.deepEqual(found, made);
    const page = await lab.messages.batches.list({ limit: 2, after_id: made[1] });
    assert.deepEqual(page.data.map((b) => b.id), made.slice(2, 4));
    assert.deepEqual([page.first_id, page.last_id, page.has_more], [made[2], made[3], true]);
  });

  it("are cancelled midway", async () => {
    const batch = await client.messages.batches.create({ requests: numbered(100, "test/slow") });
    const openai = `${URL}/v1/batches/${batch.id.replace("msgbatch_", "batch_")}`;
    await until("answers", async () => {
      const answer = await fetch(openai, { headers: { authorization: `Bearer ${KEYS.all}` } });
      return (await answer.json()).request_counts?.completed >= 4;
    });
    const cancelling = fits(BATCH, await client.messages.batches.cancel(batch.id));
    assert.ok(["canceling", "ended"].includes(cancelling.processing_status), cancelling.processing_status);
    assert.ok(cancelling.cancel_initiated_at);
    const end = await ended(batch);
    assert.equal(end.request_counts.succeeded + end.request_counts.canceled, 100);
    const kinds = (await results(batch.id)).map((x) => x.result.type);
    assert.equal(kinds.filter((x) => x === "succeeded").length, end.request_counts.succeeded);
    assert.equal(kinds.filter((x) => x === "canceled").length, end.request_counts.canceled);
  });

  it("are deleted when they have ended", async () => {
    const batch = await ended(await client.messages.batches.create({ requests: numbered(1) }));
    // its end is told and accounted first: a conflict, which the SDK waits out
    const deleted = await make({ maxRetries: 5 }).messages.batches.delete(batch.id);
    assert.deepEqual(deleted, { id: batch.id, type: "message_batch_deleted" });
    await assert.rejects(client.messages.batches.retrieve(batch.id), fails(Anthropic.NotFoundError, "not_found_error"));
  });

  it("with a request that is wrong do the others", async () => {
    const { id } = await client.messages.batches.create({ requests: [...numbered(2), request("x", "?", "no/such")] });
    const { request_counts } = await ended({ id });
    assert.deepEqual([request_counts.succeeded, request_counts.errored], [2, 1]);
    const wrong = (await results(id)).filter((x) => x.result.type === "errored");
    assert.deepEqual(wrong.map((x) => [x.custom_id, x.result.error.error.type]), [["x", "not_found_error"]]);
  });

  it("that are wrong are refused", async () => {
    const create = (requests) => client.messages.batches.create({ requests });
    const refused = fails(Anthropic.BadRequestError, "invalid_request_error");
    await assert.rejects(create([]), refused);
    await assert.rejects(create([request("same", "a"), request("same", "b")]), refused);
    await assert.rejects(create([{ custom_id: "x", params: { model: MODEL } }]), refused);
    for (const what of ["retrieve", "cancel", "results"])
      await assert.rejects(client.messages.batches[what](NO_BATCH), fails(Anthropic.NotFoundError, "not_found_error"));
  });
});

it("every object is as the SDK's types say", checkTypes);
