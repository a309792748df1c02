"""Makes pairs.jsonl and stems.txt, what test_rouge and test_porter compare with.

    pip install rouge-score==0.1.2 nltk==3.10.4
    python make.py

draft2020-12/ is the meta-schema of JSON Schema 2020-12, from jsonschema-specifications 2025.9.1
(MIT).
"""

import json
import random
from pathlib import Path

from nltk.stem import porter

import references

FOLDER = Path(__file__).parent
ENGLISH = """The delivery of forty wooden pallets arrived at warehouse nine on Monday morning .
Several pallets were damaged , and the driver's note (signed twice) says the carrier agrees to pay .
An inspection of the cold store found three failed seals ; nothing else was wrong .
The committee decided to postpone the conditional approval of an organizational budget , hopefully
rationalizing the geological analyses of flying , dying and lying skies""".split()
OTHERS = {
    "de": "Der Maßstab für größere Straßen ist „üblich“ – der Hund läuft 12,5 km über die Straße",
    "fr": "L'été dernier l’élève a réussi à traverser la forêt où naît l’œuvre ; c'est ça",
    "el": "Ο σκύλος πηδάει πάνω από την ΟΔΟΣ οδός ΣΟΦΟΣ σοφος",
    "ru": "Быстрая коричневая лиса прыгает через ленивую собаку Ёлка ёлка",
    "tr": "İstanbul Istanbul ışık IŞIK iğne İĞNE güzel",
    "zh": "快速的棕色狐狸跳过了懒狗。 今天天气很好， １２３ 我们去公园。",
    "ja": "素早い茶色の狐は怠け者の犬を飛び越えます。 カタカナ ｶﾀｶﾅ が ガ 々 東京2024年",
    "ko": "빠른 갈색 여우가 게으른 개를 뛰어넘습니다 서울 2024년",
    "ar": "الثعلب البني السريع يقفز فوق الكلب الكسول مُحَمَّد ١٢٣",
    "hi": "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है हिन्दी १२",
    "th": "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้าม สุนัขขี้เกียจ ๑๒ กำลัง",
    "odd": "\u212a ﬁne Å A\u030a a\u0301n the\u0301 a\u2003an \x1cthe\x1f T_H_E a.n"
           " “the” 😀 x\u200dy ﷺ ½ Ⅷ Ⱥ",
}
SUFFIXES = """s es sses ies ied ed eed ing at ating bl bled iz izing y ational tional
enci anci izer bli alli ationalli entli eli ousli ization ation ator alism iveness
fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al
ance ence er ic able ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize
e ll lling ss lly ably ally""".split()
IRREGULAR = """sky skies dying lying tying news innings inning outings outing cannings
canning howe proceed exceed succeed die lie tie dies flies died y yy yyy ay eed feed
agreed a1b2 2024 x1ing""".split()
ROOTS = """rel condit hop fall fil siz controll roll ceas rat prob formal digit electr
adopt depend activ homolog communic bowdler gyroscop effect adjust irrit replac
triplic hesit oper vietnam sens decis predic feudal angular cre tri plaster bled mot
sing conflat troubl tan hiss fizz happ analog archae psych apo ty cry toy ayb oyy bee
o""".split()


def text(random_, words):
    out = ""
    for _ in range(random_.choice([0, 1, 3, 8, 20, 45])):
        word = random_.choice(words)
        out += word.upper() if random_.random() < 0.1 else word
        out += random_.choice([" "] * 8 + ["\n", ".\n", ", ", "-"])
    return out


def pairs(random_):
    for name in ["en"] * 20 + list(OTHERS) * 2:
        words = ENGLISH + (OTHERS[name].split() * 3 if name != "en" else [])
        reference = text(random_, words)
        kept = " ".join(w for w in reference.split(" ") if random_.random() < 0.7)
        yield reference, random_.choice([kept, text(random_, words)])


def main():
    random_ = random.Random(8)
    with open(FOLDER / "pairs.jsonl", "w", encoding="utf-8") as file:
        for reference, candidate in pairs(random_):
            values = references.rouge(reference, candidate)
            exact, f1 = references.squad(reference, candidate)
            line = dict(reference=reference, candidate=candidate, rouge=values, exact=exact, f1=f1)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    stemmer = porter.PorterStemmer()
    words = sorted({root + suffix for root in ROOTS for suffix in SUFFIXES} | set(IRREGULAR))
    with open(FOLDER / "stems.txt", "w", encoding="ascii") as file:
        for word in words:
            file.write(f"{word} {stemmer.stem(word)}\n")


if __name__ == "__main__":
    main()
