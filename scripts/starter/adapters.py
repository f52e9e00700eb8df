"""
Trains the two adapters on the starter: `python adapters.py OUT [steps]` reads what `train.py` left in OUT and writes
models/starter/pirate and models/starter/bulletin as PEFT has them. Both learn at once, alone and together: so they can be mixed.
`python adapters.py OUT 8m` goes on with those that are there, for so many minutes: for a model that went on itself.
"""
import json
import math
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ask import loaded
from examples import Examples
from net import PROJECTIONS
from text import STARTER, entries
from train import Minutes, loss_of, planned

SEED = 20261122
STEPS = 160
BATCH_TOKENS = 1500
RATE = 0.004
RANK = 8
ALPHA = 16
NAMES = ['pirate', 'bulletin']
"""What is practised: the style, and how strong each adapter is then."""
DRILLS = [
    ('pirate', (1.0, 0.0)), ('pirate', (1.0, 0.0)), ('pirate', (0.8, 0.0)),
    ('bulletin', (0.0, 1.0)), ('bulletin', (0.0, 1.0)), ('bulletin', (0.0, 0.8)),
    ('both', (1.0, 1.0)), ('both', (0.5, 0.5)), ('both', (0.7, 0.3)), ('both', (0.3, 0.7)),
]


class Adapted(nn.Module):
    """A projection with a small change per adapter."""

    def __init__(self, whole, strengths, generator):
        super().__init__()
        self.whole = whole
        self.strengths = strengths
        columns, rows = whole.in_features, whole.out_features
        self.downs = nn.ParameterList(
            torch.randn(RANK, columns, generator=generator) / math.sqrt(columns) for _ in NAMES
        )
        self.ups = nn.ParameterList(torch.zeros(rows, RANK) for _ in NAMES)

    def forward(self, x):
        y = self.whole(x)
        for strength, down, up in zip(self.strengths, self.downs, self.ups):
            if strength != 0:
                y = y + (x @ down.T @ up.T) * (strength * ALPHA / RANK)
        return y


def adapt(model):
    """Puts adapters around all projections; the strengths of all are one list."""
    strengths = [0.0] * len(NAMES)
    generator = torch.Generator().manual_seed(SEED)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    places = {}
    for at, layer in enumerate(model.model.layers):
        for part in ('self_attn', 'mlp'):
            owner = getattr(layer, part)
            for name in [name for name in PROJECTIONS if hasattr(owner, name)]:
                one = Adapted(getattr(owner, name), strengths, generator)
                setattr(owner, name, one)
                places[f'model.layers.{at}.{part}.{name}'] = one
    return strengths, places


def main(out, plan, _):
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model, tokenizer = loaded(out)
    strengths, places = adapt(model)
    if isinstance(plan, Minutes):
        go_on(places)
    parameters = [p for one in places.values() for p in [*one.downs, *one.ups]]
    optimizer = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.95), weight_decay=0.01)
    examples = Examples(entries(), tokenizer, SEED)
    makers = {style: examples.batches(BATCH_TOKENS, lambda style=style: examples.chat(style, None), 96) for style in {d[0] for d in DRILLS}}
    begun, smooth, step = time.time(), {}, 0
    while (share := plan.rate(step)) is not None:
        style, now = DRILLS[step % len(DRILLS)]
        strengths[:] = now
        optimizer.param_groups[0]['lr'] = RATE * share
        loss = loss_of(model, next(makers[style]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        key = f'{style} {now}'
        smooth[key] = loss.item() if key not in smooth else 0.7 * smooth[key] + 0.3 * loss.item()
        step += 1
        if step % 30 == 0:
            said = ' · '.join(f'{key} {value:.3f}' for key, value in smooth.items())
            print(f'{step} {time.time() - begun:.0f} s {said}', flush=True)
    print(f'{step} steps, {time.time() - begun:.0f} s', flush=True)
    for at, name in enumerate(NAMES):
        write(STARTER / name, at, places)


def go_on(places):
    """Begins with the adapters of before."""
    for at, name in enumerate(NAMES):
        tensors = load_file(str(STARTER / name / 'adapter_model.safetensors'))
        for place, one in places.items():
            one.downs[at].data = tensors[f'base_model.model.{place}.lora_A.weight'].float()
            one.ups[at].data = tensors[f'base_model.model.{place}.lora_B.weight'].float()


def write(folder, at, places):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for place, one in places.items():
        tensors[f'base_model.model.{place}.lora_A.weight'] = one.downs[at].detach().half().contiguous()
        tensors[f'base_model.model.{place}.lora_B.weight'] = one.ups[at].detach().half().contiguous()
    save_file(tensors, str(folder / 'adapter_model.safetensors'), {'format': 'pt'})
    config = {
        'base_model_name_or_path': 'paddock/starter',
        'bias': 'none',
        'fan_in_fan_out': False,
        'inference_mode': True,
        'init_lora_weights': True,
        'lora_alpha': ALPHA,
        'lora_dropout': 0.0,
        'modules_to_save': None,
        'peft_type': 'LORA',
        'r': RANK,
        'target_modules': PROJECTIONS,
        'task_type': 'CAUSAL_LM',
        'use_dora': False,
        'use_rslora': False,
    }
    (folder / 'adapter_config.json').write_text(json.dumps(config, indent=2) + '\n')


if __name__ == '__main__':
    main(*planned(Path(sys.argv[1]), *(sys.argv[2:] or [str(STEPS)])))
