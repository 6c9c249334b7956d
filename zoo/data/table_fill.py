"""Columns that are made anew and never learned: identifiers and free text.

The value of row i is a function of the seed, the column's name and i alone. An identifier never takes one value twice
within a sample: rows counted on, rows counted in a shuffled order, or the number i written in the mixed radix of the
pattern's positions and scrambled by an invertible mixing of its digits. So values differ across blocks, batches and
workers without anyone keeping a list, and the same row has the same value in every process. Where the data count on,
the new values begin behind theirs; a scrambled one can only meet a real one by chance.

Text that looks like codes gets new ones of the same shapes; other free text is filled with common words (in at least
10 rows, without digits) in random order: it has the look and the length of the column and says nothing. Nothing of it
is learned and its statistics mean nothing. See :mod:`zoo.data.table_patterns` for the patterns.
"""

import functools
import json
import math
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zoo.data.table_patterns import MAX_LENGTH, MAX_SHAPES, MAX_TEXT_WORDS, MAX_WORDS
from zoo.data.table_pii import CHECKS, FAKES, set_check
from zoo.data.table_values import STRING_DTYPES, from_arrow_strings, join, plain, to_dtype
from zoo.errors import SchemaError
from zoo.schema import Column

_LOREM = ("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do", "eiusmod")


def fill(column: Column, first_row: int, n: int, seed: int = 0, missing: np.ndarray | None = None) -> Any:
    """Values of an identifier or free text column for the rows ``first_row`` to ``first_row + n``.

    Parameters
    ----------
    column
        Of kind ``identifier`` or ``text``.
    first_row, n
        Which rows.
    seed
        0 to 2**63 - 1; another seed gives other values.
    missing
        ``bool (n,)``: where a text is missing; by default drawn by the share in its pattern.

    Raises
    ------
    SchemaError
        If the pattern is none that this module writes, or does not fit the dtype.
    """
    stored = column.dtype
    column = plain(column)
    rows = np.arange(first_row, first_row + n, dtype=np.uint64)
    with np.errstate(over="ignore"):
        key = _mix(_mix(np.uint64(seed)) ^ np.uint64(zlib.crc32(column.name.encode())))
        if column.kind == "text":
            if column.dtype not in STRING_DTYPES:
                raise SchemaError(
                    f"column {column.name!r}: free text has dtype str, string or object, not {column.dtype}"
                )
            made = from_arrow_strings(_texts(column, rows, key, missing), column.dtype)
        else:
            made = _identifiers(column, rows, key)
    return to_dtype(made, stored)


def _identifiers(column: Column, rows: np.ndarray, key: np.uint64) -> Any:
    pattern = _read(column.name, "identifier", column.pattern)
    if column.dtype in STRING_DTYPES:
        if pattern["form"] == "fake":
            return from_arrow_strings(_fakes(pattern["of"], rows, key), column.dtype)
        if pattern["form"] == "shape":
            return from_arrow_strings(_shapes(pattern["parts"], rows, key, pattern.get("check")), column.dtype)
        numbers = pa.array(_numbers(pattern, rows, 2**63, key)).cast(pa.large_string())
        numbers = pc.utf8_lpad(numbers, pattern.get("width", 1), "0")
        prefix, suffix = (pa.scalar(pattern.get(e, ""), pa.large_string()) for e in ("prefix", "suffix"))
        return from_arrow_strings(join(prefix, numbers, suffix), column.dtype)
    if not column.dtype.lower().lstrip("u").startswith(("int", "float")) or pattern["form"] == "fake":
        raise SchemaError(f"column {column.name!r}: an identifier of dtype {column.dtype} cannot have its pattern")
    base = np.dtype(column.dtype.lower())
    room = 2**53 if base.kind == "f" else int(np.iinfo(base).max) + 1
    if pattern["form"] == "shape":
        try:
            numbers = _shapes(pattern["parts"], rows, key, pattern.get("check")).cast(pa.uint64()).to_numpy()
        except pa.ArrowException as error:
            raise SchemaError(
                f"column {column.name!r}: its pattern has more than digits, and its dtype is {column.dtype}"
            ) from error
    else:
        numbers = _numbers(pattern, rows, room, key)
    return pd.array(numbers.astype(base), dtype=column.dtype)


def _numbers(pattern: dict[str, Any], rows: np.ndarray, room: int, key: np.uint64) -> np.ndarray:
    """Whole numbers for rows ``uint64 (n,)``; they wrap round after ``room`` (a power of 2), when all are used."""
    if pattern["form"] == "sequence":
        numbers = np.uint64(pattern["step"]) * (rows + key % np.uint64(pattern.get("spread", 1)))
    else:
        size = pattern["size"]
        chunk, place = rows // np.uint64(size), rows % np.uint64(size)
        # An affine permutation of 0 … size - 1; the factor is the coprime nearest below the golden section.
        factor = next(f for f in range(max(1, int(size * 0.6180339887)), 0, -1) if math.gcd(f, size) == 1)
        moved = (place * np.uint64(factor) + _mix(chunk ^ key) % np.uint64(size)) % np.uint64(size)
        numbers = chunk * np.uint64(size) + moved
    if pattern["start"] < 0:  # room of these count up from there, below the type's greatest
        return (numbers & np.uint64(room - 1)).astype(np.int64) + np.int64(pattern["start"])
    return (numbers + np.uint64(pattern["start"] % room)) & np.uint64(room - 1)


def _mix(state: Any) -> Any:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), on ``uint64``."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _digits(rows: np.ndarray, radices: list[int], key: np.uint64) -> tuple[list[np.ndarray], np.ndarray]:
    """Row numbers in a mixed radix, scrambled: digits ``[(n,), …]`` of ``radices`` and what is left above them.

    Each pass adds to a digit a hash of the digits before it (then of those behind it), which can be undone, so that
    different rows keep different digits.
    """
    digits: list[np.ndarray] = []
    rest = rows
    for size in reversed(radices):
        digits.append(rest % np.uint64(size))
        rest = rest // np.uint64(size)
    for order in (range(len(digits)), reversed(range(len(digits)))):
        state = _mix(rest ^ key)
        for j in order:
            radix = np.uint64(radices[-1 - j])
            digits[j] = (digits[j] + state % radix) % radix
            state = _mix(state ^ digits[j])
    return digits[::-1], rest


def _shapes(parts: list[Any], rows: np.ndarray, key: np.uint64, check: str | None = None) -> pa.Array:
    """Strings of a shape, all different; rows beyond what the shape can hold get a number at the end."""
    slots = [p for part in parts for p in ([part] if isinstance(part, str) else [part[:1]] * part[1])]
    alphabets = [np.frombuffer(s[0].encode(), dtype=np.uint8) for s in slots if not isinstance(s, str)]
    digits, rest = _digits(rows, [len(a) for a in alphabets], key)
    drawn = iter(zip(alphabets, digits))
    pieces: list[np.ndarray] = []
    for slot in slots:
        if isinstance(slot, str):
            literal = np.frombuffer(slot.encode(), dtype=np.uint8)
            pieces.append(np.broadcast_to(literal, (len(rows), len(literal))))
        else:
            alphabet, digit = next(drawn)
            pieces.append(alphabet[digit.astype(np.int64)][:, None])
    letters = np.ascontiguousarray(np.concatenate(pieces, axis=1))
    if check is not None and len(letters):
        set_check(letters, check)
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * letters.shape[1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(letters)]
    return _numbered(pa.Array.from_buffers(pa.large_string(), len(rows), buffers), rest)


def _fakes(kind: str, rows: np.ndarray, key: np.uint64, numbered: bool = True) -> pa.Array:
    """Made-up personal data; rows beyond the number of combinations get a number at the end, if ``numbered``."""
    slots = FAKES[kind]
    digits, rest = _digits(rows, [len(s) for s in slots if not isinstance(s, str)], key)
    drawn = iter(digits)
    pieces = [
        pa.scalar(slot, pa.large_string())
        if isinstance(slot, str)
        else pa.array(slot, pa.large_string()).take(pa.array(next(drawn).astype(np.int64)))
        for slot in slots
    ]
    strings = join(*pieces)
    return _numbered(strings, rest) if numbered else strings


def _numbered(strings: pa.Array, rest: np.ndarray) -> pa.Array:
    if not rest.any():
        return strings
    more = pa.array(rest).cast(pa.large_string())
    return join(strings, pc.if_else(pa.array(rest > 0), more, pa.scalar("", pa.large_string())))


def _texts(column: Column, rows: np.ndarray, key: np.uint64, missing: np.ndarray | None) -> pa.Array:
    pattern = _read(column.name, "text", column.pattern)
    chance = _mix(rows ^ key)
    if "fake" in pattern:
        texts = _fakes(pattern["fake"], chance, key, numbered=False)
    elif "shapes" in pattern:
        texts = _mixed_shapes(pattern, chance)
    else:
        texts = _sentences(pattern, chance)
    if column.maximum is not None:
        texts = pc.utf8_slice_codeunits(texts, 0, int(column.maximum))
    if column.minimum is not None:
        texts = pc.utf8_rpad(texts, int(column.minimum), ".")
    if missing is None and pattern["missing"]:
        missing = _mix(chance) < np.uint64(min(pattern["missing"], 1.0) * (2**64 - 2**11))
    if column.nullable and missing is not None:
        texts = pc.if_else(pa.array(missing), pa.scalar(None, pa.large_string()), texts)
    return texts


def _mixed_shapes(pattern: dict[str, Any], chance: np.ndarray) -> pa.Array:
    """Codes, each of one of the shapes; they may repeat, as those of the column do."""
    weights = np.array([weight for weight, _ in pattern["shapes"]], dtype=np.float64)
    ends = np.cumsum(weights) / weights.sum()
    drawn = (_mix(chance ^ np.uint64(1)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    which = np.minimum(np.searchsorted(ends, drawn, side="right"), len(ends) - 1)
    made, order = [], []
    for i, (_, parts) in enumerate(pattern["shapes"]):
        mine = np.flatnonzero(which == i)
        room = math.prod(len(p[0]) ** p[1] for p in parts if not isinstance(p, str))
        made.append(_shapes(parts, chance[mine] % np.uint64(min(room, 2**63)), np.uint64(0), pattern.get("check")))
        order.append(mine)
    back = np.empty(len(chance), dtype=np.int64)
    back[np.concatenate(order)] = np.arange(len(chance))
    return pa.concat_arrays(made).take(pa.array(back))


def _sentences(pattern: dict[str, Any], chance: np.ndarray) -> pa.Array:
    words = pa.array(pattern["words"] or _LOREM, pa.large_string())
    fewest, most = pattern["count"]
    count = (np.uint64(fewest) + chance % np.uint64(most - fewest + 1)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)])
    row_of = np.repeat(chance, count)
    place = _mix(row_of ^ np.arange(len(row_of), dtype=np.uint64) - np.repeat(offsets[:-1], count).astype(np.uint64))
    chosen = words.take(pa.array((place % np.uint64(len(words))).astype(np.int64)))
    return pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets), chosen), pa.scalar(" ", pa.large_string()))


def missing_with(column: Column) -> str | None:
    """The column whose missing values a text column shares, row by row."""
    return None if column.kind != "text" else _read(column.name, "text", column.pattern).get("together")


@functools.lru_cache(maxsize=1024)
def _read(name: str, kind: str, pattern: str | None) -> dict[str, Any]:
    """A pattern as data, checked: it may come from an artifact of unknown origin."""
    if pattern is None:
        plain = {"words": [], "count": [3, 12], "missing": 0.0}
        return plain if kind == "text" else {"form": "sequence", "start": 1, "step": 1, "width": 8}
    try:
        found = json.loads(pattern)
        sound = isinstance(found, dict) and (_sound_text(found) if kind == "text" else _sound_identifier(found))
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise SchemaError(f"column {name!r}: its pattern is none of an {kind}; infer the schema from data again")
    return found


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _sound_text(found: dict[str, Any]) -> bool:
    kept = set(found) - {"together"}
    if not 0 <= found["missing"] <= 1 or not isinstance(found.get("together", ""), str):
        return False
    if "fake" in found:
        return kept == {"fake", "missing"} and found["fake"] in FAKES
    if "shapes" in found:
        shapes = found["shapes"]
        sound = all(_whole(w, 1, 2**53) and _sound_parts(parts, found.get("check")) for w, parts in shapes)
        return sound and kept - {"check"} == {"shapes", "missing"} and 1 <= len(shapes) <= MAX_SHAPES
    words, (fewest, most) = found["words"], found["count"]
    return (
        kept == {"words", "count", "missing"}
        and len(words) <= MAX_WORDS
        and all(isinstance(w, str) and len(w) <= 24 for w in words)
        and _whole(most, 1, MAX_TEXT_WORDS)
        and _whole(fewest, 1, most)
    )


def _sound_parts(parts: list[Any], check: Any) -> bool:
    loose = [p for p in parts if not isinstance(p, str)]
    sound = all(
        isinstance(a, str) and a.isascii() and len(set(a)) == len(a) > 1 and _whole(n, 1, MAX_LENGTH) for a, n in loose
    )
    length = sum(len(p) for p in parts if isinstance(p, str)) + sum(n for _, n in loose)
    if not sound or length > 4 * MAX_LENGTH or not all(p.isascii() for p in parts if isinstance(p, str)):
        return False
    if check is None:
        return True
    digits = sum(c.isdigit() for p in parts for c in (p if isinstance(p, str) else p[0]))
    return check in CHECKS.values() and length >= 5 and digits > 0


def _sound_identifier(found: dict[str, Any]) -> bool:
    if found["form"] == "fake":
        return set(found) == {"form", "of"} and found["of"] in FAKES
    if found["form"] == "shape":
        loose = any(not isinstance(p, str) for p in found["parts"])
        return loose and set(found) <= {"form", "parts", "check"} and _sound_parts(found["parts"], found.get("check"))
    extra = {"sequence": "step", "shuffled": "size"}[found["form"]]
    return (
        set(found) <= {"form", "start", extra, "spread", "prefix", "suffix", "width"}
        and _whole(found["start"], -(2**63), 2**65)
        and _whole(found[extra], 1, 2**31 if extra == "size" else 2**63)
        and _whole(found.get("spread", 1), 1, 2**31)
        and _whole(found.get("width", 1), 0, MAX_LENGTH)
        and all(isinstance(found.get(e, ""), str) and len(found.get(e, "")) <= MAX_LENGTH for e in ("prefix", "suffix"))
    )
