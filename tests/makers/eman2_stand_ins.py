"""Stand-ins for programs of EMAN2: options of their sources of 2026, and their files."""

# A voxel tells its place in EMAN2's volume: 10000 z + 100 y + x, and which stack it is of.
E2TOMOGRAM = """
import json
stack = ARGUMENTS.pop(0)
given = options(dict.fromkeys(["--niter", "--clipz", "--threads", "--outsize", "--tltkeep", "--filterres",
    "--compressbits", "--rmbeadthr"], 1),
    flags=("--load", "--notmp", "--bytile", "--moretile", "--extrapad", "--normslice"))
(n, n_y, n_x), body = read_mrc(stack)
name = stack.split("/")[1][:-4]
info = json.load(open(f"info/{name}_info.json"))
if info["tlt_file"] != stack or len(info["tlt_params"]) != n or len(info["tlt_params"][0]) != 5:
    fail("Failed to load saved parameters")
least = min(n_x, n_y)
if least <= 512:
    fail("Tilt series image too small")
longest = 4096 if least > 2048 else 2048 if least > 1024 else 1024
bin = max(1, longest // {"1k": 1024, "2k": 2048, "4k": 4096}[given["--outsize"][0]])
z = int(given["--clipz"][0])
side = SIDE
half = {"images": 0, "even": 1, "odd": 2}[name]
places = [(k, j, i) for k in range(z) for j in range(side) for i in range(side)]
values = [1000000 * half + 10000 * k + 100 * j + i for k, j, i in places]
os.makedirs("tomograms", exist_ok=True)
out = f"tomograms/{name}" + (f"__bin{bin}" if bin > 1 else "") + ".hdf"
write_mrc(out, (z, side, side), struct.pack(f"<{len(values)}f", *values))
pathlib.Path(f"{name}_words.txt").write_text(" ".join(ARGUMENTS))
"""

E2PROC3D = """
source, result = ARGUMENTS
shape, body = read_mrc(source)
write_mrc(result, shape, body)
"""

# The defocus it finds tells the section and the tilt it was given.
E2SPT_TOMOCTF = """
import json
stack = ARGUMENTS.pop(0)
given = options(dict.fromkeys(["--voltage", "--cs", "--threads", "--dfrange", "--psrange", "--tilesize",
    "--nref", "--stepx", "--stepy", "--minres"], 1))
(n, n_y, n_x), body = read_mrc(stack)
path = "info/" + stack.split("/")[1][:-4] + "_info.json"
info = json.load(open(path))
if len(info["tlt_params"]) != n or len(info["ali_loss"]) != n:
    print("Cannot find alignment parameters.")
    sys.exit(0)
info["defocus"] = [3.0 + 0.01 * i + 0.001 * row[3] for i, row in enumerate(info["tlt_params"])]
info["phase"] = [15.0] * n
info["cs"], info["voltage"] = float(given["--cs"][0]), float(given["--voltage"][0])
pathlib.Path(path).write_text(json.dumps(info))
"""
