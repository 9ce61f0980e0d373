// preview.js - what the beginning of a file says before it is sent: how many requests, for which models, and what is
// plainly wrong.  The gateway decides; this only saves the way there.
const LOOKED_BYTES = 256 * 1024;
const WRONG_MAX = 5;
export const URLS = ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions"];

function readLine(text, line, ret) {
    let object;
    try {
        object = JSON.parse(text);
    } catch {
        ret.wrong.push({line, message: "is not JSON"});
        return;
    }
    if (typeof object !== "object" || object === null || typeof object.body !== "object" || object.body === null) {
        ret.wrong.push({line, message: "has no body that is an object"});
        return;
    }
    if (typeof object.custom_id !== "string")
        ret.wrong.push({line, message: "has no custom_id"});
    const model = typeof object.body.model === "string" ? object.body.model : "no model";
    ret.models.set(model, (ret.models.get(model) || 0) + 1);
    ret.url ??= URLS.includes(object.url) ? object.url : null;
}

// {requests, exact, models: Map of how many, url or null, wrong: [{line, message}]}
export async function preview(file) {
    const whole = file.size <= LOOKED_BYTES;
    const text = (await file.slice(0, LOOKED_BYTES).text()).replace(/^\uFEFF/, "");
    const lines = text.split("\n");
    if (!whole)
        lines.pop(); // cut somewhere
    const ret = {requests: 0, exact: whole, models: new Map(), url: null, wrong: []};
    lines.forEach((line, i) => {
        if (!line.trim())
            return;
        ret.requests++;
        if (ret.wrong.length < WRONG_MAX)
            readLine(line, i + 1, ret);
    });
    if (!whole && lines.length)
        ret.requests = Math.round((ret.requests / new Blob([lines.join("\n")]).size) * file.size);
    return ret;
}
