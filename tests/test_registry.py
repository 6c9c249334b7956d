import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from independent import Independent

import zoo
from zoo import registry
from zoo.errors import ArtifactError, ConfigError, NotReadyError, UnknownNameError, UnsupportedCapability
from zoo.schema import MODALITIES

ROOT = Path(__file__).parents[1]


def test_every_file_is_a_family_and_every_family_a_file() -> None:
    files = {
        p.relative_to(ROOT / "zoo/generators").with_suffix("").as_posix()
        for p in (ROOT / "zoo/generators").glob("*/*.py")
        if not p.name.startswith("_")
    }
    assert files == set(zoo.list_generators())
    for name in files:
        cls = registry.family(name)
        assert cls.name == name
        assert cls.modality == name.split("/")[0] in MODALITIES


def test_listing_by_pattern_and_modality() -> None:
    everything = zoo.list_generators()
    assert {n.split("/")[0] for n in everything} == set(MODALITIES)
    assert zoo.list_generators("tabular/*") == zoo.list_generators(modality="tabular")
    assert zoo.list_generators("nothing*") == []
    with pytest.raises(UnknownNameError, match="did you mean 'tabular'"):
        zoo.list_generators(modality="tabluar")


def test_creating() -> None:
    made = zoo.create("tabular/tvae", latent=8)
    assert made.config["latent"] == 8
    assert not made.is_ready
    with pytest.raises(UnknownNameError, match="did you mean 'tabular/tvae'"):
        zoo.create("tabular/tave")
    with pytest.raises(ConfigError, match="did you mean 'latent'"):
        zoo.create("tabular/tvae", latnet=8)


def test_importing_and_listing_load_no_torch() -> None:
    code = (
        "import sys, zoo\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules), 'import zoo'\n"
        "zoo.list_generators(); zoo.list_pretrained()\n"
        "assert not {'torch', 'pandas'} & set(sys.modules), 'listing'\n"
        "zoo.create('tabular/gaussian_copula')\n"
        "assert 'torch' not in sys.modules, 'creating a copula'\n"
        "import zoo.cli\n"
        "assert 'torch' not in sys.modules, 'zoo.cli'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def save_one(folder: Path) -> Independent:
    made = Independent().fit(pd.DataFrame({"x": np.arange(9.0)}))
    made.save(folder)
    return made


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that offers ``Independent`` by an entry point."""
    info = tmp_path / "site" / "third_party-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo.generators]\ntabular/independent = independent:Independent\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry._families.cache_clear()
    yield
    registry._families.cache_clear()


@pytest.mark.usefixtures("installed")
def test_third_parties_come_by_entry_points(tmp_path: Path) -> None:
    assert "tabular/independent" in zoo.list_generators("tabular/*")
    assert type(zoo.create("tabular/independent")) is Independent
    made = save_one(tmp_path / "a")
    pd.testing.assert_frame_equal(zoo.load(tmp_path / "a").sample(5, seed=1), made.sample(5, seed=1))
    assert zoo.info("tabular/independent")["config"] == {"quantiles": 21}


@pytest.mark.usefixtures("installed")
def test_lookup_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("ZOO_HOME", str(home))
    with pytest.raises(UnknownNameError, match="no artifact 'tabular/independent/mine'"):
        zoo.load("tabular/independent/mine")
    save_one(home / "tabular/independent/mine")
    assert registry.find("tabular/independent/mine")[0] == home / "tabular/independent/mine"
    assert "tabular/independent/mine" in zoo.list_pretrained("*/independent/*")
    monkeypatch.chdir(tmp_path)
    save_one(tmp_path / "tabular/independent/mine")
    assert registry.find("tabular/independent/mine")[0] == Path("tabular/independent/mine")


def test_a_family_is_no_artifact() -> None:
    with pytest.raises(UnknownNameError, match="is a family"):
        zoo.load("tabular/gaussian_copula")


def test_addresses_by_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    import fsspec

    made = save_one(tmp_path / "a")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "a"), "/bucket/model", recursive=True)
    loaded = zoo.load("memory://bucket/model")
    pd.testing.assert_frame_equal(loaded.sample(5, seed=1), made.sample(5, seed=1))
    with pytest.raises(UnknownNameError, match="no complete artifact"):
        zoo.load("memory://bucket/other")


def test_undeclared_capabilities_name_the_families_that_have_them() -> None:
    with pytest.raises(UnsupportedCapability, match="tabular/gaussian_copula"):
        _ = zoo.create("image/cgan").impute
    assert not hasattr(zoo.create("image/cgan"), "impute")


def test_a_declared_capability_asks_for_a_fit_first() -> None:
    with pytest.raises(NotReadyError, match="tabular/tvae is not ready"):
        _ = zoo.create("tabular/tvae").condition_columns


def test_bundled_artifacts_are_pinned_and_load() -> None:
    index = registry.index()
    assert {n.split("/")[0] for n in index} == set(MODALITIES)
    on_disk = {
        p.parent.relative_to(ROOT / "model_cards").as_posix() for p in (ROOT / "model_cards").rglob("manifest.json")
    }
    assert on_disk == set(index)
    for name in index:
        generator = zoo.load(name)
        made = generator.sample(3, seed=0)
        assert generator.form.length(made) == 3
        generator.form.check(made, generator.schema)
        assert (ROOT / "recipes" / f"{name}.py").is_file()


def test_size_of_the_bundled_artifacts() -> None:
    files = [p for p in (ROOT / "model_cards").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 40e6
    limits = {"tabular": 8e6, "timeseries": 4e6, "image": 12e6, "text": 16e6}
    for modality, limit in limits.items():
        assert sum(p.stat().st_size for p in files if modality in p.parts) < limit, modality


def test_what_lies_here_and_is_no_artifact_is_not_looked_for_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "folder").mkdir(parents=True)
    (tmp_path / "own" / "file.json").write_text("{}")
    for name, word in (("own/folder", "folder"), ("own", "folder"), ("own/file.json", "file")):
        with pytest.raises(ArtifactError, match=rf"{name} is a {word} here, and no artifact"):
            zoo.load(name)
