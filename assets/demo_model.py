"""The model of demo.trace: a small transformer that knows two dozen proverbs, letter by letter.

`tapml-tui carve assets/demo_model.py:build -o demo.trace` records it again. Its weights are those
that make_demo.py trained; `complete` shows that its next letter means something.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tapml_tui.carve import Workload, WorkloadCase

WEIGHTS = Path(__file__).with_name("demo_weights.npz")

PROVERBS = """
a friend in need is a friend indeed
a stitch in time saves nine
a watched pot never boils
actions speak louder than words
all good things come to an end
all that glitters is not gold
better late than never
birds of a feather flock together
curiosity killed the cat
don't count your chickens
easy come, easy go
every cloud has a silver lining
fortune favours the bold
good things come to those who wait
haste makes waste
honesty is the best policy
knowledge is power
look before you leap
no pain, no gain
out of sight, out of mind
practice makes perfect
the early bird catches the worm
time flies when you have fun
two heads are better than one
where there is smoke there is fire
""".strip().splitlines()

PROMPTS = ("practice makes per", "the early bird ca", "all that glitters is not ")

LETTERS = sorted({letter for proverb in PROVERBS for letter in proverb} | {"\n"})
PAD = 0  # letters count from 1
CONTEXT = 36
WIDTH = 64
HEADS = 4
LAYERS = 2


class Attention(nn.Module):
    """Attention written out, so that every step of it is an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.k_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.v_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        def heads(projected: torch.Tensor) -> torch.Tensor:
            return projected.view(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)

        q, k, v = heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x))
        scores = torch.matmul(q, k.transpose(2, 3)) * (WIDTH // HEADS) ** -0.5
        scores = torch.where(allowed, scores, -1e9)
        mixed = torch.matmul(torch.softmax(scores, dim=-1), v)
        return self.o_proj(mixed.transpose(1, 2).reshape(x.shape))


class Feed(nn.Module):
    """Two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.up_proj = nn.Linear(WIDTH, 4 * WIDTH)
        self.down_proj = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.gelu(self.up_proj(x)))


class Block(nn.Module):
    """One layer. Later layers change the stream less: each branch is scaled by its depth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.scale = 1.0 / depth
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.mlp_norm = nn.LayerNorm(WIDTH)
        self.mlp = Feed()

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        x = torch.add(x, self.attention(self.attention_norm(x), allowed), alpha=self.scale)
        return torch.add(x, self.mlp(self.mlp_norm(x)), alpha=self.scale)


class Proverbs(nn.Module):
    """Letters in (padded on the left), a score for every next letter out."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS) + 1, WIDTH)
        self.places = nn.Embedding(CONTEXT + 1, WIDTH)
        self.layers = nn.ModuleList(Block(depth + 1) for depth in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(LETTERS) + 1, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        real = ids != PAD
        places = real.cumsum(-1)  # padding is place 0, the first letter place 1
        earlier = real.new_ones(ids.shape[1], ids.shape[1]).tril()
        allowed = (earlier & real.unsqueeze(1)).unsqueeze(1)
        x = self.letters(ids) + self.places(places)
        for layer in self.layers:
            x = layer(x, allowed)
        return self.head(self.norm(x))


def encode(text: str) -> torch.Tensor:
    """Letters as numbers, padded on the left: shape (1, CONTEXT)."""
    ids = [LETTERS.index(letter) + 1 for letter in text]
    return torch.tensor([[PAD] * (CONTEXT - len(ids)) + ids])


def complete(model: nn.Module, prompt: str) -> str:
    """What the model makes of a prompt, up to the end of the line."""
    text = prompt
    while len(text) < CONTEXT:
        letter = LETTERS[int(model(encode(text))[0, -1, 1:].argmax())]
        if letter == "\n":
            break
        text += letter
    return text


def trained() -> Proverbs:
    """The model with the weights that make_demo.py trained."""
    model = Proverbs()
    with np.load(WEIGHTS, allow_pickle=False) as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return model.eval()


def build() -> Workload:
    """The demo: one case per prompt."""
    return Workload(trained(), tuple(WorkloadCase(prompt, (encode(prompt),)) for prompt in PROMPTS), seed=0)
