"""What the scores of pipeline/compare must give: by rouge-score, by SQuAD's script, and, for the
mode that they do not have, by a plain rendering of its definition."""

import collections
import re
import string
import unicodedata

from rouge_score import rouge_scorer

TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
ALONE = [(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007),
         (0x3021, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
         (0x1B000, 0x1B16F), (0x20000, 0x3FFFF)]


def lower(character):
    """The simple mapping, a final sigma as a sigma."""
    return character.lower()[0].replace("ς", "σ")


class UnicodeTokenizer:
    """NFKC, lower case, runs of letters, marks and numbers; letters of scripts that are written
    without spaces are words of their own."""

    def tokenize(self, text):
        words, open_word, is_alone = [], False, False
        for character in unicodedata.normalize("NFKC", text):
            kind = unicodedata.category(character)[0]
            if kind not in "LMN":
                open_word = is_alone = False
                continue
            starts = kind == "L" and any(a <= ord(character) <= b for a, b in ALONE)
            if starts or not open_word or (is_alone and kind != "M"):
                words.append("")
                is_alone = starts
            words[-1] += lower(character)
            open_word = True
        return words


PLAIN = rouge_scorer.RougeScorer(TYPES)
STEM = rouge_scorer.RougeScorer(TYPES, use_stemmer=True)
UNICODE = rouge_scorer.RougeScorer(TYPES, tokenizer=UnicodeTokenizer())


def squad_words(text):
    """normalize_answer of the official evaluate-v2.0.py, then split()."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def squad(reference, candidate):
    """-> exact match, F1; compute_exact and compute_f1 of evaluate-v2.0.py."""
    gold, given = squad_words(reference), squad_words(candidate)
    same = sum((collections.Counter(gold) & collections.Counter(given)).values())
    if not gold or not given:
        return int(gold == given), float(gold == given)
    if same == 0:
        return 0, 0.0
    precision, recall = same / len(given), same / len(gold)
    return int(gold == given), 2 * precision * recall / (precision + recall)


def rouge(reference, candidate):
    """-> 36 numbers: precision, recall and F of each type; plain, stemmed, in the Unicode mode."""
    out = []
    for scorer in (PLAIN, STEM, UNICODE):
        scores = scorer.score(reference, candidate)
        for name in TYPES:
            out += [scores[name].precision, scores[name].recall, scores[name].fmeasure]
    return out
