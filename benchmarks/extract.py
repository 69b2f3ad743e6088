"""Writes the rows of examples/extract: orders.csv, which is asked, and orders-train.jsonl, which recipes/extract.yaml
trains on.

    python benchmarks/extract.py

A mail is a sentence that orders something, with others around it. No sentence and no name is in both files.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from example_rows import Chat, chats, lines, table, write_chats

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "extract"
TRAINED, ASKED = 630, 300
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 8: "eight", 10: "ten", 12: "twelve", 20: "twenty"}
# fmt: off
PRODUCTS = [
    "rye bread", "walnut bread", "onion bread", "apple cake", "carrot cake", "lemon cake", "cherry tart", "plum tart",
    "butter croissant", "cinnamon bun", "cheese roll", "poppy seed roll", "almond biscuit", "pretzel",
]
NAMES = {
    "train": [
        "Maria", "Thomas", "Anna", "Peter", "Laura", "Martin", "Julia", "Stefan", "Emma", "Daniel", "Sophie", "Michael",
        "Clara", "Oliver", "Hannah", "George", "Nora", "Simon", "Alice", "Frank", "Irene", "Victor", "Helen", "Robert",
        "Monica", "Patrick", "Sandra", "Edward", "Judith", "Walter", "Teresa", "Gabriel", "Louise", "Vincent", "Rosa",
        "Philip",
    ],
    "test": [
        "Barbara", "William", "Katharina", "Nicholas", "Margaret", "Jonathan", "Elizabeth", "Sebastian", "Charlotte",
        "Andrew", "Veronica", "Leonard", "Francesca", "Dominic", "Caroline", "Matthew", "Isabel", "Gregory",
    ],
}
# fmt: on

ORDERS = {
    "train": """
        I would like to order {q} {p} for {d}.
        Please put {q} {p} aside for me, I come by on {d}.
        Could you bake {q} {p} for us by {d}?
        We need {q} {p} on {d}.
        My order for {d}: {q} {p}.
        Can I have {q} {p} for {d} morning?
        On {d} I will pick up {q} {p}, if that is all right.
        {q} {p} for {d}, please.
        May I reserve {q} {p} until {d}?
        Would it be possible to get {q} {p} this {d}?
        For the party on {d} we want {q} {p}.
        Kindly prepare {q} {p} for {d} afternoon.
        I want to buy {q} {p}, to be collected on {d}.
        Please note an order of {q} {p} for next {d}.
        It is about {d}: we would take {q} {p}.
        Our office wants {q} {p} on {d} at nine.
        Do you have {q} {p} left for {d}?
        {d} would be the day, and {q} {p} is all we need.
        Please deliver {q} {p} on {d}.
        I am ordering {q} {p}, and {d} suits me best.
        Send {q} {p} to our shop on {d}, please.
        My husband will fetch {q} {p} on {d}.
        For {d} I need {q} {p} and nothing else.
        Can you manage {q} {p} before {d} noon?
        Please add {q} {p} to the list for {d}.
        We are having guests on {d} and would love {q} {p}.
        Last week I had {x} {y}, this time make it {q} {p} for {d}.
        Not {y} again, but {q} {p} on {d}, please.
        I first wanted {x}, but please make it {q} {p} for {d}.
        It is only {e} today, still I want to be early: {q} {p} for {d}.
        Forget what I said about {e}; {q} {p} on {d} is right.
        The {y} were lovely, so now {q} {p} for {d}.
        """,
    "test": """
        How about {q} {p} for us on {d}?
        Please keep {q} {p} ready, my son comes to the counter on {d}.
        I should like to have {q} {p} waiting for me on {d}.
        On {d} there is a meeting here, and {q} {p} would be perfect for it.
        We would be glad of {q} {p} by {d} evening.
        Is there any chance of {q} {p} on {d}?
        Write me down for {q} {p}, {d} if you can.
        I hope to collect {q} {p} from you this coming {d}.
        Here is what we need on {d}: {q} {p}.
        Make that {q} {p}, and I will be there on {d}.
        Our club meets on {d}, so please get {q} {p} ready.
        Next {d} my mother turns seventy, and I promised to bring {q} {p}.
        The school fair is on {d}, could you supply {q} {p}?
        Let me have {q} {p} on {d}, as agreed on the phone.
        Book {q} {p} in my name for {d}, thank you.
        I spoke to your colleague about {y}, but we decided on {q} {p} for {d}.
        Instead of the usual {x} {y} we would like {q} {p} on {d}.
        Today is {e}, so there is time enough to bake {q} {p} for {d}.
        Yesterday somebody told me {x}, yet we will be more people: {q} {p} for {d}.
        No {y} for once: on {d} it has to be {q} {p}.
        """,
}
GREETINGS = {
    "train": ["Hello,", "Good morning,", "Dear team,", "Hi there,", "Hello again,"],
    "test": ["Good evening,", "Dear bakers,", "Hi all,"],
}
BEFORE = {
    "train": """
        I was in your shop yesterday.
        I hope you are well.
        A friend recommended you.
        Thank you for the quick answer.
        I tried to call, but nobody picked up.
        We have a small celebration.
        """,
    "test": """
        My neighbour praises your shop.
        Nobody answered the phone this morning.
        It is me again.
        We are new in town.
        """,
}
AFTER = {
    "train": """
        I will pay in cash.
        Please confirm.
        Thanks a lot!
        Is that possible?
        No bag needed.
        We come shortly after eight.
        Do not slice anything.
        Many thanks in advance.
        """,
    "test": """
        A short reply would be nice.
        I pay by card when I come.
        Thank you for your trouble!
        A paper bag will do.
        Please call if anything is unclear.
        """,
}
FROM = {
    "train": """
        {n}
        Best wishes, {n}
        Regards, {n}
        My name is {n}.
        It is for {n}.
        Yours, {n}
        Please write {n} on the bag.
        """,
    "test": """
        Cheers, {n}
        See you soon, {n}
        Put it under {n}, please.
        With kind regards from {n}
        {n} is the name.
        """,
}


def mails(part: str, count: int, seed: int = 7) -> list[tuple[str, dict[str, str | int]]]:
    """Returns different mails with the orders in them; each ordering sentence is used equally often."""
    random = Random(f"{seed}/{part}")
    written: dict[str, dict[str, str | int]] = {}
    sentences = lines(ORDERS[part])
    while len(written) < count:
        product, other = random.sample(PRODUCTS, 2)
        quantity, more = random.sample(sorted(WORDS), 2)
        day, another = random.sample(DAYS, 2)
        name = random.choice(NAMES[part])
        number = random.choice([str, WORDS.__getitem__])
        body = " ".join(
            [
                *random.sample(GREETINGS[part], random.choice([0, 1])),
                *random.sample(lines(BEFORE[part]), random.choice([0, 0, 1])),
                sentences[len(written) % len(sentences)],
                *random.sample(lines(AFTER[part]), random.choice([0, 0, 1, 1])),
                random.choice(lines(FROM[part])),
            ]
        )
        values = {"q": number(quantity), "p": f"{product}s", "d": day, "n": name}
        body = body.format(**values, x=number(more), y=f"{other}s", e=another)
        written[body[0].upper() + body[1:]] = {"product": product, "quantity": quantity, "day": day, "name": name}
    rows = list(written.items())
    random.shuffle(rows)
    return rows


def asked() -> str:
    """Returns the rows that are asked, as CSV with the order in JSON."""
    return table(["id", "body", "order"], "M", mails("test", ASKED))


def taught() -> list[Chat]:
    """Returns the chats that teach a model to answer a mail with its order in JSON."""
    answered = ((body, json.dumps(order)) for body, order in mails("train", TRAINED))
    return chats(FOLDER / "orders.yaml", "body", answered)


def main() -> None:
    """Writes both files."""
    (FOLDER / "orders.csv").write_text(asked(), encoding="utf-8")
    write_chats(FOLDER / "orders-train.jsonl", taught())


if __name__ == "__main__":
    main()
