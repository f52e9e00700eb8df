"""The tokenizer: byte-level pairs in llama.cpp's `llama-bpe` manner, learned from the text as people type it."""
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from examples import STYLES, answer_in
from manners import as_typed
from text import entries, one_of, stories

VOCABULARY = 2048
CONTROLS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
READS_PER_PATTERN = 12


def learned(seed):
    rng = random.Random(seed)
    texts = ['user\nassistant\nsystem\n'] * 200
    for one in entries():
        for style in STYLES:
            texts += [answer_in(one, style)] * (6 if style == 'plain' else 2)
        for pattern in one.patterns:
            texts += [as_typed(one_of(pattern, rng), rng) for _ in range(READS_PER_PATTERN)]
    texts += stories() * 3
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=CONTROLS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
