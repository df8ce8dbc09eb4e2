"""Counter-based random numbers: a few integer operations on a key and a draw's number (SplitMix64, Steele et al. 2014).

No state, hence the same draws in any batch, on any device, and after any interruption.
"""

from jaxtyping import Float, Int
from torch import Tensor


def _signed(value: int) -> int:
    """A whole number modulo 2^64 as torch's int64 writes it."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX_1 = _signed(0xBF58476D1CE4E5B9)
MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own carries the sign along."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def mix(value: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """SplitMix64's output function: a bijection of the 64-bit integers; every output bit depends on all input bits."""
    value = (value ^ _shift_right(value, 30)) * MIX_1
    value = (value ^ _shift_right(value, 27)) * MIX_2
    return value ^ _shift_right(value, 31)


def scene_key(seed: Int[Tensor, "*#batch"], split: int, index: Int[Tensor, "*#batch"]) -> Int[Tensor, "*batch"]:
    """The 64-bit key of scene `index`: one independent stream of draws per (seed, split, index)."""
    stream = mix(mix(seed.long() + GOLDEN) + _signed(split * GOLDEN))
    return mix(stream ^ mix(index.long() + GOLDEN))


def random_bits(key: Int[Tensor, "*#batch"], draw: int | Int[Tensor, "*#batch"]) -> Int[Tensor, "*batch"]:
    """Draw number `draw` of each key: 64 random bits."""
    step = (draw + 1) * GOLDEN
    return mix(key + (_signed(step) if isinstance(step, int) else step))


def random_high(key: Int[Tensor, "*#batch"], draw: int | Int[Tensor, "*#batch"]) -> Int[Tensor, "*batch"]:
    """The upper 31 bits of a draw."""
    return _shift_right(random_bits(key, draw), 33)


def scaled(high: Int[Tensor, "*batch"], below: int) -> Int[Tensor, "*batch"]:
    """31 random bits as a whole number 0 … below - 1 (by multiplication, Lemire 2019; the bias is below / 2^31)."""
    return (high * below) >> 31


def uniform(key: Int[Tensor, "*#batch"], draw: int | Int[Tensor, "*#batch"]) -> Float[Tensor, "*batch"]:
    """Uniform float32 on [0, 1), a multiple of 2^-24."""
    return _shift_right(random_bits(key, draw), 40).float() * 2.0**-24
