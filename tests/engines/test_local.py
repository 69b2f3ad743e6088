"""The two engines in this process, on tiny real Llamas: each row as if alone, and both the same in float32."""

from __future__ import annotations

import math

import pytest

from llmkit.engines import open_engine
from llmkit.errors import EngineError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Message, Reply, Request, Sampling

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]

LENGTHS = [1, 40, 3, 17, 90, 8, 60, 2, 25, 5]
QUESTIONS = [" ".join(f"{i + n} apples and {n} pears" for n in range(k)) for i, k in enumerate(LENGTHS)]


def request(text, *, continuation=None, replicate=0, **sampling):
    settings = Sampling(**{"max_tokens": 24, **sampling})
    return Request((Message("user", text),), settings, continuation=continuation, replicate=replicate)


def answers(engine, requests):
    for i, asked in enumerate(requests):
        engine.submit(i, asked)
    done = dict(engine.drain())
    assert sorted(done) == list(range(len(requests)))
    return [done[i] for i in range(len(requests))]


@pytest.fixture(scope="module", params=["transformers", "vllm"])
def engine(request, tiny_llama):
    pytest.importorskip(request.param)
    section = EngineSection(kind=request.param, dtype="float32", kv_cache_gib=0.1, batch_size=4, max_model_len=1024)
    opened = open_engine(ModelSection(path=tiny_llama), section)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def alone(tiny_llama):
    """Greedy ids by a plain loop over transformers' forward pass, one row at a time, without cache or padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()

    def prompt(text):
        turns = [{"role": "user", "content": text}]
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)

    @torch.inference_mode()
    def generate(text, count):
        ids = prompt(text)
        start = len(ids)
        for _ in range(count):
            token = model(torch.tensor([ids])).logits[0, -1].argmax().item()
            ids.append(token)
            if token == tokenizer.eos_token_id:
                break
        return tokenizer.decode(ids[start:], skip_special_tokens=True).rstrip("\ufffd")

    @torch.inference_mode()
    def score(text, continuation):
        ids = prompt(text)
        more = tokenizer(continuation, add_special_tokens=False).input_ids
        logprobs = model(torch.tensor([ids + more])).logits[0].log_softmax(-1)
        return [logprobs[len(ids) + i - 1, token].item() for i, token in enumerate(more)]

    generate.score = score
    return generate


def test_greedy_answers_are_those_of_each_row_alone(engine, alone):
    replies = answers(engine, [request(q) for q in QUESTIONS])
    assert [r.text for r in replies] == [alone(q, 24) for q in QUESTIONS]
    assert all(r.finish_reason == "length" and r.usage.completion == 24 for r in replies if len(r.text) > 0)


def test_rows_with_different_limits_and_stops_share_a_batch(engine, alone):
    limits = [3, 24, 11, 24]
    replies = answers(engine, [request(QUESTIONS[0], max_tokens=n) for n in limits])
    assert [r.text for r in replies] == [alone(QUESTIONS[0], n) for n in limits]
    assert [r.usage.completion for r in replies] == limits
    whole = replies[1].text
    stop = whole[len(whole) // 2]
    (cut,) = answers(engine, [request(QUESTIONS[0], stop=(stop,))])
    assert (cut.text, cut.finish_reason) == (whole.split(stop)[0], "stop")


def test_long_replies_go_on_as_if_alone_after_short_ones_ended(engine, alone):
    asked = [request(q, max_tokens=n) for q, n in zip(QUESTIONS[:4], (70, 5, 40, 33), strict=True)]
    drawn = request(QUESTIONS[4], max_tokens=70, temperature=1.0, seed=3)
    *replies, among = answers(engine, [*asked, drawn])
    assert [r.text for r in replies] == [
        alone(q, r.sampling.max_tokens) for q, r in zip(QUESTIONS, asked, strict=False)
    ]
    assert answers(engine, [drawn])[0].text == among.text


def test_log_probabilities_are_those_of_the_continuation(engine, alone):
    continuations = [" 12 apples", " pears and pears and apples", "7"]
    asked = [request(q, continuation=c) for q in QUESTIONS[:5] for c in continuations]
    mixed = [request("how many?"), *asked, request("how many?", max_tokens=3)]
    replies = answers(engine, mixed)[1:-1]
    for one, reply in zip(asked, replies, strict=True):
        expected = alone.score(one.messages[0].content, one.continuation)
        assert reply.logprobs == pytest.approx(expected, abs=2e-4)
        assert reply.usage.completion == 0
    again = answers(engine, asked)  # all of it is in vLLM's prefix cache by now
    assert [r.logprobs for r in again] == [pytest.approx(r.logprobs, abs=2e-4) for r in replies]


def test_sampling_follows_its_seed_whatever_shares_the_batch(engine):
    one = request(QUESTIONS[1], temperature=1.0, top_p=0.9, seed=3)
    (first,) = answers(engine, [one])
    crowd = answers(engine, [request(q, temperature=1.0, seed=9) for q in QUESTIONS[:5]] + [one])
    assert crowd[-1].text == first.text
    others = answers(engine, [request(QUESTIONS[1], temperature=1.0, seed=s) for s in range(4, 8)])
    others += answers(engine, [request(QUESTIONS[1], temperature=1.0, seed=3, replicate=1)])
    assert len({r.text for r in others} | {first.text}) == 6


def test_sampling_draws_from_the_models_distribution(engine, alone):
    """First tokens of 400 draws, against the model's own probability of the likeliest one."""
    question = next(q for q in QUESTIONS if alone(q, 1) and alone(q, 1).isascii())
    draws = answers(engine, [request(question, temperature=1.0, max_tokens=1, seed=s) for s in range(400)])
    greedy = alone(question, 1)
    p = math.exp(alone.score(question, greedy)[0])
    share = sum(r.text == greedy for r in draws) / 400
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 400) + 1e-9


def test_a_tiny_top_p_is_greedy(engine, alone):
    replies = answers(engine, [request(q, temperature=1.0, top_p=1e-4) for q in QUESTIONS[:3]])
    assert [r.text for r in replies] == [alone(q, 24) for q in QUESTIONS[:3]]


def test_what_does_not_fit_fails_alone(engine):
    replies = answers(engine, [request("x " * 50_000), request("short"), request("\ud800 {{ x }} \x00 <|im_end|>")])
    assert isinstance(replies[0], EngineError)
    assert "max_model_len 1024" in replies[0].message
    assert isinstance(replies[1], Reply)
    assert isinstance(replies[2], Reply)


def test_more_may_be_submitted_between_two_replies(engine):
    for i in range(3):
        engine.submit(i, request(QUESTIONS[i]))
    seen = []
    for key, reply in engine.drain():
        seen.append(key)
        if key < 9:
            engine.submit(key + 10, request(reply.text[:20], max_tokens=4))
    assert sorted(seen) == [0, 1, 2, 10, 11, 12]


@pytest.fixture(scope="module")
def adapter(tiny_llama, tmp_path_factory):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(model, config).save_pretrained(folder)
    return str(folder)


def test_an_adapter_changes_both_engines_alike(tiny_llama, adapter, alone):
    said = {}
    for kind in ("transformers", "vllm"):
        pytest.importorskip(kind)
        section = EngineSection(kind=kind, dtype="float32", kv_cache_gib=0.1, max_model_len=1024)
        opened = open_engine(ModelSection(path=tiny_llama, adapter=adapter), section)
        said[kind] = [r.text for r in answers(opened, [request(q) for q in QUESTIONS])]
        opened.close()
    assert said["transformers"] == said["vllm"]
    assert said["vllm"] != [alone(q, 24) for q in QUESTIONS]


def test_a_pickle_beside_a_stray_safetensors_file_is_not_opened(tiny_llama, tmp_path):
    import shutil

    import torch

    class Opened:
        def __reduce__(self):
            return open, (str(tmp_path / "opened"), "w")

    folder = tmp_path / "decoy"
    shutil.copytree(tiny_llama, folder)
    (folder / "model.safetensors").rename(folder / "decoy.safetensors")
    torch.save({"x": Opened()}, folder / "pytorch_model.bin")
    engine = open_engine(ModelSection(path=str(folder)), EngineSection(kind="transformers", dtype="float32"))
    with pytest.raises(EngineError, match=r"cannot be loaded: .*safetensors"):
        engine.submit("a", request("hi"))
    assert not (tmp_path / "opened").exists()
