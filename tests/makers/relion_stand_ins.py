"""Stand-ins for programs of RELION 5: options as its sources declare them, STAR files as it writes them."""

_STAR = """
import json

def read_star(path):
    '''Blocks by name: rows of loops, or one row of single values.'''
    blocks, columns, rows, name, loop = {}, [], [], "", False
    for line in open(path):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("data_"):
            name, columns, loop = words[0][5:], [], False
            rows = blocks.setdefault(name, [])
        elif words[0] == "loop_":
            loop = True
        elif words[0].startswith("_rln"):
            if loop:
                columns.append(words[0][1:])
            else:
                rows[:] = [{**(rows[0] if rows else {}), words[0][1:]: words[1]}]
        else:
            rows.append(dict(zip(columns, words)))
    return blocks

def write_star(path, blocks):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as star:
        for name, rows in blocks.items():
            star.write(f"data_{name}\\n\\nloop_\\n")
            star.write("".join(f"_{column} #{i + 1}\\n" for i, column in enumerate(rows[0])))
            star.write("".join(" ".join(map(str, row.values())) + "\\n" for row in rows) + "\\n")

def project(path):
    entries = {}
    for rows in read_star(path).values():
        for row in rows:
            entries |= row
    return read_star(entries["rlnTomoParticlesFile"]), read_star(entries["rlnTomoTomogramsFile"]), entries
"""

SUBTOMO = (
    _STAR
    + """
given = options(dict.fromkeys(["--i", "--o", "--j", "--b", "--crop", "--bin", "--max_dose",
    "--min_frames"], 1), flags=("--stack2d", "--no_ctf", "--float16", "--whiten", "--no_circle_crop"))
particles, tomograms, _ = project(given["--i"][0])
out, side = pathlib.Path(given["--o"][0]), int(given["--crop"][0])
made = []
for i, row in enumerate(particles["particles"][1:]):
    name, number = row["rlnTomoParticleName"].split("/")
    table = next(t for t in tomograms["global"] if t["rlnTomoName"] == name)
    n = len(next(iter(read_star(table["rlnTomoTiltSeriesStarFile"]).values())))
    row = {k: v for k, v in row.items() if not k.startswith("rlnOrigin")}
    shown = [0] + [1] * (n - 1)
    root = out / "Subtomograms" / name / number
    root.parent.mkdir(parents=True, exist_ok=True)
    if "--stack2d" in given:
        write_mrc(f"{root}_stack2d.mrcs", (n - 1, side, side),
                  struct.pack(f"<{(n - 1) * side * side}f", *([float(number)] * ((n - 1) * side * side))))
        row |= {"rlnTomoVisibleFrames": json.dumps(shown).replace(" ", ""),
                "rlnImageName": f"{root}_stack2d.mrcs"}
    else:
        write_mrc(f"{root}_data.mrc", (side, side, side))
        write_mrc(f"{root}_weights.mrc", (2 * side, side, side // 2 + 1))
        row |= {"rlnImageName": f"{root}_data.mrc", "rlnCtfImage": f"{root}_weights.mrc"}
    made.append(row)
write_star(out / "particles.star", {"optics": particles["optics"], "particles": made})
"""
)

REFINE = (
    _STAR
    + """
given = options(dict.fromkeys([
    "--ios", "--o", "--ref", "--particle_diameter", "--j", "--ini_high", "--sym", "--healpix_order",
    "--auto_local_healpix_order", "--offset_range", "--offset_step", "--oversampling", "--sigma_tilt",
    "--relax_sym", "--low_resol_join_halves", "--pad", "--pool", "--gpu", "--solvent_mask", "--iter",
    "--tau2_fudge", "--K"], 1),
    flags=("--auto_refine", "--split_random_halves", "--norm", "--scale", "--dont_combine_weights_via_disc",
           "--trust_ref_size", "--ctf", "--ctf_intact_first_peak", "--zero_mask", "--flatten_solvent",
           "--solvent_correct_fsc", "--blush", "--firstiter_cc", "--auto_ignore_angles",
           "--auto_resol_angles", "--grad", "--denovo_3dref", "--auto_sampling"))
particles, _, _ = project(given["--ios"][0])
out = given["--o"][0]
rows = particles["particles"]
for row in rows:
    if "rlnImageName" not in row or not os.path.exists(row["rlnImageName"]):
        fail("no image of a particle")
if "--grad" in given:
    root = f"{out}_it{int(given['--iter'][0]):03d}"
    write_star(root + "_data.star", particles)
    write_star(root + "_model.star", {"model_classes": [{"rlnReferenceImage": root + "_class001.mrc"}]})
    sys.exit(0)
if not os.path.exists(given["--ref"][0]):
    fail("no reference")
# It turns every particle about z, moves it by 2 A along x, and drops the last one.
rows = [row | {"rlnAngleRot": 30.0, "rlnAngleTilt": 0.0, "rlnAnglePsi": 0.0, "rlnOriginXAngst": -2.0,
               "rlnOriginYAngst": 0.0, "rlnOriginZAngst": 0.0, "rlnRandomSubset": 1 + i % 2}
        for i, row in enumerate(rows[:-1])]
write_star(out + "_data.star", {"optics": particles["optics"], "particles": rows})
write_star(out + "_model.star", {
    "model_general": [{"rlnCurrentResolution": 12.5, "rlnReferenceDimensionality": 3}],
    "model_class_1": [{"rlnResolution": k / 40, "rlnGoldStandardFsc": 1.0 - k / 4} for k in range(4)]})
for name in ("class001", "half1_class001_unfil", "half2_class001_unfil"):
    write_mrc(f"{out}_{name}.mrc", (8, 8, 8), pixel=5.0)
"""
)

MPIRUN = """
import subprocess
if ARGUMENTS[0] != "-n":
    fail("mpirun -n N PROGRAM")
sys.exit(subprocess.run(ARGUMENTS[2:]).returncode)
"""

ALIGN_SYMMETRY = (
    _STAR
    + """
given = options({"--i": 1, "--o": 1, "--sym": 1}, flags=("--apply_sym", "--select_largest_class"))
if "model_classes" not in read_star(given["--i"][0]):
    fail("no model")
write_mrc(given["--o"][0], (8, 8, 8), pixel=5.0)
"""
)

RECONSTRUCT = (
    _STAR
    + """
given = options(dict.fromkeys(["--i", "--o", "--j", "--b", "--crop", "--bin", "--sym", "--SNR", "--taper",
    "--j_out", "--mem"], 1), flags=("--whiten", "--no_ctf", "--no_circle_crop"))
project(given["--i"][0])
os.makedirs(given["--o"][0])
side = int(given["--crop"][0])
for name in ("merged", "half1", "half2"):
    write_mrc(given["--o"][0] + name + ".mrc", (side, side, side), pixel=4.0)
"""
)

# A tilt's defocus grows by 100 A and its shift by 3 A along x, for each tilt in the table's order.
_TILTS = (
    _STAR
    + """
particles, tomograms, entries = project(given["--i"][0])
if not os.path.exists(entries["rlnTomoReferenceMap1File"]):
    fail("no reference")
out = pathlib.Path(given["--o"][0])
for table in tomograms["global"]:
    (name, rows), = read_star(table["rlnTomoTiltSeriesStarFile"]).items()
    for i, row in enumerate(rows):
        row["rlnDefocusU"] = float(row["rlnDefocusU"]) + 100.0 * (i + 1)
        row["rlnTomoXShiftAngst"] = float(row["rlnTomoXShiftAngst"]) + 3.0 * (i + 1)
    table["rlnTomoTiltSeriesStarFile"] = str(out / "tilt_series" / f"{name}.star")
    write_star(table["rlnTomoTiltSeriesStarFile"], {name: rows})
write_star(out / "tomograms.star", tomograms)
write_star(out / "particles.star", particles)
"""
)

REFINE_CTF = (
    """
given = options(dict.fromkeys(["--i", "--o", "--d0", "--d1", "--j", "--b", "--ds", "--lambda", "--kmin"], 1),
    flags=("--do_defocus", "--do_reg_defocus"))
"""
    + _TILTS
)

ALIGN = (
    """
given = options(dict.fromkeys(["--i", "--o", "--j", "--b", "--r", "--it"], 1),
    flags=("--shift_only", "--shift_only_by_particles", "--const_p", "--const_a", "--const_s"))
"""
    + _TILTS
)
