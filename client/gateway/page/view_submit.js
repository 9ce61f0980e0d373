// view_submit.js - a file becomes a batch: dropped, chosen or pasted; looked at; uploaded; and followed from there on.
import {post, upload} from "./api.js";
import {h} from "./dom.js";
import {bytes, count, percent, several} from "./format.js";
import {badge, icon} from "./icons.js";
import {changed, noteError} from "./live.js";
import {URLS, preview} from "./preview.js";

const WINDOWS = [["1h", "1 hour"], ["6h", "6 hours"], ["12h", "12 hours"], ["24h", "24 hours"], ["72h", "3 days"]];
const NAME_MAX = 512;  // of a metadata value
const MODELS_SHOWN = 6;

const fresh = () => ({file: null, fileName: "", preview: null, name: "", window: "24h", url: URLS[0], phase: "idle", sent: 0,
    error: null, abort: null});
let form = fresh();

// A file from anywhere: this view's input, or dropped on any.
export async function take(file, fileName = file.name) {
    if (form.phase !== "idle")
        return;
    form = {...fresh(), file, fileName, window: form.window, name: fileName.replace(/\.[^.]*$/, "").slice(0, NAME_MAX)};
    changed();
    const of = form;
    try {
        of.preview = await preview(file);
        of.url = of.preview.url || of.url;
    } catch {
        of.file = null;
        of.error = {what: "The file cannot be read.", words: "Is it a folder, or gone? Choose it again."};
    }
    changed();
}

function progressed(of, sent, all) {
    of.sent = all ? Math.min(1, sent / all) : 0;
    changed();
}

async function make(of) {
    of.phase = "uploading";
    of.abort = new AbortController();
    changed();
    const file = await upload(of.file, of.fileName, (sent, all) => progressed(of, sent, all), of.abort.signal);
    of.phase = "creating";
    changed();
    return post("v1/batches", {input_file_id: file.id, endpoint: of.url, completion_window: of.window,
        ...(of.name.trim() ? {metadata: {name: of.name.trim()}} : {})});
}

async function submit(e) {
    e.preventDefault();
    const of = form;
    if (!of.file || of.phase !== "idle")
        return;
    of.error = null;
    try {
        const made = await make(of);
        form = fresh();
        location.hash = `#/batch/${made.id}`;
    } catch (error) {
        if (error.name !== "AbortError") {
            noteError(error);
            of.error = {what: of.phase === "uploading" ? "The file was not taken." : "No batch was made of the file.",
                words: error.message};
        }
        of.phase = "idle";
    }
    changed();
}

function chooser() {
    return h("div", {class: "chooser"},
        h("input", {type: "file", id: "file", class: "hidden-input", accept: ".jsonl,.ndjson,.json,.txt,application/jsonl",
            "aria-describedby": "file-help", onchange: e => e.target.files[0] && take(e.target.files[0])}),
        h("label", {for: "file"}, icon("up"), h("span", null, h("strong", null, form.file ? "Choose another file" :
            "Drop a .jsonl file here, or choose one"),
        h("span", {id: "file-help", class: "quiet"},
            "One request a line, as in OpenAI's Batch API; lines may mix models."))));
}

function usePasted() {
    const text = document.getElementById("paste").value;
    if (text.trim())
        take(new Blob([text], {type: "application/jsonl"}), "pasted.jsonl");
}

function paster() {
    return h("details", {class: "paster"}, h("summary", null, "Or paste lines"),
        h("label", {for: "paste"}, "Requests, one a line"),
        h("textarea", {id: "paste", rows: "6", spellcheck: "false", class: "mono",
            placeholder: '{"custom_id":"r-1","body":{"model":"…","messages":[{"role":"user","content":"Hi"}]}}'}),
        h("button", {type: "button", onclick: usePasted}, "Use these lines"));
}

function models(p) {
    const list = [...p.models].sort((a, b) => b[1] - a[1]);
    return h("ul", {class: "models", "aria-label": "Models"}, list.slice(0, MODELS_SHOWN).map(([model, n]) =>
        h("li", {key: model}, h("code", null, model), h("span", {class: "quiet"}, p.exact ? ` ${count(n)}` : ""))),
    list.length > MODELS_SHOWN ? h("li", {key: "…"}, `and ${count(list.length - MODELS_SHOWN)} more`) : null);
}

function wrong(p) {
    return p.wrong.length ? h("div", {class: "warning"}, badge("warn", "warn", "The gateway may refuse this file"),
        h("ul", null, p.wrong.map(w => h("li", {key: `${w.line} ${w.message}`},
            `Line ${count(w.line)} ${w.message}.`)))) : null;
}

function chosen() {
    const p = form.preview;
    return h("div", {class: "chosen"}, h("div", null, h("strong", {class: "mono"}, form.fileName),
        h("span", {class: "quiet"}, ` ${bytes(form.file.size)}`),
        p ? h("span", null,
            ` · ${p.exact ? "" : "about "}${several(p.requests, "request")}`) : null),
    p ? [models(p), wrong(p)] : null);
}

const option = (value, text, now) => h("option", {value, selected: value === now || null}, text);

function options() {
    return h("div", {class: "options"},
        h("div", null, h("label", {for: "name"}, "Name"), h("input", {id: "name", type: "text", maxlength: String(NAME_MAX),
            autocomplete: "off", init: node => { node.value = form.name; }, key: form.fileName,
            oninput: e => { form.name = e.target.value; }})),
        h("div", null, h("label", {for: "window"}, "To be done within"),
            h("select", {id: "window", "aria-describedby": "window-help", onchange: e => { form.window = e.target.value; }},
                WINDOWS.map(([value, text]) => option(value, text, form.window))),
            h("span", {class: "quiet", id: "window-help"}, "A longer window may cost less.")),
        h("div", null, h("label", {for: "url"}, "Endpoint"),
            h("select", {id: "url", key: form.url, onchange: e => { form.url = e.target.value; }},
                URLS.map(url => option(url, url, form.url)))));
}

function sending() {
    const words = form.phase === "creating" ? "Making a batch of it…" : `Uploading: ${percent(form.sent, 1)}`;
    return h("div", {class: "sending"}, h("div", {class: "bar", role: "progressbar", "aria-label": "Upload",
        "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.floor(form.sent * 100))},
    h("span", {class: "part part-completed", style: {width: `${form.sent * 100}%`}})),
    h("div", {class: "buttons"}, h("span", null, words), form.phase === "uploading" ?
        h("button", {type: "button", onclick: () => form.abort.abort()}, "Stop") : null));
}

const EXAMPLE = `{"custom_id":"r-1","body":{"model":"openai/gpt-4.1-mini","messages":[{"role":"user","content":"Hi"}]}}
{"custom_id":"r-2","body":{"model":"anthropic/claude-sonnet-4.5","messages":[{"role":"user","content":"Name a river."}]}}`;

function help() {
    return h("section", {class: "help", "aria-labelledby": "help"}, h("h2", {id: "help"}, "What a file looks like"),
        h("pre", {tabindex: "0", "aria-label": "Two lines of a file"}, EXAMPLE),
        h("p", {class: "quiet"}, "From a program: any OpenAI SDK, with the base URL ",
            h("code", null, new URL("v1", location.href).href), ". From a shell: ",
            h("code", null, "penstock submit batch.jsonl --output results.jsonl"), "."));
}

export const submission = {
    title: () => "Submit",
    draw() {
        const busy = form.phase !== "idle";
        return [h("h1", null, "Submit a batch"),
            h("form", {class: "panel submit", onsubmit: submit},
                busy ? null : [chooser(), paster()],
                form.error ? h("div", {class: "warning", role: "alert"}, badge("bad", "cross", form.error.what),
                    h("p", null, form.error.words)) : null,
                form.file ? chosen() : null,
                form.file && !busy ? [options(), h("div", {class: "buttons"},
                    h("button", {type: "submit", class: "primary"}, "Submit"))] : null,
                busy ? sending() : null),
            help()];
    },
};
