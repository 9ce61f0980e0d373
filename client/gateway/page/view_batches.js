// view_batches.js - all batches: those that run, and those that ended, as far back as one likes.
import {get} from "./api.js";
import {notice} from "./ask.js";
import {h} from "./dom.js";
import {changed, noteError, state} from "./live.js";
import {empty, table} from "./parts.js";
import {ended, runningNow} from "./view_overview.js";
import {ACTIVE} from "./words.js";

const PAGE = 50;
let older = [];      // than those that the gateway tells of by itself
let noMore = false;
let asking = false;

function all() {
    const live = state.batches || [];
    const ids = new Set(live.map(b => b.id));
    return [...live, ...older.filter(b => !ids.has(b.id))];
}

async function more() {
    asking = true;
    changed();
    try {
        const list = await get(`v1/batches?limit=${PAGE}&after=${encodeURIComponent(all().at(-1).id)}`);
        older = [...older, ...list.data];
        noMore = !list.has_more;
    } catch (e) {
        noteError(e);
        notice("bad", "cross", `Older batches were not read: ${e.message}`);
    }
    asking = false;
    changed();
}

export const batches = {
    title: () => "Batches",
    enter() {
        older = [];
        noMore = false;
    },
    draw() {
        const list = all().filter(b => !ACTIVE.has(b.status));
        const mayHaveMore = !noMore && (state.batches || []).length >= PAGE;
        return [h("h1", {class: "hidden"}, "Batches"), runningNow(),
            h("section", {"aria-labelledby": "ended"}, h("h2", {id: "ended"}, "Ended"),
                list.length ? table("Batches that ended", ended, list, b => b.id) :
                    state.batches ? empty("No batch has ended yet.") : null,
                mayHaveMore ? h("p", {class: "more"}, h("button", {type: "button", disabled: asking || null, onclick: more},
                    asking ? "Reading…" : "Older batches")) : null)];
    },
};
