"""The one error that every command and endpoint turns into a clear message."""

from collections.abc import Sequence


class BrushletError(Exception):
    """A problem that the person in front of the program can act on.

    Args:
        what: what is wrong, in one sentence.
        where: the file, key or field it was found in.
        todo: what to do about it.

    `str(error)` is one line holding all three. Commands print it and exit with
    `exit_code`; the server sends it as RFC 9457 problem JSON.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what = what
        self.where = where
        self.todo = todo
        parts = [f"{where}: {what}" if where else what]
        if todo:
            parts.append(todo)
        super().__init__(" - ".join(" ".join(part.split()) for part in parts))


LISTED = 8


def listed(names: Sequence[str], between: str = ", ") -> str:
    """Names in a sentence: the first `LISTED`, and how many more there are."""
    more = len(names) - LISTED
    shown = between.join(names[:LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


class BadFile(BrushletError):
    """A file is damaged, hostile, or not what its name says."""


class WrongBase(BrushletError):
    """A LoRA or pack belongs to another base model."""


class UnmatchedKeys(BrushletError):
    """A LoRA has keys for which the bundle has no slot."""


class ParityMissed(BrushletError):
    """An exported graph does not compute what PyTorch computes."""


class Cancelled(BrushletError):
    """The person in front of the program stopped it."""

    exit_code = 130
