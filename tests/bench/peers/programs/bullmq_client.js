// Jobs through BullMQ and back: addBulk, then the result of every id, read while the worker is still at it.
//
// Results are read with a pipeline of HGET `returnvalue` on the jobs' keys.  That is what Job.fromId reads too, without
// the other fields of each job, its parsing, and a round trip for each: the fastest way to results by id.
// usage: bullmq_client.js SOCKET WARM_UP_JOBS JOBS
"use strict";
const { Queue } = require("bullmq");
const Redis = require("ioredis");
const { body, check, client } = require("./work.js");

const ADD = 5000;
const READ = 1000;
const POLL_MS = 10;
const [socket, warmUpJobs, jobs] = process.argv.slice(2);
const redis = new Redis({ path: socket, maxRetriesPerRequest: null });
const queue = new Queue("bench", { connection: redis });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function add(from, to) {
  const ids = [];
  for (let i = from; i < to; i += ADD) {
    const bulk = [];
    for (let j = i; j < Math.min(to, i + ADD); j++) bulk.push({ name: "job", data: body(j) });
    for (const job of await queue.addBulk(bulk)) ids.push(job.id);
  }
  return ids;
}

// Results of a few ids; null where there is none yet.
async function read(ids) {
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hget(queue.toKey(id), "returnvalue");
  return (await pipeline.exec()).map(([error, value]) => {
    if (error) throw error;
    return value;
  });
}

async function through(from, to) {
  const before = await queue.getCompletedCount();
  const ids = await add(from, to);
  let left = ids.map((id, n) => ({ id, i: from + n }));
  let checked = 0;
  while (left.length) {
    // Jobs end nearly in the order they came in: ask for a chunk when as many have ended as it needs.
    const chunk = left.slice(0, READ);
    while ((await queue.getCompletedCount()) - before < checked + chunk.length) await sleep(POLL_MS);
    const values = await read(chunk.map((job) => job.id));
    const missing = chunk.filter((job, n) => values[n] === null);
    chunk.forEach((job, n) => values[n] === null || check(job.i, JSON.parse(values[n])));
    checked += chunk.length - missing.length;
    left = left.slice(READ).concat(missing);
  }
  return checked;
}

async function main() {
  const first = Number(warmUpJobs);
  await client(() => through(0, first), () => through(first, first + Number(jobs)));
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
