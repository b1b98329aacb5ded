"""The work of the transforms, by family. Users meet them as methods of `Stream`."""
