"""The zoo's own exceptions: each message is one line that names the thing and the remedy.

Every exception derives from :class:`ZooError`; those that a caller would expect under a built-in name
(``ValueError``, ``KeyError``, …) derive from it too, so that ordinary ``except`` clauses work. The command
line prints a ``ZooError`` as one line and exits with code 2.
"""

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors that the zoo raises on purpose."""

    def __str__(self) -> str:  # KeyError's own __str__ would show the repr of the message
        return str(self.args[0]) if self.args else ""


class ConfigError(ZooError, ValueError):
    """A configuration field is unknown, of a wrong type or out of its range."""


class DataError(ZooError, ValueError):
    """The data given cannot be used: empty, malformed, of a wrong type."""


class SchemaError(DataError):
    """The data does not conform to its schema, or the schema contradicts itself."""


class ConditionError(ZooError, ValueError):
    """A condition names an unknown column, or a value that cannot occur."""


class ConstraintError(ZooError, ValueError):
    """A constraint is malformed, names an unknown column, or is not met by enough of what a generator draws."""


class OptionError(ZooError, TypeError):
    """A sampling option that this family does not declare, or a value out of its range."""


class NotReadyError(ZooError, RuntimeError):
    """The generator has to be fitted or loaded before it can do this."""


class UnsupportedCapability(ZooError, NotImplementedError, AttributeError):
    """The family does not declare this capability; ``hasattr`` and ``isinstance`` with its protocol are then false."""


class UnknownNameError(ZooError, LookupError):
    """No generator, artifact, data set or recipe has this name."""


class ArtifactError(ZooError, ValueError):
    """A stored artifact is missing a part, altered, truncated, hostile or of a newer format."""


class OfflineError(ZooError, ConnectionError):
    """The network would be needed, and offline mode forbids it."""


class RemoteError(ZooError, ConnectionError):
    """A hub or download server could not be reached, or refused."""


class MissingExtraError(ZooError, ImportError):
    """An optional dependency is not installed."""


class TrainingError(ZooError, RuntimeError):
    """Training cannot go on: the loss is not finite, a checkpoint does not fit, and the like."""


def nearest(name: str, known: Iterable[str], *, show: int = 8) -> str:
    """Say what is nearest to a mistyped name, for the end of an error message.

    Returns a sentence such as ``did you mean 'age'?`` or, when nothing is near, the first known names.
    """
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    if not names:
        return "there are none"
    shown = ", ".join(repr(k) for k in names[:show])
    return f"known: {shown}" + (f" and {len(names) - show} more" if len(names) > show else "")
