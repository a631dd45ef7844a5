"""The three errors a user meets. The class says what the scheduler does; anything else is a bug."""

from __future__ import annotations

__all__ = ["CryoloomError", "DataUnfitError", "TransientError", "UserInputError"]


class CryoloomError(Exception):
    """A failure with a sentence for the user: what was got, what was expected, what to do.

    Keyword arguments are the facts behind the sentence (numbers with their unit in the name); they are
    stored with the failed item and appended to the message.
    """

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        if not self.facts:
            return self.message
        return f"{self.message} ({', '.join(f'{name}={value}' for name, value in self.facts.items())})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.facts))


def _rebuild(kind: type[CryoloomError], message: str, facts: dict[str, object]) -> CryoloomError:
    """Unpickle an error that crossed a process border, with its facts."""
    return kind(message, **facts)


class UserInputError(CryoloomError):
    """The request cannot be right; says which field, what was given, what is allowed. Stops the run."""


class DataUnfitError(CryoloomError):
    """An item that cannot be processed; it is skipped, the run goes on, nothing is tried again."""


class TransientError(CryoloomError):
    """The machine failed (disk, node, memory); the item may be tried again."""
