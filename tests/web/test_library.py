"""The engine as a package: its files, its types, and the example of the docs in a real Chromium."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving import serving

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
EXAMPLE = ROOT / "docs" / "example.html"
GUIDE = ROOT / "docs" / "engine.md"

DECLARED = {
    "library/open": ["OpenHooks", "OpenOptions"],
    "library/spec": ["PictureWish"],
    "library/paintengine": ["GenerateRequest"],
    "library/picture": ["Picture", "PictureFacts"],
    "worker/protocol": [],
}
"""What a caller meets, by module."""

CONSUMER = """\
import { EngineProblem, open, type Picture, type Style } from "brushlet-web";

const engine = await open(new URL("https://cdn.test/bundle/"), {
  onProgress: ({ loadedBytes, totalBytes }) => console.log(loadedBytes / totalBytes),
  signal: AbortSignal.timeout(1000),
  mode: "auto",
});
const style: Style | undefined = engine.styles[0];
const pictures: Picture[] = await engine.generate({
  prompt: "a lake",
  styles: style ? [{ name: style.name, strength: 0.8, te: 0.5 }] : [],
  seed: 1,
  count: 2,
  onStep: ({ step, steps, picture }) => console.log(step, steps, picture),
});
const png: Blob | undefined = await pictures[0]?.toBlob();
const provider: "here" | "server" | "remote" = engine.report().mode;
engine.close();
// @ts-expect-error: a seed is a number
await engine.generate({ prompt: "", seed: "1" }).catch((problem: unknown) => {
  if (problem instanceof EngineProblem) console.log(problem.code, problem.where, png, provider);
});
"""


def run(*command: str, cwd: Path = WEB) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    """The package's files, built."""
    run("npm", "run", "--silent", "build:lib")
    return WEB / "lib"


def test_the_package_holds_what_runs_and_nothing_else(package: Path) -> None:
    assert package.is_dir()
    (packed,) = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"))
    files = {file["path"] for file in packed["files"]}
    assert {"package.json", "lib/index.js", "lib/types/engine/index.d.ts"} <= files
    assert any(name.startswith("lib/assets/worker-") for name in files)
    for build in ("", ".asyncify", ".jsep"):
        assert {f"lib/ort/ort-wasm-simd-threaded{build}.{end}" for end in ("mjs", "wasm")} <= files
    assert {name for name in files if not name.startswith("lib/")} == {"package.json"}


def test_the_guide_names_every_option_and_error(package: Path) -> None:
    guide = GUIDE.read_text()
    types = {name: (package / "types" / f"{name}.d.ts").read_text() for name in DECLARED}
    for name, interfaces in DECLARED.items():
        for interface in interfaces:
            body = re.search(rf"interface {interface}\b.*?\n}}", types[name], re.DOTALL)
            assert body, interface
            for field in re.findall(r"^    (\w+)\??[:(]", body[0], re.MULTILINE):
                assert f"`{field}" in guide, (interface, field)
    codes = re.search(r"interface Problem \{\s+code: (.*?);", types["worker/protocol"], re.DOTALL)
    assert codes
    assert set(re.findall(r'"([\w-]+)"', codes[1])) <= set(re.findall(r"`([\w-]+)`", guide))


@pytest.mark.parametrize(
    ("module", "resolution"), [("ESNext", "bundler"), ("NodeNext", "NodeNext")]
)
def test_the_types_hold_for_a_strict_consumer(
    module: str, resolution: str, package: Path, tmp_path: Path
) -> None:
    installed = tmp_path / "node_modules" / "brushlet-web"
    shutil.copytree(package / "types", installed / "lib" / "types")
    shutil.copy(WEB / "package.json", installed)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "consumer.ts").write_text(CONSUMER)
    options = {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noUncheckedIndexedAccess": True,
        "skipLibCheck": False,
        "noEmit": True,
        "target": "ES2022",
        "lib": ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
        "module": module,
        "moduleResolution": resolution,
        "types": [],
    }
    project = {"compilerOptions": options, "files": ["consumer.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(project))
    run(str(WEB / "node_modules" / ".bin" / "tsc"), "-p", str(tmp_path))


def test_the_example_paints_reports_and_closes(
    package: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 30
    site = tmp_path / "site"
    shutil.copytree(
        package, site / "brushlet", ignore=shutil.ignore_patterns("*.asyncify.*", "types")
    )
    shutil.copy(EXAMPLE, site / "index.html")
    with serving("--bundle", str(tiny_bundle), "--page", str(site)) as (_, client):
        told = run("node", "tests/library/example.mjs", str(client.base_url))
    assert told == "kept\n"
