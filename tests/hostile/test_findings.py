"""Inputs that fuzzing has found: each raised what is no error of ours, until the parser was mended."""

import base64
import zlib

import pytest
from scripts import script

from gifthorse.errors import ModelFileError
from gifthorse.load import load_model
from gifthorse.provenance import hdf5_trial
from gifthorse.provenance.content import look_into

FINDINGS = {
    # A layer of Caffe whose type is a packed field without values: IndexError.
    "model-file": [b"\x12\x00" * 8 + b"\x12\x02*\x00" + b"\x12\x00" * 8],
    # A layer of Keras that is called with nothing: StopIteration.
    "keras-model": [
        b'{"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": {"name": "x"}}'
        b', {"class_name": "Dense", "config": {"name": "y", "units": 3}, "inbound_nodes": [{"args": [], "kwargs": {}}]}'
        b'], "input_layers": [["in", 0, 0]], "output_layers": [["x", 0, 0]]}}'
    ],
    # Graphs whose node has inputs without names, and whose parameters are no list: AttributeError, TypeError.
    "isolated-graph": [
        b'{"input": "x", "nodes": [{"op": "a", "inputs": 5, "outputs": []}], "outputs": []}',
        b'{"input": "x", "nodes": [], "outputs": [{"value": "x"}], "parameters": 5}',
    ],
    # A service that takes one image at a time, asked about two at once: RuntimeError.
    "reply": [
        b'\n{"extensions": ["binary_tensor_data"], "name": "m", "inputs": [{"name": "a", "datatype": "FP32", "shape": '
        b'[1, 1, 2, 2]}], "outputs": [{"name": "b", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'
    ],
    "tensor-head": [b"\x07\0\0\0\0\0\0\0" + b'{"a":5}'],
    # A member of a zip archive without a name: IndexError in zipfile.
    "any-file": [
        b"PK\x03\x04"
        + bytes(26)
        + b"PK\x01\x02"
        + bytes(42)
        + b"PK\x05\x06"
        + bytes(4)
        + b"\1\0\1\0\x2e\0\0\0\x1e\0\0\0\0\0",
        # An array of Python objects, whose pickle has a string of more bytes than there is memory for.
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
        + b" " * 61
        + b"\n\x80\x04\x96"
        + bytes(6)
        + b"\x7f\0.",
    ],
}


ENDLESS_HDF5 = (
    "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvfI*d{IF!=;1%?PDCp!5nRm^d?7P68?}05xBM8C88qkgF?5^?x(~vnN9grhiC+`IH;sNtQ0V0rvP"
    "#D1CrJb39xf13+{Hln+Z!Czw#xCFkdr#Tzm(<d>Edl$IdUr30Dv3PMvHdb;Le$bhDA9tIJhYjP4RQ;XvB61h{0!QzsPkhCfQ&l?;N^^6"
    "c6%-JxS4P-VmLJXM?(&6sx@54BBGr$6dQ9uG{91VgI0Dclwv5Po^z77W81dT@M-~w5rK|l%kIvNC{U=)mkQ7{Td!6+C|fNLCWgE)jw>^"
    "Pc-5`^X$4bl+_(8tkW!$|^SsOn(jXt41!4+`xK_VagPWMG1)yA{H)bPWL)p!^S_sP58GLsb_5<rip-%=m+iN1}%pVmy);JRVt|nwg$a5"
    "}%it3mK3kbv%-v0Wto_0>r#Xd}gp2tPpb;Vetb=A&e{#0amCvtPH5}Cx9l7OP(3%2auScf;`xM1_lKNaSjIYdbmCgusjnJ6C=bokdl#^"
    "(L)lV!hsDn<RV5h|0oy*qhJ(_f<f56XGCe=!|M4B^3e8?B602e3Cg4G`_cA2qP3#{r9UX5s>@C-%1h0$GJx@uG82nIJXkx-f~@vEBRt)"
    "8$fLIF(9`iKz~4`Tl>;|a@T-S~w}r%L*rArE==~E3l>UwY)%qJRRH6M1G#7LXv+%?|{`5iv)whJ|rvv(<_0wqmggO2+0c|`7ef<`t<4>"
    "^m6#DoPEyqpR(8f(zv6f2^hcGgsmP=e{;lo97In|&AQPF_5Vy<E|QI3MqeivFfp`i;ccl3#?*EkGE>$TB(4YS{sp-<m_7lSTpzY9Gbj{"
    "@TQT>(bK^}7l*N5hVkeis+j+A|5z9Vr^aqTdAo(T>!&"
)
"""Names of weights whose place in the file is damaged: h5py never comes back from its library."""


@pytest.mark.parametrize(("target", "data"), [(name, one) for name, found in FINDINGS.items() for one in found])
def test_what_was_found_is_mended(target, data):
    script("fuzz_parsers").run(target, data)


def test_an_hdf5_file_that_its_library_never_finishes(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_trial, "SECONDS", 2)
    path = tmp_path / "model.h5"
    path.write_bytes(zlib.decompress(base64.b85decode(ENDLESS_HDF5)))
    (finding,) = look_into(path).findings
    assert finding.rule == "GH115"
    assert "hangs or crashes" in finding.message
    with pytest.raises(ModelFileError, match="hangs or crashes"):
        load_model(path)
