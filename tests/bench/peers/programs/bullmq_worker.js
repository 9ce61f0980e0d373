// A BullMQ worker: gives back the last 500 bytes of a body.
// usage: bullmq_worker.js SOCKET CONCURRENCY
"use strict";
const { Worker } = require("bullmq");
const Redis = require("ioredis");
const { work } = require("./work.js");

const [socket, concurrency] = process.argv.slice(2);
const connection = new Redis({ path: socket, maxRetriesPerRequest: null });
const worker = new Worker("bench", async (job) => work(job.data), { connection, concurrency: Number(concurrency) });
worker.on("error", (e) => console.error(e));
worker.on("failed", (job, e) => console.error(`job ${job && job.id} failed: ${e}`));
worker.waitUntilReady().then(() => console.log("ready"));
