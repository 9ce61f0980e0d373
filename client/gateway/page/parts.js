// parts.js - what several views are made of.
import {bar} from "./charts.js";
import {h} from "./dom.js";
import {NONE, count, moment, percent, several, shortId, span, usd} from "./format.js";
import {badge, icon} from "./icons.js";
import {now, state} from "./live.js";
import {doneOf} from "./rates.js";
import {ACTIVE, causeHelp, causeText, nameOf, statusOf} from "./words.js";

// A table on a wide screen, cards on a narrow one.  columns: {title, number, cell: row => what is in it, main: the card's
// head}; keyOf: who a row is.  The roles are said because cards are no tables to a browser.
export function table(caption, columns, rows, keyOf) {
    return h("table", {class: "cards", role: "table"},
        h("caption", {class: "hidden"}, caption),
        h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, columns.map(c =>
            h("th", {scope: "col", role: "columnheader", class: c.number ? "number" : null}, c.title)))),
        h("tbody", {role: "rowgroup"}, rows.map(r => h("tr", {role: "row", key: keyOf(r)}, columns.map(c =>
            h("td", {role: "cell", "data-label": c.main ? null : c.title,
                class: [c.number && "number", c.main && "main", c.wide && "wide"].filter(Boolean).join(" ") || null},
            h("div", {class: "cell"}, c.cell(r))))))));
}

export function empty(title, ...words) {
    return h("div", {class: "empty"}, h("p", {class: "empty-title"}, title), words.length ? h("p", null, words) : null);
}

export const loading = what => h("p", {class: "loading"}, `Reading ${what}…`);

export const statusBadge = batch => {
    const s = statusOf(batch);
    return badge(s.tone, s.mark, s.text);
};

const batchLink = batch => h("a", {href: `#/batch/${batch.id}`}, nameOf(batch) || shortId(batch.id));

export function batchName(batch) {
    return [h("div", {class: "name"}, batchLink(batch)),
        h("div", {class: "sub"}, statusBadge(batch), nameOf(batch) ? h("span", {class: "mono"}, shortId(batch.id)) : null)];
}

export function progressWords(batch) {
    const c = batch.request_counts;
    const words = [ACTIVE.has(batch.status) ? `${count(doneOf(c))} of ${count(c.total)} done` :
        several(c.total, "request")];
    for (const kind of ["failed", "expired", "cancelled"])
        if (c[kind])
            words.push(`${count(c[kind])} ${kind}`);
    return words;
}

export const PARTS = ["completed", "failed", "expired", "cancelled", "retrying", "running"];

export function progressBar(batch, className) {
    const c = batch.request_counts;
    return bar(PARTS.map(kind => ({kind, n: c[kind] || 0})), c.total,
        `${percent(doneOf(c), c.total)}: ${progressWords(batch).join(", ")}`, className);
}

export function progress(batch) {
    const c = batch.request_counts;
    if (!c.total)
        return h("span", {class: "quiet"}, "reading the file");
    return h("div", {class: "progress"}, progressBar(batch),
        h("div", {class: "sub"}, h("strong", null, percent(doneOf(c), c.total)), progressWords(batch).join(" · ")));
}

export function toGo(look) {
    return look.leftS === null ? NONE : span(look.leftS);
}

export const costOf = batch => batch.usage?.cost_usd ?? 0;

export function cost(batch, look) {
    return [usd(costOf(batch)), look.expectedUsd === null || costOf(batch) === 0 ? null :
        h("span", {class: "quiet"}, ` of about ${usd(look.expectedUsd)}`)];
}

// What is parked, why, and until when.
function untilWords(untilS) {
    if (!untilS)
        return "until the configuration is reloaded";
    const left = untilS - now();
    return left > 0 ? `next try in ${span(left)} (${moment(untilS, now())})` : "trying now";
}

export function parkedNote(cause, untilS) {
    return h("div", {class: "parked"}, badge("warn", "pause", `parked: ${causeText(cause)}`),
        h("span", null, untilWords(untilS)), causeHelp(cause) ? h("span", {class: "quiet"}, causeHelp(cause)) : null);
}

export const parkedWhere = p => (p.model ? `${p.provider} · ${p.model}` : p.provider);

// Files are the gateway's to give: the browser's own download, authorised by the cookie.
export function download(href, name, words) {
    return h("a", {class: "button", href, download: name}, icon("down"), words);
}

export const listed = id => (state.batches || []).find(b => b.id === id) || null;
