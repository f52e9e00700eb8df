"""What people do to a question: greetings and polite words, short forms, other beginnings, capitals, slips of the finger."""
import re

GREETINGS = ['hi', 'hello', 'hey', 'hi there', 'hello there', 'hey there', 'good day', 'good morning', 'good afternoon', 'good evening', 'hello paddock',
             'hi paddock', 'hello starter', 'greetings', 'yo', 'hello again', 'hi again', 'hey you', 'thanks', 'thank you', 'ok', 'okay', 'great', 'fine', 'nice']
BEFORE = ['please ', 'please, ', 'so ', 'so, ', 'quick question: ', 'one question: ', 'a question: ', 'sorry, ', 'sorry, but ', 'and ', 'well, ', 'ok so ', 'now, ', 'also, ',
          'excuse me, ', 'can you tell me ', 'could you tell me: ', 'do you know ', 'tell me: ', 'i wonder: ', 'paddock, ', 'starter, ', 'one more thing: ',
          'i am new here. ', 'just curious, ', 'another one: ', 'first, ', 'then ', 'question: ', '- ', 'q: ', 'hm, ', 'um, ', 'but ', 'i would like to ask: ']
AFTER = [' please', ', please', ' thanks', ', thanks', ', thank you', ' exactly', ' actually', ' then', ' again', ' in short', ' now', ' here', ' for me', ' at all',
         ', if i may ask', ' anyway', ' today', ' by default', ' in paddock', ' with paddock', ', do you know', ', can you tell me', ' in general', ' really', ' or not']
ENDS = {'question': ['?', '?', '?', '?', '', '', '', '??', '.', ' ?', '!', '?!', '...', ' ...', '???', ' -'], 'other': ['.', '.', '', '', '', '!', '?', '...', ' .']}
ASKING = re.compile(r'^(what|who|how|why|when|where|which|can|could|do|does|is|are|will|would|may|should|did|am|has|have)\b')

ASK = ['', '', 'tell me ', 'please tell me ', 'can you tell me ', 'could you tell me ', 'could you please tell me ', 'can you explain ', 'please explain ', 'explain ',
       'i want to know ', 'i would like to know ', 'do you know ', 'would you mind telling me ', 'may i ask ', 'i wonder ', 'explain to me ', 'show me ',
       'would you please tell me ', 'could you explain ', 'say ', 'help me understand ', 'let me know ', 'i need to know ', 'would you kindly tell me ']
ABOUT = ['tell me about {}', 'can you explain {}', 'please explain {}', 'i want to know about {}', 'what do you know about {}', 'give me the meaning of {}',
         'what is meant by {}', 'tell me something about {}', 'what exactly is {}', 'could you explain {} to me', 'please explain {} to me', 'define {}', '{}: what is it', '{}, what is that',
         'what is {} about', 'what is {} in simple words', "what's this {}", 'can you tell me about {}', 'a word about {}']
HOW_ELSE = ['how to {}', 'how do you {}', 'how do we {}', 'how does one {}', 'how can we {}', 'how can one {}', 'what is the way to {}', 'tell me how to {}',
            'show me how to {}', 'explain how to {}', 'what must i do to {}', 'i want to {}', 'i need to {}', 'i would like to {}', 'is there a way to {}', 'what is the best way to {}',
            'help me {}', 'can you help me {}', 'can i {}', 'which command do i use to {}', 'what command is there to {}', 'what do i type to {}', 'is it possible to {}',
            'what are the steps to {}', 'i am trying to {}', 'how might i {}', 'what is the command to {}', 'could you help me {}', 'let us {}', 'how do people {}']
TURNED = [
    (re.compile(r'^(what|who|where) (is|are) (.+)$'), lambda m, rng: f'{rng.choice(ASK)}{m[1]} {m[3]} {m[2]}'),
    (re.compile(r'^(?:what is|what are|explain|define|describe) (.+)$'), lambda m, rng: rng.choice(ABOUT).format(m[1])),
    (re.compile(r'^how (?:do|can|would|should) i (.+)$'), lambda m, rng: rng.choice(HOW_ELSE).format(m[1])),
    (re.compile(r'^how (?:do|can|would|should) i (.+)$'), lambda m, rng: f'{rng.choice(ASK)}how {rng.choice(["i can", "to", "i", "one can"])} {m[1]}'),
    (re.compile(r'^(?:do|must|can) i (need|have|use|run|pay|deploy) ?(.*)$'), lambda m, rng: f'{rng.choice(ASK)}{rng.choice(["if", "whether"])} i {m[1]} {m[2]}'),
    (re.compile(r'^(which|what) (\w+) (?:are there|exist)$'), lambda m, rng: f'{rng.choice(ASK)}{m[1]} {m[2]} there are'),
    (re.compile(r'^(?:how much|what) (?:does|do) (.+) cost$'), lambda m, rng: f'{rng.choice(ASK)}{rng.choice(["what", "how much"])} {m[1]} costs'),
    (re.compile(r'^what does (.+) mean$'), lambda m, rng: rng.choice([f'{rng.choice(ASK)}what {m[1]} means', f'what is the meaning of {m[1]}', f'what is {m[1]} about'])),
    (re.compile(r'^(which|what) (\w+) does (\w+) (\w+)$'), lambda m, rng: f'{rng.choice(ASK)}{m[1]} {m[2]} {m[3]} {m[4]}s'),
]
PLAIN_ASK = [one for one in ASK if one != '']

SHORT = [('what is', "what's"), ('who is', "who's"), ('where is', "where's"), ('how is', "how's"), ('how does', "how's"), ('what are', "what're"), ('who are', "who're"),
         ('do not', "don't"), ('does not', "doesn't"), ('is not', "isn't"), ('will not', "won't"), ('cannot', "can't"), ('i would', "i'd"), ('i am', "i'm"),
         ('it is', "it's"), ('that is', "that's"), ('are you', "r u"), ('do you', 'd you'), ('you', 'u'), ('please', 'pls'), ('i have', "i've"), ('what does', "what's"),
         ('want to', 'wanna'), ('and', '&'), ('to', '2')]
RARE_SHORT = 18
SHORT_WORDS = [(re.compile(rf'\b{long}\b'), short) for long, short in SHORT]


def reworded(question, rng):
    """Another beginning, as the grammar of the question allows it."""
    if rng.random() < 0.35:
        fitting = [(match, make) for form, make in TURNED if (match := form.match(question)) is not None]
        if fitting:
            match, make = rng.choice(fitting)
            question = re.sub(r'\s+', ' ', make(match, rng)).strip()
        elif ASKING.match(question) is not None and rng.random() < 0.4:
            question = rng.choice(PLAIN_ASK) + question
    return question


def shortened(text, rng):
    """Short forms, with or without their apostrophe."""
    fitting = [at for at, (form, _) in enumerate(SHORT_WORDS) if form.search(text) is not None]
    if not fitting:
        return text
    at = rng.choice(fitting)
    if at >= RARE_SHORT and rng.random() < 0.7:
        at = fitting[0]
    form, short = SHORT_WORDS[at]
    return form.sub(short if rng.random() < 0.6 else short.replace("'", ''), text, count=1)


def as_typed(question, rng):
    """The question as somebody might type it."""
    text = reworded(question, rng)
    asks = ASKING.match(text.lower()) is not None
    if rng.random() < 0.2:
        text = shortened(text, rng)
    if rng.random() < 0.15:
        text = rng.choice(BEFORE) + text
    if rng.random() < 0.15:
        text = rng.choice(GREETINGS) + rng.choice([', ', ', ', '. ', '! ', ' ', ' - ']) + text
    if rng.random() < 0.12:
        text += rng.choice(AFTER)
    if rng.random() < 0.2:
        for _ in range(rng.choice([1, 1, 1, 2])):
            text = with_slip(text, rng)
    if rng.random() < 0.04:
        text = text.replace(' ', rng.choice(['  ', '-', ' ']), 1)
    text += rng.choice(ENDS['question' if asks else 'other'])
    if rng.random() < 0.03:
        text = f'"{text}"'
    return in_case(text, rng)


def in_case(text, rng):
    how = rng.random()
    if how < 0.42:
        return sentences(text)
    if how < 0.76:
        return text
    if how < 0.91:
        return text.upper()
    if how < 0.97:
        return text.title()
    return ''.join(one.upper() if rng.random() < 0.3 else one for one in text)




NAMES = ['Paddock', 'Docker', 'GPU', 'GPUs', 'API', 'OpenAI', 'CPU', 'Postgres', 'Node', 'JSON', 'LLM', 'LoRA', 'Hub', 'I', 'Kubernetes', 'GGUF', 'H100', 'MI300X', 'Python']
NAME_AT = {name.lower(): name for name in NAMES}


def sentences(text):
    """As in a letter: names and beginnings with a capital."""
    text = re.sub(r"[a-z0-9]+", lambda match: NAME_AT.get(match[0], match[0]), text)
    return re.sub(r'(^\W*|[.!?] +)([a-z])', lambda match: match[1] + match[2].upper(), text)


NEAR = {left: row[at + 1] for row in ('qwertyuiop', 'asdfghjkl', 'zxcvbnm') for at, left in enumerate(row[:-1])}


def with_slip(text, rng):
    """One finger in the wrong place."""
    at = rng.randrange(len(text))
    if not text[at].isalpha():
        return text
    kind = rng.randrange(5)
    if kind == 0:
        return text[:at] + text[at + 1:]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    if kind < 4:
        return text[:at] + text[at + 1:at + 2] + text[at] + text[at + 2:]
    return text[:at] + NEAR.get(text[at], text[at]) + text[at + 1:]
