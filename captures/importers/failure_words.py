"""Why there was no response, from the words other tools write down. Their text may quote traffic: only the kind is kept."""

import re

from captures.exchange import FailureKind

# The first that is found counts. Chromium's net errors, errno texts, mitmproxy's prose.
_NO_CONNECTION = (
    "refused|not_resolved|unreachable|connect call failed|connection_failed|name or service|nodename|getaddrinfo|no route|"
    "certificate|_cert_|tls|ssl|_proxy_|internet_disconnected"
)
_WORDS = (
    (FailureKind.UNSENT, "blocked_by|blocked by"),
    (FailureKind.CLIENT_DISCONNECT, "aborted|client disconnected|reset by client|cancell?ed"),
    (FailureKind.TIMEOUT, "timed[ _]?out|timeout"),
    (FailureKind.CONNECT, _NO_CONNECTION),
    (FailureKind.RESET, "reset|empty_response|closed|killed|eof|broken pipe|socket hang up"),
    (FailureKind.PROTOCOL, "protocol|invalid|malformed|http/?[123]|quic|content_length|chunked"),
)
_TABLE = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in _WORDS)


def failure_kind(text: str) -> FailureKind:
    """A kind by its own name, or what the words say; RESET where they say nothing: there was no response, no more is known."""
    if (kind := FailureKind.__members__.get(text)) is not None:
        return kind
    return next((kind for kind, words in _TABLE if words.search(text)), FailureKind.RESET)
