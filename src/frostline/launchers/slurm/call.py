"""The process of a call in a SLURM job: reads what to call from its folder, and leaves the result there."""

import json
import logging
import sys
from pathlib import Path

from frostline.errors import UserError
from frostline.files.atomic import write_json
from frostline.launchers.calls import call_by_name
from frostline.processes.lifetime import exit_process
from frostline.processes.stopping import stopping_on_signals

CALL, RESULT = "call.json", "result.json"


def main(folder: Path) -> None:
    """Call a function of Frostline's that takes and returns plain values; a user's mistake is a result too."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asked = json.loads((folder / CALL).read_text())
    try:
        with stopping_on_signals():
            result = {"value": call_by_name(asked["function"], *asked["arguments"])}
    except UserError as error:
        result = {"error": str(error)}
    write_json(folder / RESULT, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    exit_process(0)
