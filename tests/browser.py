"""onnxruntime-web in a real Chromium, asked for outputs through `web/tests/browser/parity.mjs`."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.tensors import read_tensors, write_tensors

_WEB = Path(__file__).parents[1] / "web"
_MINUTES = 10  # a hung browser ends the run

Job = dict[str, Any]
Tensors = dict[str, np.ndarray]


class BrowserError(AssertionError):
    """The harness itself broke, or a job ended in a problem."""


def run_jobs(
    bundle: Path,
    jobs: Sequence[Job],
    inputs: Mapping[str, Tensors | Path],
    *,
    webgpu: bool = False,
    isolated: bool = True,
    problems: Collection[str] = (),
) -> dict[str, tuple[dict[str, Any], Tensors]]:
    """Runs jobs (`web/tests/browser/jobs.ts`) in one Chromium.

    Args:
        bundle: the exported folder.
        jobs: each with its own `id`.
        inputs: file name -> tensors, or a file as it is, for the jobs' `inputs`.
        webgpu: offers WebGPU, computed in software by SwiftShader.
        isolated: whether the page is cross-origin isolated, which threads need.
        problems: jobs that may end in one; it is then in their result.

    Returns:
        id -> (the harness's result, output tensors).
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in inputs.items():
            if isinstance(content, Path):
                shutil.copyfile(content, folder / file)
            else:
                write_tensors(folder / file, content, {})
        (folder / "jobs.json").write_text(json.dumps(list(jobs)))
        out = folder / "out"
        command = ["node", "tests/browser/parity.mjs", "--bundle", str(bundle.resolve())]
        command += ["--jobs", str(folder / "jobs.json"), "--out", str(out)]
        command += ["--webgpu"] if webgpu else []
        command += [] if isolated else ["--isolated=false"]
        done = subprocess.run(
            command, cwd=_WEB, capture_output=True, text=True, timeout=60 * _MINUTES, check=False
        )
        if done.returncode:
            raise BrowserError(done.stderr)
        results = {
            result["id"]: result for result in json.loads((out / "results.json").read_text())
        }
        broken = [r for key, r in results.items() if not r["ok"] and key not in problems]
        if broken:
            raise BrowserError(json.dumps(broken, indent=1) + done.stderr)
        return {
            key: (result, read_tensors(out / result["output"])[0] if result.get("output") else {})
            for key, result in results.items()
        }
