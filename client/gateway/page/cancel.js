// cancel.js - cancelling a batch, from wherever it is seen.
import {batchPath, post} from "./api.js";
import {ask, notice} from "./ask.js";
import {h} from "./dom.js";
import {count} from "./format.js";
import {icon} from "./icons.js";
import {changed, noteError, takeBatch} from "./live.js";
import {doneOf} from "./rates.js";
import {nameOf} from "./words.js";

const underway = new Set();

async function cancel(batch) {
    const left = batch.request_counts.total - doneOf(batch.request_counts);
    const name = nameOf(batch) || batch.id;
    if (!await ask(`Cancel ${name}?`, `${count(left)} requests are not done. Those that were not sent yet will not be; ` +
        "what is done stays readable.", "Cancel the batch", "Let it run"))
        return;
    underway.add(batch.id);
    changed();
    try {
        takeBatch(await post(`${batchPath(batch.id)}/cancel`));
        notice("wait", "stop", `Cancelling ${name}.`);
    } catch (e) {
        noteError(e);
        notice("bad", "cross", `${name} was not cancelled: ${e.message}`);
    }
    underway.delete(batch.id);
    changed();
}

export function cancelButton(batch) {
    if (!["validating", "in_progress"].includes(batch.status))
        return null;
    return h("button", {type: "button", class: "quiet-button", disabled: underway.has(batch.id) || null,
        "aria-label": `Cancel ${nameOf(batch) || batch.id}`, onclick: () => cancel(batch)}, icon("stop"), "Cancel");
}
