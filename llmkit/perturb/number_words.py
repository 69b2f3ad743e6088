"""Number words of other languages than English: noise leaves them as they are, as it leaves figures."""

from __future__ import annotations

import re
from functools import cache

from llmkit.perturb.graphemes import marks
from llmkit.perturb.languages import Language
from llmkit.perturb.protection import Span

# Cardinals, the commonest ordinals, halves, doubles, dozens. "ein" and "un" are articles, too: they stay as well.
_WORDS = {
    "de": """null ein eine einen einem einer eines eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf
    dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig dreißig vierzig fünfzig sechzig siebzig
    achtzig neunzig hundert tausend million millionen milliarde milliarden halb halbe halben halber halbes hälfte
    drittel viertel achtel doppelt doppelte doppelten dreifache dreifach einmal zweimal dreimal viermal dutzend paar
    anderthalb erste ersten erster zweite zweiten zweiter dritte dritten dritter vierte vierten beide beiden""",
    "es": """cero un una uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis
    diecisiete dieciocho diecinueve veinte veintiuno veintiún veintidós veintitrés veinticuatro veinticinco treinta
    cuarenta cincuenta sesenta setenta ochenta noventa cien ciento cientos doscientos trescientos cuatrocientos
    quinientos mil millón millones medio media mitad tercio cuarto cuarta doble triple docena docenas par primer primero
    primera segundo segunda tercer tercero tercera ambos""",
    "fr": """zéro un une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize vingt
    vingts trente quarante cinquante soixante septante huitante nonante cent cents mille million millions milliard
    demi demie moitié tiers quart quarts double triple douzaine paire premier première deuxième second seconde
    troisième""",
    "it": """zero un uno una due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici
    sedici diciassette diciotto diciannove venti trenta quaranta cinquanta sessanta settanta ottanta novanta cento
    mille mila milione milioni mezzo mezza metà terzo quarto doppio triplo dozzina paio primo prima secondo seconda""",
    "pt": """zero um uma dois duas três quatro cinco seis sete oito nove dez onze doze treze catorze quatorze quinze
    dezesseis dezessete dezoito dezenove vinte trinta quarenta cinquenta sessenta setenta oitenta noventa cem cento
    duzentos trezentos quinhentos mil milhão milhões meio meia metade terço quarto dobro triplo dúzia par primeiro
    primeira segundo segunda""",
    "nl": """nul een één twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien
    zeventien achttien negentien twintig dertig veertig vijftig zestig zeventig tachtig negentig honderd duizend
    miljoen half halve helft kwart dubbel dubbele dozijn paar eerste tweede derde""",
    "ru": """ноль один одна одно одну одного два две двух три трёх трех четыре четырёх пять пяти шесть шести семь семи
    восемь девять десять десяти одиннадцать двенадцать тринадцать четырнадцать пятнадцать шестнадцать семнадцать
    восемнадцать девятнадцать двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто сто двести
    триста четыреста пятьсот тысяча тысячи тысяч миллион половина половину пол треть четверть вдвое втрое дюжина пара
    первый первая второй вторая третий""",
    "hi": """शून्य एक दो तीन चार पाँच पांच छह छः छे सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह पन्द्रह सोलह सत्रह अठारह उन्नीस
    बीस पच्चीस तीस चालीस पचास साठ सत्तर अस्सी नब्बे सौ हज़ार हजार लाख करोड़ आधा आधी आधे पाव चौथाई तिहाई डेढ़ ढाई सवा दोगुना
    दुगुना तिगुना दर्जन पहला पहली दूसरा दूसरी तीसरा दोनों तीनों""",
    "ar": """صفر واحد واحدة اثنان اثنين اثنتان اثنتين ثلاث ثلاثة أربع أربعة خمس خمسة ست ستة سبع سبعة ثمان ثماني ثمانية
    تسع تسعة عشر عشرة عشرون عشرين ثلاثون ثلاثين أربعون أربعين خمسون خمسين ستون ستين سبعون سبعين ثمانون ثمانين تسعون
    تسعين مئة مائة مئتان مئتين ألف ألفان ألفين آلاف مليون نصف ثلث ربع ضعف ضعفي مرتين الأول الأولى الثاني الثانية""",
    "tr": """sıfır bir iki üç dört beş altı yedi sekiz dokuz on yirmi otuz kırk elli altmış yetmiş seksen doksan yüz bin
    milyon yarım yarısı buçuk çeyrek üçte dörtte çift düzine birinci ikinci""",
    "ko": """영 하나 한 둘 두 셋 세 넷 네 다섯 여섯 일곱 여덟 아홉 열 스물 스무 서른 마흔 쉰 예순 일흔 여든 아흔 백
    천 만 억 절반 반 두배 첫""",
    "pl": """zero jeden jedna jedno dwa dwie trzy cztery pięć sześć siedem osiem dziewięć dziesięć jedenaście dwanaście
    trzynaście czternaście piętnaście szesnaście siedemnaście osiemnaście dziewiętnaście dwadzieścia trzydzieści
    czterdzieści pięćdziesiąt sześćdziesiąt sto dwieście tysiąc pół połowa połowę podwójnie para tuzin""",
}
# Words that are written together with others: German and Dutch numbers, and those of scripts without spaces.
_WITHIN = {
    "de": r"\w*(?:und)?(?:zwanzig|dreißig|vierzig|fünfzig|sechzig|siebzig|achtzig|neunzig|hundert|tausend)\w*",
    "nl": r"\w*(?:ën|en)(?:twintig|dertig|veertig|vijftig|zestig|zeventig|tachtig|negentig)|\w*(?:honderd|duizend)\w*",
    "ko": r"\w{0}(?:열|스물|서른|마흔|쉰|예순|일흔|여든|아흔)(?:하나|한|둘|두|셋|세|넷|네|다섯|여섯|일곱|여덟|아홉)?"
    r"|\w{0}(?:[일이삼사오육칠팔구]?[십백천만억])+[일이삼사오육칠팔구]?(?:원|개|명|권|년|살|분|월|일)?",
    "th": "(?:ศูนย์|หนึ่ง|สอง|สาม|สี่|ห้า|หก|เจ็ด|แปด|เก้า|สิบ|เอ็ด|ยี่สิบ|ร้อย|พัน|หมื่น|แสน|ล้าน|ครึ่ง|โหล)+",
    "ja": "ひとつ|ふたつ|みっつ|よっつ|いつつ|むっつ|ななつ|やっつ|ここのつ|とお|ひとり|ふたり|はんぶん",
}
_PREFIX = {"ar": "وبلف"}  # one letter that Arabic writes together with the word after it: "and", "in", "for", "then"


def number_word_spans(text: str, language: Language) -> list[Span]:
    """Finds the number words of a language, as far as they are listed here for it.

    >>> from llmkit.perturb.languages import language_named
    >>> number_word_spans("Vierundzwanzig Äpfel und drei Birnen", language_named("de"))
    [(0, 14), (25, 29)]
    """
    code = language.code
    listed, within = _listed(code), _WITHIN.get(code)
    spans = [match.span() for match in _within(within).finditer(text)] if within else []
    if listed:
        prefixes = _PREFIX.get(code, "")
        for match in _word().finditer(text):
            word = language.lower(match.group())
            if word in listed or (word[:1] in prefixes and word[1:] in listed):
                spans.append(match.span())
    return spans


@cache
def _listed(code: str) -> frozenset[str]:
    return frozenset(_WORDS.get(code, "").split())


@cache
def _within(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)" if pattern.startswith("\\w") else pattern, re.IGNORECASE)


@cache
def _word() -> re.Pattern[str]:
    return re.compile(rf"[^\W\d_](?:[^\W\d_]|[{marks()}])*")
