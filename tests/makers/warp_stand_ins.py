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
}
values, flags = KNOWN[command]
given = options(dict.fromkeys(values, 1), flags)
if command == "create_settings":
    pathlib.Path(given["--output"][0]).write_text(repr({name: words[0] for name, words in given.items()}))
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
