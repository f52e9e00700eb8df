"""
The text that the starter is trained on: question patterns with one answer each, read from `text/*.txt`.

A pattern is a question with choices: `(what is|explain) paddock( exactly|)`. Lines of an entry: `?` a pattern, `>` one that is
asked only after another question of the same file ("and a replica"), `=` the answer, `~` the pirate's answer and `!` the
bulletin where the rules of `styles.py` would not do.
"""
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
STARTER = HERE.parent.parent / 'models' / 'starter'
QUESTIONS = STARTER / 'questions.json'
WORDINGS = STARTER / 'wordings.json'


@dataclass
class Entry:
    answer: str = ''
    patterns: list = field(default_factory=list)
    follow_ups: list = field(default_factory=list)
    pirate: str = ''
    bulletin: str = ''
    topic: str = ''


def entries():
    found = []
    for path in sorted((HERE / 'text').glob('*.txt')):
        for block in re.split(r'\n\s*\n', path.read_text(encoding='utf-8')):
            lines = [line for line in block.split('\n') if line.strip() and not line.startswith('#')]
            if lines:
                found.append(entry(lines, path.stem))
    return found


def entry(lines, topic):
    one = Entry(topic=topic)
    for line in lines:
        mark, text = line[0], line[1:].strip()
        if mark == '?':
            one.patterns.append(text)
        elif mark == '>':
            one.follow_ups.append(text)
        elif mark == '=':
            one.answer = text
        elif mark == '~':
            one.pirate = text
        elif mark == '!':
            one.bulletin = text
        else:
            raise ValueError(f'{topic}: a line begins with none of ? > = ~ !: {line}')
    if not one.answer or not one.patterns:
        raise ValueError(f'{topic}: an entry without question or answer: {lines}')
    return one


def stories():
    """Plain prose, for what is asked without a chat."""
    return [line for line in (HERE / 'text' / 'stories.prose').read_text(encoding='utf-8').split('\n') if line.strip()]


GROUP = re.compile(r'\(([^()]*)\)')
WORD = re.compile(r'_(thing|verb|number)')


def one_of(pattern, rng):
    """A question of this pattern, at random."""
    while True:
        text = GROUP.sub(lambda match: rng.choice(match.group(1).split('|')), pattern, count=1)
        if text == pattern:
            text = WORD.sub(lambda match: word(match.group(1), rng), text)
            return re.sub(r'\s+', ' ', text).strip()
        pattern = text


def listed_words(name):
    """Words of a list; "the", "a", "my" and the like go with what follows."""
    words = (HERE / 'text' / f'{name}.words').read_text(encoding='utf-8').split()
    joined, article = [], []
    for one in words:
        article.append(one)
        if one not in ARTICLES:
            joined.append(' '.join(article))
            article = []
    return joined


ARTICLES = {'the', 'a', 'an', 'my', 'great', 'french', 'roman', 'second', 'world', 'mount', 'next', 'last', 'star', 'stock', 'bank', 'tax'}
WORDS = {'thing': listed_words('things'), 'verb': listed_words('verbs')}
SYLLABLES = 'ba do ri ka lu me no ti sa ve po gra sto fin mar tel bor win kel dra shu pen ol an er is un ta qui zo'.split()


def word(kind, rng):
    if kind == 'number':
        return str(rng.randrange(3, 10 ** rng.randint(1, 4)))
    if kind == 'thing' and rng.random() < 0.15:
        return ''.join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))
    return rng.choice(WORDS[kind])


def plain(question):
    """What is left of a question when case, punctuation and spaces do not count."""
    return re.sub(r'[^a-z0-9]+', ' ', question.lower()).strip()


@dataclass
class HeldOut:
    """What the tests ask and training must not see."""
    """In any case and punctuation, also as part of a longer question."""
    wordings: set
    """To the letter: the words are those of questions that are trained."""
    letters: set


WORDED_ANEW = ['words', 'typos', 'contractions', 'follow-up']


def held_out():
    if not QUESTIONS.exists():
        return HeldOut(set(), set())
    listed = json.loads(QUESTIONS.read_text(encoding='utf-8'))
    asked = json.loads(WORDINGS.read_text(encoding='utf-8'))
    known = {plain(one['question']) for one in listed}
    worded = {plain(question) for one in listed for question in one['paraphrases']}
    worded |= {plain(one['asked']) for one in asked if one['kind'] in WORDED_ANEW}
    return HeldOut(worded - known, {one['asked'] for one in asked} - {one['question'] for one in listed})
