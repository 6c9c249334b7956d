"""Columns that are made anew and never learned: identifiers and free text.

An identifier's *pattern* says how its values look, and the value of row i is a function of i alone that never takes
one value twice: rows counted on, rows counted in a shuffled order, or the number i written in the mixed radix of the
pattern's positions and scrambled by an invertible mixing of its digits. So values differ across blocks, batches and
workers without anyone keeping a list, and the same row has the same value in every process. Where the data count on,
the new values begin behind theirs; a scrambled one can only meet a real one by chance.

Free text is filled with common words (in at least 10 rows, without digits) in random order: it has the look and the
length of the column and says nothing; nothing of it is learned and its statistics mean nothing.

Patterns are JSON: ``{"form": "sequence" | "shuffled", "prefix", "suffix", "width", "start", "step" | "size"}``,
``{"form": "shape", "parts": ["AB-", ["0123456789", 4]]}`` with literals and [alphabet, how often], and for text
``{"words": […], "count": [fewest, most], "missing": share}``.
"""

import functools
import json
import math
import string
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zoo.data.table_values import STRING_DTYPES, from_arrow_strings, join
from zoo.errors import SchemaError
from zoo.schema import Column

MIN_ROWS_OF_WORD = 10
MAX_WORDS = 256
_MAX_LENGTH = 64  # of an identifier
_MAX_TEXT_WORDS = 2000
_PROBE_ROWS = 20_000
_LOREM = (
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "adipiscing",
    "elit",
    "sed",
    "do",
    "eiusmod",
    "tempor",
)

_HEX = string.digits + "abcdef"
_ALPHABETS = (
    string.digits[1:],
    string.digits,
    _HEX,
    _HEX.upper(),
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.digits + string.ascii_lowercase,
    string.digits + string.ascii_uppercase,
    string.ascii_letters,
    string.digits + string.ascii_letters,
    string.digits + string.ascii_letters + "-_",
)
_NEW_EMAIL = ["user", [string.digits + string.ascii_lowercase, 9], "@example.com"]


# Finding patterns


def integer_pattern(values: np.ndarray) -> str | None:
    """The pattern of integers ``(n,)`` that count rows: strictly rising, or distinct and filling half their range."""
    found = _count(values)
    return None if found is None else json.dumps(found)


def _count(values: np.ndarray) -> dict[str, Any] | None:
    low, high, n = int(values.min()), int(values.max()), len(values)
    span = high - low + 1
    if span < n or n < 2:
        return None
    if bool((values[1:] > values[:-1]).all()):
        step = int(np.gcd.reduce(np.diff(values.astype(object) if high > 2**62 else values)))
        return {"form": "sequence", "start": high + step, "step": step}
    if span > 2 * n or span > 2**31 or np.bincount((values - values.min()).astype(np.int64)).max() > 1:
        return None
    return {"form": "shuffled", "start": high + 1, "size": span}


def identifier_pattern(values: pa.ChunkedArray) -> str | None:
    """The common structure of distinct strings without nulls, or None when they have none."""
    lengths = pc.min_max(pc.binary_length(values))
    shortest, longest = lengths["min"].as_py(), lengths["max"].as_py()
    if longest > 4 * _MAX_LENGTH or shortest == 0:
        return None
    if pc.all(pc.match_substring_regex(values, r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$")).as_py():
        return json.dumps({"form": "shape", "parts": _NEW_EMAIL})
    if longest > _MAX_LENGTH or not pc.all(pc.string_is_ascii(values)).as_py():
        return None
    return _numbered(values, shortest, longest) or (_shaped(values, longest) if shortest == longest else None)


def _numbered(values: pa.ChunkedArray, shortest: int, longest: int) -> str | None:
    """Strings that differ in one whole number only, with or without leading zeros."""
    prefix = _common_prefix(values).rstrip(string.digits)
    suffix = _common_prefix(pc.utf8_reverse(values))[::-1].lstrip(string.digits)
    if len(prefix) + len(suffix) >= shortest:
        return None
    middle = pc.utf8_slice_codeunits(values, len(prefix), -len(suffix) if suffix else None)
    padded = shortest == longest
    regex = r"^[0-9]{1,18}$" if padded else r"^(0|[1-9][0-9]{0,17})$"
    if not pc.all(pc.match_substring_regex(middle, regex)).as_py():
        return None
    width = longest - len(prefix) - len(suffix)
    found = _count(pc.cast(middle, pa.int64()).to_numpy())
    if found is not None:
        about = {"prefix": prefix, "suffix": suffix, "width": width if padded else 1}
        return json.dumps({**found, **about})
    if padded:
        return None  # a shape, which also sees that a digit never varies
    parts = [prefix, [string.digits[1:], 1], [string.digits, width - 1], suffix]
    return json.dumps({"form": "shape", "parts": [p for p in parts if p and p[-1] != 0]})


def _common_prefix(values: pa.ChunkedArray) -> str:
    ends = pc.min_max(values)  # what the first and the last in order share, all share
    first, last = ends["min"].as_py(), ends["max"].as_py()
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def _shaped(values: pa.ChunkedArray, length: int) -> str | None:
    """ASCII strings of one length: per position the literal, or the smallest alphabet that holds what was seen."""
    joined = pa.concat_arrays([c.cast(pa.large_string()) for c in values.chunks])
    data = np.frombuffer(joined.buffers()[2], dtype=np.uint8)
    start = joined.offset and np.frombuffer(joined.buffers()[1], dtype=np.int64)[joined.offset]
    letters = data[start : start + len(joined) * length].reshape(len(joined), length)
    parts: list[Any] = []
    for position in range(length):
        seen = "".join(map(chr, np.flatnonzero(np.bincount(letters[:, position], minlength=128))))
        if len(seen) == 1:
            literal = parts.pop() if parts and isinstance(parts[-1], str) else ""
            parts.append(literal + seen)
            continue
        # Few characters that each came often are all there are (the variant digit of a UUID).
        few = len(seen) <= 4 and len(letters) >= 10 * len(seen)
        alphabet = seen if few else next((a for a in _ALPHABETS if set(seen) <= set(a)), None)
        if alphabet is None:
            return None
        if parts and parts[-1][0] == alphabet and not isinstance(parts[-1], str):
            parts[-1][1] += 1
        else:
            parts.append([alphabet, 1])
    return json.dumps({"form": "shape", "parts": parts})


def describe_text(values: pa.ChunkedArray, min_rows: int = MIN_ROWS_OF_WORD) -> str:
    """What is kept of free text: words in at least ``min_rows`` rows, usual numbers of words, share of missing."""
    present = values.drop_null()
    step = max(1, len(present) // _PROBE_ROWS)
    probe = present.take(pa.array(np.arange(0, len(present), step)))
    split = pc.utf8_split_whitespace(probe)
    split = split.combine_chunks() if isinstance(split, pa.ChunkedArray) else split
    pairs = pa.table({"row": pc.list_parent_indices(split), "word": pc.list_flatten(split)})
    counts = pairs.group_by(["row", "word"]).aggregate([]).column("word").value_counts()
    words, rows = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
    common = sorted((-r, w) for w, r in zip(words, rows) if r >= min_rows and 0 < len(w) <= 24 and _is_plain(w))
    number = pc.list_value_length(split).to_numpy()
    fewest, most = (max(1, int(q)) for q in np.quantile(number, [0.1, 0.9])) if len(number) else (1, 1)
    most = min(most, _MAX_TEXT_WORDS)
    share = round(values.null_count / max(1, len(values)), 3)
    return json.dumps(
        {"words": [w for _, w in common[:MAX_WORDS]], "count": [min(fewest, most), most], "missing": share}
    )


def _is_plain(word: str) -> bool:
    return not any(c.isdigit() or c == "@" for c in word)


# Making values


def fill(column: Column, first_row: int, n: int) -> Any:
    """Values of an identifier or free text column for the rows ``first_row`` to ``first_row + n``.

    Raises
    ------
    SchemaError
        If the pattern is none that this module writes, or does not fit the dtype.
    """
    return fill_rows(column, np.arange(first_row, first_row + n, dtype=np.uint64))


def fill_rows(column: Column, rows: np.ndarray) -> Any:
    """As :func:`fill`, for the rows of given numbers ``uint64 (n,)``."""
    if column.kind == "text":
        if column.dtype not in STRING_DTYPES:
            raise SchemaError(f"column {column.name!r}: free text has dtype str, string or object, not {column.dtype}")
        return from_arrow_strings(_texts(column, _read(column.name, "text", column.pattern), rows), column.dtype)
    pattern = _read(column.name, "identifier", column.pattern)
    if column.dtype in STRING_DTYPES:
        if pattern["form"] == "shape":
            return from_arrow_strings(_shapes(pattern["parts"], rows), column.dtype)
        numbers = pa.array(_numbers(pattern, rows, 2**63)).cast(pa.large_string())
        numbers = pc.utf8_lpad(numbers, pattern.get("width", 1), "0")
        ends = (pa.scalar(pattern.get(e, ""), pa.large_string()) for e in ("prefix", "suffix"))
        prefix, suffix = ends
        return from_arrow_strings(join(prefix, numbers, suffix), column.dtype)
    if pattern["form"] == "shape" or not column.dtype.lower().lstrip("u").startswith(("int", "float")):
        raise SchemaError(f"column {column.name!r}: an identifier of dtype {column.dtype} cannot have its pattern")
    base = np.dtype(column.dtype.lower())
    room = 2**53 if base.kind == "f" else int(np.iinfo(base).max) + 1
    return pd.array(_numbers(pattern, rows, room).astype(base), dtype=column.dtype)  # type: ignore[call-overload]


def _numbers(pattern: dict[str, Any], rows: np.ndarray, room: int) -> np.ndarray:
    """Whole numbers for rows ``uint64 (n,)``; they wrap round after ``room`` (a power of 2), when all are used."""
    if pattern["form"] == "sequence":
        numbers = np.uint64(pattern["step"]) * rows
    else:
        size = pattern["size"]
        chunk, place = rows // np.uint64(size), rows % np.uint64(size)
        # An affine permutation of 0 … size - 1; the factor is the coprime nearest below the golden section.
        factor = next(f for f in range(max(1, int(size * 0.6180339887)), 0, -1) if math.gcd(f, size) == 1)
        moved = (place * np.uint64(factor) + _mix(chunk) % np.uint64(size)) % np.uint64(size)
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


def _shapes(parts: list[Any], rows: np.ndarray) -> pa.Array:
    """Strings of a shape, all different: the digits of the row number, scrambled.

    Each pass adds to a digit a hash of the digits before it (then of those behind it), which can be undone, so that
    different rows keep different digits. Rows beyond what the shape can hold get a number at the end.
    """
    alphabets = [
        np.frombuffer(p[0].encode(), dtype=np.uint8) for p in parts if not isinstance(p, str) for _ in range(p[1])
    ]
    digits: list[np.ndarray] = []
    rest = rows
    for alphabet in reversed(alphabets):
        radix = np.uint64(len(alphabet))
        digits.append(rest % radix)
        rest = rest // radix
    for order in (range(len(digits)), reversed(range(len(digits)))):
        state = _mix(rest)
        for j in order:
            radix = np.uint64(len(alphabets[-1 - j]))
            digits[j] = (digits[j] + state % radix) % radix
            state = _mix(state ^ digits[j])
    pieces: list[np.ndarray] = []
    taken = len(digits)
    for part in parts:
        if isinstance(part, str):
            literal = np.frombuffer(part.encode(), dtype=np.uint8)
            pieces.append(np.broadcast_to(literal, (len(rows), len(literal))))
            continue
        for _ in range(part[1]):
            taken -= 1
            pieces.append(alphabets[-1 - taken][digits[taken].astype(np.int64)][:, None])
    letters = np.concatenate(pieces, axis=1)
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * letters.shape[1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters))]
    strings = pa.Array.from_buffers(pa.large_string(), len(rows), buffers)
    if rest.any():
        more = pa.array(rest).cast(pa.large_string())
        more = pc.if_else(pa.array(rest > 0), more, pa.scalar("", pa.large_string()))
        strings = join(strings, more)
    return strings


def _texts(column: Column, pattern: dict[str, Any], rows: np.ndarray) -> pa.Array:
    words = pa.array(pattern["words"] or _LOREM, pa.large_string())
    fewest, most = pattern["count"]
    chance = _mix(rows)
    count = (np.uint64(fewest) + chance % np.uint64(most - fewest + 1)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)])
    row_of = np.repeat(chance, count)
    place = _mix(row_of ^ np.arange(len(row_of), dtype=np.uint64) - np.repeat(offsets[:-1], count).astype(np.uint64))
    chosen = words.take(pa.array((place % np.uint64(len(words))).astype(np.int64)))
    texts = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets), chosen), pa.scalar(" ", pa.large_string()))
    if column.maximum is not None:
        texts = pc.utf8_slice_codeunits(texts, 0, int(column.maximum))
    if column.minimum is not None:
        texts = pc.utf8_rpad(texts, int(column.minimum), ".")
    if column.nullable and pattern["missing"]:
        missing = _mix(chance) < np.uint64(min(pattern["missing"], 1.0) * (2**64 - 2**11))
        texts = pc.if_else(pa.array(missing), pa.scalar(None, pa.large_string()), texts)
    return texts


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
    words, (fewest, most) = found["words"], found["count"]
    return (
        set(found) == {"words", "count", "missing"}
        and len(words) <= MAX_WORDS
        and all(isinstance(w, str) and len(w) <= 24 for w in words)
        and _whole(most, 1, _MAX_TEXT_WORDS)
        and _whole(fewest, 1, most)
        and 0 <= found["missing"] <= 1
    )


def _sound_identifier(found: dict[str, Any]) -> bool:
    if found["form"] == "shape":
        parts = found["parts"]
        loose = [p for p in parts if not isinstance(p, str)]
        sound = all(
            isinstance(a, str) and a.isascii() and len(set(a)) == len(a) > 1 and _whole(n, 1, 64) for a, n in loose
        )
        length = sum(len(p) for p in parts if isinstance(p, str)) + sum(n for _, n in loose)
        return sound and set(found) == {"form", "parts"} and bool(loose) and length <= 4 * _MAX_LENGTH
    extra = {"sequence": "step", "shuffled": "size"}[found["form"]]
    return (
        set(found) <= {"form", "start", extra, "prefix", "suffix", "width"}
        and _whole(found["start"], -(2**63), 2**65)
        and _whole(found[extra], 1, 2**31 if extra == "size" else 2**63)
        and _whole(found.get("width", 1), 0, _MAX_LENGTH)
        and all(
            isinstance(found.get(e, ""), str) and len(found.get(e, "")) <= _MAX_LENGTH for e in ("prefix", "suffix")
        )
    )
