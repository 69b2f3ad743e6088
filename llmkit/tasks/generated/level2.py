"""Word problems of two steps."""

from __future__ import annotations

from llmkit.tasks.generated.template import QUARTER, Template

TEMPLATES = (
    Template(
        "found-and-gave",
        "{name} had {a} {things}. {He} found {b} more and then gave {c} to {name2}. "
        "[How many {things} does {name} have now?|How many {things} are left for {name}?]",
        {"a": (8, 70), "b": (4, 40), "c": (3, 60)},
        [
            ("found", "a + b", "With the new ones, {name} had {found} {things}."),
            ("left", "found - c", "Then {he} had {left} {things}."),
        ],
    ),
    Template(
        "change",
        "{name} buys {n} {things} at ${p} each and pays with a ${c} bill. How much change does {he} get, in dollars?",
        {"n": (2, 9), "p": (1, 12, QUARTER), "c": [20, 50, 100]},
        [
            ("cost", "n * p", "The {things} cost {cost} dollars."),
            ("change", "c - cost", "The change is {change} dollars."),
        ],
        things="paper",
        decimals=2,
    ),
    Template(
        "hall-chairs",
        "In the town hall there are {a} rows of {b} chairs, and {c} more chairs stand along the wall. "
        "How many chairs are [in the hall|there in all]?",
        {"a": (4, 20), "b": (6, 25), "c": (5, 40)},
        [
            ("rows", "a * b", "There are {rows} chairs in the rows."),
            ("all", "rows + c", "Together there are {all} chairs."),
        ],
    ),
    Template(
        "morning-bags",
        "{name} picked {a} {things} in the morning and {b} in the afternoon. {He} packs all of them into bags of {c}. "
        "How many bags does {he} fill?",
        {"a": (10, 80), "b": (8, 70), "c": (4, 12)},
        [
            ("all", "a + b", "{name} picked {all} {things}."),
            ("bags", "all / c", "{He} fills {bags} bags."),
        ],
        things="fruit",
    ),
    Template(
        "eggs",
        "A farmer collected {a} eggs. After {b} of them broke, she packed the rest in boxes of {c}. "
        "[How many boxes did she fill?|How many full boxes of eggs did she have?]",
        {"a": (40, 200), "b": (2, 24), "c": [6, 8, 10, 12]},
        [
            ("whole", "a - b", "There were {whole} whole eggs."),
            ("boxes", "whole / c", "She filled {boxes} boxes."),
        ],
    ),
    Template(
        "warehouse",
        "A storeroom has {a} shelves. On every shelf there are {b} boxes, and in every box there are {c} {things}. "
        "How many {things} are in the storeroom?",
        {"a": (3, 12), "b": (4, 15), "c": (5, 24)},
        [
            ("boxes", "a * b", "There are {boxes} boxes."),
            ("all", "boxes * c", "They hold {all} {things}."),
        ],
        things="goods",
    ),
    Template(
        "plates",
        "{name} bakes {a} trays of {b} {things} and divides them equally among {c} plates. "
        "How many {things} are on each plate?",
        {"a": (2, 9), "b": (6, 24), "c": (3, 12)},
        [
            ("all", "a * b", "{name} bakes {all} {things}."),
            ("each", "all / c", "Each plate holds {each} {things}."),
        ],
        things="baked",
    ),
    Template(
        "kept-and-sold",
        "Of {his} {a} {things}, {name} kept {b} and sold the others for ${c} each. "
        "[How much money did {he} make, in dollars?|How many dollars did {he} earn?]",
        {"a": (20, 90), "b": (5, 60), "c": (2, 9)},
        [
            ("sold", "a - b", "{He} sold {sold} {things}."),
            ("money", "sold * c", "{He} made {money} dollars."),
        ],
    ),
    Template(
        "bus-stops",
        "A bus left the station with {a} passengers. At the first stop {b} of them got off, and at the second stop "
        "{c} more got off. How many passengers were still on the bus?",
        {"a": (25, 70), "b": (3, 30), "c": (2, 30)},
        [
            ("first", "a - b", "After the first stop there were {first} passengers."),
            ("left", "first - c", "After the second stop there were {left}."),
        ],
    ),
    Template(
        "wages",
        "{name} worked {a} hours for ${b} an hour. {He} spent ${c} of this money on a pair of shoes. "
        "How many dollars does {he} have left?",
        {"a": (5, 40), "b": (9, 24), "c": (25, 140)},
        [
            ("pay", "a * b", "{name} earned {pay} dollars."),
            ("left", "pay - c", "{He} has {left} dollars left."),
        ],
    ),
    Template(
        "laps",
        "Every day, {name} swims {a} laps in the morning and {b} laps in the evening. "
        "[How many laps does {he} swim in {c} days?|How many laps is that in {c} days?]",
        {"a": (5, 40), "b": (4, 30), "c": (3, 21)},
        [
            ("daily", "a + b", "{name} swims {daily} laps a day."),
            ("all", "daily * c", "That makes {all} laps."),
        ],
    ),
    Template(
        "grandmother",
        "{name} is {a} years old. {His} grandmother is {b} times as old. How old will {his} grandmother be in {c} "
        "years?",
        {"a": (9, 12), "b": (5, 7), "c": (2, 9)},
        [
            ("age", "a * b", "The grandmother is {age} years old."),
            ("later", "age + c", "In {c} years she will be {later}."),
        ],
    ),
    Template(
        "ribbon-pieces",
        "{name} cuts a ribbon of {a} centimeters into {b} equal pieces. Then {he} shortens one of the pieces by {c} "
        "centimeters. How many centimeters long is this piece now?",
        {"a": (60, 480), "b": (3, 12), "c": (3, 30)},
        [
            ("piece", "a / b", "Each piece is {piece} centimeters long."),
            ("now", "piece - c", "The shortened piece is {now} centimeters long."),
        ],
    ),
    Template(
        "sale",
        "A {thing} used to cost ${a}. [In the sale, it is {p}% cheaper.|Now its price is cut by {p}%.] "
        "How many dollars does the {thing} cost now?",
        {"a": (10, 160), "p": [5, 10, 15, 20, 25, 30, 40, 50]},
        [
            ("cut", "p% of a", "The price is cut by {cut} dollars."),
            ("now", "a - cut", "The {thing} costs {now} dollars now."),
        ],
        things="goods",
        decimals=2,
    ),
    Template(
        "groups-get-more",
        "A teacher shares {a} {things} equally among {b} groups. Later, she gives every group {c} more. "
        "How many {things} does each group have then?",
        {"a": (24, 180), "b": (3, 12), "c": (2, 15)},
        [
            ("each", "a / b", "Each group first gets {each} {things}."),
            ("then", "each + c", "Then each group has {then} {things}."),
        ],
        things="paper",
    ),
)
