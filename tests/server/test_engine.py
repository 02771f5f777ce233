import errno
import json
import shutil
import threading
from pathlib import Path

import pytest

from runtime.files import write_whole
from server.app import create_app
from server.engine import Engine
from server.problems import NotReady
from server.settings import Settings
from tests.server.conftest import problem, running, until_opened


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_a_new_style_is_seen_and_the_sessions_stay(bundle: Path) -> None:
    engine = Engine(bundle, 1)
    before = engine.parts()
    assert engine.parts() is before
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["styles"].pop()
    write_whole(bundle / "manifest.json", json.dumps(manifest).encode())
    after = engine.parts()
    assert len(after.bundle.manifest.styles) == len(before.bundle.manifest.styles) - 1
    assert after.text_encoder is before.text_encoder


def test_a_merged_style_has_a_text_encoder_that_stays_open(
    text_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(text_bundle, tmp_path / "bundle"))
    engine = Engine(folder, 1)
    before = engine.parts()
    assert before.text_encoder_of("wiggle-merged") is before.text_encoder
    own = before.text_encoder_of("accent-merged")
    assert own is not before.text_encoder
    assert before.text_encoder_of("speech-merged") is not own
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["styles"].pop()
    write_whole(folder / "manifest.json", json.dumps(manifest).encode())
    assert engine.parts().text_encoder_of("accent-merged") is own


def test_a_new_base_opens_new_sessions(bundle: Path) -> None:
    engine = Engine(bundle, 1)
    before = engine.parts()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["model"]["vae_scaling_factor"] = 0.5
    write_whole(bundle / "manifest.json", json.dumps(manifest).encode())
    assert engine.parts().vae_decoder is not before.vae_decoder


def test_a_bundle_that_appears_later_is_opened(bundle: Path) -> None:
    manifest = bundle / "manifest.json"
    text = manifest.read_bytes()
    manifest.unlink()
    engine = Engine(bundle, 1)
    with pytest.raises(NotReady, match=r"has no manifest\.json"):
        engine.parts()
    write_whole(manifest, text)
    assert engine.parts().bundle.manifest.name == "tiny"


def test_shards_may_arrive_after_the_manifest(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("server.engine.monotonic", lambda: now)
    shard = next(bundle.glob("weights-*.bin"))
    data = shard.read_bytes()
    shard.unlink()
    engine = Engine(bundle, 5)
    with monkeypatch.context() as patch:
        patch.setattr("runtime.bundle.Bundle.verify", lambda *_: pytest.fail("hashed in vain"))
        with pytest.raises(NotReady, match="is missing"):
            engine.parts()
    write_whole(shard, data)
    now = 104.9
    with pytest.raises(NotReady, match="is missing"):
        engine.parts()
    now = 105.0
    assert engine.parts().bundle.manifest.name == "tiny"


def test_a_disk_that_fails_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "weights.bin")

    monkeypatch.setattr("runtime.bundle.Bundle.verify", fail)
    with pytest.raises(NotReady, match=r"Input/output error: 'weights\.bin'"):
        Engine(bundle, 1).parts()


def test_nobody_waits_for_the_first_opening(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(bundle, 7)
    started, go_on = threading.Event(), threading.Event()

    def slow_verify(_bundle: object, _on_bytes: object) -> None:
        started.set()
        go_on.wait(30)

    monkeypatch.setattr("runtime.bundle.Bundle.verify", slow_verify)
    opening = threading.Thread(target=engine.parts)
    opening.start()
    started.wait(30)
    with pytest.raises(NotReady, match="being verified and opened - try again in 7 s") as caught:
        engine.parts()
    assert caught.value.headers() == {"Retry-After": "7"}
    go_on.set()
    opening.join()
    assert engine.parts()


def test_closing_ends_a_verification(bundle: Path) -> None:
    engine = Engine(bundle, 1)
    engine.close()
    with pytest.raises(NotReady, match="shutting down"):
        engine.parts()


def _alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (Path.unlink, "is missing"),
        (_alter, "has been altered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes where the manifest says"),
    ],
    ids=["missing", "altered", "cut"],
)
def test_readyz_says_what_is_wrong_with_the_bundle(
    bundle: Path, tiny_page: Path, harm: object, complaint: str
) -> None:
    assert callable(harm)
    shard = next(bundle.glob("weights-*.bin"))
    harm(shard)
    with running(create_app(Settings(bundle=bundle, page=tiny_page))) as client:
        response = until_opened(client)
        detail = problem(response, 503, "not-ready")
        assert complaint in detail
        assert shard.name in detail
        assert "retry-after" not in response.headers  # it is for a person to mend
        problem(client.get("/v1/styles"), 503, "not-ready")
        problem(client.post("/v1/encode", json={"prompt": "x"}), 503, "not-ready")
        assert client.get("/livez").is_success
        assert client.get("/").is_success
