"""Requests made up for arrival traces: text of a wanted number of tokens, seeded, in the body of a named endpoint.

Pure. A token is approximated by one common English word of a fixed vocabulary: the tokenisers of today's language models give most
of these words one token each. Random letters would cost three. The text of a key is the same for ever: changing the vocabulary or
the hash changes every synthetic capture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, shake_256

import orjson

from captures.errors import UsageError
from captures.exchange import Chunk, Exchange, Flags, Headers, Request
from captures.importers.importer import ImportOptions
from captures.importers.path_templates import check_template, target_of

MOST_TOKENS = 1 << 22
"""Of one prompt. The longest contexts offered are a fourth of it; whatever asks for more is no trace of a language model."""
MOST_OUTPUT_TOKENS = 1 << 31
DEFAULT_TEMPLATE = "/v1/chat/completions"
SESSION_HEADER = "x-session-id"
MADE_UP = (
    "Arrivals, prompt lengths and output lengths are the trace's; request bodies are made up for the model named, seeded.",
    "A token is approximated by a common English word; the chat template of a server adds its own.",
    "max_tokens is the output the trace had: a model may stop earlier. The trace has no responses and no failures.",
)
"""Notes of every arrival trace."""

# 256 words, so that a byte of the hash is a word.
_VOCABULARY = """
the of and to in a is that for it was on as with be by at this have from or one had not but what all were when we there
can an your which their said if do will each about how up out them then she many some so these would other into has more
her two like him see time could no make than first been its who now people my made over did down only way find use may
water long little very after word called just where most know get through back much go good new write our me man too any
day same right look think also around another came come work three must because does part even place well such here take
why help put different away again off went old number great tell men say small every found still between name should home
big give air line set own under read last never us left end along while might next sound below saw something thought both
few those always show large often together asked house world going want school important until form food keep children
feet land side without boy once animal life enough took four head above kind began almost live page got earth need far hand
high year mother light country father let night picture being study second soon story since white ever paper hard near
sentence better best across during today however sure knew try told young sun thing whole hear river green music table
"""
WORDS: tuple[bytes, ...] = tuple(word.encode() for word in _VOCABULARY.split())


# What a path (or its end) takes. Adding an endpoint is adding a row.
_BODIES: Mapping[str, bytes] = {
    "/v1/chat/completions": (
        b'{"model":%(model)s,"messages":[{"role":"user","content":"%(prompt)s"}],"max_tokens":%(output)d}'
    ),
    "/v1/completions": b'{"model":%(model)s,"prompt":"%(prompt)s","max_tokens":%(output)d}',
    "/v2/models/{model}/generate": b'{"text_input":"%(prompt)s","parameters":{"max_tokens":%(output)d}}',
    "/v2/models/{model}/generate_stream": (
        b'{"text_input":"%(prompt)s","parameters":{"max_tokens":%(output)d,"stream":true}}'
    ),
}


def text_of(key: str, tokens: int) -> bytes:
    """``tokens`` words, a pure function of ``key``: a shorter text of the same key is a prefix of a longer one. ASCII."""
    return b" ".join(map(WORDS.__getitem__, shake_256(key.encode()).digest(tokens)))


def session_of(seed: int, session: str) -> int:
    """A session for the id that a trace has for one; never 0, which is none. A hash, for ids may come from somewhere."""
    digest = blake2b(f"session/{seed}/{session}".encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) or 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where synthetic requests for ``model`` go. ``body`` is a row of the table above."""

    target: str
    body: bytes
    model: str

    def exchange(self, arrival_ns: int, prompt: bytes, output_tokens: int, session: int = 0) -> Exchange:
        """A complete request that nobody answered. ``prompt``: of `text_of`, or such texts joined by spaces. At least one token of
        output is asked for: servers refuse to give none.
        """
        values = {b"model": orjson.dumps(self.model), b"prompt": prompt, b"output": max(output_tokens, 1)}
        body = self.body % values
        headers: Headers = (("content-type", "application/json"), ("content-length", str(len(body))))
        if session:
            headers = (*headers, (SESSION_HEADER, f"{session:016x}"))
        return Exchange(
            arrival_ns=arrival_ns,
            request=Request(
                method="POST",
                target=self.target,
                headers=headers,
                chunks=(Chunk(arrival_ns, body),),
                end_ns=arrival_ns,
                size=len(body),
            ),
            model=self.model,
            session=session,
            flags=Flags.SYNTHETIC | Flags.INFERENCE,
        )


def endpoint_of(trace: str, options: ImportOptions) -> Endpoint:
    """The endpoint that ``--model`` and ``--path-template`` name. ``trace``: the importer's name, for complaints.

    Raises UsageError: no model, or a path whose bodies nobody knows how to write.
    """
    if not options.model:
        raise UsageError(f"{trace} records no request bodies: name the model they are made up for, --model NAME")
    template = options.path_template or DEFAULT_TEMPLATE
    check_template(template, options.model)
    body = next((body for path, body in _BODIES.items() if template.endswith(path)), None)
    if body is None:
        raise UsageError(
            f"--path-template {template!r}: request bodies have to be made up for {trace}, which can be done for "
            f"paths that end in {', '.join(_BODIES)}"
        )
    return Endpoint(target_of(template, options.model), body, options.model)


def why_not(prompt_tokens: int, output_tokens: int) -> str:
    """Why no request can be made up for these numbers of tokens, as a reason of `Dropped`; "" where one can."""
    if prompt_tokens < 0 or output_tokens < 0:
        return "damaged"
    if prompt_tokens > MOST_TOKENS or output_tokens > MOST_OUTPUT_TOKENS:
        return "too_many_tokens"
    return "" if prompt_tokens else "no_prompt_tokens"
