"""
The text that the starter is trained on: question patterns with one answer each, read from `text/*.txt`, and what people do
to questions: other capitals, other punctuation, polite words around them, slips of the finger.

A pattern is a question with choices: `(what is|explain) paddock( exactly|)`. Lines of an entry: `?` a pattern, `=` the
answer, `~` the pirate's answer and `!` the bulletin where the rules of `styles.py` would not do.
"""
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
QUESTIONS = HERE.parent.parent / 'models' / 'starter' / 'questions.json'


@dataclass
class Entry:
    answer: str = ''
    patterns: list = field(default_factory=list)
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
        elif mark == '=':
            one.answer = text
        elif mark == '~':
            one.pirate = text
        elif mark == '!':
            one.bulletin = text
        else:
            raise ValueError(f'{topic}: a line begins with none of ? = ~ !: {line}')
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


def held_out():
    """Questions that the tests ask and that training must not see."""
    if not QUESTIONS.exists():
        return set()
    listed = json.loads(QUESTIONS.read_text(encoding='utf-8'))
    return {plain(question) for one in listed for question in one['paraphrases']}


BEFORE = ['hey, ', 'hi, ', 'hello, ', 'hi there. ', 'please ', 'ok, ', 'so ', 'so, ', 'quick question: ', 'sorry, ', 'and ', 'well, ',
          'excuse me, ', 'can you tell me ', 'could you tell me ', 'do you know ', 'i want to know ', 'tell me, ', 'i wonder, ', 'paddock, ']
AFTER = [' please', ', please', ' thanks', ', thanks', ' exactly', ' actually', ' then', ' again', ' in short', ' now', ' here', ' for me']
ENDS = {'question': ['?', '?', '?', '?', '', '', '??', '.', ' ?', '!', '?!'], 'other': ['.', '.', '', '', '!', '?', '...']}
ASKING = re.compile(r'^(what|who|how|why|when|where|which|can|could|do|does|is|are|will|would|may|should|did|am|has|have)\b')


HOW = re.compile(r'^how (?:do|can|would|should) i ')
HOW_ELSE = ['how to ', 'how do you ', 'how do we ', 'how does one ', 'how can we ', 'what is the way to ', 'tell me how to ', 'show me how to ',
            'explain how to ', 'what must i do to ', 'i want to ', 'i need to ', 'i would like to ', 'is there a way to ', 'what is the best way to ']
WHAT = re.compile(r'^(?:what is|explain|what are) ')
WHAT_ELSE = ['what is ', 'what exactly is ', 'tell me what is ', 'can you explain ', 'please explain ', 'i want to know about ', 'what do you know about ',
             'give me the meaning of ', 'what is meant by ', 'tell me about ', 'help me understand ']


def reworded(question, rng):
    """Other words for the usual beginnings."""
    if rng.random() < 0.3:
        question = HOW.sub(rng.choice(HOW_ELSE), question)
    if rng.random() < 0.25:
        question = WHAT.sub(rng.choice(WHAT_ELSE), question)
    return question


def as_typed(question, rng):
    """The question as somebody might type it."""
    text = reworded(question, rng)
    asks = ASKING.match(text.lower()) is not None
    if rng.random() < 0.22:
        text = rng.choice(BEFORE) + text
    if rng.random() < 0.12:
        text += rng.choice(AFTER)
    if rng.random() < 0.12:
        text = with_slip(text, rng)
    text += rng.choice(ENDS['question' if asks else 'other'])
    how = rng.random()
    if how < 0.38:
        return text[:1].upper() + text[1:]
    if how < 0.78:
        return text
    if how < 0.92:
        return text.upper()
    return text.title()


def with_slip(text, rng):
    """One finger in the wrong place."""
    at = rng.randrange(len(text))
    if not text[at].isalpha():
        return text
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1:]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1:at + 2] + text[at] + text[at + 2:]
