// page_test.mjs - the page in a headless Chromium, before mock.mjs or, with --url, before any gateway:
//   node page_test.mjs --modules DIR [--url URL] [--key KEY] [--model M] [--slow-model M] [--failing-model M]
//                      [--parked PROVIDER] [--shots DIR]
// The models are the gateway's: one that answers, one that takes a second or more a request, one that answers with errors;
// --parked is a provider or endpoint of it that is parked.  What is not named is skipped aloud.  --shots: pictures of every
// view, in both themes and on a phone.
import assert from "node:assert/strict";
import {mkdir, writeFile} from "node:fs/promises";
import {join, resolve} from "node:path";
import test, {after, afterEach, before} from "node:test";
import {fileURLToPath} from "node:url";
import {parseArgs} from "node:util";
import {Watched, Wire, lines, startBrowser, startMock} from "./browser.mjs";

const string = {type: "string"};
const {values: given} = parseArgs({options: {modules: string, url: string, key: string, model: string, "slow-model": string,
    "failing-model": string, parked: string, shots: string}});
const isMock = !given.url;
const options = isMock ? {model: "mock/small", "slow-model": "mock/slow", "failing-model": "mock/failing", parked: "gemini",
    ...given} : given;
const modules = resolve(options.modules);
const PAGE = fileURLToPath(new URL("../../client/gateway/page", import.meta.url));
const PHONE = 390;
const THEMES = ["light", "dark"];
const made = {};    // views of batches that the tests made

let mock, wire, chromium, at;

const url = () => (isMock ? mock.url : options.url);
const control = what => fetch(`${mock.url}/mock/${what}`, {method: "POST"});

// false: run it; else the reason, which is also said where tests/run.sh looks for it.
function unless(has, reason) {
    if (has)
        return false;
    console.error(`skipped: the page in a browser: ${reason}`);
    return reason;
}

const withOption = name => ({skip: unless(options[name], `no --${name}`)});
const withMock = {skip: unless(isMock, "needs the made-up gateway")};

before(async () => {
    mock = isMock ? await startMock(PAGE) : null;
    wire = new Wire();
    const through = await wire.open(url());
    chromium = await startBrowser(modules);
    at = new Watched(await chromium.browser.newPage(), through, chromium.axe);
    if (options.shots)
        await mkdir(options.shots, {recursive: true});
    if (options.key) {
        await at.page.goto(at.url);
        await signIn(at, options.key);
        await at.settle();
        at.expect(/401/);
        at.check();
    }
});

after(async () => {
    await chromium?.browser.close();
    wire?.close();
    mock?.stop();
});

afterEach(() => at.check());

async function signIn(w, key) {
    await w.page.waitForSelector("#key");
    await w.page.type("#key", key);
    await w.click("Sign in", "button");
}

async function drop(name, text) {
    await at.page.evaluate((n, t) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([t], n));
        for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer}));
    }, name, text);
}

// Submits what is chosen; the hash of the batch's view.
async function submit() {
    await at.click("Submit", "main button");
    await at.page.waitForFunction(() => location.hash.startsWith("#/batch/"));
    return at.page.evaluate(() => location.hash);
}

const status = words => at.text(words, ".batch-head .badge");

// How many lines a link of the page leads to, fetched as the browser would.
const linesBehind = words => at.page.evaluate(async w => {
    const link = [...document.querySelectorAll("a[download]")].find(a => a.textContent.trim() === w);
    const answer = await fetch(link.href);
    return answer.ok ? (await answer.text()).split("\n").filter(Boolean).length : -answer.status;
}, words);

test("a dropped file becomes a batch, ends, and its results can be downloaded", withOption("model"), async () => {
    await at.go("#/");
    await drop("dropped.jsonl", lines(150, options.model));
    await at.text("150 requests");
    made.completed = await submit();
    await at.text("dropped", "h1");
    await status("completed");
    assert.equal(await linesBehind("Results"), 150);
    await at.go("#/");
    await at.text("dropped");
});

test("failed lines are counted by cause and shown with their answers", withOption("failing-model"), async () => {
    await at.go("#/submit");
    const file = join(modules, "failing.jsonl");
    await writeFile(file, lines(40, options["failing-model"]));
    await (await at.page.$("#file")).uploadFile(file);
    await at.text("40 requests");
    made.failing = await submit();
    await status("failed");
    await at.text("Why lines failed");
    await at.text("Failed lines");
    await at.page.waitForSelector("details.answer");
    assert.ok(await linesBehind("Failed lines") > 0);
    await at.press("details.answer summary");
    await at.text('"custom_id"', "details.answer[open] pre");
    const all = await at.page.$$eval("details.answer", list => list.length);
    await at.press("button.cause");
    await at.text("Show all");
    assert.ok(await at.page.$$eval("details.answer", list => list.length) <= all);
});

test("a file with wrong lines is refused, and each is named", withOption("model"), async () => {
    await at.go("#/submit");
    const file = join(modules, "wrong.jsonl");
    await writeFile(file, `${lines(2, options.model)}this is no JSON\n${lines(1, "no/such-model").replace("r-0", "r-9")}`);
    await (await at.page.$("#file")).uploadFile(file);
    await at.text("The gateway may refuse this file");
    await at.text("Line 3 is not JSON");
    made.refused = await submit();
    await status("file refused");
    await at.text("line 3");
    await at.text("invalid_json_line");
    await at.text("line 4");
});

test("a batch that runs shows its progress and can be cancelled", withOption("slow-model"), async () => {
    await at.go("#/");
    await drop("slow.jsonl", lines(400, options["slow-model"]));
    await at.text("400 requests");
    made.cancelled = await submit();
    await status("running");
    await at.page.waitForFunction(() => !/^0 of/.test(document.querySelector(".batch-head ~ section")?.textContent) &&
        document.querySelector(".legend"));
    await at.go("#/");
    await at.text("slow");
    await at.click("slow", "main td a");
    await at.click("Cancel", ".batch-head button");
    await at.text("Cancel slow?", "#ask");
    assert.deepEqual(await at.findings(), []);
    await at.click("Let it run", "#ask button");
    await status("running");
    await at.click("Cancel", ".batch-head button");
    await at.click("Cancel the batch", "#ask button");
    await status("cancelled");
});

test("with the keyboard alone: from the overview to a batch of pasted lines", withOption("model"), async () => {
    const {keyboard} = at.page;
    await at.go("#/");
    await keyboard.press("Tab");
    assert.equal(await at.page.evaluate(() => document.activeElement.id), "skip");
    await at.tabTo("Submit");
    await keyboard.press("Enter");
    await at.text("Submit a batch");
    await at.tabTo("Drop a .jsonl file here");
    await at.tabTo("Or paste lines");
    await keyboard.press("Enter");
    await at.tabTo("Requests, one a line");
    await keyboard.type(lines(1, options.model).trim());
    await at.tabTo("Use these lines");
    await keyboard.press("Enter");
    await at.text("1 request");
    await at.tabTo("Name");
    await at.tabTo("To be done within");
    await at.tabTo("Submit");
    await keyboard.press("Enter");
    await at.page.waitForFunction(() => location.hash.startsWith("#/batch/"));
    await status("completed");
    await at.tabTo("Results");
});

test("focus stays where it is while numbers move", async () => {
    await at.go("#/endpoints");
    await at.page.waitForSelector("[role=slider]");
    await at.page.focus("[role=slider]");
    await at.page.evaluate(() => { document.activeElement.marked = true; });
    await at.page.keyboard.press("ArrowLeft");
    await at.page.waitForFunction(() => document.activeElement.ariaValueNow < Number(document.activeElement.ariaValueMax));
    assert.match(await at.page.$eval("[role=slider]", s => s.getAttribute("aria-valuetext")), /^\d\d:\d\d: /);
    await new Promise(done => setTimeout(done, 2500));
    assert.ok(await at.page.evaluate(() => document.activeElement.marked === true));
});

test("what is parked is shown with its reason", withOption("parked"), async () => {
    for (const view of ["#/", "#/endpoints"]) {
        await at.go(view);
        const words = await at.page.$$eval("main .parked", list => list.map(p => p.closest("li, section").textContent));
        const says = w => w.includes(options.parked) && /parked: \w+/.test(w) && /next try|trying now|until/.test(w);
        assert.ok(words.some(says), words.join("\n"));
    }
});

test("what becomes parked is announced", withMock, async () => {
    await at.go("#/batches");
    await control("park");
    await at.text("qwen2.5-7b-instruct at my-vllm is parked: timeout", "#notices[aria-live=polite]");
    await control("unpark");
});

test("the theme is the system's until one is chosen, which is remembered", async () => {
    const theme = () => at.page.evaluate(() => document.documentElement.dataset.theme);
    await at.go("#/", "dark");
    assert.equal(await theme(), "dark");
    await at.page.click("button[aria-label='Light colours']");
    assert.equal(await theme(), "light");
    await at.page.reload();
    assert.equal(await theme(), "light");
    await at.page.evaluate(() => localStorage.clear());
});

test("a connection that is lost is said, and comes back by itself", async () => {
    await at.go("#/");
    at.expect(/ERR_/);
    wire.cut();
    await at.text("The gateway does not answer.", "#banner");
    await at.text("not connected", "#top");
    wire.mend();
    await at.text("live", "#top");
    await at.page.waitForFunction(() => !document.querySelector("#banner").textContent);
});

test("a broker that is away is said", withMock, async () => {
    await at.go("#/");
    await control("away");
    await at.text("The broker does not answer.", "#banner");
    assert.deepEqual(await at.findings(), []);
    await control("back");
    await at.page.waitForFunction(() => !document.querySelector("#banner").textContent);
});

test("with nothing there, it is said what to do next", withMock, async () => {
    await control("empty");
    for (const theme of THEMES) {
        await at.go("#/", theme);
        await at.text("Nothing runs.");
        await at.text("No provider is configured.");
        assert.deepEqual(await at.findings(), []);
        await shoot("empty", theme, 1280);
    }
    await control("full");
});

test("a gateway with keys wants one, and takes only the right one", withMock, async () => {
    const locked = await startMock(PAGE, ["--key", "sk-right"]);
    const context = await chromium.browser.createBrowserContext();
    const w = new Watched(await context.newPage(), locked.url, chromium.axe);
    try {
        w.expect(/401/);
        await w.page.goto(`${locked.url}/#/endpoints`);
        await signIn(w, "sk-wrong");
        await w.text("That is no key of this gateway.");
        assert.deepEqual(await w.findings(), []);
        if (options.shots)
            await w.page.screenshot({path: join(options.shots, "signin-light-1280.png")});
        await w.page.$eval("#key", input => { input.value = ""; });
        await signIn(w, "sk-right");
        await w.settle();
        await w.text("openai");
        assert.equal(await w.page.evaluate(() => document.cookie), "");
        await w.click("Sign out");
        await w.page.waitForSelector("#key");
        w.check();
    } finally {
        await context.close();
        locked.stop();
    }
});

async function shoot(name, theme, width) {
    if (options.shots)
        await at.page.screenshot({path: join(options.shots, `${name}-${theme}-${width}.png`), fullPage: true});
}

const views = () => ({overview: "#/", batches: "#/batches", endpoints: "#/endpoints", submit: "#/submit", ...made,
    missing: "#/batch/batch_00000000000000000000000000"});

test("every view, in both themes and on a phone: no finding of axe, nothing wider than the screen", async t => {
    for (const [name, hash] of Object.entries(views()))
        for (const theme of THEMES)
            for (const width of [1280, PHONE])
                await t.test(`${name}, ${theme}, ${width}`, async () => {
                    if (name === "missing")
                        at.expect(/404/);
                    await at.go(hash, theme, width);
                    await at.page.$$eval("main details", list => list.slice(0, 2).forEach(d => { d.open = true; }));
                    assert.deepEqual(await at.findings(), []);
                    assert.equal(await at.overflow(), 0);
                    await shoot(name, theme, width);
                });
});
