"""Word problems of three steps."""

from __future__ import annotations

from llmkit.tasks.generated.template import HALF, QUARTER, Template

TEMPLATES = (
    Template(
        "packs-and-singles",
        "{name} buys {a} packs of {b} {things} and {c} single {things}. {He} gives {d} of all these {things} to "
        "{name2}. How many {things} does {name} keep?",
        {"a": (2, 12), "b": (4, 20), "c": (2, 15), "d": (3, 60)},
        [
            ("packed", "a * b", "The packs hold {packed} {things}."),
            ("all", "packed + c", "{name} buys {all} {things}."),
            ("kept", "all - d", "{He} keeps {kept}."),
        ],
    ),
    Template(
        "market",
        "At the market, {name} buys {a} {things} at ${p} each and {b} {things2} at ${q} each. "
        "[How much does {he} pay in all, in dollars?|How many dollars does {he} spend?]",
        {"a": (2, 12), "p": (1, 4, QUARTER), "b": (2, 12), "q": (1, 4, QUARTER)},
        [
            ("one", "a * p", "The {things} cost {one} dollars."),
            ("two", "b * q", "The {things2} cost {two} dollars."),
            ("all", "one + two", "Together they cost {all} dollars."),
        ],
        things="fruit",
        decimals=2,
    ),
    Template(
        "boxes-shared",
        "{name} has {a} boxes of {b} {things}. {He} uses {c} of the {things} and shares the rest equally among {d} "
        "children. How many {things} does each child get?",
        {"a": (3, 12), "b": (8, 24), "c": (4, 60), "d": (3, 9)},
        [
            ("all", "a * b", "{name} has {all} {things}."),
            ("rest", "all - c", "After using some, {he} has {rest} left."),
            ("each", "rest / d", "Each child gets {each} {things}."),
        ],
        things="paper",
    ),
    Template(
        "pocket-money",
        "Every week, {name} gets ${a} of pocket money and ${b} for walking a dog. After {c} weeks, {he} spends ${d} "
        "on a game. How many dollars does {he} have then, if {he} spent nothing before?",
        {"a": (4, 15), "b": (5, 20), "c": (3, 12), "d": (15, 60)},
        [
            ("weekly", "a + b", "{name} gets {weekly} dollars a week."),
            ("saved", "weekly * c", "After {c} weeks {he} has {saved} dollars."),
            ("left", "saved - d", "After buying the game {he} has {left} dollars."),
        ],
    ),
    Template(
        "theater",
        "A theater has {a} rows of {b} seats. On Friday, {c} seats stayed empty. If one ticket costs ${d}, "
        "how many dollars did the theater take for tickets on Friday?",
        {"a": (8, 20), "b": (10, 24), "c": (5, 80), "d": (6, 20)},
        [
            ("seats", "a * b", "The theater has {seats} seats."),
            ("sold", "seats - c", "It sold {sold} tickets."),
            ("money", "sold * d", "The tickets brought {money} dollars."),
        ],
    ),
    Template(
        "school-groups",
        "A school has {a} students, but {b} of them are ill today. The others form {c} equal groups for a hike, and "
        "{d} teachers walk with every group. How many people walk in each group?",
        {"a": (90, 260), "b": (3, 20), "c": (5, 12), "d": (2, 4)},
        [
            ("well", "a - b", "Of the students, {well} can come."),
            ("group", "well / c", "Each group has {group} students."),
            ("people", "group + d", "With the teachers, {people} people walk in each group."),
        ],
    ),
    Template(
        "cheaper-today",
        "A {thing} normally costs ${a}. Today it is {p}% cheaper, and {name} buys {n} of them. "
        "How many dollars does {he} pay?",
        {"a": (8, 80), "p": [10, 20, 25, 30, 40, 50], "n": (2, 8)},
        [
            ("cut", "p% of a", "Each {thing} is {cut} dollars cheaper."),
            ("price", "a - cut", "It costs {price} dollars today."),
            ("pay", "price * n", "{name} pays {pay} dollars."),
        ],
        things="goods",
        decimals=2,
    ),
    Template(
        "walking-goal",
        "{name} wanted to walk {d} kilometers in three days. {He} walked {a} kilometers on Monday, {b} on Tuesday, "
        "and {c} on Wednesday. By how many kilometers did {he} beat {his} goal?",
        {"a": (4, 18, HALF), "b": (4, 18, HALF), "c": (4, 18, HALF), "d": (12, 40)},
        [
            ("two", "a + b", "On the first two days {name} walked {two} kilometers."),
            ("all", "two + c", "In three days {he} walked {all} kilometers."),
            ("over", "all - d", "{He} beat the goal by {over} kilometers."),
        ],
        decimals=1,
    ),
    Template(
        "bottling",
        "A machine fills {a} bottles in {b} minutes. When {d} bottles are already full, it is switched on and runs "
        "at this speed for {c} minutes. How many full bottles are there then?",
        {"a": (24, 240), "b": (3, 12), "c": (5, 45), "d": (10, 150)},
        [
            ("rate", "a / b", "The machine fills {rate} bottles a minute."),
            ("new", "rate * c", "In {c} minutes it fills {new} bottles."),
            ("all", "new + d", "Then {all} bottles are full."),
        ],
    ),
    Template(
        "typing",
        "{name} types {a} words a minute for {c} minutes. {name2} types {b} words a minute for {d} minutes. "
        "How many words do they type together?",
        {"a": (25, 70), "b": (25, 70), "c": (4, 30), "d": (4, 30)},
        [
            ("one", "a * c", "{name} types {one} words."),
            ("two", "b * d", "{name2} types {two} words."),
            ("all", "one + two", "Together they type {all} words."),
        ],
    ),
    Template(
        "half-wilted",
        "{name} grew {a} {things}. Half of them {he} gave to a hospital. Of the other half, {b} wilted, and the rest "
        "{he} sold for ${c} each. How many dollars did {he} get for them?",
        {"a": (20, 120), "b": (2, 30), "c": (2, 6)},
        [
            ("half", "a / 2", "Half of the {things} are {half}."),
            ("good", "half - b", "Of these, {good} could be sold."),
            ("money", "good * c", "{name} got {money} dollars."),
        ],
        things="flower",
    ),
    Template(
        "prize-money",
        "{name} won ${a} in a contest. {He} gave ${b} to {name2} and ${c} to an animal shelter, and spent the rest "
        "in equal parts over {d} months. How many dollars did {he} spend in each month?",
        {"a": (150, 900), "b": (20, 150), "c": (20, 120), "d": (3, 12)},
        [
            ("one", "a - b", "After the gift to {name2}, {one} dollars were left."),
            ("two", "one - c", "After the gift to the shelter, {two} dollars were left."),
            ("monthly", "two / d", "{name} spent {monthly} dollars in each month."),
        ],
    ),
    Template(
        "full-boxes",
        "{name} bakes {a} trays of {b} {things} and packs them in boxes of {c}. Together with the {d} boxes that "
        "{name2} has packed, how many boxes are there?",
        {"a": (3, 12), "b": (8, 24), "c": (4, 12), "d": (2, 20)},
        [
            ("all", "a * b", "{name} bakes {all} {things}."),
            ("packed", "all / c", "{He} packs {packed} boxes."),
            ("boxes", "packed + d", "Together there are {boxes} boxes."),
        ],
        things="baked",
    ),
    Template(
        "camp-tents",
        "To a summer camp come {a} vans with {b} children each, and {c} children come by bike. They all sleep in "
        "tents for {d} children, and every tent is full. How many tents are there?",
        {"a": (3, 9), "b": (5, 9), "c": (4, 30), "d": (3, 8)},
        [
            ("driven", "a * b", "By van come {driven} children."),
            ("all", "driven + c", "In all there are {all} children."),
            ("tents", "all / d", "They sleep in {tents} tents."),
        ],
    ),
    Template(
        "put-together",
        "{name} has {a} {things} and {name2} has {b}. They put them together and split them equally between the two "
        "of them. Then {name} loses {c} of {his} {things}. How many {things} does {name} have now?",
        {"a": (10, 90), "b": (10, 90), "c": (3, 30)},
        [
            ("all", "a + b", "Together they have {all} {things}."),
            ("half", "all / 2", "Each of them gets {half}."),
            ("now", "half - c", "Now {name} has {now} {things}."),
        ],
    ),
)
