"""The smallest words of twelve languages in Latin letters, and the language of a text judged by them."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

_WORD = re.compile(r"[^\W\d_]{2,}")
_MOST = 400  # words that are looked at, at most: the first of a text
_LEAST = 0.15  # of a text's words, the share of small ones that any language has

# The commonest small words of each language. Those that English has, too, or that are one of its small words with the
# letters in another order ("het"), are not counted.
_SMALL = {
    "en": "the of to and is are was were be been it its he she they we you your his her their our my me this that "
    "these those for with from at by not what which who when where why how many much each more than then there have "
    "has had do does did will would can could should if or but as after before about into all any some out up please "
    "no so us him am an one two per go",
    "de": "und der das ist nicht ich wir mit f\u00fcr auf ein eine einen einem einer eines von zu dem wie wann "
    "warum wenn aber oder mein meine meinen meiner ihr ihre ihren sie bei nach noch nur auch kann haben hatte habe "
    "wird werden bin sind dass sich mir mich bitte seit kein keine mehr sehr schon jetzt wurde durch \u00fcber sein "
    "seine viele wo vom zum zur danke hallo wieder immer etwas alle "
    "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig hundert tausend doppelt hälfte isst "
    "jeden jeder jedes jede davon seiner seinem seinen ihrem kostet kosten bleiben bleibt übrig jahre jahr "
    "stunde stunden minuten leute kinder verkauft kauft gibt fährt läuft fasst geht steht "
    "zusammen insgesamt heute morgen",
    "es": "que el la los las una unos del por para con como pero m\u00e1s mas esta est\u00e1 este esto cuando "
    "donde porque muy mi sus ya se lo le su es en al un de hay ser tiene tengo quiero puedo hola gracias cu\u00e1ndo "
    "cuantos cuantas cu\u00e1ntos cu\u00e1ntas c\u00f3mo desde hasta sobre tambi\u00e9n si nos "
    "cuánto cuánta cuanto cuanta cuesta cuestan dos tres cuatro cinco seis siete ocho nueve diez doce veinte "
    "cada uno día días año años ahora hoy tienen compra vende corre mañana quedan recibe reparten",
    "fr": "le la les des une du et est que qui dans pour pas par avec sur sont ont nous vous ils elle elles je mon "
    "ma mes ses ce cette ces quand comment pourquoi mais ou o\u00f9 au aux plus tr\u00e8s bonjour merci combien il un "
    "de en suis ai votre notre leur depuis jamais aussi se sa "
    "deux trois quatre cinq huit neuf vingt coûte coûtent chaque jour jours heures semaine année achète "
    "vend restent",
    "it": "il lo gli che di del della dei delle una non con sono mio mia mi si pi\u00f9 quando dove perch\u00e9 "
    "perche ma anche questo questa quanto quanti quante ho hai ha alla al dal nel nella la le un ciao grazie come "
    "molto ancora ed",
    "pt": "os um uma do da dos das que para com n\u00e3o nao mais meu minha por em no na nos nas quando onde "
    "porque muito seu sua ele ela est\u00e1 foi tem tenho quero ol\u00e1 ola obrigado quantos quantas como de se ao",
    "nl": "een van niet ik mijn dat die op te voor met zijn maar ook nog wel hoe wanneer waarom waar als aan "
    "wat heb heeft hebben kan wordt naar bij uit er je jij uw hij zij wij deze dit graag hoeveel geen meer sinds",
    "sv": "och att det som en ett jag har inte med f\u00f6r p\u00e5 av den till var hur n\u00e4r varf\u00f6r min "
    "mitt mina vi ni eller men fr\u00e5n kan ska \u00e4r om tack hej sedan m\u00e5nga",
    "da": "og at det som en et jeg har ikke med for p\u00e5 af den til hvor hvorn\u00e5r hvorfor min mit mine vi "
    "eller men fra kan skal er om tak hej siden mange",
    "pl": "nie si\u0119 sie na jest to co jak kiedy gdzie dlaczego m\u00f3j moje ale czy od po za przez ile ma mam "
    "prosz\u0119 prosze dzie\u0144 tego tym jestem by\u0142 juz",
    "tr": "bir ve bu ne i\u00e7in icin ile nas\u0131l nerede zaman neden kadar daha ama de\u011fil var yok benim "
    "ben siz biz \u00e7ok cok nedir",
    "id": "yang di ke dari untuk dengan ini itu saya anda tidak bisa ada sudah belum berapa kapan apa "
    "bagaimana kenapa adalah akan pada tolong",
}


def foreign_language(text: str) -> str:
    """Returns the language other than English that a text is in: more of its words are small words of that one than of
    English, and as many as a text has; "" for English, and where no small word says more.

    Noise hardly makes the one of the other.

    >>> foreign_language("Wann kommt mein Paket an?"), foreign_language("Wehn deos my pakcage arirve?")
    ('de', '')
    """
    languages = _languages()
    counts: Counter[str] = Counter()
    number = 0
    for number, match in enumerate(_WORD.finditer(text), 1):
        if number > _MOST:
            break
        counts.update(languages.get(match.group().lower(), ()))
    english = counts.pop("en", 0)
    if not counts:
        return ""
    language = max(counts, key=counts.__getitem__)
    return language if counts[language] > max(english, _LEAST * number) else ""


@cache
def _languages() -> dict[str, tuple[str, ...]]:
    """Returns the languages of each small word. One that noise makes of an English one says nothing of others."""
    english = {"".join(sorted(word)) for word in _SMALL["en"].split()}
    known: dict[str, tuple[str, ...]] = {}
    for language, words in _SMALL.items():
        for word in dict.fromkeys(words.split()):
            if language == "en" or "".join(sorted(word)) not in english:
                known[word] = (*known.get(word, ()), language)
    return known
