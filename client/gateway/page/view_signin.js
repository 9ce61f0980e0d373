// view_signin.js - a key, where the gateway wants one.  The browser keeps a cookie that stands for it, which no script
// can read.
import {post} from "./api.js";
import {h} from "./dom.js";
import {changed, start} from "./live.js";

let error = null;
let asking = false;

async function signIn(e) {
    e.preventDefault();
    const input = document.getElementById("key");
    asking = true;
    error = null;
    changed();
    try {
        await post("ui/api/session", {key: input.value});
        input.value = "";
        await start();
    } catch (failure) {
        error = failure.status === 401 ? "That is no key of this gateway." : failure.message;
        input.focus();
    }
    asking = false;
    changed();
}

export const signin = {
    title: () => "Sign in",
    draw() {
        return h("form", {class: "panel signin", onsubmit: signIn},
            h("h1", null, "Sign in"),
            h("p", {class: "quiet"}, "This gateway wants a key: one of its api_keys, as programs send it."),
            h("label", {for: "key"}, "Key"),
            h("input", {id: "key", type: "password", autocomplete: "current-password", required: true,
                "aria-describedby": error ? "key-error" : null, "aria-invalid": error ? "true" : null,
                init: node => requestAnimationFrame(() => node.focus())}),
            error ? h("p", {id: "key-error", class: "error", role: "alert"}, error) : null,
            h("div", {class: "buttons"},
                h("button", {type: "submit", class: "primary", disabled: asking || null}, "Sign in")));
    },
};
