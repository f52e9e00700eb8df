"""
Asks what was trained the listed questions and the wordings kept out of training: `python ask.py OUT` says how many answers are
right, and with what wrong ones begin to differ. An answer is right when each of its tokens is the likeliest after those before.
"""
import json
import sys
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from net import Llama
from text import QUESTIONS, WORDINGS

AT_ONCE = 16
"""What went wrong with the others stays unread, so that they remain a measure."""
SHOWN = ['listed', 'bare', 'shouted', 'paraphrases']


def loaded(out):
    tokenizer = Tokenizer.from_file(str(out / 'tokenizer.json'))
    model = Llama(tokenizer.get_vocab_size())
    model.load_state_dict(load_file(str(out / 'model.safetensors')))
    return model.eval(), tokenizer


def chat(turns):
    """As the chat template has it, up to the answer."""
    said = ''.join(f'<|im_start|>{role}\n{content}<|im_end|>\n' for role, content in turns)
    return said + '<|im_start|>assistant\n'


@torch.no_grad()
def mistakes(model, tokenizer, asked):
    """For each of many (turns, answer): None, or the words that came where the answer was left."""
    end, found = tokenizer.token_to_id('<|im_end|>'), [None] * len(asked)
    ids = [(tokenizer.encode(chat(turns)).ids, tokenizer.encode(answer).ids + [end]) for turns, answer in asked]
    order = sorted(range(len(asked)), key=lambda at: sum(map(len, ids[at])))
    for first in range(0, len(order), AT_ONCE):
        many = order[first : first + AT_ONCE]
        length = max(sum(map(len, ids[at])) for at in many)
        tokens = torch.tensor([sum(ids[at], []) + [0] * (length - sum(map(len, ids[at]))) for at in many])
        likeliest = model(tokens).argmax(-1)
        for row, at in enumerate(many):
            head, answer = map(len, ids[at])
            said = likeliest[row, head - 1 : head + answer - 1].tolist()
            wrong = [place for place in range(answer) if said[place] != ids[at][1][place]]
            if wrong:
                found[at] = tokenizer.decode(said[: wrong[0] + 6])
    return found


def questions():
    """(kind, turns, answer) of everything that the tests ask."""
    listed = json.loads(QUESTIONS.read_text(encoding='utf-8'))
    answers = {one['question']: one['answer'] for one in listed}
    for one in listed:
        question = one['question']
        yield 'listed', [('user', question)], one['answer']
        yield 'bare', [('user', question.lower().rstrip('?!.'))], one['answer']
        yield 'shouted', [('user', question.upper())], one['answer']
        for other in one['paraphrases']:
            yield 'paraphrases', [('user', other)], one['answer']
    for one in json.loads(WORDINGS.read_text(encoding='utf-8')):
        before = [('user', one['after']), ('assistant', answers[one['after']])] if 'after' in one else []
        yield one['kind'], [*before, ('user', one['asked'])], answers[one['means']]


def main(out):
    torch.set_num_threads(1)
    model, tokenizer = loaded(out)
    asked = list(questions())
    right, of = Counter(), Counter(kind for kind, _, _ in asked)
    for (kind, turns, _), said in zip(asked, mistakes(model, tokenizer, [(turns, answer) for _, turns, answer in asked])):
        right[kind] += said is None
        if said is not None and kind in SHOWN:
            print(f'{kind} | {turns[-1][1]} | {said}')
    print({kind: f'{right[kind]} of {of[kind]}' for kind in of})


if __name__ == '__main__':
    main(Path(sys.argv[1]))
