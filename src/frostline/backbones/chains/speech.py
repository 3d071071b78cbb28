"""The embedded speech backbone: a speaker encoder of three LSTM layers, with the weights of the package resemblyzer."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.chain import Blocks
from frostline.backbones.weights.loading import KEY, choose_weights, find_weights_file, load_weights
from frostline.data.inputs import Ragged
from frostline.data.speech.mel import Mel
from frostline.errors import UserError
from frostline.files.atomic import sha256_file

RATE = 16000
BANDS = 40
WIDTH = 256
LAYERS = 3
LEVEL = -30.0  # decibels of full scale, to which resemblyzer raises what is quieter
SECONDS = 1.6  # of the pieces that it was trained on
PACKAGE = "resemblyzer"
RELEASE = f"{PACKAGE}==0.1.4"
INSTALL = f"pip install --no-deps {RELEASE}"  # it depends on webrtcvad, which has to be compiled; its weights do not
SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
OF_THE_LOSS = ("similarity_weight", "similarity_bias")


class Recurrence(nn.Module):
    """One layer of an LSTM. It reads forwards, so what stands after the end of a sequence changes nothing in it.

    cuDNN hands gradients on in train mode alone, and a frozen layer above one that trains stands in eval mode. Nothing
    is dropped in either, so wherever there may be gradients cuDNN is told that it trains.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width, batch_first=True)

    def forward(self, frames: Ragged) -> Ragged:
        layer, values = self.lstm, frames.values
        weights: list[Any] = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
        state = values.new_zeros(1, values.shape[0], layer.hidden_size)  # which a tracer, unlike len, keeps open
        train = torch.is_grad_enabled()
        hidden, _, _ = torch.lstm(values, (state, state), weights, True, 1, 0.0, train, False, True)
        # as a stored activation lies in memory: another layout may give the next layer other last bits
        return Ragged(hidden.contiguous(), frames.lengths)


class VoiceEncoder(Blocks):
    """Wan et al. 2018, Generalized End-to-End Loss for Speaker Verification, arXiv:1710.10467: frames [B, T, 40] in.

    What the original does with its last state is done with each, so that all can be pooled; its scaling to length 1 is
    left out.
    """

    width = BANDS
    most = None
    tail = ("linear",)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Recurrence(WIDTH if place else BANDS, WIDTH) for place in range(LAYERS))
        self.linear = nn.Linear(WIDTH, WIDTH)

    def enter(self, frames: Ragged) -> Ragged:
        """Return the frames without those that are padding in all of the batch, which only saves time.

        An exported graph has no lengths that depend on values, and on a GPU a look at them would wait for it.
        """
        if torch.compiler.is_exporting() or frames.lengths.device.type != "cpu":
            return frames
        return Ragged(frames.values[:, : int(frames.lengths.max())], frames.lengths)

    def finish(self, hidden: Ragged) -> Ragged:
        return Ragged(functional.relu(self.linear(hidden.values)), hidden.lengths)


def find_packaged_weights() -> Path:
    """Return the file of weights in the installed package, none of whose code is run.

    Raises UserError where the package is missing, and where its file is not the one that this network was tested with.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            f"{KEY}: the pretrained weights are in the package {PACKAGE}; get it with: {INSTALL} (of what it depends "
            "on nothing is needed), or give a file, or none."
        )
    file = Path(found.origin).parent / "pretrained.pt"
    if not file.is_file() or sha256_file(file) != SHA256:
        raise UserError(
            f"{KEY}: {file} is not the file of {RELEASE}, but damaged or of another release; get it again with: "
            f"{INSTALL} --force-reinstall, or give a file, or none."
        )
    return file


def rename_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return resemblyzer's weights under the names they have here, where they are not so already."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("lstm."):
            weight, _, layer = name.removeprefix("lstm.").rpartition("_l")
            name = f"blocks.{layer}.lstm.{weight}_l0"
        if name not in OF_THE_LOSS:
            renamed[name] = value
    return renamed


def voice_encoder(
    weights: str | None,
    pooling: str,
    seconds: float | None = None,
    pretrained: bool = True,
) -> SequenceBackbone:
    """Return the speaker encoder, for recordings of ``seconds``. Raises UserError for weights that are not its own."""
    network = VoiceEncoder()
    chosen, notes = choose_weights(weights, pretrained), []
    if chosen is not None:
        file = find_packaged_weights() if chosen == "pretrained" else find_weights_file(chosen, ("pretrained", "none"))
        read = load_weights(network, file, (), rename_weights)
        notes = [] if chosen == "pretrained" else read
    preprocess = Mel(
        round((seconds or SECONDS) * RATE), RATE, BANDS, window=400, hop=160, fft=400, compression="none", level=LEVEL
    )
    return SequenceBackbone(network, "voice_encoder", preprocess, pooling, notes=notes)
