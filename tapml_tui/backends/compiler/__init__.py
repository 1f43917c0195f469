"""From a unit to a library: imported by the compiler worker alone (torch and tvm)."""
