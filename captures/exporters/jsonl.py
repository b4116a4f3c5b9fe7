"""One JSON object per exchange, behind a line that says what capture they are of. Nothing is lost; docs/jsonl.md has every key.

Every line ends in a seal: a digest of the line, under the first line's. Whoever imports the file sees from it that the line is as
it was exported, and so under the policy that the first line names.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b

from captures.confessions import Confessions
from captures.exchange import Exchange
from captures.exchange_json import dumps, exchange_data, header_data
from captures.header import Header

VERSION = 1
MARK, SEAL = "shadowtape", "seal"
FIRST = b"first line"
"""The key of the first line's own seal."""
_SEAL_BYTES = 8
_BEFORE, _AFTER = b',"%s":"' % SEAL.encode(), b'"}'
_SEAL_LENGTH = len(_BEFORE) + 2 * _SEAL_BYTES + len(_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlExporter:
    """``confessions`` of the capture and how many ``exchanges`` there will be go into the first line, where they are known."""

    confessions: Confessions | None = None
    exchanges: int | None = None

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def suffixes(self) -> tuple[str, ...]:
        return (".jsonl", ".jsonl.gz")

    def write(
        self,
        header: Header,
        exchanges: Iterable[Exchange],
        losses: dict[str, int],  # noqa: ARG002 - the seam gives it; nothing is lost here
    ) -> Iterator[bytes]:
        first = {MARK: "jsonl", "version": VERSION, "header": header_data(header)}
        if self.confessions is not None:
            first["confessions"] = asdict(self.confessions)
        if self.exchanges is not None:
            first["exchanges"] = self.exchanges
        line = sealed(dumps(first), FIRST)
        key = seal_key(line)
        yield line + b"\n"
        for exchange in exchanges:
            yield sealed(dumps(exchange_data(exchange)), key) + b"\n"


def seal_key(first_line: bytes) -> bytes:
    return blake2b(first_line, digest_size=16).digest()


def sealed(line: bytes, key: bytes) -> bytes:
    return line.removesuffix(b"}") + _BEFORE + _seal(line.removesuffix(b"}"), key) + _AFTER


def is_sealed(line: bytes, key: bytes) -> bool:
    """Whether not a byte of the line has changed since."""
    cut = len(line) - _SEAL_LENGTH
    return cut > 0 and line[cut:] == _BEFORE + _seal(line[:cut], key) + _AFTER


def _seal(content: bytes, key: bytes) -> bytes:
    return blake2b(content, key=key, digest_size=_SEAL_BYTES).hexdigest().encode()
