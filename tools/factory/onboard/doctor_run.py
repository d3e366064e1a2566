# Runs a program of the board's as MicroPython does after a reset, until it ends or is interrupted.
with open("/" + request) as f:
    program = f.read()
exec(compile(program, request, "exec"), {"__name__": "__main__"})
