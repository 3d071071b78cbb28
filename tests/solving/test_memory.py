"""Features that are mapped from disk are never in memory as a whole, whatever is solved over them."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.held import WATCH

SAMPLES, WIDTH, CLASSES = 200_000, 512, 20
SOLVE = f"""{WATCH}
import sys
import torch
from frostline.solving.decompose import decompose_features
from frostline.solving.path import Question, solve_path

features = torch.from_file(sys.argv[1], shared=False, size={SAMPLES * WIDTH}, dtype=torch.float16)
features = features.view({SAMPLES}, {WIDTH})
targets = torch.arange({SAMPLES}) % {CLASSES}
with watching_memory() as held:
    decomposition = decompose_features(list(features.split(7000)), 0)
    assert decomposition.coordinates is None
    for solved in solve_path(decomposition, Question("multinomial", targets, {CLASSES}), [1.0, 0.1]):
        weight, bias = decomposition.map_weights(solved.weights[0])
right = (features[:1000].float() @ weight.T + bias).argmax(1) == targets[:1000]
print(held[0], float(right.float().mean()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_is_that_of_the_outputs_not_of_the_features(tmp_path: Path) -> None:
    make = f"""
import sys, torch
features = torch.from_file(sys.argv[1], shared=True, size={SAMPLES * WIDTH}, dtype=torch.float16)
generator = torch.Generator().manual_seed(0)
for start, part in zip(range(0, {SAMPLES}, 1000), features.view({SAMPLES}, {WIDTH}).split(1000)):
    part.normal_(generator=generator)
    part[range(len(part)), (torch.arange(start, start + len(part)) % {CLASSES})] += 3
"""
    path = str(tmp_path / "features")
    subprocess.run([sys.executable, "-c", make, path], check=True)
    done = subprocess.run([sys.executable, "-c", SOLVE, path], check=True, capture_output=True, text=True)
    held, accuracy = map(float, done.stdout.split())
    assert accuracy > 0.8
    outputs, features = 4 * SAMPLES * CLASSES, 4 * SAMPLES * WIDTH
    bound = 2 * outputs + 12 * SAMPLES + 32 * WIDTH**2 + 6 * 4 * 4096 * WIDTH
    assert held < bound + 48e6 < features / 2, f"{held / 1e6:.0f} MB, {bound / 1e6:.0f} MB at most"
