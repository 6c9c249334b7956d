"""What is written on the command line as values of Python: conditions, shares of classes, options."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.errors import OptionError

if TYPE_CHECKING:
    from zoo.schema import Schema


def json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return {"True": True, "False": False}.get(value, value)


def conditions_of(given: list[str], schema: "Schema") -> dict[str, Any]:
    """``age=60..`` is a range, ``a=x,y`` any of, ``a=x`` equal; numbers are read as numbers, unless the column has
    names for categories (a place named ``1010`` is a name); ``a=`` asks for a missing value."""
    out: dict[str, Any] = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign:
            raise OptionError(f"--condition {item!r} must be column=value, column=a,b or column=low..high")
        if name in out:
            raise OptionError(f"--condition on {name!r} is given twice; use {name}=a,b for any of several values")
        read, categories = _reader(name, schema)
        if value in categories or "," not in value or ".." in value:
            out[name] = _asked(value, read, categories)
        else:
            out[name] = [read(v) for v in value.split(",")]
    return out


def _reader(name: str, schema: "Schema") -> tuple[Callable[[str], Any], tuple[Any, ...]]:
    """How values of a column are read, and its categories if they are text."""
    categories = schema[name].categories if name in schema else ()
    named = bool(categories) and all(isinstance(c, str) for c in categories)
    return (str, categories) if named else (json_or_text, ())


def _asked(value: str, read: Callable[[str], Any], categories: tuple[Any, ...]) -> Any:
    """One value, a range or a missing value."""
    if value in categories:
        return value
    if not value:
        return None
    if ".." in value:
        return tuple(read(end) if end else None for end in value.split("..", 1))
    return read(value)


def balance_of(given: list[str], schema: "Schema") -> dict[str, Any] | None:
    """``income`` for even classes, ``income=>50K:0.3`` for shares; the last colon parts a value from its share."""
    out: dict[str, Any] = {}
    for item in given:
        name, sign, shares = item.partition("=")
        if name in out:
            raise OptionError(f"--balance on {name!r} is given twice; use {name}=a:0.3,b:0.2 for several classes")
        out[name] = {} if sign else None
        read, categories = _reader(name, schema)
        for part in shares.split(",") if sign else []:
            value, colon, share = part.rpartition(":")
            try:
                out[name][_asked(value, read, categories)] = float(share if colon else "?")
            except ValueError as error:
                raise OptionError(f"--balance {item!r} must be column or column=value:share,value:share") from error
    return out or None


def options_of(given: list[str]) -> dict[str, Any]:
    """``temperature=0.7``; numbers are read as numbers."""
    out = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign:
            raise OptionError(f"--option {item!r} must be name=value; zoo info NAME shows the options")
        out[name] = json_or_text(value)
    return out
