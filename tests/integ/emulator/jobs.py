"""The jobs, what the emulator is told to say to each, and what goes wrong on the way there.

Everything about job i follows from i, so that a run is repeated exactly; the kinds are seven and the faults stand at
places of 25, 100, 200 and 250, so that every fault meets every kind."""
import json
from dataclasses import dataclass, field

JOBS = 2000
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "rank": {"type": "integer"}},
          "required": ["city", "rank"], "additionalProperties": False}
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather at a place",
                                           "parameters": PARAMETERS}}]
TIMEOUT_S = 6  # of the provider
LATE_MS = 9000


@dataclass
class Answer:
    content: str = None
    calls: list = field(default_factory=list)  # (name, arguments)
    finish: str = "stop"

    def fixture(self, i):
        response = {"usage": {"prompt_tokens": input_tokens(i), "completion_tokens": output_tokens(i)},
                    "finishReason": self.finish}
        if self.content is not None:
            response["content"] = self.content
        if self.calls:
            response["toolCalls"] = [{"name": name, "arguments": arguments} for name, arguments in self.calls]
        return response


def input_tokens(i):
    return 10 + i % 91


def output_tokens(i):
    return 3 + i % 37


def user(text):
    return {"role": "user", "content": text}


def said(i):
    """With what a translation may spoil: quotes, a backslash, a line's end, characters of two, three and four bytes."""
    return f'answer {i}: "C:\\dir"\n\tß → 水 🌊'


# ---- kinds: the body of job i, whose user says `text`, and the answer


def plain(i, text):
    return {"messages": [user(text)], "max_tokens": 100}, Answer(said(i))


def turns(i, text):
    role = "developer" if i % 2 else "system"
    messages = [{"role": role, "content": "You are terse."}, user("Name a river."),
                {"role": "assistant", "content": f"The \"Rhône\", {i}."}, user(text)]
    return {"messages": messages, "max_tokens": 100}, Answer(said(i))


def tool_calls(i, text):
    calls = [("weather", {"place": f"Zürich {i}", "deep": {"list": [1, 2.5, None, True]}}),
             ("weather", {"place": "Лагос"})]
    choice = ["auto", "required", {"type": "function", "function": {"name": "weather"}}][i % 3]
    body = {"messages": [user(text)], "tools": TOOLS, "tool_choice": choice, "max_tokens": 100}
    return body, Answer(said(i) if i % 2 else None, calls, "tool_calls")


def tool_results(i, text):
    asked = [{"id": f"call_{i}_{k}", "type": "function",
              "function": {"name": "weather", "arguments": json.dumps({"place": place})}}
             for k, place in enumerate(("Zürich", "Lagos"))]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": json.dumps({"celsius": i + k})}
               for k, call in enumerate(asked)]
    messages = [user(text), {"role": "assistant", "content": None, "tool_calls": asked}, *results]
    return {"messages": messages, "tools": TOOLS, "max_tokens": 100}, Answer(said(i))


def image(i, text):
    url = f"data:image/png;base64,{IMAGE}"
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return {"messages": [user(parts)], "max_tokens": 100}, Answer(said(i))


def schema(i, text):
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
    return ({"messages": [user(text)], "response_format": wanted, "max_tokens": 100},
            Answer(json.dumps({"city": f"Zürich {i}", "rank": i})))


def limits(i, text):
    """Not every protocol has a seed: it is said to be no condition."""
    return ({"messages": [user(text)], "max_tokens": 40 + i, "seed": i, "stop": ["END", "\n\n"], "temperature": 0.5,
             "user": f"user-{i}", "provider": {"require_parameters": False}}, Answer(said(i), finish="length"))


KINDS = [plain, turns, tool_calls, tool_results, image, schema, limits]

# ---- faults: what the emulator does before it answers, one fixture a try

RETRY_AFTER_S = 1
RATE_LIMITED = {"response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429,
                             "retryAfter": RETRY_AFTER_S}}
BROKEN = {"response": {"error": {"message": "it broke", "type": "server_error"}, "status": 500}}
CUT = {"response": {"content": "never sent"}, "chaos": {"disconnectRate": 1}}
MALFORMED = {"response": {"content": "never sent"}, "chaos": {"malformedRate": 1}}
LATE = {"response": {"content": "too late"}, "chaos": {"latencyMs": LATE_MS}}
REFUSED = {"response": {"error": {"message": "refused by design", "type": "invalid_request_error"}, "status": 400}}


def fault_of(i):
    if i % 25 in (3, 9, 15):
        return {3: [BROKEN], 9: [CUT], 15: [MALFORMED]}[i % 25]
    if i % 100 in (7, 57):
        return {7: [RATE_LIMITED], 57: [BROKEN, CUT]}[i % 100]
    if i % 200 == 20:
        return [REFUSED]
    return [LATE] if i % 250 == 81 else []  # eight at most: ten failures in a row would park the endpoint


@dataclass
class Job:
    i: int
    kind: str
    body: dict
    answer: Answer
    faults: list

    @property
    def refused(self):
        return REFUSED in self.faults

    def line(self, model):
        return json.dumps({"custom_id": f"c-{self.i}", "body": {"model": model, **self.body}})

    def fixtures(self):
        match = {"userMessage": marker(self.i)}
        if self.refused:
            return [{"match": match, **REFUSED}]
        faults = [{"match": {**match, "sequenceIndex": n}, **fault} for n, fault in enumerate(self.faults)]
        return [*faults, {"match": match, "response": self.answer.fixture(self.i)}]


def marker(i):
    return f"[job {i:04}]"


def job(i):
    kind = KINDS[i % len(KINDS)]
    body, answer = kind(i, f"{marker(i)} What is \"x\" → y?")
    return Job(i, kind.__name__, body, answer, fault_of(i))


def all_jobs():
    return [job(i) for i in range(JOBS)]
