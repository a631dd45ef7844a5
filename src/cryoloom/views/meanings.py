"""What each figure a step records means, and what good looks like, in a sentence for the report."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Meaning", "meaning_of", "number_text"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """A figure's title, unit and explanation."""

    title: str
    unit: str
    text: str = ""


_MEANINGS = {
    "gain_variation": Meaning(
        "Variation with gain reference",
        "",
        "Standard deviation over mean between neighbouring pixels after gain correction; it should be that "
        "of shot noise.",
    ),
    "raw_variation": Meaning(
        "Variation without gain reference",
        "",
        "The same before correction. A gain reference that fits lowers it.",
    ),
    "gain_margin_sigmas": Meaning(
        "Gain orientation, evidence",
        "standard errors",
        "By how much the orientation in use flattens better than any other. Below 10 the data do not tell.",
    ),
    "motion_median_angstrom": Meaning(
        "Motion, median over tilts",
        "Å",
        "Length of the path the specimen took during one exposure. A few Å is usual; it is corrected, "
        "but fast motion within a frame blurs.",
    ),
    "motion_max_angstrom": Meaning(
        "Motion, largest",
        "Å",
        "The same for the tilt that moved most. One tilt far above the median may be blurred.",
    ),
    "motion_error_angstrom": Meaning(
        "Motion, uncertainty",
        "Å",
        "How well each frame's position is known, estimated from the scatter about a smooth path. It "
        "should be well below a pixel.",
    ),
    "xray_pixels_per_megapixel": Meaning(
        "X-ray pixels",
        "per million",
        "Pixels struck by X-rays or noise spikes and replaced. Usually below 100; thousands mean that real "
        "detail or a bad gain reference was taken for spikes.",
    ),
    "n_excluded": Meaning(
        "Tilts left out",
        "",
        "Dark, shifted or blurred images that the following steps do not use. The reason stands "
        "below each image.",
    ),
    "defocus_median_angstrom": Meaning(
        "Defocus, median",
        "Å",
        "Underfocus of the specimen's middle. It should be near what was set at the microscope.",
    ),
    "fit_resolution_median_angstrom": Meaning(
        "CTF fit resolution, median",
        "Å",
        "Finest detail up to which the rings of the spectrum follow the model. Below 10 Å is very good, "
        "above 20 Å the defocus is uncertain.",
    ),
    "n_predicted": Meaning(
        "CTFs predicted",
        "tilts",
        "Tilts without visible rings, for which the defocus was taken from the rest of the series. "
        "A few at high tilt are usual.",
    ),
    "half_amplitude_last_angstrom": Meaning(
        "Detail kept in the last exposure",
        "Å",
        "Dose weighting halves the amplitude of detail of this size in the most damaged image; finer detail "
        "is kept in earlier images.",
    ),
    "defocus_sd_median_angstrom": Meaning(
        "Defocus, uncertainty",
        "Å",
        "Standard deviation of a tilt's defocus as the fit estimates it, median over tilts.",
    ),
    "handedness": Meaning(
        "Defocus handedness",
        "",
        "+1: parts of the specimen higher along the beam have less defocus, -1: more. A property of the "
        "microscope, the same for all series; a wrong sign spoils any CTF correction in depth.",
    ),
    "handedness_gain_nats": Meaning(
        "Handedness, evidence",
        "nats",
        "How much better one handedness explains the whole series than the other. 20 are asked for.",
    ),
    "handedness_gradient": Meaning(
        "Handedness, gradient of defocus",
        "",
        "Measured over predicted change of defocus across the tilted images; 1 is expected. Far from 1 the "
        "tilt axis or the tilts are wrong.",
    ),
    "handedness_votes_for": Meaning(
        "Handedness, tilts for it", "tilts", "Tilts whose own gradient of defocus has this sign."
    ),
    "handedness_votes_against": Meaning(
        "Handedness, tilts against it", "tilts", "Tilts whose own gradient of defocus has the other sign."
    ),
    "thickness_angstrom": Meaning(
        "Thickness, from the CTF",
        "Å",
        "Rings of scatterers at all depths cancel at the nodes of the spectrum, from which this is told. "
        "Shown where it is known to a fifth or to 300 Å.",
    ),
    "thickness_sd_angstrom": Meaning(
        "Thickness, uncertainty", "Å", "Standard deviation of the thickness as the fit estimates it."
    ),
    "phase_shift_median_deg": Meaning(
        "Phase shift, median", "°", "Of the phase plate, beyond that of amplitude contrast."
    ),
    "specimen_inclination_deg": Meaning(
        "Inclination of the specimen",
        "°",
        "Slope of the ice across the tilt axis, seen from defocus. Lamellae often lie at 8 to 12 degrees.",
    ),
    "n_tilts": Meaning("Tilts in the tomogram", ""),
    "residual_mean_angstrom": Meaning(
        "Alignment residual, mean",
        "Å",
        "Mean distance between where features were tracked and where the solved geometry puts them. "
        "It bounds the resolution of the tomogram.",
    ),
    "tilt_axis_deg": Meaning(
        "Tilt axis",
        "°",
        "Direction of the tilt axis in the images, counter-clockwise from +y. It is a property of the "
        "microscope and should be the same for all series of a session.",
    ),
    "tilt_offset_deg": Meaning(
        "Tilt offset",
        "°",
        "Median of the tilts in use minus those the stage told: how far the specimen stood off flat on it.",
    ),
    "estimate_slab.thickness_angstrom": Meaning(
        "Thickness", "Å", "Of the ice or lamella, between the planes that hold what there is to see."
    ),
    "z_offset_angstrom": Meaning(
        "Height of the specimen",
        "Å",
        "Its middle above the origin of the poses, which with beads is their mean height.",
    ),
    "pretilt_x_deg": Meaning("Pretilt about x", "°", "Inclination of the specimen along the tilt axis."),
    "pretilt_y_deg": Meaning(
        "Pretilt about the tilt axis",
        "°",
        "Lamellae often lie at 8 to 12 degrees, plunge-frozen ice within 3.",
    ),
    "pretilt_error_deg": Meaning(
        "Pretilt, error", "°", "Standard error of either pretilt; above 3.2 the slab is a guess."
    ),
    "slab_contrast": Meaning(
        "Slab, contrast",
        "",
        "How much more often the tomogram holds something inside than outside; below 10 a guess.",
    ),
    "n_beads": Meaning("Gold beads", "", "Found in the specimen by the images that show them together."),
    "erased_radius_angstrom": Meaning(
        "Erased radius",
        "Å",
        "Radius of the discs filled, with the beads' fringes: measured from all of them.",
    ),
    "bead_contrast_left_percent": Meaning(
        "Bead contrast left",
        "%",
        "Darkness of the erased discs against their surroundings, in percent of what the beads had. It "
        "should be "
        "within a few percent of 0.",
    ),
    "erased_percent": Meaning(
        "Pixels erased", "%", "More than about 10 means that beads crowd the field, or false ones were found."
    ),
    "pixel_size_angstrom": Meaning("Pixel size", "Å", "Of the images this step wrote."),
    "covered_percent": Meaning(
        "Aligned images covered",
        "%",
        "Part of the aligned images that the old ones cover; the rest is filled with their mean.",
    ),
    "origin_x_angstrom": Meaning(
        "New origin, x", "Å", "Centre of the trimmed tomogram, counted from the centre of the whole."
    ),
    "origin_y_angstrom": Meaning("New origin, y", "Å"),
    "origin_z_angstrom": Meaning("New origin, z", "Å"),
    "kept_percent": Meaning("Volume kept", "%"),
    "import_alignment.n_imported": Meaning(
        "Poses imported", "tilts", "Tilts with a pose in the other program's files."
    ),
    "n_left_out": Meaning(
        "Tilts left out", "", "Those the other program left out, and those excluded here before."
    ),
    "align_series.n_predicted": Meaning(
        "Tilts placed by their neighbours",
        "tilts",
        "Tilts on which nothing could be tracked; their position is interpolated.",
    ),
    "left_out_error_angstrom": Meaning(
        "Alignment error, cross-validated",
        "Å",
        "Distance of tracked features from a solution made without them: unlike the residual, it cannot be "
        "lowered by fitting noise.",
    ),
    "left_out_error_rigid_angstrom": Meaning(
        "The same without local alignment",
        "Å",
        "What the cross-validated error is where every image is moved as a whole; a local alignment is used "
        "only where it lowers it.",
    ),
    "local_displacement_angstrom": Meaning(
        "Local displacement",
        "Å",
        "Rms over images and field of what the local alignment moves besides the poses.",
    ),
    "pose_error_angstrom": Meaning(
        "Pose error",
        "Å",
        "How far the images of two geometries differ, halved, each solved from half of the tracks: what the "
        "tracks' noise leaves uncertain. Errors that both halves share do not show.",
    ),
    "axis_by_common_line_deg": Meaning(
        "Tilt axis by common lines",
        "°",
        "The axis along which the profiles of all images agree best: good to about a degree, and independent "
        "of the tracks.",
    ),
    "tilt_offset_by_light_deg": Meaning(
        "Tilt offset by transmission",
        "°",
        "Pretilt of the specimen on the stage: minus the nominal tilt at which most electrons pass.",
    ),
    "tilt_offset_by_plane_deg": Meaning(
        "Tilt offset by the specimen's plane",
        "°",
        "Pretilt of the slab that holds the specimen's bodies, about half-way through the alignment: good to "
        "one or two degrees.",
    ),
    "track_cloud_angstrom": Meaning(
        "Thickness of the tracks' cloud",
        "Å",
        "Depth that holds the middle nine tenths of the tracked points, across their plane.",
    ),
    "bead_surface_distance_angstrom": Meaning(
        "Distance of the beads' surfaces",
        "Å",
        "Between the two parallel planes on which the gold lies, if it does.",
    ),
    "bead_diameter_angstrom": Meaning("Bead diameter", "Å", "As measured in the images."),
    "n_tracks": Meaning(
        "Tracked features", "", "Patches or beads followed through the series to solve the alignment."
    ),
    "half_correlation": Meaning(
        "Correlation of half tomograms",
        "",
        "Mean Fourier correlation, up to half of Nyquist, of the tomograms made from even and from odd "
        "frames alone: 1 is free of noise.",
    ),
    "half_resolution_angstrom": Meaning(
        "Half tomograms agree to",
        "Å",
        "Detail at which the correlation of the half tomograms falls below 0.143. Alignment errors are in "
        "both halves and do not show here.",
    ),
    "contrast_gain": Meaning(
        "Contrast, after over before",
        "",
        "Standard deviation of the deconvolved tomogram's middle over what it was.",
    ),
    "loss_ratio": Meaning(
        "Network's loss over doing nothing",
        "",
        "On boxes the network never saw. Noise alone leaves 0.5; near 1 it learned nothing.",
    ),
    "n_epochs": Meaning("Rounds of training", "", "Until the network was best."),
}

# Longest first: "_per_angstrom2" also ends in a length.
_UNITS = (
    ("_per_angstrom2", "e/Å²"),
    ("_per_megapixel", "per million"),
    ("_per_angstrom", "1/Å"),
    ("_angstrom", "Å"),
    ("_percent", "%"),
    ("_seconds", "s"),
    ("_deg", "°"),
    ("_px", "px"),
    ("_kv", "kV"),
)


def meaning_of(name: str, step: str = "") -> Meaning:
    """Meaning of a step's figure; one nobody described is named by its own words and unit."""
    found = _MEANINGS.get(f"{step}.{name}") or _MEANINGS.get(name)
    if found is not None:
        return found
    words, unit = name, ""
    for suffix, symbol in _UNITS:
        if name.endswith(suffix):
            words, unit = name.removesuffix(suffix), symbol
            break
    words = words.removeprefix("n_").replace("_", " ")
    return Meaning(words[:1].upper() + words[1:], unit)


def number_text(value: float) -> str:
    """Number with the digits that matter: four, or all of a whole number."""
    if value != value:
        return "not a number"
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{value:,.0f}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return text.replace(",", "\u202f").replace("-", "\u2212", 1) if "e" not in text else text
