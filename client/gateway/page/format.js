// format.js - numbers, times and money as people read them.
const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const short = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 1});

export const NONE = "–";

export const count = n => whole.format(n);
export const brief = n => (n < 10000 ? whole.format(n) : short.format(n));

export const several = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;

export function decimal(n) {
    return n === 0 || n >= 9.95 ? whole.format(n) : n.toFixed(1);
}

// Of things a second; slow ones by the minute or the hour, so that there is a number to read.
export function rate(perS) {
    if (perS === null)
        return NONE;
    if (perS === 0 || perS >= 1)
        return `${decimal(perS)}/s`;
    return perS * 60 >= 1 ? `${decimal(perS * 60)}/min` : `${decimal(perS * 3600)}/h`;
}

export function usd(x) {
    if (x === 0)
        return "$0";
    if (x >= 1000)
        return `$${whole.format(x)}`;
    if (x >= 1)
        return `$${x.toFixed(2)}`;
    return `$${x.toFixed(Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(x)))))}`;
}

export function percent(part, all) {
    if (!all)
        return "0%";
    const p = (part / all) * 100;
    // Not done until it is done, and begun once it is begun.
    return p > 99 && p < 100 ? "99%" : p > 0 && p < 1 ? "<1%" : `${Math.floor(p)}%`;
}

const two = n => String(n).padStart(2, "0");

export function span(s) {
    const n = Math.max(0, Math.round(s));
    if (n < 60)
        return `${n} s`;
    if (n < 3600)
        return n < 600 && n % 60 ? `${Math.floor(n / 60)} min ${two(n % 60)} s` : `${Math.round(n / 60)} min`;
    const minutes = Math.round(n / 60);
    if (minutes < 48 * 60)
        return minutes % 60 ? `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min` : `${minutes / 60} h`;
    return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

export function ms(n) {
    return n < 1000 ? `${whole.format(n)} ms` : n < 60000 ? `${(n / 1000).toFixed(1)} s` : span(n / 1000);
}

export function bytes(n) {
    const units = ["B", "KB", "MB", "GB", "TB"];
    let i = 0;
    for (; n >= 1000 && i < units.length - 1; i++)
        n /= 1000;
    return `${i === 0 ? n : decimal(n)} ${units[i]}`;
}

export function clock(unixS) {
    const d = new Date(unixS * 1000);
    return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export const hour = unixS => clock(unixS).slice(0, 5);

export function moment(unixS, nowS = Date.now() / 1000) {
    const d = new Date(unixS * 1000);
    const sameDay = new Date(nowS * 1000).toDateString() === d.toDateString();
    return sameDay ? clock(unixS) : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${hour(unixS)}`;
}

export function ago(unixS, nowS = Date.now() / 1000) {
    const s = Math.max(0, nowS - unixS);
    return s < 5 ? "just now" : s < 60 ? `${Math.floor(s)} s ago` : s < 3600 ? `${Math.floor(s / 60)} min ago` :
        s < 172800 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86400)} d ago`;
}

export const shortId = id => `${id.slice(0, 10)}…${id.slice(-6)}`;
