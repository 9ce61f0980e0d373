// view_overview.js - what runs now, how fast, what it costs, and what needs somebody.
import {cancelButton} from "./cancel.js";
import {chart, meter} from "./charts.js";
import {h} from "./dom.js";
import {NONE, ago, brief, count, decimal, rate, several, usd} from "./format.js";
import {badge, icon} from "./icons.js";
import {now, rates, state} from "./live.js";
import {batchName, cost, costOf, download, empty, loading, parkedNote, parkedWhere, progress, progressWords, table,
    toGo} from "./parts.js";
import {endpointsOf, lastMinute, limitOf, minutes, stepsOf, strips, times, toneOf, troubles} from "./pools.js";
import {outlook} from "./rates.js";
import {contentOf} from "./api.js";
import {ACTIVE} from "./words.js";

const RECENT = 8;

function tile(name, value, sub, tone) {
    return h("div", {class: tone ? `tile tone-${tone}` : "tile"}, h("dt", null, name), h("dd", null, value),
        h("dd", {class: "sub"}, sub));
}

function tiles(c) {
    const hourly = rates.perS("cluster cost_usd", now());
    const steps = stepsOf(c.endpoints);
    const calls = lastMinute(steps.calls);
    const refused = lastMinute(steps.rateLimited);
    const failed = lastMinute(steps.failed);
    return h("dl", {class: "tiles"},
        tile("Answers", rate(rates.perS("cluster completed", now())), `${brief(c.completed)} since the broker began`),
        tile("In flight", count(c.jobs_running), `${brief(c.jobs_queued)} queued, ${brief(c.jobs_waiting)} waiting`),
        tile("Spend", hourly === null ? NONE : `${usd(hourly * 3600)}/h`,
            `${usd(c.cost_usd)} since the broker began`),
        tile("429s", `${brief(refused)}/min`, "waited for, never a failed attempt", toneOf(refused, calls, 0.1, "warn")),
        tile("Errors", `${brief(failed)}/min`, `${brief(c.failed)} requests failed for good`,
            toneOf(failed, calls, 0.02, "bad")),
        tile("Workers", count(c.workers),
            `${several(c.providers.length, "provider")}, ${several(c.endpoints.length, "endpoint")}`, c.workers ? null : "bad"));
}

function attention() {
    const {parked, unserved} = troubles();
    if (!parked.length && !unserved.length)
        return null;
    return h("section", {class: "attention", "aria-labelledby": "attention"},
        h("h2", {id: "attention"}, icon("warn"), "Needs attention"),
        h("ul", null,
            parked.map(p => h("li", {key: `${p.provider} ${p.model}`}, h("a", {href: "#/endpoints"}, parkedWhere(p)),
                parkedNote(p.cause, p.at.until_wall_ms / 1000))),
            unserved.map(p => h("li", {key: `unserved ${p.name}`}, h("a", {href: "#/endpoints"}, p.name),
                badge("bad", "cross", "no worker"), h("span", null, "Start ",
                    h("code", null, `penstock-worker --provider ${p.name}`), ".")))));
}

const running = [
    {title: "Batch", main: true, cell: b => batchName(b)},
    {title: "Progress", wide: true, cell: b => progress(b)},
    {title: "Rate", number: true, cell: b => rate(outlook(b, rates, now()).perS)},
    {title: "Time to go", number: true, cell: b => toGo(outlook(b, rates, now()))},
    {title: "Cost", number: true, cell: b => cost(b, outlook(b, rates, now()))},
    {title: "", cell: b => cancelButton(b)},
];

const endedAt = b => b.completed_at || b.failed_at || b.expired_at || b.cancelled_at;

export const ended = [
    {title: "Batch", main: true, cell: b => batchName(b)},
    {title: "Requests", wide: true, cell: b => h("span", {class: "quiet"}, b.request_counts.total ?
        progressWords(b).join(" · ") : several(b.errors?.data?.length || 0, "wrong line"))},
    {title: "Cost", number: true, cell: b => usd(costOf(b))},
    {title: "Ended", number: true, cell: b => (endedAt(b) ? ago(endedAt(b), now()) : null)},
    {title: "", cell: b => (b.output_file_id ?
        download(contentOf(b.output_file_id), `${b.id}.jsonl`, "Results") : null)},
];

export function runningNow() {
    const list = (state.batches || []).filter(b => ACTIVE.has(b.status));
    return h("section", {"aria-labelledby": "running"}, h("h2", {id: "running"}, "Running now"),
        state.batches === null ? loading("the batches") :
        list.length ? table("Batches that run now", running, list, b => b.id) :
        empty("Nothing runs.", "Drop a .jsonl file anywhere on this page, or ", h("a", {href: "#/submit"}, "choose one"),
            "."));
}

function recent() {
    const list = (state.batches || []).filter(b => !ACTIVE.has(b.status)).slice(0, RECENT);
    return list.length ? h("section", {"aria-labelledby": "ended"}, h("h2", {id: "ended"}, "Ended last"),
        table("Batches that ended last", ended, list, b => b.id),
        h("p", {class: "more"}, h("a", {href: "#/batches"}, "All batches"))) : null;
}

function answers(c) {
    const steps = stepsOf(c.endpoints);
    return h("section", {class: "panel", "aria-labelledby": "answers"}, h("h2", {id: "answers"}, "Answers a minute"),
        state.history ? chart({id: "answers", label: "Answers a minute over the last hour", values: minutes(steps.completed),
            limit: null, say: v => `${brief(Math.round(v))} a minute`, strips: strips(steps), ...times()}) :
            loading("the last hour"));
}

function pool(p) {
    const steps = stepsOf(endpointsOf(p));
    const rpm = limitOf(p.limits, "requests_per_minute");
    const perMinute = minutes(steps.calls).at(-1) ?? 0;
    const full = p.concurrency ? `${count(p.in_flight)} of ${count(p.concurrency)} in flight` :
        `${count(p.in_flight)} in flight`;
    return h("li", {key: p.name},
        h("div", {class: "pool-head"}, h("a", {href: "#/endpoints"}, p.name),
            p.cause ? badge("warn", "pause", "parked") : p.workers ? badge("good", "check", "open") :
                badge("bad", "cross", "no worker")),
        p.concurrency ? meter(p.in_flight, p.concurrency, full) : null,
        h("div", {class: "sub"}, full, h("span", null,
            rpm ? `${decimal(perMinute)} of ${brief(rpm)} calls a minute` : `${decimal(perMinute)} calls a minute`)));
}

const pools = c => h("section", {class: "panel", "aria-labelledby": "pools"}, h("h2", {id: "pools"}, "Pools"),
    h("ul", {class: "pools"}, c.providers.map(pool)));

export const nothingConfigured = () => empty("No provider is configured.", "Set a key such as ",
    h("code", null, "OPENAI_API_KEY"), " in the environment, or name providers in ", h("code", null, "penstock.yaml"),
    ", and start penstock again. ", h("code", null, "penstock check"), " says what it finds.");

export const overview = {
    title: () => "Overview",
    draw() {
        const c = state.cluster;
        return [h("h1", {class: "hidden"}, "Overview"),
            c ? [attention(), c.providers.length ? tiles(c) : nothingConfigured()] : loading("the cluster"),
            runningNow(),
            c?.providers.length ? h("div", {class: "columns"}, answers(c), pools(c)) : null,
            recent()];
    },
};
