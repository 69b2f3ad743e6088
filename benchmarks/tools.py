"""Writes the rows of examples/tools: utterances.csv, which is asked, and utterances-train.jsonl, which
recipes/tools.yaml trains on.

    python benchmarks/tools.py

An utterance asks for one of six tools. No sentence, city or thing to buy is in both files.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from example_rows import Chat, chats, lines, table, write_chats

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "tools"
TRAINED, ASKED = 360, 300
Call = dict[str, str | dict[str, str | int]]

ROOMS = ["kitchen", "bedroom", "bathroom", "living room", "hallway", "office", "garage", "nursery"]
DAYS = ["today", "tomorrow", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
GENRES = ["jazz", "rock", "folk", "soul", "techno", "classical", "country", "blues"]
# fmt: off
WORDS = {
    2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten", 12: "twelve",
    15: "fifteen", 20: "twenty", 30: "thirty",
}
CITIES = {
    "train": [
        "London", "Paris", "Rome", "Madrid", "Berlin", "Vienna", "Oslo", "Dublin", "Chicago", "Boston", "Toronto",
        "Sydney", "Prague", "Lisbon", "Athens", "Warsaw", "Denver", "Seattle",
    ],
    "test": ["Amsterdam", "Brussels", "Copenhagen", "Helsinki", "Budapest", "Zurich", "Houston", "Melbourne", "Leeds"],
}
ITEMS = {
    "train": [
        "milk", "butter", "bread", "apples", "rice", "coffee", "eggs", "onions", "flour", "soap", "candles", "honey",
        "tomatoes", "yoghurt", "salt", "noodles", "olive oil", "toothpaste",
    ],
    "test": ["sugar", "cheese", "potatoes", "bananas", "pepper", "batteries", "carrots", "chocolate", "orange juice"],
}
# fmt: on
FIELDS = {
    "set_timer": ("minutes",),
    "set_temperature": ("room", "degrees"),
    "switch_light": ("room", "state"),
    "add_to_list": ("item",),
    "get_weather": ("city", "day"),
    "play_music": ("genre", "room"),
}

SENTENCES = {
    "train": {
        "set_timer": """
            Set a timer for {minutes} minutes.
            Wake me in {minutes} minutes.
            I need a countdown of {minutes} minutes.
            Ring when {minutes} minutes are over.
            Could you start a timer? {minutes} minutes.
            The eggs take {minutes} minutes, remind me.
            Tell me when {minutes} minutes have passed.
            Timer, {minutes} minutes, please.
            Let the alarm go off {minutes} minutes from now.
            Count down {minutes} minutes for me.
            Give me a signal after {minutes} minutes.
            My cake has to come out in {minutes} minutes.
            """,
        "set_temperature": """
            Set the {room} to {degrees} degrees.
            Make the {room} {degrees} degrees warm.
            I want {degrees} degrees in the {room}.
            Turn the heating in the {room} to {degrees}.
            Could the {room} be {degrees} degrees?
            Heat the {room} up to {degrees} degrees, please.
            The {room} is too cold, go to {degrees} degrees.
            {degrees} degrees for the {room}.
            Change the temperature of the {room} to {degrees}.
            Cool the {room} down to {degrees} degrees.
            Keep {degrees} degrees in the {room} tonight.
            Please bring the {room} to {degrees} degrees.
            """,
        "switch_light": """
            Turn {state} the light in the {room}.
            Switch the {room} light {state}.
            Lights {state} in the {room}, please.
            Put the lamp in the {room} {state}.
            Could you turn the {room} lights {state}?
            I would like the light of the {room} {state}.
            The lamp in the {room} should be {state}.
            {room} light {state}.
            Make sure the light in the {room} is {state}.
            Please have the {room} lamp {state}.
            Can the light in the {room} go {state} now?
            Lamp {state} in the {room}.
            """,
        "add_to_list": """
            Add {item} to my shopping list.
            Put {item} on the list.
            We are out of {item}.
            I have to buy {item}.
            Please note that we need {item}.
            {item} should go on the shopping list.
            Write down {item} for the shop.
            Remember {item} when I go shopping.
            The {item} is nearly finished, add it.
            Could you add {item}?
            Get {item} on the list, please.
            There is no {item} left at home.
            """,
        "get_weather": """
            What is the weather in {city} {day}?
            Will it rain in {city} {day}?
            How warm will it be in {city} {day}?
            Tell me the forecast for {city} {day}.
            Do I need an umbrella in {city} {day}?
            Weather for {city} {day}, please.
            Is it sunny in {city} {day}?
            Give me the weather report of {city} for {day}.
            I fly to {city} {day}, how is the weather?
            Could there be snow in {city} {day}?
            How does the sky look in {city} {day}?
            Shall I expect wind in {city} {day}?
            """,
        "play_music": """
            Play {genre} in the {room}.
            I want to hear {genre} in the {room}.
            Put on some {genre} in the {room}.
            Could you play {genre} music in the {room}?
            Let us have {genre} in the {room}.
            {genre} in the {room}, please.
            Start a {genre} playlist in the {room}.
            Give me {genre} on the speaker in the {room}.
            Some {genre} for the {room}.
            Stream {genre} to the {room}.
            The {room} needs a little {genre}.
            Turn on {genre} music in the {room}.
            """,
    },
    "test": {
        "set_timer": """
            Remind me to look at the oven in {minutes} minutes.
            I would like you to count {minutes} minutes.
            Begin a {minutes} minute timer now.
            Can you give me a shout in {minutes} minutes?
            The tea has to draw for {minutes} minutes, watch the clock.
            In {minutes} minutes I want to be alerted.
            Set the kitchen clock: {minutes} minutes to go.
            """,
        "set_temperature": """
            It should have {degrees} degrees in the {room}.
            Would you set the thermostat of the {room} at {degrees}?
            I am freezing in the {room}, raise it to {degrees} degrees.
            Adjust the {room} to {degrees} degrees, thanks.
            For the night, {degrees} degrees will do in the {room}.
            Let the {room} warm up until it has {degrees} degrees.
            The radiator in the {room} can go to {degrees} degrees.
            """,
        "switch_light": """
            I am in the {room} and want the light {state}.
            Would you mind switching {state} the lamp in the {room}?
            All lamps of the {room} {state}, now.
            Get the lights {state} in the {room}.
            Please turn the ceiling light of the {room} {state}.
            It would be good to have the {room} light {state}.
            Somebody should switch the lights of the {room} {state}.
            """,
        "add_to_list": """
            I used up the {item}, so we have to get some.
            Next time at the market I must not forget {item}.
            Would you put {item} down for tomorrow's shopping?
            Also, {item} is missing in the pantry.
            Shopping list: {item}.
            Make a note to pick up {item}.
            Let me buy {item} this week, note it.
            """,
        "get_weather": """
            Can I go out without a coat in {city} {day}?
            We want to have a picnic in {city} {day}, will it stay dry?
            What do they say about the weather in {city} for {day}?
            How cold does it get in {city} {day}?
            Check whether {city} has rain {day}.
            Is a storm coming to {city} {day}?
            Say what the forecast is in {city} {day}.
            """,
        "play_music": """
            I am in the mood for {genre} in the {room}.
            Can we listen to {genre} in the {room}?
            Find me {genre} for the speaker in the {room}.
            Would you put a {genre} record on in the {room}?
            Let {genre} sound in the {room}.
            It is too quiet in the {room}, how about {genre}?
            My guests in the {room} would enjoy some {genre}.
            """,
    },
}
BEFORE = {"train": ["Hey,", "Okay,", "Computer,", "Listen,"], "test": ["Hello,", "Right,", "Assistant,"]}


def arguments(tool: str, part: str, random: Random) -> dict[str, str | int]:
    """Returns arguments for a tool, drawn at random."""
    values: dict[str, str | int] = {
        "minutes": random.choice(sorted(WORDS)),
        "degrees": random.randint(16, 24),
        "room": random.choice(ROOMS),
        "state": random.choice(["on", "off"]),
        "item": random.choice(ITEMS[part]),
        "city": random.choice(CITIES[part]),
        "day": random.choice(DAYS),
        "genre": random.choice(GENRES),
    }
    return {name: values[name] for name in FIELDS[tool]}


def utterances(part: str, count: int, seed: int = 7) -> list[tuple[str, Call]]:
    """Returns different utterances with the calls that they ask for; each sentence is used about equally often."""
    random = Random(f"{seed}/{part}")
    written: dict[str, Call] = {}
    sentences = [(tool, line) for tool, block in SENTENCES[part].items() for line in lines(block)]
    tried = 0
    while len(written) < count:
        tool, sentence = sentences[tried % len(sentences)]
        tried += 1
        given = arguments(tool, part, random)
        spoken = dict(given)
        if "minutes" in given and random.random() < 0.5:
            spoken["minutes"] = WORDS[int(given["minutes"])]
        if spoken.get("day") in DAYS[2:]:
            spoken["day"] = str(given["day"]) if "for {day}" in sentence else f"on {given['day']}"
        text = " ".join([*random.sample(BEFORE[part], random.choice([0, 0, 0, 1])), sentence]).format(**spoken)
        written.setdefault(text[0].upper() + text[1:], {"name": tool, "arguments": given})
    rows = list(written.items())
    random.shuffle(rows)
    return rows


def asked() -> str:
    """Returns the rows that are asked, as CSV with the call in JSON."""
    return table(["id", "said", "call"], "U", utterances("test", ASKED))


def taught() -> list[Chat]:
    """Returns the chats that teach a model to answer with a call in JSON."""
    answered = ((said, json.dumps(call)) for said, call in utterances("train", TRAINED))
    return chats(FOLDER / "assistant.yaml", "said", answered)


def main() -> None:
    """Writes both files."""
    (FOLDER / "utterances.csv").write_text(asked(), encoding="utf-8")
    write_chats(FOLDER / "utterances-train.jsonl", taught())


if __name__ == "__main__":
    main()
