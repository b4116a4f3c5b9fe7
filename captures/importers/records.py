"""One record as it was cut out of a file."""

from dataclasses import dataclass

from captures.importers.importer import Dropped

TOO_LONG = "too long"


@dataclass(frozen=True, slots=True)
class Record:
    """``data`` as it stands in the file at ``offset``, or why there is none: ``trouble``, in our words."""

    offset: int
    data: bytes = b""
    trouble: str = ""

    def dropped(self, name: str) -> Dropped:
        """What to say of a record in trouble. ``name``: of the file."""
        reason = "too_long" if self.trouble == TOO_LONG else "damaged"
        return Dropped(reason, f"{name} at byte {self.offset}: {self.trouble}")
