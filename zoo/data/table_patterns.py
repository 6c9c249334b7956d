"""Patterns: what is kept of columns that are never learned, identifiers and free text, so that they can be made anew.

An identifier's pattern counts on (``sequence``), counts in a shuffled order (``shuffled``), or is a ``shape``: per
position the literal, or the smallest alphabet that holds what was seen. Text that looks like codes (postcodes with
leading zeros, cabin or telephone numbers) is a mixture of shapes, one for each way in which digits and letters follow
each other in at least 10 rows; other text keeps its common words. What is personal by its form or its column's name
(:mod:`zoo.data.table_pii`) is made up, or keeps its shape with valid check digits.

Patterns are JSON. Of identifiers: ``{"form": "sequence" | "shuffled", "prefix", "suffix", "width", "start", "step" |
"size", "spread"}``, ``{"form": "shape", "parts": ["AB-", ["0123456789", 4]], "check": "iban" | "luhn"}`` with literals
and [alphabet, how often], and ``{"form": "fake", "of": "ip"}``. Of text: ``{"words": […], "count": [fewest, most],
"missing": share}``, ``{"shapes": [[weight, parts], …], "check", "missing"}`` and ``{"fake": "name", "missing"}``, each
also with ``"together"``, the column in whose rows it is missing.
"""

import json
import string
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoo.data.table_pii import CHECKS, FAKES

MIN_ROWS_OF_WORD = 10
MAX_WORDS = 256
MAX_LENGTH = 64  # of an identifier
MAX_TEXT_WORDS = 2000
MAX_SHAPES = 16
_PROBE_ROWS = 20_000
_COVERED = 0.9  # share of rows that the shapes have to describe

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
        # A sample begins up to as many rows behind as there are, so that two seeds seldom give the same numbers.
        return {"form": "sequence", "start": high + step, "step": step, "spread": min(n, 2**31)}
    if span > 2 * n or span > 2**31 or np.bincount((values - values.min()).astype(np.int64)).max() > 1:
        return None
    return {"form": "shuffled", "start": high + 1, "size": span}


def identifier_pattern(values: pa.ChunkedArray, personal: str | None = None) -> str | None:
    """The common structure of distinct strings without nulls, or None when they have none.

    ``personal`` is what :func:`zoo.data.table_pii.personal_kind` found.
    """
    if personal == "email":
        return json.dumps({"form": "shape", "parts": _NEW_EMAIL})
    if personal in FAKES:
        return json.dumps({"form": "fake", "of": personal})
    lengths = pc.min_max(pc.binary_length(values))
    shortest, longest = lengths["min"].as_py(), lengths["max"].as_py()
    if longest > MAX_LENGTH or shortest == 0 or not pc.all(pc.string_is_ascii(values)).as_py():
        return None
    check = CHECKS.get(personal or "")
    found = None if check else _numbered(values, shortest, longest)
    if found is not None or shortest != longest:
        return found
    parts = _shaped(values, longest, check)
    return (
        None if parts is None else json.dumps({"form": "shape", "parts": parts} | ({"check": check} if check else {}))
    )


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
        if padded and "spread" in found:  # stay within the width
            found["spread"] = max(1, min(found["spread"], (10**width - found["start"]) // found["step"] // 2))
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


def _shaped(values: pa.ChunkedArray, length: int, check: str | None = None) -> list[Any] | None:
    """ASCII strings of one length: per position the literal, or the smallest alphabet that holds what was seen.

    Positions that ``check`` computes are literals.
    """
    joined = pa.concat_arrays([c.cast(pa.large_string()) for c in values.chunks])
    data = np.frombuffer(joined.buffers()[2], dtype=np.uint8)
    start = joined.offset and np.frombuffer(joined.buffers()[1], dtype=np.int64)[joined.offset]
    letters = data[start : start + len(joined) * length].reshape(len(joined), length)
    if check is not None:
        letters = letters.copy()
        letters[:, check_places(letters[0], check)] = ord("0")
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
    return parts


def check_places(letters: np.ndarray, check: str) -> list[int]:
    """Where the check digits stand in a string, given as bytes ``(length,)``."""
    if check == "iban":
        return [2, 3]
    return [int(np.flatnonzero((letters >= ord("0")) & (letters <= ord("9")))[-1])]


def text_shapes(values: pa.ChunkedArray, check: str | None = None) -> list[list[Any]]:
    """Shapes ``[weight, parts]`` of present strings that look like codes; empty when they do not.

    A shape is one way in which digits, capitals and small letters follow each other, found in at least 10 rows.
    Together they have to describe nine tenths of the rows, each but an only one must hold a digit, and none more than
    one word: names and sentences are no codes.
    """
    if not len(values) or not pc.all(pc.string_is_ascii(values)).as_py():
        return []
    if pc.max(pc.binary_length(values)).as_py() > MAX_LENGTH:
        return []
    forms = values
    for regex, mark in (("[0-9]", "0"), ("[A-Z]", "A"), ("[a-z]", "a")):
        forms = pc.replace_substring_regex(forms, regex, mark)
    counted = forms.value_counts()
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist())
    common = sorted(((n, form) for form, n in pairs if n >= MIN_ROWS_OF_WORD and form), reverse=True)[:MAX_SHAPES]
    codes = all("0" in form or len(common) == 1 for _, form in common)
    if not codes or any(_words(form) > 1 for _, form in common):
        return []
    if sum(n for n, _ in common) < _COVERED * len(values):
        return []
    shapes = []
    for n, form in common:
        parts = _shaped(values.filter(pc.equal(forms, form)), len(form), check)
        if parts is None:
            return []
        shapes.append([n, parts])
    return shapes


def _words(form: str) -> int:
    return sum("aa" in run for run in form.replace("0", " ").split())


def describe_text(
    values: pa.ChunkedArray, min_rows: int = MIN_ROWS_OF_WORD, personal: str | None = None, together: str | None = None
) -> str:
    """What is kept of text that is not learned: shapes of codes, or words in at least ``min_rows`` rows, usual numbers
    of words; and the share of missing values.
    """
    present = values.drop_null()
    about: dict[str, Any] = {"missing": round(values.null_count / max(1, len(values)), 4)}
    if together is not None:
        about["together"] = together
    check = CHECKS.get(personal or "")
    if personal == "email":
        return json.dumps({"shapes": [[1, _NEW_EMAIL]], **about})
    if personal in FAKES:
        return json.dumps({"fake": personal, **about})
    step = max(1, len(present) // _PROBE_ROWS)
    probe = present.take(pa.array(np.arange(0, len(present), step)))
    shapes = text_shapes(probe, check)
    if shapes:
        return json.dumps({"shapes": shapes, **({"check": check} if check else {}), **about})
    split = pc.utf8_split_whitespace(probe)
    split = split.combine_chunks() if isinstance(split, pa.ChunkedArray) else split
    pairs = pa.table({"row": pc.list_parent_indices(split), "word": pc.list_flatten(split)})
    counts = pairs.group_by(["row", "word"]).aggregate([]).column("word").value_counts()
    words, rows = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
    common = sorted((-r, w) for w, r in zip(words, rows) if r >= min_rows and 0 < len(w) <= 24 and _is_plain(w))
    number = pc.list_value_length(split).to_numpy()
    fewest, most = (max(1, int(q)) for q in np.quantile(number, [0.1, 0.9])) if len(number) else (1, 1)
    most = min(most, MAX_TEXT_WORDS)
    return json.dumps({"words": [w for _, w in common[:MAX_WORDS]], "count": [min(fewest, most), most], **about})


def _is_plain(word: str) -> bool:
    return not any(c.isdigit() or c == "@" for c in word)
