"""More word problems of two steps: small numbers, many wordings."""

from __future__ import annotations

from llmkit.tasks.generated.template import Template

_TENS = (10, 60)
_FEW = (2, 9)

ADD_FIRST = (
    Template(
        "three-days",
        "{name} found {a} {things} on Friday, {b} on Saturday and {c} on Sunday. [How many {things} did {he} find in "
        "all?|How many {things} is that altogether?]",
        {"a": (3, 30), "b": (3, 30), "c": (3, 30)},
        [
            ("two", "a + b", "On the first two days {name} found {two} {things}."),
            ("all", "two + c", "With the last day, {he} found {all} {things}."),
        ],
    ),
    Template(
        "bought-and-ate",
        "{name} had {a} {things} at home and bought {b} more. Then {his} family ate {c}. How many {things} are left?",
        {"a": (5, 30), "b": (4, 30), "c": (3, 30)},
        [
            ("had", "a + b", "{name} then had {had} {things}."),
            ("left", "had - c", "There are {left} {things} left."),
        ],
        things="fruit",
    ),
    Template(
        "girls-and-boys",
        "A class has {a} girls and {b} boys. [They work in groups of {c}.|The teacher forms groups of {c}.] How many "
        "groups are there?",
        {"a": (6, 24), "b": (6, 24), "c": (2, 8)},
        [
            ("all", "a + b", "The class has {all} children."),
            ("groups", "all / c", "They form {groups} groups."),
        ],
    ),
    Template(
        "both-pay",
        "A {thing} costs ${a} and a {thing2} costs ${b}. {name} buys {c} of each. How many dollars does {he} pay?",
        {"a": (2, 12), "b": (2, 12), "c": _FEW},
        [
            ("pair", "a + b", "One of each costs {pair} dollars."),
            ("pay", "pair * c", "{name} pays {pay} dollars."),
        ],
        things="goods",
    ),
    Template(
        "two-savings",
        "{name} has ${a} and {name2} has ${b}. Together they want to buy a tent for ${c}. How many dollars will they "
        "have left?",
        {"a": (20, 80), "b": (20, 80), "c": (15, 90)},
        [
            ("all", "a + b", "Together they have {all} dollars."),
            ("left", "all - c", "They will have {left} dollars left."),
        ],
    ),
    Template(
        "meals",
        "[A cook used {a} eggs for breakfast and {b} for a cake.|For breakfast a cook used {a} eggs, and for a cake "
        "{b}.] Before that there were {c} eggs. How many eggs are left?",
        {"a": (2, 15), "b": (2, 15), "c": (20, 60)},
        [
            ("used", "a + b", "The cook used {used} eggs."),
            ("left", "c - used", "There are {left} eggs left."),
        ],
    ),
    Template(
        "way-there-and-back",
        "To visit {name2}, {name} rides {a} kilometers by bus and walks {b} kilometers. {He} goes there {c} times a "
        "month. How many kilometers is that one way in a month?",
        {"a": (3, 20), "b": (2, 6), "c": _FEW},
        [
            ("way", "a + b", "One way is {way} kilometers."),
            ("far", "way * c", "In a month that makes {far} kilometers."),
        ],
    ),
)

SUBTRACT_FIRST = (
    Template(
        "gave-to-two",
        "{name} had {a} {things}. {He} gave {b} to {name2} and {c} to {name3}. How many {things} does {he} have "
        "[now|left]?",
        {"a": (20, 80), "b": (3, 30), "c": (3, 30)},
        [
            ("first", "a - b", "After the first gift {name} had {first} {things}."),
            ("left", "first - c", "After the second {he} had {left}."),
        ],
    ),
    Template(
        "lost-then-found",
        "{name} had {a} {things} but lost {b} of them. Later {name2} gave {him} {c}. How many {things} does {name} "
        "have now?",
        {"a": (10, 70), "b": (3, 40), "c": (3, 30)},
        [
            ("left", "a - b", "After the loss {name} had {left} {things}."),
            ("now", "left + c", "Now {he} has {now} {things}."),
        ],
    ),
    Template(
        "rest-shared",
        "{name} picks {a} {things} and keeps {b} for {himself}. The rest {he} shares equally among {c} friends. How "
        "many {things} does each friend get?",
        {"a": (14, 90), "b": (2, 20), "c": _FEW},
        [
            ("rest", "a - b", "The rest are {rest} {things}."),
            ("each", "rest / c", "Each friend gets {each} {things}."),
        ],
        things="fruit",
    ),
    Template(
        "paid-back",
        "{name} borrowed ${a} and has paid back ${b}. {He} pays the rest in {c} equal parts. How many dollars is each "
        "part?",
        {"a": (30, 120), "b": (5, 60), "c": _FEW},
        [
            ("rest", "a - b", "{name} still owes {rest} dollars."),
            ("part", "rest / c", "Each part is {part} dollars."),
        ],
    ),
    Template(
        "unsold-tickets",
        "There were {a} tickets for a concert, and {b} were not sold. Each ticket cost ${c}. [How many dollars did the "
        "sold tickets bring?|How many dollars were taken?]",
        {"a": (15, 60), "b": (3, 40), "c": _FEW},
        [
            ("sold", "a - b", "They sold {sold} tickets."),
            ("money", "sold * c", "These brought {money} dollars."),
        ],
    ),
    Template(
        "on-and-off",
        "A bus with {a} people stops at the market, where {b} people get off and {c} get on. How many people are on "
        "the bus then?",
        {"a": (12, 60), "b": (2, 30), "c": (2, 30)},
        [
            ("stayed", "a - b", "Of the people, {stayed} stayed on the bus."),
            ("then", "stayed + c", "Then {then} people are on the bus."),
        ],
    ),
    Template(
        "difference-price",
        "A {thing} costs ${a} in one shop and ${b} less in another. How many dollars do {c} of them cost in the "
        "cheaper shop?",
        {"a": (6, 25), "b": (2, 12), "c": _FEW},
        [
            ("cheap", "a - b", "In the cheaper shop one {thing} costs {cheap} dollars."),
            ("cost", "cheap * c", "Together they cost {cost} dollars."),
        ],
        things="goods",
    ),
)

MULTIPLY_FIRST = (
    Template(
        "packs-and-more",
        "{name} buys {a} packs of {b} {things}. {He} already had {c} {things}. How many {things} does {he} have "
        "[now|in all]?",
        {"a": _FEW, "b": (3, 12), "c": (3, 30)},
        [
            ("bought", "a * b", "{name} buys {bought} {things}."),
            ("all", "bought + c", "Now {he} has {all} {things}."),
        ],
        things="paper",
    ),
    Template(
        "boxes-some-broken",
        "A shop gets {a} boxes with {b} {things} each, but {c} of the {things} are broken. How many {things} are not "
        "broken?",
        {"a": _FEW, "b": (4, 12), "c": (2, 30)},
        [
            ("all", "a * b", "The boxes hold {all} {things}."),
            ("good", "all - c", "Of these, {good} {things} are not broken."),
        ],
        things="goods",
    ),
    Template(
        "plates-rearranged",
        "There are {a} plates with {b} {things} each. {name} puts all of them on plates of {c}. How many plates does "
        "{he} need?",
        {"a": (2, 10), "b": (2, 12), "c": _FEW},
        [
            ("all", "a * b", "There are {all} {things}."),
            ("plates", "all / c", "{name} needs {plates} plates."),
        ],
        things="baked",
    ),
    Template(
        "saving-for",
        "{name} saves ${b} a week for {a} weeks. Then {he} gets ${c} from {his} aunt. How many dollars does {he} have "
        "then?",
        {"a": (2, 12), "b": (2, 12), "c": (5, 40)},
        [
            ("saved", "b * a", "{name} saves {saved} dollars."),
            ("all", "saved + c", "With the money from {his} aunt {he} has {all} dollars."),
        ],
    ),
    Template(
        "still-to-read",
        "A book has {c} pages. {name} reads {a} pages a day for {b} days. How many pages does {he} still have to read?",
        {"a": (5, 12), "b": _FEW, "c": (60, 150)},
        [
            ("read", "a * b", "{name} reads {read} pages."),
            ("left", "c - read", "There are {left} pages left."),
        ],
    ),
    Template(
        "floors-and-windows",
        "A house has {a} floors, and each floor has {b} rooms. Every room has {c} windows. How many windows does the "
        "house have?",
        {"a": (2, 6), "b": (2, 8), "c": (2, 5)},
        [
            ("rooms", "a * b", "The house has {rooms} rooms."),
            ("windows", "rooms * c", "It has {windows} windows."),
        ],
    ),
    Template(
        "money-left-after",
        "[{name} goes to the shop with ${c} and buys|With ${c} in {his} pocket, {name} buys] {a} {things} for ${b} "
        "each. How many dollars does {he} have left?",
        {"a": _FEW, "b": _FEW, "c": (20, 99)},
        [
            ("cost", "a * b", "The {things} cost {cost} dollars."),
            ("left", "c - cost", "{name} has {left} dollars left."),
        ],
        things="fruit",
    ),
    Template(
        "twice-together",
        "{name} has {a} {things}, and {name2} has {b} times as many. How many {things} do they have together?",
        {"a": (3, 15), "b": (2, 6)},
        [
            ("other", "b * a", "{name2} has {other} {things}."),
            ("all", "a + other", "Together they have {all} {things}."),
        ],
    ),
)

DIVIDE_FIRST = (
    Template(
        "share-then-give",
        "{name} shares {a} {things} equally between {b} bowls. Then {he} takes {c} out of one bowl. How many {things} "
        "are left in that bowl?",
        {"a": (20, 99), "b": _FEW, "c": (2, 12)},
        [
            ("each", "a / b", "Each bowl holds {each} {things}."),
            ("left", "each - c", "In that bowl {left} {things} are left."),
        ],
        things="fruit",
    ),
    Template(
        "price-of-several",
        "[All {a} {things} cost ${b} together, and each costs the same.|"
        "Together, {a} equal {things} cost ${b}.] How many dollars do {c} of them cost?",
        {"a": _FEW, "b": (8, 90), "c": _FEW},
        [
            ("one", "b / a", "One {thing} costs {one} dollars."),
            ("cost", "one * c", "Then {c} of them cost {cost} dollars."),
        ],
        things="goods",
    ),
    Template(
        "half-plus",
        "{name} gives half of {his} {a} {things} to {name2}, who already had {b}. How many {things} does {name2} have "
        "then?",
        {"a": (8, 80), "b": (3, 30)},
        [
            ("half", "a / 2", "Half of the {things} are {half}."),
            ("then", "half + b", "{name2} then has {then} {things}."),
        ],
    ),
    Template(
        "teams-with-coach",
        "For a tournament, {a} children form {b} equal teams. Each team also has {c} coaches. How many people belong "
        "to one team?",
        {"a": (12, 90), "b": _FEW, "c": (2, 4)},
        [
            ("team", "a / b", "A team has {team} children."),
            ("people", "team + c", "With the coaches, {people} people belong to it."),
        ],
    ),
    Template(
        "daily-share",
        "{name} has to learn {a} words in {b} days, the same number each day. {He} already knows {c} of today's words. "
        "How many words are left for today?",
        {"a": (20, 99), "b": _FEW, "c": (2, 9)},
        [
            ("daily", "a / b", "{name} learns {daily} words a day."),
            ("left", "daily - c", "Today {left} words are left."),
        ],
    ),
    Template(
        "cut-and-sell",
        "A baker cuts a cake of {a} slices into parts of {b} slices and sells each part for ${c}. How many dollars "
        "does the whole cake bring?",
        {"a": (8, 48), "b": _FEW, "c": (3, 12)},
        [
            ("parts", "a / b", "The cake makes {parts} parts."),
            ("money", "parts * c", "They bring {money} dollars."),
        ],
    ),
)

_KINDS = (ADD_FIRST, SUBTRACT_FIRST, MULTIPLY_FIRST, DIVIDE_FIRST)
MORE = tuple(kind[i] for i in range(max(map(len, _KINDS))) for kind in _KINDS if i < len(kind))
