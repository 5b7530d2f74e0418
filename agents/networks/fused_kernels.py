"""Triton kernels of the fused TrajGRU transition, see :mod:`agents.networks.fused_transition`.

All maps are channels last: an entry of a map of N channels is at ``pixel N + channel``, a pixel being one location of
one map of the batch. Names in capitals are constants of a compilation.
"""

# ruff: noqa: N803 - constants of a compilation are in capitals, as in Triton's own kernels

import triton
import triton.language as tl


@triton.jit
def locate(flow, pixel, inside, link, links, height, width):
    """The neighbours of the points that a link reads.

    A point one px or more outside the map, or that is no number, has no neighbours.

    Returns:
        The pixel of the neighbour of lower x and y, the fractions of the way to the higher ones in x and y, and whether
        the neighbours of lower x, higher x, lower y and higher y are inside the map; each (P,).
    """
    across = tl.load(flow + pixel * (2 * links) + 2 * link, mask=inside, other=0.0)
    down = tl.load(flow + pixel * (2 * links) + 2 * link + 1, mask=inside, other=0.0)
    row = pixel // width
    x = (pixel - row * width).to(across.dtype) - across
    y = (row % height).to(across.dtype) - down
    near = inside & (x >= -1) & (x < width) & (y >= -1) & (y < height)
    x, y = tl.where(near, x, 0.0), tl.where(near, y, 0.0)
    low_x, low_y = tl.floor(x), tl.floor(y)
    column, line = low_x.to(tl.int32), low_y.to(tl.int32)
    place = (row - row % height + line) * width + column
    left, right = near & (column >= 0), near & (column + 1 < width)
    upper, lower = (line >= 0), (line + 1 < height)
    return place, x - low_x, y - low_y, left, right, upper, lower


@triton.jit
def read(state, place, here, channel, CHANNELS: tl.constexpr):
    """(P, K) some channels of the state at the pixels ``place`` (P,); 0 where ``here`` is False."""
    where = place[:, None] * CHANNELS + channel[None, :]
    return tl.load(state + where, mask=here[:, None] & (channel < CHANNELS)[None, :], other=0.0)


@triton.jit
def sample(state, place, x, y, left, right, upper, lower, width, channel, CHANNELS: tl.constexpr):
    """(P, K) some channels of the state, interpolated bilinearly at points that :func:`locate` describes."""
    top = read(state, place, left & upper, channel, CHANNELS) * (1 - x)[:, None]
    top += read(state, place + 1, right & upper, channel, CHANNELS) * x[:, None]
    bottom = read(state, place + width, left & lower, channel, CHANNELS) * (1 - x)[:, None]
    bottom += read(state, place + width + 1, right & lower, channel, CHANNELS) * x[:, None]
    return top * (1 - y)[:, None] + bottom * y[:, None]


@triton.jit
def multiply(left, right, total, PRECISION: tl.constexpr):
    """The sum of ``total`` and a product. "widened" is for Triton's interpreter, which cannot multiply bfloat16."""
    if PRECISION == "widened":
        return total + tl.dot(left.to(total.dtype), right.to(total.dtype))
    else:
        return tl.dot(left, right, total, input_precision=PRECISION)


@triton.jit(do_not_specialize=["fed", "noted"])
def transition(
    state, flow, weight, bias, given, following, kept, pixels, links, height, width, slope, fed, noted,
    CHANNELS: tl.constexpr, PRECISION: tl.constexpr, P: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """The next state of P pixels and C channels: all links sampled, projected and gated.

    Products have the number format of ``weight``, sums that of the state. The first ``fed`` pixels, all or none, have
    an input ``given``. For the first ``noted`` pixels, all or none, reset gate, update gate, the projection for the
    new state and the new state are written to ``kept`` (noted, 4 CHANNELS).
    """
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    channel = tl.program_id(1) * C + tl.arange(0, C)
    inside, wanted = pixel < pixels, channel < CHANNELS
    zeros = tl.zeros((P, C), state.dtype.element_ty)
    bias_at, total = bias + channel, links * CHANNELS
    reset = zeros + tl.load(bias_at, mask=wanted, other=0.0)[None, :]
    update = zeros + tl.load(bias_at + CHANNELS, mask=wanted, other=0.0)[None, :]
    projected = zeros + tl.load(bias_at + 2 * CHANNELS, mask=wanted, other=0.0)[None, :]
    for link in range(links):
        place, x, y, left, right, upper, lower = locate(flow, pixel, inside, link, links, height, width)
        for first in range(0, CHANNELS, K):
            read_channel = first + tl.arange(0, K)
            seen = sample(state, place, x, y, left, right, upper, lower, width, read_channel, CHANNELS)
            seen = seen.to(weight.dtype.element_ty)
            rows = weight + (link * CHANNELS + read_channel)[:, None] + channel[None, :] * total
            valid = (read_channel < CHANNELS)[:, None] & wanted[None, :]
            reset = multiply(seen, tl.load(rows, mask=valid, other=0.0), reset, PRECISION)
            rows += CHANNELS * total
            update = multiply(seen, tl.load(rows, mask=valid, other=0.0), update, PRECISION)
            rows += CHANNELS * total
            projected = multiply(seen, tl.load(rows, mask=valid, other=0.0), projected, PRECISION)

    valid = inside[:, None] & wanted[None, :]
    at = given + pixel[:, None] * (3 * CHANNELS) + channel[None, :]
    to_feed = (pixel < fed)[:, None] & wanted[None, :]
    reset += tl.load(at, mask=to_feed, other=0.0).to(zeros.dtype)
    update += tl.load(at + CHANNELS, mask=to_feed, other=0.0).to(zeros.dtype)
    new = tl.load(at + 2 * CHANNELS, mask=to_feed, other=0.0).to(zeros.dtype)
    reset, update = tl.sigmoid(reset), tl.sigmoid(update)
    new += reset * projected
    new = tl.where(new >= 0, new, new * slope)
    at = pixel[:, None] * CHANNELS + channel[None, :]
    before = tl.load(state + at, mask=valid, other=0.0)
    tl.store(following + at, new + update * (before - new), mask=valid)
    at = kept + pixel[:, None] * (4 * CHANNELS) + channel[None, :]
    valid = (pixel < noted)[:, None] & wanted[None, :]
    tl.store(at, reset, mask=valid)
    tl.store(at + CHANNELS, update, mask=valid)
    tl.store(at + 2 * CHANNELS, projected, mask=valid)
    tl.store(at + 3 * CHANNELS, new, mask=valid)


@triton.jit
def by_gates(
    gradient, state, kept, by_state, by_projected, by_given, entries, slope,
    CHANNELS: tl.constexpr, HAS_INPUT: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Gradients with respect to projection and input (pixels, 3 CHANNELS), and to the state as the gates read it."""
    entry = tl.program_id(0) * N + tl.arange(0, N)
    valid = entry < entries
    pixel = entry // CHANNELS
    at = pixel * (3 * CHANNELS) + entry  # in maps of 4 CHANNELS
    reset = tl.load(kept + at, mask=valid, other=0.0)
    update = tl.load(kept + at + CHANNELS, mask=valid, other=0.0)
    projected = tl.load(kept + at + 2 * CHANNELS, mask=valid, other=0.0)
    new = tl.load(kept + at + 3 * CHANNELS, mask=valid, other=0.0)
    before = tl.load(state + entry, mask=valid, other=0.0)
    given = tl.load(gradient + entry, mask=valid, other=0.0)
    old = given * update
    by_new = given - old
    by_new = tl.where(new >= 0, by_new, by_new * slope)
    by_update = (before - new) * old * (1 - update)
    by_reset = projected * by_new * reset * (1 - reset)
    tl.store(by_state + entry, old, mask=valid)
    at = pixel * (2 * CHANNELS) + entry  # in maps of 3 CHANNELS
    tl.store(by_projected + at, by_reset, mask=valid)
    tl.store(by_projected + at + CHANNELS, by_update, mask=valid)
    tl.store(by_projected + at + 2 * CHANNELS, by_new * reset, mask=valid)
    if HAS_INPUT:
        tl.store(by_given + at, by_reset, mask=valid)
        tl.store(by_given + at + CHANNELS, by_update, mask=valid)
        tl.store(by_given + at + 2 * CHANNELS, by_new, mask=valid)


@triton.jit
def by_samples(
    state, flow, weight, by_projected, by_state, by_flow, pixels, links, height, width,
    CHANNELS: tl.constexpr, PRECISION: tl.constexpr, P: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Gradients of one link and P pixels: with respect to its flow, and added to that with respect to the state.

    C channels of the gradient with respect to the sampled state are computed at a time.
    """
    pixel, link = tl.program_id(0) * P + tl.arange(0, P), tl.program_id(1)
    inside = pixel < pixels
    place, x, y, left, right, upper, lower = locate(flow, pixel, inside, link, links, height, width)
    by_x, by_y = tl.zeros_like(x), tl.zeros_like(y)
    for first in range(0, CHANNELS, C):
        channel = first + tl.arange(0, C)
        wanted = channel < CHANNELS
        given = tl.zeros((P, C), state.dtype.element_ty)
        for low in range(0, 3 * CHANNELS, K):
            gate = low + tl.arange(0, K)
            valid = gate < 3 * CHANNELS
            at = by_projected + pixel[:, None] * (3 * CHANNELS) + gate[None, :]
            rows = weight + gate[:, None] * (links * CHANNELS) + (link * CHANNELS + channel)[None, :]
            given = multiply(
                tl.load(at, mask=inside[:, None] & valid[None, :], other=0.0),
                tl.load(rows, mask=valid[:, None] & wanted[None, :], other=0.0),
                given,
                PRECISION,
            )
        upper_left = read(state, place, left & upper, channel, CHANNELS)
        upper_right = read(state, place + 1, right & upper, channel, CHANNELS)
        lower_left = read(state, place + width, left & lower, channel, CHANNELS)
        lower_right = read(state, place + width + 1, right & lower, channel, CHANNELS)
        to_right = (upper_right - upper_left) * (1 - y)[:, None] + (lower_right - lower_left) * y[:, None]
        to_lower = (lower_left - upper_left) * (1 - x)[:, None] + (lower_right - upper_right) * x[:, None]
        by_x += tl.sum(given * to_right, 1)
        by_y += tl.sum(given * to_lower, 1)
        add(by_state, place, left & upper, (1 - x) * (1 - y), given, channel, CHANNELS)
        add(by_state, place + 1, right & upper, x * (1 - y), given, channel, CHANNELS)
        add(by_state, place + width, left & lower, (1 - x) * y, given, channel, CHANNELS)
        add(by_state, place + width + 1, right & lower, x * y, given, channel, CHANNELS)
    at = by_flow + pixel * (2 * links) + 2 * link
    tl.store(at, -by_x, mask=inside)
    tl.store(at + 1, -by_y, mask=inside)


@triton.jit
def add(total, place, here, share, given, channel, CHANNELS: tl.constexpr):
    """Add ``share`` (P,) of ``given`` (P, K) to the pixels ``place`` of a map, in no certain order."""
    where = place[:, None] * CHANNELS + channel[None, :]
    valid = here[:, None] & (channel < CHANNELS)[None, :]
    tl.atomic_add(total + where, given * share[:, None], mask=valid, sem="relaxed")


@triton.jit
def by_projection(
    state, flow, by_projected, by_weight, by_bias, pixels, links, height, width, share,
    CHANNELS: tl.constexpr, PRECISION: tl.constexpr, P: tl.constexpr, D: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gradients with respect to weight and bias: D rows and C columns of one link, summed over ``share`` pixels.

    Each group of ``share`` pixels has sums of its own, (3 CHANNELS, links CHANNELS) and (3 CHANNELS,), which the caller
    adds: in an order that is always the same.
    """
    blocks = tl.cdiv(CHANNELS, C)
    link, column, part = tl.program_id(0) // blocks, tl.program_id(0) % blocks, tl.program_id(2)
    gate, channel = tl.program_id(1) * D + tl.arange(0, D), column * C + tl.arange(0, C)
    valid, wanted = gate < 3 * CHANNELS, channel < CHANNELS
    total = tl.zeros((D, C), state.dtype.element_ty)
    bias_total = tl.zeros((D,), state.dtype.element_ty)
    for first in range(part * share, tl.minimum((part + 1) * share, pixels), P):
        pixel = first + tl.arange(0, P)
        inside = pixel < pixels
        place, x, y, left, right, upper, lower = locate(flow, pixel, inside, link, links, height, width)
        seen = sample(state, place, x, y, left, right, upper, lower, width, channel, CHANNELS)
        at = by_projected + pixel[None, :] * (3 * CHANNELS) + gate[:, None]
        given = tl.load(at, mask=valid[:, None] & inside[None, :], other=0.0)
        total = multiply(given, seen.to(given.dtype), total, PRECISION)
        bias_total += tl.sum(given.to(total.dtype), 1)
    rows = part * (3 * CHANNELS) + gate
    at = by_weight + rows[:, None] * (links * CHANNELS) + (link * CHANNELS + channel)[None, :]
    tl.store(at, total, mask=valid[:, None] & wanted[None, :])
    if tl.program_id(0) == 0:
        tl.store(by_bias + rows, bias_total, mask=valid)
