"""Templates of other people end, and see nothing but what they are given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.templates import MOST_CHARS, MOST_LOOPS, BadTemplate, BoundedTemplate

TEXTS = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=200)
JINJA = st.sampled_from(["{{ 7 * 7 }}", "{% for x in range(9) %}x{% endfor %}", "{# gone #}", "{{ secret }}", "{%"])


@given(before=TEXTS, jinja=JINJA, after=TEXTS)
def test_a_value_arrives_as_it_is_and_never_executes(before, jinja, after):
    value = before + jinja + after
    template = BoundedTemplate("[{{ body }}]{% for turn in turns %}{{ turn.content }}|{% endfor %}")
    assert template.render({"body": value, "turns": [{"content": value}]}) == f"[{value}]{value}|"


@given(TEXTS)
def test_any_text_is_a_template_or_a_bad_one(source):
    lines, bad = source.count("\n") + source.count("\r") + 1, []
    try:
        written = BoundedTemplate(source).render({})
    except BadTemplate as error:
        bad, written = [error.line], error.message
    assert written or not source.strip()
    assert all(1 <= line <= lines for line in bad)


ENDLESS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in body %}{{ b }}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{{ body }}{% endfor %}",
    "{{ 'x' * 999999999999 }}",
    "{{ [1] * 999999999999 }}",
    "{{ '%0999999999d' % 1 }}",
    "{{ body|replace('a', body)|replace('a', body) }}",
    "{{ (body|list)|join(body) }}",
    "{{ body|map('replace', 'a', body)|join(body) }}",
]


@pytest.mark.parametrize("source", ENDLESS)
def test_what_would_go_on_for_ever_is_stopped(source):
    with pytest.raises(BadTemplate, match=r"loops more than|makes more than|is for numbers"):
        BoundedTemplate(source).render({"body": "a" * 2000})


REFUSED = [
    "{{ 9 ** 9 ** 9 }}",
    "{% set x = 1 %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% filter upper %}x{% endfilter %}",
    "{% for x in turns recursive %}{{ loop(x) }}{% endfor %}",
    "{{ lipsum(n=99999999) }}",
    "{{ body.format(body) }}",
    "{{ body.center(999999999) }}",
    "{{ ''['join'](body) }}",
    "{{ body|center(999999999) }}",
    "{{ body|attr('__class__') }}",
    "{{ body|xmlattr }}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{{ 1 }}" * 3000,
    "{% if body %}",
]


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_not_allowed_is_refused_before_anything_is_rendered(source):
    with pytest.raises(BadTemplate):
        BoundedTemplate(source)


SECRETS = [
    "{{ body.__class__ }}",
    "{{ body.__class__.__mro__[1].__subclasses__() }}",
    "{{ body['__class__'] }}",
    "{{ body.strip.__globals__ }}",
    "{{ turns.__init__.__globals__ }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ range.__class__ }}",
    "{% for x in turns %}{{ loop.__class__ }}{% endfor %}",
    "{{ row.__class__ }}",
    "{{ missing }}",
]


@pytest.mark.parametrize("source", SECRETS)
def test_attributes_lead_nowhere(source):
    with pytest.raises(BadTemplate):
        BoundedTemplate(source).render({"body": "text", "turns": [1], "row": {}})


def test_an_error_has_its_line_and_an_unknown_name():
    with pytest.raises(BadTemplate) as caught:
        BoundedTemplate("one\n{% if body %}\n{{ bdy }}\n{% endif %}").render({"body": "x"})
    assert (caught.value.line, caught.value.name) == (3, "bdy")
    with pytest.raises(BadTemplate) as caught:
        BoundedTemplate("one\n\n{{ 1 / zero }}").render({"zero": 0})
    assert caught.value.line == 3
    with pytest.raises(BadTemplate) as caught:
        BoundedTemplate("one\n{% for %}")
    assert caught.value.line == 2


def test_names_are_those_from_outside_with_their_first_lines():
    source = "{{ a }}\n{% for b in c %}{{ b }}{{ loop.index }}{{ a }}{% endfor %}\n{{ row['the d'] }}{{ row.e }}"
    assert BoundedTemplate(source).names == {"a": 1, "c": 2, "row": 3, "the d": 3, "e": 3}


def test_what_prompts_need_works():
    source = (
        "{% if name is defined and name %}{{ name|title }}{% else %}nobody{% endif %}: "
        "{% for x in tags %}{{ loop.index }}/{{ loop.length }} {{ x|upper }}{% if not loop.last %}, {% endif %}"
        "{% endfor %} {{ more|tojson }} {{ gone|default('-') }} {{ text.split()[0] }} {{ tags|join('+') }} {{ 2 * 3 }}"
    )
    values = {"name": "ann", "tags": ["a", "b"], "more": {"k": "<ü>"}, "text": "one two"}
    assert BoundedTemplate(source).render(values) == 'Ann: 1/2 A, 2/2 B {"k": "<ü>"} - one a+b 6'


def test_the_bounds_leave_room_for_long_rows():
    assert len(BoundedTemplate("{{ body }}").render({"body": "x" * (MOST_CHARS - 1)})) == MOST_CHARS - 1
    turns = [{"content": "x"}] * (MOST_LOOPS - 1)
    assert BoundedTemplate("{% for t in turns %}{{ t.content }}{% endfor %}").render({"turns": turns}) == "x" * len(
        turns
    )
