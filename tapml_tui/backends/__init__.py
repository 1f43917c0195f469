"""The two sides: what executes units, and the processes that do it.

`protocol` is what the engine sees. `launch` makes the two backends, `source` and `target`; each
lives on one thread (`actor`) and speaks frames (`frames`) to processes (`process`) that load the
heavy libraries:

    source.py  --------------------------->  worker_source     torch
    target.py  kernels.py (kernel_cache) -->  worker_compiler   torch + tvm: compiler/
               device_link.py  ------------>  worker_device     tvm, an RPC client: remote.py, tracker.py
                               ------------>  worker_server     tvm, an RPC server on loopback

`settings` say what is compiled for, `killers` remember which kernels took a device with them, `troubles` turn the words
of TVM and of drivers into what happened and what to do, `reach` and `probe` try a way to a device, `prebuilt` stands
in for the compiler where a library is given.
"""
