"""``zoo schema`` and ``zoo recommend``: what the zoo takes a table for, and which families fit it."""

from pathlib import Path
from typing import Annotated

import typer


def schema_command(
    data: Annotated[str, typer.Argument(help="A table: CSV, Parquet, Arrow, JSON lines, or an SQL address.")],
    table: Annotated[str | None, typer.Option("--table", help="Table of an SQL database.")] = None,
    overrides: Annotated[
        Path | None, typer.Option("--schema", help="YAML of what you know better; the rest is inferred.")
    ] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML that can be edited.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the YAML to a file.")] = None,
) -> None:
    """Show the schema that is inferred from a table: kinds, ranges, missing values, personal data, keys."""
    from zoo.atomic import atomic_file
    from zoo.data.schema_view import missing_shares, schema_rows
    from zoo.data.source import read_source

    found, schema = read_source(data, table=table, overrides=overrides)
    if output is not None:
        with atomic_file(str(output)) as temporary:
            schema.to_yaml(temporary)
        print(f"wrote {output}; edit it, then: zoo fit FAMILY {data} --schema {output} -o FOLDER")
    if as_yaml:
        print(schema.to_yaml(), end="")
    if output is not None or as_yaml:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table("column", "kind", "dtype", "missing", "values", box=box.SIMPLE_HEAD)
    for row in schema_rows(schema, missing_shares(found)):
        shown.add_row(*map(Text, row))
    console = Console()
    # Without a terminal nothing is cut to its width.
    (console if console.is_terminal else Console(width=200)).print(shown)
    print(f"{len(found):,} rows, {len(schema)} columns; zoo schema {data} -o schema.yaml writes this down to be edited")


def recommend_command(
    data: Annotated[str, typer.Argument(help="A table, as of zoo schema, or a folder of related tables.")],
    table: Annotated[str | None, typer.Option("--table", help="Table of an SQL database.")] = None,
) -> None:
    """Say which families fit a table, why, and how long they train."""
    from zoo.data.database_io import holds_database
    from zoo.data.source import is_address, read_source
    from zoo.data.table_scan import parquet_size
    from zoo.recommend import recommend

    related = not is_address(data) and holds_database(Path(data))
    found, schema = read_source(data, "related" if related else "tabular", table=table)
    size = None if related or is_address(data) else parquet_size(data)
    rows = sum(map(len, found.values())) if related else len(found) if size is None else size[0]
    print(f"{data}: {rows:,} rows")
    for place, advice in enumerate(recommend(schema, rows), start=1):
        time = "" if advice.seconds is None else f"; trains in about {_duration(advice.seconds)} on two cores"
        print(f"{place}. {advice.family}: {advice.why}{time}")
    print(f"next: zoo fit {recommend(schema, rows)[0].family} {data} -o FOLDER")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
