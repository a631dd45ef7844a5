"""A stand-in for WarpTools: commands and options as its sources declare them, and its XML files."""

WARPTOOLS = """
command = ARGUMENTS.pop(0)
KNOWN = {
    "create_settings": (["--output", "--folder_data", "--folder_processing", "--extension", "--angpix",
        "--bin", "--exposure", "--eer_ngroups", "--eer_groupexposure", "--gain_path",
        "--tomo_dimensions"], ()),
    "fs_motion_and_ctf": (["--settings", "--m_range_min", "--m_range_max", "--c_range_min", "--c_range_max",
        "--c_defocus_min", "--c_defocus_max", "--c_voltage", "--c_cs", "--c_amplitude", "--m_grid",
        "--c_grid", "--device_list", "--m_bfac", "--c_window", "--perdevice"],
        ("--out_averages", "--out_average_halves", "--c_fit_phase", "--c_use_sum")),
    "ts_ctf": (["--settings", "--window", "--range_low", "--range_high", "--defocus_min", "--defocus_max",
        "--voltage", "--cs", "--amplitude", "--device_list", "--perdevice"], ("--fit_phase",)),
    "ts_reconstruct": (["--settings", "--angpix", "--device_list", "--subvolume_size",
        "--subvolume_padding"], ("--dont_invert", "--dont_normalize", "--halfmap_frames",
        "--keep_full_voxels")),
    "ts_template_match": (["--settings", "--tomo_angpix", "--template_path", "--template_diameter",
        "--symmetry", "--subdivisions", "--tilt_range", "--batch_angles", "--peak_distance", "--npeaks",
        "--lowpass", "--lowpass_sigma", "--max_missing_tilts", "--subvolume_size", "--override_suffix",
        "--device_list"], ("--template_flip", "--whiten")),
    "threshold_picks": (["--settings", "--in_suffix", "--out_suffix", "--minimum"], ()),
    "ts_import": (["--mdocs", "--frameseries", "--output", "--tilt_exposure", "--override_axis",
        "--max_tilt", "--min_intensity", "--min_ntilts", "--tilt_offset"], ("--dont_invert",)),
}
values, flags = KNOWN[command]
given = options(dict.fromkeys(values, 1), flags)
if command == "create_settings":
    pathlib.Path(given["--output"][0]).write_text(repr({name: words[0] for name, words in given.items()}))
    sys.exit(0)
if command == "ts_import":
    kept, entry = [], {}
    for line in (pathlib.Path(given["--mdocs"][0]) / "stack.mdoc").read_text().splitlines() + [""]:
        name, _, value = line.strip("[]").partition(" = ")
        entry[name] = value
        if name == "DateTime":
            stem = entry["SubFramePath"][:-4]
            folder = pathlib.Path(given["--frameseries"][0])
            (folder / (stem + ".xml")).read_text()
            shape, body = read_mrc(folder / "average" / (stem + ".mrc"))
            count = shape[1] * shape[2]
            median = sorted(struct.unpack(f"<{count}f", body))[count // 2]
            steep = abs(float(entry["TiltAngle"])) > float(given["--max_tilt"][0])
            if not steep and median >= 100 * float(given["--min_intensity"][0]):
                kept.append((stem, entry["TiltAngle"]))
    out = pathlib.Path(given["--output"][0])
    out.mkdir()
    rows = "".join(f"../warp_frameseries/{stem}.mrc {angle} 0 0 100 0\\n" for stem, angle in kept)
    names = ["MovieName", "AngleTilt", "AxisAngle", "Dose", "AverageIntensity", "MaskedFraction"]
    head = "".join(f"_wrp{name} #{i}\\n" for i, name in enumerate(names, 1))
    (out / "stack.tomostar").write_text("\\ndata_\\n\\nloop_\\n" + head + rows)
    sys.exit(0)
settings = eval(open(given["--settings"][0]).read())
out = pathlib.Path(settings["--folder_processing"])
if command == "fs_motion_and_ctf":
    pathlib.Path("words.txt").write_text(" ".join(ARGUMENTS))
    suffix = settings["--extension"][1:]
    movies = sorted(p for p in pathlib.Path(settings["--folder_data"]).iterdir() if p.name.endswith(suffix))
    folders = ["average"] + (["average/even", "average/odd"] if "--out_average_halves" in given else [])
    bin = round(2 ** float(settings["--bin"]))
    for i, movie in enumerate(movies):
        for folder in folders:
            (out / folder).mkdir(parents=True, exist_ok=True)
            x, y = SIZE
            write_mrc(out / folder / (movie.stem + ".mrc"), (1, y // bin, x // bin))
        nodes = "".join(f'<Node X="0" Y="0" Z="{z}" Value="{3.0 * z}"/>' for z in range(3))
        zero = nodes.replace("3.0", "0").replace("6.0", "0")
        (out / (movie.stem + ".xml")).write_text(
            f'<Movie CTFResolutionEstimate="7.5"><CTF><Param Name="Defocus" Value="{2 + 0.1 * i}"/>'
            '<Param Name="DefocusDelta" Value="0.2"/><Param Name="DefocusAngle" Value="30"/>'
            '<Param Name="PhaseShift" Value="0.5"/></CTF>'
            f'<GridMovementX Width="1" Height="1" Depth="3">{nodes}</GridMovementX>'
            f'<GridMovementY Width="1" Height="1" Depth="3">{zero}</GridMovementY></Movie>')
    sys.exit(0)
matching = out / "matching"
if command == "ts_reconstruct":
    (out / "stack.xml").read_text()
    voxel = float(given["--angpix"][0])
    x, y, z = (round(int(n) * float(settings["--angpix"]) / voxel / 2) * 2
               for n in settings["--tomo_dimensions"].split("x"))
    for half, place in enumerate(("", "even/", "odd/") if "--halfmap_frames" in given else ("",)):
        path = out / "reconstruction" / place / f"stack_{voxel:.2f}Apx.mrc"
        path.parent.mkdir(parents=True, exist_ok=True)
        places = [(k, j, i) for k in range(z) for j in range(y) for i in range(x)]
        values = [1000000 * half + 10000 * k + 100 * j + i for k, j, i in places]
        write_mrc(path, (z, y, x), struct.pack(f"<{len(values)}f", *values))
    pathlib.Path("reconstruct.txt").write_text(" ".join(ARGUMENTS))
    sys.exit(0)
if command == "ts_template_match":
    name = f"stack_{float(given['--tomo_angpix'][0]):.2f}Apx"
    (out / "reconstruction" / (name + ".mrc")).read_bytes()
    read_mrc(given["--template_path"][0])
    if "--template_flip" not in given:
        fail("of the other hand")
    columns = ["CoordinateX", "CoordinateY", "CoordinateZ", "AngleRot", "AngleTilt", "AnglePsi",
               "MicrographName", "AutopickFigureOfMerit"]
    head = "".join(f"_rln{column} #{i}\\n" for i, column in enumerate(columns, 1))
    matching.mkdir()
    (matching / (name + given["--override_suffix"][0] + ".star")).write_text(
        "\\ndata_\\n\\nloop_\\n" + head + "0.25 0.5 0.75 0 0 0 stack.tomostar 4.0\\n"
        "0.5 0.5 0.25 30 50 70 stack.tomostar 8.5\\n0.75 0.5 0.5 10 90 0 stack.tomostar 6.5\\n")
    sys.exit(0)
if command == "threshold_picks":
    lines = (matching / f"stack_{given['--in_suffix'][0]}.star").read_text().splitlines()
    least = float(given["--minimum"][0])
    kept = [line for line in lines if "tomostar" not in line or float(line.split()[-1]) >= least]
    name = f"stack_{given['--in_suffix'][0]}_{given['--out_suffix'][0]}.star"
    (matching / name).write_text("\\n".join(kept) + "\\n")
    sys.exit(0)
import re
xml = out / "stack.xml"
text = xml.read_text()
if "LEAVE" != "AS IT IS":
    text = re.sub(r'(<Param Name="Defocus" Value=")[^"]*', r"\\g<1>3.25", text)
    text = re.sub(r"<GridCTF .*?</GridCTF>", "", text, flags=re.S)
    if 'Name="Defocus"' not in text:
        text = text.replace("</TiltSeries>", '<CTF><Param Name="Defocus" Value="3.25"/></CTF></TiltSeries>')
    xml.write_text(text)
(out / "powerspectrum").mkdir()
write_mrc(out / "powerspectrum" / "stack.mrc", (4, 4, 4))
"""
