"""CSV and other text files: opening them, plain or compressed, and what can be wrong with their bytes.

A column of a CSV file is what its text says: numbers, truths, or text. Whole numbers that are written with leading
zeros (postcodes) or that no 64 bits hold (account numbers) are codes, and stay text.
"""

import codecs
import csv
import gzip
import io
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import pandas as pd

from zoo.errors import DataError

# How a missing number is spelled beside the empty field; in a column of text these stay text ("NA" is Namibia).
_MISSING = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "n/a")

_ZEROS = re.compile(rb'(?:^|[,\t\n\r"])0[0-9]+(?=[,\t\n\r"]|$)')
_CHUNK = 2**22


def one_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def refuse_twice(names: Any, where: str) -> None:
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{where} has column {name!r} twice; rename or drop one of them")
        seen.add(name)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed when it is gzip by name."""
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
        yield cast(IO[bytes], file)


@contextmanager
def create_bytes(path: str) -> Iterator[IO[bytes]]:
    """A new file; gzip by name, without its time and name inside, so that the same table gives the same bytes."""
    with open(path, "wb") as file:
        if path.endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed:
                yield cast(IO[bytes], compressed)
        else:
            yield file


def read_csv(path: Path, separator: str, texts: Collection[str] = ()) -> pd.DataFrame:
    """Read a CSV file; the columns ``texts`` stay text, whatever they hold."""
    try:
        names = _header(path, separator)
        missing = {name: [""] for name in names}
        kept: dict[str, Any] = {name: "str" for name in texts if name in names}
        table = _parse_csv(path, separator, missing, kept)
        codes = _codes(path, separator, table)
        if codes:
            kept |= dict.fromkeys(codes, "str")
            table = _parse_csv(path, separator, missing, kept)
        spelled = [name for name in names if name not in kept and _is_spelled_number(table[name])]
        if spelled:
            table = _parse_csv(path, separator, missing | {name: ["", *_MISSING] for name in spelled}, kept)
        if len(table) and table.iloc[:, -1].isna().any():
            _refuse_short_rows(path, separator, len(names))
    except UnicodeDecodeError as error:
        raise wrong_encoding(path) from error
    except (pd.errors.ParserError, csv.Error) as error:
        why = one_line(error).removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path} is no valid CSV file: {why}; correct that line") from error
    return table


def _header(path: Path, separator: str) -> list[str]:
    """The column names, checked; pandas would rename those that stand twice, and take surplus fields as an index."""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = (row for row in csv.reader(text, delimiter=separator) if row)
        names = next(rows, [])
        first = next(rows, None)
    if not names or names == [""]:
        raise DataError(f"{path} has no header; its first line must name the columns")
    for i, name in enumerate(names):
        if not name:
            raise DataError(f"{path}: column {i + 1} has no name; name it, or write the table with index=False")
    refuse_twice(names, str(path))
    if first is not None and len(first) != len(names):
        raise DataError(f"{path}: the header names {len(names)} columns, the first row has {len(first)} fields")
    return names


def _codes(path: Path, separator: str, table: pd.DataFrame) -> list[str]:
    """Columns of whole numbers that are codes: too long for 64 bits, or written with leading zeros."""
    names = [str(name) for name in table]
    long = [name for name in names if pd.api.types.infer_dtype(table[name], skipna=True) == "integer"]
    long = [name for name in long if table[name].dtype == object]
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(table[name].dtype)]
    if not numbers or not _has_leading_zeros(path):
        return long
    missing = {name: [""] for name in numbers}
    texts = _parse_csv(path, separator, missing, dict.fromkeys(numbers, "str"), numbers)
    return [*long, *(name for name in numbers if texts[name].str.match(r"0[0-9]+$", na=False).any())]


def _has_leading_zeros(path: Path) -> bool:
    """Whether any field of a file is a number with leading zeros; one look over its bytes."""
    rest = b"\n"
    with open_bytes(path) as file:
        while chunk := file.read(_CHUNK):
            part = rest + chunk
            if _ZEROS.search(part):
                return True
            rest = part[-100:]
    return False


def _parse_csv(
    path: Path,
    separator: str,
    missing: dict[str, list[str]],
    dtypes: dict[str, Any],
    columns: list[str] | None = None,
) -> pd.DataFrame:
    with open_bytes(path) as file:
        return pd.read_csv(
            file,
            sep=separator,
            encoding="utf-8-sig",
            index_col=False,
            keep_default_na=False,
            na_values=missing,
            dtype=dtypes,
            usecols=columns,
            float_precision="round_trip",  # what was written is what is read
            low_memory=False,  # one type a column
        )


def _is_spelled_number(values: pd.Series) -> bool:
    """Whether a column of text would be numbers if some of its values were taken as missing."""
    if not isinstance(values.dtype, pd.StringDtype):
        return False
    spelled = values.isin(_MISSING)
    if not spelled.any():
        return False
    try:
        pd.to_numeric(values[~spelled].dropna())
    except (ValueError, TypeError):
        return False
    return True


def _refuse_short_rows(path: Path, separator: str, width: int) -> None:
    """pandas fills rows that lack fields, as the last line of a cut file does, with missing values."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with open_bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=separator)
            for row in reader:
                if row and len(row) < width:
                    raise DataError(
                        f"{path}: line {reader.line_num} has {len(row)} fields, the header names {width} columns; "
                        "was the file cut? Complete that line"
                    )
    finally:
        csv.field_size_limit(limit)


def wrong_encoding(path: Path) -> DataError:
    """Where the first byte that is no UTF-8 stands."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, offset = 1, 0
    with open_bytes(path) as file:
        for content in file:
            try:
                decoder.decode(content)
            except UnicodeDecodeError as error:
                wrong = error.object[error.start]
                return DataError(
                    f"{path} is not UTF-8: byte 0x{wrong:02x} in line {line}, at byte {offset + error.start}; "
                    "save it as UTF-8, or read it with pandas.read_csv(path, encoding='latin-1') and pass the table"
                )
            line, offset = line + 1, offset + len(content)
    return DataError(f"{path} is not UTF-8: it ends inside a character; was the file cut? Save it again")


def write_csv(data: pd.DataFrame, path: str, separator: str) -> None:
    with create_bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        write_csv_rows(data, text, separator=separator)


def write_csv_rows(data: pd.DataFrame, text: IO[str], *, separator: str = ",", header: bool = True) -> None:
    """Append rows of CSV; text is quoted throughout when it holds a carriage return, which is not quoted by default."""
    texts = data.select_dtypes(exclude=["number", "bool", "datetime", "timedelta"])
    found = any(texts[name].astype("str").str.contains("\r", regex=False).any() for name in texts)
    quoting: Literal[0, 2] = 2 if found or any("\r" in str(n) for n in data.columns) else 0  # non-numbers or minimal
    data.to_csv(text, index=False, sep=separator, header=header, quoting=quoting)
