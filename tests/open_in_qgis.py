"""Open files in QGIS without a window and tell what it makes of them, as JSON; in the Python that QGIS is built for.

    QT_QPA_PLATFORM=offscreen /usr/bin/python3 tests/open_in_qgis.py maps.qgs map.tif map.gpkg

Of a project: its CRS, the ground on its canvas, and its layers from top to bottom. Of any other file: the layer that
QGIS makes of it. ``--picture out.png`` draws the project before it, ``--save copy.qgs`` saves that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsLayerTreeGroup,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

WIDTH = 800  # of a picture


def corners(extent):
    return [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]


def entries(layer):
    """Return value, label, colour and opacity of each class in the legend of a layer."""
    renderer = layer.renderer()
    if renderer.type() == "paletted":
        return [[entry.value, entry.label, entry.color.name(), entry.color.alpha()] for entry in renderer.classes()]
    if renderer.type() == "categorizedSymbol":
        categories = [(entry.value(), entry.label(), entry.symbol().color()) for entry in renderer.categories()]
        return [[int(value), label, colour.name(), colour.alpha()] for value, label, colour in categories]
    return []


def stretches(renderer):
    """Return lowest and highest value of each band that is stretched."""
    names = {"multibandcolor": ("red", "green", "blue"), "singlebandgray": ("",)}.get(renderer.type(), ())
    named = [name + "ContrastEnhancement" if name else "contrastEnhancement" for name in names]
    found = [getattr(renderer, name)() for name in named]
    return [[stretch.minimumValue(), stretch.maximumValue()] for stretch in found if stretch is not None]


def described(layer):
    raster = isinstance(layer, QgsRasterLayer)
    return {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "source": layer.source(),
        "extent": corners(layer.extent()),
        "features": None if raster else layer.featureCount(),
        "renderer": layer.renderer().type() if layer.isValid() else None,
        "bands": layer.renderer().usesBands() if raster and layer.isValid() else [],
        "stretches": stretches(layer.renderer()) if raster and layer.isValid() else [],
        "entries": entries(layer) if layer.isValid() else [],
    }


def walk(tree, groups=()):
    for node in tree.children():
        if isinstance(node, QgsLayerTreeGroup):
            yield from walk(node, (*groups, node.name()))
        else:
            layer = node.layer()  # None where the project has no such layer
            told = {"valid": False} if layer is None else described(layer)
            yield {"name": node.name(), "groups": groups, "visible": node.isVisible(), **told}


def open_project(path, canvas):
    project = QgsProject.instance()
    assert project.read(path), project.error()
    return {
        "title": project.title(),
        "crs": project.crs().authid(),
        "extent": corners(canvas.extent()),
        "layers": list(walk(project.layerTreeRoot())),
    }


def draw(path, extent):
    """Draw the visible layers of the project that is open."""
    project = QgsProject.instance()
    root = project.layerTreeRoot()
    settings = QgsMapSettings()
    settings.setLayers([layer for layer in root.layerOrder() if root.findLayer(layer.id()).isVisible()])
    settings.setDestinationCrs(project.crs())
    settings.setExtent(extent)
    settings.setOutputSize(QSize(WIDTH, round(WIDTH * extent.height() / extent.width())))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    assert not job.errors(), [error.message for error in job.errors()]
    assert job.renderedImage().save(path)


def main():
    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], True)
    application.initQgis()
    canvas = QgsMapCanvas()
    canvas.setObjectName("theMapCanvas")  # as in the main window
    words, told = sys.argv[1:], {}
    while words:
        word = words.pop(0)
        if word == "--picture":
            draw(words.pop(0), canvas.extent())
        elif word == "--save":
            assert QgsProject.instance().write(words.pop(0))
        elif word.endswith(".qgs"):
            told[word] = open_project(word, canvas)
        else:
            kind = QgsRasterLayer if word.endswith(".tif") else QgsVectorLayer
            told[word] = described(kind(word, Path(word).stem))
    json.dump(told, sys.stdout)
    sys.stdout.flush()
    QgsProject.instance().clear()
    del canvas
    application.exitQgis()


if __name__ == "__main__":
    main()
