"""What augmenting whole batches saves: each augmentation against the same one in a loop over images, in one process.

python benchmarks/augment.py [--sizes 64,224] [--batches 32,64,256] [--threads 1,2] [--seconds 1] [--device cpu]

Both ways take turns; of each the best time is kept, which a busy machine disturbs least, in microseconds an image.
``loop`` is torchvision's transform, on the processor, with the generator seeded for each image.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from frostline.data.image.augment import Batched, Light, augment_images
from frostline.data.image.policies import RandAugment, TrivialAugment


def crop(image: Tensor) -> Tensor:
    """Return one image as Light makes it: the plain way to do so."""
    flip, area, down, right = torch.rand(4).tolist()
    if flip < 0.5:
        image = v2.functional.horizontal_flip(image)
    height, width = image.shape[-2:]
    side = (0.8 + 0.2 * area) ** 0.5
    h, w = round(height * side), round(width * side)
    top, left = int(down * (height - h + 1)), int(right * (width - w + 1))
    return v2.functional.resized_crop(image, top, left, h, w, [height, width], antialias=True)


PAIRS: dict[str, tuple[Callable[[Tensor], Tensor], Batched]] = {
    "light": (crop, Light(flip=0.5, scale=0.8)),
    "randaugment": (v2.RandAugment(), RandAugment(num_ops=2, magnitude=9)),
    "trivial": (v2.TrivialAugmentWide(), TrivialAugment()),
}


def best(ways: list[Callable[[], Tensor]], seconds: float, device: torch.device) -> list[float]:
    """Return the shortest time of each way, in seconds, within so many seconds for each; all of them take turns."""
    shortest = [float("inf")] * len(ways)
    end = time.monotonic() + seconds * len(ways)
    while time.monotonic() < end or shortest[-1] == float("inf"):
        for place, way in enumerate(ways):
            started = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            shortest[place] = min(shortest[place], time.perf_counter() - started)
    return shortest


def numbers(text: str) -> list[int]:
    """Return the numbers of a list such as 32,64."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Measure all pairs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default=[64, 224])
    parser.add_argument("--batches", type=numbers, default=[32, 64, 256])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    print(f"{'augment':12} size batch threads  loop us  batch us  ratio", flush=True)
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name, (one, many) in PAIRS.items():
            for size in options.sizes:
                for batch in options.batches:
                    images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
                    planes, there, indices = images.contiguous(), images.to(options.device), torch.arange(batch)
                    ways = [
                        lambda: augment_images(one, 0, planes, indices, 1),  # noqa: B023
                        lambda: augment_images(many, 0, there, indices, 1),  # noqa: B023
                    ]
                    loop, whole = (1e6 * each / batch for each in best(ways, options.seconds, options.device))
                    row = f"{name:12} {size:4} {batch:5} {threads:7} {loop:8.1f} {whole:9.1f} {loop / whole:6.1f}"
                    print(row, flush=True)


if __name__ == "__main__":
    main()
