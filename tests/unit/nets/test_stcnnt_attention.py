"""Attention over windows, patches and frames equals softmax(q k' / sqrt(d) + bias) v, by loops."""

from collections.abc import Callable, Iterator

import pytest
import torch
from monai.networks.nets.swin_unetr import WindowAttention
from torch import Tensor, nn

from imtoolkit.nets.stcnnt.attention import ATTENTIONS, Attention, RelativeBias
from imtoolkit.nets.stcnnt.grammar import parse_block_string
from imtoolkit.nets.stcnnt.layers import PixelLinear, frame_conv, mixer_of
from imtoolkit.nets.stcnnt.options import CellOptions

Token = tuple[slice, slice, slice]
Group = list[tuple[tuple[int, ...], Token]]
"""Tokens that see each other: place in their grid, and where they lie in (T, Y, X)."""

WINDOW, PATCH, HEADS = 4, 2, 2
SHAPE = (2, 8, 3, 8, 12)


def local_groups(frames: int, high: int, wide: int) -> Iterator[Group]:
    for t in range(frames):
        for y in range(0, high, WINDOW):
            for x in range(0, wide, WINDOW):
                yield [
                    ((i, j), patch_at(t, y + i * PATCH, x + j * PATCH))
                    for i in range(WINDOW // PATCH)
                    for j in range(WINDOW // PATCH)
                ]


def global_groups(frames: int, high: int, wide: int) -> Iterator[Group]:
    for t in range(frames):
        for y in range(0, WINDOW, PATCH):
            for x in range(0, WINDOW, PATCH):
                yield [
                    ((i, j), patch_at(t, i * WINDOW + y, j * WINDOW + x))
                    for i in range(high // WINDOW)
                    for j in range(wide // WINDOW)
                ]


def patch_groups(frames: int, high: int, wide: int) -> Iterator[Group]:
    for t in range(frames):
        yield [
            ((i, j), patch_at(t, i * PATCH, j * PATCH))
            for i in range(high // PATCH)
            for j in range(wide // PATCH)
        ]


def frame_groups(frames: int, high: int, wide: int) -> Iterator[Group]:
    yield [((t,), (slice(t, t + 1), slice(0, high), slice(0, wide))) for t in range(frames)]


def patch_at(t: int, y: int, x: int) -> Token:
    return slice(t, t + 1), slice(y, y + PATCH), slice(x, x + PATCH)


GROUPS: dict[str, Callable[[int, int, int], Iterator[Group]]] = {
    "L": local_groups,
    "G": global_groups,
    "V": patch_groups,
    "T": frame_groups,
}


def by_loops(kind: str, made: Attention, frames: Tensor, *, causal: bool = False) -> Tensor:
    """Return what the attention should gather, one head, sample and group at a time."""
    query, key = made.query_key(frames).chunk(2, dim=1)
    value, depth = made.value(frames), frames.shape[1] // HEADS
    result = torch.zeros_like(value)
    for sample in range(frames.shape[0]):
        for head in range(HEADS):
            own = slice(head * depth, (head + 1) * depth)
            for group in GROUPS[kind](*frames.shape[2:]):
                q, k, v = (
                    torch.stack([source[(sample, own, *token)].flatten() for _, token in group])
                    for source in (query, key, value)
                )
                weights = torch.softmax(logits(made, head, group, q, k, causal=causal), dim=-1)
                for row, (_, token) in zip(weights @ v, group, strict=True):
                    place = (sample, own, *token)
                    result[place] = row.view(result[place].shape)
    return result


def logits(
    made: Attention, head: int, group: Group, q: Tensor, k: Tensor, *, causal: bool
) -> Tensor:
    found = q @ k.T / q.shape[1] ** 0.5
    if made.temperature is not None:
        lengths = q.norm(dim=1)[:, None] * k.norm(dim=1)[None]
        found = q @ k.T / lengths * made.temperature.exp()[head, 0, 0]
    for i, (here, _) in enumerate(group):
        for j, (there, _) in enumerate(group):
            if made.bias is not None:
                offset = (
                    max(-far, min(far, a - b)) + far
                    for a, b, far in zip(here, there, made.bias.reach, strict=True)
                )
                found[i, j] += made.bias.table[(head, *offset)]
            if causal and there[0] > here[0]:
                found[i, j] = float("-inf")
    return found


def gathering(kind: str, **options: object) -> Attention:
    """Return an attention without its output layer, and with weights that tell tokens apart."""
    torch.manual_seed(0)
    given = {"window": WINDOW, "patch": PATCH, "heads": HEADS, **options}
    made = ATTENTIONS[kind](SHAPE[1], CellOptions(**given)).eval()
    made.output = nn.Sequential(nn.Identity())
    if made.bias is not None:
        nn.init.normal_(made.bias.table)
    return made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"projection": "linear"},
        {"relative_bias": True},
        {"relative_bias": True, "bias_reach": 1},
        {"cosine": True},
        {"cosine": True, "relative_bias": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", "LGVT")
def test_attention_is_the_formula(kind: str, options: dict[str, object]) -> None:
    made, frames = gathering(kind, **options), torch.randn(SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(made(frames), by_loops(kind, made, frames))


@pytest.mark.parametrize("bias", [False, True])
def test_causal_attention_is_the_formula_with_the_future_shut_out(bias: bool) -> None:
    made, frames = gathering("T", causal=True, relative_bias=bias), torch.randn(SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(made(frames), by_loops("T", made, frames, causal=True))


@pytest.mark.parametrize("kind", "LGVT")
def test_one_frame_is_a_2d_image(kind: str) -> None:
    made, frames = gathering(kind), torch.randn(1, 8, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(made(frames), by_loops(kind, made, frames))


def test_a_single_frame_gathers_itself() -> None:
    made, frames = gathering("T"), torch.randn(2, 8, 1, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(made(frames), made.value(frames))


def test_a_window_larger_than_the_map_is_the_map() -> None:
    small, large = gathering("L", window=4), gathering("L", window=64)
    large.load_state_dict(small.state_dict())
    frames = torch.randn(1, 8, 2, 4, 4)
    torch.testing.assert_close(large(frames), small(frames))


def test_local_attention_with_a_bias_is_that_of_a_swin_window() -> None:
    made = gathering("L", patch=1, projection="linear", relative_bias=True)
    swin = WindowAttention(8, HEADS, (WINDOW, WINDOW), qkv_bias=True)
    with torch.no_grad():
        swin.qkv.weight.copy_(torch.cat((made.query_key.weight, made.value.weight)))
        swin.qkv.bias.copy_(torch.cat((made.query_key.bias, made.value.bias)))
        swin.relative_position_bias_table.copy_(made.bias.table.flatten(1).T)
        swin.proj = nn.Identity()
        frames = torch.randn(1, 8, 1, WINDOW, WINDOW)
        expected = swin(frames.flatten(2).transpose(1, 2), None).transpose(1, 2)
        torch.testing.assert_close(made(frames).flatten(2), expected)


def test_patch_attention_is_torchs_multihead_attention_over_pixels() -> None:
    made = gathering("V", patch=1, projection="linear")
    torchs = nn.MultiheadAttention(8, HEADS, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat((made.query_key.weight, made.value.weight)))
        torchs.in_proj_bias.copy_(torch.cat((made.query_key.bias, made.value.bias)))
        torchs.out_proj.weight.copy_(torch.eye(8))
        torchs.out_proj.bias.zero_()
        frames = torch.randn(2, 8, 1, 4, 6)
        tokens = frames.flatten(2).transpose(1, 2)
        expected = torchs(tokens, tokens, tokens)[0].transpose(1, 2)
        torch.testing.assert_close(made(frames).flatten(2), expected)


@pytest.mark.parametrize(("kind", "seen"), [("L", 4 * 4), ("G", 2 * 3 * 4), ("V", 8 * 12)])
def test_a_pixel_sees_its_window_its_place_in_all_windows_or_its_frame(
    kind: str, seen: int
) -> None:
    made = gathering(kind, projection="linear")
    frames = torch.randn(1, 8, 3, 8, 12, requires_grad=True)
    made(frames)[0, :, 1, 0, 0].sum().backward()
    reached = frames.grad[0].abs().sum(0) > 0
    assert int(reached.sum()) == seen
    assert not reached[[0, 2]].any()  # and no other frame


def test_a_stride_of_queries_keeps_the_shape_and_changes_what_is_weighed() -> None:
    made = gathering("T", time_stride=2)
    frames = torch.randn(1, 8, 3, 7, 5)  # the sides need not be multiples of the stride
    query, key = made.query_key(frames).chunk(2, dim=1)
    assert query.shape == (1, 8, 3, 4, 3)
    weights = torch.softmax(
        torch.einsum(
            "hdtyx,hdsyx->hts", query[0].unflatten(0, (HEADS, 4)), key[0].unflatten(0, (HEADS, 4))
        )
        / (4 * 4 * 3) ** 0.5,
        dim=-1,
    )
    value = made.value(frames)[0].unflatten(0, (HEADS, 4))
    expected = torch.einsum("hts,hdsyx->hdtyx", weights, value).flatten(0, 1)
    torch.testing.assert_close(made(frames)[0], expected)


@pytest.mark.parametrize("kind", "LGVT")
def test_every_weight_learns(kind: str) -> None:
    made = ATTENTIONS[kind](8, CellOptions(4, 2, 2, cosine=True, relative_bias=True))
    made(torch.randn(SHAPE)).square().sum().backward()
    still = [name for name, weight in made.named_parameters() if not weight.grad.abs().sum() > 0]
    # with cosines also the bias of the keys, which the softmax of plain products cancels
    assert not still


def test_dropout_of_attention_works_in_training_alone() -> None:
    made, frames = gathering("L", attention_dropout=0.5), torch.randn(SHAPE)
    torch.testing.assert_close(made(frames), made(frames))
    made.train()
    assert not torch.allclose(made(frames), made(frames))


def test_the_bias_beyond_its_reach_is_that_of_its_reach() -> None:
    bias = RelativeBias(1, (2,))
    with torch.no_grad():
        bias.table.copy_(torch.arange(5.0)[None])
    expected = torch.tensor([[2, 1, 0, 0], [3, 2, 1, 0], [4, 3, 2, 1], [4, 4, 3, 2]])
    torch.testing.assert_close(bias((4,))[0], expected.float())


def test_a_linear_layer_is_a_convolution_of_one_pixel() -> None:
    linear, conv = PixelLinear(3, 5), frame_conv(3, 5)
    conv.load_state_dict({"weight": linear.weight.view(5, 3, 1, 1, 1), "bias": linear.bias})
    frames = torch.randn(2, 3, 2, 4, 4)
    torch.testing.assert_close(linear(frames), conv(frames))


@pytest.mark.parametrize(("mixer", "sides"), [("conv", 5), ("linear", 1)])
def test_a_mixer_of_two_convolutions_sees_five_pixels_and_a_linear_one_its_own(
    mixer: str, sides: int
) -> None:
    made = mixer_of(4, CellOptions(mixer=mixer, mixer_ratio=2.0))
    frames = torch.randn(1, 4, 3, 9, 9, requires_grad=True)
    made(frames)[0, :, 1, 4, 4].sum().backward()
    reached = frames.grad[0].abs().sum(0) > 0
    assert int(reached[1].sum()) == sides**2
    assert not reached[[0, 2]].any()


@pytest.mark.parametrize("kind", "LGV")
def test_what_does_not_fall_into_windows_or_patches_is_refused_with_sides_that_fit(
    kind: str,
) -> None:
    made = gathering(kind, window=8)
    with pytest.raises(ValueError, match="do not divide a map of 9 x 16") as caught:
        made(torch.zeros(1, 8, 1, 9, 16))
    assert f"multiples of {2 if kind == 'V' else 8}" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 6, "patch": 4}, "the patch must divide the window"),
        ({"norm": "group"}, "got norm='group'; expected layer or rms or batch or instance"),
        ({"projection": "lin"}, "got projection='lin'; expected conv or linear"),
        ({"kernel": 4}, "expected an odd number"),
        ({"dropout": 1.0}, r"got dropout=1.0; expected a share of \[0, 1\)"),
        ({"heads": 0}, "got heads=0; expected at least 1"),
        ({"time_stride": 2, "projection": "linear"}, "a stride needs projection='conv'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CellOptions(**options)


def test_heads_that_do_not_divide_the_channels_are_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="8 channels can have 1, 2, 4, 8 heads"):
        ATTENTIONS["L"](8, CellOptions(heads=3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("L1X0", "read 'L1', then stopped at character 3, 'X0'"),
        ("L1G", "read 'L1', then stopped at character 3, 'G' (0 or 1 is missing"),
        ("C1", "stopped at character 1, 'C1' (2 or 3 is missing behind C)"),
        ("C31l1", "read 'C31', then stopped at character 4, 'l1' (kinds are capital letters)"),
        ("L2", "stopped at character 1, 'L2' (0 or 1 is missing"),
        ("", "stopped at its end: it is empty"),
    ],
)
def test_a_block_string_that_makes_no_sense_is_refused_with_the_grammar(
    text: str, says: str
) -> None:
    with pytest.raises(ValueError, match="makes no sense") as caught:
        parse_block_string(text)
    message = str(caught.value)
    assert says in message
    assert "T temporal attention" in message
    assert "Examples: L1G1T1" in message


def test_a_block_string_is_read_cell_by_cell() -> None:
    cells = parse_block_string("L1G0C31C20V1T0")
    assert [(cell.kind, cell.mixer) for cell in cells] == [
        ("L", True),
        ("G", False),
        ("C3", True),
        ("C2", False),
        ("V", True),
        ("T", False),
    ]
