"""`sweep`: every row of a table with every seed."""

import argparse
from pathlib import Path
from typing import Any

from ram_agent.cli.folders import find_config
from ram_agent.cli.outputs import check_folder
from ram_agent.cli.prepared import Prepared
from ram_agent.cli.watch import PAGE, as_typed, watch_command
from ram_agent.cli.world import digest_of
from ram_agent.config import ConfigError
from ram_agent.files import held
from ram_agent.machine import cores
from ram_agent.options import Parser
from ram_agent.progress import say
from ram_agent.runner import Runner
from ram_agent.sweep import Standing, command, in_order, standing_of, summarise, summary_table
from ram_agent.table import SWEEP, Job, read_jobs
from ram_agent.words import count
from ram_agent.workers import LocalWorkers, RayWorkers, check_ray


def sweep_options(commands: Any) -> Parser:
    parser = commands.add_parser("sweep", help="train every row of a table with every seed; go on where it was")
    parser.add_argument("table", metavar="TABLE", help="a YAML file, or a name in configs/tables/")
    parser.add_argument("--out", metavar="DIR", help="where DIR/<row>/seed<k> go [default: runs/<table>]")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time [default: 1]")
    parser.add_argument("--backend", choices=["local", "ray"], default="local", help="who runs them [default: local]")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, and start nothing")
    parser.add_argument(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after a training has failed, start the others all the same [default: yes]",
    )
    return parser


def sweep_table(given: Any) -> Prepared:
    """Run what is left of a table and show what it comes to; what is done already is not done again."""
    if given.workers < 1:
        raise ConfigError(f"--workers: expected 1 or more, got {given.workers}")
    if given.backend == "ray":
        check_ray()
    path = find_config(given.table, "table", "tables")
    out = Path(given.out or Path("runs") / path.stem).absolute()
    check_folder("--out", out)
    threads = max(1, cores() // given.workers)
    # A training that has the machine to itself measures at its start how many are worth having, as by itself.
    alone = given.workers == 1 and given.backend == "local"
    jobs = read_jobs(path, out, 0 if alone else threads, find_config)
    standings: dict[Job, Standing] = {each: standing_of(each, digest_of) for each in jobs}
    left = in_order(standings)

    def job() -> int:
        say(f"{path}: {count(len(jobs), 'training')}, {len(jobs) - len(left)} done; to {out}")
        if given.dry_run:
            width = max((len(str(each)) for each in left), default=0)
            for each in left:
                say(f"  {each!s:{width}}  {standings[each]:9}  {as_typed(command(each, standings[each]))}")
            return 0
        out.mkdir(parents=True, exist_ok=True)
        with held(out):  # another table's sweep would take the jobs that wait here for its own
            on_ray = given.backend == "ray" and left
            workers = RayWorkers(given.workers, threads) if on_ray else LocalWorkers(given.workers)
            runner = Runner(out, standings, workers, keep_going=given.keep_going, digest_of=digest_of, say=say)
            status = runner.run()
        say(f"\n{summary_table(summarise(jobs))}\n\n  written to {out / SWEEP}")
        say(f"  watch it:  {watch_command(out)}\n             {PAGE}")
        for how, jobs_so in (("failed", runner.failures), ("done, with trouble", runner.troubles)):
            for each, reason in jobs_so.items():
                say(f"  {how}: {each}, {reason}\n          all it said: {each.log}")
        if status > 128:
            say(f"  interrupted; the same command goes on: {as_typed(['ram-agent', *given.arguments])}")
        return status

    return job
