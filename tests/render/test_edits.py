"""Commands along directions of latent space, and analogies: what they show and say."""

import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import scene
from PIL import Image

import render
from data.synthetic.patterns import FACTORS, draw_patterns
from data.transforms import to_tensor, to_uint8
from vae.checkpoint import load_vae
from vae.inference import decode_all, encode_means
from vae.latent.directions import analogy, difference, jacobian_directions
from vae.latent.keyframes import parse_keyframe
from vae.render.models import SHIPPED

CHECKPOINT = ["--checkpoint", str(SHIPPED)]
SMALL = [*CHECKPOINT, "--size=64", "--frames=3", "--pace=latent", "--easing=linear"]


def pixels_of(factors: torch.Tensor) -> np.ndarray:
    return (draw_patterns(factors, 64) * 255).round().byte().numpy()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch) -> dict[str, np.ndarray]:
    """Patterns of a dark and of a light ground in two folders, in which the working directory is."""
    monkeypatch.chdir(tmp_path)
    factors = torch.rand(40, len(FACTORS), generator=torch.Generator().manual_seed(0))
    light = torch.arange(40) % 4 == 0  # a quarter of them
    factors[:, FACTORS.index("ground_lightness")] = light.float()
    found = {"dark": pixels_of(factors[~light]), "light": pixels_of(factors[light])}
    for name, pictures in found.items():
        Path(name, "nested").mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(Path(name, "nested" if number % 2 else "", f"{number:02}.png"))
    scene(0).resize((64, 64)).save("cat.png")
    return found


def frames_in(folder: str) -> list[np.ndarray]:
    return [iio.imread(file) for file in sorted(Path(folder).iterdir())]


def decoded(z: torch.Tensor) -> np.ndarray:
    return to_uint8(decode_all(load_vae(SHIPPED), z)).numpy().astype(int)


def test_a_direction_walks_keyframes_from_one_folder_to_the_other(folders, capsys):
    words = ["--from", "dark", "--to", "light", "--strength", "-1.5", "0.5", "--keyframes", "3", "-4"]
    render.main(["direction", *SMALL, *words, "--out=film"])
    frames, vae = frames_in("film"), load_vae(SHIPPED)
    assert re.search(r"direction: \d+% of held-out pictures are on their folder's side", capsys.readouterr().out)
    assert [frame.shape for frame in frames] == [(64, 128, 3)] * 5
    start, end = (
        encode_means(vae, to_tensor(torch.from_numpy(np.concatenate([some[::2], some[1::2]]))))
        for some in folders.values()
    )
    along = difference(start, end)
    for tile, word in enumerate(("3", "-4")):
        z = parse_keyframe(vae, word).z
        expected = decoded(torch.stack([z + s * along for s in (-1.5, -0.75, 0, 0.25, 0.5)]))
        shown = np.stack([frame[:, 64 * tile : 64 * (tile + 1)] for frame in frames]).astype(int)
        assert abs(shown - expected).max() <= 1
        assert shown[-1].mean() > shown[2].mean() > shown[0].mean()


@pytest.mark.parametrize(("strength", "place"), [(["-1", "1"], 2), (["0", "2"], 0), (["1", "-1"], 2), (["1", "0"], -1)])
def test_a_picture_is_shown_exactly_where_the_strength_is_0_and_its_ends_are_the_models(folders, strength, place):
    words = ["--from", "dark", "--to", "light", "--strength", *strength, "--keyframes", "cat.png"]
    render.main(["direction", *SMALL, *words, "--tune=30", "--out=film"])
    frames, given = frames_in("film"), np.asarray(Image.open("cat.png"))
    assert len(frames) == (3 if "0" in strength else 5)
    assert [np.array_equal(frame, given) for frame in frames].index(True) == place % len(frames)
    render.main(["direction", *SMALL, *words, "--tune=0", "--out=plain"])
    plain = frames_in("plain")
    assert not any(np.array_equal(frame, given) for frame in plain)
    end = 0 if place else -1
    assert abs(frames[end].astype(float) - plain[end]).mean() < 0.5 * abs(frames[end].astype(float) - given).mean()


@pytest.mark.parametrize("strength", ["-2. 1", "-.5 1e-1", "-1e0 -5E-1", "1 -2.", "-1 1"])
def test_each_way_to_write_a_negative_number_is_one(strength, monkeypatch):
    monkeypatch.setattr("vae.render.cli.main.run_command", lambda _, arguments: found.append(arguments["strength"]))
    found: list[list[str]] = []
    render.main(["direction", "--from", "dark", "--to", "light", "--strength", *strength.split()])
    assert found == [strength.split()]


def test_folders_that_differ_in_nothing_are_said_to_mean_little(folders, capsys):
    factors = torch.rand(24, len(FACTORS), generator=torch.Generator().manual_seed(1))
    for name, pictures in (("one", factors[:12]), ("two", factors[12:])):
        Path(name).mkdir()
        for number, picture in enumerate(pixels_of(pictures)):
            Image.fromarray(picture).save(Path(name, f"{number}.png"))
    render.main(["direction", *SMALL, "--from", "one", "--to", "two", "--out=film"])
    assert "it means little to this model: take folders" in capsys.readouterr().out
    assert len(frames_in("film")) == 5


def test_the_default_model_is_that_of_pictures_and_the_file_is_a_gif(folders, capsys):
    words = ["--from", "dark", "--to", "light", "--frames=2", "--size=16", "--pace=latent", "--quality=draft"]
    render.main(["direction", *words])
    printed = capsys.readouterr().out
    assert "pictures.ckpt" in printed
    assert "renders/direction.gif: 3 frames" in printed


def test_a_traverse_along_the_jacobian_has_a_row_for_each_direction(tmp_path, capsys):
    out = tmp_path / "rows.png"
    words = ["--directions=jacobian", "--keyframes=38", "--rows=3", "--steps=5", "--size=64", f"--out={out}"]
    render.main(["traverse", *CHECKPOINT, *words])
    told = [float(word) for word in re.search(r"3 directions \(levels: (.*)\)", capsys.readouterr().out)[1].split(", ")]
    vae = load_vae(SHIPPED)
    z = parse_keyframe(vae, "38").z
    _, directions = jacobian_directions(vae, z)
    sheet = iio.imread(out)
    rows = np.split(sheet, 3)
    for row, direction, level in zip(rows, directions, told, strict=False):
        expected = decoded(z + torch.linspace(-3, 3, 5)[:, None] * direction)
        shown = np.stack([row[:64, 64 * k : 64 * (k + 1)] for k in range(5)]).astype(int)
        assert abs(shown - expected).max() <= 1
        near = decoded(torch.stack([z - 0.1 * direction, z + 0.1 * direction]))
        assert level == pytest.approx(np.sqrt(np.mean((near[1] - near[0]) ** 2.0)) / 0.2, rel=0.1)
        assert row[-30:].min() < 120  # a caption
    assert told == sorted(told, reverse=True)


@pytest.mark.parametrize("directions", ["latents", "jacobian"])
def test_a_traverse_of_a_picture_shows_it_and_still_moves(folders, directions):
    words = ["--rows=2", "--steps=3", "--size=64", "--tune=30", f"--directions={directions}", "--keyframes", "cat.png"]
    render.main(["traverse", *CHECKPOINT, *words, "--out=fitted.png"])
    render.main(["traverse", *CHECKPOINT, *words, "--tune=0", "--out=plain.png"])
    given = np.asarray(Image.open("cat.png")).astype(float)
    fitted, plain = (iio.imread(name).astype(float) for name in ("fitted.png", "plain.png"))
    if directions == "jacobian":
        assert np.array_equal(fitted[:64, 64:128], given)
    assert abs(fitted[:64, :64] - plain[:64, :64]).mean() < 0.5 * abs(given - plain[:64, :64]).mean()


def test_an_analogy_shows_three_keyframes_and_what_is_found(folders, capsys):
    np.savez("walk.npz", latents=np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32))
    render.main(["analogy", *CHECKPOINT, "--size=64", "--keyframes", "3", "8", "walk.npz:1", "--out=row.png"])
    row, vae = iio.imread("row.png"), load_vae(SHIPPED)
    a, b, c = (parse_keyframe(vae, word).z for word in ("3", "8", "walk.npz:1"))
    expected = decoded(torch.stack([a, b, c, analogy(a, b, c)]))
    assert row.shape == (64 + 20, 256, 3)
    assert abs(np.stack(np.split(row[:64], 4, axis=1)).astype(int) - expected).max() <= 1
    render.main(
        ["analogy", *CHECKPOINT, "--size=64", "--tune=5", "--keyframes", "cat.png", "8", "cat.png", "--out=b.png"]
    )
    row, given = iio.imread("b.png"), np.asarray(Image.open("cat.png"))
    assert np.array_equal(row[:64, :64], given)
    assert np.array_equal(row[:64, 128:192], given)
    assert np.array_equal(row[:64, 192:], row[:64, 64:128])  # a is to b as a is to b
    assert "a is to b as c is to" in capsys.readouterr().out
