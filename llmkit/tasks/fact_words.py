"""The words by which facts are known in a reply: months, units, currencies, negations, refusals, opposites.

English first; months, function words, negations and refusals also of the languages that `llmkit.tasks.language` reads.
"""

from __future__ import annotations

import re

_MONTHS = (
    "january jan enero janvier janeiro januar gennaio januari",
    "february feb febrero février fevereiro februar febbraio februari",
    "march mar marzo mars março märz maart",
    "april apr abril avril aprile",
    "may mayo mai maio maggio mei",
    "june jun junio juin junho juni giugno",
    "july jul julio juillet julho juli luglio",
    "august aug agosto août augustus",
    "september sept sep septiembre septembre setembro settembre",
    "october oct octubre octobre outubro oktober ottobre",
    "november nov noviembre novembre novembro",
    "december dec diciembre décembre dezembro dezember dicembre",
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_WORDLIKE_MONTHS = "may march mar mai mars"
WORDLIKE_MONTHS = frozenset(_WORDLIKE_MONTHS.split())
"""Months that are also ordinary words: alone, they are months only with a capital letter."""

_DAYS = "monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday tonight"
DAYS = frozenset(_DAYS.split())

_UNITS = (
    "% percent per\\scent",
    "s sec secs second seconds",
    "min mins minute minutes",
    "h hr hrs hour hours",
    "day days",
    "week weeks",
    "month months",
    "year years",
    "mm millimetre millimetres millimeter millimeters",
    "cm centimetre centimetres centimeter centimeters",
    "m metre metres meter meters",
    "km kilometre kilometres kilometer kilometers",
    "inch inches",
    "ft foot feet",
    "mile miles",
    "g gram grams",
    "kg kilogram kilograms kilo kilos",
    "lb lbs",
    "oz ounce ounces",
    "ml millilitre millilitres milliliter milliliters",
    "l litre litres liter liters",
    "°c celsius degrees\\scelsius",
    "°f fahrenheit degrees\\sfahrenheit",
)
UNITS = {word.replace("\\s", " "): words.split()[0] for words in _UNITS for word in words.split()}

HOURS = {
    word: hour
    for hour, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
}

_CURRENCIES = (
    "USD $ us$ usd dollar dollars buck bucks",
    "EUR € eur euro euros",
    "GBP £ gbp pound pounds sterling",
    "JPY ¥ jpy yen",
    "CNY cny rmb yuan",
    "INR ₹ inr rs rupee rupees",
    "CHF chf franc francs",
    "cent ¢ cent cents penny pence",
)
CURRENCIES = {word: words.split()[0] for words in _CURRENCIES for word in words.split()[1:]}

# Words that carry no content of their own: two replies that differ in these only say the same.
FUNCTION_WORDS = {
    "en": "the a an is are was were be been am of and to for with that this these those so has have had he she it they"
    " we i you there in on at from by if will would can could should may might do does did as or but its his her their"
    " our your my me him them us what which who how when where than then also just very too any some each all more"
    " about into over up out not no nor n't s t re ve ll d m please well one here let yes okay sure i'm i've i'll i'd"
    " you're you've you'll we're we've we'll it's that's there's they're he's she's",
    "de": "der die das ein eine einen und ist sind war nicht mit von zu den dem im auf für sich wird hat haben sie er"
    " es wir ihr ich bei an als auch wie aus nach um am noch nur kann können ihre ihnen",
    "fr": "le la les un une des du de et est sont pas que qui dans pour avec sur vous nous il elle ce cette au aux ne"
    " se je son sa ses plus par votre vos être avez",
    "es": "el la los las un una unos y es son no que en de del por para con su sus se lo al como más pero está usted"
    " puede le me mi tu si o ha han",
    "pt": "o a os as um uma e é são não que em de do da dos das por para com seu sua se no na ao como mais mas está"
    " você pode lhe",
    "it": "il lo la gli le un una e è sono non che in di del della dei per con si al come più ma questo può",
    "nl": "de het een en is zijn niet dat in van op te voor met u je ik er aan om ook als bij uw kan",
}

_NEGATORS = (
    "not non never cannot without neither nor nobody none unable impossible hardly"
    " nicht kein keine keinen keiner keinem nie niemals pas jamais aucun aucune nunca ningún ninguna tampoco não nenhum"
    " niet geen нет не никогда नहीं"
)
_CONTRACTED = "ca wo do does did is are was were has have had could would should must need ai"
NEGATION = re.compile(
    rf"(?:{'|'.join(_NEGATORS.split())}|no|(?:{'|'.join(_CONTRACTED.split())})n['’]?t)", re.IGNORECASE
)
"""A token that negates what follows it."""
_POSSIBLE = "able eligible possible allowed permitted entitled accepted available"
POSSIBLE = frozenset(_POSSIBLE.split())
"""Words that hand a negation on to what is possible: "not eligible for return"."""
IDIOM = re.compile(
    r"\b(?:(?:do\snot|don['’]?t)\s(?:hesitate|worry|forget)|not\s(?:only|sure|certain)|no\s(?:problem|worries|doubt|later\sthan|matter)"
    r"|(?:why|whether\sor)\snot|not\sto\smention|if\snot|or\snot)\b",
    re.IGNORECASE,
)
"""Phrases with a negation that deny nothing."""
LACKING = re.compile(r"\bout\sof\s(?=stock|order|service|date|warranty)", re.IGNORECASE)
"""Denies what follows as "not" does."""
CONDITION = re.compile(
    r"\b(?:if|unless|whether|in\scase|until|wenn|falls|si|se|als)\b[^.,;:!?\n]{0,300}", re.IGNORECASE
)
"""A subordinate clause: its negation is not that of the claim."""

_AUXILIARY = r"(?:cannot|can['’]?t|can\snot|won['’]?t|will\snot)"
_HELP = (
    r"(?:help|assist|answer|fulfil{1,2}|comply|do\sthat|provide|discuss|recommend|advise|share|tell|access|disclose)"
)
REFUSAL = re.compile(
    rf"\bi\s{_AUXILIARY}\s(?:\w+\s){{0,1}}{_HELP}\b|\bwe\s{_AUXILIARY}\s(?:help|assist|answer)\b"
    r"|\bi(?:['’]?m|\sam)\s(?:\w+\s){0,2}(?:unable|not\sable|not\sallowed|not\spermitted|not\squalified|not\sequipped|not\scapable)\b"
    r"|\bi\s(?:do\snot|don['’]?t)\s(?:have\s(?:access|(?:any\s|enough\s|personal\s)?information|the\s(?:cap)?ability)|know\b)"
    r"|\b(?:does\snot|doesn['’]?t)\s(?:say|mention|specify|state|provide|contain|include)\b|\bno\sinformation\b"
    r"|\bas\san\s(?:ai|artificial)\b|\bi\smust\s(?:decline|refuse)\b|\bagainst\smy\s(?:policy|guidelines)\b"
    r"|\bi\s(?:have\sto|must)\srefuse\b"
    r"|\bich\skann\s(?:\w+\s){0,3}nicht\b|\bje\sne\s(?:peux|sais)\spas\b|\bno\s(?:puedo|tengo\sacceso)\b"
    r"|\bnão\s(?:posso|consigo)\b|我(?:无法|不能|没办法)|я\sне\sмогу|मैं\s(?:\w+\s)?नहीं|できません",
    re.IGNORECASE,
)
"""Words by which an application says that it cannot or will not help, or has no answer."""
REFUSAL_REACH = 300
"""Characters from the beginning of a reply in which a refusal is looked for: further on it limits an answer."""

PLEASANTRY = re.compile(
    r"\b(?:sorry|apolog\w+|thank(?:s|\syou)|(?:be|am|['’]m)\s(?:always\s)?(?:happy|glad)\sto|hope\s(?:this|you|that\shelps)"
    r"|feel\sfree|let\s(?:me|us)\sknow(?!\s(?:which|what|where|when|who|how|the|your))|(?:best|kind|warm)\sregards|sincerely|hesitate|here\sto\s(?:help|assist)"
    r"|(?:other|further|more|any)\squestions|welcome|great\squestion|of\scourse|certainly|dear|have\sa\s\w+\sday"
    r"|need\s(?:any\s|some\s)?(?:help|assistance)|designed\sto\s(?:assist|help|provide)"
    r"|(?:as|i['’]m|i\sam|you['’]re|you\sare)\san?\s(?:\w+\s){0,2}(?:ai|chatbot|assistant)"
    r"|help\syou\s(?:with\sthat|today)|assist\syou\s(?:with\sthat|today)"
    r"|tut\s(?:mir|uns)\sleid|vielen\sdank|gerne|gracias|lo\ssiento|merci|désolé\w*|obrigad[oa]|desculpe)\b",
    re.IGNORECASE,
)
"""Words of a clause that is there for politeness only."""

REQUEST = re.compile(
    r"\b(?:please|bitte|por\sfavor|veuillez|merci\sde|per\sfavore|alstublieft)\b([^.!?;,\n]{1,120})", re.IGNORECASE
)
"""Begins what a reply asks its reader to do."""
_IDLE = "go ahead make sure try note let know hesitate feel free contact reach get give see check"
IDLE = frozenset(_IDLE.split())
"""Words of a request that name neither what is asked for nor whom to ask."""

_OPPOSITES = (
    "accept reject|approve deny|approve decline|allow forbid|allow prohibit|permit prohibit|open close|"
    "increase decrease|rise fall|enable disable|include exclude|true false|possible impossible|"
    "valid invalid|eligible ineligible|available unavailable|early late|hot cold|left right|win lose|"
    "buy sell|safe unsafe|safe dangerous|even odd|correct incorrect|correct wrong|before after|"
    "above below|maximum minimum|used unused|paid unpaid|positive negative|success failure|legal illegal|"
    "refundable nonrefundable|always never"
    "|rose fell|grow shrink|grew shrank|gain loss|pass fail"
)
OPPOSITES = tuple(tuple(pair.split()) for pair in _OPPOSITES.split("|"))

# Heads of a line that announce text and are no label of it, and words that open a letter or a chat.
_NO_LABEL = (
    "subject re to from reply response message note summary headline title question explanation reason"
    " example json output step text customer user assistant system dear hello hi hey thanks thank sorry sure"
    " certainly regards sincerely well okay ok here however first second finally also so then now today"
    " unfortunately please great absolutely hola gracias bonjour merci hallo danke olá obrigado"
)
NO_LABEL = frozenset(_NO_LABEL.split())
_LABEL_HEADS = (
    "category class classification label answer type intent topic sentiment status decision verdict result"
    " priority urgency department kategorie antwort categoría respuesta catégorie réponse categoria resposta"
)
LABEL_HEADS = frozenset(_LABEL_HEADS.split())
