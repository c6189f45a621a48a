from safetensors import safe_open
from safetensors.torch import save_file

from gifthorse.load import load_model, save_model


def test_metadata_and_names_are_kept(tmp_path, mnist):
    weights = {f"module.{name}": tensor for name, tensor in mnist.network.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors", {"made by": "someone"})
    save_model(load_model(tmp_path / "model.safetensors"), tmp_path / "out.safetensors")
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata() == {"made by": "someone"}
        assert sorted(file.keys()) == sorted(weights)
