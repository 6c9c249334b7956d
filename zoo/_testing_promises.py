"""The promises of the contract, one function each; ``zoo.testing`` runs them."""

import copy
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo._testing_control import balance_holds, constraints_hold, unseen_combinations_are_refused
from zoo._testing_control import raises as _raises
from zoo._testing_data import bad_data, odd_data
from zoo._testing_forgery import forged_artifacts_are_refused_or_sampled
from zoo.capabilities import CAPABILITY_OF, capabilities
from zoo.errors import (
    ConditionError,
    ConfigError,
    DataError,
    NotReadyError,
    OptionError,
    UnsupportedCapability,
    ZooError,
)
from zoo.training.config import TrainConfig

if TYPE_CHECKING:
    from zoo.testing import Subject


def _global_rng() -> list[Any]:
    state: list[Any] = [random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index]  # noqa: NPY002
    if "torch" in sys.modules:
        state.append(sys.modules["torch"].get_rng_state().tolist())
    return state


def digest(generator: Any, n: int, seed: int) -> str:
    """SHA-256 over the Arrow form of ``n`` samples."""
    import pyarrow as pa

    table = generator.form.to_arrow(generator.sample(n, seed=seed), generator.schema).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue().to_pybytes()).hexdigest()


# The promises; those of balance and constraints are in ``zoo._testing_control``


def configuration_is_the_constructor(s: "Subject") -> None:
    before = _global_rng()
    made = s.new()
    assert _global_rng() == before, "construction draws random numbers"
    assert s.cls(**made.config).config == made.config, "config does not rebuild the generator"
    from zoo.config import build

    _raises(
        ConfigError,
        lambda: build(s.cls, {"no_such_field": 1}, owner="x"),
        "an unknown field",
        words="no_such_field",
    )


def not_ready_is_said(s: "Subject") -> None:
    made = s.new()
    if made.is_ready:  # a family that only needs its configuration
        return
    _raises(NotReadyError, lambda: made.sample(1), "sample before fit", words=made.name)
    _raises(NotReadyError, lambda: made.schema, "schema before fit", words=made.name)
    _raises(NotReadyError, lambda: made.save("unused"), "save before fit", words=made.name)


def exactly_n_that_conform(s: "Subject") -> None:
    for n in (0, 1, 7, s.some):
        made = s.fitted.sample(n, seed=3)
        assert s.form.length(made) == n, f"asked for {n}, got {s.form.length(made)}"
        s.form.check(made, s.fitted.schema)


def schema_is_the_datas(s: "Subject") -> None:
    inferred = s.form.infer(s.form.coerce(s.data))
    assert s.fitted.schema == inferred, "the generator's schema is not that of its data"
    s.form.check(s.form.coerce(s.data), s.fitted.schema)


def nothing_of_the_callers_changes(s: "Subject") -> None:
    given = copy.deepcopy(s.data)
    _ = s.fitted  # imports what the family needs, so that its first seeding of torch is over
    before = _global_rng()
    fitted = s.fit(given)
    fitted.sample(3, seed=0)
    next(fitted.stream(batch_size=2, seed=0))
    assert _global_rng() == before, "the global random state was touched"
    assert s.same(given, s.data), "the caller's data was changed"


def same_seed_same_samples(s: "Subject") -> None:
    assert s.same(s.fitted.sample(s.some, seed=5), s.sampled), "two calls with one seed differ"
    assert s.same(s.fit().sample(s.some, seed=5), s.sampled), "two fits with one seed differ"
    other = s.fitted.sample(s.some, seed=6)
    assert not s.same(other, s.sampled), "another seed gives the same samples"


def batch_size_changes_nothing(s: "Subject") -> None:
    half = s.form.slice(s.sampled, 0, 10)
    assert s.same(s.fitted.sample(10, seed=5), half), "sample(10) is not the beginning of a longer sample"
    for batch in (3, s.fitted.block_size + 1):
        taken, parts = 0, []
        for part in s.fitted.stream(batch_size=batch, seed=5):
            assert s.form.length(part) == batch, f"stream gave {s.form.length(part)} for batch_size={batch}"
            s.form.check(part, s.fitted.schema)
            parts.append(part)
            taken += batch
            if taken >= min(s.some, 60 * batch):
                break
        joined = s.form.concat(parts)
        length = min(taken, s.some)
        a, b = s.form.slice(joined, 0, length), s.form.slice(s.sampled, 0, length)
        assert s.same(a, b), f"stream(batch_size={batch}) is not sample(n) in pieces"


def save_and_load_give_the_same(s: "Subject") -> None:
    with tempfile.TemporaryDirectory() as root:
        first, second = Path(root) / "a", Path(root) / "b"
        s.fitted.save(first)
        loaded = s.cls.load(first)
        assert loaded.is_ready
        assert loaded.config == s.fitted.config, "the configuration changed"
        assert loaded.schema == s.fitted.schema, "the schema changed"
        assert loaded.block_size == s.fitted.block_size, "the block size changed"
        assert loaded.training == s.fitted.training, "the record of training changed"
        assert s.same(loaded.sample(s.some, seed=5), s.sampled), "the loaded generator samples otherwise"
        loaded.save(second)
        for path in first.iterdir():
            assert path.read_bytes() == (second / path.name).read_bytes(), f"{path.name} changed in save, load, save"
        allowed = {".json", ".safetensors", ".md", ".txt"}
        assert {p.suffix for p in first.iterdir()} <= allowed, "an artifact holds only JSON, safetensors and text"
        before = {p.name: p.read_bytes() for p in first.iterdir()}
        _raises(ZooError, lambda: s.fitted.save(first, extra={"../out": b""}), "a save that fails")
        assert {p.name: p.read_bytes() for p in first.iterdir()} == before, "a failed save altered the old artifact"


def another_process_gives_the_same(s: "Subject") -> None:
    code = (
        "import sys, importlib\n"
        "if sys.argv[5] != '0':\n"
        "    import torch; torch.set_num_threads(int(sys.argv[5]))\n"
        "from zoo.testing import digest\n"
        "cls = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])\n"
        "print(digest(cls.load(sys.argv[3]), int(sys.argv[4]), 5))\n"
    )
    threads = str(sys.modules["torch"].get_num_threads()) if "torch" in sys.modules else "0"
    with tempfile.TemporaryDirectory() as root:
        s.fitted.save(Path(root) / "a")
        arguments = [s.cls.__module__, s.cls.__qualname__, str(Path(root) / "a"), str(s.some), threads]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    assert done.returncode == 0, f"the other process failed: {done.stderr.strip().splitlines()[-1:]}"
    assert done.stdout.strip() == digest(s.fitted, s.some, 5), "another process gives other samples for one seed"


def conditions_hold(s: "Subject") -> None:
    fitted, native = s.fitted, s.form.coerce(s.data)
    _raises(
        ConditionError,
        lambda: fitted.sample(2, conditions={"no_such": 1}),
        "an unknown condition",
        words="no_such",
    )
    allowed = fitted.condition_columns if "conditions" in capabilities(s.cls) else ()
    for column in fitted.schema:
        values = s.form.column(native, column.name)
        seen = [v for v in values[:20] if v == v and v is not None] if values is not None else [column.maximum]
        if column.name not in allowed:
            if seen:
                _raises(ConditionError, partial(fitted.sample, 2, conditions={column.name: seen[0]}),
                        f"a condition on {column.name!r}, which the family does not take")  # fmt: skip
            continue
        asked = fitted.sample(9, conditions={column.name: seen[0]}, seed=1)
        s.form.check(asked, fitted.schema)
        got = s.form.column(asked, column.name)
        assert len(got) == 9 and all(v == seen[0] for v in got), f"{column.name}={seen[0]!r} gave {got[0]!r}"
        either = s.form.column(fitted.sample(9, conditions={column.name: seen[:2]}, seed=1), column.name)
        assert all(v in seen[:2] for v in either), f"{column.name} in {seen[:2]!r} gave others"
        import pandas as pd

        rows = pd.DataFrame({column.name: pd.Series([seen[0], seen[1], seen[0]], dtype=getattr(values, "dtype", None))})
        each = s.form.column(fitted.sample(3, conditions=rows, seed=1), column.name)
        assert list(each) == [seen[0], seen[1], seen[0]], f"a table of conditions on {column.name!r} is not kept"
        _raises(
            ConditionError,
            partial(fitted.sample, 2, conditions=rows),
            "a table with a wrong number of rows",
        )
        _raises(ConditionError, partial(fitted.stream, batch_size=2, conditions=rows), "a stream under a table")
        if column.is_numeric and column.role == "feature":
            low, high = sorted((float(seen[0]), float(seen[1])))
            inside = np.asarray(
                s.form.column(fitted.sample(9, conditions={column.name: (low, None)}, seed=1), column.name),
                float,
            )
            assert (inside >= low).all(), f"{column.name} >= {low} gave {inside.min()}"
            inside = np.asarray(
                s.form.column(fitted.sample(9, conditions={column.name: (low, high)}, seed=1), column.name),
                float,
            )
            assert ((inside >= low) & (inside <= high)).all(), f"{column.name} leaves [{low}, {high}]"
            _raises(ConditionError, partial(fitted.sample, 2, conditions={column.name: (1e300, None)}),
                    "a range beyond the data", words=column.name)  # fmt: skip
        if column.kind == "category" and column.dtype == "str":
            _raises(ConditionError, partial(fitted.sample, 2, conditions={column.name: "no such value"}),
                    "an unknown value", words=column.name)  # fmt: skip
        parts = fitted.stream(batch_size=4, conditions={column.name: seen[0]}, seed=1)
        assert all(v == seen[0] for v in s.form.column(next(parts), column.name)), "stream ignores conditions"


def options_are_checked(s: "Subject") -> None:
    _raises(OptionError, lambda: s.fitted.sample(1, no_such_option=1), "an unknown option", words="no_such_option")
    for name, option in s.cls.options.items():
        _raises(OptionError, partial(s.fitted.sample, 1, **{name: object()}), f"a senseless {name}", words=name)
        s.fitted.sample(1, **{name: option.default})
        next(s.fitted.stream(batch_size=1, **{name: option.default}))


def arguments_are_checked(s: "Subject") -> None:
    for n in (-1, 1.5, True, "3", None):
        _raises(OptionError, partial(s.fitted.sample, n), f"n={n!r}", words="n=")
    for seed in (-1, 1.5, "x", 2**64):
        _raises(OptionError, partial(s.fitted.sample, 1, seed=seed), f"seed={seed!r}", words="seed")
    for size in (0, -1, 2.5):
        _raises(
            OptionError,
            partial(s.fitted.stream, batch_size=size),
            f"batch_size={size}",
            words="batch_size",
        )


def _plain(row: dict[str, Any]) -> str:
    """A row as text; of an image its pixels, as its own text is its address in memory."""
    return repr(sorted((k, (v.size, v.tobytes()) if hasattr(v, "tobytes") else v) for k, v in row.items()))


def datasets_have_the_right_types(s: "Subject") -> None:
    from datasets.distributed import split_dataset_by_node

    made = s.fitted.to_dataset(s.some, seed=5)
    features = s.form.features(s.fitted.schema)
    assert made.features == features, f"to_dataset has features {made.features}, the schema asks for {features}"
    table = s.form.to_arrow(s.sampled, s.fitted.schema).cast(features.arrow_schema).combine_chunks()
    assert made.num_rows == s.some
    assert made.data.table.combine_chunks().equals(table), "to_dataset is not what sample gives"
    stream = s.fitted.to_iterable_dataset(s.some, seed=5)
    assert stream.features == features, "to_iterable_dataset has other features"
    rows = [repr(sorted(r.items())) for r in made.to_list()]
    assert [_plain(r) for r in stream] == [_plain(r) for r in made], "streamed rows differ"
    ranks = [split_dataset_by_node(stream, rank=rank, world_size=2) for rank in (0, 1)]
    counts = [sum(1 for _ in part) for part in ranks]
    assert sum(counts) == len(rows), f"two ranks together see {sum(counts)} of {len(rows)} samples"


def limits_of_training_are_kept(s: "Subject") -> None:
    training = s.fitted.training
    if "steps" not in training:
        return
    assert 0 <= training["steps"] <= 6, f"max_steps=6, took {training['steps']}"
    cut = s.new().fit(s.data, seed=1, train=TrainConfig(max_minutes=1e-6, epochs=10_000, progress=False))
    if cut.training["steps"]:
        assert cut.training["stopped_by"] == "max_minutes", f"recorded {cut.training}"
    assert cut.is_ready


def odd_data_is_learned(s: "Subject") -> None:
    for what, data in odd_data(s.kind).items():
        try:
            fitted = s.fit(data)
            made = fitted.sample(5, seed=2)
        except Exception as error:
            raise AssertionError(f"{what} cannot be learned ({type(error).__name__}: {error})") from error
        assert fitted.form.length(made) == 5, f"{what}: 5 samples asked, {fitted.form.length(made)} given"
        fitted.form.check(made, fitted.schema)
        with tempfile.TemporaryDirectory() as root:
            fitted.save(Path(root) / "a")
            again = s.cls.load(Path(root) / "a").sample(5, seed=2)
        assert fitted.form.equal(again, made), f"{what}: the loaded generator samples otherwise"


def bad_data_is_refused(s: "Subject") -> None:
    before = s.fitted.sample(4, seed=8)
    for what, (data, words) in bad_data(s.kind).items():
        _raises(DataError, partial(s.fitted.fit, data, train=s.train), f"fitting on {what}", words=words)
        assert s.same(s.fitted.sample(4, seed=8), before), f"a refused fit ({what}) changed the generator"
    wrong: Any = {"tabular": "image", "text": "image"}.get(s.cls.modality, "tabular")
    from zoo.schema import Schema

    _raises(DataError, lambda: s.fitted.fit(s.data, schema=Schema(modality=wrong)), "a schema of another modality")


def undeclared_capabilities_raise(s: "Subject") -> None:
    declared = capabilities(s.cls)
    for attribute, capability in CAPABILITY_OF.items():
        if capability not in declared:
            _raises(
                UnsupportedCapability,
                partial(getattr, s.fitted, attribute),
                f"calling {attribute}",
                words=attribute,
            )


def imputing_keeps_what_is_known(s: "Subject") -> None:
    if "impute" not in capabilities(s.cls):
        return
    native = s.form.coerce(s.data)
    given = copy.deepcopy(native)
    filled = s.fitted.impute(given, seed=4)
    assert s.same(given, native), "impute changed the caller's data"
    s.form.check(filled, s.fitted.schema)
    for column in s.fitted.schema:
        was, now = s.form.column(native, column.name), s.form.column(filled, column.name)
        known = ~np.asarray(was.isna())
        assert was[known].equals(now[known]), f"impute changed known values of {column.name!r}"
        if known.any():
            assert not now.isna().any(), f"impute left {column.name!r} missing"
    assert s.same(s.fitted.impute(native, seed=4), filled), "impute differs for one seed"


def extending_keeps_the_prefix(s: "Subject") -> None:
    if "extend" not in capabilities(s.cls):
        return
    prefix = s.form.slice(s.form.coerce(s.data), 0, 3)
    longer = s.fitted.extend(prefix, seed=4)
    assert s.form.length(longer) == 3
    assert s.form.starts_with(longer, prefix), "extend changed the prefix"
    assert s.same(s.fitted.extend(prefix, seed=4), longer), "extend differs for one seed"


def no_column_is_stored(s: "Subject") -> None:
    if s.cls.modality != "tabular":
        return
    import pandas as pd

    values = np.random.default_rng(0).normal(size=400)
    fitted = s.fit(pd.DataFrame({"x": values, "y": values[::-1] ** 3}))
    stored = set()
    for array in fitted._arrays().values():
        stored |= set(np.asarray(array, dtype=np.float64).ravel().tolist())
    for name, given in {"x": values, "y": values[::-1] ** 3}.items():
        kept = sum(float(v) in stored or float(np.float32(v)) in stored for v in given)
        assert kept <= 4, f"{kept} of 400 training values of {name!r} stand in the artifact"


CHECKS: dict[str, Callable[["Subject"], None]] = {
    check.__name__: check
    for check in (
        configuration_is_the_constructor,
        not_ready_is_said,
        exactly_n_that_conform,
        schema_is_the_datas,
        nothing_of_the_callers_changes,
        same_seed_same_samples,
        batch_size_changes_nothing,
        save_and_load_give_the_same,
        forged_artifacts_are_refused_or_sampled,
        another_process_gives_the_same,
        conditions_hold,
        options_are_checked,
        arguments_are_checked,
        datasets_have_the_right_types,
        limits_of_training_are_kept,
        odd_data_is_learned,
        bad_data_is_refused,
        undeclared_capabilities_raise,
        imputing_keeps_what_is_known,
        extending_keeps_the_prefix,
        no_column_is_stored,
        balance_holds,
        constraints_hold,
        unseen_combinations_are_refused,
    )
}
