"""Stand-ins for AreTomo 2 and 3: options of their sources, and their files."""

# Options and files of AreTomo2 1.1.3 (CInput.cpp, CSaveAlnFile.cpp, CSaveCtfResults.cpp). The shift it finds
# tells the order of acquisition; an image that is all zero is dark.
ARETOMO = """
given = options({
    "-InMrc": 1, "-OutMrc": 1, "-AngFile": 1, "-VolZ": 1, "-OutBin": 1, "-PixSize": 1, "-Kv": 1,
    "-Gpu": (1, 8), "-AlignZ": 1, "-TiltAxis": (1, 2), "-TiltCor": (1, 2), "-Patch": 2, "-Bft": (1, 2),
    "-DarkTol": 1, "-AmpContrast": 1, "-Cs": 1, "-ExtPhase": (1, 2),
})
(n, n_y, n_x), body = read_mrc(given["-InMrc"][0])
rows = [line.split() for line in open(given["-AngFile"][0])]
if len(rows) != n:
    fail(f"{len(rows)} angles for {n} images")
if given["-VolZ"] != ["0"]:
    fail("no volume was wanted")
size = 4 * n_x * n_y
dark = [i for i in range(n) if not any(body[i * size:(i + 1) * size])]
in_order = sorted(range(n), key=lambda i: float(rows[i][0]))
axis, refine = float(given["-TiltAxis"][0]), given["-TiltAxis"][1]
offset = 1.5 if given["-TiltCor"][0] == "1" else 0.0
out = given["-OutMrc"][0].rsplit("/", 1)[0] + "/"
with open(out + "stack.aln", "w") as aln:
    aln.write("# AreTomo Alignment / Priims bprmMn \\n")
    aln.write(f"# RawSize = {n_x} {n_y} {n}\\n# NumPatches = 0\\n")
    for place, i in enumerate(in_order):
        if i in dark:
            aln.write(f"# DarkFrame =  {place:4d} {i + 1:4d} {float(rows[i][0]):8.2f}\\n")
    aln.write("# SEC     ROT         GMAG       TX          TY      SMEAN   SFIT  SCALE  BASE  TILT\\n")
    for i in in_order:
        if i not in dark:
            order, tilt = int(rows[i][1]), float(rows[i][0]) + offset
            turn = axis + (1.0 if refine == "1" else 0.0)
            row = f"{i + 1:5d}  {turn:9.4f}  1.00000  {order:9.3f}  {-2 * order:9.3f}"
            aln.write(row + f"  1 1 1 0 {tilt:8.2f}\\n")
if "-Cs" in given:
    with open(out + "stack_ctf.txt", "w") as table:
        table.write("# Columns: #1 micrograph number\\n")
        for rank, i in enumerate(j for j in in_order if j not in dark):
            defocus = 20000 + 10 * int(rows[i][1])
            table.write(f"{rank + 1:4d} {defocus + 5:8.2f} {defocus:8.2f} 30.0 0.0 0.3 10.0\\n")
"""

# The same of AreTomo3 2.2 (CInput.cpp, CAtInput.cpp, CTsPackage.cpp), which works on folders.
ARETOMO3 = """
given = options({
    "-InPrefix": 1, "-InSuffix": 1, "-OutDir": 1, "-Cmd": 1, "-SplitSum": 1, "-VolZ": 1,
    "-PixSize": 1, "-kV": 1,
    "-Gpu": (1, 8), "-AlignZ": 1, "-TiltAxis": (1, 2), "-TiltCor": (1, 2), "-AtPatch": 2,
    "-DarkTol": 1, "-AmpContrast": 1, "-Cs": 1, "-ExtPhase": (1, 2),
})
(n, n_y, n_x), body = read_mrc(given["-InPrefix"][0] + given["-InSuffix"][0])
rows = [line.split() for line in open(given["-InPrefix"][0] + "_TLT.txt")]
if len(rows) != n:
    fail(f"{len(rows)} angles for {n} images")
if given["-VolZ"] != ["0"]:
    fail("no volume was wanted")
size = 4 * n_x * n_y
dark = [i for i in range(n) if not any(body[i * size:(i + 1) * size])]
in_order = sorted(range(n), key=lambda i: float(rows[i][0]))
axis, refine = float(given["-TiltAxis"][0]), given["-TiltAxis"][1]
offset = 1.5 if given["-TiltCor"][0] == "1" else 0.0
out = given["-OutDir"][0]
with open(out + "stack.aln", "w") as aln:
    aln.write("# AreTomo Alignment / Priims bprmMn \\n")
    aln.write(f"# RawSize = {n_x} {n_y} {n}\\n# NumPatches = 0\\n")
    for place, i in enumerate(in_order):
        if i in dark:
            aln.write(f"# DarkFrame =  {place:4d} {i + 1:4d} {float(rows[i][0]):8.2f}\\n")
    aln.write("# SEC     ROT         GMAG       TX          TY      SMEAN   SFIT  SCALE  BASE  TILT\\n")
    for i in in_order:
        if i not in dark:
            order, tilt = int(rows[i][1]), float(rows[i][0]) + offset
            turn = axis + (1.0 if refine == "1" else 0.0)
            row = f"{i + 1:5d}  {turn:9.4f}  1.00000  {order:9.3f}  {-2 * order:9.3f}"
            aln.write(row + f"  1 1 1 0 {tilt:8.2f}\\n")
if float(given["-Cs"][0]) > 0:
    with open(out + "stack_CTF.txt", "w") as table:
        table.write("# Columns: #1 micrograph number\\n")
        for rank, i in enumerate(j for j in in_order if j not in dark):
            defocus = 20000 + 10 * int(rows[i][1])
            table.write(f"{rank + 1:4d} {defocus + 5:8.2f} {defocus:8.2f} 30.0 0.0 0.3 10.0\\n")
"""

# AreTomo3 from an alignment. A volume of sections along y with rows of z; a voxel tells its place and half.
ARETOMO3_RECONSTRUCTION = """
given = options({
    "-InPrefix": 1, "-InSuffix": 1, "-OutDir": 1, "-Cmd": 1, "-SplitSum": 1, "-VolZ": 1, "-FlipVol": 1,
    "-PixSize": 1, "-kV": 1, "-Gpu": (1, 8), "-AmpContrast": 1, "-Cs": 1, "-AtBin": (1, 3), "-Wbp": 1,
    "-Sart": 2, "-ReconRange": 2, "-CorrCTF": 2, "-IntpCor": 1, "-FlipInt": 1,
})
if given["-Cmd"] != ["2"] or given["-FlipVol"] != ["0"]:
    fail("from the alignment, not flipped")
prefix, bin = given["-InPrefix"][0], float(given["-AtBin"][0])
(n, n_y, n_x), body = read_mrc(prefix + given["-InSuffix"][0])
for name in (prefix + "_TLT.txt", prefix + ".aln"):
    if len([1 for line in open(name) if not line.startswith("#")]) != n:
        fail(f"{name} is of other images")
if given["-CorrCTF"][0] != "0" and len([1 for r in open(prefix + "_CTF.txt") if r[0] != "#"]) != n:
    fail("the CTFs are of other images")
x, y, z = int(n_x / bin), int(n_y / bin), int(float(given["-VolZ"][0]) / bin) // 2 * 2
for half, name in enumerate(("", "_EVN", "_ODD") if given["-SplitSum"] == ["1"] else ("",)):
    if (read_mrc(prefix + name + ".mrc"))[0] != (n, n_y, n_x):
        fail("halves of other sizes")
    values = [1000000 * half + 10000 * k + 100 * j + i for j in range(y) for k in range(z) for i in range(x)]
    write_mrc(given["-OutDir"][0] + prefix + name + "_Vol.mrc", (y, z, x),
              struct.pack(f"<{len(values)}f", *values))
"""
