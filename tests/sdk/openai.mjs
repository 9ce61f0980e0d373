// What the tests of OpenAI's Node SDK share.
import { ENDED, KEYS, URL, counted, sdk, until } from "./lib.mjs";

export const { OpenAI, toFile } = sdk;
const options = { baseURL: `${URL}/v1`, apiKey: KEYS.all, maxRetries: 0 };
export const make = (more) => new OpenAI({ ...options, ...more });
export const counting = (more) => counted((fetching) => make({ ...fetching, ...more }));
export const client = make();
export const lab = make({ apiKey: KEYS.lab });

export const MODEL = "test/gpt";
export const user = (content) => [{ role: "user", content }];

export function request(id, text, model = MODEL) {
  return JSON.stringify({
    custom_id: id,
    method: "POST",
    url: "/v1/chat/completions",
    body: { model, messages: user(text), max_tokens: 64 },
  });
}

export const numbered = (n, model) => Array.from({ length: n }, (_, i) => request(`c-${i}`, `question ${i}`, model));

export async function upload(lines, by = client) {
  return by.files.create({ file: await toFile(Buffer.from(lines.join("\n") + "\n"), "in.jsonl"), purpose: "batch" });
}

export function create(file, by = client, more = {}, options = {}) {
  const body = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h", ...more };
  return by.batches.create(body, options);
}

export const ended = (batch, by = client) =>
  until(`${batch.id} to end`, async () => {
    const b = await by.batches.retrieve(batch.id);
    return ENDED.includes(b.status) && b;
  });

export async function lines(file, by = client) {
  const text = await (await by.files.content(file)).text();
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}
