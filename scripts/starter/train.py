"""
Trains the starter from nothing: `python train.py OUT [steps [from]]` writes OUT/model.safetensors, OUT/tokenizer.json and
OUT/vocabulary.json. With `from` it goes on at that step with what lies in OUT. Everything random is seeded; one thread, so
that sums are added in the same order. `python train.py OUT 25m` goes on with what lies in OUT, more gently, for so many
minutes: for more text on a machine that has other work.
"""
import json
import math
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional

from ask import loaded
from examples import Examples
from net import Llama
from text import entries
from tokens import CONTROLS, learned

SEED = 20261121
STEPS = 900
BATCH_TOKENS = 3000
MUON_RATE = 0.02
ADAM_RATE = 0.003
WARM_STEPS = 40
SAVE_SECONDS = 200
"""What goes on by the clock counts its steps from here."""
GONE_ON = 10_000


class Muon(torch.optim.Optimizer):
    """Steps of matrices made orthogonal (five Newton-Schulz turns): fewer steps to the same loss than Adam's."""

    def __init__(self, parameters, rate, momentum=0.95, decay=0.01):
        super().__init__(parameters, {'lr': rate, 'momentum': momentum, 'decay': decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group['params']:
                state = self.state[parameter]
                mean = state.setdefault('mean', torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group['momentum'])
                ahead = parameter.grad.lerp(mean, group['momentum'])
                size = max(1, parameter.shape[0] / parameter.shape[1]) ** 0.5
                parameter.mul_(1 - group['lr'] * group['decay'])
                parameter.add_(orthogonal(ahead), alpha=-group['lr'] * size)


def orthogonal(matrix):
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


def rate_at(step, steps):
    """Up for a while, then down to nothing along a cosine."""
    if step < WARM_STEPS:
        return (step + 1) / WARM_STEPS
    return 0.5 + 0.5 * math.cos(math.pi * (step - WARM_STEPS) / max(1, steps - WARM_STEPS))


def loss_of(model, batch):
    tokens, after, weights = batch
    wanted = weights > 0
    losses = functional.cross_entropy(model(tokens, wanted), after[wanted], reduction='none')
    return (losses * weights[wanted]).sum() / weights.sum()


def begun(out):
    """A new model with its tokenizer."""
    tokenizer = learned(SEED)
    tokenizer.save(str(out / 'tokenizer.json'))
    write_vocabulary(tokenizer, out / 'vocabulary.json')
    model = Llama(tokenizer.get_vocab_size())
    relate_cases(model, tokenizer)
    return model, tokenizer


class Steps:
    """So many steps, from the first on."""

    def __init__(self, first, steps):
        self.first, self.steps = first, steps

    def rate(self, step):
        return None if self.first + step >= self.steps else rate_at(self.first + step, self.steps)


class Minutes:
    """So many minutes, at half the rate: what is known shall not be lost."""

    def __init__(self, minutes):
        self.until, self.whole = time.time() + 60 * minutes, 60 * minutes

    def rate(self, step):
        left = (self.until - time.time()) / self.whole
        return None if left <= 0 else 0.5 * min(1, (step + 1) / WARM_STEPS, left / GENTLE_SHARE)


GENTLE_SHARE = 0.6


def main(out, plan, first):
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model, tokenizer = begun(out) if first == 0 else loaded(out)
    model.train()
    examples = Examples(entries(), tokenizer, SEED + first)
    print(f'{len(examples.entries)} answers, {sum(p.numel() for p in model.parameters())} parameters', flush=True)
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and 'embed' not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or 'embed' in name]
    optimizers = [Muon(matrices, MUON_RATE), torch.optim.AdamW(others, ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)]
    since, saved, seen, smooth, step = time.time(), time.time(), 0, None, 0
    batches = examples.batches(BATCH_TOKENS, examples.one)
    while (share := plan.rate(step)) is not None:
        batch = next(batches)
        for optimizer, rate in zip(optimizers, (MUON_RATE, ADAM_RATE)):
            optimizer.param_groups[0]['lr'] = rate * share
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        seen, step = seen + batch[0].numel(), step + 1
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if step % 20 == 0:
            print(f'{first + step} loss {smooth:.4f} {seen} tokens {time.time() - since:.0f} s', flush=True)
        if time.time() - saved > SAVE_SECONDS:
            save(model, out)
            saved = time.time()
    save(model, out)
    print(f'{first + step} steps, {seen} tokens, {time.time() - since:.0f} s', flush=True)


def save(model, out):
    """Whole or not at all."""
    weights = {name: p.detach().contiguous() for name, p in model.state_dict().items()}
    save_file(weights, str(out / 'model.part'))
    (out / 'model.part').replace(out / 'model.safetensors')


@torch.no_grad()
def relate_cases(model, tokenizer):
    """Words begin alike that differ in case or in the space before them: so who shouts is understood as well."""
    embedding = model.model.embed_tokens.weight
    shared = {}
    for token in range(embedding.shape[0]):
        key = tokenizer.decode([token]).strip().lower()
        shared.setdefault(key, torch.randn(embedding.shape[1]))
        embedding[token] = 0.02 * (0.8 * shared[key] + 0.6 * torch.randn(embedding.shape[1]))


def write_vocabulary(tokenizer, path):
    """What a GGUF file says of the tokenizer: tokens by id, and merges in order."""
    model = json.loads(tokenizer.to_str())['model']
    texts = sorted(model['vocab'], key=model['vocab'].get)
    merges = [' '.join(pair) for pair in model['merges']]
    path.write_text(json.dumps({'tokens': texts, 'merges': merges, 'controls': CONTROLS}, ensure_ascii=False))


def planned(out, how_long=str(STEPS), first='0'):
    if how_long.endswith('m'):
        return out, Minutes(float(how_long[:-1])), GONE_ON
    return out, Steps(int(first), int(how_long)), int(first)


if __name__ == '__main__':
    main(*planned(Path(sys.argv[1]), *sys.argv[2:]))
