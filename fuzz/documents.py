"""Inference bodies for the hunts, well formed and then broken: valid ones from a grammar, damaged ones from those. Pure."""

import json
import random

DATATYPES = ("FP64", "FP32", "INT64", "INT32", "UINT8", "BOOL", "BYTES", "FP16", "WORD")
SCRAPS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u00",
    b"\\",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"\xff",
    b"\x00",
    b"null",
    b"0x1",
)


def v2(rng: random.Random) -> bytes:
    """An Open Inference Protocol request, usually a correct one."""
    rows = rng.choice([1, 1, 1, 2, 5])
    body: dict[str, object] = {"inputs": [tensor(rng, f"f{i}", rows) for i in range(rng.randrange(0, 5))]}
    if rng.random() < 0.5:
        body["id"] = value(rng, 1)
    if rng.random() < 0.3:
        body["parameters"] = value(rng, 2)
    if rng.random() < 0.2:
        body[text(rng)] = value(rng, 3)
    return written(body, rng)


def v1(rng: random.Random) -> bytes:
    """A KServe V1 request: rows of numbers, rows by name, or something else."""
    rows = rng.randrange(0, 4)
    match rng.randrange(4):
        case 0:
            instances: object = [[number(rng) for _ in range(3)] for _ in range(rows)]
        case 1:
            instances = [{"a": number(rng), "b": [number(rng)]} for _ in range(rows)]
        case 2:
            instances = [number(rng) for _ in range(rows)]
        case _:
            instances = value(rng, 3)
    return written({rng.choice(["instances", "inputs", "predictions"]): instances}, rng)


def broken(body: bytes, rng: random.Random) -> bytes:
    """Up to three ranges of the body are cut out or replaced by scraps."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(body) + 1)
        end = min(len(body), at + rng.choice([0, 0, 1, 3, 20]))
        body = body[:at] + rng.choice((*SCRAPS, b"", rng.randbytes(3))) + body[end:]
    return body


def tensor(rng: random.Random, name: str, rows: int) -> dict[str, object]:
    datatype = rng.choice(DATATYPES)
    data: list[object] = [text(rng) if datatype == "BYTES" else number(rng) for _ in range(rows)]
    if datatype == "BOOL":
        data = [rng.random() < 0.5 for _ in range(rows)]
    shape = [rows, 1] if rng.random() < 0.9 else [rng.randrange(-2, 9)]
    nested = [[item] for item in data] if rng.random() < 0.3 else data
    return {"name": name, "shape": shape, "datatype": datatype, "data": nested}


def value(rng: random.Random, depth: int) -> object:
    match rng.randrange(7 if depth else 5):
        case 0:
            return number(rng)
        case 1 | 2:
            return text(rng)
        case 3:
            return rng.choice([True, False, None])
        case 4:
            return float(rng.choice(["nan", "inf", "-inf"]))
        case 5:
            return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
        case _:
            return {text(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def number(rng: random.Random) -> float | int:
    return rng.choice(
        [rng.gauss(0, 100), rng.randrange(-9, 10), 2**63, -0.0, 1e-300, 4111111111111111, rng.randrange(10**15)]
    )


def text(rng: random.Random) -> str:
    return "".join(rng.choice('aZ9 @./"\\\n\té漢\U0001f600\u2028{}[]:,') for _ in range(rng.randrange(12)))


def written(body: object, rng: random.Random) -> bytes:
    separators = rng.choice([None, (",", ":"), (" ,\n", "\t: ")])
    return json.dumps(body, ensure_ascii=rng.random() < 0.5, separators=separators).encode()
