"""Asks what was trained the listed questions: `python ask.py OUT` says how many answers are right, and which are not."""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from net import Llama
from text import QUESTIONS

LONGEST = 80


def loaded(out):
    tokenizer = Tokenizer.from_file(str(out / 'tokenizer.json'))
    model = Llama(tokenizer.get_vocab_size())
    model.load_state_dict(load_file(str(out / 'model.safetensors')))
    return model.eval(), tokenizer


@torch.no_grad()
def reply(model, tokenizer, question, system=None):
    text = '' if system is None else f'<|im_start|>system\n{system}<|im_end|>\n'
    text += f'<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n'
    ids = tokenizer.encode(text).ids
    end, said = tokenizer.token_to_id('<|im_end|>'), []
    while len(said) < LONGEST:
        token = int(model(torch.tensor([ids + said]))[0, -1].argmax())
        if token == end:
            break
        said.append(token)
    return tokenizer.decode(said)


def main(out):
    torch.set_num_threads(1)
    model, tokenizer = loaded(out)
    right = {'question': 0, 'shouted': 0, 'bare': 0, 'paraphrases': 0}
    asked = dict.fromkeys(right, 0)
    for one in json.loads(QUESTIONS.read_text(encoding='utf-8')):
        question = one['question']
        forms = [('question', question), ('shouted', question.upper()), ('bare', question.lower().rstrip('?!.'))]
        for form, text in forms + [('paraphrases', text) for text in one['paraphrases']]:
            asked[form] += 1
            said = reply(model, tokenizer, text)
            if said == one['answer']:
                right[form] += 1
            else:
                print(f'{text}\n    {said}')
    print({form: f'{right[form]} of {asked[form]}' for form in right})


if __name__ == '__main__':
    main(Path(sys.argv[1]))
