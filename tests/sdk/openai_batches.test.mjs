// /v1/batches, as OpenAI's Node SDK sees it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkTypes, fits, until } from "./lib.mjs";
import { OpenAI, client, counting, create, ended, lab, lines, numbered, request, upload, user } from "./openai.mjs";

const BATCH = "SDK.Batches.Batch";
const NO_BATCH = "batch_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const refused = (param, code) => (e) => {
  assert.ok(e instanceof OpenAI.BadRequestError, e);
  assert.deepEqual([e.type, e.param, e.code], ["invalid_request_error", param, code]);
  return true;
};

function checkLine(line, batch) {
  assert.match(line.id, new RegExp(`^${batch.id}\\.\\d+$`));
  const i = Number(line.id.split(".")[1]);
  assert.equal(line.custom_id, `c-${i}`);
  assert.equal(line.error, null);
  assert.equal(line.response.status_code, 200);
  assert.ok(line.response.request_id);
  fits("SDK.Chat.ChatCompletion", line.response.body);
  assert.equal(line.response.body.choices[0].message.content, `echo:question ${i}`);
}

describe("a batch", () => {
  it("is made, runs, and has its answers and its errors in two files", async () => {
    const input = await upload([...numbered(20), request("bad", "[[400]]"), request("worse", "[[context]]")]);
    const metadata = { what: "sdk", "größe": "22" };
    const begun = fits(BATCH, await create(input, client, { metadata }));
    assert.match(begun.id, /^batch_/);
    assert.equal(begun.object, "batch");
    assert.ok(["validating", "in_progress"].includes(begun.status), begun.status);
    assert.deepEqual(begun.metadata, metadata);
    assert.equal(begun.input_file_id, input.id);
    const batch = fits(BATCH, await ended(begun));
    assert.equal(batch.status, "completed");
    assert.deepEqual(batch.metadata, metadata);
    assert.equal(batch.endpoint, "/v1/chat/completions");
    assert.equal(batch.completion_window, "24h");
    assert.equal(batch.input_file_id, input.id);
    const window = batch.expires_at - batch.created_at;
    assert.ok(window >= 86400 && window < 86410, `${window}`);
    const { total, completed, failed } = batch.request_counts;
    assert.deepEqual([total, completed, failed], [22, 20, 2]);
    const order = [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at];
    assert.deepEqual(order, order.toSorted((a, b) => a - b));
    assert.ok(order.every(Number.isInteger), JSON.stringify(order));
    assert.equal(batch.usage.total_tokens, batch.usage.input_tokens + batch.usage.output_tokens);
    assert.ok(batch.usage.input_tokens > 0);

    const answers = await lines(batch.output_file_id);
    assert.equal(answers.length, 20);
    answers.forEach((line) => checkLine(line, batch));
    assert.equal(new Set(answers.map((line) => line.custom_id)).size, 20);
    const errors = await lines(batch.error_file_id);
    assert.deepEqual(errors.map((line) => line.custom_id).sort(), ["bad", "worse"]);
    for (const line of errors) {
      assert.equal(line.error, null);
      assert.equal(line.response.status_code, 400);
      assert.ok(line.response.body.error.message);
    }
    assert.equal(errors.find((line) => line.custom_id === "worse").response.body.error.code, "context_length_exceeded");
    await checkOutputs(batch);
  });

  async function checkOutputs(batch) {
    for (const id of [batch.output_file_id, batch.error_file_id]) {
      const file = fits("SDK.Files.FileObject", await client.files.retrieve(id));
      assert.equal(file.purpose, "batch_output");
      assert.equal(file.bytes, Buffer.byteLength(await (await client.files.content(id)).text()));
      await assert.rejects(client.files.delete(id), /go with the batch/);
    }
  }

  it("without a failure has no error file, without a success no output file", async () => {
    const [good, bad] = await Promise.all([
      create(await upload(numbered(2))).then((b) => ended(b)),
      create(await upload([request("x", "[[400]]")])).then((b) => ended(b)),
    ]);
    assert.equal(good.error_file_id ?? null, null);
    assert.equal(bad.output_file_id ?? null, null);
    assert.equal((await lines(bad.error_file_id)).length, 1);
  });

  for (const [url, body] of [
    ["/v1/embeddings", { model: "test/gpt", input: "a text" }],
    ["/v1/completions", { model: "test/gpt", prompt: "a text" }],
    ["/v1/responses", { model: "test/gpt", input: "a text" }],
  ]) {
    it(`serves ${url}`, async () => {
      const input = await upload([JSON.stringify({ custom_id: "c", method: "POST", url, body })]);
      const batch = await ended(await create(input, client, { endpoint: url }));
      assert.equal(batch.status, "completed", JSON.stringify(batch.errors));
      const [line] = await lines(batch.output_file_id);
      assert.equal(line.response.status_code, 200);
    });
  }

  it("runs on when its input file is deleted", async () => {
    const input = await upload(numbered(8, "test/slow"));
    const batch = await create(input);
    await until("it to begin", async () => (await client.batches.retrieve(batch.id)).status === "in_progress");
    await client.files.delete(input.id);
    assert.equal((await ended(batch)).request_counts.completed, 8);
  });
});

describe("a batch that is wrong", () => {
  it("fails with every bad line named", async () => {
    const good = request("ok", "fine");
    const input = await upload([
      good,
      "{not json",
      good,
      JSON.stringify({ method: "POST", url: "/v1/chat/completions", body: { model: "test/gpt", messages: user("x") } }),
      JSON.stringify({ custom_id: "u", method: "POST", url: "/v1/audio", body: { model: "test/gpt" } }),
      request("m", "x", "no/such-model"),
      JSON.stringify({ custom_id: "s", method: "POST", url: "/v1/chat/completions",
                       body: { model: "test/gpt", messages: user("x"), stream: true } }),
    ]);
    const batch = fits(BATCH, await ended(await create(input)));
    assert.equal(batch.status, "failed");
    assert.ok(batch.failed_at >= batch.created_at);
    assert.equal(batch.errors.object, "list");
    assert.deepEqual(batch.errors.data.map((e) => [e.line, e.code, e.param]), [
      [2, "invalid_json_line", null],
      [3, "duplicate_custom_id", "custom_id"],
      [4, "missing_required_parameter", "custom_id"],
      [5, "invalid_url", "url"],
      [6, "model_not_found", "body.model"],
      [7, "streaming_unsupported", "body.stream"],
    ]);
    assert.ok(batch.errors.data.every((e) => e.message.length > 0));
    assert.equal(batch.output_file_id ?? null, null);
  });

  it("fails if there is no such file", async () => {
    const batch = await ended(await create({ id: "file-nonsense" }));
    assert.equal(batch.status, "failed");
    assert.deepEqual([batch.errors.data[0].code, batch.errors.data[0].param], ["invalid_request", "file_id"]);
    const another = await ended(await create(await upload(numbered(1)), lab), lab);
    assert.equal(another.status, "failed", "another tenant's file");
  });

  it("is refused at once for what the request says", async () => {
    const input = await upload(numbered(1));
    const pairs = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, "v"]));
    await assert.rejects(create(input, client, { endpoint: "/v1/nonsense" }), refused("endpoint", "invalid_value"));
    await assert.rejects(create(input, client, { completion_window: "soon" }), refused("completion_window", "invalid_value"));
    await assert.rejects(create(input, client, { metadata: pairs }), refused("metadata", "object_above_max_properties"));
    await assert.rejects(create(input, client, { metadata: { a: ["b"] } }), refused("metadata.a", "invalid_type"));
    await assert.rejects(create(input, client, { metadata: { a: "x".repeat(513) } }),
                         refused("metadata.a", "string_above_max_length"));
    await assert.rejects(create(input, client, { metadata: "x" }), refused("metadata", "invalid_type"));
    await assert.rejects(create({}), refused("input_file_id", "missing_required_parameter"));
    const most = { ["k".repeat(64)]: "ä".repeat(512) };
    assert.deepEqual((await create(input, client, { metadata: most })).metadata, most);
  });

  it("is not found", async () => {
    for (const id of [NO_BATCH, "batch_abc123", "nonsense"]) {
      await assert.rejects(client.batches.retrieve(id), OpenAI.NotFoundError);
      await assert.rejects(client.batches.cancel(id), OpenAI.NotFoundError);
    }
    const batch = await create(await upload(numbered(1)));
    await assert.rejects(lab.batches.retrieve(batch.id), OpenAI.NotFoundError);
    await assert.rejects(lab.batches.cancel(batch.id), OpenAI.NotFoundError);
    assert.equal((await ended(batch)).status, "completed");
  });
});

describe("list", () => {
  it("pages through all batches, newest first", async () => {
    const input = await upload(numbered(1), lab);
    const made = (await all(lab.batches.list())).map((b) => b.id).toReversed();
    for (let i = 0; i < 7; i++) made.push((await create(input, lab)).id);
    made.reverse();
    assert.deepEqual((await all(lab.batches.list({ limit: 3 }))).map((b) => b.id), made);
    await Promise.all(made.map((id) => ended({ id }, lab)));
    assert.deepEqual((await all(lab.batches.list({ limit: 3 }))).map((b) => b.id), made);
    const page = await lab.batches.list({ limit: 3, after: made[1] });
    assert.deepEqual(page.data.map((b) => b.id), made.slice(2, 5));
    assert.equal(page.has_more, true);
    page.data.forEach((b) => fits(BATCH, b));
    const last = await lab.batches.list({ limit: 100 });
    assert.equal(last.has_more, false);
    assert.deepEqual(last.data.find((b) => b.id === made[0]), await lab.batches.retrieve(made[0]));
  });

  it("refuses a limit that is none", async () => {
    await assert.rejects(client.batches.list({ limit: 0 }), OpenAI.BadRequestError);
    await assert.rejects(client.batches.list({ limit: 101 }), OpenAI.BadRequestError);
  });

  async function all(pages) {
    const found = [];
    for await (const x of pages) found.push(x);
    return found;
  }
});

describe("cancel", () => {
  it("at once", async () => {
    const batch = await create(await upload(numbered(200, "test/slow")));
    const cancelled = fits(BATCH, await client.batches.cancel(batch.id));
    assert.ok(["validating", "cancelling", "cancelled"].includes(cancelled.status), cancelled.status);
    const end = await ended(batch);
    assert.equal(end.status, "cancelled");
    assert.ok(end.cancelled_at >= end.created_at);
  });

  it("midway: what is done is kept, the rest is told", async () => {
    const batch = await create(await upload(numbered(100, "test/slow")));
    const running = await until("answers", async () => {
      const b = await client.batches.retrieve(batch.id);
      return b.request_counts.completed >= 4 && b;
    });
    assert.equal(running.status, "in_progress");
    assert.ok((await lines(running.output_file_id)).length >= 4, "answers can be read while it runs");
    const cancelling = await client.batches.cancel(batch.id);
    assert.ok(["cancelling", "cancelled"].includes(cancelling.status), cancelling.status);
    const end = fits(BATCH, await ended(batch));
    assert.equal(end.status, "cancelled");
    assert.ok(end.cancelling_at >= end.in_progress_at && end.cancelled_at >= end.cancelling_at);
    const answers = await lines(end.output_file_id), rest = await lines(end.error_file_id);
    answers.forEach((line) => checkLine(line, batch));
    assert.ok(answers.length >= 4 && answers.length < 100, `${answers.length} answers`);
    assert.equal(answers.length + rest.length, 100);
    assert.equal(end.request_counts.completed, answers.length);
    for (const line of rest) {
      assert.equal(line.response, null);
      assert.equal(line.error.code, "batch_cancelled");
    }
    assert.equal((await client.batches.cancel(batch.id)).status, "cancelled", "again");
  });

  it("of a batch that has ended is a conflict, and not repeated", async () => {
    const batch = await ended(await create(await upload(numbered(1))));
    const { client: patient, sent } = counting({ maxRetries: 2 });
    await assert.rejects(patient.batches.cancel(batch.id), (e) => {
      assert.ok(e instanceof OpenAI.ConflictError, e);
      assert.match(e.message, /Cannot cancel a batch with status 'completed'\./);
      return true;
    });
    assert.equal(sent.requests, 1);
  });
});

describe("Idempotency-Key", () => {
  it("makes one batch of any number of requests", async () => {
    const input = await upload(numbered(1));
    // those that come while the first one's is being made are told to ask again, as the SDK does
    const options = { headers: { "Idempotency-Key": `sdk-${input.id}` }, maxRetries: 5 };
    const made = await Promise.all(Array.from({ length: 5 }, () => create(input, client, {}, options)));
    assert.equal(new Set(made.map((b) => b.id)).size, 1);
    assert.equal((await create(input, client, {}, options)).id, made[0].id);
    assert.notEqual((await create(input)).id, made[0].id);
  });
});

it("every object is as the SDK's types say", checkTypes);
