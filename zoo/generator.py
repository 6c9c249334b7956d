"""The contract: what every generator promises, and the little that a family has to write.

A family subclasses :class:`Generator` (or :class:`Transform`), is a keyword-only dataclass whose fields are its whole
configuration, and writes ``_fit``, ``_sample_block`` and its state. Everything else - checking, blocks and seeds,
streams, Hugging Face data sets, saving and loading - is here, once, and is what ``zoo.testing.check_generator`` tests.
"""

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from zoo.capabilities import CAPABILITY_OF
from zoo.conditions import Conditions
from zoo.config import check_config, coerce
from zoo.data.form import NativeForm, native_form
from zoo.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    NotReadyError,
    OptionError,
    UnsupportedCapability,
    nearest,
)
from zoo.imputing import impute
from zoo.random import check_seed, isolated_rng
from zoo.sampling import BlockMaker, rebatch, recorded, with_controls
from zoo.schema import Schema

if TYPE_CHECKING:
    import os

    import datasets

    from zoo.occurred import Occurred
    from zoo.training.config import TrainConfig


@dataclass(frozen=True)
class Option:
    """A sampling option that a family declares: default, type (with its range) and one line of documentation."""

    default: Any
    annotation: Any
    doc: str


class Component(ABC):  # noqa: B024 - its subclasses Generator and Transform have the abstract methods
    """Anything with a configuration, a state and a place in the registry.

    Subclasses are dataclasses (``@dataclass(kw_only=True, eq=False)``); their fields are checked against their
    annotations at construction. ``__init__`` does no I/O, draws no random number and touches no device.
    """

    name: ClassVar[str] = ""
    """``modality/family``; read from the module's path for the zoo's own families."""
    modality: ClassVar[str] = ""
    native: ClassVar[str] = ""
    """The native form's name where it is not the modality's: ``related`` for related tables."""
    fit_cost: ClassVar[tuple[float, float] | None] = None
    """Time of training with the family's defaults on two cores: seconds for any table, and seconds for each million
    cells; None where nobody has measured it. ``zoo recommend`` reads it."""
    makes_tables: ClassVar[bool] = False
    """Whether the native form is one table, as all control by columns needs."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parts = cls.__module__.split(".")
        if parts[:2] == ["zoo", "generators"] and len(parts) == 4 and not cls.__name__.startswith("_"):
            cls.name = "/".join(parts[2:])
        if not cls.modality and cls.name:
            cls.modality = cls.name.split("/")[0]
        cls.makes_tables = cls.modality == "tabular" and not cls.native

    def __post_init__(self) -> None:
        if not self.name or "__dataclass_fields__" not in vars(type(self)):
            raise ConfigError(
                f"{type(self).__name__} needs a class attribute name = 'modality/family' and the decorator "
                "@dataclass(kw_only=True, eq=False)"
            )
        check_config(self, owner=self.name)
        self._schema: Schema | None = None
        self._ready = False
        self._device = "cpu"
        self._training: dict[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        """The constructor arguments, as plain data."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]

    @property
    def schema(self) -> Schema:
        """What the samples conform to; by default that of the training data."""
        if self._schema is None:
            raise NotReadyError(f"{self.name} has no schema yet; call fit(data) or zoo.load(name) first")
        return self._schema

    @property
    def is_ready(self) -> bool:
        return self._ready

    @property
    def training(self) -> dict[str, Any]:
        """What training recorded: ``steps``, ``epochs``, ``stopped_by``, … Empty for families without steps."""
        return dict(self._training)

    def to(self, device: str) -> Self:
        """Move to a device; families without tensors stay where they are."""
        self._device = str(device)
        return self

    def _require_ready(self) -> None:
        if not self._ready:
            raise NotReadyError(f"{self.name} is not ready; call fit(data) or zoo.load(name) first")

    # State: what an artifact keeps beside the configuration and the schema.

    def _arrays(self) -> dict[str, np.ndarray]:
        """Arrays of the state, written as safetensors."""
        return {}

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`_arrays` gave; called after :meth:`_set_state`."""
        return

    def _state(self) -> dict[str, Any]:
        """The rest of the state, as plain JSON data."""
        return {}

    def _set_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`_state` gave."""
        return

    def save(self, folder: "str | os.PathLike[str]", *, extra: Mapping[str, bytes] | None = None) -> None:
        """Write an artifact folder, atomically: an interrupted save leaves what was there before.

        Parameters
        ----------
        folder
            Where to; an existing artifact there is replaced, any other folder with content is refused.
        extra
            Further files by name (``metrics.json``, ``README.md``, a picture).
        """
        from zoo import artifact

        self._require_ready()
        artifact.save_component(self, folder, extra=extra or {})

    @classmethod
    def load(cls, folder: "str | os.PathLike[str]", *, manifest_sha256: str | None = None) -> Self:
        """Read an artifact of this family; ``zoo.load`` finds the family by itself."""
        from zoo import artifact

        opened = artifact.open_artifact(folder, manifest_sha256=manifest_sha256)
        if opened.family != cls.name:
            raise ArtifactError(f"{folder} holds a {opened.family}, not a {cls.name}; use zoo.load to load any family")
        return artifact.restore_component(cls, opened)

    def __getattr__(self, attribute: str) -> Any:
        # Reached for attributes that do not exist: a capability that the family does not declare; or a declared one,
        # a property, that lacks the state it reads.
        if attribute in CAPABILITY_OF and hasattr(type(self), attribute):
            self._require_ready()
        elif attribute in CAPABILITY_OF:
            from zoo.registry import families_with

            capability = CAPABILITY_OF[attribute]
            able = families_with(capability, modality=self.modality) or families_with(capability)
            instead = f"families that do: {', '.join(able)}" if able else "no registered family does yet"
            raise UnsupportedCapability(f"{self.name} does not declare {capability!r} ({attribute}); {instead}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")


class Generator(Component):
    """Learns from data, then makes more of it.

    A family writes ``_fit``, ``_sample_block`` and its state; it may declare ``options`` and capabilities.
    """

    default_block_size: ClassVar[int] = 1024
    """Block size of newly created generators of this family."""

    options: ClassVar[Mapping[str, Option]] = {}
    """Keyword arguments that ``sample``, ``stream`` and ``to_dataset`` take for this family."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.makes_tables and hasattr(cls, "condition_columns") and not hasattr(cls, "impute"):
            cls.impute = impute  # type: ignore[attr-defined]
        if cls.makes_tables and "update" in vars(cls):
            cls.update = recorded(cls.update)  # type: ignore[attr-defined]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._block_size = self.default_block_size
        self._occurred: Occurred | None = None

    @property
    def block_size(self) -> int:
        """Samples are made in blocks of this size, each seeded by (seed, block number) and made whole, so that the
        batch size of the caller changes no byte. Saved with the artifact."""
        return self._block_size

    @property
    def form(self) -> NativeForm:
        """The operations on this modality's native form."""
        return native_form(self.native or self.modality)

    # What a family writes.

    @abstractmethod
    def _fit(self, data: Any, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any] | None:
        """Learn from native data that conforms to ``self.schema``; return what to record of the training."""

    @abstractmethod
    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> Any:
        """Make one block of ``n`` samples in native form. Identifier columns of tables may be left out."""

    # What a user calls.

    def fit(
        self,
        data: Any,
        *,
        schema: Schema | None = None,
        seed: int = 0,
        train: "TrainConfig | None" = None,
    ) -> Self:
        """Learn from data.

        Parameters
        ----------
        data
            The modality's native form, or a ``datasets.Dataset``. Never changed.
        schema
            Overrides what would be inferred.
        seed
            0 to 2**63 - 1; the same seed gives the same generator.
        train
            Limits and choices of training; families without gradients need nothing of it.

        Returns
        -------
        Self
            The fitted generator. After an error it is what it was before the call.
        """
        from zoo.training.config import TrainConfig

        seed = check_seed(seed)
        if train is not None and not isinstance(train, TrainConfig):
            raise ConfigError(f"train must be a zoo.TrainConfig, not {type(train).__name__}")
        if schema is not None and schema.modality != self.modality:
            raise DataError(f"{self.name} needs a schema of modality {self.modality!r}, not {schema.modality!r}")
        form = self.form
        native = form.coerce(data, schema)
        if schema is None:
            schema = form.infer(native)
        form.check(native, schema)
        parts = [schema, *schema.tables.values()]
        if any(part.private or any(column.sensitive for column in part) for part in parts):
            native, schema = form.protect(native, schema)
        before = dict(self.__dict__)
        try:
            self._schema, self._ready, self._occurred = schema, False, None
            with isolated_rng():
                training = self._fit(
                    native, np.random.default_rng(np.random.SeedSequence(seed)), train or TrainConfig()
                )
            self._training = dict(training or {})
            if self.makes_tables:
                from zoo.occurred import Occurred

                self._occurred = Occurred.learn(native, schema)
            self._ready = True
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def sample(
        self,
        n: int,
        *,
        conditions: Any = None,
        balance: Any = None,
        constraints: Any = None,
        allow_unseen: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """Make exactly ``n`` samples in the modality's native form.

        Parameters
        ----------
        n
            How many; 0 gives an empty native form.
        conditions
            What samples are to be, see :mod:`zoo.conditions`.
        balance
            Columns whose classes come evenly, or in given shares, see :func:`zoo.balance.parse_balance`.
        constraints
            Rules that each row of a table fulfils, see :mod:`zoo.constraints`.
        allow_unseen
            Whether conditions may be combined that no training rows fulfilled together, see :mod:`zoo.occurred`.
        seed
            The same seed gives the same bytes, in any process; None draws a fresh one.
        **options
            What the family declares in ``options``.
        """
        options = with_controls(options, balance, constraints, allow_unseen)
        return self.form.concat(list(self._sized_blocks(n, conditions, seed, options)))

    def stream(
        self,
        *,
        batch_size: int,
        conditions: Any = None,
        balance: Any = None,
        constraints: Any = None,
        allow_unseen: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Make samples without end, ``batch_size`` at a time, holding no more than a block and a batch."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise OptionError(f"batch_size={batch_size!r} must be a whole number of at least 1")
        options = with_controls(options, balance, constraints, allow_unseen)
        blocks = self._blocks(None, conditions, seed, options)  # checks the arguments now, not at the first batch
        return rebatch(self.form, blocks, int(batch_size))

    def _sized_blocks(self, n: int, conditions: Any, seed: int | None, options: Mapping[str, Any]) -> Iterator[Any]:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise OptionError(f"n={n!r} must be a whole number of at least 0")
        return self._blocks(int(n), conditions, seed, options)

    def _blocks(self, n: int | None, conditions: Any, seed: int | None, options: Mapping[str, Any]) -> Iterator[Any]:
        """Check the arguments at once; then yield blocks 0, 1, …, the last one cut to make n samples."""
        make = BlockMaker(self, n, conditions, seed, options, ordered=n is not None)

        def blocks() -> Iterator[Any]:
            if n is None:
                yield from map(make, itertools.count())
                return
            for index in range(max(1, -(-n // self.block_size))):
                yield make(index, n - index * self.block_size)

        return blocks()

    def _block_maker(self, n: int | None, conditions: Any, seed: int | None, options: Mapping[str, Any]) -> BlockMaker:
        """Makes blocks in any order: of a function of block number and, if fewer samples are needed, their number."""
        return BlockMaker(self, n, conditions, seed, options)

    def _check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        for name in options:
            if name not in self.options:
                known = nearest(name, self.options) if self.options else "it takes none"
                raise OptionError(f"{self.name} has no sampling option {name!r}; {known}")
        checked = {}
        for name, option in self.options.items():
            try:
                checked[name] = coerce(options.get(name, option.default), option.annotation, name)
            except ConfigError as error:
                raise OptionError(f"{self.name}: {error}") from error
        return checked

    def to_dataset(
        self,
        n: int,
        *,
        conditions: Any = None,
        balance: Any = None,
        constraints: Any = None,
        allow_unseen: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> "datasets.Dataset":
        """``n`` samples as a Hugging Face ``datasets.Dataset`` with the feature types of the schema."""
        from zoo.data.hf import make_dataset

        return make_dataset(self, n, conditions, seed, with_controls(options, balance, constraints, allow_unseen))

    def to_iterable_dataset(
        self,
        n: int | None = None,
        *,
        conditions: Any = None,
        balance: Any = None,
        constraints: Any = None,
        allow_unseen: bool = False,
        seed: int | None = None,
        **options: Any,
    ) -> "datasets.IterableDataset":
        """The same as a ``datasets.IterableDataset`` that never holds more than a block.

        Its shards are blocks: across the workers of a ``DataLoader`` and across ranks
        (``datasets.distributed.split_dataset_by_node``) no sample repeats. Without ``n`` it does not end.
        """
        from zoo.data.hf import make_iterable_dataset

        return make_iterable_dataset(
            self, n, conditions, seed, with_controls(options, balance, constraints, allow_unseen)
        )

    def push_to_hub(self, repo_id: str, *, private: bool = False, revision: str | None = None) -> str:
        """Upload the artifact to the Hugging Face Hub; returns the commit that pins it."""
        from zoo.registry import push

        return push(self, repo_id, private=private, revision=revision)


class Transform(Component):
    """Real data in, safe or multiplied data out (masking, entity cloning)."""

    @abstractmethod
    def transform(self, data: Any, *, secrets: Any = None, seed: int = 0) -> Any:
        """Transform native data; ``data`` is not changed."""
