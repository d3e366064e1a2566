"""What a device must outlive, tried: power, flash, servers, clocks, years."""
