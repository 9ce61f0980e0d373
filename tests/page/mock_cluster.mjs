// mock_cluster.mjs - the small made-up cluster behind mock.mjs.  Numbers move by a fixed seed, once a second.
const STEP_S = 10;
const STEPS = 360;
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SPEEDS = {"mock/small": 120, "mock/slow": 1, "mock/failing": 60};
const URLS = ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions"];
const FAILURES = [
    ["context_length_exceeded", 400, "This model's maximum context length is 128000 tokens, but the prompt has 131204."],
    ["invalid_request", 400, "Invalid value for 'temperature': it must be between 0 and 2."],
    ["content_policy_violation", 400, "The request was refused by the provider's content filter."],
    ["timeout", null, "No answer came within 600 s, four times."],
];

const seconds = () => Math.floor(Date.now() / 1000);

function dice(seed) {
    let x = seed;
    return () => {
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        return x / 2 ** 32;
    };
}

// name, model, calls a minute at its height, limits, p50 in ms, tokens a call, price of a call, 429s a step, errors a step
const ENDPOINTS = [
    {provider: "openai", model: "gpt-4.1-mini", perMinute: 470, p50: 780, tokens: 620, usd: 0.00042, refused: 0.4,
        broken: 0.03, concurrency: 0, limits: [["requests_per_minute", 500, "configured"],
            ["tokens_per_minute", 400000, "headers"]]},
    {provider: "openai", model: "gpt-4.1", perMinute: 96, p50: 2140, tokens: 1900, usd: 0.0061, refused: 2.5, broken: 0.1,
        concurrency: 0, limits: [["requests_per_minute", 120, "headers"]]},
    {provider: "anthropic", model: "claude-sonnet-4-5", perMinute: 46, p50: 3420, tokens: 2400, usd: 0.0093, refused: 1.2,
        broken: 0.25, concurrency: 0, limits: [["requests_per_minute", 50, "429s"],
            ["input_tokens_per_minute", 40000, "headers"], ["output_tokens_per_minute", 8000, "headers"]]},
    {provider: "my-vllm", model: "qwen2.5-7b-instruct", perMinute: 230, p50: 410, tokens: 540, usd: 0.00003, refused: 0,
        broken: 0.02, concurrency: 16, limits: []},
    {provider: "gemini", model: "gemini-2.5-flash", perMinute: 0, p50: 0, tokens: 0, usd: 0, refused: 0, broken: 0,
        concurrency: 0, limits: [["requests_per_minute", 1000, "configured"]]},
];
const PROVIDERS = [
    {name: "openai", workers: 2, concurrency: 64, limits: [["requests_per_minute", 600, "configured"],
        ["requests_per_day", 200000, "headers"]]},
    {name: "anthropic", workers: 1, concurrency: 0, limits: []},
    {name: "my-vllm", workers: 1, concurrency: 16, limits: []},
    {name: "gemini", workers: 1, concurrency: 0, limits: [], cause: "authentication", parkedS: 540},
    {name: "mistral", workers: 0, concurrency: 0, limits: []},
];
const BATCHES = [
    {name: "nightly-summaries", jobs: 24000, done: 8300, failed: 41, perS: 38, usd: 0.00051, ageS: 240, model: "mixed"},
    {name: "product-tags", jobs: 5200, done: 4100, failed: 3, perS: 5.5, usd: 0.00006, ageS: 700, retrying: 12,
        model: "mixed"},
    {name: "eval-flash", jobs: 800, done: 212, failed: 0, perS: 0, usd: 0.0002, ageS: 1900, model: "mixed",
        parked: ["gemini", "gemini-2.5-flash", "authentication"]},
    {name: "support-triage", jobs: 3000, done: 3000, failed: 163, ageS: 5400, tookS: 610, usd: 0.0011, model: "mixed"},
    {name: "translations-fr", jobs: 1200, done: 1200, failed: 0, ageS: 9000, tookS: 95, usd: 0.0004, model: "mixed"},
    {name: null, jobs: 0, done: 0, failed: 0, ageS: 20000, usd: 0, model: "mixed", refused: true},
    {name: "try-again", jobs: 640, done: 180, failed: 180, ageS: 90000, tookS: 30, usd: 0, model: "mixed", cancelled: true},
];

export class Cluster {
    #dice = dice(7);
    #batches = [];
    #files = new Map();
    #began = Date.now() - 5 * 3600e3;
    #empty = false;
    #parked = false;
    #history = null;
    #counts = ENDPOINTS.map(e => ({calls: e.perMinute * 290, completed: e.perMinute * 288, rate_limited: e.refused * 1700,
        failed: e.broken * 900}));
    #ticks = 0;

    constructor() {
        for (const b of BATCHES)
            this.#batches.push(this.#made(b, "file-given"));
        this.#history = ENDPOINTS.map(e => ({provider: e.provider, model: e.model, ...this.#past(e)}));
    }

    setParked(parked) {
        this.#parked = parked;
    }

    setEmpty(empty) {
        this.#empty = empty;
    }

    #id(seed) {
        let s = "01KB";
        for (let i = 0; i < 22; i++)
            s += ALPHABET[Math.floor(this.#dice() * 32)];
        return seed + s;
    }

    #made(b, file) {
        const t = seconds();
        return {...b, id: this.#id("batch_"), file, created: t - b.ageS, retrying: b.retrying || 0,
            ended: b.tookS ? t - b.ageS + b.tookS : b.refused ? t - b.ageS + 2 : 0, cancelling: 0, part: 0};
    }

    // One step of an hour that rose, had a dip, and goes on at its height.
    #step(e, i) {
        const wave = Math.min(1, i / 90) * (i > 190 && i < 215 ? 0.35 : 1) * (0.9 + 0.1 * Math.sin(i / 11));
        const calls = i < 20 ? 0 : Math.round(e.perMinute / 6 * wave * (0.94 + 0.12 * this.#dice()));
        const burst = i % 67 < 9 ? 1 : 0.05;
        return {calls, rate_limited: Math.floor(e.refused * burst * 2 * this.#dice() + 0.2 * e.refused * this.#dice()),
            failed: this.#dice() < e.broken ? 1 + Math.floor(this.#dice() * 2) : 0,
            tokens: calls * e.tokens, p50_ms: calls ? Math.round(e.p50 * (0.85 + 0.4 * this.#dice())) : null,
            in_flight: Math.round((e.perMinute / 60) * wave * (e.p50 / 1000) * (0.8 + 0.4 * this.#dice()))};
    }

    #past(e) {
        const ret = {calls: [], completed: [], rate_limited: [], failed: [], tokens: [], p50_ms: [], in_flight: []};
        for (let i = 0; i < STEPS; i++)
            this.#push(ret, e, i);
        return ret;
    }

    #push(list, e, i) {
        const s = this.#step(e, i);
        s.completed = Math.max(0, s.calls - s.rate_limited - s.failed);
        for (const [name, v] of Object.entries(s))
            list[name].push(e.perMinute ? v : name === "p50_ms" ? null : 0);
    }

    step() {
        this.#ticks++;
        for (const b of this.#batches)
            this.#stepBatch(b);
        ENDPOINTS.forEach((e, i) => {
            const c = this.#counts[i];
            c.calls += e.perMinute / 60;
            c.completed += e.perMinute / 60.5;
            c.rate_limited += e.refused / 10 * this.#dice();
            c.failed += e.broken / 10 * this.#dice();
        });
        if (this.#ticks % STEP_S === 0)
            this.#history.forEach((h, i) => {
                this.#push(h, ENDPOINTS[i], 150 + this.#ticks);
                Object.values(h).forEach(list => Array.isArray(list) && list.shift());
            });
    }

    #stepBatch(b) {
        if (b.ended || b.refused)
            return;
        if (b.cancelling) {
            b.ended = seconds();
            b.cancelled = true;
            return;
        }
        b.part += b.perS * (0.85 + 0.3 * this.#dice());
        const n = Math.min(Math.floor(b.part), b.jobs - b.done);
        b.part -= Math.floor(b.part);
        b.done += n;
        b.failed += b.model === "mock/failing" ? Math.ceil(n / 2) : n && this.#dice() < 0.04 && b.model === "mixed" ? 1 : 0;
        if (b.done === b.jobs)
            b.ended = seconds();
    }

    addFile(text, filename) {
        const id = `file-${this.#id("")}`;
        this.#files.set(id, text);
        return {id, object: "file", bytes: text.length, created_at: seconds(), filename, purpose: "batch",
            status: "processed", status_details: null};
    }

    addBatch(asked) {
        const text = this.#files.get(asked.input_file_id);
        if (text === undefined || !URLS.includes(asked.endpoint))
            return null;
        const lines = text.split("\n").filter(l => l.trim());
        const errors = lines.flatMap((l, i) => this.#wrong(l, i + 1));
        const model = errors.length ? null : JSON.parse(lines[0]).body.model;
        const b = this.#made({name: asked.metadata?.name || null, jobs: errors.length ? 0 : lines.length, done: 0, failed: 0,
            perS: SPEEDS[model] || 20, usd: 0.0003, ageS: 0, model, window: asked.completion_window}, asked.input_file_id);
        if (errors.length)
            Object.assign(b, {refused: true, ended: seconds(), errors});
        this.#batches.unshift(b);
        return this.#object(b);
    }

    #wrong(text, line) {
        try {
            const model = JSON.parse(text).body.model;
            return Object.hasOwn(SPEEDS, model) ? [] : [{code: "model_not_found", line, param: "body.model",
                message: `The provided model '${model}' is not supported by the Batch API.`}];
        } catch {
            return [{code: "invalid_json_line", line, param: null, message: "This line is not parseable as valid JSON."}];
        }
    }

    #status(b) {
        if (b.refused)
            return "failed";
        if (b.ended)
            return b.cancelled ? "cancelled" : b.failed === b.done ? "failed" : "completed";
        return b.cancelling ? "cancelling" : "in_progress";
    }

    #errors(b) {
        const data = b.errors || [
            {code: "invalid_json_line", line: 3, param: null, message: "This line is not parseable as valid JSON."},
            {code: "duplicate_custom_id", line: 7, param: "custom_id", message: "The custom_id 'r-6' is there twice."},
            {code: "model_not_found", line: 12, param: "body.model", message: "No endpoint serves the model 'gpt-9'."}];
        return b.refused ? {object: "list", data} : null;
    }

    #counted(b) {
        const left = b.ended ? 0 : b.jobs - b.done;
        const running = Math.min(left, Math.ceil(b.perS || 0));
        const retrying = Math.min(left - running, b.retrying);
        return {total: b.jobs, completed: b.done - b.failed, failed: b.failed, expired: 0,
            cancelled: b.cancelled ? b.jobs - b.done : 0, queued: left - running - retrying, running, retrying};
    }

    #object(b) {
        const status = this.#status(b);
        const end = name => (status === name && b.ended ? b.ended : null);
        const ulid = b.id.slice("batch_".length);
        return {id: b.id, object: "batch", endpoint: URLS[0], errors: this.#errors(b), input_file_id: b.file,
            completion_window: b.window || "24h", status, output_file_id: b.refused ? null : `file-output-${ulid}`,
            error_file_id: null, created_at: b.created, in_progress_at: b.refused ? null : b.created + 1,
            expires_at: b.created + 86400, finalizing_at: null, completed_at: end("completed"), failed_at: end("failed"),
            expired_at: null, cancelling_at: b.cancelling || null, cancelled_at: end("cancelled"),
            request_counts: this.#counted(b),
            usage: {input_tokens: b.done * 412, input_tokens_details: {cached_tokens: b.done * 120},
                output_tokens: b.done * 96, output_tokens_details: {reasoning_tokens: 0}, total_tokens: b.done * 508,
                cost_usd: (b.done - b.failed) * b.usd},
            metadata: b.name ? {name: b.name} : null, name: null, priority: "normal",
            parked: b.parked ? [{provider: b.parked[0], model: b.parked[1], error_type: b.parked[2],
                until: this.#until()}] : []};
    }

    #until() {
        return seconds() + 540 - this.#ticks % 540;
    }

    #find(id) {
        return this.#empty ? undefined : this.#batches.find(b => b.id === id);
    }

    batch(id) {
        const b = this.#find(id);
        return b ? this.#object(b) : null;
    }

    list(after, limit) {
        const all = this.#empty ? [] : this.#batches;
        const from = after ? all.findIndex(b => b.id === after) + 1 : 0;
        const data = all.slice(from, from + limit).map(b => this.#object(b));
        return {object: "list", data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null,
            has_more: from + limit < all.length};
    }

    cancel(id) {
        const b = this.#find(id);
        if (!b)
            return null;
        b.cancelling = seconds();
        return this.#object(b);
    }

    #failure(b, i) {
        return FAILURES[[0, 0, 1, 0, 2, 1, 3][i % 7]];
    }

    receipt(id) {
        const b = this.#find(id);
        if (!b)
            return null;
        const causes = {};
        for (let i = 0; i < b.failed; i++)
            causes[this.#failure(b, i)[0]] = (causes[this.#failure(b, i)[0]] || 0) + 1;
        const o = this.#object(b);
        const shares = b.done ? [[ENDPOINTS[0], 0.7], [ENDPOINTS[3], 0.25], [ENDPOINTS[2], 0.05]] : [];
        return {id, status: o.status, jobs: b.jobs, results: b.done, completed: b.done - b.failed, failed: b.failed,
            expired: 0, cancelled: o.request_counts.cancelled, causes, cost_usd: o.usage.cost_usd, input_tokens: o.usage.input_tokens,
            cached_tokens: 0, output_tokens: o.usage.output_tokens, started_at: b.created, ended_at: b.ended || null,
            endpoints: shares.map(([e, part]) => ({provider: e.provider, model: e.model,
                calls: Math.round(b.done * part * 1.04), completed: Math.round((b.done - b.failed) * part),
                rate_limited: Math.round(b.done * part * 0.02), retried: Math.round(b.done * part * 0.01),
                input_tokens: Math.round(b.done * part * 412), cached_tokens: 0,
                output_tokens: Math.round(b.done * part * 96), cost_usd: o.usage.cost_usd * part, latency_p50_ms: e.p50, latency_p95_ms: e.p50 * 3}))};
    }

    #line(b, i) {
        const [cause, status, message] = this.#failure(b, i);
        const attempts = status ? [{provider: "openai", status, error_type: cause, latency_ms: 212}] :
            [1, 2, 3, 4].map(() => ({provider: "anthropic", status: null, error_type: cause, latency_ms: 600000}));
        return {id: `${b.id}.${i * 17}`, custom_id: `ticket-${10000 + i * 17}`,
            response: status ? {status_code: status, request_id: `req_${i}`, body: {error: {message, type:
                "invalid_request_error", param: null, code: cause}}} : null,
            error: status ? null : {code: cause, message},
            penstock: {status: "failed", provider: attempts[0].provider, model: "gpt-4.1-mini", cost_usd: 0, queued_ms: 12,
                latency_ms: 212, error_type: cause, attempts}};
    }

    failed(id, limit) {
        const b = this.#find(id);
        return b ? {data: Array.from({length: Math.min(b.failed, limit)}, (_, i) => this.#line(b, i)),
            has_more: b.failed > limit} : null;
    }

    content(id) {
        const b = this.#find(`batch_${id.replace(/^file-(output|errors)-/, "")}`);
        if (!b)
            return null;
        const n = id.startsWith("file-errors-") ? b.failed : b.done;
        return Array.from({length: n}, (_, i) => `${JSON.stringify({id: `${b.id}.${i}`, custom_id: `r-${i}`})}\n`).join("");
    }

    history() {
        return {step_s: STEP_S, end: seconds(), endpoints: this.#empty ? [] : this.#history, providers: []};
    }

    #limits(list, perMinute, tokens) {
        const used = {requests_per_minute: perMinute, requests_per_day: perMinute * 300,
            input_tokens_per_minute: perMinute * tokens * 0.32, output_tokens_per_minute: perMinute * tokens * 0.05};
        return list.map(([rate, limit, source]) => ({rate, limit, source,
            used: Math.round(Math.min(limit, used[rate] ?? perMinute * tokens))}));
    }

    #endpoint(e, i) {
        const c = this.#counts[i];
        const n = name => Math.floor(c[name]);
        return {provider: e.provider, model: e.model, in_flight: Math.round(e.perMinute / 60 * e.p50 / 1000),
            concurrency: e.concurrency, calls: n("calls"), completed: n("completed"), rate_limited: n("rate_limited"),
            failed: n("failed"), input_tokens: n("completed") * 400, cached_tokens: 0, output_tokens: n("completed") * 90,
            cost_usd: c.completed * e.usd, p50_ms: e.p50, tokens_per_s: Math.round(e.perMinute / 60 * e.tokens / 5),
            uptime_per_mille: 1000 - Math.round(e.broken * 90), limits: this.#limits(e.limits, e.perMinute, e.tokens),
            cause: this.#parked && e === ENDPOINTS[3] ? "timeout" : null, until_wall_ms: 0};
    }

    #provider(p) {
        const of = ENDPOINTS.filter(e => e.provider === p.name);
        const sum = f => of.reduce((n, e) => n + f(e), 0);
        const inFlight = sum(e => Math.round(e.perMinute / 60 * e.p50 / 1000));
        return {name: p.name, workers: p.workers, in_flight: inFlight, room: p.workers * 64 - inFlight,
            concurrency: p.concurrency, limits: this.#limits(p.limits, sum(e => e.perMinute), 1000), cause: p.cause || null,
            until_wall_ms: p.cause ? this.#until() * 1000 : 0};
    }

    top() {
        const active = this.#empty ? [] : this.#batches.filter(b => !b.ended);
        const counts = active.map(b => this.#counted(b));
        const sum = name => counts.reduce((n, c) => n + c[name], 0);
        const all = name => Math.floor(this.#counts.reduce((n, c) => n + c[name], 0));
        return {wall_ms: Date.now(), uptime_ms: Date.now() - this.#began, workers: this.#empty ? 0 : 5,
            batches: active.length, jobs_queued: sum("queued"), jobs_running: sum("running"),
            jobs_waiting: sum("retrying"), accepted: all("completed"), completed: all("completed"), failed: 207,
            cost_usd: this.#counts.reduce((usd, c, i) => usd + c.completed * ENDPOINTS[i].usd, 0),
            providers: this.#empty ? [] : PROVIDERS.map(p => this.#provider(p)),
            endpoints: this.#empty ? [] : ENDPOINTS.map((e, i) => this.#endpoint(e, i))};
    }
}
