"""The public conformance kit of the codec seam: one ``check_codec(...)`` call in a plugin's tests proves what the rest relies on.

Failures are ``AssertionError`` with one line that says which promise was broken by which sample.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Body, Opaque, Role, Tensors
from captures.codecs.codec import Codec, Leaf, Side
from captures.codecs.json_spans import SPLIT
from captures.errors import CodecError
from captures.exchange import Request

_LITERAL = re.compile(rb"true|false|null|NaN")
_NUMBERS = re.compile(rb"[-+.0-9a-zA-Z]+")
_MUTANTS = 60  # of each sample: enough to hit quotes, brackets, digits and the ends


def check_codec(
    codec: Codec,
    *,
    requests: Sequence[bytes],
    responses: Sequence[bytes],
    claimed: Sequence[Request] = (),
    unclaimed: Sequence[Request] = (),
    seed: int = 0,
) -> None:
    """Proves, on well-formed samples: what is claimed and what is not; a batch gives what its rows give one by one; errors are
    closed on damaged bytes; encoding nothing changes nothing; encoding a column changes only its numbers; leaves are ordered, apart
    and cover every string and number; roles do not depend on numbers or on values.
    """
    for request in claimed:
        claim = codec.claims(request)
        assert claim is not None, f"{codec.name} does not claim {request.method} {request.target}"
        assert claim.codec == codec.name, f"a claim of {codec.name} names {claim.codec}"
    for request in unclaimed:
        assert codec.claims(request) is None, f"{codec.name} claims {request.method} {request.target}"
    sides: tuple[tuple[Side, Sequence[bytes]], ...] = (("request", requests), ("response", responses))
    for side, bodies in sides:
        _check_batches(codec, side, bodies)
        for position, body in enumerate(bodies):
            where = f"{codec.name}, {side} {position}"
            _check_leaves(codec.leaves(body, side), body, where)
            _check_roles(codec, side, body, where)
        _check_closed_errors(codec, side, bodies, np.random.default_rng(seed))
    _check_encoding(codec, requests)


def same_body(one: Body | Exception, other: Body | Exception) -> bool:
    """Equal in everything, NaN equal to NaN."""
    if isinstance(one, Tensors) and isinstance(other, Tensors):
        return (one.model, one.model_version, len(one.tensors)) == (
            other.model,
            other.model_version,
            len(other.tensors),
        ) and all(
            (a.name, a.datatype, a.shape, a.role, a.data.dtype) == (b.name, b.datatype, b.shape, b.role, b.data.dtype)
            and bool(np.array_equal(a.data, b.data, equal_nan=a.data.dtype.kind == "f"))
            for a, b in zip(one.tensors, other.tensors, strict=True)
        )
    if isinstance(one, Exception) or isinstance(other, Exception):
        return type(one) is type(other)
    return repr(one) == repr(other)  # Documents may hold NaN, which equals nothing


def _check_batches(codec: Codec, side: Side, bodies: Sequence[bytes]) -> None:
    decoded = codec.decode(bodies, side)
    assert len(decoded) == len(bodies), f"{codec.name}: {len(bodies)} bodies gave {len(decoded)}"
    for position, (body, whole) in enumerate(zip(bodies, decoded, strict=True)):
        where = f"{codec.name}, {side} {position}"
        assert not isinstance(whole, Exception | Opaque), f"{where}: a sample that cannot be read: {whole}"
        assert same_body(whole, codec.decode([body], side)[0]), f"{where}: differs when decoded in a batch"
    if side == "request":
        _check_features(codec, [body for body in decoded if not isinstance(body, Exception)])


def _check_features(codec: Codec, bodies: Sequence[Body]) -> None:
    whole = codec.features(bodies)
    for position, body in enumerate(bodies):
        alone = codec.features([body])
        for name in {*whole, *alone}:
            values, owner = whole[name]
            mine = alone[name][0] if name in alone else np.empty(0)
            assert np.array_equal(values[owner == position], mine, equal_nan=True), (
                f"{codec.name}, request {position}: feature column differs when taken in a batch"
            )


def _check_leaves(leaves: Sequence[Leaf], body: bytes, where: str) -> None:
    position = 0
    covered = set()
    for leaf in leaves:
        assert position <= leaf.start < leaf.stop <= len(body), f"{where}: leaves out of order or overlapping"
        position = leaf.stop
        covered.add(leaf.start)
        quoted = body[leaf.start : leaf.start + 1] == b'"'
        assert quoted == (leaf.kind in {"key", "string"}), f"{where}: a leaf of kind {leaf.kind} at byte {leaf.start}"
    offset = 0
    for index, piece in enumerate(SPLIT.split(body)):
        assert index % 2 == 0 or offset in covered, f"{where}: no leaf covers byte {offset}"
        offset += len(piece)


def _check_roles(codec: Codec, side: Side, body: bytes, where: str) -> None:
    """Other numbers and other values of strings, the same roles: policies are compiled once per shape."""
    leaves = codec.leaves(body, side)
    free = (Role.TEXT, Role.PREDICTION, Role.IDENTITY, Role.FEATURE)
    changed = bytearray(body)
    for leaf in leaves:
        if leaf.kind == "number" or (leaf.kind == "string" and leaf.role in free):
            inner = slice(leaf.start + (leaf.kind == "string"), leaf.stop - (leaf.kind == "string"))
            if b"\\" not in changed[inner]:
                changed[inner] = bytes(ord("7") if 48 <= byte <= 57 else byte for byte in changed[inner])
                if leaf.kind == "string":
                    changed[inner] = b"x" * (inner.stop - inner.start)
    again = codec.leaves(bytes(changed), side)
    assert [(leaf.path, leaf.role) for leaf in leaves] == [(leaf.path, leaf.role) for leaf in again], (
        f"{where}: a role depends on a number or on a string that is a value"
    )


def _check_closed_errors(codec: Codec, side: Side, bodies: Sequence[bytes], rng: np.random.Generator) -> None:
    for body in bodies:
        columns = _columns(codec, body) if side == "request" else {}
        for mutant in mutants(body, rng):
            decoded = codec.decode([mutant], side)
            assert len(decoded) == 1, f"{codec.name}: one body gave {len(decoded)}"
            failed = isinstance(decoded[0], Exception)
            assert not failed or isinstance(decoded[0], CodecError), f"{codec.name}: {decoded[0]!r} is no CodecError"
            try:
                _check_leaves(codec.leaves(mutant, side), mutant, f"{codec.name}, damaged {side}")
            except CodecError:
                assert failed or isinstance(decoded[0], Opaque), f"{codec.name}: decodes what it finds no leaves in"
            for column in columns.items():
                try:
                    codec.encode_features([mutant], {column[0]: [column[1] + 1]})
                except CodecError:
                    continue


def mutants(body: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Damaged copies: cut, flipped, doubled and emptied."""
    yield from (b"", b"null", b"[]", b"{}", body[:-1], body + b"x", b"[" * 5000, body + body)
    for _ in range(_MUTANTS):
        start = int(rng.integers(len(body)))
        stop = min(start + int(rng.integers(1, 9)), len(body))
        yield body[:start] + body[stop:]
        yield body[:start] + rng.bytes(1) + body[start + 1 :]
        yield body[:stop] + body[start:stop] + body[stop:]


def _columns(codec: Codec, body: bytes) -> Mapping[str, NDArray[np.float64]]:
    decoded = codec.decode([body], "request")[0]
    assert not isinstance(decoded, Exception)
    return {name: values for name, (values, _) in codec.features([decoded]).items()}


def _check_encoding(codec: Codec, bodies: Sequence[bytes]) -> None:
    assert codec.encode_features(bodies, {}) == list(bodies), f"{codec.name}: encoding nothing changes something"
    alone = [_columns(codec, body) for body in bodies]
    nothing = np.empty(0)
    for name in sorted({name for columns in alone for name in columns}):
        new = [columns[name] * 0 + 1 if name in columns else nothing for columns in alone]
        encoded = codec.encode_features(bodies, {name: new})
        untouched = codec.encode_features(bodies, {name: [columns.get(name, nothing) for columns in alone]})
        assert untouched == list(bodies), f"{codec.name}: writing the same values changes bytes"
        for position, (before, after) in enumerate(zip(bodies, encoded, strict=True)):
            where = f"{codec.name}, request {position}, a feature column"
            assert codec.encode_features([before], {name: [new[position]]}) == [after], f"{where}: differs in a batch"
            if name not in alone[position]:
                assert before == after, f"{where}: a body without the feature was changed"
                continue
            wanted = np.where(np.isnan(alone[position][name]), np.nan, 1.0)
            _check_touched(alone[position], _columns(codec, after), name, wanted, where)
            assert _skeleton(before) == _skeleton(after), f"{where}: more than numbers differs"


def _check_touched(
    before: Mapping[str, NDArray[np.float64]],
    after: Mapping[str, NDArray[np.float64]],
    name: str,
    wanted: NDArray[np.float64],
    where: str,
) -> None:
    assert np.array_equal(after[name], wanted, equal_nan=True), f"{where}: reads back as something else"
    others = {*before, *after} - {name}
    assert all(np.array_equal(before[other], after[other], equal_nan=True) for other in others), (
        f"{where}: another feature changed too"
    )


def _skeleton(body: bytes) -> bytes:
    """The body without its numbers and the literals a number may turn into."""
    pieces = SPLIT.split(body)
    pieces[::2] = [_LITERAL.sub(b"", piece) for piece in pieces[::2]]
    pieces[1::2] = [piece if piece.startswith(b'"') else _NUMBERS.sub(b"", piece) for piece in pieces[1::2]]
    return b"".join(pieces)
