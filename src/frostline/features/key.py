"""What the identity of a cached activation is made of."""

from dataclasses import asdict, dataclass

from frostline.files.atomic import sha256_json

FORMAT = 3


@dataclass(frozen=True)
class Key:
    """Everything that an activation depends on; two entries are the same if and only if all of this is."""

    weights: str
    """Fingerprint of the parameters and buffers that are used up to the cut."""
    architecture: str
    cut: str
    normalisation: str
    transform: str
    data: str
    split: str
    view: int
    precision: str
    shape: tuple[int, ...]
    format: int = FORMAT

    def digest(self) -> str:
        """Return 32 hexadecimal digits that name the entry."""
        return sha256_json(asdict(self))[:32]
