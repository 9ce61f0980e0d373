// live.js - what is known of the cluster, kept up to date by the gateway's events.  Views read `state` and are told of
// changes; nobody else asks for the same twice.
import {ApiError, get} from "./api.js";
import {Rates, doneOf} from "./rates.js";
import {ACTIVE} from "./words.js";

const AWAY_S = 5;           // without a word of the cluster on an open stream: the broker does not answer
const HISTORY_MS = 10000;   // the history's step
const UNSEEN_MS = 60000;    // so long a tab in the background keeps its stream
const RETRY_S = [1, 2, 4, 8, 15];

export const state = {
    session: null,       // {needs_key, tenant}
    signedOut: false,    // a key is needed, and there is none
    connection: "connecting", // open, lost
    retryAt: 0,          // lost: when it is tried again, ms
    cluster: null,       // as of clusterAt, ms
    clusterAt: 0,
    brokerWords: null,   // what the gateway says of a broker that is away
    batches: null,       // newest first
    history: null,
};
export const rates = new Rates();

const listeners = new Set();
const endings = new Set();
const parkings = new Set();
let source = null;
let failures = 0;
let openedAt = 0;
let skewS = 0;           // the broker's clock less ours
let retryTimer = 0;

export const subscribe = f => listeners.add(f);
export const onEnded = f => endings.add(f);
export const onParked = f => parkings.add(f);
export const changed = () => listeners.forEach(f => f());

export const now = () => Date.now() / 1000 + skewS;

// The stream is open, but nothing is heard of the cluster.
export function brokerAway() {
    return state.connection === "open" &&
        (state.brokerWords !== null || Date.now() - Math.max(state.clusterAt, openedAt) > AWAY_S * 1000);
}

const parkedIn = c => [...c.providers.map(p => [p.name, p.cause]),
    ...c.endpoints.map(e => [`${e.model} at ${e.provider}`, e.cause])].filter(([, cause]) => cause);

function tellParked(before, after) {
    const known = new Set(parkedIn(before).map(([name]) => name));
    for (const [name, cause] of parkedIn(after))
        if (!known.has(name))
            parkings.forEach(f => f(name, cause));
}

function takeCluster(c) {
    if (!c || c.error) {
        state.brokerWords = c?.error?.message || "";
        return;
    }
    state.brokerWords = null;
    if (state.cluster)
        tellParked(state.cluster, c);
    state.cluster = c;
    state.clusterAt = Date.now();
    skewS = c.wall_ms / 1000 - Date.now() / 1000;
    for (const name of ["completed", "cost_usd"])
        rates.add(`cluster ${name}`, now(), c[name]);
}

function tellEndings(before, after) {
    const active = new Set((before || []).filter(b => ACTIVE.has(b.status)).map(b => b.id));
    for (const b of after)
        if (active.has(b.id) && !ACTIVE.has(b.status))
            endings.forEach(f => f(b));
}

function takeBatches(list) {
    for (const b of list)
        rates.add(b.id, now(), doneOf(b.request_counts));
    tellEndings(state.batches, list);
    state.batches = list;
}

// One batch that was asked for, if the list has it.
export function takeBatch(batch) {
    rates.add(batch.id, now(), doneOf(batch.request_counts));
    const at = (state.batches || []).findIndex(b => b.id === batch.id);
    if (at >= 0)
        takeBatches(state.batches.with(at, batch));
}

function listen(name, take) {
    source.addEventListener(name, e => {
        take(JSON.parse(e.data));
        changed();
    });
}

async function takeHistory() {
    if (state.connection !== "open" || !source)
        return;
    try {
        state.history = await get("ui/api/history");
        changed();
    } catch {
        // The stream tells whether the gateway is there; the next step brings the next history.
    }
}

function lost() {
    source?.close();
    state.connection = "lost";
    const wait = RETRY_S[Math.min(failures++, RETRY_S.length - 1)];
    state.retryAt = Date.now() + wait * 1000;
    retryTimer = setTimeout(start, wait * 1000);
    changed();
}

function open() {
    source = new EventSource("ui/api/events");
    source.onopen = () => {
        failures = 0;
        openedAt = Date.now();
        state.connection = "open";
        changed();
        takeHistory();
    };
    source.onerror = lost;
    listen("cluster", takeCluster);
    listen("batches", b => takeBatches(b.data));
}

// A stream that does not open says nothing of why: an ordinary call does.
async function isSignedOut() {
    state.session = await get("ui/api/session");
    if (!state.session.needs_key)
        return false;
    try {
        await get("v1/batches?limit=1");
    } catch (e) {
        if (e.status === 401)
            return true;
        if (e.status === 0)
            throw e;
    }
    return false;
}

// Begins, or begins anew: after a loss, and after signing in.
export async function start() {
    clearTimeout(retryTimer);
    source?.close();
    try {
        state.signedOut = await isSignedOut();
    } catch {
        return lost();
    }
    if (!state.signedOut)
        open();
    changed();
}

// Of a call that failed: a session that ended is not the view's concern.
export function noteError(e) {
    if (e instanceof ApiError && e.status === 401 && state.session?.needs_key) {
        source?.close();
        state.signedOut = true;
        changed();
    }
}

export function forget() {
    source?.close();
    Object.assign(state, {cluster: null, batches: null, history: null, signedOut: true});
    changed();
}

// A browser has six connections to a gateway for all its tabs: one that nobody sees gives its own back.
function pause() {
    clearTimeout(retryTimer);
    source?.close();
    source = null;
}

function watchSight() {
    let timer = 0;
    document.addEventListener("visibilitychange", () => {
        clearTimeout(timer);
        if (document.hidden)
            timer = setTimeout(pause, UNSEEN_MS);
        else if (!source && !state.signedOut)
            start();
    });
    addEventListener("pagehide", pause);
    addEventListener("pageshow", e => e.persisted && start());
}

watchSight();
setInterval(takeHistory, HISTORY_MS);
