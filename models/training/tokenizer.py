"""Make the CLIP tokenizer: byte-level BPE with `</w>`, learnt on captions and plain English words.

    python -m models.training.tokenizer

All 256 bytes are tokens, alone and at the end of a word, so any prompt in any script has tokens.
Format: https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer
from transformers.models.clip.tokenization_clip import bytes_to_unicode

from models.scenes import STYLES, Scene, styled
from models.training.places import BASE

MERGES = 640
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
Word = tuple[str, ...]


def count_words() -> Counter[Word]:
    """Words of 2,000 captions and of `words.txt`, as tuples of byte symbols."""
    counts: Counter[str] = Counter()
    for seed in range(2000):
        style = STYLES[seed % len(STYLES)] if seed % 4 == 0 else None
        counts.update(styled(Scene.sample(seed).caption(), style).replace(",", " ,").split())
    for word in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").split():
        counts[word] += 20
    table = bytes_to_unicode()
    symbols: Counter[Word] = Counter()
    for word, count in counts.items():
        letters = [table[byte] for byte in word.encode()]
        symbols[(*letters[:-1], letters[-1] + "</w>")] += count
    return symbols


def merge_word(word: Word, pair: tuple[str, str]) -> Word:
    """Join every occurrence of `pair` in `word`."""
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def learn_merges(words: Counter[Word], limit: int) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016): join the most frequent pair, `limit` times."""
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        joined: Counter[Word] = Counter()
        for word, count in words.items():
            joined[merge_word(word, best)] += count
        words = joined
    return merges


def main() -> None:
    """Write the tokenizer to `models/base/tokenizer`."""
    merges = learn_merges(count_words(), MERGES)
    letters = list(bytes_to_unicode().values())
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += [a + b for a, b in merges] + [BOS, EOS]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    folder = BASE / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        model_max_length=77,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        unk_token=EOS,
    ).save_pretrained(str(folder))
    print(f"{len(vocabulary)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
