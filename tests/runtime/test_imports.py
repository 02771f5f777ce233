import subprocess
import sys

PROBE = """
import sys, runtime.__main__
heavy = ("torch", "diffusers", "transformers", "peft", "onnx")
rooms = ("exporter", "server", "trainer", "models")
print(sorted({name.split(".")[0] for name in sys.modules} & {*heavy, *rooms}))
"""


def test_the_ground_floor_stands_alone() -> None:
    """`runtime` imports no other room and no training library, so it starts fast anywhere."""
    command = [sys.executable, "-c", PROBE]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
