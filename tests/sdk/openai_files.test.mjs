// /v1/files, as OpenAI's Node SDK sees it.
import assert from "node:assert/strict";
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { checkTypes, fits } from "./lib.mjs";
import { OpenAI, client, counting, lab, make, numbered, request, toFile, upload } from "./openai.mjs";

const DAY = 86400;
const FILE = "SDK.Files.FileObject";
const NO_FILE = "file-01ARZ3NDEKTSV4RRFFQ69G5FAV";
const folder = mkdtempSync(join(tmpdir(), "pst"));
after(() => rmSync(folder, { recursive: true }));
const all = async (pages) => {
  const found = [];
  for await (const x of pages) found.push(x);
  return found;
};

describe("upload", () => {
  it("takes a file in memory", async () => {
    const file = fits(FILE, await upload(numbered(3)));
    assert.match(file.id, /^file-/);
    assert.equal(file.object, "file");
    assert.equal(file.bytes, numbered(3).join("\n").length + 1);
    assert.equal(file.filename, "in.jsonl");
    assert.equal(file.purpose, "batch");
    assert.ok(Math.abs(file.created_at - Date.now() / 1000) < 30);
    assert.equal(file.expires_at, file.created_at + 30 * DAY);
    assert.deepEqual(await client.files.retrieve(file.id), file);
    assert.deepEqual(await client.files.waitForProcessing(file.id), file);
  });

  it("takes a stream, of more than a piece, and gives it back as it was", async () => {
    const path = join(folder, "großer name.jsonl");
    const text = Array.from({ length: 300 }, (_, i) => request(`ü-${i}`, `${i} ${"lang ".repeat(2000)}`)).join("\r\n");
    writeFileSync(path, text);
    const file = await client.files.create({ file: createReadStream(path), purpose: "batch" });
    assert.equal(file.bytes, Buffer.byteLength(text));
    assert.equal(file.filename, "großer name.jsonl");
    const { data, response } = await client.files.content(file.id).withResponse();
    assert.equal(await data.text(), text);
    assert.equal(response.headers.get("content-length"), String(file.bytes));
  });

  it("keeps a file as long as it is told to", async () => {
    const file = await client.files.create({
      file: await toFile(Buffer.from(request("a", "b")), "x.jsonl"),
      purpose: "batch",
      expires_after: { anchor: "created_at", seconds: 3600 },
    });
    assert.equal(file.expires_at, file.created_at + 3600);
  });

  for (const [what, text] of [["text", "Dear batch, please"], ["nothing", ""], ["blank lines", "\n\n"], ["a list", "[1]\n"]]) {
    it(`refuses ${what}`, async () => {
      const file = await toFile(Buffer.from(text), "x.jsonl");
      await assert.rejects(client.files.create({ file, purpose: "batch" }), (e) => {
        assert.ok(e instanceof OpenAI.BadRequestError, e);
        assert.equal(e.type, "invalid_request_error");
        assert.match(e.message, /Invalid file format for Batch API\. Must be \.jsonl/);
        return true;
      });
    });
  }

  it("refuses another purpose, and a time that is too short", async () => {
    const file = await toFile(Buffer.from(request("a", "b")), "x.jsonl");
    const param = (name) => (e) => e instanceof OpenAI.BadRequestError && e.param === name;
    await assert.rejects(client.files.create({ file, purpose: "fine-tune" }), param("purpose"));
    const expires_after = { anchor: "created_at", seconds: 5 };
    await assert.rejects(client.files.create({ file, purpose: "batch", expires_after }), param("expires_after.seconds"));
  });
});

describe("list", () => {
  it("pages through all files of a key's tenant, either way round", async () => {
    const made = (await all(lab.files.list({ order: "asc" }))).map((f) => f.id);
    for (let i = 0; i < 5; i++) made.push((await upload(numbered(1), lab)).id);
    const newest = made.toReversed();
    assert.deepEqual((await all(lab.files.list({ limit: 2 }))).map((f) => f.id), newest);
    assert.deepEqual((await all(lab.files.list({ limit: 2, order: "asc" }))).map((f) => f.id), made);
    assert.deepEqual((await all(lab.files.list())).map((f) => f.id), newest);
    const page = await lab.files.list({ limit: 2, after: newest[1], purpose: "batch" });
    assert.deepEqual(page.data.map((f) => f.id), newest.slice(2, 4));
    assert.equal(page.has_more, true);
    page.data.forEach((f) => fits(FILE, f));
    assert.deepEqual((await lab.files.list({ purpose: "fine-tune" })).data, []);
    const files = await all(client.files.list());
    assert.ok(made.every((id) => files.some((f) => f.id === id)), "a key without a tenant sees all");
  });

  it("goes on behind a file that was deleted meanwhile", async () => {
    const before = (await all(lab.files.list())).length;
    const seen = [];
    for await (const file of lab.files.list({ limit: 2 })) {
      seen.push(file.id);
      await lab.files.delete(file.id);
    }
    assert.equal(new Set(seen).size, before);
    assert.equal(seen.length, before);
    assert.deepEqual(await all(lab.files.list()), []);
    const left = await all(client.files.list());
    assert.ok(left.every((f) => !seen.includes(f.id)));
  });

  it("refuses a limit or an order that is none", async () => {
    for (const query of [{ limit: 0 }, { limit: 10001 }, { order: "sideways" }]) {
      await assert.rejects(client.files.list(query), (e) => {
        assert.ok(e instanceof OpenAI.BadRequestError, e);
        assert.equal(e.param, Object.keys(query)[0]);
        return true;
      });
    }
  });
});

describe("one file", () => {
  it("is deleted once and then gone", async () => {
    const file = await upload(numbered(1));
    const deleted = fits("SDK.Files.FileDeleted", await client.files.delete(file.id));
    assert.deepEqual(deleted, { id: file.id, object: "file", deleted: true });
    await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
    await assert.rejects(client.files.content(file.id), OpenAI.NotFoundError);
    await assert.rejects(client.files.delete(file.id), OpenAI.NotFoundError);
  });

  for (const id of [NO_FILE, "file-abc123", "nonsense", "ä/ö ü", "file-output-01ARZ3NDEKTSV4RRFFQ69G5FAV"]) {
    it(`is not found by "${id}"`, async () => {
      for (const ask of ["retrieve", "content", "delete"]) {
        await assert.rejects(client.files[ask](id), (e) => {
          assert.ok(e instanceof OpenAI.NotFoundError, `${ask}: ${e}`);
          assert.equal(e.type, "invalid_request_error");
          return true;
        });
      }
    });
  }

  it("is not another tenant's", async () => {
    const file = await upload(numbered(1));
    await assert.rejects(lab.files.retrieve(file.id), OpenAI.NotFoundError);
    await assert.rejects(lab.files.delete(file.id), OpenAI.NotFoundError);
    await client.files.retrieve(file.id);
  });
});

describe("every request", () => {
  it("has an id, and tells it", async () => {
    const file = await upload(numbered(1));
    assert.match(file._request_id, /^req_/);
    const { data, response, request_id } = await client.files.retrieve(file.id).withResponse();
    assert.equal(data.id, file.id);
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.match(response.headers.get("content-type"), /^application\/json/);
    await assert.rejects(client.files.retrieve(NO_FILE), (e) => /^req_/.test(e.requestID));
  });

  it("needs a key, and is not repeated with a wrong one", async () => {
    const { client: stranger, sent } = counting({ apiKey: "sk-wrong", maxRetries: 2 });
    await assert.rejects(stranger.files.list(), (e) => {
      assert.ok(e instanceof OpenAI.AuthenticationError, e);
      assert.equal(e.code, "invalid_api_key");
      return true;
    });
    assert.equal(sent.requests, 1);
    const file = await toFile(Buffer.from(numbered(20000).join("\n")), "big.jsonl");
    await assert.rejects(make({ apiKey: "sk-wrong" }).files.create({ file, purpose: "batch" }), OpenAI.AuthenticationError);
  });
});

it("every object is as the SDK's types say", checkTypes);
