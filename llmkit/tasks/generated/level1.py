"""Word problems of one step."""

from __future__ import annotations

from llmkit.tasks.generated.template import HALF, QUARTER, Template

TEMPLATES = (
    Template(
        "gave-away",
        "{name} had {a} {things} in a box. {He} gave {b} of them to {name2}. "
        "[How many {things} are left in the box?|How many {things} does {name} still have?]",
        {"a": (15, 90), "b": (3, 60)},
        [("left", "a - b", "{name} has {left} {things} left.")],
    ),
    Template(
        "put-on-shelf",
        "There are {a} {things} on the shelf. {name} puts {b} more {things} next to them. "
        "[How many {things} are on the shelf now?|What is the number of {things} on the shelf then?]",
        {"a": (6, 80), "b": (4, 60)},
        [("all", "a + b", "Now {all} {things} are on the shelf.")],
        things="goods",
    ),
    Template(
        "trays",
        "A bakery fills {a} trays with {b} {things} each. [How many {things} is that in all?|How many {things} are "
        "there?]",
        {"a": (3, 15), "b": (4, 24)},
        [("all", "a * b", "The trays hold {all} {things}.")],
        things="baked",
    ),
    Template(
        "collected-more",
        "{name} collected {a} {things}, and {name2} collected {b}. How many more {things} did {name} collect than "
        "{name2}?",
        {"a": (20, 95), "b": (5, 80)},
        [("more", "a - b", "{name} collected {more} more {things}.")],
    ),
    Template(
        "unit-price",
        "One {thing} costs ${p}. [How much does {name} pay for {n} of them, in dollars?|"
        "How many dollars do {n} {things} cost {name}?]",
        {"p": (1, 9, HALF), "n": (2, 16)},
        [("cost", "n * p", "{name} pays {cost} dollars.")],
        things="paper",
        decimals=2,
    ),
    Template(
        "share",
        "{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?",
        {"a": (12, 144), "b": (3, 12)},
        [("each", "a / b", "Each friend gets {each} {things}.")],
        things="baked",
    ),
    Template(
        "vans",
        "For a trip, {a} children travel in vans with room for {b} children each. If every van is full, "
        "[how many vans are there?|how many vans do they use?]",
        {"a": (15, 120), "b": (5, 12)},
        [("vans", "a / b", "They fill {vans} vans.")],
    ),
    Template(
        "museum",
        "On Saturday, {a} people came to the museum. On Sunday, {b} people came. "
        "[How many people came on the two days together?|How many visitors did the museum have that weekend?]",
        {"a": (80, 480), "b": (60, 390)},
        [("all", "a + b", "Together, {all} people came.")],
    ),
    Template(
        "runs-daily",
        "{name} runs {a} kilometers every day. How many kilometers does {he} run in {b} days?",
        {"a": (2, 12, HALF), "b": (3, 30)},
        [("far", "b * a", "{He} runs {far} kilometers.")],
        decimals=1,
    ),
    Template(
        "has-more",
        "{name} owns {a} {things}. {name2} owns {b} more than {name}. How many {things} does {name2} own?",
        {"a": (8, 90), "b": (3, 70)},
        [("all", "a + b", "{name2} owns {all} {things}.")],
    ),
    Template(
        "machine-rate",
        "[A machine makes {a} {things} in {b} hours, always at the same speed.|Working at a steady speed, a machine "
        "makes {a} {things} in {b} hours.] How many {things} does it make in one hour?",
        {"a": (24, 600), "b": (2, 12)},
        [("rate", "a / b", "It makes {rate} {things} in one hour.")],
        things="paper",
    ),
    Template(
        "seats",
        "A train carriage has {a} seats, and {b} of them are taken. How many seats are [free|still empty]?",
        {"a": (40, 120), "b": (12, 110)},
        [("free", "a - b", "There are {free} free seats.")],
    ),
    Template(
        "pages",
        "{name} is reading a book of {a} pages. So far, {he} has read {b} pages. How many pages does {he} still have "
        "to read?",
        {"a": (90, 480), "b": (15, 400)},
        [("left", "a - b", "{He} still has {left} pages to read.")],
    ),
    Template(
        "price-of-one",
        "{name} paid ${a} for {b} {things} that all had the same price. How many dollars did one {thing} cost?",
        {"a": (8, 120), "b": (2, 12)},
        [("one", "a / b", "One {thing} cost {one} dollars.")],
        things="goods",
        decimals=2,
    ),
    Template(
        "rope",
        "[A rope is {a} meters long.|{name} has a rope of {a} meters.] A piece of {b} meters is cut off. "
        "How many meters of rope are left?",
        {"a": (6, 60, HALF), "b": (2, 40, QUARTER)},
        [("left", "a - b", "There are {left} meters of rope left.")],
        decimals=2,
    ),
)
