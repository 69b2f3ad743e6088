"""Writes examples/tickets/tickets-train.jsonl, what recipes/tickets.yaml trains on.

    python benchmarks/tickets.py

Each ticket is one of the complaints below with what people say around it, asked by the prompt support.yaml. None of its
sentences stands in tickets.csv, whose tickets were written one by one.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from example_rows import Chat, chats, lines, write_chats

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "tickets"
PER_QUEUE = 90

# fmt: off
ITEMS = [
    "kettle", "desk lamp", "rain jacket", "backpack", "coffee grinder", "yoga mat", "office chair", "bookshelf",
    "bike light", "blanket", "frying pan", "headset", "keyboard", "tent", "pair of boots", "wool jumper",
    "wall clock", "garden hose", "suitcase", "toaster", "mattress topper", "water bottle", "scarf", "monitor stand",
    "drill", "air fryer", "pillow", "side table", "running shoes", "vacuum cleaner",
]
# fmt: on
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
# fmt: off
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]
# fmt: on

COMPLAINTS = {
    "billing": """
        My bank statement shows your shop taking {money} two times for a single purchase.
        Could I have a proper invoice with our VAT number on it for order {order}?
        The code for ten percent off was accepted, yet I paid the full {money}.
        Why was I charged {money} when the basket said {less}?
        I need a receipt for the {item} because my employer reimburses it.
        My gift card still had money on it, but the whole sum went to my credit card.
        The payment was rejected three times and now the money is reserved on my card anyway.
        Please change the company name printed on the invoice for {order}.
        There is a fee of {less} on the bill that nobody can explain to me.
        Can I pay the {item} in instalments instead of all at once?
        I was billed for express shipping although I chose the ordinary one.
        You sent me a payment reminder for a bill which I settled on {date}.
        The subscription was cancelled in {month}, and {less} is being debited all the same.
        Do you take bank transfers, or only cards?
        The voucher from my birthday was not deducted from the total.
        The tax on my bill has been worked out with the rate of another country.
        I would like to replace the card that you debit each month.
        Our accountant asks for all invoices of {month} as one file.
        The exchange rate on the bill makes the {item} dearer than promised.
        I see a charge of {money} from you and have not ordered anything.
        You have debited {money} without any order from me, please explain the charge.
        The price went down a day after I paid, do you match it?
        The bill lists two of the {item}, and I bought only one.
        My card expired, so the instalment for {month} could not be collected.
        Can the bill be split between two cards?
        """,
    "delivery": """
        Tracking has said the same thing since {day}, and no parcel has come.
        The driver marked the {item} as handed over, but nobody gave me anything.
        Can you send the parcel to my office instead, it has not left yet?
        I waited at home the whole of {day} and the courier never rang.
        When will the {item} from order {order} get here?
        The parcel was left with a neighbour whose name I cannot read.
        My shipment is stuck in customs, who has to clear it?
        You promised two working days, and today is day nine.
        There is a mistake in the street number that I gave for order {order}, please correct it before dispatch.
        The carrier says that my address does not exist.
        Only one of the two parcels has reached me so far.
        Please hold the shipment until {date}, we are on holiday.
        The link for tracking shows a town where I have never lived.
        The box went back to your warehouse because I was not in, can you ship it again?
        Do you ship to islands, and how many days does it take?
        I need the {item} before {date}, will it be on time?
        Could the driver leave the box in the garage next time?
        The pickup shop says it never received my package.
        Is it possible to have the {item} brought up to the third floor?
        The courier threw the parcel over the fence and drove off.
        My order has been in preparation for two weeks, when will it be sent?
        The delivery slot that I booked was {day} morning, and nobody showed up.
        I have no tracking number for {order} yet.
        The package seems to be lost between two depots.
        The parcel is at a locker across town, please redirect it to my home.
        """,
    "returns": """
        The {item} is too small for me, I would like to swap it for a larger one.
        How do I send the {item} back, and who pays the postage?
        I changed my mind about the {item} and want my money back.
        My parcel with the return reached you on {date}, when do I get the refund?
        Please send me a return label for order {order}.
        The colour does not suit our room, can I exchange it?
        Is it too late to give back something that I bought on {date}?
        I received two as gifts and would like to return one of them, unopened.
        The return form does not ask for my reasons, where shall I write them?
        I sent the {item} back weeks ago and have not seen the {money}.
        Can I hand in a return at one of your shops?
        I dropped off the return at the post, here is the number of the slip: {order}.
        The jumper fits badly around the shoulders, so it is going back.
        Do I need the original box to return the {item}?
        I have opened the {item} only to look at it, may I still send it back?
        You refunded {less} for my return, but the {item} cost {money}.
        I would rather have another size than a refund.
        Please tell me to which address a return has to go.
        The label for sending it back has expired.
        We ordered three sizes to try on and are sending two back.
        My wife does not like the {item}, what are the rules for returning it?
        May I return half of order {order} and keep the rest?
        The thing looks nothing like what I want in my home, so please arrange a pickup for the return.
        Has my returned {item} been registered yet?
        How many days do I have to return something from the sale?
        """,
    "defect": """
        The {item} came with a big crack along one side.
        After a week of use the {item} will not turn on any more.
        One screw was missing from the box, so I cannot put it together.
        I unpacked a {item}, though I had ordered something else entirely.
        The zip broke the second time I used it.
        It makes a loud grinding noise and smells of burning.
        The handle came off in my hand, please repair or replace it.
        The glass was in pieces when I opened the carton.
        The {item} stopped working on {date}, it is still under guarantee.
        You sent me the blue one, and I asked for grey.
        The battery is flat after ten minutes although it charged all night.
        The seam has come apart, and I have hardly worn it.
        There is a deep scratch on the surface, straight from the factory.
        Half of the set is missing from the package.
        Water drips out at the bottom of the {item}.
        The motor runs for a moment and then dies.
        One leg is shorter than the others, so it wobbles.
        The {item} that arrived has clearly been used by someone.
        The display of the device stays black.
        The button is stuck, and pressing harder does not help.
        The lid does not close because it is bent.
        My {item} has a hole in it, I would like a new one.
        The spare part you mailed does not belong to my model.
        The paint is peeling off after two weeks indoors.
        The switch gives me a small electric shock, this is dangerous!
        """,
    "account": """
        I cannot sign in because I have forgotten my password.
        The mail for resetting my password never comes.
        Please delete my profile and everything you have stored about me.
        I have a new e-mail address, how do I change it in my profile?
        Stop sending me the newsletter, I have asked for that before.
        My profile has been locked after too many attempts.
        I married and would like to change my surname in my profile.
        Somebody else seems to be using my login.
        I have two accounts by mistake, can you merge them?
        My bonus points have disappeared from my profile.
        The code for two-step sign-in goes to a phone that I no longer own.
        How can I remove an old address from my address book?
        I would like a copy of the personal data that you hold on me.
        My username is spelt wrongly, may I choose a new one?
        Please unsubscribe me from all advertising.
        I signed up as a private person and need a business account.
        My daughter registered with my e-mail address, please undo that.
        How do I switch off the text messages that you send?
        I got a note that my password was changed, and it was not me.
        The activation link for my new account is no longer valid.
        Please update the phone number in my customer profile.
        Can my husband and I share one membership?
        I want to close my customer account for good.
        My membership level went down, and I do not know why.
        I can no longer log in since I changed my e-mail address.
        """,
    "technical": """
        Your app closes by itself as soon as I open the basket.
        The page stays white in my browser.
        When I press the pay button, nothing happens at all.
        The search on your site finds nothing, whatever I type.
        Error 500 appears each time I want to look at my orders.
        The app says that there is no connection, though my internet is fine.
        The pictures on the site do not load on my phone.
        Your website is terribly slow since the last update.
        The basket empties itself whenever I go to the next page.
        The filter for sizes does nothing when I tick it.
        I cannot upload a photo, the site hangs at 99 percent.
        The menu covers half of the page on my tablet.
        After the update the app does not start on my phone any longer.
        The form keeps telling me that the postcode is invalid, and it is right.
        The chat window cannot be closed and hides the text.
        Your site switches to another language with every click.
        The calendar on the page shows no dates to pick from.
        The link in your mail leads to a page that does not exist.
        The barcode scanner in the app only shows a black picture.
        The video on the page will not play in any browser.
        The site logs an error about cookies and reloads for ever.
        The checkout freezes at the second step on my laptop.
        Buttons in the app are so large that the text is cut off.
        The wish list in the app is not the same as the one on the website, it does not sync.
        The download of the manual stops with a server error.
        """,
    "product": """
        How wide is the {item}, it has to fit into a corner?
        Is the {item} suitable for children under three?
        When will the {item} be in stock again?
        What is the {item} made of?
        Does the {item} work with a normal socket abroad?
        Can I wash the cover at sixty degrees?
        Which of your two models is quieter?
        Is there a manual for the {item} in another language?
        How heavy is the {item} with its box?
        Do you also sell filters for it?
        Does it come with batteries, or do I buy them separately?
        Will there be a green version of the {item}?
        How much weight can it carry?
        Could you recommend something for somebody with a bad back?
        Is the leather real or artificial?
        How long is the guarantee on the {item}?
        Does the older lid fit onto the new pot?
        Where is the {item} produced?
        Is the fabric waterproof or only water repellent?
        What is the difference between the basic and the plus model?
        Can the {item} stay outdoors in winter?
        Does the paint contain solvents, I am allergic to them?
        Before I order, what size do you advise for a foot of 26 cm?
        How often do I have to oil the {item}?
        Do you have a larger one than the {item} in your range?
        """,
}
BEFORE = """
    Hello,
    Hi there,
    Good morning,
    Dear team,
    Dear all,
    Good day,
    I have been a customer for years.
    This is about order {order}.
    I bought a {item} on {date}.
    I am writing about the {item}.
    It is about my purchase of {date}, paid by card.
    We ordered for our office in {month}.
    My mother asked me to write.
    I hope you can help me.
    I have never had trouble with you before.
    A colleague told me to ask you.
    I tried to phone you on {day}.
    The total was {money}.
    """
AFTER = """
    Thanks!
    Thank you in advance.
    Best wishes
    Please answer soon.
    Please let me know what to do.
    I look forward to hearing from you.
    What can be done?
    This is rather urgent.
    I am quite annoyed.
    The number of the order is {order}.
    I paid {money} for it.
    You can call me in the evening.
    Many thanks for your help.
    It is the third time that I write.
    Kind regards from a loyal customer
    I have attached a picture.
    """


def details(random: Random) -> dict[str, str]:
    """Returns what one ticket is about: an item, a day, a date, an order number, and two amounts."""
    price = random.randint(12, 240)
    currency = random.choice("€$£")
    return {
        "item": random.choice(ITEMS),
        "day": random.choice(DAYS),
        "month": random.choice(MONTHS),
        "date": f"{random.randint(1, 28)} {random.choice(MONTHS)}",
        "order": random.choice(["#{}", "{}", "A-{}", "no. {}"]).format(random.randint(10_000, 99_999)),
        "money": f"{currency}{price}.{random.choice(['00', '50', '95', '99'])}",
        "less": f"{currency}{price // 3}.{random.choice(['00', '40', '90'])}",
    }


def tickets(seed: int = 7) -> list[tuple[str, str]]:
    """Returns the tickets and their queues, in random order; the complaints of a queue are used equally often."""
    random = Random(seed)
    made = []
    for queue, complaints in COMPLAINTS.items():
        cores = lines(complaints)
        for number in range(PER_QUEUE):
            before = random.sample(lines(BEFORE), random.choice([0, 0, 1, 1, 2]))
            after = random.sample(lines(AFTER), random.choice([0, 0, 1, 1, 2]))
            sentences = [*before, cores[number % len(cores)], *after]
            made.append((" ".join(sentences).format(**details(random)), queue))
    random.shuffle(made)
    return made


def rows() -> list[Chat]:
    """Returns the chats that teach a model to answer a ticket with its queue."""
    return chats(FOLDER / "support.yaml", "body", tickets())


def main() -> None:
    """Writes them."""
    write_chats(FOLDER / "tickets-train.jsonl", rows())


if __name__ == "__main__":
    main()
