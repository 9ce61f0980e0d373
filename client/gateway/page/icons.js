// icons.js - the few marks that go beside words, never instead of them.
import {h} from "./dom.js";

const PATHS = {
    check: "M3 8.5 6.5 12 13 4.5",
    cross: "M4 4l8 8M12 4l-8 8",
    play: "M5 3.5v9L12.5 8z",
    pause: "M5.5 3.5v9M10.5 3.5v9",
    clock: "M8 2a6 6 0 1 0 .01 0M8 4.8V8l2.3 1.6",
    stop: "M8 2a6 6 0 1 0 .01 0M4 12l8-8",
    warn: "M8 2.2 14.4 13.5H1.6zM8 6.4v3.4M8 11.6v.3",
    dots: "M3.2 8h.1M8 8h.1M12.8 8h.1",
    down: "M8 2v8.5M4.2 7 8 10.8 11.8 7M2.5 13.8h11",
    up: "M8 11.5V3M4.2 6.5 8 2.7l3.8 3.8M2.5 13.8h11",
    copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
    sun: "M8 5a3 3 0 1 0 .01 0M8 .8v1.6M8 13.6v1.6M.8 8h1.6M13.6 8h1.6M2.9 2.9l1.1 1.1M12 12l1.1 1.1M13.1 2.9 12 4M4 12l-1.1 1.1",
    moon: "M13.5 9.8A6 6 0 1 1 6.2 2.5a4.8 4.8 0 0 0 7.3 7.3z",
};

export const icon = name =>
    h("svg", {class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false"},
        h("path", {d: PATHS[name]}));

export const badge = (tone, mark, text) => h("span", {class: `badge tone-${tone}`}, icon(mark), text);
