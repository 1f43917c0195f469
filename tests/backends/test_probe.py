"""What `doctor` finds, link by link."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapml_tui.backends.launch import TargetOptions, address_of, probe

ORDER = ["torch", "apache-tvm", "cloudpickle", "linker", "kernel cache", "source", "device", "compiler", "first kernel"]


@pytest.mark.tvm
def test_everything_is_well(kernel_folder: Path) -> None:
    found = list(probe(TargetOptions(), cache_dir=kernel_folder))
    assert [link.link for link in found] == ORDER
    assert all(link.ok and not link.remedy for link in found), found


@pytest.mark.tvm
def test_chain_ends_where_it_breaks(kernel_folder: Path) -> None:
    found = list(probe(TargetOptions(rpc="127.0.0.1:1"), cache_dir=kernel_folder))
    assert [link.link for link in found] == [*ORDER[: ORDER.index("source")], "server"]
    assert (found[-1].ok, bool(found[-1].remedy)) == (False, True)
    assert "127.0.0.1:1" in found[-1].detail


@pytest.mark.parametrize("place", ["nowhere", "host:", ":1", "host:0", "host:99999", "host:x"])
def test_address_that_is_none(place: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        address_of(TargetOptions(rpc=place))


@pytest.mark.parametrize(
    ("options", "device", "text"),
    [
        (TargetOptions(), "cpu", "loopback"),
        (TargetOptions(target="opencl", rpc="[::1]:90"), "opencl", "::1:90"),
        (TargetOptions(target='{"kind": "cuda", "arch": "sm_90"}'), "cuda", "loopback"),
        (TargetOptions(target="llvm", device="metal", tracker="t:9190", key="k"), "metal", "t:9190"),
    ],
)
def test_device_follows_from_the_target(options: TargetOptions, device: str, text: str) -> None:
    address = address_of(options)
    assert (address.device, address.text) == (device, text)
