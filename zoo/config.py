"""Typed configuration: dataclass fields whose types and ranges are checked at construction.

Generators, the trainer's configuration and recipes are keyword-only dataclasses. A field says its range in
its annotation, ``width: Annotated[int, Range(1, 4096)] = 128``; :func:`check_config` refuses anything else with
one line that names the field, the value and what would be valid. A hostile configuration read from an artifact
goes through the same check, which is why sizes have upper bounds.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from zoo.errors import ConfigError, nearest


@dataclass(frozen=True)
class Range:
    """A closed interval of valid numbers; None is open. For sequences, the range of each element."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    """Exclude ``low`` itself (a learning rate is above zero)."""

    def __contains__(self, value: float) -> bool:
        if isinstance(value, float) and math.isnan(value):
            return False
        if self.low is not None and (value <= self.low if self.open_low else value < self.low):
            return False
        return self.high is None or value <= self.high

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "any number"
        if self.high is None:
            return f"{'above' if self.open_low else 'at least'} {_number(self.low)}"
        if self.low is None:
            return f"at most {_number(self.high)}"
        return f"{'above ' if self.open_low else ''}{_number(self.low)} to {_number(self.high)}"


def _number(value: float | None) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _name_of(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(a) for a in get_args(annotation))
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")


def coerce(value: Any, annotation: Any, where: str) -> Any:
    """Check one value against an annotation, and return it in its normal form.

    Integers are accepted for floats and lists for tuples (JSON knows neither); nothing else is converted.

    Raises
    ------
    ConfigError
        Naming ``where``, the value and what is valid.
    """
    origin = get_origin(annotation)
    if annotation is Any or annotation is dataclasses.MISSING:
        return value
    if origin is Annotated:
        base, *marks = get_args(annotation)
        value = coerce(value, base, where)
        for mark in marks:
            if isinstance(mark, Range) and value is not None:
                for item in value if isinstance(value, tuple) else (value,):
                    if item not in mark:
                        raise ConfigError(f"{where}={item!r} is out of range; give a value {mark}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(annotation):
            return None
        errors = []
        for arm in get_args(annotation):
            if arm is type(None):
                continue
            try:
                return coerce(value, arm, where)
            except ConfigError as error:
                errors.append(error)
        raise errors[0]
    if origin is Literal:
        if value not in get_args(annotation):
            hint = nearest(str(value), [str(a) for a in get_args(annotation)])
            raise ConfigError(f"{where}={value!r} is not valid; {hint}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}={value!r} must be a sequence")
        arms = get_args(annotation)
        if len(arms) == 2 and arms[1] is Ellipsis:
            return tuple(coerce(v, arms[0], where) for v in value)
        if len(arms) != len(value):
            raise ConfigError(f"{where}={value!r} must have {len(arms)} elements")
        return tuple(coerce(v, arm, where) for v, arm in zip(value, arms, strict=True))
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = origin or annotation
    if isinstance(expected, type):
        wrong_bool = isinstance(value, bool) and expected is int
        if wrong_bool or not isinstance(value, expected):
            raise ConfigError(f"{where}={value!r} must be {_name_of(annotation)}, not {type(value).__name__}")
    return value


def check_config(instance: Any, *, owner: str | None = None) -> None:
    """Check and normalise every field of a dataclass instance in place (frozen ones too)."""
    hints = typing.get_type_hints(type(instance), include_extras=True)
    for field in dataclasses.fields(instance):
        if not field.init:
            continue
        where = f"{owner}: {field.name}" if owner else field.name
        value = coerce(getattr(instance, field.name), hints[field.name], where)
        object.__setattr__(instance, field.name, value)


def build(cls: type, values: dict[str, Any], *, owner: str) -> Any:
    """Construct a configured dataclass from a mapping, refusing unknown fields with the nearest valid name."""
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    for key in values:
        if key not in known:
            raise ConfigError(f"{owner} has no field {key!r}; {nearest(key, known)}")
    return cls(**values)
