"""Word problems of one step that only the test split asks.

Questions from one template count as one cluster, so more templates, not more questions, narrow an interval.
"""

from __future__ import annotations

from decimal import Decimal

from llmkit.tasks.generated.template import HALF, Template

ADD = (
    Template(
        "parked-cars",
        "At noon {a} cars were parked in front of the station. In the afternoon {b} more cars arrived and none drove "
        "off. How many cars were parked there [in the evening|then]?",
        {"a": (12, 70), "b": (4, 45)},
        [("all", "a + b", "There were {all} cars.")],
    ),
    Template(
        "two-shelves-library",
        "The upper shelf of a library has room for {a} books and the lower shelf for {b}. For how many books is there "
        "room [altogether|on both shelves]?",
        {"a": (20, 95), "b": (20, 95)},
        [("all", "a + b", "There is room for {all} books.")],
    ),
    Template(
        "height-on-chair",
        "{name} is {a} centimeters tall and stands on a box of {b} centimeters. How many centimeters above the floor "
        "is the top of {his} head?",
        {"a": (95, 185), "b": (15, 60)},
        [("high", "a + b", "The top is {high} centimeters above the floor.")],
    ),
    Template(
        "longer-route",
        "The direct way to the village is {a} kilometers. The way along the river is {b} kilometers longer. How many "
        "kilometers long is the way along the river?",
        {"a": (4, 40), "b": (2, 25)},
        [("long", "a + b", "The way along the river is {long} kilometers long.")],
    ),
    Template(
        "fruit-picked",
        "In the morning {name} picked {a} {things}, and after lunch {he} picked another {b}. How many {things} did "
        "{he} pick [that day|in all]?",
        {"a": (14, 80), "b": (9, 75)},
        [("all", "a + b", "{name} picked {all} {things}.")],
        things="fruit",
    ),
    Template(
        "temperature-rise",
        "At sunrise it was {a} degrees. By noon it was {b} degrees warmer. What was the temperature at noon?",
        {"a": (3, 19), "b": (2, 17)},
        [("warm", "a + b", "At noon it was {warm} degrees.")],
    ),
    Template(
        "price-went-up",
        "Last year a {thing} cost ${a}. This year it costs ${b} more. How many dollars does it cost [now|this year]?",
        {"a": (6, 48), "b": (2, 19)},
        [("cost", "a + b", "It costs {cost} dollars now.")],
        things="goods",
    ),
    Template(
        "choir",
        "A choir has {a} women and {b} men. How many [people sing in the choir|singers does the choir have]?",
        {"a": (8, 45), "b": (6, 40)},
        [("all", "a + b", "The choir has {all} singers.")],
    ),
    Template(
        "stamps-from-uncle",
        "{name} has {a} {things} in an album. An uncle sends {him} {b} more. How many {things} are in the album then?",
        {"a": (15, 90), "b": (4, 40)},
        [("all", "a + b", "There are {all} {things} in the album.")],
    ),
    Template(
        "two-teams-points",
        "The red team won {a} points and the blue team won {b}. How many points did both teams win [together|in all]?",
        {"a": (12, 80), "b": (12, 80)},
        [("all", "a + b", "Both teams won {all} points.")],
    ),
    Template(
        "train-later",
        "A train ride usually takes {a} minutes. Today the train was {b} minutes late. How many minutes did the ride "
        "take "
        "today?",
        {"a": (20, 90), "b": (5, 45)},
        [("long", "a + b", "The ride took {long} minutes.")],
    ),
    Template(
        "chickens-and-ducks",
        "On a farm there are {a} chickens and {b} ducks. How many birds [live on the farm|are there on the farm]?",
        {"a": (12, 70), "b": (8, 60)},
        [("all", "a + b", "There are {all} birds.")],
    ),
    Template(
        "flour-added",
        "{name} puts {a} grams of flour into a bowl and adds {b} grams of sugar. How many grams are in the bowl?",
        {"a": (100, 480), "b": (40, 300)},
        [("all", "a + b", "There are {all} grams in the bowl.")],
    ),
)

SUBTRACT = (
    Template(
        "sold-tickets-left",
        "A cinema hall has {a} seats. For tonight, {b} tickets were sold. How many tickets [can still be sold|are "
        "left]?",
        {"a": (60, 240), "b": (15, 200)},
        [("left", "a - b", "There are {left} tickets left.")],
    ),
    Template(
        "melted-candle",
        "A candle was {a} centimeters long. After an evening it was {b} centimeters shorter. How many centimeters long "
        "was it then?",
        {"a": (14, 40), "b": (3, 24)},
        [("long", "a - b", "The candle was {long} centimeters long.")],
    ),
    Template(
        "water-in-tank",
        "[A tank held {a} liters of water.|There were {a} liters of water in a tank.] {name} used {b} liters for the "
        "garden. How many liters were left in the tank?",
        {"a": (40, 300), "b": (8, 180)},
        [("left", "a - b", "There were {left} liters left.")],
    ),
    Template(
        "sheep-and-goats",
        "A farmer has {a} animals, sheep and goats. If {b} of them are goats, how many sheep does the farmer have?",
        {"a": (20, 95), "b": (5, 70)},
        [("sheep", "a - b", "The farmer has {sheep} sheep.")],
    ),
    Template(
        "faster-runner",
        "{name} needed {a} seconds to run around the field, and {name2} needed {b}. By how many seconds was {name2} "
        "faster?",
        {"a": (60, 140), "b": (40, 130)},
        [("faster", "a - b", "{name2} was {faster} seconds faster.")],
    ),
    Template(
        "letters-answered",
        "{name} got {a} letters this month and has answered {b} of them. How many letters does {he} still have to "
        "answer?",
        {"a": (9, 50), "b": (3, 40)},
        [("left", "a - b", "{name} still has {left} letters to answer.")],
    ),
    Template(
        "broken-on-the-way",
        "A truck brought {a} {things} to the market, but {b} of them broke on the way. How many {things} were not "
        "broken?",
        {"a": (20, 120), "b": (3, 60)},
        [("whole", "a - b", "There were {whole} whole {things}.")],
        things="goods",
    ),
    Template(
        "discount",
        "A jacket cost ${a}. In the sale it is ${b} cheaper. What is the price of the jacket in the sale, in dollars?",
        {"a": (30, 140), "b": (5, 60)},
        [("price", "a - b", "The jacket costs {price} dollars.")],
    ),
    Template(
        "left-the-party",
        "There were {a} guests at a party. At midnight {b} of them went home. How many guests stayed?",
        {"a": (20, 90), "b": (4, 60)},
        [("left", "a - b", "There were {left} guests who stayed.")],
    ),
    Template(
        "battery",
        "{name}'s phone could run for {a} minutes. {He} used it for {b} minutes. How many minutes are left?",
        {"a": (40, 240), "b": (10, 180)},
        [("left", "a - b", "There are {left} minutes left.")],
    ),
    Template(
        "difference-of-prices",
        "A {thing} costs ${a} in one shop and ${b} in another. How many dollars does one save by buying the cheaper "
        "one?",
        {"a": (20, 90), "b": (5, 70)},
        [("saved", "a - b", "One saves {saved} dollars.")],
        things="goods",
    ),
    Template(
        "rotten",
        "Of {a} {things} in a crate, {b} were rotten. How many {things} [were good|could be eaten]?",
        {"a": (20, 120), "b": (3, 60)},
        [("good", "a - b", "There were {good} good {things}.")],
        things="fruit",
    ),
    Template(
        "unpainted-fence",
        "A fence is {a} meters long. {name} has painted {b} meters of it. How many meters are still to be painted?",
        {"a": (15, 90), "b": (4, 70)},
        [("left", "a - b", "There are {left} meters still to be painted.")],
    ),
)

MULTIPLY = (
    Template(
        "wheels",
        "A factory puts {b} wheels on every cart. How many wheels does it need for {a} carts?",
        {"a": (4, 60), "b": [3, 4, 6]},
        [("all", "a * b", "It needs {all} wheels.")],
    ),
    Template(
        "stairs",
        "A tower has {a} floors, and there are {b} steps between one floor and the next. Counting from the ground, how "
        "many steps lead up {a} floors?",
        {"a": (3, 15), "b": (8, 20)},
        [("steps", "a * b", "That is {steps} steps.")],
    ),
    Template(
        "hourly-wage",
        "{name} earns ${b} an hour. How many dollars does {he} earn for {a} hours of work?",
        {"a": (3, 12), "b": (8, 25)},
        [("pay", "a * b", "{name} earns {pay} dollars.")],
    ),
    Template(
        "pages-per-day-read",
        "{name} reads {b} pages every evening. How many pages does {he} read in {a} evenings?",
        {"a": (3, 14), "b": (5, 30)},
        [("pages", "a * b", "{name} reads {pages} pages.")],
    ),
    Template(
        "tables-in-cafe",
        "A café has {a} tables, and {b} guests can sit at each of them. How many guests can sit in the café?",
        {"a": (5, 40), "b": [3, 4, 5, 6, 8]},
        [("all", "a * b", "The café has room for {all} guests.")],
    ),
    Template(
        "pieces-of-ribbon",
        "For one {thing} {name} needs {b} centimeters of tape. How many centimeters of tape does {he} need for {a} "
        "{things}?",
        {"a": (3, 14), "b": (4, 30)},
        [("tape", "a * b", "{name} needs {tape} centimeters of tape.")],
        things="goods",
    ),
    Template(
        "sugar-for-cakes",
        "One cake takes {b} grams of sugar. How many grams of sugar do {a} cakes take?",
        {"a": (2, 12), "b": (50, 250, Decimal(10))},
        [("sugar", "a * b", "The cakes take {sugar} grams of sugar.")],
    ),
    Template(
        "album-pages",
        "{name}'s album has {a} pages with {b} {things} on every page. How many {things} are in the album?",
        {"a": (4, 30), "b": (3, 12)},
        [("all", "a * b", "The album holds {all} {things}.")],
    ),
    Template(
        "legs-of-chairs",
        "Every chair in the hall has {b} screws. How many screws do {a} chairs have?",
        {"a": (3, 24), "b": (4, 12)},
        [("all", "a * b", "The chairs have {all} screws.")],
    ),
    Template(
        "lessons",
        "{name} gives {a} lessons a week. How many lessons does {he} give in {b} weeks?",
        {"a": (3, 18), "b": (2, 12)},
        [("all", "b * a", "{name} gives {all} lessons.")],
    ),
    Template(
        "beads-for-bracelets",
        "A bracelet takes {b} beads. {name} makes {a} bracelets. How many beads does {he} use?",
        {"a": (2, 12), "b": (6, 30)},
        [("all", "a * b", "{name} uses {all} beads.")],
    ),
    Template(
        "stops-of-bus",
        "A bus makes {b} stops on each trip and goes on {a} trips a day. How many stops does it make in a day?",
        {"a": (3, 15), "b": (5, 20)},
        [("all", "a * b", "The bus makes {all} stops.")],
    ),
    Template(
        "packs-of-paper",
        "{name} orders {a} packs of {things}. In each pack there are {b}. How many {things} does {he} get?",
        {"a": (3, 15), "b": (4, 24)},
        [("all", "a * b", "{name} gets {all} {things}.")],
        things="paper",
    ),
)

DIVIDE = (
    Template(
        "tables-for-guests",
        "For a wedding, {a} guests sit at tables of {b}. If every table is full, how many tables are there?",
        {"a": (24, 160), "b": (4, 12)},
        [("tables", "a / b", "There are {tables} tables.")],
    ),
    Template(
        "liters-per-can",
        "{name} fills {a} liters of juice into {b} cans of the same size until nothing is left. How many liters does "
        "each can hold?",
        {"a": (8, 96), "b": (2, 12)},
        [("each", "a / b", "Each can holds {each} liters.")],
        decimals=1,
    ),
    Template(
        "weeks-to-save",
        "A bicycle costs ${a}. {name} puts aside ${b} every week. After how many weeks can {he} pay for the bicycle?",
        {"a": (60, 400), "b": [5, 6, 8, 10, 12, 15, 20]},
        [("weeks", "a / b", "{name} can pay for it after {weeks} weeks.")],
    ),
    Template(
        "equal-rows",
        "[{name} lays {a} {things} in {b} equal rows.|On the floor, {a} {things} lie in {b} equal rows.] How many "
        "{things} are in one row?",
        {"a": (12, 120), "b": (3, 12)},
        [("each", "a / b", "One row has {each} {things}.")],
    ),
    Template(
        "speed",
        "A ship sails {a} kilometers in {b} hours without changing its speed. How many kilometers does it sail in one "
        "hour?",
        {"a": (30, 300, HALF), "b": (2, 10)},
        [("speed", "a / b", "It sails {speed} kilometers in one hour.")],
        decimals=1,
    ),
    Template(
        "fish-tanks",
        "A pet shop spreads {a} fish evenly over {b} tanks. How many fish swim in each tank?",
        {"a": (12, 144), "b": (3, 12)},
        [("each", "a / b", "There are {each} fish in each tank.")],
    ),
    Template(
        "crates-of-fruit",
        "A farm packs {a} {things} into crates that hold {b} each. How many crates [does it fill|become full]?",
        {"a": (40, 400), "b": [8, 10, 12, 15, 20, 24]},
        [("crates", "a / b", "It fills {crates} crates.")],
        things="fruit",
    ),
    Template(
        "chores",
        "In a school, {a} chairs have to be carried into the hall by {b} helpers, each carrying the same number. How "
        "many chairs does each helper carry?",
        {"a": (16, 144), "b": (3, 12)},
        [("each", "a / b", "Each helper carries {each} chairs.")],
    ),
    Template(
        "buses-for-trip",
        "A school takes {a} pupils to the sea in buses with {b} seats. If no seat stays empty, how many buses does it "
        "take?",
        {"a": (60, 960), "b": [12, 16, 20, 24, 30, 36, 40, 48]},
        [("buses", "a / b", "It takes {buses} buses.")],
    ),
    Template(
        "pages-to-copy",
        "Together, {b} friends copy {a} pages by hand, and each of them copies the same number. How many pages does "
        "each one copy?",
        {"a": (12, 144), "b": (3, 12)},
        [("each", "a / b", "Each one copies {each} pages.")],
    ),
    Template(
        "vases",
        "{name} puts {a} {things} into vases, {b} into each vase. How many vases does {he} fill?",
        {"a": (12, 120), "b": (3, 12)},
        [("vases", "a / b", "{name} fills {vases} vases.")],
        things="flower",
    ),
    Template(
        "liters-a-day",
        "A horse drinks {a} liters of water in {b} days, the same amount every day. How many liters does it drink a "
        "day?",
        {"a": (20, 300), "b": (2, 12)},
        [("daily", "a / b", "It drinks {daily} liters a day.")],
    ),
    Template(
        "weekly-pay",
        "For {b} weeks of work {name} is paid ${a}. How many dollars is that for one week?",
        {"a": (100, 900), "b": (2, 9)},
        [("pay", "a / b", "{name} is paid {pay} dollars for one week.")],
    ),
)

TEST_ONLY = ADD + SUBTRACT + MULTIPLY + DIVIDE
