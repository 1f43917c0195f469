"""The screens: the debugger itself, help, and the one that asks for more room."""
