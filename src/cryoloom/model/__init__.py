"""Frozen data passed between steps. No input or output happens here."""

from cryoloom.model.average import Average, FscCurve
from cryoloom.model.ctf import Ctf, DefocusReference
from cryoloom.model.extracted_images import ExtractedImages
from cryoloom.model.image_warp import ImageWarp
from cryoloom.model.item import Item
from cryoloom.model.left_out import LeftOut
from cryoloom.model.microscope import Microscope
from cryoloom.model.movie import GainReference, Movie, MovieFrames
from cryoloom.model.particles import ParticleRows, Particles
from cryoloom.model.pixel_set import PixelSet
from cryoloom.model.pixels import KeyedPixels, Pixels, PixelSink
from cryoloom.model.pose import Pose
from cryoloom.model.pose_doubt import doubt_of, doubts_of, no_resolution
from cryoloom.model.slab import Slab
from cryoloom.model.sourced import Sourced
from cryoloom.model.table import ArrayTable, Table
from cryoloom.model.tilt import DecidedBy, DecisionsBySeries, Exclusion, Tilt, TiltOverride
from cryoloom.model.tilt_series import Stack, TiltSeries
from cryoloom.model.tomogram import Tomogram

__all__ = [
    "ArrayTable",
    "Average",
    "Ctf",
    "DecidedBy",
    "DecisionsBySeries",
    "DefocusReference",
    "Exclusion",
    "ExtractedImages",
    "FscCurve",
    "GainReference",
    "ImageWarp",
    "Item",
    "KeyedPixels",
    "LeftOut",
    "Microscope",
    "Movie",
    "MovieFrames",
    "ParticleRows",
    "Particles",
    "PixelSet",
    "PixelSink",
    "Pixels",
    "Pose",
    "Slab",
    "Sourced",
    "Stack",
    "Table",
    "Tilt",
    "TiltOverride",
    "TiltSeries",
    "Tomogram",
    "doubt_of",
    "doubts_of",
    "no_resolution",
]
