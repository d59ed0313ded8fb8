"""What BTrDB's Python client has under this name: times, point widths, annotations, profiles."""
