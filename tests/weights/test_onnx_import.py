"""ONNX files of the two networks are weights like any other; whatever else they hold is refused."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_files import edit, save, write_onnx
from u2cut.errors import WeightsError
from u2cut.model import U2NET, U2NETP, U2Net
from u2cut.weights import onnx_import
from u2cut.weights.load import load_network
from u2cut.weights.registry import bundled_path


def random_state(variant):
    torch.manual_seed(1)
    network = U2Net(variant).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "bn_s1.weight")):
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bn_s1.bias")):
            tensor.normal_(0, 0.1)
    return network


def arrays(network):
    return {key: tensor.numpy() for key, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def bundled():
    return load_network(bundled_path("u2netp"))


@pytest.fixture
def published(tmp_path, bundled):
    """The bundled network as its authors' ONNX file."""
    return write_onnx(arrays(bundled), U2NETP, tmp_path / "u2netp.onnx")


@torch.inference_mode()
def maps(network):
    torch.manual_seed(2)
    return network(torch.randn(2, 3, 64, 64))[0].sigmoid()


def test_the_published_form_gives_the_tensors_as_they_are(published, bundled):
    loaded = load_network(published)
    for key, tensor in bundled.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], tensor, atol=0, rtol=1e-6, msg=key)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("variant", [U2NETP, U2NET], ids=lambda v: v.name)
def test_any_network_computes_the_same_after_it(variant, folded, tmp_path):
    network = random_state(variant)
    path = write_onnx(arrays(network), variant, tmp_path / "mine", folded=folded)
    loaded = load_network(path)
    assert loaded.variant is variant
    torch.testing.assert_close(maps(loaded), maps(network), atol=1e-5, rtol=0)


def test_a_folded_batch_norm_comes_out_neutral(published):
    state = load_network(published).state_dict()
    norms = {k: v for k, v in state.items() if ".bn_s1." in k and "num_batches" not in k}
    expected = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1 - 1e-5}
    for key, value in norms.items():
        assert torch.allclose(value, torch.tensor(float(expected[key.rpartition(".")[2]]))), key


def test_what_u2cut_export_wrote_is_read_back(tmp_path, bundled):
    from u2cut.cli.app import run

    path = tmp_path / "exported.onnx"
    assert run(["export", "--model", "u2netp", "--quiet", "-o", str(path)]) == 0
    torch.testing.assert_close(maps(load_network(path)), maps(bundled), atol=1e-5, rtol=0)


def conv(model, number):
    return [node for node in model.graph.node if node.op_type == "Conv"][number]


def tensor(model, name):
    return next(t for t in model.graph.initializer if t.name == name)


def replace(model, name, value):
    tensor(model, name).CopyFrom(numpy_helper.from_array(value, name))


def missing_tensor(model):
    model.graph.initializer.remove(tensor(model, conv(model, 3).input[1]))


def surplus_tensor(model):
    model.graph.initializer.append(numpy_helper.from_array(np.ones((64, 64), np.float32), "extra"))


def wrong_shape(model):
    replace(model, conv(model, 5).input[1], np.ones((16, 17, 3, 3), np.float32))


def wrong_dilation(model):
    for attribute in conv(model, 7).attribute:
        if attribute.name == "dilations":
            attribute.ints[:] = [3, 3]


def strides(model):
    for attribute in conv(model, 0).attribute:
        if attribute.name == "strides":
            attribute.ints[:] = [2, 2]


def integers(model):
    name = conv(model, 2).input[1]
    replace(model, name, numpy_helper.to_array(tensor(model, name)).astype(np.int8))


def nan(model):
    name = conv(model, 2).input[2]
    replace(model, name, np.full(16, np.nan, np.float32))


def lying_shape(model):
    tensor(model, conv(model, 2).input[1]).dims[0] = 10**9


def external_data(model):
    held = tensor(model, conv(model, 0).input[1])
    held.data_location = TensorProto.EXTERNAL
    held.ClearField("raw_data")
    held.external_data.add(key="location", value="/etc/passwd")


def custom_operator(model):
    model.graph.node.append(helper.make_node("Open", ["a"], ["b"], domain="evil.example"))


def other_layer(model):
    model.graph.node.append(helper.make_node("LSTM", ["a"], ["b"]))


def one_less(model):
    model.graph.node.remove(conv(model, 60))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (missing_tensor, r"Conv_3 has no tensor '\d+'"),
        (surplus_tensor, r"found 119 convolutions and 239 tensors.*surplus tensors: extra"),
        (wrong_shape, r"convolution 6, .*has shape \(16, 17, 3, 3\) where \(16, 16, 3, 3\)"),
        (wrong_dilation, r"convolution 8, .* is dilated by 3 where 2 is expected"),
        (strides, "Conv_0 strides or is grouped"),
        (integers, "holds int8"),
        (nan, "holds NaN or infinity"),
        (lying_shape, "is broken"),
        (external_data, "external data.*save it as one file"),
        (custom_operator, r"custom operators \(evil.example.Open\), which are never loaded"),
        (other_layer, "layers of other kinds: LSTM"),
        (one_less, r"found 118 convolutions, expected 119|found 118 convolutions"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_anything_else_is_refused_by_what_it_holds(change, message, published):
    with pytest.raises(WeightsError, match=message) as caught:
        load_network(edit(published, change))
    assert str(caught.value).startswith(str(published))


def test_another_network_is_refused_by_what_it_holds(tmp_path):
    weight = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
    path = save(tmp_path / "isnet.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], [weight])
    with pytest.raises(WeightsError, match="found 1 convolutions, expected 119 convolutions"):
        load_network(path)


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.999])
def test_a_truncated_file_is_refused(share, published):
    content = published.read_bytes()
    published.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"u2netp\.onnx: (broken|.*has no tensor|not )"):
        load_network(published)


def test_a_web_page_with_the_name_of_a_model_is_refused(tmp_path):
    path = tmp_path / "u2net.onnx"
    path.write_bytes(b"<!DOCTYPE html><html>Log in</html>")
    with pytest.raises(WeightsError, match=r"u2net\.onnx: not a \.safetensors, \.pth or \.onnx"):
        load_network(path)


def test_onnx_is_imported_for_an_onnx_file_only():
    import subprocess
    import sys

    program = (
        "import sys; from u2cut.weights.load import load_network;"
        f"load_network(__import__('pathlib').Path({str(bundled_path('u2netp'))!r}));"
        "print('onnx' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr


def test_every_convolution_of_the_network_has_its_place():
    for variant in (U2NET, U2NETP):
        expected = {label for label, _, _ in onnx_import.expected_convolutions(variant)}
        with torch.device("meta"):
            keys = U2Net(variant).state_dict()
        convolutions = {k.removesuffix(".weight") for k in keys if k.endswith(".weight")}
        norms = {k for k in convolutions if k.endswith(".bn_s1")}
        assert expected == {k.removesuffix(".conv_s1") for k in convolutions - norms}
