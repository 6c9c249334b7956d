"""Whether samples can conform to a schema at all: asked of a schema that comes from an artifact.

A column's kind, dtype, categories, range and pattern may contradict each other in many ways. Rather than list them,
the table of the extreme values that the schema names is made as sampling would make it, and checked as samples are.
"""

import numpy as np

from zoo.errors import SchemaError
from zoo.schema import Schema

_LONGEST = 2**22  # steps of a series: batches are padded to the longest, and a hostile one would fill the memory
_ROWS = 3  # the lowest, the highest, and a missing value where there may be one


def check_possible(schema: Schema) -> None:
    """Make the samples at the ends of a schema, and check them.

    Raises
    ------
    SchemaError
        If they do not conform, or the modality needs what the schema does not have. The codecs may raise other errors
        at what they were not written for.
    """
    for table in schema.tables.values():
        check_possible(table)
    columns = list(schema)
    if schema.modality == "text":
        from zoo.data.text import TEXT

        texts = [c for c in columns if c.role == "text" or c.name == TEXT]
        if [(c.name, c.kind, c.role, c.dtype) for c in texts] != [(TEXT, "text", "text", "str")]:
            raise SchemaError(f"schema: texts need exactly one column of role 'text', a str named {TEXT!r}")
        columns.remove(texts[0])
    elif schema.modality == "image":
        from zoo.data.image import LABEL, image_shape

        image_shape(schema)
        if LABEL in schema and not schema[LABEL].categories == tuple(range(len(schema[LABEL].names))):
            raise SchemaError("schema: the label of images is 0, 1, … and has a name for each")
    elif schema.modality == "timeseries":
        shortest, longest = (schema.shape.get(k, 0) for k in ("min_length", "max_length"))
        if not 1 <= shortest <= longest <= _LONGEST:
            raise SchemaError(f"schema: series of {shortest} to {longest} steps; they have 1 to {_LONGEST}")
        columns = [c for c in columns if c.role != "channel"]
    if columns:
        _probe(Schema(modality="tabular", columns=tuple(columns)))


def _probe(schema: Schema) -> None:
    from zoo.conditions import bounds
    from zoo.data.table_codec import TableCodec
    from zoo.data.tabular import TableForm

    codec, form = TableCodec(schema), TableForm()
    values: dict[str, np.ndarray] = {}
    for name in codec.discrete:
        column = schema[name]
        top = len(column.categories) - 1
        values[name] = np.array([0, top, -1 if column.nullable else top])
    for name in codec.numeric:
        column = schema[name]
        low, high = (end if np.isfinite(end) else 0.0 for end in bounds(column))
        values[name] = np.array([low, high, np.nan if column.nullable else high])
    form.check(form.finish(codec.decode(values, _ROWS), schema, 0), schema)
