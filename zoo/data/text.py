"""Texts: the native form, a ``pandas.DataFrame`` with the column ``text`` and any number of fields beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoo.data.form import NativeForm
from zoo.data.tabular import TableForm
from zoo.errors import DataError, SchemaError
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pyarrow as pa

TEXT = "text"


class TextForm(NativeForm):
    """Texts with fields (a label, a date, …). The fields follow the rules of tables."""

    modality = "text"
    _table = TableForm()

    def coerce(self, data: Any, schema: Schema | None = None) -> pd.DataFrame:
        """Accepts what tables accept, and a list (or Series) of strings.

        Raises
        ------
        DataError
            As for tables; also if there is no column ``text`` of strings, or a text is missing.
        """
        if isinstance(data, pd.Series) or (isinstance(data, (list, tuple)) and all(isinstance(t, str) for t in data)):
            data = pd.DataFrame({TEXT: pd.Series(data, dtype="str").reset_index(drop=True)})
        table = self._table.coerce(data)
        if TEXT not in table.columns:
            raise DataError(
                f"texts need a column named 'text', the table has {list(table.columns)}; "
                "rename yours with df.rename(columns={'...': 'text'})"
            )
        texts = table[TEXT]
        if texts.isna().any():
            raise DataError(f"column 'text' is missing in row {int(texts.isna().argmax())}; drop it or fill in ''")
        if pd.api.types.infer_dtype(texts) not in ("string", "empty"):
            raise DataError(f"column 'text' must hold strings, not {texts.dtype}; use df['text'].astype('str')")
        if texts.dtype != "str":
            table = table.assign(**{TEXT: texts.astype("str")})
        return table

    def infer(self, data: pd.DataFrame) -> Schema:
        fields = data.drop(columns=TEXT)
        inferred = {c.name: c for c in self._table.infer(fields)} if len(fields.columns) else {}
        columns = [
            Column(name=TEXT, kind="text", dtype="str", role="text") if name == TEXT else _as_label(inferred[name])
            for name in data.columns
        ]
        return Schema(modality="text", columns=tuple(columns))

    def check(self, data: pd.DataFrame, schema: Schema) -> None:
        if list(data.columns) != schema.names:
            raise SchemaError(f"columns are {list(data.columns)}, the schema has {schema.names}")
        if data[TEXT].dtype != "str" or data[TEXT].isna().any():
            raise SchemaError("column 'text' must hold strings, none missing")
        fields = self.fields(schema)
        if len(fields):
            self._table.check(data[fields.names], fields)

    def fields(self, schema: Schema) -> Schema:
        """The schema of the fields alone, as a table's."""
        return Schema(modality="tabular", columns=tuple(c for c in schema if c.role != "text"))

    def length(self, data: pd.DataFrame) -> int:
        return len(data)

    def slice(self, data: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
        return self._table.slice(data, start, stop)

    def take(self, data: pd.DataFrame, index: "np.ndarray") -> pd.DataFrame:
        return self._table.take(data, index)

    def column(self, data: pd.DataFrame, name: str) -> pd.Series:
        return data[name]

    def concat(self, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
        return self._table.concat(parts)

    def equal(self, a: pd.DataFrame, b: pd.DataFrame) -> bool:
        return self._table.equal(a, b)

    def starts_with(self, longer: pd.DataFrame, prefix: pd.DataFrame) -> bool:
        if not self._table.equal(longer.drop(columns=TEXT), prefix.drop(columns=TEXT)):
            return False
        return all(a.startswith(b) for a, b in zip(longer[TEXT], prefix[TEXT], strict=True))

    def features(self, schema: Schema) -> "datasets.Features":
        import datasets

        fields = self.fields(schema)
        known = dict(self._table.features(fields)) if len(fields) else {}
        return datasets.Features({n: datasets.Value("string") if n == TEXT else known[n] for n in schema.names})

    def to_arrow(self, data: pd.DataFrame, schema: Schema) -> "pa.Table":
        import pyarrow as pa

        fields = self.fields(schema)
        made = self._table.to_arrow(data[fields.names], fields) if len(fields) else None
        columns = {
            name: pa.array(data[TEXT], type=pa.string()) if name == TEXT else made.column(name)  # type: ignore[union-attr]
            for name in schema.names
        }
        return pa.table(columns)

    def read(self, path: str) -> pd.DataFrame:
        """A table with a column ``text``, or a ``.txt`` file with one text a line."""
        if Path(path).suffix != ".txt":
            return self.coerce(self._table.read(path))
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path}: {error}; give a UTF-8 text file") from error
        return self.coerce([line for line in lines if line.strip()])

    def write(self, data: pd.DataFrame, path: str) -> None:
        self._table.write(data, path)


def _as_label(column: Column) -> Column:
    """A discrete field beside a text is its label."""
    from dataclasses import replace

    return replace(column, role="label") if column.is_discrete else column
