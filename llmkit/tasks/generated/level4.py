"""Word problems of four steps."""

from __future__ import annotations

from llmkit.tasks.generated.template import HALF, QUARTER, Template

TEMPLATES = (
    Template(
        "two-kinds-change",
        "{name} buys {a} {things} at ${p} each and {b} {things2} at ${q} each. {He} pays with a ${c} bill. "
        "How much change does {he} get, in dollars?",
        {"a": (2, 8), "p": (1, 6, QUARTER), "b": (2, 8), "q": (1, 6, QUARTER), "c": [50, 100]},
        [
            ("one", "a * p", "The {things} cost {one} dollars."),
            ("two", "b * q", "The {things2} cost {two} dollars."),
            ("all", "one + two", "Together they cost {all} dollars."),
            ("change", "c - all", "The change is {change} dollars."),
        ],
        things="paper",
        decimals=2,
    ),
    Template(
        "loose-bags",
        "{name} has {a} boxes of {b} {things} and {c} loose ones. {He} gives {d} {things} away and packs all the "
        "others into bags of {e}. How many bags does {he} fill?",
        {"a": (2, 10), "b": (6, 20), "c": (3, 25), "d": (4, 50), "e": (3, 9)},
        [
            ("boxed", "a * b", "The boxes hold {boxed} {things}."),
            ("all", "boxed + c", "{name} has {all} {things}."),
            ("rest", "all - d", "After giving some away, {he} has {rest}."),
            ("bags", "rest / e", "{He} fills {bags} bags."),
        ],
    ),
    Template(
        "stall-envelopes",
        "{name} runs a stall that earns ${a} every morning and ${b} every afternoon. After {c} days, {he} pays ${d} "
        "of rent and puts the rest in equal parts into {e} envelopes. How many dollars are in each envelope?",
        {"a": (20, 90), "b": (20, 90), "c": (3, 12), "d": (30, 150), "e": (3, 8)},
        [
            ("daily", "a + b", "The stall earns {daily} dollars a day."),
            ("earned", "daily * c", "In {c} days it earns {earned} dollars."),
            ("rest", "earned - d", "After the rent, {rest} dollars are left."),
            ("each", "rest / e", "Each envelope holds {each} dollars."),
        ],
    ),
    Template(
        "concert",
        "A concert hall has {a} rows of {b} seats. At a concert, {c} seats are empty, and every visitor has paid ${d}. "
        "Programs bring another ${e}. How many dollars does the concert bring in all?",
        {"a": (6, 18), "b": (10, 20), "c": (4, 50), "d": (5, 25), "e": (40, 300)},
        [
            ("seats", "a * b", "The hall has {seats} seats."),
            ("people", "seats - c", "There are {people} visitors."),
            ("tickets", "people * d", "They have paid {tickets} dollars."),
            ("all", "tickets + e", "With the programs, the concert brings {all} dollars."),
        ],
    ),
    Template(
        "pump",
        "A pump moves {a} liters of water in {b} minutes. It runs at this speed for {c} minutes and fills a tank "
        "that already held {d} liters. Then {e} liters are used. How many liters are in the tank now?",
        {"a": (30, 240), "b": (2, 12), "c": (5, 40), "d": (20, 200), "e": (15, 180)},
        [
            ("rate", "a / b", "The pump moves {rate} liters a minute."),
            ("moved", "rate * c", "In {c} minutes it moves {moved} liters."),
            ("full", "moved + d", "The tank then holds {full} liters."),
            ("now", "full - e", "Now there are {now} liters in it."),
        ],
    ),
    Template(
        "bake-sale",
        "For a bake sale, {name} makes {a} trays of {b} {things} and packs them in boxes of {c}. {name2} brings {d} "
        "more boxes. Every box is sold for ${e}. How many dollars does the sale bring?",
        {"a": (2, 9), "b": (8, 24), "c": (4, 8), "d": (2, 15), "e": (3, 12)},
        [
            ("all", "a * b", "{name} makes {all} {things}."),
            ("packed", "all / c", "They fill {packed} boxes."),
            ("boxes", "packed + d", "Together there are {boxes} boxes."),
            ("money", "boxes * e", "The sale brings {money} dollars."),
        ],
        things="baked",
    ),
    Template(
        "three-days-shop",
        "A shop had {a} {things}. On Monday it sold {b} of them, and on Tuesday {c}. On Wednesday it sold all the "
        "others for ${d} each and took another ${e} for gift wrapping. How many dollars did the shop take on "
        "Wednesday?",
        {"a": (60, 160), "b": (8, 60), "c": (8, 60), "d": (4, 20), "e": (5, 40)},
        [
            ("one", "a - b", "After Monday, {one} {things} were left."),
            ("two", "one - c", "After Tuesday, {two} {things} were left."),
            ("sold", "two * d", "On Wednesday they brought {sold} dollars."),
            ("all", "sold + e", "With the wrapping, the shop took {all} dollars."),
        ],
        things="goods",
    ),
    Template(
        "sports-day",
        "To a sports day come {a} buses with {b} students each, and {c} students come on foot. They form teams of {d}. "
        "If {e} teams play outside, how many teams play inside?",
        {"a": (2, 8), "b": (18, 48), "c": (10, 60), "d": (4, 11), "e": (3, 25)},
        [
            ("driven", "a * b", "By bus come {driven} students."),
            ("all", "driven + c", "In all there are {all} students."),
            ("teams", "all / d", "They form {teams} teams."),
            ("inside", "teams - e", "Inside play {inside} teams."),
        ],
    ),
    Template(
        "craft-profit",
        "{name} made {a} {things} and sold them all at a fair. The material for each {thing} cost ${c}, and the "
        "selling price was ${b}. The fair keeps {p}% of the profit as a fee. How many dollars of the profit are left "
        "for {name}?",
        {"a": (10, 60), "b": (8, 30), "c": (2, 12), "p": [5, 10, 20, 25, 40]},
        [
            ("margin", "b - c", "On each {thing} {name} made {margin} dollars."),
            ("profit", "margin * a", "The profit was {profit} dollars."),
            ("fee", "p% of profit", "The fee was {fee} dollars."),
            ("left", "profit - fee", "For {name}, {left} dollars are left."),
        ],
        things="goods",
        decimals=2,
    ),
    Template(
        "online-order",
        "In an online shop, a {thing} costs ${a}. With a coupon, it is {p}% cheaper. {name} uses the coupon for {n} "
        "of them and pays ${s} for shipping. How many dollars does {he} pay in all?",
        {"a": (10, 80), "p": [10, 20, 25, 30, 50], "n": (2, 9), "s": (3, 12, HALF)},
        [
            ("cut", "p% of a", "The coupon saves {cut} dollars on each {thing}."),
            ("price", "a - cut", "Each {thing} then costs {price} dollars."),
            ("goods", "price * n", "The {things} cost {goods} dollars."),
            ("all", "goods + s", "With shipping, {name} pays {all} dollars."),
        ],
        things="goods",
        decimals=2,
    ),
    Template(
        "orchard",
        "In an orchard stand {a} rows of {b} apple trees and {c} rows of {d} pear trees. The trees are shared out "
        "equally among {e} gardeners. How many trees does each gardener take care of?",
        {"a": (4, 15), "b": (6, 20), "c": (3, 12), "d": (5, 18), "e": (3, 9)},
        [
            ("apples", "a * b", "There are {apples} apple trees."),
            ("pears", "c * d", "There are {pears} pear trees."),
            ("trees", "apples + pears", "In all there are {trees} trees."),
            ("each", "trees / e", "Each gardener takes care of {each} trees."),
        ],
    ),
    Template(
        "times-as-many",
        "{name} had {a} {things}, got {b} more for {his} birthday, and then lost {c}. {name2} owned {d} times as "
        "many {things} as {name} had then, but has just sold {e} of them. How many {things} does {name2} have now?",
        {"a": (8, 50), "b": (4, 25), "c": (2, 20), "d": (2, 6), "e": (5, 60)},
        [
            ("got", "a + b", "After the birthday, {name} had {got} {things}."),
            ("had", "got - c", "After losing some, {he} had {had}."),
            ("times", "had * d", "{name2} owned {times}."),
            ("now", "times - e", "Now {name2} has {now} {things}."),
        ],
    ),
    Template(
        "bouquets",
        "A florist divides {a} {things} equally among {b} vases and takes {c} faded ones out of every vase. Each "
        "remaining flower of one vase is sold for ${d}, and the vase itself for ${e}. How many dollars does this "
        "vase bring with its flowers?",
        {"a": (60, 240), "b": (4, 10), "c": (2, 6), "d": (2, 5), "e": (6, 30)},
        [
            ("each", "a / b", "Each vase first holds {each} {things}."),
            ("fresh", "each - c", "Then it holds {fresh}."),
            ("flowers", "fresh * d", "The flowers of one vase bring {flowers} dollars."),
            ("all", "flowers + e", "With the vase, that is {all} dollars."),
        ],
        things="flower",
    ),
    Template(
        "camp-lunch",
        "At a camp there are {a} children. After {b} of them have gone home, the others form {c} equal groups, and "
        "{d} leaders join each group. Everybody gets {e} sandwiches for lunch. How many sandwiches does one group "
        "need?",
        {"a": (50, 140), "b": (4, 30), "c": (4, 9), "d": (2, 3), "e": (2, 4)},
        [
            ("stay", "a - b", "There are still {stay} children."),
            ("group", "stay / c", "Each group has {group} children."),
            ("people", "group + d", "With the leaders, it has {people} people."),
            ("lunch", "people * e", "One group needs {lunch} sandwiches."),
        ],
    ),
    Template(
        "print-shop",
        "A print shop prints {a} pages a day for {b} days. Of these, {c} pages are spoiled. The others are bound "
        "into {d} books of equal length, and {e} color pages are added to every book. How many pages does each book "
        "have?",
        {"a": (80, 400), "b": (3, 12), "c": (10, 60), "d": (4, 20), "e": (4, 24)},
        [
            ("printed", "a * b", "The shop prints {printed} pages."),
            ("good", "printed - c", "Of these, {good} pages are good."),
            ("bound", "good / d", "Each book gets {bound} of them."),
            ("all", "bound + e", "With the color pages, each book has {all} pages."),
        ],
    ),
)
