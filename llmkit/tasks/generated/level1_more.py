"""More word problems of one step: small numbers, many wordings."""

from __future__ import annotations

from llmkit.tasks.generated.template import Template

_TENS = (12, 60)
_TIMES = (2, 12)

ADD = (
    Template(
        "birthday-gift",
        "[{name} already had {a} {things}.|There were {a} {things} in {name}'s collection.] For {his} birthday {he} "
        "got {b} more. How many {things} does {he} have now?",
        {"a": _TENS, "b": (3, 30)},
        [("all", "a + b", "{name} has {all} {things} now.")],
    ),
    Template(
        "two-jars",
        "One jar holds {a} {things} and another jar holds {b}. [How many {things} are in both jars?|How many {things} "
        "do the two jars hold together?]",
        {"a": _TENS, "b": _TENS},
        [("all", "a + b", "Both jars hold {all} {things}.")],
    ),
    Template(
        "taller",
        "{name}'s plant was {a} centimeters tall. [Since then it has grown {b} centimeters.|It grew another {b} "
        "centimeters.] How tall is the plant now, in centimeters?",
        {"a": (8, 70), "b": (3, 30)},
        [("tall", "a + b", "The plant is {tall} centimeters tall.")],
    ),
    Template(
        "sold-two-days",
        "A stand sold {a} {things} on Monday and {b} {things} on Tuesday. [How many {things} were sold in all?|"
        "How many {things} did it sell in the two days?]",
        {"a": _TENS, "b": _TENS},
        [("all", "a + b", "The stand sold {all} {things}.")],
        things="baked",
    ),
    Template(
        "older-cousin",
        "{name} is {a} years old. {His} cousin {name2} is {b} years older. How old is {name2}?",
        {"a": (4, 30), "b": (2, 12)},
        [("age", "a + b", "{name2} is {age} years old.")],
    ),
    Template(
        "before-giving",
        "After giving away {b} {things}, {name} has {a} left. How many {things} did {he} have [at first|before that]?",
        {"a": _TENS, "b": (3, 30)},
        [("first", "a + b", "{name} had {first} {things} at first.")],
    ),
    Template(
        "red-and-blue",
        "A basket holds {a} red {things} and {b} yellow {things}. How many {things} are in the basket[ altogether|]?",
        {"a": (5, 60), "b": (5, 60)},
        [("all", "a + b", "The basket holds {all} {things}.")],
        things="flower",
    ),
    Template(
        "bus-gets-full",
        "There are {a} people on a bus. At the next stop {b} people get on, and nobody gets off. [How many people are "
        "on the bus now?|How many people are riding then?]",
        {"a": (6, 50), "b": (2, 25)},
        [("all", "a + b", "Now {all} people are on the bus.")],
    ),
)

SUBTRACT = (
    Template(
        "lost-some",
        "{name} had {a} {things}, but {he} lost {b} of them. How many {things} does {he} have [left|now]?",
        {"a": (15, 80), "b": (3, 40)},
        [("left", "a - b", "{name} has {left} {things} left.")],
    ),
    Template(
        "ate-some",
        "There were {a} {things} on the table. [The guests ate {b} of them.|{b} of them were eaten.] How many {things} "
        "[remain|are left on the table]?",
        {"a": (12, 60), "b": (3, 40)},
        [("left", "a - b", "There are {left} {things} left.")],
        things="baked",
    ),
    Template(
        "still-needs",
        "{name} wants to collect {a} {things}. So far {he} has {b}. How many [more does {he} need|are still missing]?",
        {"a": (20, 90), "b": (5, 70)},
        [("need", "a - b", "{name} needs {need} more {things}.")],
    ),
    Template(
        "saved-money",
        "{name} had ${a} and spent ${b} on a {thing}. How many dollars does {he} have left?",
        {"a": (20, 90), "b": (4, 60)},
        [("left", "a - b", "{name} has {left} dollars left.")],
        things="goods",
    ),
    Template(
        "younger-friend",
        "{name} is {a} years old, and {his} friend {name2} is {b} years younger. How old is {name2}?",
        {"a": (14, 50), "b": (2, 20)},
        [("age", "a - b", "{name2} is {age} years old.")],
    ),
    Template(
        "brown-eggs",
        "Of the {a} eggs in the kitchen, {b} are brown and the others are white. How many eggs are white?",
        {"a": (12, 60), "b": (3, 40)},
        [("white", "a - b", "There are {white} white eggs.")],
    ),
    Template(
        "fewer-points",
        "[In a game {name} scored {a} points.|{name} got {a} points in a quiz.] {name2} scored {b} points less. "
        "How many points did {name2} score?",
        {"a": (20, 90), "b": (3, 50)},
        [("points", "a - b", "{name2} scored {points} points.")],
    ),
    Template(
        "sold-out-of-stock",
        "A shop had {a} {things} in the morning and sold {b} of them during the day. [How many {things} were not "
        "sold?|How many {things} were left in the evening?]",
        {"a": (20, 90), "b": (5, 70)},
        [("left", "a - b", "There were {left} {things} left.")],
        things="goods",
    ),
    Template(
        "walk-left",
        "The way to the lake is {a} kilometers long. {name} has walked {b} kilometers of it. How many kilometers are "
        "[left|still ahead of {him}]?",
        {"a": (12, 50), "b": (3, 40)},
        [("left", "a - b", "There are {left} kilometers left.")],
    ),
    Template(
        "wilted",
        "{name} planted {a} {things}, but {b} of them did not grow. How many {things} grew?",
        {"a": (12, 70), "b": (2, 40)},
        [("grew", "a - b", "In the end {grew} {things} grew.")],
        things="flower",
    ),
)

MULTIPLY = (
    Template(
        "bags-of",
        "[There are {b} {things} in every bag, and {name} buys {a} bags.|{name} buys {a} bags with {b} {things} in "
        "each.] How many {things} does {he} buy?",
        {"a": _TIMES, "b": _TIMES},
        [("all", "a * b", "{name} buys {all} {things}.")],
        things="fruit",
    ),
    Template(
        "rows-of-plants",
        "{name} plants {a} rows of {things} with {b} {things} in each row. [How many {things} does {he} plant?|How "
        "many {things} are there in total?]",
        {"a": _TIMES, "b": _TIMES},
        [("all", "a * b", "{name} plants {all} {things}.")],
        things="flower",
    ),
    Template(
        "many-times-more",
        "{name} has {a} {things}. {name2} has {b} times as many. How many {things} does {name2} have?",
        {"a": _TIMES, "b": (2, 9)},
        [("all", "b * a", "{name2} has {all} {things}.")],
    ),
    Template(
        "weekly-savings",
        "[Every week {name} saves ${a}.|{name} puts ${a} into a money box each week.] How many dollars has {he} saved "
        "after {b} weeks?",
        {"a": _TIMES, "b": _TIMES},
        [("saved", "b * a", "{name} has saved {saved} dollars.")],
    ),
    Template(
        "each-child-gets",
        "Each of {a} children gets {b} {things}. How many {things} are needed[ for all of them|]?",
        {"a": _TIMES, "b": _TIMES},
        [("all", "a * b", "They need {all} {things}.")],
        things="paper",
    ),
    Template(
        "hours-of-practice",
        "{name} practices the piano for {a} minutes a day. How many minutes does {he} practice in {b} days?",
        {"a": [5, 10, 15, 20, 30, 40], "b": (2, 9)},
        [("all", "b * a", "{name} practices for {all} minutes.")],
    ),
    Template(
        "tickets",
        "A ticket for the zoo costs ${a}. How many dollars do {b} tickets cost?",
        {"a": _TIMES, "b": _TIMES},
        [("cost", "b * a", "The tickets cost {cost} dollars.")],
    ),
)

DIVIDE = (
    Template(
        "into-bags",
        "{name} puts {a} {things} into bags of {b}. [How many bags does {he} need?|How many bags does that make?]",
        {"a": (8, 108), "b": _TIMES},
        [("bags", "a / b", "{name} needs {bags} bags.")],
        things="fruit",
    ),
    Template(
        "split-between",
        "[All {a} {things} are split equally between {b} boxes.|{name} splits {a} {things} equally "
        "between {b} boxes.] How many {things} are in each box?",
        {"a": (8, 108), "b": _TIMES},
        [("each", "a / b", "Each box holds {each} {things}.")],
    ),
    Template(
        "same-pages",
        "A book has {a} pages. {name} reads [the same number of pages|equally many pages] every day and is done after "
        "{b} days. How many pages does {he} read each day?",
        {"a": (20, 120), "b": _TIMES},
        [("daily", "a / b", "{name} reads {daily} pages each day.")],
    ),
    Template(
        "teams",
        "[The {a} players form teams of {b}.|In a club, {a} players form teams of {b}.] "
        "How many teams [are there|can they form]?",
        {"a": (8, 99), "b": (2, 11)},
        [("teams", "a / b", "There are {teams} teams.")],
    ),
    Template(
        "plank",
        "{name} saws a board of {a} centimeters into {b} pieces of the same length. How many centimeters long is each "
        "piece?",
        {"a": (12, 120), "b": _TIMES},
        [("long", "a / b", "Each piece is {long} centimeters long.")],
    ),
    Template(
        "share-the-bill",
        "[The {b} friends|{name} and {his} friends, {b} people in all,] "
        "pay a bill of ${a} together, and each pays the same. How many dollars does each of them pay?",
        {"a": (12, 120), "b": _TIMES},
        [("each", "a / b", "Each friend pays {each} dollars.")],
    ),
)

# In turns, so that each split gets each operation.
_KINDS = (ADD, SUBTRACT, MULTIPLY, DIVIDE)
MORE = tuple(kind[i] for i in range(max(map(len, _KINDS))) for kind in _KINDS if i < len(kind))
