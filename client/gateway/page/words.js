// words.js - what the API's words mean to people: statuses, causes and limits.
import {count} from "./format.js";

// Of a batch: text, mark (see icons.js) and tone (see page.css).
const STATUSES = {
    validating: ["checking", "dots", "wait"],
    in_progress: ["running", "play", "run"],
    finalizing: ["finishing", "dots", "run"],
    completed: ["completed", "check", "good"],
    failed: ["failed", "cross", "bad"],
    expired: ["expired", "clock", "bad"],
    cancelling: ["cancelling", "stop", "wait"],
    cancelled: ["cancelled", "stop", "wait"],
};

// Of what went wrong: in short, and what it means or what to do.
const CAUSES = {
    rate_limit_exceeded: ["rate limit", "The provider refuses more for now; it is waited for."],
    context_length_exceeded: ["too long for the model", "The prompt does not fit the model's context."],
    content_policy_violation: ["content refused", "The provider does not answer such a request."],
    authentication: ["key refused", "Check the provider's api_key, then reload the configuration (SIGHUP)."],
    payment_required: ["payment required", "The account at the provider has no credit left."],
    permission_denied: ["permission denied", "The provider's key may not use this model."],
    invalid_request: ["invalid request", "The provider says the request is wrong; its answer says where."],
    not_found: ["not found", "The provider does not know this model or address; check the configuration."],
    payload_too_large: ["too large", "The request is larger than the provider takes."],
    provider_unavailable: ["provider unavailable", "The provider is down; it is tried again."],
    provider_overloaded: ["provider overloaded", "The provider has no room for now; it is tried again."],
    timeout: ["timeout", "No answer came in time."],
    server: ["provider's error", "Something failed on the provider's side."],
    connection: ["connection", "The provider could not be reached, or the connection broke."],
    bad_answer: ["no answer in the answer", "The provider said 200, but what it sent is no answer."],
    quota_exceeded: ["quota used up", "The account's quota is used up; it comes back with time or money."],
    certificate_not_trusted: ["certificate not trusted", "Give the provider a ca_file, or correct its base_url."],
    batch_expired: ["expired", "It was not done by the end of the batch's window."],
    batch_cancelled: ["cancelled", "The batch was cancelled before it was sent."],
    budget_exceeded: ["budget used up", "The batch's budget was reached before it was sent."],
    no_endpoint: ["no endpoint", "No endpoint could serve it: check the model and its routing."],
    worker_lost: ["worker lost", "The worker that called went away."],
};

const RATES = {
    requests_per_minute: ["requests", "/min"],
    input_tokens_per_minute: ["input tokens", "/min"],
    output_tokens_per_minute: ["output tokens", "/min"],
    tokens_per_minute: ["tokens", "/min"],
    requests_per_day: ["requests", "/day"],
};

const SOURCES = {
    configured: "configured",
    headers: "as the provider's headers say",
    "429s": "learned from 429s",
};

export const ACTIVE = new Set(["validating", "in_progress", "finalizing", "cancelling"]);

const plain = word => String(word).replaceAll("_", " ");

export function statusOf(batch) {
    const [text, mark, tone] = STATUSES[batch.status] || [plain(batch.status), "dots", "wait"];
    const failed = batch.request_counts.failed;
    if (batch.status === "failed" && batch.errors?.data?.length)
        return {text: "file refused", mark: "cross", tone: "bad"};
    if (batch.status === "completed" && failed)
        return {text: `completed, ${count(failed)} failed`, mark: "warn", tone: "warn"};
    if (batch.status === "in_progress" && batch.parked?.length)
        return {text: "running, held up", mark: "pause", tone: "warn"};
    return {text, mark, tone};
}

export const causeText = cause => CAUSES[cause]?.[0] || plain(cause);
export const causeHelp = cause => CAUSES[cause]?.[1] || "";
export const rateText = limit => RATES[limit.rate]?.[0] || plain(limit.rate);
export const rateUnit = limit => RATES[limit.rate]?.[1] || "";
export const sourceText = limit => SOURCES[limit.source] || plain(limit.source);
export const nameOf = batch => batch.name || batch.metadata?.name || null;
