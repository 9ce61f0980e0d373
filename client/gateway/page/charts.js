// charts.js - pictures of the last hour.  The plot is SVG stretched over its box; all words are HTML around it.
// A chart is a slider over time for keyboard and screen readers: arrow keys go through the steps, and each is said.
import {h} from "./dom.js";
import {brief, hour} from "./format.js";
import {changed} from "./live.js";

const at = new Map();       // of a chart: the step that is looked at
const HEIGHT = 100;
const FAR = 4;              // a limit so many times above all there was is named, not drawn

const known = values => values.some(v => v !== null && v !== undefined);

function areas(values, scale) {
    const parts = [];
    let part = null;
    values.forEach((v, i) => {
        if (v === null || v === undefined)
            part = null;
        else {
            if (!part)
                parts.push(part = []);
            part.push([i, HEIGHT - Math.min(HEIGHT, v * scale)]);
        }
    });
    return parts;
}

const line = part => part.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y.toFixed(1)}`).join("");
const area = part => `${line(part)}L${part.at(-1)[0]} ${HEIGHT}L${part[0][0]} ${HEIGHT}Z`;

// The next round number whose half is round too.
function roundUp(v) {
    const unit = 10 ** Math.floor(Math.log10(Math.max(v, 1)));
    return unit * [1, 2, 4, 6, 8, 10].find(n => n * unit >= v);
}

// {top, limitY}: the value at the top, and where the limit is, as a part of the height; limitY null: not in the picture.
function scaleOf(values, limit) {
    const peak = Math.max(0, ...values.map(v => v ?? 0));
    const isNear = limit && (peak === 0 || limit <= peak * FAR);
    const top = Math.max(2, roundUp(Math.max(peak, isNear ? limit : 0) * 1.08));
    return {top, limitY: isNear ? limit / top : null};
}

function marks(list, className) {
    const most = Math.max(1, ...list.values.map(v => v ?? 0));
    const mark = (v, i) => h("rect", {x: i - 0.6, width: 2.2, y: 7 - 7 * (v / most), height: 10});
    return [h("span", {class: `strip-name ${className}`}, list.name),
        h("svg", {class: `strip ${className}`, viewBox: `0 0 ${list.values.length} 10`, preserveAspectRatio: "none",
            "aria-hidden": "true"}, list.values.map((v, i) => (v ? mark(v, i) : null)))];
}

const timeAt = (c, i) => c.end - (c.values.length - 1 - i) * c.stepS;

function words(c, i) {
    const v = c.values[i];
    const rest = c.strips.filter(s => s.values[i]).map(s => `${brief(s.values[i])} ${s.name}`);
    return [`${hour(timeAt(c, i))}:`, v === null || v === undefined ? "nothing yet" : `${c.say(v)}`,
        ...(rest.length ? [`, ${rest.join(", ")}`] : [])].join(" ").replace(" ,", ",");
}

function look(id, i) {
    if (i === null)
        at.delete(id);
    else
        at.set(id, i);
    changed();
}

function pointed(c, e) {
    const box = e.currentTarget.getBoundingClientRect();
    const part = (e.clientX - box.left) / box.width;
    look(c.id, Math.max(0, Math.min(c.values.length - 1, Math.round(part * (c.values.length - 1)))));
}

function keyed(c, e) {
    const last = c.values.length - 1;
    const from = at.get(c.id) ?? last;
    const to = {ArrowLeft: from - 1, ArrowRight: from + 1, ArrowDown: from - 1, ArrowUp: from + 1,
        PageDown: from - 30, PageUp: from + 30, Home: 0, End: last}[e.key];
    if (e.key === "Escape")
        look(c.id, null);
    if (to === undefined)
        return;
    e.preventDefault();
    look(c.id, Math.max(0, Math.min(last, to)));
}

function plot(c, scale) {
    const i = at.get(c.id);
    const n = c.values.length;
    return h("svg", {viewBox: `0 0 ${n - 1} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true"},
        areas(c.values, HEIGHT / scale.top).map(p => [h("path", {class: "area", d: area(p)}),
            h("path", {class: "line", d: line(p)})]),
        scale.limitY === null ? null :
            h("path", {class: "limit", d: `M0 ${HEIGHT - scale.limitY * HEIGHT}H${n - 1}`}),
        i === undefined ? null : h("path", {class: "cross", d: `M${i} 0V${HEIGHT}`}));
}

function limitLabel(c, scale) {
    if (!c.limit)
        return null;
    const text = `limit ${c.say(c.limit)}`;
    return scale.limitY === null ? h("span", {class: "limit-label far"}, `↑ ${text}`) :
        h("span", {class: "limit-label", style: {bottom: `${scale.limitY * 100}%`}}, text);
}

function readout(c) {
    const i = at.get(c.id);
    if (i === undefined || i >= c.values.length)
        return null;
    const part = i / (c.values.length - 1);
    return h("output", {class: part > 0.5 ? "readout left" : "readout", style: {left: `${part * 100}%`}}, words(c, i));
}

function slider(c, scale) {
    const last = c.values.length - 1;
    const i = Math.min(at.get(c.id) ?? last, last);
    return h("div", {
        class: "plot", tabindex: "0", role: "slider", "aria-label": c.label, "aria-valuemin": "0",
        "aria-valuemax": String(last), "aria-valuenow": String(i), "aria-valuetext": words(c, i),
        onpointermove: e => pointed(c, e), onpointerdown: e => pointed(c, e), onpointerleave: () => look(c.id, null),
        onkeydown: e => keyed(c, e), onblur: () => look(c.id, null),
    }, plot(c, scale), limitLabel(c, scale), readout(c));
}

// c: {id, label, values, limit or null, say: a value as words, tick: as few letters, strips: [{name, values, tone}], stepS,
// end}
export function chart(c) {
    const scale = scaleOf(c.values, c.limit);
    if (!known(c.values))
        return h("div", {class: "chart nothing", key: c.id}, "No calls yet.");
    const tick = c.tick || brief;
    return h("div", {class: "chart", key: c.id},
        h("div", {class: "ticks", "aria-hidden": "true"}, h("span", null, tick(scale.top)),
            h("span", null, tick(scale.top / 2)), h("span", null, tick(0))),
        slider(c, scale),
        c.strips.filter(s => s.values.some(v => v)).map(s => marks(s, `tone-${s.tone}`)),
        h("div", {class: "axis", "aria-hidden": "true"},
            h("span", null, hour(timeAt(c, 0))), h("span", null, hour(timeAt(c, Math.floor(c.values.length / 2)))),
            h("span", null, "now")));
}

// A bar of parts of a whole; the words say the same.
export function bar(parts, all, label, className = "") {
    return h("div", {class: `bar ${className}`, role: "img", "aria-label": label},
        parts.filter(p => p.n > 0).map(p =>
            h("span", {class: `part part-${p.kind}`, key: p.kind, style: {width: `${(p.n / Math.max(all, 1)) * 100}%`}})));
}

// How much of a limit is used.
export function meter(used, limit, label) {
    const part = limit ? used / limit : 0;
    return h("div", {class: part >= 1 ? "meter full" : "meter", role: "img",
        "aria-label": label}, h("span", {style: {width: `${Math.min(100, part * 100)}%`}}));
}
