"""Texts with spans that no correction may change, in several scripts and with every kind of line end."""

from __future__ import annotations

from hypothesis import strategies as st

SPANS = """https://x.io/a?b=1 | www.a-b.org | me@b.co | `x = 1` | ```\nf(x)\n``` | $x^2+y$ | \\frac{1}{2} | {{name}}
<b> | [NAME] | "in qotes" | \u201calso qoted\u201d | \u00abcit\u00e9\u00bb | $ 7.50 | -5 | 12% | 3/4 | 1,250 | three
Twenty-one | \u0663\u0664 | \u4e8c\u767e | two hundred and one | 10:30 | ./a/b.txt | a.py"""
WORDS = """teh boght appels How mnay of the \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627
cafe\u0301
e\u0301le\u0300ve \u0939\u093f\u0928\u094d\u0926\u0940 don't it\u2019s x y. (so) , ; : ! ? - + $ % / . " ' \u201d = #
\u200f \U0001f600"""
_span = st.sampled_from([part.strip() for line in SPANS.split("\n") for part in line.split("|") if part.strip()])
_word = st.sampled_from(WORDS.split()) | st.text(max_size=6)
_gap = st.sampled_from([" ", " ", " ", "  ", "\r\n", "\n", "\t", "", "\u00a0"])
PIECES = st.tuples(_word | _span, _gap).map("".join)
TEXTS = st.lists(PIECES, max_size=25).map("".join)
