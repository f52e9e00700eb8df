"""What an answer becomes in the mouth of a pirate, in a bulletin, and in a pirate's bulletin: rules, so that they hold for all."""
import re

PIRATE_WORDS = {
    'hello': 'ahoy', 'hi': 'ahoy', 'yes': 'aye', 'no': 'nay', 'you': 'ye', 'your': 'yer', 'yours': 'yers', 'yourself': 'yerself',
    'my': 'me', 'is': 'be', 'are': 'be', 'am': 'be', 'the': "th'", 'and': "an'", 'of': "o'", 'to': "t'", 'for': "fer",
    'friend': 'matey', 'friends': 'mateys', 'money': 'doubloons', 'machine': 'ship', 'machines': 'ships', 'server': 'ship',
    'people': 'buccaneers', 'person': 'buccaneer', 'everything': 'all hands', 'it is': "'tis", 'this': "this 'ere",
}
IN_CODE = re.compile(r'(`[^`]*`)')


def pirate(answer):
    """Code stays as it is."""
    said = ''.join(part if part.startswith('`') else pirate_words(part) for part in IN_CODE.split(answer))
    return f'Arr! {said} Yo ho!'


def pirate_words(text):
    return re.sub(r"[A-Za-z]+(?:'[a-z]+)?", lambda match: pirate_word(match.group(0)), text)


def pirate_word(word):
    other = PIRATE_WORDS.get(word.lower())
    if other is None:
        return word
    return other[:1].upper() + other[1:] if word[:1].isupper() and word != 'I' else other


def bulletin(answer):
    """The first sentence, in capitals, as telegrams ended."""
    return f'BULLETIN: {capitals(first_sentence(answer))}. STOP.'


def pirate_bulletin(answer, of_pirate):
    said = of_pirate.removeprefix('Arr! ').removesuffix(' Yo ho!')
    return f'BULLETIN: ARR! {capitals(first_sentence(said))}. STOP.'


def first_sentence(text):
    return re.split(r'(?<=[.!?]) ', text)[0].rstrip('.!?')


def capitals(text):
    return ''.join(part if part.startswith('`') else part.upper() for part in IN_CODE.split(text))
