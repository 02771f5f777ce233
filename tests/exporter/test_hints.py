import json
from pathlib import Path

import pytest

from exporter.export import export
from exporter.hints import NAME, SAMPLERS, read_hints
from exporter.progress import silent
from exporter.samplers import RECIPES
from runtime.bundle import Bundle
from runtime.errors import BadFile
from runtime.manifest import Hints


def configured(base: Path, scheduler: dict[str, object], unet: dict[str, object]) -> Path:
    for name, config in {"scheduler/scheduler_config": scheduler, "unet/config": unet}.items():
        path = base / f"{name}.json"
        path.parent.mkdir()
        path.write_text(json.dumps(config))
    return base


def test_a_base_without_hints_has_the_usual_ones(tmp_path: Path) -> None:
    assert read_hints(tmp_path) == Hints(guidance_scale=7.5, prompts=[], sampler=None, steps=None)


def test_the_sampler_names_are_those_of_the_recipes() -> None:
    assert {name: recipe.scheduler.__name__ for name, recipe in RECIPES.items()} == SAMPLERS


@pytest.mark.parametrize(
    ("scheduler", "unet", "told"),
    [
        ({"_class_name": "PNDMScheduler"}, {}, {}),
        ({"_class_name": "EulerDiscreteScheduler"}, {}, {"sampler": "euler"}),
        ({"_class_name": "DPMSolverMultistepScheduler"}, {}, {}),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True},
            {},
            {"sampler": "dpmpp_2m_karras"},
        ),
        ({"_class_name": "LCMScheduler"}, {}, {"sampler": "lcm", "guidance_scale": 1.0}),
        (
            {"_class_name": "LCMScheduler"},
            {"time_cond_proj_dim": 256},
            {"sampler": "lcm", "guidance_scale": 8.5},
        ),
        # SD Turbo's: that it wants one step and no guidance stands nowhere in it
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"},
            {},
            {"sampler": "euler"},
        ),
    ],
    ids=str,
)
def test_what_the_configs_tell(
    scheduler: dict[str, object],
    unet: dict[str, object],
    told: dict[str, object],
    tmp_path: Path,
) -> None:
    assert read_hints(configured(tmp_path, scheduler, unet)) == Hints(**told)


def test_the_makers_word_goes_first(tmp_path: Path) -> None:
    configured(tmp_path, {"_class_name": "LCMScheduler"}, {})
    (tmp_path / NAME).write_text('{"guidance_scale": 1.5, "steps": 2}')
    assert read_hints(tmp_path) == Hints(guidance_scale=1.5, steps=2, sampler="lcm")


def test_hints_reach_a_bundle_that_has_its_base_already(
    dist: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints = Hints(guidance_scale=3, prompts=["a castle"])
    monkeypatch.setattr("exporter.export.read_hints", lambda base: hints)
    export(tiny_base, dist, silent)
    assert Bundle.open(dist).manifest.hints == hints


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "(all)"),
        ('{"guidance": 3}', "field guidance"),
        ('{"prompts": "a"}', "field prompts"),
        ('{"steps": 0}', "field steps"),
        ('{"sampler": "plms"}', "field sampler: choose one of ddim"),
    ],
)
def test_hints_that_are_none(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(BadFile, match=r"brushlet\.json") as caught:
        read_hints(tmp_path)
    assert said in str(caught.value)
