"""The networks of `transformer.py` as a run uses them: quicker layers, back ends, generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gptpy.config.model import GPTConfig
from gptpy.model import fast
from gptpy.model.attention import BACKENDS, choose_backend
from gptpy.model.bigram import BigramTable
from gptpy.model.cache import KVCache
from gptpy.model.fast.fused import choose_fusions
from gptpy.model.fast.layers import scored_chunks
from gptpy.model.parameters import parameter_groups
from gptpy.model.sampling import generate
from gptpy.model.size import check_size
from gptpy.model.transformer import IGNORE, Seq2SeqTransformer, Transformer, cross_entropy


class LanguageModel(nn.Module):
    """Base of all networks: `forward(ids, targets=None, *, reduction) -> (logits, loss)`.

    A subclass also inherits, second, the class that has the formulas and is constructed from a
    `GPTConfig`. Raises `ValueError` when the configuration is for another architecture.
    """

    architecture: ClassVar[str]
    config: GPTConfig
    attend: Callable[..., Tensor]
    """The attention back end, a function."""

    def __init__(self, config: GPTConfig) -> None:
        if config.architecture != self.architecture:
            raise ValueError(
                f"{type(self).__name__} is for architecture {self.architecture!r}, got "
                f"{config.architecture!r}: gptpy.model.build_model(config) picks the class"
            )
        super().__init__(config)
        self.attention_backend = "reference" if config.attention_softcap else "sdpa"
        self.fusions: frozenset[str] = frozenset()
        fast.install(self)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def attention_backend(self) -> str:
        """The name of the attention back end; setting it does not check that it works here."""
        return next(name for name, backend in BACKENDS.items() if backend.attend is self.attend)

    @attention_backend.setter
    def attention_backend(self, name: str) -> None:
        self.attend = BACKENDS[name].attend

    def select_attention(
        self,
        requested: str | None = None,
        *,
        dtype: torch.dtype | None = None,
        data_features: Iterable[str] = (),
        training: bool = False,
        device: torch.device | None = None,
    ) -> tuple[str, str]:
        """Chooses the attention back end for this model: (name, reason).

        Call it once a run, after moving the model, or before that with the `device`; `dtype` is
        autocast's, if any. `data_features`: what the data ask of attention, "documents" or
        "padding". `training`: gradients are wanted, too. Raises `ValueError` when a `requested`
        back end does not work.
        """
        c = self.config
        needed = {
            "softcap": c.attention_softcap is not None,
            "alibi": c.position == "alibi",
            "window": c.window is not None,
            "bidirectional": c.architecture != "decoder",
        }
        features = {feature for feature, is_needed in needed.items() if is_needed}
        name, reason = choose_backend(
            device or self.device,
            self.dtype,
            c.head_size,
            requested,
            features=features | set(data_features),
            context=c.block_size,
            heads=(c.n_head, c.kv_heads),
            dropout_p=c.attention_dropout_rate,
            autocast=dtype,
            training=training,
        )
        self.attention_backend = name
        return name, reason

    def select_fusions(
        self,
        requested: Iterable[str] | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> tuple[frozenset[str], str]:
        """Chooses which layers run as fused Triton kernels on the `device`: (names, reason).

        `requested`: names of `fast.KERNELS`; None is none of them. `dtype` is autocast's, if any.
        Raises `ConfigError` (a `ValueError`) when they do not fit or do not work.
        """
        names, reason = choose_fusions(
            self.config, device or self.device, dtype or self.dtype, requested
        )
        fast.install(self, names)
        self.fusions = names
        return names, reason

    def num_parameters(self, *, embeddings: bool = True) -> int:
        """Parameters, each counted once; without `embeddings`, all but the embedding tables."""
        total = sum(p.numel() for p in self.parameters())
        if not embeddings:
            tables = [m for m in self.modules() if isinstance(m, nn.Embedding)]
            total -= sum(p.numel() for m in tables for p in m.parameters())
        return total

    def configure_parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for an optimiser, see `groups.parameter_groups`."""
        return parameter_groups(self)

    def make_cache(self, batch: int, capacity: int | None = None) -> KVCache | None:
        """An empty cache for `batch` rows of at most `capacity` (None: `block_size`) tokens.

        None for an encoder, which does not generate, and a bigram, which has no keys.
        """
        if self.config.architecture not in ("decoder", "encoder-decoder"):
            return None
        return KVCache.for_config(self.config, batch, capacity, like=next(self.parameters()))

    @torch.no_grad()
    def token_scores(self, ids: Tensor, targets: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Of every target that is not `IGNORE`, in order: its loss in nats, and whether it was the
        most likely token; `(n,)` each. Logits exist for a chunk of tokens at a time."""
        losses, right = [], []
        for logits, wanted in self._scored(ids, targets, **inputs):
            losses.append(cross_entropy(logits, wanted, "none"))
            right.append(logits.argmax(-1) == wanted)
        empty = torch.empty(0, device=ids.device)
        return torch.cat([*losses, empty]), torch.cat([*right, empty.bool()])

    def _scored(
        self: Any, ids: Tensor, targets: Tensor, **inputs: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets of the scored tokens in chunks; see `scored_chunks`."""
        hidden, weight = self.head_inputs(ids, **inputs)
        yield from scored_chunks(self.head_loss, hidden, weight, targets)

    def generate(self, ids: Tensor, max_new_tokens: int, **settings: Any) -> Tensor:
        """`(B, T)` ids to `(B, T + new)`, with the settings of `sampling.generate`."""
        return generate(self, ids, max_new_tokens, **settings)


class GPT(LanguageModel, Transformer):
    """A decoder: predicts every token from those before it."""

    architecture = "decoder"


class Encoder(LanguageModel, Transformer):
    """Predicts masked tokens from all others (BERT); `hidden_states` embeds a text.

    Pass `key_padding_mask` where rows are padded, and targets from `mask_tokens` for training.
    """

    architecture = "encoder"

    def generate(self, ids: Tensor, max_new_tokens: int, **settings: Any) -> Tensor:
        """Always a `ValueError`: an encoder does not generate."""
        raise ValueError(
            "an encoder sees both directions and cannot continue a text: "
            "take architecture = 'decoder' or 'encoder-decoder'"
        )


class EncoderDecoder(LanguageModel, Seq2SeqTransformer):
    """Predicts a text from another: `model(ids, targets, source=source_ids)`."""

    architecture = "encoder-decoder"

    def generate(
        self,
        ids: Tensor,
        max_new_tokens: int,
        *,
        source: Tensor | None = None,
        source_padding_mask: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        """`ids: (B, T)` continued for `source: (B, S)`; settings as `sampling.generate`."""
        if source is None:
            raise ValueError("an encoder-decoder generates for a text: pass source=(B, S) ids")
        training = self.training
        memory = self.eval().encode(source, source_padding_mask)
        self.train(training)
        inputs = {"memory": memory, "source_padding_mask": source_padding_mask}
        return generate(self, ids, max_new_tokens, inputs=inputs, **settings)


class Bigram(LanguageModel, BigramTable):
    """Predicts every token from the one before it: the baseline that the others have to beat."""

    architecture = "bigram"

    def _scored(
        self, ids: Tensor, targets: Tensor, **inputs: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        scored = targets != IGNORE
        yield self.token_embedding(ids[scored]), targets[scored]


def build_model(config: GPTConfig) -> LanguageModel:
    """A network with fresh weights, of the class for `config.architecture`.

    Raises `ConfigError` for one that this machine's memory cannot hold.
    """
    check_size(config, torch.empty(0).device)  # that of a surrounding `with torch.device(...)`
    classes: tuple[type[LanguageModel], ...] = (GPT, Encoder, EncoderDecoder, Bigram)
    return next(c for c in classes if c.architecture == config.architecture)(config)
