"""Batches from tensors: every row once an epoch, shares of processes, positions."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import DataError, TrainingError
from zoo.training import TensorDataModule, TensorLoader, TrainConfig

ROWS = st.integers(1, 60)
BATCH = st.integers(1, 25)
SEED = st.integers(0, 2**63 - 1)
DEVICE = torch.device("cpu")


def make(rows: int, batch: int, seed: int = 0, **options: bool) -> TensorLoader:
    return TensorLoader([torch.arange(rows), torch.arange(rows).float()[:, None]], batch, seed=seed, **options)


def epoch(loader: TensorLoader) -> list[list[int]]:
    return [ids.tolist() for ids, _ in loader]


@given(rows=ROWS, batch=BATCH, seed=SEED, number=st.integers(0, 5), shuffle=st.booleans())
def test_each_row_once_an_epoch(rows: int, batch: int, seed: int, number: int, shuffle: bool) -> None:
    loader = make(rows, batch, seed, shuffle=shuffle)
    loader.set_epoch(number)
    batches = epoch(loader)
    assert sorted(itertools.chain(*batches)) == list(range(rows))
    assert len(batches) == len(loader)
    assert all(len(b) == batch for b in batches[:-1]) and 1 <= len(batches[-1]) <= batch
    assert epoch(loader) == batches  # the order is a function of seed and epoch alone
    if not shuffle:
        assert list(itertools.chain(*batches)) == list(range(rows))


@given(rows=ROWS, batch=BATCH, seed=SEED)
def test_rows_stay_together(rows: int, batch: int, seed: int) -> None:
    for ids, values in make(rows, batch, seed):
        assert torch.equal(ids.float()[:, None], values)


@given(rows=ROWS, batch=BATCH)
def test_drop_last_leaves_out_only_the_short_batch(rows: int, batch: int) -> None:
    loader = make(rows, batch, drop_last=True)
    batches = epoch(loader)
    assert len(batches) == len(loader) == max(1, rows // batch)
    assert all(len(b) == min(rows, batch) for b in batches)


@given(rows=ROWS, batch=BATCH, world=st.integers(1, 5), seed=SEED, shuffle=st.booleans())
def test_processes_share_the_rows(rows: int, batch: int, world: int, seed: int, shuffle: bool) -> None:
    shares = []
    for rank in range(world):
        loader = make(rows, batch, seed, shuffle=shuffle)
        loader.distribute(DEVICE, rank, world)
        shares.append(epoch(loader))
        assert len(shares[-1]) == len(loader)
    counts = [len(list(itertools.chain(*share))) for share in shares]
    assert counts == [-(-rows // world)] * world  # no process waits for another
    seen = list(itertools.chain(*itertools.chain(*shares)))
    assert set(seen) == set(range(rows))
    assert len(seen) - rows < world  # no more padding than an equal length needs
    # The same order as one process has, dealt out in turn.
    interleaved = list(itertools.chain(*zip(*(itertools.chain(*s) for s in shares), strict=True)))
    assert interleaved[:rows] == list(itertools.chain(*epoch(make(rows, batch, seed, shuffle=shuffle))))


@given(rows=ROWS, batch=BATCH, seed=SEED, data=st.data())
def test_goes_on_from_a_state(rows: int, batch: int, seed: int, data: st.DataObject) -> None:
    loader = make(rows, batch, seed)
    loader.set_epoch(2)
    whole = epoch(loader)
    stop = data.draw(st.integers(1, len(whole)))
    for _ in itertools.islice(loader, stop):
        pass
    fresh = make(rows, batch, seed)
    fresh.load_state_dict(loader.state_dict())
    assert fresh.state_dict()["position"] == stop % len(whole)  # saved again before it moves: nothing is lost
    fresh.set_epoch(2 if stop < len(whole) else 3)
    rest = epoch(fresh)
    loader.set_epoch(3)
    following = epoch(loader)
    assert rest == (whole[stop:] if stop < len(whole) else following)
    fresh.set_epoch(3)
    assert epoch(fresh) == following


@given(number=st.integers(0, 50), seed=SEED)
@settings(max_examples=20)
def test_orders_differ_between_epochs_and_seeds(number: int, seed: int) -> None:
    loader = make(200, 7, seed)
    assert not torch.equal(loader.order(number), loader.order(number + 1))
    assert not torch.equal(loader.order(number), make(200, 7, (seed + 1) % 2**63).order(number))
    assert not torch.equal(make(200, 7, 0).order(1), make(200, 7, 1).order(0))


def test_global_random_state_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch(make(50, 8, 4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert epoch(make(50, 8, 4)) == first


@pytest.mark.parametrize(
    ("field", "other"),
    [("num_rows", {"rows": 31}), ("batch_size", {"batch": 5}), ("seed", {"seed": 9}), ("world_size", {})],
)
def test_state_of_other_settings_is_refused(field: str, other: dict[str, int]) -> None:
    loader = make(**{"rows": 30, "batch": 4, "seed": 0, **other})
    if field == "world_size":
        loader.distribute(DEVICE, 0, 2)
    with pytest.raises(TrainingError, match=rf"made with {field}=.*resume with the same settings"):
        make(30, 4).load_state_dict(loader.state_dict())


def test_unusable_tensors_are_refused() -> None:
    with pytest.raises(DataError, match=r"one common length, not \[2, 3\]"):
        TensorLoader([torch.zeros(2), torch.zeros(3)], 1)
    with pytest.raises(DataError, match="common length"):
        TensorLoader([], 1)
    with pytest.raises(DataError, match="has no rows"):
        TensorLoader([torch.zeros(0, 3)], 1)
    with pytest.raises(DataError, match="batch_size=0"):
        TensorLoader([torch.zeros(3)], 0)
    with pytest.raises(DataError, match="batch_size is not set"):
        TensorDataModule.from_config([torch.zeros(3)], TrainConfig())


@given(rows=ROWS, fraction=st.floats(0.01, 0.9), seed=st.integers(0, 2**63 - 1))
def test_held_out_rows_are_the_rest(rows: int, fraction: float, seed: int) -> None:
    train = TrainConfig(batch_size=7, patience=2, validation_fraction=fraction)
    data = TensorDataModule.from_config([torch.arange(rows)], train, seed=seed)
    kept = [i for (b,) in data.train_dataloader() for i in b.tolist()]
    held = data.val_dataloader()
    out = [] if held is None else [i for (b,) in held for i in b.tolist()]
    assert sorted(kept + out) == list(range(rows))
    assert len(out) == min(round(rows * fraction), rows - 1)
    assert (held is None) == (not out)


def test_nothing_is_held_out_without_patience() -> None:
    data = TensorDataModule.from_config([torch.arange(10)], TrainConfig(batch_size=3))
    assert data.val_dataloader() is None
    assert data.train_dataloader().num_rows == 10
