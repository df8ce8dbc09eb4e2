"""The eye: three ways of reading a small foveated glimpse from a large canvas.

Convention (the only one in this project)
    Locations are `(x, y)` in [-1, 1]: ±1 is the outer border of the canvas, 0 its centre, so that the pixel with
    index `i` of `n` has its middle at `(2 i + 1) / n - 1` (`align_corners=False`). Sizes are `(height, width)`.
    Canvases are `(N, C, H, W)` with background 0, and everything outside the canvas is background. Their values are
    floats in [0, 1], in the precision of the windows (float32), or bytes (`uint8`) in 255ths: exact, and a quarter of
    the memory to walk through. Glimpses are floats.

A glimpse holds K concentric scales of G × G samples. Neighbouring samples of scale k lie `stride · 2^k` pixels apart.

    kernel      window parameters                                  gradient to the window
    crop        x, y                                               straight-through (it is snapped to whole pixels)
    gaussian    x, y, stride_x, stride_y, sigma_x, sigma_y         exact
    stn         x, y, stride_x, stride_y                           exact almost everywhere

`crop` and `stn` average 2^k × 2^k pixels into a sample of scale k, `gaussian` doubles its sigma from scale to scale:
up to stride 1 every pixel of a coarse scale counts. A wider stride leaves gaps between the boxes of `stn`, as between
narrow filters of `gaussian`, whose sigma is a number of its own. As an action every parameter is normalised to [-1, 1];
`Sensor.window` maps it.
"""

from ram_agent.sensor.base import Canvas, Retina, Sensor
from ram_agent.sensor.crop import Crop
from ram_agent.sensor.gaussian import Gaussian, gaussian_mask
from ram_agent.sensor.patches import lift_patches
from ram_agent.sensor.stn import Bilinear
from ram_agent.sensor.window import Window, grid_locations, to_pixels

__all__ = [
    "SENSORS",
    "Bilinear",
    "Canvas",
    "Crop",
    "Gaussian",
    "Retina",
    "Sensor",
    "Window",
    "gaussian_mask",
    "grid_locations",
    "lift_patches",
    "make_sensor",
    "to_pixels",
]

SENSORS: dict[str, type[Sensor]] = {kernel.kind: kernel for kernel in (Crop, Gaussian, Bilinear)}


def make_sensor(kind: str, **settings: object) -> Sensor:
    """Build a sensor by name: `crop`, `gaussian` or `stn`; settings are the fields of `Sensor`."""
    if kind not in SENSORS:
        raise ValueError(f"sensor kind: got {kind!r}, expected one of {', '.join(SENSORS)}")
    return SENSORS[kind](**settings)  # type: ignore[arg-type]
