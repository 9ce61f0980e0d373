"""What each protocol wants on the wire: the path, the headers, the shape of a body, and, for each kind of job, what must be
said in it.

A shape is a type, a value, a list of one shape (an array of at least one), a tuple of shapes (any of them), or a dict: an
object with these members and no others, those with ? at the end may be left out; * stands for any."""
from dataclasses import dataclass, field

from . import jobs
from .server import KEY

NUMBER = (int, float)
ANY = {"*": None}


def misfit(value, shape, at="body"):
    """Where and why a value is not of a shape; "" if it is."""
    if isinstance(shape, tuple):
        why = [misfit(value, s, at) for s in shape]
        return "" if "" in why else " or ".join(why)
    if isinstance(shape, type):
        return "" if type(value) is shape else f"{at} is {value!r:.80}, not {shape.__name__}"
    if isinstance(shape, list):
        if not isinstance(value, list) or not value:
            return f"{at} is {value!r:.80}, not an array of at least one"
        return next(filter(None, (misfit(x, shape[0], f"{at}[{n}]") for n, x in enumerate(value))), "")
    if isinstance(shape, dict):
        return misfit_object(value, shape, at)
    return "" if value == shape and type(value) is type(shape) else f"{at} is {value!r:.80}, not {shape!r}"


def misfit_object(value, shape, at):
    if not isinstance(value, dict):
        return f"{at} is {value!r:.80}, not an object"
    if shape == ANY:
        return ""
    known = {key.rstrip("?"): s for key, s in shape.items()}
    strange = value.keys() - known.keys()
    missing = {key for key in shape if not key.endswith("?")} - value.keys()
    if strange or missing:
        return f"{at}: there is {sorted(strange)} too much, {sorted(missing)} is missing"
    return next(filter(None, (misfit(x, known[key], f"{at}.{key}") for key, x in value.items())), "")


def lacking(value, wanted, at="body"):
    """Where a value lacks what is wanted: all members of an object, all items of an array in order."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return next(filter(None, (lacking(value.get(k), w, f"{at}.{k}") for k, w in wanted.items())), "")
    if isinstance(wanted, list) and isinstance(value, list) and len(value) == len(wanted):
        return next(filter(None, (lacking(v, w, f"{at}[{n}]") for n, (v, w) in enumerate(zip(value, wanted)))), "")
    return "" if value == wanted else f"{at} is {value!r:.200}, not {wanted!r:.200}"


@dataclass
class Protocol:
    api: str
    base_url: str
    model: str
    path: str
    headers: dict
    shape: dict
    wanted: dict  # kind: what a body of job i must say
    options: str = ""
    notes: list = field(default_factory=list)  # what of the task this protocol's emulation does not let be tested


BEARER = {"authorization": f"Bearer {KEY}"}

# ---- OpenAI, Ollama

CALL = {"id": str, "type": "function", "function": {"name": str, "arguments": str}}
TOOL = {"type": "function", "function": {"name": str, "description?": str, "parameters?": ANY}}
CHOICE = ("auto", "none", "required", {"type": "function", "function": {"name": str}})
PARTS = [({"type": "text", "text": str}, {"type": "image_url", "image_url": {"url": str}})]
FORMAT = {"type": "json_schema", "json_schema": {"name": str, "strict?": bool, "schema": ANY}}
TURNS = ({"role": "system", "content": str}, {"role": "user", "content": (str, PARTS)},
         {"role": "assistant", "content": (str, type(None)), "tool_calls?": [CALL]},
         {"role": "tool", "tool_call_id": str, "content": str})


def openai_body(messages, maximum, **more):
    return {"model": str, "messages": [messages], f"{maximum}?": int, "temperature?": NUMBER, "stop?": [str], "seed?": int,
            "tools?": [TOOL], "tool_choice?": CHOICE, "response_format?": FORMAT, **more}


def openai_wanted(maximum):
    def same(*names):
        return lambda body, i: {name: body[name] for name in names}

    return {
        "plain": lambda body, i: {maximum: 100},
        "tool_calls": same("messages", "tools", "tool_choice"),
        "tool_results": same("messages", "tools"),
        "image": same("messages"),
        "schema": same("messages", "response_format"),
        "limits": lambda body, i: {maximum: 40 + i, "seed": i, "stop": body["stop"], "temperature": 0.5},
    }


OPENAI = Protocol(
    "openai", "/v1", "gpt-4.1-mini", "/v1/chat/completions", BEARER,
    openai_body((*TURNS, {"role": "developer", "content": str}), "max_completion_tokens", **{"user?": str}),
    openai_wanted("max_completion_tokens"), "options: [max_completion_tokens]")

OLLAMA = Protocol(
    "openai", "/v1", "llama3.2:3b", "/v1/chat/completions", BEARER,
    openai_body(TURNS, "max_tokens"), openai_wanted("max_tokens"),
    notes=["Ollama's own /api/chat, which the emulator serves too: no adapter of ours speaks it, api: openai calls the "
           "OpenAI-compatible path"])

# ---- Anthropic

TEXT = {"type": "text", "text": str}
ANTHROPIC_SHAPE = {
    "model": str, "max_tokens": int, "system?": [TEXT],
    "messages": [({"role": "user", "content": [(
        TEXT, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": str}},
        {"type": "tool_result", "tool_use_id": str, "content": (str, [TEXT])})]},
        {"role": "assistant", "content": [(TEXT, {"type": "tool_use", "id": str, "name": str, "input": ANY})]})],
    "tools?": [{"name": str, "description?": str, "input_schema": ANY}],
    "tool_choice?": ({"type": "auto"}, {"type": "any"}, {"type": "tool", "name": str}),
    "temperature?": NUMBER, "stop_sequences?": [str], "metadata?": {"user_id": str},
    "output_config?": {"format": {"type": "json_schema", "schema": ANY}},
}


def anthropic_choice(i):
    return [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "weather"}][i % 3]


ANTHROPIC = Protocol(
    "anthropic", "", "claude-sonnet-4-5", "/v1/messages", {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    ANTHROPIC_SHAPE,
    {
        "plain": lambda body, i: {"max_tokens": 100},
        "turns": lambda body, i: {"system": [{"type": "text", "text": "You are terse."}]},
        "tool_calls": lambda body, i: {"tool_choice": anthropic_choice(i),
                                       "tools": [{"name": "weather", "input_schema": jobs.PARAMETERS}]},
        "tool_results": lambda body, i: {"messages": [
            {}, {"content": [{"id": f"call_{i}_0", "input": {"place": "Zürich"}}, {"id": f"call_{i}_1"}]},
            {"content": [{"tool_use_id": f"call_{i}_0"}, {"tool_use_id": f"call_{i}_1"}]}]},
        "image": lambda body, i: {"messages": [{"content": [{}, {"source": {"data": jobs.IMAGE}}]}]},
        "schema": lambda body, i: {"output_config": {"format": {"schema": jobs.SCHEMA}}},
        "limits": lambda body, i: {"max_tokens": 40 + i, "stop_sequences": body["stop"], "temperature": 0.5,
                                   "metadata": {"user_id": f"user-{i}"}},
    })

# ---- Gemini

GEMINI_PART = ({"text": str}, {"inlineData": {"mimeType": "image/png", "data": str}},
               {"functionCall": {"name": str, "args": ANY, "id?": str}},
               {"functionResponse": {"name": str, "response": ANY, "id?": str}})
GEMINI_SHAPE = {
    "contents": [{"role": ("user", "model"), "parts": [GEMINI_PART]}],
    "systemInstruction?": {"parts": [{"text": str}]},
    "tools?": [{"functionDeclarations": [{"name": str, "description?": str, "parametersJsonSchema?": ANY}]}],
    "toolConfig?": {"functionCallingConfig": {"mode": ("AUTO", "ANY", "NONE"), "allowedFunctionNames?": [str]}},
    "generationConfig?": {"maxOutputTokens?": int, "temperature?": NUMBER, "stopSequences?": [str], "seed?": int,
                          "responseMimeType?": str, "responseJsonSchema?": ANY},
}


def gemini_choice(i):
    return [{"mode": "AUTO"}, {"mode": "ANY"}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}][i % 3]


GEMINI = Protocol(
    "gemini", "/v1beta", "gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:generateContent", {"x-goog-api-key": KEY},
    GEMINI_SHAPE,
    {
        "plain": lambda body, i: {"generationConfig": {"maxOutputTokens": 100}},
        "turns": lambda body, i: {"systemInstruction": {"parts": [{"text": "You are terse."}]}},
        "tool_calls": lambda body, i: {
            "toolConfig": {"functionCallingConfig": gemini_choice(i)},
            "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": jobs.PARAMETERS}]}]},
        "tool_results": lambda body, i: {"contents": [
            {}, {"parts": [{"functionCall": {"args": {"place": "Zürich"}}}, {}]},
            {"parts": [{"functionResponse": {"name": "weather", "response": {"celsius": i + k}}} for k in range(2)]}]},
        "image": lambda body, i: {"contents": [{"parts": [{}, {"inlineData": {"data": jobs.IMAGE}}]}]},
        "schema": lambda body, i: {"generationConfig": {"responseMimeType": "application/json",
                                                        "responseJsonSchema": jobs.SCHEMA}},
        "limits": lambda body, i: {"generationConfig": {"maxOutputTokens": 40 + i, "seed": i, "temperature": 0.5,
                                                        "stopSequences": body["stop"]}},
    })

# ---- Cohere

COHERE_TEXT = (str, [TEXT])
COHERE_TURNS = ({"role": "system", "content": COHERE_TEXT}, {"role": "user", "content": (str, PARTS)},
                {"role": "assistant", "content?": COHERE_TEXT, "tool_plan?": str, "tool_calls?": [CALL]},
                {"role": "tool", "tool_call_id": str, "content": COHERE_TEXT})
COHERE_SHAPE = {
    "model": str, "stream?": False, "messages": [COHERE_TURNS], "max_tokens?": int, "temperature?": NUMBER, "seed?": int,
    "stop_sequences?": [str], "tools?": [TOOL], "strict_tools?": bool, "tool_choice?": ("REQUIRED", "NONE"),
    "response_format?": {"type": "json_object", "json_schema": ANY},
}
COHERE = Protocol(
    "cohere", "/v2", "command-a-03-2025", "/v2/chat", BEARER, COHERE_SHAPE,
    {
        "plain": lambda body, i: {"max_tokens": 100},
        "tool_calls": lambda body, i: {"tools": [{"function": {"name": "weather", "parameters": jobs.PARAMETERS}}],
                                       "tool_choice": "REQUIRED" if i % 3 else None},
        "tool_results": lambda body, i: {"messages": [{}, {}, {"tool_call_id": f"call_{i}_0"},
                                                      {"tool_call_id": f"call_{i}_1"}]},
        "image": lambda body, i: {"messages": [{"content": [
            {}, {"image_url": {"url": f"data:image/png;base64,{jobs.IMAGE}"}}]}]},
        "schema": lambda body, i: {"response_format": {"json_schema": jobs.SCHEMA}},
        "limits": lambda body, i: {"max_tokens": 40 + i, "seed": i, "temperature": 0.5, "stop_sequences": body["stop"]},
    })
