// mock.mjs - the gateway's API with a small made-up cluster behind it, for tests of the page that need no other:
// `node mock.mjs --page DIR [--port N] [--key K]`.  Prints `ready http://…` and runs until it is ended.
//
// The made-up cluster answers by the model's name: mock/small fast, mock/slow slowly, mock/failing with errors.  What a
// cluster does not do when a test wants it, POST /mock/<what> does: away, back (the broker), cut (all event streams),
// empty (nothing configured), full, park (an endpoint more), unpark.
import {createHash} from "node:crypto";
import {readFile} from "node:fs/promises";
import {createServer} from "node:http";
import {extname, join} from "node:path";
import {parseArgs} from "node:util";
import {Cluster} from "./mock_cluster.mjs";

const CSP = "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; " +
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
    ".js": "text/javascript; charset=utf-8"};
const MULTIPART_MAX = 64 << 20;

const {values: options} = parseArgs({options: {page: {type: "string"}, port: {type: "string", default: "0"},
    key: {type: "string"}}});
const cluster = new Cluster();
const streams = new Set();
const sessions = new Set();
let away = false;

function send(res, status, object, headers = {}) {
    res.writeHead(status, {"content-type": "application/json", "cache-control": "no-store", ...headers});
    res.end(JSON.stringify(object));
}

function refuse(res, status, message, code = null) {
    send(res, status, {error: {message, type: "invalid_request_error", param: null, code}});
}

async function sendFile(res, name) {
    try {
        const bytes = await readFile(join(options.page, name));
        res.writeHead(200, {"content-type": TYPES[extname(name)] || "application/octet-stream",
            "content-security-policy": CSP, "x-content-type-options": "nosniff",
            etag: `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"`, "cache-control": "no-cache"});
        res.end(bytes);
    } catch {
        refuse(res, 404, "There is no such file.");
    }
}

async function bodyOf(req) {
    const pieces = [];
    let n = 0;
    for await (const piece of req) {
        n += piece.length;
        if (n > MULTIPART_MAX)
            throw new Error("too large");
        pieces.push(piece);
    }
    return Buffer.concat(pieces);
}

// The parts of a multipart body as text, by name.
function partsOf(body, type) {
    const boundary = /boundary=(?:"([^"]+)"|([^;]+))/.exec(type);
    const parts = {};
    for (const piece of body.toString().split(`--${boundary[1] || boundary[2]}`)) {
        const name = /name="([^"]*)"/.exec(piece);
        const at = piece.indexOf("\r\n\r\n");
        if (name && at > 0)
            parts[name[1]] = {text: piece.slice(at + 4, -2), filename: /filename="([^"]*)"/.exec(piece)?.[1]};
    }
    return parts;
}

const cookieOf = req => /penstock=([^;]+)/.exec(req.headers.cookie || "")?.[1];
const known = req => !options.key || sessions.has(cookieOf(req));

async function session(req, res) {
    if (req.method === "GET")
        return send(res, 200, {needs_key: Boolean(options.key), tenant: options.key && known(req) ? "research" : null});
    if (req.method === "DELETE") {
        sessions.delete(cookieOf(req));
        return send(res, 200, {}, {"set-cookie": "penstock=; Max-Age=0; HttpOnly; SameSite=Strict; Path=/"});
    }
    if (JSON.parse(await bodyOf(req)).key !== options.key)
        return refuse(res, 401, "Incorrect API key provided.", "invalid_api_key");
    const id = createHash("sha256").update(String(Math.random())).digest("hex");
    sessions.add(id);
    return send(res, 200, {}, {"set-cookie": `penstock=${id}; HttpOnly; SameSite=Strict; Path=/`});
}

async function postFile(req, res) {
    const parts = partsOf(await bodyOf(req), req.headers["content-type"]);
    if (parts.purpose?.text !== "batch" || !parts.file)
        return refuse(res, 400, "Missing required parameter: 'purpose'.");
    if (!parts.file.text.trim())
        return refuse(res, 400, "Invalid file format for Batch API. Must be .jsonl");
    return send(res, 200, cluster.addFile(parts.file.text, parts.file.filename));
}

async function postBatch(req, res) {
    const asked = JSON.parse(await bodyOf(req));
    const made = cluster.addBatch(asked);
    return made ? send(res, 200, made) : refuse(res, 400, "There is no such file.");
}

const ROUTES = [
    ["GET", /^\/ui\/api\/cluster$/, (req, res) => (away ? refuse(res, 503, "no answer from the broker") :
        send(res, 200, cluster.top()))],
    ["GET", /^\/ui\/api\/history$/, (req, res) => send(res, 200, cluster.history())],
    ["GET", /^\/ui\/api\/events$/, events],
    ["GET", /^\/ui\/api\/batches\/([^/]+)\/receipt$/, (req, res, id) => given(res, cluster.receipt(id))],
    ["GET", /^\/ui\/api\/batches\/([^/]+)\/failed$/, (req, res, id, query) =>
        given(res, cluster.failed(id, Number(query.get("limit") || 100)))],
    ["POST", /^\/v1\/files$/, postFile],
    ["GET", /^\/v1\/files\/([^/]+)\/content$/, content],
    ["POST", /^\/v1\/batches$/, postBatch],
    ["GET", /^\/v1\/batches$/, (req, res, _, query) => send(res, 200, cluster.list(query.get("after"),
        Number(query.get("limit") || 20)))],
    ["GET", /^\/v1\/batches\/([^/]+)$/, (req, res, id) => given(res, cluster.batch(id))],
    ["POST", /^\/v1\/batches\/([^/]+)\/cancel$/, (req, res, id) => given(res, cluster.cancel(id))],
];

function given(res, object) {
    return object ? send(res, 200, object) : refuse(res, 404, "No batch found with this id.");
}

function content(req, res, id) {
    const text = cluster.content(id);
    if (text === null)
        return refuse(res, 404, "No such file.");
    res.writeHead(200, {"content-type": "application/jsonl"});
    return res.end(text);
}

function events(req, res) {
    res.writeHead(200, {"content-type": "text/event-stream", "cache-control": "no-store"});
    res.write("retry: 1000\n\n");
    streams.add(res);
    res.on("close", () => streams.delete(res));
    tell(res, true);
}

function tell(res, all) {
    if (away)
        return;
    res.write(`event: cluster\ndata: ${JSON.stringify(cluster.top())}\n\n`);
    if (all)
        res.write(`event: batches\ndata: ${JSON.stringify({data: cluster.list(null, 50).data})}\n\n`);
}

function control(what) {
    away = what === "away" || (away && what !== "back");
    if (what === "cut")
        streams.forEach(s => s.destroy());
    if (what === "park" || what === "unpark")
        cluster.setParked(what === "park");
    if (what === "empty" || what === "full")
        cluster.setEmpty(what === "empty");
}

async function serve(req, res) {
    const url = new URL(req.url, "http://mock");
    if (url.pathname === "/")
        return sendFile(res, "index.html");
    if (url.pathname === "/ui/api/session")
        return session(req, res);
    const file = /^\/ui\/([a-z_]+\.[a-z]+)$/.exec(url.pathname);
    if (file)
        return sendFile(res, file[1]);
    if (url.pathname.startsWith("/mock/")) {
        control(url.pathname.slice("/mock/".length));
        return send(res, 200, {});
    }
    if (!known(req))
        return refuse(res, 401, "You didn't provide an API key.");
    for (const [method, path, answer] of ROUTES) {
        const match = method === req.method && path.exec(url.pathname);
        if (match)
            return answer(req, res, match[1], url.searchParams);
    }
    return refuse(res, 404, "There is nothing here.");
}

setInterval(() => {
    cluster.step();
    streams.forEach(s => tell(s, true));
}, 1000);
const server = createServer((req, res) => serve(req, res).catch?.(e => refuse(res, 500, e.message)));
server.listen(Number(options.port), "127.0.0.1", () => console.log(`ready http://127.0.0.1:${server.address().port}`));
