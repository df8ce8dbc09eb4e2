"""`bench`: how fast everything is here."""

from typing import Any

from ram_agent.bench import suite
from ram_agent.bench.settings import Settings
from ram_agent.cli.outputs import check_file
from ram_agent.cli.prepared import Prepared
from ram_agent.cli.world import find_device
from ram_agent.options import Parser


def bench_options(commands: Any) -> Parser:
    parser = commands.add_parser("bench", help="measure speed and memory of sensor, environment and training here")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"{', '.join(suite.SECTIONS)} [default: all of them]"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads [default: 1]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda [default: auto]")
    parser.add_argument("--rounds", type=int, help="how often everything is timed in turn [default: 15]")
    parser.add_argument("--updates", type=int, help="updates over which memory is watched [default: 300]")
    parser.add_argument("--batch", type=int, help="images per update [default: 256]")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    parser.add_argument("--plot", metavar="FILE", help="draw what a glimpse costs against the canvas there, a .png")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, two rounds: whether it runs")
    return parser


def bench_project(given: Any) -> Prepared:
    """Print Markdown tables; the images are the embedded digits, which the speed does not depend on."""
    asked = {name: getattr(given, name) for name in ("rounds", "updates", "batch") if getattr(given, name) is not None}
    least = {"rounds": 2, "updates": 10, "batch": 8} if given.smoke else {}
    settings = Settings(find_device(given.device), given.threads, **least | asked, smoke=given.smoke)
    sections = suite.check(given.sections, given.plot)
    if given.json:
        check_file("--json", given.json)
    if given.plot:
        check_file("--plot", given.plot, ".png")

    def job() -> int:
        for piece in suite.run(sections, settings, given.json, given.plot):
            print(piece, flush=True)
        return 0

    return job
