"""A fleet's load on the platform, minute by minute, from the schedule that ships."""
