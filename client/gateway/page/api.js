// api.js - the gateway's API, asked relative to where this page came from.

// An answer that is no success: its status, and the words of the error envelope where it has one.
export class ApiError extends Error {
    constructor(status, error) {
        super(error?.message || (status ? `The gateway answered with status ${status}.` : "The gateway cannot be reached."));
        this.status = status;
        this.code = error?.code || null;
    }
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch {
        return null;
    }
}

async function request(method, path, body) {
    const options = {method, headers: {accept: "application/json"}, cache: "no-store"};
    if (body !== undefined) {
        options.headers["content-type"] = "application/json";
        options.body = JSON.stringify(body);
    }
    let answer, text;
    try {
        answer = await fetch(path, options);
        text = await answer.text();
    } catch {
        throw new ApiError(0, null);
    }
    const object = parsed(text);
    if (!answer.ok || (object === null && text))
        throw new ApiError(answer.status, object?.error);
    return object;
}

export const get = path => request("GET", path);
export const post = (path, body) => request("POST", path, body);
export const remove = path => request("DELETE", path);

const settle = (call, resolve, reject) => {
    const object = parsed(call.responseText);
    if (call.status >= 200 && call.status < 300 && object)
        resolve(object);
    else
        reject(new ApiError(call.status, object?.error));
};

// Uploads a file of requests.  XMLHttpRequest because fetch tells no progress of what is sent.
export function upload(file, name, onProgress, signal) {
    const form = new FormData();
    form.append("purpose", "batch");
    form.append("file", file, name);
    return new Promise((resolve, reject) => {
        const call = new XMLHttpRequest();
        call.open("POST", "v1/files");
        call.upload.onprogress = e => onProgress(e.loaded, e.lengthComputable ? e.total : 0);
        call.onload = () => settle(call, resolve, reject);
        call.onerror = () => reject(new ApiError(0, null));
        call.onabort = () => reject(new DOMException("", "AbortError"));
        signal.addEventListener("abort", () => call.abort());
        call.send(form);
    });
}

export const contentOf = fileId => `v1/files/${encodeURIComponent(fileId)}/content`;
export const batchPath = id => `v1/batches/${encodeURIComponent(id)}`;
export const ourBatchPath = id => `ui/api/batches/${encodeURIComponent(id)}`;
