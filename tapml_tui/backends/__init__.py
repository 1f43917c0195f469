"""The two sides: what executes units, and the processes that do it.

`protocol` is what the engine sees. `launch` makes the two backends, `source` and `target`; each
lives on one thread (`actor`) and speaks frames (`frames`) to processes (`process`) that load the
heavy libraries:

    source.py  --------------------------->  worker_source     torch
    target.py  kernels.py (kernel_cache) -->  worker_compiler   torch + tvm: compiler/
               device_link.py  ------------>  worker_device     tvm, an RPC client
                               ------------>  worker_server     tvm, an RPC server on loopback
"""
