"""Personal data in tables: which columns hold it, and how to make it up.

A column is personal by the form of its values (e-mail and IP addresses, IBANs and card numbers with valid check
digits, telephone numbers with their country) or by its name together with a plausible form. What is personal is never
learned and nothing of it is kept; it is made anew for each row:

- ``email`` at example.com (RFC 2606); ``ip`` in 10.0.0.0/8 (RFC 1918), ``ipv6`` in 2001:db8::/32 (RFC 3849), ``mac``
  locally administered: none belongs to anyone;
- ``ssn`` in the area 000, which is never assigned; ``name``, ``first_name``, ``last_name``, ``username``, ``address``
  from short lists of common ones;
- ``iban`` and ``card`` in the shape of the column with valid check digits (ISO 13616; Luhn, ISO/IEC 7812), ``phone``
  and ``document`` (passports, tax numbers) in the shape of the column with new digits: they look real, and by chance
  may be.
"""

import re
import string
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KINDS = (
    "email",
    "phone",
    "name",
    "first_name",
    "last_name",
    "username",
    "address",
    "iban",
    "card",
    "ip",
    "ipv6",
    "mac",
    "ssn",
    "document",
)
CHECKS = {"iban": "iban", "card": "luhn"}

_PROBE = 1000
_MATCHING = 0.95  # share of present values that have to be of the form
_FORMS = {
    "email": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$",
    "iban": r"^[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){2,7}( ?[A-Z0-9]{1,3})?$",
    "card": r"^[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3,4}$|^3[0-9]{3}[ -]?[0-9]{6}[ -]?[0-9]{5}$",
    "ip": r"^(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}$",
    "mac": r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$",
    "ipv6": r"^([0-9A-Fa-f]{1,4}:){2,7}(:?[0-9A-Fa-f]{1,4}){1,6}$",
    "phone": r"^\+[1-9][0-9 ().\-/]{6,20}$",
}
# By name: words of the column's name (in any spelling: firstName, first-name), and the form that values must have.
_NUMBER = r"(_?(number|no))?"
_LINE = r"(_?(line)?_?[12])?"
_NAMES: tuple[tuple[str, str, str], ...] = (
    ("email", r"e_?mail(_address)?|mail", r"@"),
    ("phone", rf"((tele)?phone|mobile){_NUMBER}|fax|msisdn|telefon", r"([0-9].*){5}"),
    ("ssn", rf"ssn|social_security{_NUMBER}", r"^[0-9]{3}-?[0-9]{2}-?[0-9]{4}$"),
    ("document", rf"passport{_NUMBER}|national_id|tax_?id|id_card|driving_licen[cs]e", r"[0-9]"),
    ("first_name", r"first_?names?|given_?names?|forenames?|vornamen?|prenom", r"^[^0-9@]{2,40}$"),
    ("last_name", r"last_?names?|sur_?names?|family_?names?|nachnamen?", r"^[^0-9@]{1,40}$"),
    (
        "name",
        r"full_?name|(customer|client|patient|employee|contact|person|owner|holder|student)_name",
        r"^[^0-9@]{2,80}$",
    ),
    ("username", r"user_?name|login|nick_?name|screen_?name", r"^\S{2,40}$"),
    (
        "address",
        rf"((street|home|postal|mailing|billing|shipping)_?)?address{_LINE}|street",
        r"[A-Za-z].* .*",
    ),
)
# A column "name" may hold things: two words at least, hardly shared.
_LOOSE = (
    "name",
    r"name",
    r"^[^0-9@]{2,60} [^0-9@]{1,60}$",
)


def _words(text: str) -> list[str]:
    return text.split()


_FIRST = _words(
    "Adam Aisha Alice Amara Andrea Anna Ben Carlos Chen Clara Daniel Diego Elena Emma Erik Fatima Felix Grace "
    "Hana Hugo Ines Ivan James Jana Jonas Julia Kenji Laila Lara Leo Lina Louis Lucas Maria Marta Mateo Maya "
    "Mia Mohamed Nadia Nina Noah Nora Olga Omar Oscar Paula Peter Priya Rosa Ruth Samuel Sara Sofia Thomas Tim "
    "Vera Victor Wei Yara Yusuf Zoe"
)
_LAST = _words(
    "Adams Ali Andersson Bauer Becker Bianchi Brown Chen Costa Davies Diaz Dubois Evans Fischer Garcia Green "
    "Gruber Haas Hansen Horvat Hughes Ito Ivanov Jansen Johnson Kaya Keller Khan Kim King Kovacs Kumar Lee "
    "Lopez Martin Meier Moreau Moretti Morris Murphy Nguyen Nielsen Novak Okafor Olsen Park Patel Pereira "
    "Peters Popov Rossi Santos Schmidt Silva Singh Smith Tanaka Taylor Torres Visser Walker Weber Wilson Wong "
    "Young"
)
_STREETS = _words(
    "Bridge Castle Cedar Cherry Church Elm Field Garden Green Harbour Hill Lake Linden Maple Market Meadow "
    "Mill North Oak Orchard Park River School South Spring Station Sunset Valley Walnut Willow"
)
_BYTES = [f"{i:02x}" for i in range(256)]
_HUNDRED = [f"{i:02d}" for i in range(100)]

# Personal kind -> what is joined: literals, and lists of alternatives of which one is drawn.
FAKES: dict[str, list[Any]] = {
    "first_name": [_FIRST],
    "last_name": [_LAST],
    "name": [_FIRST, " ", _LAST],
    "username": [[f.lower() for f in _FIRST], _HUNDRED, _HUNDRED],
    "address": [[str(i) for i in range(1, 200)], " ", _STREETS, " ", ["Street", "Road", "Lane", "Avenue"]],
    "ip": ["10", *[x for _ in range(3) for x in (".", [str(i) for i in range(256)])]],
    "ipv6": ["2001:db8", *[x for _ in range(6) for x in (":", _BYTES, _BYTES)]],
    "mac": ["02", *[x for _ in range(5) for x in (":", _BYTES)]],
    "ssn": ["000-", _HUNDRED[1:], "-", _HUNDRED[1:], _HUNDRED],
}


def spell(name: str) -> str:
    """A column's name in lower case, its words joined by underscores: ``FirstName`` and ``first-name`` are one."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


def personal_kind(name: str, present: pa.ChunkedArray | pa.Array, shared: bool) -> str | None:
    """Which of :data:`KINDS` a column of strings is, or None.

    Parameters
    ----------
    name
        The column's name.
    present
        Its values without nulls, not empty; a part of them is looked at.
    shared
        Whether most values stand in several rows.
    """
    probe = present.take(pa.array(np.arange(0, len(present), max(1, len(present) // _PROBE))))
    for kind, regex in _FORMS.items():
        if _share(probe, regex) >= _MATCHING and _checks(probe, kind):
            return kind
    spelled = spell(name)
    for kind, names, regex in _NAMES:
        if re.fullmatch(rf"(.*_)?({names})", spelled) and _share(probe, regex) >= _MATCHING:
            return kind
    kind, names, regex = _LOOSE
    return kind if not shared and re.fullmatch(names, spelled) and _share(probe, regex) >= _MATCHING else None


def personal_number(name: str, values: np.ndarray) -> str | None:
    """Which of :data:`KINDS` a column of whole numbers ``(n,)`` is by its name, or by check digits; else None."""
    spelled = spell(name)
    if values.min() >= 10**14 and values.max() < 10**16:  # 15 and 16 digits
        probe = values[:: max(1, len(values) // _PROBE)].tolist()
        if sum(is_luhn(str(v)) for v in probe) >= _MATCHING * len(probe):
            return "card"
    numbers = [n for n in _NAMES if n[0] in ("phone", "ssn", "document")]
    numbers.append(("card", r"(credit_?)?card_?(number|no)|cc_?number", ""))
    return next((kind for kind, names, _ in numbers if re.fullmatch(rf"(.*_)?({names})", spelled)), None)


def _share(values: pa.ChunkedArray | pa.Array, regex: str) -> float:
    return float(pc.mean(pc.cast(pc.match_substring_regex(values, regex), pa.float64())).as_py())


def _checks(probe: pa.ChunkedArray | pa.Array, kind: str) -> bool:
    """Whether check digits are valid, of kinds that have them: by chance one in 10 or 97 is."""
    if kind not in CHECKS:
        return True
    valid = is_luhn if kind == "card" else is_iban
    values = probe.to_pylist()
    return sum(map(valid, values)) >= _MATCHING * len(values)


def is_luhn(text: str) -> bool:
    """Whether the digits of a text have a valid check digit after Luhn (ISO/IEC 7812-1)."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return bool(digits) and sum(doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether a text has valid check digits after ISO 13616 (ISO 7064, modulo 97)."""
    plain = "".join(c for c in text if c.isalnum())
    if len(plain) < 5 or not plain.isascii():
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def set_check(letters: np.ndarray, check: str) -> None:
    """Write the check digits into strings ``uint8 (n, length)`` that all have their digits in the same places."""
    value = np.full(128, -1, dtype=np.int64)  # of a character; separators have none
    for c in string.digits + string.ascii_letters:
        value[ord(c)] = int(c, 36)
    if check == "luhn":
        digit = np.flatnonzero((letters[:1] >= ord("0")).all(axis=0) & (letters[:1] <= ord("9")).all(axis=0))
        if not len(digit):
            return
        total = np.zeros(len(letters), dtype=np.int64)
        for i, place in enumerate(digit[-2::-1]):
            d = value[letters[:, place]]
            total += d if i % 2 else 2 * d - 9 * (d > 4)
        letters[:, digit[-1]] = (-total % 10 + ord("0")).astype(np.uint8)
        return
    letters[:, 2:4] = ord("0")
    remainder = np.zeros(len(letters), dtype=np.int64)
    for place in (*range(4, letters.shape[1]), 0, 1, 2, 3):
        v = value[letters[:, place]]
        remainder = np.where(v < 0, remainder, np.where(v > 9, 100 * remainder + v, 10 * remainder + v) % 97)
    number = 98 - remainder
    letters[:, 2] = (number // 10 + ord("0")).astype(np.uint8)
    letters[:, 3] = (number % 10 + ord("0")).astype(np.uint8)
