// units_test.mjs - the page's modules that need no browser: rates, costs, and how numbers are written.
import assert from "node:assert/strict";
import {readFile} from "node:fs/promises";
import test from "node:test";

// The modules are .js for the browser; node is told what they are by how they are loaded.
async function module(name) {
    const text = await readFile(new URL(`../../client/gateway/page/${name}`, import.meta.url), "utf8");
    return import(`data:text/javascript,${encodeURIComponent(text)}`);
}

const {Rates, outlook, perMinute, sumLists} = await module("rates.js");
const format = await module("format.js");
const {preview} = await module("preview.js");

const BEGAN = 1000;
const batch = (counts, more = {}) => ({id: "b", in_progress_at: BEGAN, usage: {cost_usd: 2},
    request_counts: {total: 100, completed: 0, failed: 0, expired: 0, cancelled: 0, ...counts}, ...more});

test("a rate is the mean of the last half minute", () => {
    const rates = new Rates();
    for (let t = 0; t <= 100; t++)
        rates.add("b", t, t < 60 ? t : 60 + (t - 60) * 5);
    assert.equal(rates.perS("b", 100), 5);
    assert.equal(rates.perS("other", 100), null);
});

test("a count that stays for long is a rate of nothing", () => {
    const rates = new Rates();
    rates.add("b", 0, 0);
    rates.add("b", 10, 50);
    assert.equal(rates.perS("b", 20), 2.5);
    assert.equal(rates.perS("b", 41), 0);
});

test("a count that went back begins anew", () => {
    const rates = new Rates();
    rates.add("b", 0, 1000);
    rates.add("b", 1, 3);
    rates.add("b", 4, 9);
    assert.equal(rates.perS("b", 4), 2);
});

test("time to go follows the rate, expected cost what was answered", () => {
    const rates = new Rates();
    rates.add("b", BEGAN, 0);
    rates.add("b", BEGAN + 10, 40);
    const o = outlook(batch({completed: 36, failed: 4}), rates, BEGAN + 10);
    assert.deepEqual(o, {perS: 4, leftS: 15, expectedUsd: 5});
});

test("a page just opened says the mean since the batch began", () => {
    const rates = new Rates();
    rates.add("b", BEGAN + 50, 25);
    assert.deepEqual(outlook(batch({completed: 25}), rates, BEGAN + 50), {perS: 0.5, leftS: 150, expectedUsd: 8});
});

test("a batch that is held up has no time to go, one that is only slow has", () => {
    const rates = new Rates();
    rates.add("b", BEGAN + 100, 50);
    assert.deepEqual(outlook(batch({completed: 50}), rates, BEGAN + 131), {perS: 0, leftS: null, expectedUsd: 4});
    rates.add("slow", BEGAN + 1000, 10);
    const slow = outlook(batch({completed: 10}, {id: "slow"}), rates, BEGAN + 1060);
    assert.equal(Math.round(slow.leftS), 9540);
});

test("nothing is said of a batch that has nothing done", () => {
    assert.deepEqual(outlook(batch({}), new Rates(), BEGAN + 60), {perS: null, leftS: null, expectedUsd: null});
});

test("cancelled and expired requests cost nothing more", () => {
    assert.equal(outlook(batch({completed: 20, cancelled: 60, expired: 20}), new Rates(), BEGAN + 60).expectedUsd, 2);
});

test("steps become sums over the minute before", () => {
    assert.deepEqual(perMinute([null, 1, 1, 1, 1, 1, 1, 1], 10), [null, 1, 2, 3, 4, 5, 6, 6]);
    assert.deepEqual(perMinute([10, 10], 30), [10, 20]);
    assert.deepEqual(perMinute([2, 2, 2], 1, 2), [60, 120, 120]);
    assert.deepEqual(sumLists([[1, null, 2], [3, null, null]], 3), [4, null, 2]);
});

test("numbers are written for people", () => {
    assert.equal(format.count(1234567), "1,234,567");
    assert.equal(format.brief(12345), "12.3K");
    assert.deepEqual([0, 1, 1000].map(n => format.several(n, "line")), ["0 lines", "1 line", "1,000 lines"]);
    assert.deepEqual([0, 41.4, 1.25, 0.5, 0.001, null].map(format.rate), ["0/s", "41/s", "1.3/s", "30/min", "3.6/h", "–"]);
    assert.deepEqual([0, 0.00042, 0.5, 0.042, 12.3, 1234.5].map(format.usd),
        ["$0", "$0.00042", "$0.50", "$0.042", "$12.30", "$1,235"]);
    assert.deepEqual([0, 59, 160, 1500, 3600, 3900, 200000].map(format.span),
        ["0 s", "59 s", "2 min 40 s", "25 min", "1 h", "1 h 05 min", "2 d 7 h"]);
    assert.deepEqual([999, 1500, 90000].map(format.ms), ["999 ms", "1.5 s", "1 min 30 s"]);
    assert.deepEqual([999, 1500, 2.5e6].map(format.bytes), ["999 B", "1.5 KB", "2.5 MB"]);
});

test("a part is neither nothing nor all before it is", () => {
    assert.deepEqual([[0, 9], [1, 1000], [999, 1000], [1000, 1000], [1, 0]].map(([n, all]) => format.percent(n, all)),
        ["0%", "<1%", "99%", "100%", "0%"]);
});

test("a file is looked at before it is sent", async () => {
    const line = (i, more = {}) => JSON.stringify({custom_id: `r${i}`, body: {model: i % 3 ? "a" : "b"}, ...more});
    const good = await preview(new Blob([`\uFEFF${line(0, {url: "/v1/embeddings"})}\r\n\n${line(1)}\n`]));
    assert.deepEqual(good, {requests: 2, exact: true, models: new Map([["b", 1], ["a", 1]]), url: "/v1/embeddings",
        wrong: []});
    const bad = await preview(new Blob([`${line(1)}\nnot json\n{"custom_id":"x"}\n{"body":{}}\n`]));
    assert.deepEqual(bad.wrong.map(w => w.line), [2, 3, 4]);
    const many = await preview(new Blob(Array.from({length: 40000}, (_, i) => `${line(10000 + i)}\n`)));
    assert.equal(many.exact, false);
    assert.ok(Math.abs(many.requests - 40000) < 10, String(many.requests));
});
