"""The files of an exported network, for each format."""

import json
import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frostline.backbones.origin import Origin, find_model, find_origin, load_preparation
from frostline.errors import UserError
from frostline.heads import MLP, Cosine, FrameLinear, Linear
from frostline.serving.network import Network, make_refusal, silence_warnings, trace_network
from frostline.serving.restored import Restored

LARGEST = 1_900_000_000
"""Bytes that one ONNX file can hold; the weights of a larger network lie beside it."""

HEADS = (Linear, MLP, Cosine, FrameLinear)
ANY = "choose --format onnx or torch"

Part = dict[str, Any]
"""What the example must know to load and run a network: the names of its templates, and what these ask for."""


def write_onnx(model: Restored, folder: Path) -> Part:
    """Write model.onnx. Raises UserError where the extra is missing, or the network cannot be done."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise UserError(f"--format onnx needs the package {package}; run: pip install 'frostline[export]'.")
    graph = trace_network(model)
    signature = graph.graph_signature
    names: dict[str, Any] = {
        "input_names": ["inputs", "lengths"][: len(signature.user_inputs)],
        "output_names": ["outputs", "frames"][: len(signature.user_outputs)],
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with silence_warnings():
            made = torch.onnx.export(graph, dynamo=True, verbose=False, **names)
    except Exception as error:  # of one operator that ONNX lacks, of anything in a graph that it cannot say
        raise make_refusal(model, "ONNX", error) from error
    assert made is not None
    made.save(folder / "model.onnx", external_data=count_weight_bytes(Network(model)) > LARGEST)
    return {"load": "onnx.j2", "imports": ["import onnxruntime"]}


def write_torch(model: Restored, folder: Path) -> Part:
    """Write model.pt2, which torch.export.load reads. Raises UserError where the network cannot be done."""
    graph = trace_network(model)
    with silence_warnings():
        torch.export.save(graph, folder / "model.pt2")
    return {"load": "torch.j2", "imports": ["import torch"]}


def write_safetensors(model: Restored, folder: Path) -> Part:
    """Write model.safetensors and config.json, for a network that other packages can make.

    Raises UserError for those that only Frostline can.
    """
    _check_plain(model)
    found = find_origin(model.backbone, model.config.backbone, model.config.data.get("size"))
    if found is None:
        raise UserError(f"--format safetensors: {model.backbone.name} has parts that only Frostline makes; {ANY}.")
    tensors = {f"network.{name}": tensor for name, tensor in found.network.state_dict().items()}
    _save(tensors | {f"head.{name}": tensor for name, tensor in model.head.state_dict().items()}, folder, "model")
    (folder / "config.json").write_text(json.dumps(found.config, indent=2) + "\n")
    return _loading(found)


def write_transformers(model: Restored, folder: Path) -> Part:
    """Write a folder that ``AutoModel.from_pretrained`` loads, and head.safetensors beside.

    Raises UserError for a network of another kind.
    """
    _check_plain(model)
    found = find_model(model.backbone, model.config.backbone)
    if found is None:
        raise UserError(
            f"--format transformers: {model.backbone.name} is no network that AutoModel loads as a whole; {ANY}."
        )
    with silence_warnings():
        found.network.save_pretrained(folder)
        load_preparation(found.network.config._name_or_path, model.backbone).save_pretrained(folder)
    _save(model.head.state_dict(), folder, "head")
    return _loading(found)


FORMATS: dict[str, Callable[[Restored, Path], Part]] = {
    "safetensors": write_safetensors,
    "onnx": write_onnx,
    "torch": write_torch,
    "transformers": write_transformers,
}


def _check_plain(model: Restored) -> None:
    """Refuse what has parts that no other package has. Raises UserError."""
    if model.backbone.adapter is not None:
        raise UserError(f"--format: an adapter is made by Frostline alone; {ANY}.")
    if type(model.head) not in HEADS:
        raise UserError(f"--format: the head {type(model.head).__name__} is made by Frostline alone; {ANY}.")


def _loading(found: Origin) -> Part:
    imports = ["import torch", "from safetensors.torch import load_file", *found.imports]
    return {"load": "safetensors.j2", "network": found.template, "imports": imports, **found.config}


def _save(tensors: Mapping[str, Tensor], folder: Path, name: str) -> None:
    """Write tensors; those that share memory are written one by one."""
    copies = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    save_file(copies, folder / f"{name}.safetensors")


def count_weight_bytes(network: nn.Module) -> int:
    """Return the bytes of a network's weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
