// The work of work.py, and its way to talk to peers.py, for node.
"use strict";
const readline = require("node:readline");

const BODY_BYTES = 1024;
const ANSWER_BYTES = 500;
const SHARED = "s".repeat(BODY_BYTES - ANSWER_BYTES);

const answer = (i) => String(i).padStart(10, "0").repeat(ANSWER_BYTES / 10);

const body = (i) => SHARED + answer(i);

function work(text) {
  if (text.length !== BODY_BYTES) throw new Error(`a body of ${text.length} bytes`);
  return text.slice(-ANSWER_BYTES);
}

function check(i, result) {
  if (result !== answer(i)) throw new Error(`wrong result of job ${i}: ${String(result).slice(0, 100)}`);
}

// warmUp() and then, when told, run() -> number of jobs whose results were all checked.
async function client(warmUp, run) {
  await warmUp();
  const input = readline.createInterface({ input: process.stdin });
  const told = new Promise((resolve) => input.once("line", resolve));
  const ended = new Promise((resolve) => input.once("close", resolve));
  console.log("ready");
  await told;
  const start = process.hrtime.bigint();
  const jobs = await run();
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(JSON.stringify({ jobs, seconds, jobs_per_s: jobs / seconds }));
  await ended;
  process.exit(0);
}

module.exports = { body, work, check, client };
