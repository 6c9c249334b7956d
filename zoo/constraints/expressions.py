"""Expressions over the columns of a table, read as pandas reads them, without evaluating any Python.

``"capital_gain >= capital_loss and age > 17"`` is parsed to a syntax tree; only names of columns, literals,
comparisons, ``and`` / ``or`` / ``not``, arithmetic and the methods listed in :data:`METHODS` are let through, and the
tree is worked out by the functions here. ``DataFrame.eval`` would reach attributes, calls and ``@`` variables; this
reaches nothing. As in pandas, ``&`` and ``|`` mean ``and`` and ``or``, a name that is no identifier stands in
backticks, and a comparison with a missing value is false.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ConstraintError, nearest

if TYPE_CHECKING:
    import pandas as pd

METHODS = frozenset({"isna", "notna", "isnull", "notnull", "isin", "between", "abs", "round"})
"""Methods of a column."""
STR_METHODS = frozenset(
    {"match", "fullmatch", "contains", "startswith", "endswith", "len", "lower", "upper", "strip", "isdigit", "isalpha"}
)
"""Methods of a column's ``.str``."""
DT_FIELDS = frozenset({"year", "quarter", "month", "day", "dayofweek", "dayofyear", "hour", "minute", "second"})
"""Fields of a column's ``.dt``."""

_MAX_LENGTH = 4000
_MAX_DEPTH = 60
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FLIPPED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.Eq}
_PIECES = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|&&?|\|\|?""", re.DOTALL)


@dataclass(frozen=True)
class Parsed:
    """A checked expression: its tree, and the column that each name in it stands for."""

    text: str
    tree: ast.expr
    names: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.names.values()))

    def holds(self, table: "pd.DataFrame") -> np.ndarray:
        """``bool (n,)``: the rows for which the expression is true; false where it is missing.

        Raises
        ------
        ConstraintError
            If a column is not there, or its values cannot be compared as asked.
        """
        for name in self.columns:
            if name not in table:
                raise ConstraintError(f"constraint {self.text!r}: no column {name!r}; {nearest(name, table.columns)}")
        try:
            return _truth(self._value(self.tree, table), len(table))
        except (TypeError, ValueError, AttributeError, ArithmeticError, re.error) as error:
            raise ConstraintError(f"constraint {self.text!r} cannot be worked out: {error}") from error

    def implied(self) -> dict[str, list[tuple[str, Any]]]:
        """For some columns, what every row that fulfils the expression fulfils: ``("range", (low, high))`` with None
        open, ends included; or ``("values", [...])``."""
        out: dict[str, list[tuple[str, Any]]] = {}
        parts = self.tree.values if isinstance(self.tree, ast.BoolOp) and isinstance(self.tree.op, ast.And) else None
        for part in parts or [self.tree]:
            for name, kind, value in self._implied_by(part):
                out.setdefault(self.names[name], []).append((kind, value))
        return out

    def _implied_by(self, node: ast.expr) -> list[tuple[str, str, Any]]:
        if isinstance(node, ast.Name):
            return [(node.id, "values", [True])]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Name):
            return [(node.operand.id, "values", [False])]
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            values = [_literal(a) for a in node.args]
            if node.func.attr == "isin" and len(values) == 1 and isinstance(values[0], list):
                return [(node.func.value.id, "values", values[0])]
            return []
        if not isinstance(node, ast.Compare):
            return []
        out: list[tuple[str, str, Any]] = []
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides[:-1], node.ops, sides[1:], strict=True):
            kind: Any = type(op)
            if isinstance(right, ast.Name) and kind in _FLIPPED:
                left, right, kind = right, left, _FLIPPED[kind]
            value = _literal(right)
            if not isinstance(left, ast.Name) or value is None:
                continue
            if kind is ast.In and isinstance(value, list):
                out.append((left.id, "values", value))
            elif isinstance(value, list):
                continue
            elif kind is ast.Eq:
                out.append((left.id, "values", [value]))
            elif kind in (ast.Gt, ast.GtE):
                out.append((left.id, "range", (value, None)))
            elif kind in (ast.Lt, ast.LtE):
                out.append((left.id, "range", (None, value)))
        return out

    # The value of a tree: a Series, or a literal

    def _value(self, node: ast.expr, table: "pd.DataFrame") -> Any:
        if isinstance(node, ast.Name):
            return table[self.names[node.id]]
        if isinstance(node, ast.Compare):
            return self._compare(node, table)
        if isinstance(node, ast.BoolOp):
            parts = [_truth(self._value(v, table), len(table)) for v in node.values]
            return np.logical_and.reduce(parts) if isinstance(node.op, ast.And) else np.logical_or.reduce(parts)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, table)
            if isinstance(node.op, (ast.Not, ast.Invert)):
                return ~_truth(value, len(table))
            return -value if isinstance(node.op, ast.USub) else +value
        if isinstance(node, ast.BinOp):
            left, right = (self._value(side, table) for side in (node.left, node.right))
            if isinstance(left, (int, float)) and isinstance(right, (int, float)):
                left, right = float(left), float(right)  # a power of whole numbers could fill the memory
            elif isinstance(left, str) or isinstance(right, str):
                raise TypeError("text takes no arithmetic")
            return _ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.Call):
            return self._call(node, table)
        if isinstance(node, ast.Attribute):  # a field of .dt, as checked
            accessor: Any = node.value
            return getattr(self._value(accessor.value, table).dt, node.attr)
        return _literal(node)

    def _call(self, node: ast.Call, table: "pd.DataFrame") -> Any:
        arguments = [self._value(a, table) for a in node.args]
        named = {str(k.arg): _literal(k.value) for k in node.keywords}
        if isinstance(node.func, ast.Name):
            return abs(arguments[0])
        function: Any = node.func
        if isinstance(function.value, ast.Attribute):  # .str
            return getattr(self._value(function.value.value, table).str, function.attr)(*arguments, **named)
        return getattr(self._value(function.value, table), function.attr)(*arguments, **named)

    def _compare(self, node: ast.Compare, table: "pd.DataFrame") -> np.ndarray:
        out = np.ones(len(table), dtype=bool)
        left = self._value(node.left, table)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._value(comparator, table)
            if isinstance(op, (ast.In, ast.NotIn)):
                found = _truth(left.isin(right), len(table))
                out &= found if isinstance(op, ast.In) else ~found
            else:
                out &= _truth(_COMPARE[type(op)](left, right), len(table))
            left = right
        return out


def _truth(value: Any, n: int) -> np.ndarray:
    """A Series, array or literal of truth values as ``bool (n,)``; missing is false."""
    if isinstance(value, bool):
        return np.full(n, value)
    if hasattr(value, "isna"):
        missing = value.isna().to_numpy()
        if missing.any():
            value = value.astype(object).mask(missing, False)
        value = value.to_numpy()
    array = np.asarray(value)
    kinds = {bool, np.bool_}
    if array.dtype != bool and not (array.dtype == object and {type(v) for v in array} <= kinds):
        raise TypeError("it is not true or false; compare it with something")
    return array.astype(bool)


def _literal(node: ast.expr) -> Any:
    """The value of a literal, a signed number or a list of them; None for anything else (and for None itself)."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        return -value if isinstance(value, (int, float)) else None
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_literal(e) for e in node.elts]
    return None


# Checking


def parse_expression(text: str) -> Parsed:
    """Parse and check an expression.

    Raises
    ------
    ConstraintError
        Naming what is not allowed, and what is.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_LENGTH:
        raise ConstraintError(f"a constraint is an expression of 1 to {_MAX_LENGTH} characters, not {str(text)[:40]!r}")
    names: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        piece = found[0]
        if piece[0] == "`":
            name = f"_backticked_{len(names)}"
            names[name] = piece[1:-1]
            return name
        return {"&": " and ", "|": " or "}.get(piece[0], piece)

    try:
        with warnings.catch_warnings():  # Python's word on a backslash in text that is not marked as raw
            warnings.simplefilter("ignore")
            tree = ast.parse(_PIECES.sub(replace, text).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", None) or str(error) or "nested too deeply"
        raise ConstraintError(
            f"constraint {text!r} is no expression: {why}; write 'a <= b', 'a > 3 and b == 4'"
        ) from error
    _check(tree, text, names, 0)
    if not names:
        raise ConstraintError(f"constraint {text!r} names no column")
    return Parsed(text, tree, names)


def _check(node: Any, text: str, names: dict[str, str], depth: int) -> None:
    """Refuse all that is not allowed, and note the names of columns."""
    if depth > _MAX_DEPTH:
        raise ConstraintError(f"constraint {text!r} is nested too deeply; split it into several")
    children: list[Any] = []
    if isinstance(node, ast.Name):
        if node.id not in names:
            names[node.id] = node.id
    elif isinstance(node, ast.Constant):
        if not (node.value is None or isinstance(node.value, (bool, int, float, str))):
            _refuse(text, f"the literal {node.value!r}")
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        if not all(isinstance(e, ast.Constant) or _literal(e) is not None for e in node.elts):
            _refuse(text, "a list of anything but literals")
        children = list(node.elts)
    elif isinstance(node, ast.Compare):
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, (ast.In, ast.NotIn)):
                if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
                    _refuse(text, "'in' anything but a list")
            elif type(op) not in _COMPARE:
                _refuse(text, "'is'")
        children = [node.left, *node.comparators]
    elif isinstance(node, ast.BoolOp):
        children = list(node.values)
    elif isinstance(node, ast.UnaryOp):
        children = [node.operand]
    elif isinstance(node, ast.BinOp):
        if type(node.op) not in _ARITHMETIC:
            _refuse(text, f"the operator {type(node.op).__name__}")
        children = [node.left, node.right]
    elif isinstance(node, ast.Attribute):
        accessor: Any = node.value
        if node.attr not in DT_FIELDS or not (isinstance(accessor, ast.Attribute) and accessor.attr == "dt"):
            _refuse(text, f"the attribute {node.attr!r}")
        children = [accessor.value]
    elif isinstance(node, ast.Call):
        children = _check_call(node, text)
    else:
        _refuse(text, type(node).__name__)
    for child in children:
        _check(child, text, names, depth + 1)


def _check_call(node: ast.Call, text: str) -> list[Any]:
    function: Any = node.func
    for keyword in node.keywords:
        if keyword.arg not in ("case", "na", "regex", "inclusive") or not isinstance(keyword.value, ast.Constant):
            _refuse(text, f"the argument {keyword.arg!r}")
    if isinstance(function, ast.Name):
        if function.id != "abs" or len(node.args) != 1 or node.keywords:
            _refuse(text, f"the function {function.id!r}")
        return list(node.args)
    if not isinstance(function, ast.Attribute):
        _refuse(text, "a call of this kind")
    owner = function.value
    if isinstance(owner, ast.Attribute) and owner.attr == "str" and function.attr in STR_METHODS:
        return [owner.value, *node.args]
    if function.attr not in METHODS or isinstance(owner, ast.Constant):
        _refuse(text, f"the method {function.attr!r}")
    return [owner, *node.args]


def _refuse(text: str, what: str) -> None:
    methods = ", ".join([*sorted(METHODS), *(f"str.{m}" for m in sorted(STR_METHODS))])
    raise ConstraintError(
        f"constraint {text!r}: {what} is not allowed; columns, literals, comparisons, and/or/not, arithmetic and these "
        f"methods are: {methods}"
    )
