"""Columns that are made anew: codes keep their shape, personal data are found and made up, seeds and rows decide."""

import ipaddress
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.table_fill import fill
from zoo.data.table_pii import FAKES, is_iban, is_luhn, spell
from zoo.data.table_schema import infer_column
from zoo.errors import SchemaError
from zoo.schema import Column

N = 200
RNG = np.random.default_rng(0)


def digits(n: int) -> str:
    return "".join(map(str, RNG.integers(0, 10, n)))


def infer(values: Any, name: str = "x") -> Column:
    return infer_column(pd.Series(values, name=name))


def card() -> str:
    body = "4000" + digits(11)
    return next(body + str(d) for d in range(10) if is_luhn(body + str(d)))


def iban() -> str:
    body = digits(17)
    return f"CH{98 - int(f'{body}121700') % 97:02d}{body}"


def test_check_digits_against_published_examples() -> None:
    assert is_luhn("79927398713") and not is_luhn("79927398710")
    assert is_luhn("4111 1111 1111 1111") and is_luhn("3782-822463-10005")
    for known in ("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "CH9300762011623852957"):
        assert is_iban(known) and not is_iban(known[:-1] + ("1" if known[-1] != "1" else "2"))


def test_postcodes_with_leading_zeros_keep_their_shape() -> None:
    values = pd.Series([f"{i:05d}" for i in RNG.integers(0, 99_999, 3000)], name="zip")
    assert not values.is_unique
    column = infer_column(values)
    assert column.kind == "text"
    made = pd.Series(fill(column, 0, 3000, 1))
    assert made.str.fullmatch(r"\d{5}").all() and made.nunique() > 2800
    assert made.str.startswith("0").any()
    gaps = infer_column(values.mask(RNG.random(3000) < 0.3))
    made = pd.Series(fill(gaps, 0, 3000, 1))
    assert 0.25 < made.isna().mean() < 0.35 and made.dropna().str.fullmatch(r"\d{5}").all()


def test_codes_of_several_shapes_keep_their_shares() -> None:
    values = [f"{digits(5)}-{digits(4)}" if i % 4 == 0 else digits(5) for i in range(2000)]
    made = pd.Series(fill(infer([*values, *values[:300]], "code"), 0, 4000, 3))
    long = made.str.fullmatch(r"\d{5}-\d{4}")
    assert (long | made.str.fullmatch(r"\d{5}")).all() and 0.2 < long.mean() < 0.3


def test_names_and_sentences_are_no_codes() -> None:
    names = ["".join(RNG.choice(list("abcdefghij"), RNG.integers(3, 12))) for _ in range(600)]
    assert "words" in json.loads(str(infer(names).pattern))
    assert "words" in json.loads(str(infer([f"the {n} of 12 is {n}" for n in names]).pattern))


PERSONAL: dict[str, tuple[str, list[Any], str, str]] = {
    # kind -> name of the column, values, regular expression of what is made, kind of column
    "email": ("contact", [f"p{i}@firm.org" for i in range(N)], r"user[a-z0-9]{9}@example\.com", "identifier"),
    "phone": ("x", [f"+41 79 {digits(3)} {digits(2)}" for _ in range(N)] * 2, r"\+41 79 \d{3} \d\d", "text"),
    "iban": ("x", [iban() for _ in range(N)], r"CH\d{19}", "identifier"),
    "card": ("x", [card() for _ in range(N)], r"4000\d{12}", "identifier"),
    "ip": ("x", [f"192.168.{i}.{j}" for i in range(20) for j in range(10)] * 3, r"10\.\d+\.\d+\.\d+", "text"),
    "ipv6": ("x", [f"2a02:aa:{i:x}::{i * 7:x}" for i in range(N)], r"2001:db8(:[0-9a-f]{4}){6}", "identifier"),
    "mac": ("x", [f"aa:bb:cc:00:00:{i:02x}" for i in range(N)], r"02(:[0-9a-f]{2}){5}", "identifier"),
    "ssn": ("ssn", [f"123-45-{i:04d}" for i in range(N)], r"000-\d\d-\d{4}", "identifier"),
    "first_name": ("firstName", ["Kunigunde", "Balthasar"] * N, r"[A-Z][a-z]+", "text"),
    "last_name": ("last_name", ["Xylander", "Quint"] * N, r"[A-Z][a-z]+", "text"),
    "name": ("Full Name", ["Kunigunde Quint", "Balthasar Xylander"] * N, r"[A-Z][a-z]+ [A-Z][a-z]+", "text"),
    "username": ("userName", [f"quint{i % 77}" for i in range(N)], r"[a-z]+\d{4}", "text"),
    "address": ("home_address", [f"Hauptgasse {i % 70}" for i in range(N)], r"\d+ [A-Z][a-z]+ [A-Z][a-z]+", "text"),
    "document": ("passport_no", [f"X{digits(7)}" for _ in range(N)], r"X\d{7}", "identifier"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_data_are_found_and_made_up(kind: str) -> None:
    name, values, regex, expected = PERSONAL[kind]
    column = infer(values, name)
    assert (column.pii, column.kind) == (kind, expected)
    kept = str(column.pattern) + repr(column.categories)
    assert not any(str(v) in kept for v in values)  # nothing of a person is stored
    made = pd.Series(fill(column, 0, 500, 4))
    assert made.str.fullmatch(regex).all(), made.tolist()[:3]
    assert not set(made) & set(values)
    if expected == "identifier":
        assert made.is_unique
    if kind == "iban":
        assert made.map(is_iban).all()
    if kind == "card":
        assert made.map(is_luhn).all()
    if kind in ("ip", "ipv6"):
        assert all(ipaddress.ip_address(v).is_private for v in made)


def test_spellings_of_names_are_one() -> None:
    assert {spell(n) for n in ("firstName", "first-name", "First Name", "FIRST_NAME", " first.name")} == {"first_name"}


def test_what_is_not_personal_stays() -> None:
    assert infer(["north", "south"] * 50, "name").kind == "category"  # a name that things share
    assert infer([f"1.2.{i}" for i in range(60)] * 2, "version").pii is None
    assert infer(np.arange(100) % 7, "phone_calls").pii is None
    assert infer([f"{i:016d}" for i in range(1000)], "order").pii is None  # no check digits
    told = infer_column(pd.Series(["Ann Lee", "Bo Xi"] * 50, name="full_name"), None)
    assert told.kind == "category" and told.pii is None


def test_numbers_that_are_personal() -> None:
    cards = np.array([int(card()) for _ in range(N)])
    column = infer(cards, "n")
    assert (column.kind, column.pii) == ("identifier", "card")
    made = fill(column, 0, 100, 1)
    assert all(is_luhn(str(v)) for v in made) and made.dtype == "int64"
    shared = infer(np.repeat(RNG.integers(10**8, 10**9, 100), 3), "phone")
    assert (shared.kind, shared.pii, shared.sensitive) == ("integer", "phone", True)


@pytest.mark.parametrize("kind", PERSONAL)
@settings(max_examples=10, deadline=None)
@given(start=st.integers(0, 10**9), seed=st.integers(0, 2**63 - 1), cut=st.integers(1, 39))
def test_values_depend_on_seed_and_row_alone(kind: str, start: int, seed: int, cut: int) -> None:
    name, values, _, expected = PERSONAL[kind]
    column = infer(values, name)
    whole = list(fill(column, start, 40, seed))
    assert [*fill(column, start, cut, seed), *fill(column, start + cut, 40 - cut, seed)] == whole
    assert list(fill(column, start, 40, (seed + 1) % 2**63)) != whole
    if expected == "identifier":
        assert len(set(whole)) == 40


@pytest.mark.parametrize(
    "pattern",
    [
        '{"fake": "nothing", "missing": 0}',
        '{"fake": ["name"], "missing": 0}',
        '{"fake": "name", "missing": 2}',
        '{"shapes": [], "missing": 0}',
        '{"shapes": [[0, ["a", ["ab", 2]]]], "missing": 0}',
        '{"shapes": [[1, [["ab", 100]]]], "missing": 0}',
        '{"shapes": [[1, [["ab", 10]]]], "missing": 0, "check": "luhn"}',
        '{"shapes": [[1, [["01", 10]]]], "missing": 0, "check": "else"}',
        '{"words": [], "count": [1, 2], "missing": 0, "together": 3}',
    ],
)
def test_patterns_of_texts_of_unknown_origin_are_checked(pattern: str) -> None:
    with pytest.raises(SchemaError, match="column 'note': its pattern is none of an text"):
        fill(Column(name="note", kind="text", dtype="str", pattern=pattern), 0, 2)


def test_every_fake_has_room_for_a_million_identifiers() -> None:
    for kind in ("ip", "ipv6", "mac"):
        assert np.prod([float(len(s)) for s in FAKES[kind] if not isinstance(s, str)]) >= 2**24
    column = Column(name="k", kind="identifier", dtype="str", pattern='{"form": "fake", "of": "ssn"}')
    assert pd.Series(fill(column, 0, 1_200_000, 0)).is_unique  # beyond the 980,100 there are, numbered
