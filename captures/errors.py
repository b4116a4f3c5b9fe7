"""Everything a caller of ``captures`` may have to catch, and nothing else.

A misuse by the programmer is a ``ValueError`` at construction; damage inside a file is a reported event
(`captures.reader.Damage`), not an exception; a body that cannot be read is a `CodecError`, which callers turn into
``Opaque`` and count.
"""


class ShadowtapeError(Exception):
    """An error a user can cause: one line that says what is wrong, where, and what to do.

    ``exit_code`` is what the command line exits with (docs/reference.md): 2 usage or configuration,
    5 input unreadable, 6 refused or unreachable.
    """

    exit_code = 2


class UsageError(ShadowtapeError):
    """A flag, file or combination that cannot work."""

    exit_code = 2


class CaptureError(ShadowtapeError):
    """A capture that cannot be read at all: missing, not a capture, a newer format, header damaged."""

    exit_code = 5


class RefusedError(ShadowtapeError):
    """Not started: a safety rail refused it, or the target cannot be reached."""

    exit_code = 6


class CodecError(ValueError):
    """A body is not what its codec expects. The message never quotes the body."""
