"""GPT: a small transformer language model, trained from scratch on texts with their fields as a prompt.

Reference: A. Radford, J. Wu, R. Child, D. Luan, D. Amodei, I. Sutskever, "Language Models are Unsupervised Multitask
Learners", OpenAI, 2019 (GPT-2); conditioning by a prompt of control codes: N. S. Keskar et al., "CTRL: A Conditional
Transformer Language Model for Controllable Generation", 2019, arXiv 1909.05858. The network is transformers'
``GPT2LMHeadModel``; tokens are byte-level BPE learned from the same texts, so any script and any emoji can be written.

Best at: short texts of one kind (messages, queries, log lines, titles) with labels, from a thousand examples up.
Worst at: long documents (the context is a few hundred tokens) and world knowledge (it knows nothing but its texts).
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.conditions import Conditions
from zoo.config import Range
from zoo.data.fields import FieldTable, PromptTemplate
from zoo.data.text import TEXT
from zoo.errors import ConfigError
from zoo.generator import Option
from zoo.nn.neural_generator import NeuralGenerator
from zoo.random import block_rng, check_seed, torch_rng

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from zoo.training.config import TrainConfig

_BEGIN, _END = "<|begin|>", "<|end|>"  # ids 0 and 1
_IGNORE = -100  # a target without loss: padding, and the prompt, which is given and need not be learned


@dataclass(kw_only=True, eq=False)
class GPT(NeuralGenerator):
    """A small GPT-2 on byte-level BPE tokens, conditioned on the fields by a prompt.

    Parameters
    ----------
    width
        Width of the residual stream; a multiple of ``heads``.
    layers
        Number of transformer blocks.
    heads
        Attention heads a block.
    vocabulary
        Size of the BPE vocabulary at most; small texts fill a small one.
    context
        Longest sequence in tokens, prompt included; longer training texts are cut.
    dropout
        Dropout of embeddings, attention and residuals while training.
    template
        Prompt before each text, such as ``"{label}: "``; by default every field as ``name: value``, one a line.
    """

    width: Annotated[int, Range(8, 4096)] = 128
    layers: Annotated[int, Range(1, 64)] = 4
    heads: Annotated[int, Range(1, 64)] = 4
    vocabulary: Annotated[int, Range(258, 100_000)] = 1024
    context: Annotated[int, Range(8, 4096)] = 128
    dropout: Annotated[float, Range(0, 0.9)] = 0.1
    template: str | None = None

    default_block_size: ClassVar[int] = 128
    options: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(
            1.0, Annotated[float, Range(0.01, 10)], "divides the logits: below 1 safer texts, above 1 bolder ones"
        ),
        "top_p": Option(
            1.0, Annotated[float, Range(0, 1, open_low=True)], "draw among the likeliest tokens of this mass"
        ),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ConfigError(f"{self.name}: width={self.width} must be a multiple of heads={self.heads}")

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """The discrete fields."""
        return tuple(c.name for c in self.schema if c.role == "label" and c.kind != "constant")

    @property
    def tokenizer(self) -> "Tokenizer":
        """The byte-level BPE tokenizer, for models that read the same texts."""
        self._require_ready()
        return self._tokenizer

    # Learning

    def _fit(self, data: pd.DataFrame, rng: np.random.Generator, train: "TrainConfig") -> dict[str, Any]:
        from zoo.training import fit
        from zoo.training.loader import TensorDataModule

        self._table = FieldTable(self.form.fields(self.schema))  # type: ignore[attr-defined]
        self._table.fit(data[self._table.schema.names])
        prompts = PromptTemplate(self._table.columns, self.template).render(data[list(self._table.columns)])
        self._tokenizer = _learn_bpe(prompts + data[TEXT].tolist(), self.vocabulary)
        self._render_prompts()
        tokens, places, targets = self._pack(prompts, data[TEXT].tolist())
        train = train.with_defaults(epochs=20, batch_size=32, learning_rate=3e-3, gradient_clip=1.0)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)  # of the initial weights; the caller's state is restored by ``fit``
        module = _lightning_module(self._build(), train.learning_rate or 3e-3)
        batches = TensorDataModule.from_config((tokens, places, targets), train, seed=seed)
        result = fit(module, batches, train, seed=seed)
        self._publish(module.network)
        return {"epochs": result.epochs, "steps": result.steps, "stopped_by": result.stopped_by}

    def _pack(self, prompts: list[str], texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Documents laid end to end in rows of ``context`` tokens, so that no step computes padding.

        Positions begin anew with each document. A document may see the one before it in its row; it learns to ignore
        it (``<|begin|>`` stands between), which costs less than the two thirds of padding that it saves.

        Returns
        -------
        tokens, places, targets
            ``int64 (rows, context)`` each: inputs, positions within the document, next tokens (-100: no loss).
        """
        length = self.context
        heads = [e.ids for e in self._tokenizer.encode_batch(prompts)]
        bodies = [e.ids for e in self._tokenizer.encode_batch(texts)]
        tokens: list[np.ndarray] = []
        places: list[np.ndarray] = []
        targets: list[np.ndarray] = []
        for head, body in zip(heads, bodies, strict=True):
            whole = np.array([0, *head[: length // 2], *body])
            given = 1 + min(len(head), length // 2)
            after = np.append(whole[1:], 1)  # (len,) the last token is followed by <|end|>
            after[: given - 1] = _IGNORE
            tokens.append(whole[:length])
            places.append(np.arange(len(whole))[:length])
            targets.append(after[:length])
        flat = [np.concatenate(part) for part in (tokens, places, targets)]
        short = -len(flat[0]) % length
        filled = [np.append(f, np.full(short, v)).reshape(-1, length) for f, v in zip(flat, (0, 0, _IGNORE))]
        return torch.from_numpy(filled[0]), torch.from_numpy(filled[1]), torch.from_numpy(filled[2])

    def _build(self) -> nn.Module:
        from transformers import GPT2Config, GPT2LMHeadModel

        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=self._tokenizer.get_vocab_size(),
                n_positions=self.context,
                n_embd=self.width,
                n_layer=self.layers,
                n_head=self.heads,
                resid_pdrop=self.dropout,
                embd_pdrop=self.dropout,
                attn_pdrop=self.dropout,
                bos_token_id=0,
                eos_token_id=1,
            )
        )

    def _render_prompts(self) -> None:
        """The prompt of every combination of fields, as token ids."""
        every = self._table.decode(np.arange(len(self._table.weights)), np.random.default_rng(0))
        prompts = PromptTemplate(self._table.columns, self.template).render(every[list(self._table.columns)])
        self._prompts = [e.ids[: self.context // 2] for e in self._tokenizer.encode_batch(prompts)]

    # Sampling

    def _sample_block(
        self, n: int, conditions: Conditions, rng: np.random.Generator, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        drawn = self._table.draw(n, conditions, rng)
        made = self._table.decode(drawn, rng)
        made[TEXT] = pd.Series(self._write([[0, *self._prompts[i]] for i in drawn], rng, options), dtype="str")
        return made[self.schema.names]

    def extend(self, prefix: Any, *, seed: int | None = None, **options: Any) -> pd.DataFrame:
        """Continue texts; each result begins with the text that was given, its fields unchanged.

        Parameters
        ----------
        prefix
            Texts with their fields, of the generator's schema.
        seed
            The same seed gives the same continuations.
        **options
            Those of ``sample``.
        """
        self._require_ready()
        checked = self._check_options(options)
        data = self.form.coerce(prefix, self.schema)
        self.form.check(data, self.schema)
        place = self._table.locate(data[self._table.schema.names])
        seed, written = check_seed(seed), []
        for block, start in enumerate(range(0, len(data), self.block_size)):
            texts = data[TEXT].iloc[start : start + self.block_size].tolist()
            bodies = [e.ids for e in self._tokenizer.encode_batch(texts)]
            given = [[0, *self._prompts[i], *b] for i, b in zip(place[start : start + self.block_size], bodies)]
            more = self._write(given, block_rng(seed, block), checked)
            written += [t + m for t, m in zip(texts, more, strict=True)]
        return data.assign(**{TEXT: pd.Series(written, dtype="str")})

    @torch.inference_mode()
    def _write(self, given: list[list[int]], rng: np.random.Generator, options: Mapping[str, Any]) -> list[str]:
        """Write on after the given tokens, one text each, until the end token or the end of the context."""
        from transformers import DynamicCache

        n, device = len(given), self._device
        random = torch_rng(rng, device)
        lengths = torch.tensor([len(g) for g in given], device=device)  # (n,)
        forced = torch.zeros(n, self.context + 1, dtype=torch.long, device=device)  # (n, context + 1)
        for i, ids in enumerate(given):
            forced[i, : min(len(ids), self.context)] = torch.tensor(ids[: self.context], device=device)
        out = forced.clone()  # (n, context + 1)
        done = torch.zeros(n, dtype=torch.bool, device=device)
        alive = torch.arange(n, device=device)  # rows still written on, in the order of the cache
        past: Any = DynamicCache(config=self._network.config)  # filled in place
        # transformers names it ``cache`` from 5.2x on, and ``past_key_values`` before.
        argument = "cache" if "cache" in inspect.signature(self._network.forward).parameters else "past_key_values"
        for t in range(self.context):
            step = self._network(
                input_ids=out[alive, t : t + 1],  # (a, 1)
                position_ids=torch.full((len(alive), 1), t, device=device),
                use_cache=True,
                **{argument: past},
            )
            drawn = _draw(step.logits[:, -1], options["temperature"], options["top_p"], random)  # (a,)
            given_next = t + 1 < lengths[alive]
            drawn = torch.where(given_next, forced[alive, t + 1], drawn)
            out[alive, t + 1] = drawn
            done[alive] = (drawn == 1) & ~given_next
            left = int((~done).sum())
            if left == 0:
                break
            if left < 0.7 * len(alive):  # finished rows leave the cache, so that long texts do not pay for short ones
                keep = (~done[alive]).nonzero()[:, 0]
                past.batch_select_indices(keep)
                alive = alive[keep]
        texts = []
        for row, length in zip(out.tolist(), lengths.tolist()):
            body = row[min(length, self.context) :]
            texts.append(body[: body.index(1)] if 1 in body else body)
        return [t.replace("\ufffd", "") for t in self._tokenizer.decode_batch(texts)]

    # State

    def _state(self) -> dict[str, Any]:
        return {"tokenizer": self._tokenizer.to_str()}

    def _set_state(self, state: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(state["tokenizer"])
        self._tokenizer.encode_special_tokens = True

    def _arrays(self) -> dict[str, np.ndarray]:
        return super()._arrays() | self._table.arrays()

    def _set_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self._table = FieldTable(self.form.fields(self.schema))  # type: ignore[attr-defined]
        self._table.set_arrays(arrays)
        self._render_prompts()
        super()._set_arrays({k: v for k, v in arrays.items() if not k.startswith("fields.")})


def _draw(logits: Tensor, temperature: float, top_p: float, random: torch.Generator) -> Tensor:
    """One token a row from softmax(logits / temperature), restricted to its ``top_p`` nucleus; ``(n,)``.

    The nucleus: A. Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020, arXiv 1904.09751.
    """
    probability = F.softmax(logits.float() / temperature, dim=-1)  # (n, V)
    if top_p < 1:
        ordered, order = probability.sort(dim=-1, descending=True)  # (n, V)
        outside = ordered.cumsum(-1) - ordered >= top_p
        probability = torch.zeros_like(probability).scatter(-1, order, ordered.masked_fill(outside, 0.0))
    mass = probability.cumsum(-1)  # (n, V)
    point = torch.rand(len(mass), 1, generator=random, device=mass.device) * mass[:, -1:]  # (n, 1)
    return torch.searchsorted(mass, point, right=True)[:, 0].clamp(max=mass.shape[1] - 1)


def _learn_bpe(texts: list[str], size: int) -> "Tokenizer":
    """A byte-level BPE tokenizer. A merge needs five occurrences, so that no single message becomes a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=5,
        special_tokens=[_BEGIN, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True  # a text that spells <|end|> is a text
    return tokenizer


def _lightning_module(network: nn.Module, rate: float) -> Any:
    """The thin wrapper that says what the loss is; made here so that sampling does not import Lightning."""
    import pytorch_lightning as pl

    from zoo.training.schedule import warmup_cosine

    class LanguageModel(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            tokens, places, targets = batch  # (B, T) each
            logits = self.network(input_ids=tokens, position_ids=places, use_cache=False).logits  # (B, T, V)
            return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=_IGNORE)

        def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
            return self.loss(batch)

        def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
            self.log("val_loss", self.loss(batch))

        def configure_optimizers(self) -> Any:
            decayed = [p for p in self.parameters() if p.dim() >= 2]
            others = [p for p in self.parameters() if p.dim() < 2]
            groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
            optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))
            return warmup_cosine(optimizer, self.trainer.estimated_stepping_batches)

    return LanguageModel()
