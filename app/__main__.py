"""Entry point of the operator's commands: ``python -m app …``."""

from __future__ import annotations

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app.cli.backups import backup
from app.cli.benchmarks import benchmark
from app.cli.common import invalid_settings
from app.cli.demo import demo
from app.cli.maintenance import doctor, prune, rescore
from app.cli.moving import move
from app.cli.reserves import retire_benchmark, show_reserve
from app.cli.serve import migrate, serve
from app.cli.snapshots import snapshot
from app.cli.submissions import submission
from app.cli.users import token, user
from app.cli.work import work
from app.db.database_errors import is_away
from app.logs import LogSettings, configure_logs
from ldsboard.core.kernel import RouteError

cli = typer.Typer(help="LDSBoard, the evaluation service.", no_args_is_help=True, add_completion=False)
for command in (serve, work, migrate, backup, move, demo, snapshot, rescore, prune, doctor):
    cli.command()(command)
benchmark.command("reserve")(show_reserve)
benchmark.command("retire")(retire_benchmark)
for name, group in (("benchmark", benchmark), ("user", user), ("token", token), ("submission", submission)):
    cli.add_typer(group, name=name)


def main() -> None:
    """Run a command of the operator; each log record is one line on standard error.

    Invalid settings, and a data folder or a database that cannot be used, end the process with exit status 2.
    """
    try:
        configure_logs(LogSettings())
        cli()
    except RouteError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None
    except ValidationError as error:
        typer.echo(f"Error: invalid settings: {invalid_settings(error)}", err=True)
        raise SystemExit(2) from None
    except (OSError, SQLAlchemyError) as error:
        # Without the statement and the link that SQLAlchemy adds to the message of the driver.
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        hint = ". Check that PostgreSQL takes connections, and LDSBOARD_DATABASE_URL." if is_away(error) else ""
        typer.echo(f"Error: the data folder or the database cannot be used: {reason}{hint}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
