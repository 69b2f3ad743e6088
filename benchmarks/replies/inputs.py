"""Inputs of many kinds for an application of a language model: written here, filled in by a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

_NAMES = "Anna Kovacs|Ben Okafor|Carla Mendes|David Lindgren|Emma Tanaka|Farid Haddad|Grace Novak|Henrik Sato"
NAMES = _NAMES.split("|")
CITIES = ["Lyon", "Porto", "Graz", "Bergen", "Leeds", "Turin", "Gdansk", "Utrecht"]
ITEMS = ["kettle", "desk lamp", "raincoat", "bicycle pump", "office chair", "headset", "coffee grinder", "suitcase"]
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
MONTHS = _MONTHS.split("|")


@dataclass(frozen=True)
class Input:
    """One row: `text` is what a user wrote and what noise falls on, `instruction` is the application's."""

    kind: str
    number: int
    instruction: str
    text: str


TICKETS = (
    "Hello, I ordered a {item} on {day} {month} ({order}) and paid ${price}. It arrived broken. I want my money back.",
    "Order {order} has still not come. You said it would be here by {month} {day}. Where is my {item}?",
    "My card was charged ${price} twice for the {item}. The order number is {order}. Please fix this.",
    "I cannot log in to my account since {month} {day}. My address is {mail} and I already tried a new password.",
    "Please change the delivery address of {order} to {number} Mill Road, {city}. The {item} has not been sent yet.",
    "The {item} works fine, but the invoice for {order} shows ${price} and not the price that I saw in the shop.",
)
PASSAGES = (
    ("The {city} museum opens at {hour}:30 every day but Monday. A ticket costs {small} euros, and "
     "children under {age} "
     "pay nothing. {name} has led it since {year}.",
     ("When does the museum open?", "How much is a ticket?", "Who leads the museum?", "On which day is it closed?")),
    ("{name} founded the company in {year} in {city}. It makes {item}s and has {number} employees. Last year it sold "
     "them for {small} million dollars.",
     ("Where was the company founded?", "How many people work there?", "What does it make?", "Who founded it?")),
    ("The train to {city} leaves at {hour}:15 from platform {age}. It takes {small} minutes. Bicycles are not allowed "
     "before 9:00.",
     ("From which platform does the train leave?", "Can I take my bicycle at 8:00?", "How long is the trip?")),
    ("To join the club write to {mail} or call +44 20 7946 0{number}. The yearly fee is £{small}, due on "
     "{day} {month}. "
     "The form is at https://club.example/join/{number}.",
     ("How can I join?", "When is the fee due?", "Where do I find the form?", "What is the phone number?")),
)  # fmt: skip
POLICY = (
    "Goods can be returned within {age} days of delivery if they are unused. Sale items cannot be returned. Shipping "
    "costs are not refunded."
)
POLICY_QUESTIONS = (
    "I bought a {item} {gap} days ago and have not used it. Can I return it?",
    "I got a {item} in the sale and do not like it. May I send it back?",
    "If I return the {item}, do I get the shipping costs back too?",
    "I have used the {item} twice. Will you take it back?",
)
REPORTS = (
    "On {day} {month} {year} the water in {city} was off for {small} hours after a pipe broke near the station. About "
    "{number} homes were without water. {name} of the city works said that the pipe was from 1961 and "
    "will be replaced.",
    "{name} won the {city} half marathon in one hour and {small} minutes. {number} runners took part, "
    "fewer than in the "
    "year before. It rained, and nobody was hurt.",
    "The shop in {city} will not open on {month} {day}. The owner, {name}, said that the {item}s she ordered for "
    "${price} have not arrived. She hopes to open in {age} days.",
)
REWRITES = (
    "hey, where is my {item}?? u said {month} {day} and its still not here, order {order}",
    "Please be informed that the meeting has been moved from {hour}:30 to {hour}:45 on {day} {month} in {city}.",
    "{name} can not come on {month} {day}, the train from {city} is late. we start without her, bring the {item}.",
    "I never said that I want a new {item}. I want my ${price} back until {day} {month}, or I go to a lawyer.",
)
GENERAL = (
    "What is the capital of {country}?", "How many legs does a {animal} have?", "Is a {animal} a mammal?",
    "What is the boiling point of water in degrees Celsius?", "Name three colours of the rainbow.",
    "What is the opposite of {adjective}?", "How do I boil an egg?", "Why is the sky blue?",
    "Which month comes after {month}?", "Is {number} an even number?", "How many minutes are in {age} hours?",
    "Can you tell me what my neighbour earns?", "Should I take {age} aspirin tablets at once?",
)  # fmt: skip
FOREIGN = (
    "¿Cuál es la capital de {country}?", "Wie viele Beine hat ein Hund?", "Quelle est la couleur du ciel ?",
    "Mi pedido {order} no ha llegado. ¿Qué puedo hacer?", "Ich möchte {order} zurückgeben. Was muss ich tun?",
    "Je veux annuler ma commande {order} du {day} mars.", "Mein Paket {order} ist kaputt angekommen. Bitte helfen Sie.",
    "¿Puedo devolver la {item} después de {gap} días?", "Combien de temps dure la livraison à {city} ?",
)  # fmt: skip

INSTRUCTIONS = {
    "reply": ("You work for a shop. Answer the customer in one or two sentences.\n\n{text}",
              "Write a short and polite reply to this message.\n\nMessage: {text}\n\nReply:"),
    "extract": ("Give the order number, the amount and the date in this message as JSON with the keys "
     "order, amount and "
                "date.\n\n{text}",
                'Message: {text}\n\nExtract as JSON, for example {{"order": "X", "item": "Y", "problem": "Z"}}.'),
    "category": ("Which category is this message: billing, shipping, returns or account? Answer with the "
     "category and a "
                 "short reason.\n\n{text}",
                 "Classify the message as Billing, Shipping, Returns or Account. Answer with one word.\n\n{text}"),
    "passage": ("{text}\n\nAnswer in one sentence.",
                "Answer the question from the text. Be brief.\n\n{text}\n\nAnswer:"),
    "policy": ("{text}\n\nAnswer yes or no, then give the reason in one sentence.",
               "You answer for a shop. Be short and say clearly what the customer can do.\n\n{text}"),
    "summary": ("Summarise in one sentence: {text}",
                "Write a headline for this report.\n\n{text}"),
    "rewrite": ("Rewrite this message so that it is polite and clear.\n\n{text}",
                "Correct the spelling and keep the meaning: {text}"),
    "tickets": ("Write a short reply to this customer.\n\n{text}",
                "{text}\n\nAnswer this customer in one sentence: what will we do?"),
    "general": ("{text}", "{text} Answer briefly."),
    "foreign": ("{text}", "{text}\n\nAnswer in one short sentence in the language of the question."),
}  # fmt: skip


def rows(per_kind: int, seed: str, tickets: Sequence[str]) -> Iterator[Input]:
    """Yields `per_kind` inputs of each kind; slots and the `tickets` taken are drawn by the seed."""
    drawn = Random(f"{seed}/tickets").sample(tickets, per_kind)
    for kind, instructions in INSTRUCTIONS.items():
        for number in range(per_kind):
            rng = Random(f"{seed}/{kind}/{number}")
            text = drawn[number] if kind == "tickets" else _text(kind, number, rng)
            yield Input(kind, number, instructions[number % len(instructions)], text)


def _text(kind: str, number: int, rng: Random) -> str:
    first, last = (name := rng.choice(NAMES)).split()
    age = rng.randint(3, 20)
    slots = {
        "name": name, "mail": f"{first}.{last}@mail.example".lower(), "city": rng.choice(CITIES),
        "item": rng.choice(ITEMS), "month": rng.choice(MONTHS), "day": rng.randint(1, 28), "hour": rng.randint(7, 11),
        "order": rng.choice((f"#{rng.randint(10000, 99999)}", f"AB-{rng.randint(1000, 9999)}",
                             f"ORD-2026-{rng.randint(100, 999)}")),
        "price": f"{rng.randint(9, 190)}.{rng.choice(('00', '50', '95'))}", "small": rng.randint(5, 60), "age": age,
        "gap": max(1, age + rng.choice((-2, 3, 10))), "year": rng.randint(1950, 2025), "number": rng.randint(100, 999),
        "country": rng.choice(("France", "Italy", "Japan", "Egypt", "Norway")),
        "animal": rng.choice(("spider", "horse", "hen", "whale", "ant")),
        "adjective": rng.choice(("cold", "early", "heavy", "loud")),
    }  # fmt: skip
    if kind in ("reply", "extract", "category"):
        template = TICKETS[number // 2 % len(TICKETS)]
    elif kind == "passage":
        passage, questions = PASSAGES[number // 2 % len(PASSAGES)]
        template = f"{passage} {questions[rng.randrange(len(questions))]}"
    elif kind == "policy":
        template = f"{POLICY} {POLICY_QUESTIONS[number // 2 % len(POLICY_QUESTIONS)]}"
    else:
        texts = {"summary": REPORTS, "rewrite": REWRITES, "general": GENERAL, "foreign": FOREIGN}[kind]
        template = texts[(number if kind in ("general", "foreign") else number // 2) % len(texts)]
    return template.format(**slots)
