"""The networks and the cluster that benchmarks/scaling.py reckons with.

Bytes and FLOPs are those of real networks at 224 pixels, found by Frostline's own code; they do not depend on weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, find_cuts
from frostline.backbones.traced.builders import efficientnet_lite, timm_backbone, torchvision_backbone
from frostline.features.policy import choose_cut
from frostline.freeze import strategies
from frostline.freeze.plan import HEAD, Phase, Plan, find_rate_scales

PIXELS = 224
CLASSES = 1000
EPOCHS = 20
STRATEGIES: dict[str, Callable[[Sequence[str], int], Plan]] = {
    "linear_probe": strategies.linear_probe,
    "last_k k=1": partial(strategies.last_k, k=1),
    "last_k k=2": partial(strategies.last_k, k=2),
    "norm_only": strategies.norm_only,
    "bias_only": strategies.bias_only,
    "gradual": partial(strategies.gradual, factor=2.6, each=1),
    "chain_thaw": partial(strategies.chain_thaw, scale=0.1),
    "lp_ft": partial(strategies.lp_ft, probe=0.2, scale=0.5, k=None),
    "full": strategies.full,
}


@dataclass(frozen=True)
class Hardware:
    """An assumed cluster; nothing of it was measured. Rates are bytes or FLOPs a second."""

    gpu_flops: float = 1e13  # V100, float32: 1,209 images/s of ResNet-50 (NVIDIA DeepLearningExamples) x 8.17 GFLOP
    gpus_per_node: int = 8
    threads: int = 8  # that decode for one GPU: as many as data.workers=0 uses at most
    gpu_link: float = 300e9  # NVLink of an A100, one direction (600 GB/s both ways: its data sheet)
    node_link: float = 25e9  # one 200 Gb/s InfiniBand adapter for each GPU, as in a DGX A100
    latency: float = 1e-5  # seconds of a message; of its order with NCCL over InfiniBand
    host_latency: float = 5e-5  # of a message of gloo's between two processes: half an all-reduce of two ranks here
    storage: float = 100e9  # the file system that all nodes share: a guess at a middling one
    node_storage: float = 25e9  # what one node can read of it: one 200 Gb/s adapter
    storage_iops: float = 1e6  # random reads a second that it serves: a guess
    node_memory: float = 1e12  # DGX A100: 1 or 2 TB
    read_ahead: float = 131072  # bytes that Linux reads at once for a page of a mapped file: its default
    image: float = 115e3  # bytes of an image file: ImageNet's training archive, 147.9 GB, holds 1.28 million


@dataclass(frozen=True)
class Measured:
    """What ``--measure`` found on two shared processor cores, the worse of two runs: seconds, bytes, bytes a second."""

    decode_s: float = 4.8e-3  # of one core: decode and resize a JPEG of 110 kB
    check_s: float = 1.2e-3  # of one core: decode it at an eighth, to see whether it is sound
    digest_rate: float = 6.7e8  # of one core: SHA-256 of its file
    walk_s: float = 3.8e-5  # stat it, for the run's ID
    listing_bytes: float = 230  # its name, path and label in memory
    listing_peak: float = 1900  # the most of it while digests and fingerprint are made
    order_bytes: float = 9.3  # its place in an epoch's order
    order_s: float = 7.8e-8
    write_rate: float = 3.3e8  # the cache: written, summed and synced
    sum_rate: float = 9.8e8  # SHA-256 of an entry
    memory_rate: float = 2.1e9  # shuffled batches of 64 rows of 5,120 bytes, from memory
    mapped_rate: float = 1.3e9  # the same, mapped from a file that the system holds in memory
    files_s: float = 4.1e-5  # to look for a batch's rows in one file more
    cold_bytes: float = 6.3e6  # read from the disk for one such row where it is not in memory; read-ahead here is 8 MiB


@dataclass(frozen=True)
class Network:
    """A backbone, its cuts at 224 pixels, and the number of parameters of a linear head for 1,000 classes."""

    name: str
    backbone: Backbone
    cuts: list[Cut]

    @property
    def head(self) -> int:
        return (self.backbone.num_features + 1) * CLASSES

    @property
    def flops(self) -> int:
        return self.cuts[-1].flops

    def plan(self, strategy: str) -> Plan:
        return STRATEGIES[strategy](tuple(self.backbone.groups), EPOCHS)

    def reduced(self, phase: Phase) -> int:
        """Return the bytes of the gradients that a step of this phase all-reduces: 4 for each parameter that trains."""
        numbers = {name: parameter.numel() for name, parameter in self.backbone.named_parameters()}
        return 4 * (
            sum(numbers[name] for name in find_rate_scales(phase, self.backbone.groups, self.backbone.kinds()))
            + self.head * (HEAD in phase.train)
        )

    def cut(self, phase: Phase) -> Cut | None:
        """Return where a phase is cached on GPUs when nothing bounds the cache's size."""
        trainable = {name for group in phase.train for name in self.backbone.groups.get(group, [])}
        return choose_cut(self.cuts, trainable, 1, math.inf, "cuda").cut


def networks() -> list[Network]:
    """Return the three networks; random weights do, but the default backbone brings its own."""
    made = {
        "EfficientNet-Lite0": efficientnet_lite(
            0, weights="pretrained", channels_last="auto", batch_norm="auto", compile=False, name="efficientnet_lite0"
        ),
        "ResNet-50": torchvision_backbone("resnet50", "none", channels_last="auto", batch_norm="auto", compile=False),
        "ViT-B/16": timm_backbone(
            "vit_base_patch16_224", "none", channels_last="auto", batch_norm="auto", compile=False, options={}
        ),
    }
    return [Network(name, backbone, find_cuts(backbone, PIXELS)) for name, backbone in made.items()]


def ring(bytes_: float, gpus: int, hardware: Hardware) -> float:
    """Return the seconds of an all-reduce: each GPU sends its bytes twice, less one part, and messages take turns."""
    link = hardware.gpu_link if gpus <= hardware.gpus_per_node else hardware.node_link
    return 2 * (gpus - 1) / gpus * bytes_ / link + 2 * math.log2(gpus) * hardware.latency


def asking(gpus: int, hardware: Hardware) -> float:
    """Return the seconds of gloo's all-reduce of one number between processors: once round the ring, and once more."""
    return 2 * (gpus - 1) * hardware.host_latency


def reading(bytes_: float, gpus: int, hardware: Hardware) -> float:
    """Return the seconds in which the shared storage gives all nodes together so many bytes."""
    nodes = max(1, gpus // hardware.gpus_per_node)
    return bytes_ / min(hardware.storage, nodes * hardware.node_storage)
