"""`evaluate`: the test errors of a run, on its own images or on others."""

from typing import Any

from ram_agent.cli.job import Job
from ram_agent.cli.notice import loud
from ram_agent.cli.trained import other_data_options, trained_agent
from ram_agent.options import Parser
from ram_agent.results import test_errors


def evaluate_options(commands: Any) -> Parser:
    parser = commands.add_parser("evaluate", help="measure a trained run, on its own test set or on other images")
    other_data_options(parser)
    return parser


def evaluate_run(given: Any) -> Job:
    """Print test errors of a run as a table; other data than its own leaves the run folder untouched."""
    config, policy, world, std = trained_agent(given)
    images = world.images_in("test")
    env = world.environment("test", min(images, 500))

    def job() -> int:
        result = test_errors(policy, env, images, std, config.evaluation.votes)
        scene = config.scene
        low, high = result["test_error_ci95"]
        if world.dataset.notice:
            loud(world.images.notice)
        print(f"{given.run} on {images:,} images of {world.dataset.name}, {scene.kind} {scene.height}x{scene.width}")
        print(f"  error, mean location      {result['test_error']:7.2f} %   95 % interval {low:.2f} to {high:.2f}")
        print(f"  error, sampled location   {result['test_error_sampled']:7.2f} %")
        print(f"  error, {result['votes']:>2}-vote            {result['test_error_voted']:7.2f} %")
        print(f"  error after each glimpse  {'  '.join(f'{error:.1f}' for error in result['error_by_glimpse'])}")
        return 0

    return job
