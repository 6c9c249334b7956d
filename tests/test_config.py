from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from zoo.config import Range, build, check_config
from zoo.errors import ConfigError, nearest


@dataclass(kw_only=True)
class Settings:
    width: Annotated[int, Range(1, 10)] = 3
    rate: Annotated[float | None, Range(0, 1, open_low=True)] = None
    layers: tuple[Annotated[int, Range(1)], ...] = (1, 2)
    mode: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        check_config(self, owner="settings")


def test_values_take_their_normal_form() -> None:
    settings = Settings(rate=1, layers=[3, 4])  # type: ignore[arg-type]
    assert (settings.rate, type(settings.rate)) == (1.0, float)
    assert settings.layers == (3, 4)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("width", 0, "1 to 10"),
        ("width", 11, "1 to 10"),
        ("width", 2.5, "int"),
        ("width", True, "int"),
        ("width", "3", "int"),
        ("rate", 0.0, "above 0"),
        ("rate", float("nan"), "above 0"),
        ("layers", (0,), "at least 1"),
        ("layers", "12", "sequence"),
        ("mode", "c", "not valid"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(**{field: value})
    assert field in str(caught.value)
    assert words in str(caught.value)


def test_an_unknown_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        build(Settings, {"widht": 2}, owner="settings")


def test_nearest_names() -> None:
    assert nearest("agee", ["age", "income"]) == "did you mean 'age'?"
    assert "'age', 'income'" in nearest("zzz", ["age", "income"])
    assert nearest("x", []) == "there are none"
