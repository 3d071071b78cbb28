"""`frostline export`: a trained network that runs without Frostline."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from frostline.config.allow import allow
from frostline.serving.runs import find_run, refuse_misfits

ABOUT = """\
Write the network of a run, at its best epoch, into a folder: as ONNX, as a program of torch.export, as safetensors for
the package that the network comes from, or as a folder that transformers loads; with it how inputs are prepared, the
labels, and example.py, which needs no Frostline. It is loaded again and compared with Frostline before it is there."""
FORMATS = ("safetensors", "onnx", "torch", "transformers")


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser("frostline export", description=ABOUT, allow_abbrev=False)
    flag = parser.add_argument
    flag("run", metavar="RUN", help="a run's folder, or the first digits of its ID")
    flag("--format", choices=FORMATS, required=True, help="what to write")
    flag("--output", type=Path, metavar="FOLDER", help="where to; a new folder (RUN's folder/export/FORMAT)")
    flag("--outputs", type=Path, default=Path("outputs"), metavar="DIR", help="where IDs are looked for (outputs)")
    flag("--allow", action="append", default=[], metavar="MODULE", help="let configs name what is in this module")
    flag("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    allow(args.allow)
    folder, record = find_run(args.run, args.outputs)

    from frostline.serving.export import export
    from frostline.serving.restored import restore

    target = args.output or folder / "export" / args.format
    with refuse_misfits(folder):
        model = restore(folder, record, accelerator="cpu")
    apart = export(model, args.format, target)
    print(f"{target}: its outputs are at most {apart:.1g} from Frostline's.")
    return 0
