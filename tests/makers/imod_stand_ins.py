"""Stand-ins for programs of IMOD: options by their names in IMOD's autodocs, well-formed output."""

CCDERASER = """
given = options(dict.fromkeys([
    "-InputFile", "-OutputFile", "-PointModel", "-PeakCriterion", "-DiffCriterion", "-GrowCriterion",
    "-ScanCriterion", "-MaximumRadius", "-GiantCriterion", "-ExtraLargeRadius", "-BigDiffCriterion",
    "-AnnulusWidth", "-XYScanSize", "-EdgeExclusionWidth", "-BorderSize", "-PolynomialOrder"], 1),
    flags=("-FindPeaks",))
shape, body = read_mrc(given["-InputFile"][0])
values = bytearray(body)
struct.pack_into("<f", values, 0, -1.0)
write_mrc(given["-OutputFile"][0], shape, bytes(values))
"""

MTFFILTER = """
given = options(dict.fromkeys([
    "-InputFile", "-OutputFile", "-PixelSize", "-Voltage", "-TypeOfDoseFile", "-DoseWeightingFile",
    "-OptimalDoseScaling"], 1) | {"-LowPassRadiusSigma": 2})
(n, n_y, n_x), body = read_mrc(given["-InputFile"][0])
doses = [line.split() for line in open(given["-DoseWeightingFile"][0])]
if len(doses) != n or given["-TypeOfDoseFile"] != ["2"]:
    fail("a dose before and of each section")
count = n_x * n_y
values = [float(prior) + 0.001 * (i % 7) for prior, _ in doses for i in range(count)]
write_mrc(given["-OutputFile"][0], (n, n_y, n_x), struct.pack(f"<{len(values)}f", *values))
"""

NEWSTACK = """
given = options(dict.fromkeys([
    "-InputFile", "-OutputFile", "-TransformFile", "-SizeToOutputInXandY", "-OffsetsInXandY", "-TaperAtFill",
    "-ImagesAreBinned", "-BinByFactor", "-AntialiasFilter", "-FloatDensities", "-MeanAndStandardDeviation",
    "-ModeToOutput"], 1), flags=("-AdjustOrigin", "-LinearInterpolation"))
(n, n_y, n_x), body = read_mrc(given["-InputFile"][0])
if "-TransformFile" in given and len(open(given["-TransformFile"][0]).read().split("\\n")) - 1 != n:
    fail("a transform for each section")
bin = int(given["-BinByFactor"][0])
x, y = n_x // bin, n_y // bin
if "-SizeToOutputInXandY" in given:
    x, y = map(int, given["-SizeToOutputInXandY"][0].split(","))
first = struct.unpack_from("<f", body, 0)[0]
write_mrc(given["-OutputFile"][0], (n, y, x), struct.pack(f"<{n * x * y}f", *([first] * (n * x * y))))
"""

CTFPHASEFLIP = """
given = options(dict.fromkeys([
    "-InputStack", "-AngleFile", "-OutputFileName", "-TransformFile", "-DefocusFile", "-Voltage",
    "-SphericalAberration", "-AmplitudeContrast", "-PixelSize", "-DefocusTol", "-InterpolationWidth",
    "-UseGPU"], 1), flags=("-InvertTiltAngles",))
shape, body = read_mrc(given["-InputStack"][0])
for name in ("-AngleFile", "-TransformFile", "-DefocusFile"):
    open(given[name][0]).read()
write_mrc(given["-OutputFileName"][0], shape, body)
pathlib.Path("flip.txt").write_text(" ".join(ARGUMENTS))
"""

# A voxel tells its place in the file: section along y, row along z of IMOD.
TILT = """
given = options(dict.fromkeys([
    "-InputProjections", "-OutputFile", "-IMAGEBINNED", "-FULLIMAGE", "-THICKNESS", "-TILTFILE", "-XTILTFILE",
    "-SHIFT", "-MODE", "-SCALE", "-DENSWEIGHT", "-RADIAL", "-FakeSIRTiterations",
    "-ExactFilterSize", "-HammingLikeFilter", "-SuperSampleFactor", "-UseGPU", "-EXCLUDELIST"], 1),
    flags=("-PERPENDICULAR", "-AdjustOrigin", "-FalloffIsTrueSigma"))
(n, n_y, n_x), body = read_mrc(given["-InputProjections"][0])
if len(open(given["-TILTFILE"][0]).read().split()) != n:
    fail("an angle for each section")
bin = int(given["-IMAGEBINNED"][0])
x, y = (int(word) // bin for word in given["-FULLIMAGE"][0].split(","))
z = int(given["-THICKNESS"][0]) // bin
values = [10000 * k + 100 * j + i for j in range(y) for k in range(z) for i in range(x)]
write_mrc(given["-OutputFile"][0], (y, z, x), struct.pack(f"<{len(values)}f", *values))
pathlib.Path("tilt.txt").write_text(" ".join(ARGUMENTS))
"""

CTFPLOTTER = """
given = options(dict.fromkeys([
    "-InputStack", "-AngleFile", "-DefocusFile", "-AxisAngle", "-PixelSize", "-Voltage",
    "-SphericalAberration", "-AmplitudeContrast", "-ExpectedDefocus", "-DefocusTol",
    "-LeftDefTol", "-RightDefTol", "-ViewsToSkip",
    "-TileSize", "-PSResolution", "-AutoFitRangeAndStep", "-FrequencyRangeToFit",
    "-MaximumAstigmatism", "-MinViewsAstigAndPhase", "-NumberOfSectors"], 1),
    flags=("-SaveAndExit", "-SearchAstigmatism", "-SearchPhaseShift", "-SearchCutonFrequency"))
if os.environ["QT_QPA_PLATFORM"] != "offscreen":
    fail("no display")
angles = [float(line) for line in open(given["-AngleFile"][0])]
skipped = given.get("-ViewsToSkip", [""])[0].split(",")
with open(given["-DefocusFile"][0], "w") as table:
    table.write("1 0 0. 0. 0 3\\n")
    for i, angle in enumerate(angles, start=1):
        if str(i) not in skipped:
            table.write(f"{i}\\t{i}\\t{angle:.2f}\\t{angle:.2f}\\t{4000 + i:.1f}\\t{3900 + i:.1f}\\t30.00\\n")
pathlib.Path("ctfplotter.txt").write_text(" ".join(ARGUMENTS))
"""

TILTXCORR = """
given = options(dict.fromkeys([
    "-InputFile", "-OutputFile", "-TiltFile", "-RotationAngle", "-FilterSigma1", "-FilterRadius2",
    "-FilterSigma2", "-SizeOfPatchesXandY", "-BordersInXandY", "-PrealignmentTransformFile",
    "-ImagesAreBinned", "-OverlapOfPatchesXandY", "-IterateCorrelations"], 1),
    flags=("-CumulativeCorrelation",))
angles = [float(line) for line in open(given["-TiltFile"][0])]
(n, n_y, n_x), body = read_mrc(given["-InputFile"][0])
if len(angles) != n:
    fail("an angle for each image")
if "-SizeOfPatchesXandY" in given:
    pathlib.Path(given["-OutputFile"][0]).write_text("IMODV1.2 " + given["-SizeOfPatchesXandY"][0])
else:
    # What it finds tells the tilt: x by 2 px, y by -1 px for each degree.
    rows = [f"1 0 0 1 {2 * angle:.3f} {-angle:.3f}" for angle in angles]
    pathlib.Path(given["-OutputFile"][0]).write_text("\\n".join(rows) + "\\n")
"""

XFTOXG = """
given = options({"-NumberToFit": 1, "-InputFile": 1, "-GOutputFile": 1})
pathlib.Path(given["-GOutputFile"][0]).write_text(open(given["-InputFile"][0]).read())
"""

IMODCHOPCONTS = """
given = options(dict.fromkeys([
    "-InputModel", "-OutputModel", "-MinimumOverlap", "-LengthOfPieces"], 1), flags=("-AssignSurfaces",))
pathlib.Path(given["-OutputModel"][0]).write_text(open(given["-InputModel"][0]).read())
"""

TILTALIGN = """
import math
given = options(dict.fromkeys([
    "-ModelFile", "-ImageFile", "-ImagesAreBinned", "-TiltFile", "-RotationAngle", "-OutputTiltFile",
    "-OutputXAxisTiltFile", "-OutputTransformFile", "-SurfacesToAnalyze", "-RotOption", "-RotDefaultGrouping",
    "-TiltOption", "-TiltDefaultGrouping", "-MagOption", "-MagDefaultGrouping", "-KFactorScaling",
    "-ResidualReportCriterion", "-MetroFactor", "-MaximumCycles"], 1), flags=("-RobustFitting",))
angles = [float(line) for line in open(given["-TiltFile"][0])]
turn = math.radians(-(float(given["-RotationAngle"][0]) + (0.0 if given["-RotOption"] == ["0"] else 1.0)))
c, s = math.cos(turn), math.sin(turn)
pathlib.Path(given["-OutputTiltFile"][0]).write_text("".join(f"{angle + 0.5:.2f}\\n" for angle in angles))
rows = "".join(f"{c:.7f} {-s:.7f} {s:.7f} {c:.7f} 0.000 0.000\\n" for _ in angles)
pathlib.Path(given["-OutputTransformFile"][0]).write_text(rows)
print(" Residual error mean and sd:    0.512    0.300")
"""

XFPRODUCT = """
given = options({"-InputFile1": 1, "-InputFile2": 1, "-OutputFile": 1, "-ScaleShifts": 1})
rows = []
for first, second in zip(open(given["-InputFile1"][0]), open(given["-InputFile2"][0])):
    a, b = ([float(word) for word in line.split()] for line in (first, second))
    x, y = b[0] * a[4] + b[1] * a[5] + b[4], b[2] * a[4] + b[3] * a[5] + b[5]
    rows.append(f"{b[0]:.7f} {b[1]:.7f} {b[2]:.7f} {b[3]:.7f} {x:.3f} {y:.3f}")
pathlib.Path(given["-OutputFile"][0]).write_text("\\n".join(rows) + "\\n")
"""

AUTOFIDSEED = """
given = options({"-TrackCommandFile": 1, "-TargetNumberOfBeads": 1, "-MinSpacing": 1,
    "-PeakStorageFraction": 1, "-ElongatedPointsAllowed": 1}, flags=("-TwoSurfaces", "-AdjustSizes"))
head, *lines = open(given["-TrackCommandFile"][0]).read().splitlines()
if head != "$beadtrack -StandardInput":
    fail("a command file of beadtrack")
entries = dict(line.split(maxsplit=1) for line in lines)
pathlib.Path(entries["InputSeedModel"]).write_text("IMODV1.2 " + given["-TargetNumberOfBeads"][0])
"""

BEADTRACK = """
given = options({"-ParameterFile": 1})
entries = dict(line.split(maxsplit=1) for line in open(given["-ParameterFile"][0]).read().splitlines())
known = '''
ImageFile PrealignTransformFile ImagesAreBinned InputSeedModel OutputModel RotationAngle TiltFile
BeadDiameter BoxSizeXandY PixelSize LightBeads FillGaps MaxGapSize RoundsOfTracking
TiltDefaultGrouping MagDefaultGrouping RotDefaultGrouping MinViewsForTiltalign
MinTiltRangeToFindAxis MinTiltRangeToFindAngles LocalAreaTracking LocalAreaTargetSize MinBeadsInArea
MinOverlapBeads MaxBeadsToAverage SobelFilterCentering ScalableSigmaForSobel LowPassCutoffInverseNm
MinDiamForParamScaling PointsToFitMaxAndMin DensityRescueFractionAndSD DistanceRescueCriterion
RescueRelaxationDensityAndDistance PostFitRescueResidual DensityRelaxationPostFit MaxRescueDistance
ResidualsToAnalyzeMaxAndMin DeletionCriterionMinAndSD
'''.split()
unknown = [name for name in entries if name not in known]
if unknown or not os.path.exists(entries["InputSeedModel"]):
    fail(f"beadtrack knows no {unknown}, or has no seeds")
pathlib.Path("track.txt.read").write_text(repr(entries))
pathlib.Path(entries["OutputModel"]).write_text("IMODV1.2 tracks")
"""

# Cut as asked, first and last voxel counted from 1.
TRIMVOL = """
source, result = ARGUMENTS[-2:]
ARGUMENTS[-2:] = []
given = options({"-x": 1, "-y": 1, "-z": 1})
(n_z, n_y, n_x), body = read_mrc(source)
(x0, x1), (y0, y1), (z0, z1) = (map(int, given[name][0].split(",")) for name in ("-x", "-y", "-z"))
values = struct.unpack(f"<{n_z * n_y * n_x}f", body)
kept = [values[(z * n_y + y) * n_x + x] for z in range(z0 - 1, z1) for y in range(y0 - 1, y1)
        for x in range(x0 - 1, x1)]
write_mrc(result, (z1 - z0 + 1, y1 - y0 + 1, x1 - x0 + 1), struct.pack(f"<{len(kept)}f", *kept))
"""
