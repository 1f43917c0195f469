"""A library in Relax's virtual machine at the other end of an RPC link. Of the device worker alone."""

from __future__ import annotations

from typing import Any


class Machine:
    """Its functions by name, each of which is asked for once.

    `tvm.runtime.vm.VirtualMachine` is for machines that are near: it asks for a dozen functions before the first of
    them is needed, which over a line of 50 ms takes half a second a library.
    """

    def __init__(self, module: Any) -> None:
        """Load the executable of a remote module.

        Raises:
            AttributeError: If the module is none of Relax.
        """
        load = module["vm_load_executable"]
        self._module = load()
        self._kept = (module, load)  # to let go of a remote object is a round trip as well
        self._functions: dict[str, Any] = {}

    def start(self, device: Any) -> None:
        """Make it ready to run on a remote device."""
        from tvm.rpc.base import RPC_SESS_MASK
        from tvm.runtime import cpu
        from tvm.runtime.vm import VirtualMachine

        kinds = [(device.dlpack_device_type() % RPC_SESS_MASK, device.index)]
        if kinds[0][0] != (host := cpu().dlpack_device_type()):
            kinds.append((host, 0))  # for functions of shapes
        allocators = [word for kind in kinds for word in (*kind, VirtualMachine.POOLED_ALLOCATOR)]
        self["vm_initialization"](*allocators)

    def __getitem__(self, name: str) -> Any:
        """A function of the library, or of the machine.

        Raises:
            AttributeError: If there is none.
        """
        if name not in self._functions:
            self._functions[name] = self._module[name]
        return self._functions[name]
