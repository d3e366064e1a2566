"""The command line: a file for each command, and what two of them show: story of demo, weather of storm."""
