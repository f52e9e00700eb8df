"""
Goes on with OUT for a few minutes, more gently than `train.py`, with more of the entries whose questions in `questions.json`
are answered wrongly: `python tune.py OUT 5`. The wordings kept out of training are not looked at.
"""
import sys
import time
from pathlib import Path

import examples
import train
from ask import SHOWN, loaded, mistakes, questions

RATE = 0.22
WARM_STEPS = 6
GENTLE_SHARE = 0.8
MORE = 4
"""Of what has much weight already."""
HEAVY, HEAVY_MORE = 100, 1.7


def failing(out):
    """Answers of which one question at least is answered otherwise."""
    model, tokenizer = loaded(out)
    asked = [(turns, answer) for kind, turns, answer in questions() if kind in SHOWN]
    found = mistakes(model, tokenizer, asked)
    return {answer for (_, answer), said in zip(asked, found) if said is not None}


class Gently:
    def __init__(self, minutes):
        self.until, self.whole = time.time() + 60 * minutes, 60 * minutes

    def rate(self, step):
        left = (self.until - time.time()) / self.whole
        return None if left <= 0 else RATE * min(1, (step + 1) / WARM_STEPS, left / GENTLE_SHARE)


def main(out, minutes):
    wrong, usual = failing(out), examples.weight
    print(f'{len(wrong)} answers with a question that is answered wrongly', flush=True)

    def weight(entry):
        plain = usual(entry)
        return plain * (1 if entry.answer not in wrong else HEAVY_MORE if plain > HEAVY else MORE)

    examples.weight = weight
    train.main(out, Gently(minutes), train.GONE_ON + 1000)


if __name__ == '__main__':
    main(Path(sys.argv[1]), float(sys.argv[2]))
