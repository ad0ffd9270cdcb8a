"""Files for QGIS: styles of layers, and projects that show maps on top of their scenes."""
