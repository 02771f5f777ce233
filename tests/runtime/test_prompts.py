import random
import time

import numpy as np
import pytest

from runtime.prompts import make_chunks, parse_attention, weigh

SIZE = 75
COMMA = 0


def by_hand(prompt: str) -> list[tuple[str, float]]:
    """A1111's rules for brackets taken one at a time, each multiplying all that it spans."""
    texts: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(kind: str, factor: float) -> None:
        start = opened[kind].pop()
        texts[start:] = [(text, weight * factor) for text, weight in texts[start:]]

    place = 0
    while place < len(prompt):
        char, rest = prompt[place], prompt[place + 1 :]
        place += 1
        number, bracket, _ = rest.partition(")")
        if char == "\\":
            escaped = rest[:1] if rest[:1] in tuple("()[]\\") else ""
            place += len(escaped)
            texts.append((escaped, 1.0))
        elif char in "([":
            opened[char].append(len(texts))
        elif char == ":" and bracket and opened["("] and is_number(number):
            place += len(number) + 1
            close("(", float(number))
        elif char == ")" and opened["("]:
            close("(", 1.1)
        elif char == "]" and opened["["]:
            close("[", 1 / 1.1)
        else:
            texts.append((char, 1.0))
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        while opened[kind]:
            close(kind, factor)
    return texts


def is_number(text: str) -> bool:
    """Whether all of it is a plain decimal; the random prompts have no exponents or underscores."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a castle, day", [("a castle, day", 1)]),
        ("a (castle)", [("a ", 1), ("castle", 1.1)]),
        ("((castle)) [fog]", [("castle", 1.21), (" ", 1), ("fog", 1 / 1.1)]),
        ("(castle:1.3) (x : +.5 )", [("castle", 1.3), (" ", 1), ("x ", 0.5)]),
        ("(a [b:1.2) c]", [("a ", 1.2), ("b", 1.2 / 1.1), (" c", 1 / 1.1)]),
        (r"castle \(ruin\) \[\]\\ \x", [(r"castle (ruin) []\ x", 1)]),
        ("(left open, [twice", [("left open, ", 1.1), ("twice", 1)]),
        ("never opened) ]: 3:4", [("never opened) ]: 3:4", 1)]),
        ("weightless:1.2)", [("weightless:1.2)", 1)]),
        ("(a:b) (c:1.2.3) (d:)", [("a:b", 1.1), (" ", 1), ("c:1.2.3", 1.1), (" ", 1), ("d:", 1.1)]),
        ("(one)(word)", [("oneword", 1.1)]),
        ("(no:0) (less:-1.5)", [("no", 0), (" ", 1), ("less", -1.5)]),
        ("(一座城堡:1.2)", [("一座城堡", 1.2)]),
        ("()[]", []),
    ],
)
def test_brackets(prompt: str, expected: list[tuple[str, float]]) -> None:
    (found,) = parse_attention(prompt)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


def test_any_nesting_is_as_taken_bracket_by_bracket() -> None:
    draw = random.Random(1)
    for _ in range(3000):
        prompt = "".join(draw.choices("ab ()()[]:\\1.2", k=draw.randrange(30)))
        (found,) = parse_attention(prompt)
        spread = [(char, weight) for text, weight in found for char in text]
        expected = [item for item in by_hand(prompt) if item[0]]
        assert [char for char, _ in spread] == [char for char, _ in expected], prompt
        weights = [weight for _, weight in expected]
        assert [weight for _, weight in spread] == pytest.approx(weights), prompt


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a BREAK b", [["a "], [" b"]]),
        ("(a BREAK b:1.2)", [["a "], [" b"]]),
        ("BREAK a, BREAK\nBREAK", [[], [" a, "], ["\n"], []]),
        ("BREAKFAST, DAYBREAK, break, _BREAK", [["BREAKFAST, DAYBREAK, break, _BREAK"]]),
    ],
)
def test_break_begins_a_section(prompt: str, texts: list[list[str]]) -> None:
    assert [[words.text for words in section] for section in parse_attention(prompt)] == texts


def test_what_break_parts_keeps_its_weight() -> None:
    (before,), (after,) = parse_attention("(a BREAK b:1.2)")
    assert before.weight == after.weight == 1.2


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 300_000,
        "(" * 150_000 + "a" + ":1.0001)" * 150_000,
        "(a" * 100_000 + ")" * 100_000,
        ":" * 300_000,
        "[(" * 100_000 + "a])" * 100_000,
        ":" + " " * 300_000 + ":" + "1" * 300_000 + "(x:" + "9" * 300_000,
        "\\" * 300_000,
        " " * 300_000 + "BREAK" * 60_000 + " BREAK" * 60_000,
    ],
    ids=range(8),
)
def test_hostile_prompts_take_linear_time(prompt: str) -> None:
    began = time.perf_counter()
    parse_attention(prompt)
    assert time.perf_counter() - began < 20  # 1 s at most when it was written; squared, hours


def chunk(*parts: tuple[list[int], float]) -> list[tuple[list[int], list[float]]]:
    return [(ids, weights) for ids, weights in make_chunks([parts], SIZE, COMMA)]


def test_chunks_are_cut_where_they_are_full() -> None:
    ids = list(range(1, 161))
    found = chunk((ids[:70], 1.0), (ids[70:], 1.5))
    assert [ids for ids, _ in found] == [ids[:75], ids[75:150], ids[150:]]
    assert found[0][1] == [1.0] * 70 + [1.5] * 5


@pytest.mark.parametrize(
    ("place", "cut"),
    [(74, 75), (73, 74), (56, 57), (55, 56), (54, 75)],  # within 20 tokens of the end, or not
)
def test_what_follows_a_near_comma_stays_together(place: int, cut: int) -> None:
    ids = [7] * 90
    ids[place] = COMMA
    ids[20] = COMMA  # one farther away changes nothing
    assert [len(ids) for ids, _ in chunk((ids, 1.0))] == [cut, 90 - cut]


def test_a_comma_that_does_not_fit_moves_nothing() -> None:
    ids = [7] * 90
    ids[60] = ids[75] = COMMA
    assert [len(ids) for ids, _ in chunk((ids, 1.0))] == [75, 15]


def test_sections_have_chunks_of_their_own() -> None:
    one = ([1], 1.0)
    for sections, lengths in (
        ([[]], [0]),
        ([[one], [one, one]], [1, 2]),
        ([[], [one]], [0, 1]),
        ([[one], [], [one]], [1, 0, 1]),
        ([[one], []], [1]),
        ([[([1] * 75, 1.0)], [one]], [75, 1]),
    ):
        assert [len(chunk.ids) for chunk in make_chunks(sections, SIZE, COMMA)] == lengths


def test_weights_keep_the_mean() -> None:
    states = np.random.default_rng(0).normal(0.2, 1, (5, 8)).astype(np.float32)
    weights = [1.0, 1.3, 0.7, 1.0, 1.0]
    found = weigh(states, weights)
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(states.mean(), rel=1e-5)
    ratio = found / (states * np.array(weights, np.float32)[:, None])
    assert ratio == pytest.approx(float(ratio[0, 0]), rel=1e-5)
    assert weigh(states, [1.0] * 5) is states


def test_a_mean_of_nothing_is_not_restored() -> None:
    states = np.random.default_rng(0).normal(0, 1, (5, 8)).astype(np.float32)
    states -= states.mean() + 1e-4
    weights = [1.0, 1.3, 0.7, 1.0, 1.0]
    found = weigh(states, weights)
    np.testing.assert_array_equal(found, states * np.array(weights, np.float32)[:, None])
