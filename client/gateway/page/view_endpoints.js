// view_endpoints.js - every pool and its endpoints: rate against limit over the last hour, refusals, errors, latency, and
// what is parked, why and until when.
import {chart, meter} from "./charts.js";
import {h} from "./dom.js";
import {NONE, brief, count, ms, several, usd} from "./format.js";
import {badge} from "./icons.js";
import {state} from "./live.js";
import {loading, parkedNote} from "./parts.js";
import {endpointId, endpointsOf, historyOf, limitOf, minutes, stepsOf, strips, times, toneOf} from "./pools.js";
import {total} from "./rates.js";
import {nothingConfigured} from "./view_overview.js";
import {rateText, rateUnit, sourceText} from "./words.js";

function limitLine(used, limit, name, source) {
    const words = `${brief(used)} of ${brief(limit)} ${name}`;
    return h("li", {key: name}, meter(used, limit, words), h("span", {class: "sub"}, words,
        source ? h("span", {class: "source"}, source) : null));
}

function limits(x) {
    const lines = x.limits.map(l => limitLine(l.used, l.limit, `${rateText(l)}${rateUnit(l)}`, sourceText(l)));
    if (x.concurrency)
        lines.unshift(limitLine(x.in_flight, x.concurrency, "in flight", null));
    return lines.length ? h("ul", {class: "limits", "aria-label": "Limits"}, lines) : null;
}

const calls = v => `${brief(Math.round(v))} calls a minute`;
const tokens = v => `${brief(Math.round(v))} tokens a minute`;

function tokenLimit(x) {
    return limitOf(x.limits, "tokens_per_minute") || limitOf(x.limits, "input_tokens_per_minute");
}

function callsChart(id, name, x, steps) {
    return h("figure", null, h("figcaption", null, "Calls a minute"), chart({id: `${id} calls`,
        label: `${name}: calls a minute over the last hour`, values: minutes(steps.calls),
        limit: limitOf(x.limits, "requests_per_minute"), say: calls, strips: strips(steps), ...times()}));
}

function smallChart(id, name, what, values, limit, say, tick) {
    return h("figure", {key: what}, h("figcaption", null, what), chart({id: `${id} ${what}`,
        label: `${name}: ${what.toLowerCase()} over the last hour`, values, limit, say, tick, strips: [], ...times()}));
}

function fact(name, value, tone) {
    return h("div", {class: tone ? `tone-${tone}` : null}, h("dt", null, name), h("dd", null, value));
}

function facts(e) {
    return h("dl", {class: "facts"},
        fact("Calls", brief(e.calls)), fact("Answered", brief(e.completed)),
        fact("429s", brief(e.rate_limited), toneOf(e.rate_limited, e.calls, 0.1, "warn")),
        fact("Errors", brief(e.failed), toneOf(e.failed, e.calls, 0.02, "bad")),
        fact("Latency p50", e.p50_ms ? ms(e.p50_ms) : NONE), fact("Tokens/s", e.tokens_per_s ? brief(e.tokens_per_s) : NONE),
        fact("Uptime", `${(e.uptime_per_mille / 10).toFixed(1)}%`), fact("Cost", usd(e.cost_usd)));
}

// x: an endpoint, or its account itself.
function stateOf(x, account) {
    if (x.cause)
        return null;
    if (account.cause)
        return badge("warn", "pause", "parked with its account");
    if (!account.workers)
        return badge("bad", "cross", "no worker");
    return x.in_flight ? badge("run", "play", "working") : badge("good", "check", "idle");
}

function endpoint(e, account) {
    const id = endpointId(e);
    const past = historyOf(e);
    const name = `${e.model} at ${e.provider}`;
    return h("article", {class: e.cause ? "endpoint is-parked" : "endpoint", key: id, "aria-label": name},
        h("div", {class: "endpoint-head"}, h("h3", null, e.model), stateOf(e, account)),
        e.cause ? parkedNote(e.cause, e.until_wall_ms / 1000) : null,
        h("div", {class: "endpoint-body"},
            h("div", {class: "endpoint-numbers"}, facts(e), limits(e)),
            past ? callsChart(id, name, e, stepsOf([e])) : state.history ? null : loading("the last hour")),
        past && total(past.calls) ? h("details", null, h("summary", null, "Tokens, latency, in flight"),
            h("div", {class: "figures"},
                smallChart(id, name, "Tokens a minute", minutes(past.tokens), tokenLimit(e), tokens),
                smallChart(id, name, "Latency p50", past.p50_ms.map(v => v || null), null, ms, ms),
                smallChart(id, name, "In flight", past.in_flight, e.concurrency || null, v => `${count(v)} in flight`))) :
            null);
}

function providerHead(p) {
    return h("div", {class: "provider-head"}, h("h2", {id: `provider-${p.name}`}, p.name), stateOf(p, p),
        h("span", {class: "quiet"}, [several(p.workers, "worker"), `${count(p.in_flight)} in flight`,
            `room for ${count(p.room)} more`].join(" · ")));
}

function account(p, list) {
    const charted = list.length > 1 && limitOf(p.limits, "requests_per_minute");
    return h("div", {class: "account"}, h("h3", null, "The account"),
        h("div", {class: charted ? "endpoint-body" : null}, limits(p),
            charted ? callsChart(`provider ${p.name}`, p.name, p, stepsOf(list)) : null));
}

function provider(p) {
    const list = endpointsOf(p);
    return h("section", {class: "provider panel", key: p.name, "aria-labelledby": `provider-${p.name}`},
        providerHead(p),
        p.cause ? parkedNote(p.cause, p.until_wall_ms / 1000) : null,
        p.workers ? null : h("p", null, "Nobody serves it: start ", h("code", null, `penstock-worker --provider ${p.name}`),
            "."),
        p.limits.length || p.concurrency ? account(p, list) : null,
        list.length ? list.map(e => endpoint(e, p)) : h("p", {class: "quiet"}, "Nothing was sent there yet."));
}

export const endpoints = {
    title: () => "Endpoints",
    draw() {
        const c = state.cluster;
        return [h("h1", {class: "hidden"}, "Endpoints"),
            !c ? loading("the cluster") : c.providers.length ? c.providers.map(provider) : nothingConfigured()];
    },
};
