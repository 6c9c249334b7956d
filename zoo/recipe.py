"""Recipes: short scripts that hold the choices of one run, and the command line that they share.

A recipe file says ``recipe = Recipe(...)`` and, under ``__main__``, ``recipe.main()``. It runs as
``python recipes/tabular/tvae/adult.py --train.epochs 5``, under ``accelerate launch``, and as
``zoo train tabular/tvae/adult``; a copy of it anywhere runs the same. A run fits the generator, evaluates it on
held-out real data, and saves the artifact with its card and report.
"""

import contextlib
import dataclasses
import importlib.util
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from zoo.config import Range, build, check_config
from zoo.errors import ConfigError, DataError, UnknownNameError, ZooError, nearest
from zoo.training.config import TrainConfig

if TYPE_CHECKING:
    from zoo.data.form import NativeForm
    from zoo.evaluation import Report
    from zoo.generator import Generator


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a recipe learns from.

    Parameters
    ----------
    name
        Data set in the catalogue (``zoo datasets`` lists them).
    path
        Your own table (CSV, Parquet, Arrow, JSON lines) instead of the named set.
    holdout
        Your own held-out table; without it a fifth of ``path`` is held out, by the seed.
    rows
        Learn from at most so many samples, drawn by the seed; all by default.
    """

    name: str | None = None
    path: str | None = None
    holdout: str | None = None
    rows: Annotated[int, Range(1)] | None = None

    def __post_init__(self) -> None:
        check_config(self, owner="data")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """How a recipe's result is measured against held-out real data.

    Parameters
    ----------
    enabled
        Whether to evaluate at all.
    rows
        Number of samples to evaluate; as many as were learned from by default.
    target
        Column for the utility scores; the data set's own target by default.
    quick
        Subsample, for a first look in seconds.
    """

    enabled: bool = True
    rows: Annotated[int, Range(1)] | None = None
    target: str | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        check_config(self, owner="evaluate")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Data, generator, training and evaluation of one run.

    Parameters
    ----------
    family
        ``modality/family``.
    data, train, evaluate
        What to learn from, how to train, how to measure.
    generator
        Configuration of the family; what is left out keeps the family's defaults.
    seed
        Seed of the fit and of the evaluation.
    smoke
        Changes, as dotted field names, that make a run of seconds (``{"data.rows": 500}``).
    """

    family: str
    data: Data
    generator: Mapping[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: Evaluate = field(default_factory=Evaluate)
    seed: int = 0
    smoke: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``modality/family/dataset``; a file's stem stands for the data set when the data is your own."""
        stem = Path(self.data.path).name.split(".")[0] if self.data.path else str(self.data.name)
        return f"{self.family}/{stem}"

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run from the command line; errors of the zoo are one line and exit code 2."""
        from zoo.cli import guarded

        guarded(lambda: self.run_arguments(sys.argv[1:] if arguments is None else list(arguments)))

    def run_arguments(self, arguments: list[str]) -> "Result":
        """Parse command-line arguments over this recipe's choices, and run."""
        return run(self.parse(arguments), self)

    def parse(self, arguments: list[str]) -> Any:
        """This recipe's choices, changed by command-line arguments.

        Raises
        ------
        ConfigError
            For an unknown field, with the nearest valid name, or a value that is out of range.
        """
        import tyro

        choices = self.choices(smoke="--smoke" in arguments)
        _refuse_unknown(arguments, choices)
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):  # tyro draws boxes; an error of the zoo is one line
                chosen = tyro.cli(
                    type(choices),
                    args=arguments,
                    default=choices,
                    prog=f"zoo train {self.name}",
                    description=f"Train {self.family} on {self.data.name}, evaluate it on held-out data, save it.",
                )
        except SystemExit as error:
            if error.code in (None, 0):  # --help
                raise
            raise ConfigError(_one_line(complaint.getvalue())) from error
        check_config(chosen)
        return chosen

    def choices(self, *, smoke: bool = False) -> Any:
        """All that a run may change, as one typed dataclass (its ``generator`` is of the family's own type)."""
        from zoo.registry import family

        cls = family(self.family)
        kind = dataclasses.make_dataclass(
            "Choices",
            [
                ("data", Data),
                ("generator", cls),
                ("train", TrainConfig),
                ("evaluate", Evaluate),
                ("seed", Annotated[int, Range(0)], field(default=0)),
                ("out", str | None, field(default=None)),
                ("overwrite", bool, field(default=False)),
                ("smoke", bool, field(default=False)),
            ],
            frozen=True,
        )
        kind.__doc__ = _CHOICES_DOC
        parts: dict[str, dict[str, Any]] = {
            "data": _fields(self.data),
            "generator": dict(self.generator),
            "train": _fields(self.train),
            "evaluate": _fields(self.evaluate),
        }
        flat: dict[str, Any] = {"seed": self.seed, "smoke": smoke}
        for key, value in self.smoke.items() if smoke else ():
            part, _, name = key.partition(".")
            if not name and part in flat:
                flat[part] = value
            elif part in parts and name:
                parts[part][name] = value
            else:
                raise ConfigError(f"smoke setting {key!r} names no field; write data.rows, train.epochs and the like")
        classes: dict[str, type] = {"data": Data, "generator": cls, "train": TrainConfig, "evaluate": Evaluate}
        built = {k: build(classes[k], v, owner=self.family if k == "generator" else k) for k, v in parts.items()}
        return kind(**built, **flat)


_CHOICES_DOC = """Choices of one run.

Parameters
----------
seed
    Seed of the fit and of the evaluation.
out
    Folder for the artifact, its card and report; out/NAME by default.
overwrite
    Replace an artifact that is there.
smoke
    Run with the recipe's tiny settings, in seconds.
"""


def _refuse_unknown(arguments: Sequence[str], choices: Any) -> None:
    """Refuse an option that is no field, with the nearest one that is."""
    known = {"help"}
    for choice in dataclasses.fields(choices):
        value = getattr(choices, choice.name)
        names = [f"{choice.name}.{f}" for f in _fields(value)] if dataclasses.is_dataclass(value) else [choice.name]
        for name in names:
            known |= {name, re.sub(r"(\w+)$", r"no_\1", name)}  # switches have a negative
    for argument in arguments:
        option = argument.removeprefix("--").partition("=")[0].replace("-", "_")
        if argument.startswith("--") and option not in known:
            shown = sorted(n for n in known if ".no_" not in n and not n.startswith("no_"))
            flags = ["--" + n.replace("_", "-") for n in shown]
            raise ConfigError(f"no field {argument.partition('=')[0]}; {nearest(argument.partition('=')[0], flags)}")


_WORDS = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "STR": "a text",
    "PATH": "a path",
    "invalid literal for int() with base 10:": "a whole number",
    "could not convert string to float:": "a number",
}
# What tyro says of a value of the wrong type: in its own words, or in Python's.
_REFUSALS = (
    r"no type matching (?P<types>\S+) could be instantiated from \['?(?P<given>.*?)'?\]\.",
    r"(?P<types>invalid literal for int\(\) with base 10:|could not convert string to float:) '(?P<given>.*)'",
)


def _one_line(complaint: str) -> str:
    """The message in tyro's box, without box, help text and advice."""
    text = re.sub(r"^[\s│╭╰─╮╯]*|[\s│╮╯]*$", "", complaint, flags=re.MULTILINE)
    lines = []
    for line in text.splitlines():
        if line.startswith(("Argument helptext", "For full helptext", "Got errors")):
            break
        if line and not line.endswith("─"):  # the box's title
            lines.append(line)
    said = re.sub(r"^Error parsing (\w+): (?=\1: )", "", " ".join(lines))
    for pattern in _REFUSALS:
        refused = re.fullmatch(r"Error parsing (\S+): " + pattern, said)
        if refused is not None:
            types, given = refused["types"], refused["given"]
            words = [_WORDS.get(t.strip("{}"), t.strip("{}")) for t in types.split("|")][::-1]
            return f"{refused[1]}: {given!r} is no value for it; give {' or '.join(words)}"
    return said


def _fields(instance: Any) -> dict[str, Any]:
    return {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance) if f.init}


@dataclass(frozen=True)
class Result:
    """What a run left: the folder, the fitted generator and (on the main process) the report."""

    folder: Path
    generator: "Generator"
    report: "Report | None"


def run(chosen: Any, recipe: Recipe, fitted: "Generator | None" = None) -> Result:
    """Fit, evaluate on held-out data and save.

    Parameters
    ----------
    chosen
        An instance of what :meth:`Recipe.choices` makes.
    recipe
        The recipe it came from.
    fitted
        A generator that the recipe made before, to be evaluated and saved anew; None fits one.
    """
    from zoo.artifact import check_target
    from zoo.say import say

    data: Data = chosen.data
    name = dataclasses.replace(recipe, data=data).name
    folder = Path(chosen.out) if chosen.out else Path("out") / name
    generator: Generator = chosen.generator if fitted is None else fitted
    check_target(folder, overwrite=chosen.overwrite)  # now, and not after an hour of training
    train, holdout, target, private = _load(data, generator.form, chosen.seed)
    if chosen.evaluate.enabled:
        target = _target(chosen, recipe, target, generator.form.infer(train).names)
    if fitted is None:
        say(f"{name}: fitting on {generator.form.length(train):,} samples, {generator.form.length(holdout):,} held out")
        schema = generator.form.infer(train).replace(private=True) if private else None
        generator.fit(train, schema=schema, seed=chosen.seed, train=chosen.train)
    if int(os.environ.get("RANK", "0")) > 0:  # the main process alone evaluates and saves
        return Result(folder, generator, None)
    if generator.training:
        say("trained: " + ", ".join(f"{k} {v}" for k, v in generator.training.items()))
    from zoo.card import save_with_card

    report = None
    if chosen.evaluate.enabled:
        from zoo.evaluation import evaluate

        rows = chosen.evaluate.rows or generator.form.length(train)
        synthetic = generator.sample(rows, seed=chosen.seed)
        report = evaluate(
            train,
            synthetic,
            holdout=holdout,
            target=target,
            schema=generator.schema,
            seed=chosen.seed,
            quick=chosen.evaluate.quick,
        )
    save_with_card(generator, folder, name=name, report=report, real=train, seed=chosen.seed, data_name=data.name)
    say(f"saved {folder} (artifact, README.md" + (", report.html)" if report else ")"))
    if report is not None:
        say(repr(report))
    return Result(folder, generator, report)


def _target(chosen: Any, recipe: Recipe, own: str | None, names: Sequence[str]) -> str | None:
    """The target of the utility scores, checked now and not after an hour of training."""
    from zoo.say import say

    target = chosen.evaluate.target or own
    if target is None or target in names:
        return target
    if chosen.data.path is not None and target == recipe.evaluate.target:
        say(
            f"{chosen.data.path} has no column {target!r}, which the recipe predicts in its own data: utility is not "
            "measured; name a column of yours by --evaluate.target"
        )
        return None
    raise DataError(f"--evaluate.target {target} is no column of the data; {nearest(target, names)}")


def _load(data: Data, form: "NativeForm", seed: int) -> tuple[Any, Any, str | None, bool]:
    """Training data, held-out data, target column, whether private."""
    import numpy as np

    rng = np.random.default_rng(seed)
    target, private = None, False
    if data.path is not None:
        if form.modality not in ("tabular", "text"):
            raise DataError(f"--data.path reads tables; for {form.modality} data call generator.fit from Python")
        train = form.read(data.path)
        if data.holdout is not None:
            holdout = form.read(data.holdout)
        else:
            order = rng.permutation(form.length(train))
            cut = max(1, form.length(train) // 5)
            if form.length(train) < 2:
                raise DataError(f"{data.path} has one row, none can be held out; give --data.holdout")
            train, holdout = form.take(train, np.sort(order[cut:])), form.take(train, np.sort(order[:cut]))
    elif data.name is not None:
        from zoo.data.catalog import dataset_info, load_dataset

        info = dataset_info(data.name)
        if info.modality != form.modality:
            raise DataError(f"{data.name!r} is {info.modality} data, the family is for {form.modality} data")
        target, private = info.target, info.private
        train, holdout = (form.coerce(load_dataset(data.name, split)) for split in ("train", "test"))
    else:
        raise ConfigError("give --data.name (zoo datasets lists them) or --data.path FILE")
    if data.rows is not None and data.rows < form.length(train):
        train = form.take(train, np.sort(rng.choice(form.length(train), data.rows, replace=False)))
    return train, holdout, target, private


# Finding recipes by name


def list_recipes() -> dict[str, Path]:
    """Every bundled recipe: name to file."""
    from zoo.registry import bundled

    root = bundled("recipes")
    return {p.relative_to(root).with_suffix("").as_posix(): p for p in sorted(root.glob("*/*/*.py"))}


def find_recipe(name: str) -> Path:
    """The file of a recipe, given by its name or by a path."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise UnknownNameError(f"no recipe file {name}; zoo recipes lists the bundled ones")
        return path
    known = list_recipes()
    if name not in known:
        raise UnknownNameError(f"no recipe {name!r}; {nearest(name, known)}")
    return known[name]


def load_recipe(name: str) -> Recipe:
    """The :class:`Recipe` that a file defines under the name ``recipe``."""
    path = find_recipe(name)
    spec = importlib.util.spec_from_file_location("zoo_recipe_" + path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ZooError:
        raise
    except Exception as error:
        raise ConfigError(f"recipe {path} cannot be read: {type(error).__name__}: {error}") from error
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"{path} defines no recipe; write recipe = Recipe(...)")
    return recipe
