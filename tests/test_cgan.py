"""The conditional GAN: what it learns, at any size, and how it is sampled and trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo._testing_data import tiny_data
from zoo.data.image import ImageBatch
from zoo.errors import ConditionError, ConfigError, OptionError
from zoo.generators.image.cgan import CGAN, _augment, _draw_latent, _levels

SMALL: dict[str, Any] = {"width": 8, "latent": 8}


def quick(**limits: Any) -> zoo.TrainConfig:
    return zoo.TrainConfig(progress=False, **limits)


@pytest.fixture(scope="module")
def fitted() -> CGAN:
    """Learned from images of which class k has row 2 k + 1 bright."""
    train = quick(max_steps=150, batch_size=24, learning_rate=2e-3, ema_decay=0.95)
    return CGAN(**SMALL).fit(tiny_data("image"), seed=0, train=train)


def brightest_row(images: ImageBatch) -> np.ndarray:
    return images.pixels.mean(axis=(2, 3)).argmax(axis=1)  # type: ignore[no-any-return]


def test_each_class_gets_its_bright_row(fitted: CGAN) -> None:
    made = fitted.sample(120, seed=1)
    assert made.labels is not None and set(made.labels.tolist()) == {0, 1, 2}
    right = brightest_row(made) == 2 * made.labels + 1
    assert right.mean() > 0.9, f"{right.mean():.2f} of the samples have the row of their class"
    rows = made.pixels.mean(axis=(2, 3))  # (n, H)
    bright = rows[np.arange(120), 2 * made.labels + 1]
    dark = (rows.sum(axis=1) - bright) / 7
    assert abs(bright.mean() - 210) < 45 and abs(dark.mean() - 30) < 35  # real: 180 more than 0 to 60


def test_conditions_by_name_code_and_list(fitted: CGAN) -> None:
    for asked, row in (("middle", 3), (1, 3), ("bottom", 5)):
        made = fitted.sample(40, conditions={"label": asked}, seed=2)
        assert made.classes == ("top", "middle", "bottom")
        assert (brightest_row(made) == row).mean() > 0.9, asked
    either = fitted.sample(60, conditions={"label": ["top", 2]}, seed=3)
    assert either.labels is not None and set(either.labels.tolist()) == {0, 2}
    with pytest.raises(ConditionError, match="'left' is no category"):
        fitted.sample(1, conditions={"label": "left"})


def test_a_class_without_images_is_never_drawn_and_cannot_be_asked() -> None:
    tiny = tiny_data("image")
    some = tiny[np.asarray(tiny.labels) != 1]
    made = CGAN(**SMALL).fit(some, train=quick(max_steps=2))
    assert 1 not in made.sample(60, seed=0).labels
    with pytest.raises(ConditionError, match="never occurred"):
        made.sample(1, conditions={"label": "middle"})


def test_truncation_makes_samples_more_alike(fitted: CGAN) -> None:
    def spread(**options: Any) -> float:
        return float(fitted.sample(100, conditions={"label": 0}, seed=4, **options).pixels.std(axis=0).mean())

    assert spread(truncation=0.2) < 0.6 * spread()
    assert spread(truncation=10.0) == pytest.approx(spread(), rel=0.3)
    for wrong in (0, -1, 11, "much"):
        with pytest.raises(OptionError, match="truncation"):
            fitted.sample(1, truncation=wrong)


@pytest.mark.parametrize("truncation", [0.1, 1.0, 10.0])
def test_truncated_noise_is_normal_within_its_bounds(truncation: float) -> None:
    from scipy.stats import kstest, truncnorm

    noise = _draw_latent(500, 20, truncation, torch.Generator().manual_seed(0)).numpy()
    assert np.abs(noise).max() <= truncation
    assert kstest(noise.ravel(), truncnorm(-truncation, truncation).cdf).pvalue > 0.001


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (17, 1, 1), (13, 30, 3), (15, 16, 1)])
def test_any_size_is_made(shape: tuple[int, int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, *shape), dtype=np.uint8)
    made = CGAN(**SMALL).fit((pixels, np.arange(9) % 2), train=quick(max_steps=5, batch_size=4))
    assert made.sample(3, seed=0).pixels.shape == (3, *shape)
    made.save(tmp_path / "a")
    assert made.form.equal(zoo.load(str(tmp_path / "a")).sample(3, seed=0), made.sample(3, seed=0))


def test_levels_halve_rounding_up() -> None:
    assert _levels(28, 28, 8) == [(7, 7, 16), (14, 14, 8)], "no features at the size of a larger image"
    assert _levels(9, 15, 8) == [(3, 4, 32), (5, 8, 16), (9, 15, 8)]
    assert _levels(1, 1, 8) == [(1, 1, 16)]
    assert [d for _, _, d in _levels(500, 1, 2)] == [16, 16, 16, 16, 8, 4, 2]


def test_augmented_images_are_shifted_and_let_gradients_through() -> None:
    torch.manual_seed(0)
    ramp = (torch.arange(8.0).repeat(200, 1, 8, 1) + 1).requires_grad_(True)  # columns 1 to 8
    seen = _augment(ramp)
    assert {int(v) for v in seen[:, 0, 0, 3].unique()} == {3, 4, 5}, "one pixel of eight, to either side"
    assert int(seen.min()) == 1 and int(seen.max()) == 8, "edges are repeated"
    seen.sum().backward()
    assert ramp.grad is not None and float(ramp.grad.sum()) == 200 * 64
    assert torch.equal(_augment(ramp[:, :, :3, :3]), ramp[:, :, :3, :3]), "an eighth of three pixels is none"


def test_a_turn_of_both_is_one_step_and_ema_is_of_the_generator() -> None:
    data = tiny_data("image")
    made = CGAN(**SMALL).fit(data, train=quick(epochs=2, batch_size=16))
    assert made.training == {"epochs": 2, "steps": 6, "stopped_by": "epochs"}
    last = CGAN(**SMALL).fit(data, train=quick(max_steps=6, batch_size=16, ema_decay=0.0))
    mean = CGAN(**SMALL).fit(data, train=quick(max_steps=6, batch_size=16, ema_decay=0.999))
    first = CGAN(**SMALL).fit(data, train=quick(max_steps=1, batch_size=16, ema_decay=0.999))

    def distance(a: CGAN, b: CGAN) -> float:
        return sum(float(np.abs(a._arrays()[k].astype(float) - v).sum()) for k, v in b._arrays().items())

    assert 0 < distance(mean, first) < 0.1 * distance(last, first), "the average moves slowly away from its start"


def test_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = tiny_data("image")

    def fit(folder: str, **limits: Any) -> dict[str, np.ndarray]:
        train = quick(batch_size=10, checkpoint_dir=str(tmp_path / folder), **limits)
        return CGAN(**SMALL).fit(data, seed=3, train=train)._arrays()

    whole = fit("whole", max_steps=11)
    fit("parts", max_steps=6)  # in the middle of the second epoch, and between two gradient penalties
    resumed = fit("parts", max_steps=11, resume=True)
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(ConfigError, match="patience has nothing to watch"):
        CGAN(**SMALL).fit(tiny_data("image"), train=quick(epochs=1, patience=2))
    with pytest.raises(ConfigError, match="width"):
        CGAN(width=1)


def test_counts_that_do_not_fit_are_refused(fitted: CGAN) -> None:
    other = CGAN(**SMALL)
    other._schema = fitted.schema
    for counts in ([1, 2], [0, 0, 0], [-1, 1, 1]):
        with pytest.raises(ValueError, match="counts"):
            other._set_state({"counts": counts})


def test_with_augmentation_and_without_penalty_it_trains_too() -> None:
    made = CGAN(**SMALL, augment=True, penalty=0).fit(tiny_data("image"), train=quick(max_steps=4))
    assert len(made.sample(2, seed=0)) == 2
