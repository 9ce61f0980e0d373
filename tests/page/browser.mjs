// browser.mjs - what page_test.mjs is made of: a browser whose pages are watched, a wire that can be cut, and axe.
import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {once} from "node:events";
import {createRequire} from "node:module";
import {connect, createServer} from "node:net";
import {join} from "node:path";
import {createInterface} from "node:readline";
import {readFile} from "node:fs/promises";

const WAIT_MS = 20000;

// Between the browser and the gateway: cutting it is what a lost connection looks like from the page.
export class Wire {
    #sockets = new Set();
    #cut = false;

    async open(url) {
        const {hostname, port} = new URL(url);
        this.#server = createServer(near => {
            if (this.#cut) {
                near.destroy();
                return;
            }
            const far = connect(Number(port || 80), hostname);
            for (const [a, b] of [[near, far], [far, near]]) {
                this.#sockets.add(a);
                a.on("error", () => b.destroy()).on("close", () => this.#sockets.delete(a));
                a.pipe(b);
            }
        });
        this.#server.listen(0, "127.0.0.1");
        await once(this.#server, "listening");
        return `http://127.0.0.1:${this.#server.address().port}`;
    }

    #server = null;

    cut() {
        this.#cut = true;
        this.#sockets.forEach(s => s.destroy());
    }

    mend() {
        this.#cut = false;
    }

    close() {
        this.cut();
        this.#server.close();
    }
}

// {url, stop}: a made-up gateway of its own.
export async function startMock(page, more = []) {
    const script = new URL("mock.mjs", import.meta.url).pathname;
    const child = spawn(process.execPath, [script, "--page", page, ...more], {stdio: ["ignore", "pipe", "inherit"]});
    const [line] = await once(createInterface(child.stdout), "line");
    return {url: line.replace("ready ", ""), stop: () => child.kill()};
}

export async function startBrowser(modules) {
    const need = createRequire(join(modules, "package.json"));
    const puppeteer = need("puppeteer-core");
    const axe = await readFile(need.resolve("axe-core/axe.min.js"), "utf8");
    const browser = await puppeteer.launch({executablePath: process.env.PST_CHROMIUM,
        args: ["--no-sandbox", "--disable-dev-shm-usage", "--lang=en"]});
    return {browser, axe};
}

// A page whose errors and requests to other hosts are remembered.
export class Watched {
    constructor(page, url, axe) {
        Object.assign(this, {page, url, axe, wrong: [], expected: []});
        page.setDefaultTimeout(WAIT_MS);
        page.on("console", m => ["error", "warn"].includes(m.type()) && this.wrong.push(`console: ${m.text()}`));
        page.on("pageerror", e => this.wrong.push(`error: ${e.message}`));
        page.on("request", r => {
            if (/^(https?|wss?):/.test(r.url()) && new URL(r.url()).origin !== url)
                this.wrong.push(`request: ${r.url()}`);
        });
    }

    // What the browser says of requests that this test makes fail.
    expect(pattern) {
        this.expected.push(pattern);
    }

    check() {
        const wrong = this.wrong.filter(w => !this.expected.some(e => e.test(w)));
        this.wrong = [];
        this.expected = [];
        assert.deepEqual(wrong, []);
    }

    // Opens the page anew at a view, and waits until nothing of it is still being read.
    async go(hash, theme = "light", width = 1280) {
        await this.page.setViewport({width, height: width < 700 ? 844 : 900, isMobile: width < 700, hasTouch: width < 700});
        await this.page.emulateMediaFeatures([{name: "prefers-color-scheme", value: theme},
            {name: "prefers-reduced-motion", value: "reduce"}]);
        await this.page.goto("about:blank"); // else another hash is no new document
        await this.page.goto(`${this.url}/${hash}`);
        await this.settle();
    }

    async settle() {
        await this.page.waitForFunction(() => document.querySelector(".connection.is-open") &&
            document.querySelector("main h1") && !document.querySelector("main .loading"));
    }

    async text(words, selector = "main") {
        await this.page.waitForFunction((w, s) => document.querySelector(s)?.textContent.includes(w), {}, words, selector);
    }

    async click(words, selector = "button, a, summary") {
        const found = await this.page.waitForFunction((w, s) => [...document.querySelectorAll(s)].find(x =>
            x.textContent.trim() === w && !x.disabled && x.checkVisibility()), {}, words, selector);
        await found.click();
    }

    // By the keyboard: a click may meet a notice that lies over it for a while.
    async press(selector) {
        await this.page.focus(selector);
        await this.page.keyboard.press("Enter");
    }

    async findings() {
        await this.page.evaluate(this.axe);
        const found = await this.page.evaluate(() => window.axe.run(document, {resultTypes: ["violations"]}));
        const words = n => `${n.target.join(" ")} ${n.any.map(a => a.message).join(" ")}`;
        return found.violations.filter(v => ["serious", "critical"].includes(v.impact)).map(v =>
            `${v.id}: ${v.nodes.slice(0, 3).map(words).join("; ")}`);
    }

    // By how many pixels the page is wider than the screen.
    overflow() {
        return this.page.$eval("html", e => Math.max(0, e.scrollWidth - e.clientWidth));
    }

    // As a person does who has only a keyboard: Tab, until the focus is on what says so; each stop must be seen.
    async tabTo(words, stopsMax = 60) {
        for (let i = 0; i < stopsMax; i++) {
            await this.page.keyboard.press("Tab");
            const at = await this.page.evaluate(() => {
                const e = document.activeElement;
                const label = e.labels?.[0];
                const ringed = [e, label].some(x => x && parseFloat(getComputedStyle(x).outlineWidth) >= 2 &&
                    getComputedStyle(x).outlineStyle !== "none");
                return {words: (e.getAttribute("aria-label") || label?.textContent || e.textContent).trim(), ringed,
                    isBody: e === document.body};
            });
            assert.ok(at.ringed || at.isBody, `the focus on "${at.words}" cannot be seen`);
            if (at.words.startsWith(words))
                return;
        }
        assert.fail(`Tab does not lead to "${words}"`);
    }
}

export const lines = (n, model) => Array.from({length: n}, (_, i) => `${JSON.stringify({custom_id: `r-${i}`,
    method: "POST", url: "/v1/chat/completions", body: {model, messages: [{role: "user", content: `Say ${i}.`}],
        max_tokens: 8}})}\n`).join("");
