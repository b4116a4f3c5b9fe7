"""Bodies of every protocol and form, with a secret in each place that they have."""

import gzip
import json
import random
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from urllib.parse import quote

from fuzz.planting import Plant, Planter

type Body = Callable[[Planter, str], tuple[str, bytes]]
"""(content type, body), of a "request" or a "response"."""


def _json(value: object, rng: random.Random) -> bytes:
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1])).encode()


def _v2(p: Planter, side: str) -> tuple[str, bytes]:
    tensors = [
        {"name": p.name("tensor name"), "shape": [2], "datatype": "BYTES", "data": [p.new("BYTES"), p.new("BYTES")]},
        {"name": "x", "shape": [1, 1], "datatype": p.rng.choice(["FP32", "BYTES"]), "data": [[p.new("nested BYTES")]]},
        {
            "name": "b64",
            "shape": [1],
            "datatype": "BYTES",
            "parameters": {"content_type": p.new("content_type")},
            "data": [p.new("BYTES")],
        },
        {"name": "n", "shape": [2], "datatype": p.new("datatype"), "data": [1.5, 2]},
    ]
    body: dict[str, object] = {
        "id": p.new("id"),
        "parameters": {"tenant": p.new("parameter"), p.name("parameter name"): 1},
    }
    body[p.name("unknown key")] = [1, {"deep": p.new("unknown value")}]
    if side == "request":
        body |= {
            "inputs": tensors,
            "outputs": [{"name": p.name("output name"), "parameters": {"classification": p.new("parameter")}}],
        }
    else:
        body |= {"outputs": tensors, "model_name": p.name("model name"), "model_version": p.name("version")}
    return "application/json", _json(body, p.rng)


def _v1(p: Planter, side: str) -> tuple[str, bytes]:
    rows: list[object] = [
        {
            "city": p.new("feature"),
            "rooms": 3,
            p.name("feature name"): 1.5,
            "raw": {"b64": b64encode(p.new("b64").encode()).decode()},
        },
        [p.new("feature in a list"), 1.5],
        p.new("a row"),
        {"nested": {"user": [p.new("nested"), {p.name("nested key"): None}]}},
    ]
    if side == "request":
        return "application/json", _json(
            {"signature_name": p.name("signature"), "instances": rows, "user": p.new("user")}, p.rng
        )
    return "application/json", _json({"predictions": rows, "error": p.new("error"), "model": p.name("model")}, p.rng)


def _chat(p: Planter, side: str) -> tuple[str, bytes]:
    if side == "response":
        message = {"role": "assistant", "content": p.new("answer"), "refusal": None, "tool_calls": [_tool_call(p)]}
        return "application/json", _json(
            {
                "id": p.new("id"),
                "object": "chat.completion",
                "model": p.name("model"),
                "choices": [
                    {"index": 0, "message": message, "finish_reason": p.new("finish_reason"), "text": p.new("text")}
                ],
                "system_fingerprint": p.new("fingerprint"),
                "usage": {"prompt_tokens": 7, p.name("usage key"): 1},
                "content": [{"type": "text", "text": p.new("content part")}],
            },
            p.rng,
        )
    messages: list[object] = [
        {"role": "system", "content": f"You serve {p.new('system prompt')}."},
        {"role": "user", "content": p.new("prompt"), "name": p.new("name of a user")},
        {
            "role": p.new("role"),
            "content": [
                {"type": "text", "text": p.new("prompt part")},
                {"type": "image_url", "image_url": {"url": p.new("image")}},
            ],
        },
        {"role": "assistant", "tool_calls": [_tool_call(p)]},
        {"role": "tool", "tool_call_id": p.new("tool id"), "content": p.new("tool answer")},
    ]
    return "application/json", _json(
        {
            "model": p.name("model"),
            "messages": messages,
            "prompt": [p.new("prompt"), p.new("prompt")],
            "input": p.new("input"),
            "inputs": p.new("inputs"),
            "text_input": p.new("text_input"),
            "system": p.new("system"),
            "user": p.new("user"),
            "safety_identifier": p.new("user"),
            "metadata": {p.name("metadata key"): p.new("metadata")},
            "stop": [p.new("stop")],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": p.name("tool"),
                        "description": p.new("description"),
                        "parameters": {"enum": [p.new("enum")]},
                    },
                }
            ],
            "logit_bias": {p.name("logit_bias"): 1},
            "stream": True,
            "temperature": 0.5,
        },
        p.rng,
    )


def _tool_call(p: Planter) -> dict[str, object]:
    return {
        "id": p.new("tool id"),
        "type": "function",
        "function": {"name": p.name("tool"), "arguments": json.dumps({"to": p.new("arguments")})},
    }


def _unknown(p: Planter, _side: str) -> tuple[str, bytes]:
    document = {
        p.name("key"): [p.new("value"), {"a": [[p.new("value")]], p.name("key"): p.new("value")}],
        "error": p.new("error"),
    }
    return "application/json", _json(document, p.rng)


def _broken(p: Planter, side: str) -> tuple[str, bytes]:
    kind, body = p.rng.choice([_v2, _v1, _chat])(p, side)
    return kind, body[:-1]


def _string(p: Planter, _side: str) -> tuple[str, bytes]:
    return "application/json", _json(p.new("a string"), p.rng)


def _form(p: Planter, _side: str) -> tuple[str, bytes]:
    fields = [f"user={quote(p.new('form value'))}", f"{quote(p.name('form name'))}=1", quote(p.new("form, no name"))]
    return "application/x-www-form-urlencoded", "&".join(fields).encode()


def _multipart(p: Planter, _side: str) -> tuple[str, bytes]:
    parts = (
        f'--x\r\nContent-Disposition: form-data; name="{p.new("part name")}"; filename="{p.new("file name")}"\r\n\r\n'
        f"{p.new('part')}\r\n"
        f'--x\r\nContent-Disposition: form-data; name="f"\r\nContent-Type: application/json\r\n\r\n'
        f"{json.dumps({'a': p.new('part')})}\r\n"
    )
    return "multipart/form-data; boundary=x", parts.encode() + b"--x\r\n\r\n" + gzip.compress(
        p.new("compressed part").encode(), mtime=0
    ) + b"\r\n--x--\r\n"


def _text(p: Planter, _side: str) -> tuple[str, bytes]:
    return p.rng.choice(
        ["text/plain", "text/csv", "text/html", "application/xml"]
    ), f"a,b\n1.5,{p.new('text')}\n<p>{p.new('text')}</p>\n".encode()


def _events(p: Planter, side: str) -> tuple[str, bytes]:
    half = p.raw("stream, word by word")
    deltas = [{"choices": [{"delta": {"content": half[at : at + 3]}}]} for at in range(0, len(half), 3)]
    documents = [json.loads(_chat(p, side)[1]), *deltas, {"text": p.new("event")}]
    events = [
        f"event: {p.new('event name')}\nid: {p.new('event id')}\n".encode()
        + b"data: "
        + json.dumps(each).encode()
        + b"\n\n"
        for each in documents
    ]
    return "text/event-stream", b"".join(events) + f": {p.new('comment')}\n\ndata: [DONE]\n\n".encode()


def _lines(p: Planter, _side: str) -> tuple[str, bytes]:
    return "application/x-ndjson", b"".join(
        _json({"text": p.new("line")}, p.rng).replace(b"\n", b"") + b"\n" for _ in range(3)
    )


def _binary(p: Planter, side: str) -> tuple[str, bytes]:
    texts = [p.new("binary BYTES").encode() for _ in range(2)]
    tail = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    parameters = {"binary_data_size": len(tail)}
    tensor = {"name": "x", "shape": [2], "datatype": "BYTES", "parameters": parameters}
    head = json.dumps({"id": p.new("id"), "inputs" if side == "request" else "outputs": [tensor]}).encode()
    return "application/octet-stream", head + tail


def _protobuf(p: Planter, _side: str) -> tuple[str, bytes]:
    fields = BytesIO()
    for _ in range(3):
        text = p.new("protobuf").encode()
        fields.write(b"\x0a" + bytes((len(text) & 0x7F | 0x80, len(text) >> 7)) + text)
    message = fields.getvalue()
    return "application/grpc", b"\0" + len(message).to_bytes(4, "big") + message


def _numbers(p: Planter, _side: str) -> tuple[str, bytes]:
    """A long number, as a number."""
    number = p.new("number", "plain") if p._kind == "long number" else str(p.rng.randrange(10**13, 10**14))  # noqa: SLF001 - ours
    if not p.plants or p.plants[-1].secret != number:
        p.plants.append(Plant(number, "long number", "number", "plain"))
    return (
        "application/json",
        f'{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"INT64","data":[[{number},1.5]]}}],"user_id":{number}}}'.encode(),
    )


BODIES: dict[str, Body] = {
    "V2": _v2,
    "V1": _v1,
    "chat": _chat,
    "unknown JSON": _unknown,
    "broken JSON": _broken,
    "a JSON string": _string,
    "form": _form,
    "multipart": _multipart,
    "text": _text,
    "event stream": _events,
    "lines": _lines,
    "binary tensors": _binary,
    "protobuf": _protobuf,
    "numbers": _numbers,
}
