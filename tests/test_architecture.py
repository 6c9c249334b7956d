"""Arrows point inwards: what a room may import, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "zoo"

# Rooms from the inside outwards; a module may import its own room and those before it.
LAYERS = [
    {"zoo.errors", "zoo.config", "zoo.say", "zoo.random", "zoo.atomic", "zoo.terminate", "zoo.threads"},
    {"zoo.schema", "zoo.schema_yaml", "zoo.statistics"},
    {"zoo.conditions", "zoo.capabilities"},
    {"zoo.data"},
    {"zoo.constraints", "zoo.occurred", "zoo.balance"},
    {"zoo.training"},
    {"zoo.artifact"},
    {"zoo.rejection", "zoo.sampling", "zoo.imputing"},
    {"zoo.generator"},
    {"zoo.nn"},
    {"zoo.generators"},
    {"zoo.registry", "zoo.hub"},
    {"zoo.evaluation"},
    {"zoo.pictures", "zoo.card"},
    {"zoo.recipe", "zoo.recommend"},
    {"zoo.scaffold", "zoo.cli", "zoo.cli_schema", "zoo.cli_arguments", "zoo.cli_evaluate"},
    {
        "zoo.testing",
        "zoo._testing_data",
        "zoo._testing_forgery",
        "zoo._testing_promises",
        "zoo._testing_control",
    },
]
# Upward imports that are wanted, each inside a function and each with its reason.
ALLOWED = {
    ("zoo.generator", "zoo.registry"),  # an undeclared capability names the families that have it; push_to_hub
    ("zoo.artifact", "zoo.generator"),  # types only
    ("zoo.data", "zoo.generator"),  # types only: blocks to datasets and files
    ("zoo.sampling", "zoo.generator"),  # types only: blocks are made by a generator
    ("zoo.imputing", "zoo.generator"),  # types only
    ("zoo.data", "zoo.hub"),  # one definition of offline mode
    ("zoo.data", "zoo.registry"),  # one definition of the home folder
    ("zoo.generators", "zoo.registry"),  # a family that is built of others asks for them by name
    ("zoo.recipe", "zoo.cli"),  # errors of a recipe run directly look like those of zoo train
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = "zoo." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        yield name.removesuffix(".__init__"), path


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Names that a file imports, and whether at the top level (outside functions and TYPE_CHECKING)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in top


def room(name: str) -> str | None:
    rooms = [r for layer in LAYERS for r in layer if name == r or name.startswith(r + ".")]
    return max(rooms, key=len) if rooms else None


def layer(room_name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if room_name in names)


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_arrows(name: str, path: Path) -> None:
    own = room(name)
    if name == "zoo":
        return
    assert own is not None, f"{name} lives in no room; add it to ARCHITECTURE.md and here"
    for target, at_top in imported(path):
        other = room(target)
        if other is None or other == own:
            continue
        upward = layer(other) > layer(own)
        assert not upward or ((own, other) in ALLOWED and not at_top), f"{name} imports {target}: against the arrows"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_no_family_imports_another_and_evaluation_knows_none(name: str, path: Path) -> None:
    for target, _ in imported(path):
        if target.startswith("zoo.generators."):
            assert target.startswith(name), f"{name} imports {target}"


# What a light module may not import at the top level: these take seconds to load.
HEAVY = ("torch", "pytorch_lightning", "transformers", "datasets", "diffusers", "sklearn", "matplotlib", "accelerate")
LIGHT = [
    "zoo",
    "zoo.cli",
    "zoo.registry",
    "zoo.recipe",
    "zoo.generator",
    "zoo.sampling",
    "zoo.constraints",
    "zoo.occurred",
    "zoo.schema",
    "zoo.conditions",
    "zoo.artifact",
    "zoo.training.config",
    "zoo.data.form",
    "zoo.data.catalog",
    "zoo.data.tabular",
    "zoo.generators.tabular.gaussian_copula",
    "zoo.evaluation",
]


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_nothing_heavy(name: str) -> None:
    path = dict(modules())[name]
    heavy = [t for t, at_top in imported(path) if at_top and t.split(".")[0] in HEAVY]
    assert heavy == []


def test_sampling_does_not_import_the_trainer() -> None:
    for name, path in modules():
        if name.startswith("zoo.generators."):
            top = [t for t, at_top in imported(path) if at_top]
            assert not any(t.split(".")[0] in ("pytorch_lightning", "accelerate") for t in top), name


def test_no_pickle() -> None:
    for name, path in modules():
        for target, _ in imported(path):
            assert target.split(".")[0] not in ("pickle", "joblib", "dill", "cloudpickle"), f"{name} imports {target}"


def test_only_the_command_line_prints() -> None:
    for name, path in modules():
        if name in ("zoo.cli", "zoo.cli_schema", "zoo.cli_arguments", "zoo.cli_evaluate"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            prints = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            assert not prints, f"{name}:{node.lineno} prints"


def test_files_are_short() -> None:
    long = {n: len(p.read_text(encoding="utf-8").splitlines()) for n, p in modules()}
    assert {n: k for n, k in long.items() if k > 450} == {}


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08 and then the time of day"])
def test_no_test_is_named_by_bytes(content: bytes, request: pytest.FixtureRequest) -> None:
    """Bytes in a test's name may differ from one worker to the next, which then refuse to run together."""
    assert request.node.name.endswith(f"[content-of-{len(content)}]")
    assert not [item.nodeid for item in request.session.items if "\\x" in item.nodeid]
