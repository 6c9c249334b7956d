"""The command line ``zoo``: the only place that prints results or reads arguments.

Every command imports what it needs when it runs, so that ``zoo list`` answers at once.
"""

import json
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from zoo import __version__
from zoo.cli_arguments import balance_of, conditions_of, json_or_text, options_of
from zoo.cli_evaluate import compare, evaluate
from zoo.cli_schema import recommend_command, schema_command
from zoo.errors import ConfigError, DataError, UnknownNameError, ZooError, nearest

if TYPE_CHECKING:
    from zoo.generator import Generator


class _Ended(BaseException):
    """A KeyboardInterrupt on its way through Typer, which would make a silent exit code of it; that is its cause."""


class _Group(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Ended from error


app = typer.Typer(
    name="zoo",
    cls=_Group,
    help="Generators of synthetic data: tables, time series, images and text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# Typer's errors of usage: BadParameter is a UsageError, and that a ClickException. Only the first has a public name in
# every version.
_UsageError: Any = typer.BadParameter.__mro__[1]
_ClickException: Any = typer.BadParameter.__mro__[2]


def guarded(action: Callable[[], Any]) -> None:
    """Run an action; an expected error becomes one line on standard error and exit code 2."""
    from zoo.say import speak
    from zoo.terminate import ends_tidily

    speak()
    try:
        with ends_tidily():
            action()
    except ZooError as error:
        _fail(str(error))
    except _ClickException as error:
        context = getattr(error, "ctx", None)
        if not error.format_message().strip() or "NoArgs" in type(error).__name__:
            print(context.get_help() if context else error.format_message())  # ``zoo`` alone
            sys.exit(2)
        _fail(error.format_message() + (f" ({context.command_path} --help shows what there is)" if context else ""))
    except (KeyboardInterrupt, typer.Abort, _Ended) as error:
        _end_of(error.__cause__ if isinstance(error, _Ended) else error)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror or error}{where}; check the path, its permissions and the space left")


def _end_of(interrupt: BaseException | None) -> None:
    """Say what ended the command, and leave with the code of that signal."""
    from zoo.terminate import Terminated

    number = interrupt.args[0] if isinstance(interrupt, Terminated) else signal.SIGINT
    said = "terminated" if isinstance(interrupt, Terminated) else str(interrupt) or "interrupted"
    print(f"zoo: {said}", file=sys.stderr)
    sys.exit(128 + number)


def _fail(message: str) -> None:
    print(f"zoo: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``zoo`` command; ``arguments`` are those of the process by default."""
    guarded(lambda: sys.exit(app(arguments, prog_name="zoo", standalone_mode=False)))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"zoo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Aligned columns, plain text: it pipes well, and rich need not load."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="Shell wildcards, such as 'tabular/*'.")] = "*",
    modality: Annotated[str | None, typer.Option(help="tabular, timeseries, image or text.")] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only what can be loaded.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List generator families and pretrained generators."""
    from zoo.registry import index, list_generators, list_pretrained, summary

    families = [] if pretrained else list_generators(pattern, modality)
    loadable = list_pretrained(pattern if pretrained else "*", modality)
    if as_json:
        print(json.dumps({"families": families, "pretrained": loadable}, indent=1))
        return
    known = index()
    if pretrained:
        rows = [
            (n, _size(known[n]["bytes"]) if n in known else "", known.get(n, {}).get("headline", "")) for n in loadable
        ]
        _some("pretrained generator", pattern, rows, list_pretrained())
        _table(("pretrained", "size", "measured"), rows)
        return
    _some("family", pattern, families, list_generators())
    by_family = []
    for name in families:
        of_it = [n.split("/")[2] for n in loadable if n.rsplit("/", 1)[0] == name]
        by_family.append((name, ", ".join(of_it) or "-", summary(name)))
    _table(("family", "pretrained on", "what"), by_family)


def _some(what: str, pattern: str, found: Collection[Any], known: Iterable[str]) -> None:
    if not found and pattern != "*":
        raise UnknownNameError(f"no {what} matches {pattern!r}; {nearest(pattern, known)}")


def _size(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{max(1, round(n / 1e3))} kB"


@app.command()
def info(name: Annotated[str, typer.Argument(help="Family, artifact, folder or Hub repository.")]) -> None:
    """Show what is known of a family or a pretrained generator."""
    from zoo.registry import info as registry_info

    known = registry_info(name)
    print(f"{known['name']} - {known['summary']}\n")
    print(known["doc"], "\n")
    print("capabilities:", ", ".join(known["capabilities"]) or "sampling only")
    for title, key in (("configuration", "config"), ("sampling options", "options"), ("training", "training")):
        if known.get(key):
            print(f"{title}:")
            for field, value in known[key].items():
                shown = f"{value['default']!r}: {value['doc']}" if key == "options" else repr(value)
                print(f"  {field} = {shown}")
    if known.get("metrics"):
        print("measured:")
        for score in known["metrics"].get("scores", []):
            print(f"  {score['name']} = {score['value']}")
    if "folder" in known:
        print(f"folder: {known['folder']} ({_size(known['bytes'])})")


@app.command()
def datasets(
    pattern: Annotated[str, typer.Argument(help="Shell wildcards.")] = "*",
    modality: Annotated[str | None, typer.Option(help="tabular, timeseries, image or text.")] = None,
) -> None:
    """List the data sets that recipes name."""
    from zoo.data.catalog import dataset_info, list_datasets

    rows = []
    for name in list_datasets(pattern, modality):
        known = dataset_info(name)
        rows.append((name, known.modality, known.licence, known.description.split(". ")[0]))
    _some("data set", pattern, rows, list_datasets())
    _table(("data set", "modality", "licence", "what"), rows)


@app.command()
def recipes(pattern: Annotated[str, typer.Argument(help="Shell wildcards.")] = "*") -> None:
    """List the recipes."""
    from fnmatch import fnmatchcase

    from zoo.recipe import list_recipes
    from zoo.registry import first_line

    known = list_recipes()
    rows = [(name, first_line(path)) for name, path in known.items() if fnmatchcase(name, pattern)]
    _some("recipe", pattern, rows, known)
    _table(("recipe", "what"), rows)


@app.command()
def cp(
    name: Annotated[str, typer.Argument(help="A recipe's name (zoo recipes lists them).")],
    destination: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
) -> None:
    """Copy a recipe, to change it."""
    from zoo.atomic import atomic_file
    from zoo.recipe import find_recipe

    source = find_recipe(name)
    target = destination / source.name if destination.is_dir() else destination
    if target.suffix != ".py":
        raise DataError(f"{target} must end in .py, as a recipe does")
    if target.exists():
        raise DataError(f"{target} exists; choose another name")
    with atomic_file(str(target)) as temporary:
        Path(temporary).write_bytes(source.read_bytes())
    print(f"wrote {target}; run it with: python {target} --help")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A recipe's name, or the path of a recipe file.")],
) -> None:
    """Run a recipe; further arguments are its own (zoo train NAME --help shows them)."""
    if name in ("-h", "--help"):
        print(
            "usage: zoo train NAME [--help] [FIELDS]\n\nRuns a recipe; zoo recipes lists the names. FIELDS are the "
            "recipe's own, for instance --train.epochs 5;\nzoo train NAME --help shows them with their defaults."
        )
        return
    from zoo.recipe import load_recipe

    load_recipe(name).run_arguments(list(context.args))


def _generator(cls: Any, settings: list[str]) -> "Generator":
    """Build a family from ``field=value`` settings; values are JSON where they parse as JSON, else text."""
    from zoo.config import build

    config = {}
    for setting in settings:
        field, sign, value = setting.partition("=")
        if not sign:
            raise ConfigError(f"--set {setting!r} must be field=value")
        config[field] = json_or_text(value)
    return build(cls, config, owner=cls.name)


@app.command()
def fit(
    family: Annotated[str, typer.Argument(help="modality/family (zoo list shows them).")],
    data: Annotated[
        str, typer.Argument(help="A table (CSV, Parquet, Arrow, JSON lines, SQL), or a folder of images or of tables.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the artifact.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="field=value of the family; repeat.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop training after so long.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same generator.")] = 0,
    private: Annotated[bool, typer.Option("--private", help="Keep extremes and rare values out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an artifact that is there.")] = False,
    schema: Annotated[Path | None, typer.Option(help="YAML that zoo schema wrote, edited.")] = None,
    table: Annotated[str | None, typer.Option(help="Table of an SQL database.")] = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Of Parquet, draw so many rows; by default what a quarter of the memory takes.")
    ] = None,
) -> None:
    """Fit a family on your own data and save it."""
    from zoo.artifact import check_target
    from zoo.data.source import read_source
    from zoo.registry import family as find_family
    from zoo.training.config import TrainConfig

    generator = _generator(find_family(family), settings or [])
    config = TrainConfig(epochs=epochs, max_minutes=max_minutes)
    check_target(output, overwrite=overwrite)  # now, and not after an hour of training
    asked: Any = {"table": table, "overrides": schema, "max_rows": max_rows, "seed": seed}
    native, found = read_source(data, generator.native or generator.modality, **asked)
    generator.fit(native, schema=found.replace(private=True) if private else found, seed=seed, train=config)
    generator.save(output)
    print(f"fitted {family} on {generator.form.length(native):,} samples; saved {output}")
    print(f"next: zoo sample {output} -n 1000 -o {'synthetic' if generator.native else 'synthetic.parquet'}")


@app.command()
def sample(
    name: Annotated[str, typer.Argument(help="A pretrained generator, a folder or a Hub repository.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="File, replaced if there (the suffix decides the format), folder/ of parts or tables, SQL address.",
        ),
    ],
    n: Annotated[int, typer.Option("-n", help="How many samples.")] = 1000,
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", "-c", help="column=value, column=a,b or column=low..high; repeat."),
    ] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option("--balance", help="Even classes of a column, or column=value:share,value:share; repeat."),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option("--constraint", help="Rule such as 'gain >= loss', 'unique(email)'; repeat."),
    ] = None,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Combine conditions that never occurred together in training.")
    ] = False,
    option: Annotated[list[str] | None, typer.Option("--option", help="name=value of the family; repeat.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same file.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag on the Hub.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    table: Annotated[str | None, typer.Option(help="New table of an SQL database.")] = None,
    partition_rows: Annotated[int | None, typer.Option(help="Samples of each Parquet file of a folder.")] = None,
) -> None:
    """Make samples and write them to a file, a folder of Parquet files (a stopped run goes on) or a database."""
    from zoo.data.export import export
    from zoo.registry import load

    options = options_of(option or [])
    generator = load(name, revision, device=device)
    conditions = conditions_of(condition or [], generator.schema) or None
    if constraint:
        options["constraints"] = constraint
    if allow_unseen:
        options["allow_unseen"] = True
    if balance:
        options["balance"] = balance_of(balance, generator.schema)
    asked: Any = {"conditions": conditions, "seed": seed, "options": options}
    kept = export(generator, n, output, **asked, table=table, partition_rows=partition_rows)
    print(f"wrote {n - kept:,} samples to {output}" + (f"; {kept:,} were there already" if kept else ""))


app.command("schema")(schema_command)
app.command("recommend")(recommend_command)
app.command()(evaluate)
app.command()(compare)


@app.command()
def push(
    name: Annotated[str, typer.Argument(help="A pretrained generator or a folder.")],
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to.")] = None,
) -> None:
    """Upload an artifact to the Hugging Face Hub."""
    from zoo.hub import push_folder
    from zoo.registry import find

    commit = push_folder(find(name)[0], repository, private=private, revision=revision)
    print(f"pushed {name} to {repository} at {commit}")
    print(f'load it with: zoo.load("{repository}", revision="{commit}")')


@app.command("new-family")
def new_family(
    name: Annotated[str, typer.Argument(help="modality/name in snake_case.")],
    root: Annotated[Path, typer.Option(help="Top of the checkout.")] = Path("."),
) -> None:
    """Write the file and the recipe of a new family, and nothing else."""
    from zoo.scaffold import scaffold

    for path in scaffold(name, root):
        print(f"wrote {path}")
    print(f"next: python -m pytest tests -k {name.split('/')[-1]}")


if __name__ == "__main__":
    main()
