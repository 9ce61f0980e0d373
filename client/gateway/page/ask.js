// ask.js - a question before what cannot be undone, and words about what was done.
import {h, show} from "./dom.js";
import {badge} from "./icons.js";

const SHOWN_MS = 8000;
const KEPT = 4;
const notices = [];
let last = 0;

const draw = () => show(document.getElementById("notices"), notices.map(n =>
    h("div", {class: "notice", key: n.id}, badge(n.tone, n.mark, n.text))));

function drop(id) {
    const at = notices.findIndex(n => n.id === id);
    if (at >= 0)
        notices.splice(at, 1);
    draw();
}

export function notice(tone, mark, text) {
    const id = ++last;
    notices.push({id, tone, mark, text});
    if (notices.length > KEPT)
        notices.shift();
    draw();
    setTimeout(drop, SHOWN_MS, id);
}

// True for yes.  The dialog gives the focus back by itself.
export function ask(title, text, yes, no) {
    const dialog = document.getElementById("ask");
    const words = {"ask-title": title, "ask-text": text, "ask-yes": yes, "ask-no": no};
    for (const [id, word] of Object.entries(words))
        document.getElementById(id).textContent = word;
    return new Promise(resolve => {
        const end = said => () => {
            dialog.onclose = null;
            dialog.close();
            resolve(said);
        };
        document.getElementById("ask-yes").onclick = end(true);
        document.getElementById("ask-no").onclick = dialog.onclose = end(false);
        dialog.showModal();
    });
}
