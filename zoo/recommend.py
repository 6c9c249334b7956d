"""Which family for which table: by its rows, columns and kinds, with the reason and the expected time of training."""

import dataclasses
from collections.abc import Iterator

from zoo.errors import DataError
from zoo.registry import family, list_generators
from zoo.schema import Schema

FEW_ROWS = 1000
MANY_COLUMNS = 150
MANY_CELLS = 60_000_000


@dataclasses.dataclass(frozen=True)
class Advice:
    """One family that fits a table.

    Attributes
    ----------
    family
        Its name.
    why
        What speaks for it here, in one sentence.
    seconds
        Expected time of training with the family's defaults on two cores; None if the family does not say.
    """

    family: str
    why: str
    seconds: float | None


def recommend(schema: Schema, rows: int) -> list[Advice]:
    """The families that fit a table, the best first.

    Parameters
    ----------
    schema
        The table's schema, or that of related tables.
    rows
        Number of rows; of related tables, of all of them.

    Raises
    ------
    DataError
        If there is no column to learn from, or the data are no tables.
    """
    if schema.modality != "tabular":
        found = list_generators(modality=schema.modality)
        raise DataError(f"recommending is for tables; for {schema.modality} data there are {', '.join(found)}")
    if schema.tables:
        return [_advice("tabular/relational", "several tables: it learns them along their keys", schema, rows)]
    columns = [c for c in schema if c.is_discrete or c.is_numeric or c.is_time]
    texts = [c.name for c in schema if c.kind == "text"]
    if not columns:
        other = "text/gpt learns free text" if texts else "identifiers and constants are made anew by every family"
        raise DataError(f"the table has no column to learn from; {other}")
    return [_advice(name, why, schema, rows) for name, why in _ranked(schema, rows, len(columns))]


def _ranked(schema: Schema, rows: int, columns: int) -> Iterator[tuple[str, str]]:
    numbers = sum(c.is_numeric or c.is_time for c in schema)
    if rows < FEW_ROWS:
        yield "tabular/gaussian_copula", f"{rows:,} rows are few: it has the least to learn, and learns it exactly"
        yield "tabular/vine_copula", "pairs of columns in any shape, drawn towards what few rows can tell; extra 'vine'"
        yield "tabular/cart", "a second opinion in a second; its leaves pool many rows, which with few is coarse"
        return
    if columns > MANY_COLUMNS or rows * columns > MANY_CELLS:
        size = f"{columns} columns" if columns > MANY_COLUMNS else f"{rows:,} rows of {columns} columns"
        yield "tabular/gaussian_copula", f"{size} are many: it takes them in seconds"
        yield "tabular/cart", "closer to the data, in one pass of single trees"
        yield "tabular/autoregressive", "its steps do not grow with the rows; any columns can be given"
        yield "tabular/diffusion", "up to a million rows its steps do not either; deeper and slower"
        return
    yield "tabular/boosted", "closest to the data of all families on tables of this size"
    yield "tabular/cart", "nearly as close in a fraction of the time"
    if numbers == columns:
        yield "tabular/hybrid_copula", "numbers only: a copula has most of it, a small network mends the rest"
    else:
        yield "tabular/autoregressive", "if you will ask for many combinations of columns, or fill gaps"
        yield "tabular/diffusion", "if there are minutes, or an accelerator: it says the least of single training rows"
        yield "tabular/mixture", "if you need exact probabilities and conditions, or the fastest samples"
    yield "tabular/gaussian_copula", "for a first look: a fit in less than a second"


def _advice(name: str, why: str, schema: Schema, rows: int) -> Advice:
    cost = family(name).fit_cost
    columns = len(schema) if not schema.tables else max(len(table) for table in schema.tables.values())
    return Advice(name, why, None if cost is None else cost[0] + cost[1] * rows * columns / 1e6)
