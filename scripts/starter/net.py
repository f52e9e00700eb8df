"""A small Llama, with the names and the arithmetic of Hugging Face's, so that its weights fit every tool that knows them."""
import math

import torch
from torch import nn
from torch.nn import functional

WIDTH = 256
LAYERS = 4
HEADS = 4
KEY_VALUE_HEADS = 1
HEAD_WIDTH = 64
INNER_WIDTH = 640
ROPE_BASE = 10000.0
NORM_EPSILON = 1e-5
PROJECTIONS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, HEADS * HEAD_WIDTH, bias=False)
        self.k_proj = nn.Linear(WIDTH, KEY_VALUE_HEADS * HEAD_WIDTH, bias=False)
        self.v_proj = nn.Linear(WIDTH, KEY_VALUE_HEADS * HEAD_WIDTH, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_WIDTH, WIDTH, bias=False)

    def forward(self, x, turn):
        batch, length, _ = x.shape
        split = lambda y, heads: y.view(batch, length, heads, HEAD_WIDTH).transpose(1, 2)
        q = rotated(split(self.q_proj(x), HEADS), turn)
        k = rotated(split(self.k_proj(x), KEY_VALUE_HEADS), turn).expand(-1, HEADS, -1, -1)
        v = split(self.v_proj(x), KEY_VALUE_HEADS).expand(-1, HEADS, -1, -1)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, HEADS * HEAD_WIDTH))


def rotated(x, turn):
    cos, sin = turn
    half = HEAD_WIDTH // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, INNER_WIDTH, bias=False)
        self.up_proj = nn.Linear(WIDTH, INNER_WIDTH, bias=False)
        self.down_proj = nn.Linear(INNER_WIDTH, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(WIDTH, NORM_EPSILON)
        self.self_attn = Attention()
        self.post_attention_layernorm = nn.RMSNorm(WIDTH, NORM_EPSILON)
        self.mlp = Mlp()

    def forward(self, x, turn):
        x = x + self.self_attn(self.input_layernorm(x), turn)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, NORM_EPSILON)


class Llama(nn.Module):
    """The output matrix is the embedding again."""

    def __init__(self, vocabulary):
        super().__init__()
        self.model = Body(vocabulary)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]) if parameter.shape[0] != vocabulary else 0.02)
        for layer in self.model.layers:
            nn.init.zeros_(layer.self_attn.o_proj.weight)
            nn.init.zeros_(layer.mlp.down_proj.weight)

    def forward(self, tokens, wanted=None):
        """Logits of all places, or of the wanted ones alone."""
        turn = turns(tokens.shape[1])
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, turn)
        x = self.model.norm(x)
        if wanted is not None:
            x = x[wanted]
        return x @ self.model.embed_tokens.weight.T


def turns(length):
    speeds = ROPE_BASE ** (-torch.arange(0, HEAD_WIDTH, 2).float() / HEAD_WIDTH)
    angles = torch.outer(torch.arange(length).float(), speeds).repeat(1, 2)
    return angles.cos(), angles.sin()
