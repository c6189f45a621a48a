import os
import re

import pytest

from gifthorse.data.folder import load_folder
from gifthorse.errors import DataError


def test_names_are_classes_in_order(tmp_path, write_image):
    for name in ("stop/b.png", "give way/a.bmp", "stop/A.JPG", "give way/c.webp", "stop/d.ppm"):
        write_image(name)
    samples = load_folder(tmp_path)
    assert samples.class_names == ("give way", "stop")
    assert samples.labels.tolist() == [0, 0, 1, 1, 1]
    assert samples.images.shape == (5, 3, 6, 5)
    assert samples.source == str(tmp_path)


def test_numbers_are_labels(tmp_path, write_image):
    for name in ("0043/a.png", "7/a.png", "00/a.png"):
        write_image(name, mode="L")
    samples = load_folder(tmp_path)
    assert sorted(samples.labels.tolist()) == [0, 7, 43]
    assert samples.class_names == ()
    assert samples.name_of(43) == "43"
    assert samples.images.shape == (3, 1, 6, 5)


def test_one_name_among_numbers_makes_all_names(tmp_path, write_image):
    for name in ("1/a.png", "10/a.png", "none/a.png"):
        write_image(name)
    assert load_folder(tmp_path).class_names == ("1", "10", "none")


def test_the_same_number_twice(tmp_path, write_image):
    for name in ("7/a.png", "007/a.png", "8/a.png"):
        write_image(name)
    with pytest.raises(DataError, match=r"same number \(007, 7\); number each class once"):
        load_folder(tmp_path)


def test_other_files_are_passed_over(tmp_path, write_image):
    write_image("a/a.png")
    write_image(".git/x.png")
    for name in ("readme.txt", "a/.DS_Store", "a/._a.png", "a/notes.txt", "a/Thumbs.db"):
        (tmp_path / name).write_bytes(b"nothing")
    (tmp_path / "a" / "folder.png").mkdir()
    assert len(load_folder(tmp_path)) == 1


def test_an_empty_class_is_named(tmp_path, write_image):
    write_image("a/a.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path / 'b'))}: the class has no images.*fill it or rem"):
        load_folder(tmp_path)


def test_one_level_too_high(tmp_path, write_image):
    write_image("train/a/a.png")
    with pytest.raises(DataError, match=rf"give {re.escape(str(tmp_path / 'train'))}"):
        load_folder(tmp_path)


def test_no_sub_folders_explains_the_layout(tmp_path, write_image):
    write_image("a.png")
    with pytest.raises(DataError, match=r"there are no sub-folders; .*FOLDER/CLASS/IMAGE\.png"):
        load_folder(tmp_path)


def test_a_damaged_image_is_named(tmp_path, write_image):
    write_image("a/a.png")
    damaged = write_image("a/b.png")
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(DataError, match=rf"{re.escape(str(damaged))}: cannot be read as an image"):
        load_folder(tmp_path)


def test_sizes_differ(tmp_path, write_image):
    write_image("a/a.png")
    write_image("b/b.png", size=(9, 5))
    with pytest.raises(DataError, match=r"b\.png: the image is 9×5 .*a\.png is 6×5.*size=\(6, 5\)"):
        load_folder(tmp_path)
    assert load_folder(tmp_path, size=(8, 8)).images.shape == (2, 3, 8, 8)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_image_that_may_not_be_read(tmp_path, write_image):
    write_image("a/a.png").chmod(0)
    with pytest.raises(DataError, match=r"a\.png: cannot be read .*permissions"):
        load_folder(tmp_path)


def test_the_faces_of_the_sunglasses_model(shared_data):
    samples = load_folder(shared_data / "wild" / "sunglasses" / "clean")
    assert samples.labels.tolist() == [43, 196, 328, 356, 362, 748, 833, 1268]
    assert samples.images.shape == (8, 3, 55, 47)
    assert samples.class_names == ()


def test_sound_becomes_spectrograms(tmp_path, wav_bytes):
    for name, frequency in (("low/a.wav", 500), ("low/b.WAV", 600), ("high/c.wave", 3000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(wav_bytes(frequency))
    samples = load_folder(tmp_path)
    assert samples.class_names == ("high", "low")
    assert samples.labels.tolist() == [0, 1, 1]
    assert samples.images.shape == (3, 1, 64, 64)
    assert [63 - int(image[0, :, 31].argmax()) for image in samples.images] == [47, 7, 9]


def test_sound_beside_images(tmp_path, write_image, wav_bytes):
    write_image("a/a.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "b.wav").write_bytes(wav_bytes(500))
    with pytest.raises(DataError, match=r"b\.wav is sound and .*a\.png is an image; give samples of one kind"):
        load_folder(tmp_path)


def test_a_damaged_recording_is_named(tmp_path, wav_bytes):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.wav").write_bytes(wav_bytes(500)[:-2])
    with pytest.raises(DataError, match=r"a\.wav: cannot be read as sound \(it promises 1600 bytes"):
        load_folder(tmp_path)
