"""The page on which a person labels: in a real browser, and against whoever should not see it."""

from __future__ import annotations

import http.client
import re
import threading
from urllib.parse import urlencode, urlsplit

import pytest

from llmkit.labels import Session, serve
from llmkit.measure.answers import ChangedRow, Pair, answer_digest
from llmkit.measure.cells import Cell
from llmkit.runs.labels import Judgements, read
from llmkit.runs.samples import Sample
from llmkit.types import Outcome

SCRIPT = "<script>document.title='hacked'</script>"
EVIL = f"</div>{SCRIPT}<img src=x onerror=\"document.title='hacked'\"> & \x1b[2J \u202e {{{{7*7}}}}"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def sample(reply, condition, parsed=None):
    outcome = Outcome("q1", "q1", condition, "stand", 0, parsed or reply, None, None)
    return Sample(outcome, "Where is my parcel?", "Wher is my parcel?", kind="text", reply=reply)


def pairs(count, text="Where is my parcel?", replies=("On its way, order #.", "Lost, order #.")):
    found = []
    for i in range(count):
        answers = [
            sample(reply.replace("#", str(i)), name) for reply, name in zip(replies, ("clean", "typing"), strict=True)
        ]
        places = {Cell("stand", "clean"): (0,), Cell("stand", "typing"): (1,)}
        row = ChangedRow(f"q{i}", text, f"text{i}", tuple((a,) for a in answers), places, ())
        found.append(Pair(row, (0, 1) if i % 2 else (1, 0)))
    return found


@pytest.fixture
def session(tmp_path):
    return lambda *args, **kwargs: Session(pairs(*args, **kwargs), tmp_path / "labels.jsonl", "eval-tickets-0123")


def verdicts(tmp_path):
    return [label.verdict for label in read(tmp_path / "labels.jsonl")]


def asked(address, method="GET", path=None, host=None, body=None, **headers):
    """The status and text that the server answers with."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.putrequest(method, path or url.path, skip_host=True)
    connection.putheader("Host", host or url.netloc)
    data = urlencode(body).encode() if isinstance(body, dict) else body or b""
    for name, value in {**HEADERS, "Content-Length": str(len(data)), **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(data)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def test_only_who_knows_the_address_sees_it(session):
    with serve(session(3), "a run") as page:
        url = urlsplit(page.address)
        assert url.hostname == "127.0.0.1"
        assert len(url.path) > 40
        assert asked(page.address)[0].status == 200
        for path in ("/", "/x/", url.path[:-1], url.path[:-2] + "x/", url.path + "x", "/favicon.ico", "*"):
            answer, text = asked(page.address, path=path)
            assert answer.status == 404
            assert "parcel" not in text
        for host in ("evil.example", f"evil.example:{url.port}", "127.0.0.1", f"localhost:{url.port}"):
            assert asked(page.address, host=host)[0].status == 421
    with pytest.raises(ConnectionError):
        asked(page.address)


def test_what_it_sends_lets_nothing_else_in(session):
    with serve(session(1), "a run") as page:
        answer, text = asked(page.address)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert policy.split("; frame-ancestors")[0] in text
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"(?:src|href)=\"(?!data:)", text)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"body": {"number": "0", "verdict": "perhaps"}}, 400),
        ({"body": {"number": "-1", "verdict": "first"}}, 400),
        ({"body": {"number": "٣", "verdict": "first"}}, 400),
        ({"body": {"verdict": "undone", "number": "0"}}, 400),
        ({"body": b"\xff" * 50}, 400),
        ({"body": b"x" * 2000}, 400),
        ({"body": b""}, 400),
        ({"method": "PUT"}, 501),
    ],
)
def test_a_verdict_is_taken_from_the_page_alone(session, tmp_path, more, status):
    sent = {"method": "POST", "body": {"number": "0", "verdict": "first"}} | more
    with serve(session(2), "a run") as page:
        try:
            assert asked(page.address, **sent)[0].status == status
        except ConnectionError:  # it did not read what was too long
            assert len(sent["body"]) > 1024
        assert asked(page.address)[0].status == 200
    assert verdicts(tmp_path) == []


def test_a_verdict_counts_once_and_for_the_pair_that_was_shown(session, tmp_path):
    one = session(3)
    with serve(one, "a run") as page:
        sent = {"number": "0", "verdict": "first"}
        senders = [threading.Thread(target=asked, args=(page.address, "POST"), kwargs={"body": sent}) for _ in range(8)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(timeout=20)
        assert one.done == 1
        assert asked(page.address, "POST", body={"number": "2", "verdict": "both"})[0].status == 303
        assert one.done == 1
    assert verdicts(tmp_path) == ["first"]


def test_nothing_in_the_page_says_which_answer_is_which(session):
    one = session(40)
    order = []
    with serve(one, "a run") as page:
        for number in range(40):
            text = asked(page.address)[1]
            for word in (
                "clean",
                "typing",
                "stand",
                "noisy",
                "text0",
                *(answer_digest(a) for a in one.pairs[number].answers),
            ):
                assert word not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
            order.append(text.index("On its way") < text.index("Lost"))
            one.give(number, "skip")
    assert set(order) == {True, False}


def test_a_disk_that_fills_up_ends_the_command_and_not_the_label_before_it(session, monkeypatch, tmp_path):
    from llmkit.errors import Incomplete
    from llmkit.labels import session as room

    one = session(3)
    with serve(one, "a run") as page:
        asked(page.address, "POST", body={"number": "0", "verdict": "first"})

        def full(*_):
            raise Incomplete("no space left", "free some")

        monkeypatch.setattr(room, "append", full)
        assert asked(page.address, "POST", body={"number": "1", "verdict": "first"})[0].status == 507
        with pytest.raises(Incomplete, match="no space left"):
            page.wait(10)
    assert one.done == 1
    assert verdicts(tmp_path) == ["first"]


@pytest.mark.slow
@pytest.mark.xdist_group("chromium")
class TestInABrowser:
    def opened(self, chromium, **more):
        context = chromium.new_context(viewport={"width": 1000, "height": 800}, **more)
        page = context.new_page()
        page.set_default_timeout(20_000)
        self.complaints, self.requests = [], []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.on("request", lambda r: self.requests.append(r.url))
        return page

    def at(self, page, done, of):
        page.get_by_text(f"{done} of {of}").wait_for()

    def test_a_person_labels_by_keys_undoes_and_comes_to_the_end(self, chromium, session, tmp_path):
        one = session(4)
        page = self.opened(chromium)
        with serve(one, "a run") as served:
            page.goto(served.address)
            for number, key in enumerate(("1", "B")):
                self.at(page, number, 4)
                page.keyboard.press(key)
            self.at(page, 2, 4)
            page.keyboard.press("x")
            page.keyboard.press("Control+s")
            page.keyboard.press("u")
            self.at(page, 1, 4)
            page.keyboard.press("2")
            self.at(page, 2, 4)
            page.get_by_role("button", name="Neither").click()
            self.at(page, 3, 4)
            assert not served.finished
            page.keyboard.press("s")
            assert served.wait(20)
            page.get_by_text("Every pair has a verdict").wait_for()
            address = served.address
        assert verdicts(tmp_path) == ["first", "both", "undone", "second", "neither", "skip"]
        judged = Judgements(read(tmp_path / "labels.jsonl"))
        assert [label.verdict for label in judged.pairs.values()] == ["first", "second", "neither", "skip"]
        assert judged.conflicts == 0
        assert self.complaints == []
        assert {url for url in self.requests if not url.startswith("data:")} == {address}
        page.context.close()

    def test_what_a_text_or_a_reply_says_is_only_shown(self, chromium, session):
        page = self.opened(chromium)
        with serve(session(1, EVIL, (EVIL, "=cmd|' /C calc'!A0")), EVIL) as served:
            page.goto(served.address)
            said = page.locator(".said")
            assert said.count() == 3
            for one in (said.nth(0), page.locator(".answer", has_text="hacked").locator(".said")):
                text = one.inner_text()
                assert SCRIPT in text
                assert "\\x1b[2J \\u202e {{7*7}}" in text
            assert "hacked" not in page.title().partition("</div>")[0]
            assert page.evaluate("document.scripts.length") == 1
        assert self.complaints == []
        page.context.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_a_telephone_in_both_themes(self, chromium, session, scheme):
        page = self.opened(chromium, color_scheme=scheme)
        page.set_viewport_size({"width": 420, "height": 800})
        with serve(session(2, "A word " + "x" * 300, ("long " * 400, "y" * 500)), "a run") as served:
            page.goto(served.address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 420
            page.locator("button[value=both]").scroll_into_view_if_needed()
            assert page.locator("button[value=both]").bounding_box()["width"] > 44
            colours = page.evaluate(
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            )
            ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
            assert (ink < paper) is (scheme == "light")
        page.context.close()
