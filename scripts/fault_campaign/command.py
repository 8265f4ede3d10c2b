"""Attack the zoo and print one table: `python -m scripts.fault_campaign --fuzz 3000`."""

import models
from common.cli import UserError
from common.device.quiet import quiet_tensorflow
from common.flags import OneLineParser


def main(argv):
    """Run the command; returns 1 if anything went wrong."""
    arguments = _parser().read(argv)
    if arguments.fuzz < 1 and arguments.kills < 1 and not arguments.folder:
        raise UserError("name an attack: --fuzz N, --kills N or --folder")
    quiet_tensorflow("cpu")
    failures = []
    names = [models.model(name).name for name in arguments.model or models.available()]
    if arguments.kills > 0:
        from scripts.fault_campaign.kills import kills

        failures += _told(*kills(arguments.kills, names, arguments.seed))
    if arguments.folder:
        from scripts.fault_campaign.folders import folders

        failures += _told(*folders(names[0] if arguments.model else "edsr", arguments.seed))
    if arguments.fuzz > 0:
        from scripts.fault_campaign.fuzz import fuzz

        failures += _told(*fuzz(arguments.fuzz, arguments.seed, arguments.only, arguments.keep))
    return 1 if failures else 0


def _told(counts, failures):
    print(as_table(counts))
    for failure in failures:
        print(failure)
    return failures


def as_table(counts: dict) -> str:
    """{kind: {outcome: number}} as Markdown, with a sum."""
    names = list(next(iter(counts.values())))
    rows = [["input", *names], ["---"] * (1 + len(names))]
    rows += [[kind, *map(str, outcomes.values())] for kind, outcomes in counts.items()]
    rows.append(["all", *(str(sum(outcomes[name] for outcomes in counts.values()))
                          for name in names)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.fault_campaign",
        description="Attack the zoo as accidents and strangers do; exit status 1 if anything went "
                    "wrong.")
    parser.add_argument("--kills", type=int, default=0, metavar="N",
                        help="kill short trainings of each model N times, at random moments and "
                             "inside file operations; what they leave must be as without")
    parser.add_argument("--folder", action="store_true",
                        help="damage every file of a run's folder in eight ways each and repeat "
                             "the command")
    parser.add_argument("--model", nargs="+", metavar="M",
                        help="--kills of these models (default: all), --folder of the first "
                             "(default: edsr)")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N",
                        help="read N damaged files, of every kind in turn")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all draws")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="only these kinds of input")
    parser.add_argument("--keep", metavar="DIR", help="keep the files that went wrong here")
    return parser
