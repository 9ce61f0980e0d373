// view_batch.js - one batch in depth: how it stands, why lines failed, who answered, and what there is to take away.
import {batchPath, contentOf, get, ourBatchPath} from "./api.js";
import {notice} from "./ask.js";
import {cancelButton} from "./cancel.js";
import {h} from "./dom.js";
import {NONE, brief, count, moment, ms, percent, rate, several, span, usd} from "./format.js";
import {icon} from "./icons.js";
import {changed, noteError, now, rates, takeBatch} from "./live.js";
import {bar, chart} from "./charts.js";
import {PARTS, cost, download, empty, listed, loading, parkedNote, parkedWhere, progressBar, statusBadge, table,
    toGo} from "./parts.js";
import {doneOf, outlook, perMinute} from "./rates.js";
import {ACTIVE, causeHelp, causeText, nameOf} from "./words.js";

const LOOK_MS = 3000;
const FAILED_MAX = 100;
const TRACK_MAX = 600; // seconds
const TEMPO_S = 10;    // what a point of the picture is the sum of
// {id, batch, error, receipt, failed, read: the counts that these belong to, only: a cause, track: what was done in each
// second since the batch is looked at, done: up to then}
let seen = null;
let timer = 0;

const countsText = b => JSON.stringify([b.status, b.request_counts]);

async function readDetails(of, batch) {
    const text = countsText(batch);
    if (of.read === text)
        return;
    const [receipt, failed] = await Promise.all([get(`${ourBatchPath(of.id)}/receipt`),
        get(`${ourBatchPath(of.id)}/failed?limit=${FAILED_MAX}`)]);
    Object.assign(of, {receipt, failed, read: text});
}

// Whether there is nothing more to come.
function isRead(of) {
    const b = of.batch;
    return b && !ACTIVE.has(b.status) && (of.read === countsText(b) || !b.request_counts.total);
}

// The list has it fresher, if it is in the list.
async function look() {
    const of = seen;
    try {
        of.batch = listed(of.id) || await get(batchPath(of.id));
        takeBatch(of.batch);
        changed();
        if (of.batch.request_counts.total)
            await readDetails(of, of.batch);
        of.error = null;
    } catch (e) {
        noteError(e);
        of.error = e;
    }
    if (of !== seen)
        return;
    changed();
    if (!isRead(of) && of.error?.status !== 404)
        timer = setTimeout(look, LOOK_MS);
}

async function copyId(id) {
    try {
        await navigator.clipboard.writeText(id);
        notice("good", "check", "The id is on the clipboard.");
    } catch {
        notice("warn", "warn", "This browser does not let pages write to the clipboard.");
    }
}

function errorsFile(b) {
    return b.error_file_id || (b.output_file_id && b.request_counts.failed + b.request_counts.expired +
        b.request_counts.cancelled > 0 ? `file-errors-${b.id.slice("batch_".length)}` : null);
}

function head(b) {
    const errors = errorsFile(b);
    return h("div", {class: "batch-head"},
        h("div", null,
            h("h1", {class: nameOf(b) ? null : "mono"}, nameOf(b) || b.id),
            h("div", {class: "sub"}, statusBadge(b), nameOf(b) ? h("span", {class: "mono"}, b.id) : null,
                h("button", {type: "button", class: "quiet-button", "aria-label": "Copy the id",
                    onclick: () => copyId(b.id)}, icon("copy")))),
        h("div", {class: "buttons"},
            b.output_file_id ? download(contentOf(b.output_file_id), `${b.id}.jsonl`,
                ACTIVE.has(b.status) ? "Results so far" : "Results") : null,
            errors ? download(contentOf(errors), `${b.id}.errors.jsonl`, "Failed lines") : null,
            cancelButton(b)));
}

function legend(b) {
    const c = b.request_counts;
    return h("ul", {class: "legend"}, [...PARTS, "queued"].filter(k => c[k] || k === "completed").map(k =>
        h("li", {key: k}, h("span", {class: `swatch part-${k}`, "aria-hidden": "true"}), h("strong", null, count(c[k] || 0)),
            ` ${k}`)));
}

const fact = (name, value) => (value === null ? null : h("div", null, h("dt", null, name), h("dd", null, value)));

function endOf(b) {
    return b.completed_at || b.failed_at || b.expired_at || b.cancelled_at;
}

function facts(b) {
    const ahead = outlook(b, rates, now());
    const active = ACTIVE.has(b.status);
    const u = b.usage;
    const cached = u?.input_tokens_details?.cached_tokens;
    const took = endOf(b) && b.in_progress_at ? endOf(b) - b.in_progress_at : null;
    return h("dl", {class: "facts big"},
        active ? fact("Rate", rate(ahead.perS)) : null,
        active ? fact("Time to go", toGo(ahead)) : fact("Took", took === null ? NONE : span(took)),
        fact(active ? "Cost so far" : "Cost", active ? cost(b, ahead) : usd(u?.cost_usd ?? 0)),
        fact("Budget", b.max_cost_usd ? usd(b.max_cost_usd) : null),
        fact("Tokens in", u ? [brief(u.input_tokens), cached ? h("span", {class: "quiet"}, ` ${percent(cached,
            u.input_tokens)} cached`) : null] : null),
        fact("Tokens out", u ? brief(u.output_tokens) : null),
        fact("Submitted", moment(b.created_at, now())),
        active ? fact("Window", b.expires_at ? `${span(b.expires_at - now())} left` : NONE) :
            fact("Ended", endOf(b) ? moment(endOf(b), now()) : NONE),
        fact("Priority", b.priority && b.priority !== "normal" ? b.priority : null),
        fact("Tenant", b.tenant || null));
}

// While it runs, how far it is; then, what came of it.
function figure(b) {
    const c = b.request_counts;
    return h("p", {class: "figure"}, ACTIVE.has(b.status) ?
        [h("strong", null, percent(doneOf(c), c.total)), ` of ${several(c.total, "request")}`] :
        [h("strong", null, count(c.completed)), ` of ${several(c.total, "request")} completed`]);
}

function standing(b) {
    const c = b.request_counts;
    return h("section", {class: "panel", "aria-label": "How it stands"},
        c.total ? [figure(b), progressBar(b, "tall"), legend(b)] : null,
        b.status === "validating" && !c.total ? h("p", {class: "loading"}, "The file is being checked…") : null,
        facts(b),
        (b.parked || []).map(p => h("div", {class: "held", key: parkedWhere(p)}, h("strong", null, parkedWhere(p)),
            parkedNote(p.error_type, p.until))));
}

const refusals = [
    {title: "Line", main: true, cell: e => (e.line === null || e.line === undefined ? NONE : `line ${e.line}`)},
    {title: "Code", cell: e => h("code", null, e.code || NONE)},
    {title: "What is wrong", wide: true, cell: e => e.message},
];

function refused(b) {
    const list = b.errors?.data || [];
    return list.length ? h("section", {"aria-labelledby": "refused"},
        h("h2", {id: "refused"}, "The file was refused"),
        h("p", null, "Nothing of it was accepted. Correct these lines and ",
            h("a", {href: "#/submit"}, "submit it again"), "."),
        table("Lines that are wrong", refusals, list.map((e, i) => ({...e, i})), e => e.i)) : null;
}

function choose(of, cause) {
    of.only = of.only === cause ? null : cause;
    changed();
}

function causes(of) {
    const list = Object.entries(of.receipt?.causes || {}).sort((a, b) => b[1] - a[1]);
    if (!list.length)
        return null;
    const most = list[0][1];
    return h("section", {class: "panel", "aria-labelledby": "causes"}, h("h2", {id: "causes"}, "Why lines failed"),
        h("ul", {class: "causes"}, list.map(([cause, n]) => h("li", {key: cause},
            h("button", {type: "button", class: "cause", "aria-pressed": String(of.only === cause), onclick: () =>
                choose(of, cause)}, h("span", null, causeText(cause)), h("strong", null, count(n))),
            bar([{kind: "failed", n}], most, `${count(n)} lines`, "thin"),
            h("div", {class: "quiet"}, causeHelp(cause))))));
}

const endpointColumns = [
    {title: "Endpoint", main: true, cell: e => [h("div", {class: "name"}, e.model), h("div", {class: "sub"}, e.provider)]},
    {title: "Calls", number: true, cell: e => count(e.calls)},
    {title: "Answered", number: true, cell: e => count(e.completed)},
    {title: "429s", number: true, cell: e => count(e.rate_limited)},
    {title: "Retried", number: true, cell: e => count(e.retried)},
    {title: "Tokens in / out", number: true, cell: e => `${brief(e.input_tokens)} / ${brief(e.output_tokens)}`},
    {title: "p50 / p95", number: true, cell: e => (e.latency_p50_ms ? `${ms(e.latency_p50_ms)} / ${ms(e.latency_p95_ms)}` :
        NONE)},
    {title: "Cost", number: true, cell: e => usd(e.cost_usd)},
];

function perEndpoint(of) {
    const list = of.receipt?.endpoints || [];
    return list.length ? h("section", {"aria-labelledby": "per-endpoint"}, h("h2", {id: "per-endpoint"}, "By endpoint"),
        table("Calls of this batch by endpoint", endpointColumns, list, e => `${e.provider} ${e.model}`)) : null;
}

// The words of a failed line: the provider's, else ours.
function wordsOf(line) {
    const body = line.response?.body;
    const said = body?.error?.message || line.error?.message || body?.message;
    return said || (body ? JSON.stringify(body) : "No answer.");
}

const causeOf = line => line.penstock?.error_type || line.error?.code || "unknown";

const lineName = line => line.custom_id ?? (line.penstock?.line ? `line ${line.penstock.line}` : line.id);

const failedColumns = [
    {title: "Request", main: true, cell: l => h("span", {class: "mono"}, lineName(l))},
    {title: "Cause", cell: l => causeText(causeOf(l))},
    {title: "Status", number: true, cell: l => (l.response ? String(l.response.status_code) : NONE)},
    {title: "Tries", number: true, cell: l => count(l.penstock?.attempts?.length ?? 0)},
    {title: "Answer", wide: true, cell: l => h("details", {class: "answer"}, h("summary", null, wordsOf(l)),
        h("pre", {tabindex: "0", "aria-label": `The result line of ${lineName(l)}`}, JSON.stringify(l, null, 2)))},
];

function failedLines(of) {
    if (!of.failed?.data.length)
        return null;
    const list = of.failed.data.filter(l => !of.only || causeOf(l) === of.only);
    return h("section", {"aria-labelledby": "failed"}, h("h2", {id: "failed"}, "Failed lines"),
        of.only ? h("p", null, `Only “${causeText(of.only)}”. `, h("button", {type: "button", class: "quiet-button",
            onclick: () => choose(of, of.only)}, "Show all")) : null,
        list.length ? table("Lines without an answer", failedColumns, list, l => l.id) :
            empty("None of the lines shown here has this cause."),
        of.failed.has_more ? h("p", {class: "quiet"}, `These are the first ${count(of.failed.data.length)}; the file of ` +
            "failed lines has all.") : null);
}

// One step a second; what happened while the page was hidden is no step.
function follow(of, b) {
    const s = Math.floor(now());
    const done = doneOf(b.request_counts);
    if (of.second !== undefined && s > of.second) {
        of.track.push(s - of.second > 3 ? null : done - of.done);
        of.track = of.track.slice(-TRACK_MAX);
    }
    if (s !== of.second)
        Object.assign(of, {second: s, done});
}

function tempo(of) {
    if (!ACTIVE.has(of.batch.status) || of.track.length < 2 * TEMPO_S)
        return null;
    return h("section", {class: "panel", "aria-labelledby": "tempo"},
        h("h2", {id: "tempo"}, "Done a minute, since this page is open"),
        chart({id: `tempo ${of.id}`, label: "Requests done a minute since this page is open",
            values: perMinute(of.track, 1, TEMPO_S).slice(TEMPO_S - 1), limit: null,
            say: v => `${brief(Math.round(v))} a minute`, strips: [], stepS: 1, end: of.second}));
}

function body(of) {
    const b = of.batch;
    return [head(b), refused(b), standing(b), tempo(of), causes(of), perEndpoint(of), failedLines(of)];
}

export const batch = {
    title: id => (seen?.batch && seen.id === id && nameOf(seen.batch)) || "Batch",
    enter(id) {
        seen = {id, batch: listed(id), error: null, receipt: null, failed: null, read: null, only: null, track: []};
        look();
    },
    leave() {
        clearTimeout(timer);
        seen = null;
    },
    draw() {
        const of = seen;
        of.batch = listed(of.id) || of.batch;
        if (of.batch)
            follow(of, of.batch);
        const missing = of.error?.status === 404;
        return [h("p", {class: "crumb"}, h("a", {href: "#/batches"}, "Batches")),
            missing ? [h("h1", null, "No such batch"), empty("There is no batch with this id.",
                "It may have been deleted, or it belongs to somebody else.")] :
            of.batch ? body(of) : [h("h1", null, "Batch"), of.error ? empty("It could not be read.", of.error.message) :
                loading("the batch")]];
    },
};
