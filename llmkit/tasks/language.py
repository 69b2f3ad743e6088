"""The words with which languages announce an answer, take it back and say yes or no, and their decimals.

English, Chinese, Hindi, Spanish, French, Arabic, Bengali, Portuguese, Russian, Urdu; German and Japanese beside them.
"""

from __future__ import annotations

import re


def _either(*lists: str) -> str:
    """Returns a pattern for any phrase of lists with " | " between them; scripts without spaces have no word ends."""
    phrases = sorted((phrase.strip() for text in lists for phrase in text.split(" | ")), key=len, reverse=True)
    unspaced = [phrase for phrase in phrases if _UNSPACED.search(phrase)]
    spaced = [phrase for phrase in phrases if not _UNSPACED.search(phrase)]
    return "|".join([rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)", *unspaced])


_UNSPACED = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")

# The noun that announces the answer, and the verb between the two. English has a finer pattern in `answers`.
ANSWER = _either(
    "respuestas? | resultado | solución | réponse | résultat | solution | resposta | solução",
    "Antwort | Ergebnis | Endergebnis | Lösung | ответ | результат",
    "答案 | 答え | 答(?=\\s?[:：是はえ]) | 解答 | 正解 | 回答",
    "उत्तर | जवाब | উত্তর | الجواب | الإجابة | الاجابة | إجابة | جواب",
)
IS = _either(
    "es | son | sería | est | sont | é | são | seria | ist | sind | lautet | lauten | beträgt | равен | равно | это",
    "应该是 | 應該是 | 就是 | 是 | 为 | 為 | は | है | हैं | হল | হলো | হচ্ছে | هو | هي | ہے",
)

# Words that withdraw what stands before them.
RETRACTED = re.compile(
    _either(
        "wait | actually | correction | sorry | oops | hold on | scratch that | on second thought",
        "i meant | my mistake",
        "i made an? (?:mistake|error) | let me (?:correct|fix|redo) | no, (?:it|that|the)",
        "(?:it )?should (?:actually |really |rather )?be",
        "en realidad | perd[óo]n | me equivoqué | mejor dicho | pardon | en fait | plutôt | je me suis trompé",
        "na verdade | desculpe | aliás | нет, | вернее | точнее | на самом деле | извините",
        "tatsächlich | korrektur | entschuldigung | halt, | eigentlich | vielmehr",
        "等等 | 不对 | 不對 | 更正 | 其实 | 其實 | 应该是 | 抱歉 | いや、 | 訂正 | すみません | 正しくは",
        "वास्तव में | माफ़ | रुको | दरअसल | আসলে | দুঃখিত | ভুল হয়েছে",
        "في الواقع | عفوا | عذرا | بل هو | دراصل | معاف | نہیں، | درحقیقت",
    ),
    re.IGNORECASE,
)

# Words that announce a conclusion at the beginning of a sentence.
CONCLUDED = re.compile(
    r"[*_#>\s]*+(?:"
    + _either(
        "so | therefore | thus | hence | in total | altogether | overall | finally | in conclusion | consequently",
        "as a result | this means | that means | por lo tanto | por tanto | así que | entonces | en total",
        "donc | ainsi | par conséquent | au total | portanto | logo | assim | no total",
        "значит | итого | следовательно | таким образом | поэтому | daher | somit | folglich | insgesamt | deshalb",
        "所以 | 因此 | 故 | 总共 | 一共 | したがって | よって | だから | 合計 | इसलिए | अतः | कुल",
        "তাই | সুতরাং | অতএব | মোট",
        "إذن | لذلك | بالتالي | المجموع | لہذا | اس لیے | چنانچہ | کل",
    )
    + ")",
    re.IGNORECASE,
)

# Prepositions before a number that is a circumstance, not what is asked for: "for 16 glasses", "after 4 days".
BESIDE = re.compile(
    r"(?:\b(?:for|after|in|with|per|from|of|at|on|by|over|during|within|every|each|than|among|across|including|before|until|since"
    r"|these|those|all|the|between|para|por|en|con|después de|durante|cada|los|las|pour|après|pendant"
    r"|avec|dans"
    r"|chaque|les|des|em|com|depois de|durante|os|für|nach|mit|pro|je|den|die|на|за|в|для|через|после|из|по|с"
    r"|لـ?|في|بعد|خلال|مقابل|من|على)\s+|(?<!\w)[$€£]?@\s?)(?:(?:just|only|about|around|all|the|his|her|their|these|those|next|first|last"
    r"|remaining|original|other)\s+)*[$€£¥₹(*_\s]*$",
    re.IGNORECASE,
)
SUMMED = re.compile(
    r"\bputs?\s(?:\w+\s)?in\s$|\b(?:total|sum|amount|number|result|answer|cost|price|left|leaves|leaving|average|value|profit|length|area|age|score"
    r"|speed|rate|maximum|minimum|equals?|rest|remainder|up|ends|comes|result|difference|product|weight|height|distance"
    r"|volume|share|discount|estimate"
    r"|total|suma|somme|soma|valor|precio|costo|prix|coût|preço|promedio|moyenne|média"
    r"|reste|queda|resta|сумма|сумму|итого|Summe|insgesamt|Preis|Kosten)\s+(?:\w+\s+)?(?:of|with|at|to|de|à|a|em|von"
    r"|в|up to)\s+(?:about|exactly|only|just|approximately)?\s*[$€£¥₹(*_\s]*$",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"(?:\b(?:eliminate|exclude|discard|rule out|not|isn'?t|isn’t|n't|never|nor|rather than|instead of|no es|n'est pas"
    r"|pas|não é|не|nicht|kein|keine)\s+"
    r"(?:\w+\s+)?|不是|并非|ではなく)[$€£¥₹(*_\s]*$",
    re.IGNORECASE,
)

YES = "yes yeah yep true sí oui vrai sim verdadeiro cierto verdadero да верно ja wahr stimmt"
YES += " हाँ हां सही সত্য হ্যাঁ نعم صحيح ہاں"
NO = "no nope false non faux falso não нет неверно nein falsch नहीं गलत ग़लत मिथ्या না মিথ্যা لا خطأ نہیں غلط"
YES_UNSPACED = "是的 是 对的 对 正确 はい"
NO_UNSPACED = "不是 不对 不 否 错误 错 いいえ"

_COMMA_WORDS = (  # of languages that write a decimal comma: Spanish, French, Portuguese, German, Italian, Dutch
    "sie er es wir insgesamt kostet hat also antwort respuesta réponse resposta cuesta coûte custa reais euros tiene"
    " queda el la los las un una es son está que por para con del más su en de y le les des est sont une et pour"
    " dans avec qui il elle ce du au nous combien os as um uma é são em no na não com do da ele ela quantos der die"
    " das ein eine ist sind und für mit von wie viele zu den im auf nicht sich wird hat gli"
    " di che per della het een van zijn"
)
_POINT_WORDS = (
    "the a an is are was of and to for with that this so has have had he she it they there how many each in on at from"
    " by if we i you be will would"
)
_FUNCTION_WORDS = {True: frozenset(_COMMA_WORDS.split()), False: frozenset(_POINT_WORDS.split())}
_WORDS = re.compile(r"[^\W\d_]+")
AMBIGUOUS = re.compile(r"(?<![\d.,])\d{1,3}[.,]\d{3}(?![\d.,]*\d)")
_COMMA_SEEN = re.compile(r"\d\.\d{3},\d|(?<![\d.,])\d+,(?:\d{1,2}|\d{4,})(?![\d,])")
_POINT_SEEN = re.compile(r"\d,\d{3}\.\d|(?<![\d.,])\d+\.(?:\d{1,2}|\d{4,})(?![\d.])|\d,\d{3},\d{3}")
_READ = 4000  # characters; a language shows itself sooner


def writes_comma(text: str, context: str = "") -> bool:
    """Returns whether "1.250" is twelve hundred and fifty in this text, and "1,250" one and a quarter, as in German or
    Spanish.

    What its unmistakable numbers show ("3,5", "2.50") decides; else its language, and that of `context`.
    """
    if not AMBIGUOUS.search(text):
        return False
    for place in (text, context):
        seen = bool(_COMMA_SEEN.search(place)), bool(_POINT_SEEN.search(place))
        if seen[0] != seen[1]:
            return seen[0]
    words = [word.lower() for word in _WORDS.findall(text[-_READ:] + " " + context[:_READ])]
    if sum("\u0400" <= word[0] <= "\u04ff" for word in words) > len(words) / 2:
        return True
    comma, point = (sum(word in _FUNCTION_WORDS[way] for word in words) for way in (True, False))
    return comma > point
