"""Names and things that generated questions speak of. A thing is its singular and its plural."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = _words(
    """
    Ada Aisha Alma Amara Anna Beatriz Carla Chiara Clara Dalia Elena Emma Farah Freya Grace Hana Ines Ingrid
    Irene Jana Julia Karin Keiko Laila Lena Leonor Lucia Maria Marta Maya Mei Mina Nadia Nora Olga Paula Petra
    Priya Rosa Ruth Sara Selma Sofia Stella Tessa Uma Vera Wanda Yara Zoe
    """
)
MEN = _words(
    """
    Adam Ahmed Anton Arjun Boris Bruno Carlos Chen Daniel David Diego Elias Emil Felix Finn Hassan Henry Hugo
    Ivan Jakob Jamal Jonas Juan Kai Karl Kofi Leo Liam Luca Malik Marco Mateo Max Milan Noah Omar Oscar Pablo
    Paul Peter Rafael Ravi Rohan Samuel Simon Tariq Theo Tomas Victor Yusuf
    """
)
SURNAMES = _words(
    """
    Abbott Adeyemi Ahmadi Alvarez Andersson Bakker Baptiste Barnes Becker Bianchi Blake Castillo Chandra Cohen
    Costa Dang Delgado Dubois Duarte Eklund Farrell Ferrari Fischer Flores Garnier Gupta Haddad Hansen Hernandez
    Ibrahim Ito Jansen Jimenez Kapoor Keller Kim Kowalski Larsen Lindqvist Lopez Mahmoud Marino Mbeki Medina
    Moreau Morgan Nakamura Nguyen Novak Okafor Olsen Ortega Osei Papadakis Park Patel Petrov Quinn Ramirez Rao
    Ricci Rossi Ruiz Sandberg Santos Schmidt Sharma Silva Singh Smirnov Stone Suzuki Takahashi Tanaka Torres
    Tran Uddin Vargas Vogel Walsh Weber Wong Yilmaz Zhang
    """
)

_THINGS = {
    "small": """marble sticker seashell button bead postcard stamp coin badge feather pebble bookmark magnet
        trading-card toy-car bottle-cap key-ring ribbon""",
    "baked": "muffin cookie pancake bagel doughnut dumpling cupcake pretzel waffle pie biscuit scone brownie",
    "fruit": "apple orange pear plum apricot lemon lime mango banana kiwi melon fig coconut nectarine",
    "paper": "pencil notebook eraser marker crayon folder ruler paintbrush notepad pen envelope calendar",
    "flower": "rose tulip sunflower orchid carnation dahlia begonia violet iris marigold primrose",
    "goods": "mug candle poster lamp puzzle cap scarf book T-shirt plant-pot cushion photo-frame teapot basket bowl",
}
_PLURALS = {"scarf": "scarves", "iris": "irises"}


def _plural(noun: str) -> str:
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


THINGS = {
    kind: tuple((noun, _plural(noun)) for noun in (n if n == "T-shirt" else n.replace("-", " ") for n in nouns.split()))
    for kind, nouns in _THINGS.items()
}
