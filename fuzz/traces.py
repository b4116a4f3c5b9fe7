"""Whatever an arrival trace holds, each of its rows is one synthetic request or one drop, and nothing is raised.

Rows of all four kinds with numbers that are huge, negative, fractional or none, in files that are damaged.
"""

import io
import json
import random

from captures.batches import batch_of
from captures.exchange import Exchange, Flags
from captures.importers.azure_llm import AzureLlm
from captures.importers.burstgpt import BurstGpt
from captures.importers.importer import Dropped, Importer, ImportOptions, SourceFile
from captures.importers.mooncake import Mooncake
from fuzz.mutation import damaged

_NUMBERS = ("0", "1", "17", "513", "2048", "-1", "1.5", "1e3", "9" * 18, "9" * 50, "", "x", "NaN", "\u0665")
_HEADERS = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens",
    "burst": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "sessions": "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
}
_IMPORTERS: dict[str, Importer] = {
    "azure": AzureLlm(),
    "burst": BurstGpt(),
    "sessions": BurstGpt(),
    "mooncake": Mooncake(),
    "bailian": Mooncake(),
}
_MOST = 1 << 23  # bytes of one case


def case(rng: random.Random) -> None:
    kind = rng.choice(list(_IMPORTERS))
    importer = _IMPORTERS[kind]
    rows = [_row(kind, rng) for _ in range(rng.randrange(10))]
    lines = [_HEADERS[kind], *rows] if kind in _HEADERS else rows
    data = rng.choice(["\n", "\r\n"]).join(lines).encode()
    whole = rng.random() < 0.5
    if not whole:
        data = damaged(data, rng)
    importer.sniff(data)
    options = ImportOptions(model="m", path_template="/v1/completions", seed=rng.randrange(3))
    exchanges, dropped, size = 0, 0, 0
    for item in importer.read([SourceFile("trace", io.BytesIO(data))], options):
        if isinstance(item, Dropped):
            dropped += item.count
            continue
        assert isinstance(item, Exchange)
        exchanges += 1
        batch_of([item])
        assert item.flags >= Flags.SYNTHETIC, "a made-up request that does not say so"
        assert item.response is None, "an answer that nobody gave"
        json.loads(item.request.body)
        size += item.request.size
        if size > _MOST:
            return
    if whole:
        assert exchanges + dropped == sum(1 for row in rows if row.strip()), "rows were lost, or made up"


def _row(kind: str, rng: random.Random) -> str:
    def number() -> str:
        return rng.choice(_NUMBERS) if rng.random() < 0.4 else str(rng.randrange(1, 1500))

    if kind == "azure":
        at = rng.choice(["2023-11-16 18:17:03.9799600", "2024-05-10 00:00:00+00:00", "then", ""])
        return f"{at},{number()},{number()}"
    if kind in _HEADERS:
        session = rng.choice([",,", ",1722ac82,43,", ',"a,b",1,']) if kind == "sessions" else ","
        return f"{number()}{session}GPT-4,{number()},{number()},{number()},API log"
    ids = rng.choice(["[]", "[0,1,2]", '["a","b"]', "[[]]", "[1.5]", "5", "null", str(list(range(rng.randrange(200))))])
    chat = f'"chat_id":{rng.randrange(4)},"parent_chat_id":{rng.randrange(-1, 4)},' if kind == "bailian" else ""
    return f'{{{chat}"timestamp":{number()},"input_length":{number()},"output_length":{number()},"hash_ids":{ids}}}'
