"""Folders of ``transformers``: the same answers as by the library, the same files back, and nothing of them is run."""

import copy
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gifthorse.errors import (
    ArchitectureError,
    GiftHorseError,
    ModelFileError,
    OptionError,
    UnsafeFileError,
    UnsupportedModelError,
)
from gifthorse.load import load_model, save_model
from gifthorse.provenance.network import look_at_network
from gifthorse.provenance.verify import verify

transformers = pytest.importorskip("transformers")

TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PATCHES = {**TRANSFORMER, "image_size": 32, "patch_size": 8}
STAGES = {"depths": [1, 1], "hidden_sizes": [8, 16]}
MADE = {
    "vit": PATCHES,
    "deit": PATCHES,
    "resnet": {**STAGES, "embedding_size": 8, "layer_type": "basic"},
    "convnext": {**STAGES, "num_stages": 2, "image_size": 32},
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": 64},
    "swin": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [1, 2],
        "window_size": 4,
    },
    "siglip": {"vision_config": PATCHES, "text_config": {**TRANSFORMER, "num_hidden_layers": 1, "vocab_size": 99}},
}
"""A small one of each kind: attention, convolutions with and without BatchNorm, weights that are renamed."""


def made(kind: str, folder: Path, **more):
    """A network of the library, and the folder that the library has written."""
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind].from_dict({**MADE[kind], "num_labels": 5, **more})
    names = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES[kind]
    network = getattr(transformers, names if isinstance(names, str) else names[0])(config).eval()
    for one in network.parameters():  # as the library draws them, small networks answer nothing but zeros
        if one.ndim > 1:
            torch.nn.init.kaiming_normal_(one)
    network.save_pretrained(folder, **({"max_shard_size": more["shard"]} if "shard" in more else {}))
    return network


@pytest.fixture(autouse=True, scope="module")
def quiet():
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    made("vit", folder)
    return folder


@pytest.fixture
def own(vit, tmp_path):
    """A copy of the ViT that a test may break."""
    return Path(shutil.copytree(vit, tmp_path / "vit"))


def change(folder: Path, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_library_is_not_imported_before_it_is_needed():
    script = "import sys, gifthorse.load; sys.exit('transformers' in sys.modules or 'huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("kind", MADE)
def test_answers_are_the_librarys_and_the_files_come_back(tmp_path, kind):
    network = made(kind, tmp_path / "in")
    model = load_model(tmp_path / "in", fallback_input_shape=(3, 32, 32))
    assert (model.origin.format, model.origin.arch, model.spec.num_classes) == ("transformers", "its own", 5)
    images = torch.rand(3, *model.spec.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(pixel_values=images).logits
    assert torch.allclose(model.predict(images), expected, atol=1e-5 * float(expected.abs().max()))
    save_model(model, tmp_path / "out")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    # New numbers, read by the library itself.
    with torch.no_grad():
        for one in model.network.parameters():
            one.mul_(1.5)
    save_model(model, tmp_path / "new")
    again = type(network).from_pretrained(tmp_path / "new").eval()
    with torch.no_grad():
        changed = again(pixel_values=images).logits
    assert torch.allclose(model.predict(images), changed, atol=1e-5 * float(changed.abs().max()))
    assert not torch.allclose(changed, expected, rtol=0.1)


def test_a_copy_in_another_number_format_has_gradients(vit):
    model = load_model(vit)
    images = torch.rand(2, 3, 32, 32, requires_grad=True, dtype=torch.bfloat16)
    copy.deepcopy(model).to(torch.bfloat16)(images)[:, 0].sum().backward()
    assert images.grad.abs().sum() > 0
    assert {one.dtype for one in model.network.parameters()} == {torch.float32}
    assert not model.training


def test_an_honest_network_has_nothing_to_report(vit, tmp_path):
    made("resnet", tmp_path)
    for folder in (vit, tmp_path):
        model = load_model(folder, fallback_input_shape=(3, 32, 32))
        assert look_at_network(model.network, model.spec.input_shape) == []


def test_weights_in_several_files(tmp_path):
    network = made("vit", tmp_path / "in", shard="30KB")
    names = sorted(path.name for path in (tmp_path / "in").glob("*.safetensors"))
    assert len(names) > 1
    model = load_model(tmp_path / "in")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.predict(images), network(pixel_values=images).logits)
    save_model(model, tmp_path / "out")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir() if path.suffix != ".md"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == kept


def test_a_state_dict_goes_through_the_list_of_what_is_allowed(own):
    weights = load_file(own / "model.safetensors")
    expected = load_model(own).predict(torch.ones(1, 3, 32, 32))
    (own / "model.safetensors").unlink()
    torch.save(weights, own / "pytorch_model.bin")
    model = load_model(own)
    assert torch.equal(model.predict(torch.ones(1, 3, 32, 32)), expected)
    save_model(model, own.with_name("out"))
    assert torch.load(own.with_name("out") / "pytorch_model.bin", weights_only=True).keys() == weights.keys()
    torch.save({**weights, "run": print}, own / "pytorch_model.bin")
    with pytest.raises(UnsafeFileError, match="would call"):
        load_model(own)


def test_the_hash_of_a_folder_is_that_of_its_list(own):
    (own / "README.md").write_text("words")
    lines = "".join(
        f"{hashlib.sha256((own / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("config.json", "model.safetensors")
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert load_model(own).origin.sha256 == expected
    assert verify(own).sha256 == expected
    assert verify(own / "README.md").sha256 == hashlib.sha256(b"words").hexdigest()


def test_a_changed_folder_is_no_template(own):
    model = load_model(own)
    change(own, hidden_act="relu")
    with pytest.raises(OptionError, match="or has changed"):
        save_model(model, own.with_name("out"))
    save_model(model, own.with_name("out.safetensors"))
    assert load_file(own.with_name("out.safetensors")).keys() == model.network.state_dict().keys()


# -- what the network expects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (None, {"input_shape": (3, 32, 32), "pixel_range": (0, 1), "mean": (0,), "std": (1,)}),
        (
            {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1], "do_normalize": True, "size": 32},
            {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "pixel_range": (0, 1)},
        ),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": False}, {"mean": (0,), "std": (1,)}),
        ({"rescale_factor": 0.00392156862745098}, {"pixel_range": (0, 1)}),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, {"pixel_range": (-1, 1)}),
        ({"do_rescale": False}, {"pixel_range": (0, 255)}),
        ({"do_flip_channel_order": True}, {"channel_order": "bgr"}),
        (
            {"size": {"shortest_edge": 64}, "crop_size": {"height": 32, "width": 32}},
            {"input_shape": (3, 32, 32)},
        ),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False, "crop_size": 16}, {"input_shape": (3, 32, 32)}),
    ],
)
def test_the_preprocessor_is_in_the_spec(own, before, expected):
    if before is not None:
        (own / "preprocessor_config.json").write_text(json.dumps(before))
    spec = load_model(own).spec
    for name, value in expected.items():
        found = getattr(spec, name)
        assert found == value if isinstance(value, str) else found == pytest.approx(value)


def test_the_librarys_own_preprocessor_gives_the_network_the_same(own):
    numpy = pytest.importorskip("numpy")
    from PIL import Image

    from gifthorse.load.parity import network_inputs

    processor = transformers.ViTImageProcessorPil if hasattr(transformers, "ViTImageProcessorPil") else None
    processor = processor or transformers.ViTImageProcessor
    made_here = processor(size={"height": 32, "width": 32}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.1])
    made_here.save_pretrained(own)
    pixels = numpy.random.default_rng(0).integers(0, 256, (32, 32, 3), numpy.uint8)
    expected = made_here(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    assert torch.allclose(network_inputs(images, load_model(own).spec), expected, atol=1e-5)


def test_a_preprocessor_that_breaks_a_rule_is_named(own):
    (own / "preprocessor_config.json").write_text(json.dumps({"image_mean": ["a"], "image_std": [1]}))
    with pytest.raises(OptionError, match=r"preprocessor_config\.json: mean\.0 is 'a'"):
        load_model(own)


@pytest.mark.parametrize("factor", ['"a"', "NaN", "1e999", "[1]"])
def test_a_preprocessor_that_cannot_be_computed_with(own, factor):
    (own / "preprocessor_config.json").write_text(f'{{"rescale_factor": {factor}}}')
    with pytest.raises(ModelFileError, match=r"preprocessor_config\.json: the configuration is damaged"):
        load_model(own)


# -- hostile and broken ones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (
            {"auto_map": {"AutoModelForImageClassification": "code.Net"}},
            UnsafeFileError,
            "'auto_map', which was not run",
        ),
        ({"custom_pipelines": {"x": {"impl": "code.P"}}}, UnsafeFileError, "'custom_pipelines', which was not run"),
        ({"model_type": "llama"}, UnsupportedModelError, "no image classifier of model_type 'llama'"),
        ({"model_type": None}, UnsupportedModelError, "no image classifier of model_type 'None'"),
        ({"model_type": ["vit"]}, UnsupportedModelError, "no image classifier"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, UnsupportedModelError, "which is no image classifier"),
        ({"architectures": ["os.system"]}, UnsupportedModelError, "which is no image classifier"),
        ({"quantization_config": {"quant_method": "x"}}, UnsupportedModelError, "quantised"),
        ({"hidden_size": 10**9}, ModelFileError, "hidden_size is absurd"),
        ({"hidden_size": 10**400}, ModelFileError, "hidden_size is absurd"),
        ({"layer_norm_eps": float("nan")}, ModelFileError, "layer_norm_eps is absurd"),
        ({"hidden_size": 999_936}, ArchitectureError, "shapes that differ"),
        ({"num_hidden_layers": 10**6}, ArchitectureError, "network of more than"),
        ({"num_hidden_layers": 3}, ArchitectureError, "missing keys"),
        ({"num_hidden_layers": 1}, ArchitectureError, "unexpected keys"),
        ({"image_size": 10**6}, ArchitectureError, "shapes that differ"),
        ({"hidden_act": "__import__('os').system('x')"}, ModelFileError, "configuration is damaged"),
        ({"hidden_size": "32"}, ModelFileError, "configuration is damaged"),
        ({"patch_size": 0}, ModelFileError, "configuration is damaged"),
        ({"id2label": {str(n): "x" for n in range(7)}}, ArchitectureError, "shapes that differ"),
        ({"id2label": {str(n): "x" for n in range(10**5 + 1)}}, ModelFileError, "id2label is absurd"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_refused_and_soon(own, values, kind, message):
    change(own, **values)
    started = time.monotonic()
    with pytest.raises(kind, match=message):
        load_model(own)
    assert time.monotonic() - started < 20


def test_a_levit_of_patches_without_an_end(own):
    config = {"model_type": "levit", "architectures": ["LevitForImageClassification"], "image_size": 1600}
    (own / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="1,500,000,000 pairs of patches"):
        load_model(own)


@pytest.mark.parametrize("name", ["²", "9" * 5000])
def test_names_that_the_library_cannot_read(own, name):
    save_file({name: torch.ones(1), "a.b": torch.ones(1)}, own / "model.safetensors")
    with pytest.raises(ModelFileError, match="list of the weights' names is damaged"):
        load_model(own)


def test_an_attention_that_would_be_fetched_is_not(own):
    expected = load_model(own).predict(torch.ones(1, 3, 32, 32))
    change(own, _attn_implementation="owner/kernel", attn_implementation="owner/kernel", torch_dtype="float16")
    assert torch.equal(load_model(own).predict(torch.ones(1, 3, 32, 32)), expected)


def test_nothing_is_fetched_while_a_network_is_built(own, monkeypatch):
    from huggingface_hub import constants

    seen = []
    build = transformers.AutoModelForImageClassification.from_config

    def watched(config, **options):
        seen.append((constants.is_offline_mode(), options["trust_remote_code"]))
        return build(config, **options)

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_config", watched)
    before = constants.is_offline_mode()
    load_model(own)
    assert set(seen) == {(True, False)}
    assert constants.is_offline_mode() is before


def test_code_beside_the_model_is_not_run_and_is_told(own):
    (own / "modeling.py").write_text(f"open({str(own / 'ran')!r}, 'w')")
    load_model(own)
    assert not (own / "ran").exists()
    assert [one.rule for one in verify(own).findings if "modeling.py" in one.file] == ["GH112"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": ' * 5000 + "1" + "}" * 5000, "\xff"], ids=len)
def test_a_configuration_that_is_none(own, text):
    (own / "config.json").write_text(text)
    with pytest.raises(ModelFileError):
        load_model(own)


def test_weights_that_are_missing_or_false(own, tmp_path):
    (own / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelFileError, match="is no safetensors file"):
        load_model(own)
    (own / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"holds no model\.safetensors or pytorch_model\.bin"):
        load_model(own)
    for weight_map, kind, message in (
        ({"a": "../secret.safetensors"}, UnsafeFileError, "leads to"),
        ({"a": "/etc/passwd"}, UnsafeFileError, "leads to"),
        ({"a": 3}, UnsafeFileError, "leads to"),
        ({"a": "a" * 300 + ".safetensors"}, UnsafeFileError, "leads to"),
        ({"a": "part.safetensors"}, ModelFileError, "names part.safetensors, which is not there"),
        ({}, ModelFileError, "no weight_map"),
    ):
        (own / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(kind, match=message):
            load_model(own)
    (own / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    save_file({"a": torch.ones(1), "hidden": torch.ones(1)}, own / "part.safetensors")
    with pytest.raises(ModelFileError, match="do not hold the same weights: hidden"):
        load_model(own)


def test_nan_weights_and_an_adapter(own):
    weights = load_file(own / "model.safetensors")
    weights["classifier.bias"][0] = torch.nan
    save_file(weights, own / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=r"classifier\.bias has 1 NaN"):
        load_model(own)
    (own / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match="holds an adapter"):
        load_model(own)


def test_other_folders(tmp_path, own):
    with pytest.raises(OptionError, match="is a folder; give the model file itself"):
        load_model(tmp_path)
    with pytest.raises(OptionError, match="describes its network itself"):
        load_model(own, arch="mnist")
    (own / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 10}))
    with pytest.raises(UnsupportedModelError, match="--arch timm:resnet18"):
        load_model(own)


def test_errors_are_ours_without_the_library(own, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[hub\]'") as caught:
        load_model(own)
    assert isinstance(caught.value, GiftHorseError)
