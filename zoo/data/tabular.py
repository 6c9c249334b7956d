"""Tables: the native form is ``pandas.DataFrame``, conforming to a schema."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from zoo.data.form import NativeForm
from zoo.data.table_check import check_table, equal_tables
from zoo.data.table_fill import fill, missing_with
from zoo.data.table_schema import infer_schema
from zoo.data.table_values import category_dtype, codes_of, frame, plain, plain_values
from zoo.errors import DataError, SchemaError
from zoo.schema import Column, Schema

if TYPE_CHECKING:
    import datasets


class TableForm(NativeForm):
    """Operations on tables.

    Every table that leaves has a ``RangeIndex``: an index is no data. Call ``df.reset_index()`` first if the index
    holds something to be learned.
    """

    modality = "tabular"

    def coerce(self, data: Any, schema: Schema | None = None) -> pd.DataFrame:
        """A ``DataFrame`` from a ``DataFrame``, ``datasets.Dataset``, ``pyarrow.Table`` or mapping of columns.

        ``ClassLabel`` columns of a ``datasets.Dataset`` become categories with the class names, in the classes' order,
        so that samples get the same ``ClassLabel`` back. A given schema decides the dtypes of columns that come from
        anything but a ``DataFrame``. The data are not copied, and not changed.

        Raises
        ------
        DataError
            For another type, no rows, no columns, duplicate or non-text column names.
        """
        table = as_frame(data)
        check_shape(table)
        if schema is not None and not isinstance(data, pd.DataFrame):
            table = _cast(table, schema)
        return with_range_index(table)

    def infer(self, data: pd.DataFrame) -> Schema:
        """See :mod:`zoo.data.table_schema` for the rules."""
        return infer_schema(data)

    def check(self, data: pd.DataFrame, schema: Schema) -> None:
        check_table(data, schema)

    def length(self, data: pd.DataFrame) -> int:
        return len(data)

    def slice(self, data: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
        return with_range_index(data.iloc[start:stop])

    def take(self, data: pd.DataFrame, index: np.ndarray) -> pd.DataFrame:
        return with_range_index(data.take(np.asarray(index)))

    def column(self, data: pd.DataFrame, name: str) -> pd.Series:
        return data[name]

    def concat(self, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Join tables of the same columns and dtypes; a list is emptied, so that little more than one is held."""
        return concat_tables(parts)

    def equal(self, a: pd.DataFrame, b: pd.DataFrame) -> bool:
        return equal_tables(a, b)

    def features(self, schema: Schema) -> "datasets.Features":
        """Categories that are text become ``ClassLabel``, booleans ``bool``, all else the ``Value`` of its dtype."""
        import datasets

        return datasets.Features({c.name: column_feature(c) for c in schema})

    def to_arrow(self, data: pd.DataFrame, schema: Schema) -> pa.Table:
        return pa.table({c.name: column_to_arrow(data[c.name], c) for c in schema})

    def read(self, path: str) -> pd.DataFrame:
        from zoo.data.table_io import read_table

        return self.coerce(read_table(path))

    def write(self, data: pd.DataFrame, path: str) -> None:
        from zoo.data.table_io import write_table

        write_table(data, path)

    def protect(self, data: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, Schema]:
        from zoo.data.table_protect import protect_table

        return protect_table(data, schema)

    def finish(self, block: pd.DataFrame, schema: Schema, first_row: int, seed: int = 0) -> pd.DataFrame:
        """Fill identifiers and free text that the block lacks, and bring all columns into the schema's order."""
        made: dict[str, Any] = {}
        for column in schema:
            if column.name in block:
                made[column.name] = block[column.name].array
            elif column.kind in ("identifier", "text"):
                other = missing_with(column)
                known = made.get(other) if other in made else block[other].array if other in block else None
                missing = None if known is None else np.asarray(pd.isna(known))
                made[column.name] = fill(column, first_row, len(block), seed, missing)
            else:
                raise SchemaError(f"the block lacks column {column.name!r}, which has to be sampled")
        return frame(made, len(block))


def as_frame(data: Any) -> pd.DataFrame:
    """A ``DataFrame`` of what a user may pass as a table; the index is left as it is."""
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pa.Table):
        return data.to_pandas()
    if (
        type(data).__module__.partition(".")[0] == "datasets"
        and hasattr(data, "features")
        and hasattr(data, "with_format")
    ):
        return _from_dataset(data)
    if isinstance(data, Mapping):
        try:
            return pd.DataFrame(dict(data))
        except (ValueError, TypeError) as error:
            raise DataError(f"the columns do not make a table: {error}; give columns of one length") from error
    raise DataError(
        f"a table is needed, not {type(data).__name__}; give a pandas.DataFrame, datasets.Dataset, pyarrow.Table "
        "or a dict of columns"
    )


def _from_dataset(data: Any) -> pd.DataFrame:
    import datasets

    if not isinstance(data, datasets.Dataset):
        raise DataError(f"a table is needed, not datasets.{type(data).__name__}; give one split, dataset['train']")
    table = data.with_format(None).to_pandas()
    for name, feature in data.features.items():
        if isinstance(feature, datasets.ClassLabel):
            codes = table[name].fillna(-1).astype(np.int64)
            table[name] = pd.Categorical.from_codes(codes, categories=feature.names)
    return table


def check_shape(table: pd.DataFrame) -> None:
    """Refuse tables without rows or columns, and column names that are no text or stand twice.

    Raises
    ------
    DataError
        Naming the column and the remedy.
    """
    if table.shape[1] == 0:
        raise DataError("the table has no columns; give at least one")
    if isinstance(table.columns, pd.MultiIndex):
        raise DataError("the table has columns of several levels; use df.columns = ['_'.join(map(str, c)) for c in df]")
    for name in table.columns:
        if not isinstance(name, str):
            raise DataError(f"column name {name!r} is no text; use df.columns = df.columns.map(str)")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise DataError(f"column {twice[0]!r} stands twice; rename or drop one of them")
    if len(table) == 0:
        raise DataError("the table has no rows; give at least one")


def with_range_index(table: pd.DataFrame) -> pd.DataFrame:
    """The same columns under 0, 1, …; a new object, nothing is copied."""
    return table.set_axis(pd.RangeIndex(len(table)), axis=0)


def _cast(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Bring columns to the schema's dtypes where they came from a form that has other ones."""
    changed: dict[str, pd.Series] = {}
    for column in schema:
        if column.name not in table:
            continue
        dtype: Any = table[column.name].dtype
        if str(dtype) == column.dtype:
            unordered = isinstance(dtype, pd.CategoricalDtype) and not dtype.ordered and column.kind == "ordinal"
            if unordered and set(dtype.categories) <= set(column.categories):
                changed[column.name] = table[column.name].astype(category_dtype(column))
            continue
        target: Any = category_dtype(column) if column.dtype == "category" else column.dtype
        try:
            changed[column.name] = table[column.name].astype(target)
        except (TypeError, ValueError) as error:
            raise DataError(f"column {column.name!r} cannot be brought to dtype {column.dtype}: {error}") from error
    return table.assign(**changed)


def concat_tables(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join tables column by column; see :meth:`TableForm.concat`."""
    if len(parts) == 1:
        return with_range_index(parts[0])
    names = list(parts[0].columns)
    n = sum(map(len, parts))
    pieces = [{name: part[name].array for name in names} for part in parts]
    if isinstance(parts, list):
        parts.clear()
    columns = {}
    for name in names:
        arrays = [piece.pop(name) for piece in pieces]
        if isinstance(arrays[0], pd.arrays.NumpyExtensionArray):
            columns[name] = np.concatenate([a.to_numpy() for a in arrays])
        else:
            columns[name] = type(arrays[0])._concat_same_type(arrays)
        del arrays
    return frame(columns, n)


# Arrow and Hugging Face types


def column_feature(column: Column) -> Any:
    """The Hugging Face feature of one column."""
    import datasets

    column = plain(column)
    if is_class_label(column):
        return datasets.ClassLabel(names=list(column.categories))
    if column.kind == "date" and column.dtype == "object":
        return datasets.Value("date32")
    dtype = column.dtype
    if dtype in ("str", "string"):
        return datasets.Value("string")
    if dtype in ("object", "category"):
        kinds = {bool: "bool", int: "int64", float: "float64"}
        found = {kinds.get(type(c), "string") for c in column.categories}
        return datasets.Value(found.pop() if len(found) == 1 else "string")
    if dtype.startswith("datetime64"):
        unit, _, zone = dtype[11:-1].partition(", ")
        return datasets.Value(f"timestamp[{unit}, tz={zone}]" if zone else f"timestamp[{unit}]")
    if dtype.startswith("timedelta64"):
        return datasets.Value(f"duration[{dtype[12:-1]}]")
    return datasets.Value("bool" if dtype in ("bool", "boolean") else dtype.lower())


def is_class_label(column: Column) -> bool:
    """Whether the column is a class with text names in Hugging Face's sense."""
    return bool(column.is_discrete and column.categories and all(isinstance(c, str) for c in column.categories))


def column_to_arrow(values: pd.Series, column: Column) -> pa.Array | pa.ChunkedArray:
    """One column in the storage type of :func:`column_feature`."""
    values, column = plain_values(values), plain(column)
    if is_class_label(column):
        codes = codes_of(values, column)
        return pa.array(codes, mask=codes < 0 if column.nullable else None)
    target = column_feature(column).pa_type
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    array = pa.array(values, from_pandas=True)
    return array if array.type == target else array.cast(target)
