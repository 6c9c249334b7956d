"""What every family with a network shares: building, casting to what is published, storing, moving."""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from zoo.errors import ArtifactError
from zoo.generator import Generator
from zoo.random import isolated_rng


class NeuralGenerator(Generator):
    """A generator whose state is one network.

    A family writes :meth:`_build`, which makes the untrained network from ``self`` (its configuration, schema and
    state), and in ``_fit`` calls :meth:`_publish` with the trained one.
    """

    published_dtype: ClassVar[torch.dtype] = torch.float16
    """Weights are stored in this type, and cast to it and back after training, so that what is evaluated is what is
    published. A tensor that would overflow keeps its own type."""

    _network: Any
    """The trained ``nn.Module``; a family knows its class."""

    @abstractmethod
    def _build(self) -> nn.Module:
        """The untrained network; it may be called under ``torch.device("meta")``."""

    def _publish(self, network: nn.Module) -> None:
        """Take the trained network: on this generator's device, in evaluation mode, rounded as it will be stored."""
        network = network.to(self._device).eval().requires_grad_(False)
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(tensor.to(self._stored_dtype(tensor)).to(tensor.dtype))
        self._network = network

    def _stored_dtype(self, tensor: torch.Tensor) -> torch.dtype:
        if not tensor.is_floating_point():
            return tensor.dtype
        fits = bool(torch.isfinite(tensor.to(self.published_dtype)).all())
        return self.published_dtype if fits else tensor.dtype

    def _arrays(self) -> dict[str, np.ndarray]:
        state = self._network.state_dict()
        shared: dict[int, str] = {}  # tied weights are stored once
        out = {}
        for name, tensor in state.items():
            if tensor.data_ptr() in shared and tensor.numel():
                continue
            shared[tensor.data_ptr()] = name
            out[name] = tensor.detach().cpu().to(self._stored_dtype(tensor)).contiguous().numpy()
        return out

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        # On the meta device nothing is allocated, so a hostile configuration cannot exhaust the memory:
        # its shapes are held against the arrays that are really there, and only then is the network built.
        with torch.device("meta"):
            network = self._build()
        wanted = network.state_dict()
        groups: dict[int, list[str]] = {}
        for name, parameter in network.named_parameters(remove_duplicate=False):
            groups.setdefault(id(parameter), []).append(name)
        tied = {n: names for names in groups.values() for n in names}
        loaded = {}
        for name, expected in wanted.items():
            source = next((n for n in tied.get(name, [name]) if n in arrays), None)
            if source is None:
                raise ArtifactError(f"{self.name}: the artifact has no tensor {name!r}; it is incomplete")
            if arrays[source].shape != tuple(expected.shape):
                raise ArtifactError(
                    f"{self.name}: tensor {name!r} has shape {arrays[source].shape}, "
                    f"its configuration asks for {tuple(expected.shape)}"
                )
            if arrays[source].dtype.kind == "f" and not np.isfinite(arrays[source]).all():
                raise ArtifactError(f"{self.name}: tensor {name!r} holds numbers that are not finite")
            loaded[name] = torch.from_numpy(np.array(arrays[source])).to(expected.dtype)
        surplus = set(arrays) - {n for name in wanted for n in tied.get(name, [name])}
        if surplus:
            raise ArtifactError(f"{self.name}: unexpected tensor {sorted(surplus)[0]!r} in the artifact")
        with isolated_rng():
            network = self._build()
        network.load_state_dict(loaded)
        self._network = network.to(self._device).eval().requires_grad_(False)

    def to(self, device: str) -> Self:
        super().to(device)
        if self.is_ready:
            self._network.to(device)
        return self
