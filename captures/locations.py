"""Where captures lie, as people write it: a path on this machine, or a URL. Pure; what is at a URL, `captures.remote` knows."""

import re
from urllib.parse import urlsplit

WEB = ("http", "https")

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def scheme_of(where: str) -> str:
    """``s3`` of ``s3://…``, in small letters; empty for a path."""
    found = _SCHEME.match(where)
    return found[1].lower() if found else ""


def is_remote(where: str) -> bool:
    """Whether it is a URL and not a path on this machine."""
    return bool(scheme_of(where))


def shown(where: str) -> str:
    """As it may stand in messages and results: a URL without userinfo, a web address without query too: both may be credentials."""
    if not is_remote(where):
        return where
    if scheme_of(where) not in WEB:
        scheme, _, rest = where.partition("://")
        bucket, slash, key = rest.partition("/")
        return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{key}"
    parts = urlsplit(where)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
