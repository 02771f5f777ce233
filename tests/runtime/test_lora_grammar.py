"""What a bundle tells the browser about LoRA files is what `runtime.lora` itself goes by."""

import re
from pathlib import Path

from runtime import _lora_kinds, _lora_parts
from runtime.bundle import Bundle
from runtime.lora_grammar import LoraGrammar, lora_grammar

GRAMMAR = lora_grammar()


def test_a_bundle_carries_it(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    assert bundle.manifest.lora is not None
    text = bundle.path(bundle.manifest.lora).read_bytes()
    assert LoraGrammar.model_validate_json(text) == GRAMMAR


def test_it_says_all_that_python_knows() -> None:
    assert GRAMMAR.suffixes == _lora_parts.SUFFIXES
    assert [kind.name for kind in GRAMMAR.kinds] == list(_lora_parts.KINDS)
    for kind in GRAMMAR.kinds:
        rule = _lora_parts.KINDS[kind.name]
        assert [set(form) for form in kind.forms] == rule.forms
        assert set(kind.extras) == rule.extras
    assert {item.name: item.pattern for item in GRAMMAR.unsupported} == _lora_kinds.UNSUPPORTED
    assert {item.name: item.pattern for item in GRAMMAR.families} == _lora_kinds.FAMILIES


def test_the_order_of_suffixes_does_not_matter() -> None:
    """JSON objects have none."""
    for suffix in GRAMMAR.suffixes:
        assert [s for s in GRAMMAR.suffixes if s.endswith(suffix)] == [suffix]


def test_patterns_mean_the_same_in_ecmascript() -> None:
    """No lookbehind, named groups, flags or classes that the two languages read differently."""
    patterns = [item.pattern for item in (*GRAMMAR.unsupported, *GRAMMAR.families)]
    for pattern in (*patterns, GRAMMAR.checkpoint):
        re.compile(pattern)
        assert re.fullmatch(r"[\w.^$|*+?()\[\]\\-]+", pattern)
        assert "(?" not in pattern
        assert set(re.findall(r"\\(.)", pattern)) <= {"."}
