"""The command ``ldsboard review-link``."""

from __future__ import annotations

from typing import Annotated

import typer

from ldsboard.commands import options, queries
from ldsboard.commands.printing import output, print_json
from ldsboard.identity import open_client


def review_link(
    submission_id: Annotated[str, typer.Argument(help="Id of one of your scored submissions.")],
    *,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="End the link instead of making a new one.")] = False,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a secret link that shows reviewers a submission without its owner, and print the link.

    The page of the link shows the name of the method, the result, and the rank that the submission has or would have. A new link
    ends the earlier link of the submission.
    """
    with open_client(server, token) as client:
        answer = (queries.withdraw_review_link if withdraw else queries.make_review_link)(client, submission_id)
    if as_json:
        print_json(answer)
    elif withdraw:
        ended = "The review link is withdrawn." if answer["withdrawn"] else "The submission has no review link."
        output.print(ended)
    else:
        print(answer["url"])  # noqa: T201 -- nothing but the address, so that scripts can read it
