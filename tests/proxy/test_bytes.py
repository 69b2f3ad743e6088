"""Requests leave byte for byte but for the JSON strings of texts that were changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.proxy.positions import located
from llmkit.proxy.turns import ENDPOINTS, Unreadable, parsed, turns, with_texts

SPACES = st.text(" \t\n\r", max_size=3)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ['a "quoted" one', "back\\slash", "größer", "\ud800", "\u2028", "}{][", ""]
)
ATOMS = st.sampled_from(["null", "true", "1e400", "-0.0", "123456789012345678901234567890", "1.0000000000000000001"])


@st.composite
def written_strings(draw):
    """A JSON string in one of the many ways to write it."""
    text = draw(TEXTS)
    plain = json.dumps(text, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        plain = '"' + "".join(f"\\u{unit:04x}" for unit in _units(text)) + '"'
    return plain.encode("utf-8", "replace").decode()


def _units(text):
    content = text.encode("utf-16-be", "surrogatepass")
    return [content[at] * 256 + content[at + 1] for at in range(0, len(content), 2)]


@st.composite
def objects(draw, members):
    """An object of these members as text, with odd space and sometimes a name twice."""
    parts = [f"{draw(SPACES)}{json.dumps(name)}{draw(SPACES)}:{draw(SPACES)}{value}" for name, value in members]
    return "{" + ",".join(parts) + draw(SPACES) + "}"


JSON = st.recursive(
    written_strings() | ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: "[" + " , ".join(values) + "]")
        | st.lists(st.tuples(TEXTS, inner), max_size=3).flatmap(objects)
    ),
    max_leaves=6,
)


@st.composite
def messages(draw):
    role = draw(st.sampled_from(["user", "user", "system", "assistant", "tool", "developer"]))
    part = st.one_of(
        written_strings().flatmap(lambda text: objects([("type", '"text"'), ("text", text)])),
        JSON.flatmap(lambda value: objects([("type", '"image_url"'), ("image_url", value), ("text", '"not a text"')])),
    )
    parts = st.lists(part, max_size=3).map(lambda written: "[" + ",".join(written) + "]")
    members = [("role", json.dumps(role)), ("content", draw(written_strings() | parts | ATOMS)), ("more", draw(JSON))]
    if draw(st.booleans()):  # of members with one name the last counts
        members.insert(0, ("content", draw(written_strings())))
    return draw(objects(draw(st.permutations(members[-3:])) if len(members) == 3 else members))


@st.composite
def bodies(draw):
    written = "[" + f"{draw(SPACES)},{draw(SPACES)}".join(draw(st.lists(messages(), max_size=4))) + "]"
    members = [("model", '"m"'), ("messages", written), ("tools", draw(JSON)), ("seed", draw(ATOMS))]
    return (draw(SPACES) + draw(objects(draw(st.permutations(members)))) + draw(SPACES)).encode("utf-8", "replace")


@settings(max_examples=150)
@given(body=bodies(), data=st.data())
def test_only_the_strings_of_changed_texts_differ(body, data):
    found = turns("/v1/chat/completions", parsed(body))
    changed = {turn: data.draw(TEXTS) for turn in found if data.draw(st.booleans())}
    after = with_texts(body, changed)
    spans = located(body, {turn.path: turn for turn in changed})
    assert len(spans) == len(changed)
    at = shifted = 0
    for turn, span in sorted(spans.items(), key=lambda pair: pair[1]):
        assert after[at + shifted : span.start + shifted] == body[at : span.start]
        text = next(text for changed_turn, text in changed.items() if changed_turn.path == turn)
        _, length = json.JSONDecoder().raw_decode(after[span.start + shifted :].decode("utf-8"))
        written = after[span.start + shifted :].decode("utf-8")[:length].encode()
        assert json.loads(written) == text
        at, shifted = span.end, shifted + len(written) - (span.end - span.start)
    assert after[at + shifted :] == body[at:]
    expected = json.loads(body)
    for turn, text in changed.items():
        _set(expected, turn.path, text)
    assert repr(json.loads(after)) == repr(expected)  # as text, because NaN is not itself


def _set(tree, path, value):
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


@given(body=bodies())
def test_nothing_changed_is_the_very_bytes(body):
    assert with_texts(body, {}) is body


@pytest.mark.parametrize(
    ("path", "body", "texts"),
    [
        ("/v1/completions", {"prompt": "one"}, ["one"]),
        ("/v1/completions", {"prompt": ["one", "two"]}, ["one", "two"]),
        ("/v1/completions", {"prompt": [1, 2, 3], "suffix": "no"}, []),
        ("/v1/responses", {"input": "one", "instructions": "no"}, ["one"]),
        (
            "/v1/responses",
            {
                "input": [
                    {"role": "user", "content": "one"},
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "two"}]},
                    {"type": "function_call_output", "call_id": "1", "output": "no"},
                    {"role": "developer", "content": "no"},
                ]
            },
            ["one", "two"],
        ),
        (
            "/v1/chat/completions",
            {
                "messages": [
                    {"role": "system", "content": "no"},
                    {"role": "user", "content": "one"},
                    {"role": "assistant", "content": "no"},
                    {"role": "tool", "content": "no"},
                    {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "image_url"}]},
                    {"role": "user", "content": ""},
                    {"role": "user"},
                    "no",
                ]
            },
            ["one", "two"],
        ),
        ("/v1/chat/completions", {"messages": "no"}, []),
    ],
)
def test_texts_of_users_and_no_others_are_found(path, body, texts):
    assert [turn.text for turn in turns(path, parsed(json.dumps(body).encode()))] == texts
    assert path in ENDPOINTS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"text"',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_cannot_be_read_is_said_so(body):
    with pytest.raises(Unreadable):
        parsed(body)


@pytest.mark.parametrize("inner", ["[]", "{}", "1", '{"role": "user", "content": "a"}'])
def test_what_takes_long_to_read_is_not_read(inner):
    many = f'{{"messages": [{",".join([inner] * 200_000)}]}}'.encode()
    with pytest.raises(Unreadable, match="too many parts"):
        parsed(many)
    some = json.dumps({"messages": [{"role": "user", "content": "a"}] * 1001}).encode()
    with pytest.raises(Unreadable, match="too many parts"):
        turns("/v1/chat/completions", parsed(some))


def test_a_text_beside_a_large_picture_is_found():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A/+=" * 2_000_000}}
    quoted = {"type": "file", "file": 'a "quoted" name\\'}
    content = [picture, quoted, {"type": "text", "text": "one"}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    (turn,) = turns("/v1/chat/completions", parsed(body))
    assert with_texts(body, {turn: "two"}) == body.replace(b'"one"', b'"two"')


def test_a_long_and_wide_body_is_read_without_recursion():
    wide = ",".join('{"role": "user", "content": "' + "\\u0041" * 50 + '"}' for _ in range(1000))
    deep = "[" * 500 + "]" * 500
    body = f'{{"tools": {deep}, "messages": [{wide}]}}'.encode()
    found = turns("/v1/chat/completions", parsed(body))
    after = json.loads(with_texts(body, dict.fromkeys(found[::2], "b")))
    assert [message["content"] for message in after["messages"]] == ["b", "A" * 50] * 500
