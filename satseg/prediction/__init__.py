"""Maps of scenes: settings, outputs, a network ready for scenes, and one scene on its way to its map."""
