"""Hypothesis strategies for texts that noise meets."""

from __future__ import annotations

from hypothesis import strategies as st

_WORDS = """Janet sells 16 ducks’ eggs at the farmers' market daily. $1,250.50 7.5 3/4 50% (3rd) well-known don't
https://a.example/b?c=1 me@home.example {name} <extra_id_0> [MASK] \\frac{1}{2} $a^2+b$ naïve cafe\u0301 नमस्ते שלום
مرحبا 👩‍👩‍👧 ❤️ 寿司 ﬁne e.g. ... — How many does she make? to their flour I a \u200b six (A) shelf (B) two hundred
twenty-one half dozen of and 二百四十个苹果 ½ १२ Ⅳ example.com"""
_SPACES = [" ", " ", " ", " ", "  ", "\n", "\t", "\u00a0", "\r\n"]
_PIECES = [*_WORDS.split(), "`x = f(y)`", "$a^2 + b$", "Answer Choices: (A) dark"]

questions = st.lists(st.tuples(st.sampled_from(_PIECES), st.sampled_from(_SPACES)), max_size=30).map(
    lambda pairs: "".join(piece + space for piece, space in pairs)
)
texts = st.one_of(questions, st.text(max_size=120), st.text("ab 1.,'é\n\u0301", max_size=60))
rates = st.floats(0.01, 1.0)
seeds = st.integers(0, 2**32)
