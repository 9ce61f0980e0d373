// pools.js - providers and endpoints as the cluster and its history have them: what charts and lists need.
import {state} from "./live.js";
import {perMinute, sumLists, total} from "./rates.js";

export const endpointId = e => `${e.provider} ${e.model}`;

export function historyOf(e) {
    return state.history?.endpoints.find(x => x.provider === e.provider && x.model === e.model) || null;
}

export const endpointsOf = provider => state.cluster.endpoints.filter(e => e.provider === provider.name);

export const limitOf = (limits, rate) => limits.find(l => l.rate === rate)?.limit || null;

// Of several endpoints: what was called, answered, refused and failed, step by step.
export function stepsOf(endpoints) {
    const all = endpoints.map(historyOf).filter(Boolean);
    const length = Math.max(0, ...all.map(x => x.calls.length));
    const sum = name => sumLists(all.map(x => x[name] || []), length);
    return {calls: sum("calls"), completed: sum("completed"), rateLimited: sum("rate_limited"), failed: sum("failed"),
        tokens: sum("tokens")};
}

export const minutes = steps => perMinute(steps, state.history?.step_s || 10);

export const times = () => ({stepS: state.history?.step_s || 10, end: state.history?.end || 0});

export const strips = steps => [{name: "429s", tone: "warn", values: steps.rateLimited},
    {name: "errors", tone: "bad", values: steps.failed}];

// A colour only for what is more than a small part of all.
export const toneOf = (n, all, part, tone) => (n > all * part ? tone : null);

// Of the last minute.
export function lastMinute(list) {
    const n = Math.round(60 / (state.history?.step_s || 10));
    return total(list.slice(-n));
}

// What needs somebody: parked accounts and endpoints, and providers that nobody serves.
export function troubles() {
    const c = state.cluster;
    const parked = [...c.providers.filter(p => p.cause).map(p => ({provider: p.name, cause: p.cause, at: p})),
        ...c.endpoints.filter(e => e.cause).map(e => ({provider: e.provider, model: e.model, cause: e.cause, at: e}))];
    return {parked, unserved: c.providers.filter(p => p.workers === 0)};
}
