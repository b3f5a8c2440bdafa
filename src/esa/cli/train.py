"""`esa train`: a token model out of somebody's own labelled mail."""

from __future__ import annotations

from pathlib import Path

import click

from esa.cli.program import DONE, FAILED
from esa.cli.terminal import json_option, print_json, printable_lines, progress, say

FEW = 400  # of a kind; within spamassassin 1-ROCA was 0.08 % with 400 of each, 0.2 % with 200, 0.5 % with 100, 4 % with 25


@click.command("train", short_help="Make a local model from labelled mail.")
@click.argument("paths", metavar="CORPUS...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model file to write.")
@click.option("--name", help="Name of the model [default: that of the file].")
@click.option("--seed", type=int, default=0, show_default=True, help="Order of training; equal seeds and mail give equal files.")
@click.option("--force", is_flag=True, help="Write over a file that is there already.")
@click.option("--keep-headers", is_flag=True, help="Keep header fields that give the label away (verdicts of other filters, list tags).")
@click.option("--leaky-headers", type=click.Path(path_type=Path), help="List of such fields to use instead of the shipped one.")
@json_option
def command(
    paths: tuple[str, ...],
    out: Path,
    name: str | None,
    seed: int,
    force: bool,
    keep_headers: bool,
    leaky_headers: Path | None,
    as_json: bool,
) -> int:
    """Make a local model from labelled mail.

    \b
    Examples:
      esa train --out local.esamodel mymail/
      esa scan --model local.esamodel message.eml

    CORPUS is a folder or archive that holds <name>/ham/* and <name>/spam/*, one message a file, or a TREC index
    (full/index). The model learns words, header fields and, for where these leave a doubt, character n-grams of this mail, and
    judges mail like it; of messages with one body only the first is learnt from. The file holds numbers only, no text of any message.

    Learn from the mailbox that is to be judged. Figures on mail of the same source, even mail it has not seen, say nothing of
    another mailbox: there the error was a hundred to a thousand times larger, and modern newsletters were called spam by
    models that had met none.

    Exit status: 0 trained, 2 used wrongly, 3 failed, or some inputs could not be read (the model is written from the rest).
    """
    from esa.learning.corpora import iter_corpora
    from esa.learning.leaks import SHIPPED_LIST, LeakList
    from esa.learning.training import train

    if out.exists() and not force:
        raise click.BadParameter(f"{out} exists already; --force writes over it", param_hint="--out")
    if not out.parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    clean = None if keep_headers else LeakList.load(leaky_headers or SHIPPED_LIST).strip
    with progress("training") as meter:
        training = train(iter_corpora(paths), clean=clean, name=name or out.stem, seed=seed, on_progress=meter.advance)
    training.model.save(out)
    for error in training.errors:
        say(f"unreadable: {printable_lines(str(error))}")
    digest = training.model.to_bytes()[16:48].hex() if not training.model.digest else training.model.digest
    if as_json:
        print_json(
            {
                "model": str(out),
                "digest": digest,
                "ham": training.ham,
                "spam": training.spam,
                "duplicates": training.duplicates,
                "unreadable": len(training.errors),
            }
        )
    else:
        learnt = f"learnt from {training.ham:,} ham and {training.spam:,} spam ({training.duplicates:,} repeated bodies left out)"
        click.echo(f"{out}: {learnt}, digest {digest[:16]}")
    if min(training.ham, training.spam) < FEW:
        say(f"few messages: a model of fewer than {FEW} of each kind errs several times as often; add more before you rely on it")
    say(f"next: esa evaluate --model {out} CORPUS, with mail that it has not seen")
    return FAILED if training.errors else DONE
