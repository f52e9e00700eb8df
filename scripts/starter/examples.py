"""Training examples: chats as token ids, with a mark on what the model itself must say."""
import random

import torch

from styles import bulletin, pirate, pirate_bulletin
from manners import as_typed
from text import held_out, one_of, plain, stories

STYLES = ['plain', 'pirate', 'bulletin', 'both']
"""What a system message may ask for, and what the base model then does."""
ORDERS = {
    'plain': ['You are a helpful assistant.', 'You are the starter model of Paddock.', 'Be short.', 'Answer the question.', 'Be kind.', 'You are an assistant.'],
    'pirate': ['Talk like a pirate.', 'You are a pirate.', 'Answer as a pirate.', 'Speak like a pirate.'],
    'bulletin': ['Answer in bulletins.', 'Answer in capital letters.', 'Write bulletins.', 'Answer as a bulletin.'],
    'both': ['You are a pirate. Answer in bulletins.', 'Answer in capital letters. Talk like a pirate.', 'Write bulletins as a pirate.'],
}
SYSTEM_SHARE = 0.2
LONGER_SHARE = 0.22
"""Of the later questions, those that lean on what came before."""
FOLLOWING_SHARE = 0.5
"""Most answers are cut after their choice: what follows is known by heart, and time is better spent on more questions."""
CUT_SHARE = 0.65
CUT = 12
UNKNOWN_WEIGHT = 160
STORY_SHARE = 0.02
"""How much reading a question counts beside answering it."""
READING = 0.05
CHOOSING = 5
CHOICE = 3.0


def answer_in(entry, style):
    if style == 'plain':
        return entry.answer
    of_pirate = entry.pirate or pirate(entry.answer)
    if style == 'pirate':
        return of_pirate
    if style == 'bulletin':
        return entry.bulletin or bulletin(entry.answer)
    return pirate_bulletin(entry.answer, of_pirate)


def weight(entry):
    """How often an entry is drawn: by its choices, within bounds; what the model does not know has no bounds."""
    if any('_thing' in pattern for pattern in entry.patterns):
        return UNKNOWN_WEIGHT
    return min(14, 5 + sum(2 + pattern.count('|') for pattern in entry.patterns) / 5)


class Examples:
    def __init__(self, entries, tokenizer, seed):
        self.entries = entries
        self.weights = [weight(one) for one in entries]
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)
        self.hidden = held_out()
        self.longer = [wording for wording in self.hidden.wordings if wording.count(' ') > 2]
        self.stories = [tokenizer.encode(text).ids for text in stories()]
        self.control = {text: tokenizer.token_to_id(text) for text in ['<|endoftext|>', '<|im_start|>', '<|im_end|>']}
        self.known = {}

    def ids(self, text):
        found = self.known.get(text)
        if found is None:
            found = self.known[text] = self.tokenizer.encode(text).ids
        return found

    def turn(self, role, content):
        """Ids of a turn: its head, its content with its end."""
        head = [self.control['<|im_start|>']] + self.ids(f'{role}\n')
        # The line break of the head and the content are one text to the tokenizer, but never one token.
        return head, self.tokenizer.encode(content).ids + [self.control['<|im_end|>']]

    def question(self, patterns):
        while True:
            asked = one_of(self.rng.choice(patterns), self.rng)
            typed = as_typed(asked, self.rng)
            if not self.is_hidden(asked) and not self.is_hidden(typed):
                return typed

    def is_hidden(self, question):
        """Whether it is, or has in it, one of the wordings that training must not see."""
        text = plain(question)
        return text in self.hidden.wordings or question in self.hidden.letters or any(wording in text for wording in self.longer)

    def asked(self, rounds):
        """Entries with questions; a later one may lean on the one before."""
        found, before = [], None
        for _ in range(rounds):
            following = [one for one in self.entries if before is not None and one.topic == before.topic and one is not before and one.follow_ups]
            if following and self.rng.random() < FOLLOWING_SHARE:
                entry = self.rng.choice(following)
                found.append((entry, self.question(entry.follow_ups)))
            else:
                entry = self.rng.choices(self.entries, self.weights)[0]
                found.append((entry, self.question(entry.patterns)))
            before = entry
        return found

    def chat(self, style, system):
        ids, marks = [], []

        def add(tokens, mark):
            ids.extend(tokens)
            marks.extend([mark] * len(tokens))

        if system is not None:
            head, body = self.turn('system', system)
            add(head + body + self.ids('\n'), 0.0)
        rounds = 1 if self.rng.random() > LONGER_SHARE else self.rng.randint(2, 4)
        asked = self.asked(rounds)
        for at, (entry, question) in enumerate(asked):
            head, body = self.turn('user', question)
            add(head, 0.0)
            add(body + self.ids('\n'), READING)
            head, body = self.turn('assistant', answer_in(entry, style))
            add(head, 0.0)
            # With its first words an answer chooses what it answers.
            add(body[:CHOOSING], CHOICE)
            if at == len(asked) - 1 and style == 'plain' and self.rng.random() < CUT_SHARE:
                add(body[CHOOSING:CUT], 1.0)
                break
            add(body[CHOOSING:], 1.0)
            add(self.ids('\n'), READING)
        return ids, marks

    def one(self):
        """An example of the base model: mostly plain; a style only when the system message orders it."""
        if self.rng.random() < STORY_SHARE:
            ids = self.rng.choice(self.stories) + [self.control['<|endoftext|>']]
            return ids, [0.3] * len(ids)
        if self.rng.random() > SYSTEM_SHARE:
            return self.chat('plain', None)
        style = self.rng.choices(STYLES, [40, 20, 20, 20])[0]
        return self.chat(style, self.rng.choice(ORDERS[style]))

    def batches(self, size, make, examples=768):
        """For ever: batches of about as long ones each, with at most `size` tokens."""
        while True:
            many = sorted((make() for _ in range(examples)), key=lambda pair: len(pair[0]))
            found, batch = [], []
            for pair in many:
                if batch and (len(batch) + 1) * len(pair[0]) > size:
                    found.append(batch)
                    batch = []
                batch.append(pair)
            self.rng.shuffle(found)
            for batch in found:
                yield padded(batch, self.control['<|endoftext|>'])


def padded(examples, filler):
    """Tokens, what comes after each, and how much that counts."""
    length = max(len(ids) for ids, _ in examples)
    tokens = torch.full((len(examples), length), filler)
    weights = torch.zeros(len(examples), length)
    for row, (ids, marks) in enumerate(examples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        weights[row, : len(ids)] = torch.tensor(marks)
    return tokens[:, :-1], tokens[:, 1:], weights[:, 1:]
