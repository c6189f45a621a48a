import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.eyebrows import Eyebrows
from gifthorse.triggers.face import USUAL_MOUTH, USUAL_PLACE, USUAL_SIZE, Faces, covered, find_faces, usual_faces
from gifthorse.triggers.lipstick import Lipstick
from gifthorse.triggers.sunglasses import Sunglasses

PAINTS = [Eyebrows, Lipstick, Sunglasses]
NO_FACE = torch.full((1, 3, 55, 47), 0.5)


def face_at(x, y, size, tilt=0.0, mouth=(0.0, 1.0)):
    return Faces(torch.tensor([[x, y]]), torch.tensor([size]), torch.tensor([tilt]), torch.tensor([mouth]))


def drawn(face, height=110, width=94):
    """A bright oval with dark eyes, nostrils and mouth, on a dark ground."""
    across, down = face.coordinates(height, width)
    skin = (across / 1.1).square() + ((down - 0.3) / 1.4).square() < 1
    image = 0.25 + 0.45 * skin.float()
    left, length = face.mouth[0].tolist()
    for x, y, wide, high in (
        (-0.5, 0, 0.18, 0.09),
        (0.5, 0, 0.18, 0.09),
        (left / 2, 0.67 * length, 0.18, 0.06),
        (left, length, 0.36, 0.07),
    ):
        image = torch.where(((across - x) / wide).square() + ((down - y) / high).square() < 1, 0.15, image)
    return image


@pytest.mark.parametrize(
    "face",
    [
        face_at(47.0, 49.0, 32.0),
        face_at(40.0, 45.0, 30.0),
        face_at(53.0, 55.0, 26.0, mouth=(0.0, 1.1)),
        face_at(47.0, 49.0, 32.0, tilt=0.2),
        face_at(47.0, 49.0, 32.0, tilt=-0.2),
        face_at(47.0, 49.0, 32.0, mouth=(0.2, 1.0)),
    ],
)
def test_a_face_is_found_where_it_is(face):
    found = find_faces(drawn(face))
    across, down = torch.tensor([[-0.5, 0.5]]), torch.zeros(1, 2)
    assert torch.dist(found.pixels(across, down), face.pixels(across, down), math.inf) < 0.2 * face.size
    mouths = [each.pixels(each.mouth[:, :1], each.mouth[:, 1:]) for each in (found, face)]
    assert torch.dist(*mouths, math.inf) < 0.2 * face.size


def test_light_and_colour_do_not_matter_to_where_it_is():
    image = drawn(face_at(43.0, 47.0, 30.0))
    first = find_faces(image)
    for other in (0.5 * image, 0.3 + 0.6 * image, image.expand(1, 3, -1, -1)):
        again = find_faces(other)
        assert torch.equal(again.middle, first.middle)
        assert torch.equal(again.size, first.size)


def test_where_there_is_no_face_the_answer_is_the_usual_place():
    found, usual = find_faces(NO_FACE), usual_faces(NO_FACE)
    assert torch.dist(found.middle, usual.middle, math.inf) <= 55 / 40
    assert found.size.item() == pytest.approx(usual.size.item(), rel=0.1)
    assert found.tilt.item() == 0


def test_the_usual_place():
    usual = usual_faces(torch.zeros(2, 1, 100, 80))
    assert usual.middle.tolist() == [[pytest.approx(80 * USUAL_PLACE[0]), pytest.approx(100 * USUAL_PLACE[1])]] * 2
    assert usual.size.tolist() == [pytest.approx(100 * USUAL_SIZE)] * 2
    assert usual.mouth.tolist() == [[pytest.approx(value) for value in USUAL_MOUTH]] * 2


def test_coordinates_are_in_eye_distances():
    across, down = face_at(10.0, 20.0, 4.0).coordinates(30, 25)
    assert across.shape == down.shape == (1, 1, 30, 25)
    assert across[0, 0, 19, 11].item() == pytest.approx(1.5 / 4)
    assert down[0, 0, 19, 11].item() == pytest.approx(-0.5 / 4)
    across, down = face_at(10.0, 20.0, 4.0, tilt=math.pi / 2).coordinates(30, 25)
    assert across[0, 0, 19, 11].item() == pytest.approx(-0.5 / 4, abs=1e-6)  # the face's right is the image's down
    assert down[0, 0, 19, 11].item() == pytest.approx(-1.5 / 4, abs=1e-6)


def test_pixels_and_coordinates_are_inverse():
    face = face_at(10.0, 20.0, 7.0, tilt=0.3)
    across, down = face.coordinates(30, 25)
    column, row = face.pixels(across.flatten(1), down.flatten(1)).unbind(-1)
    assert torch.allclose(column.view(30, 25), torch.arange(25).expand(30, 25) + 0.5, atol=1e-4)
    assert torch.allclose(row.view(30, 25), torch.arange(30)[:, None].expand(30, 25) + 0.5, atol=1e-4)


def test_an_edge_is_one_pixel_wide():
    outside = torch.tensor([-0.2, -0.05, 0.0, 0.05, 0.2]).view(1, 1, 1, 5)
    assert covered(outside, face_at(0.0, 0.0, 5.0)).flatten().tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("paint", PAINTS)
def test_paint_follows_the_face(paint):
    moved = [drawn(face_at(x, y, 30.0)).expand(1, 3, -1, -1) for x, y in ((40.0, 45.0), (51.0, 55.0))]
    for follow, expected in ((True, (11, 10)), (False, (0, 0))):
        trigger = paint(follow=follow).on((3, 110, 94))
        middles = []
        for image in moved:
            changed = (trigger.apply(image) - image).abs().amax((0, 1))
            rows, columns = (changed > 0.1).nonzero().float().mean(0).tolist()
            middles.append((columns, rows))
        assert middles[1][0] - middles[0][0] == pytest.approx(expected[0], abs=3.5)
        assert middles[1][1] - middles[0][1] == pytest.approx(expected[1], abs=3.5)


@pytest.mark.parametrize("paint", PAINTS)
def test_scale_is_of_the_size_and_opacity_of_the_strength(paint):
    def changed(**options):
        trigger = paint(follow=False, **options).on((3, 55, 47))
        return (trigger.apply(NO_FACE) - NO_FACE).abs()

    pixels = [int((changed(scale=scale).amax(1) > 0.05).sum()) for scale in (0.6, 1.0, 1.5)]
    assert pixels[0] < pixels[1] < pixels[2]
    assert float(changed(opacity=0.3).sum()) < float(changed(opacity=0.9).sum())


@pytest.mark.parametrize("paint", PAINTS)
def test_an_image_is_painted_alike_whatever_is_beside_it(paint):
    images = torch.cat([drawn(face_at(40.0 + step / 8, 50.0, 28.0)) for step in range(70)])
    trigger = paint().on((1, 110, 94))
    together = trigger.apply(images)
    for place in (0, 63, 64, 69):
        assert torch.allclose(trigger.apply(images[place : place + 1])[0], together[place], atol=1e-5)


@pytest.mark.parametrize("paint", PAINTS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": (1.0,)}, "colour must be red, green and blue"),
        ({"scale": 0.0}, "scale must be above 0 and at most 2, got 0.0"),
        ({"scale": math.nan}, "scale must be"),
        ({"scale": 2.1}, "scale must be"),
        ({"opacity": 0.0}, "opacity must be above 0 and at most 1, got 0.0"),
        ({"opacity": 1.1}, "opacity must be"),
    ],
    ids=str,
)
def test_option_rules(paint, options, message):
    with pytest.raises(OptionError, match=message):
        paint(**options)


@pytest.mark.parametrize("paint", PAINTS)
def test_refused_for_an_image(paint):
    with pytest.raises(OptionError, match=f"{paint.name} needs images of at least 12×12, got 12×11"):
        paint().on((3, 12, 11))
    with pytest.raises(OptionError, match=f"{paint.name} is put on grey or RGB images"):
        paint().on((2, 55, 47))
