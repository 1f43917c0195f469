"""The limits of the format, by name. A reader refuses what is above, before it allocates."""

from __future__ import annotations

BLOCK = 1 << 20  # bytes of tensor data under one CRC
ALIGNMENT = 64  # of tensor bytes in the file

MAX_STRING = 1 << 16  # bytes of UTF-8 in one string
MAX_RECORD_BODY = 1 << 26  # structure in one record
MAX_NODE_BODY = 1 << 20  # structure of one node, case or value
MAX_INDEX_BODY = (1 << 32) - 1  # a table of the footer, a tensor's checksums
MAX_TENSOR_BYTES = 1 << 48
MAX_ELEMENTS = 1 << 36  # of one value
MAX_RANK = 64  # what numpy has
MAX_ARGUMENT_DEPTH = 32  # lists within lists
MAX_ARGUMENT_ITEMS = 1 << 16  # items of one list
MAX_PATH_DEPTH = 1024  # parts of a path
MAX_GRAPHS = 1 << 10
MAX_CASES = 1 << 14
MAX_NODES = 1 << 24  # of one graph
MAX_INPUTS = 1 << 18  # of one graph
MAX_OUTPUTS = 1 << 16  # of one node, or of one graph
MAX_SOURCE_LINES = 256  # of one node
MAX_INTERNED_LINES = 1 << 26  # of one trace
MAX_NOTES = 1 << 14
MAX_WEIGHTS = 1 << 18  # tensors in one .safetensors
MAX_SAFETENSORS_HEADER = 1 << 24  # bytes of JSON
