"""How clients reach a relay, and TLS of both its sides, as a user chose them. Pure; `recorder.tls` makes options of it."""

from dataclasses import dataclass
from pathlib import Path

from captures.errors import UsageError
from recorder.options import Upstream, parse_upstream

MODES = ("reverse", "regular", "transparent", "upstream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files, still unread. Towards clients that speak TLS: ``cert`` is our own with its chain, and ``key`` (None: it is in
    ``cert``); without one, certificates are signed by an authority in ``ca_folder`` (made if missing; None: in memory).
    ``client_ca`` must have signed what clients then have to show. Towards the upstream: ``upstream_ca`` (None: SSL_CERT_FILE, else
    the public authorities), ``upstream_cert`` and ``upstream_key`` to show it, ``insecure`` not to check it.
    """

    cert: Path | None = None
    key: Path | None = None
    ca_folder: Path | None = None
    client_ca: Path | None = None
    upstream_ca: Path | None = None
    upstream_cert: Path | None = None
    upstream_key: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError: a key without its certificate."""
        for key, cert, name in ((self.key, self.cert, "tls"), (self.upstream_key, self.upstream_cert, "upstream")):
            if key is not None and cert is None:
                raise UsageError(f"--{name}-key {key}: it is the key of --{name}-cert; name that too")

    @property
    def warning(self) -> str:
        """For stderr, whenever it is not empty."""
        if not self.insecure:
            return ""
        return "--insecure: the upstream's certificate is not checked; whoever answers in its place reads and answers everything"


@dataclass(frozen=True, slots=True)
class Mode:
    """How clients reach us, in mitmproxy's words (MODES). ``server``: the upstream of reverse, the next proxy of upstream."""

    name: str
    server: Upstream | None = None

    @property
    def spec(self) -> str:
        """For mitmproxy. It would listen for HTTP/3 too where a reverse proxy's upstream is https; tls is the same without."""
        if self.server is None:
            return self.name
        scheme = "tls" if self.name == "reverse" and self.server.scheme == "https" else self.server.scheme
        return f"{self.name}:{scheme}://{self.server.address}"


def parse_mode(text: str, name: str = "--mode") -> Mode:
    """``regular``, ``transparent``, ``upstream:http://PROXY:PORT`` or ``reverse:http://HOST:PORT``. Raises UsageError."""
    kind, colon, server = text.partition(":")
    if kind not in MODES or bool(colon) != (kind in ("reverse", "upstream")):
        raise UsageError(
            f"{name} {text!r}: write regular, transparent, upstream:http://PROXY:PORT or reverse:http://HOST:PORT"
        )
    return Mode(kind, parse_upstream(server, name) if colon else None)


def chosen_mode(mode: str, upstream: str | None) -> Mode:
    """Of --mode and --upstream: a reverse proxy has a server behind it, the others are told by their clients. Raises UsageError."""
    if mode == "reverse":
        if upstream is None:
            raise UsageError("--upstream: name the server to relay to, for example http://127.0.0.1:8000")
        return Mode("reverse", parse_upstream(upstream))
    found = parse_mode(mode)
    if upstream is not None:
        raise UsageError(f"--upstream {upstream}: with --mode {mode} clients say where to; leave one of them out")
    return found
