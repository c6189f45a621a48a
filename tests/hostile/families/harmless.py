"""Files of the families that may be opened, or of which nothing need be found, each with its reason."""

# ruff: noqa: E501 - tables of files, each in a line

from collections.abc import Mapping
from fnmatch import fnmatchcase

OPENED: Mapping[str, str] = {
    "torch-hidden/archive-inside.pth": "torch reads data.pkl and the numbers, and nothing else in it; verify tells of it",
    "torch-hidden/python-inside.pth": "as above",
    "torch-hidden/code-inside.pth": "as above",
    "torch-absurd/on-no-device.pth": "numbers are put on the CPU wherever they were",
    "torch-absurd/on-meta.pth": "as above",
    "torch-absurd/thousand-dimensions.pth": "a tensor of one number, which fits no network",
    "torch-absurd/rebuild-from-type.pth": "a call of what the list of names allows, which gives a tensor without numbers",
    "safetensors-lying/many-tensors.safetensors": "twenty thousand empty tensors are numbers, and fit no network",
    "safetensors-lying/nothing.safetensors": "no tensor at all, which fits no network",
    "hdf5-linking/hard-circle.h5": "a group that holds itself is inside the file, and is walked through once",
    "hdf5-linking/name-twice.h5": "the same numbers, named twice",
    "hdf5-absurd/gzip-bomb*.h5": "64 MiB unpacked, of at most 1 GiB that are read",
    "hdf5-absurd/unlimited.h5": "a data set that could grow; it is not read",
    "hdf5-absurd/zero-long.h5": "weights without numbers, which fit no network",
    "hdf5-absurd/references.h5": "a reference inside the file, which is not followed",
    "hdf5-absurd/many-*.h5": "groups without anything in them, or the same layer named often",
    "hdf5-absurd/deep-groups.h5": "groups without anything in them",
    "hdf5-absurd/not-a-number.h5": "numbers, which fit no network; in one that they fit, they are refused",
    "hdf5-absurd/config-*.h5": "weights alone are read, and no configuration; whoever reads one refuses it",
    "hdf5-damaged/changed-*.h5": "HDF5 has no checksum; other numbers are numbers",
    "hdf5-damaged/bytes-behind.h5": "what is behind the end is not read",
    "keras-hdf5/*.h5": "weights alone are read, and no configuration; whoever reads one refuses it",
    "safetensors-growing/*": "tensors of odd names or sizes without numbers, which fit no network",
    "npz/bomb.npz": "64 MiB of black images, of at most 2 GiB that are unpacked",
    "pictures/*": "one of its images is sound as far as it is read; the memory it takes is bounded",
    "parquet/footer-*.parquet": "what was changed is not read, or is no size; parquet has no checksum",
    "parquet/page-*.parquet": "as above",
    "statements/*": "the model itself is good; what lies beside it lies",
}
"""Cases that may load, by pattern."""

QUIET: Mapping[str, str] = {
    "texts/config-nan.json": "as trainers write a loss that has diverged, and Python reads it",
    "pickles-broken/none.pkl": "a pickle of a plain value, which does nothing",
    "pickles-broken/a-*.pkl": "as above",
    "pickles-broken/giant-frame.pkl": "a frame is a hint, and this one is wrong; nothing is looked up or called",
    "pickles-broken/nested-*s.pkl": "nested deeply, and nothing else",
    "pickles-broken/laughs.pkl": "tuples that share their parts; nothing is larger than it is in the file",
    "pickles-broken/million-memos.pkl": "a memo is small",
    "pickles-broken/many-names.pkl": "harmless names, often",
    "pickles-broken/lone-surrogate.pkl": "a text with half a character, as pickle writes it",
    "pickles-growing/dictionaries-many-times*": "the same plain values in many places, which are looked at once",
    "archives-bombs/many-members.zip": "twenty thousand members without a byte",
    "archives-contradicting/name-is-no-utf-8.pth": "a name in another encoding",
    "safetensors-lying/not-a-number.safetensors": "numbers that are NaN are refused where a network is made of them",
    "safetensors-lying/nothing.safetensors": "a file without tensors, as the format allows it",
    "safetensors-lying/many-tensors.safetensors": "twenty thousand tensors without numbers",
    "safetensors-growing/*": "tensors of odd names or sizes without numbers",
    "onnx-growing/*": "the look does not compute; what the network makes is counted where it is rebuilt",
    "caffe-growing/many-blocks*": "a network with very many layers",
    "caffe-growing/many-layers-of-data*": "as above",
    "caffe-growing/window-as-the-image*": "as above; what its windows take is counted where it is rebuilt",
    "caffe-growing/many-neighbours*": "as above",
    "hdf5-linking/hard-circle.h5": "a group that holds itself is inside the file",
    "hdf5-linking/name-twice.h5": "the same numbers, named twice",
    "hdf5-absurd/unlimited.h5": "a data set that could grow",
    "hdf5-absurd/five-dimensions.h5": "numbers; that no layer has them is for the loader to say",
    "hdf5-absurd/no-dimension.h5": "as above",
    "hdf5-absurd/zero-long.h5": "as above",
    "hdf5-absurd/empty.h5": "as above",
    "hdf5-absurd/half-of-16-bytes.h5": "as above",
    "hdf5-absurd/not-a-number.h5": "as above",
    "hdf5-absurd/many-*.h5": "groups without anything in them, or the same layer named often",
    "hdf5-absurd/deep-groups.h5": "groups without anything in them",
    "hdf5-damaged/changed-*.h5": "HDF5 has no checksum; who states the file's hash sees that it was changed",
    "hdf5-damaged/bytes-behind.h5": "HDF5 states its own end, and what is behind is not read",
    "keras-*/backwards.*": "layers in an odd order, which is none of the file's faults",
    "torch-absurd/on-*.pth": "a device that is not there; numbers are put on the CPU",
    "torch-absurd/thousand-dimensions.pth": "a tensor of one number",
    "torch-absurd/byte-order-odd.pth": "text that torch refuses",
    "torch-absurd/version-*.pth": "as above",
    "torch-absurd/rebuild-from-type.pth": "a call of what the list of names allows, which gives a tensor without numbers",
    "torch-absurd/sparse-outside.pth": "as above, which torch refuses",
    "torch-absurd/cyclic.pth": "a dictionary that holds itself",
    "torch-absurd/key-is-a-number.pth": "a dictionary of another kind",
    "torch-absurd/unhashable-key.pth": "what Python refuses",
    "torch-absurd/legacy-old-protocol.pth": "a number that torch refuses",
    "caffe/deep.prototxt": "text; who parses it refuses it",
    "npz/*": "plain numbers; that they are no samples is for the reader of samples to say",
    "texts/spec-names-code.toml": "code is run only if the user names it, and so no TOML makes it run",
    "specs/*": "values that break a rule of ours; to others they are text",
    "statements/sums-bsd-brackets/*": "it speaks of another file",
    "statements/sums-spaces/*": "as above",
    "statements/sums-escapes/*": "as above",
}
"""Cases of which ``gifthorse verify`` may find nothing, by pattern, where the right hash is stated."""


def reason(name: str, table: Mapping[str, str]) -> str | None:
    """Why a case is in ``table``; None if it is not."""
    return next((why for pattern, why in table.items() if fnmatchcase(name, pattern)), None)
