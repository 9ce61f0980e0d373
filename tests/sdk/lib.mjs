// What the tests of the Node SDKs share: the SDK under test, clients, files of requests, and a check of objects against
// the SDK's own types.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const env = process.env;
const directory = env.PST_SDK_DIRECTORY;
export const PACKAGE = env.PST_SDK_PACKAGE;
export const sdk = createRequire(join(directory, "x.js"))(PACKAGE);
export const URL = env.PST_URL;
export const KEYS = { all: env.PST_KEY, lab: env.PST_KEY_OF_LAB, slow: env.PST_KEY_SLOW };
export const ENDED = ["completed", "failed", "expired", "cancelled"];

// A client, and what it has sent: requests, by how often.
export function counted(make) {
  const sent = { requests: 0, retries: 0 };
  const client = make({
    fetch: (url, init) => {
      sent.requests++;
      sent.retries += Number(new Headers(init.headers).get("x-stainless-retry-count") ?? 0) > 0;
      return fetch(url, init);
    },
  });
  return { client, sent };
}

export async function until(what, condition, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const got = await condition();
    if (got) return got;
    assert.ok(Date.now() < end, `not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

export async function simulated(path) {
  return (await fetch(`${env.PST_SIM}/_sim/${path}`)).json();
}

// ---- objects against the SDK's types

const seen = [];

// To be checked by the compiler at the end, with every other object: members that are required, their types.
export function fits(type, object) {
  seen.push(`fits<${type}>()(${JSON.stringify(object)});`);
  return object;
}

// OpenAI's API says null where the types only know that a member may be left out.
const PRELUDE = `import SDK from ${JSON.stringify(PACKAGE)};
type Said<T> = T extends (infer E)[] ? Said<E>[]
  : T extends object ? { [K in keyof T]: undefined extends T[K] ? Said<T[K]> | null : Said<T[K]> } : T;
// What an account or a feature at Anthropic has and a router cannot: null there, left out here.
type May<T> = T extends (infer E)[] ? May<E>[]
  : T extends object ? { [K in keyof T as null extends T[K] ? never : K]: May<T[K]> }
                     & { [K in keyof T as null extends T[K] ? K : never]?: May<T[K]> } : T;
const fits = <T,>() => <U extends Said<T>>(object: U): U => object;
`;

export function checkTypes() {
  assert.ok(seen.length > 0, "no object was seen");
  const path = join(directory, `types-${process.pid}.mts`);
  writeFileSync(path, PRELUDE + seen.join("\n") + "\n");
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"];
  try {
    execFileSync(process.execPath, [join(directory, "node_modules/typescript/bin/tsc"), ...options, path]);
  } catch (e) {
    assert.fail(`an object is not as the SDK's types have it:\n${e.stdout}`);
  } finally {
    rmSync(path);
  }
}
