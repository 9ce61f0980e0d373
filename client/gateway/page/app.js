// app.js - the frame of the page: which view is shown, what is always to be seen, and when it is drawn.
import {remove} from "./api.js";
import {notice} from "./ask.js";
import {h, show} from "./dom.js";
import {clock} from "./format.js";
import {icon} from "./icons.js";
import {brokerAway, changed, forget, onEnded, onParked, start, state, subscribe} from "./live.js";
import {causeText, nameOf, statusOf} from "./words.js";
import {batch} from "./view_batch.js";
import {batches} from "./view_batches.js";
import {endpoints} from "./view_endpoints.js";
import {overview} from "./view_overview.js";
import {signin} from "./view_signin.js";
import {submission, take} from "./view_submit.js";

const VIEWS = {"": overview, batches, batch, endpoints, submit: submission};
const NAV = [["", "Overview"], ["batches", "Batches"], ["endpoints", "Endpoints"]];

const theme = window.penstockTheme;
const $ = id => document.getElementById(id);
let route = null;   // {name, arg, view}
let drawn = false;  // since the last change

function routeOf(hash) {
    const [name, arg] = hash.replace(/^#\/?/, "").split("/");
    const known = Object.hasOwn(VIEWS, name) && (name !== "batch" || arg);
    return known ? {name, arg, view: VIEWS[name]} : {name: "", arg: undefined, view: overview};
}

const CONNECTIONS = {connecting: ["dots", "connecting"], open: ["check", "live"], lost: ["cross", "not connected"]};

function connection() {
    const [mark, text] = state.signedOut ? ["dots", "signed out"] : CONNECTIONS[state.connection];
    return h("span", {class: `connection is-${state.connection}`}, icon(mark), text);
}

async function signOut() {
    try {
        await remove("ui/api/session");
        forget();
    } catch (e) {
        notice("bad", "cross", `Not signed out: ${e.message}`);
    }
}

function who() {
    if (state.signedOut || !state.session || !(state.session.needs_key || state.session.tenant))
        return null;
    return [state.session.tenant ? h("span", {class: "tenant"}, state.session.tenant) : null,
        h("button", {type: "button", class: "quiet-button", onclick: signOut}, "Sign out")];
}

function top() {
    const dark = theme.isDark();
    const links = NAV.map(([name, text]) => h("a", {href: `#/${name}`, key: name, "aria-current":
        route.name === name || (name === "batches" && route.name === "batch") ? "page" : null}, text));
    return [h("a", {class: "brand", href: "#/", "aria-label": "penstock, overview"},
        h("img", {src: "ui/icon.svg", alt: "", width: "26", height: "26"}), h("span", null, "penstock")),
    state.signedOut ? null : h("nav", {"aria-label": "Views"}, links,
        h("a", {href: "#/submit", class: "button primary", "aria-current": route.name === "submit" ? "page" : null},
            icon("up"), "Submit")),
    h("div", {class: "status"}, connection(), who(),
        h("button", {type: "button", class: "quiet-button", "aria-label": dark ? "Light colours" : "Dark colours",
            onclick: () => { theme.toggle(); changed(); }}, icon(dark ? "sun" : "moon")))];
}

// The words stay the same from second to second, so that they are said once.
function banner() {
    if (state.signedOut)
        return null;
    if (state.connection === "lost")
        return h("div", {class: "banner bad", key: "lost"}, icon("warn"), h("span", null,
            state.clusterAt ? `The gateway does not answer. What you see is of ${clock(state.clusterAt / 1000)}.` :
                "The gateway does not answer."),
        " It is tried again by itself.", h("button", {type: "button", onclick: start}, "Try now"));
    if (brokerAway())
        return h("div", {class: "banner warn", key: "away"}, icon("warn"), h("span", null, "The broker does not answer. ",
            state.clusterAt ? `What you see is of ${clock(state.clusterAt / 1000)}; nothing accepted is lost.` :
                "Is penstock-broker running?"), state.brokerWords ? h("span", {class: "quiet"}, state.brokerWords) : null);
    return null;
}

const shownView = () => (state.signedOut ? signin : route.view);

function draw() {
    drawn = true;
    const view = shownView();
    show($("top"), top());
    show($("banner"), banner());
    $("main").classList.toggle("stale", !state.signedOut && (state.connection === "lost" || brokerAway()));
    show($("main"), h("div", {class: "view", key: `${state.signedOut ? "signin" : route.name} ${route.arg || ""}`},
        view.draw(route.arg)));
    document.title = `${view.title(route.arg)} · penstock`;
}

function drawSoon() {
    if (!drawn)
        return;
    drawn = false;
    requestAnimationFrame(draw);
}

function go() {
    const next = routeOf(location.hash);
    const first = route === null;
    if (!first && next.name === route.name && next.arg === route.arg)
        return;
    route?.view.leave?.();
    route = next;
    route.view.enter?.(route.arg);
    draw();
    if (!first) {
        scrollTo(0, 0);
        $("main").focus({preventScroll: true});
    }
}

function watchDrops() {
    let depth = 0;
    const hasFile = e => e.dataTransfer?.types.includes("Files") && !state.signedOut;
    const hide = () => {
        depth = 0;
        $("drop").hidden = true;
    };
    addEventListener("dragenter", e => {
        if (hasFile(e) && ++depth)
            $("drop").hidden = false;
    });
    addEventListener("dragleave", e => {
        if (hasFile(e) && --depth <= 0)
            hide();
    });
    addEventListener("dragover", e => hasFile(e) && e.preventDefault());
    addEventListener("drop", e => {
        if (!hasFile(e))
            return;
        e.preventDefault();
        hide();
        location.hash = "#/submit";
        take(e.dataTransfer.files[0]);
    });
}

function tellEnd(b) {
    const s = statusOf(b);
    notice(s.tone, s.mark, `${nameOf(b) || b.id}: ${s.text}`);
}

const tellParked = (name, cause) => notice("warn", "pause", `${name} is parked: ${causeText(cause)}`);

// The hash is the view's, so the skip link moves the focus by itself.
$("skip").addEventListener("click", e => {
    e.preventDefault();
    $("main").focus();
});
subscribe(drawSoon);
onEnded(tellEnd);
onParked(tellParked);
addEventListener("hashchange", go);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
watchDrops();
go();
start();
setInterval(() => !document.hidden && changed(), 1000);
